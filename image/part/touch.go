package part

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math"
)

// touch is that a part has an entry of a name.
type touch struct {
	name string
	at   at
	kind byte // of the entry, or isLinked
}

// at is a moment of unpacking: the entry of a part, counted from 1.
type at struct{ part, number uint32 }

func (a at) before(b at) bool { return a.part < b.part || a.part == b.part && a.number < b.number }

const (
	// isLinked says at the end of a part that the name is one of several names of a file.
	isLinked = 0xff
	// endOfPart is after every entry of a part, and beyond every part.
	endOfPart = math.MaxUint32
)

var never = at{endOfPart, endOfPart}

// appendTouch writes the event such that its bytes sort by name, each name before what is below it and that before the
// next name, then by moment: elements end with a NUL, which no name has, and names with another one.
func appendTouch(b []byte, t touch) []byte {
	for _, c := range []byte(t.name) {
		if c == '/' {
			c = 0
		}
		b = append(b, c)
	}
	b = append(b, 0, 0)
	b = binary.BigEndian.AppendUint32(b, t.at.part)
	b = binary.BigEndian.AppendUint32(b, t.at.number)
	return append(b, t.kind)
}

func decodeTouch(b []byte) (touch, error) {
	end := bytes.Index(b, []byte{0, 0})
	if end < 0 || len(b) != end+2+4+4+1 {
		return touch{}, errors.New("overlap: a damaged event")
	}
	rest := b[end+2:]
	return touch{
		name: string(bytes.ReplaceAll(b[:end], []byte{0}, []byte{'/'})), kind: rest[8],
		at: at{binary.BigEndian.Uint32(rest), binary.BigEndian.Uint32(rest[4:])},
	}, nil
}
