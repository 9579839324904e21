package flat

import (
	"io"
	"slices"

	"github.com/kiln-farm/kiln/image/tree"
)

// fill reads the bodies that scan passed over and that are needed after all: names seemed to hide them, but a hard link
// keeps the file, or a symbolic link led elsewhere.
func (f *flattener) fill(o *outcome) error {
	f.filled = map[id]tree.Body{}
	kept := make(map[id]bool, len(o.links.stolen))
	for _, s := range o.links.stolen {
		kept[s.file] = true
	}
	for layer := len(f.layers) - 1; layer >= 0; layer-- {
		if !f.spool.layers[layer].passed {
			continue
		}
		var wanted []uint32
		err := f.spool.each(layer, func(i id, e *tree.Entry) error {
			if !e.Body.Blob.IsZero() && (o.isAlive(i) || kept[i]) {
				wanted = append(wanted, i.number())
			}
			return nil
		})
		if err != nil {
			return err
		}
		if len(wanted) == 0 {
			continue
		}
		err = f.read(layer, func(number uint32, e *tree.Entry, body io.Reader) error {
			if _, ok := slices.BinarySearch(wanted, number); !ok {
				return nil
			}
			err := f.body(e, body)
			f.filled[idOf(layer, number)] = e.Body
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}
