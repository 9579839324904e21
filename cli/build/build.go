package build

import (
	"context"
	"errors"

	"github.com/spf13/cobra"

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
