package linuxkit

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"reflect"
	"strconv"
	"strings"

	"gopkg.in/yaml.v3"

	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
)

// settingsKey is the one section that LinuxKit does not know. It says how outputs are made of the image, never what
// is in it.
const settingsKey = "kiln"

// Settings are the section "kiln" of the documents; later documents replace what earlier ones say.
type Settings struct {
	Boot    string // image with boot loaders
	Initrd  string // image that becomes the initrd of formats that keep the root filesystem on the disk
	Cmdline string // put behind the kernel's
	Serial  string // console, such as "ttyS0" or "ttyS0,115200n8"
	Disk    DiskSettings
}

// DiskSettings are sizes in bytes; 0 leaves them to Kiln.
type DiskSettings struct {
	Size  int64  // of the whole disk
	State int64  // of a partition for state, which the machine formats
	Root  string // file system of a verified root: "erofs" or "squashfs"
}

// settingsShape is the grammar of the section.
func settingsShape() *shape {
	str := &shape{kind: text}
	return &shape{kind: object, fields: map[string]*shape{
		"boot": str, "initrd": str, "cmdline": str, "serial": str,
		"disk": {kind: object, fields: map[string]*shape{"size": str, "state": str, "root": str}},
	}}
}

// settings is what the grammar cannot say of the section.
func (r *rules) settings(v *value) {
	r.image(v.get("boot"), settingsKey+".boot", true)
	r.image(v.get("initrd"), settingsKey+".initrd", true)
	for _, name := range []string{"size", "state"} {
		if size := v.get("disk").get(name); size != nil {
			if _, err := ParseSize(size.str()); err != nil {
				r.complain(size, "%s.disk.%s %s", settingsKey, name, err)
			}
		}
	}
	if root := v.get("disk").get("root"); root != nil && root.str() != "erofs" && root.str() != "squashfs" {
		r.complain(root, "%s.disk.root %s: it is erofs or squashfs", settingsKey, quoteShort(root.str()))
	}
	for _, name := range []string{"cmdline", "serial"} {
		if strings.ContainsAny(v.get(name).str(), "\n\x00") {
			r.complain(v.get(name), "%s.%s has more than one line; write it in one", settingsKey, name)
		}
	}
}

// ReadSettings reads the section of documents that were checked.
func ReadSettings(bundle *kilnv1.ConfigBundle) (Settings, error) {
	var out Settings
	for _, doc := range bundle.GetDocuments() {
		var d struct {
			Kiln struct {
				Boot, Initrd, Cmdline, Serial string
				Disk                          struct{ Size, State, Root string }
			}
		}
		if err := yaml.NewDecoder(bytes.NewReader(doc.GetYaml())).Decode(&d); err != nil && !errors.Is(err, io.EOF) {
			return out, syntaxProblem(doc.GetName(), err)
		}
		for _, f := range []struct {
			to   *string
			from string
		}{{&out.Boot, d.Kiln.Boot}, {&out.Initrd, d.Kiln.Initrd}, {&out.Cmdline, d.Kiln.Cmdline}, {&out.Serial, d.Kiln.Serial}, {&out.Disk.Root, d.Kiln.Disk.Root}} {
			if f.from != "" {
				*f.to = f.from
			}
		}
		for _, f := range []struct {
			to   *int64
			from string
		}{{&out.Disk.Size, d.Kiln.Disk.Size}, {&out.Disk.State, d.Kiln.Disk.State}} {
			if f.from == "" {
				continue
			}
			size, err := ParseSize(f.from)
			if err != nil {
				return out, problem(doc.GetName(), fmt.Sprintf("%s.disk: %s", settingsKey, err))
			}
			*f.to = size
		}
	}
	return out, nil
}

// sizeUnits are powers of 1024, as in qemu-img and LinuxKit's own sizes.
var sizeUnits = map[byte]int64{'K': 1 << 10, 'M': 1 << 20, 'G': 1 << 30, 'T': 1 << 40}

// maxSize is beyond any disk that one file should hold: 64 TiB.
const maxSize = 64 << 40

// ParseSize reads "512M", "4G" or a number of bytes. The error says what a size is, without its place.
func ParseSize(s string) (int64, error) {
	number, unit := s, int64(1)
	if n := len(s); n > 1 {
		if u, ok := sizeUnits[s[n-1]&^0x20]; ok {
			number, unit = s[:n-1], u
		}
	}
	size, err := strconv.ParseInt(number, 10, 64)
	if err != nil || size <= 0 || size > maxSize/unit {
		return 0, fmt.Errorf("%s is not a size; write one like 512M or 4G", quoteShort(s))
	}
	return size * unit, nil
}

// withoutSettings is the document as LinuxKit's parser takes it.
func withoutSettings(text []byte) ([]byte, error) {
	if !bytes.Contains(text, []byte(settingsKey)) {
		return text, nil
	}
	var doc yaml.Node
	if err := yaml.NewDecoder(bytes.NewReader(text)).Decode(&doc); err != nil || len(doc.Content) == 0 || doc.Content[0].Kind != yaml.MappingNode {
		return text, nil // the parser says what is wrong
	}
	root := doc.Content[0]
	for i := 0; i+1 < len(root.Content); i += 2 {
		if root.Content[i].Value != settingsKey {
			continue
		}
		begin, end := root.Content[i].Line, 0 // 0: to the end
		root.Content = append(root.Content[:i:i], root.Content[i+2:]...)
		if i < len(root.Content) {
			end = root.Content[i].Line
		}
		return cutLines(text, begin, end, &doc)
	}
	return text, nil
}

// cutLines takes lines out of a text, which leaves want. Where that cannot be done, because other keys are on these lines,
// want is written anew, though that changes what some texts say (asLinuxKitReads).
func cutLines(text []byte, begin, end int, want *yaml.Node) ([]byte, error) {
	lines := bytes.SplitAfter(text, []byte("\n"))
	if end == 0 {
		end = len(lines) + 1
	}
	if begin < end && end <= len(lines)+1 {
		cut := bytes.Join(append(lines[:begin-1:begin-1], lines[end-1:]...), nil)
		var expected any
		got, err := meaning(cut)
		if err == nil && want.Decode(&expected) == nil && reflect.DeepEqual(got, expected) {
			return cut, nil
		}
	}
	return yaml.Marshal(want)
}
