package linuxkit

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"path"
	"path/filepath"
	"strings"
	"time"

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
	Stdin io.Reader    // for the argument "-"
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

// Config is a checked configuration.
type Config struct {
	Bundle   *kilnv1.ConfigBundle
	Warnings Problems // what it most likely lacks
	sources  []source // of files: entries, in the order of the documents
}

// Load reads the documents that args name (paths, URLs, "-" once) and checks them. The files that they refer to need not
// be there: Gather reads those.
func Load(ctx context.Context, args []string, opts Options) (*Config, error) {
	c := &Config{Bundle: &kilnv1.ConfigBundle{}}
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
		c.Bundle.Documents = append(c.Bundle.Documents, doc)
	}
	if err := Check(c.Bundle.Documents); err != nil {
		return nil, err
	}
	for _, doc := range c.Bundle.Documents {
		sources, err := sourcesOf(doc)
		if err != nil {
			return nil, err
		}
		c.sources = append(c.sources, sources...)
	}
	c.Warnings = warnings(c.Bundle.Documents)
	asLinuxKitReads(args, c.Bundle.Documents)
	return c, nil
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
