package config

import (
	"errors"
	"fmt"
	"net"
	"strings"

	"github.com/kiln-farm/kiln/fleet"
)

// cloud is one whose machines ask for paths of its own. What each asks for is that of LinuxKit's metadata package
// (linuxkit/linuxkit, pkg/metadata/provider_*.go), whose names the functions have, and where it is more that of the cloud itself.
type cloud struct {
	under    string // the first part of its paths
	document func(r *Record, path []string, secrets bool) (Content, error)
}

func clouds() []cloud {
	return []cloud{
		{"computeMetadata", (*Record).gcp},
		{"hetzner", (*Record).hetzner},
		{"conf", (*Record).scaleway}, {"user_data", (*Record).scalewayUserData},
		{"v1", (*Record).vultr},
		{"metadata", (*Record).digitalOcean}, // and equinixMetal
		{"userdata", (*Record).equinixMetalUserData},
		{"get", (*Record).metaldata},
	}
}

// CloudHosts are the names beside addresses by which programs ask for a cloud's documents.
func CloudHosts() []string {
	return []string{"metadata.google.internal", "metadata", "metadata.packet.net", "metaldata", "instance-data", "instance-data."}
}

// withUserData are a cloud's leaves, with the user data at one of them.
func (r *Record) withUserData(l leaves, path []string, at string, secrets bool) (Content, error) {
	if strings.Join(path, "/") == at {
		return orEmpty(r.userData(secrets))
	}
	if _, ok := r.Boot.Templates[fleet.UserData]; ok {
		l[at] = "-" // for listings
	}
	return l.at(path)
}

// gcp is Google's metadata server (cloud.google.com/compute/docs/metadata/predefined-metadata-keys).
func (r *Record) gcp(path []string, secrets bool) (Content, error) {
	if len(path) > 0 && path[0] != "v1" {
		return Content{}, missing(path)
	}
	var keys []string
	for _, k := range r.Boot.SSHKeys {
		keys = append(keys, "root:"+k) // for whom a key is stands before it
	}
	l := leaves{
		"v1/project/project-id":                "kiln",
		"v1/project/attributes/ssh-keys":       strings.Join(keys, "\n"),
		"v1/instance/id":                       r.id(),
		"v1/instance/name":                     r.Boot.Name(),
		"v1/instance/hostname":                 r.Boot.Hostname(),
		"v1/instance/machine-type":             "projects/kiln/machineTypes/" + r.kind(),
		"v1/instance/zone":                     "",
		"v1/instance/network-interfaces/0/mac": r.mac(),
		"v1/instance/network-interfaces/0/ip":  r.ip(),
		"v1/instance/network-interfaces/0/access-configs/0/external-ip": r.Boot.Values[ValuePublicIPv4],
		"v1/instance/attributes/ssh-keys":                               "",
	}
	if z := r.zone(); z != "" {
		l["v1/instance/zone"] = "projects/kiln/zones/" + z
	}
	return r.withUserData(l, path, "v1/instance/attributes/user-data", secrets)
}

// hetzner is Hetzner's own tree (docs.hetzner.cloud/reference/cloud#server-metadata), in which keys are a list in JSON.
func (r *Record) hetzner(path []string, secrets bool) (Content, error) {
	if strings.Join(path, "/") == "v1/metadata/public-keys" {
		return asJSON(append([]string{}, r.Boot.SSHKeys...))
	}
	return r.withUserData(leaves{
		"v1/metadata/hostname": r.Boot.Hostname(), "v1/metadata/instance-id": r.id(), "v1/metadata/public-ipv4": r.Boot.Values[ValuePublicIPv4],
		"v1/metadata/local-ipv4": r.ip(), "v1/metadata/region": r.region(), "v1/metadata/availability-zone": r.zone(),
	}, path, "v1/userdata", secrets)
}

// scaleway is a file of shell variables. LinuxKit reads no value between quotes but keys.
func (r *Record) scaleway(path []string, _ bool) (Content, error) {
	if len(path) > 0 {
		return Content{}, missing(path)
	}
	var b strings.Builder
	line := func(name, value string) { fmt.Fprintf(&b, "%s=%s\n", name, value) }
	line("ID", r.id())
	line("NAME", r.Boot.Name())
	line("HOSTNAME", r.Boot.Hostname())
	line("COMMERCIAL_TYPE", plainWord(r.kind()))
	line("LOCATION_ZONE_ID", plainWord(r.zone()))
	if ip := r.Boot.Values[ValuePublicIPv4]; ip != "" {
		line("PUBLIC_IP_ADDRESS", plainWord(ip))
	}
	line("PRIVATE_IP", r.ip())
	line("SSH_PUBLIC_KEYS", fmt.Sprint(len(r.Boot.SSHKeys)))
	for i, k := range r.Boot.SSHKeys {
		line(fmt.Sprintf("SSH_PUBLIC_KEYS_%d_KEY", i), "'"+strings.ReplaceAll(k, "'", `'\''`)+"'")
	}
	return Content{Type: plain, Body: b.String()}, nil
}

