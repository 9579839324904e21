//go:build !race

package fstree_test

import (
	"fmt"
	"runtime"
	"testing"

	"github.com/kiln-farm/kiln/image/fstree"
	"github.com/kiln-farm/kiln/image/fstree/fstreetest"
)

func TestMemoryOfANode(t *testing.T) {
	const files, limit = 50000, 320 // bytes for each
	s := fstreetest.New(t)
	var in items
	for i := range files {
		in = append(in, file(fmt.Sprintf("containers/services/web/lower/usr/lib/%d/package-%d.txt", i%1000, i), fmt.Sprint(i)))
	}
	p := s.Part(in...)
	in = nil
	heap := func() uint64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	before := heap()
	root := s.Build(fstree.Options{}, p)
	each := (heap() - before) / files
	runtime.KeepAlive(root)
	t.Logf("%d bytes for each file", each)
	if each > limit {
		t.Errorf("%d bytes for each file, want at most %d", each, limit)
	}
}
