package config

import (
	"flag"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kiln-farm/kiln/fleet"
	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
)

var update = flag.Bool("update", false, "write the golden files")

const (
	annKey = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEB ann"
	bobKey = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgIC bob"
)

// room has one machine with everything, one with next to nothing, and a group for unknown ones.
func room() *kilnv1.Intent {
	return &kilnv1.Intent{
		TokenKey: []byte(strings.Repeat("k", 32)),
		Machines: []*kilnv1.Machine{
			{Name: "web-1", Macs: []string{"52:54:00:00:00:01", "52:54:00:00:00:11"}, Uuid: "4c4c4544-0042-3510-8056-b4c04f4a3232", Hostname: "web-1.example",
				Labels: map[string]string{"role": "web", "rack": "a", "region": "lab", "host-id": "rack-a-5"}, Address: "10.0.0.5/24", Gateway: "10.0.0.1", Dns: []string{"10.0.0.1", "10.0.0.2"},
				SshKeys: []string{annKey}, Confirmed: true,
				Values: map[string]string{"port": "8080", "public_ipv4": "192.0.2.5", "availability_zone": "room-1", "instance_type": "r640",
					"evil": "{{.Secrets.password}}\nx=1"},
				Secrets: map[string]string{"password": "geheim"},
				Templates: map[string]string{
					fleet.UserData:      "#cloud-config\nhostname: {{yaml .Machine.Hostname}}\nevil: {{yaml .Values.evil}}\n",
					fleet.VendorData:    "#cloud-config\npassword: {{yaml .Secrets.password}}\n",
					fleet.NetworkConfig: "version: 2\nethernets:\n  nic0:\n    match: {macaddress: {{yaml .Machine.MAC}}}\n    addresses: [{{.Machine.Address}}/{{.Machine.Prefix}}]\n",
					fleet.MetaData:      "dsmode: net\nport: {{yaml .Values.port}}\n",
					fleet.Ignition:      `{"ignition": {"version": "3.4.0"}, "storage": {"files": [{"path": "/etc/motd", "contents": {"source": {{json (printf "data:,%s" (urlquery .Values.evil))}}}}]}}`,
				}},
			{Name: "bare-1", Macs: []string{"52:54:00:00:00:02"}},
			{Name: "kit-1", Macs: []string{"52:54:00:00:00:03"}, Labels: map[string]string{"os": "linuxkit"}},
		},
		Groups: []*kilnv1.Group{
			{Name: "all", Release: "v1", SshKeys: []string{bobKey}},
			{Name: "kit", Selector: map[string]string{"os": "linuxkit"}, Priority: 1,
				Templates: map[string]string{fleet.UserData: `{"nginx": {"entries": {"port": {"content": {{json .Machine.Name}}, "perm": "0640"}}}}`}},
			{Name: "new", Selector: map[string]string{"role": "none"}, Priority: 2, Unknown: true, Release: "v1"},
		},
		Releases: []*kilnv1.Release{{Name: "v1", Build: "hello", Platforms: map[string]*kilnv1.ReleaseFiles{"linux/amd64": {Kernel: &kilnv1.FileRef{
			Digest: "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"}}}}},
	}
}

func record(t testing.TB, in *kilnv1.Intent, mac string) *Record {
	t.Helper()
	b, err := fleet.Resolve(in, fleet.Identity{MAC: mac})
	if err != nil {
		t.Fatal(err)
	}
	return &Record{Boot: b}
}

func TestTheRoomHasNoFaults(t *testing.T) {
	if p := fleet.Check(room()); p != nil {
		t.Error(p)
	}
}

