package cli

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/kiln-farm/kiln/cli/client"
	"github.com/kiln-farm/kiln/cli/ui"
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
	check(t, n.Update("lab.example", "printer.lab.example. 60 IN A 10.0.0.7", "laptop.lab.example. 60 IN A 10.9.9.9"))
	check(t, n.Update("0.0.10.in-addr.arpa", "102.0.0.10.in-addr.arpa. 60 IN PTR old.corp.example."))
	byHand := []string{"102.0.0.10.in-addr.arpa PTR old.corp.example", "laptop.lab.example A 10.9.9.9", "printer.lab.example A 10.0.0.7"}
	holds := func(more ...string) {
		t.Helper()
		want := append(slices.Clone(byHand), more...)
		slices.SortFunc(want, func(a, b string) int { // zone by zone
			return cmp.Or(-cmp.Compare(strings.Count(a, " PTR "), strings.Count(b, " PTR ")), strings.Compare(a, b))
		})
		w.holds(t, n, want...)
	}
	w.vars["KILN_FARM"] = w.startServer(t, filepath.Join(w.dir, "server"), "--dns-keys", n.Keys)
	w.write("room.yml", namedYAML(n.Address, ""))
	w.wait("the room is taken", func() bool { return w.run("apply", "-f", "room.yml").code == ui.ExitDone })
	fixed := []string{"21.0.0.10.in-addr.arpa PTR web-1.lab.example", "web-1.lab.example A 10.0.0.21"}
	holds(fixed...)

	const hour = time.Hour
	w.named(t, hour, "10.0.0.100 52:54:00:00:00:02 whatever", "10.0.0.101 52:54:00:00:00:aa pc", "10.0.0.102 52:54:00:00:00:bb laptop",
		"10.0.0.103 52:54:00:00:00:cc pc", "10.0.0.104 52:54:00:00:00:dd web-1", "10.0.0.105 52:54:00:00:00:ee")
	bound := []string{"100.0.0.10.in-addr.arpa PTR db.lab.example", "db.lab.example A 10.0.0.100"}
	pc := []string{"101.0.0.10.in-addr.arpa PTR pc.lab.example", "pc.lab.example A 10.0.0.101"}
	holds(slices.Concat(fixed, bound, pc)...)
	w.wait("the leases tell of the names", func() bool {
		said := w.run("leases", "--json").stdout
		return strings.Count(said, `"published"`) == 2 && strings.Count(said, `"taken"`) == 1
	})
	steps{
		{[]string{"leases"}, ui.ExitDone, []string{`10\.0\.0\.100 .* web-2 .* db\.lab\.example +bound`, `10\.0\.0\.101 .* pc\.lab\.example +bound`,
			`10\.0\.0\.102 .* laptop\.lab\.example \(taken\) +bound`, `10\.0\.0\.103 +\S+ +- +\S+ +- +bound`, `10\.0\.0\.104 +\S+ +- +\S+ +- +bound`}, ""},
		{[]string{"leases", "--json"}, ui.ExitDone, []string{`"name": "pc.lab.example",\s*"state": "published"\s*}`,
			`"why": "127.0.0.1:\d+ has a name laptop.lab.example that Kiln did not make for mac 52:54:00:00:00:bb, which is left alone`}, ""},
		{[]string{"leases", "release", "10.0.0.101"}, ui.ExitDone, nil, ""},
	}.run(t, w)
	holds(slices.Concat(fixed, bound)...)

	// The name is free for the other one when it asks again; a short lease runs out, and takes its name with it.
	w.named(t, 2*time.Second, "10.0.0.103 52:54:00:00:00:cc pc", "10.0.0.106 52:54:00:00:00:ff brief")
	holds(slices.Concat(fixed, bound, []string{"103.0.0.10.in-addr.arpa PTR pc.lab.example", "pc.lab.example A 10.0.0.103",
		"106.0.0.10.in-addr.arpa PTR brief.lab.example", "brief.lab.example A 10.0.0.106"})...)
	holds(slices.Concat(fixed, bound, []string{"103.0.0.10.in-addr.arpa PTR pc.lab.example", "pc.lab.example A 10.0.0.103"})...)

	// A server that is away for a while misses nothing.
	n.Stop()
	w.write("room.yml", strings.ReplaceAll(namedYAML(n.Address, ""), "name: web-1,", "name: web-1, hostname: web-9,"))
	w.run("apply", "-f", "room.yml").ok(t)
	w.named(t, hour, "10.0.0.107 52:54:00:00:00:ab late")
	time.Sleep(300 * time.Millisecond)
	check(t, n.Start(t.Context(), "lab.example", "0.0.10.in-addr.arpa"))
	holds(slices.Concat(bound, []string{"21.0.0.10.in-addr.arpa PTR web-9.lab.example", "web-9.lab.example A 10.0.0.21", "103.0.0.10.in-addr.arpa PTR pc.lab.example",
		"pc.lab.example A 10.0.0.103", "107.0.0.10.in-addr.arpa PTR late.lab.example", "late.lab.example A 10.0.0.107"})...)

	// A subnet that is no more leaves nothing behind.
	w.write("room.yml", "machines: []\n")
	w.run("apply", "-f", "room.yml", "--prune").ok(t)
	holds()
	for _, zone := range []string{"lab.example", "0.0.10.in-addr.arpa"} {
		if lines, err := n.Zone(zone); err != nil || strings.Contains(strings.Join(lines, "\n"), "DHCID") {
			t.Errorf("marks are left in %s: %v, %v", zone, lines, err)
		}
	}
}

