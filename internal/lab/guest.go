package lab

import (
	"errors"
	"fmt"
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// Guest is a part of the lab's network in which no node runs, but something of the lab's user: a relay, or machines.
type Guest struct {
	Address string

	space *namespace
}

// Guest adds one. It goes with the network.
func (n *Network) Guest(name string) (*Guest, error) {
	s, err := n.add(name)
	if err != nil {
		return nil, err
	}
	return &Guest{s.address, s}, nil
}

// IP runs iproute2's ip for the guest's network.
func (g *Guest) IP(args ...string) error { return ip(append([]string{"-n", g.space.name}, args...)...) }

// Command is what runs another program in the guest's network.
func (g *Guest) Command(args ...string) []string { return append(g.space.enter(), args...) }

// Do calls f in the guest's network: a socket that f opens stays there. Goroutines that f starts do not.
func (g *Guest) Do(f func() error) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	back, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		return fmt.Errorf("enter the network of a guest: %w", err)
	}
	defer back.Close()
	there, err := os.Open("/run/netns/" + g.space.name)
	if err != nil {
		return fmt.Errorf("enter the network of a guest: %w", err)
	}
	defer there.Close()
	if err := unix.Setns(int(there.Fd()), unix.CLONE_NEWNET); err != nil {
		return fmt.Errorf("enter the network of a guest: %w", err)
	}
	err = f()
	if lost := unix.Setns(int(back.Fd()), unix.CLONE_NEWNET); lost != nil {
		runtime.LockOSThread() // once more: a thread in the wrong network must end with its goroutine
		return errors.Join(err, fmt.Errorf("leave the network of a guest: %w", lost))
	}
	return err
}
