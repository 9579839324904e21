package edge

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/insomniacslk/dhcp/dhcpv4"

	"github.com/kiln-farm/kiln/cache"
	"github.com/kiln-farm/kiln/cache/disk"
	"github.com/kiln-farm/kiln/edge/dhcp"
	"github.com/kiln-farm/kiln/edge/intent"
	"github.com/kiln-farm/kiln/edge/timeline"
	"github.com/kiln-farm/kiln/fleet"
	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
)

var quiet = slog.New(slog.NewTextHandler(io.Discard, nil))

// roomOf is an edge with an intent, whose events are kept.
type roomOf struct {
	*Edge
	store *disk.Store
	path  string

	events []*kilnv1.BootEvent
}

// tell takes what the edge tells, as a farm does.
func (r *roomOf) tell(_ context.Context, events []*kilnv1.BootEvent) error {
	r.events = append(r.events, events...)
	return nil
}

const (
	known    = "52:54:00:00:00:01"
	onDisk   = "52:54:00:00:00:02"
	stranger = "52:54:00:00:00:99"
)

func newRoomOf(t *testing.T) *roomOf {
	t.Helper()
	store, err := disk.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	r := &roomOf{store: store, path: filepath.Join(t.TempDir(), "intent")}
	blob := func(text string) *kilnv1.FileRef {
		draft, err := store.Create(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer draft.Abort()
		if _, err := draft.Write([]byte(text)); err != nil {
			t.Fatal(err)
		}
		d, size, err := draft.Commit()
		if err != nil {
			t.Fatal(err)
		}
		return &kilnv1.FileRef{Digest: d.String(), Size: size}
	}
	intents, err := intent.Open(r.path, quiet)
	if err != nil {
		t.Fatal(err)
	}
	if r.Edge, err = New(Config{Store: store, Blobs: store, Log: quiet, Intents: intents, Events: timeline.New("e1", r.tell, quiet), URL: "http://10.0.0.1:7380"}); err != nil {
		t.Fatal(err)
	}
	intents.Set(&kilnv1.Intent{
		Revision: 1, TokenKey: bytes.Repeat([]byte{7}, 32),
		Machines: []*kilnv1.Machine{
			{Name: "web", Macs: []string{known}, Labels: map[string]string{"role": "web"}, Address: "10.0.0.21/24", Gateway: "10.0.0.254"},
			{Name: "store", Macs: []string{onDisk}, Labels: map[string]string{"role": "web"}, LocalDisk: true},
		},
		Groups: []*kilnv1.Group{{Name: "web", Selector: map[string]string{"role": "web"}, Release: "v1", Cmdline: "group=1"}},
		Releases: []*kilnv1.Release{{Name: "v1", Platforms: map[string]*kilnv1.ReleaseFiles{
			"linux/amd64": {Kernel: blob("the kernel"), Initrds: []*kilnv1.FileRef{blob("first"), blob("second")}, Cmdline: "console=ttyS0", Uki: blob("the UKI")},
		}}},
	})
	return r
}

func (r *roomOf) get(t *testing.T, path, from string) *httptest.ResponseRecorder {
	t.Helper()
	w := httptest.NewRecorder()
	req := httptest.NewRequest(http.MethodGet, path, nil)
	req.RemoteAddr = from + ":1234"
	req.Host = "10.0.0.1:7380"
	r.Handler().ServeHTTP(w, req)
	return w
}

// happened takes the events so far.
func (r *roomOf) happened() []*kilnv1.BootEvent {
	ended, end := context.WithCancel(context.Background())
	end()
	r.cfg.Events.Run(ended) // tells what there is, once
	all := r.events
	r.events = nil
	return all
}

func TestTheScriptOfAMachine(t *testing.T) {
	r := newRoomOf(t)
	r.SetOthers([]string{"http://10.0.0.2:7380", "http://10.0.0.1:7380"})
	script := r.get(t, "/boot.ipxe?mac="+known+"&arch=x86_64", "10.0.0.21").Body.String()
	for _, want := range []string{
		"#!ipxe\n", "Kiln: web boots v1", ":edge0_0\nkernel --timeout 15000 --name kernel http://10.0.0.1:7380/files/", "|| goto edge1_0\n", ":edge1_0\nkernel --timeout 15000 --name kernel http://10.0.0.2:7380/files/",
		"initrd --timeout 15000 --name initrd0 http://10.0.0.1", "|| goto edge1_1\n", ":edge1_2\ninitrd --timeout 15000 --name initrd1 http://10.0.0.2", " initrd=initrd0 initrd=initrd1 console=ttyS0 group=1 || goto", " ds=nocloud;s=http://10.0.0.1:7380/m/",
		" kiln.config=http://10.0.0.1:7380/m/", " kiln.config=http://10.0.0.2:7380/m/", "|| goto again", "chain --replace --timeout 15000 ${filename}", "boot || goto again",
	} {
		if !strings.Contains(script, want) {
			t.Errorf("the script has no %q:\n%s", want, script)
		}
	}
	var urls []string
	for word := range strings.FieldsSeq(script) {
		if strings.HasPrefix(word, "http://10.0.0.1:7380/files/") {
			urls = append(urls, strings.TrimPrefix(word, "http://10.0.0.1:7380"))
		}
	}
	want := []string{"the kernel", "first", "second"}
	for i, url := range urls {
		if got := r.get(t, url, "10.0.0.21").Body.String(); got != want[i] {
			t.Errorf("%s holds %q, want %q", url, got, want[i])
		}
	}
	var stages []string
	for _, e := range r.happened() {
		if e.GetMachine() != "web" || e.GetBoot() == "" || e.GetEdge() != "e1" {
			t.Errorf("event %v", e)
		}
		stages = append(stages, strings.TrimPrefix(e.GetStage().String(), "BOOT_STAGE_"))
	}
	if got := strings.Join(stages, " "); got != "SCRIPT KERNEL INITRD INITRD" {
		t.Errorf("events %s", got)
	}
}

func TestALongCommandLineKeepsRoomForOneEdge(t *testing.T) {
	kernel := &kilnv1.FileRef{Digest: "sha256:" + strings.Repeat("0", 64)}
	for length, want := range map[int]int{100: 3, 1500: 2, 1600: 1} {
		script, err := machineScript(scriptFor{name: "web", release: "v1", files: &kilnv1.ReleaseFiles{Kernel: kernel}, cmdline: strings.Repeat("x", length),
			token: strings.Repeat("t", 120), edges: []string{"http://10.0.0.1:7380", "http://10.0.0.2:7380", "http://10.0.0.3:7380"}})
		if err != nil {
			t.Fatal(err)
		}
		line, _, _ := strings.Cut(script[strings.Index(script, "kernel "):], "\n")
		if got := strings.Count(line, "kiln.config="); got != want {
			t.Errorf("with %d bytes the configuration is named at %d edges, want %d", length, got, want)
		}
		if !strings.Contains(line, strings.Repeat("0", 64)+" kiln.config=http://10.0.0.1:7380/") || !strings.Contains(line, " ds=nocloud;s=http://10.0.0.1:7380/") {
			t.Errorf("with %d bytes the configuration does not stand first:\n%s", length, line)
		}
	}
	// A kernel would cut it, and nobody would know why the machine has no configuration.
	_, err := machineScript(scriptFor{name: "web", release: "v1", files: &kilnv1.ReleaseFiles{Kernel: kernel}, cmdline: strings.Repeat("x", 1800), token: strings.Repeat("t", 120), edges: []string{"http://10.0.0.1:7380"}})
	if err == nil || !strings.Contains(err.Error(), "has 2133 bytes with the address of its configuration and its token, more than the 2000") {
		t.Errorf("got %v", err)
	}
}

func TestWhatOtherMachinesGet(t *testing.T) {
	r := newRoomOf(t)
	for _, c := range []struct{ name, path, want string }{
		{"one that boots from its disk", "/boot.ipxe?mac=" + onDisk, "booting from the local disk"},
		{"one that nobody described", "/boot.ipxe?mac=" + stranger, "nobody_described"},
		{"an architecture that the release does not have", "/boot.ipxe?mac=" + known + "&arch=arm64", "sleep 15"},
		{"a MAC that is none", "/boot.ipxe?mac=%0achain%20http://evil", "sleep 15"},
	} {
		script := r.get(t, c.path, "10.0.0.99").Body.String()
		if !strings.Contains(script, c.want) || strings.Contains(script, "http://evil") || strings.Contains(script, "/files/") {
			t.Errorf("%s: %s", c.name, script)
		}
	}
}

func TestFilesNeedAToken(t *testing.T) {
	r := newRoomOf(t)
	digest := cache.SumBytes([]byte("the kernel")).String()
	for _, token := range []string{"x", strings.Repeat("A", 80)} {
		if w := r.get(t, "/files/"+token+"/"+digest, "10.0.0.21"); w.Code != http.StatusForbidden || strings.Contains(w.Body.String(), "the kernel") {
			t.Errorf("token %q: %d %s", token, w.Code, w.Body.String())
		}
	}
	if w := r.get(t, "/m/"+strings.Repeat("A", 80)+"/latest/meta-data/hostname", "10.0.0.21"); w.Code != http.StatusForbidden {
		t.Errorf("configuration for a token that is none: %d", w.Code)
	}
}

// client is what Classify makes of a packet of a client.
func client(t *testing.T, mac string, message dhcpv4.MessageType, options ...dhcpv4.Option) dhcp.Client {
	t.Helper()
	hw, err := net.ParseMAC(mac)
	if err != nil {
		t.Fatal(err)
	}
	p, err := dhcpv4.New(dhcpv4.WithHwAddr(hw), dhcpv4.WithMessageType(message))
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range options {
		p.UpdateOption(o)
	}
	c, err := dhcp.Classify(p.ToBytes(), dhcp.Ingress{Interface: "eth0", Port: dhcp.ServerPort, From: netip.MustParseAddrPort("0.0.0.0:68")})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func pxe(class string, arch byte) []dhcpv4.Option {
	return []dhcpv4.Option{dhcpv4.OptGeneric(dhcpv4.OptionClassIdentifier, []byte(class)), dhcpv4.OptGeneric(dhcpv4.OptionClientSystemArchitectureType, []byte{0, arch})}
}

func TestWhatFirmwareIsTold(t *testing.T) {
	r := newRoomOf(t)
	ipxe := append(pxe("PXEClient:Arch:00000:UNDI:002001", 0), dhcpv4.OptGeneric(dhcpv4.GenericOptionCode(175), []byte{0x13, 1, 1}), dhcpv4.OptGeneric(dhcpv4.OptionUserClassInformation, []byte("iPXE")))
	loaders := map[string]string{undi: "/x/" + undi, snp: "/x/" + snp}
	for _, c := range []struct {
		name    string
		mac     string
		full    bool
		loaders map[string]string
		options []dhcpv4.Option
		mode    dhcp.Mode
		file    string
	}{
		{"a BIOS", known, false, loaders, pxe("PXEClient:Arch:00000:UNDI:002001", 0), dhcp.Proxy, undi},
		{"a BIOS without iPXE here", known, false, nil, pxe("PXEClient:Arch:00000:UNDI:002001", 0), dhcp.Silent, ""},
		{"UEFI", known, false, loaders, pxe("PXEClient:Arch:00007:UNDI:003000", 7), dhcp.Proxy, snp},
		{"UEFI without iPXE here", known, true, nil, pxe("PXEClient:Arch:00007:UNDI:003000", 7), dhcp.Full, "uki/amd64/" + known + ".efi"},
		{"UEFI HTTP boot", known, false, nil, pxe("HTTPClient:Arch:00016:UNDI:003000", 16), dhcp.Proxy, "http://10.0.0.1:7380/uki/" + known + ".efi?arch=amd64"},
		{"iPXE", known, true, loaders, ipxe, dhcp.Full, "http://10.0.0.1:7380/boot.ipxe?mac=" + known + "&uuid=&arch=x86_64"},
		{"an operating system", known, true, loaders, nil, dhcp.Full, ""},
		{"an operating system where another server gives addresses", known, false, loaders, nil, dhcp.Silent, ""},
		{"a machine that boots from its disk", onDisk, false, loaders, pxe("PXEClient:Arch:00007:UNDI:003000", 7), dhcp.Silent, ""},
		{"a machine that nobody described", stranger, true, loaders, pxe("PXEClient:Arch:00007:UNDI:003000", 7), dhcp.Silent, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := &PXE{Edge: r.Edge, Full: c.full, Loaders: c.loaders}
			plan := p.Decide(t.Context(), client(t, c.mac, dhcpv4.MessageTypeDiscover, c.options...))
			if plan.Mode != c.mode || plan.Boot.File != c.file {
				t.Errorf("mode %v and file %q, want %v and %q", plan.Mode, plan.Boot.File, c.mode, c.file)
			}
			if c.mode == dhcp.Full && plan.Lease.Address.String() != "10.0.0.21/24" {
				t.Errorf("lease %+v", plan.Lease)
			}
		})
	}
	r.happened()
}

// Machines of a group with "boot: uki" boot the unified kernel image, whatever loaders there are.
func TestMachinesThatBootTheirImageThemselves(t *testing.T) {
	r := newRoomOf(t)
	r.change(func(in *kilnv1.Intent) { in.Groups[0].Boot = fleet.BootUKI })
	p := &PXE{Edge: r.Edge, Loaders: map[string]string{undi: "/x", snp: "/x", pxelinux: "/x", ldlinux: "/x"}}
	ipxe := func(class string, arch byte) []dhcpv4.Option {
		return append(pxe(class, arch), dhcpv4.OptGeneric(dhcpv4.GenericOptionCode(175), []byte{0x13, 1, 1}))
	}
	const url = "http://10.0.0.1:7380/uki/" + known + ".efi?arch=amd64"
	for _, c := range []struct {
		name    string
		options []dhcpv4.Option
		want    string
	}{
		{"UEFI", pxe("PXEClient:Arch:00007:UNDI:003000", 7), "uki/amd64/" + known + ".efi"},
		{"UEFI HTTP boot", pxe("HTTPClient:Arch:00016:UNDI:003000", 16), url},
		{"iPXE of UEFI", ipxe("PXEClient:Arch:00007:UNDI:003010", 7), url},
		{"a BIOS", pxe("PXEClient:Arch:00000:UNDI:002001", 0), ""},
		{"iPXE of a BIOS", ipxe("PXEClient:Arch:00000:UNDI:002001", 0), ""},
		{"UEFI of an architecture that the release does not have", pxe("PXEClient:Arch:00011:UNDI:003000", 11), ""},
	} {
		plan := p.Decide(t.Context(), client(t, known, dhcpv4.MessageTypeDiscover, c.options...))
		if plan.Boot.File != c.want {
			t.Errorf("%s: file %q, want %q", c.name, plan.Boot.File, c.want)
		}
	}
	script := r.get(t, "/boot.ipxe?mac="+known+"&arch=x86_64", "10.0.0.21").Body.String()
	if !strings.Contains(script, "\nchain "+url+" || ") || strings.Contains(script, "kernel ") || strings.Contains(script, "/m/") {
		t.Errorf("the script:\n%s", script)
	}
	if config := byTFTP(t, p, "pxelinux.cfg/01-"+dashed(known), "10.0.0.21"); !strings.Contains(config, "only_UEFI_firmware_does") || strings.Contains(config, "LINUX") {
		t.Errorf("PXELINUX is told:\n%s", config)
	}

	r.change(func(in *kilnv1.Intent) { in.Groups[0].Boot = fleet.BootLoader })
	if plan := p.Decide(t.Context(), client(t, known, dhcpv4.MessageTypeDiscover, pxe("PXEClient:Arch:00007:UNDI:003000", 7)...)); plan.Boot.File != snp {
		t.Errorf("boot: loader is told %q, want %s", plan.Boot.File, snp)
	}
}

// A release for two architectures: each firmware gets the image of its own.
func TestImagesByTFTPAreOfTheFirmwaresArchitecture(t *testing.T) {
	r := newRoomOf(t)
	r.change(func(in *kilnv1.Intent) {
		in.Releases[0].Platforms["linux/arm64"] = &kilnv1.ReleaseFiles{Uki: in.Releases[0].GetPlatforms()["linux/amd64"].GetInitrds()[0]}
	})
	p := &PXE{Edge: r.Edge}
	for arch, want := range map[byte]string{7: "the UKI", 11: "first"} {
		plan := p.Decide(t.Context(), client(t, known, dhcpv4.MessageTypeDiscover, pxe("PXEClient", arch)...))
		if got := byTFTP(t, p, plan.Boot.File, "10.0.0.21"); got != want {
			t.Errorf("architecture %d: %s holds %q, want %q", arch, plan.Boot.File, got, want)
		}
	}
}

func TestFilesByTFTP(t *testing.T) {
	r := newRoomOf(t)
	path := filepath.Join(t.TempDir(), undi)
	if err := os.WriteFile(path, []byte("iPXE"), 0o600); err != nil {
		t.Fatal(err)
	}
	p := &PXE{Edge: r.Edge, Loaders: map[string]string{undi: path}}
	for _, c := range []struct{ name, want string }{
		{undi, "iPXE"}, {"/" + undi, "iPXE"}, {"uki/amd64/" + known + ".efi", "the UKI"},
		{"../" + undi, ""}, {"uki/../../etc/passwd", ""}, {path, ""}, {"/etc/passwd", ""}, {"uki/amd64/" + stranger + ".efi", ""}, {"uki/amd64/" + onDisk + ".efi", ""}, {"", ""},
		{"uki/arm64/" + known + ".efi", ""}, {"uki/" + known + ".efi", ""}, {"uki/amd64/../" + known + ".efi", ""},
	} {
		f, err := p.Open(t.Context(), netip.AddrPort{}, c.name)
		if c.want == "" {
			if err == nil {
				t.Errorf("%q is given", c.name)
			}
			continue
		}
		if err != nil {
			t.Errorf("%q: %v", c.name, err)
			continue
		}
		got := make([]byte, f.Size())
		if _, err := f.ReadAt(got, 0); err != nil && err != io.EOF || string(got) != c.want {
			t.Errorf("%q holds %q, %v", c.name, got, err)
		}
		f.Close()
	}
}

// An edge that starts where nobody else is boots machines from what it saw last.
func TestAnEdgeKeepsWhatItSaw(t *testing.T) {
	r := newRoomOf(t)
	again, err := intent.Open(r.path, quiet)
	if err != nil || again.Revision() != 1 || len(again.Key()) != 32 {
		t.Fatalf("revision %d, %v", again.Revision(), err)
	}
	if err := os.WriteFile(r.path, []byte("not an intent"), 0o600); err != nil {
		t.Fatal(err)
	}
	if damaged, err := intent.Open(r.path, quiet); err != nil || damaged.Revision() != 0 {
		t.Errorf("a damaged one: revision %d, %v", damaged.Revision(), err)
	}
}

// Whoever watches a boot learns how many files it has, and which ones came: in any order, and one that came twice is one.
func TestEventsSayWhichFilesABootHas(t *testing.T) {
	r := newRoomOf(t)
	r.change(func(in *kilnv1.Intent) {
		f := in.Releases[0].Platforms["linux/amd64"]
		f.Initrds = append(f.Initrds, f.Initrds[0])
	})
	script := r.get(t, "/boot.ipxe?mac="+known+"&arch=x86_64", "10.0.0.21").Body.String()
	fetched := 0
	for word := range strings.FieldsSeq(script) {
		if path, ok := strings.CutPrefix(word, "http://10.0.0.1:7380"); ok && strings.HasPrefix(path, "/files/") {
			fetched++
			r.get(t, path, "10.0.0.21")
		}
	}
	files := map[string]bool{}
	var named uint32
	for _, e := range r.happened() {
		named += e.GetFiles()
		if e.GetFile() != "" {
			files[e.GetFile()] = true
		}
	}
	if fetched != 4 || named != 3 || len(files) != 3 {
		t.Errorf("%d files were fetched, the script's event names %d, and %d different ones were told: want 4, 3 and 3", fetched, named, len(files))
	}
}
