package ui

import (
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/term"

	"github.com/kiln-farm/kiln/cli/ui/report"
)

// Env is what a command takes from the process around it.
type Env struct {
	Stdin          io.Reader
	Stdout, Stderr io.Writer
	Getenv         func(string) string
}

// Logger logs to standard error: what KILN_LOG asks for (debug, info, warn, error), else from level on.
func (e Env) Logger(level slog.Level) *slog.Logger {
	if s := e.Getenv("KILN_LOG"); s != "" {
		if err := level.UnmarshalText([]byte(s)); err != nil {
			level = slog.LevelInfo
		}
	}
	return slog.New(slog.NewTextHandler(e.Stderr, &slog.HandlerOptions{Level: level}))
}

// Now is the wall clock of daemons: off by what KILN_CLOCK_OFFSET says, which tests set.
func (e Env) Now() func() time.Time {
	offset, err := time.ParseDuration(e.Getenv("KILN_CLOCK_OFFSET"))
	if err != nil {
		return time.Now
	}
	return func() time.Time { return time.Now().Add(offset) }
}

// CacheDir is where Kiln keeps its cache when no flag says so (XDG base directory specification).
func (e Env) CacheDir() string {
	if dir := e.Getenv("XDG_CACHE_HOME"); filepath.IsAbs(dir) {
		return filepath.Join(dir, "kiln")
	}
	home := e.Getenv("HOME")
	if home == "" {
		home = os.TempDir()
	}
	return filepath.Join(home, ".cache", "kiln")
}

// Quiet is the log of a farm inside a command: nothing, unless KILN_LOG asks for it.
func (e Env) Quiet() *slog.Logger {
	if e.Getenv("KILN_LOG") == "" {
		return slog.New(slog.DiscardHandler)
	}
	return e.Logger(slog.LevelInfo)
}

// Style of text on standard output: colours for terminals, unless NO_COLOR says no (no-color.org).
func (e Env) Style() report.Style {
	file, ok := e.Stdout.(*os.File)
	return report.Style{Color: ok && term.IsTerminal(int(file.Fd())) && e.Getenv("NO_COLOR") == ""}
}
