package peers

import (
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

var quiet = slog.New(slog.DiscardHandler)

func TestOtherEdgesAreNotForgottenAtOnce(t *testing.T) {
	const a, b, c = "http://a", "http://b", "http://c"
	start := time.Unix(1e9, 0)
	for _, s := range []struct {
		name   string
		told   [][]string // a minute apart
		list   []string   // a minute after the last
		living []string
	}{
		{"nothing was told", nil, nil, nil},
		{"what was told", [][]string{{a, b}}, []string{a, b}, []string{a, b}},
		{"a new leader hears of its edges one after the other", [][]string{{a, b, c}, {b}, {b, c}}, []string{b, c, a}, []string{b, c}},
		{"an edge that is gone for long", append([][]string{{a, b}}, slices.Repeat([][]string{{b}}, 11)...), []string{b}, []string{b}},
		{"the one that went last comes first", [][]string{{a, b, c}, {b, c}, {c}}, []string{c, b, a}, []string{c}},
		{"the farm knows none any more", [][]string{{a, b}, {}}, []string{b, a}, nil},
	} {
		t.Run(s.name, func(t *testing.T) {
			o, now := Open("", quiet), start
			for _, urls := range s.told {
				o.Set(urls, now)
				now = now.Add(time.Minute)
			}
			if got := o.Scripts(now, 4); !slices.Equal(got, s.list) {
				t.Errorf("scripts name %q, want %q", got, s.list)
			}
			if got := o.Order(now, 4); !slices.Equal(got, s.living) {
				t.Errorf("living are %q, want %q", got, s.living)
			}
		})
	}
}

func TestAFileThatIsNoListGivesNoEdges(t *testing.T) {
	file := filepath.Join(t.TempDir(), File)
	if err := os.WriteFile(file, make([]byte, mostOfFile+1), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := Open(file, quiet).Order(time.Now(), 4); got != nil {
		t.Errorf("got %d edges", len(got))
	}
}

func TestEdgesAgreeWhoAnswersWhileTheLeaderChanges(t *testing.T) {
	o, now := Open("", quiet), time.Unix(1e9, 0)
	o.Set([]string{"http://a", "http://b"}, now)
	o.Set([]string{"http://b"}, now)
	for after, want := range map[time.Duration]int{0: 2, ranked: 2, ranked + time.Second: 1} {
		if got := len(o.Order(now.Add(after), 4)); got != want {
			t.Errorf("%s after an edge went %d count, want %d", after, got, want)
		}
	}
}

func TestManyEdgesAreInNoScript(t *testing.T) {
	o, now := Open("", quiet), time.Unix(1e9, 0)
	var many []string
	for range 10 {
		many = append(many, "http://10.0.1."+strings.Repeat("1", len(many)%3+1)+":7380")
	}
	o.Set(many, now)
	if got := len(o.URLs("http://10.0.0.1:7380", 4, now)); got != Most {
		t.Errorf("a script names %d edges, want %d", got, Most)
	}
}
