package admin

import (
	"context"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/kiln-farm/kiln/cli/access"
	"github.com/kiln-farm/kiln/cli/client"
	"github.com/kiln-farm/kiln/cli/ui"
	"github.com/kiln-farm/kiln/cli/ui/progress"
	"github.com/kiln-farm/kiln/internal/outfile"
	"github.com/kiln-farm/kiln/internal/userfile"
)

func newFarmBackup(env ui.Env) *cobra.Command {
	return access.Command(env, &cobra.Command{
		Use:   "backup FILE",
		Short: "Back up the farm's state to a file",
		Long: `Write the farm's state to a file: builds that have not ended, teams, holds. It is small. Layers, outputs and the records
of finished builds are in the cache and not in it; neither is the farm's authority, which is in DATA/pki of every
coordinator.`,
		Example: `  kiln farm backup --farm https://kiln1:7300 kiln-$(date +%F).backup`,
		Args:    ui.Between(1, 1, "a FILE"),
	}, func(ctx context.Context, f *client.Farm, args []string) error {
		path := args[0]
		var size int64
		err := outfile.Write(ctx, path, func(w io.Writer) error {
			file, ok := w.(*os.File)
			if !ok {
				return f.Backup(ctx, func() (io.Writer, error) { return w, nil })
			}
			err := f.Backup(ctx, func() (io.Writer, error) {
				if _, err := file.Seek(0, io.SeekStart); err != nil {
					return nil, err
				}
				return file, file.Truncate(0)
			})
			if err != nil {
				return err
			}
			if size, err = file.Seek(0, io.SeekCurrent); err != nil {
				return err
			}
			return file.Sync()
		})
		if err != nil {
			return fmt.Errorf("back the farm up to %s: %w", path, err)
		}
		_, err = fmt.Fprintf(env.Stdout, "%s: %s\n", path, progress.Size(size))
		return err
	})
}

func newFarmRestore(env ui.Env) *cobra.Command {
	var yes bool
	cmd := access.Command(env, &cobra.Command{
		Use:   "restore --yes FILE",
		Short: "Restore the farm's state from a backup",
		Long: `Replace the farm's state by that of a backup. Builds that were submitted since are forgotten; steps that run now are
run again. The coordinators stay who they are.`,
		Example: `  kiln farm restore --farm https://kiln1:7300 --yes kiln-2026-11-21.backup`,
		Args:    ui.Between(1, 1, "a FILE"),
	}, func(ctx context.Context, f *client.Farm, args []string) error {
		backup, err := userfile.Open(args[0])
		if err != nil {
			return ui.Usagef("restore %s: %w", args[0], userfile.Cause(err))
		}
		defer backup.Close()
		if !yes {
			return ui.Usagef("kiln farm restore replaces the whole state of the farm at %s, and builds that were submitted since the backup are forgotten: add --yes if that is what you want", f.Where())
		}
		restored, err := f.Restore(ctx, backup)
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(env.Stdout, "restored %d builds; the farm is in epoch %d now\n", restored.GetBuilds(), restored.GetEpoch())
		return err
	})
	cmd.Flags().BoolVar(&yes, "yes", false, "yes, replace it")
	return cmd
}
