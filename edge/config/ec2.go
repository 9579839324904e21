package config

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/kiln-farm/kiln/fleet"
)

// versions are the first parts of EC2's paths, the oldest first: clients ask for the date that they were made for, and take an
// older one where there is none (docs.aws.amazon.com/AWSEC2/latest/UserGuide/configuring-instance-metadata-service.html). All are
// the same tree.
func versions() []string {
	return []string{"1.0", "2007-01-19", "2007-03-01", "2007-08-29", "2007-10-10", "2007-12-15", "2008-02-01", "2008-09-01", "2009-04-04", "2011-01-01",
		"2011-05-01", "2012-01-12", "2014-02-25", "2014-11-05", "2015-10-20", "2016-04-19", "2016-06-30", "2016-09-02", "2018-03-28", "2018-08-17",
		"2018-09-24", "2019-10-01", "2020-10-27", "2021-01-03", "2021-03-23", "2021-07-15", "2022-09-24", "2024-04-11", "latest"}
}

// isEC2 says whether the parts of a path are one of EC2's documents.
func isEC2(parts []string) bool { return len(parts) > 0 && slices.Contains(versions(), parts[0]) }

// metadata are the leaves below meta-data: those of EC2's categories that a machine without a cloud has
// (docs.aws.amazon.com/AWSEC2/latest/UserGuide/instancedata-data-categories.html). LinuxKit requires hostname and takes what
// else is there, each as it comes: no value ends with a line's end.
func (r *Record) metadata() leaves {
	l := leaves{
		"ami-id":           r.Boot.Release.GetName(),
		"ami-launch-index": "0",
		"hostname":         r.Boot.Hostname(),
		"local-hostname":   r.Boot.Hostname(),
		"instance-id":      r.id(),
		"instance-type":    r.kind(),
		"local-ipv4":       r.ip(),
		"public-ipv4":      r.Boot.Values[ValuePublicIPv4],
		"public-hostname":  "",
		"mac":              r.mac(),
		// One entry with all keys: LinuxKit reads the first only, and cloud-init takes one key from each line.
		"public-keys/0/openssh-key":   strings.Join(r.Boot.SSHKeys, "\n"),
		"placement/availability-zone": r.zone(),
		"placement/region":            r.region(),
	}
	for _, name := range placements() {
		l["placement/"+name] = r.machine().GetLabels()[name]
	}
	for i, mac := range r.Boot.MACs() {
		card := leaves{"mac": mac, "device-number": fmt.Sprint(i), "local-hostname": r.Boot.Hostname()}
		if p := r.address(); i == 0 && p.IsValid() {
			card["local-ipv4s"], card["subnet-ipv4-cidr-block"] = r.ip(), p.Masked().String()
		}
		l.below("network/interfaces/macs/"+mac, card)
	}
	return l
}

// placements are the labels that stand below placement as they are called.
func placements() []string {
	return []string{"availability-zone-id", "group-name", "host-id", "partition-number"}
}

// kind is the machine's type.
func (r *Record) kind() string { return cmp.Or(r.Boot.Values[ValueInstanceType], "kiln") }

// zone is where the machine is, as its values or its labels say; "": nobody said.
func (r *Record) zone() string {
	l := r.machine().GetLabels()
	return cmp.Or(r.Boot.Values[ValueAvailabilityZone], l["availability-zone"], l["zone"], l["topology.kubernetes.io/zone"])
}

// region is what the zone is in.
func (r *Record) region() string {
	l := r.machine().GetLabels()
	return cmp.Or(r.Boot.Values[ValueRegion], l["region"], l["topology.kubernetes.io/region"])
}

// ec2 is a document below a version.
func (r *Record) ec2(path []string, secrets bool) (Content, error) {
	switch {
	case len(path) == 0:
		list := "dynamic\nmeta-data"
		if _, ok := r.Boot.Templates[fleet.UserData]; ok {
			list += "\nuser-data"
		}
		return Content{Type: plain, Body: list}, nil
	case path[0] == "user-data" && len(path) == 1:
		return orEmpty(r.userData(secrets))
	case path[0] == "meta-data":
		return r.metadata().at(path[1:])
	case path[0] == "dynamic":
		c, err := leaves{"instance-identity/document": "{}"}.at(path[1:])
		if err == nil && len(path) == 3 {
			return asJSON(r.identity())
		}
		return c, err
	}
	return Content{}, missing(path)
}

// identity is the instance identity document, without the parts that only a cloud has, and without a signature
// (docs.aws.amazon.com/AWSEC2/latest/UserGuide/instance-identity-documents.html).
func (r *Record) identity() any {
	doc := map[string]any{
		"version": "2017-09-30", "accountId": "000000000000", "instanceId": r.id(), "instanceType": r.kind(), "imageId": r.Boot.Release.GetName(),
		"availabilityZone": r.zone(), "region": r.region(), "privateIp": r.ip(),
	}
	platforms := slices.Collect(maps.Keys(r.Boot.Release.GetPlatforms()))
	if arch, ok := map[string]string{"linux/amd64": "x86_64", "linux/arm64": "arm64"}[strings.Join(platforms, " ")]; ok {
		doc["architecture"] = arch
	}
	return doc
}
