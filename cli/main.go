package cli

import (
	"context"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/kiln-farm/kiln/internal/telemetry"
	"github.com/kiln-farm/kiln/internal/version"
)

// Env is what a command takes from the process around it.
type Env struct {
	Stdin          io.Reader
	Stdout, Stderr io.Writer
	Getenv         func(string) string
}

// Main runs the command line args (without the program's name) and returns the exit code.
func Main(ctx context.Context, env Env, args []string) int {
	stop, err := telemetry.Start(ctx, version.String())
	if err == nil {
		root := newRoot(env)
		root.SetArgs(args)
		err = root.ExecuteContext(ctx)
		// The spans of a command that was stopped are sent as well.
		if flushErr := stop(context.WithoutCancel(ctx)); flushErr != nil {
			env.logger(slog.LevelWarn).Warn("traces could not be sent", "error", flushErr)
		}
	}
	if err != nil {
		_, _ = io.WriteString(env.Stderr, message(err)) // nobody to tell when standard error is closed
	}
	return exitCode(err)
}

func newRoot(env Env) *cobra.Command {
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
		Args:          unknownVerb,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.SuggestionsMinimumDistance = nearName
	root.SetIn(env.Stdin)
	root.SetOut(env.Stdout)
	root.SetErr(env.Stderr)
	root.SetFlagErrorFunc(flagError)
	for _, g := range []struct {
		title    string
		commands []*cobra.Command
	}{
		{"Build images:", []*cobra.Command{newBuild(env), newLock(env), newExplain(env), newImage(env), newCache(env), newRun(env)}},
		{"Look at builds:", []*cobra.Command{newBuilds(env), newLogs(env), newQueue(env), newCancel(env)}},
		{"Boot machines:", []*cobra.Command{newApply(env), newDiff(env), newMachines(env), newMachine(env), newGroup(env), newRelease(env), newBoots(env), newSubnet(env), newLeases(env)}},
		{"Run a farm:", []*cobra.Command{newServer(env), newInit(env), newCoordinator(env), newBuilder(env), newEdge(env), newFarm(env), newLogin(env)}},
	} {
		root.AddGroup(&cobra.Group{ID: g.title, Title: g.title})
		for _, cmd := range g.commands {
			cmd.GroupID = g.title
			root.AddCommand(cmd)
		}
	}
	root.AddCommand(newVersion(env))
	return root
}

// nearName is how many letters a mistyped name may be away from the one that is suggested.
const nearName = 2

// unknownVerb refuses "kiln buld".
func unknownVerb(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	if near := cmd.SuggestionsFor(args[0]); len(near) > 0 {
		return usagef("there is no command %q; did you mean %q?", cmd.CommandPath()+" "+args[0], cmd.CommandPath()+" "+near[0])
	}
	return usagef("there is no command %q; %s --help lists them", cmd.CommandPath()+" "+args[0], cmd.CommandPath())
}

// group makes a command that only has commands below it.
func group(use, short string, below ...*cobra.Command) *cobra.Command {
	cmd := &cobra.Command{Use: use, Short: short, Args: unknownVerb,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() }}
	cmd.SuggestionsMinimumDistance = nearName
	cmd.AddCommand(below...)
	return cmd
}

// between is cobra's check of the number of arguments, with a sentence.
func between(least, most int, what string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) < least {
			return usagef("%s needs %s; see %s --help", cmd.CommandPath(), what, cmd.CommandPath())
		}
		if most >= 0 && len(args) > most {
			return usagef("%s takes %s and nothing else: %q is too much", cmd.CommandPath(), what, args[most])
		}
		return nil
	}
}

// logger logs to standard error: what KILN_LOG asks for (debug, info, warn, error), else from level on.
func (e Env) logger(level slog.Level) *slog.Logger {
	if s := e.Getenv("KILN_LOG"); s != "" {
		if err := level.UnmarshalText([]byte(s)); err != nil {
			level = slog.LevelInfo
		}
	}
	return slog.New(slog.NewTextHandler(e.Stderr, &slog.HandlerOptions{Level: level}))
}

// now is the wall clock of daemons: off by what KILN_CLOCK_OFFSET says, which tests set.
func (e Env) now() func() time.Time {
	offset, err := time.ParseDuration(e.Getenv("KILN_CLOCK_OFFSET"))
	if err != nil {
		return time.Now
	}
	return func() time.Time { return time.Now().Add(offset) }
}

// cacheDir is where Kiln keeps its cache when no flag says so (XDG base directory specification).
func (e Env) cacheDir() string {
	if dir := e.Getenv("XDG_CACHE_HOME"); filepath.IsAbs(dir) {
		return filepath.Join(dir, "kiln")
	}
	home := e.Getenv("HOME")
	if home == "" {
		home = os.TempDir()
	}
	return filepath.Join(home, ".cache", "kiln")
}

func flagError(cmd *cobra.Command, err error) error {
	if refused := refusal(err); refused != nil {
		return refused
	}
	text := err.Error()
	if strings.HasPrefix(text, "unknown") {
		return usagef("%s; %s --help lists the flags", text, cmd.CommandPath())
	}
	return usagef("%s; see %s --help", text, cmd.CommandPath())
}
