package linuxkit

import (
	"fmt"
	"sort"
	"strconv"
	"strings"

	"github.com/moby/sys/capability"

	"github.com/kiln-farm/kiln/internal/nearest"
)

// rlimits are the names that LinuxKit knows (moby/config.go ConfigToOCI), without RLIMIT_.
var rlimits = []string{
	"AS", "CORE", "CPU", "DATA", "FSIZE", "LOCKS", "MEMLOCK", "MSGQUEUE", "NICE", "NOFILE", "NPROC", "RSS",
	"RTPRIO", "RTTIME", "SIGPENDING", "STACK",
}

func knownCapabilities() map[string]bool {
	known := map[string]bool{}
	for _, c := range capability.ListKnown() {
		known["CAP_"+strings.ToUpper(c.String())] = true
	}
	return known
}

func (r *rules) container(c *value, where string) {
	r.image(c.get("image"), where+".image", false)
	for _, key := range []string{"capabilities", "capabilities.add", "ambient"} {
		r.capabilities(c.get(key), where+"."+key)
	}
	for _, key := range []string{"binds", "binds.add"} {
		for i, bind := range c.get(key).items() {
			r.bind(bind, fmt.Sprintf("%s.%s[%d]", where, key, i))
		}
	}
	for i, m := range c.get("mounts").items() {
		r.mount(m, fmt.Sprintf("%s.mounts[%d]", where, i))
	}
	for i, t := range c.get("tmpfs").items() {
		if strings.Count(t.str(), ":") > 1 {
			r.complain(t, "%s.tmpfs[%d] %s has more than one \":\"; write it like \"/tmp:size=2m,noexec\"", where, i, quoteShort(t.str()))
		}
	}
	for i, d := range c.get("devices").items() {
		r.device(d, fmt.Sprintf("%s.devices[%d]", where, i))
	}
	for i, l := range c.get("rlimits").items() {
		r.rlimit(l, fmt.Sprintf("%s.rlimits[%d]", where, i))
	}
	r.id(c.get("uid"), where+".uid")
	r.id(c.get("gid"), where+".gid")
	for i, g := range c.get("additionalGids").items() {
		r.id(g, fmt.Sprintf("%s.additionalGids[%d]", where, i))
	}
}

func (r *rules) capabilities(caps *value, where string) {
	items := caps.items()
	if len(items) == 1 && (strings.EqualFold(items[0].str(), "all") || strings.EqualFold(items[0].str(), "none")) {
		return
	}
	for _, c := range items {
		if r.caps[c.str()] {
			continue
		}
		hint := "write names such as CAP_NET_ADMIN, or \"all\" or \"none\" alone"
		names := make([]string, 0, len(r.caps))
		for name := range r.caps {
			names = append(names, name)
		}
		if n := nearest.To(c.str(), names); n != "" {
			hint = fmt.Sprintf("did you mean %q?", n)
		} else if full := "CAP_" + strings.ToUpper(c.str()); r.caps[full] {
			hint = fmt.Sprintf("did you mean %q?", full)
		}
		r.complain(c, "%s has the unknown capability %s; %s", where, quoteShort(c.str()), hint)
	}
}

func (r *rules) bind(bind *value, where string) {
	parts := strings.Split(bind.str(), ":")
	if len(parts) < 2 || len(parts) > 3 {
		r.complain(bind, "%s %s is not SOURCE:DESTINATION[:OPTIONS]; write it like \"/etc:/etc:ro\"", where, quoteShort(bind.str()))
		return
	}
	// LinuxKit wants the options of a read-only volume to be "ro" and nothing else.
	r.volume(bind, parts[0], where, len(parts) == 3 && parts[2] == "ro")
}

// defaultDestinations are the types of mounts whose place LinuxKit knows.
var defaultDestinations = map[string]bool{"proc": true, "devpts": true, "sysfs": true, "cgroup": true, "mqueue": true}

func (r *rules) mount(m *value, where string) {
	kind, source, destination := m.get("type").str(), m.get("source").str(), m.get("destination").str()
	if kind == "" && defaultDestinations[source] {
		kind = source
	}
	if kind == "" && destination == "/dev" {
		kind = "tmpfs"
	}
	switch {
	case kind == "":
		r.complain(m, "%s has no type; add one, such as \"type: tmpfs\" or \"type: bind\"", where)
	case destination == "" && !defaultDestinations[kind]:
		r.complain(m, "%s has no destination; add one, such as \"destination: /tmp\"", where)
	}
	if kind != "bind" {
		return
	}
	readOnly := false
	for _, o := range m.get("options").items() {
		if o.str() == "ro" || o.str() == "rw" {
			readOnly = o.str() == "ro"
			break
		}
	}
	r.volume(m, source, where, readOnly)
}

func (r *rules) device(d *value, where string) {
	if d.get("path").str() == "all" {
		return
	}
	mode := d.get("mode")
	if mode.str() == "" {
		r.complain(d, "%s has no mode; add one, such as mode: \"0666\"", where)
		return
	}
	if _, err := strconv.ParseInt(mode.str(), 8, 32); err != nil {
		r.complain(mode, "%s.mode %s is not an octal number; write it like \"0666\"", where, quoteShort(mode.str()))
	}
}

func (r *rules) rlimit(l *value, where string) {
	parts := strings.SplitN(l.str(), ",", 3)
	if len(parts) != 3 {
		r.complain(l, "%s %s is not NAME,SOFT,HARD; write it like \"nofile,1024,4096\"", where, quoteShort(l.str()))
		return
	}
	name := strings.TrimPrefix(strings.ToUpper(strings.TrimSpace(parts[0])), "RLIMIT_")
	if i := sort.SearchStrings(rlimits, name); i == len(rlimits) || rlimits[i] != name {
		r.complain(l, "%s has the unknown limit %s; known limits are %s", where, quoteShort(parts[0]), strings.ToLower(join(rlimits)))
	}
	for _, n := range parts[1:] {
		n = strings.TrimSpace(n)
		if _, err := strconv.ParseUint(n, 10, 64); err != nil && !strings.EqualFold(n, "unlimited") {
			r.complain(l, "%s has the limit %s, which is neither a number nor \"unlimited\"; write it like \"nofile,1024,4096\"", where, quoteShort(n))
		}
	}
}

// id checks that a user or group by name is a container's.
func (r *rules) id(v *value, where string) {
	if v == nil || v.number || r.ids[v.str()] {
		return
	}
	names := make([]string, 0, len(r.ids))
	for name := range r.ids {
		names = append(names, name)
	}
	hint := "write a number, root, or the name of an entry of onboot, onshutdown or services"
	if n := nearest.To(v.str(), names); n != "" {
		hint = fmt.Sprintf("did you mean %q?", n)
	}
	r.complain(v, "%s %s is nobody's name; %s", where, quoteShort(v.str()), hint)
}
