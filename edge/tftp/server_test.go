package tftp

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/netip"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

const serverAddr, clientAddr = "192.0.2.1", "192.0.2.9"

var serverPort = netip.MustParseAddrPort(serverAddr + ":69")

// content is a file in memory.
type content struct{ *bytes.Reader }

func (content) Close() error { return nil }

func fileOf(size int) []byte {
	b := make([]byte, size)
	for i := range b {
		b[i] = byte(i ^ i>>8 ^ i>>16)
	}
	return b
}

// opener gives a file of the size that its name says.
func opener(_ context.Context, _ netip.AddrPort, name string) (File, error) {
	if name == "secret" {
		return nil, fmt.Errorf("%s: %w", name, fs.ErrPermission)
	}
	size, err := strconv.Atoi(name)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, fs.ErrNotExist)
	}
	return content{bytes.NewReader(fileOf(size))}, nil
}

// world is a server on a network, in a bubble whose time passes at once.
type world struct {
	*network
	server *Server
	ended  []Transfer
}

// inWorld runs a test beside a server.
func inWorld(t *testing.T, change func(*world), test func(t *testing.T, w *world)) {
	synctest.Test(t, func(t *testing.T) {
		w := &world{network: newNetwork(1)}
		w.server = &Server{Open: opener, Log: slog.New(slog.DiscardHandler)}
		w.server.Sent = func(done Transfer) {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.ended = append(w.ended, done)
		}
		w.server.dial = func(client netip.AddrPort, _ netip.Addr) (lineCloser, error) {
			return w.network.dial(serverAddr, client), nil
		}
		if change != nil {
			change(w)
		}
		socket := w.listen(serverAddr, 69)
		ctx, cancel := context.WithCancel(t.Context())
		served := make(chan error)
		go func() { served <- w.server.Serve(ctx, socket) }()
		defer func() {
			time.Sleep(5 * time.Minute) // all that is still under way ends
			w.server.mu.Lock()
			if n := len(w.server.active); n > 0 || len(w.server.of) > 0 {
				t.Errorf("%d transfers are left", n)
			}
			w.server.mu.Unlock()
			cancel()
			if err := <-served; err != nil {
				t.Error(err)
			}
		}()
		test(t, w)
	})
}

// reports are of the transfers that have ended.
func (w *world) reports() []Transfer {
	time.Sleep(time.Millisecond)
	w.mu.Lock()
	defer w.mu.Unlock()
	return append([]Transfer{}, w.ended...)
}

// sentTo counts what was sent to an address.
func (w *world) sentTo(a netip.Addr) (packets, bytes int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.packetsTo[a], w.bytesTo[a]
}

func (w *world) client(options ...option) *client {
	return newClient(w.listen(clientAddr, 0), serverPort, options...)
}

func opts(pairs ...string) []option {
	var out []option
	for i := 0; i < len(pairs); i += 2 {
		out = append(out, option{pairs[i], pairs[i+1]})
	}
	return out
}