// documents are all paths that a machine may have.
func documents() []string {
	return []string{
		"", "latest", "latest/meta-data", "latest/meta-data/hostname", "latest/meta-data/local-hostname", "latest/meta-data/instance-id",
		"latest/meta-data/instance-type", "latest/meta-data/local-ipv4", "latest/meta-data/public-ipv4", "latest/meta-data/mac", "latest/meta-data/placement",
		"latest/meta-data/placement/availability-zone", "latest/meta-data/public-keys", "latest/meta-data/public-keys/0", "latest/meta-data/public-keys/0/openssh-key",
		"latest/user-data", "2009-04-04/meta-data/hostname", "get/meta/hostname", "get/meta/public-ipv4", "get/meta/private-ipv4", "get/meta/failure-domain",
		"get/meta/machine-id", "get/meta/machine-type", "get/meta/authorized-keys", "get/user", "nocloud/user-data", "nocloud/meta-data", "nocloud/vendor-data",
		"nocloud/network-config", "openstack", "openstack/latest", "openstack/latest/meta_data.json", "openstack/latest/user_data", "openstack/latest/vendor_data.json",
		"openstack/latest/network_data.json", "ignition", "kv", "linuxkit",
		"latest/dynamic/instance-identity", "latest/dynamic/instance-identity/document", "latest/meta-data/placement/region", "latest/meta-data/placement/host-id",
		"latest/meta-data/network/interfaces/macs/52:54:00:00:00:01", "latest/meta-data/network/interfaces/macs/52:54:00:00:00:01/local-ipv4s", "2021-03-23", "1.0/meta-data/instance-id",
		"latest/meta-data/public-hostname", "openstack/2018-08-27/vendor_data2.json",
		"computeMetadata", "computeMetadata/v1", "computeMetadata/v1/instance", "computeMetadata/v1/instance/hostname", "computeMetadata/v1/instance/zone",
		"computeMetadata/v1/instance/attributes", "computeMetadata/v1/instance/attributes/user-data", "computeMetadata/v1/project/attributes/ssh-keys",
		"hetzner/v1/metadata/public-keys", "hetzner/v1/userdata", "conf", "user_data", "user_data/cloud-init",
		"v1", "v1/hostname", "v1/interfaces/0/ipv4/address", "v1/interfaces/1/ipv4/address", "v1/interfaces/1/ipv4/netmask", "v1/region/regioncode", "v1/instanceid", "v1/public-keys",
		"metadata", "userdata", "metadata/v1", "metadata/v1/hostname", "metadata/v1/interfaces/public/0/ipv4/address", "metadata/v1/interfaces/private/0/ipv4/address",
		"metadata/v1/region", "metadata/v1/id", "metadata/v1/public-keys", "metadata/v1/user-data", "metadata/v1/vendor-data", "get", "get/meta",
	}
}

func TestGolden(t *testing.T) {
	for _, c := range []struct{ file, mac string }{{"web-1", "52:54:00:00:00:01"}, {"bare-1", "52:54:00:00:00:02"}, {"kit-1", "52:54:00:00:00:03"}, {"unknown", "52:54:00:00:00:99"}} {
		t.Run(c.file, func(t *testing.T) {
			r := record(t, room(), c.mac)
			r.Address = netip.MustParsePrefix("10.0.0.77/24")
			var b strings.Builder
			for _, path := range documents() {
				var parts []string
				if path != "" {
					parts = strings.Split(path, "/")
				}
				got, err := r.Render(parts, true)
				b.WriteString("==== /" + path)
				if err != nil {
					b.WriteString(" fails: " + err.Error() + "\n")
					continue
				}
				b.WriteString(" (" + got.Type)
				if got.Absent {
					b.WriteString(", absent")
				}
				if got.Secrets {
					b.WriteString(", secrets in " + got.Kind)
				}
				b.WriteString(")\n" + got.Body + "∎\n") // the mark shows where a document ends
			}
			name := filepath.Join("testdata", c.file+".golden")
			if *update {
				if err := os.WriteFile(name, []byte(b.String()), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			if b.String() != string(want) {
				t.Errorf("got\n%s\nwant\n%s", b.String(), want)
			}
		})
	}
}
