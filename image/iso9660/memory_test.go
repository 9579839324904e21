//go:build !race

package iso9660

import (
	"fmt"
	"runtime"
	"testing"

	"github.com/kiln-farm/kiln/image/fstree"
	"github.com/kiln-farm/kiln/image/fstree/fstreetest"
)

func TestMemoryOfManyFiles(t *testing.T) {
	const files, limit = 20000, 600 // bytes for each
	s := fstreetest.New(t)
	var in []fstreetest.Item
	for i := range files {
		in = append(in, file(fmt.Sprintf("usr/share/%d/package-%d.txt", i%1000, i), fmt.Sprint(i)))
	}
	root := s.Build(fstree.Options{}, s.Part(in...))
	in = nil
	heap := func() uint64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	before := heap()
	l := build(t, root, Options{})
	each := (heap() - before) / files
	runtime.KeepAlive(root)
	runtime.KeepAlive(l)
	t.Logf("%d bytes for each of %d files", each, files)
	if each > limit {
		t.Errorf("%d bytes for each file, want at most %d", each, limit)
	}
}
