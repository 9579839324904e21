package house

import (
	"bytes"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
)

// Module is the path that imports of the tree's own folders begin with.
const Module = "github.com/kiln-farm/kiln/"

// Folder is a package of the tree, without its tests.
type Folder struct {
	Path    string // below the root, with slashes
	Files   []*File
	Imports map[string][]string // folder of the tree → files here that import it
}

// File is one of a folder's files.
type File struct {
	Name      string
	Lines     int
	Generated bool
	Syntax    *ast.File
}

// Read reads the sources below root: every folder with Go files that are no tests, by path. Folders of test data, of build outputs
// and hidden ones are left out.
func Read(root string) (map[string]*Folder, *token.FileSet, error) {
	all, set := map[string]*Folder{}, token.NewFileSet()
	err := filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if base := d.Name(); name != root && (strings.HasPrefix(base, ".") || base == "testdata" || name == filepath.Join(root, "build") || name == filepath.Join(root, "bin")) {
				return filepath.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go") {
			return nil
		}
		text, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, name)
		if err != nil {
			return err
		}
		syntax, err := parser.ParseFile(set, rel, text, parser.ParseComments)
		if err != nil {
			return err
		}
		at := path.Dir(filepath.ToSlash(rel))
		folder := all[at]
		if folder == nil {
			folder = &Folder{Path: at, Imports: map[string][]string{}}
			all[at] = folder
		}
		folder.Files = append(folder.Files, &File{Name: d.Name(), Lines: bytes.Count(text, []byte("\n")), Generated: ast.IsGenerated(syntax), Syntax: syntax})
		for _, i := range syntax.Imports {
			if to, ours := strings.CutPrefix(strings.Trim(i.Path.Value, `"`), Module); ours {
				folder.Imports[to] = append(folder.Imports[to], d.Name())
			}
		}
		return nil
	})
	return all, set, err
}

// Size is how many files and lines people wrote in a folder, its doc.go aside.
func (f *Folder) Size() (files, lines int) {
	for _, file := range f.Files {
		if !file.Generated && file.Name != "doc.go" {
			files++
			lines += file.Lines
		}
	}
	return files, lines
}
