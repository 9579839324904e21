package cache

import (
	"strings"
	"testing"
)

func TestParseDigest(t *testing.T) {
	hex := strings.Repeat("0123456789abcdef", 4)
	for _, tt := range []struct {
		name, text string
		ok         bool
	}{
		{"64 digits", "sha256:" + hex, true},
		{"upper case", "sha256:" + strings.ToUpper(hex), false},
		{"a digit too few", "sha256:" + hex[1:], false},
		{"a digit too many", "sha256:" + hex + "0", false},
		{"no digit among them", "sha256:" + hex[:30] + "g" + hex[31:], false},
		{"no algorithm", hex, false},
		{"another algorithm", "sha512:" + hex + hex, false},
		{"nothing", "", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d, err := ParseDigest(tt.text)
			if (err == nil) != tt.ok || tt.ok && d.String() != tt.text || d.IsZero() == tt.ok {
				t.Errorf("got %q, %v", d, err)
			}
		})
	}
}
