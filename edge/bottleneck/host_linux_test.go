package bottleneck

import (
	"math"
	"os"
	"path/filepath"
	"testing"
	"time"
)

func TestWhatTheHostTells(t *testing.T) {
	root := t.TempDir()
	for name, text := range map[string]string{
		"proc/stat":                              "cpu  100 20 30 4000 500 6 7 8 0 0\ncpu0 1 1 1 1\n",
		"proc/pressure/io":                       "some avg10=0.00 avg60=0.00 avg300=0.00 total=2500000\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=1\n",
		"sys/class/net/eth0/speed":               "1000\n",
		"sys/class/net/eth0/statistics/tx_bytes": "12345\n",
		"sys/class/net/veth/speed":               "-1\n",
		"sys/class/net/veth/statistics/tx_bytes": "1\n",
	} {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	var s Sample
	host(&s, root)
	if s.Disk != 2500*time.Millisecond || len(s.Lines) != 1 || s.Lines[0] != (SentBy{"eth0", 12345, 125e6}) {
		t.Errorf("got %+v", s)
	}
	if busy, ok := busyCPUs([]byte("cpu  100 20 30 4000 500 6 7 8 0 0\n")); !ok || math.Abs(busy-1.71) > 1e-6 {
		t.Errorf("got %v %v busy seconds, want 1.71", busy, ok)
	}
	var none Sample
	host(&none, t.TempDir())
	if none.Disk != -1 || none.Lines != nil || none.CPUs < 1 {
		t.Errorf("of a host that tells nothing: %+v", none)
	}
	for _, bad := range []string{"", "cpu", "cpu  a b c d e f g h i", "intr 1 2 3 4 5 6 7 8 9"} {
		if _, ok := busyCPUs([]byte(bad)); ok {
			t.Errorf("%q was read", bad)
		}
		if _, ok := pressure([]byte(bad)); ok {
			t.Errorf("%q was read", bad)
		}
	}
}
