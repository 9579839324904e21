package cli

import (
	"encoding/json"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/kiln-farm/kiln/cache/disk"
	"github.com/kiln-farm/kiln/cli/ui"
	"github.com/kiln-farm/kiln/fleet/local"
	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
)

const roomYAML = `machines:
  - name: web-1
    mac: 52:54:00:12:34:56
    labels: {role: web}
    address: 10.0.0.21/24
    secrets: {password: hunter2}
groups:
  - name: web
    selector: {role: web}
    release: v1
    templates: {user-data: "name={{ .Machine.Name }}"}
releases:
  - {name: v1, build: hello}
`

// rooms are the two places where it may be kept what machines boot.
func eachRoom(t *testing.T, f func(t *testing.T, w *world)) {
	t.Run("in a cache directory", func(t *testing.T) { f(t, newWorld(t)) })
	t.Run("at a farm", func(t *testing.T) {
		w := newWorld(t)
		w.vars["KILN_FARM"] = w.startServer(t, filepath.Join(w.dir, "server"))
		f(t, w)
	})
}

func TestARoomIsDescribedLookedAtAndChanged(t *testing.T) {
	eachRoom(t, func(t *testing.T, w *world) {
		w.build("--format", "kernel+initrd", "hello.yml").ok(t)
		w.write("room.yml", roomYAML)
		steps := []struct {
			args []string
			code int
			want []string // in what it says
			not  string
		}{
			{args: []string{"diff", "-f", "room.yml"}, want: []string{"+ machine web-1", "+ group web", "+ release v1"}, not: "hunter2"},
			{args: []string{"machines"}, want: []string{"MACHINE"}, not: "web-1"},
			{args: []string{"apply", "--dry-run", "-f", "room.yml"}, want: []string{"+ machine web-1"}},
			{args: []string{"machines"}, not: "web-1"},
			{args: []string{"apply", "-f", "room.yml"}, want: []string{"+ machine web-1"}, not: "hunter2"},
			{args: []string{"apply", "-f", "room.yml"}, not: "machine"}, // it is so already
			{args: []string{"machines"}, want: []string{"web-1", "52:54:00:12:34:56", "v1", "group web"}},
			{args: []string{"machine", "show", "web-1"}, want: []string{`"address": "10.0.0.21/24"`, "groups   web", "boots    v1, which group web names"}, not: "hunter2"},
			{args: []string{"release", "create", "v2", "hello"}},
			{args: []string{"release", "ls"}, want: []string{"v1", "v2", "linux/amd64", "web"}},
			{args: []string{"group", "release", "web", "v2"}},
			{args: []string{"group", "ls"}, want: []string{"role=web", "v2"}},
			{args: []string{"machine", "local-disk", "web-1", "on"}},
			{args: []string{"machines"}, want: []string{"its own disk"}},
			{args: []string{"machine", "boot-once", "web-1", "v1"}},
			{args: []string{"machines"}, want: []string{"boot_once"}, not: "its own disk"},
			{args: []string{"machine", "confirm", "web-1"}},
			{args: []string{"machine", "show", "web-1"}, want: []string{`"confirmed": true`, `"bootOnce": "v1"`, `"password": "(not shown)"`}},
			{args: []string{"release", "rm", "v3"}, code: ui.ExitUsage, want: []string{`there is no release called "v3"`}},
			{args: []string{"release", "rm", "v2"}, code: ui.ExitUsage, want: []string{"v2"}}, // a group boots it
			{args: []string{"machine", "local-disk", "web-1", "maybe"}, code: ui.ExitUsage, want: []string{"on or off"}},
			{args: []string{"machine", "boot-once", "web-1", "nothing"}, code: ui.ExitUsage, want: []string{"nothing"}},
			{args: []string{"machine", "show", "web-2"}, code: ui.ExitUsage, want: []string{"web-2"}},
			{args: []string{"group", "release", "db", "v1"}, code: ui.ExitUsage, want: []string{`there is no group called "db"`}},
			{args: []string{"machine", "forget", "web-1"}},
			{args: []string{"machines"}, not: "web-1"},
			{args: []string{"machine", "forget", "web-1"}, code: ui.ExitUsage, want: []string{`there is no machine called "web-1"`}},
		}
		for _, s := range steps {
			r := w.run(s.args...)
			said := r.stdout + r.stderr
			if r.code != s.code {
				t.Errorf("kiln %s: exit code %d, want %d: %s", strings.Join(s.args, " "), r.code, s.code, said)
			}
			for _, want := range s.want {
				if !strings.Contains(said, want) {
					t.Errorf("kiln %s: no %q in:\n%s", strings.Join(s.args, " "), want, said)
				}
			}
			if s.not != "" && strings.Contains(said, s.not) {
				t.Errorf("kiln %s: %q in:\n%s", strings.Join(s.args, " "), s.not, said)
			}
		}
	})
}

