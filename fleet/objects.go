package fleet

import (
	"gopkg.in/yaml.v3"

	"github.com/kiln-farm/kiln/fleet/templates"
	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
)

// wholeFile is how messages call a document.
const wholeFile = "the file"

// maxObjects bounds the machines, groups and releases of one intent: every edge has them in memory.
const maxObjects = 100_000

// document reads one YAML document.
func (r *reader) document(root *yaml.Node) {
	if root = r.visit(root); root == nil {
		return
	}
	in := r.out.Intent
	r.kind = ""
	r.object(root, wholeFile, map[string]take{
		"machines": r.objects(KindMachine, func() (int, map[string]take) {
			m := &kilnv1.Machine{}
			in.Machines = append(in.Machines, m)
			return len(in.Machines) - 1, r.machine(m)
		}),
		"groups": r.objects(KindGroup, func() (int, map[string]take) {
			g := &kilnv1.Group{}
			in.Groups = append(in.Groups, g)
			return len(in.Groups) - 1, r.group(g)
		}),
		"releases": r.objects(KindRelease, func() (int, map[string]take) {
			v := &kilnv1.Release{}
			in.Releases = append(in.Releases, v)
			return len(in.Releases) - 1, r.release(v)
		}),
		"subnets": r.objects(KindSubnet, func() (int, map[string]take) {
			s := &kilnv1.Subnet{}
			in.Subnets = append(in.Subnets, s)
			return len(in.Subnets) - 1, r.subnet(s)
		}),
	})
}

// objects reads a list of objects, each made by a call of add.
func (r *reader) objects(kind string, add func() (int, map[string]take)) take {
	return func(node *yaml.Node, where string) {
		r.list(node, where, func(one *yaml.Node, where string) {
			if r.objectsRead++; r.objectsRead > maxObjects {
				if r.objectsRead == maxObjects+1 {
					r.complain(one.Line, "there are more than %d machines, groups and releases; give some of them to another farm", maxObjects)
				}
				return
			}
			index, fields := add()
			r.kind, r.index = kind, index
			r.at(one, "")
			r.object(one, where, fields)
			r.kind = ""
		})
	}
}

func (r *reader) machine(m *kilnv1.Machine) map[string]take {
	return map[string]take{
		"name": r.text(&m.Name),
		"mac": func(node *yaml.Node, where string) {
			if s, ok := r.scalar(node, where); ok {
				r.at(node, "macs")
				m.Macs = append(m.Macs, normal(MAC)(s))
			}
		},
		"macs": r.texts(&m.Macs, "macs", normal(MAC)),
		"uuid": func(node *yaml.Node, where string) {
			if s, ok := r.scalar(node, where); ok {
				m.Uuid = normal(UUID)(s)
			}
		},
		"labels":   r.mapping(&m.Labels, "labels", false, 0),
		"hostname": r.text(&m.Hostname),
		"address":  r.text(&m.Address),
		"address6": func(node *yaml.Node, where string) {
			if s, ok := r.scalar(node, where); ok {
				m.Address6 = normal(address6)(s)
			}
		},
		"gateway":    r.text(&m.Gateway),
		"dns":        r.texts(&m.Dns, "dns", asWritten),
		"ssh_keys":   r.texts(&m.SshKeys, "ssh_keys", asWritten),
		"values":     r.mapping(&m.Values, "values", true, maxValue),
		"templates":  r.mapping(&m.Templates, "templates", true, templates.MaxText),
		"secrets":    r.mapping(&m.Secrets, "secrets", true, maxValue),
		"confirmed":  r.flag(&m.Confirmed),
		"local_disk": r.flag(&m.LocalDisk),
		"boot_once":  r.text(&m.BootOnce),
		"cmdline":    r.cmdline(&m.Cmdline, &m.CmdlineReplaces),
	}
}

// normal writes what people write as Kiln compares it, and leaves what is wrong for Check to say so.
func normal(form func(string) (string, error)) func(string) string {
	return func(s string) string {
		if n, err := form(s); err == nil {
			return n
		}
		return s
	}
}