func TestFilesOfAllSizesArriveInBothModes(t *testing.T) {
	for _, single := range []bool{false, true} {
		for _, c := range []struct {
			name    string
			size    int
			options []option
		}{
			{"an empty file", 0, nil},
			{"a byte", 1, nil},
			{"one block less a byte", 511, nil},
			{"one block", 512, nil},
			{"many blocks and a bit", 512*100 + 17, nil},
			{"an empty file with options", 0, opts("tsize", "0", "blksize", "1468", "windowsize", "4")},
			{"a block of the size that was agreed", 1468, opts("blksize", "1468")},
			{"a whole window", 4 * 1468, opts("blksize", "1468", "windowsize", "4")},
			{"a window and a byte", 4*1468 + 1, opts("blksize", "1468", "windowsize", "4")},
			{"what EDK2 asks", 987654, opts("tsize", "0", "blksize", "1468", "windowsize", "4")},
			{"what iPXE asks", 987654, opts("blksize", "1432", "tsize", "0")},
			{"the largest window", 987654, opts("blksize", "1468", "windowsize", "64")},
			{"more blocks than there are numbers", 65536*8*2 + 5, opts("blksize", "8", "windowsize", "64")},
			{"as many blocks as there are numbers", 65535 * 8, opts("blksize", "8", "windowsize", "7")},
		} {
			t.Run(fmt.Sprintf("%s, single port %v", c.name, single), func(t *testing.T) {
				inWorld(t, func(w *world) { w.server.SinglePort = single }, func(t *testing.T, w *world) {
					k := w.client(c.options...)
					if err := k.get(strconv.Itoa(c.size)); err != nil {
						t.Fatal(err)
					}
					if !bytes.Equal(k.data, fileOf(c.size)) {
						t.Errorf("got %d bytes that differ from the file's %d", len(k.data), c.size)
					}
					if own := k.peer == serverPort; own != single {
						t.Errorf("the data came from %s", k.peer)
					}
					ended := w.reports()
					if len(ended) != 1 || ended[0].Err != nil || ended[0].Bytes != int64(c.size) || ended[0].Resent != 0 || ended[0].Size != int64(c.size) {
						t.Errorf("got the report %+v", ended)
					}
				})
			})
		}
	}
}

func TestFilesArriveOverBadNetworks(t *testing.T) {
	for _, single := range []bool{false, true} {
		for _, options := range [][]option{nil, opts("blksize", "1468", "windowsize", "4"), opts("blksize", "1468", "windowsize", "64"), opts("windowsize", "16", "timeout", "1")} {
			for _, c := range []struct {
				name          string
				loss, twice   float64
				delay, jitter time.Duration
				oneGap        bool
			}{
				{"one packet in fifty is lost", 0.02, 0, time.Millisecond, 0, false},
				{"the same, and the client tells of each gap once", 0.02, 0, time.Millisecond, 0, true},
				{"one packet in ten comes twice", 0, 0.1, time.Millisecond, 0, false},
				{"packets overtake each other", 0, 0, time.Millisecond, 5 * time.Millisecond, false},
				{"all of this", 0.01, 0.05, time.Millisecond, time.Millisecond, false},
			} {
				t.Run(fmt.Sprintf("%s, %d options %v, single port %v", c.name, len(options), options, single), func(t *testing.T) {
					inWorld(t, func(w *world) {
						w.server.SinglePort = single
						w.loss, w.twice, w.delay, w.jitter = c.loss, c.twice, c.delay, c.jitter
					}, func(t *testing.T, w *world) {
						k := w.client(options...)
						k.oneGap = c.oneGap
						const size = 300*512 + 100
						if err := k.get(strconv.Itoa(size)); err != nil {
							t.Fatal(err)
						}
						if !bytes.Equal(k.data, fileOf(size)) {
							t.Error("the data differs")
						}
					})
				})
			}
		}
	}
}

func TestPacketsThatComeTwiceAreNotAnsweredTwiceForEver(t *testing.T) {
	for _, window := range []int{1, 4, 64} {
		for _, c := range []struct {
			name    string
			doubled func(nth int, from netip.AddrPort, op byte) bool
		}{
			{"an early acknowledgement", func(nth int, from netip.AddrPort, op byte) bool { return op == opAck && nth < 12 }},
			{"an early block", func(nth int, from netip.AddrPort, op byte) bool { return op == opData && nth < 12 }},
			{"every acknowledgement", func(nth int, from netip.AddrPort, op byte) bool { return op == opAck }},
		} {
			t.Run(fmt.Sprintf("%s, window %d", c.name, window), func(t *testing.T) {
				const blocks = 1000
				data := 0
				inWorld(t, func(w *world) {
					w.delay = time.Millisecond
					w.fate = func(from, to netip.AddrPort, packet []byte) int {
						if packet[1] == opData {
							data++
						}
						if c.doubled(w.sent, from, packet[1]) {
							return 2
						}
						return 1
					}
				}, func(t *testing.T, w *world) {
					if err := w.client(opts("windowsize", strconv.Itoa(window))...).get(strconv.Itoa(blocks*512 - 1)); err != nil {
						t.Fatal(err)
					}
				})
				if data > blocks+2*window {
					t.Errorf("got %d blocks sent, want about %d", data, blocks)
				}
			})
		}
	}
}

