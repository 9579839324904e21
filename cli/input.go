package cli

import (
	"io"
	"os"
)

// openInput opens a file, or standard input for "-".
func openInput(env Env, path string) (io.ReadCloser, error) {
	if path == "-" {
		return io.NopCloser(env.Stdin), nil
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, usagef("%w", cause(err))
	}
	return f, nil
}
