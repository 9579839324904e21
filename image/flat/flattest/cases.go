package flattest

// Case is a stack of layers, bottom first, and what unpacking it must leave: names in the order of their bytes, each
// with what it is ("dir/", "file=contents", "link->target") and, for hard links, the first of the file's names.
type Case struct {
	Name   string
	Layers [][]Item
	Want   []string
}

// Cases are rules of layers (package flat) that a tool has got wrong somewhere, one each.
func Cases() []Case {
	return []Case{
		{"a file stays when one of its names is removed", [][]Item{{Dir("a"), File("a/one", "DATA"), Hard("a/two", "a/one")}, {File("a/.wh.one", "")}},
			[]string{"a/", "a/two=DATA"}},
		{"a file stays when its first name gets another one", [][]Item{{File("t2", "123")}, {File("t1", "123"), Hard("t2", "t1"), Hard("t3", "t1")}, {File("t1", "456")}},
			[]string{"t1=456", "t2=123", "t3=123 same as t2"}},
		{"a file stays when the directory of its first name is removed", [][]Item{{Dir("a"), File("a/one", "DATA"), Dir("b"), Hard("b/two", "a/one")}, {File(".wh.a", "")}},
			[]string{"b/", "b/two=DATA"}},
		{"a link is not what its target's name becomes", [][]Item{{File("lib.so.1", "V1"), Hard("lib.so", "lib.so.1")}, {File("lib.so.1", "V2")}},
			[]string{"lib.so.1=V2", "lib.so=V1"}},
		{"a link of a link stays when both names before it are gone", [][]Item{{File("a", "1"), Hard("b", "a"), Hard("c", "b"), Hard("d", "c")}, {File(".wh.a", ""), File(".wh.b", "")}},
			[]string{"c=1", "d=1 same as c"}},
		{"an upper layer's link to a lower file survives that name", [][]Item{{File("a", "1")}, {Hard("b", "a")}, {File(".wh.a", "")}},
			[]string{"b=1"}},
		{"a link in an upper layer stays with what its target was then", [][]Item{{File("a", "1")}, {Hard("b", "a")}, {File("a", "2")}, {Hard("c", "a")}},
			[]string{"a=2", "b=1", "c=2 same as a"}},
		{"an opaque directory keeps files that have names outside", [][]Item{{Dir("d"), File("d/a", "1"), Hard("b", "d/a")}, {Dir("d"), File("d/.wh..wh..opq", "")}},
			[]string{"b=1", "d/"}},
		{"links to a symbolic link are symbolic links", [][]Item{{Soft("s", "x"), Hard("t", "s")}, {File(".wh.s", "")}},
			[]string{"t->x"}},
		{"a whiteout before what replaces it", [][]Item{{Dir("a"), File("a/x", "old"), Dir("a/d"), File("a/d/old", "o")},
			{Dir("a"), File("a/.wh.x", ""), File("a/x", "new"), File("a/.wh.d", ""), Dir("a/d"), File("a/d/new", "n")}},
			[]string{"a/", "a/d/", "a/d/new=n", "a/x=new"}},
		{"a whiteout after what replaces it", [][]Item{{Dir("a"), File("a/x", "old"), Dir("a/d"), File("a/d/old", "o")},
			{Dir("a"), File("a/x", "new"), File("a/.wh.x", ""), Dir("a/d"), File("a/d/new", "n"), File("a/.wh.d", "")}},
			[]string{"a/", "a/d/", "a/d/new=n", "a/x=new"}},
		{"a whiteout of a directory in which the layer has files, but none for it", [][]Item{{Mode(Dir("d"), 0o700), File("d/old", "o")}, {File("d/new", "n"), File(".wh.d", "")}},
			[]string{"d/", "d/new=n"}},
		{"the last of one name counts", [][]Item{{File("x", "first"), File("x", "second")}}, []string{"x=second"}},
		{"the last mode of a directory counts", [][]Item{{Mode(Dir("e"), 0o700), File("e/y", "1"), Dir("e")}}, []string{"e/", "e/y=1"}},
		{"a link keeps what its target was before the same layer replaced it", [][]Item{{File("a", "1"), Hard("b", "a"), File("a", "2")}}, []string{"a=2", "b=1"}},
		{"a file that becomes a directory in one layer", [][]Item{{File("a", "1"), Dir("a"), File("a/b", "2")}}, []string{"a/", "a/b=2"}},
		{"a directory that becomes a file in one layer", [][]Item{{Dir("a"), File("a/b", "2"), File("a", "1")}}, []string{"a=1"}},
		{"a name below a symbolic link", [][]Item{{Dir("usr"), Dir("usr/lib"), File("usr/lib/libc", "C"), Soft("lib", "usr/lib")}, {File("lib/mod", "M")}},
			[]string{"lib->usr/lib", "usr/", "usr/lib/", "usr/lib/libc=C", "usr/lib/mod=M"}},
		{"a name below a symbolic link of its own layer", [][]Item{{Dir("usr"), Dir("usr/lib"), Soft("lib", "usr/lib"), File("lib/mod", "M")}},
			[]string{"lib->usr/lib", "usr/", "usr/lib/", "usr/lib/mod=M"}},
		{"a symbolic link that climbs", [][]Item{{Soft("e", "../../.."), File("e/out", "O")}}, []string{"e->../../..", "out=O"}},
		{"a whiteout below a symbolic link", [][]Item{{Dir("usr/lib"), File("usr/lib/a", "1"), File("usr/lib/b", "2"), Soft("lib", "/usr/lib")}, {File("lib/.wh.a", "")}},
			[]string{"lib->/usr/lib", "usr/", "usr/lib/", "usr/lib/b=2"}},
		{"a hard link to a name below a symbolic link", [][]Item{{Dir("usr/lib"), File("usr/lib/a", "1"), Soft("lib", "usr/lib"), Hard("b", "lib/a")}},
			[]string{"b=1", "lib->usr/lib", "usr/", "usr/lib/", "usr/lib/a=1 same as b"}},
		{"a directory in the place of a symbolic link", [][]Item{{Dir("usr/lib"), File("usr/lib/a", "1"), Soft("lib", "usr/lib")}, {Dir("lib"), File("lib/.wh..wh..opq", ""), File("lib/b", "2")}},
			[]string{"lib/", "lib/b=2", "usr/", "usr/lib/", "usr/lib/a=1"}},
		{"names and targets with a leading slash", [][]Item{{Dir("/etc"), File("/etc/motd", "hi"), Soft("/etc/l", "motd"), Hard("/etc/hl", "/etc/motd"), File("//etc//x", "x")}, {File("/etc/.wh.x", "")}},
			[]string{"etc/", "etc/hl=hi", "etc/l->motd", "etc/motd=hi same as etc/hl"}},
		{"an entry for the root", [][]Item{{Dir("/"), Dir("etc"), File("etc/motd", "hi")}}, []string{"etc/", "etc/motd=hi"}},
		{"directories without entries", [][]Item{{File("opt/tool/run", "R")}, {File("opt/tool/.wh.run", "")}}, []string{"opt/", "opt/tool/"}},
	}
}
