package part

import (
	"archive/tar"
	"path"
	"strings"

	"github.com/kiln-farm/kiln/image/tree"
)

// survey is what an archive must know of a whole part before it writes the first record: newc says with each name how
// many names its file has, and has the contents once, while in a tar a hard link may come before the file it leads to
// and a name may be written twice, the later winning.
type survey struct {
	links   map[string]string // from each hard link to where it leads
	groups  map[string]*group // by the name that its links lead to at the end
	last    map[string]int    // the last entry of each name that is in a group, counted from 0
	omit    map[string]bool
	known   map[string]bool        // directories that are in the part, or must be for what is in them
	missing map[string]bool        // those that have no entry before something in them
	late    map[string]*tree.Entry // of directories with an entry after that, or with several: the last one
}

// group is a file with several names.
type group struct {
	file    *tree.Entry // the entry with the contents; nil when the part has none
	fileAt  int
	names   uint32 // that are written
	inode   uint32
	written bool // the contents
}

// maxHops bounds links to links: they lead to a file at once, unless somebody means harm.
const maxHops = 255

// look takes the survey. Walk calls its argument for each entry, each time in the same order.
func look(walk func(func(int, *tree.Entry) error) error, omit map[string]bool) (*survey, error) {
	s := &survey{links: map[string]string{}, groups: map[string]*group{}, last: map[string]int{}, omit: omit,
		known: map[string]bool{".": true}, missing: map[string]bool{}, late: map[string]*tree.Entry{}}
	err := walk(func(_ int, e *tree.Entry) error {
		s.directories(e)
		if e.Type == tar.TypeLink {
			s.links[e.Name] = e.Linkname
		}
		return nil
	})
	if err != nil || len(s.links) == 0 {
		return s, err
	}
	for name := range s.links {
		if key, ok := s.target(name); ok {
			s.groups[key] = &group{}
		}
	}
	err = walk(func(n int, e *tree.Entry) error {
		if g := s.groups[e.Name]; g != nil && g.file == nil && e.Type != tar.TypeLink && e.Type != tar.TypeDir {
			copied := *e
			g.file, g.fileAt = &copied, n
		}
		if s.linked(e.Name) {
			s.last[e.Name] = n
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return s, walk(func(n int, e *tree.Entry) error {
		if g := s.group(n, e); g != nil && !s.left(n, e) {
			g.names++
		}
		return nil
	})
}

// linked says that name is one of several names of a file.
func (s *survey) linked(name string) bool {
	_, isLink := s.links[name]
	return isLink || s.groups[name] != nil
}

// left says that the entry is left out: because of an archive to come, or because the same name comes again here and
// writing to it would change the other names of its file.
func (s *survey) left(n int, e *tree.Entry) bool {
	if e.Type == tar.TypeDir {
		return false
	}
	last, counted := s.last[e.Name]
	return s.omit[e.Name] || counted && last != n
}

// group is the file of which the entry is a name; nil for a file with one name.
func (s *survey) group(n int, e *tree.Entry) *group {
	if e.Type == tar.TypeLink {
		key, ok := s.target(e.Name)
		if !ok {
			return nil
		}
		return s.groups[key]
	}
	if g := s.groups[e.Name]; g != nil && g.file != nil && g.fileAt == n {
		return g
	}
	return nil
}

// target follows links to links; false when they lead nowhere.
func (s *survey) target(name string) (string, bool) {
	for range maxHops {
		next, ok := s.links[name]
		if !ok {
			return name, true
		}
		name = next
	}
	return "", false
}

// directories notes which directories above e were not there yet.
func (s *survey) directories(e *tree.Entry) {
	for dir := path.Dir(e.Name); !s.known[dir]; dir = path.Dir(dir) {
		s.known[dir], s.missing[dir] = true, true
	}
	switch {
	case e.Type == tar.TypeDir && s.known[e.Name]:
		copied := *e
		s.late[e.Name] = &copied
	case e.Type == tar.TypeDir:
		s.known[e.Name] = true
	case s.missing[e.Name]:
		delete(s.missing, e.Name) // a link that stands there later must not find a directory
	}
}

// cleaned is e with the names that an archive has.
func cleaned(e *tree.Entry) {
	e.Name = path.Clean(strings.TrimLeft(e.Name, "/"))
	if e.Type == tar.TypeLink {
		e.Linkname = path.Clean(strings.TrimLeft(e.Linkname, "/"))
	}
}
