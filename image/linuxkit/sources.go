package linuxkit

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"gopkg.in/yaml.v3"

	"github.com/kiln-farm/kiln/cache"
	"github.com/kiln-farm/kiln/internal/userfile"
	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
)

// SourceOptions are what Gather takes from the process around it.
type SourceOptions struct {
	Blobs cache.Blobs // where the sources of files: entries go
	Home  string      // for sources that start with "~/"
}

// Gather stores the source of every files: entry, each path once, and notes them in the bundle. Nothing is stored when one
// cannot be read; the error (Problems) names all of those.
func (c *Config) Gather(ctx context.Context, opts SourceOptions) error {
	var problems Problems
	for i := range c.sources {
		if fault := c.sources[i].look(opts.Home); fault != "" {
			problems = append(problems, Problem{c.sources[i].file, c.sources[i].line, fault})
		}
	}
	if len(problems) > 0 {
		return problems
	}
	known := map[string]bool{}
	for _, s := range c.sources {
		if known[s.Source] {
			continue
		}
		known[s.Source] = true
		stored := &kilnv1.FileSource{Path: s.Source}
		if !s.absent {
			var err error
			if stored, err = store(ctx, s.Source, opts); err != nil {
				return s.problem(err)
			}
		}
		c.Bundle.Sources = append(c.Bundle.Sources, stored)
	}
	return nil
}

// source is a files: entry that has one.
type source struct {
	Source   string
	Optional bool
	file     string // the document
	line     int
	absent   bool // and it may be
}

// problem says why the source cannot be read.
func (s *source) problem(err error) error {
	if errors.Is(err, context.Canceled) {
		return err
	}
	return problemAt(s.file, s.line, fmt.Sprintf("source %q cannot be read: %s", s.Source, reason(err)))
}

// look says what is wrong with a source, "" for one that can be opened or is absent and may be.
func (s *source) look(home string) string {
	name := place(s.Source, home)
	if _, err := os.Stat(name); err != nil { // which LinuxKit takes for absence, whatever the reason
		if s.absent = s.Optional; s.absent {
			return ""
		}
		if !errors.Is(err, os.ErrNotExist) {
			return fmt.Sprintf("source %q cannot be read: %s", s.Source, reason(err))
		}
		return fmt.Sprintf("source %q does not exist (paths are relative to the directory you run kiln in); create it, or add \"optional: true\"", s.Source)
	}
	f, err := userfile.Open(name)
	if err != nil {
		return fmt.Sprintf("source %q cannot be read: %s", s.Source, reason(err))
	}
	f.Close()
	return ""
}

// place is where a source is: "~/" is the user's home.
func place(source, home string) string {
	if rest, ok := strings.CutPrefix(source, "~/"); ok {
		return filepath.Join(home, rest)
	}
	return source
}

func store(ctx context.Context, source string, opts SourceOptions) (*kilnv1.FileSource, error) {
	f, err := userfile.Open(place(source, opts.Home))
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
	return &kilnv1.FileSource{Path: source, Digest: digest.String(), Size: size}, nil
}

func sourcesOf(doc *kilnv1.Document) ([]source, error) {
	var root struct {
		Files []yaml.Node `yaml:"files"`
	}
	if err := yaml.Unmarshal(doc.GetYaml(), &root); err != nil {
		return nil, syntaxProblem(doc.GetName(), err)
	}
	var sources []source
	for _, node := range root.Files {
		s := source{file: doc.GetName(), line: lineOf(&node, "source")}
		if err := node.Decode(&s); err != nil {
			return nil, syntaxProblem(doc.GetName(), err)
		}
		if s.Source != "" {
			sources = append(sources, s)
		}
	}
	return sources, nil
}
