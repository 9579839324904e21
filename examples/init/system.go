//go:build linux

package main

import (
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// mountSystem mounts the kernel's own filesystems. One that fails does not keep the machine from starting.
func mountSystem() (errs []error) {
	const plain = unix.MS_NOSUID | unix.MS_NOEXEC | unix.MS_NODEV
	for _, m := range []struct {
		kind, target string
		flags        uintptr
		data         string
	}{
		{"proc", "/proc", plain, ""},
		{"sysfs", "/sys", plain, ""},
		{"devtmpfs", "/dev", unix.MS_NOSUID | unix.MS_NOEXEC, ""},
		{"devpts", "/dev/pts", unix.MS_NOSUID | unix.MS_NOEXEC, "gid=5,mode=0620"},
		{"tmpfs", "/dev/shm", plain, ""},
		{"mqueue", "/dev/mqueue", plain, ""},
		{"tmpfs", "/run", unix.MS_NOSUID | unix.MS_NODEV, "mode=0755"},
		{"tmpfs", "/tmp", unix.MS_NOSUID | unix.MS_NODEV, "mode=1777"},
		{"cgroup2", "/sys/fs/cgroup", plain, ""},
	} {
		if err := os.MkdirAll(m.target, 0o755); err != nil {
			errs = append(errs, fmt.Errorf("make %s: %w", m.target, err))
		}
		if err := unix.Mount(m.kind, m.target, m.kind, m.flags, m.data); err != nil {
			errs = append(errs, fmt.Errorf("mount %s: %w", m.target, err))
		}
	}
	for _, link := range [][2]string{
		{"/proc/self/fd", "/dev/fd"}, {"fd/0", "/dev/stdin"}, {"fd/1", "/dev/stdout"}, {"fd/2", "/dev/stderr"},
	} {
		_ = os.Symlink(link[0], link[1])
	}
	// LinuxKit's /etc/resolv.conf is a link into this directory.
	if err := os.MkdirAll("/run/resolvconf", 0o755); err != nil {
		errs = append(errs, err)
	}
	return append(errs, enableControllers()...)
}

// enableControllers lets the root control group's children have every controller the kernel offers.
func enableControllers() (errs []error) {
	for _, name := range strings.Fields(readFile("/sys/fs/cgroup/cgroup.controllers")) {
		err := os.WriteFile("/sys/fs/cgroup/cgroup.subtree_control", []byte("+"+name), 0)
		if err != nil {
			errs = append(errs, fmt.Errorf("enable the %s controller: %w", name, err))
		}
	}
	return errs
}

// loopbackUp starts the loopback interface (netdevice(7), SIOCSIFFLAGS).
func loopbackUp() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("start the loopback interface: %w", err)
	}
	defer unix.Close(fd)
	request, err := unix.NewIfreq("lo")
	if err != nil {
		return fmt.Errorf("start the loopback interface: %w", err)
	}
	request.SetUint16(unix.IFF_UP | unix.IFF_RUNNING)
	if err := unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, request); err != nil {
		return fmt.Errorf("start the loopback interface: %w", err)
	}
	return nil
}

func setHostname() {
	name := strings.TrimSpace(readFile("/etc/hostname"))
	if name == "" {
		name = "kiln"
	}
	_ = unix.Sethostname([]byte(name)) // a machine without a name still runs
}
