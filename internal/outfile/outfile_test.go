package outfile

import (
	"bytes"
	"errors"
	"io"
	"testing"

	"github.com/kiln-farm/kiln/cache"
)

func TestAStreamThatBeganIsNotBegunAgain(t *testing.T) {
	var b bytes.Buffer
	err := Stream(&b, func(w io.Writer) error {
		_, _ = io.WriteString(w, "x")
		return cache.ErrNotFound
	})
	if err == nil || errors.Is(err, cache.ErrNotFound) {
		t.Errorf("error %v: the caller would write the output again", err)
	}
	if err := Stream(&b, func(io.Writer) error { return cache.ErrNotFound }); !errors.Is(err, cache.ErrNotFound) {
		t.Errorf("error %v: the caller would not try again", err)
	}
}
