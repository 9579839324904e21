package fleet

import (
	"net/netip"
	"strings"
	"testing"
	"testing/fstest"

	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
)

func TestTheCommandLineOfAMachine(t *testing.T) {
	long := strings.Repeat("x", 1024)
	for _, c := range []struct {
		name   string
		change func(*kilnv1.Intent)
		want   string // or the beginning of an error
	}{
		{"as others say it, the machine last", func(in *kilnv1.Intent) { in.Machines[0].Cmdline = "mine" }, "console=ttyS0 quiet quiet=2 mine"},
		{"a template of a group", func(in *kilnv1.Intent) {
			in.Groups[1].Cmdline = "worker_id={{.Machine.MAC}} zone={{.Values.zone}}"
		}, "console=ttyS0 quiet worker_id=52:54:00:00:00:01 zone=z2"},
		{"a template of the release", func(in *kilnv1.Intent) { in.Releases[0].Cmdline = "name={{.Machine.Name}}" }, "console=ttyS0 name=web-1 quiet quiet=2"},
		{"a template of the files", func(in *kilnv1.Intent) { in.Releases[0].Platforms["linux/amd64"].Cmdline = "ip={{.Machine.Address}}" }, "ip=10.0.0.5 quiet quiet=2"},
		{"braces that a build made", func(in *kilnv1.Intent) {
			in.Releases[0].Build, in.Releases[0].Platforms["linux/amd64"].Cmdline = "hello", "a={{x"
		}, "a={{x quiet quiet=2"},
		{"a release that replaces what its build has", func(in *kilnv1.Intent) {
			in.Releases[0].Build, in.Releases[0].Platforms["linux/amd64"].Cmdline = "hello", long+long
			in.Releases[0].Cmdline, in.Releases[0].CmdlineReplaces = "console=tty1", true
		}, "console=tty1 quiet quiet=2"},
		{"a group that replaces", func(in *kilnv1.Intent) { in.Groups[1].CmdlineReplaces = true }, "quiet=2"},
		{"two that replace", func(in *kilnv1.Intent) { in.Groups[0].CmdlineReplaces, in.Groups[1].CmdlineReplaces = true, true }, "quiet=2"},
		{"a group that replaces with nothing", func(in *kilnv1.Intent) { in.Groups[1].Cmdline, in.Groups[1].CmdlineReplaces = "", true }, ""},
		{"a machine that replaces", func(in *kilnv1.Intent) { in.Machines[0].Cmdline, in.Machines[0].CmdlineReplaces = "a", true }, "a"},
		{"a field that is not there", func(in *kilnv1.Intent) { in.Groups[1].Cmdline = "id={{.Machine.Mac}}" },
			"cmdline of group web: line 1: .Machine.Mac: there is no field Mac; did you mean MAC?"},
		{"a secret", func(in *kilnv1.Intent) { in.Groups[1].Cmdline = "pw={{.Secrets.password}}" }, "cmdline of group web: line 1: the template uses secrets"},
		{"a value that is another command", func(in *kilnv1.Intent) {
			in.Machines[0].Values["port"] = "1 && shell"
			in.Groups[1].Cmdline = "port={{.Values.port}}"
		}, "cmdline of group web: the kernel command line holds the word &&"},
		{"a value that is another line", func(in *kilnv1.Intent) {
			in.Machines[0].Values["port"] = "1\nboot"
			in.Groups[1].Cmdline = "port={{.Values.port}}"
		}, "cmdline of group web: the command line holds a control character"},
	} {
		t.Run(c.name, func(t *testing.T) {
			in := room()
			c.change(in)
			boot, err := Resolve(in, Identity{MAC: "52:54:00:00:00:01"})
			if err != nil {
				t.Fatal(err)
			}
			f, err := boot.Files("amd64")
			if err != nil {
				t.Fatal(err)
			}
			got, err := boot.Cmdline(f, netip.Prefix{})
			if err != nil {
				got = err.Error()
				if !strings.HasPrefix(got, c.want) || c.want == "" {
					t.Errorf("got the error %s, want %s", got, c.want)
				}
				return
			}
			if got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

func TestCommandLinesAreTriedForEveryMachine(t *testing.T) {
	part := func(n int) string { return strings.Repeat("x", n) }
	for _, c := range []struct {
		name   string
		change func(*kilnv1.Intent)
		want   string
	}{
		{"a template that all machines fill", func(in *kilnv1.Intent) { in.Groups[1].Cmdline = "name={{.Machine.Name}}" }, ""},
		{"a value that one machine lacks", func(in *kilnv1.Intent) {
			in.Groups[0].Values = nil
			in.Groups[0].Templates = nil
			in.Groups[1].Cmdline = "port={{.Values.port}}"
		}, `group web: its cmdline, for machine web-2: line 1: at <.Values.port>: map has no entry for key "port"; give the machine or its group that value, or write default "…" (index .Values "…")`},
		{"a field that no machine has", func(in *kilnv1.Intent) { in.Groups[0].Cmdline = "{{.Machine.Serial}}" },
			"group all: its cmdline, for machine web-1: line 1: .Machine.Serial: there is no field Serial; there are Address, DNS, Gateway, Hostname, ID, Labels, MAC, MACs, Name, Prefix, SSHKeys, UUID (and so for 4 other machines)"},
		{"a field that is misspelt for machines that nobody described", func(in *kilnv1.Intent) { in.Groups[3].Cmdline = "{{.Machine.Adress}}" },
			"group new: its cmdline, for machines that nobody described: line 1: .Machine.Adress: there is no field Adress; did you mean Address?"},
		{"a template that does not compile", func(in *kilnv1.Intent) { in.Machines[0].Cmdline = "{{.Machine" }, "machine web-1: its cmdline does not compile: line 1: unclosed action"},
		{"a sum that a kernel cuts", func(in *kilnv1.Intent) {
			in.Releases[0].Platforms["linux/amd64"].Cmdline, in.Groups[0].Cmdline, in.Groups[1].Cmdline = part(1024), part(700), part(680)
		}, "machine web-1: the kernel's command line has 2698 bytes with the address of its configuration and its token, more than the 2000 that reach a kernel for sure; shorten it, or replace a part of it (cmdline: {replace: …})"},
		{"a sum that fits", func(in *kilnv1.Intent) {
			in.Releases[0].Platforms["linux/amd64"].Cmdline, in.Groups[1].Cmdline = part(1024), part(650)
		}, ""},
		{"a sum that fits since a part is replaced", func(in *kilnv1.Intent) {
			in.Releases[0].Platforms["linux/amd64"].Cmdline, in.Groups[0].Cmdline, in.Groups[1].Cmdline, in.Groups[1].CmdlineReplaces = part(1024), part(700), part(680), true
		}, ""},
		{"a sum that is another for another platform", func(in *kilnv1.Intent) {
			f := files()["linux/amd64"]
			f.Cmdline = part(1900)
			in.Releases[0].Platforms["linux/arm64"] = f
		}, "machine web-1: the kernel's command line has 2"},
		{"the image's own command line", func(in *kilnv1.Intent) {
			for _, r := range in.Releases {
				r.Platforms["linux/amd64"].Uki = ref()
			}
			in.Releases[0].Platforms["linux/amd64"].Cmdline, in.Groups[1].Cmdline, in.Groups[1].Boot = part(1024), part(1024), BootUKI
		}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			in := room()
			c.change(in)
			if got := Check(in).Error(); got != c.want && (c.want == "" || !strings.HasPrefix(got, c.want)) {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
		})
	}
}

func TestTheConfigurationStandsFirstInACommandLine(t *testing.T) {
	edges := []string{"http://10.0.0.1:7380", "http://10.0.0.2:7380"}
	for _, c := range []struct {
		name, cmdline, loader, want string
		edges                       []string
	}{
		{"alone", "quiet", "", "kiln.config=http://10.0.0.1:7380/m/T ds=nocloud;s=http://10.0.0.1:7380/m/T/nocloud/;dsmode=net quiet", edges[:1]},
		{"two edges, and words of a loader", " quiet ", "initrd=initrd0", "kiln.config=http://10.0.0.1:7380/m/T kiln.config=http://10.0.0.2:7380/m/T ds=nocloud;s=http://10.0.0.1:7380/m/T/nocloud/;dsmode=net initrd=initrd0 quiet", edges},
		{"nothing else", "", "", "kiln.config=http://10.0.0.1:7380/m/T ds=nocloud;s=http://10.0.0.1:7380/m/T/nocloud/;dsmode=net", edges[:1]},
	} {
		if got, err := KernelLine(c.cmdline, "T", c.edges, c.loader); err != nil || got != c.want {
			t.Errorf("%s: got %q %v, want %q", c.name, got, err, c.want)
		}
	}
	for length := 1700; length < 2100; length++ {
		got, err := KernelLine(strings.Repeat("x", length), "T", edges, "")
		if len(got) > LongestLine || err == nil && !strings.HasSuffix(got, " "+strings.Repeat("x", length)) || err != nil && length < 1780 {
			t.Fatalf("%d bytes: %d bytes come out, %v", length, len(got), err)
		}
	}
}

func TestARuleThatIsNewerThanAnIntentStopsNoOtherChange(t *testing.T) {
	now := room()
	now.Groups[1].Cmdline = "{{.Machine.Mac}}"
	next := room()
	next.Groups[1].Cmdline = "{{.Machine.Mac}}"
	next.Machines[2].Confirmed = true
	if got := CheckChange(now, next); len(got) > 0 {
		t.Errorf("got %v", got)
	}
	next.Groups[0].Cmdline = "{{.Machine.Uuid}}"
	if got := CheckChange(now, next).Error(); !strings.Contains(got, "did you mean UUID?") || strings.Contains(got, "Machine.Mac:") {
		t.Errorf("got %v", got)
	}
}

// What is wrong within a template is told with the line in the file that has it.
func TestFaultsInTemplatesHaveTheirPlace(t *testing.T) {
	fsys := fstest.MapFS{"web.yml": {Data: []byte("#cloud-config\nhostname: {{ .Machine.Name\n")}, "ok.tmpl": {Data: []byte("{{.Values.port}}\n")}}
	for _, c := range []struct{ name, yaml, want string }{
		{"a file", "groups:\n  - name: web\n    templates: {user-data: {file: web.yml}}\n", "web.yml:2: group web: its template user-data does not compile: line 2: "},
		{"a block", "groups:\n  - name: web\n    templates:\n      user-data: |\n        one\n        {{ two\n", "m.yml:6: group web: its template user-data does not compile: line 2: "},
		{"a command line", "groups:\n  - {name: web,\n     cmdline: \"id={{.Machine.Mac}}\"}\nmachines:\n  - {name: a, mac: \"52:54:00:00:00:01\"}\n",
			"m.yml:3: group web: its cmdline, for machine a: line 1: .Machine.Mac: there is no field Mac; did you mean MAC?"},
		{"a command line that replaces", "groups:\n  - name: web\n    cmdline:\n      replace: \"id={{.Machine.Mac}}\"\nmachines:\n  - {name: a, mac: \"52:54:00:00:00:01\"}\n",
			"m.yml:4: group web: its cmdline, for machine a: line 1: "},
		{"another key than replace", "groups:\n  - name: web\n    cmdline: {replaced: x}\n", `m.yml:3: unknown key "replaced" in groups[0].cmdline; did you mean "replace"?`},
	} {
		_, faults := Parse([]File{{"m.yml", []byte(c.yaml)}}, Options{FS: fsys})
		if got := Faults(faults).Error(); !strings.HasPrefix(got, c.want) || strings.Contains(got, "\n") {
			t.Errorf("%s: got %s, want %s", c.name, got, c.want)
		}
	}
	parsed, faults := Parse([]File{{"m.yml", []byte("groups:\n  - {name: web, cmdline: {replace: a}, templates: {user-data: {file: ok.tmpl}}}\nreleases:\n  - {name: v1, build: hello, cmdline: b}\nmachines:\n  - {name: a, mac: \"52:54:00:00:00:01\", cmdline: \"c={{.Machine.MAC}}\"}\n")}}, Options{FS: fsys})
	if len(faults) > 0 {
		t.Fatal(faults)
	}
	in := parsed.Intent
	if g, r, m := in.Groups[0], in.Releases[0], in.Machines[0]; g.Cmdline != "a" || !g.CmdlineReplaces || r.Cmdline != "b" || r.CmdlineReplaces || m.Cmdline != "c={{.Machine.MAC}}" || m.CmdlineReplaces {
		t.Errorf("got %v", in)
	}
}

// A template that is called like a description is none: its folder is read as people mean it.
func TestATemplateIsNoDescription(t *testing.T) {
	fsys := fstest.MapFS{
		"room.yml":  {Data: []byte("groups:\n  - {name: web, templates: {user-data: {file: web.yml}, vendor-data: {file: more.yml}}}\n")},
		"web.yml":   {Data: []byte("#cloud-config\nhostname: {{.Machine.Name}}\n")},
		"more.yml":  {Data: []byte("packages: [vim]\n")},
		"other.yml": {Data: []byte("machines:\n  - {name: a, mac: \"52:54:00:00:00:01\", values: {x: {file: third.yml}}}\n")},
		"third.yml": {Data: []byte("machines:\n  - {name: b, mac: \"52:54:00:00:00:02\"}\n")}, // described, whoever names it
	}
	files, err := ReadDir(fsys)
	if err != nil {
		t.Fatal(err)
	}
	got, faults := Parse(files, Options{FS: fsys})
	if len(faults) > 0 {
		t.Fatal(Faults(faults))
	}
	if len(got.Intent.Machines) != 2 || len(got.Intent.Groups) != 1 || got.Intent.Groups[0].Templates["vendor-data"] != "packages: [vim]\n" {
		t.Errorf("got %v", got.Intent)
	}
	fsys["stray.yml"] = &fstest.MapFile{Data: []byte("#cloud-config\nhostname: x\n")}
	if files, err = ReadDir(fsys); err != nil {
		t.Fatal(err)
	}
	if _, faults := Parse(files, Options{FS: fsys}); !strings.Contains(Faults(faults).Error(), `stray.yml:2: unknown key "hostname"`) {
		t.Errorf("a file that nobody names is taken for %v", faults)
	}
}

func TestDifferencesOfCommandLines(t *testing.T) {
	now, next := room(), room()
	next.Groups[1].CmdlineReplaces = true
	next.Machines[0].Cmdline = "a"
	next.Releases[0].Cmdline, next.Releases[0].CmdlineReplaces = "", true
	var b strings.Builder
	if err := WriteDiff(&b, Diff(now, next)); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"+ cmdline: a", "+ cmdline.replace: quiet=2", "- cmdline: quiet=2", `+ cmdline.replace: ""`} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("there is no %q:\n%s", want, b.String())
		}
	}
}
