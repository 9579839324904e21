package linuxkit

import (
	"errors"
	"fmt"

	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
	"github.com/linuxkit/linuxkit/src/cmd/linuxkit/moby"
	"github.com/linuxkit/linuxkit/src/cmd/linuxkit/util"
	"gopkg.in/yaml.v3"
)

// Merge makes one configuration of the bundle's documents, in their order, as LinuxKit does: scalars of the kernel
// are replaced by later ones, lists are joined. The documents are checked first. Every call gives a value of its own:
// moby's functions change what they are given.
//
// moby.Moby.VolByName knows the last document's volumes only; look names up in Volumes instead.
func Merge(bundle *kilnv1.ConfigBundle) (moby.Moby, error) {
	if err := Check(bundle.GetDocuments()); err != nil {
		return moby.Moby{}, err
	}
	var merged moby.Moby
	for _, doc := range bundle.GetDocuments() {
		m, err := parse(doc)
		if err != nil {
			return moby.Moby{}, err
		}
		if merged, err = moby.AppendConfig(merged, m); err != nil {
			return moby.Moby{}, fmt.Errorf("%s: %w", doc.GetName(), err)
		}
	}
	return merged, nil
}

// parse guards against panics of the parsers below us: their input comes from anybody.
func parse(doc *kilnv1.Document) (m moby.Moby, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%s: LinuxKit's parser cannot read this document: %v", doc.GetName(), p)
		}
	}()
	text, err := withoutSettings(doc.GetYaml())
	if err != nil {
		return m, fmt.Errorf("%s: %w", doc.GetName(), err)
	}
	if m, err = moby.NewConfig(text, nil); err != nil {
		return m, fmt.Errorf("%s: LinuxKit's parser refuses this document: %w", doc.GetName(), err)
	}
	return m, nil
}

// MergedYAML is what a dry run prints: LinuxKit's has an empty line at its end.
func MergedYAML(bundle *kilnv1.ConfigBundle) ([]byte, error) {
	m, err := Merge(bundle)
	if err != nil {
		return nil, err
	}
	text, err := yaml.Marshal(m)
	if err != nil {
		return nil, fmt.Errorf("write the merged configuration: %w", err)
	}
	return append(text, '\n'), nil
}

// Reference is an image that a configuration needs.
type Reference struct {
	Name         string // expanded: "docker.io/library/alpine:3.20"
	AllPlatforms bool   // its whole index is wanted, as for a volume in OCI layout
	Section      string // where it is first used, for messages: "services/web"
}

// References lists every image of m once, in the order of the root filesystem.
func References(m moby.Moby) []Reference {
	var refs []Reference
	seen := map[string]int{}
	add := func(image, section string, all bool) {
		if image == "" {
			return
		}
		name := util.ReferenceExpand(image)
		at, ok := seen[name]
		if !ok {
			at = len(refs)
			seen[name] = at
			refs = append(refs, Reference{Name: name, Section: section})
		}
		refs[at].AllPlatforms = refs[at].AllPlatforms || all
	}
	add(m.Kernel.Image, "kernel", false)
	for _, image := range m.Init {
		add(image, "init", false)
	}
	for _, v := range m.Volumes {
		add(v.Image, "volumes/"+v.Name, v.Format == "oci")
	}
	for _, s := range Sections(m) {
		for _, image := range s.Images {
			add(image.Image, s.Name+"/"+image.Name, false)
		}
	}
	return refs
}

// Section is one of the lists of containers.
type Section struct {
	Name     string // "onboot", "onshutdown", "services"
	Images   []*moby.Image
	Numbered bool // names on disk start with the position: "000-sysctl"
}

// Sections are the lists of containers in the order in which LinuxKit lays them out and gives them user ids.
func Sections(m moby.Moby) []Section {
	return []Section{
		{Name: "onboot", Images: m.Onboot, Numbered: true},
		{Name: "onshutdown", Images: m.Onshutdown, Numbered: true},
		{Name: "services", Images: m.Services},
	}
}

// firstID is the user id of the first container; LinuxKit counts up from it.
const firstID = 100

// IDs are the user and group ids that containers' names stand for. Of equal names the last counts.
func IDs(m moby.Moby) map[string]uint32 {
	ids := map[string]uint32{}
	next := uint32(firstID)
	for _, s := range Sections(m) {
		for _, image := range s.Images {
			ids[image.Name] = next
			next++
		}
	}
	return ids
}

// ErrInput is wrapped by everything that is the user's to mend: a bad document, a missing file.
var ErrInput = errors.New("bad input")

// AddReference adds an image that is not part of the configuration, unless it is there.
func AddReference(refs []Reference, name, section string) []Reference {
	for _, r := range refs {
		if r.Name == name {
			return refs
		}
	}
	return append(refs, Reference{Name: name, Section: section})
}
