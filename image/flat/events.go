package flat

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"os"
	"path"

	"github.com/kiln-farm/kiln/image/step"
	"github.com/kiln-farm/kiln/internal/extsort"
)

// op is what an event does to a name.
type op byte

const (
	opLink      op = iota // a hard link asks what is there
	opPut                 // something that is no directory
	opDirectory           // a directory, in the place of whatever was there
	opImplied             // a directory, because something is below it
	opWhiteout
)

// events are all that happens to the names of files, sorted by directory, name, and the moment when it happens.
type events struct {
	sorter *extsort.Sorter
	buf    []byte
}

// event is one of them.
type event struct {
	parent node
	name   []byte
	when   id
	op     op
	number uint32 // of a hard link
}

func newEvents(scratch func() (*os.File, error)) *events {
	return &events{sorter: extsort.New(sortMemory, scratch)}
}

func (ev *events) close() { ev.sorter.Close() }

// add notes an event. Names have no NUL (archive/tar sees to that), which therefore ends them.
func (ev *events) add(parent node, name string, when id, what op, number uint32) error {
	b := binary.BigEndian.AppendUint32(ev.buf[:0], uint32(parent))
	b = append(append(b, name...), 0)
	b = append(binary.BigEndian.AppendUint64(b, uint64(when)), byte(what))
	ev.buf = binary.BigEndian.AppendUint32(b, number)
	return ev.sorter.Add(ev.buf)
}

// tail is what follows a name: NUL, moment, op, number.
const tail = 1 + 8 + 1 + 4

func decode(b []byte) (event, error) {
	if len(b) < 4+tail {
		return event{}, errors.New("a damaged event")
	}
	rest := b[len(b)-tail+1:]
	return event{
		parent: node(binary.BigEndian.Uint32(b)), name: b[4 : len(b)-tail], when: id(binary.BigEndian.Uint64(rest)),
		op: op(rest[8]), number: binary.BigEndian.Uint32(rest[9:]),
	}, nil
}

// settle says of every entry that is no directory whether it is left, and what hard links lead to.
func (ev *events) settle(ctx context.Context, o *outcome) error {
	it, err := ev.sorter.Sorted()
	if err != nil {
		return err
	}
	var g group
	for n := 0; ; n++ {
		if n%1024 == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		b, err := it.Next()
		if err == io.EOF {
			return g.end(o)
		}
		if err != nil {
			return err
		}
		e, err := decode(b)
		if err != nil {
			return err
		}
		if e.parent != g.parent || !bytes.Equal(e.name, g.name) {
			if err := g.end(o); err != nil {
				return err
			}
			g.begin(e)
		}
		g.event(o, e)
	}
}

// group is one name of one directory, as its events go by.
type group struct {
	parent  node
	name    []byte
	there   id   // what has the name; 0 for nothing, or a directory
	below   id   // the last entry that is below a file of a lower layer: a fault, unless its own layer removes the file
	clash   bool // there is such an entry that nothing excuses
	links   []uint32
	waiting []uint32 // links that found nothing: they may come before their file
}

func (g *group) begin(e event) {
	*g = group{parent: e.parent, name: append(g.name[:0], e.name...), links: g.links[:0], waiting: g.waiting[:0]}
}

func (g *group) event(o *outcome, e event) {
	switch e.op {
	case opPut:
		g.there = e.when
		for _, number := range g.waiting {
			if l := &o.links.all[number]; l.entry.layer() == e.when.layer() && l.target == 0 {
				l.target = e.when
			}
		}
		g.waiting = g.waiting[:0]
	case opDirectory:
		g.there = 0
	case opImplied:
		if g.there != 0 && !o.dirs.hidden(g.parent, g.there, e.when) {
			same := g.there.layer() == e.when.layer()
			g.clash = g.clash || same || g.below != 0 && g.below.layer() != e.when.layer()
			g.below = e.when
		}
		g.there = 0
	case opWhiteout:
		if g.below.layer() == e.when.layer() {
			g.below = 0
		}
		if g.there.layer() < e.when.layer() {
			g.there = 0
		}
	case opLink:
		g.links = append(g.links, e.number)
		if g.there != 0 && !o.dirs.hidden(g.parent, g.there, e.when) {
			o.links.all[e.number].target = g.there
		} else {
			g.waiting = append(g.waiting, e.number)
		}
	}
}

// end notes what is left under the name.
func (g *group) end(o *outcome) error {
	if g.below != 0 || g.clash {
		return step.Failf("%q is a file, but an upper layer has something below it as if it were a directory; make the image again",
			path.Join(o.dirs.path(g.parent), string(g.name)))
	}
	if g.there == 0 || o.dirs.nodes[g.parent].removed || o.dirs.hidden(g.parent, g.there, ^id(0)) {
		return nil
	}
	o.alive[g.there.layer()].set(g.there.number())
	o.dirs.nodes[g.parent].filled = true
	for _, number := range g.links {
		o.links.all[number].final = g.there
	}
	return nil
}
