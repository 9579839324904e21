package pxe

import (
	"bytes"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"

	"github.com/kiln-farm/kiln/cache"
	"github.com/kiln-farm/kiln/edge/config"
	"github.com/kiln-farm/kiln/edge/dhcp"
	"github.com/kiln-farm/kiln/edge/machines"
	"github.com/kiln-farm/kiln/edge/tftp"
	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
)

// byTFTP reads a file of an edge; what is empty is not there.
func byTFTP(t *testing.T, p *TFTP, name, from string) string {
	t.Helper()
	f, err := p.Open(t.Context(), netip.MustParseAddrPort(from+":2070"), name)
	if err != nil {
		return ""
	}
	defer f.Close()
	got := make([]byte, f.Size())
	if _, err := f.ReadAt(got, 0); err != nil && err != io.EOF {
		t.Fatal(err)
	}
	return string(got)
}

func dashed(mac string) string { return strings.ReplaceAll(mac, ":", "-") }

func TestNamesThatPXELINUXAsksFor(t *testing.T) {
	r := newRoomOf(t)
	const uuid, wire = "b8945908-d6a6-41a9-611d-74a6ab80b83d", "085994b8-a6d6-a941-611d-74a6ab80b83d"
	r.Change(func(in *kilnv1.Intent) {
		in.Machines = append(in.Machines, &kilnv1.Machine{Name: "by-uuid", Uuid: uuid, Labels: map[string]string{"role": "web"}})
	})
	r.Seen.Gave(known, netip.MustParsePrefix("10.0.0.21/24"), time.Now().Add(time.Hour))
	p := r.tftp(nil)
	for _, c := range []struct{ name, file, from, want string }{
		{"its MAC", "pxelinux.cfg/01-" + dashed(known), "10.0.0.5", "Kiln: web boots v1"},
		{"its MAC, with a slash", "/pxelinux.cfg/01-" + dashed(known), "10.0.0.5", "Kiln: web boots v1"},
		{"its UUID as people read it", "pxelinux.cfg/" + uuid, "10.0.0.5", "Kiln: by-uuid boots v1"},
		{"its UUID as DHCP carries it", "pxelinux.cfg/" + wire, "10.0.0.5", "Kiln: by-uuid boots v1"},
		{"a UUID of nobody", "pxelinux.cfg/ffffffff-d6a6-41a9-611d-74a6ab80b83d", "10.0.0.5", ""},
		{"an address that this edge gave", "pxelinux.cfg/0A000015", "10.0.0.21", "Kiln: web boots v1"},
		{"the beginning of it", "pxelinux.cfg/0A0", "10.0.0.21", "Kiln: web boots v1"},
		{"the last name", "pxelinux.cfg/default", "10.0.0.21", "Kiln: web boots v1"},
		{"an address of another machine", "pxelinux.cfg/0A000015", "10.0.0.22", ""},
		{"the last name, of an address that nobody gave", "pxelinux.cfg/default", "10.0.0.22", ""},
		{"one that boots from its disk", "pxelinux.cfg/01-" + dashed(onDisk), "10.0.0.5", "LOCALBOOT 0\n"},
		{"one that nobody described", "pxelinux.cfg/01-" + dashed(stranger), "10.0.0.5", "nobody_described_this_machine"},
		{"a MAC with colons", "pxelinux.cfg/01-" + known, "10.0.0.5", ""},
		{"a MAC of a group", "pxelinux.cfg/01-ff-ff-ff-ff-ff-ff", "10.0.0.5", ""},
		{"another kind of hardware", "pxelinux.cfg/20-" + dashed(known), "10.0.0.5", ""},
		{"a name that climbs", "pxelinux.cfg/../pxelinux.cfg/default", "10.0.0.21", ""},
		{"an address in small letters", "pxelinux.cfg/0a000015", "10.0.0.21", ""},
		{"no name", "pxelinux.cfg/", "10.0.0.21", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := byTFTP(t, p, c.file, c.from)
			if got == "" && c.want != "" || c.want == "" && got != "" || !strings.Contains(got, c.want) {
				t.Errorf("%s is answered with %q, want %q", c.file, got, c.want)
			}
		})
	}
}

