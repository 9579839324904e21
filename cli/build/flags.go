package build

import (
	"github.com/spf13/pflag"

	"github.com/kiln-farm/kiln/cli/access"
	"github.com/kiln-farm/kiln/cli/ui"
)

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