// plainWord is a value of an operator's as one word that no shell does anything with.
func plainWord(s string) string {
	return strings.Map(func(c rune) rune {
		if c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || strings.ContainsRune("-_.:/", c) {
			return c
		}
		return '_'
	}, s)
}

func (r *Record) scalewayUserData(path []string, secrets bool) (Content, error) {
	return r.withUserData(leaves{}, path, "cloud-init", secrets)
}

// vultr has the public network card first (vultr.com/metadata).
func (r *Record) vultr(path []string, secrets bool) (Content, error) {
	address, mask := r.ipv4()
	return r.withUserData(leaves{
		"hostname": r.Boot.Hostname(), "instanceid": r.id(), "instance-v2-id": r.uuid(), "public-keys": strings.Join(r.Boot.SSHKeys, "\n"),
		"region/regioncode":         r.region(),
		"interfaces/0/ipv4/address": r.Boot.Values[ValuePublicIPv4], "interfaces/0/network-type": "public",
		"interfaces/1/ipv4/address": address, "interfaces/1/ipv4/netmask": mask, "interfaces/1/ipv4/gateway": r.machine().GetGateway(),
		"interfaces/1/mac": r.mac(), "interfaces/1/network-type": "private",
	}, path, "user-data", secrets)
}

// ipv4 is the machine's address and its netmask; "": not known.
func (r *Record) ipv4() (address, mask string) {
	p := r.address()
	if !p.IsValid() || !p.Addr().Is4() {
		return "", ""
	}
	return p.Addr().String(), net.IP(net.CIDRMask(p.Bits(), 32)).String()
}

// digitalOcean is below metadata/v1 (docs.digitalocean.com/reference/api/metadata); without more, metadata is Equinix Metal's.
func (r *Record) digitalOcean(path []string, secrets bool) (Content, error) {
	if len(path) == 0 {
		return asJSON(r.equinixMetal())
	}
	if path[0] != "v1" {
		return Content{}, missing(path)
	}
	if len(path) == 2 && path[1] == "vendor-data" {
		return orEmpty(r.fill(fleet.VendorData, secrets))
	}
	address, mask := r.ipv4()
	return r.withUserData(leaves{
		"id": r.id(), "hostname": r.Boot.Hostname(), "region": r.region(), "public-keys": strings.Join(r.Boot.SSHKeys, "\n"), "vendor-data": "",
		"interfaces/public/0/ipv4/address":  r.Boot.Values[ValuePublicIPv4],
		"interfaces/private/0/ipv4/address": address, "interfaces/private/0/ipv4/netmask": mask, "interfaces/private/0/ipv4/gateway": r.machine().GetGateway(),
		"interfaces/private/0/mac": r.mac(), "interfaces/private/0/type": "private",
		"dns/nameservers": strings.Join(r.machine().GetDns(), "\n"),
	}, path[1:], "user-data", secrets)
}

// equinixMetal is the machine as Equinix Metal (Packet) tells it. No network cards are named: whoever reads them takes their
// addresses away and bonds them, as that cloud wants it.
func (r *Record) equinixMetal() any {
	tags := []string{}
	return map[string]any{
		"id": r.uuid(), "hostname": r.Boot.Hostname(), "plan": r.kind(), "facility": r.zone(), "metro": r.region(), "tags": tags,
		"ssh_keys": append([]string{}, r.Boot.SSHKeys...),
		"network": map[string]any{
			"bonding": map[string]any{"mode": 1}, "interfaces": []any{}, "addresses": []any{},
		},
	}
}

func (r *Record) equinixMetalUserData(path []string, secrets bool) (Content, error) {
	if len(path) > 0 {
		return Content{}, missing(path)
	}
	return orEmpty(r.userData(secrets))
}

// metaldata is the small server of that name, which LinuxKit finds by the host name "metaldata".
func (r *Record) metaldata(path []string, secrets bool) (Content, error) {
	return r.withUserData(leaves{
		"meta/hostname":        r.Boot.Hostname(),
		"meta/public-ipv4":     r.Boot.Values[ValuePublicIPv4],
		"meta/private-ipv4":    r.ip(),
		"meta/failure-domain":  r.zone(),
		"meta/machine-id":      r.id(),
		"meta/machine-type":    r.kind(),
		"meta/authorized-keys": strings.Join(r.Boot.SSHKeys, "\n"),
	}, path, "user", secrets)
}

func missing(path []string) error {
	return fmt.Errorf("%w as %s", ErrNotFound, quoted(strings.Join(path, "/")))
}

// isMissing: what is asked for is not there, which for optional documents is no fault.
func isMissing(err error) bool { return errors.Is(err, ErrNotFound) }
