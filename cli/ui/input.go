package ui

import (
	"context"
	"io"

	"github.com/kiln-farm/kiln/internal/userfile"
)

// OpenInput opens a file, or standard input for "-", to be read once. Reads end with ctx.
func OpenInput(ctx context.Context, env Env, path string) (io.ReadCloser, error) {
	if path == "-" {
		return userfile.Interruptible(ctx, env.Stdin), nil
	}
	f, err := userfile.OpenStream(ctx, path)
	if err != nil {
		return nil, Usagef("%w", userfile.Cause(err))
	}
	return f, nil
}
