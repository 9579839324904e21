package fleet

import (
	"errors"
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"

	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
)

const (
	annKey = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEB ann"
	bobKey = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgIC bob"
	cloKey = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMD clo"
	digest = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
)

func ref() *kilnv1.FileRef { return &kilnv1.FileRef{Digest: digest, Size: 5} }

func files() map[string]*kilnv1.ReleaseFiles {
	return map[string]*kilnv1.ReleaseFiles{"linux/amd64": {Kernel: ref(), Initrds: []*kilnv1.FileRef{ref()}, Cmdline: "console=ttyS0"}}
}

// room is an intent without faults.
func room() *kilnv1.Intent {
	return &kilnv1.Intent{
		Revision: 7,
		TokenKey: make([]byte, 32),
		Machines: []*kilnv1.Machine{
			{Name: "web-1", Macs: []string{"52:54:00:00:00:01", "52:54:00:00:00:11"}, Labels: map[string]string{"role": "web", "rack": "a"},
				Address: "10.0.0.5/24", Gateway: "10.0.0.1", Dns: []string{"10.0.0.1", "fd00::1"}, SshKeys: []string{annKey}, Hostname: "web-1.example",
				Values: map[string]string{"port": "8080"}, Templates: map[string]string{UserData: "#cloud-config\nport: {{.Values.port}}\n"},
				Secrets: map[string]string{"password": "geheim"}, Confirmed: true},
			{Name: "web-2", Uuid: "4c4c4544-0042-3510-8056-b4c04f4a3232", Labels: map[string]string{"role": "web"}},
			{Name: "disk-1", Macs: []string{"52:54:00:00:00:03"}, LocalDisk: true},
			{Name: "once-1", Macs: []string{"52:54:00:00:00:04"}, LocalDisk: true, BootOnce: "v2"},
			{Name: "lone-1", Macs: []string{"52:54:00:00:00:05"}, Labels: map[string]string{"role": "none"}},
		},
		Groups: []*kilnv1.Group{
			{Name: "all", Priority: -5, Cmdline: "quiet", SshKeys: []string{bobKey, annKey}, Values: map[string]string{"port": "1", "zone": "z1"},
				Selector: map[string]string{}, Templates: map[string]string{UserData: "all", VendorData: "all"}},
			{Name: "web", Selector: map[string]string{"role": "web"}, Priority: 10, Release: "v1", Cmdline: "quiet=2", Values: map[string]string{"zone": "z2"},
				Templates: map[string]string{VendorData: "web"}},
			{Name: "rack-a", Selector: map[string]string{"role": "web", "rack": "a"}, Priority: 20, SshKeys: []string{cloKey}},
			{Name: "new", Selector: map[string]string{"role": "nobody"}, Priority: 3, Unknown: true, Release: "v2", Values: map[string]string{"zone": "new"}},
		},
		Releases: []*kilnv1.Release{{Name: "v1", Platforms: files()}, {Name: "v2", Platforms: files(), Build: "hello"}},
	}
}

func TestAnIntentWithoutFaults(t *testing.T) {
	if got := Check(room()); got != nil || got.Err() != nil {
		t.Errorf("got %v", got)
	}
	if got := Check(nil); got != nil {
		t.Errorf("got %v of nothing", got)
	}
}

