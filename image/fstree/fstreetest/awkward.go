package fstreetest

import (
	"archive/tar"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/kiln-farm/kiln/image/tree"
)

// Limits say what of the awkward cases a format can hold.
type Limits struct {
	LastTime   int64 // in seconds since 1970
	ACLs       bool  // system.posix_acl_access
	HugeXattrs bool  // more of them on a file than the filesystem of this machine may take
}

// Awkward are two parts, one over the other, with everything that a writer of filesystems may get wrong. Sizes of files
// lie around multiples of block.
func Awkward(block int, of Limits) (lower, upper []Item) {
	random := rand.New(rand.NewPCG(uint64(block), 7))
	noise := func(n int) string {
		b := make([]byte, n)
		for i := range b {
			b[i] = byte(random.Uint32())
		}
		return string(b)
	}
	lower = []Item{Dir("."), Dir("sizes"), Dir("links"), Dir("empty"), File("replaced", "old contents")}
	for _, n := range []int{0, 1, 100, block / 2, block - 1, block, block + 1, 2*block - 1, 3 * block, 5*block + 77} {
		lower = append(lower,
			File(fmt.Sprintf("sizes/text-%d", n), words(random, n)),
			File(fmt.Sprintf("sizes/noise-%d", n), noise(n)),
			File(fmt.Sprintf("sizes/zeros-%d", n), strings.Repeat("\x00", n)),
			File(fmt.Sprintf("sizes/hole-%d", n), noise(n)+strings.Repeat("\x00", 2*block)+noise(n)))
	}
	for _, n := range []int{7, block, 3*block + 7} {
		f := File(fmt.Sprintf("sizes/inline-%d", n), "")
		f.Body = tree.Body{Inline: []byte(words(random, n)), Size: int64(n)}
		lower = append(lower, f)
	}
	lower = append(lower, names()...)
	lower = append(lower, links()...)
	lower = append(lower, devices()...)
	lower = append(lower, owners(of)...)
	lower = append(lower, extended(of, noise)...)

	upper = []Item{Dir("upper"), File("replaced", "new contents"), Hard("upper/link", "replaced"), Soft("empty", "upper")}
	upper = append(upper, lower[5:25]...) // the same contents in another part
	for i := range 5 {
		upper[4+i].Name = "upper/" + strings.ReplaceAll(upper[4+i].Name, "/", "-")
	}
	large := File("upper/text-again", "")
	large.Contents = lower[5+9*4].Contents
	return lower, append(upper, large)
}

// words compress like text.
func words(random *rand.Rand, n int) string {
	var b strings.Builder
	for b.Len() < n {
		fmt.Fprintf(&b, "word-%d ", random.IntN(300))
	}
	return b.String()[:n]
}

func names() []Item {
	out := []Item{Dir("names"), Dir("many"), Dir("boot"), File("boot/kernel", "a kernel")}
	for _, name := range []string{" ", "!", "+", "-", "-a", "...", ".a", "..a", "space here", "line\nbreak", "\xff\xfe", "ä", "A", "a", "a.b", "a-b", "ab", strings.Repeat("n", 255), strings.Repeat("m", 254), ".hidden", "~"} {
		out = append(out, File("names/"+name, name))
	}
	for i := range 3000 {
		out = append(out, File(fmt.Sprintf("many/%s-%d", strings.Repeat("x", i%80), i), fmt.Sprint("number ", i)))
	}
	deep := "deep"
	for range 60 {
		out = append(out, Dir(deep))
		deep += "/d"
	}
	return append(out, File(deep, "deep down"))
}

func links() []Item {
	out := []Item{Dir("a"), Dir("z"), File("a/file", "linked"), Hard("z/file", "a/file"), Hard("links/file", "z/file"),
		Soft("a/soft", "file"), Hard("z/soft", "a/soft"), Soft("links/dangling", "../nowhere"), Soft("links/long", strings.Repeat("t/", 2000))}
	for _, n := range []int{59, 60, 64, 127, 128, 4000} {
		out = append(out, Soft(fmt.Sprintf("links/soft-%d", n), strings.Repeat("t", n)))
	}
	return out
}

func devices() []Item {
	out := []Item{Dir("dev")}
	for i, d := range []struct {
		kind         byte
		major, minor int64
	}{{tar.TypeChar, 1, 3}, {tar.TypeBlock, 8, 1}, {tar.TypeBlock, 259, 300}, {tar.TypeChar, 4095, 1<<20 - 1}, {tar.TypeFifo, 0, 0}, {tar.TypeChar, 0, 0}} {
		e := tree.Entry{Name: fmt.Sprintf("dev/%d", i), Type: d.kind, Mode: 0o620, Devmajor: d.major, Devminor: d.minor}
		out = append(out, Item{Entry: e}, Hard(fmt.Sprintf("dev/link-%d", i), e.Name))
	}
	return out
}

