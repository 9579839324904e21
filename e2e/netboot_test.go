package e2e

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"
	"time"
)

const (
	edgeAddress = "10.77.0.2" // of an edge beside a site's DHCP server, which is at roomAddress
	siteEdgeURL = "http://" + edgeAddress + ":7380"
)

// host is a namespace of its own at the bridge of a room: its network card is called eth0.
func (r *room) host(name, address string) *room {
	r.t.Helper()
	h := &room{t: r.t, name: r.name + name, taps: new(int)}
	if out, err := exec.Command("ip", "netns", "add", h.name).CombinedOutput(); err != nil {
		r.t.Fatalf("ip netns add: %v %s", err, out)
	}
	r.t.Cleanup(func() {
		if out, err := exec.Command("ip", "netns", "delete", h.name).CombinedOutput(); err != nil {
			r.t.Errorf("ip netns delete: %v %s", err, out)
		}
	})
	r.ip(fmt.Sprintf("link add %s type veth peer name eth0 netns %s", name, h.name))
	r.ip("link set " + name + " master br0")
	r.ip("link set " + name + " up")
	for _, c := range []string{"link set lo up", "link set eth0 up", "addr add " + address + "/24 dev eth0"} {
		h.ip(c)
	}
	return h
}

// during is the room for one subtest: what it starts ends with it.
func (r *room) during(t *testing.T) *room {
	c := *r
	c.t = t
	return &c
}

// apply describes machines, and nothing else.
func (w *world) apply(t *testing.T, yaml string) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "machines.yml")
	if err := os.WriteFile(file, []byte(yaml), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := w.run(t.Context(), w.kiln, "apply", "--cache", w.cache, "--prune", "-f", file); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}

// machineYAML is one machine with a release and a configuration of its own. What more has goes to the machine and to its group.
func machineYAML(release, machine, group string) string {
	return `
machines:
  - name: demo-machine
    mac: "` + machineMAC + `"
    labels: {role: demo}
` + machine + `
groups:
  - name: demo
    selector: {role: demo}
    release: ` + release + `
    templates:
      user-data: "hello from the edge to {{ .Machine.Hostname }}"
` + group + `
releases:
  - {name: ` + release + `, build: ` + release + `}
`
}

const fixedAddress = "    address: 10.77.0.21/24"

// site is a DHCP server that knows nothing of Kiln.
func (r *room) site(options ...string) {
	r.t.Helper()
	if _, err := exec.LookPath("dnsmasq"); err != nil {
		r.t.Skip("dnsmasq is not installed; `make e2e` installs it, or run: apt-get install --no-install-recommends dnsmasq-base")
	}
	r.start("DHCP, IP range", append([]string{"dnsmasq", "--no-daemon", "--conf-file=/dev/null", "--port=0", "--interface=br0", "--bind-interfaces", "--leasefile-ro", "--user=root",
		"--dhcp-range=10.77.0.50,10.77.0.99,255.255.255.0,1h", "--log-facility=-", "--log-dhcp"}, options...)...)
}

// TestMachinesBootBesideADHCPServer: the site's own server gives the addresses, the edge only says what to boot. An image that
// can be told nothing has the edge's URL in it, and is known by its address.
func TestMachinesBootBesideADHCPServer(t *testing.T) {
	full(t)
	w := prepared(t)
	r := newRoom(t)
	h := r.host("edge", edgeAddress)
	w.buildFile(t, "examples/machine.yml", "--name", "beside", "--arch", "amd64,arm64", "--format", "kernel+initrd,uki", "--boot", "kiln.example/boot:demo",
		"--append", "kiln.config="+siteEdgeURL)
	w.apply(t, machineYAML("beside", "", ""))
	r.site()
	h.start("machines boot here", w.kiln, "edge", "--cache", w.cache, "--interface", "eth0", "--dhcp", "proxy")
	for _, c := range netboots {
		t.Run(c.name, func(t *testing.T) {
			needFirmware(t, c.arch)
			notBy(t, c.not, boot(t, r.in(c.args(t, r.tap())...), configured))
		})
	}
}

var (
	byTFTP     = regexp.MustCompile(`msg="sent by TFTP" .* name=/?files/token-[0-9a-f]+/`)
	byHTTP     = regexp.MustCompile(`msg=served method=GET path=/files/token-[0-9a-f]+/`)
	wholeToken = regexp.MustCompile(`files/[A-Za-z0-9_-]{60,}`)
)