func TestFaultsGetASentence(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*kilnv1.Intent)
		want   string
	}{
		{"a name twice", func(in *kilnv1.Intent) { in.Machines[1].Name = "web-1" }, "machine web-1: there is another machine of that name; rename one of them"},
		{"no name", func(in *kilnv1.Intent) { in.Machines[1].Name = "" }, `machine 2: "" is not a machine's name; use up to 64 lower-case letters, digits, "-" and ".", as in "rack1-web-3"`},
		{"a name with a slash", func(in *kilnv1.Intent) { in.Machines[1].Name = "../x" }, `machine "../x": "../x" is not a machine's name; use up to 64 lower-case letters, digits, "-" and ".", as in "rack1-web-3"`},
		{"a MAC twice", func(in *kilnv1.Intent) { in.Machines[2].Macs = []string{"52:54:00:00:00:11"} },
			`machine disk-1: the MAC "52:54:00:00:00:11" is that of machine web-1 already; change one of them`},
		{"a MAC twice on one machine", func(in *kilnv1.Intent) { in.Machines[2].Macs = []string{"52:54:00:00:00:03", "52:54:00:00:00:03"} },
			`machine disk-1: the MAC "52:54:00:00:00:03" is that of machine disk-1 already; change one of them`},
		{"no MAC", func(in *kilnv1.Intent) { in.Machines[2].Macs = []string{"52:54"} }, `machine disk-1: "52:54" is not a MAC address; write it like "52:54:00:12:34:56"`},
		{"a MAC of a group", func(in *kilnv1.Intent) { in.Machines[2].Macs = []string{"ff:ff:ff:ff:ff:ff"} },
			`machine disk-1: "ff:ff:ff:ff:ff:ff" is no machine's MAC address but a group's or nobody's; write that of the network card`},
		{"a MAC in upper case", func(in *kilnv1.Intent) { in.Machines[2].Macs = []string{"52-54-00-AA-00-03"} },
			`machine disk-1: the MAC "52-54-00-AA-00-03" is not written as Kiln compares it; write "52:54:00:aa:00:03"`},
		{"a UUID twice", func(in *kilnv1.Intent) { in.Machines[2].Uuid = in.Machines[1].Uuid },
			`machine disk-1: the UUID "4c4c4544-0042-3510-8056-b4c04f4a3232" is that of machine web-2 already; change one of them`},
		{"no UUID", func(in *kilnv1.Intent) { in.Machines[1].Uuid = "4c4c4544" }, `machine web-2: "4c4c4544" is not a UUID; write it like "4c4c4544-0042-3510-8056-b4c04f4a3232"`},
		{"a UUID that many have", func(in *kilnv1.Intent) { in.Machines[1].Uuid = "03000200-0400-0500-0006-000700080009" },
			`machine web-2: "03000200-0400-0500-0006-000700080009" is what many boards say that have no UUID of their own; go by the MAC address`},
		{"neither MAC nor UUID", func(in *kilnv1.Intent) { in.Machines[1].Uuid = "" }, "machine web-2: it has neither a MAC nor a UUID, so that nothing that boots is it; add one"},
		{"a host's name", func(in *kilnv1.Intent) { in.Machines[1].Hostname = "a b" }, `machine web-2: "a b" is not a host's name; use up to 64 letters, digits, "-" and "."`},
		{"an address twice, with other prefixes", func(in *kilnv1.Intent) { in.Machines[1].Address = "10.0.0.5/16" },
			`machine web-2: the address "10.0.0.5" is that of machine web-1 already; change one of them`},
		{"an address without prefix", func(in *kilnv1.Intent) { in.Machines[1].Address = "10.0.0.6" },
			`machine web-2: "10.0.0.6" is not an IPv4 address with its prefix; write it like "10.0.0.5/24"`},
		{"the network's address", func(in *kilnv1.Intent) { in.Machines[1].Address = "10.0.0.255/24" },
			`machine web-2: "10.0.0.255/24" is the network's own or its broadcast address; write another one of the network`},
		{"an address of no machine", func(in *kilnv1.Intent) { in.Machines[1].Address = "224.0.0.1/24" }, `machine web-2: "224.0.0.1/24" is no address of a machine; write one of its network`},
		{"an IPv6 address twice", func(in *kilnv1.Intent) { in.Machines[0].Address6, in.Machines[1].Address6 = "fd00::5/64", "fd00::5/48" },
			`machine web-2: the address "fd00::5" is that of machine web-1 already; change one of them`},
		{"an IPv6 address written at length", func(in *kilnv1.Intent) { in.Machines[1].Address6 = "FD00:0::5/64" },
			`machine web-2: the address "FD00:0::5/64" is not written as Kiln compares it; write "fd00::5/64"`},
		{"an IPv6 address without prefix", func(in *kilnv1.Intent) { in.Machines[1].Address6 = "fd00::5" },
			`machine web-2: "fd00::5" is not an IPv6 address with its prefix; write it like "fd00::5/64"`},
		{"an IPv4 address for IPv6", func(in *kilnv1.Intent) { in.Machines[1].Address6 = "10.0.0.6/24" },
			`machine web-2: "10.0.0.6/24" is not an IPv6 address with its prefix; write it like "fd00::5/64"`},
		{"an IPv6 address of the link", func(in *kilnv1.Intent) { in.Machines[1].Address6 = "fe80::5/64" },
			`machine web-2: "fe80::5/64" is no address that a machine can be given; write one of its network`},
		{"an IPv6 address of routers", func(in *kilnv1.Intent) { in.Machines[1].Address6 = "fd00::/64" },
			`machine web-2: "fd00::/64" is the address of any router of the network; write another one of the network`},
		{"a gateway without address", func(in *kilnv1.Intent) { in.Machines[1].Gateway = "10.0.0.1" },
			"machine web-2: it has a gateway and no address; give it one, or leave the gateway to the site's DHCP"},
		{"a gateway elsewhere", func(in *kilnv1.Intent) { in.Machines[0].Gateway = "10.1.0.1" },
			"machine web-1: the gateway 10.1.0.1 is not another machine in the network of 10.0.0.5/24; correct one of them"},
		{"no name server", func(in *kilnv1.Intent) { in.Machines[0].Dns[1] = "dns" }, `machine web-1: the name server "dns" is not an IP address; write it like "10.0.0.1"`},
		{"a label's key", func(in *kilnv1.Intent) { in.Machines[0].Labels["a b"] = "x" },
			`machine web-1: "a b" is not a label's key; use up to 63 letters, digits, "-", "_", "." and "/"`},
		{"a label's value", func(in *kilnv1.Intent) { in.Machines[0].Labels["a"] = "x y" },
			`machine web-1: "x y" is not a label's value; use up to 63 letters, digits, "-", "_" and ".", and a value for longer text`},
		{"an SSH key", func(in *kilnv1.Intent) { in.Groups[0].SshKeys[0] = "ssh-ed25519 AAAA x" }, `group all: "ssh-ed25519 AAAA x" is not an SSH key; write one line like "ssh-ed25519 AAAA… who"`},
		{"two SSH keys in one", func(in *kilnv1.Intent) { in.Groups[0].SshKeys[0] = annKey + "\n" + bobKey },
			`group all: an SSH key holds a line break or another control character; write one line like "ssh-ed25519 AAAA… who"`},
		{"a value's name", func(in *kilnv1.Intent) { in.Machines[0].Values["a-b"] = "x" },
			`machine web-1: "a-b" is not the name of a value; use letters, digits and "_", and begin with a letter, so that templates can say .Values.name`},
		{"a secret's name", func(in *kilnv1.Intent) { in.Machines[0].Secrets["a/b"] = "geheim" },
			`machine web-1: "a/b" is not the name of a value; use letters, digits and "_", and begin with a letter, so that templates can say .Values.name`},
		{"an empty secret", func(in *kilnv1.Intent) { in.Machines[0].Secrets["x"] = "" }, `machine web-1: secrets.x is empty; give it a value or leave it out`},
		{"a value with NUL", func(in *kilnv1.Intent) { in.Machines[0].Values["x"] = "\x00" }, `machine web-1: values.x holds a NUL; write it in base64`},
		{"a kind of template", func(in *kilnv1.Intent) { in.Groups[1].Templates["userdata"] = "" },
			`group web: there is no template "userdata"; there are ignition, meta-data, network-config, user-data and vendor-data`},
		{"a template", func(in *kilnv1.Intent) { in.Groups[1].Templates[Ignition] = "a\n{{.Values.x" },
			"group web: its template ignition does not compile: line 2: unclosed action"},
		{"a way to boot that there is not", func(in *kilnv1.Intent) { in.Groups[1].Boot = "UKI" }, `group web: boot is "UKI", which is no way to boot; did you mean "uki"?`},
		{"a unified kernel image that the release lacks", func(in *kilnv1.Intent) { in.Groups[1].Boot = BootUKI },
			`group web: boot is "uki", and the release "v1" has no unified kernel image; build it with --format uki, too`},
		{"a release of a group", func(in *kilnv1.Intent) { in.Groups[1].Release = "v11" }, `group web: release names the release "v11", which is not there; did you mean "v1"?`},
		{"a release of the next boot", func(in *kilnv1.Intent) { in.Machines[3].BootOnce = "other" }, `machine once-1: boot_once names the release "other", which is not there; there are v1 and v2`},
		{"a group's name twice", func(in *kilnv1.Intent) { in.Groups[3].Name = "all" }, "group all: there is another group of that name; rename one of them"},
		{"a group's name", func(in *kilnv1.Intent) { in.Groups[3].Name = "a b" },
			`group "a b": "a b" is not a name; use up to 64 letters, digits, "-", "_", "." and "+", and begin with a letter or digit`},
		{"equal priorities", func(in *kilnv1.Intent) { in.Groups[2].Priority = 10 },
			"group rack-a: its priority 10 is that of group web too, and both select machine web-1; give one of them a higher priority"},
		{"equal priorities of groups for unknown machines", func(in *kilnv1.Intent) { in.Groups[0].Unknown, in.Groups[0].Priority = true, 3 },
			"group new: its priority 3 is that of group all too, and both select machines that nobody described; give one of them a higher priority"},
		{"a command line of two lines", func(in *kilnv1.Intent) { in.Groups[0].Cmdline = "a\nb" }, "group all: the command line holds a control character; write it on one line, with spaces"},
		{"a command line that iPXE changes", func(in *kilnv1.Intent) { in.Groups[0].Cmdline = "a=${x}" },
			"group all: the kernel command line holds ${, which iPXE would replace; boot it by another way, or change the command line"},
		{"a command line with a command", func(in *kilnv1.Intent) { in.Groups[0].Cmdline = "quiet ; shell" },
			`group all: the command line holds the word ";", which iPXE takes for its own; change it`},
		{"a command line with a comment", func(in *kilnv1.Intent) { in.Releases[0].Platforms["linux/amd64"].Cmdline = "quiet #x" },
			`release v1: the command line holds the word "#x", which iPXE takes for its own; change it`},
		{"a release's command line that iPXE changes", func(in *kilnv1.Intent) { in.Releases[0].Platforms["linux/amd64"].Cmdline = "a && b" },
			`release v1: the kernel command line holds the word &&, which iPXE takes for its own; change the command line`},
		{"a command line without end", func(in *kilnv1.Intent) { in.Groups[0].Cmdline = strings.Repeat("x", 2048) },
			"group all: the command line has 2048 bytes, more than the 2047 that a kernel takes; shorten it"},
		{"a release's name twice", func(in *kilnv1.Intent) {
			in.Releases[1].Name = "v1"
			in.Machines[3].BootOnce = ""
			in.Groups[3].Release = "v1"
		},
			"release v1: there is another release of that name; rename one of them"},
		{"a release without files", func(in *kilnv1.Intent) { in.Releases[1].Platforms = nil }, "release v2: it has no files; name a build, or a kernel for each platform"},
		{"a release without kernel", func(in *kilnv1.Intent) { in.Releases[1].Platforms["linux/amd64"] = &kilnv1.ReleaseFiles{} },
			"release v2: it has neither a kernel nor a unified kernel image for linux/amd64; add one"},
		{"a platform", func(in *kilnv1.Intent) { in.Releases[1].Platforms["amd64"] = in.Releases[1].Platforms["linux/amd64"] },
			`release v2: "amd64" is not a platform; write it like "linux/amd64"`},
		{"a digest", func(in *kilnv1.Intent) { in.Releases[1].Platforms["linux/amd64"].Kernel.Digest = "" },
			`release v2: the digest "" of its kernel is none; it looks like "sha256:<64 digits>"`},
		{"the key of tokens", func(in *kilnv1.Intent) { in.TokenKey = []byte("x") }, "the key of boot tokens has 1 bytes, not 32; make it anew"},
	} {
		t.Run(c.name, func(t *testing.T) {
			in := room()
			c.change(in)
			if got := Check(in).Error(); got != c.want && !(c.name == "a template" && strings.HasPrefix(got, c.want)) {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
		})
	}
}

