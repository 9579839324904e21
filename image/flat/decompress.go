package flat

import (
	"io"

	"github.com/kiln-farm/kiln/image/compress"
)

// decompress undoes the compression of a layer, which its first bytes tell: what media types say of it is often wrong.
func decompress(r io.Reader) (io.ReadCloser, error) {
	plain, _, err := compress.NewReader(r)
	return plain, err
}
