package config

import (
	"encoding/json"
	"fmt"
	"net"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"

	"github.com/kiln-farm/kiln/fleet"
)

// nocloud is a document of cloud-init's NoCloud source with an http seed
// (docs.cloud-init.io/en/latest/reference/datasources/nocloud.html). All four are always there, if empty: cloud-init asks ten times, a
// second apart, for one that is not (util.read_seeded).
func (r *Record) nocloud(path []string, secrets bool) (Content, error) {
	if len(path) != 1 {
		return Content{}, missing(path)
	}
	switch path[0] {
	case "meta-data":
		return r.nocloudMetaData(secrets)
	case "user-data":
		return orEmpty(r.userData(secrets))
	case "vendor-data":
		return orEmpty(r.fill(fleet.VendorData, secrets))
	case "network-config":
		return orEmpty(r.fill(fleet.NetworkConfig, secrets))
	}
	return Content{}, missing(path)
}

// nocloudMetaData is what cloud-init must know, with what the template says before it.
func (r *Record) nocloudMetaData(secrets bool) (Content, error) {
	c, err := r.fill(fleet.MetaData, secrets)
	if err != nil && !isMissing(err) {
		return c, err
	}
	known := map[string]any{}
	if err == nil {
		if known, err = yamlMapping(c.Body); err != nil {
			return c, r.fault(c, err)
		}
	}
	for key, v := range map[string]any{"instance-id": r.id(), "local-hostname": r.Boot.Hostname(), "public-keys": r.Boot.SSHKeys} {
		if keys, ok := v.([]string); ok && len(keys) == 0 {
			continue
		}
		if _, ok := known[key]; !ok {
			known[key] = v
		}
	}
	text, err := yaml.Marshal(known)
	if err != nil {
		return c, fmt.Errorf("meta-data of machine %s: %w", r.Boot.Name(), err)
	}
	c.Type, c.Body = plain, string(text)
	return c, nil
}

// yamlMapping reads a template's text that is to be a mapping.
func yamlMapping(text string) (out map[string]any, err error) {
	defer func() {
		if p := recover(); p != nil { // the YAML parser's
			out, err = nil, fmt.Errorf("it is not YAML: %v", p)
		}
	}()
	if err := yaml.Unmarshal([]byte(text), &out); err != nil {
		return nil, fmt.Errorf("it is not a YAML mapping (%s); write lines like \"key: value\"", strings.TrimPrefix(strings.ReplaceAll(err.Error(), "\n", " "), "yaml: "))
	}
	if out == nil {
		out = map[string]any{}
	}
	return out, nil
}

// openstack is a document of OpenStack's metadata service (docs.openstack.org/nova/latest/user/metadata.html), as cloud-init
// reads it (docs.cloud-init.io/en/latest/reference/datasources/openstack.html).
func (r *Record) openstack(path []string, secrets bool) (Content, error) {
	switch {
	case len(path) == 0:
		return Content{Type: plain, Body: strings.Join(openstackVersions(), "\n")}, nil
	case !slices.Contains(openstackVersions(), path[0]) || len(path) > 2:
		return Content{}, missing(path)
	case len(path) == 1:
		return Content{Type: plain, Body: "meta_data.json\nuser_data\nvendor_data.json\nvendor_data2.json\nnetwork_data.json"}, nil
	}
	switch path[1] {
	case "meta_data.json":
		return asJSON(r.openstackMetaData())
	case "user_data":
		return orEmpty(r.userData(secrets))
	case "vendor_data.json":
		return r.openstackVendorData(secrets)
	case "vendor_data2.json": // the vendor's other one, which comes from nobody here
		return Content{Type: jsonType, Body: "{}", Absent: true}, nil
	case "network_data.json":
		return asJSON(r.openstackNetwork())
	}
	return Content{}, missing(path)
}

// openstackVersions are the first parts of OpenStack's paths, the oldest first. All are the same tree.
func openstackVersions() []string {
	return []string{"2012-08-10", "2013-04-04", "2013-10-17", "2015-10-15", "2016-06-30", "2016-10-06", "2017-02-22", "2018-08-27", "2020-10-14", "latest"}
}

func (r *Record) openstackMetaData() any {
	type key struct {
		Name string `json:"name"`
		Type string `json:"type"`
		Data string `json:"data"`
	}
	keys, public := []key{}, map[string]string{}
	for i, k := range r.Boot.SSHKeys {
		name := fmt.Sprintf("kiln-%d", i)
		keys = append(keys, key{name, "ssh", k})
		public[name] = k
	}
	labels := r.machine().GetLabels()
	if labels == nil {
		labels = map[string]string{}
	}
	return map[string]any{
		"uuid": r.uuid(), "name": r.Boot.Name(), "hostname": r.Boot.Hostname(), "launch_index": 0,
		"availability_zone": r.zone(), "keys": keys, "public_keys": public, "meta": labels,
	}
}

// openstackVendorData is JSON: the template's, or its text where cloud-init looks for such.
func (r *Record) openstackVendorData(secrets bool) (Content, error) {
	c, err := r.fill(fleet.VendorData, secrets)
	switch {
	case isMissing(err):
		return Content{Type: jsonType, Body: "{}", Absent: true}, nil
	case err != nil:
		return c, err
	}
	c.Type = jsonType
	if json.Valid([]byte(c.Body)) {
		return c, nil
	}
	wrapped, err := asJSON(map[string]string{"cloud-init": c.Body})
	c.Body = wrapped.Body
	return c, err
}

// openstackNetwork is the first network card with the machine's fixed address or with DHCP, and the other ones without.
func (r *Record) openstackNetwork() any {
	links, networks, services := []any{}, []any{}, []any{}
	for i, mac := range r.Boot.MACs() {
		links = append(links, map[string]any{"id": fmt.Sprintf("nic%d", i), "type": "phy", "ethernet_mac_address": mac})
	}
	if len(links) == 0 { // nobody knows its cards: its own configuration holds
		return map[string]any{"links": links, "networks": networks, "services": services}
	}
	network := map[string]any{"id": "network0", "network_id": "network0", "link": "nic0", "type": "ipv4_dhcp"}
	if p, err := fleet.Address(r.machine().GetAddress()); err == nil {
		network["type"] = "ipv4"
		network["ip_address"] = p.Addr().String()
		network["netmask"] = net.IP(net.CIDRMask(p.Bits(), 32)).String()
		routes := []any{}
		if g := r.machine().GetGateway(); g != "" {
			routes = append(routes, map[string]any{"network": "0.0.0.0", "netmask": "0.0.0.0", "gateway": g})
		}
		network["routes"] = routes
	}
	networks = append(networks, network)
	for _, d := range r.machine().GetDns() {
		services = append(services, map[string]any{"type": "dns", "address": d})
	}
	return map[string]any{"links": links, "networks": networks, "services": services}
}

func asJSON(v any) (Content, error) {
	text, err := json.MarshalIndent(v, "", "  ")
	return Content{Type: jsonType, Body: string(text)}, err
}
