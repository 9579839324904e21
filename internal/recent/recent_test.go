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