func TestTheConfigurationOfPXELINUX(t *testing.T) {
	r := newRoomOf(t)
	r.SetOthers([]string{"http://10.0.0.2:7380", "http://edge3.example:7380", "http://10.0.0.4:7380", "http://10.0.0.5:7380"})
	p := r.tftp(nil)
	hex := func(text string) string { return strings.TrimPrefix(cache.SumBytes([]byte(text)).String(), "sha256:") }
	lines := func(config string) []string {
		token := config[strings.Index(config, machines.FilesPath)+len(machines.FilesPath):]
		return strings.Split(strings.ReplaceAll(config, token[:strings.Index(token, "/")], "TOKEN"), "\n")
	}
	label := func(n, at, url string) string {
		url += "/m/TOKEN"
		at += "/files/TOKEN/"
		return "LABEL kiln" + n + "\nLINUX " + at + hex("the kernel") + "\nINITRD " + at + hex("first") + "," + at + hex("second") + "\nAPPEND kiln.config=" + url + " ds=nocloud;s=" + url + "/nocloud/;dsmode=net console=ttyS0 group=1\n"
	}
	const first, second = "http://10.0.0.1:7380", "http://10.0.0.2:7380"
	head := "DEFAULT kiln0\nPROMPT 0\nTIMEOUT 30\nSAY Kiln: web boots v1\nONERROR kiln1\nONTIMEOUT kiln2\n"
	for name, want := range map[string]string{
		"pxelinux.cfg/01-" + dashed(known):      head + label("0", "::", first) + label("1", "10.0.0.2::", second) + label("2", "10.0.0.4::", "http://10.0.0.4:7380"),
		"http/pxelinux.cfg/01-" + dashed(known): head + label("0", first, first) + label("1", second, second) + label("2", "http://edge3.example:7380", "http://edge3.example:7380"),
	} {
		if got := strings.Join(lines(byTFTP(t, p, name, "10.0.0.21")), "\n"); got != want {
			t.Errorf("%s:\n%s\nwant\n%s", name, got, want)
		}
	}

	r.Happened()
	var got []string
	for _, name := range []string{"pxelinux.cfg/01-" + dashed(known), "http/pxelinux.cfg/01-" + dashed(known)} {
		for word := range strings.FieldsFuncSeq(byTFTP(t, p, name, "10.0.0.21"), func(c rune) bool { return c == ' ' || c == '\n' || c == ',' }) {
			if file, ok := strings.CutPrefix(word, "::"); ok {
				got = append(got, byTFTP(t, p, file, "10.0.0.21"))
				p.Sent(tftp.Transfer{Name: file, Client: netip.MustParseAddrPort("10.0.0.21:2071"), Bytes: 1})
			} else if path, ok := strings.CutPrefix(word, "http://10.0.0.1:7380"); ok {
				got = append(got, r.Get(path, "10.0.0.21").Body.String())
			}
		}
	}
	if got, want := strings.Join(got, ", "), "the kernel, first, second, the kernel, first, second"; got != want {
		t.Errorf("the files are %s; want %s", got, want)
	}
	var stages []string
	for _, e := range r.Happened() {
		if e.GetMachine() != "web" || e.GetBoot() == "" || strings.Contains(e.GetDetail(), e.GetBoot()) {
			t.Errorf("event %v", e)
		}
		stages = append(stages, strings.TrimPrefix(e.GetStage().String(), "BOOT_STAGE_"))
	}
	if got, want := strings.Join(stages, " "), "SCRIPT KERNEL INITRD INITRD SCRIPT KERNEL INITRD INITRD"; got != want {
		t.Errorf("events %s; want %s", got, want)
	}
}

