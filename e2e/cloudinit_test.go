package e2e

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// cloudInitScript runs cloud-init's network stage on a copy of this host's root, with a kernel command line and a firmware of its own:
// what it writes goes to memory and with it. Its modules are those that write files and the host's name, and no other: some change
// disks.
const cloudInitScript = `#!/bin/sh
set -eu
work=$1
mount --make-rprivate /
mount -t tmpfs tmpfs "$work/root"
cd "$work/root"
mkdir upper work merged
mount -t overlay overlay -o "lowerdir=/,upperdir=$work/root/upper,workdir=$work/root/work" merged
cd merged
mount -t tmpfs tmpfs run
mount -t tmpfs tmpfs dev
for device in null zero urandom random; do touch dev/$device; mount --bind /dev/$device dev/$device; done
mount -t proc proc proc
mount --bind "$work/cmdline" proc/cmdline
mount -t tmpfs tmpfs sys
mkdir -p sys/class/net sys/class/dmi/id sys/devices
mount --bind /sys/class/net sys/class/net
mount --bind /sys/devices sys/devices
for file in "$work"/dmi/*; do cp "$file" sys/class/dmi/id/; done
rm -rf var/lib/cloud etc/cloud/cloud.cfg.d var/log/cloud-init.log
cp "$work/cloud.cfg" etc/cloud/cloud.cfg
printf '#!/bin/sh\nexit 1\n' >usr/local/bin/systemd-detect-virt
chmod 755 usr/local/bin/systemd-detect-virt
begin=$(date +%s%3N)
chroot . /usr/bin/env -i PATH=/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin LANG=C.UTF-8 cloud-init --debug init >out 2>&1 || { cat out; exit 1; }
echo "took=$(($(date +%s%3N) - begin))"
echo "hostname=$(hostname)"
echo "source=$(chroot . cloud-init query cloud_name 2>/dev/null) $(chroot . cloud-init query subplatform 2>/dev/null)"
echo "instance=$(cat var/lib/cloud/data/instance-id)"
echo "written=$(cat etc/kiln-test 2>/dev/null || true)"
echo "zone=$(chroot . cloud-init query availability_zone 2>/dev/null || true)"
grep -E 'WARN|ERROR|Traceback' out | grep -v 'no logging configured' || true
`

// TestDebiansCloudInitIsConfigured: the cloud-init of Debian finds its configuration at an edge by each of its sources, says nothing
// of warnings, and does not wait: nobody gave the machine vendor data.
func TestDebiansCloudInitIsConfigured(t *testing.T) {
	w := prepared(t)
	r := newRoom(t)
	if _, err := exec.LookPath("cloud-init"); err != nil {
		t.Skip("cloud-init is not installed; `make test` installs it, or run: apt-get install --no-install-recommends cloud-init")
	}
	dir := t.TempDir()
	write := func(name, text string) string {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
		return path
	}
	store := filepath.Join(dir, "cache")
	write("room/vmlinuz", "kernel")
	write("room/user-data.tmpl", "#cloud-config\nwrite_files:\n  - {path: /etc/kiln-test, content: {{yaml .Machine.Name}}}\n")
	write("room/room.yml", `machines:
  - {name: web-1, mac: "`+machineMAC+`", address: 10.77.0.21/24, labels: {role: web, zone: lab-1, region: lab}}
groups:
  - {name: web, selector: {role: web}, release: v1, templates: {user-data: {file: user-data.tmpl}}}
releases:
  - {name: v1, platforms: {linux/amd64: {kernel: ./vmlinuz}}}
`)
	if out, err := w.run(t.Context(), w.kiln, "apply", "--cache", store, "-f", filepath.Join(dir, "room")); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	r.start("machines boot here", w.kiln, "edge", "--cache", store, "--interface", "br0", "--dhcp", "full")
	pc := r.computer()
	script, err := commandOf(pc("busybox", "wget", "-q", "-O", "-", "http://"+roomAddress+":7380/boot.ipxe?mac="+machineMAC+"&arch=x86_64")).CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, script)
	}
	_, line, _ := strings.Cut(string(script), "/files/")
	_, line, _ = strings.Cut(line, " ")
	line, _, ok := strings.Cut(line, " || goto")
	if !ok || !strings.Contains(line, "ds=nocloud;s=http://"+roomAddress) {
		t.Fatalf("the script has no command line:\n%s", script)
	}
	run := write("run", cloudInitScript)
	const amazon = "ec2e1916-9099-7caf-fd21-012345abcdef"
	for _, c := range []struct {
		source, cmdline string
		dmi             map[string]string
		want            []string
	}{
		{"NoCloud", line, nil, []string{"hostname=web-1", "instance=kiln-web-1", "written=web-1"}},
		{"Ec2", "quiet", map[string]string{"product_uuid": amazon, "product_serial": amazon}, []string{"source=aws metadata (http://169.254.169.254)", "hostname=web-1", "instance=kiln-web-1", "written=web-1", "zone=lab-1"}},
		{"OpenStack", "quiet", map[string]string{"product_name": "OpenStack Nova"}, []string{"hostname=web-1", "written=web-1", "zone=lab-1"}},
	} {
		t.Run(c.source, func(t *testing.T) {
			work := filepath.Join(dir, c.source)
			for name, text := range c.dmi {
				write(c.source+"/dmi/"+name, text+"\n")
			}
			write(c.source+"/dmi/sys_vendor", "Kiln\n")
			write(c.source+"/cmdline", c.cmdline+"\n")
			write(c.source+"/cloud.cfg", fmt.Sprintf("datasource_list: [%s]\nnetwork: {config: disabled}\ncloud_init_modules: [write_files, set_hostname]\ncloud_config_modules: []\ncloud_final_modules: []\n"+
				"system_info: {distro: debian, paths: {cloud_dir: /var/lib/cloud/, templates_dir: /etc/cloud/templates/}}\n", c.source))
			if err := os.Mkdir(filepath.Join(work, "root"), 0o755); err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			args := pc("unshare", "--mount", "--uts", "--pid", "--fork", run, work)
			out, err := exec.CommandContext(ctx, args[0], args[1:]...).CombinedOutput()
			if err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			for _, want := range c.want {
				if !strings.Contains(string(out), want) {
					t.Errorf("there is no %q", want)
				}
			}
			var took int
			if _, err := fmt.Sscanf(string(out), "took=%d", &took); err != nil || took > 9000 { // one document that is asked for again costs ten seconds
				t.Errorf("it took %d ms (%v)", took, err)
			}
			if strings.Contains(string(out), "WARN") || strings.Contains(string(out), "ERROR") || strings.Contains(string(out), "Traceback") {
				t.Error("it complains")
			}
			t.Logf("%s", out)
		})
	}
}
