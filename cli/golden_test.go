package cli

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"github.com/kiln-farm/kiln/cache"
	"github.com/kiln-farm/kiln/cache/disk"
	"github.com/kiln-farm/kiln/cache/record"
	"github.com/kiln-farm/kiln/cli/ui"
	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
)

var update = flag.Bool("update", false, "write the golden files of what kiln says")

// sameAsGolden compares with a file below testdata.
func sameAsGolden(t *testing.T, path, got string) {
	t.Helper()
	path = filepath.Join(testdata, path)
	if *update {
		check(t, os.MkdirAll(filepath.Dir(path), 0o755))
		check(t, os.WriteFile(path, []byte(got), 0o644))
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Errorf("%v; go test ./cli -run Golden -update writes it", err)
		return
	}
	if got != string(want) {
		t.Errorf("%s differs; go test ./cli -run Golden -update writes it anew, for you to look at\n%s", path, firstDifference(string(want), got))
	}
}

// testdata is absolute: tests work in directories of their own.
var testdata = must(filepath.Abs("testdata"))

// firstDifference shows the first lines that differ.
func firstDifference(want, got string) string {
	a, b := strings.Split(want, "\n"), strings.Split(got, "\n")
	for i := range max(len(a), len(b)) {
		var one, other string
		if i < len(a) {
			one = a[i]
		}
		if i < len(b) {
			other = b[i]
		}
		if one != other || i >= len(a) || i >= len(b) {
			return fmt.Sprintf("line %d\n got %q\nwant %q", i+1, other, one)
		}
	}
	return ""
}

// defaults of flags that differ from host to host.
var hostDefaults = regexp.MustCompile(`(?m)^( +--(?:slots|platform) .*\(default ).*\)$`)

// TestGoldenHelp: a file for each verb, with the help of all that is below it.
func TestGoldenHelp(t *testing.T) {
	help := func(path string) string {
		var out bytes.Buffer
		env := ui.Env{Stdin: strings.NewReader(""), Stdout: &out, Stderr: &out, Getenv: func(string) string { return "" }}
		args := append(strings.Fields(path)[1:], "--help")
		if code := Main(t.Context(), env, args); code != ui.ExitDone {
			t.Errorf("kiln %s: exit code %d", strings.Join(args, " "), code)
		}
		return "$ " + path + " --help\n" + hostDefaults.ReplaceAllString(out.String(), "${1}HOST)")
	}
	var below func(cmd *cobra.Command) string
	below = func(cmd *cobra.Command) string {
		text := help(cmd.CommandPath())
		for _, c := range cmd.Commands() {
			text += "\n" + below(c)
		}
		return text
	}
	root := newRoot(ui.Env{Getenv: func(string) string { return "" }})
	sameAsGolden(t, "help/kiln.txt", help("kiln"))
	known := map[string]bool{"kiln.txt": true}
	for _, cmd := range root.Commands() {
		known[cmd.Name()+".txt"] = true
		sameAsGolden(t, filepath.Join("help", cmd.Name()+".txt"), below(cmd))
	}
	files, err := os.ReadDir(filepath.Join(testdata, "help"))
	check(t, err)
	for _, f := range files {
		if !known[f.Name()] {
			t.Errorf("testdata/help/%s is of a verb that there is not", f.Name())
		}
	}
}

