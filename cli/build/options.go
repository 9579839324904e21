package build

import (
	"cmp"
	"context"
	"net/url"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"

	"github.com/kiln-farm/kiln/cli/access"
	"github.com/kiln-farm/kiln/cli/ui"
	"github.com/kiln-farm/kiln/image/linuxkit"
	"github.com/kiln-farm/kiln/image/plan"
	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
)

// buildOptions are checked flags.
type buildOptions struct {
	access.Flags
	files            []string
	archs            []string // sorted, unique
	formats          []outputFormat
	mirrors          map[string]string
	name, dir        string
	output, metadata string
	lock             string // path of the lock file; empty for none
	progress         string
	dryRun           bool
	priority         int32
	class            string
	detach, json     bool
	shape            *kilnv1.BuildOptions
	unpack           *kilnv1.UnpackLimits // nil: what is usual
	signer           *signer              // nil: nothing is signed
	push             name.Reference       // nil: nothing is pushed
	outputs          []target
}

func (f *buildFlags) options(ctx context.Context, env ui.Env, args []string) (*buildOptions, error) {
	f.Fill(env)
	o := &buildOptions{
		Flags: f.Flags, files: args, name: f.name, dir: f.dir, output: f.output, metadata: f.metadata,
		lock: f.lock, progress: f.progress, dryRun: f.dryRun, priority: f.priority, class: f.class, detach: f.detach, json: f.json,
		shape: &kilnv1.BuildOptions{Compress: f.compress, NoSbom: f.noSBOM, DecompressKernel: f.decompress, Pull: f.pull},
	}
	if o.name == "" {
		o.name = linuxkit.Name(args)
	}
	for _, check := range []func() error{
		func() error { return o.setArchs(f.arch) },
		func() error { return o.setFormats(f.format) },
		func() error { return o.setMirrors(f.mirrors) },
		o.checkName,
		func() error { return o.setLock(f.locked) },
		o.checkFarm,
		func() error { return o.setUnpack(f.maxUnpack) },
		func() error { return f.disk.set(o.shape) },
		func() (err error) { o.push, err = pushTo(f.push, o.formats, o.detach); return err },
		func() (err error) {
			if !f.dryRun { // which reads no files but the YAML
				o.signer, err = newSigner(ctx, &f.sign)
			}
			return err
		},
	} {
		if err := check(); err != nil {
			return nil, err
		}
	}
	var err error
	o.outputs, err = o.targets()
	return o, err
}

func (o *buildOptions) setArchs(archs []string) error {
	if len(archs) == 0 {
		archs = []string{runtime.GOARCH}
	}
	for _, arch := range archs {
		arch, err := ui.ParseArch("--arch", arch)
		if err != nil {
			return err
		}
		o.archs = append(o.archs, arch)
	}
	slices.Sort(o.archs)
	o.archs = slices.Compact(o.archs)
	return nil
}

func (o *buildOptions) setFormats(names []string) error {
	if len(names) == 0 {
		names = []string{"kernel+initrd"}
		if o.output != "" {
			names = []string{"tar"} // what LinuxKit makes of -o
		}
	}
	for i, name := range names {
		names[i] = strings.TrimSpace(name)
		if slices.Contains(names[:i], names[i]) {
			continue
		}
		format, err := findFormat(names[i])
		if err != nil {
			return err
		}
		o.formats = append(o.formats, format)
	}
	if err := plan.CheckFormats(o.formatNames()); err != nil {
		return ui.Usagef("--format: %w", err)
	}
	for _, format := range o.formats {
		for _, arch := range o.archs {
			if err := plan.CheckArch(format.name, ui.BaseArch(arch)); err != nil {
				return ui.Usagef("--format: %w", err)
			}
		}
	}
	switch o.shape.GetCompress() {
	case "gzip", "zstd":
		return nil
	}
	return ui.Usagef("--compress %q: it is gzip or zstd", o.shape.GetCompress())
}

// dockerHub is the registry that a mirror without a name is for.
const dockerHub = "docker.io"

func (o *buildOptions) setMirrors(mirrors []string) error {
	o.mirrors = map[string]string{}
	for _, mirror := range mirrors {
		registry, address := dockerHub, mirror
		if name, rest, ok := strings.Cut(mirror, "="); ok && !strings.Contains(name, "://") {
			registry, address = name, rest
		}
		u, err := url.Parse(address)
		if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" || registry == "" {
			return ui.Usagef("--mirror %q: it is REGISTRY=URL, such as docker.io=http://127.0.0.1:5000", mirror)
		}
		if other, twice := o.mirrors[registry]; twice && other != address {
			return ui.Usagef("--mirror %q: this registry has the mirror %s already", mirror, other)
		}
		o.mirrors[registry] = address
	}
	return nil
}

