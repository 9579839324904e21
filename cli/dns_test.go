package cli

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/kiln-farm/kiln/internal/lab"
	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
)

// named is a DNS server with the zones of rack-a.
func named(t *testing.T, dir string) *lab.Named {
	t.Helper()
	if err := lab.NamedAble(); err != nil {
		t.Skip("SKIPPED: ", err)
	}
	dir = filepath.Join(dir, "named")
	check(t, os.MkdirAll(dir, 0o700))
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	n, err := lab.StartNamed(ctx, dir, "lab.example", "0.0.10.in-addr.arpa")
	check(t, err)
	t.Cleanup(func() { check(t, n.Close()) })
	return n
}

// namedYAML is a room whose names are published.
func namedYAML(server, more string) string {
	return fmt.Sprintf(`subnets:
  - name: rack-a
    prefix: 10.0.0.0/24
    pools: [10.0.0.100-10.0.0.199]
    dns_update: {server: "%s", zone: lab.example, reverse: auto, ttl: 2m, names: clients, key: %s%s}
machines:
  - {name: web-1, mac: "52:54:00:00:00:01", address: 10.0.0.21/24}
  - {name: web-2, mac: "52:54:00:00:00:02", hostname: db.lab.example}
`, server, lab.NamedKey, more)
}

// holds waits until the zones hold these lines, and nothing else.
func (w *world) holds(t *testing.T, n *lab.Named, want ...string) {
	t.Helper()
	var got []string
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		got = nil
		for _, zone := range []string{"0.0.10.in-addr.arpa", "lab.example"} {
			lines, err := n.Zone(zone)
			check(t, err)
			for _, line := range lines {
				if !strings.HasSuffix(line, " DHCID") {
					got = append(got, line)
				}
			}
		}
		if strings.Join(got, "\n") == strings.Join(want, "\n") {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("the zones hold\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
	}
}

func TestNamesAreInDNSWhileTheirAddressesAreBound(t *testing.T) {
	w := newWorld(t)
	n := named(t, w.dir)
	w.vars["KILN_FARM"] = w.startServer(t, filepath.Join(w.dir, "server"), "--dns-keys", n.Keys)
	w.write("room.yml", namedYAML(n.Address, ""))
	w.wait("the room is taken", func() bool { return w.run("apply", "-f", "room.yml").code == exitDone })
	w.holds(t, n, "21.0.0.10.in-addr.arpa PTR web-1.lab.example", "web-1.lab.example A 10.0.0.21")
	_ = kilnv1.BindVerdict_BIND_VERDICT_DONE
}
