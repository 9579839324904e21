package house

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
)

const (
	root      = "../.."
	mostFiles = 15   // of a folder, doc.go, tests and generated ones aside
	mostLines = 4000 // of the same
	mostBack  = 10   // percent of a room's ties that may run back up
)

// TestRoomsImportOnlyWhatTheyMay holds the tree to rooms and to inner.
func TestRoomsImportOnlyWhatTheyMay(t *testing.T) {
	t.Parallel()
	folders := read(t)
	for _, f := range folders {
		for _, fault := range faults(f) {
			t.Error(fault)
		}
	}
	for folder := range inner {
		if folders[folder] == nil {
			t.Errorf("inner has a row for %s, where there are no sources: take it out", folder)
		}
	}
}

// faults are what a folder imports and may not.
func faults(f *Folder) []string {
	var out []string
	room := top(f.Path)
	may, known := rooms[room]
	if !known {
		return []string{fmt.Sprintf("%s is in no room that this test knows: add %s to rooms, and to the map in docs/design.md", f.Path, room)}
	}
	own, drawn := inner[f.Path]
	if _, tabled := inner[room]; tabled && !drawn {
		out = append(out, fmt.Sprintf("%s is not drawn: say in inner what it may import of %s", f.Path, room))
	}
	for _, to := range slices.Sorted(maps.Keys(f.Imports)) {
		by := fmt.Sprintf("%s imports %s (%s)", f.Path, to, strings.Join(f.Imports[to], ", "))
		switch {
		case strings.Contains(to, "/internal/") && !strings.HasPrefix(f.Path+"/", strings.Split(to, "internal/")[0]):
			out = append(out, by+", which is another room's own")
		case top(to) == room:
			if drawn && !slices.Contains(own, to) {
				out = append(out, by+": inner does not allow it")
			}
		case !slices.Contains(may, "*") && !slices.Contains(may, top(to)):
			out = append(out, by+": an arrow upward, or to a room that it does not meet")
		}
	}
	return out
}

func TestFaultsOfImports(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ from, to, want string }{
		{"cli/build", "cli/ui", ""},
		{"cli/build", "coordinator", ""},
		{"cli/build", "cli/machines", "cli/build imports cli/machines (x.go): inner does not allow it"},
		{"cli/ui", "cli/access", "inner does not allow it"},
		{"cli/verbs", "cli/ui", "cli/verbs is not drawn"},
		{"edge/pxe", "cli/client", "an arrow upward"},
		{"edge", "coordinator/state", "an arrow upward"},
		{"fleet/local", "coordinator/state", "an arrow upward"},
		{"cache/record", "cache", ""},
		{"cli", "cache/internal/recordfile", "which is another room's own"},
		{"cache/disk", "cache/internal/recordfile", ""},
		{"internal/lab", "cache", "an arrow upward"},
		{"attic", "proto/kiln/v1", "attic is in no room"},
	} {
		got := strings.Join(faults(&Folder{Path: c.from, Imports: map[string][]string{c.to: {"x.go"}}}), "; ")
		if got != c.want && (c.want == "" || !strings.Contains(got, c.want)) {
			t.Errorf("%s imports %s: got %q, want %q", c.from, c.to, got, c.want)
		}
	}
}

// top is the room that a folder is in.
func top(folder string) string {
	room, _, _ := strings.Cut(folder, "/")
	return room
}

// TestFoldersAreNotDrawers: no folder is larger than what is read in an hour.
func TestFoldersAreNotDrawers(t *testing.T) {
	t.Parallel()
	folders := read(t)
	for _, f := range folders {
		files, lines := f.Size()
		limit := larger[f.Path]
		if files > max(mostFiles, limit.files) || lines > max(mostLines, limit.lines) {
			t.Errorf("%s has %d files and %d lines that are no tests: split it along its nouns; %d and %d are the most", f.Path, files, lines, max(mostFiles, limit.files), max(mostLines, limit.lines))
		}
		if _, listed := larger[f.Path]; listed && files <= mostFiles && lines <= mostLines {
			t.Errorf("%s has %d files and %d lines: it needs no row in larger any more", f.Path, files, lines)
		}
	}
	for folder := range larger {
		if folders[folder] == nil {
			t.Errorf("larger has a row for %s, where there are no sources: take it out", folder)
		}
	}
}

// TestFewTiesRunBackUp: files of a folder that use each other in circles are one file in pieces.
func TestFewTiesRunBackUp(t *testing.T) {
	t.Parallel()
	folders, set, err := Read(root)
	if err != nil {
		t.Fatal(err)
	}
	for _, room := range []string{"cli", "coordinator", "edge"} {
		all, back := 0, 0
		var told []string
		for _, name := range slices.Sorted(maps.Keys(folders)) {
			if top(name) != room {
				continue
			}
			ties, up := Ties(folders[name], set), 0
			for _, tie := range ties {
				if tie.Back {
					up++
					told = append(told, fmt.Sprintf("%s: %s uses %s of %s", name, tie.From, strings.Join(tie.Names, ", "), tie.To))
				}
			}
			all, back = all+len(ties), back+up
		}
		t.Logf("%s: %d of %d ties between files of one folder run back up", room, back, all)
		if limit := max(all*mostBack/100, tied[room]); back > limit {
			t.Errorf("%s: %d of %d ties run back up, %d may:\n%s", room, back, all, limit, strings.Join(told, "\n"))
		} else if tied[room] > 0 && back <= all*mostBack/100 {
			t.Errorf("%s: %d of %d ties run back up: it needs no row in tied any more", room, back, all)
		}
	}
}

func read(t *testing.T) map[string]*Folder {
	t.Helper()
	folders, _, err := Read(root)
	if err != nil {
		t.Fatal(err)
	}
	return folders
}
