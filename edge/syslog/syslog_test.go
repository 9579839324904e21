package syslog

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

func TestParse(t *testing.T) {
	for _, c := range []struct{ name, in, severity, want string }{
		{"RFC 3164", "<34>Oct 11 22:14:15 mymachine su: 'su root' failed on /dev/pts/8", "critical", "mymachine su: 'su root' failed on /dev/pts/8"},
		{"RFC 5424 without a name", "<165>1 2003-10-11T22:14:15.003Z host - - ID47 - Started", "notice", "Started"},
		{"RFC 5424 with data", `<165>1 2003-10-11T22:14:15.003Z host evntslog 12 ID47 [a@1 x="q\"]z"][b@2 y="2"] ` + "\ufeffAn application event", "notice", "evntslog: An application event"},
		{"iPXE", "<30>http://10.0.0.1/boot.ipxe... ok", "info", "http://10.0.0.1/boot.ipxe... ok"},
		{"the kernel's netconsole", "[    1.234567] Linux version 6.1\n", "notice", "[ 1.234567] Linux version 6.1"},
		{"a priority that is none", "<999>text", "notice", "<999>text"},
		{"control bytes", "<13>\x1b[31mred\x00 and\r\n\tmore", "notice", "?[31mred and more"},
		{"no text", "<13>", "notice", ""},
		{"too few fields", "<13>1 2003 host", "notice", "2003 host"},
	} {
		m := Parse([]byte(c.in))
		if m.Name() != c.severity || m.Text != c.want {
			t.Errorf("%s: %s %q, want %s %q", c.name, m.Name(), m.Text, c.severity, c.want)
		}
	}
	if got := len(Parse([]byte(strings.Repeat("x ", 5000))).Text); got > maxText {
		t.Errorf("a long line has %d bytes, want at most %d", got, maxText)
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte("<34>Oct 11 22:14:15 mymachine su: failed"))
	f.Add([]byte(`<165>1 - - - - - [a x="\]"`))
	f.Add([]byte("1 a b c d e -"))
	f.Fuzz(func(t *testing.T, data []byte) {
		m := Parse(data)
		if len(m.Text) > maxText || !utf8.ValidString(m.Text) || strings.ContainsAny(m.Text, "\n\r\x00\x1b") || m.Severity < 0 || m.Severity > 7 {
			t.Errorf("%+v", m)
		}
	})
}

func TestASenderThatLogsTooFastDoesNotStopOthers(t *testing.T) {
	conn, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	type line struct {
		text    string
		dropped int
	}
	lines := make(chan line, 10)
	s := &Server{Handle: func(_ netip.Addr, m Message, dropped int) { lines <- line{m.Text, dropped} }}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(ctx, conn) }()
	to, err := net.Dial("udp4", conn.LocalAddr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer to.Close()
	if _, err := to.Write([]byte("<13>hello")); err != nil {
		t.Fatal(err)
	}
	select {
	case got := <-lines:
		if got.text != "hello" {
			t.Errorf("got %q", got.text)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("the line did not arrive")
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}

	var got []string
	s.Handle = func(from netip.Addr, m Message, dropped int) {
		got = append(got, fmt.Sprint(from, " ", m.Text, " ", dropped))
	}
	loud, calm := netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("10.0.0.2")
	now := time.Now()
	for range burst + 7 {
		s.take(loud, []byte("x"), now)
	}
	s.take(calm, []byte("y"), now)
	s.take(loud, []byte("z"), now.Add(time.Second))
	if len(got) != burst+2 || got[burst] != "10.0.0.2 y 0" || got[burst+1] != "10.0.0.1 z 7" {
		t.Errorf("%d lines, the last ones %q", len(got), got[max(0, len(got)-3):])
	}
}
