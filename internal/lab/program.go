package lab

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

const program = "github.com/kiln-farm/kiln/cli/kiln"

// Build builds the kiln program from the sources that the current directory belongs to, and returns its path below dir.
// Flags go to go build.
func Build(ctx context.Context, dir string, flags ...string) (string, error) {
	path := filepath.Join(dir, "kiln")
	cmd := exec.CommandContext(ctx, "go", append(append([]string{"build", "-o", path}, flags...), program)...)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build kiln: %w: %s", err, bytes.TrimSpace(out))
	}
	return path, nil
}
