package dhcp

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"golang.org/x/net/ipv6"
	"golang.org/x/sys/unix"

	"github.com/kiln-farm/kiln/internal/lab"
)

// asServer has this program be a server, in the namespace that it was started in: "proxy" or "full", and the edge's name.
const asServer = "KILN_DHCP_TEST_SERVER"

func TestMain(m *testing.M) {
	if role := os.Getenv(asServer); role != "" {
		if err := beServer(role); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

func beServer(role string) error {
	mode, edge, _ := strings.Cut(role, " ")
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	s := &Server{Interfaces: []string{"eth0"}, Log: slog.New(slog.NewTextHandler(os.Stderr, nil))}
	s.Decide = func(_ context.Context, c Client) Plan {
		if mode == "full" {
			p := fullPlan("snponly.efi")
			p.Authoritative = true
			p.Lease.Routes = []Route{{netip.MustParsePrefix("169.254.169.254/32"), edgeAddr}}
			return p
		}
		p := proxyPlan(edge + ".efi")
		p.Delay = time.Duration(Rank(c.MAC, []string{"a", "b"}, edge)) * time.Second // far apart, so that load changes no order
		return p
	}
	served := make(chan error, 1)
	go func() { served <- s.Serve(ctx) }()
	go (&Advertiser{Interfaces: []string{"eth0"}, Log: s.Log}).Serve(ctx)
	for s.Counters().Received == 0 { // until a packet of the test itself comes through
		select {
		case err := <-served:
			return err
		case <-time.After(10 * time.Millisecond):
		}
	}
	fmt.Println("ready")
	return <-served
}

// wire is a switch with machines on it, each in a namespace of its own.
type wire struct{ prefix string }

func newWire(t *testing.T) *wire {
	t.Helper()
	if err := lab.Able(); err != nil {
		t.Skip("SKIPPED: ", err)
	}
	w := &wire{fmt.Sprintf("kdhcp%d-", os.Getpid())}
	w.space(t, "hub")
	w.ip(t, "hub", "link", "add", "br0", "type", "bridge")
	w.ip(t, "hub", "link", "set", "br0", "up")
	return w
}

func (w *wire) space(t *testing.T, name string) {
	t.Helper()
	t.Cleanup(func() { exec.Command("ip", "netns", "delete", w.prefix+name).Run() })
	if out, err := exec.Command("ip", "netns", "add", w.prefix+name).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
}

func (w *wire) ip(t *testing.T, name string, args ...string) {
	t.Helper()
	if out, err := exec.Command("ip", append([]string{"-n", w.prefix + name}, args...)...).CombinedOutput(); err != nil {
		t.Fatalf("ip %s: %v: %s", strings.Join(args, " "), err, out)
	}
}

// machine puts a machine on the switch, with an address or none.
func (w *wire) machine(t *testing.T, name, mac, address string) {
	t.Helper()
	w.space(t, name)
	w.ip(t, "hub", "link", "add", "to-"+name, "type", "veth", "peer", "name", "eth0", "netns", w.prefix+name)
	w.ip(t, "hub", "link", "set", "to-"+name, "master", "br0", "up")
	w.ip(t, name, "link", "set", "eth0", "address", mac)
	if address != "" {
		w.ip(t, name, "address", "add", address, "dev", "eth0")
	}
	w.ip(t, name, "link", "set", "lo", "up")
	w.ip(t, name, "link", "set", "eth0", "up")
}

func (w *wire) command(ctx context.Context, name string, args ...string) *exec.Cmd {
	return exec.CommandContext(ctx, "ip", append([]string{"netns", "exec", w.prefix + name}, args...)...)
}

// serve starts an edge in a machine, and returns when it hears what the client sends.
func (w *wire) serve(t *testing.T, name, role string, client *net.UDPConn) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := w.command(context.Background(), name, self)
	cmd.Env = append(os.Environ(), asServer+"="+role)
	var log strings.Builder
	cmd.Stderr = &log
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Signal(syscall.SIGTERM)
		cmd.Wait()
		if t.Failed() {
			t.Logf("the edge %s:\n%s", name, log.String())
		}
	})
	ready := make(chan error, 1)
	go func() {
		_, err := bufio.NewReader(out).ReadString('\n')
		ready <- err
	}()
	for range 300 {
		client.WriteToUDPAddrPort([]byte("are you there"), netip.AddrPortFrom(broadcast, ServerPort))
		select {
		case err := <-ready:
			if err != nil {
				t.Fatalf("the edge %s: %v", name, err)
			}
			return
		case <-time.After(50 * time.Millisecond):
		}
	}
	t.Fatalf("the edge %s does not hear", name)
}

