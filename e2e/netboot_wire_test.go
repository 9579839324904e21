package e2e

import (
	"bytes"
	"encoding/binary"
	"errors"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"testing"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"golang.org/x/sys/unix"
)

// plainROM is what a machine's network card is connected to: a wire to the room that takes away by what an iPXE is known, so
// that the edge sees the PXE ROM of any other maker. Everything else goes through as it is.
func (r *room) plainROM() (netdev string) {
	r.t.Helper()
	tap := r.openTap(r.tap())
	dir, err := os.MkdirTemp("", "kwire") // the path of a socket has 107 bytes at most
	if err != nil {
		r.t.Fatal(err)
	}
	machine, wire := filepath.Join(dir, "machine"), filepath.Join(dir, "wire")
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: wire, Net: "unixgram"})
	if err != nil {
		r.t.Fatal(err)
	}
	var running sync.WaitGroup
	r.t.Cleanup(func() {
		err := errors.Join(conn.Close(), tap.Close())
		running.Wait()
		if err = errors.Join(err, os.RemoveAll(dir)); err != nil {
			r.t.Error(err)
		}
	})
	const longestFrame = 1 << 16
	running.Go(func() {
		for b := make([]byte, longestFrame); ; {
			n, err := conn.Read(b)
			if err != nil {
				return
			}
			_, _ = tap.Write(withoutIPXE(b[:n])) // networks lose packets, too
		}
	})
	running.Go(func() {
		to := &net.UnixAddr{Name: machine, Net: "unixgram"}
		for b := make([]byte, longestFrame); ; {
			n, err := tap.Read(b)
			if err != nil {
				return
			}
			_, _ = conn.WriteToUnix(b[:n], to) // to nobody, until the machine is there
		}
	})
	return "dgram,id=n0,local.type=unix,local.path=" + machine + ",remote.type=unix,remote.path=" + wire
}

// openTap opens a network device of the room from this side.
func (r *room) openTap(name string) *os.File {
	r.t.Helper()
	type opened struct {
		file *os.File
		err  error
	}
	done := make(chan opened)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread, which is in the room, ends with the goroutine
		file, err := func() (*os.File, error) {
			ns, err := os.Open("/run/netns/" + r.name)
			if err != nil {
				return nil, err
			}
			defer ns.Close()
			if err := unix.Setns(int(ns.Fd()), unix.CLONE_NEWNET); err != nil {
				return nil, err
			}
			fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
			if err != nil {
				return nil, err
			}
			request, err := unix.NewIfreq(name)
			if err == nil {
				request.SetUint16(unix.IFF_TAP | unix.IFF_NO_PI)
				err = unix.IoctlIfreq(fd, unix.TUNSETIFF, request)
			}
			if err != nil {
				return nil, errors.Join(err, unix.Close(fd))
			}
			return os.NewFile(uintptr(fd), name), nil
		}()
		done <- opened{file, err}
	}()
	o := <-done
	if o.err != nil {
		r.t.Fatalf("open %s: %v", name, o.err)
	}
	return o.file
}

// withoutIPXE is a frame, and where it is a DHCP request one without the user class and the features of iPXE.
func withoutIPXE(frame []byte) []byte {
	const ethernet, ip, udp = 14, 20, 8
	const head = ethernet + ip + udp
	if len(frame) <= head || binary.BigEndian.Uint16(frame[12:]) != 0x0800 || frame[ethernet] != 0x45 || frame[ethernet+9] != unix.IPPROTO_UDP {
		return frame
	}
	if port := binary.BigEndian.Uint16(frame[ethernet+ip+2:]); port != 67 && port != 4011 {
		return frame
	}
	p, err := dhcpv4.FromBytes(frame[head:])
	if err != nil {
		return frame
	}
	delete(p.Options, uint8(dhcpv4.OptionUserClassInformation))
	delete(p.Options, 175)
	out := append(bytes.Clone(frame[:head]), p.ToBytes()...)
	binary.BigEndian.PutUint16(out[ethernet+2:], uint16(len(out)-ethernet))
	binary.BigEndian.PutUint16(out[ethernet+10:], 0)
	sum := uint32(0)
	for i := ethernet; i < ethernet+ip; i += 2 {
		sum += uint32(binary.BigEndian.Uint16(out[i:]))
	}
	sum = sum>>16 + sum&0xffff
	binary.BigEndian.PutUint16(out[ethernet+10:], ^uint16(sum+sum>>16))
	binary.BigEndian.PutUint16(out[ethernet+ip+4:], uint16(len(out)-ethernet-ip))
	binary.BigEndian.PutUint16(out[ethernet+ip+6:], 0) // no checksum, which IPv4 allows
	return out
}

// TestAPlainROMLoadsPXELINUX: a BIOS whose network card has no iPXE, with DHCP of the edge and beside another server.
func TestAPlainROMLoadsPXELINUX(t *testing.T) {
	full(t)
	needPXELINUX(t)
	w := prepared(t)
	r := newRoom(t)
	h := r.host("edge", edgeAddress)
	w.describe(t)
	for _, dhcp := range []string{"full", "proxy"} {
		t.Run(dhcp, func(t *testing.T) {
			r, h := r.during(t), h.during(t)
			if dhcp == "proxy" {
				r.site("--no-ping")
			}
			log := h.start("machines boot here", w.kiln, "edge", "--cache", w.cache, "--interface", "eth0", "--dhcp", dhcp, "--bios-loader", "pxelinux")
			machine := x86("-boot", "n", "-netdev", r.plainROM(), "-device", "virtio-net-pci,netdev=n0,mac="+machineMAC)
			boot(t, r.in(machine...), append([]string{"PXELINUX 6", "Kiln: demo-machine boots demo"}, configured...))
			text, err := os.ReadFile(log)
			if err != nil || !bytes.Contains(text, []byte(`kind="BIOS PXE"`)) || bytes.Contains(text, []byte("kind=iPXE")) {
				t.Errorf("the edge saw another client than a plain ROM (%v):\n%s", err, text)
			}
		})
	}
}
