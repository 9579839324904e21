package cli

import (
	"context"
	"io"
	"log/slog"

	"github.com/spf13/cobra"

	"github.com/kiln-farm/kiln/cli/addresses"
	"github.com/kiln-farm/kiln/cli/admin"
	"github.com/kiln-farm/kiln/cli/build"
	"github.com/kiln-farm/kiln/cli/builds"
	"github.com/kiln-farm/kiln/cli/image"
	"github.com/kiln-farm/kiln/cli/machines"
	"github.com/kiln-farm/kiln/cli/serve"
	"github.com/kiln-farm/kiln/cli/ui"
	"github.com/kiln-farm/kiln/internal/telemetry"
	"github.com/kiln-farm/kiln/internal/version"
)

// Main runs the command line args (without the program's name) and returns the exit code.
func Main(ctx context.Context, env ui.Env, args []string) int {
	stop, err := telemetry.Start(ctx, version.String())
	if err == nil {
		root := newRoot(env)
		root.SetArgs(args)
		err = root.ExecuteContext(ctx)
		// The spans of a command that was stopped are sent as well.
		if flushErr := stop(context.WithoutCancel(ctx)); flushErr != nil {
			env.Logger(slog.LevelWarn).Warn("traces could not be sent", "error", flushErr)
		}
	}
	if err != nil {
		_, _ = io.WriteString(env.Stderr, ui.Sentence(err)) // nobody to tell when standard error is closed
	}
	return ui.ExitCode(err)
}

func newRoot(env ui.Env) *cobra.Command {
	root := &cobra.Command{
		Use:   "kiln",
		Short: "Build LinuxKit images, cached and in parallel, and boot machines from them",
		Long: `Kiln builds immutable operating-system images from LinuxKit YAML. Each part of an image is built once,
kept under the digest of what went into it, and used again until that changes.

Exit codes: 0 done, 1 the build failed, 2 the command or its input is wrong, 3 the farm cannot be reached.`,
		Example: `  kiln build examples/hello.yml
  kiln build --arch amd64,arm64 --format tar,kernel+initrd hello.yml
  kiln explain last`,
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          ui.UnknownVerb,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.SetIn(env.Stdin)
	root.SetOut(env.Stdout)
	root.SetErr(env.Stderr)
	root.SetFlagErrorFunc(ui.FlagError)
	for _, g := range []struct {
		title    string
		commands []*cobra.Command
	}{
		{"Build images:", []*cobra.Command{
			build.New(env), build.NewLock(env), builds.NewExplain(env), image.NewImage(env), image.NewCache(env), image.NewRun(env),
		}},
		{"Inspect builds:", []*cobra.Command{
			builds.New(env), builds.NewLogs(env), builds.NewQueue(env), builds.NewCancel(env),
		}},
		{"Boot machines:", []*cobra.Command{
			machines.NewApply(env), machines.NewDiff(env), machines.New(env), machines.NewMachine(env), machines.NewGroup(env),
			machines.NewRelease(env), machines.NewBoots(env), addresses.NewSubnet(env), addresses.NewLeases(env),
		}},
		{"Run a farm:", []*cobra.Command{
			serve.NewServer(env), admin.NewInit(env), serve.NewCoordinator(env), serve.NewBuilder(env), serve.NewEdge(env),
			admin.NewFarm(env), admin.NewLogin(env),
		}},
	} {
		root.AddGroup(&cobra.Group{ID: g.title, Title: g.title})
		for _, cmd := range g.commands {
			cmd.GroupID = g.title
			root.AddCommand(cmd)
		}
	}
	root.AddCommand(newVersion(env))
	root.PersistentPreRunE = func(cmd *cobra.Command, _ []string) error { return takeVariables(env, cmd) }
	tellVariables(root)
	return root
}
