package build

import (
	"context"
	"errors"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/kiln-farm/kiln/cli/access"
	"github.com/kiln-farm/kiln/cli/ui"
)

func New(env ui.Env) *cobra.Command {
	var f buildFlags
	cmd := &cobra.Command{
		Use:   "build [flags] FILE.yml [MORE.yml…]",
		Short: "Build an image from LinuxKit YAML",
		Long: `Build an image from LinuxKit YAML. A file is a path, an http(s) URL, or - for standard input; several are merged
as LinuxKit merges them. The outputs have LinuxKit's names: NAME-kernel, NAME-initrd.img, NAME-cmdline, NAME.tar,
in DIR, or in DIR/ARCH when there is more than one architecture.

Without --farm the whole farm runs inside this process, with its cache in --cache.
On a farm, a build ends when the command that waits for it does, unless it was begun with --detach.`,
		Example: `  kiln build hello.yml
  kiln build --arch amd64,arm64 --format tar,kernel+initrd --dir out base.yml site.yml
  kiln build --format tar -o - hello.yml | tar -t
  kiln build --locked --metadata-file meta.json hello.yml
  kiln build --format raw-efi,qcow2-efi,iso-bios --boot kiln.example/boot:demo --disk-size 4G hello.yml
  kiln build --format uki --sign-key db.key --sign-cert db.crt --boot kiln.example/boot:demo hello.yml
  kiln build --farm https://kiln1:7300,https://kiln2:7300 hello.yml
  id=$(kiln build --detach --farm https://kiln1:7300 hello.yml) && kiln build wait $id && kiln build fetch $id
  kiln build --mirror docker.io=http://127.0.0.1:5000 hello.yml`,
		Args: ui.Between(1, -1, "a FILE.yml"),
		RunE: func(cmd *cobra.Command, args []string) error {
			o, err := f.options(cmd.Context(), env, args)
			if err != nil {
				return err
			}
			err = runBuild(cmd.Context(), env, o)
			if errors.Is(err, context.Canceled) {
				return ui.ErrBuildStopped
			}
			return err
		},
	}
	f.add(cmd.Flags())
	addRefused(cmd.Flags())
	cmd.AddCommand(newBuildShow(env), newBuildWait(env), newBuildFetch(env))
	return cmd
}

type buildFlags struct {
	access.Flags
	arch, format         []string
	mirrors              []string
	name, dir, output    string
	metadata, lock       string
	compress, progress   string
	pull, noSBOM, dryRun bool
	decompress, locked   bool
	detach, json         bool
	priority             int32
	class                string
	disk                 diskFlags
	sign                 signFlags
	push                 string
	maxUnpack            string
}

func (f *buildFlags) add(flags *pflag.FlagSet) {
	f.Flags.Add(flags)
	flags.StringSliceVar(&f.arch, "arch", nil, "architectures, such as amd64,arm64 (default: this machine's)")
	flags.StringSliceVarP(&f.format, "format", "f", nil, "formats: "+formatNames()+" (default kernel+initrd)")
	flags.StringVar(&f.name, "name", "", "name of the build and of its files (default: the last FILE's)")
	flags.StringVar(&f.dir, "dir", "", "directory for the outputs (default: the current one)")
	flags.StringVarP(&f.output, "output", "o", "", "file for a single output, or - for standard output")
	flags.StringArrayVar(&f.mirrors, "mirror", nil, "REGISTRY=URL: pull that registry's images from there; repeatable")
	flags.BoolVar(&f.pull, "pull", false, "ask registries again what references mean")
	flags.BoolVar(&f.noSBOM, "no-sbom", false, "leave out sbom.spdx.json")
	flags.StringVar(&f.metadata, "metadata-file", "", "write digests, sizes and step keys of the outputs as JSON to this file")
	flags.StringVar(&f.progress, "progress", "auto", "auto, tty, plain or json; on standard error")
	flags.BoolVar(&f.dryRun, "dry-run", false, "print the merged YAML and build nothing")
	flags.BoolVar(&f.decompress, "decompress-kernel", false, "decompress the kernel")
	flags.StringVar(&f.compress, "compress", "gzip", "compression of the initrd: gzip or zstd")
	flags.BoolVar(&f.locked, "locked", false, "use the images of NAME.lock beside the last FILE, as kiln lock wrote it")
	flags.StringVar(&f.lock, "lock", "", "use the images of this lock file")
	flags.Int32Var(&f.priority, "priority", 0, "higher goes first among the builds of a team")
	flags.StringVar(&f.class, "class", "", "run the steps only on builders of this class")
	flags.BoolVar(&f.detach, "detach", false, "print the build's id and leave; kiln build wait and kiln build fetch go on from there")
	flags.BoolVar(&f.json, "json", false, "with --detach: print JSON")
	flags.StringVar(&f.push, "push", "", "push the format oci, with its SBOM, to this reference of a registry")
	flags.StringVar(&f.maxUnpack, "max-unpack", "", "what an image may unpack to: "+ui.UnpackForm)
	f.disk.add(flags)
	f.sign.add(flags)
}
