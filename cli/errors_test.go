package cli

import (
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"

	"github.com/kiln-farm/kiln/cli/ui"
	"github.com/kiln-farm/kiln/image/plan"
)

// TestEveryFaultGetsASentence holds the exact messages that people see. HOST stands for the registry's address, DIR
// for the working directory.
func TestEveryFaultGetsASentence(t *testing.T) {
	for _, c := range []struct {
		name    string
		yaml    string // of fault.yml
		prepare func(w *world)
		args    []string
		code    int
		want    string
	}{
		{name: "a flag of LinuxKit that needs another way", args: []string{"build", "--docker", "hello.yml"}, code: ui.ExitUsage,
			want: "--docker is LinuxKit's and not Kiln's: images in docker's own store are not looked at: run docker save IMAGE -o FILE.tar and kiln cache import FILE.tar"},
		{name: "a flag of LinuxKit with a value", args: []string{"build", "--size", "512M", "hello.yml"}, code: ui.ExitUsage,
			want: "--size is LinuxKit's and not Kiln's: disks are as small as they can be; --disk-size makes them larger"},
		{name: "an unknown flag", args: []string{"build", "--frobnicate", "hello.yml"}, code: ui.ExitUsage,
			want: "unknown flag: --frobnicate; kiln build --help lists the flags"},
		{name: "an unknown command", args: []string{"buidl"}, code: ui.ExitUsage,
			want: "there is no command \"kiln buidl\"; did you mean \"kiln build\"?"},
		{name: "a command that is like no other", args: []string{"frob"}, code: ui.ExitUsage,
			want: "there is no command \"kiln frob\"; kiln --help lists them"},
		{name: "the beginning of a command", args: []string{"rel"}, code: ui.ExitUsage,
			want: "there is no command \"kiln rel\"; did you mean \"kiln release\"?"},
		{name: "a key that is like no other", yaml: "userNAMES: x\n", code: ui.ExitUsage,
			want: "fault.yml:1: unknown key \"userNAMES\" in the document; known keys are files, init, kernel, kiln, onboot, onshutdown, services, trust and volumes"},
		{name: "no file", args: []string{"build"}, code: ui.ExitUsage,
			want: "kiln build needs a FILE.yml; see kiln build --help"},
		{name: "a missing file", args: []string{"build", "nope.yml"}, code: ui.ExitUsage,
			want: "nope.yml: cannot be read: no such file or directory"},
		{name: "an unknown key", yaml: "kernel:\n  imgae: lab/kernel:1\n", code: ui.ExitUsage,
			want: "fault.yml:2: unknown key \"imgae\" in kernel; did you mean \"image\"?"},
		{name: "a value of the wrong type", yaml: "init: lab/init:1\n", code: ui.ExitUsage,
			want: "fault.yml:1: init must be a list of strings, not the string \"lab/init:1\"; write it as a list: [\"lab/init:1\"]"},
		{name: "no YAML at all", yaml: "init: [\n", code: ui.ExitUsage,
			want: "fault.yml:1: not valid YAML: did not find expected node content"},
		{name: "a service that climbs out of its place", yaml: "services:\n  - name: a/../../x\n    image: lab/web:1\n", code: ui.ExitUsage,
			want: "fault.yml:2: services[0].name \"a/../../x\" must not leave its directory; use a name without \"/\", and not \".\" or \"..\""},
		{name: "a file that climbs out of its place", yaml: "files:\n  - path: a/../../b\n    contents: x\n", code: ui.ExitUsage,
			want: "fault.yml:2: files[0].path \"a/../../b\" leaves the root filesystem; write it without \"..\""},
		{name: "a missing file source", yaml: "files:\n  - path: etc/x\n    source: gone.txt\n", code: ui.ExitUsage,
			want: "fault.yml:3: source \"gone.txt\" does not exist (paths are relative to the directory you run kiln in); create it, or add \"optional: true\""},
		{name: "a missing image", yaml: "init:\n  - lab/nothing:1\n", code: ui.ExitFailed,
			want: "image docker.io/lab/nothing:1 is not in registry HOST; check its name and tag"},
		{name: "an image without the platform", yaml: "init:\n  - lab/only-arm64:1\n", code: ui.ExitFailed,
			want: "image docker.io/lab/only-arm64:1 has no linux/amd64; it has linux/arm64"},
		{name: "an unreachable registry", yaml: "init:\n  - lab/init:1\n", args: []string{"build", "--arch", "amd64", "--mirror", "http://127.0.0.1:1", "fault.yml"}, code: ui.ExitFailed,
			want: "registry 127.0.0.1:1 cannot be reached for docker.io/lab/init:1: connect: connection refused; check the name and the network, or name a mirror with --mirror"},
		{name: "a registry that lies about a digest", yaml: "init:\n  - lab/init:1\n", prepare: lies("/manifests/sha256:"), code: ui.ExitFailed,
			want: "registry HOST sent bytes for docker.io/lab/init:1 that are not what their digest says; try another registry with --mirror"},
		{name: "a corrupt layer", yaml: "init:\n  - lab/init:1\n", prepare: lies("/blobs/"), code: ui.ExitFailed,
			want: "registry HOST sent bytes for docker.io/lab/init:1 that are not what their digest says; try another registry with --mirror"},
		{name: "an unknown format", args: []string{"build", "--format", "floppy", "hello.yml"}, code: ui.ExitUsage,
			want: "--format \"floppy\": there is no such format; choose of " + strings.Join(plan.Formats(), ", ")},
		{name: "a format that an architecture does not have", args: []string{"build", "--format", "raw-bios", "--arch", "arm64", "hello.yml"}, code: ui.ExitUsage,
			want: "--format: format raw-bios is for amd64 only, not for arm64; leave it out, or choose another --arch"},
		{name: "two formats for one file", args: []string{"build", "--format", "vhd,dynamic-vhd", "--arch", "amd64", "hello.yml"}, code: ui.ExitUsage,
			want: "--format: formats vhd and dynamic-vhd both write the file NAME.vhd; ask for one of them, or give each a build of its own"},
		{name: "a disk without boot loaders", args: []string{"build", "--format", "raw-efi", "--arch", "amd64", "hello.yml"}, code: ui.ExitUsage,
			want: "format raw-efi is made with boot loaders out of an image; name it with --boot IMAGE, or in the YAML with \"kiln: {boot: IMAGE}\" (docs/formats.md says how to make one)"},
		{name: "a size that is none", args: []string{"build", "--disk-size", "4 GB", "hello.yml"}, code: ui.ExitUsage,
			want: "--disk-size \"4 GB\" is not a size; write one like 512M or 4G"},
		{name: "a key without a certificate", args: []string{"build", "--sign-key", "db.key", "hello.yml"}, code: ui.ExitUsage,
			want: "signing needs --sign-cert, and --sign-key or --signer"},
		{name: "an unknown architecture", args: []string{"build", "--arch", "vax", "hello.yml"}, code: ui.ExitUsage,
			want: "--arch \"vax\": there is no such architecture; choose of amd64, arm64, riscv64, s390x, ppc64le"},
		{name: "a variant that there is not", args: []string{"build", "--arch", "x86_64/v5", "hello.yml"}, code: ui.ExitUsage,
			want: "--arch \"x86_64/v5\": amd64 has no such variant; amd64 has v1 to v4, arm64 v8 and v9"},
		{name: "a format that is not for a variant's architecture", args: []string{"build", "--arch", "amd64/v3", "--format", "rpi3", "hello.yml"}, code: ui.ExitUsage,
			want: "--format: format rpi3 is for arm64 only, not for amd64; leave it out, or choose another --arch"},
		{name: "an unknown compression", args: []string{"build", "--compress", "xz", "hello.yml"}, code: ui.ExitUsage,
			want: "--compress \"xz\": it is gzip or zstd"},
		{name: "an unknown kind of progress", args: []string{"build", "--progress", "fancy", "hello.yml"}, code: ui.ExitUsage,
			want: "--progress \"fancy\": it is one of auto, tty, plain, json"},
		{name: "a mirror without a scheme", args: []string{"build", "--mirror", "docker.io=127.0.0.1:5000", "hello.yml"}, code: ui.ExitUsage,
			want: "--mirror \"docker.io=127.0.0.1:5000\": it is REGISTRY=URL, such as docker.io=http://127.0.0.1:5000"},
		{name: "a name with a slash", args: []string{"build", "--name", "a/b", "hello.yml"}, code: ui.ExitUsage,
			want: "--name \"a/b\": it begins the names of the outputs, so it cannot be empty or have a slash; --dir says where they go"},
		{name: "one file for several outputs", args: []string{"build", "--format", "kernel+initrd", "-o", "x", "hello.yml"}, code: ui.ExitUsage,
			want: "--output is for a single file, and this build has 3: leave it out, or ask for one architecture and one of the formats tar, docker, tar-kernel-initrd"},
		{name: "a file and a directory", args: []string{"build", "--dir", "out", "-o", "x", "hello.yml"}, code: ui.ExitUsage,
			want: "--output names the file with its directory: leave --dir out"},
		{name: "two outputs of one name", args: []string{"build", "--arch", "amd64", "--format", "tar", "--metadata-file", "./hello.tar", "hello.yml"}, code: ui.ExitUsage,
			want: "format tar (amd64) and --metadata-file would both be written to ./hello.tar: give one of them another name"},
		{name: "an output directory that is a file", args: []string{"build", "--arch", "amd64", "--dir", "hello.yml", "hello.yml"}, code: ui.ExitUsage,
			want: "output hello.yml/hello-kernel: hello.yml is not a directory"},
		{name: "an output that is a directory", prepare: func(w *world) { w.write("hello.tar/x", "") }, args: []string{"build", "--format", "tar", "hello.yml"}, code: ui.ExitUsage,
			want: "output hello.tar: there is a directory of that name"},
		{name: "a read-only output directory", prepare: readOnly, args: []string{"build", "--arch", "amd64", "--dir", "ro", "hello.yml"}, code: ui.ExitUsage,
			want: "output ro/hello-kernel: directory ro cannot be written to: permission denied; choose another one with --dir"},
		{name: "a farm that is not there", args: []string{"build", "--farm", "http://127.0.0.1:1", "hello.yml"}, code: ui.ExitUnreachable,
			want: "the farm cannot be reached at http://127.0.0.1:1 (dial tcp 127.0.0.1:1: connect: connection refused): is kiln server running there?"},
		{name: "a farm that is no farm", prepare: noFarm, args: []string{"build", "hello.yml"}, code: ui.ExitUnreachable,
			want: "the farm cannot be reached at FARM (404 Not Found): is kiln server running there?"},
		{name: "a farm that is no URL", args: []string{"build", "--farm", "localhost", "hello.yml"}, code: ui.ExitUsage,
			want: "--farm \"localhost\": it is a URL like https://kiln1:7300 or http://127.0.0.1:7300, or several of them with commas between"},
		{name: "a missing lock", args: []string{"build", "--locked", "hello.yml"}, code: ui.ExitUsage,
			want: "lock file hello.lock: no such file or directory; kiln lock writes it"},
		{name: "a lock that does not know an image", yaml: "init:\n  - lab/init:1\n", prepare: emptyLock, args: []string{"build", "--arch", "amd64", "--lock", "x.lock", "fault.yml"}, code: ui.ExitFailed,
			want: "image docker.io/lab/init:1 for linux/amd64 is not in the lock; run `kiln lock` again"},
		{name: "a lock and new answers", args: []string{"build", "--locked", "--pull", "hello.yml"}, code: ui.ExitUsage,
			want: "--pull asks registries anew and --locked forbids it: leave one of them out"},
		{name: "a cache directory that is a file", args: []string{"build", "--cache", "hello.yml", "hello.yml"}, code: ui.ExitUsage,
			want: "cache directory DIR/hello.yml cannot be made: not a directory; choose another one"},
		{name: "a build that nobody knows", args: []string{"explain", "--cache", ".", "01938c5e-7c2a-7bb1-9f5d-0c7a4c7f2f11"}, code: ui.ExitUsage,
			want: "there is no build 01938c5e-7c2a-7bb1-9f5d-0c7a4c7f2f11 of team default"},
		{name: "a build of a name that nobody knows", args: []string{"build", "show", "--cache", ".", "hullo"}, code: ui.ExitUsage,
			want: "there is no build called \"hullo\" of team default among the last 200"},
		{name: "a farm without credentials", args: []string{"build", "--farm", "https://127.0.0.1:1", "hello.yml"}, code: ui.ExitUsage,
			want: "there are no credentials for https://127.0.0.1:1: ask an operator of the farm for a token, who makes it with kiln farm token --role submit, and run kiln login https://127.0.0.1:1 --token TOKEN"},
		{name: "http and https in one farm", args: []string{"build", "--farm", "https://127.0.0.1:1,http://127.0.0.1:2", "hello.yml"}, code: ui.ExitUsage,
			want: "--farm \"https://127.0.0.1:1,http://127.0.0.1:2\": one URL is http and another https, but a farm is one of the two"},
		{name: "detached from nothing", args: []string{"build", "--detach", "hello.yml"}, code: ui.ExitUsage,
			want: "--detach needs a farm that goes on without this command: name it with --farm or KILN_FARM"},
		{name: "detached with a place for outputs", args: []string{"build", "--farm", "http://127.0.0.1:1", "--detach", "--dir", "out", "hello.yml"}, code: ui.ExitUsage,
			want: "--detach leaves before there are outputs: leave --output, --dir and --metadata-file to kiln build fetch"},
		{name: "a class without a farm", args: []string{"build", "--class", "big", "hello.yml"}, code: ui.ExitUsage,
			want: "--class chooses among the builders of a farm: name the farm with --farm or KILN_FARM"},
		{name: "nothing to cancel at", args: []string{"cancel", "last"}, code: ui.ExitUsage,
			want: "this needs a farm: name it with --farm or KILN_FARM"},
		{name: "a farm of which no coordinator answers", args: []string{"queue", "--farm", "http://127.0.0.1:1,http://127.0.0.1:2"}, code: ui.ExitUnreachable,
			want: "the farm cannot be reached at http://127.0.0.1:1, http://127.0.0.1:2 (127.0.0.1:1: connect: connection refused; 127.0.0.1:2: connect: connection refused): is kiln server running there?"},
		{name: "no build yet", args: []string{"explain", "--cache", ".", "last"}, code: ui.ExitUsage,
			want: "team default has no builds yet"},
		{name: "a size that is none", args: []string{"cache", "prune", "--max-size", "many"}, code: ui.ExitUsage,
			want: "--max-size \"many\": it is a size such as 500M or 20G"},
		{name: "one name for two image files", args: []string{"cache", "import", "--name", "a:1", "a.tar", "b.tar"}, code: ui.ExitUsage,
			want: "--name a:1: it names one image, and there are 2 files: import them one by one"},
		{name: "an image file that is missing", args: []string{"cache", "import", "gone.tar"}, code: ui.ExitUsage,
			want: "import gone.tar: no such file or directory"},
		{name: "a packed directory that is missing", args: []string{"image", "pack", "--ref", "a/b:1", "--platform", "linux/amd64", "gone"}, code: ui.ExitFailed,
			want: "pack gone: there is no such directory"},
		{name: "a server without a place", args: []string{"server"}, code: ui.ExitUsage,
			want: "kiln server needs --data DIR for what must survive a restart"},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			if c.yaml != "" {
				w.write("fault.yml", c.yaml)
			}
			if c.prepare != nil {
				c.prepare(w)
			}
			before := files1(t, ".")
			args := c.args
			if args == nil {
				args = []string{"build", "--arch", "amd64", "--mirror", w.registry, "fault.yml"}
			}
			got := w.run(args...)
			message := strings.ReplaceAll(got.last(), strings.TrimPrefix(w.registry, "http://"), "HOST")
			message = strings.ReplaceAll(message, w.dir, "DIR")
			if farm := w.vars["KILN_FARM"]; farm != "" {
				message = strings.ReplaceAll(message, farm, "FARM")
			}
			if got.code != c.code || message != "kiln: "+c.want {
				t.Errorf("exit code %d, want %d\n got %q\nwant %q", got.code, c.code, message, "kiln: "+c.want)
			}
			if after := files1(t, "."); len(after) != len(before) {
				t.Errorf("files before %v, after %v: something was left behind", before, after)
			}
		})
	}
}

// lies makes the registry change a byte of what it serves below paths that contain part.
func lies(part string) func(*world) {
	return func(w *world) {
		w.setTamper(func(rw http.ResponseWriter, r *http.Request, next http.Handler) bool {
			if r.Method != http.MethodGet || !strings.Contains(r.URL.Path, part) {
				return false
			}
			record := httptest.NewRecorder()
			next.ServeHTTP(record, r)
			body := record.Body.Bytes()
			if len(body) > 0 {
				body[len(body)/2] ^= 1
			}
			for name, values := range record.Header() {
				rw.Header()[name] = values
			}
			rw.WriteHeader(record.Code)
			_, _ = rw.Write(body)
			return true
		})
	}
}

func readOnly(w *world) {
	if os.Getuid() == 0 {
		w.t.Skip("root writes anywhere")
	}
	check(w.t, os.Mkdir("ro", 0o555))
}

func noFarm(w *world) {
	server := httptest.NewServer(http.NotFoundHandler())
	w.t.Cleanup(server.Close)
	w.vars["KILN_FARM"] = server.URL
}

func emptyLock(w *world) { w.write("x.lock", `{"images":[]}`) }
