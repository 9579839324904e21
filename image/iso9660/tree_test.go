package iso9660

import (
	"archive/tar"
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/kiln-farm/kiln/cache"
	"github.com/kiln-farm/kiln/image/extents"
	"github.com/kiln-farm/kiln/image/fstree"
	"github.com/kiln-farm/kiln/image/fstree/fstreetest"
	"github.com/kiln-farm/kiln/image/step"
)

func build(t testing.TB, root *fstree.Node, o Options) *extents.List {
	t.Helper()
	l, err := Build(root, o)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func TestXorrisoUnpacksTheTree(t *testing.T) {
	tool(t, "xorriso", "xorriso")
	asRoot(t)
	s := fstreetest.New(t)
	root := everything(s)
	iso := write(t, s, build(t, root, Options{}), "iso")
	got, want := fstreetest.OfDir(t, extract(t, iso), aspects), s.OfTree(root, aspects)
	// xorriso makes no devices, and gives links neither owner nor time: what it lists is compared below.
	_ = fstree.Walk(root, func(path string, n *fstree.Node) error {
		switch n.Type {
		case tar.TypeChar, tar.TypeBlock, tar.TypeSymlink:
			delete(got, path)
			delete(want, path)
		}
		return nil
	})
	fstreetest.Compare(t, got, want)
	listed := run(t, "xorriso", "-indev", iso, "-find", "/", "-exec", "lsdl", "--")
	for _, want := range []string{
		`crw--w----\s+1\s+1\s+5\s+1,3\s+\S+ +\d+ +2021 '/dev/null'`,
		`brw--w----\s+1\s+1\s+5\s+8,0\s+\S+ +\d+ +2021 '/dev/sda'`,
		`crw--w----\s+1\s+1\s+5\s+5,1\s+\S+ +\d+ +2021 '/dev/console'`,
		`lrwxrwxrwx\s+1\s+7\s+0\s+0\s+Jan +1 +1970 '/bin' -> 'usr/bin'`,
		`'/link3' -> '\.'`, `'/link5' -> 'a/\./b/\.\./c'`, `'/link12' -> '(/p{99}){10}/end'`, `'/link10' -> 'l{255}'`,
	} {
		if !regexp.MustCompile(want).MatchString(listed) {
			t.Errorf("no %s in\n%.9000s", want, listed)
		}
	}
}

func TestTheSameTreeGivesTheSameBytes(t *testing.T) {
	s := fstreetest.New(t)
	var first, second bytes.Buffer
	s.Copy(&first, build(t, everything(s), Options{Files: []File{{"boot/a", extents.Bytes([]byte("a"))}}}).Artifact())
	s.Copy(&second, build(t, everything(s), Options{Files: []File{{"boot/a", extents.Bytes([]byte("a"))}}}).Artifact())
	if !bytes.Equal(first.Bytes(), second.Bytes()) {
		t.Error("two ISOs of the same tree differ")
	}
}

func TestFilesAreAddedToATree(t *testing.T) {
	tool(t, "xorriso", "xorriso")
	asRoot(t)
	s := fstreetest.New(t)
	kernel, size := s.Put(strings.NewReader(strings.Repeat("kernel", 1000)))
	root := s.Build(fstree.Options{}, s.Part(dir("boot"), file("boot/config", "c"), dir("z")))
	before := s.OfTree(root, aspects)
	list := extents.Blob(kernel, size)
	list.Bytes([]byte("tail"))
	iso := write(t, s, build(t, root, Options{Files: []File{
		{"boot/kernel", list}, {"/boot/grub/grub.cfg", extents.Bytes([]byte("menu"))}, {"boot/nothing", nil}, {"aa", extents.Bytes([]byte("aa"))},
	}}), "iso")
	fstreetest.Compare(t, s.OfTree(root, aspects), before) // the caller's tree is as it was
	out := extract(t, iso)
	for name, want := range map[string]string{
		"boot/kernel": strings.Repeat("kernel", 1000) + "tail", "boot/grub/grub.cfg": "menu", "boot/nothing": "", "aa": "aa", "boot/config": "c",
	} {
		got, err := os.ReadFile(filepath.Join(out, name))
		if err != nil || string(got) != want {
			t.Errorf("%s has %d bytes, want %d: %v", name, len(got), len(want), err)
		}
	}
}

func TestAnISOMayBeOfFilesAlone(t *testing.T) {
	tool(t, "isoinfo", "genisoimage")
	s := fstreetest.New(t)
	iso := write(t, s, build(t, nil, Options{VolumeID: "cidata", Files: []File{{"user-data", extents.Bytes([]byte("#cloud-config\n"))}}}), "iso")
	if got := run(t, "isoinfo", "-d", "-i", iso); !strings.Contains(got, "Volume id: cidata\n") {
		t.Errorf("no volume id cidata in\n%s", got)
	}
	for _, as := range [][]string{{"-R", "-x", "/user-data"}, {"-J", "-x", "/user-data;1"}, {"-x", "/USER_DATA.;1"}} {
		if got := run(t, "isoinfo", append(as, "-i", iso)...); got != "#cloud-config\n" {
			t.Errorf("isoinfo %v: %q", as, got)
		}
	}
}

func TestIsoinfoListsJolietNames(t *testing.T) {
	tool(t, "isoinfo", "genisoimage")
	s := fstreetest.New(t)
	iso := write(t, s, build(t, everything(s), Options{}), "iso")
	got := run(t, "isoinfo", "-J", "-l", "-i", iso)
	for _, want := range []string{"a_b_c_d_e_f", strings.Repeat("n", 103), "readme.txt.gz", "level28", "a-long-name-that-is-cut-after-30-characters-299.conf"} {
		if !strings.Contains(got, want) {
			t.Errorf("no %s in\n%.3000s", want, got)
		}
	}
	for _, not := range []string{"link0", "console", strings.Repeat("n", 104)} {
		if strings.Contains(got, not) {
			t.Errorf("%s is there", not)
		}
	}
	plain := run(t, "isoinfo", "-l", "-i", iso)
	for _, want := range []string{"README.;1", "README_2", "README_TXT.GZ;1", "_HIDDEN.;1"} {
		if !strings.Contains(plain, want) {
			t.Errorf("no %s in\n%.3000s", want, plain)
		}
	}
}

func TestAFileOfFiveGiB(t *testing.T) {
	tool(t, "xorriso", "xorriso")
	const size = 5<<30 + 77
	marks := map[int64]string{0: "first", maxSection - 2: "between", size - 4: "last"}
	big := extents.Blob(cache.SumBytes([]byte("big")), size)
	iso := sparse(t, build(t, nil, Options{Files: []File{{"big", big}, {"small", extents.Bytes([]byte("small"))}}}), marks)
	got := run(t, "xorriso", "-indev", iso, "-find", "/", "-exec", "report_lba", "--", "-find", "/", "-exec", "lsdl", "--")
	if !strings.Contains(got, itoa(size)) {
		t.Errorf("no size %d in\n%s", int64(size), got)
	}
	// It would read all that is before what it extracts, so its sections are compared with where the marks are.
	sections := regexp.MustCompile(`File data lba: +(\d) , +(\d+) , +(\d+) , +\d+ , '/big'`).FindAllStringSubmatch(got, -1)
	if len(sections) != 2 || sections[0][3] != itoa(maxSection/Sector) || sections[1][3] != itoa(sectors(size-maxSection)) {
		t.Fatalf("sections %q in\n%s", sections, got)
	}
	f, err := os.Open(iso)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var starts [2]int64
	for i, s := range sections {
		if starts[i], err = strconv.ParseInt(s[2], 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	for off, want := range map[int64]string{
		starts[0] * Sector: "first", starts[0]*Sector + maxSection - 2: "be", starts[1] * Sector: "tween", starts[1]*Sector + size - maxSection - 4: "last",
	} {
		p := make([]byte, len(want))
		if _, err := f.ReadAt(p, off); err != nil || string(p) != want {
			t.Errorf("at %d: %q, want %q: %v", off, p, want, err)
		}
	}
}

func TestWhatAnISOCannotHoldGetsASentence(t *testing.T) {
	s := fstreetest.New(t)
	text := extents.Bytes([]byte("text"))
	huge := &extents.List{}
	huge.Zeros(3 << 40)
	tests := []struct {
		name string
		root *fstree.Node
		o    Options
		want string
	}{
		{"a long volume name", nil, Options{VolumeID: strings.Repeat("V", 33)}, "33 characters"},
		{"a strange volume name", nil, Options{VolumeID: "Künstler"}, "not printable ASCII"},
		{"a name of 254 bytes", s.Build(fstree.Options{}, s.Part(file(strings.Repeat("n", 254), ""))), Options{}, "254 bytes"},
		{"a device of major 0", s.Build(fstree.Options{}, s.Part(special("odd", tar.TypeChar, 0, 256))), Options{}, "device 0:256"},
		{"a file that is there", s.Build(fstree.Options{}, s.Part(file("kernel", ""))), Options{Files: []File{{"kernel", text}}}, "something of that name"},
		{"a file below a file", s.Build(fstree.Options{}, s.Part(file("boot", ""))), Options{Files: []File{{"boot/kernel", text}}}, "boot is no directory"},
		{"a file outside", nil, Options{Files: []File{{"../kernel", text}}}, "cannot be the name"},
		{"a file without name", nil, Options{Files: []File{{"/", text}}}, "cannot be the name"},
		{"a root that is a file", &fstree.Node{Type: tar.TypeReg}, Options{}, "no directory"},
		{"3 TiB", nil, Options{Files: []File{{"huge", huge}}}, "larger than 2 TiB"},
		{"an empty image for UEFI", nil, Options{EFI: &EFI{Name: "efi.img"}}, "is empty"},
		{"no isolinux", nil, Options{BIOS: &BIOS{Name: "isolinux.bin", Image: []byte("x")}}, "is not ISOLINUX"},
		{"a large disk code", nil, Options{BIOS: &BIOS{Name: "isolinux.bin", Image: make([]byte, 999), DiskCode: make([]byte, 440)}}, "give isohdpfx.bin"},
		{"an old isolinux", nil, Options{BIOS: &BIOS{Name: "isolinux.bin", Image: make([]byte, 999), DiskCode: make([]byte, 432)}}, "cannot start from a disk"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			_, err := Build(test.root, test.o)
			var failure *step.Failure
			if !errors.As(err, &failure) || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want %q", err, test.want)
			}
		})
	}
}
