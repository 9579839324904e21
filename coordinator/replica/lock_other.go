//go:build !unix

package replica

import (
	"os"
	"path/filepath"
)

// lockDir only marks the directory where there are no locks that end with the process.
func lockDir(dir string) (*os.File, error) {
	return os.OpenFile(filepath.Join(dir, "lock"), os.O_RDWR|os.O_CREATE, 0o600)
}
