package main

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// link is a network namespace for a server, and the way there from this process. Packets on it are late by half a round
// trip in each direction. It does what netem does, which not every kernel has: a pair of TUN devices, between which this
// process carries packets. Without delay it is a pair of veth devices, and no packet passes through here.
type link struct {
	space  string // the namespace
	near   string // the device of this side
	server netip.Addr
	own    []netip.Addr // of this side
	rate   float64      // bytes a second; zero: no bound
	tuns   []*os.File
	done   sync.WaitGroup
}

const (
	linkPrefix = "kbench"
	linkQueue  = 4096 // packets that are on their way
	linkMTU    = 1500
	linkLate   = 100 * time.Millisecond // for which a packet waits at most before a thin line

	linkAddresses = 65 // of this side
)

// newLink makes one. Close must be called.
func newLink(rtt time.Duration) (*link, error) { return newThinLink(rtt, 0) }

// newThinLink makes one that carries so many bytes a second in each direction; zero: all that come. It has a round trip then.
func newThinLink(rtt time.Duration, rate float64) (*link, error) {
	sweepLinks()
	l := &link{space: linkPrefix + strconv.Itoa(os.Getpid()), rate: rate}
	if err := ip("netns", "add", l.space); err != nil {
		return nil, err
	}
	err := l.make(rtt)
	if err != nil {
		return nil, errors.Join(err, l.close())
	}
	return l, nil
}

func (l *link) make(rtt time.Duration) error {
	network, err := freeNetwork()
	if err != nil {
		return err
	}
	l.server = netip.MustParseAddr(network + "1")
	there := network + "1/24"
	far := fmt.Sprintf("kbf%d", os.Getpid())
	if l.near = fmt.Sprintf("kbn%d", os.Getpid()); rtt == 0 {
		err = ip("link", "add", l.near, "type", "veth", "peer", "name", far)
	} else {
		err = l.carry(l.near, far, rtt/2)
	}
	if err != nil {
		return err
	}
	for _, args := range [][]string{
		{"link", "set", far, "netns", l.space},
		{"link", "set", l.near, "up"},
		{"-n", l.space, "address", "add", there, "dev", far},
		{"-n", l.space, "link", "set", far, "name", "eth0"},
		{"-n", l.space, "link", "set", "eth0", "up"},
		{"-n", l.space, "link", "set", "lo", "up"},
	} {
		if err := ip(args...); err != nil {
			return err
		}
	}
	for n := range linkAddresses {
		own := fmt.Sprintf("%s%d", network, n+2)
		if err := ip("address", "add", own+"/24", "dev", l.near); err != nil {
			return err
		}
		l.own = append(l.own, netip.MustParseAddr(own))
	}
	return nil
}

// carry makes two TUN devices, and moves packets between them until close.
func (l *link) carry(near, far string, delay time.Duration) error {
	a, err := openTun(near)
	if err != nil {
		return err
	}
	l.tuns = append(l.tuns, a)
	b, err := openTun(far)
	if err != nil {
		return err
	}
	l.tuns = append(l.tuns, b)
	l.delay(a, b, delay)
	l.delay(b, a, delay)
	return nil
}

type latePacket struct {
	due  time.Time
	data []byte
}

// delay passes packets on when their time has come.
func (l *link) delay(from, to *os.File, d time.Duration) {
	queue := make(chan latePacket, linkQueue)
	l.done.Go(func() {
		defer close(queue)
		buffer := make([]byte, 2*linkMTU)
		var free time.Time // the line
		for {
			n, err := from.Read(buffer)
			if errors.Is(err, syscall.EIO) { // the device is not up yet
				time.Sleep(time.Millisecond)
				continue
			}
			if err != nil {
				return
			}
			now := time.Now()
			if free.Before(now) {
				free = now
			}
			next := free
			if l.rate > 0 {
				next = free.Add(time.Duration(float64(n) / l.rate * float64(time.Second)))
			}
			if next.Sub(now) > linkLate {
				continue // as a full router does
			}
			select {
			case queue <- latePacket{next.Add(d), slices.Clone(buffer[:n])}:
				free = next
			default:
			}
		}
	})
	l.done.Go(func() {
		for p := range queue {
			if left := syscall.NsecToTimespec(int64(time.Until(p.due))); left.Nano() > 0 {
				_ = syscall.Nanosleep(&left, nil) // Go's own timers are up to a millisecond late when a process idles
			}
			_, _ = to.Write(p.data) // the far end may be gone
		}
	})
}

