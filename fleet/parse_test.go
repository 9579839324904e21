package fleet

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"google.golang.org/protobuf/proto"

	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
)

const whole = `# A room.
machines:
  - name: web-1
    mac: 52-54-00-00-00-01
    labels: {role: web, rack: 7}
    address: 10.0.0.5/24
    address6: FD00:0::5/64
    gateway: 10.0.0.1
    dns: [10.0.0.1]
    hostname: web-1.example
    ssh_keys:
      - ` + annKey + `
    values:
      port: 8080
      token: {file: token.txt}
    templates:
      user-data: {file: t/web.yml}
      ignition: |
        {"ignition": {"version": "3.4.0"}}
    secrets:
      password: {file: ./t/../t/secret}
    confirmed: true
---
machines:
  - {name: web-2, macs: [52:54:00:00:00:02, "10:22:33:44:55:66"], uuid: 4C4C4544-0042-3510-8056-B4C04F4A3232, local_disk: true, boot_once: v2}
groups:
  - name: web
    selector: {role: web}
    priority: 10
    release: v1
    cmdline: quiet
  - {name: new, unknown: true, release: old, boot: loader}
---
releases:
  - name: v1
    build: hello
  - name: v2
    platforms:
      linux/amd64: {kernel: ./vmlinuz, initrd: [base.img, t/more.img], cmdline: console=ttyS0, uki: v2.efi}
      linux/arm64:
        kernel: vmlinuz-arm64
        initrd: arm.img
`

func folder() fstest.MapFS {
	return fstest.MapFS{
		"machines.yml": {Data: []byte(whole)}, "token.txt": {Data: []byte("abc\r\n")}, "t/web.yml": {Data: []byte("#cloud-config\n")}, "t/secret": {Data: []byte("geheim\n\n")},
	}
}

func TestAFolderIsOneIntent(t *testing.T) {
	files, err := ReadDir(folder())
	if err != nil {
		t.Fatal(err)
	}
	got, faults := Parse(files, Options{FS: folder(), Releases: []string{"old"}})
	if len(faults) > 0 {
		t.Fatal(Faults(faults))
	}
	empty := func() *kilnv1.FileRef { return &kilnv1.FileRef{} }
	want := &kilnv1.Intent{
		Machines: []*kilnv1.Machine{
			{Name: "web-1", Macs: []string{"52:54:00:00:00:01"}, Labels: map[string]string{"role": "web", "rack": "7"}, Address: "10.0.0.5/24", Address6: "fd00::5/64", Gateway: "10.0.0.1",
				Dns: []string{"10.0.0.1"}, Hostname: "web-1.example", SshKeys: []string{annKey}, Values: map[string]string{"port": "8080", "token": "abc"},
				Templates: map[string]string{"user-data": "#cloud-config\n", "ignition": "{\"ignition\": {\"version\": \"3.4.0\"}}\n"},
				Secrets:   map[string]string{"password": "geheim\n"}, Confirmed: true},
			{Name: "web-2", Macs: []string{"52:54:00:00:00:02", "10:22:33:44:55:66"}, Uuid: "4c4c4544-0042-3510-8056-b4c04f4a3232", LocalDisk: true, BootOnce: "v2"},
		},
		Groups: []*kilnv1.Group{
			{Name: "web", Selector: map[string]string{"role": "web"}, Priority: 10, Release: "v1", Cmdline: "quiet"},
			{Name: "new", Unknown: true, Release: "old", Boot: BootLoader},
		},
		Releases: []*kilnv1.Release{
			{Name: "v1", Build: "hello"},
			{Name: "v2", Platforms: map[string]*kilnv1.ReleaseFiles{
				"linux/amd64": {Kernel: empty(), Initrds: []*kilnv1.FileRef{empty(), empty()}, Cmdline: "console=ttyS0", Uki: empty()},
				"linux/arm64": {Kernel: empty(), Initrds: []*kilnv1.FileRef{empty()}},
			}},
		},
	}
	if !proto.Equal(got.Intent, want) {
		t.Errorf("got  %v\nwant %v", got.Intent, want)
	}
	var uploads []string
	for _, u := range got.Uploads {
		uploads = append(uploads, fmt.Sprintf("%s %s %s %s %s:%d", u.Release, u.Platform, u.Part, u.Path, u.File, u.Line))
		u.Ref.Digest = digest
	}
	wantUploads := []string{
		"v2 linux/amd64 kernel vmlinuz machines.yml:39", "v2 linux/amd64 initrd base.img machines.yml:39", "v2 linux/amd64 initrd t/more.img machines.yml:39",
		"v2 linux/amd64 uki v2.efi machines.yml:39", "v2 linux/arm64 kernel vmlinuz-arm64 machines.yml:41", "v2 linux/arm64 initrd arm.img machines.yml:42",
	}
	if !slices.Equal(uploads, wantUploads) {
		t.Errorf("got uploads\n%s\nwant\n%s", strings.Join(uploads, "\n"), strings.Join(wantUploads, "\n"))
	}
	got.Intent.Releases[0].Platforms = got.Intent.Releases[1].Platforms
	got.Intent.Releases = append(got.Intent.Releases, &kilnv1.Release{Name: "old", Platforms: got.Intent.Releases[1].Platforms})
	if p := Check(got.Intent); p != nil {
		t.Errorf("after the uploads there is still wrong: %v", p)
	}
}

