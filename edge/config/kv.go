package config

import (
	"encoding/base64"
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode/utf8"
)

// kv is the record for programs that read lines: key=value, sorted by key. A value that has a line's end or another control
// character, or is no UTF-8, is in base64 behind key.base64: no value can look like another line.
func (r *Record) kv() (Content, error) {
	all := map[string]string{
		"name": r.Boot.Name(), "hostname": r.Boot.Hostname(), "instance-id": r.id(), "uuid": r.uuid(), "mac": strings.Join(r.Boot.MACs(), " "),
		"address": r.ip(), "gateway": r.machine().GetGateway(), "dns": strings.Join(r.machine().GetDns(), " "),
		"release": r.Boot.Release.GetName(), "groups": strings.Join(r.Boot.Groups, " "),
	}
	if p := r.address(); p.IsValid() {
		all["prefix"] = fmt.Sprint(p.Bits())
	}
	maps.DeleteFunc(all, func(_, v string) bool { return v == "" })
	for i, k := range r.Boot.SSHKeys {
		all[fmt.Sprintf("ssh-key.%d", i)] = k
	}
	for k, v := range r.machine().GetLabels() {
		all["label."+k] = v
	}
	for k, v := range r.Boot.Values {
		all["value."+k] = v
	}
	var b strings.Builder
	for _, k := range slices.Sorted(maps.Keys(all)) {
		v := all[k]
		if !utf8.ValidString(v) || strings.ContainsFunc(v, func(c rune) bool { return c < ' ' || c == 0x7f || c == 0x85 || c == 0x2028 || c == 0x2029 }) {
			k, v = k+".base64", base64.StdEncoding.EncodeToString([]byte(v))
		}
		b.WriteString(k + "=" + v + "\n")
	}
	return Content{Type: plain, Body: b.String()}, nil
}
