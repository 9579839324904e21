package fleet

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"golang.org/x/crypto/ssh"

	"github.com/kiln-farm/kiln/fleet/templates"
	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
)

// Check tells everything that is wrong with an intent. An intent without problems is safe to boot from.
func Check(in *kilnv1.Intent) Problems { return check(in, nil, false) }

// CheckChange is Check of what an intent becomes, less what was wrong with it before: a rule that is newer than an intent stops no
// change but those that break it.
func CheckChange(now, next *kilnv1.Intent) Problems {
	problems := Check(next)
	if len(problems) == 0 {
		return nil
	}
	known := map[string]bool{}
	for _, s := range Check(now).Sentences() {
		known[s] = true
	}
	return slices.DeleteFunc(problems, func(p Problem) bool { return known[p.String()] })
}

// check with draft lets releases lack what an upload or a build will give them, and knows releases that are elsewhere.
func check(in *kilnv1.Intent, releases []string, draft bool) Problems {
	c := &checker{in: in, draft: draft, releases: map[string]bool{}, texts: map[string]compiled{}, keys: map[string]error{}}
	for _, r := range releases {
		c.releases[r] = true
	}
	for _, r := range in.GetReleases() {
		c.releases[r.GetName()] = true
	}
	c.machines()
	c.groups()
	if n := len(in.GetGroups()); n > maxGroups {
		c.object = Problem{Kind: kindIntent}
		c.complain("groups", "there are %d groups, more than %d; give what machines do not share to the machines", n, maxGroups)
	} else {
		c.decided()
	}
	names := map[string]bool{}
	for i, r := range in.GetReleases() {
		c.at(KindRelease, i, r.GetName()).release(r, names)
	}
	if len(c.problems) == 0 { // what is wrong with a part would only be told again
		c.lines()
	}
	c.subnets()
	if n := len(in.GetTokenKey()); n != 0 && n != 32 {
		c.object = Problem{Kind: kindIntent}
		c.complain("token_key", "the key of boot tokens has %d bytes, not 32; make it anew", n)
	}
	return c.problems
}

// compiled is a template, or why it is none.
type compiled struct {
	template *templates.Template
	err      error
}

type checker struct {
	in       *kilnv1.Intent
	draft    bool
	releases map[string]bool
	texts    map[string]compiled
	keys     map[string]error // likewise of lines of authorized_keys
	object   Problem          // whose fields are checked
	problems Problems
}

func (c *checker) at(kind string, index int, name string) *checker {
	c.object = Problem{Kind: kind, Index: index, Name: name}
	return c
}

func (c *checker) complain(field, format string, args ...any) {
	if len(c.problems) < maxProblems {
		p := c.object
		p.Field, p.Text = field, fmt.Sprintf(format, args...)
		c.problems = append(c.problems, p)
	}
}

// complainOf complains about what is wrong within a template.
func (c *checker) complainOf(field string, err error, format string, args ...any) {
	before := len(c.problems)
	c.complain(field, format, args...)
	if len(c.problems) > before {
		c.problems[before].err = err
	}
}

func (c *checker) must(field string, err error) bool {
	if err != nil {
		c.complain(field, "%s", err)
	}
	return err == nil
}

// once complains about what another object has already; seen has who.
func (c *checker) once(seen map[string]string, field, what, value, name string) {
	if first, ok := seen[value]; ok {
		c.complain(field, "%s %s is that of %s already; change one of them", what, quote(value), first)
		return
	}
	seen[value] = c.object.Kind + " " + bare(name)
}

func (c *checker) machines() {
	names, macs, uuids, addresses := map[string]string{}, map[string]string{}, map[string]string{}, map[string]string{}
	for i, m := range c.in.GetMachines() {
		c.at(KindMachine, i, m.GetName())
		if c.must("name", machineName(m.GetName())) {
			if _, ok := names[m.GetName()]; ok {
				c.complain("name", "there is another machine of that name; rename one of them")
			}
			names[m.GetName()] = ""
		}
		for j, mac := range m.GetMacs() {
			normal, err := MAC(mac)
			if !c.must(fmt.Sprintf("macs[%d]", j), err) {
				continue
			}
			if normal != mac {
				c.complain(fmt.Sprintf("macs[%d]", j), "the MAC %s is not written as Kiln compares it; write %q", quote(mac), normal)
			}
			c.once(macs, fmt.Sprintf("macs[%d]", j), "the MAC", normal, m.GetName())
		}
		if m.GetUuid() != "" {
			if normal, err := UUID(m.GetUuid()); c.must("uuid", err) {
				if normal != m.GetUuid() {
					c.complain("uuid", "the UUID %s is not written as Kiln compares it; write %q", quote(m.GetUuid()), normal)
				}
				c.once(uuids, "uuid", "the UUID", normal, m.GetName())
			}
		}
		if len(m.GetMacs()) == 0 && m.GetUuid() == "" {
			c.complain("macs", "it has neither a MAC nor a UUID, so that nothing that boots is it; add one")
		}
		if m.GetHostname() != "" {
			c.must("hostname", hostName(m.GetHostname()))
		}
		c.network(m, addresses)
		c.labels("labels", m.GetLabels())
		c.shared(m.GetSshKeys(), m.GetValues(), m.GetTemplates())
		c.named("secrets", m.GetSecrets())
		c.knows("boot_once", m.GetBootOnce())
		c.cmdline("cmdline", m.GetCmdline())
	}
}