func TestFilesInFoldersBelowAreRelativeToThem(t *testing.T) {
	fsys := fstest.MapFS{"rack/a.txt": {Data: []byte("x")}}
	got, faults := Parse([]File{{"rack/m.yml", []byte("machines: [{name: a, mac: 52:54:00:00:00:01, values: {x: {file: a.txt}}}]")}}, Options{FS: fsys})
	if len(faults) > 0 || got.Intent.Machines[0].Values["x"] != "x" {
		t.Errorf("got %v %v", got.Intent, faults)
	}
}

func TestBadFilesGetASentence(t *testing.T) {
	const head = "machines:\n  - name: a\n    mac: 52:54:00:00:00:01\n"
	for _, c := range []struct{ name, yaml, want string }{
		{"an unknown section", "machnes: []\n", `m.yml:1: unknown key "machnes" in the file; did you mean "machines"?`},
		{"an unknown key", head + "    adress: x\n", `m.yml:4: unknown key "adress" in machines[0]; did you mean "address"?`},
		{"an IPv6 address, found where it stands", head + "    address6: fd00::5\n", `m.yml:4: machine a: "fd00::5" is not an IPv6 address with its prefix; write it like "fd00::5/64"`},
		{"an unknown key near none", "releases:\n  - name: a\n    build: b\n    xyzzyplugh: 1\n", `m.yml:4: unknown key "xyzzyplugh" in releases[0]; there are build, cmdline, name and platforms`},
		{"a key twice", head + "    name: b\n", `m.yml:4: the key "name" is there twice in machines[0]; keep one`},
		{"a list that is none", "machines: a\n", `m.yml:1: machines must be a list, not a text; start each item with "- "`},
		{"a file that is a list", "- a\n", `m.yml:1: the file must be a mapping, not a list; write its keys below it, indented`},
		{"a mapping that is none", "machines: [a]\n", `m.yml:1: machines[0] must be a mapping, not a text; write its keys below it, indented`},
		{"nothing", head + "    hostname:\n", `m.yml:4: machines[0].hostname is empty; give it a value or leave the key out`},
		{"a flag that is none", head + "    confirmed: \"yes\"\n", `m.yml:4: machines[0].confirmed must be true or false, not a text; write true or false without quotes`},
		{"a priority that is none", "groups:\n  - name: a\n    priority: 99999999999\n", `m.yml:3: groups[0].priority must be a whole number, not a number; write one between -2147483648 and 2147483647`},
		{"a text that is a list", head + "    hostname: [a]\n", `m.yml:4: machines[0].hostname must be a text, not a list; write one text`},
		{"a merge key", "machines:\n  - <<: {name: a}\n    name: b\n    mac: 52:54:00:00:00:01\n", `m.yml:2: machines[0] has the key "<<", which is not followed here; give what is common to a group`},
		{"broken YAML", "machines: [a\ngroups: {\n", `m.yml:1: not valid YAML: did not find expected ',' or ']'`},
		{"broken YAML in a later document", head + "---\na: b: c\n", `m.yml:5: not valid YAML: mapping values are not allowed in this context`},
		{"a MAC, found where it stands", "machines:\n  - name: a\n    macs:\n      - 52:54:00:00:00:01\n      - nonsense\n",
			`m.yml:5: machine a: "nonsense" is not a MAC address; write it like "52:54:00:12:34:56"`},
		{"a MAC that two have", head + "  - {name: b, mac: 52:54:00:00:00:01}\n", `m.yml:4: machine b: the MAC "52:54:00:00:00:01" is that of machine a already; change one of them`},
		{"a label, found where it stands", head + "    labels:\n      a: b\n      c: \"d e\"\n",
			`m.yml:6: machine a: "d e" is not a label's value; use up to 63 letters, digits, "-", "_" and ".", and a value for longer text`},
		{"a template, found where it stands", head + "    templates:\n      user-data: \"{{.x\"\n", `m.yml:5: machine a: its template user-data does not compile: line 1: unclosed action`},
		{"a machine without name", "machines:\n  - mac: 52:54:00:00:00:01\n", `m.yml:2: machine 1: "" is not a machine's name; use up to 64 lower-case letters, digits, "-" and ".", as in "rack1-web-3"`},
		{"a release that is not there", "groups:\n  - name: a\n    release: odl\n", `m.yml:3: group a: release names the release "odl", which is not there; did you mean "old"?`},
		{"a build with files", "releases:\n  - name: a\n    platforms: {linux/amd64: {kernel: k}}\n    build: b\n",
			`m.yml:3: release a has a build and platforms, and a build has its own files; keep one of them`},
		{"a release with nothing", "releases:\n  - name: a\n", `m.yml:2: release a: it has no files; name a build, or a kernel for each platform`},
		{"a platform without a kernel", "releases:\n  - name: a\n    platforms:\n      linux/amd64: {cmdline: x}\n",
			`m.yml:4: release a: it has neither a kernel nor a unified kernel image for linux/amd64; add one`},
		{"an unknown file of a release", "releases:\n  - name: a\n    platforms:\n      linux/amd64: {kernel: k, initrds: [x]}\n",
			`m.yml:4: unknown key "initrds" in releases[0].platforms.linux/amd64; did you mean "initrd"?`},
		{"a template's file that is not there", head + "    templates:\n      user-data: {file: none.yml}\n",
			`m.yml:5: machines[0].templates.user-data names the file "none.yml", which cannot be read: file does not exist; paths are relative to the folder of "m.yml"`},
		{"a file that is a folder", head + "    values:\n      x: {file: dir}\n",
			`m.yml:5: machines[0].values.x names the file "dir", which cannot be read: it is not a regular file; paths are relative to the folder of "m.yml"`},
		{"a file that is too large", head + "    values:\n      x: {file: large}\n",
			`m.yml:5: machines[0].values.x names the file "large", which cannot be read: it has more than 65536 bytes; paths are relative to the folder of "m.yml"`},
		{"a file above the folder", head + "    secrets:\n      x: {file: ../../etc/shadow}\n",
			`m.yml:5: machines[0].secrets.x.file is "../../etc/shadow", which is not a file in the folder; put the file there and write its path relative to "m.yml"`},
		{"a file at the root", head + "    secrets:\n      x: {file: /etc/shadow}\n",
			`m.yml:5: machines[0].secrets.x.file is "/etc/shadow", which is not a file in the folder; put the file there and write its path relative to "m.yml"`},
		{"a kernel above the folder", "releases:\n  - name: a\n    platforms: {linux/amd64: {kernel: ../k}}\n",
			`m.yml:3: releases[0].platforms.linux/amd64.kernel is "../k", which is not a file in the folder; put the file there and write its path relative to "m.yml"`},
		{"another key than file", head + "    values:\n      x: {fiel: a}\n", `m.yml:5: unknown key "fiel" in machines[0].values.x; write a text, or "file: PATH"`},
		{"a secret of the wrong kind is not shown", head + "    secrets:\n      x: [geheim]\n", `m.yml:5: machines[0].secrets.x must be a text, not a list; write one text`},
	} {
		t.Run(c.name, func(t *testing.T) {
			fsys := fstest.MapFS{"dir": {Mode: fs.ModeDir}, "large": {Data: make([]byte, 65537)}}
			_, faults := Parse([]File{{"m.yml", []byte(c.yaml)}}, Options{FS: fsys, Releases: []string{"old"}})
			got := Faults(faults).Error()
			if got != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
			if strings.Contains(got, "geheim") {
				t.Error("a secret is shown")
			}
		})
	}
}