// socket opens a socket of a machine that hears and broadcasts without an address.
func (w *wire) socket(t *testing.T, name, address string) *net.UDPConn {
	t.Helper()
	config := net.ListenConfig{Control: func(_, _ string, raw syscall.RawConn) error {
		var err error
		return errors.Join(raw.Control(func(fd uintptr) { err = unix.SetsockoptString(int(fd), unix.SOL_SOCKET, unix.SO_BINDTODEVICE, "eth0") }), err)
	}}
	var conn net.PacketConn
	err := within(w.prefix+name, func() (err error) {
		conn, err = config.ListenPacket(t.Context(), "udp4", address)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn.(*net.UDPConn)
}

// within calls f in a network namespace.
func within(name string, f func() error) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	home, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		return err
	}
	defer home.Close()
	there, err := os.Open("/run/netns/" + name)
	if err != nil {
		return err
	}
	defer there.Close()
	if err := unix.Setns(int(there.Fd()), unix.CLONE_NEWNET); err != nil {
		return fmt.Errorf("enter the namespace %s: %w", name, err)
	}
	return errors.Join(f(), unix.Setns(int(home.Fd()), unix.CLONE_NEWNET))
}

// ask sends a packet and dumps the answer.
func ask(t *testing.T, conn *net.UDPConn, to string, packet []byte) (string, netip.AddrPort) {
	t.Helper()
	if _, err := conn.WriteToUDPAddrPort(packet, netip.MustParseAddrPort(to)); err != nil {
		t.Fatal(err)
	}
	return hear(t, conn)
}

func hear(t *testing.T, conn *net.UDPConn) (string, netip.AddrPort) {
	t.Helper()
	conn.SetReadDeadline(time.Now().Add(20 * time.Second))
	b := make([]byte, 2000)
	n, from, err := conn.ReadFromUDPAddrPort(b)
	if err != nil {
		t.Fatalf("no answer: %v", err)
	}
	p, err := dhcpv4.FromBytes(b[:n])
	if err != nil {
		t.Fatal(err)
	}
	return dump(p, Destination{Addr: from}), from
}

