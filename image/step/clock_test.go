package step_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// Bytes are made of inputs alone: nothing that makes them may ask for the time, a name or a random number. Clocks of processes can't be
// set from outside (Go asks the kernel, not the C library), so what two runs cannot show is read in the source.
func TestNothingThatMakesBytesAsksTheWorld(t *testing.T) {
	asks := map[string][]string{
		"time": {"Now", "Since", "Until", "Local"},
		"os":   {"Hostname", "Getpid", "Getppid", "Getuid", "Getgid", "Getenv", "LookupEnv", "Environ", "Getwd", "UserHomeDir"},
	}
	files := 0
	err := filepath.WalkDir("..", func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() || filepath.Ext(path) != ".go" || strings.HasSuffix(path, "_test.go") || strings.HasSuffix(filepath.Dir(path), "test") {
			return nil
		}
		files++
		set := token.NewFileSet()
		f, err := parser.ParseFile(set, path, nil, 0)
		if err != nil {
			return err
		}
		for _, i := range f.Imports {
			if from := strings.Trim(i.Path.Value, `"`); slices.Contains([]string{"math/rand", "math/rand/v2", "crypto/rand", "os/user", "net"}, from) {
				t.Errorf("%s imports %s", path, from)
			}
		}
		ast.Inspect(f, func(n ast.Node) bool {
			if s, ok := n.(*ast.SelectorExpr); ok {
				if of, ok := s.X.(*ast.Ident); ok && slices.Contains(asks[of.Name], s.Sel.Name) {
					t.Errorf("%s asks for %s.%s", set.Position(s.Pos()), of.Name, s.Sel.Name)
				}
			}
			return true
		})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if files < 50 {
		t.Errorf("looked at %d files", files)
	}
}
