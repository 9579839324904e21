package config

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func newRequest(method, path, from string) *http.Request {
	r := httptest.NewRequest(method, path, nil)
	r.RemoteAddr, r.Host = from, "169.254.169.254"
	return r
}

func answered(e *edge, r *http.Request) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	e.ServeHTTP(w, r)
	return w
}

// TestWhatLinuxKitAsksFor goes through what each provider of LinuxKit's metadata package requests over the network, in its order,
// and does with the answers what it does (linuxkit/linuxkit, pkg/metadata, the file that is named): its probe is answered, and the
// machine has its name, its keys and its user data. What it goes on without is "?".
func TestWhatLinuxKitAsksFor(t *testing.T) {
	const machine = "10.0.0.66:1"
	const keys = annKey + "\n" + bobKey
	const user = `{"motd":{"content":"hello"}`
	in := room()
	in.Groups[2].Templates = map[string]string{"user-data": `{"motd": {"content": "hello"}}`}
	in.Groups[2].SshKeys = []string{annKey, bobKey}
	in.Groups[2].Values = map[string]string{"public_ipv4": "192.0.2.9", "availability_zone": "lab-1", "region": "lab"}
	const ec2 = "http://169.254.169.254/latest/meta-data/"
	const ocean = "http://169.254.169.254/metadata/v1/"
	for _, p := range []struct {
		provider, source string
		header           map[string]string
		requests         [][2]string
	}{
		{"aws", "provider_aws.go", nil, [][2]string{
			{ec2 + "hostname", "unknown-525400000066"}, {ec2 + "hostname", "unknown-525400000066"}, {ec2 + "public-ipv4", "192.0.2.9"}, {ec2 + "local-ipv4", "10.0.0.66"},
			{ec2 + "placement/availability-zone", "lab-1"}, {ec2 + "instance-type", "kiln"}, {ec2 + "instance-id", "kiln-52-54-00-00-00-66"}, {ec2 + "local-hostname", "unknown-525400000066"},
			{ec2 + "public-keys/0/openssh-key", keys}, {"http://169.254.169.254/latest/user-data", user}}},
		{"gcp", "provider_gcp.go", map[string]string{"Metadata-Flavor": "Google"}, [][2]string{
			{"http://metadata.google.internal/computeMetadata/v1/instance/hostname", "unknown-525400000066"}, {"http://metadata.google.internal/computeMetadata/v1/instance/hostname", "unknown-525400000066"},
			{"http://metadata.google.internal/computeMetadata/v1/project/attributes/ssh-keys", "root:" + annKey + "\nroot:" + bobKey},
			{"http://metadata.google.internal/computeMetadata/v1/instance/attributes/user-data", user}}},
		{"hetzner", "provider_hetzner.go", nil, [][2]string{
			{ec2 + "hostname", "unknown-525400000066"}, {ec2 + "hostname", "unknown-525400000066"}, {ec2 + "public-ipv4", "192.0.2.9"}, {ec2 + "local-ipv4", "10.0.0.66"},
			{ec2 + "instance-id", "kiln-52-54-00-00-00-66"}, {ec2 + "public-keys", "[\n  \"" + annKey + "\",\n  \"" + bobKey + "\"\n]"}, {"http://169.254.169.254/latest/user-data", user}}},
		{"openstack", "provider_openstack.go", nil, [][2]string{
			{ec2 + "hostname", "unknown-525400000066"}, {ec2 + "hostname", "unknown-525400000066"}, {ec2 + "public-ipv4", "192.0.2.9"}, {ec2 + "local-ipv4", "10.0.0.66"},
			{ec2 + "placement/availability-zone", "lab-1"}, {ec2 + "instance-type", "kiln"}, {ec2 + "instance-id", "kiln-52-54-00-00-00-66"}, {ec2 + "local-hostname", "unknown-525400000066"},
			{ec2 + "public-keys/0/openssh-key", keys}, {"http://169.254.169.254/latest/user-data", user}}},
		{"scaleway", "provider_scaleway.go", nil, [][2]string{
			{"http://169.254.42.42/conf", "ID=kiln-52-54-00-00-00-66\nNAME=unknown-525400000066\nHOSTNAME=unknown-525400000066\nCOMMERCIAL_TYPE=kiln\nLOCATION_ZONE_ID=lab-1\nPUBLIC_IP_ADDRESS=192.0.2.9\n" +
				"PRIVATE_IP=10.0.0.66\nSSH_PUBLIC_KEYS=2\nSSH_PUBLIC_KEYS_0_KEY='" + annKey + "'\nSSH_PUBLIC_KEYS_1_KEY='" + bobKey + "'\n"},
			{"HTTP/1.0 /user_data/cloud-init", user}}},
		{"vultr", "provider_vultr.go", nil, [][2]string{
			{"http://169.254.169.254/v1/", "hostname\n"}, {"http://169.254.169.254/v1/hostname", "unknown-525400000066"}, {"http://169.254.169.254/v1/interfaces/0/ipv4/address", "192.0.2.9"},
			{"http://169.254.169.254/v1/interfaces/1/ipv4/address", "10.0.0.66"}, {"http://169.254.169.254/v1/interfaces/1/ipv4/netmask", "255.255.255.0"},
			{"http://169.254.169.254/v1/region/regioncode", "lab"}, {"http://169.254.169.254/v1/instanceid", "kiln-52-54-00-00-00-66"}, {"http://169.254.169.254/v1/public-keys", keys}}},
		{"digitalocean", "provider_digitalocean.go", nil, [][2]string{
			{ocean, "hostname\n"}, {ocean + "hostname", "unknown-525400000066"}, {ocean + "interfaces/public/0/ipv4/address", "192.0.2.9"}, {ocean + "interfaces/private/0/ipv4/address", "10.0.0.66"},
			{ocean + "region", "lab"}, {ocean + "id", "kiln-52-54-00-00-00-66"}, {ocean + "public-keys", keys}, {ocean + "user-data", user}}},
		// Over TLS, that is: the name is the cloud's, and the certificate must be one that the image trusts.
		{"equinixmetal", "provider_equinixmetal.go and packethost/packngo, metadata/metadata.go", nil, [][2]string{
			{"http://metadata.packet.net/metadata", `"hostname": "unknown-525400000066"`}, {"http://metadata.packet.net/userdata", user}}},
		{"metaldata", "provider_metaldata.go", nil, [][2]string{
			{"http://metaldata/get/meta/hostname", "unknown-525400000066"}, {"http://metaldata/get/meta/hostname", "unknown-525400000066"}, {"http://metaldata/get/meta/public-ipv4", "192.0.2.9"},
			{"http://metaldata/get/meta/private-ipv4", "10.0.0.66"}, {"http://metaldata/get/meta/failure-domain", "lab-1"}, {"http://metaldata/get/meta/machine-id", "kiln-52-54-00-00-00-66"},
			{"http://metaldata/get/meta/machine-type", "kiln"}, {"http://metaldata/get/meta/authorized-keys", keys}, {"http://metaldata/get/user", user}}},
	} {
		t.Run(p.provider, func(t *testing.T) {
			e := newEdge(in)
			e.Hosts = CloudHosts()
			for _, q := range p.requests {
				url, old := strings.CutPrefix(q[0], "HTTP/1.0 ")
				r := newRequest("GET", url, machine)
				if r.Host = r.URL.Host; old {
					r.Host, r.Proto, r.ProtoMinor = "", "HTTP/1.0", 0
				} else {
					r.Header.Set("User-Agent", "Go-http-client/1.1")
				}
				for k, v := range p.header {
					r.Header.Set(k, v)
				}
				w := answered(e, r)
				got := w.Body.String()
				listing := strings.HasSuffix(q[0], "/v1/")
				switch ok := w.Code == http.StatusOK; {
				case q[1] == user || strings.HasPrefix(q[1], `"`) || listing:
					if !ok || !strings.Contains(got, q[1]) {
						t.Errorf("%s (%s): %d %q, want %q in it", q[0], p.source, w.Code, got, q[1])
					}
				case !ok || got != q[1]:
					t.Errorf("%s (%s): %d %q, want %q", q[0], p.source, w.Code, got, q[1])
				}
			}
		})
	}
}

