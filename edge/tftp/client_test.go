package tftp

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strconv"
	"time"
)

// client reads files as firmware does: after EDK2, it acknowledges each window, answers each unexpected block with the
// last number that was in order, repeats its last packet when nothing comes, and says nothing after its last one.
type client struct {
	conn    net.PacketConn
	server  netip.AddrPort
	options []option
	wait    time.Duration // until its last packet is repeated
	tries   int
	oneGap  bool // answer the first unexpected block of a gap only

	peer    netip.AddrPort // that answered first
	granted map[string]string
	data    []byte
	answers map[netip.AddrPort]bool // who sent data or options
}

// errServer is what the server said.
type errServer struct {
	code uint16
	text string
}

func (e errServer) Error() string { return fmt.Sprintf("TFTP error %d: %s", e.code, e.text) }

func newClient(conn net.PacketConn, server netip.AddrPort, options ...option) *client {
	return &client{conn: conn, server: server, options: options, wait: 4 * time.Second, tries: 6, granted: map[string]string{},
		answers: map[netip.AddrPort]bool{}}
}

func encodeRequest(op uint16, name, mode string, options ...option) []byte {
	b := binary.BigEndian.AppendUint16(nil, op)
	b = append(append(b, name...), 0)
	b = append(append(b, mode...), 0)
	for _, o := range options {
		b = append(append(b, o.name...), 0)
		b = append(append(b, o.value...), 0)
	}
	return b
}

func ack(block int) []byte {
	return binary.BigEndian.AppendUint16([]byte{0, opAck}, uint16(block))
}

// get reads a whole file.
func (c *client) get(name string) error {
	last := encodeRequest(opRead, name, "octet", c.options...)
	to := c.server
	block, window := plainBlock, 1
	expected, inWindow, gap := 1, 0, false
	send := func(b []byte) {
		last = b
		c.conn.WriteTo(b, net.UDPAddrFromAddrPort(to))
	}
	send(last)
	buffer := make([]byte, 65536)
	for tries := 0; ; {
		c.conn.SetReadDeadline(time.Now().Add(c.wait))
		n, a, err := c.conn.ReadFrom(buffer)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			if tries++; tries == c.tries {
				return errors.New("the server does not answer")
			}
			inWindow, gap = 0, false
			send(last)
			continue
		}
		if err != nil {
			return err
		}
		from := addrPort(a)
		if n < 4 || c.peer.IsValid() && from != c.peer {
			continue
		}
		if !c.peer.IsValid() {
			if buffer[1] == opData && binary.BigEndian.Uint16(buffer[2:]) != 1 {
				continue // of an older transfer
			}
			c.peer, to = from, from
		}
		c.answers[from] = true
		number := int(binary.BigEndian.Uint16(buffer[2:]))
		switch binary.BigEndian.Uint16(buffer) {
		case opError:
			return errServer{uint16(number), string(buffer[4 : n-1])}
		case opOptAck:
			if expected > 1 {
				continue
			}
			options, _ := parseOptions(buffer[2:n])
			for _, o := range options {
				c.granted[o.name] = o.value
			}
			if v, ok := c.granted["blksize"]; ok {
				block, _ = strconv.Atoi(v)
			}
			if v, ok := c.granted["windowsize"]; ok {
				window, _ = strconv.Atoi(v)
			}
			send(ack(0))
		case opData:
			if number != expected&0xffff {
				if !gap || !c.oneGap {
					send(ack(expected - 1))
				}
				gap, inWindow = true, 0
				continue
			}
			c.data = append(c.data, buffer[4:n]...)
			expected, gap, tries = expected+1, false, 0
			if inWindow++; inWindow == window || n-4 < block {
				send(ack(expected - 1))
				inWindow = 0
			}
			if n-4 < block {
				return nil
			}
		}
	}
}
