package cache_test

import (
	"path/filepath"
	"testing"

	"github.com/kiln-farm/kiln/cache"
	"github.com/kiln-farm/kiln/cache/cachetest"
)

func newDir(t *testing.T) *cache.Dir {
	t.Helper()
	d, err := cache.OpenDir(filepath.Join(t.TempDir(), "cache"))
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestStores(t *testing.T) {
	for name, open := range map[string]func(t *testing.T) cache.Store{
		"directory": func(t *testing.T) cache.Store { return newDir(t) },
		"read-through": func(t *testing.T) cache.Store {
			return cache.NewReadThrough(newDir(t), newDir(t), cache.ReadThroughOptions{})
		},
		"verifying": func(t *testing.T) cache.Store { return cache.NewVerifying(newDir(t)) },
		"limited":   func(t *testing.T) cache.Store { return cache.NewLimited(newDir(t), 2) },
		"traced":    func(t *testing.T) cache.Store { return cache.NewTraced(newDir(t), "test") },
	} {
		t.Run(name, func(t *testing.T) { cachetest.Run(t, open) })
	}
}

func TestBlobs(t *testing.T) {
	for name, open := range map[string]func(t *testing.T) cache.Blobs{
		"directory": func(t *testing.T) cache.Blobs { return newDir(t) },
		"read-through": func(t *testing.T) cache.Blobs {
			return cache.NewReadThrough(newDir(t), newDir(t), cache.ReadThroughOptions{})
		},
	} {
		t.Run(name, func(t *testing.T) { cachetest.RunBlobs(t, open) })
	}
}