func openTun(name string) (*os.File, error) {
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("a network with delays needs /dev/net/tun: %w", err)
	}
	request, err := unix.NewIfreq(name)
	if err == nil {
		request.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI)
		err = unix.IoctlIfreq(fd, unix.TUNSETIFF, request)
	}
	if err == nil {
		err = unix.SetNonblock(fd, true) // so that close ends a read
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("make the device %s: %w", name, err), unix.Close(fd))
	}
	return os.NewFile(uintptr(fd), name), nil
}

// in is a command in the server's namespace, in the same process.
func (l *link) in(args ...string) []string {
	return append([]string{"ip", "netns", "exec", l.space}, args...)
}

// trip measures the least round trip of small packets that it really has: those to a closed port come back as errors.
func (l *link) trip() (time.Duration, error) {
	var all []time.Duration
	for range 5 { // the kernel answers six at once, and then one a second (icmp_ratelimit)
		conn, err := net.DialUDP("udp4", nil, net.UDPAddrFromAddrPort(netip.AddrPortFrom(l.server, 9)))
		if err != nil {
			return 0, err
		}
		begun := time.Now()
		_ = conn.SetDeadline(begun.Add(3 * time.Second))
		if _, err = conn.Write([]byte{0}); err == nil {
			_, err = conn.Read(make([]byte, 1))
		}
		_ = conn.Close()
		if !errors.Is(err, syscall.ECONNREFUSED) {
			return 0, fmt.Errorf("the link to the servers does not work: %w", err)
		}
		all = append(all, time.Since(begun))
	}
	return slices.Min(all), nil
}

// close takes the link away. Servers in it must have ended.
func (l *link) close() error {
	for _, t := range l.tuns {
		_ = t.Close() // its device goes with it
	}
	l.done.Wait()
	if len(l.tuns) == 0 {
		_ = ip("link", "delete", l.near) // a namespace's devices go some time after it, and the next link has the same names
	}
	return ip("netns", "delete", l.space)
}

// sweepLinks removes what a bench left that was killed.
func sweepLinks() {
	left, err := filepath.Glob("/run/netns/" + linkPrefix + "*")
	if err != nil {
		return
	}
	for _, path := range left {
		pid, err := strconv.Atoi(strings.TrimPrefix(filepath.Base(path), linkPrefix))
		if err == nil && syscall.Kill(pid, 0) != nil {
			_ = ip("netns", "delete", filepath.Base(path)) // another bench may do the same now
		}
	}
}

// freeNetwork finds 256 addresses that this machine has no part in; what it returns goes before the last number.
func freeNetwork() (string, error) {
	addresses, err := net.InterfaceAddrs()
	if err != nil {
		return "", err
	}
	for third := range 256 {
		network := fmt.Sprintf("10.214.%d.", third)
		candidate := net.IPNet{IP: net.ParseIP(network + "0"), Mask: net.CIDRMask(24, 32)}
		if !slices.ContainsFunc(addresses, func(a net.Addr) bool {
			own, ok := a.(*net.IPNet)
			return ok && (candidate.Contains(own.IP) || own.Contains(candidate.IP))
		}) {
			return network, nil
		}
	}
	return "", errors.New("no free network below 10.214.0.0/16")
}

// networks says why this process can make no networks; nil when it can.
func networks() error {
	if os.Geteuid() != 0 {
		return errors.New("only root may make network namespaces; run it with sudo")
	}
	if _, err := exec.LookPath("ip"); err != nil {
		return errors.New("ip is not installed; run: apt-get install --no-install-recommends iproute2")
	}
	return nil
}

func ip(args ...string) error {
	out, err := exec.Command("ip", args...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("ip %s: %w: %s", strings.Join(args, " "), err, strings.TrimSpace(string(out)))
	}
	return nil
}