func owners(of Limits) []Item {
	out := []Item{Dir("owners")}
	for i, o := range []struct {
		mode     int64
		uid, gid int
		at       int64
	}{{0, 0, 0, 0}, {0o7777, 1, 65535, 1}, {0o4755, 65536, 100, 1 << 31}, {0o2755, 1<<32 - 2, 1<<31 + 5, of.LastTime}, {0o1777, 70000, 1<<32 - 2, 1234567890}} {
		f, d := File(fmt.Sprintf("owners/file-%d", i), "owned"), Dir(fmt.Sprintf("owners/dir-%d", i))
		for _, item := range []Item{f, d} {
			item.Mode, item.UID, item.GID, item.ModTime = o.mode, o.uid, o.gid, time.Unix(o.at, 123456789)
			if item.Type == tar.TypeDir {
				item.Mode |= 0o700
			}
			out = append(out, item)
		}
	}
	return out
}

// capability is CAP_NET_BIND_SERVICE as security.capability has it (include/uapi/linux/capability.h, revision 2).
const capability = "\x01\x00\x00\x02\x00\x04\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"

// acl is user::rw-,user:5:r--,group::r--,mask::r--,other::r-- (include/uapi/linux/posix_acl_xattr.h).
const acl = "\x02\x00\x00\x00\x01\x00\x06\x00\xff\xff\xff\xff\x02\x00\x04\x00\x05\x00\x00\x00\x04\x00\x04\x00\xff\xff\xff\xff" +
	"\x10\x00\x04\x00\xff\xff\xff\xff\x20\x00\x04\x00\xff\xff\xff\xff"

func extended(of Limits, noise func(int) string) []Item {
	with := func(i Item, pairs ...string) Item {
		i.PAX = map[string]string{}
		for n := 0; n < len(pairs); n += 2 {
			i.PAX["SCHILY.xattr."+pairs[n]] = pairs[n+1]
		}
		return i
	}
	out := []Item{
		with(Dir("xattrs"), "user.of", "a directory", "trusted.overlay.opaque", "y"),
		with(File("xattrs/capability", "can bind"), "security.capability", capability),
		with(File("xattrs/same", "can bind, too"), "security.capability", capability),
		with(File("xattrs/empty", ""), "user.empty", "", "user.zero", "\x00"),
		with(File("xattrs/large", "large"), "user.large", noise(3000)),
		with(Soft("xattrs/soft", "large"), "trusted.of", "a symbolic link"),
		Hard("xattrs/hard", "xattrs/large"),
	}
	for i := range 40 {
		out = append(out, with(File(fmt.Sprintf("xattrs/own-%d", i), "own"), fmt.Sprintf("user.own-%d", i), noise(i), "user.shared", "the same"))
	}
	null := Item{Entry: tree.Entry{Name: "xattrs/null", Type: tar.TypeChar, Mode: 0o666, Devmajor: 1, Devminor: 3}}
	out = append(out, with(null, "trusted.of", "a device"))
	if of.HugeXattrs {
		out = append(out, with(File("xattrs/huge", "huge"), "user.one", noise(3000), "user.two", noise(3000), "trusted.three", noise(60)))
	}
	if of.ACLs {
		f := with(File("xattrs/acl", "shared"), "system.posix_acl_access", acl)
		f.Mode = 0o644
		out = append(out, f)
	}
	slices.SortFunc(out, func(a, b Item) int { return strings.Compare(a.Name, b.Name) })
	return out
}

// Many are files of a large image in directories of different sizes: n of them, of up to 40 KiB.
func Many(n int) []Item {
	random := rand.New(rand.NewPCG(uint64(n), 3))
	var out []Item
	for i := range n {
		size := random.IntN(1 << (1 + random.IntN(15)))
		f := File(fmt.Sprintf("usr/share/%d/%d/file-%d.txt", random.IntN(20), random.IntN(40)*random.IntN(40), i), words(random, size))
		f.UID, f.ModTime = random.IntN(20), Epoch.Add(time.Duration(random.IntN(1e6))*time.Second)
		out = append(out, f)
	}
	slices.SortFunc(out, func(a, b Item) int { return strings.Compare(a.Name, b.Name) })
	return out
}
