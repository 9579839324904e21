package pull

import (
	"testing"
	"time"
)

func TestNobodyPointsInward(t *testing.T) {
	for _, tt := range []struct {
		from, to string
		want     bool
	}{
		{"registry.example", "storage.example", false},
		{"registry.example", "10.0.0.7:9000", false}, // a storage of the same room
		{"registry.example:5000", "[fd00::1]:9000", false},
		{"registry.example", "127.0.0.1:9000", true},
		{"registry.example", "localhost", true},
		{"registry.example", "a.localhost.", true},
		{"registry.example", "[::1]:80", true},
		{"registry.example", "[::ffff:127.0.0.1]:80", true},
		{"registry.example", "0.0.0.0:80", true},
		{"registry.example", "169.254.169.254", true},
		{"registry.example", "[fe80::1%25eth0]:80", true},
		{"127.0.0.1:5000", "127.0.0.1:9000", false},
		{"localhost:5000", "127.0.0.1:9000", false},
		{"10.0.0.7", "169.254.169.254", true},
	} {
		if got := inward(tt.from, tt.to); got != tt.want {
			t.Errorf("from %s to %s: got %v, want %v", tt.from, tt.to, got, tt.want)
		}
	}
}

func TestHowLongATokenLives(t *testing.T) {
	for in, want := range map[string]time.Duration{"": 0, "300": 5 * time.Minute, `"300"`: 5 * time.Minute, "0.5": 500 * time.Millisecond, "-1": 0, "0": 0, "1e99": 0, "null": 0, `"x"`: 0, "{}": 0} {
		if got := (&tokenAnswer{ExpiresIn: []byte(in)}).life(); got != want {
			t.Errorf("%s: got %s, want %s", in, got, want)
		}
	}
}