// What differs from run to run, and counts of steps, which are another package's.
var passing = []struct {
	find *regexp.Regexp
	with string
}{
	{regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}`), "ID"},
	{regexp.MustCompile(`sha256:[0-9a-f]{64}`), "DIGEST"},
	{regexp.MustCompile(`\bhere-[0-9a-f]{8}\b`), "BUILDER"},
	{regexp.MustCompile(`20\d\d-\d\d-\d\d[ T]\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)?`), "TIME"},
	{regexp.MustCompile(`\b\d\d-\d\d \d\d:\d\d:\d\d\b`), "TIME"},
	{regexp.MustCompile(`127\.0\.0\.1:\d+`), "ADDRESS"},
	{regexp.MustCompile(`\b\d+h\d+m\d+s\b|\b\d+(\.\d+)?( ms| s|m|s|µs)\b`), "WHILE"},
	{regexp.MustCompile(`\b\d+(\.\d+)? (B|KiB|MiB|GiB)\b`), "SIZE"},
	{regexp.MustCompile(`\(\d+ bytes\)`), "(SIZE)"},
	{regexp.MustCompile(`(?m)^(  (blobs|results|refs|names|builds|artifacts)) +\d+ +SIZE$`), "$1  N  SIZE"},
	{regexp.MustCompile(`(?m)^(ID +\S+ +done +WHILE +WHILE) +\d+ +\d+$`), "$1  N  N"},
	{regexp.MustCompile(`[□■]+ +\d+/\d+ +idle +\d+ +\d+`), "SLOTS  idle  N  N"},
	{regexp.MustCompile(`\d+ of \d+ made, \d+ hit`), "N of N made, N hit"},
	{regexp.MustCompile(`"(\w*Ms|remainingSeconds|revision|epoch)": "?[0-9]+"?`), `"$1": N`},
	{regexp.MustCompile(`"version": "[^"]*"`), `"version": "VERSION"`},
}

var (
	// Columns are as wide as what is in them.
	inColumns = regexp.MustCompile(`(?m)^.*\b(ID|DIGEST|BUILDER|BUILD|TIME|ADDRESS|WHILE|SIZE|STATE|SLOTS|N)\b.*$`)
	gap       = regexp.MustCompile(`(\S) {2,}`)
)

func (w *world) steady(text string) string {
	text = strings.ReplaceAll(text, w.dir, "DIR")
	for _, p := range passing {
		text = p.find.ReplaceAllString(text, p.with)
	}
	return inColumns.ReplaceAllStringFunc(text, func(line string) string { return gap.ReplaceAllString(line, "$1  ") })
}

// keys are the paths of the keys that JSON has, each once: of builds the values are those of other packages.
func keys(t *testing.T, text string) string {
	t.Helper()
	all := map[string]bool{}
	var walk func(path string, v any)
	walk = func(path string, v any) {
		switch v := v.(type) {
		case map[string]any:
			for k, below := range v {
				all[path+"."+k] = true
				walk(path+"."+k, below)
			}
		case []any:
			for _, below := range v {
				walk(path+"[]", below)
			}
		}
	}
	var v any
	check(t, json.Unmarshal([]byte(text), &v))
	walk("", v)
	return strings.Join(slices.Sorted(maps.Keys(all)), "\n") + "\n"
}

// transcript is what commands say, with their exit codes.
func (w *world) transcript(commands string) string {
	var out strings.Builder
	for line := range strings.Lines(commands) {
		line = strings.TrimSpace(line)
		if line == "" {
			continue
		}
		args, onlyKeys := strings.CutSuffix(line, " | keys")
		r := w.run(strings.Fields(args)...)
		if onlyKeys && r.code == ui.ExitDone {
			r.stdout = keys(w.t, r.stdout)
		}
		fmt.Fprintf(&out, "$ kiln %s\n%s", w.steady(line), w.steady(r.stdout))
		if r.code != ui.ExitDone {
			fmt.Fprintf(&out, "%sexit code %d\n", w.steady(r.stderr), r.code)
		}
		out.WriteByte('\n')
	}
	return out.String()
}

const goldenYAML = `machines:
  - name: web-1
    mac: 52:54:00:12:34:56
    labels: {role: web}
    address: 10.0.0.21/24
    secrets: {password: hunter2}
  - {name: db-1, mac: 52:54:00:12:34:57, labels: {role: db}}
groups:
  - name: web
    selector: {role: web}
    release: v1
    templates: {user-data: "name={{ .Machine.Name }}"}
  - {name: others, unknown: true, release: v1, priority: 3}
releases:
  - {name: v1, build: hello}
`

// goldenSession works with a farm and without.
const goldenSession = `
	builds
	build show last
	build show hello --json | keys
	explain last
	explain last --json | keys
	builds --json | keys
	logs last
	cancel last
	queue
	queue --json | keys
	apply --dry-run -f room.yml
	diff -f room.yml
	apply -f room.yml
	diff -f room.yml
	machines
	machines --json
	machine show web-1
	group ls
	release ls
	machine boots web-1
	machine boots web-1 --json
	boots
	boots --json
	machine boot-once web-1 v1
	machine show web-1
	machines
	machine boot-once web-1 nothing
	machine confirm web-1
	machine local-disk web-1 on
	machines
	release create v2 hello
	group release web v2
	release ls
	release rm v1
	machine forget db-1
	machines
	apply --prune -f fewer.yml
	apply -f nothing.yml
	release rm v9
	machine show nobody
	machine local-disk web-1 off
	build show nothing
`

