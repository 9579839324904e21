package linuxkit

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"

	"gopkg.in/yaml.v3"

	"github.com/kiln-farm/kiln/cache"
	"github.com/kiln-farm/kiln/internal/userfile"
	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
)

const (
	// maxDocument bounds one YAML document, in bytes: it is held in memory by client, farm and planner.
	maxDocument = 4 << 20
	// fetchTimeout bounds fetching a document from a URL.
	fetchTimeout = 30 * time.Second
	// stdinName is what LinuxKit calls a build of standard input.
	stdinName = "moby"
)

// Options are what Load takes from the process around it.
type Options struct {
	Blobs cache.Blobs  // where the sources of files: entries go
	Stdin io.Reader    // for the argument "-"
	Home  string       // for sources that start with "~/"
	HTTP  *http.Client // for URLs; nil: a client of its own
}

// Name is the name of a build of these arguments: the last one's base name without its extension.
func Name(args []string) string {
	if len(args) == 0 || args[len(args)-1] == "-" {
		return stdinName
	}
	last := args[len(args)-1]
	if isURL(last) {
		last, _, _ = strings.Cut(last, "?")
	}
	name := path.Base(filepath.ToSlash(last))
	return strings.TrimSuffix(name, path.Ext(name))
}

// Load reads the documents that args name (paths, URLs, "-" once), checks them, and stores the files they refer to.
func Load(ctx context.Context, args []string, opts Options) (*kilnv1.ConfigBundle, error) {
	bundle := &kilnv1.ConfigBundle{}
	stdin := false
	for _, arg := range args {
		if arg == "-" && stdin {
			return nil, problem(arg, "standard input can be read once only: name \"-\" once")
		}
		stdin = stdin || arg == "-"
		doc, err := read(ctx, arg, opts)
		if err != nil {
			return nil, err
		}
		bundle.Documents = append(bundle.Documents, doc)
	}
	if err := Check(bundle.Documents); err != nil {
		return nil, err
	}
	sources, err := gather(ctx, bundle.Documents, opts)
	if err != nil {
		return nil, err
	}
	bundle.Sources = sources
	return bundle, nil
}

func isURL(arg string) bool {
	return strings.HasPrefix(arg, "http://") || strings.HasPrefix(arg, "https://")
}

func read(ctx context.Context, arg string, opts Options) (*kilnv1.Document, error) {
	var (
		from io.ReadCloser
		name = arg
		err  error
	)
	switch {
	case arg == "-":
		name, from = "stdin", userfile.Interruptible(ctx, opts.Stdin)
	case isURL(arg):
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, fetchTimeout)
		defer cancel()
		from, err = fetch(ctx, arg, opts.HTTP)
	default:
		from, err = userfile.OpenStream(ctx, arg)
	}
	if err != nil {
		return nil, unreadable(arg, err)
	}
	defer from.Close()
	text, err := io.ReadAll(io.LimitReader(from, maxDocument+1))
	if err != nil {
		return nil, unreadable(name, err)
	}
	if len(text) > maxDocument {
		return nil, problem(name, fmt.Sprintf("is larger than %d MiB: is this a LinuxKit YAML?", maxDocument>>20))
	}
	return &kilnv1.Document{Name: name, Yaml: text}, nil
}

func unreadable(name string, err error) error {
	if errors.Is(err, context.Canceled) {
		return err
	}
	return problem(name, "cannot be read: "+reason(err))
}

func fetch(ctx context.Context, url string, client *http.Client) (io.ReadCloser, error) {
	if client == nil {
		client = &http.Client{}
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	resp, err := client.Do(req)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusOK {
		resp.Body.Close()
		return nil, fmt.Errorf("the server answers %s", resp.Status)
	}
	return resp.Body, nil
}

// reason is the part of err that tells something new beside the name of the file.
func reason(err error) string {
	var pathErr *fs.PathError
	if errors.As(err, &pathErr) {
		err = pathErr.Err
	}
	return err.Error()
}

// gather stores the source of every files: entry, each path once.
func gather(ctx context.Context, docs []*kilnv1.Document, opts Options) ([]*kilnv1.FileSource, error) {
	var sources []*kilnv1.FileSource
	known := map[string]*kilnv1.FileSource{}
	for _, doc := range docs {
		files, err := sourcesOf(doc)
		if err != nil {
			return nil, err
		}
		for _, f := range files {
			src, ok := known[f.Source]
			if !ok {
				if src, err = store(ctx, f.Source, opts); err != nil && !errors.Is(err, errAbsent) {
					return nil, problemAt(doc.GetName(), f.line, fmt.Sprintf("source %q cannot be read: %s", f.Source, reason(err)))
				}
				known[f.Source] = src
				sources = append(sources, src)
			}
			if src.GetDigest() == "" && !f.Optional {
				return nil, problemAt(doc.GetName(), f.line, fmt.Sprintf(
					"source %q does not exist (paths are relative to the directory you run kiln in); create it, or add \"optional: true\"", f.Source))
			}
		}
	}
	return sources, nil
}

// errAbsent: the source cannot be stat'ed, which an optional file may be.
var errAbsent = errors.New("no such file")

func store(ctx context.Context, source string, opts Options) (*kilnv1.FileSource, error) {
	out := &kilnv1.FileSource{Path: source}
	name := source
	if strings.HasPrefix(name, "~/") {
		name = filepath.Join(opts.Home, name[2:])
	}
	if _, err := os.Stat(name); err != nil {
		return out, errAbsent
	}
	f, err := userfile.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	draft, err := opts.Blobs.Create(ctx)
	if err != nil {
		return nil, err
	}
	defer draft.Abort()
	if _, err := draft.ReadFrom(f); err != nil {
		return nil, err
	}
	digest, size, err := draft.Commit()
	if err != nil {
		return nil, err
	}
	out.Digest, out.Size = digest.String(), size
	return out, nil
}

// fileSource is what Load needs to know of a files: entry.
type fileSource struct {
	Source   string
	Optional bool
	line     int
}

func sourcesOf(doc *kilnv1.Document) ([]fileSource, error) {
	var root struct {
		Files []yaml.Node `yaml:"files"`
	}
	if err := yaml.Unmarshal(doc.GetYaml(), &root); err != nil {
		return nil, syntaxProblem(doc.GetName(), err)
	}
	files := make([]fileSource, 0, len(root.Files))
	for _, node := range root.Files {
		var f struct {
			Source   string
			Optional bool
		}
		if err := node.Decode(&f); err != nil {
			return nil, syntaxProblem(doc.GetName(), err)
		}
		if f.Source != "" {
			files = append(files, fileSource{f.Source, f.Optional, lineOf(&node, "source")})
		}
	}
	return files, nil
}
