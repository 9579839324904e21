package lab

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// Options of a lab.
type Options struct {
	Kiln         string // the program
	Dir          string // where data and logs go; must exist
	Name         string // of the farm; "lab" when empty
	Coordinators int
	Builders     int
	Edges        int
	Store        string            // URL of the shared cache
	Env          []string          // of every node, beside PATH
	CacheSize    string            // of each node's local disk cache; "1G" when empty
	Network      *Network          // nil: all nodes on loopback
	Disks        map[string]int64  // bytes of the disks of nodes that have a bounded one, by name; needs root
	BuilderArgs  []string          // flags of every builder
	Binaries     map[string]string // other programs for single nodes, by name
}

// Farm is the lab's farm.
type Farm struct {
	Dir   string
	Admin string // path of an administrator's credentials

	launcher     *launcher
	ports        ports
	env          []string
	store        string
	cacheSize    string
	tokens       tokens
	coordinators []*Node
	builders     []*Node
	edges        []*Node
	clients      clients
	network      *Network
	options      Options
}

// tokens is what kiln init --json tells.
type tokens struct {
	Admin       string `json:"admin"`
	Coordinator string `json:"coordinator_token"`
	Builder     string `json:"builder_token"`
}

// New makes a farm whose nodes are called c1, c2, …, b1, b2, … and e1, e2, …. None of them runs yet. Close must be called.
func New(ctx context.Context, o Options) (*Farm, error) {
	if o.Name == "" {
		o.Name = "lab"
	}
	if o.CacheSize == "" {
		o.CacheSize = "1G"
	}
	f := &Farm{
		Dir: o.Dir, launcher: newLauncher(), store: o.Store, cacheSize: o.CacheSize, network: o.Network, options: o,
		env: append([]string{"PATH=" + os.Getenv("PATH")}, o.Env...),
	}
	err := f.make(ctx)
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

func (f *Farm) make(ctx context.Context) error {
	for range f.options.Coordinators {
		if _, err := f.AddCoordinator(); err != nil {
			return err
		}
	}
	for range f.options.Builders {
		if _, err := f.AddBuilder(); err != nil {
			return err
		}
	}
	for range f.options.Edges {
		if _, err := f.AddEdge(); err != nil {
			return err
		}
	}
	first := f.coordinators[0]
	cmd := exec.CommandContext(ctx, first.Binary, "init", "--data", first.Data, "--farm", f.options.Name, "--id", first.Name, "--json")
	var out, complaint bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &complaint
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("kiln init: %w: %s", err, bytes.TrimSpace(complaint.Bytes()))
	}
	if err := json.Unmarshal(out.Bytes(), &f.tokens); err != nil {
		return fmt.Errorf("kiln init --json: %w", err)
	}
	// The first coordinator's disk may be wiped; the administrator's credentials stay.
	f.Admin = filepath.Join(f.Dir, "admin.pem")
	pem, err := os.ReadFile(f.tokens.Admin)
	if err != nil {
		return fmt.Errorf("the administrator's credentials: %w", err)
	}
	return os.WriteFile(f.Admin, pem, 0o600)
}

// AddCoordinator makes another coordinator, which does not run yet.
func (f *Farm) AddCoordinator() (*Node, error) {
	n, err := f.node(Coordinator, fmt.Sprintf("c%d", len(f.coordinators)+1))
	if err != nil {
		return nil, err
	}
	host := "127.0.0.1"
	if n.space != nil {
		host = n.space.address
		n.api, n.bus, n.peers = host+":7300", host+":7301", host+":7302"
	} else {
		for _, address := range []*string{&n.api, &n.bus, &n.peers} {
			if *address, err = f.ports.free(host); err != nil {
				return nil, err
			}
		}
	}
	f.coordinators = append(f.coordinators, n)
	return n, nil
}

// AddBuilder makes another builder, which does not run yet.
func (f *Farm) AddBuilder() (*Node, error) {
	n, err := f.node(Builder, fmt.Sprintf("b%d", len(f.builders)+1))
	if err != nil {
		return nil, err
	}
	n.Args = append(n.Args, f.options.BuilderArgs...)
	f.builders = append(f.builders, n)
	return n, nil
}

// AddEdge makes another edge, which does not run yet. Which machines boot from it say its Args.
func (f *Farm) AddEdge() (*Node, error) {
	n, err := f.node(Edge, fmt.Sprintf("e%d", len(f.edges)+1))
	if err != nil {
		return nil, err
	}
	f.edges = append(f.edges, n)
	return n, nil
}

func (f *Farm) node(role Role, name string) (*Node, error) {
	n := &Node{Name: name, Role: role, farm: f, Binary: f.options.Kiln, Data: filepath.Join(f.Dir, name), Log: filepath.Join(f.Dir, name+".log")}
	if other := f.options.Binaries[name]; other != "" {
		n.Binary = other
	}
	err := os.MkdirAll(n.Data, 0o700)
	if size := f.options.Disks[name]; err == nil && size > 0 {
		n.disk, err = newDisk(n.Data, size)
	}
	if err == nil && f.network != nil {
		n.space, err = f.network.add(name)
	}
	if err != nil {
		return nil, fmt.Errorf("make %s: %w", name, err)
	}
	return n, nil
}

// Coordinators are the farm's coordinators, the first one first.
func (f *Farm) Coordinators() []*Node { return f.coordinators }

// Builders are the farm's builders.
func (f *Farm) Builders() []*Node { return f.builders }

// Edges are the farm's edges.
func (f *Farm) Edges() []*Node { return f.edges }

// Nodes are all of them.
func (f *Farm) Nodes() []*Node { return slices.Concat(f.coordinators, f.builders, f.edges) }

// Disk is the node's bounded disk, nil when it has none.
func (n *Node) Disk() *Disk { return n.disk }

// URL is what --farm takes: all coordinators.
func (f *Farm) URL() string {
	var urls []string
	for _, c := range f.coordinators {
		urls = append(urls, "https://"+c.api)
	}
	return strings.Join(urls, ",")
}

// addresses are those of the coordinators but one, with commas between.
func (f *Farm) addresses(but *Node) string {
	var all []string
	for _, c := range f.coordinators {
		if c != but && (c.joined || c == f.coordinators[0]) {
			all = append(all, c.api)
		}
	}
	return strings.Join(all, ",")
}

// Start starts all nodes, and waits until the farm is whole.
func (f *Farm) Start(ctx context.Context) error {
	for i, c := range f.coordinators {
		if err := c.Start(); err != nil {
			return err
		}
		if i == 0 {
			if err := f.AwaitLeader(ctx); err != nil {
				return err
			}
		}
	}
	for _, n := range slices.Concat(f.builders, f.edges) {
		if err := n.Start(); err != nil {
			return err
		}
	}
	return f.Await(ctx)
}

// Close ends all nodes at once and gives back what they used of the machine. Logs and data stay.
func (f *Farm) Close() error {
	var err error
	for _, n := range f.Nodes() {
		if p := n.process.Load(); p != nil {
			p.kill()
		}
		if n.disk != nil {
			err = errors.Join(err, n.disk.Close())
		}
	}
	f.clients.close()
	f.launcher.close()
	return err
}
