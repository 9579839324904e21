//go:build linux

package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"

	"golang.org/x/sys/unix"
)

// hookArgument makes this program runc's hook: it sets up what needs the container's process.
const hookArgument = "prepare-process"

// hook reads the container's state (OCI runtime-spec, runtime.md) and returns the exit code.
func hook(bundle string, stdin io.Reader) int {
	var state struct {
		Pid int `json:"pid"`
	}
	err := json.NewDecoder(io.LimitReader(stdin, 1<<20)).Decode(&state)
	if err == nil {
		err = prepareProcess(bundle, state.Pid)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

func prepareProcess(bundle string, pid int) error {
	config, err := readRuntime(bundle)
	if err != nil {
		return err
	}
	for _, i := range config.Interfaces {
		if err := i.giveTo(pid); err != nil {
			return err
		}
	}
	kinds := make([]string, 0, len(config.BindNS))
	for kind := range config.BindNS {
		kinds = append(kinds, kind)
	}
	slices.Sort(kinds)
	for _, kind := range kinds {
		if path := config.BindNS[kind]; path != "" {
			if err := keepNamespace(kind, path, pid); err != nil {
				return err
			}
		}
	}
	return nil
}

// giveTo makes the interface if it is to be made, and moves it to the network namespace of pid.
func (i networkInterface) giveTo(pid int) error {
	if i.Name == "" {
		return errors.New("an interface in runtime.json has no name")
	}
	if i.Peer != "" || i.Add == "veth" {
		if err := ip("link", "add", i.Name, "type", "veth", "peer", "name", i.Peer); err != nil {
			return err
		}
	} else if i.Add != "" {
		if err := ip("link", "add", i.Name, "type", i.Add); err != nil {
			return err
		}
	}
	return ip("link", "set", i.Name, "netns", strconv.Itoa(pid))
}

func ip(args ...string) error {
	out, err := exec.Command("/bin/busybox", append([]string{"ip"}, args...)...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("ip %q: %w: %s", args, err, out)
	}
	return nil
}

// keepNamespace binds the namespace of pid to path, where it lives on when pid has ended.
func keepNamespace(kind, path string, pid int) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return fmt.Errorf("keep the %s namespace: %w", kind, err)
	}
	f, err := os.Create(path)
	if err != nil {
		return fmt.Errorf("keep the %s namespace: %w", kind, err)
	}
	if err := f.Close(); err != nil {
		return fmt.Errorf("keep the %s namespace: %w", kind, err)
	}
	source := filepath.Join("/proc", strconv.Itoa(pid), "ns", kind)
	if err := unix.Mount(source, path, "", unix.MS_BIND, ""); err != nil {
		return fmt.Errorf("bind the %s namespace to %s: %w", kind, path, err)
	}
	return nil
}
