package lab

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
)

// deadMAC is a hardware address that nobody on the bridge has: packets to it vanish, as on a link that was cut.
const deadMAC = "02:00:00:00:00:fe"

// Network is a bridge on this machine, to which each node is connected from a network namespace of its own. This
// process and what it runs reach the nodes from Host.
type Network struct {
	Host string // this process's address on the bridge

	id     string // of the names that it gives, with this process's id in it
	prefix string // of the addresses: the first three bytes
	spaces []*namespace
	mu     sync.Mutex
}

// namespace is one node's part of the network.
type namespace struct {
	node, name, address string
	outer               string // the end of its cable that is on the bridge
}

// Able says why this process can make no networks and disks; nil when it can.
func Able() error {
	if os.Geteuid() != 0 {
		return errors.New("only root may make network namespaces and mount file systems")
	}
	if _, err := exec.LookPath("ip"); err != nil {
		return fmt.Errorf("network namespaces need iproute2: %w", err)
	}
	probe := fmt.Sprintf("klab%d-probe", os.Getpid())
	if err := ip("netns", "add", probe); err != nil {
		return err
	}
	return ip("netns", "delete", probe)
}

// NewNetwork makes a bridge. Close must be called.
func NewNetwork() (*Network, error) {
	sweep()
	n := &Network{id: fmt.Sprintf("klab%d", os.Getpid())}
	var err error
	if n.prefix, err = freePrefix(); err != nil {
		return nil, err
	}
	n.Host = n.prefix + ".1"
	for _, args := range [][]string{
		{"link", "add", n.id, "type", "bridge"},
		{"address", "add", n.Host + "/24", "dev", n.id},
		{"link", "set", n.id, "up"},
	} {
		if err := ip(args...); err != nil {
			return nil, errors.Join(err, n.Close())
		}
	}
	return n, nil
}

// freePrefix finds a network of 256 addresses that this machine has no part in.
func freePrefix() (string, error) {
	addresses, err := net.InterfaceAddrs()
	if err != nil {
		return "", err
	}
	for third := range 256 {
		prefix := fmt.Sprintf("10.213.%d", third)
		_, candidate, _ := net.ParseCIDR(prefix + ".0/24")
		taken := false
		for _, a := range addresses {
			if own, ok := a.(*net.IPNet); ok && (candidate.Contains(own.IP) || own.Contains(candidate.IP)) && !own.IP.IsLoopback() {
				taken = true
			}
		}
		if !taken {
			return prefix, nil
		}
	}
	return "", errors.New("no free network below 10.213.0.0/16")
}

// sweep removes what labs left behind that were killed.
func sweep() {
	for _, pattern := range []string{"/run/netns/klab*", "/sys/class/net/klab*"} {
		left, err := filepath.Glob(pattern)
		if err != nil {
			continue
		}
		for _, path := range left {
			name := filepath.Base(path)
			digits := strings.TrimPrefix(name, "klab")
			digits, _, _ = strings.Cut(digits, "-")
			pid, err := strconv.Atoi(digits)
			if err != nil || syscall.Kill(pid, 0) == nil {
				continue
			}
			if strings.HasPrefix(path, "/run") {
				_ = ip("netns", "delete", name) // another lab may do the same now
			} else {
				_ = ip("link", "delete", name)
			}
		}
	}
}

// add makes the namespace of a node.
func (n *Network) add(node string) (*namespace, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	number := len(n.spaces) + 2
	s := &namespace{node: node, name: n.id + "-" + node, address: n.prefix + "." + strconv.Itoa(number),
		outer: fmt.Sprintf("kv%d-%d", os.Getpid(), number)} // at most 15 bytes
	if err := ip("netns", "add", s.name); err != nil {
		return nil, err
	}
	n.spaces = append(n.spaces, s)
	for _, args := range [][]string{
		{"link", "add", s.outer, "type", "veth", "peer", "name", "eth0", "netns", s.name},
		{"link", "set", s.outer, "master", n.id, "up"},
		{"-n", s.name, "address", "add", s.address + "/24", "dev", "eth0"},
		{"-n", s.name, "link", "set", "eth0", "up"},
		{"-n", s.name, "link", "set", "lo", "up"},
	} {
		if err := ip(args...); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// enter is the command that runs another one in the namespace, in the same process.
func (s *namespace) enter() []string { return []string{"ip", "netns", "exec", s.name} }

// Cut lets no packet pass between two nodes, in either direction, and tells neither of them.
func (n *Network) Cut(a, b *Node) error {
	return errors.Join(a.space.lose(b.space.address), b.space.lose(a.space.address))
}

// Isolate cuts a node off from all other nodes, and from this process too when host is set: then it reaches no cache
// that runs here either.
func (n *Network) Isolate(node *Node, host bool) error {
	var err error
	for _, other := range n.all() {
		if other != node.space {
			err = errors.Join(err, node.space.lose(other.address), other.lose(node.space.address))
		}
	}
	if host {
		err = errors.Join(err, node.space.lose(n.Host))
	}
	return err
}

// Heal lets all packets pass again.
func (n *Network) Heal() error {
	var err error
	for _, s := range n.all() {
		err = errors.Join(err, ip("-n", s.name, "neighbour", "flush", "nud", "permanent", "dev", "eth0"))
	}
	return err
}

func (n *Network) all() []*namespace {
	n.mu.Lock()
	defer n.mu.Unlock()
	return append([]*namespace{}, n.spaces...)
}

// lose makes packets from the namespace to an address vanish.
func (s *namespace) lose(address string) error {
	return ip("-n", s.name, "neighbour", "replace", address, "lladdr", deadMAC, "nud", "permanent", "dev", "eth0")
}

// Close takes the network away. What runs in the namespaces must have ended.
func (n *Network) Close() error {
	var err error
	for _, s := range n.all() {
		// What is in a namespace goes some time after it, and the next network gives the same names.
		_ = ip("link", "delete", s.outer) // it may not have come so far
		err = errors.Join(err, ip("netns", "delete", s.name))
	}
	return errors.Join(err, ip("link", "delete", n.id))
}

func ip(args ...string) error {
	out, err := exec.Command("ip", args...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("ip %s: %w: %s", strings.Join(args, " "), err, strings.TrimSpace(string(out)))
	}
	return nil
}
