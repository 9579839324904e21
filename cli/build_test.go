package cli

import (
	"context"
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kiln-farm/kiln/cli/ui"
)

func TestABuildWritesLinuxKitsFiles(t *testing.T) {
	w := newWorld(t)
	w.build("--dir", "out", "hello.yml").ok(t)
	want := []string{"hello-cmdline", "hello-initrd.img", "hello-kernel"}
	if diff := cmp.Diff(want, names(t, "out")); diff != "" {
		t.Errorf("files (-want +got):\n%s", diff)
	}
	if got, want := read(t, "out/hello-kernel"), "the kernel for amd64"; got != want {
		t.Errorf("kernel holds %q, want %q", got, want)
	}
	if got, want := read(t, "out/hello-cmdline"), "console=ttyS0"; got != want {
		t.Errorf("cmdline holds %q, want %q", got, want)
	}
}

func TestSeveralArchitecturesAndFormatsAreOneBuild(t *testing.T) {
	w := newWorld(t)
	w.build("--arch", "amd64,arm64", "--format", "tar,kernel+initrd,tar-kernel-initrd,docker", "--name", "x", "--dir", "out", "hello.yml").ok(t)
	one := []string{"x-cmdline", "x-initrd.img", "x-initrd.tar", "x-kernel", "x.docker", "x.tar"}
	var want []string
	for _, arch := range []string{"amd64", "arm64"} {
		for _, file := range one {
			want = append(want, arch+"/"+file)
		}
	}
	if diff := cmp.Diff(want, names(t, "out")); diff != "" {
		t.Errorf("files (-want +got):\n%s", diff)
	}
	if got, want := read(t, "out/arm64/x-kernel"), "the kernel for arm64"; got != want {
		t.Errorf("arm64's kernel holds %q, want %q", got, want)
	}
}

func TestTheSecondBuildRunsNothingAndGivesTheSame(t *testing.T) {
	w := newWorld(t)
	first := w.build("--format", "tar", "-o", "-", "hello.yml").ok(t)
	second := w.build("--format", "tar", "-o", "-", "hello.yml").ok(t)
	if first.stdout != second.stdout || len(first.stdout) == 0 {
		t.Errorf("the outputs of two builds differ: %d and %d bytes", len(first.stdout), len(second.stdout))
	}
	if !strings.Contains(second.stderr, "nothing had to run") {
		t.Errorf("the second build does not say that nothing had to run:\n%s", second.stderr)
	}
}

func TestMetadataNamesEveryOutput(t *testing.T) {
	w := newWorld(t)
	w.build("--metadata-file", "m.json", "hello.yml").ok(t)
	var got struct {
		Outputs []struct {
			Path, Digest, Step, Artifact string
			Size                         int64
		}
	}
	check(t, json.Unmarshal([]byte(read(t, "m.json")), &got))
	var paths []string
	for _, out := range got.Outputs {
		paths = append(paths, out.Path)
		if out.Digest == "" || out.Step == "" || out.Artifact == "" || out.Size != int64(len(read(t, out.Path))) {
			t.Errorf("output %+v lacks something or has another size than its file", out)
		}
	}
	slices.Sort(paths)
	if diff := cmp.Diff([]string{"hello-cmdline", "hello-initrd.img", "hello-kernel"}, paths); diff != "" {
		t.Errorf("outputs (-want +got):\n%s", diff)
	}
}

func TestDryRunPrintsTheMergedYAMLAndBuildsNothing(t *testing.T) {
	w := newWorld(t)
	w.write("more.yml", "onboot:\n  - name: x\n    image: lab/web:1\n")
	got := w.build("--dry-run", "hello.yml", "more.yml").ok(t)
	for _, want := range []string{"lab/kernel:1", "onboot", "services"} {
		if !strings.Contains(got.stdout, want) {
			t.Errorf("the merged YAML lacks %q:\n%s", want, got.stdout)
		}
	}
	if diff := cmp.Diff([]string{"hello.yml", "more.yml"}, files1(t, ".")); diff != "" {
		t.Errorf("files (-want +got):\n%s", diff)
	}
}

