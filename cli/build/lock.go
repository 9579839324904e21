package build

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"github.com/kiln-farm/kiln/builder/registry"
	"github.com/kiln-farm/kiln/cache"
	"github.com/kiln-farm/kiln/cache/disk"
	"github.com/kiln-farm/kiln/cli/ui"
	"github.com/kiln-farm/kiln/cli/ui/progress"
	"github.com/kiln-farm/kiln/image/linuxkit"
	"github.com/kiln-farm/kiln/internal/outfile"
	"github.com/kiln-farm/kiln/internal/printable"
	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
)

func NewLock(env ui.Env) *cobra.Command {
	var f buildFlags
	cmd := &cobra.Command{
		Use:   "lock [flags] FILE.yml [MORE.yml…]",
		Short: "Pin the images of a YAML: write their digests to a lock file",
		Long: `Write FILE.lock with the digest of every image that FILE.yml refers to, for each architecture.
kiln build --locked uses exactly those images.`,
		Example: `  kiln lock hello.yml
  kiln lock --arch amd64,arm64 --pull hello.yml
  kiln lock --farm https://kiln1:7300 hello.yml   # as the farm's builders and its registries see it`,
		Args: ui.Between(1, -1, "a FILE.yml"),
		RunE: func(cmd *cobra.Command, args []string) error {
			f.compress = "gzip"
			o, err := f.options(cmd.Context(), env, args)
			if err != nil {
				return err
			}
			return runLock(cmd.Context(), env, o)
		},
	}
	flags := cmd.Flags()
	flags.StringSliceVar(&f.arch, "arch", nil, "architectures, such as amd64,arm64 (default: this machine's)")
	flags.StringArrayVar(&f.mirrors, "mirror", nil, "REGISTRY=URL: pull that registry's images from there; repeatable")
	flags.BoolVar(&f.pull, "pull", false, "ask registries again what references mean")
	flags.StringVar(&f.lock, "lock", "", "file to write (default: FILE.lock)")
	flags.StringVar(&f.progress, "progress", "auto", "of a farm: auto, tty, plain or json; on standard error")
	f.Flags.Add(flags)
	return cmd
}

func runLock(ctx context.Context, env ui.Env, o *buildOptions) error {
	path := o.lock
	if path == "" {
		var err error
		if path, err = lockPath(o.files); err != nil {
			return err
		}
	}
	store, err := disk.Open(o.Cache)
	if err != nil {
		return ui.Usagef("%w", err)
	}
	config, err := linuxkit.Load(ctx, o.files, linuxkit.Options{Stdin: env.Stdin, HTTP: http.DefaultClient})
	if err != nil {
		return err
	}
	bundle := config.Bundle // what files hold says nothing of images
	var lock *kilnv1.Lock
	if o.Farm != "" {
		lock, err = lockOnFarm(ctx, env, o, store, bundle)
	} else {
		lock, err = lockHere(ctx, env, o, store, bundle)
	}
	if err != nil {
		return err
	}
	for _, image := range lock.GetImages() {
		image.ResolvedUnixMs = 0 // when it was asked is nothing to keep under version control
	}
	text, err := lockText(lock)
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	err = outfile.Write(ctx, path, func(w io.Writer) error {
		_, err := w.Write(text)
		return err
	})
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	_, err = fmt.Fprintf(env.Stdout, "%s: %d images\n", path, len(lock.GetImages()))
	return err
}

// lockHere asks registries itself.
func lockHere(ctx context.Context, env ui.Env, o *buildOptions, store *disk.Store, bundle *kilnv1.ConfigBundle) (*kilnv1.Lock, error) {
	reg, err := registry.New(registry.Config{Store: store, Blobs: store, Log: env.Quiet()})
	if err != nil {
		return nil, err
	}
	return reg.Lock(ctx, bundle, &kilnv1.BuildSpec{Team: o.Team, Platforms: o.platforms(), Options: o.shape, Mirrors: o.mirrors},
		func(line string) { fmt.Fprintln(env.Stderr, printable.Line(line)) })
}

// lockOnFarm has a builder ask, by a build of no formats: it ends when it knows what references mean.
func lockOnFarm(ctx context.Context, env ui.Env, o *buildOptions, store *disk.Store, bundle *kilnv1.ConfigBundle) (*kilnv1.Lock, error) {
	o.lock = "" // where the new one goes, and none to go by
	spec, blobs, err := prepare(ctx, store, o, bundle)
	if err != nil {
		return nil, err
	}
	spec.Formats = nil
	f, closeFarm, err := connectFarm(ctx, env, &o.Flags, store, nil)
	if err != nil {
		return nil, err
	}
	defer func() { _ = closeFarm() }() // a farm elsewhere goes on
	spec.Team = o.Team
	if err := f.Blobs.Upload(ctx, store, blobs); err != nil {
		return nil, err
	}
	display, err := progress.Open(o.progress, env.Stderr, env.Getenv("NO_COLOR") != "")
	if err != nil {
		return nil, ui.Usagef("%w", err)
	}
	defer func() { display.Close(nil) }()
	if _, err := buildOnce(ctx, f, spec, display); err != nil {
		return nil, err
	}
	record, err := f.Record(ctx, spec.GetTeam(), spec.GetId())
	if err != nil {
		return nil, err
	}
	digest, err := cache.ParseDigest(record.GetLock())
	if err != nil {
		return nil, fmt.Errorf("the farm does not say what references mean: %w", err)
	}
	var text bytes.Buffer
	if err := f.Blobs.WriteBlob(ctx, digest, &text); err != nil {
		return nil, fmt.Errorf("read what the references mean: %w", err)
	}
	lock := &kilnv1.Lock{}
	if err := proto.Unmarshal(text.Bytes(), lock); err != nil {
		return nil, fmt.Errorf("what the farm says of references cannot be read: %w", err)
	}
	return lock, nil
}

// lockText is the same for the same lock: protojson varies its white space on purpose.
func lockText(lock *kilnv1.Lock) ([]byte, error) {
	raw, err := protojson.Marshal(lock)
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	if err := json.Indent(&b, raw, "", "  "); err != nil {
		return nil, err
	}
	b.WriteByte('\n')
	return b.Bytes(), nil
}
