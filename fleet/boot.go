package fleet

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
)

var (
	// ErrUnknown: nobody described the machine, and no group is for such machines.
	ErrUnknown = errors.New("nobody described this machine")
	// ErrNoRelease: the machine has a configuration and nothing to boot.
	ErrNoRelease = errors.New("there is nothing to boot")
)

// Identity is what something that boots says of itself. Nothing of it is proof.
type Identity struct {
	MAC    string
	UUID   string // SMBIOS
	Serial string // of the system; shown to people, never compared
}

// How a machine was recognised.
const (
	ByMAC  = "MAC"
	ByUUID = "UUID"
	ByName = "name"
)

// Boot is what a machine boots and is configured with.
type Boot struct {
	Machine  *kilnv1.Machine // nil: nobody described it
	Identity Identity        // what it said, in the form that intents have
	By       string          // how it was recognised; empty: not at all
	Revision uint64          // of the intent
	Groups   []string        // that it is in, the one that decides first

	Release     *kilnv1.Release // nil: none
	ReleaseFrom string          // who named it: "boot_once", "group web"
	Once        bool            // the release is that of the next boot only
	LocalDisk   bool            // it boots from its own disk
	UKI         bool            // it boots the release's unified kernel image, and no boot loader

	SSHKeys   []string          // the machine's, then those of its groups; each once
	Values    map[string]string // never nil
	Templates map[string]Text   // by kind; never nil

	cmdlines []cmdline // of groups, the one that decides last, and then the machine's
}

// Text is a template and whose it is.
type Text struct {
	Text string
	From string // "machine web-1", "group web"
}

// Resolve makes an index for one question. Whoever asks more often keeps an Index.
func Resolve(in *kilnv1.Intent, id Identity) (*Boot, error) { return NewIndex(in).Resolve(id) }

// Resolve says which machine it is that boots, and what it gets. With ErrNoRelease there is a Boot nevertheless, for its
// configuration; with any other error there is none.
func (x *Index) Resolve(id Identity) (*Boot, error) {
	if id.MAC == "" && id.UUID == "" {
		return nil, fmt.Errorf("%w: it gives neither a MAC nor a UUID; let it send one", ErrUnknown)
	}
	if id.MAC != "" {
		mac, err := MAC(id.MAC)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrUnknown, err)
		}
		id.MAC = mac
	}
	if id.UUID == "" { // as with most clients
	} else if uuid, err := UUID(id.UUID); err == nil {
		id.UUID = uuid
	} else if id.MAC == "" {
		return nil, fmt.Errorf("%w: %w", ErrUnknown, err)
	} else {
		id.UUID = "" // boards without one say anything
	}
	if m := x.byMAC[id.MAC]; m != nil {
		return x.boot(m, id, ByMAC)
	}
	if m := x.byUUID[id.UUID]; m != nil {
		return x.boot(m, id, ByUUID)
	}
	if len(x.unknown) == 0 {
		return nil, unknownError{id}
	}
	return x.boot(nil, id, "")
}

// unknownError is made for every packet of a stranger, and seldom read.
type unknownError struct{ id Identity }

func (e unknownError) Error() string {
	return fmt.Sprintf("%v: no machine has %s, and no group is for unknown machines; describe it, or give a group \"unknown: true\"", ErrUnknown, e.id)
}

func (e unknownError) Unwrap() error { return ErrUnknown }

// Named is what the machine of that name gets, or what something unknown gets, by its Key.
func (x *Index) Named(key string) (*Boot, error) {
	if m := x.byName[key]; m != nil {
		id := Identity{UUID: m.GetUuid()}
		if len(m.GetMacs()) > 0 {
			id.MAC = m.GetMacs()[0]
		}
		return x.boot(m, id, ByName)
	}
	if _, err := MAC(key); err == nil {
		return x.Resolve(Identity{MAC: key})
	}
	if uuid, ok := strings.CutPrefix(key, uuidKey); ok {
		return x.Resolve(Identity{UUID: uuid})
	}
	return nil, fmt.Errorf("%w: no machine is called %s; describe it again, or boot it again", ErrUnknown, quote(key))
}

func (id Identity) String() string {
	var parts []string
	if id.MAC != "" {
		parts = append(parts, "the MAC "+id.MAC)
	}
	if id.UUID != "" {
		parts = append(parts, "the UUID "+id.UUID)
	}
	return strings.Join(parts, " or ")
}

