package cache

import (
	"bufio"
	"crypto/sha256"
	"fmt"
	"hash"
	"io"
)

// verified gives ErrMismatch instead of EOF when its bytes were not those of want.
type verified struct {
	r    *bufio.Reader
	want Digest
	hash hash.Hash
	err  error
}

// VerifyReader reads r and gives ErrMismatch instead of EOF when the bytes were not those of want. It looks one byte
// ahead, so that the last bytes are handed out only when all are right: a reader who knows the length cannot stop
// before the verdict.
func VerifyReader(r io.Reader, want Digest) io.Reader {
	return &verified{r: bufio.NewReaderSize(r, verifyBuffer), want: want, hash: sha256.New()}
}

const verifyBuffer = 64 << 10

func (v *verified) Read(p []byte) (int, error) {
	if v.err != nil || len(p) == 0 {
		return 0, v.err
	}
	n, err := v.r.Read(p)
	v.hash.Write(p[:n])
	if err == nil {
		_, err = v.r.Peek(1)
	}
	if err == io.EOF {
		if got := FromSum([sha256.Size]byte(v.hash.Sum(nil))); got != v.want {
			n, err = 0, fmt.Errorf("%w: expected %s, got %s", ErrMismatch, v.want, got)
		}
	}
	v.err = err
	return n, err
}
