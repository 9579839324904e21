package build

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/kiln-farm/kiln/cli/history"
	"github.com/kiln-farm/kiln/cli/ui"
	"github.com/kiln-farm/kiln/cli/ui/progress"
	"github.com/kiln-farm/kiln/internal/printable"
	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
)

func newBuildFetch(env ui.Env) *cobra.Command {
	var f buildFlags
	cmd := &cobra.Command{
		Use:   "fetch [flags] BUILD",
		Short: "Download the outputs of a finished build",
		Long: `Write the outputs of a build that is done, verified, under the names that kiln build gives them. --arch and --format
choose among what the build made; all of it otherwise. ` + history.Which,
		Example: `  kiln build fetch --farm https://kiln1:7300 --dir out hello
  kiln build fetch --arch arm64 --format tar -o - 01938c5e-7c2a-7bb1-9f5d-0c7a4c7f2f11 | tar -t`,
		Args: ui.Between(1, 1, history.Arg),
		RunE: func(cmd *cobra.Command, args []string) error {
			f.Fill(env)
			h, err := history.Open(cmd.Context(), env, &f.Flags)
			if err != nil {
				return err
			}
			return fetch(cmd.Context(), env, h, &f, args[0])
		},
	}
	flags := cmd.Flags()
	f.Flags.Add(flags)
	flags.StringSliceVar(&f.arch, "arch", nil, "only these architectures")
	flags.StringSliceVarP(&f.format, "format", "f", nil, "only these formats")
	flags.StringVar(&f.name, "name", "", "name that the files begin with (default: the build's)")
	flags.StringVar(&f.dir, "dir", "", "directory for the outputs (default: the current one)")
	flags.StringVarP(&f.output, "output", "o", "", "file for a single output, or - for standard output")
	flags.StringVar(&f.metadata, "metadata-file", "", "write digests, sizes and step keys of the outputs as JSON to this file")
	return cmd
}

func fetch(ctx context.Context, env ui.Env, h *history.Builds, f *buildFlags, arg string) error {
	build, err := h.Find(ctx, arg, "")
	if err != nil {
		return err
	}
	id := build.GetSpec().GetId()
	switch state := build.GetState(); {
	case state < kilnv1.BuildState_BUILD_STATE_DONE:
		return ui.Usagef("build %s has not ended: kiln build wait %s waits for it", id, id)
	case state != kilnv1.BuildState_BUILD_STATE_DONE:
		return fmt.Errorf("build %s has no outputs: %w", id, history.Ended(state, build.GetError()))
	}
	o, err := fetchOptions(f, build.GetSpec())
	if err != nil {
		return err
	}
	files := newFiles(env.Stdout, o.outputs)
	if err := files.check(); err != nil {
		return err
	}
	outputs := slices.DeleteFunc(slices.Clone(build.GetOutputs()), func(out *kilnv1.BuildOutput) bool {
		return !slices.ContainsFunc(o.outputs, func(t target) bool { return t.platform == out.GetPlatform() && t.suffix == out.GetFile() })
	})
	written, err := files.write(ctx, h.Blobs, outputs)
	if history.Missing(err) {
		return fmt.Errorf("the cache has dropped outputs of build %s: build it again (%w)", id, err)
	}
	if err != nil {
		return err
	}
	for _, file := range written {
		if file.Path != toStdout {
			fmt.Fprintf(env.Stderr, "%10s  %s\n", progress.Size(file.Size), printable.Line(file.Path))
		}
	}
	return o.writeMetadata(ctx, build.GetSpec(), outputs)
}

// fetchOptions are the options of a build that would write what is to be fetched. Where files go is decided here, out
// of what Kiln knows of its formats, whatever the record says of their names.
func fetchOptions(f *buildFlags, spec *kilnv1.BuildSpec) (*buildOptions, error) {
	o := &buildOptions{Flags: f.Flags, name: f.name, dir: f.dir, output: f.output, metadata: f.metadata, shape: &kilnv1.BuildOptions{Compress: "gzip"}}
	if o.name == "" {
		o.name = spec.GetName()
	}
	var made []string
	for _, platform := range spec.GetPlatforms() {
		made = append(made, strings.TrimPrefix(platform, "linux/"))
	}
	var asked []string
	for _, arch := range f.arch {
		arch, err := ui.ParseArch("--arch", arch)
		if err != nil {
			return nil, err
		}
		asked = append(asked, arch)
	}
	archs, err := choose("--arch", asked, made)
	if err != nil {
		return nil, err
	}
	formats, err := choose("--format", f.format, spec.GetFormats())
	if err != nil {
		return nil, err
	}
	if err := o.setArchs(archs); err != nil {
		return nil, err
	}
	if err := o.setFormats(formats); err != nil {
		return nil, err
	}
	if err := o.checkName(); err != nil {
		return nil, err
	}
	o.outputs, err = o.targets()
	return o, err
}

// choose gives what was asked for out of what the build made; all of it when nothing was.
func choose(flag string, asked, made []string) ([]string, error) {
	if len(asked) == 0 {
		return made, nil
	}
	for _, one := range asked {
		if !slices.Contains(made, one) {
			return nil, ui.Usagef("%s %s: the build made none; it made %s", flag, one, strings.Join(made, ", "))
		}
	}
	return asked, nil
}
