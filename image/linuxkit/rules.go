package linuxkit

import (
	"fmt"
	"regexp"
	"sort"
	"strings"

	"github.com/containerd/containerd/v2/pkg/reference"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/linuxkit/linuxkit/src/cmd/linuxkit/util"

	"github.com/kiln-farm/kiln/internal/nearest"
)

// checked is a document whose grammar is right.
type checked struct {
	file string
	root *value
}

// rules are what a grammar cannot say: names that must be known, paths that must stay in their place.
type rules struct {
	docs     []checked
	file     string // of the document being checked
	ids      map[string]bool
	volumes  map[string]*value
	caps     map[string]bool
	problems Problems
}

func newRules() *rules {
	return &rules{ids: map[string]bool{"": true, "root": true}, volumes: map[string]*value{}, caps: knownCapabilities()}
}

var sections = []string{"onboot", "onshutdown", "services"}

func (r *rules) complain(v *value, format string, args ...any) {
	line := 0
	if v != nil {
		line = v.line
	}
	r.problems = append(r.problems, Problem{r.file, line, fmt.Sprintf(format, args...)})
}

// check looks at names in all documents first: any document may use what another defines.
func (r *rules) check() Problems {
	services := map[string]string{}
	for _, doc := range r.docs {
		r.file = doc.file
		for _, section := range sections {
			for i, c := range doc.root.get(section).items() {
				name := c.get("name")
				r.element(name, fmt.Sprintf("%s[%d].name", section, i))
				r.ids[name.str()] = true
				if section != "services" {
					continue
				}
				if first, ok := services[name.str()]; ok {
					r.complain(name, "service %q is there already, at %s; give one of them another name", name.str(), first)
				} else {
					services[name.str()] = fmt.Sprintf("%s:%d", doc.file, name.line)
				}
			}
		}
		r.collectVolumes(doc)
	}
	for _, doc := range r.docs {
		r.file = doc.file
		r.image(doc.root.get("kernel").get("image"), "kernel.image", true)
		for i, image := range doc.root.get("init").items() {
			r.image(image, fmt.Sprintf("init[%d]", i), false)
		}
		for _, section := range sections {
			for i, c := range doc.root.get(section).items() {
				r.container(c, fmt.Sprintf("%s[%d]", section, i))
			}
		}
		for i, f := range doc.root.get("files").items() {
			r.fileEntry(f, fmt.Sprintf("files[%d]", i))
		}
		r.settings(doc.root.get(settingsKey))
	}
	sort.SliceStable(r.problems, func(i, j int) bool {
		a, b := r.problems[i], r.problems[j]
		return a.File == b.File && a.Line < b.Line
	})
	return r.problems
}

// element checks a name that becomes one element of a path.
func (r *rules) element(v *value, where string) {
	name := v.str()
	switch {
	case v == nil:
	case name == "":
		r.complain(v, "%s is empty; give it a name such as \"web\"", where)
	case name == "." || name == ".." || strings.ContainsAny(name, "/\x00"):
		r.complain(v, "%s %s must not leave its directory; use a name without \"/\", and not \".\" or \"..\"", where, quoteShort(name))
	}
}

// image checks a reference's form.
func (r *rules) image(v *value, where string, mayBeEmpty bool) {
	if v == nil || mayBeEmpty && v.str() == "" {
		return
	}
	if v.str() == "" {
		r.complain(v, "%s is empty; say which image, such as \"docker.io/library/nginx:1.27\"", where)
		return
	}
	expanded := util.ReferenceExpand(v.str())
	_, err := name.ParseReference(expanded) // what registries take
	if err == nil {
		_, err = reference.Parse(expanded) // what LinuxKit takes
	}
	if err != nil {
		r.complain(v, "%s %s is not an image reference; write it like \"registry.example/name:tag\", in lower case", where, quoteShort(v.str()))
	}
}

var (
	volumeName     = regexp.MustCompile(`^[a-z0-9_-]*$`)
	volumePlatform = regexp.MustCompile(`^[a-z0-9]+/[a-z0-9_]+(/[a-z0-9.]+)?$`)
)

func (r *rules) collectVolumes(doc checked) {
	for i, v := range doc.root.get("volumes").items() {
		where, named := fmt.Sprintf("volumes[%d]", i), v.get("name")
		if !volumeName.MatchString(named.str()) {
			r.complain(named, "%s.name %s is not a volume name; use lower-case letters, digits, \"_\" and \"-\"", where, quoteShort(named.str()))
		}
		if _, ok := r.volumes[named.str()]; ok {
			r.complain(v, "volume %q is there already; give one of them another name", named.str())
		}
		r.volumes[named.str()] = v
		r.image(v.get("image"), where+".image", true)
		if f := v.get("format"); f != nil && f.str() != "oci" && f.str() != "filesystem" {
			r.complain(f, "%s.format %s is unknown; write \"oci\" or \"filesystem\"", where, quoteShort(f.str()))
		}
		for j, p := range v.get("platforms").items() {
			if !volumePlatform.MatchString(p.str()) {
				r.complain(p, "%s.platforms[%d] %s is not a platform; write it like \"linux/amd64\"", where, j, quoteShort(p.str()))
			}
		}
	}
}

// volume checks the source of a bind: an absolute path, or a volume by name.
func (r *rules) volume(at *value, source, where string, readOnly bool) {
	if strings.HasPrefix(source, "/") {
		return
	}
	volume, ok := r.volumes[source]
	if !ok {
		names := make([]string, 0, len(r.volumes))
		for name := range r.volumes {
			names = append(names, name)
		}
		hint := "add it under volumes, or write an absolute path"
		if n := nearest.To(source, names); n != "" {
			hint = fmt.Sprintf("did you mean %q?", n)
		}
		r.complain(at, "%s names the volume %s, which does not exist; %s", where, quoteShort(source), hint)
		return
	}
	if volume.get("readonly").isTrue() && !readOnly {
		r.complain(at, "%s mounts the read-only volume %q writable; add the option \"ro\"", where, source)
	}
}