func (c *checker) network(m *kilnv1.Machine, addresses map[string]string) {
	var own netip.Prefix
	if m.GetAddress() != "" {
		var err error
		if own, err = Address(m.GetAddress()); c.must("address", err) {
			c.once(addresses, "address", "the address", own.Addr().String(), m.GetName())
		}
	}
	if m.GetAddress6() != "" {
		if own6, err := Address6(m.GetAddress6()); c.must("address6", err) {
			if normal := own6.String(); normal != m.GetAddress6() {
				c.complain("address6", "the address %s is not written as Kiln compares it; write %q", quote(m.GetAddress6()), normal)
			}
			c.once(addresses, "address6", "the address", own6.Addr().String(), m.GetName())
		}
	}
	if g := m.GetGateway(); g != "" {
		gateway, err := netip.ParseAddr(g)
		switch {
		case err != nil || !gateway.Is4():
			c.complain("gateway", "the gateway %s is not an IPv4 address; write it like \"10.0.0.1\"", quote(g))
		case m.GetAddress() == "":
			c.complain("gateway", "it has a gateway and no address; give it one, or leave the gateway to the site's DHCP")
		case own.IsValid() && (!own.Contains(gateway) || gateway == own.Addr()):
			c.complain("gateway", "the gateway %s is not another machine in the network of %s; correct one of them", g, m.GetAddress())
		}
	}
	for i, d := range m.GetDns() {
		if a, err := netip.ParseAddr(d); err != nil || a.Zone() != "" || a.IsUnspecified() || a.IsMulticast() {
			c.complain(fmt.Sprintf("dns[%d]", i), "the name server %s is not an IP address; write it like \"10.0.0.1\"", quote(d))
		}
	}
}

// shared checks what machines and groups both have.
func (c *checker) shared(keys []string, values, texts map[string]string) {
	for i, k := range keys {
		c.must(fmt.Sprintf("ssh_keys[%d]", i), c.key(k))
	}
	c.named("values", values)
	for _, kind := range slices.Sorted(maps.Keys(texts)) {
		if !slices.Contains(Kinds(), kind) {
			c.complain("templates", "there is no template %s; there are %s", quote(kind), join(Kinds()))
			continue
		}
		if _, err := c.compile(texts[kind]); err != nil {
			c.complainOf("templates."+kind, err, "its template %s does not compile: %s", kind, err)
		}
	}
}

func (c *checker) key(line string) error {
	err, known := c.keys[line]
	if !known {
		err = SSHKey(line)
		c.keys[line] = err
	}
	return err
}

// SSHKey checks a line of authorized_keys (sshd(8), AUTHORIZED_KEYS FILE FORMAT).
func SSHKey(line string) error {
	const remedy = `write one line like "ssh-ed25519 AAAA… who"`
	if len(line) > maxKeyLine {
		return fmt.Errorf("an SSH key has %d bytes, more than %d; %s", len(line), maxKeyLine, remedy)
	}
	if strings.ContainsFunc(line, func(c rune) bool { return c < ' ' && c != '\t' || c == 0x7f }) {
		return errors.New("an SSH key holds a line break or another control character; " + remedy)
	}
	if strings.HasPrefix(strings.TrimSpace(line), "#") || strings.Contains(line, "PRIVATE KEY") {
		return fmt.Errorf("%s is not an SSH key; %s", quote(line), remedy)
	}
	if _, _, _, rest, err := ssh.ParseAuthorizedKey([]byte(line)); err != nil || len(rest) > 0 {
		return fmt.Errorf("%s is not an SSH key; %s", quote(line), remedy)
	}
	return nil
}

