package wrap_test

import (
	"testing"
	"time"

	"github.com/kiln-farm/kiln/cache"
	"github.com/kiln-farm/kiln/cache/cachetest"
	"github.com/kiln-farm/kiln/cache/wrap"
)

func TestWrappedStoresKeepTheContract(t *testing.T) {
	for name, open := range map[string]func(t *testing.T) cache.Store{
		"read-through": func(t *testing.T) cache.Store {
			return wrap.NewReadThrough(cachetest.Dir(t), cachetest.Dir(t), wrap.ReadThroughOptions{})
		},
		"verifying": func(t *testing.T) cache.Store { return wrap.NewVerifying(cachetest.Dir(t)) },
		"limited":   func(t *testing.T) cache.Store { return wrap.NewLimited(cachetest.Dir(t), 2) },
		"traced":    func(t *testing.T) cache.Store { return wrap.NewTraced(cachetest.Dir(t), "test") },
		"presence":  func(t *testing.T) cache.Store { return wrap.NewPresence(cachetest.Dir(t), time.Minute, 100) },
	} {
		t.Run(name, func(t *testing.T) { cachetest.Run(t, open) })
	}
}

func TestReadThroughKeepsTheContractOfBlobs(t *testing.T) {
	cachetest.RunBlobs(t, func(t *testing.T) cache.Blobs {
		return wrap.NewReadThrough(cachetest.Dir(t), cachetest.Dir(t), wrap.ReadThroughOptions{})
	})
}
