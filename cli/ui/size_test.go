package ui

import "testing"

func TestSizesAreRead(t *testing.T) {
	for text, want := range map[string]int64{"0": 0, "1048576": 1 << 20, "500M": 500 << 20, "20G": 20 << 30, "1KiB": 1024, "2tb": 2 << 40, "7B": 7} {
		if got, err := ParseSize("--max-size", text); err != nil || got != want {
			t.Errorf("%s is %d (%v), want %d", text, got, err, want)
		}
	}
	for _, text := range []string{"", "M", "-1", "1X", "1.5G", "9999999T", "1 G", "1GG"} {
		if got, err := ParseSize("--max-size", text); err == nil {
			t.Errorf("%s is %d, want an error", text, got)
		}
	}
}