// named checks the names of values or secrets, and never shows what they hold.
func (c *checker) named(field string, all map[string]string) {
	for _, name := range slices.Sorted(maps.Keys(all)) {
		if !c.must(field, valueName(name)) {
			continue
		}
		switch v := all[name]; {
		case len(v) > maxValue:
			c.complain(field+"."+name, "%s.%s has %d bytes, more than %d; put it into the image", field, name, len(v), maxValue)
		case strings.ContainsRune(v, 0):
			c.complain(field+"."+name, "%s.%s holds a NUL; write it in base64", field, name)
		case field == "secrets" && v == "":
			c.complain(field+"."+name, "secrets.%s is empty; give it a value or leave it out", name)
		}
	}
}

func (c *checker) labels(field string, all map[string]string) {
	for _, key := range slices.Sorted(maps.Keys(all)) {
		if c.must(field, labelKey(key)) {
			c.must(field+"."+key, labelValue(all[key]))
		}
	}
}

func (c *checker) knows(field, release string) {
	if release != "" && !c.releases[release] {
		known := slices.Sorted(maps.Keys(c.releases))
		c.complain(field, "%s names the release %s, which is not there; %s", field, quote(release), suggest(release, known, "make the release first"))
	}
}

func (c *checker) groups() {
	names := map[string]bool{}
	for i, g := range c.in.GetGroups() {
		c.at(KindGroup, i, g.GetName())
		if c.must("name", objectName(g.GetName())) {
			if names[g.GetName()] {
				c.complain("name", "there is another group of that name; rename one of them")
			}
			names[g.GetName()] = true
		}
		if len(g.GetSelector()) > maxSelector {
			c.complain("selector", "the selector has %d labels, more than %d; use fewer", len(g.GetSelector()), maxSelector)
		}
		c.labels("selector", g.GetSelector())
		c.knows("release", g.GetRelease())
		c.cmdline("cmdline", g.GetCmdline())
		c.way(g)
		c.shared(g.GetSshKeys(), g.GetValues(), g.GetTemplates())
	}
}

// way checks how a group's machines boot.
func (c *checker) way(g *kilnv1.Group) {
	ways := []string{BootLoader, BootUKI}
	if g.GetBoot() != "" && !slices.Contains(ways, g.GetBoot()) {
		c.complain("boot", "boot is %s, which is no way to boot; %s", quote(g.GetBoot()), suggest(g.GetBoot(), ways, ""))
	}
	if g.GetBoot() != BootUKI {
		return
	}
	for _, r := range c.in.GetReleases() {
		if r.GetName() != g.GetRelease() || len(r.GetPlatforms()) == 0 {
			continue
		}
		if !slices.ContainsFunc(slices.Collect(maps.Values(r.GetPlatforms())), func(f *kilnv1.ReleaseFiles) bool { return f.GetUki() != nil }) {
			c.complain("boot", "boot is %q, and the release %s has no unified kernel image; build it with --format uki, too", BootUKI, quote(r.GetName()))
		}
	}
}

// cmdline checks what somebody says of the command line. A template is filled for each machine later.
func (c *checker) cmdline(field, s string) {
	if isTemplate(s) {
		_, err := c.compile(s)
		if err != nil {
			c.complainOf(field, err, "its cmdline does not compile: %s", err)
		}
		return
	}
	c.must(field, checkCmdline(s))
}

// compile compiles each text once: machines share them.
func (c *checker) compile(text string) (*templates.Template, error) {
	known, ok := c.texts[text]
	if !ok {
		known.template, known.err = templates.Compile(text)
		c.texts[text] = known
	}
	return known.template, known.err
}

// decided complains about two groups of equal priority that select one machine, once for each two.
func (c *checker) decided() {
	index := NewIndex(c.in)
	places := map[*kilnv1.Group]int{}
	for i, g := range c.in.GetGroups() {
		places[g] = i
	}
	told := map[[2]int]bool{}
	tell := func(groups []*kilnv1.Group, what string) {
		for i := 1; i < len(groups); i++ {
			a, b := places[groups[i-1]], places[groups[i]]
			if groups[i-1].GetPriority() != groups[i].GetPriority() || told[[2]int{a, b}] {
				continue
			}
			told[[2]int{a, b}] = true
			first, second := min(a, b), max(a, b)
			c.at(KindGroup, second, c.in.GetGroups()[second].GetName()).complain("priority",
				"its priority %d is that of group %s too, and both select %s; give one of them a higher priority",
				groups[i].GetPriority(), bare(c.in.GetGroups()[first].GetName()), what)
		}
	}
	for _, m := range c.in.GetMachines() {
		if len(c.problems) >= maxProblems {
			return
		}
		tell(index.selecting(m.GetLabels()), "machine "+bare(m.GetName()))
	}
	tell(index.unknown, "machines that nobody described")
}
