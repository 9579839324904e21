//go:build linux

package main

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/kiln-farm/kiln/examples/kmod"
)

// deviceWait is how long disks may take to appear.
const deviceWait = 30 * time.Second

func main() {
	if os.Getpid() != 1 {
		fmt.Fprintln(os.Stderr, "this program is process 1 of an initrd and does nothing elsewhere")
		os.Exit(2)
	}
	err := start() // it returns only when it failed
	fmt.Println("[root]", err)
	unix.Sync()
	_ = unix.Reboot(unix.LINUX_REBOOT_CMD_RESTART)
}

// start mounts the root filesystem and becomes its init.
func start() error {
	for _, m := range [][2]string{{"proc", "/proc"}, {"sysfs", "/sys"}, {"devtmpfs", "/dev"}} {
		if err := errors.Join(os.MkdirAll(m[1], 0o755), mount(m[0], m[1], m[0], 0, "")); err != nil {
			return err
		}
	}
	text, err := os.ReadFile("/proc/cmdline")
	if err != nil {
		return err
	}
	args := parse(string(text))
	modules := []string{"virtio_pci", "virtio_mmio", "virtio_blk", "virtio_scsi", "sd_mod", "sr_mod", "overlay", "squashfs", "erofs", "isofs", "dm_mod", "dm_verity"}
	for _, err := range kmod.Load(modules) {
		fmt.Println("[root]", err)
	}
	device, err := rootDevice(args)
	if err != nil {
		return err
	}
	if err := mountRoot(device, args["rootfstype"]); err != nil {
		return err
	}
	fmt.Println("[root] mounted", device)
	return enter()
}

// parse gives the last value of each key.
func parse(cmdline string) map[string]string {
	args := map[string]string{}
	for word := range strings.FieldsSeq(cmdline) {
		key, value, _ := strings.Cut(word, "=")
		args[key] = value
	}
	return args
}

// rootDevice waits until the root filesystem's device is there.
func rootDevice(args map[string]string) (string, error) {
	var last error
	for end := time.Now().Add(deviceWait); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		var device string
		if hash := args["roothash"]; hash != "" {
			device, last = openVerified(hash)
		} else {
			device, last = findRoot(args["root"])
		}
		if last == nil {
			return device, nil
		}
		if errors.Is(last, errRefused) {
			break
		}
	}
	return "", last
}

// errRefused: waiting does not help.
var errRefused = errors.New("the root filesystem is refused")

func mount(source, target, kind string, flags uintptr, data string) error {
	if err := unix.Mount(source, target, kind, flags, data); err != nil {
		return fmt.Errorf("mount %s on %s (%s): %w", source, target, kind, err)
	}
	return nil
}

// mountRoot mounts the device below memory that takes what is written.
func mountRoot(device, kind string) error {
	const lower, memory, root = "/lower", "/memory", "/root"
	for _, dir := range []string{lower, memory, root} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
	}
	kinds := []string{"erofs", "squashfs", "iso9660", "ext4"}
	if kind != "" {
		kinds = []string{kind}
	}
	var err error
	for _, kind := range kinds {
		if err = mount(device, lower, kind, unix.MS_RDONLY, ""); err == nil {
			break
		}
	}
	if err != nil {
		return err
	}
	if err := mount("memory", memory, "tmpfs", 0, "mode=0755"); err != nil {
		return err
	}
	for _, dir := range []string{"/upper", "/work"} {
		if err := os.Mkdir(memory+dir, 0o755); err != nil {
			return err
		}
	}
	return mount("root", root, "overlay", 0, "lowerdir="+lower+",upperdir="+memory+"/upper,workdir="+memory+"/work")
}

// enter makes /root the root filesystem and becomes the image's init.
func enter() error {
	for _, dir := range []string{"/proc", "/sys", "/dev"} {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			return fmt.Errorf("leave %s: %w", dir, err)
		}
	}
	if err := os.Chdir("/root"); err != nil {
		return err
	}
	if err := mount(".", "/", "", unix.MS_MOVE, ""); err != nil {
		return err
	}
	if err := unix.Chroot("."); err != nil {
		return fmt.Errorf("change to the root filesystem: %w", err)
	}
	if err := os.Chdir("/"); err != nil {
		return err
	}
	if err := mount("", "/", "", unix.MS_SHARED|unix.MS_REC, ""); err != nil {
		return err
	}
	var err error
	for _, init := range []string{"/init", "/sbin/init"} {
		if err = unix.Exec(init, []string{init}, os.Environ()); !errors.Is(err, unix.ENOENT) {
			break
		}
	}
	return fmt.Errorf("start the image's init: %w", err)
}
