package lab

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
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
	stopped atomic.Bool // it was meant to end
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
	args := append(n.command(), n.Args...)
	if n.space != nil {
		args = append(n.space.enter(), args...)
	}
	env := append(slices.Clone(n.farm.env), n.Env...)
	env = append(env, "HOME="+n.Data)
	if n.ClockOffset != 0 {
		env = append(env, "KILN_CLOCK_OFFSET="+n.ClockOffset.String())
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
func (n *Node) command() []string {
	f := n.farm
	args := []string{n.Binary, string(n.Role), "--data", n.Data, "--id", n.Name, "--cache-size", f.cacheSize}
	first := f.coordinators[0]
	if n != first && !n.joined {
		token := map[Role]string{Coordinator: f.tokens.Coordinator, Builder: f.tokens.Builder, Edge: f.tokens.Edge}[n.Role]
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
	return args
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

// Pause makes the process stand still (SIGSTOP), with all its connections open.
func (n *Node) Pause() error { return n.send(syscall.SIGSTOP) }

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

// Said is the end of what the node logged.
func (n *Node) Said() string { return lastOf(n.Log) }
