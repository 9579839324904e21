package config

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// metadata are the leaves below meta-data: those of EC2's categories that a machine without a cloud has
// (docs.aws.amazon.com/AWSEC2/latest/UserGuide/instancedata-data-categories.html). LinuxKit requires hostname and takes what
// else is there, each as it comes: no value ends with a line's end.
func (r *Record) metadata() map[string]string {
	leaves := map[string]string{
		"hostname":                    r.Boot.Hostname(),
		"local-hostname":              r.Boot.Hostname(),
		"instance-id":                 r.id(),
		"instance-type":               cmp.Or(r.Boot.Values[ValueInstanceType], "kiln"),
		"local-ipv4":                  r.ip(),
		"public-ipv4":                 r.Boot.Values[ValuePublicIPv4],
		"placement/availability-zone": r.Boot.Values[ValueAvailabilityZone],
		"mac":                         r.mac(),
		// One entry with all keys: LinuxKit reads the first only, and cloud-init takes one key from each line.
		"public-keys/0/openssh-key": strings.Join(r.Boot.SSHKeys, "\n"),
	}
	maps.DeleteFunc(leaves, func(_, v string) bool { return v == "" })
	return leaves
}

// versions are the first parts of EC2's paths that there are: what cloud-init and LinuxKit ask for.
func versions() []string { return []string{"2009-04-04", "latest"} }

// ec2 is a document below a version.
func (r *Record) ec2(path []string, secrets bool) (Content, error) {
	text := func(s string) (Content, error) { return Content{Type: plain, Body: s}, nil }
	switch {
	case len(path) == 0:
		list := "meta-data"
		if _, ok := r.Boot.Templates["user-data"]; ok {
			list += "\nuser-data"
		}
		return text(list)
	case path[0] == "user-data" && len(path) == 1:
		return r.userData(secrets)
	case path[0] != "meta-data":
		return Content{}, missing(path)
	}
	leaves, at := r.metadata(), strings.Join(path[1:], "/")
	if v, ok := leaves[at]; ok {
		return text(v)
	}
	if list := listing(leaves, at); list != "" {
		return text(list)
	}
	return Content{}, missing(path)
}

// listing is a directory as EC2 writes it: a name on each line, those of directories with "/", and keys with their number
// and name. "" is no directory.
func listing(leaves map[string]string, at string) string {
	if at != "" {
		at += "/"
	}
	children := map[string]bool{}
	for leaf := range leaves {
		rest, ok := strings.CutPrefix(leaf, at)
		if !ok {
			continue
		}
		name, _, directory := strings.Cut(rest, "/")
		if directory {
			name += "/"
		}
		if at == "public-keys/" {
			name = strings.TrimSuffix(name, "/") + "=kiln"
		}
		children[name] = true
	}
	return strings.Join(slices.Sorted(maps.Keys(children)), "\n")
}

// metaldata is a document of the small server of that name, which LinuxKit finds by the host name "metaldata"
// (pkg/metadata/provider_metaldata.go).
func (r *Record) metaldata(path []string, secrets bool) (Content, error) {
	leaves := map[string]string{
		"hostname":        r.Boot.Hostname(),
		"public-ipv4":     r.Boot.Values[ValuePublicIPv4],
		"private-ipv4":    r.ip(),
		"failure-domain":  r.Boot.Values[ValueAvailabilityZone],
		"machine-id":      r.id(),
		"machine-type":    cmp.Or(r.Boot.Values[ValueInstanceType], "kiln"),
		"authorized-keys": strings.Join(r.Boot.SSHKeys, "\n"),
	}
	switch {
	case len(path) == 1 && path[0] == "user":
		return r.userData(secrets)
	case len(path) == 2 && path[0] == "meta" && leaves[path[1]] != "":
		return Content{Type: plain, Body: leaves[path[1]]}, nil
	}
	return Content{}, missing(path)
}

func missing(path []string) error {
	return fmt.Errorf("%w as %s", ErrNotFound, quoted(strings.Join(path, "/")))
}

// isMissing: what is asked for is not there, which for optional documents is no fault.
func isMissing(err error) bool { return errors.Is(err, ErrNotFound) }
