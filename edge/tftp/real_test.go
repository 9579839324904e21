package tftp

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// serveOn runs a server on an address until the test ends, and gives its address.
func serveOn(t testing.TB, address string, s *Server) *net.UDPAddr {
	t.Helper()
	socket, err := net.ListenPacket("udp", address)
	if err != nil {
		t.Fatal(err)
	}
	return serveSocket(t, socket, s)
}

func serveSocket(t testing.TB, socket net.PacketConn, s *Server) *net.UDPAddr {
	t.Helper()
	if s.Open == nil {
		s.Open = opener
	}
	s.Log = slog.New(slog.DiscardHandler)
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- s.Serve(ctx, socket) }()
	t.Cleanup(func() {
		cancel()
		if err := <-served; err != nil {
			t.Error(err)
		}
		socket.Close()
	})
	return socket.LocalAddr().(*net.UDPAddr)
}

// programs are the TFTP clients of Debian, and how each gets a file.
var programs = []struct {
	name, program string
	args          func(port int, file, to string) []string
}{
	{"atftp", "atftp", func(port int, file, to string) []string {
		return []string{"--get", "--remote-file", file, "--local-file", to, "127.0.0.1", strconv.Itoa(port)}
	}},
	{"atftp with options", "atftp", func(port int, file, to string) []string {
		return []string{"--option", "blksize 1468", "--option", "tsize", "--option", "timeout 2", "--get", "--remote-file", file, "--local-file", to, "127.0.0.1", strconv.Itoa(port)}
	}},
	{"atftp with a window", "atftp", func(port int, file, to string) []string {
		return []string{"--option", "blksize 1024", "--option", "windowsize 16", "--get", "--remote-file", file, "--local-file", to, "127.0.0.1", strconv.Itoa(port)}
	}},
	{"tftp-hpa", "tftp", func(port int, file, to string) []string {
		return []string{"-m", "binary", "127.0.0.1", strconv.Itoa(port), "-c", "get", file, to}
	}},
	{"curl", "curl", func(port int, file, to string) []string {
		return []string{"-sS", "-o", to, "tftp://127.0.0.1:" + strconv.Itoa(port) + "/" + file}
	}},
	{"curl with large blocks", "curl", func(port int, file, to string) []string {
		return []string{"-sS", "--tftp-blksize", "1468", "-o", to, "tftp://127.0.0.1:" + strconv.Itoa(port) + "/" + file}
	}},
	{"curl without options", "curl", func(port int, file, to string) []string {
		return []string{"-sS", "--tftp-no-options", "-o", to, "tftp://127.0.0.1:" + strconv.Itoa(port) + "/" + file}
	}},
	{"busybox", "busybox", func(port int, file, to string) []string {
		return []string{"tftp", "-g", "-b", "1468", "-l", to, "-r", file, "127.0.0.1", strconv.Itoa(port)}
	}},
}

func TestRealClients(t *testing.T) {
	for _, single := range []bool{false, true} {
		ended := make(chan Transfer, 100)
		at := serveOn(t, "127.0.0.1:0", &Server{SinglePort: single, Sent: func(done Transfer) { ended <- done }})
		for _, p := range programs {
			t.Run(fmt.Sprintf("%s, single port %v", p.name, single), func(t *testing.T) {
				if _, err := exec.LookPath(p.program); err != nil {
					t.Skip("SKIPPED: ", err)
				}
				for _, size := range []int{0, 1, 512, 1468 * 16, 3_000_001} {
					if size == 0 && strings.HasPrefix(p.name, "curl") {
						continue // it takes a size of 0 for nonsense, and makes no empty files
					}
					to := filepath.Join(t.TempDir(), "file")
					ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
					out, err := exec.CommandContext(ctx, p.program, p.args(at.Port, strconv.Itoa(size), to)...).CombinedOutput()
					cancel()
					if err != nil {
						t.Fatalf("%d bytes: %v: %s", size, err, out)
					}
					got, err := os.ReadFile(to)
					if err != nil || !bytes.Equal(got, fileOf(size)) {
						t.Errorf("%d bytes: got %d, %v", size, len(got), err)
					}
					if done := <-ended; done.Err != nil || done.Bytes != int64(size) || done.Asked.String() != "127.0.0.1" {
						t.Errorf("got the report %+v", done)
					}
				}
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				out, err := exec.CommandContext(ctx, p.program, p.args(at.Port, "nothing", filepath.Join(t.TempDir(), "file"))...).CombinedOutput()
				// Older ones end with 0 all the same, and curl 7.88 says something else than it was told.
				if err == nil && !strings.Contains(strings.ToLower(string(out)), "file") {
					t.Errorf("a file that is not there: got %q", out)
				}
				if done := <-ended; !errors.Is(done.Err, fs.ErrNotExist) {
					t.Errorf("got the report %+v", done)
				}
			})
		}
	}
}

func TestAnswersComeFromTheAddressThatWasAsked(t *testing.T) {
	for _, network := range []string{"udp4", "udp"} {
		for _, single := range []bool{false, true} {
			socket, err := net.ListenPacket(network, ":0")
			if err != nil {
				t.Fatal(err)
			}
			at := serveSocket(t, socket, &Server{SinglePort: single})
			for _, asked := range []string{"127.0.0.1", "127.0.0.77", "::1"} {
				to := &net.UDPAddr{IP: net.ParseIP(asked), Port: at.Port}
				if asked == "::1" && network == "udp4" {
					continue
				}
				conn, err := net.ListenPacket("udp", "")
				if err != nil {
					t.Skip("SKIPPED: no dual sockets here: ", err)
				}
				k := newClient(conn, addrPort(to), opts("blksize", "9999")...)
				err = k.get("100000")
				conn.Close()
				if err != nil || k.peer.Addr() != addrPort(to).Addr() || (k.peer.Port() == uint16(at.Port)) != single {
					t.Errorf("%s asked at %s, single port %v: got an answer from %s, %v", asked, network, single, k.peer, err)
				}
				if want := map[bool]string{false: "1468", true: "1448"}[asked == "::1"]; k.granted["blksize"] != want {
					t.Errorf("%s: got a blksize of %s, want %s", asked, k.granted["blksize"], want)
				}
			}
		}
	}
}

func TestAClientThatLeavesAfterTheLastBlockHasTheFile(t *testing.T) {
	ended := make(chan Transfer, 1)
	at := serveOn(t, "127.0.0.1:0", &Server{Sent: func(done Transfer) { ended <- done }, Timeout: 10 * time.Millisecond})
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	conn.WriteTo(encodeRequest(opRead, "100", "octet"), at)
	conn.ReadFrom(make([]byte, 600))
	conn.Close()
	if done := <-ended; done.Err != nil || done.Bytes != 100 {
		t.Errorf("got the report %+v", done)
	}
}