func TestAKeyThatTheServerDoesNotTakeIsSaid(t *testing.T) {
	w := newWorld(t)
	n := named(t, w.dir)
	w.write("wrong.key", `key "kiln-ddns" { algorithm hmac-sha256; secret "d3Jvbmcgd3Jvbmcgd3Jvbmcgd3Jvbmcgd3Jvbmcgd3I="; };`)
	check(t, os.Chmod("wrong.key", 0o600))
	w.vars["KILN_FARM"] = w.startServer(t, filepath.Join(w.dir, "server"), "--dns-keys", "wrong.key")
	w.write("room.yml", namedYAML(n.Address, ""))
	w.wait("the room is taken", func() bool { return w.run("apply", "-f", "room.yml").code == ui.ExitDone })
	w.named(t, time.Hour, "10.0.0.101 52:54:00:00:00:aa pc")
	says := func(want string) {
		t.Helper()
		var got string
		defer func() {
			if t.Failed() {
				t.Log(got)
			}
		}()
		w.wait("the leases say "+want, func() bool {
			got = w.run("leases", "--json").ok(t).stdout
			return strings.Contains(got, want)
		})
		if strings.Contains(got, "d3Jvbmc") {
			t.Errorf("a secret is shown:\n%s", got)
		}
	}
	says(`does not take the signature of key \"kiln-ddns\" (BADSIG)`)
	for _, c := range []struct{ key, zone, want string }{
		{"other", "lab.example", `holds no key \"other\"`},
		{"kiln-ddns", "away.example", `(NOTAUTH)`},
	} {
		w.write("room.yml", strings.NewReplacer("kiln-ddns", c.key, "zone: lab.example", "zone: "+c.zone).Replace(namedYAML(n.Address, "")))
		if c.key == lab.NamedKey { // the file is read again
			text, err := os.ReadFile(n.Keys)
			check(t, err)
			w.write("wrong.key", string(text))
		}
		w.run("apply", "-f", "room.yml").ok(t)
		says(c.want)
	}
	w.holds(t, n, "101.0.0.10.in-addr.arpa PTR pc.away.example", "21.0.0.10.in-addr.arpa PTR web-1.away.example")
}

// named binds addresses of rack-a for clients that say what they are called: "ADDRESS MAC NAME".
func (w *world) named(t *testing.T, during time.Duration, all ...string) {
	t.Helper()
	f, err := client.Dial(w.vars["KILN_FARM"], client.Options{})
	check(t, err)
	defer f.Close()
	for _, one := range all {
		words := strings.Fields(one + " ")
		c := &kilnv1.BindCommand{Operation: kilnv1.BindCommand_OPERATION_BIND, Subnet: "rack-a", Address: words[0], Client: "mac " + words[1], Mac: words[1],
			Hostname: "host", Edge: "edge-1", ForMs: during.Milliseconds()}
		if len(words) > 2 {
			c.Name = words[2]
		}
		results, err := f.Bind(t.Context(), []*kilnv1.BindCommand{c})
		check(t, err)
		if results[0].GetVerdict() != kilnv1.BindVerdict_BIND_VERDICT_DONE {
			t.Fatalf("%s: %v", one, results[0])
		}
	}
}