// A token in a configuration is as public as one in a script: it depends on who was seen to have the address.
func TestTokensForPXELINUX(t *testing.T) {
	r := newRoomOf(t)
	r.Seen.Gave(known, netip.MustParsePrefix("10.0.0.21/24"), time.Now().Add(time.Hour))
	p := r.tftp(nil)
	for from, want := range map[string]bool{"10.0.0.21": false, "10.0.0.22": true} {
		told := byTFTP(t, p, "pxelinux.cfg/01-"+dashed(known), from)
		_, rest, _ := strings.Cut(told, "/m/")
		text, _, _ := strings.Cut(rest, " ")
		token, err := config.Verify(config.Key(bytes.Repeat([]byte{7}, 32)), text, time.Now())
		if err != nil || token.Public != want || token.Machine != "web" {
			t.Errorf("from %s: %+v %v, want a token that is public: %v", from, token, err, want)
		}
	}
	digits := strings.TrimPrefix(cache.SumBytes([]byte("the kernel")).String(), "sha256:")
	for _, name := range []string{"files/x/" + digits, "files/" + strings.Repeat("A", 90) + "/" + digits, "files//" + digits, "files/" + digits} {
		if got := byTFTP(t, p, name, "10.0.0.21"); got != "" {
			t.Errorf("%s gives %q without a token", name, got)
		}
	}
}

func TestNothingAddsLinesToAConfiguration(t *testing.T) {
	files := &kilnv1.ReleaseFiles{Kernel: &kilnv1.FileRef{Digest: "sha256:k"}, Initrds: []*kilnv1.FileRef{{Digest: "sha256:i"}}}
	bare := &kilnv1.ReleaseFiles{Kernel: files.GetKernel()}
	for _, c := range []struct {
		name string
		s    machines.Boot
		want string // of the error; empty: there is none
	}{
		{"names", machines.Boot{Name: "a\nLABEL evil", Release: "b\r\nDEFAULT evil", Files: files, Token: "t"}, ""},
		{"a command line with spaces", machines.Boot{Files: files, Cmdline: "  a   b  ", Token: "t"}, ""},
		{"a line's end in the command line", machines.Boot{Files: files, Cmdline: "quiet\nLABEL evil", Token: "t"}, "control character"},
		{"another line's end", machines.Boot{Files: files, Cmdline: "quiet\rLABEL evil", Token: "t"}, "control character"},
		{"an initrd of the command line beside others", machines.Boot{Files: files, Cmdline: "initrd=x", Token: "t"}, ""},
		{"an initrd of the command line alone", machines.Boot{Files: bare, Cmdline: "initrd=x", Token: "t"}, "names an initrd="},
		{"a command line that is too long", machines.Boot{Files: files, Cmdline: strings.Repeat("x", 1700), Token: strings.Repeat("t", 80)}, "a command line of 2"},
		{"names that are too long", machines.Boot{Name: "n", Files: files, Token: strings.Repeat("t", 250)}, "shorter name"},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.s.Edges = []string{"http://10.0.0.1:7380"}
			got, err := pxelinuxConfig(c.s, false)
			if c.want != "" {
				if err == nil || !strings.Contains(err.Error(), c.want) {
					t.Errorf("got %q, %v; want an error with %q", got, err, c.want)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			var words []string
			for line := range strings.Lines(got) {
				word, _, _ := strings.Cut(strings.TrimSpace(line), " ")
				words = append(words, word)
			}
			if all := strings.Join(words, " "); all != "DEFAULT PROMPT TIMEOUT SAY LABEL LINUX INITRD APPEND" {
				t.Errorf("the lines begin with %s:\n%s", all, got)
			}
		})
	}
	if got := waitConfig("x\nLABEL evil ${", "default"); strings.Count(got, "\n") != 6 || strings.Contains(got, "${") {
		t.Errorf("what waits is %q", got)
	}
}

