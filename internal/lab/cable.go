package lab

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

const longestFrame = 64 << 10 // bytes; what QEMU takes at most is a little more

// Cable connects a machine of QEMU with a room. All frames between them pass through this process, one after the other in
// each direction, so that something can be done at a moment of a boot that nobody has to guess.
type Cable struct {
	tap     *os.File // the room's end
	near    *os.File // this process's end of the machine's
	machine *os.File // the machine's end
	see     atomic.Pointer[func(Packet) bool]
	pumps   sync.WaitGroup
}

// Cable makes one. Close must be called, before the room's.
func (r *Room) Cable() (*Cable, error) {
	tap, err := r.tap()
	if err != nil {
		return nil, err
	}
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("a cable's sockets: %w", err), tap.Close())
	}
	c := &Cable{tap: tap, near: os.NewFile(uintptr(fds[0]), "cable"), machine: os.NewFile(uintptr(fds[1]), "machine")}
	c.pumps.Go(c.toMachine)
	c.pumps.Go(c.toRoom)
	return c, nil
}

// Machine is the end for QEMU, which takes it as a file of its own: -netdev socket,id=n0,fd=3.
func (c *Cable) Machine() *os.File { return c.machine }

// See has f called with every packet of IPv4 before it goes on, and waits for it; those that f says false of do not. It is
// called by two goroutines, one for each direction. nil: nobody looks.
func (c *Cable) See(f func(Packet) bool) {
	if f == nil {
		c.see.Store(nil)
		return
	}
	c.see.Store(&f)
}

// passes says whether a frame may go on.
func (c *Cable) passes(frame []byte, toMachine bool) bool {
	f := c.see.Load()
	if f == nil {
		return true
	}
	p, ok := ParsePacket(frame)
	p.ToMachine = toMachine
	return !ok || (*f)(p)
}

// toMachine passes on what comes from the room. QEMU wants the length of each frame before it, in four bytes.
func (c *Cable) toMachine() {
	buffer := make([]byte, 4+longestFrame)
	for {
		n, err := c.tap.Read(buffer[4:])
		if err != nil {
			return
		}
		if !c.passes(buffer[4:4+n], true) {
			continue
		}
		binary.BigEndian.PutUint32(buffer, uint32(n))
		if _, err := c.near.Write(buffer[:4+n]); err != nil {
			return
		}
	}
}

// toRoom passes on what the machine sends.
func (c *Cable) toRoom() {
	buffer := make([]byte, longestFrame)
	for {
		if _, err := io.ReadFull(c.near, buffer[:4]); err != nil {
			return
		}
		n := binary.BigEndian.Uint32(buffer)
		if n > longestFrame {
			return
		}
		if _, err := io.ReadFull(c.near, buffer[:n]); err != nil {
			return
		}
		if c.passes(buffer[:n], false) {
			_, _ = c.tap.Write(buffer[:n]) // a network may lose frames
		}
	}
}

// Close cuts the cable.
func (c *Cable) Close() error {
	err := errors.Join(c.tap.Close(), c.near.Close(), c.machine.Close())
	c.pumps.Wait()
	return err
}