func (o *buildOptions) checkName() error {
	switch {
	case o.name == "" || o.name == "." || o.name == ".." || strings.ContainsAny(o.name, "/\x00"):
		return ui.Usagef("--name %q: it begins the names of the outputs, so it cannot be empty or have a slash; --dir says where they go", o.name)
	case o.output != "" && o.dir != "":
		return ui.Usagef("--output names the file with its directory: leave --dir out")
	}
	return nil
}

func (o *buildOptions) setUnpack(text string) (err error) {
	if text != "" && o.Farm != "" {
		return ui.Usagef("--max-unpack is for builds that run here; a farm has limits for each team: kiln farm team %s --max-unpack %s", cmp.Or(o.Team, "NAME"), text)
	}
	o.unpack, err = ui.ParseUnpack("--max-unpack", text)
	return err
}

// checkFarm refuses what only makes sense on a farm, or when somebody waits for the outputs.
func (o *buildOptions) checkFarm() error {
	switch {
	case o.detach && o.Farm == "":
		return ui.Usagef("--detach needs a farm that goes on without this command: name it with --farm or KILN_FARM")
	case o.class != "" && o.Farm == "":
		return ui.Usagef("--class chooses among the builders of a farm: name the farm with --farm or KILN_FARM")
	case o.json && !o.detach:
		return ui.Usagef("--json goes with --detach; --metadata-file writes what was made as JSON, and --progress json what happens")
	case o.detach && (o.output != "" || o.dir != "" || o.metadata != ""):
		return ui.Usagef("--detach leaves before there are outputs: leave --output, --dir and --metadata-file to kiln build fetch")
	}
	return nil
}

func (o *buildOptions) setLock(locked bool) error {
	switch {
	case o.lock == "" && !locked:
		return nil
	case o.shape.GetPull():
		return ui.Usagef("--pull asks registries anew and --locked forbids it: leave one of them out")
	case o.lock != "":
		return nil
	}
	path, err := lockPath(o.files)
	o.lock = path
	return err
}

// lockPath is where kiln lock writes and --locked reads the lock of these files.
func lockPath(files []string) (string, error) {
	last := files[len(files)-1]
	if last == "-" || strings.Contains(last, "://") {
		return "", ui.Usagef("%s has no place for a lock file beside it: name one with --lock FILE", last)
	}
	return strings.TrimSuffix(last, filepath.Ext(last)) + ".lock", nil
}

// platforms are the architectures as OCI platforms.
func (o *buildOptions) platforms() []string {
	var out []string
	for _, arch := range o.archs {
		out = append(out, "linux/"+arch)
	}
	return out
}

func (o *buildOptions) formatNames() []string {
	var out []string
	for _, format := range o.formats {
		out = append(out, format.name)
	}
	return out
}

// targets are the files that a build may write, before it is known which of them are empty. Two of one name are
// refused here, before anything is built.
func (o *buildOptions) targets() ([]target, error) {
	var out []target
	owner := map[string]string{}
	claim := func(path, what string) error {
		clean := filepath.Clean(path)
		if other, taken := owner[clean]; taken {
			return ui.Usagef("%s and %s would both be written to %s: give one of them another name", other, what, path)
		}
		owner[clean] = what
		return nil
	}
	for _, arch := range o.archs {
		for _, format := range o.formats {
			for _, suffix := range format.files {
				if slices.ContainsFunc(out, func(t target) bool { return t.platform == "linux/"+arch && t.suffix == suffix }) {
					continue // the same file in two formats
				}
				path := o.output
				if path == "" {
					path = filepath.Join(o.dirFor(arch), o.name+suffix)
				}
				if err := claim(path, "format "+format.name+" ("+arch+")"); err != nil && o.output == "" {
					return nil, err
				}
				out = append(out, target{"linux/" + arch, suffix, path})
			}
		}
	}
	if o.output != "" && len(out) > 1 {
		return nil, ui.Usagef("--output is for a single file, and this build has %d: leave it out, or ask for one architecture and one of the formats tar, docker, tar-kernel-initrd", len(out))
	}
	if o.metadata != "" {
		if err := claim(o.metadata, "--metadata-file"); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// dirFor is where the files of an architecture go: amd64, amd64_v3.
func (o *buildOptions) dirFor(arch string) string {
	if len(o.archs) > 1 {
		return filepath.Join(o.dir, strings.ReplaceAll(arch, "/", "_"))
	}
	return o.dir
}
