package house

import (
	"fmt"
	"go/parser"
	"go/token"
	"maps"
	"slices"
	"strings"
	"testing"
)

func TestTies(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		files map[string]string
		want  []string
	}{
		{"a user and what it uses", map[string]string{"a.go": "func a() { b() }", "b.go": "func b() {}"}, []string{"a.go → b.go b"}},
		{"two that use each other", map[string]string{"a.go": "func a() { b(); c() }\nfunc d() {}\nfunc e() {}", "b.go": "func b() { d() }\nfunc c() {}"},
			[]string{"a.go → b.go b c", "b.go → a.go d back"}},
		{"a method and a field", map[string]string{"a.go": "func a(t T) int { t.m(); return t.f }", "b.go": "type T struct{ f int }\nfunc (T) m() {}"},
			[]string{"a.go → b.go T f m"}},
		{"local names are nobody's", map[string]string{"a.go": "func a() { b := 1; _ = b }", "b.go": "func b() {}"}, nil},
		{"what is imported is not asked for", map[string]string{"a.go": "import \"x/y\"\nfunc a() { y.B(b()) }", "b.go": "func b() int { return 1 }"}, []string{"a.go → b.go b"}},
		{"another system's file", map[string]string{"a.go": "func a() { b() }", "b_other.go": "func b() { a() }", "b_linux.go": "func b() {}"}, []string{"a.go → b_linux.go b"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			folder, set := &Folder{Path: "p"}, token.NewFileSet()
			for _, name := range slices.Sorted(maps.Keys(c.files)) {
				syntax, err := parser.ParseFile(set, name, "package p\n"+c.files[name], parser.ParseComments)
				if err != nil {
					t.Fatal(err)
				}
				folder.Files = append(folder.Files, &File{Name: name, Syntax: syntax})
			}
			var got []string
			for _, tie := range Ties(folder, set) {
				text := fmt.Sprintf("%s → %s %s", tie.From, tie.To, strings.Join(tie.Names, " "))
				if tie.Back {
					text += " back"
				}
				got = append(got, text)
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}
