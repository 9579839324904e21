package hostaddr

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// inside runs the test on a thread with a network of its own, with two interfaces. The thread ends with it.
func inside(t *testing.T, f func()) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("only root may make network namespaces")
	}
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread is not used again
		err := unix.Unshare(unix.CLONE_NEWNET)
		for _, args := range []string{"link add eth1 type veth peer name peer1", "link set eth1 up", "address add 10.9.0.1/24 dev eth1", "link add eth2 type veth peer name peer2", "link set eth2 up"} {
			if err == nil {
				err = run(args)
			}
		}
		if err == nil {
			f()
		}
		done <- err
	}()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

func run(args string) error {
	out, err := exec.Command("ip", strings.Fields(args)...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("ip %s: %w %s", args, err, out)
	}
	return nil
}

// addresses are those of an interface, as ip shows them.
func addresses(t *testing.T, name string) string {
	out, err := exec.Command("ip", "-4", "-o", "address", "show", "dev", name).CombinedOutput()
	if err != nil {
		t.Errorf("ip address: %v %s", err, out)
	}
	return string(out)
}

func TestAddressesThatAreGiven(t *testing.T) {
	a, b := netip.MustParseAddr("169.254.169.254"), netip.MustParseAddr("169.254.42.42")
	quiet := slog.New(slog.NewTextHandler(io.Discard, nil))
	h := &Holder{Interfaces: []string{"eth1", "eth2"}, Addresses: []netip.Addr{a, b}, Log: quiet}
	ended, stop := context.WithCancel(t.Context())
	stop()
	inside(t, func() {
		for _, round := range []string{"the first time", "after a process that was killed"} {
			if err := h.Take(); err != nil {
				t.Errorf("%s: %v", round, err)
			}
			for _, name := range h.Interfaces {
				got := addresses(t, name)
				for _, want := range []string{"169.254.169.254/32 scope link", "169.254.42.42/32 scope link", "valid_lft 60sec"} {
					if !strings.Contains(got, want) || strings.Count(got, "inet 169.254") != 2 {
						t.Errorf("%s: %s has no %q: %s", round, name, want, got)
					}
				}
			}
		}
		h.Hold(ended)
		if got := addresses(t, "eth1") + addresses(t, "eth2"); strings.Contains(got, "169.254") || !strings.Contains(got, "10.9.0.1/24") {
			t.Errorf("afterwards: %s", got)
		}
		// What an operator gave stays as it is.
		if err := run("address add 169.254.169.254/32 dev eth2"); err != nil {
			t.Error(err)
		}
		if err := h.Take(); err != nil {
			t.Error(err)
		}
		h.Hold(ended)
		if got := addresses(t, "eth2"); !strings.Contains(got, "169.254.169.254/32") || !strings.Contains(got, "valid_lft forever") || strings.Contains(got, "42.42") {
			t.Errorf("an operator's address is not as it was: %s", got)
		}
		// All or none.
		none := &Holder{Interfaces: []string{"eth1", "eth7"}, Addresses: []netip.Addr{a}, Log: quiet}
		if err := none.Take(); err == nil || !strings.Contains(err.Error(), "interface eth7") || strings.Contains(addresses(t, "eth1"), "169.254") {
			t.Errorf("an interface that is not there: %v", err)
		}
		// A host in a cloud has a way of its own there.
		if got := Elsewhere(a, h.Interfaces); got != "" {
			t.Errorf("the host reaches it by %q, and there is no route", got)
		}
		if err := run("link add cloud0 type veth peer name peer3"); err != nil {
			t.Error(err)
		}
		for _, args := range []string{"link set cloud0 up", "route add 169.254.169.254/32 dev cloud0"} {
			if err := run(args); err != nil {
				t.Error(err)
			}
		}
		if got := Elsewhere(a, h.Interfaces); got != "cloud0" {
			t.Errorf("the host reaches it by %q, want cloud0", got)
		}
		if got := Elsewhere(a, []string{"cloud0"}); got != "" {
			t.Errorf("the host reaches it by %q, which is its own", got)
		}
	})
}
