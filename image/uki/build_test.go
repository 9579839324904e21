package uki

import (
	"bytes"
	"debug/pe"
	"fmt"
	"strings"
	"testing"

	"github.com/kiln-farm/kiln/image/extents"
)

// parts are sections of odd lengths.
func parts(s *store) (Sections, map[string]string) {
	contents := map[string]string{
		".osrel":   "ID=kiln\n",
		".cmdline": "console=ttyS0 page_poison=1",
		".uname":   "6.12.0-kiln",
		".initrd":  strings.Repeat("initrd ", 3000),
		".linux":   strings.Repeat("MZ linux", 5001),
	}
	return Sections{
		OSRelease: extents.Bytes([]byte(contents[".osrel"])),
		Cmdline:   extents.Bytes([]byte(contents[".cmdline"])),
		Uname:     extents.Bytes([]byte(contents[".uname"])),
		Initrd:    s.bytes([]byte(contents[".initrd"])),
		Linux:     s.bytes([]byte(contents[".linux"])),
	}, contents
}

func TestAStubTakesTheSections(t *testing.T) {
	for name, stub := range stubs(t) {
		t.Run(name, func(t *testing.T) {
			s := newStore(t)
			sections, want := parts(s)
			l, err := Build(stub, sections)
			if err != nil {
				t.Fatal(err)
			}
			again, err := Build(stub, sections)
			if err != nil {
				t.Fatal(err)
			}
			got := s.render(l)
			if !bytes.Equal(got, s.render(again)) {
				t.Error("the same sections gave other bytes")
			}
			file, err := pe.NewFile(bytes.NewReader(got))
			if err != nil {
				t.Fatal(err)
			}
			before, err := pe.NewFile(bytes.NewReader(stub))
			if err != nil {
				t.Fatal(err)
			}
			checkLayout(t, file, before, int64(len(got)))
			for name, content := range want {
				checkSection(t, file, name, content)
			}
			for _, old := range before.Sections {
				content, err := old.Data()
				if err != nil {
					t.Fatal(err)
				}
				if data, err := file.Section(old.Name).Data(); err != nil || !bytes.Equal(data, content) {
					t.Errorf("the stub's section %s changed: %v", old.Name, err)
				}
			}
		})
	}
}

// checkLayout checks the headers: sections in order, aligned, without overlaps, and within the image.
func checkLayout(t *testing.T, file, stub *pe.File, size int64) {
	t.Helper()
	var names []string
	h := file.OptionalHeader.(*pe.OptionalHeader64)
	raw, memory := h.SizeOfHeaders, h.SizeOfHeaders
	for i, s := range file.Sections {
		if i >= len(stub.Sections) {
			names = append(names, s.Name)
			if s.VirtualAddress%page != 0 {
				t.Errorf("%s is at %#x in memory", s.Name, s.VirtualAddress)
			}
		}
		if s.Offset != raw || s.Size%h.FileAlignment != 0 || s.VirtualAddress < memory {
			t.Errorf("%s of %#x bytes is at %#x and in memory at %#x, want %#x and from %#x", s.Name, s.Size, s.Offset, s.VirtualAddress, raw, memory)
		}
		raw, memory = s.Offset+s.Size, s.VirtualAddress+s.VirtualSize
	}
	if got, want := strings.Join(names, " "), ".osrel .cmdline .uname .initrd .linux"; got != want {
		t.Errorf("sections %s, want %s", got, want)
	}
	if int64(raw) != size {
		t.Errorf("sections end at %d of %d bytes", raw, size)
	}
	if h.SizeOfImage < memory || h.SizeOfImage%h.SectionAlignment != 0 || h.SizeOfImage-memory >= page {
		t.Errorf("size of image %#x, sections end at %#x", h.SizeOfImage, memory)
	}
	before := stub.OptionalHeader.(*pe.OptionalHeader64)
	if h.AddressOfEntryPoint != before.AddressOfEntryPoint || h.SizeOfInitializedData <= before.SizeOfInitializedData || h.CheckSum != 0 {
		t.Errorf("entry %#x, data %d, sum %d", h.AddressOfEntryPoint, h.SizeOfInitializedData, h.CheckSum)
	}
	if file.PointerToSymbolTable != 0 || file.NumberOfSymbols != 0 {
		t.Errorf("%d symbols at %#x", file.NumberOfSymbols, file.PointerToSymbolTable)
	}
}