func TestGoldenOutputsOfACache(t *testing.T) {
	w := goldenWorld(t)
	w.buildTwice()
	got := w.transcript(goldenSession + `
		lock --arch amd64 --mirror docker.io=` + w.registry + ` hello.yml
		build --arch amd64 --locked --format tar --dry-run hello.yml
		cache ls
		subnet import dhcpd.conf
		subnet ls
		leases
		farm status
	`)
	sameAsGolden(t, "output/cache.txt", got)
}

func TestGoldenOutputsOfAFarm(t *testing.T) {
	w := goldenWorld(t)
	w.vars["KILN_FARM"] = w.startServer(t, filepath.Join(w.dir, "server"))
	w.buildTwice()
	got := w.transcript(goldenSession + `
		farm members
		farm members --json
		farm builders
		farm team
		farm team blue --weight 300 --max-builds 4 --max-unpack size=500G,ratio=none
		farm team
		farm team --json
		farm team blue --remove
		farm status --json | keys
		farm status
		farm drain nobody
		farm leave nobody
		apply -f subnets.yml
		subnet ls
		subnet ls --json
		subnet show rack-a
		subnet show rack-a --json
		subnet show rack-z
		leases import --dry-run dnsmasq.leases
		leases import dnsmasq.leases
		leases
		leases --json
		leases --subnet rack-z
		leases release 10.0.0.120
		leases --all
		leases release 10.0.0.199
		subnet ls
	`)
	sameAsGolden(t, "output/farm.txt", got)
}

// buildTwice builds an image and then another one of the same name.
func (w *world) buildTwice() {
	for _, command := range []string{`"/bin/web"`, `"/bin/web", "-v"`} {
		w.write("hello.yml", strings.Replace(helloYAML, `"/bin/web"`, command, 1))
		w.build("--format", "kernel+initrd", "hello.yml").ok(w.t)
	}
}

// goldenWorld has descriptions of machines and subnets, files of other DHCP servers, and a machine that booted.
func goldenWorld(t *testing.T) *world {
	w := newWorld(t)
	w.write("room.yml", goldenYAML)
	w.write("fewer.yml", "machines:\n  - {name: web-1, mac: 52:54:00:12:34:56}\ngroups:\n  - {name: all, unknown: true, release: v1}\nreleases:\n  - {name: v1, build: hello}\n")
	w.write("subnets.yml", "subnets:\n  - {name: rack-a, prefix: 10.0.0.0/24, pools: [10.0.0.100-10.0.0.199], gateway: 10.0.0.1}\n")
	w.write("dhcpd.conf", "subnet 10.1.0.0 netmask 255.255.255.0 {\n  range 10.1.0.100 10.1.0.199;\n  option routers 10.1.0.1;\n  default-lease-time 600;\n}\nhost db-2 { hardware ethernet 52:54:00:00:00:02; fixed-address 10.1.0.20; }\n")
	w.write("dnsmasq.leases", "0 52:54:00:00:00:20 10.0.0.120 web-2 *\n0 52:54:00:00:00:21 10.0.1.121 web-3 *\n")
	store := must(disk.Open(filepath.Join(w.dir, ".cache", "kiln")))
	check(t, record.Put(t.Context(), store, cache.BootKey("web-1"), &kilnv1.BootRecord{Events: []*kilnv1.BootEvent{
		{Machine: "web-1", Mac: "52:54:00:12:34:56", Edge: "e1", UnixMs: 1_800_000_000_000, Stage: kilnv1.BootStage_BOOT_STAGE_DHCP, Detail: "proxy DHCP"},
		{Machine: "web-1", Mac: "52:54:00:12:34:56", Edge: "e1", UnixMs: 1_800_000_001_000, Stage: kilnv1.BootStage_BOOT_STAGE_KERNEL, Detail: "v1"},
	}}))
	return w
}
