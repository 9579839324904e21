package leasefile

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "write testdata/*.want")

// show is a file as text, a line for each thing.
func show(f *File) string {
	var b strings.Builder
	for _, s := range f.Subnets {
		fmt.Fprintf(&b, "%d: subnet %s ranges %v router %v dns %v ntp %v domain %q for %s", s.Line, s.Prefix, s.Ranges, s.Router, s.DNS, s.NTP, s.Domain, lasting(s.LeaseTime))
		for _, o := range s.Options {
			fmt.Fprintf(&b, " option %d %q", o.Code, o.Values)
		}
		if len(s.Relays) > 0 {
			fmt.Fprintf(&b, " relays %v", s.Relays)
		}
		if s.KnownOnly {
			b.WriteString(" known only")
		}
		for _, c := range s.Classes {
			fmt.Fprintf(&b, " class %s (%s %s %d)", c.Name, c.VendorClass, c.UserClass, c.Arch)
			for _, o := range c.Options {
				fmt.Fprintf(&b, " option %d %q", o.Code, o.Values)
			}
		}
		b.WriteString("\n")
	}
	for _, r := range f.Reservations {
		address := "no address"
		if r.Address.IsValid() {
			address = r.Address.String()
		}
		fmt.Fprintf(&b, "%d: reservation %s for %v id %x name %q\n", r.Line, address, r.MACs, r.ClientID, r.Name)
	}
	for _, l := range f.Leases {
		ends := "never"
		if !l.Ends.IsZero() {
			ends = l.Ends.Format(time.RFC3339)
		}
		fmt.Fprintf(&b, "%d: lease %s for %q id %x iaid %d name %q ends %s\n", l.Line, l.Address, l.MAC, l.ClientID, l.IAID, l.Name, ends)
	}
	for _, n := range f.Notes {
		fmt.Fprintf(&b, "%d: note: %s\n", n.Line, n.Text)
	}
	return b.String()
}

func lasting(d time.Duration) string {
	if d == Forever {
		return "ever"
	}
	return d.String()
}

func kinds() map[string]Kind {
	return map[string]Kind{
		"dnsmasq.leases": DnsmasqLeases, "dnsmasq.conf": DnsmasqConf, "dnsmasq.hosts": DnsmasqHosts, "dhcpd.leases": ISCLeases, "dhcpd-local.leases": ISCLeases,
		"dhcpd.conf": ISCConf, "kea-leases4.csv": KeaLeases, "kea-leases4.csv.2": KeaLeases, "kea-dhcp4.conf": KeaConf,
	}
}

func TestFilesOfRealServers(t *testing.T) {
	for name, kind := range kinds() {
		t.Run(name, func(t *testing.T) {
			data := read(t, name)
			if got, ok := Detect("x", data); !ok || got != kind {
				t.Errorf("Detect: got %q %v, want %q", got, ok, kind)
			}
			f, err := Parse(kind, data, Options{})
			if err != nil {
				t.Fatal(err)
			}
			compare(t, name+".want", show(f))
		})
	}
}

func TestALeaseFileOfKeaAndItsCompanionAreOne(t *testing.T) {
	var files []*File
	for _, name := range Companions("kea-leases4.csv") {
		data, err := os.ReadFile(filepath.Join("testdata", name))
		if err != nil {
			continue
		}
		f, err := Parse(KeaLeases, data, Options{})
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, f)
	}
	compare(t, "kea-merged.want", show(Merge(files...)))
}

// What editors on Windows do to a file changes nothing in what is read.
func TestLineEndsAndMarksOfOtherSystems(t *testing.T) {
	for name, kind := range kinds() {
		t.Run(name, func(t *testing.T) {
			data := bytes.ReplaceAll(read(t, name), []byte("\n"), []byte("\r\n"))
			data = append([]byte("\ufeff"), data...)
			if got, ok := Detect("x", data); !ok || got != kind {
				t.Errorf("Detect: got %q %v, want %q", got, ok, kind)
			}
			f, err := Parse(kind, data, Options{})
			if err != nil {
				t.Fatal(err)
			}
			if got, want := show(f), string(read(t, name+".want")); got != want {
				t.Errorf("got\n%s\nwant\n%s", got, want)
			}
		})
	}
}

func read(t testing.TB, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func compare(t *testing.T, name, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(filepath.Join("testdata", name), []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if want := string(read(t, name)); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}