func TestServicesThatNothingStartsAreWarnedOfOnce(t *testing.T) {
	w := newWorld(t)
	w.push("linuxkit/init:1", "amd64", map[string]string{"init": "LinuxKit's init"})
	w.write("x.yml", "init:\n  - linuxkit/init:1\nservices:\n  - {name: a, image: lab/web:1}\n  - {name: b, image: lab/web:1}\n")
	const want = "x.yml:4: nothing in init starts the containers of services"
	got := w.build("--format", "tar", "x.yml").ok(t)
	if n := strings.Count(got.stderr, "kiln: warning: "+want); n != 1 {
		t.Errorf("the warning is there %d times:\n%s", n, got.stderr)
	}
	got = w.build("--format", "tar", "--progress", "json", "x.yml").ok(t)
	for line := range strings.Lines(got.stderr) {
		if !strings.HasPrefix(line, "{") {
			t.Errorf("a line that is not JSON: %s", line)
		}
	}
	if n := strings.Count(got.stderr, want); n != 1 {
		t.Errorf("the event is there %d times:\n%s", n, got.stderr)
	}
	if got := w.build("--dry-run", "x.yml").ok(t); got.stderr != "" {
		t.Errorf("a dry run says %q", got.stderr)
	}
	if got := w.build("--format", "tar", "hello.yml").ok(t); strings.Contains(got.stderr, "warning") {
		t.Errorf("an init of one's own is warned of:\n%s", got.stderr)
	}
}

func TestWhatPrintsOrLocksReadsNoSources(t *testing.T) {
	w := newWorld(t)
	w.write("x.yml", "init:\n  - lab/init:1\nfiles:\n  - {path: etc/a, source: not-here}\n")
	got := w.build("--dry-run", "--lock", "nor-here", "--sign-key", "nor-here", "--sign-cert", "nor-here", "x.yml").ok(t)
	if !strings.HasSuffix(got.stdout, "volumes: []\n\n") { // an empty line at the end, as LinuxKit has it
		t.Errorf("got %q", got.stdout)
	}
	if _, err := os.Stat(".cache"); err == nil {
		t.Error("a dry run has made a cache")
	}
	w.run("lock", "--arch", "amd64", "--mirror", w.registry, "x.yml").ok(t)
}

func TestALockedBuildUsesTheImagesOfTheLock(t *testing.T) {
	w := newWorld(t)
	w.run("lock", "--arch", "amd64", "--mirror", w.registry, "hello.yml").ok(t)
	first := w.build("--locked", "--format", "tar", "-o", "-", "hello.yml").ok(t)
	w.push("lab/web:1", "amd64", map[string]string{"bin/web": "another web"})
	again := w.build("--cache", "other", "--locked", "--format", "tar", "-o", "-", "hello.yml").ok(t)
	if first.stdout != again.stdout {
		t.Error("the locked build changed when its tag was pushed to")
	}
	lock := read(t, "hello.lock")
	w.run("lock", "--arch", "amd64", "--mirror", w.registry, "hello.yml").ok(t)
	if got := read(t, "hello.lock"); got != lock {
		t.Error("the same references give another lock file")
	}
}

func TestATamperedBlobIsMadeAgain(t *testing.T) {
	w := newWorld(t)
	want := w.build("--format", "tar", "-o", "-", "hello.yml").ok(t).stdout
	blobs := filepath.Join(w.dir, ".cache", "kiln", "blobs")
	tampered := 0
	check(t, filepath.WalkDir(blobs, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		if err != nil || len(b) < 100000 {
			return err
		}
		b[len(b)/2] ^= 1
		check(t, os.Chmod(path, 0o644))
		tampered++
		return os.WriteFile(path, b, 0o444)
	}))
	if tampered == 0 {
		t.Fatal("no blob to tamper with")
	}
	if got := w.build("--format", "tar", "-o", "-", "hello.yml").ok(t).stdout; got != want {
		t.Error("the build after tampering gives other bytes")
	}
}

