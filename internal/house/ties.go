package house

import (
	"go/ast"
	"go/build/constraint"
	"go/token"
	"go/types"
	"path/filepath"
	"slices"
	"strings"
)

// Tie is a file that uses what another file of its folder declares: functions, types, values, methods, fields.
type Tie struct {
	From, To string // names of files
	Names    []string
	Back     bool // it runs against the order of the others
}

// Ties finds the ties of a folder, and which of them run back up: an order of files in which users come before what they use is made
// so that few ties run against it (Eades, Lin and Smyth, 1993). Files for other systems than Linux are left out.
func Ties(f *Folder, set *token.FileSet) []Tie {
	var files []*ast.File
	for _, file := range f.Files {
		if forLinux(file) {
			files = append(files, file.Syntax)
		}
	}
	info := &types.Info{Uses: map[*ast.Ident]types.Object{}}
	config := types.Config{Importer: empty{}, Error: func(error) {}} // what is imported is not known, and not asked for
	pkg, _ := config.Check(f.Path, set, files, info)
	found := map[[2]string][]string{}
	for id, used := range info.Uses {
		if used.Pkg() != pkg || !used.Pos().IsValid() || used.Parent() != pkg.Scope() && !member(used) {
			continue
		}
		tie := [2]string{file(set, id.Pos()), file(set, used.Pos())}
		if tie[0] != tie[1] && !slices.Contains(found[tie], used.Name()) {
			found[tie] = append(found[tie], used.Name())
		}
	}
	place := order(found)
	var all []Tie
	for tie, names := range found {
		slices.Sort(names)
		all = append(all, Tie{tie[0], tie[1], names, place[tie[0]] > place[tie[1]]})
	}
	slices.SortFunc(all, func(a, b Tie) int { return strings.Compare(a.From+"\x00"+a.To, b.From+"\x00"+b.To) })
	return all
}

func file(set *token.FileSet, at token.Pos) string { return filepath.Base(set.Position(at).Filename) }

func member(o types.Object) bool {
	switch o := o.(type) {
	case *types.Func:
		return o.Signature().Recv() != nil
	case *types.Var:
		return o.IsField()
	}
	return false
}

// forLinux tells whether a file is one of a build for Linux, by its name and its constraint.
func forLinux(f *File) bool {
	for _, other := range []string{"_darwin.go", "_windows.go", "_other.go"} {
		if strings.HasSuffix(f.Name, other) {
			return false
		}
	}
	for _, group := range f.Syntax.Comments {
		if group.Pos() > f.Syntax.Package {
			break
		}
		for _, line := range group.List {
			if want, err := constraint.Parse(line.Text); err == nil && !want.Eval(func(tag string) bool { return tag == "linux" || tag == "unix" || tag == "amd64" }) {
				return false
			}
		}
	}
	return true
}

// empty imports packages in which there is nothing.
type empty struct{}

func (empty) Import(name string) (*types.Package, error) {
	p := types.NewPackage(name, name[strings.LastIndex(name, "/")+1:])
	p.MarkComplete()
	return p, nil
}

// order gives each file its place: users first.
func order(ties map[[2]string][]string) map[string]int {
	out, in := map[string]map[string]bool{}, map[string]map[string]bool{}
	for tie := range ties {
		for _, name := range tie {
			if out[name] == nil {
				out[name], in[name] = map[string]bool{}, map[string]bool{}
			}
		}
		out[tie[0]][tie[1]], in[tie[1]][tie[0]] = true, true
	}
	var left []string
	for name := range out {
		left = append(left, name)
	}
	slices.Sort(left)
	var first, last []string // last is the other way round
	take := func(name string) {
		for to := range out[name] {
			delete(in[to], name)
		}
		for from := range in[name] {
			delete(out[from], name)
		}
		left = slices.DeleteFunc(left, func(one string) bool { return one == name })
	}
	for len(left) > 0 {
		if i := slices.IndexFunc(left, func(name string) bool { return len(out[name]) == 0 }); i >= 0 {
			last = append(last, left[i])
			take(left[i])
			continue
		}
		if i := slices.IndexFunc(left, func(name string) bool { return len(in[name]) == 0 }); i >= 0 {
			first = append(first, left[i])
			take(left[i])
			continue
		}
		best := slices.MaxFunc(left, func(a, b string) int { return len(out[a]) - len(in[a]) - len(out[b]) + len(in[b]) })
		first = append(first, best)
		take(best)
	}
	slices.Reverse(last)
	place := map[string]int{}
	for i, name := range append(first, last...) {
		place[name] = i
	}
	return place
}