func (x *Index) boot(m *kilnv1.Machine, id Identity, by string) (*Boot, error) {
	b := &Boot{Machine: m, Identity: id, By: by, Revision: x.revision, Values: map[string]string{}, Templates: map[string]Text{}}
	groups := x.unknown
	if m != nil {
		groups = x.selecting(m.GetLabels())
		b.add("machine "+m.GetName(), m.GetSshKeys(), m.GetValues(), m.GetTemplates())
	}
	named, from, way := "", "", ""
	for _, g := range groups {
		b.Groups = append(b.Groups, g.GetName())
		b.add("group "+g.GetName(), g.GetSshKeys(), g.GetValues(), g.GetTemplates())
		if named == "" && g.GetRelease() != "" {
			named, from = g.GetRelease(), "group "+g.GetName()
		}
		if way == "" {
			way = g.GetBoot()
		}
		b.cmdlines = append(b.cmdlines, cmdline{g.GetCmdline(), "group " + g.GetName(), g.GetCmdlineReplaces()})
	}
	slices.Reverse(b.cmdlines) // of two arguments of one name a kernel takes the last
	b.cmdlines = append(b.cmdlines, cmdline{m.GetCmdline(), "machine " + m.GetName(), m.GetCmdlineReplaces()})
	b.UKI = way == BootUKI
	return b, x.choose(b, named, from)
}

// add adds what the next one has and those before lack.
func (b *Boot) add(from string, keys []string, values, texts map[string]string) {
	for _, k := range keys {
		if k = strings.TrimSpace(k); k != "" && !slices.Contains(b.SSHKeys, k) {
			b.SSHKeys = append(b.SSHKeys, k)
		}
	}
	for name, v := range values {
		if _, ok := b.Values[name]; !ok {
			b.Values[name] = v
		}
	}
	for kind, text := range texts {
		if _, ok := b.Templates[kind]; !ok {
			b.Templates[kind] = Text{Text: text, From: from}
		}
	}
}

// choose sets the release.
func (x *Index) choose(b *Boot, named, from string) error {
	switch {
	case b.Machine.GetBootOnce() != "":
		named, from, b.Once = b.Machine.GetBootOnce(), "boot_once", true
	case b.Machine.GetLocalDisk():
		b.LocalDisk = true
		return nil
	case named == "" && len(b.Groups) == 0:
		return fmt.Errorf("%w: no group selects machine %s; add a group whose selector matches its labels", ErrNoRelease, b.Name())
	case named == "":
		return fmt.Errorf("%w: none of the groups of %s names a release (%s); give one of them a release", ErrNoRelease, b.Name(), join(b.Groups))
	}
	b.ReleaseFrom = from
	if b.Release = x.releases[named]; b.Release == nil {
		return fmt.Errorf("%w: %s of %s names the release %s, which is not there; make it, or name another", ErrNoRelease, from, b.Name(), quote(named))
	}
	return nil
}

// uuidKey is before a UUID in a Key: a machine's name may look like a UUID, and never holds a colon.
const uuidKey = "uuid:"

// Name is what people call the machine; one that nobody described is called after what it said.
func (b *Boot) Name() string {
	if b.Machine != nil {
		return b.Machine.GetName()
	}
	return "unknown-" + strings.ReplaceAll(cmp.Or(b.Identity.MAC, b.Identity.UUID), ":", "")
}

// Key is what Index.Named finds the same machine by.
func (b *Boot) Key() string {
	switch {
	case b.Machine != nil:
		return b.Machine.GetName()
	case b.Identity.MAC != "":
		return b.Identity.MAC
	}
	return uuidKey + b.Identity.UUID
}

// Hostname of the machine.
func (b *Boot) Hostname() string {
	if h := b.Machine.GetHostname(); h != "" {
		return h
	}
	return b.Name()
}

// MACs of the machine: those described, or the one that it said.
func (b *Boot) MACs() []string {
	if macs := b.Machine.GetMacs(); len(macs) > 0 || b.Identity.MAC == "" {
		return macs
	}
	return []string{b.Identity.MAC}
}

// Files are those of the release for an architecture ("amd64", "arm64").
func (b *Boot) Files(arch string) (*kilnv1.ReleaseFiles, error) {
	if b.Release == nil {
		return nil, fmt.Errorf("%w on machine %s; name a release", ErrNoRelease, b.Name())
	}
	if f := b.Release.GetPlatforms()["linux/"+arch]; f != nil {
		return f, nil
	}
	has := slices.Sorted(maps.Keys(b.Release.GetPlatforms()))
	if len(has) == 0 {
		return nil, fmt.Errorf("%w: release %s has no files; make it again", ErrNoRelease, b.Release.GetName())
	}
	return nil, fmt.Errorf("%w: release %s has no files for linux/%s; it has %s", ErrNoRelease, b.Release.GetName(), arch, join(has))
}
