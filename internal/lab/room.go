package lab

import (
	"errors"
	"fmt"
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// roomInterface is what a node calls its interface in a room.
const roomInterface = "room0"

// Room is a bridge in a network namespace of its own, which this process has no part in: there machines boot from edges.
type Room struct {
	name   string
	cables int
	nodes  int
}

// NewRoom makes a room. Close must be called, when the nodes and cables in it have ended.
func NewRoom() (*Room, error) {
	r := &Room{name: fmt.Sprintf("klab%d-room", os.Getpid())}
	for _, args := range [][]string{
		{"netns", "add", r.name},
		{"-n", r.name, "link", "set", "lo", "up"},
		{"-n", r.name, "link", "add", "br0", "type", "bridge"},
		{"-n", r.name, "link", "set", "br0", "up"},
	} {
		if err := ip(args...); err != nil {
			return nil, errors.Join(err, r.Close())
		}
	}
	return r, nil
}

// Connect gives a node an interface in the room, with an address such as "10.77.0.2/24", and returns what it is called
// there. The node must have a network namespace of its own.
func (r *Room) Connect(n *Node, address string) (string, error) {
	if n.space == nil {
		return "", fmt.Errorf("%s has no network of its own: make the lab with a Network", n.Name)
	}
	r.nodes++
	port := fmt.Sprintf("node%d", r.nodes)
	for _, args := range [][]string{
		{"-n", r.name, "link", "add", port, "type", "veth", "peer", "name", roomInterface, "netns", n.space.name},
		{"-n", r.name, "link", "set", port, "master", "br0", "up"},
		{"-n", n.space.name, "address", "add", address, "dev", roomInterface},
		{"-n", n.space.name, "link", "set", roomInterface, "up"},
	} {
		if err := ip(args...); err != nil {
			return "", err
		}
	}
	return roomInterface, nil
}

// Unplug takes a node's interface in the room down, as a host that dies does: nobody answers for it any more. Plug
// takes it up again.
func (r *Room) Unplug(n *Node) error {
	return ip("-n", n.space.name, "link", "set", roomInterface, "down")
}

// Plug undoes Unplug.
func (r *Room) Plug(n *Node) error {
	return ip("-n", n.space.name, "link", "set", roomInterface, "up")
}

// tap makes a network device on the bridge, and gives the file that is its other side: one frame at a time. The device
// goes when the file is closed.
func (r *Room) tap() (*os.File, error) {
	r.cables++
	name := fmt.Sprintf("tap%d", r.cables)
	fd, err := r.openTap(name)
	if err != nil {
		return nil, fmt.Errorf("make the network device %s: %w", name, err)
	}
	file := os.NewFile(uintptr(fd), name)
	if err := ip("-n", r.name, "link", "set", name, "master", "br0", "up"); err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return file, nil
}

// openTap works in the room's namespace, on a thread that ends with it.
func (r *Room) openTap(name string) (fd int, err error) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // and never unlocked: the thread is of no other use any more
		var space *os.File
		if space, err = os.Open("/run/netns/" + r.name); err != nil {
			return
		}
		defer space.Close()
		if err = unix.Setns(int(space.Fd()), unix.CLONE_NEWNET); err != nil {
			return
		}
		if fd, err = unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0); err != nil {
			return
		}
		var request *unix.Ifreq
		if request, err = unix.NewIfreq(name); err == nil {
			request.SetUint16(unix.IFF_TAP | unix.IFF_NO_PI)
			err = unix.IoctlIfreq(fd, unix.TUNSETIFF, request)
		}
		if err != nil {
			err = errors.Join(err, unix.Close(fd))
		}
	}()
	<-done
	return fd, err
}

// Close takes the room away.
func (r *Room) Close() error { return ip("netns", "delete", r.name) }
