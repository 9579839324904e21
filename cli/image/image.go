package image

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	imagespec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/spf13/cobra"

	"github.com/kiln-farm/kiln/cli/ui"
	"github.com/kiln-farm/kiln/image/oci"
)

func NewImage(env ui.Env) *cobra.Command {
	return ui.Group("image", "Create images", newImagePack(env))
}

// packFlags are the flags of kiln image pack as they were given.
type packFlags struct {
	cache, store                 string
	ref, platform, workdir, user string
	entrypoint, cmd, env, labels []string
	keepOwners                   bool
}

func newImagePack(env ui.Env) *cobra.Command {
	var f packFlags
	cmd := &cobra.Command{
		Use:   "pack --ref NAME --platform OS/ARCH [flags] DIR",
		Short: "Create a one-layer image from a directory, reproducibly",
		Long: `Make an image with one layer out of a directory and keep it in the cache under a name, for kiln build to use.
The same directory gives the same digest. Times after SOURCE_DATE_EPOCH (0 when it is not set) are cut to it. A second
platform under the same name is added to it.`,
		Example: `  kiln image pack --ref me/hello:1 --platform linux/amd64 --entrypoint /bin/hello root-amd64
  kiln image pack --ref me/hello:1 --platform linux/arm64 --entrypoint /bin/hello root-arm64`,
		Args: ui.Between(1, 1, "a directory"),
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			o, err := f.options(env, args[0])
			if err != nil {
				return err
			}
			store, err := openShared(cmd.Context(), env, f.cache, f.store)
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, store.Close()) }()
			packed, err := oci.Pack(cmd.Context(), store, store, o)
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(env.Stdout, "%s %s\n", packed.Name, packed.Target.Digest)
			return err
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&f.cache, "cache", "", "directory of Kiln's cache (default ~/.cache/kiln)")
	flags.StringVar(&f.store, "store", "", storeUsage)
	flags.StringVar(&f.ref, "ref", "", "name of the image, such as me/hello:1")
	flags.StringVar(&f.platform, "platform", "", "such as linux/arm64")
	flags.StringArrayVar(&f.entrypoint, "entrypoint", nil, "a word of the entrypoint; repeatable")
	flags.StringArrayVar(&f.cmd, "cmd", nil, "a word of the command; repeatable")
	flags.StringArrayVar(&f.env, "env", nil, "NAME=VALUE; repeatable")
	flags.StringArrayVar(&f.labels, "label", nil, "NAME=VALUE; repeatable")
	flags.StringVar(&f.workdir, "workdir", "", "working directory")
	flags.StringVar(&f.user, "user", "", "user, or user:group")
	flags.BoolVar(&f.keepOwners, "keep-owners", false, "keep user and group ids; else all belongs to root")
	return cmd
}

func (f *packFlags) options(env ui.Env, dir string) (oci.PackOptions, error) {
	o := oci.PackOptions{Reference: f.ref, Platform: f.platform, Dir: dir, KeepOwners: f.keepOwners}
	if f.ref == "" || f.platform == "" {
		return o, ui.Usagef("kiln image pack needs --ref NAME and --platform OS/ARCH")
	}
	labels := map[string]string{}
	for _, label := range f.labels {
		name, value, ok := strings.Cut(label, "=")
		if !ok || name == "" {
			return o, ui.Usagef("--label %q: it is NAME=VALUE", label)
		}
		labels[name] = value
	}
	for _, variable := range f.env {
		if name, _, ok := strings.Cut(variable, "="); !ok || name == "" {
			return o, ui.Usagef("--env %q: it is NAME=VALUE", variable)
		}
	}
	if epoch := env.Getenv("SOURCE_DATE_EPOCH"); epoch != "" {
		seconds, err := strconv.ParseInt(epoch, 10, 64)
		if err != nil || seconds < 0 {
			return o, ui.Usagef("SOURCE_DATE_EPOCH=%q: it is a number of seconds since 1970", epoch)
		}
		o.Epoch = seconds
	}
	o.Config = imagespec.ImageConfig{
		Entrypoint: f.entrypoint, Cmd: f.cmd, Env: f.env, Labels: labels, WorkingDir: f.workdir, User: f.user,
	}
	return o, nil
}
