package lab

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"time"
)

// Role is what a node of the farm is.
type Role string

// Roles of nodes.
const (
	Coordinator Role = "coordinator"
	Builder     Role = "builder"
	Edge        Role = "edge"
)

// Node is a coordinator, a builder or an edge of the lab's farm. What starts, ends and wipes it is one goroutine's at a time; any may
// look at it meanwhile.
type Node struct {
	Name string
	Role Role
	Data string // its data directory
	Log  string // path of its output

	// Binary is the program that the next start runs.
	Binary string
	// ClockOffset is how wrong its clock is from the next start on.
	ClockOffset time.Duration
	// Args are further flags of the next start.
	Args []string
	// Env are further variables of the next start.
	Env []string

	farm    *Farm
	api     string // host:port, of coordinators
	bus     string
	peers   string
	space   *namespace // nil: this process's network
	disk    *Disk      // nil: as large as the machine's
	process atomic.Pointer[process]
	joined  bool
	stopped atomic.Bool  // it was meant to end
	said    atomic.Int64 // bytes of the log from before its last start
}

// Address is where a coordinator's API listens, host:port.
func (n *Node) Address() string { return n.api }

// Host is the node's address in the lab's network; empty when it has none of its own.
func (n *Node) Host() string {
	if n.space == nil {
		return ""
	}
	return n.space.address
}

// Route sends what the node has for a network to another host in the lab's network.
func (n *Node) Route(network, via string) error {
	return ip("-n", n.space.name, "route", "replace", network, "via", via)
}

// Address6 gives the node an address of IPv6 on the lab's network, such as "fd66::1/64".
func (n *Node) Address6(address string) error {
	return ip("-n", n.space.name, "address", "add", address, "dev", "eth0", "nodad")
}

// Link says that a network is on the node's own link.
func (n *Node) Link(network string) error {
	return ip("-n", n.space.name, "route", "replace", network, "dev", "eth0")
}

// Pid is the node's process, 0 when it does not run.
func (n *Node) Pid() int {
	if p := n.process.Load(); p != nil && p.running() {
		return p.cmd.Process.Pid
	}
	return 0
}

// Running says whether the node's process is there, paused or not.
func (n *Node) Running() bool {
	p := n.process.Load()
	return p != nil && p.running()
}

// Ended is closed when the node's process has ended. The node must have been started.
func (n *Node) Ended() <-chan struct{} { return n.process.Load().done }

// Start starts the node's process, and does not wait until it is of use; Farm.Await does.
func (n *Node) Start() error {
	if n.Running() {
		return fmt.Errorf("%s runs already", n.Name)
	}
	args, err := n.command()
	if err != nil {
		return err
	}
	args = append(args, n.Args...)
	if n.space != nil {
		args = append(n.space.enter(), args...)
	}
	env := append(slices.Clone(n.farm.env), n.Env...)
	env = append(env, "HOME="+n.Data)
	if n.ClockOffset != 0 {
		env = append(env, "KILN_CLOCK_OFFSET="+n.ClockOffset.String())
	}
	if info, err := os.Stat(n.Log); err == nil {
		n.said.Store(info.Size())
	}
	p, err := n.farm.launcher.run(n.Log, env, args...)
	if err != nil {
		return err
	}
	n.process.Store(p)
	n.stopped.Store(false) // after it: the one before was meant to end
	n.joined = true
	return nil
}

// command is the program and its flags.
func (n *Node) command() ([]string, error) {
	f := n.farm
	args := []string{n.Binary, string(n.Role), "--data", n.Data, "--id", n.Name, "--cache-size", f.cacheSize}
	first := f.coordinators[0]
	if n != first && !n.joined {
		token := f.tokens.Builder
		switch n.Role {
		case Coordinator:
			token = f.tokens.Coordinator
		case Edge:
			var err error
			if token, err = f.token(n.Role); err != nil {
				return nil, err
			}
		}
		args = append(args, "--token", token)
	}
	if n != first {
		args = append(args, "--join", f.addresses(n))
	}
	if n.Role == Coordinator {
		args = append(args, "--listen", n.api, "--bus-listen", n.bus, "--bus-peers-listen", n.peers)
		if f.store != "" {
			args = append(args, "--store", f.store)
		}
	}
	return args, nil
}

// Kill ends the process at once (SIGKILL), as a crash would.
func (n *Node) Kill() error {
	p := n.process.Load()
	if p == nil {
		return fmt.Errorf("%s was never started", n.Name)
	}
	n.stopped.Store(true)
	p.kill()
	return nil
}

// Fell says that the node's process ended by itself.
func (n *Node) Fell() bool { return n.process.Load() != nil && !n.stopped.Load() && !n.Running() }

// Pause makes the process stand still (SIGSTOP), with all its connections open. When it returns, all its threads do.
func (n *Node) Pause() error {
	if err := n.send(syscall.SIGSTOP); err != nil {
		return err
	}
	for pid := n.Pid(); pid != 0 && !still(pid); time.Sleep(time.Millisecond) {
	}
	return nil
}

// still says whether no thread of a process runs (proc(5)).
func still(pid int) bool {
	threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", pid))
	if err != nil {
		return true
	}
	for _, path := range threads {
		stat, err := os.ReadFile(path)
		if err != nil {
			continue // it has ended
		}
		// The state is behind the name, in which anything may stand.
		if _, rest, ok := strings.Cut(string(stat[bytes.LastIndexByte(stat, ')')+1:]), " "); ok && !strings.HasPrefix(rest, "T") && !strings.HasPrefix(rest, "Z") {
			return false
		}
	}
	return true
}

// Resume lets a paused process go on.
func (n *Node) Resume() error { return n.send(syscall.SIGCONT) }

func (n *Node) send(s syscall.Signal) error {
	p := n.process.Load()
	if p == nil {
		return fmt.Errorf("%s was never started", n.Name)
	}
	if err := p.signal(s); err != nil {
		return fmt.Errorf("%s: %w", n.Name, err)
	}
	return nil
}

// Terminate asks the node to end (SIGTERM) and waits until it has; how it ended is the error.
func (n *Node) Terminate(ctx context.Context) error {
	p := n.process.Load()
	if p == nil {
		return fmt.Errorf("%s was never started", n.Name)
	}
	n.stopped.Store(true)
	if err := p.terminate(ctx); err != nil {
		return fmt.Errorf("%s: %w; its log ends: %s", n.Name, err, lastOf(n.Log))
	}
	return nil
}

// Wipe empties the data directory of a node that does not run, as a new disk would.
func (n *Node) Wipe() error {
	if n.Running() {
		return fmt.Errorf("%s runs: its disk cannot be wiped", n.Name)
	}
	entries, err := os.ReadDir(n.Data)
	for _, e := range entries {
		err = errors.Join(err, os.RemoveAll(filepath.Join(n.Data, e.Name())))
	}
	n.joined = false
	return err
}

// AwaitSaid waits until the node has logged the words since its last start.
func (n *Node) AwaitSaid(ctx context.Context, words string) error {
	for {
		if log, err := os.ReadFile(n.Log); err == nil && strings.Contains(string(log[min(n.said.Load(), int64(len(log))):]), words) {
			return nil
		}
		if n.Fell() {
			return fmt.Errorf("%s ended by itself: %s", n.Name, n.Said())
		}
		select {
		case <-time.After(askEvery):
		case <-ctx.Done():
			return fmt.Errorf("%s did not say %q (%w); its log ends: %s", n.Name, words, ctx.Err(), n.Said())
		}
	}
}

// Said is the end of what the node logged.
func (n *Node) Said() string { return lastOf(n.Log) }