func TestTooManyGroups(t *testing.T) {
	in := &kilnv1.Intent{}
	for i := range maxGroups + 1 {
		in.Groups = append(in.Groups, &kilnv1.Group{Name: fmt.Sprintf("g-%d", i)})
	}
	if got := Check(in).Error(); got != "there are 5001 groups, more than 5000; give what machines do not share to the machines" {
		t.Errorf("got %s", got)
	}
}

func TestResolve(t *testing.T) {
	x := NewIndex(room())
	for _, c := range []struct {
		name                                  string
		id                                    Identity
		machine, by, release, from, groups    string
		cmdline, keys, zone, userData, vendor string
		err                                   error
	}{
		{name: "a machine by its second MAC, written otherwise", id: Identity{MAC: "52-54-00-00-00-11"}, machine: "web-1", by: ByMAC, release: "v1", from: "group web",
			groups: "rack-a web all", cmdline: "console=ttyS0 quiet quiet=2", keys: "ann clo bob", zone: "z2", userData: "machine web-1", vendor: "group web"},
		{name: "a machine by its UUID in upper case", id: Identity{UUID: "4C4C4544-0042-3510-8056-B4C04F4A3232"}, machine: "web-2", by: ByUUID, release: "v1", from: "group web",
			groups: "web all", cmdline: "console=ttyS0 quiet quiet=2", keys: "bob ann", zone: "z2", userData: "group all", vendor: "group web"},
		{name: "a new network card in a known machine", id: Identity{MAC: "52:54:00:ff:ff:ff", UUID: "4c4c4544-0042-3510-8056-b4c04f4a3232"}, machine: "web-2", by: ByUUID,
			release: "v1", from: "group web", groups: "web all", cmdline: "console=ttyS0 quiet quiet=2", keys: "bob ann", zone: "z2", userData: "group all", vendor: "group web"},
		{name: "a MAC of one machine and the UUID of another", id: Identity{MAC: "52:54:00:00:00:03", UUID: "4c4c4544-0042-3510-8056-b4c04f4a3232"}, machine: "disk-1", by: ByMAC,
			groups: "all", keys: "bob ann", zone: "z1", userData: "group all", vendor: "group all"},
		{name: "a release of the next boot", id: Identity{MAC: "52:54:00:00:00:04"}, machine: "once-1", by: ByMAC, release: "v2", from: "boot_once",
			groups: "all", cmdline: "console=ttyS0 quiet", keys: "bob ann", zone: "z1", userData: "group all", vendor: "group all"},
		{name: "no group with a release", id: Identity{MAC: "52:54:00:00:00:05"}, machine: "lone-1", by: ByMAC, groups: "all", keys: "bob ann", zone: "z1",
			userData: "group all", vendor: "group all", err: ErrNoRelease},
		{name: "nobody", id: Identity{MAC: "52:54:00:12:34:56"}, machine: "unknown-525400123456", release: "v2", from: "group new", groups: "new", cmdline: "console=ttyS0", zone: "new"},
		{name: "nobody with a board's UUID", id: Identity{MAC: "52:54:00:12:34:56", UUID: "03000200-0400-0500-0006-000700080009"}, machine: "unknown-525400123456",
			release: "v2", from: "group new", groups: "new", cmdline: "console=ttyS0", zone: "new"},
	} {
		t.Run(c.name, func(t *testing.T) {
			b, err := x.Resolve(c.id)
			if !errors.Is(err, c.err) || err != nil && c.err == nil {
				t.Fatalf("got the error %v, want %v", err, c.err)
			}
			var keys []string
			for _, k := range b.SSHKeys {
				keys = append(keys, k[strings.LastIndexByte(k, ' ')+1:])
			}
			cmdline := ""
			if f, err := b.Files("amd64"); err == nil {
				if cmdline, err = b.Cmdline(f, netip.Prefix{}); err != nil {
					t.Fatal(err)
				}
			}
			got := []string{b.Name(), b.By, b.Release.GetName(), b.ReleaseFrom, strings.Join(b.Groups, " "), cmdline, strings.Join(keys, " "), b.Values["zone"],
				b.Templates[UserData].From, b.Templates[VendorData].From}
			want := []string{c.machine, c.by, c.release, c.from, c.groups, c.cmdline, c.keys, c.zone, c.userData, c.vendor}
			if !slices.Equal(got, want) {
				t.Errorf("got  %q\nwant %q", got, want)
			}
			if b.Revision != 7 || b.Once != (c.from == "boot_once") || b.LocalDisk != (c.machine == "disk-1") {
				t.Errorf("got revision %d, once %v, local disk %v", b.Revision, b.Once, b.LocalDisk)
			}
			again, err := x.Named(b.Key())
			if again == nil || again.Name() != b.Name() || !slices.Equal(again.Groups, b.Groups) {
				t.Errorf("by its key %q it is %+v (%v)", b.Key(), again, err)
			}
		})
	}
}

