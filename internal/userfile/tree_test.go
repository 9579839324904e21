package userfile

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// opens are the functions that wait for what a name stands for.
var opens = []string{"Open", "OpenFile", "ReadFile", "DirFS", "Create"}

// ours are the places whose names no user gives, each with the reason. A name without a slash is a file's, wherever it is.
var ours = map[string]string{
	"internal/userfile/": "this is how it is done",
	"internal/house/":    "the sources of this tree",
	"internal/lab/":      "tests and benchmarks: their own files",
	"internal/outfile/":  "writes a new file beside the one that is named; others go through Output",
	"internal/durable/":  "opens the folder of a file to have the name on disk",
	"bench/":             "its own files",
	"e2e/":               "its own files",
	"examples/":          "programs that run in images and make them",
	"cache/":             "the cache's own files, made and locked by it",
	"fleet/local/":       "the lock of what this machine knows, in the cache",
	"coordinator/":       "the state's own files in the data directory",
	"edge/":              "the edge's own files in its data directory, /proc and /sys",

	"data.go": "the node's own files in its data directory",

	"push.go":   "writes new files in a directory of its own",
	"files.go":  "writes new files in a directory of its own",
	"unpack.go": "writes new files in a directory of its own",
	"run.go":    "/dev/kvm, /proc and a new disk",
}

func TestUsersFilesAreOpenedHere(t *testing.T) {
	const root = "../.."
	err := filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && (strings.HasPrefix(d.Name(), ".") && name != root || name == filepath.Join(root, "build")) {
			return filepath.SkipDir
		}
		if path.Ext(name) != ".go" || strings.HasSuffix(name, "_test.go") || strings.HasSuffix(filepath.Dir(name), "test") {
			return nil
		}
		at, err := filepath.Rel(root, name)
		if err != nil {
			return err
		}
		fset := token.NewFileSet()
		file, err := parser.ParseFile(fset, name, nil, 0)
		if err != nil {
			return err
		}
		ast.Inspect(file, func(n ast.Node) bool {
			call, ok := n.(*ast.SelectorExpr)
			if !ok {
				return true
			}
			if pkg, ok := call.X.(*ast.Ident); !ok || pkg.Name != "os" || !slices.Contains(opens, call.Sel.Name) {
				return true
			}
			for place := range ours {
				if strings.HasPrefix(at, place) || filepath.Base(at) == place {
					return true
				}
			}
			t.Errorf("%s:%d: os.%s may wait for ever for what a user names: use package userfile, or say in this test whose file it is",
				at, fset.Position(n.Pos()).Line, call.Sel.Name)
			return true
		})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
