package plan

import (
	"archive/tar"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

	"github.com/kiln-farm/kiln/cache"
	"github.com/kiln-farm/kiln/image/linuxkit"
	pt "github.com/kiln-farm/kiln/image/part"
	"github.com/kiln-farm/kiln/image/step"
	"github.com/kiln-farm/kiln/image/tree"
	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
	"github.com/linuxkit/linuxkit/src/cmd/linuxkit/moby"
	"gopkg.in/yaml.v2" // the version that LinuxKit writes metadata with: others wrap lines elsewhere
)

// fileTree gathers the entries of the files: section.
type fileTree struct {
	*planner
	sources map[string]*kilnv1.FileSource
	entries []tree.Entry
	added   map[string]bool
	bodies  []input
}

// files is one part: its entries carry their own positions.
func (p *planner) files() ([]part, error) {
	if len(p.m.Files) == 0 {
		return nil, nil
	}
	t := &fileTree{planner: p, added: map[string]bool{}, sources: map[string]*kilnv1.FileSource{}}
	for _, s := range p.in.Config.GetSources() {
		t.sources[s.GetPath()] = s
	}
	for i, f := range p.m.Files {
		if err := t.add(i, f); err != nil {
			return nil, err
		}
	}
	out, err := p.plainPart(t.entries, "", "", "files")
	out.shared, out.bodies = true, t.bodies
	return []part{out}, err
}

func (t *fileTree) add(index int, f moby.File) error {
	body, skip, err := t.body(f)
	if err != nil || skip {
		return err
	}
	mode, dirMode, err := modes(f)
	if err != nil {
		return err
	}
	uid, err := moby.IDNumeric(f.UID, t.ids)
	if err != nil {
		return step.Failf("file %s: %w; write a number or a container's name as uid", f.Path, err)
	}
	gid, err := moby.IDNumeric(f.GID, t.ids)
	if err != nil {
		return step.Failf("file %s: %w; write a number or a container's name as gid", f.Path, err)
	}
	name, ok := linuxkit.FileName(f.Path)
	if !ok {
		return step.Failf("file %s leaves the root filesystem; write its path without \"..\"", f.Path)
	}
	e := tree.Entry{
		Name: name, Type: tar.TypeReg, Mode: mode, UID: int(uid), GID: int(gid), ModTime: pt.DefaultTime,
		PAX: map[string]string{
			moby.PaxRecordLinuxkitSource:   "linuxkit.files",
			moby.PaxRecordLinuxkitLocation: fmt.Sprintf("files[%d]", index),
		},
	}
	for _, dir := range linuxkit.Parents(name) {
		if t.added[dir] {
			continue
		}
		parent := e
		parent.Name, parent.Type, parent.Mode = dir, tar.TypeDir, dirMode
		t.entries = append(t.entries, parent)
		t.added[dir] = true
	}
	t.added[name] = true
	switch {
	case f.Directory:
		e.Type = tar.TypeDir
	case f.Symlink != "":
		e.Type, e.Linkname = tar.TypeSymlink, f.Symlink
	case strings.HasSuffix(name, "/"): // archive/tar, as LinuxKit uses it, takes that for a directory
		if e.Type = tar.TypeDir; body.Size > 0 {
			return step.Failf("file %s: its path ends in a slash, as directories' do, but it holds something; leave the slash out", f.Path)
		}
	default:
		e.Body = body
	}
	t.entries = append(t.entries, e)
	return nil
}

// modes are those of a file and of the parents made for it: as the file's, and to be entered by who may read or write.
func modes(f moby.File) (mode, dirMode int64, err error) {
	mode = 0o600
	if f.Directory {
		mode = 0o700
	}
	if f.Mode != "" {
		if mode, err = strconv.ParseInt(f.Mode, 8, 32); err != nil {
			return 0, 0, step.Failf("file %s: mode %q is not octal; write it like \"0644\"", f.Path, f.Mode)
		}
	}
	dirMode = mode
	for _, class := range []int64{0o700, 0o070, 0o007} {
		if dirMode&class != 0 {
			dirMode |= class & 0o111
		}
	}
	return mode, dirMode, nil
}

// body is what a regular file holds. Skip says that its source is absent, as it may be.
func (t *fileTree) body(f moby.File) (body tree.Body, skip bool, err error) {
	switch {
	case f.Directory || f.Symlink != "":
		return tree.Body{}, false, nil
	case f.Contents != nil:
		body, err = t.generated([]byte(*f.Contents))
		return body, false, err
	case f.Metadata != "":
		text, err := t.metadata(f.Metadata)
		if err == nil {
			body, err = t.generated(text)
		}
		return body, false, err
	}
	source, ok := t.sources[f.Source]
	if !ok || source.GetDigest() == "" {
		if f.Optional {
			return tree.Body{}, true, nil
		}
		return body, false, step.Failf("file %s: its source %q was not sent with the configuration; submit the build again", f.Path, f.Source)
	}
	d, err := cache.ParseDigest(source.GetDigest())
	if err != nil || source.GetSize() < 0 {
		return body, false, step.Failf("file %s: its source %q came without a digest and a size; submit the build again", f.Path, f.Source)
	}
	if source.GetSize() == 0 {
		return tree.Body{}, false, nil
	}
	t.bodies = append(t.bodies, blobInput(fmt.Sprintf("body/%d", len(t.bodies)), d))
	return tree.Body{Size: source.GetSize(), Blob: d}, false, nil
}

// metadata is the whole configuration as LinuxKit writes it into a file: with references expanded, but for those of
// volumes. UpdateImages changes what it is given, hence a configuration of its own.
func (p *planner) metadata(kind string) ([]byte, error) {
	m, err := linuxkit.Merge(p.in.Config)
	if err != nil {
		return nil, &step.Failure{Err: err}
	}
	moby.UpdateImages(&m)
	switch kind {
	case "yaml":
		return yaml.Marshal(m)
	case "json":
		return json.MarshalIndent(m, "", "    ")
	}
	return nil, step.Failf("unknown metadata %q; write yaml or json", kind)
}

// maxInlineBody is the size up to which a generated body is in the tree's index itself, in bytes.
const maxInlineBody = 64 << 10

// generated is the body of a file that the planner made.
func (p *planner) generated(b []byte) (tree.Body, error) {
	if len(b) <= maxInlineBody {
		return tree.Body{Size: int64(len(b)), Inline: b}, nil
	}
	d, err := p.store.Blob(p.ctx, b)
	return tree.Body{Size: int64(len(b)), Blob: d}, err
}