// What packngo makes of Equinix Metal's answer has the name and the keys, and no network card that LinuxKit would bond.
func TestEquinixMetalLeavesTheNetworkAlone(t *testing.T) {
	w := answered(newEdge(room()), newRequest("GET", "/metadata", "10.0.0.5:1"))
	var device struct { // packethost/packngo, metadata.CurrentDevice
		Error    string   `json:"error"`
		Hostname string   `json:"hostname"`
		SSHKeys  []string `json:"ssh_keys"`
		Tags     []string `json:"tags"`
		Network  struct {
			Interfaces []any `json:"interfaces"`
			Addresses  []any `json:"addresses"`
			Bonding    struct {
				Mode int `json:"mode"`
			} `json:"bonding"`
		} `json:"network"`
	}
	if err := json.Unmarshal(w.Body.Bytes(), &device); err != nil {
		t.Fatal(err)
	}
	if device.Error != "" || device.Hostname != "web-1.example" || len(device.SSHKeys) != 2 || len(device.Network.Interfaces)+len(device.Network.Addresses) > 0 || device.Network.Bonding.Mode != 1 {
		t.Errorf("got %+v", device)
	}
}

// EC2's own clients get its listing of keys where LinuxKit's provider for Hetzner gets the keys.
func TestEC2sKeysAreListedForItsClients(t *testing.T) {
	for _, c := range []struct{ path, agent, want string }{
		{"/latest/meta-data/public-keys", "curl/7.88", "0=kiln"},
		{"/latest/meta-data/public-keys/", "Go-http-client/1.1", "0=kiln"},
		{"/2009-04-04/meta-data/public-keys", "Go-http-client/1.1", "0=kiln"},
		{"/latest/meta-data/public-keys", "Go-http-client/1.1", "[\n  \"" + annKey},
	} {
		r := newRequest("GET", c.path, "10.0.0.5:1")
		r.Header.Set("User-Agent", c.agent)
		if w := answered(newEdge(room()), r); !strings.HasPrefix(w.Body.String(), c.want) {
			t.Errorf("%s as %s: %q, want %q", c.path, c.agent, w.Body, c.want)
		}
	}
}
