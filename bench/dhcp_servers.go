package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"connectrpc.com/connect"

	"github.com/kiln-farm/kiln/internal/lab"
	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
)

// The network behind the relay agent that perfdhcp plays: some 129,000 addresses.
const (
	dhcpPrefix = "10.30.0.0/15"
	dhcpRelay  = "10.30.0.1"
	dhcpFrom   = "10.30.1.0"
	dhcpTo     = "10.31.250.255"
	dhcpLease  = 3600 // s
)

// dhcpBench is a network with a server of DHCP, and perfdhcp's part of it.
type dhcpBench struct {
	dir     string
	network *lab.Network
	load    *lab.Guest
	farm    *lab.Farm
	servers []*exec.Cmd
}

func newDHCPBench(dir string) (*dhcpBench, error) {
	if _, err := exec.LookPath("perfdhcp"); err != nil {
		return nil, fmt.Errorf("%w: %w (apt-get install kea-admin)", errMissing, err)
	}
	network, err := lab.NewNetwork()
	if err != nil {
		return nil, err
	}
	d := &dhcpBench{dir: dir, network: network}
	if d.load, err = network.Guest("load"); err == nil {
		err = errors.Join(
			d.load.IP("address", "flush", "dev", "eth0"),
			d.load.IP("address", "add", dhcpRelay+"/15", "dev", "eth0"),
			d.load.IP("route", "add", netip.PrefixFrom(netip.MustParseAddr(network.Host), 24).Masked().String(), "dev", "eth0", "scope", "link"))
	}
	if err != nil {
		return nil, errors.Join(err, d.close())
	}
	return d, nil
}

func (d *dhcpBench) close() error {
	var err error
	for _, s := range d.servers {
		_ = syscall.Kill(-s.Process.Pid, syscall.SIGKILL) // it has ended, or ends
		_ = s.Wait()
	}
	if d.farm != nil {
		err = d.farm.Close()
	}
	return errors.Join(err, d.network.Close())
}

// server is a part of the network for another server.
func (d *dhcpBench) server(name string) (*lab.Guest, error) {
	s, err := d.network.Guest(name)
	if err != nil {
		return nil, err
	}
	return s, s.IP("route", "add", dhcpPrefix, "dev", "eth0")
}

// start runs another server.
func (d *dhcpBench) start(server *lab.Guest, name string, env []string, args ...string) error {
	if _, err := exec.LookPath(args[0]); err != nil {
		return fmt.Errorf("%w: %w", errMissing, err)
	}
	log, err := os.Create(filepath.Join(d.dir, name+".log"))
	if err != nil {
		return err
	}
	defer log.Close()
	args = server.Command(args...)
	process := exec.Command(args[0], args[1:]...)
	process.Env = append(os.Environ(), env...)
	process.Stdout, process.Stderr = log, log
	process.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := process.Start(); err != nil {
		return err
	}
	d.servers = append(d.servers, process)
	return nil
}

// dnsmasq writes its leases into a file, all of them each time, without fsync.
func (d *dhcpBench) dnsmasq() error {
	server, err := d.server("server")
	if err != nil {
		return err
	}
	return d.start(server, "server", nil, "dnsmasq", "--no-daemon", "--port=0", "--conf-file=/dev/null", "--interface=eth0", "--bind-interfaces", "--dhcp-authoritative", "--no-ping",
		"--quiet-dhcp", "--dhcp-lease-max=140000", "--dhcp-leasefile="+filepath.Join(d.dir, "leases"), fmt.Sprintf("--dhcp-range=%s,%s,255.254.0.0,%d", dhcpFrom, dhcpTo, dhcpLease))
}

// kiln is three coordinators and some edges, a process each. Addresses are not asked after before they are offered, as the
// others do not either.
func (d *dhcpBench) kiln(ctx context.Context, o options, edges int) (err error) {
	d.farm, err = lab.New(ctx, lab.Options{Kiln: o.kiln, Dir: d.dir, Name: "bench", Coordinators: coordinators, Edges: edges, Network: d.network, Env: []string{"KILN_LOG=warn"}})
	if err != nil {
		return err
	}
	for _, e := range d.farm.Edges() {
		e.Args = append(e.Args, "--cache", filepath.Join(d.dir, "cache"), "--interface", "eth0", "--dhcp", "full", "--probe", "0", "--syslog=false")
		if err := e.Link(dhcpPrefix); err != nil {
			return err
		}
	}
	if err := d.farm.Start(ctx); err != nil {
		return err
	}
	room, err := d.farm.Room(d.farm.Coordinators()[0])
	if err != nil {
		return err
	}
	answer, err := room.Change(ctx, connect.NewRequest(&kilnv1.ChangeRequest{Change: &kilnv1.RoomCommand{Subnets: []*kilnv1.Subnet{{
		Name: "bench", Prefix: dhcpPrefix, Pools: []*kilnv1.AddressRange{{From: dhcpFrom, To: dhcpTo}}, LeaseSeconds: dhcpLease, BootLeaseSeconds: dhcpLease,
	}}}}))
	if err == nil && len(answer.Msg.GetProblems()) > 0 {
		err = fmt.Errorf("%q", answer.Msg.GetProblems())
	}
	if err != nil {
		return fmt.Errorf("describe the subnet: %w", err)
	}
	time.Sleep(time.Second) // until edges know it
	return nil
}
