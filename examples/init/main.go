//go:build linux

package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/kiln-farm/kiln/examples/kmod"
)

// movedRoot in the environment says that stage one is over.
const movedRoot = "KILN_INIT_MOVED_ROOT=1"

// Where LinuxKit images keep their bundles.
const (
	onbootDir     = "/containers/onboot"
	onshutdownDir = "/containers/onshutdown"
	servicesDir   = "/containers/services"
)

func main() {
	if len(os.Args) == 3 && os.Args[1] == hookArgument {
		os.Exit(hook(os.Args[2], os.Stdin))
	}
	console := newConsole(os.Stdout)
	if os.Getpid() != 1 {
		console.print("init", "this program is process 1 of an image and does nothing elsewhere")
		os.Exit(2)
	}
	if !slices.Contains(os.Environ(), movedRoot) && inMemory("/") {
		err := moveRoot() // it returns only when it failed
		console.print("init", err.Error())
		end(unix.LINUX_REBOOT_CMD_RESTART)
	}
	end(live(console))
}

// live is the life of the machine. It returns how the machine is to end (reboot(2)).
func live(console *console) (command int) {
	for _, err := range mountSystem() {
		console.print("init", err.Error())
	}
	arguments := parseCmdline(readFile("/proc/cmdline"))
	// What containers and virtual machines need; what the kernel has built in has no file and is left out.
	for _, err := range kmod.Load([]string{"virtio_pci", "virtio_mmio", "virtio_net", "virtio_blk", "virtio_rng", "overlay", "isofs"}) {
		console.print("init", err.Error())
	}
	if err := loopbackUp(); err != nil {
		console.print("init", err.Error())
	}
	setHostname()
	console.print("init", "up after "+uptime())

	ctx, stop := signal.NotifyContext(context.Background(), unix.SIGTERM, unix.SIGINT, unix.SIGUSR1, unix.SIGUSR2)
	defer stop()
	m := &machine{console: console, children: newChildren()}
	m.runAll(ctx, "onboot", bundlesIn(onbootDir))
	m.startAll(ctx, bundlesIn(servicesDir))
	if delay, ok := arguments.seconds("kiln.poweroff"); ok {
		m.waitFor(ctx, delay)
	} else {
		<-ctx.Done()
	}
	console.print("init", "shutting down")
	m.stopServices()
	m.runAll(context.Background(), "onshutdown", bundlesIn(onshutdownDir))
	console.print("init", "power off after "+uptime())
	return unix.LINUX_REBOOT_CMD_POWER_OFF
}

// waitFor waits until every service was heard of and then for delay, or until ctx ends.
func (m *machine) waitFor(ctx context.Context, delay time.Duration) {
	for _, s := range m.services {
		select {
		case <-s.heard:
		case <-ctx.Done():
			return
		}
	}
	select {
	case <-time.After(delay):
	case <-ctx.Done():
	}
}

// end ends the machine, and with it this process.
func end(command int) {
	unix.Sync()
	if err := unix.Reboot(command); err != nil {
		fmt.Println("[init] the machine does not end:", err)
	}
	select {} // the kernel panics when process 1 ends
}

// bundlesIn lists the bundles of dir in the order of their names, which is the order they run in.
func bundlesIn(dir string) []string {
	entries, err := os.ReadDir(dir) // sorted
	if err != nil {
		return nil // an image need not have that section
	}
	var bundles []string
	for _, entry := range entries {
		if entry.IsDir() {
			bundles = append(bundles, filepath.Join(dir, entry.Name()))
		}
	}
	return bundles
}

// readFile is the content of a file, empty when it cannot be read.
func readFile(path string) string {
	content, err := os.ReadFile(path)
	if err != nil {
		return ""
	}
	return string(content)
}

// uptime is the machine's, as the kernel says it.
func uptime() string {
	var seconds string
	if _, err := fmt.Sscan(readFile("/proc/uptime"), &seconds); err != nil {
		return "an unknown time"
	}
	return seconds + " s"
}
