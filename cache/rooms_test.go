package cache_test

import (
	"go/parser"
	"go/token"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// rooms are the rooms of the cache and which of each other they may know (docs/decisions/0016).
var rooms = map[string][]string{
	".": nil, "record": {"."}, "artifact": {".", "record"}, "wrap": {"."}, "prune": {".", "record"}, "internal/recordfile": nil,
	"disk": {".", "internal/recordfile"}, "s3": {".", "internal/recordfile"}, "tiered": {".", "disk", "s3", "wrap", "prune"},
	"cachetest": {".", "disk"}, "s3test": {"s3"},
}

func TestRoomsKnowOnlyThoseBelowThem(t *testing.T) {
	const module = "github.com/kiln-farm/kiln/"
	var files []string
	for _, pattern := range []string{"*.go", "*/*.go", "*/*/*.go"} {
		found, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, found...)
	}
	seen := map[string]bool{}
	for _, file := range files {
		room := filepath.ToSlash(filepath.Dir(file))
		allowed, known := rooms[room]
		if seen[room] = true; !known {
			t.Errorf("%s: the room is not in docs/decisions/0016", room)
		}
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		f, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ImportsOnly)
		if err != nil {
			t.Fatal(err)
		}
		for _, i := range f.Imports {
			name, ours := strings.CutPrefix(strings.Trim(i.Path.Value, `"`), module)
			if !ours {
				continue
			}
			if rel, inside := strings.CutPrefix(name+"/", "cache/"); inside {
				if to := path.Clean(rel); !slices.Contains(allowed, to) {
					t.Errorf("%s knows %s", file, name)
				}
			} else if !strings.HasPrefix(name, "proto/") && !strings.HasPrefix(name, "internal/") {
				t.Errorf("%s knows %s: the cache knows no other part", file, name)
			}
		}
	}
	for room := range rooms {
		if !seen[room] {
			t.Errorf("there is no room %s", room)
		}
	}
}