func TestALostBlockCostsARoundTripAndNotATimeout(t *testing.T) {
	for _, nth := range []int{65, 71, 127} { // of the second window: the first, one within, the last but one
		lost := false
		inWorld(t, func(w *world) {
			w.delay = time.Millisecond
			w.fate = func(_, _ netip.AddrPort, packet []byte) int {
				if packet[1] == opData && int(packet[2])<<8|int(packet[3]) == nth && !lost {
					lost = true
					return 0
				}
				return 1
			}
		}, func(t *testing.T, w *world) {
			start := time.Now()
			if err := w.client(opts("windowsize", "64")...).get("200000"); err != nil {
				t.Fatal(err)
			}
			if took := time.Since(start); took > 30*time.Millisecond {
				t.Errorf("block %d was lost: got the file after %s, want no wait", nth, took)
			}
		})
	}
}

func TestRefusals(t *testing.T) {
	long := strings.Repeat("x", 256)
	for _, c := range []struct {
		name   string
		packet []byte
		code   uint16
		says   string
	}{
		{"a file that is not there", encodeRequest(opRead, "nothing", "octet"), codeNotFound, "no file of that name"},
		{"a file for others", encodeRequest(opRead, "secret", "octet"), codeAccess, "not for this machine"},
		{"no name", encodeRequest(opRead, "", "octet"), codeNotFound, "names no file"},
		{"a name that is too long", encodeRequest(opRead, long, "octet"), codeAccess, "longer than 255"},
		{"a name with a line's end", encodeRequest(opRead, "a\nb", "octet"), codeAccess, "not printable"},
		{"a name in UTF-8", encodeRequest(opRead, "é", "octet"), codeAccess, "not printable"},
		{"a name without an end", []byte("\x00\x01abc"), codeIllegal, "within the file's name"},
		{"a mode without an end", []byte("\x00\x01abc\x00oct"), codeIllegal, "within the mode"},
		{"mode mail", encodeRequest(opRead, "1", "mail"), codeIllegal, "neither octet"},
		{"an option twice", encodeRequest(opRead, "1", "octet", opts("tsize", "0", "TSIZE", "0")...), codeOptions, "twice"},
		{"too many options", encodeRequest(opRead, "1", "octet", manyOptions()...), codeOptions, "more than 16"},
		{"a long request", encodeRequest(opRead, "1", "octet", opts(long, long)...), codeIllegal, "longer than 512"},
		{"to write a file", encodeRequest(opWrite, "1", "octet"), codeAccess, "never written"},
	} {
		t.Run(c.name, func(t *testing.T) {
			inWorld(t, nil, func(t *testing.T, w *world) {
				code, text := w.ask(t, c.packet)
				if code != c.code || !strings.Contains(text, c.says) {
					t.Errorf("got %d %q, want %d and %q", code, text, c.code, c.says)
				}
			})
		})
	}
}

func manyOptions() []option {
	var out []option
	for i := range 17 {
		out = append(out, option{strconv.Itoa(i), "0"})
	}
	return out
}

// ask sends one packet and reads an error.
func (w *world) ask(t *testing.T, packet []byte) (code uint16, text string) {
	t.Helper()
	e := w.listen(clientAddr, 0)
	e.WriteTo(packet, addrOf(serverPort))
	b := make([]byte, 600)
	e.SetReadDeadline(time.Now().Add(time.Second))
	n, _, err := e.ReadFrom(b)
	if err != nil || n < 5 || b[1] != opError || b[n-1] != 0 {
		t.Fatalf("got %x %v, want an error packet", b[:n], err)
	}
	return uint16(b[2])<<8 | uint16(b[3]), string(b[4 : n-1])
}

