package main

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strconv"
	"sync"
	"syscall"
	"time"
)

// TFTP: RFC 1350 §5, RFC 2347.
const (
	tftpRead   = 1
	tftpData   = 3
	tftpAck    = 4
	tftpError  = 5
	tftpOptAck = 6

	tftpBlock   = 1468            // bytes: what firmware asks for (EDK2, iPXE)
	tftpPatient = time.Second     // until the last packet is sent again
	tftpTries   = 8               // of one packet
	tftpReceive = 4 << 20         // bytes: windows must not be lost in here
	tftpCut     = 4 * time.Second // after which a transfer is ended and counts as it went so far
)

// fetched is how a transfer went.
type fetched struct {
	bytes   int
	took    time.Duration
	window  int  // that was granted; 1 when none was
	cut     bool // it was ended before its end
	repeats int  // packets that had to be sent again, and windows with a gap
}

// rate is in MB/s.
func (f fetched) rate() float64 { return float64(f.bytes) / 1e6 / f.took.Seconds() }

// fetchTFTP reads a file as firmware does, and compares it with what it must be. Like EDK2 it acknowledges each window,
// and answers a block that it does not expect with the last one that was in order.
func fetchTFTP(from netip.Addr, server netip.AddrPort, name string, window int, want []byte) (fetched, error) {
	conn, err := net.ListenUDP("udp4", net.UDPAddrFromAddrPort(netip.AddrPortFrom(from, 0)))
	if err != nil {
		return fetched{}, err
	}
	defer conn.Close()
	if err := widen(conn); err != nil {
		return fetched{}, err
	}
	c := &tftpClient{conn: conn, to: server, want: want, block: 512, window: 1, expected: 1}
	c.last = append([]byte{0, tftpRead}, name+"\x00octet\x00blksize\x00"+strconv.Itoa(tftpBlock)+"\x00tsize\x000\x00"...)
	if window > 1 {
		c.last = append(c.last, "windowsize\x00"+strconv.Itoa(window)+"\x00"...)
	}
	begun := time.Now()
	err = c.run(begun.Add(tftpCut))
	return fetched{bytes: c.got, took: time.Since(begun), window: c.window, cut: c.cut, repeats: c.repeats}, err
}

// crowd is how many fare that read a file at once, from several addresses: servers bound what one address gets.
func crowd(from []netip.Addr, clients int, server netip.AddrPort, name string, window int, want []byte) (fetched, error) {
	all, faults := make([]fetched, clients), make([]error, clients)
	var group sync.WaitGroup
	begun := time.Now()
	for n := range clients {
		group.Go(func() { all[n], faults[n] = fetchTFTP(from[n%len(from)], server, name, window, want) })
	}
	group.Wait()
	sum := fetched{took: time.Since(begun), window: all[0].window}
	for _, f := range all {
		sum.bytes, sum.repeats, sum.cut = sum.bytes+f.bytes, sum.repeats+f.repeats, sum.cut || f.cut
	}
	return sum, errors.Join(faults...)
}

// widen makes room for windows, as root beyond the system's limit.
func widen(conn *net.UDPConn) error {
	raw, err := conn.SyscallConn()
	if err != nil {
		return err
	}
	return raw.Control(func(fd uintptr) {
		_ = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUFFORCE, tftpReceive)
	})
}

type tftpClient struct {
	conn *net.UDPConn
	to   netip.AddrPort
	peer netip.AddrPort // of the transfer, once it has answered
	last []byte         // sent last
	want []byte

	block, window int
	expected      int // number of the next block, counted on beyond 65535
	inWindow      int
	gap           bool // a block is missing, and the server was told
	got           int
	cut           bool
	repeats       int
}

func (c *tftpClient) send(packet []byte) error {
	c.last = packet
	_, err := c.conn.WriteToUDPAddrPort(packet, c.to)
	return err
}

func (c *tftpClient) ack() error {
	c.inWindow = 0
	return c.send(binary.BigEndian.AppendUint16([]byte{0, tftpAck}, uint16(c.expected-1)))
}

func (c *tftpClient) run(until time.Time) error {
	if err := c.send(c.last); err != nil {
		return err
	}
	buffer := make([]byte, 2048)
	for tries, now := 0, time.Now(); ; now = time.Now() {
		if now.After(until) {
			c.cut = true
			return c.send([]byte("\x00\x05\x00\x00that is enough\x00"))
		}
		if err := c.conn.SetReadDeadline(now.Add(tftpPatient)); err != nil {
			return err
		}
		n, from, err := c.conn.ReadFromUDPAddrPort(buffer)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			if tries++; tries == tftpTries {
				return errors.New("the server does not answer")
			}
			c.repeats++
			c.inWindow, c.gap = 0, false
			err = c.send(c.last)
		} else if err == nil && n >= 4 && (from == c.peer || !c.peer.IsValid()) {
			var done bool
			tries = 0
			if done, err = c.packet(from, buffer[:n]); done {
				return err
			}
		}
		if err != nil {
			return err
		}
	}
}

// packet takes a packet of the server, and says whether it was the last.
func (c *tftpClient) packet(from netip.AddrPort, p []byte) (bool, error) {
	switch binary.BigEndian.Uint16(p) {
	case tftpError:
		return true, fmt.Errorf("the server says: %s", bytes.TrimRight(p[4:], "\x00"))
	case tftpOptAck:
		if c.expected > 1 {
			return false, nil
		}
		c.peer, c.to = from, from
		fields := bytes.Split(p[2:], []byte{0})
		for i := 0; i+1 < len(fields); i += 2 {
			value, _ := strconv.Atoi(string(fields[i+1]))
			switch string(bytes.ToLower(fields[i])) {
			case "blksize":
				c.block = value
			case "windowsize":
				c.window = value
			}
		}
		return false, c.ack()
	case tftpData:
		return c.data(from, binary.BigEndian.Uint16(p[2:]), p[4:])
	}
	return false, nil
}

func (c *tftpClient) data(from netip.AddrPort, number uint16, data []byte) (bool, error) {
	c.peer, c.to = from, from
	if number != uint16(c.expected) {
		if c.gap {
			return false, nil
		}
		c.gap = true
		c.repeats++
		return false, c.ack()
	}
	c.gap = false
	if c.got+len(data) > len(c.want) || !bytes.Equal(data, c.want[c.got:c.got+len(data)]) {
		return true, fmt.Errorf("block %d has other bytes than the file", c.expected)
	}
	c.got += len(data)
	c.expected++
	c.inWindow++
	last := len(data) < c.block
	if last && c.got != len(c.want) {
		return true, fmt.Errorf("the file ended after %d of %d bytes", c.got, len(c.want))
	}
	if last || c.inWindow == c.window {
		return last, c.ack()
	}
	return false, nil
}
