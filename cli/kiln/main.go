// Command kiln builds operating-system images and runs the parts of a build farm.
package main

import (
	"context"
	"os"
	"os/signal"
	"runtime/debug"
	"slices"
	"syscall"

	"github.com/kiln-farm/kiln/cli"
	"github.com/kiln-farm/kiln/cli/ui"
)

// Peak memory of a build is to stay under 96 MB with everything in one process. Most of it is buffers that
// live shortly: a small heap may grow freely, a large one is collected often.
const (
	memoryLimit = 64 << 20
	gcPercent   = 200
)

func main() {
	// What serves many for long holds more.
	is := func(commands ...string) bool { return len(os.Args) > 1 && slices.Contains(commands, os.Args[1]) }
	large := is("coordinator", "builder", "edge", "server")
	if os.Getenv("GOMEMLIMIT") == "" && !large {
		debug.SetMemoryLimit(memoryLimit)
	}
	switch {
	case os.Getenv("GOGC") != "":
	case is("coordinator", "edge"):
		go collectSeldom()
	case !large:
		debug.SetGCPercent(gcPercent)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	// The first signal ends the work in good order, the second one the process.
	context.AfterFunc(ctx, stop)
	env := ui.Env{Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr, Getenv: os.Getenv}
	os.Exit(cli.Main(ctx, env, os.Args[1:]))
}