func TestWhatABIOSIsTold(t *testing.T) {
	r := newRoomOf(t)
	bios := pxe("PXEClient:Arch:00000:UNDI:002001", 0)
	ipxe := append(pxe("PXEClient:Arch:00000:UNDI:002001", 0), dhcpv4.OptGeneric(dhcpv4.GenericOptionCode(175), []byte{0x13, 1, 1}))
	script := "http://10.0.0.1:7380/boot.ipxe?mac=" + known + "&uuid=&arch=x86_64"
	for _, c := range []struct {
		name, bios string
		loaders    []string
		options    []dhcpv4.Option
		want       string
	}{
		{"all are there", "", []string{undi, pxelinux, lpxelinux, ldlinux}, bios, undi},
		{"no iPXE is there", "", []string{pxelinux, lpxelinux, ldlinux}, bios, pxelinux},
		{"only the one that uses HTTP is there", "", []string{lpxelinux, ldlinux}, bios, "http/" + lpxelinux},
		{"it is chosen", "pxelinux", []string{undi, pxelinux, lpxelinux, ldlinux}, bios, pxelinux},
		{"the one that uses HTTP is chosen", "lpxelinux", []string{undi, pxelinux, lpxelinux, ldlinux}, bios, "http/" + lpxelinux},
		{"a part of it is missing", "pxelinux", []string{undi, pxelinux}, bios, ""},
		{"what is chosen is missing", "pxelinux", []string{undi, ldlinux}, bios, ""},
		{"a network card with iPXE", "", []string{pxelinux, ldlinux}, ipxe, script},
		{"a network card with iPXE, where something else is chosen", "pxelinux", []string{undi, pxelinux, ldlinux}, ipxe, pxelinux},
		{"a network card with iPXE, where that is chosen", "ipxe", []string{undi, pxelinux, ldlinux}, ipxe, script},
		{"UEFI, where something is chosen for a BIOS", "pxelinux", []string{snp, pxelinux, ldlinux}, pxe("PXEClient:Arch:00007:UNDI:003000", 7), snp},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := r.dhcp(false, map[string]string{})
			p.Programs.BIOS = c.bios
			for _, name := range c.loaders {
				p.Programs.Loaders[name] = "/x/" + name
			}
			plan := p.Decide(t.Context(), client(t, known, dhcpv4.MessageTypeDiscover, c.options...))
			if plan.Boot.File != c.want || (plan.Mode == dhcp.Silent) != (c.want == "") {
				t.Errorf("mode %v and file %q, want %q", plan.Mode, plan.Boot.File, c.want)
			}
		})
	}
}

func TestLoadersOfPXELINUXByTFTP(t *testing.T) {
	r := newRoomOf(t)
	dir := t.TempDir()
	for _, name := range []string{pxelinux, lpxelinux, ldlinux, "menu.cfg"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("I am "+name), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	loaders, err := ReadLoaders(dir)
	if err != nil {
		t.Fatal(err)
	}
	p := r.tftp(loaders)
	for name, want := range map[string]string{
		pxelinux: "I am " + pxelinux, "http/" + lpxelinux: "I am " + lpxelinux, ldlinux: "I am " + ldlinux, "http/" + ldlinux: "I am " + ldlinux,
		"menu.cfg": "", "http/../" + ldlinux: "", "http/http/" + ldlinux: "", "boot/" + ldlinux: "",
	} {
		if got := byTFTP(t, p, name, "10.0.0.21"); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
}

func FuzzNamesOfPXELINUX(f *testing.F) {
	for _, seed := range []string{"pxelinux.cfg/01-52-54-00-00-00-01", "http/pxelinux.cfg/default", "pxelinux.cfg/0A000015", "files/token/00", "/files//",
		"pxelinux.cfg/b8945908-d6a6-41a9-611d-74a6ab80b83d", "pxelinux.cfg/../x", "http/http/files/a/b", "files/" + strings.Repeat("A", 90) + "/" + strings.Repeat("0", 64)} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, name string) {
		a, ok := parseAsked(name)
		if !ok {
			if a != (asked{}) {
				t.Errorf("%q is refused and means %+v", name, a)
			}
			return
		}
		if (a.config == "") == (a.token == "" || a.digest == "") {
			t.Errorf("%q means both or neither: %+v", name, a)
		}
		if strings.ContainsAny(a.config, "/\\\n\r ") || strings.Contains(a.digest, "/") {
			t.Errorf("%q became %+v", name, a)
		}
	})
}
