package results

import (
	"container/list"
	"sync"

	"google.golang.org/protobuf/proto"
)

// Index holds records read or written lately, up to a number of bytes; the least recently used go first.
type Index struct {
	limit int

	mu    sync.Mutex // guards what follows
	size  int
	order *list.List // of *indexed, latest first
	byKey map[string]*list.Element
}

type indexed struct {
	key   string
	value proto.Message
	size  int
}

func NewIndex(limit int) *Index {
	return &Index{limit: limit, order: list.New(), byKey: map[string]*list.Element{}}
}

// get returns the record under key, which nobody may change, or nil.
func (x *Index) get(key string) proto.Message {
	x.mu.Lock()
	defer x.mu.Unlock()
	e := x.byKey[key]
	if e == nil {
		return nil
	}
	x.order.MoveToFront(e)
	return e.Value.(*indexed).value
}

func (x *Index) Put(key string, value proto.Message) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.drop(key)
	in := &indexed{key, value, 2*proto.Size(value) + 256} // in memory a message takes about twice its encoding
	x.byKey[key] = x.order.PushFront(in)
	x.size += in.size
	for x.size > x.limit {
		x.drop(x.order.Back().Value.(*indexed).key)
	}
}

func (x *Index) remove(key string) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.drop(key)
}

func (x *Index) drop(key string) {
	if e := x.byKey[key]; e != nil {
		x.size -= e.Value.(*indexed).size
		x.order.Remove(e)
		delete(x.byKey, key)
	}
}
