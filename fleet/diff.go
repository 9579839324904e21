package fleet

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
)

// Op is what becomes of an object or a field.
type Op byte

// What becomes of objects and fields, as it is drawn.
const (
	Added   Op = '+'
	Removed Op = '-'
	Changed Op = '~'
)

// Change is what becomes of one object.
type Change struct {
	Op     Op
	Kind   string // KindRelease, KindGroup, KindMachine; kindIntent for the key
	Name   string
	Fields []FieldChange // none of what is removed
}

// FieldChange is what becomes of a field. Old and New of a secret are empty.
type FieldChange struct {
	Op       Op
	Name     string // "release", "labels.role", "templates.user-data"
	Old, New string
	Secret   bool
}

// Diff says what makes new of old: releases, groups, subnets and machines, each in the order of their names. Revisions and times are
// no differences.
func Diff(old, new *kilnv1.Intent) []Change {
	var out []Change
	out = append(out, differ(KindRelease, old.GetReleases(), new.GetReleases(), releaseFields)...)
	out = append(out, differ(KindGroup, old.GetGroups(), new.GetGroups(), groupFields)...)
	out = append(out, differ(KindSubnet, old.GetSubnets(), new.GetSubnets(), subnetFields)...)
	out = append(out, differ(KindMachine, old.GetMachines(), new.GetMachines(), machineFields)...)
	if fields := compare(
		[]field{{name: "token_key", value: string(old.GetTokenKey()), secret: true}},
		[]field{{name: "token_key", value: string(new.GetTokenKey()), secret: true}}); len(fields) > 0 {
		out = append(out, Change{Op: Changed, Kind: kindIntent, Name: "keys", Fields: fields})
	}
	return out
}

func differ[T interface{ GetName() string }](kind string, old, new []T, fields func(T) []field) []Change {
	was, is := named(old), named(new)
	names := map[string]bool{}
	for n := range was {
		names[n] = true
	}
	for n := range is {
		names[n] = true
	}
	var out []Change
	for _, n := range slices.Sorted(maps.Keys(names)) {
		a, had := was[n]
		b, has := is[n]
		c := Change{Op: Changed, Kind: kind, Name: n}
		switch {
		case !has:
			c.Op = Removed
		case !had:
			c.Op, c.Fields = Added, compare(nil, fields(b))
		default:
			if c.Fields = compare(fields(a), fields(b)); len(c.Fields) == 0 {
				continue
			}
		}
		out = append(out, c)
	}
	return out
}

func named[T interface{ GetName() string }](all []T) map[string]T {
	out := make(map[string]T, len(all))
	for _, v := range all {
		if _, ok := out[v.GetName()]; !ok { // as in an Index
			out[v.GetName()] = v
		}
	}
	return out
}

// field is a field of an object: its empty value is that it is not there.
type field struct {
	name, value string
	secret      bool
}

// compare says what differs, in the order of new and then of old.
func compare(old, new []field) []FieldChange {
	was := make(map[string]string, len(old))
	for _, f := range old {
		was[f.name] = f.value
	}
	var out []FieldChange
	add := func(f field, before, after string) {
		c := FieldChange{Op: Changed, Name: f.name, Old: before, New: after, Secret: f.secret}
		switch {
		case before == after:
			return
		case before == "":
			c.Op = Added
		case after == "":
			c.Op = Removed
		}
		if f.secret {
			c.Old, c.New = "", ""
		}
		out = append(out, c)
	}
	seen := map[string]bool{}
	for _, f := range new {
		seen[f.name] = true
		add(f, was[f.name], f.value)
	}
	for _, f := range old {
		if !seen[f.name] {
			add(f, f.value, "")
		}
	}
	return out
}

