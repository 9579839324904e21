package cli

import (
	"encoding/json"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kiln-farm/kiln/cli/ui"
	"github.com/kiln-farm/kiln/cli/ui/report"
)

func TestADetachedBuildIsWaitedForAndFetchedLater(t *testing.T) {
	w := newWorld(t)
	w.vars["KILN_FARM"] = w.startServer(t, filepath.Join(w.dir, "server"))
	w.build("--arch", "amd64,arm64", "--format", "tar,kernel+initrd", "--dir", "direct", "hello.yml").ok(t)

	var begun struct{ Build, Team, Name, Farm string }
	check(t, json.Unmarshal([]byte(w.build("--detach", "--json", "--name", "other", "--arch", "amd64,arm64", "--format", "tar,kernel+initrd", "hello.yml").ok(t).stdout), &begun))
	if begun.Team != "default" || begun.Name != "other" || begun.Farm != w.vars["KILN_FARM"] {
		t.Errorf("the detached build says it is %+v", begun)
	}
	if got := w.run("build", "wait", "--progress", "plain", begun.Build).ok(t); !strings.Contains(got.stderr, "other: done in") {
		t.Errorf("waiting said:\n%s", got.stderr)
	}
	w.run("build", "fetch", "--dir", "later", "--name", "hello", begun.Build).ok(t)
	if diff := cmp.Diff(names(t, "direct"), names(t, "later")); diff != "" {
		t.Errorf("fetched files (-direct +later):\n%s", diff)
	}
	for _, file := range names(t, "direct") {
		if read(t, filepath.Join("direct", file)) != read(t, filepath.Join("later", file)) {
			t.Errorf("%s differs", file)
		}
	}
	w.run("build", "fetch", "--arch", "arm64", "--format", "tar", "-o", "one.tar", "--metadata-file", "meta.json", "other").ok(t)
	if read(t, "one.tar") != read(t, "direct/arm64/hello.tar") {
		t.Error("the one output that was fetched is another one")
	}
	got := w.run("build", "fetch", "--arch", "riscv64", "other")
	if want := "kiln: --arch riscv64: the build made none; it made amd64, arm64"; got.code != ui.ExitUsage || got.last() != want {
		t.Errorf("exit code %d and %q, want %q", got.code, got.last(), want)
	}
}

func TestAFailedBuildEndsWaitingAndFetchingWithItsReason(t *testing.T) {
	w := newWorld(t)
	w.vars["KILN_FARM"] = w.startServer(t, filepath.Join(w.dir, "server"))
	w.write("fault.yml", "init:\n  - lab/nothing:1\n")
	id := strings.TrimSpace(w.build("--detach", "fault.yml").ok(t).stdout)
	wait := w.run("build", "wait", id)
	if wait.code != ui.ExitFailed || !strings.Contains(wait.last(), "is not in registry") {
		t.Errorf("waiting ended with %d and %q", wait.code, wait.last())
	}
	fetch := w.run("build", "fetch", id)
	if fetch.code != ui.ExitFailed || !strings.HasPrefix(fetch.last(), "kiln: build "+id+" has no outputs: ") {
		t.Errorf("fetching ended with %d and %q", fetch.code, fetch.last())
	}
	if got := w.run("cancel", id).ok(t).stdout; got != id+" had ended\n" {
		t.Errorf("canceling an ended build said %q", got)
	}
}

func TestBuildsAreListedAndShown(t *testing.T) {
	for _, where := range []string{"a farm", "a cache"} {
		t.Run(where, func(t *testing.T) {
			w := newWorld(t)
			if where == "a farm" {
				w.vars["KILN_FARM"] = w.startServer(t, filepath.Join(w.dir, "server"))
			}
			w.build("--format", "tar", "hello.yml").ok(t)
			w.build("--format", "tar", "--name", "other", "hello.yml").ok(t)

			var builds []report.Build
			check(t, json.Unmarshal([]byte(w.run("builds", "--json").ok(t).stdout), &builds))
			if len(builds) != 2 || builds[0].Name != "other" || builds[1].Name != "hello" {
				t.Fatalf("builds %+v, want other and hello", builds)
			}
			if b := builds[1]; b.State != "done" || b.Made == 0 || b.Made+b.Hits != b.Steps {
				t.Errorf("the first build is %+v: it made all of its steps", b)
			}
			if b := builds[0]; b.Made != 0 || b.Hits != b.Steps || b.Steps == 0 {
				t.Errorf("the second build is %+v: all of its steps were hits", b)
			}
			table := w.run("builds", "--name", "hello").ok(t).stdout
			if !regexp.MustCompile(`^BUILD +NAME +STATE +AGE +TOOK +MADE +HIT\n` + builds[1].ID + ` +hello +done +\d+s +\S+( ms)? +\d+ +\d+\n$`).MatchString(table) {
				t.Errorf("table:\n%s", table)
			}
			if got := w.run("builds", "--running").ok(t).stdout; got != "team default has no such builds\n" {
				t.Errorf("running builds: %q", got)
			}
			page := w.run("build", "show", "hello").ok(t).stdout
			for _, want := range []string{"hello  " + builds[1].ID + "  done", "linux/amd64: tar", "hello.tar"} {
				if !strings.Contains(page, want) {
					t.Errorf("the page has no %q:\n%s", want, page)
				}
			}
			var record struct{ Spec struct{ Id string } }
			check(t, json.Unmarshal([]byte(w.run("build", "show", "--json", "last").ok(t).stdout), &record))
			if record.Spec.Id != builds[0].ID {
				t.Errorf("the last build is %s, want %s", record.Spec.Id, builds[0].ID)
			}
		})
	}
}
