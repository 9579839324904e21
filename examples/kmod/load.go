//go:build linux

package kmod

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// Load loads the modules named and what they need.
func Load(names []string) (errs []error) {
	var uname unix.Utsname
	if err := unix.Uname(&uname); err != nil {
		return []error{fmt.Errorf("ask for the kernel's version: %w", err)}
	}
	dir := filepath.Join("/lib/modules", unix.ByteSliceToString(uname.Release[:]))
	list, err := os.Open(filepath.Join(dir, "modules.dep"))
	if err != nil {
		return []error{fmt.Errorf("find the kernel's modules: %w", err)}
	}
	defer list.Close()
	known, err := parseModules(list)
	if err != nil {
		return []error{fmt.Errorf("read the list of modules: %w", err)}
	}
	for _, file := range known.order(names) {
		if err := loadModule(filepath.Join(dir, file)); err != nil {
			errs = append(errs, fmt.Errorf("load %s: %w", file, err))
		}
	}
	return errs
}

func loadModule(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := unix.FinitModule(int(f.Fd()), "", 0); err != nil && !errors.Is(err, unix.EEXIST) {
		return err
	}
	return nil
}
