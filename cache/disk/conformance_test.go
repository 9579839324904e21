package disk_test

import (
	"testing"

	"github.com/kiln-farm/kiln/cache"
	"github.com/kiln-farm/kiln/cache/cachetest"
)

func TestADirectoryKeepsTheContract(t *testing.T) {
	cachetest.Run(t, func(t *testing.T) cache.Store { return cachetest.Dir(t) })
	cachetest.RunBlobs(t, func(t *testing.T) cache.Blobs { return cachetest.Dir(t) })
}
