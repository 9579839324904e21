package cache_test

import (
	"testing"

	"github.com/kiln-farm/kiln/cache"
	"github.com/kiln-farm/kiln/cache/cachetest"
)

func TestStores(t *testing.T) {
	for name, open := range map[string]func(t *testing.T) cache.Store{
		"directory": func(t *testing.T) cache.Store { return cachetest.Dir(t) },
		"read-through": func(t *testing.T) cache.Store {
			return cache.NewReadThrough(cachetest.Dir(t), cachetest.Dir(t), cache.ReadThroughOptions{})
		},
		"verifying": func(t *testing.T) cache.Store { return cache.NewVerifying(cachetest.Dir(t)) },
		"limited":   func(t *testing.T) cache.Store { return cache.NewLimited(cachetest.Dir(t), 2) },
		"traced":    func(t *testing.T) cache.Store { return cache.NewTraced(cachetest.Dir(t), "test") },
	} {
		t.Run(name, func(t *testing.T) { cachetest.Run(t, open) })
	}
}

func TestBlobs(t *testing.T) {
	for name, open := range map[string]func(t *testing.T) cache.Blobs{
		"directory": func(t *testing.T) cache.Blobs { return cachetest.Dir(t) },
		"read-through": func(t *testing.T) cache.Blobs {
			return cache.NewReadThrough(cachetest.Dir(t), cachetest.Dir(t), cache.ReadThroughOptions{})
		},
	} {
		t.Run(name, func(t *testing.T) { cachetest.RunBlobs(t, open) })
	}
}
