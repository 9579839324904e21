package cache

import (
	"io"
	"strings"
	"testing"
)

func TestVerifyReaderHoldsBackTheLastBytes(t *testing.T) {
	const content = "0123456789"
	r := VerifyReader(strings.NewReader(content), SumBytes([]byte("other")))
	got := make([]byte, len(content))
	if n, err := io.ReadFull(r, got); err == nil {
		t.Errorf("a reader who knows the length got %q", got[:n])
	}
}