func TestTwoBuildsAtOnceShareACache(t *testing.T) {
	w := newWorld(t)
	var wait sync.WaitGroup
	results := make([]result, 4)
	for i := range results {
		wait.Go(func() { results[i] = w.build("--format", "tar", "-o", "-", "hello.yml") })
	}
	wait.Wait()
	for i, r := range results {
		if r.code != ui.ExitDone || r.stdout != results[0].stdout {
			t.Errorf("build %d: exit code %d, %d bytes; the first has %d bytes\n%s", i, r.code, len(r.stdout), len(results[0].stdout), r.stderr)
		}
	}
}

func TestAStoppedBuildIsCanceledAndLeavesNothing(t *testing.T) {
	w := newWorld(t)
	asked, stop := make(chan struct{}), make(chan struct{})
	var once sync.Once
	w.setTamper(func(_ http.ResponseWriter, r *http.Request, _ http.Handler) bool {
		if strings.Contains(r.URL.Path, "/lab/web/blobs/") {
			once.Do(func() { close(asked) })
			select { // the registry hangs
			case <-stop:
			case <-r.Context().Done():
			}
		}
		return false
	})
	defer close(stop)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan result)
	go func() {
		done <- w.runContext(ctx, "build", "--arch", "amd64", "--mirror", w.registry, "--dir", "out", "hello.yml")
	}()
	<-asked
	cancel()
	got := <-done
	if got.code != ui.ExitFailed || got.last() != "kiln: stopped; the build is canceled" {
		t.Errorf("exit code %d and %q", got.code, got.last())
	}
	if _, err := os.Stat("out"); err == nil {
		t.Errorf("files were left: %v", names(t, "out"))
	}
}

func TestImagesOfTheCacheNeedNoRegistry(t *testing.T) {
	w := newWorld(t)
	w.write("root/init", "packed")
	w.run("image", "pack", "--ref", "me/init:1", "--platform", "linux/amd64", "root").ok(t)
	w.write("packed.yml", "init:\n  - me/init:1\n")
	w.run("build", "--arch", "amd64", "--mirror", "http://127.0.0.1:1", "--format", "tar", "packed.yml").ok(t)
	if !strings.Contains(read(t, "packed.tar"), "packed") {
		t.Error("the packed file is not in the tar")
	}
}

func TestAnInputChangeIsExplained(t *testing.T) {
	w := newWorld(t)
	w.build("--no-sbom", "hello.yml").ok(t)
	w.write("hello.yml", strings.Replace(helloYAML, "/bin/web", "/bin/other", 1))
	w.build("--no-sbom", "hello.yml").ok(t)
	got := w.run("explain", "last", "--name", "hello").ok(t).stdout
	for _, want := range []string{"hit    kernel lab/kernel:1", "ran    services/web config", "compared with "} {
		if !strings.Contains(got, want) {
			t.Errorf("the explanation lacks %q:\n%s", want, got)
		}
	}
}

// files1 are the names of the files in a directory, not of those below.
func files1(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	check(t, err)
	var out []string
	for _, entry := range entries {
		if !entry.IsDir() {
			out = append(out, entry.Name())
		}
	}
	return out
}

func read(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	check(t, err)
	return string(b)
}

// A variant of an architecture is built of the best images that run there, each in a directory of its own.
func TestVariantsOfAnArchitecture(t *testing.T) {
	w := newWorld(t)
	w.pushVariant("lab/init:1", "v3", map[string]string{"init": "init for amd64/v3"})
	w.run("build", "--arch", "x86_64,amd64/v3,amd64/v2", "--mirror", "docker.io="+w.registry, "--format", "tar", "--no-sbom", "--progress", "plain", "hello.yml").ok(t)
	for dir, want := range map[string]string{"amd64": "init for amd64", "amd64_v2": "init for amd64", "amd64_v3": "init for amd64/v3"} {
		tar := read(t, dir+"/hello.tar")
		if has := strings.Contains(tar, "init for amd64/v3"); has != strings.HasSuffix(want, "v3") || !strings.Contains(tar, want) {
			t.Errorf("%s: the init of v3 is in it: %v, want %q", dir, has, want)
		}
	}
}