func checkSection(t *testing.T, file *pe.File, name, want string) {
	t.Helper()
	s := file.Section(name)
	if s == nil {
		t.Errorf("no section %s", name)
		return
	}
	data, err := s.Data()
	if err != nil {
		t.Fatal(err)
	}
	if got := string(data[:s.VirtualSize]); got != want {
		t.Errorf("%s has %d bytes, want %d", name, len(got), len(want))
	}
}

func TestSectionsThatAreNotThereAreLeftOut(t *testing.T) {
	s := newStore(t)
	l, err := Build(stubs(t)["made amd64"], Sections{Linux: s.bytes([]byte("MZ")), Initrd: &extents.List{}, Machine: AMD64})
	if err != nil {
		t.Fatal(err)
	}
	file, err := pe.NewFile(bytes.NewReader(s.render(l)))
	if err != nil {
		t.Fatal(err)
	}
	if got := len(file.Sections); got != 3 {
		t.Errorf("%d sections, want the stub's 2 and .linux", got)
	}
}

func TestStubsThatCannotBeUsedGetASentence(t *testing.T) {
	good := stubs(t)["made amd64"]
	linux := extents.Bytes([]byte("MZ"))
	change := func(at int, b ...byte) []byte {
		p := bytes.Clone(good)
		copy(p[at:], b)
		return p
	}
	// 0x148 bytes of headers, and sections until less than 40 of 1024 bytes are left.
	crowded := makePE(AMD64, 1, make([]peSection, (0x400-0x148)/sectionHeaderLen)...)
	le.PutUint32(crowded[0x40+coffHeaderLen+sizeOfHeadersAt:], 0x400)
	const optional = 0x40 + coffHeaderLen
	tests := []struct {
		name string
		stub []byte
		s    Sections
		want string
	}{
		{"nothing", nil, Sections{Linux: linux}, "ends within its headers"},
		{"an ELF file", []byte("\x7fELF" + strings.Repeat(" ", 100)), Sections{Linux: linux}, "it is no PE file"},
		{"half a stub", good[:1100], Sections{Linux: linux}, "is beyond its end"},
		{"no PE header", change(0x40, 'X'), Sections{Linux: linux}, "no PE header"},
		{"a 32-bit stub", change(optional, 0x0b, 0x01), Sections{Linux: linux}, "not a 64-bit PE file"},
		{"no EFI application", change(optional+subsystemAt, 3), Sections{Linux: linux}, "no EFI application"},
		{"a strange alignment", change(optional+fileAlignmentAt, 7), Sections{Linux: linux}, "file alignment is 519"},
		{"no kernel", good, Sections{}, "needs a kernel"},
		{"a stub of another machine", good, Sections{Linux: linux, Machine: ARM64}, "is for amd64, not for arm64"},
		{"no room", makePE(AMD64, 0), Sections{Linux: linux}, "not aligned"},
		{"little room", crowded, Sections{Linux: linux}, "no room in its headers"},
		{"a unified kernel image", makePE(AMD64, 8, peSection{".linux", []byte("x")}), Sections{Linux: linux}, "unified kernel image already"},
		{"a kernel of 4 GiB", good, Sections{Linux: zeros(4 << 30)}, "cannot be larger than 4 GiB"},
		{"all of 4 GiB", good, Sections{Linux: zeros(3 << 30), Initrd: zeros(1 << 30)}, "cannot be larger than 4 GiB"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			_, err := Build(test.stub, test.s)
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want %q", err, test.want)
			}
		})
	}
}

func zeros(n int64) *extents.List {
	l := &extents.List{}
	l.Zeros(n)
	return l
}

func TestObjdumpListsTheSections(t *testing.T) {
	tool(t, "objdump", "binutils")
	s := newStore(t)
	sections, _ := parts(s)
	stub, ok := stubs(t)["linuxx64.efi.stub"]
	if !ok {
		stub = stubs(t)["made amd64"]
	}
	l, err := Build(stub, sections)
	if err != nil {
		t.Fatal(err)
	}
	out, err := run(t, "objdump", "-h", s.file(l))
	if err != nil {
		t.Skipf("not tried: objdump here does not read PE files: %s", out)
	}
	for name, list := range map[string]*extents.List{".cmdline": sections.Cmdline, ".initrd": sections.Initrd, ".linux": sections.Linux} {
		if want := fmt.Sprintf("%-13s %08x", name, list.Size()); !strings.Contains(out, want) {
			t.Errorf("no line with %q in\n%s", want, out)
		}
	}
}