func TestModesAndNamesThatAreTaken(t *testing.T) {
	for _, packet := range [][]byte{
		encodeRequest(opRead, "0", "netascii"),
		encodeRequest(opRead, "0", "OCTET"),
		append(encodeRequest(opRead, "0", "octet"), 0, 0, 0),
		append(encodeRequest(opRead, "0", "octet"), "padding"...),
	} {
		inWorld(t, nil, func(t *testing.T, w *world) {
			e := w.listen(clientAddr, 0)
			e.WriteTo(packet, addrOf(serverPort))
			b := make([]byte, 600)
			n, _, err := e.ReadFrom(b)
			if err != nil || n != 4 || b[1] != opData {
				t.Errorf("%q: got %x %v, want one empty block", packet, b[:n], err)
			}
		})
	}
}

func TestPacketsThatAreNoRequestsAreNotAnswered(t *testing.T) {
	inWorld(t, nil, func(t *testing.T, w *world) {
		e := w.listen(clientAddr, 0)
		for _, packet := range []string{"", "\x00", "\x00\x03\x00\x01data", "\x00\x04\x00\x01", "\x00\x05\x00\x01no\x00", "\x00\x06tsize\x001\x00", "\x00\x09", "\x01\x00"} {
			e.WriteTo([]byte(packet), addrOf(serverPort))
		}
		time.Sleep(time.Minute)
		if n, _ := w.sentTo(e.at.Addr()); n != 0 || w.server.Counters().Ignored != 8 {
			t.Errorf("got %d answers, counters %+v", n, w.server.Counters())
		}
	})
}

func TestAProbeOfTheSizeIsNoError(t *testing.T) {
	inWorld(t, nil, func(t *testing.T, w *world) {
		e := w.listen(clientAddr, 0)
		e.WriteTo(encodeRequest(opRead, "1234567", "octet", opts("tsize", "0", "blksize", "1468")...), addrOf(serverPort))
		b := make([]byte, 600)
		n, from, err := e.ReadFrom(b)
		if want := "\x00\x06tsize\x001234567\x00blksize\x001468\x00"; err != nil || string(b[:n]) != want {
			t.Fatalf("got %q %v, want %q", b[:n], err, want)
		}
		e.WriteTo(appendError(nil, &refusal{codeOptions, "User aborted"}), from)
		ended := w.reports()
		if len(ended) != 1 || !ended[0].Probe || ended[0].Err != nil || ended[0].Size != 1234567 {
			t.Errorf("got the report %+v", ended)
		}
	})
}

func TestAClientThatGivesUpIsToldOf(t *testing.T) {
	inWorld(t, nil, func(t *testing.T, w *world) {
		e := w.listen(clientAddr, 0)
		e.WriteTo(encodeRequest(opRead, "1000", "octet"), addrOf(serverPort))
		_, from, _ := e.ReadFrom(make([]byte, 600))
		e.WriteTo(appendError(nil, &refusal{3, "disk\nfull"}), from)
		ended := w.reports()
		if want := "the client gave up: disk?full (TFTP error 3)"; len(ended) != 1 || ended[0].Err == nil || ended[0].Err.Error() != want {
			t.Errorf("got the report %+v, want %q", ended, want)
		}
	})
}

type broken struct{ content }

func (broken) ReadAt([]byte, int64) (int, error) { return 0, errors.New("the disk is broken") }

func TestAFileThatCannotBeReadEndsTheTransfer(t *testing.T) {
	inWorld(t, func(w *world) {
		w.server.Open = func(context.Context, netip.AddrPort, string) (File, error) {
			return broken{content{bytes.NewReader(fileOf(10))}}, nil
		}
	}, func(t *testing.T, w *world) {
		if code, text := w.ask(t, encodeRequest(opRead, "x", "octet")); code != codeOther || !strings.Contains(text, "ask another server") {
			t.Errorf("got %d %q", code, text)
		}
		ended := w.reports()
		if len(ended) != 1 || ended[0].Err == nil || !strings.Contains(ended[0].Err.Error(), "read 10 bytes at 0: the disk is broken") {
			t.Errorf("got the report %+v", ended)
		}
	})
}
