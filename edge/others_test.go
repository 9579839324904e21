package edge

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

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
			o, now := openOthers(nil, quiet), start
			for _, urls := range s.told {
				o.set(urls, now)
				now = now.Add(time.Minute)
			}
			if got := o.list(now, 4); !slices.Equal(got, s.list) {
				t.Errorf("scripts name %q, want %q", got, s.list)
			}
			if got := o.living(now, 4); !slices.Equal(got, s.living) {
				t.Errorf("living are %q, want %q", got, s.living)
			}
		})
	}
}

// After a power cut the farm may be the last to come back.
func TestAnEdgeThatStartsAnewKnowsTheOthers(t *testing.T) {
	r := newRoomOf(t)
	r.SetOthers([]string{"http://10.0.0.2:7380"})
	intents, err := OpenIntents(r.path, quiet)
	if err != nil {
		t.Fatal(err)
	}
	again, err := New(Config{Store: r.store, Blobs: r.store, Log: quiet, Intents: intents, URL: "http://10.0.0.1:7380"})
	if err != nil {
		t.Fatal(err)
	}
	if got, want := again.urls(), []string{"http://10.0.0.1:7380", "http://10.0.0.2:7380"}; !slices.Equal(got, want) {
		t.Errorf("after a restart scripts name %q, want %q", got, want)
	}
	if err := os.WriteFile(filepath.Join(filepath.Dir(r.path), othersFile), make([]byte, mostOfFile+1), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := openOthers(intents, quiet).living(time.Now(), 4); got != nil {
		t.Errorf("a file that is no list gives %d edges", len(got))
	}
}

func TestEdgesAgreeWhoAnswersWhileTheLeaderChanges(t *testing.T) {
	o, now := openOthers(nil, quiet), time.Unix(1e9, 0)
	o.set([]string{"http://a", "http://b"}, now)
	o.set([]string{"http://b"}, now)
	for after, want := range map[time.Duration]int{0: 2, othersRanked: 2, othersRanked + time.Second: 1} {
		if got := len(o.living(now.Add(after), 4)); got != want {
			t.Errorf("%s after an edge went %d count, want %d", after, got, want)
		}
	}
}

func TestManyEdgesAreInNoScript(t *testing.T) {
	r := newRoomOf(t)
	var many []string
	for range 10 {
		many = append(many, "http://10.0.1."+strings.Repeat("1", len(many)%3+1)+":7380")
	}
	r.SetOthers(many)
	if got := len(r.urls()); got != maxEdges {
		t.Errorf("a script names %d edges, want %d", got, maxEdges)
	}
}