// advertised are options of a site that has a router for IPv6, too: where there is none, an iPXE waits for one.
func advertised(options ...string) []string {
	return append([]string{"--no-ping", "--enable-ra", "--dhcp-range=fd77::,ra-only"}, options...)
}

// TestMachinesBootWithPXELINUX: a BIOS that loads PXELINUX, which then asks the edge.
func TestMachinesBootWithPXELINUX(t *testing.T) {
	full(t)
	needPXELINUX(t)
	w := prepared(t)
	r := newRoom(t)
	h := r.host("edge", edgeAddress)
	r.ip("addr add fd77::1/64 dev br0")
	w.describe(t) // its images are told by a token only: no URL is in them
	for _, c := range []struct {
		name, dhcp string
		edge       []string
		site       []string
		log        *regexp.Regexp // how the edge gave the kernel
	}{
		{"pxelinux.0 with DHCP of the edge", "full", []string{"--bios-loader", "pxelinux"}, nil, byTFTP},
		{"pxelinux.0 beside a DHCP server", "proxy", []string{"--bios-loader", "pxelinux"}, []string{"--no-ping"}, byTFTP},
		{"lpxelinux.0 beside a DHCP server", "proxy", []string{"--bios-loader", "lpxelinux"}, []string{"--no-ping"}, byHTTP},
		{"pxelinux.0 that the DHCP server names", "off", nil, advertised("--dhcp-boot=pxelinux.0,," + edgeAddress), byTFTP},
		{"lpxelinux.0 that the DHCP server names", "off", nil, advertised("--dhcp-boot=http/lpxelinux.0,," + edgeAddress), byHTTP},
	} {
		t.Run(c.name, func(t *testing.T) {
			r, h := r.during(t), h.during(t)
			if c.site != nil {
				r.site(c.site...)
			}
			// Without DHCP of the edge's own, it does not say that machines boot there.
			log := h.start("listening", append([]string{w.kiln, "edge", "--cache", w.cache, "--interface", "eth0", "--dhcp", c.dhcp}, c.edge...)...)
			boot(t, r.in(seabios(r.tap())...), append([]string{"PXELINUX 6", "Kiln: demo-machine boots demo"}, configured...))
			text, err := os.ReadFile(log)
			if err != nil || !c.log.Match(text) || wholeToken.Match(text) {
				t.Errorf("the edge's log has no line like %s, or has a token (%v):\n%s", c.log, err, text)
			}
		})
	}
}

// TestPXELINUXGoesOnAtAnotherEdge: the edge dies when it has said what to boot.
func TestPXELINUXGoesOnAtAnotherEdge(t *testing.T) {
	full(t)
	needPXELINUX(t)
	w := prepared(t)
	r := newRoom(t)
	const other = "10.77.0.3"
	first, second := r.host("edge", edgeAddress), r.host("other", other)
	w.describe(t)
	r.ip("addr add fd77::1/64 dev br0")
	r.site(advertised("--dhcp-boot=http/lpxelinux.0,," + edgeAddress)...)
	log, edge := first.launch("listening", w.kiln, "edge", "--cache", w.cache, "--interface", "eth0", "--dhcp", "off", "--peer", "http://"+other+":7380")
	rest := second.start("listening", w.kiln, "edge", "--cache", w.cache, "--interface", "eth0", "--dhcp", "off")
	done := make(chan error, 1)
	go func() {
		for end := time.Now().Add(bootLimit); time.Now().Before(end); time.Sleep(time.Millisecond) {
			if text, err := os.ReadFile(log); err == nil && bytes.Contains(text, []byte("pxelinux.cfg/01-")) {
				done <- edge.Kill()
				return
			}
		}
		done <- errors.New("the machine did not ask what to boot")
	}()
	boot(t, r.in(seabios(r.tap())...), append([]string{"Kiln: demo-machine boots demo"}, configured...))
	if err := <-done; err != nil {
		t.Error(err)
	}
	if text, err := os.ReadFile(rest); err != nil || !byHTTP.Match(text) {
		t.Errorf("the other edge gave no files (%v):\n%s", err, text)
	}
}

// needPXELINUX skips when there is no PXELINUX to boot with.
func needPXELINUX(t *testing.T) {
	t.Helper()
	for _, file := range []string{"/usr/lib/PXELINUX/pxelinux.0", "/usr/lib/syslinux/modules/bios/ldlinux.c32"} {
		if _, err := os.Stat(file); err != nil {
			t.Skipf("%s is not there; `make e2e` installs it, or run: apt-get install --no-install-recommends pxelinux syslinux-common", file)
		}
	}
}