func TestTheFirstGroupThatSaysHowDecides(t *testing.T) {
	for _, c := range []struct {
		name           string
		all, web, rack string // what the groups say, the last of which has the highest priority
		want           bool
	}{
		{"nobody says", "", "", "", false},
		{"the one that decides last", BootUKI, "", "", true},
		{"another one against it", BootUKI, BootLoader, "", false},
		{"the one that decides first", BootLoader, BootLoader, BootUKI, true},
	} {
		in := room()
		in.Groups[0].Boot, in.Groups[1].Boot, in.Groups[2].Boot = c.all, c.web, c.rack
		b, err := Resolve(in, Identity{MAC: "52:54:00:00:00:01"})
		if err != nil || b.UKI != c.want {
			t.Errorf("%s: boots its unified kernel image: %v (%v), want %v", c.name, b.UKI, err, c.want)
		}
	}
}

func TestReasonsWhyNothingBoots(t *testing.T) {
	none := room()
	none.Groups = none.Groups[:1]
	gone := room()
	gone.Releases = gone.Releases[1:]
	for _, c := range []struct {
		name string
		in   *kilnv1.Intent
		id   Identity
		err  error
		want string
	}{
		{"nobody and no group for it", none, Identity{MAC: "52:54:00:12:34:56"}, ErrUnknown,
			`nobody described this machine: no machine has the MAC 52:54:00:12:34:56, and no group is for unknown machines; describe it, or give a group "unknown: true"`},
		{"nothing said", room(), Identity{Serial: "x"}, ErrUnknown, "nobody described this machine: it gives neither a MAC nor a UUID; let it send one"},
		{"no MAC", room(), Identity{MAC: "x"}, ErrUnknown, `nobody described this machine: "x" is not a MAC address; write it like "52:54:00:12:34:56"`},
		{"a board's UUID alone", room(), Identity{UUID: "00000000-0000-0000-0000-000000000000"}, ErrUnknown,
			`nobody described this machine: "00000000-0000-0000-0000-000000000000" is what many boards say that have no UUID of their own; go by the MAC address`},
		{"no release", none, Identity{MAC: "52:54:00:00:00:01"}, ErrNoRelease, "there is nothing to boot: none of the groups of web-1 names a release (all); give one of them a release"},
		{"no group", &kilnv1.Intent{Machines: room().Machines}, Identity{MAC: "52:54:00:00:00:01"}, ErrNoRelease,
			"there is nothing to boot: no group selects machine web-1; add a group whose selector matches its labels"},
		{"a release that is gone", gone, Identity{MAC: "52:54:00:00:00:01"}, ErrNoRelease,
			`there is nothing to boot: group web of web-1 names the release "v1", which is not there; make it, or name another`},
	} {
		t.Run(c.name, func(t *testing.T) {
			b, err := Resolve(c.in, c.id)
			if !errors.Is(err, c.err) || err.Error() != c.want || (b != nil) != (c.err == ErrNoRelease) {
				t.Errorf("got %v, %v\nwant %s", b, err, c.want)
			}
		})
	}
	b, err := Resolve(room(), Identity{MAC: "52:54:00:00:00:01"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.Files("arm64"); !errors.Is(err, ErrNoRelease) || err.Error() != "there is nothing to boot: release v1 has no files for linux/arm64; it has linux/amd64" {
		t.Errorf("got %v", err)
	}
	if _, err := NewIndex(room()).Named("4c4c4544-0042-3510-8056-b4c04f4a3232"); !errors.Is(err, ErrUnknown) {
		t.Errorf("a UUID is no key, got %v", err)
	}
}

// manyMachines is an intent of n machines in a hundred racks.
func manyMachines(n int) *kilnv1.Intent {
	in := &kilnv1.Intent{Releases: []*kilnv1.Release{{Name: "v1", Platforms: files()}}, Groups: []*kilnv1.Group{{Name: "all", Release: "v1", SshKeys: []string{annKey}}}}
	for i := range 100 {
		in.Groups = append(in.Groups, &kilnv1.Group{Name: fmt.Sprintf("rack-%d", i), Priority: 1, Selector: map[string]string{"rack": fmt.Sprint(i)},
			Templates: map[string]string{UserData: fmt.Sprintf("rack %d", i)}})
	}
	for i := range n {
		in.Machines = append(in.Machines, &kilnv1.Machine{Name: fmt.Sprintf("m-%d", i), Macs: []string{fmt.Sprintf("52:54:00:%02x:%02x:%02x", i>>16, i>>8&255, i&255)},
			Labels: map[string]string{"rack": fmt.Sprint(i % 100), "role": "web"}})
	}
	return in
}

func BenchmarkResolve(b *testing.B) {
	x := NewIndex(manyMachines(10_000))
	for i := 0; b.Loop(); i++ {
		if _, err := x.Resolve(Identity{MAC: fmt.Sprintf("52:54:00:00:%02x:%02x", i%10_000>>8, i%10_000&255)}); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkCheck(b *testing.B) {
	in := manyMachines(10_000)
	for b.Loop() {
		if p := Check(in); p != nil {
			b.Fatal(p)
		}
	}
}

func TestManyMachinesAreFound(t *testing.T) {
	in := manyMachines(10_000)
	if p := Check(in); p != nil {
		t.Fatal(p)
	}
	b, err := Resolve(in, Identity{MAC: "52:54:00:00:27:0f"})
	if err != nil || b.Name() != "m-9999" || !reflect.DeepEqual(b.Groups, []string{"rack-99", "all"}) {
		t.Errorf("got %v %v", b, err)
	}
}
