package fleet

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"gopkg.in/yaml.v3"

	"github.com/kiln-farm/kiln/fleet/templates"
	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
)

const (
	// maxFile bounds one file of machines, in bytes: ten thousand machines have two MiB.
	maxFile = 16 << 20
	// maxFiles bounds the files of a folder.
	maxFiles = 1000
)

// File is one YAML file. Its name, with slashes, is relative to the folder that Options.FS is.
type File struct {
	Name string
	Data []byte
}

// Located is one fault of a file: where it is, what it is and what to do.
type Located struct {
	File string
	Line int // 0: the whole file's
	Text string
}

func (l Located) String() string {
	if l.Line == 0 {
		return l.File + ": " + l.Text
	}
	return fmt.Sprintf("%s:%d: %s", l.File, l.Line, l.Text)
}

// Faults is an error with a sentence for each fault, one on a line.
type Faults []Located

func (f Faults) Error() string {
	lines := make([]string, len(f))
	for i := range f {
		lines[i] = f[i].String()
	}
	return strings.Join(lines, "\n")
}

// Options are what Parse takes from the process around it.
type Options struct {
	FS       fs.FS    // the folder of the files; nothing outside of it is read. nil: "file:" is refused
	Releases []string // that are there already, so that groups may name them
}

// Parsed is what files say.
type Parsed struct {
	// Intent without revision and key. Releases of builds have no files yet, and those of files no digests.
	Intent *kilnv1.Intent
	// Uploads are the files of releases. Whoever has stored one fills its Ref.
	Uploads []Upload

	reader *reader
}

// Within says where a fault of a template is that belongs to an object: the file, which may be the template's own, and the line in it.
// The kind is KindMachine, KindGroup or KindRelease; the field is "templates.user-data" or "cmdline".
func (p *Parsed) Within(kind, name, field string, fault error) (file string, line int, ok bool) {
	index := -1
	switch in := p.Intent; kind {
	case KindMachine:
		index = slices.IndexFunc(in.GetMachines(), func(m *kilnv1.Machine) bool { return m.GetName() == name })
	case KindGroup:
		index = slices.IndexFunc(in.GetGroups(), func(g *kilnv1.Group) bool { return g.GetName() == name })
	case KindRelease:
		index = slices.IndexFunc(in.GetReleases(), func(r *kilnv1.Release) bool { return r.GetName() == name })
	}
	if index < 0 {
		return "", 0, false
	}
	at, ok := p.reader.within(kind, index, field, fault)
	return at.file, at.line, ok
}

// Upload is a file of a release: what it is, and its path in the folder.
type Upload struct {
	Release, Platform, Part string // Part: "kernel", "initrd", "uki"
	Path                    string // with slashes, in Options.FS
	File                    string // that names it
	Line                    int
	Ref                     *kilnv1.FileRef
}

// Parse reads the files of a folder, which are one intent, and tells everything that is wrong with them:
//
//	machines:
//	  - name: web-1
//	    mac: 52:54:00:12:34:56         # or macs: […]
//	    labels: {role: web}
//	    address: 10.0.0.5/24
//	    templates: {user-data: {file: web.tmpl}}
//	groups:
//	  - {name: web, selector: {role: web}, priority: 10, release: v1, cmdline: quiet}
//	releases:
//	  - {name: v1, build: hello}
//	  - name: v2
//	    platforms:
//	      linux/amd64: {kernel: ./vmlinuz, initrd: [base.img, more.img], cmdline: console=ttyS0}
//
//	subnets:
//	  - {name: rack-a, prefix: 10.0.0.0/24, pools: [10.0.0.100-10.0.0.199], gateway: 10.0.0.1, options: {26: 9000}}
//
// The other keys are those of Machine, Group, Release and Subnet (kiln/v1). Values, secrets and templates are texts or
// {file: PATH}; a PATH is relative to the file that it stands in. A file may hold several YAML documents. One that another names as a
// text, and that describes nothing, is that text only.
func Parse(files []File, opts Options) (*Parsed, []Located) {
	r := &reader{opts: opts, out: &Parsed{Intent: &kilnv1.Intent{}}, places: map[place]mark{}, bodies: map[place]mark{}}
	r.out.reader = r
	if len(files) > maxFiles {
		return r.out, []Located{{File: files[maxFiles].Name, Text: fmt.Sprintf("there are %d files, more than %d; put them into fewer", len(files), maxFiles)}}
	}
	var named map[string]bool
	if len(files) > 1 {
		named = namedTexts(files)
	}
	for _, f := range files {
		if !named[f.Name] || describes(f) {
			r.read(f)
		}
	}
	r.finish()
	if len(r.faults) == 0 { // what is not read would only be missed
		for _, p := range check(r.out.Intent, opts.Releases, true) {
			at := r.find(p)
			if line, ok := r.within(p.Kind, p.Index, p.Field, p.err); ok {
				at = line
			}
			r.faults = append(r.faults, Located{File: at.file, Line: at.line, Text: p.String()})
		}
	}
	slices.SortStableFunc(r.faults, func(a, b Located) int {
		return cmp.Or(cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line))
	})
	return r.out, r.faults
}