func machineFields(m *kilnv1.Machine) []field {
	out := []field{
		{name: "macs", value: strings.Join(m.GetMacs(), ", ")}, {name: "uuid", value: m.GetUuid()},
	}
	out = append(out, mapped("labels", m.GetLabels(), false)...)
	out = append(out, field{name: "hostname", value: m.GetHostname()}, field{name: "address", value: m.GetAddress()}, field{name: "address6", value: m.GetAddress6()},
		field{name: "gateway", value: m.GetGateway()}, field{name: "dns", value: strings.Join(m.GetDns(), ", ")})
	out = append(out, keys(m.GetSshKeys())...)
	out = append(out, mapped("values", m.GetValues(), false)...)
	out = append(out, mapped("templates", m.GetTemplates(), false)...)
	out = append(out, mapped("secrets", m.GetSecrets(), true)...)
	return append(out, flag("confirmed", m.GetConfirmed()), flag("local_disk", m.GetLocalDisk()), field{name: "boot_once", value: m.GetBootOnce()},
		cmdlineField(m.GetCmdline(), m.GetCmdlineReplaces()))
}

func cmdlineField(text string, replaces bool) field {
	if !replaces {
		return field{name: "cmdline", value: text}
	}
	if text == "" {
		text = `""`
	}
	return field{name: "cmdline.replace", value: text}
}

func groupFields(g *kilnv1.Group) []field {
	out := mapped("selector", g.GetSelector(), false)
	out = append(out, field{name: "priority", value: strconv.Itoa(int(g.GetPriority()))}, field{name: "release", value: g.GetRelease()},
		cmdlineField(g.GetCmdline(), g.GetCmdlineReplaces()))
	out = append(out, keys(g.GetSshKeys())...)
	out = append(out, mapped("values", g.GetValues(), false)...)
	out = append(out, mapped("templates", g.GetTemplates(), false)...)
	return append(out, flag("unknown", g.GetUnknown()), field{name: "boot", value: g.GetBoot()})
}

func releaseFields(r *kilnv1.Release) []field {
	out := []field{{name: "build", value: r.GetBuild()}, cmdlineField(r.GetCmdline(), r.GetCmdlineReplaces())}
	for _, p := range slices.Sorted(maps.Keys(r.GetPlatforms())) {
		f := r.GetPlatforms()[p]
		out = append(out, field{name: p + ".kernel", value: file(f.GetKernel())})
		for i, initrd := range f.GetInitrds() {
			out = append(out, field{name: fmt.Sprintf("%s.initrd[%d]", p, i), value: file(initrd)})
		}
		out = append(out, field{name: p + ".uki", value: file(f.GetUki())}, field{name: p + ".cmdline", value: f.GetCmdline()})
	}
	return out
}

func file(f *kilnv1.FileRef) string {
	if f == nil {
		return ""
	}
	if f.GetDigest() == "" {
		return "a file that is not uploaded"
	}
	return fmt.Sprintf("%s (%d bytes)", f.GetDigest(), f.GetSize())
}

// mapped are the entries of a map, one that is there and empty told from one that is not.
func mapped(name string, all map[string]string, secret bool) []field {
	var out []field
	for _, key := range slices.Sorted(maps.Keys(all)) {
		v := all[key]
		if v == "" && !secret {
			v = `""`
		}
		out = append(out, field{name: name + "." + key, value: v, secret: secret})
	}
	return out
}

// keys are lines of authorized_keys, each a field of its own: the order of keys means nothing.
func keys(lines []string) []field {
	var out []field
	for _, line := range lines {
		out = append(out, field{name: "ssh_keys." + keyName(line), value: line})
	}
	return out
}

// keyName is short and tells keys apart: the end of the key, and whose it is.
func keyName(line string) string {
	words := strings.Fields(line)
	for i, w := range words {
		if strings.HasPrefix(w, "AAAA") && i > 0 {
			tail := w[max(4, len(w)-8):]
			return strings.Join(append([]string{tail}, words[i+1:]...), " ")
		}
	}
	return line
}

func flag(name string, v bool) field {
	if v {
		return field{name: name, value: "true"}
	}
	return field{name: name}
}
