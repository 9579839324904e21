package node

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func open(t *testing.T, dir string) *Data {
	t.Helper()
	d, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Close() })
	return d
}

func TestADataDirectoryIsOfOneProcess(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	d := open(t, dir)
	if _, err := Open(dir); !errors.Is(err, ErrInUse) {
		t.Fatalf("a second process got %v, want %v", err, ErrInUse)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	open(t, dir)
	info, err := os.Stat(dir)
	if err != nil {
		t.Fatal(err)
	}
	if got := info.Mode().Perm(); got != 0o700 {
		t.Errorf("mode %v, want only its owner to get in", got)
	}
}

func TestAnIDIsKept(t *testing.T) {
	d := open(t, t.TempDir())
	id, err := d.ID("")
	if err != nil || !regexp.MustCompile(`^[A-Za-z0-9._-]+-[0-9a-f]{4}$`).MatchString(id) {
		t.Fatalf("id %q, %v", id, err)
	}
	if err := d.KeepID(id); err != nil {
		t.Fatal(err)
	}
	if again, err := d.ID(""); again != id || err != nil {
		t.Errorf("the second time it is %q, %v; want %q", again, err, id)
	}
	if _, err := d.ID("other"); err == nil || !strings.Contains(err.Error(), "belongs to "+id) {
		t.Errorf("another id was answered with %v", err)
	}
	if same, err := d.ID(id); same != id || err != nil {
		t.Errorf("the same id was answered with %q, %v", same, err)
	}
}

func TestAnIDThatWasAskedForIsKeptOnlyOnceItIsTheNodes(t *testing.T) {
	d := open(t, t.TempDir())
	for _, asked := range []string{"taken", "free"} {
		if id, err := d.ID(asked); id != asked || err != nil {
			t.Fatalf("asked for %s: %q, %v", asked, id, err)
		}
	}
	if err := d.KeepID("free"); err != nil {
		t.Fatal(err)
	}
	if id, err := d.ID(""); id != "free" || err != nil {
		t.Errorf("the id is %q, %v; want the one that was kept", id, err)
	}
}

func TestAnIDHasNothingThatOthersGiveAMeaning(t *testing.T) {
	for _, id := range []string{"", "a b", "a/b", "a*", "ü", strings.Repeat("x", maxID+1)} {
		if CheckID(id) == nil {
			t.Errorf("%q is allowed", id)
		}
	}
	for _, id := range []string{"c1", "rack-7.example_a"} {
		if err := CheckID(id); err != nil {
			t.Error(err)
		}
	}
}

func TestWhereTheFarmIsIsRemembered(t *testing.T) {
	d := open(t, t.TempDir())
	want := Place{Farm: "lab", Coordinators: []string{"a:7300", "b:7300"}, Buses: []string{"tls://a:7301"}, Store: "s3://kiln"}
	if err := d.Remember(want); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, d.Place()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if err := os.WriteFile(d.Path(farmFile), []byte("{half"), 0o600); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(Place{}, d.Place()); diff != "" {
		t.Errorf("of a damaged file (-want +got):\n%s", diff)
	}
}

func TestTheServiceManagerIsTold(t *testing.T) {
	path := filepath.Join(t.TempDir(), "notify")
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := Notify(path, Ready); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 64)
	n, err := conn.Read(b)
	if got := string(b[:n]); got != "READY=1" || err != nil {
		t.Errorf("it heard %q, %v", got, err)
	}
	if err := Notify("", Ready); err != nil {
		t.Errorf("without a service manager: %v", err)
	}
	if err := Notify(filepath.Join(t.TempDir(), "none"), Ready); err == nil {
		t.Error("a service manager that is not there was told")
	}
}