// ReadDir reads the files of a folder that Parse is for: those in it, not below it, whose names end in .yml or .yaml.
func ReadDir(fsys fs.FS) ([]File, error) {
	entries, err := fs.ReadDir(fsys, ".")
	if err != nil {
		return nil, err
	}
	var files []File
	for _, e := range entries {
		if ext := path.Ext(e.Name()); e.IsDir() || ext != ".yml" && ext != ".yaml" {
			continue
		}
		data, err := readFile(fsys, e.Name(), maxFile)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", e.Name(), err)
		}
		files = append(files, File{Name: e.Name(), Data: data})
	}
	if len(files) == 0 {
		return nil, errors.New("the folder has no file that ends in .yml or .yaml; write machines.yml")
	}
	return files, nil
}

// readFile reads a regular file of at most limit bytes.
func readFile(fsys fs.FS, name string, limit int64) ([]byte, error) {
	f, err := fsys.Open(name)
	if err != nil {
		return nil, reason(err)
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil {
		return nil, reason(err)
	} else if !info.Mode().IsRegular() {
		return nil, errors.New("it is not a regular file")
	}
	data, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return nil, reason(err)
	}
	if int64(len(data)) > limit {
		return nil, fmt.Errorf("it has more than %d bytes", limit)
	}
	return data, nil
}

// reason is the part of err that tells something new beside the name of the file.
func reason(err error) error {
	var pathErr *fs.PathError
	if errors.As(err, &pathErr) {
		return pathErr.Err
	}
	return err
}

// place is a part of the intent, and mark where it was read.
type place struct {
	kind  string
	index int
	field string
}

type mark struct {
	file string
	line int
}

// find is where the field of a problem stands, or otherwise what it is a part of.
func (r *reader) find(p Problem) mark {
	for field := p.Field; ; {
		if at, ok := r.places[place{p.Kind, p.Index, field}]; ok || field == "" {
			return at
		}
		if cut := strings.LastIndexAny(field, ".["); cut >= 0 {
			field = field[:cut]
		} else {
			field = ""
		}
	}
}

// within is where a fault of a template is.
func (r *reader) within(kind string, index int, field string, fault error) (mark, bool) {
	var e *templates.Error
	at, ok := r.bodies[place{kind, index, field}]
	if !ok || !errors.As(fault, &e) {
		return mark{}, false
	}
	at.line += max(e.Line, 1) - 1
	return at, true
}

// yamlLine finds the line in an error of yaml.v3: "yaml: line 3: did not find expected key".
var yamlLine = regexp.MustCompile(`^yaml: (?:unmarshal errors:\n +)?line (\d+): (.*)`)

// read reads one file's documents.
func (r *reader) read(f File) {
	r.file = f.Name
	defer func() {
		if p := recover(); p != nil { // the YAML parser's: its input comes from anybody
			r.complain(0, "not valid YAML: %v", p)
		}
	}()
	if len(f.Data) > maxFile {
		r.complain(0, "it is larger than %d MiB; put its machines into several files", maxFile>>20)
		return
	}
	decoder := yaml.NewDecoder(bytes.NewReader(f.Data))
	for {
		var doc yaml.Node
		err := decoder.Decode(&doc)
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			text, _, _ := strings.Cut(strings.TrimPrefix(err.Error(), "yaml: "), "\n")
			line := 0
			if m := yamlLine.FindStringSubmatch(err.Error()); m != nil {
				line, _ = strconv.Atoi(m[1])
				text = m[2]
			}
			r.complain(line, "not valid YAML: %s", text)
			return
		}
		if len(doc.Content) > 0 && !isNull(doc.Content[0]) {
			r.document(doc.Content[0])
		}
	}
}
