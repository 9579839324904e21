package recent

import (
	"testing"
	"time"
)

func TestMemoryIsBoundedInSpaceAndTime(t *testing.T) {
	now := time.Unix(0, 0)
	m := New[int, string](80, time.Minute, func() time.Time { return now })
	for n := range 20 {
		m.Put(n, "value", 10)
		m.Get(0) // which is used all the time
	}
	held := 0
	for n := range 20 {
		if _, ok := m.Get(n); ok {
			held++
		}
	}
	if _, first := m.Get(0); held != 8 || !first || m.weight != 80 {
		t.Errorf("%d values of weight %d are held, the one in use %v; want 8, 80, true", held, m.weight, first)
	}
	m.Put(100, "too heavy", 11)
	if _, ok := m.Get(100); ok {
		t.Error("a value that is heavier than an eighth of all is held")
	}
	m.Put(0, "other", 5)
	if v, _ := m.Get(0); v != "other" || m.weight != 75 {
		t.Errorf("got %q at weight %d, want the new value and 75", v, m.weight)
	}
	m.Forget(0)
	now = now.Add(2 * time.Minute)
	for n := range 20 {
		if _, ok := m.Get(n); ok {
			t.Errorf("%d is held after its time", n)
		}
	}
	if m.weight != 0 || m.order.Len() != 0 {
		t.Errorf("nothing is held, and weighs %d", m.weight)
	}
}

func TestWhatHasNoEndIsHeldUntilThereIsNoRoom(t *testing.T) {
	m := New[int, int](8, 0, nil)
	for n := range 8 {
		m.Put(n, n, 1)
	}
	m.Get(0)
	m.Put(8, 8, 1)
	if _, oldest := m.Get(1); oldest || m.Len() != 8 {
		t.Errorf("%d values are held, the one that was used least lately %v; want 8, false", m.Len(), oldest)
	}
	if v, ok := m.Get(0); v != 0 || !ok {
		t.Errorf("got %d, %v for a value in use", v, ok)
	}
}

func TestAddChangesNothingThatIsHeld(t *testing.T) {
	now := time.Unix(0, 0)
	m := New[string, int](8, time.Minute, func() time.Time { return now })
	for _, c := range []struct {
		at   time.Duration
		want bool
	}{{0, true}, {time.Second, false}, {time.Minute - 1, false}, {time.Minute, true}, {time.Minute + 1, false}} {
		now = time.Unix(0, 0).Add(c.at)
		if got := m.Add("key", int(c.at), 1); got != c.want {
			t.Errorf("after %s: added %v, want %v", c.at, got, c.want)
		}
	}
	if v, _ := m.Get("key"); v != int(time.Minute) {
		t.Errorf("got the value of %s", time.Duration(v))
	}
}
