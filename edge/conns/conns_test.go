package conns

import (
	"context"
	"io"
	"net"
	"testing"
	"time"
)

func from(t *testing.T, address, to string) net.Conn {
	t.Helper()
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(address)}, Timeout: 5 * time.Second}
	c, err := d.DialContext(context.Background(), "tcp4", to)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// open says whether the other side has not closed a connection.
func open(c net.Conn) bool {
	_ = c.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
	_, err := c.Read(make([]byte, 1))
	return err != io.EOF && !isReset(err)
}

func isReset(err error) bool {
	n, ok := err.(net.Error)
	return err != nil && !(ok && n.Timeout())
}

func TestConnectionsThatAreTooManyAreClosed(t *testing.T) {
	inner, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := &Listener{Listener: inner, All: 60, PerClient: 20}
	defer l.Close()
	accepted := make(chan net.Conn, 100)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			accepted <- c
		}
	}()
	count := func(address string, n int) (taken int) {
		for range n {
			if open(from(t, address, inner.Addr().String())) {
				taken++
			}
		}
		return taken
	}
	if got := count("127.0.0.2", 22); got != 20 {
		t.Errorf("one client opened %d connections, want 20", got)
	}
	if got := count("127.0.0.3", 18); got != few {
		t.Errorf("one client opened %d connections while more than half are taken, want %d", got, few)
	}
	if got := count("127.0.0.4", 2); got != 2 {
		t.Errorf("a new client opened %d of 2 connections beside those who have too many", got)
	}
	for range 20 {
		if err := (<-accepted).Close(); err != nil {
			t.Fatal(err)
		}
	}
	if got := count("127.0.0.2", 3); got != 3 {
		t.Errorf("after others were closed %d of 3 were accepted", got)
	}
	if l.Refused() != 4 || l.Open() != 21 {
		t.Errorf("%d were refused and %d are open, want 4 and 21", l.Refused(), l.Open())
	}
}

func TestWhatIsQueuedIsKnown(t *testing.T) {
	inner, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := &Listener{Listener: inner}
	defer l.Close()
	far := from(t, "127.0.0.1", inner.Addr().String())
	c, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, ok := Queued(c); !ok {
		t.Skip("this system does not tell what a socket holds")
	}
	if _, ok := c.(io.ReaderFrom); !ok {
		t.Error("the connection cannot be sent files to by the kernel")
	}
	_ = c.SetWriteDeadline(time.Now().Add(200 * time.Millisecond))
	for err == nil {
		_, err = c.Write(make([]byte, 1<<20))
	}
	if n, _ := Queued(c); n == 0 {
		t.Error("nothing is queued, and the other side has read nothing")
	}
	go io.Copy(io.Discard, far)
	for over := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
		if n, ok := Queued(c); ok && n == 0 {
			return
		}
		if time.Now().After(over) {
			t.Fatal("what the other side has read counts as queued")
		}
	}
}