func TestUdhcpcGetsItsLease(t *testing.T) {
	if _, err := exec.LookPath("busybox"); err != nil {
		t.Skip("SKIPPED: ", err)
	}
	w := newWire(t)
	w.machine(t, "edge", "02:00:00:00:00:03", "10.77.0.3/24")
	w.machine(t, "pc", pcMAC, "")
	w.serve(t, "edge", "full", w.socket(t, "pc", ":0"))
	dir := t.TempDir()
	script := filepath.Join(dir, "script")
	if err := os.WriteFile(script, []byte("#!/bin/sh\nenv >"+dir+"/$1\n[ $1 != bound ] || ip address add $ip/$mask dev $interface\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{
		{},                   // answered at its hardware address
		{"-B"},               // answered by broadcast
		{"-r", "10.77.0.99"}, // asks for another address first
	} {
		os.Remove(dir + "/bound")
		w.ip(t, "pc", "address", "flush", "dev", "eth0")
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		base := []string{"busybox", "udhcpc", "-f", "-q", "-n", "-t", "5", "-T", "2", "-i", "eth0", "-s", script, "-O", "staticroutes", "-V", "PXEClient", "-x", "0x5d:0007"}
		out, err := w.command(ctx, "pc", append(base, args...)...).CombinedOutput()
		cancel()
		if err != nil {
			t.Fatalf("%v: %v: %s", args, err, out)
		}
		bound, err := os.ReadFile(dir + "/bound")
		if err != nil {
			t.Fatalf("%v: %v: %s", args, err, out)
		}
		for _, want := range []string{"ip=10.77.0.50", "mask=24", "subnet=255.255.255.0", "router=10.77.0.1", "dns=10.77.0.2 9.9.9.9", "hostname=pc1",
			"lease=600", "serverid=10.77.0.3", "siaddr=10.77.0.3", "boot_file=snponly.efi", "staticroutes=169.254.169.254/32 10.77.0.3 0.0.0.0/0 10.77.0.1"} {
			if !strings.Contains("\n"+string(bound), "\n"+want+"\n") {
				t.Errorf("%v: got no %s in\n%s", args, want, bound)
			}
		}
	}
}

func TestFirmwareIsAnsweredByProxies(t *testing.T) {
	w := newWire(t)
	w.machine(t, "a", "02:00:00:00:00:03", "10.77.0.3/24")
	w.machine(t, "b", "02:00:00:00:00:04", "10.77.0.4/24")
	w.ip(t, "a", "address", "add", "10.77.0.33/24", "dev", "eth0")
	w.machine(t, "pc", pcMAC, "")
	w.machine(t, "pi", piMAC, "")
	w.machine(t, "relay", "02:00:00:00:00:09", "10.77.0.9/24")
	client := w.socket(t, "pc", ":68")
	w.serve(t, "a", "proxy a", client)
	w.serve(t, "b", "proxy b", client)
	const everyone = "255.255.255.255:67"

	first, _ := ask(t, client, everyone, packet(discover, pcMAC, ovmf))
	second, _ := hear(t, client)
	if Rank(net.HardwareAddr{0x52, 0x54, 0, 0x77, 0, 1}, []string{"a", "b"}, "a") != 0 {
		first, second = second, first
	}
	for _, c := range []struct{ got, edge, server string }{{first, "a", "10.77.0.3"}, {second, "b", "10.77.0.4"}} {
		for _, want := range []string{"OFFER to " + c.server + ":67", "siaddr " + c.server, "file " + c.edge + ".efi", "43 060108ff", "60 PXEClient"} {
			if !strings.Contains(c.got, want) {
				t.Errorf("edge %s: got no %q in\n%s", c.edge, want, c.got)
			}
		}
	}

	w.ip(t, "pc", "address", "add", "10.77.0.50/24", "dev", "eth0")
	boot := w.socket(t, "pc", "10.77.0.50:4011")
	for _, asked := range []string{"10.77.0.3", "10.77.0.33"} {
		answer, from := ask(t, boot, asked+":4011", packet(request, pcMAC, str(optClass, "PXEClient"), opt(optArch, 0, 7), at(12, "10.77.0.50")))
		if !strings.HasPrefix(answer, "ACK to "+asked+":4011") || from.String() != asked+":4011" || !strings.Contains(answer, "file a.efi") {
			t.Errorf("%s was asked: got, from %s,\n%s", asked, from, answer)
		}
	}

	pi := w.socket(t, "pi", ":68")
	if answer, _ := ask(t, pi, everyone, packet(discover, piMAC, piROM)); !strings.HasPrefix(answer, "OFFER") {
		t.Errorf("a Pi: got\n%s", answer)
	}
	client.SetReadDeadline(time.Now().Add(time.Millisecond))
	if n, _, err := client.ReadFromUDPAddrPort(make([]byte, 2000)); err == nil {
		t.Errorf("the Pi's offer went to another machine too: %d bytes", n)
	}

	relay := w.socket(t, "relay", "10.77.0.9:67")
	answer, from := ask(t, relay, "10.77.0.33:67", packet(discover, pcMAC, ovmf, at(24, "10.77.0.9")))
	if !strings.HasPrefix(answer, "OFFER") || from.String() != "10.77.0.33:67" || !strings.Contains(answer, "giaddr 10.77.0.9") {
		t.Errorf("a relay: got, from %s,\n%s", from, answer)
	}
}

func TestIPv6ClientsNeedNotWait(t *testing.T) {
	if _, err := os.Stat("/proc/net/if_inet6"); err != nil {
		t.Skip("SKIPPED: no IPv6 in this kernel: ", err)
	}
	w := newWire(t)
	w.machine(t, "edge", "02:00:00:00:00:03", "10.77.0.3/24")
	w.machine(t, "pc", pcMAC, "")
	w.serve(t, "edge", "proxy a", w.socket(t, "pc", ":0"))
	var raw net.PacketConn
	var nic *net.Interface
	if err := within(w.prefix+"pc", func() (err error) {
		if nic, err = net.InterfaceByName("eth0"); err == nil {
			raw, err = net.ListenPacket("ip6:ipv6-icmp", "::")
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	defer raw.Close()
	conn := ipv6.NewPacketConn(raw)
	if err := errors.Join(conn.SetMulticastHopLimit(255), conn.SetControlMessage(ipv6.FlagHopLimit, true)); err != nil {
		t.Fatal(err)
	}
	for range 100 { // the kernel sends none before its own address is known to be nobody else's
		conn.WriteTo([]byte{routerSolicitation, 0, 0, 0, 0, 0, 0, 0}, &ipv6.ControlMessage{IfIndex: nic.Index}, &net.IPAddr{IP: allRouters, Zone: fmt.Sprint(nic.Index)})
		conn.SetReadDeadline(time.Now().Add(200 * time.Millisecond))
		b := make([]byte, 2000)
		n, control, from, err := conn.ReadFrom(b)
		if err != nil || b[0] != routerAdvertisement {
			continue
		}
		if !sourceOf(from).IsLinkLocalUnicast() || control.HopLimit != 255 || n != 24 || string(b[18:24]) != "\x02\x00\x00\x00\x00\x03" || router(b[:n], 255) {
			t.Errorf("got %x from %s with the hop limit %d", b[:n], from, control.HopLimit)
		}
		return
	}
	t.Error("no advertisement came")
}

func TestMachinesThatAreSwitchedOnAtOnce(t *testing.T) {
	w := newWire(t)
	w.machine(t, "edge", "02:00:00:00:00:03", "10.77.0.3/24")
	w.machine(t, "relay", "02:00:00:00:00:09", "10.77.0.9/24")
	relay := w.socket(t, "relay", "10.77.0.9:67")
	w.serve(t, "edge", "full", relay)
	relay.SetReadBuffer(4 << 20)
	const machines = 2000
	go func() {
		for i := range machines {
			mac := fmt.Sprintf("02:11:22:33:%02x:%02x", i>>8, i&255)
			relay.WriteToUDPAddrPort(packet(discover, mac, ovmf, at(24, "10.77.0.9")), netip.MustParseAddrPort("10.77.0.3:67"))
		}
	}()
	seen := map[string]bool{}
	start := time.Now()
	b := make([]byte, 2000)
	for len(seen) < machines {
		relay.SetReadDeadline(time.Now().Add(time.Second))
		n, _, err := relay.ReadFromUDPAddrPort(b)
		if err != nil {
			break // the queue was full, or a buffer on the way: such a machine asks again
		}
		seen[string(b[28:34])] = n > 300
	}
	t.Logf("%d of %d machines were answered at once, in %s", len(seen), machines, time.Since(start))
	if len(seen) < machines/10 {
		t.Errorf("got %d answers to %d machines", len(seen), machines)
	}
}