func (r *reader) group(g *kilnv1.Group) map[string]take {
	return map[string]take{
		"name":      r.text(&g.Name),
		"selector":  r.mapping(&g.Selector, "selector", false, 0),
		"priority":  r.number(&g.Priority),
		"release":   r.text(&g.Release),
		"cmdline":   r.cmdline(&g.Cmdline, &g.CmdlineReplaces),
		"ssh_keys":  r.texts(&g.SshKeys, "ssh_keys", asWritten),
		"values":    r.mapping(&g.Values, "values", true, maxValue),
		"templates": r.mapping(&g.Templates, "templates", true, templates.MaxText),
		"unknown":   r.flag(&g.Unknown),
		"boot":      r.text(&g.Boot),
	}
}

// cmdline reads a text that is put behind what others say, or {replace: TEXT}, which is put in its place.
func (r *reader) cmdline(text *string, replaces *bool) take {
	return func(node *yaml.Node, where string) {
		if node.Kind != yaml.MappingNode {
			r.text(text)(node, where)
			r.textAt(node, "cmdline")
			return
		}
		kind := r.kind
		r.kind = "" // its key is no field of its own
		r.object(node, where, map[string]take{"replace": func(node *yaml.Node, where string) {
			*replaces = true
			r.text(text)(node, where)
			r.kind = kind
			r.textAt(node, "cmdline")
		}})
		r.kind = kind
	}
}

func (r *reader) release(v *kilnv1.Release) map[string]take {
	return map[string]take{
		"name":    r.text(&v.Name),
		"build":   r.text(&v.Build),
		"cmdline": r.cmdline(&v.Cmdline, &v.CmdlineReplaces),
		"platforms": func(node *yaml.Node, where string) {
			r.pairs(node, where, func(key, value *yaml.Node) {
				r.at(key, "platforms."+key.Value)
				f := &kilnv1.ReleaseFiles{}
				if v.Platforms == nil {
					v.Platforms = map[string]*kilnv1.ReleaseFiles{}
				}
				v.Platforms[key.Value] = f
				r.files(value, where+"."+key.Value, v, key.Value, f)
			})
		},
	}
}

// finish fills in and checks what needs a whole release.
func (r *reader) finish() {
	r.encodeOptions()
	for i, v := range r.uploadOf {
		r.out.Uploads[i].Release = v.GetName()
	}
	for i, v := range r.out.Intent.GetReleases() {
		if v.GetBuild() != "" && len(v.GetPlatforms()) > 0 {
			at := r.places[place{KindRelease, i, "platforms"}]
			r.file = at.file
			r.complain(at.line, "release %s has a build and platforms, and a build has its own files; keep one of them", bare(v.GetName()))
		}
	}
}

// files reads the files of a release for one platform.
func (r *reader) files(node *yaml.Node, where string, v *kilnv1.Release, platform string, f *kilnv1.ReleaseFiles) {
	upload := func(part string, node *yaml.Node, where string) *kilnv1.FileRef {
		p, ok := r.path(node, where)
		if !ok {
			return &kilnv1.FileRef{} // so that Check does not miss it
		}
		ref := &kilnv1.FileRef{}
		r.uploadOf = append(r.uploadOf, v)
		r.out.Uploads = append(r.out.Uploads, Upload{Platform: platform, Part: part, Path: p, File: r.file, Line: node.Line, Ref: ref})
		return ref
	}
	kind := r.kind
	r.kind = "" // its keys are no fields of the release
	r.object(node, where, map[string]take{
		"kernel": func(node *yaml.Node, where string) { f.Kernel = upload("kernel", node, where) },
		"uki":    func(node *yaml.Node, where string) { f.Uki = upload("uki", node, where) },
		"initrd": func(node *yaml.Node, where string) {
			if node.Kind == yaml.ScalarNode {
				f.Initrds = append(f.Initrds, upload("initrd", node, where))
				return
			}
			r.list(node, where, func(one *yaml.Node, where string) { f.Initrds = append(f.Initrds, upload("initrd", one, where)) })
		},
		"cmdline": r.text(&f.Cmdline),
	})
	r.kind = kind
}
