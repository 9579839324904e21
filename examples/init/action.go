//go:build linux

package main

import (
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

func (a action) do() error {
	switch {
	case a.mount != nil:
		m := a.mount
		if err := unix.Mount(m.source, m.target, m.kind, m.flags, m.data); err != nil {
			return fmt.Errorf("mount %s on %s: %w", m.source, m.target, err)
		}
	case a.cgroup != "":
		if err := os.MkdirAll(filepath.Join("/sys/fs/cgroup", a.cgroup), 0o755); err != nil {
			return fmt.Errorf("make control group %s: %w", a.cgroup, err)
		}
	default:
		if err := os.MkdirAll(a.mkdir, 0o755); err != nil {
			return fmt.Errorf("make directory %s: %w", a.mkdir, err)
		}
	}
	return nil
}