func TestWhatIsWrongWithARoomChangesNothing(t *testing.T) {
	eachRoom(t, func(t *testing.T, w *world) {
		w.build("--format", "kernel+initrd", "hello.yml").ok(t)
		w.write("room.yml", roomYAML)
		w.run("apply", "-f", "room.yml").ok(t)
		before := w.run("machines").ok(t).stdout
		for _, c := range []struct {
			name, yaml, want string
		}{
			{"two machines with one MAC", "machines:\n  - {name: a, mac: 52:54:00:00:00:01}\n  - {name: b, mac: 52:54:00:00:00:01}\n", "bad.yml:3: "},
			{"a MAC of a machine that is there", "machines:\n  - {name: a, mac: 52:54:00:12:34:56}\n", "52:54:00:12:34:56"},
			{"a group without its release", "groups:\n  - {name: g, release: v9}\n", "bad.yml:2: "},
			{"a template that does not compile", "groups:\n  - name: g\n    release: v1\n    templates: {user-data: \"{{ .Machine.Name\"}\n", "bad.yml:4: "},
			{"a value that the machine lacks", "groups:\n  - {name: web, selector: {role: web}, release: v1, templates: {user-data: \"{{ .Values.colour }}\"}}\n",
				"bad.yml:2: machine web-1: template user-data of group web: line 1: "},
			{"a field that no machine has", "groups:\n  - name: web\n    selector: {role: web}\n    release: v1\n    templates:\n      user-data: |\n        name: {{ .Machine.Name }}\n        mac: {{ .Machine.Mac }}\n",
				"bad.yml:8: machine web-1: template user-data of group web: line 2: .Machine.Mac: there is no field Mac; did you mean MAC?"},
			{"a command line that is too long with that of the release", "groups:\n  - {name: web, selector: {role: web}, release: v1, cmdline: \"" + strings.Repeat("x", 1990) + "\"}\n",
				"machine web-1: the kernel's command line has 2"},
			{"a command line that no machine fills", "groups:\n  - {name: web, selector: {role: web}, release: v1, cmdline: \"id={{ .Machine.Mac }}\"}\n", "group web: its cmdline, for machine web-1: line 1: .Machine.Mac: "},
			{"a build that is not there", "releases:\n  - {name: v9, build: nothing}\n", `there is no build called "nothing"`},
			{"no YAML", "machines: [", "bad.yml:"},
		} {
			w.write("bad.yml", c.yaml)
			r := w.run("apply", "-f", "bad.yml")
			if r.code != ui.ExitUsage || !strings.Contains(r.stderr, c.want) || strings.Count(r.stderr, "kiln: ") != 1 {
				t.Errorf("%s: exit code %d, want %d with %q: %s", c.name, r.code, ui.ExitUsage, c.want, r.stderr)
			}
			if now := w.run("machines").ok(t).stdout; now != before {
				t.Errorf("%s: now there is\n%s", c.name, now)
			}
		}
	})
}

// Changes of different things that come at once all happen.
func TestChangesAtOnceAllHappen(t *testing.T) {
	eachRoom(t, func(t *testing.T, w *world) {
		w.build("--format", "kernel+initrd", "hello.yml").ok(t)
		w.write("room.yml", strings.Replace(roomYAML, "groups:", "  - {name: web-2, mac: 52:54:00:12:34:57}\n  - {name: web-3, mac: 52:54:00:12:34:58}\ngroups:", 1))
		w.run("apply", "-f", "room.yml").ok(t)
		var all sync.WaitGroup
		names := []string{"web-1", "web-2", "web-3"}
		for _, name := range names {
			all.Go(func() {
				if r := w.run("machine", "confirm", name); r.code != ui.ExitDone {
					t.Errorf("confirm %s: %s", name, r.stderr)
				}
			})
		}
		all.Wait()
		for _, name := range names {
			if said := w.run("machine", "show", name).ok(t).stdout; !strings.Contains(said, `"confirmed": true`) {
				t.Errorf("%s is not confirmed:\n%s", name, said)
			}
		}
	})
}

func TestBootsAreToldAsTextAndAsJSON(t *testing.T) {
	w := newWorld(t)
	store, err := disk.Open(filepath.Join(w.dir, "cache"))
	check(t, err)
	room := local.New(store)
	check(t, room.Report(t.Context(), []*kilnv1.BootEvent{
		{Machine: "web-1", Mac: "52:54:00:12:34:56", UnixMs: 2, Stage: kilnv1.BootStage_BOOT_STAGE_KERNEL, Detail: "8 bytes\x1b[31m"},
		{Machine: "web-1", Mac: "52:54:00:12:34:56", UnixMs: 1, Stage: kilnv1.BootStage_BOOT_STAGE_DHCP, Detail: "told"},
		{Mac: "52:54:00:00:00:99", UnixMs: 3, Stage: kilnv1.BootStage_BOOT_STAGE_FAILED, Detail: "nobody described it"},
	}))
	text := w.run("boots", "--cache", "cache").ok(t).stdout
	lines := strings.Split(strings.TrimSpace(text), "\n")
	if len(lines) != 3 || !strings.Contains(lines[0], "dhcp    told") || !strings.Contains(lines[2], "52:54:00:00:00:99 failed") || strings.Contains(text, "\x1b") {
		t.Errorf("boots:\n%q", text)
	}
	one := strings.Split(strings.TrimSpace(w.run("machine", "boots", "--cache", "cache", "--json", "web-1").ok(t).stdout), "\n")
	var event map[string]any
	if len(one) != 2 || json.Unmarshal([]byte(one[1]), &event) != nil || event["stage"] != "BOOT_STAGE_KERNEL" {
		t.Errorf("boots of web-1: %q", one)
	}
}
