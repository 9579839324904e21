// Package recent remembers what was looked up lately, within bounds of space and time. What it forgets is looked up again.
package recent

import (
	"container/list"
	"sync"
	"time"
)

// Memory holds values of a total weight, each for a time. It may be used by many goroutines; the values are shared and must not
// be changed.
type Memory[K comparable, V any] struct {
	most int64
	life time.Duration
	now  func() time.Time

	mu     sync.Mutex // guards what follows
	weight int64
	order  list.List // of *entry, the one that was used last first
	of     map[K]*list.Element
}

type entry[K comparable, V any] struct {
	key    K
	value  V
	weight int64
	until  time.Time
}

// New makes a Memory for values of most weight together, each for life; 0: until there is no room for it. The clock now may be nil
// then.
func New[K comparable, V any](most int64, life time.Duration, now func() time.Time) *Memory[K, V] {
	return &Memory[K, V]{most: most, life: life, now: now, of: map[K]*list.Element{}}
}

// Get is what Put was given lately.
func (m *Memory[K, V]) Get(key K) (value V, ok bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	e := m.of[key]
	if e == nil {
		return value, false
	}
	x := e.Value.(*entry[K, V])
	if m.over(x) {
		m.remove(e)
		return value, false
	}
	m.order.MoveToFront(e)
	return x.value, true
}

// Put remembers a value. One that weighs more than an eighth of all is not worth it.
func (m *Memory[K, V]) Put(key K, value V, weight int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.put(key, value, weight)
}

// Add remembers a value where none is remembered, and says whether it did.
func (m *Memory[K, V]) Add(key K, value V, weight int64) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if e := m.of[key]; e != nil && !m.over(e.Value.(*entry[K, V])) {
		return false
	}
	m.put(key, value, weight)
	return true
}

func (m *Memory[K, V]) put(key K, value V, weight int64) {
	if e := m.of[key]; e != nil {
		m.remove(e)
	}
	if weight > m.most/8 {
		return
	}
	x := &entry[K, V]{key: key, value: value, weight: weight}
	if m.life > 0 {
		x.until = m.now().Add(m.life)
	}
	m.of[key] = m.order.PushFront(x)
	m.weight += weight
	for m.weight > m.most {
		m.remove(m.order.Back())
	}
}

// Len is how many values are held, those included whose time is over.
func (m *Memory[K, V]) Len() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.of)
}

// over says whether the time of a value is over.
func (m *Memory[K, V]) over(x *entry[K, V]) bool { return m.life > 0 && !m.now().Before(x.until) }

// Forget forgets a value.
func (m *Memory[K, V]) Forget(key K) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if e := m.of[key]; e != nil {
		m.remove(e)
	}
}

func (m *Memory[K, V]) remove(e *list.Element) {
	x := m.order.Remove(e).(*entry[K, V])
	delete(m.of, x.key)
	m.weight -= x.weight
}