func TestNothingOutsideOfTheFolderIsReadThroughLinks(t *testing.T) {
	dir := t.TempDir()
	inside := filepath.Join(dir, "room")
	if err := os.Mkdir(inside, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "shadow"), []byte("geheim"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("../shadow", filepath.Join(inside, "link")); err != nil {
		t.Fatal(err)
	}
	root, err := os.OpenRoot(inside)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	got, faults := Parse([]File{{"m.yml", []byte("machines: [{name: a, mac: 52:54:00:00:00:01, values: {x: {file: link}}}]")}}, Options{FS: root.FS()})
	if len(faults) != 1 || strings.Contains(got.Intent.String(), "geheim") {
		t.Errorf("got %v %v", got.Intent, faults)
	}
}

func TestAliasesDoNotGrowWithoutEnd(t *testing.T) {
	var b strings.Builder
	b.WriteString("machines:\n  - &m {name: a, labels: &l {a: b}}\n")
	b.WriteString("  - *m\n  - {name: b, labels: *l, mac: 52:54:00:00:00:01}\n")
	b.WriteString("  - &self {name: c, labels: *self}\n")
	_, faults := Parse([]File{{"m.yml", []byte(b.String())}}, Options{})
	if len(faults) == 0 {
		t.Error("a machine that contains itself has no faults")
	}
	many := "groups:\n  - &g {name: g}\n" + strings.Repeat("  - *g\n", maxObjects)
	got, faults := Parse([]File{{"m.yml", []byte(many)}}, Options{})
	if len(got.Intent.Groups) != maxObjects || len(faults) != 1 {
		t.Errorf("got %d groups and %d faults", len(got.Intent.Groups), len(faults))
	}
}

func TestAFolderWithoutMachines(t *testing.T) {
	if _, err := ReadDir(fstest.MapFS{"a/m.yml": {}}); err == nil || err.Error() != "the folder has no file that ends in .yml or .yaml; write machines.yml" {
		t.Errorf("got %v", err)
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(whole))
	f.Add([]byte(subnetsYAML))
	f.Add([]byte("machines: [{name: a, mac: 52:54:00:00:00:01, secrets: {a: {file: ../x}}}]"))
	f.Add([]byte("groups: &a [{name: a, selector: *a}]"))
	f.Add([]byte("releases:\n- name: a\n  platforms: {linux/amd64: {kernel: /etc/passwd}}"))
	f.Fuzz(func(t *testing.T, data []byte) {
		got, faults := Parse([]File{{"m.yml", data}}, Options{FS: folder()})
		again, faults2 := Parse([]File{{"m.yml", data}}, Options{FS: folder()})
		if !proto.Equal(got.Intent, again.Intent) || !slices.Equal(faults, faults2) {
			t.Error("the same file is read in two ways")
		}
		for _, u := range got.Uploads {
			if !fs.ValidPath(u.Path) {
				t.Errorf("the path %q leaves the folder", u.Path)
			}
		}
		for _, fault := range faults {
			if fault.File == "" || fault.Text == "" || fault.Line < 0 {
				t.Errorf("a fault without place or text: %+v", fault)
			}
		}
		index := NewIndex(got.Intent)
		for _, m := range got.Intent.Machines {
			if b, err := index.Named(m.GetName()); b == nil && len(faults) == 0 {
				t.Errorf("machine %q is not found: %v", m.GetName(), err)
			}
		}
		if text, err := WriteYAML(got.Intent.Subnets, nil); len(faults) == 0 && err == nil {
			written, faults := Parse([]File{{"m.yml", text}}, Options{})
			if len(faults) > 0 || len(Diff(&kilnv1.Intent{Subnets: got.Intent.Subnets}, written.Intent)) > 0 {
				t.Errorf("what is written is read as something else: %v\n%s", Faults(faults), text)
			}
		}
		if d := Diff(got.Intent, again.Intent); len(d) != 0 {
			t.Errorf("differences to itself: %v", d)
		}
	})
}
