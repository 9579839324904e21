package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestProgramsMadeForCloudsAreConfigured: a client nobody here wrote gets an address and the way to 169.254.169.254, which the edge
// gave itself, and reads there who it is, as LinuxKit's metadata package does (pkg/metadata, provider aws).
func TestProgramsMadeForCloudsAreConfigured(t *testing.T) {
	w := prepared(t)
	r := newRoom(t)
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
		return path
	}
	store := filepath.Join(dir, "cache")
	room := write("room.yml", "machines:\n  - {name: web-1, mac: \""+machineMAC+"\", address: 10.77.0.21/24, ssh_keys: [\"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEB ops\"]}\n")
	if out, err := w.run(t.Context(), w.kiln, "apply", "--cache", store, "-f", room); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	// The other interface is another network's, as a VLAN's is. An edge that is killed leaves its address to the next one.
	for _, c := range []string{"link add vlan5 type bridge", "addr add 10.78.0.1/24 dev vlan5", "link set vlan5 up"} {
		r.ip(c)
	}
	given := func() string {
		t.Helper()
		out, err := exec.Command("ip", "-n", r.name, "-4", "-o", "address").CombinedOutput()
		if err != nil {
			t.Fatalf("%v %s", err, out)
		}
		return string(out)
	}
	command := []string{w.kiln, "edge", "--cache", store, "--interface", "br0", "--interface", "vlan5", "--dhcp", "full", "--metadata-certificate", filepath.Join(dir, "cert.pem"), "--metadata-key", filepath.Join(dir, "key.pem")}
	if out, err := exec.Command("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-keyout", filepath.Join(dir, "key.pem"), "-out", filepath.Join(dir, "cert.pem"),
		"-subj", "/CN=metadata.packet.net", "-addext", "subjectAltName=DNS:metadata.packet.net").CombinedOutput(); err != nil {
		t.Fatalf("%v %s", err, out)
	}
	_, first := r.launch("machines boot here", command...)
	if err := first.Kill(); err != nil {
		t.Fatal(err)
	}
	if _, err := first.Wait(); err != nil {
		t.Fatal(err)
	}
	if got := given(); strings.Count(got, "inet 169.254.169.254/32") != 2 {
		t.Fatalf("an edge that was killed leaves\n%s", got)
	}
	log, second := r.launch("machines boot here", command...)
	if got := given(); strings.Count(got, "inet 169.254.169.254/32") != 2 || strings.Count(got, "inet 169.254.42.42/32") != 2 {
		t.Errorf("the next edge has\n%s", got)
	}
	if text, err := os.ReadFile(log); err != nil || !strings.Contains(string(text), "machines are configured at the address of clouds") {
		t.Errorf("it does not say so: %v\n%s", err, text)
	}
	defer func() {
		if err := second.Signal(syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
		for range 500 {
			if !strings.Contains(given(), "169.254") {
				return
			}
			time.Sleep(10 * time.Millisecond)
		}
		t.Errorf("an edge that has ended leaves\n%s", given())
	}()

	pc := r.computer()
	in := func(command string) string {
		t.Helper()
		out, err := commandOf(pc("sh", "-c", command)).CombinedOutput()
		if err != nil {
			t.Fatalf("%s: %v\n%s", command, err, out)
		}
		return strings.TrimSpace(string(out))
	}
	for path, want := range map[string]string{
		"/latest/meta-data/hostname":                  "web-1",
		"/latest/meta-data/public-keys/0/openssh-key": "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEB ops",
		"/2009-04-04/meta-data/local-ipv4":            "10.77.0.21",
	} {
		if got := in(fmt.Sprintf("busybox wget -q -O - http://169.254.169.254%s", path)); got != want {
			t.Errorf("%s: got %q, want %q", path, got, want)
		}
	}
	if got := in("busybox wget -q -O - http://169.254.42.42/conf"); !strings.Contains(got, "\nHOSTNAME=web-1\n") {
		t.Errorf("as Scaleway's: %q", got)
	}
	if got := in(fmt.Sprintf(`printf 'GET /metadata HTTP/1.0\r\nHost: metadata.packet.net\r\n\r\n' | openssl s_client -quiet -verify_return_error -verify_hostname metadata.packet.net -CAfile %s/cert.pem -connect 169.254.169.254:443 2>/dev/null`, dir)); !strings.Contains(got, `"hostname": "web-1"`) {
		t.Errorf("as Equinix Metal's, over TLS: %q", got)
	}
	// A page in a browser that gave its own name this address is no machine.
	refused := in("busybox wget -S -O - --header 'Host: evil.example' http://169.254.169.254/latest/meta-data/hostname 2>&1; true")
	if !strings.Contains(refused, "403") || strings.Contains(refused, "web-1") {
		t.Errorf("under another name: %s", refused)
	}
}

// computer is a network namespace beside the room, whose card has the machine's MAC and got its address and its routes from the room by
// DHCP. What it returns makes a command one inside it.
func (r *room) computer() func(command ...string) []string {
	r.t.Helper()
	if _, err := exec.LookPath("busybox"); err != nil {
		r.t.Skip("busybox is not installed; `make test` installs it, or run: apt-get install --no-install-recommends busybox-static")
	}
	pc := r.name + "pc"
	if out, err := exec.Command("ip", "netns", "add", pc).CombinedOutput(); err != nil {
		r.t.Fatalf("%v %s", err, out)
	}
	r.t.Cleanup(func() {
		if out, err := exec.Command("ip", "netns", "delete", pc).CombinedOutput(); err != nil {
			r.t.Errorf("ip netns delete: %v %s", err, out)
		}
	})
	r.ip("link add pc0 type veth peer name eth0 netns " + pc)
	r.ip("link set pc0 master br0")
	r.ip("link set pc0 up")
	script := filepath.Join(r.t.TempDir(), "script")
	if err := os.WriteFile(script, []byte(`#!/bin/sh
[ "$1" = bound ] || exit 0
busybox ip address add "$ip/$mask" dev "$interface"
set -- $staticroutes
while [ $# -gt 1 ]; do busybox ip route add "$1" via "$2" dev "$interface"; shift 2; done
`), 0o700); err != nil {
		r.t.Fatal(err)
	}
	inside := func(command ...string) []string { return append([]string{"ip", "netns", "exec", pc}, command...) }
	for _, c := range []string{"ip link set lo up", "ip link set eth0 address " + machineMAC, "ip link set eth0 up", "busybox udhcpc -i eth0 -n -q -t 20 -T 1 -O staticroutes -s " + script} {
		if out, err := commandOf(inside(strings.Fields(c)...)).CombinedOutput(); err != nil {
			r.t.Fatalf("%s: %v\n%s", c, err, out)
		}
	}
	return inside
}

func commandOf(args []string) *exec.Cmd { return exec.Command(args[0], args[1:]...) }
