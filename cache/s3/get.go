package s3

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/kiln-farm/kiln/cache"
	"github.com/kiln-farm/kiln/cache/internal/recordfile"
	"github.com/minio/minio-go/v7"
)

// Get implements Store.
func (s *Store) Get(ctx context.Context, key cache.Key, offset, n int64) (io.ReadCloser, error) {
	if offset < 0 {
		return nil, fmt.Errorf("read %s: negative offset %d", key, offset)
	}
	if _, blob := key.Digest(); !blob {
		return s.getRecord(ctx, key, offset, n)
	}
	first := n
	if n == 0 {
		first = 1 // whether it is there at all
	}
	body, header, err := s.stream(ctx, key, offset, first)
	if err != nil {
		return nil, err
	}
	switch {
	case n == 0:
		return io.NopCloser(bytes.NewReader(nil)), body.Close()
	case !isPacked(header):
		return body, nil
	case offset == 0 && n < 0:
		return unpack(body)
	}
	if err := body.Close(); err != nil {
		return nil, err
	}
	return s.packedRange(ctx, key, offset, n)
}

// getRecord reads a record whole, checks its trailer, and gives the part that is wanted.
func (s *Store) getRecord(ctx context.Context, key cache.Key, offset, n int64) (io.ReadCloser, error) {
	var value []byte
	for try := 0; ; try++ {
		body, _, err := s.stream(ctx, key, 0, -1)
		if err != nil {
			return nil, err
		}
		data, err := io.ReadAll(io.LimitReader(body, cache.MaxRecord+recordfile.TrailerSize+1))
		if err = errors.Join(err, body.Close()); err != nil {
			return nil, err
		}
		size := len(data) - recordfile.TrailerSize
		if size >= 0 {
			sum := recordfile.NewSum()
			_, _ = sum.Write(data[:size]) // a hash takes everything
			if bytes.Equal(data[size:], recordfile.AppendTrailer(nil, sum.Sum32(), int64(size))) {
				value = data[:size]
				break
			}
		}
		if try == 1 { // twice: it is not the way here that is at fault
			return nil, fmt.Errorf("%s is damaged: %w", key, cache.ErrDamaged)
		}
	}
	value = value[min(offset, int64(len(value))):]
	if n >= 0 && n < int64(len(value)) {
		value = value[:n]
	}
	return io.NopCloser(bytes.NewReader(value)), nil
}

// CheckStored reads a blob to its end: ErrMismatch when it has other bytes than its digest says. The sum is that of the
// object's bytes, so that two readings can be compared, whatever they were taken for.
func (s *Store) CheckStored(ctx context.Context, d cache.Digest) (sum []byte, err error) {
	body, header, err := s.stream(ctx, cache.BlobKey(d), 0, -1)
	if err != nil {
		return nil, err
	}
	hash := sha256.New()
	stored := io.TeeReader(body, hash)
	plain, err := DecodeStored(header, io.NopCloser(stored))
	if err != nil {
		return nil, errors.Join(err, body.Close())
	}
	_, err = io.Copy(io.Discard, cache.VerifyReader(plain, d))
	if err == nil || errors.Is(err, cache.ErrMismatch) {
		_, rest := io.Copy(io.Discard, stored)
		err = errors.Join(err, rest)
	}
	return hash.Sum(nil), errors.Join(err, plain.Close(), body.Close())
}

// stream reads n stored bytes (n < 0: all) of key's object from offset. It goes on where it broke.
func (s *Store) stream(ctx context.Context, key cache.Key, offset, n int64) (io.ReadCloser, http.Header, error) {
	r := &resuming{s: s, key: key, next: offset, left: n}
	r.ctx, r.cancel = context.WithCancelCause(ctx)
	var header http.Header
	err := s.retry(r.ctx, "read "+key.String(), func(ctx context.Context) (err error) {
		header, err = r.open(ctx)
		return err
	})
	if err != nil {
		r.cancel(nil)
		return nil, nil, err
	}
	return r, header, nil
}

// resuming is a stream of an object's bytes.
type resuming struct {
	s      *Store
	key    cache.Key
	ctx    context.Context
	cancel context.CancelCauseFunc
	body   io.ReadCloser // nil beyond the object's end
	stop   context.CancelCauseFunc
	etag   string
	next   int64
	left   int64 // < 0: to the end
}

var errStalled = errors.New("no byte came for a while")

// open asks for what is left.
func (r *resuming) open(ctx context.Context) (http.Header, error) {
	opts := minio.GetObjectOptions{}
	if r.etag != "" {
		if err := opts.SetMatchETag(r.etag); err != nil {
			return nil, err
		}
	}
	switch {
	case r.left > 0:
		if err := opts.SetRange(r.next, r.next+r.left-1); err != nil {
			return nil, err
		}
	case r.next > 0:
		if err := opts.SetRange(r.next, 0); err != nil {
			return nil, err
		}
	}
	ctx, stop := context.WithCancelCause(ctx)
	body, info, header, err := r.s.core.GetObject(ctx, r.s.cfg.Bucket, r.s.name(r.key), opts)
	if minio.ToErrorResponse(err).Code == "InvalidRange" { // beyond the end
		stop(nil)
		stat, err := r.s.core.StatObject(r.ctx, r.s.cfg.Bucket, r.s.name(r.key), minio.StatObjectOptions{})
		if err != nil {
			return nil, err
		}
		header := http.Header{}
		for name, value := range stat.UserMetadata {
			header.Set("X-Amz-Meta-"+name, value)
		}
		return header, nil
	}
	if err != nil {
		stop(nil)
		return nil, err
	}
	r.body, r.stop, r.etag = body, stop, info.ETag
	if r.left < 0 {
		r.left = info.Size
	}
	r.left = min(r.left, info.Size)
	return header, nil
}

func (r *resuming) Read(p []byte) (int, error) {
	if r.left == 0 || r.body == nil {
		return 0, io.EOF
	}
	if int64(len(p)) > r.left {
		p = p[:r.left]
	}
	if len(p) == 0 {
		return 0, nil
	}
	n, err := r.read(p)
	for n == 0 && err != nil {
		if r.ctx.Err() != nil {
			return 0, r.ctx.Err()
		}
		broken := err
		if err = r.s.retry(r.ctx, "read "+r.key.String(), func(ctx context.Context) error {
			r.stop(broken)
			r.body.Close()
			_, err := r.open(ctx)
			if err == nil {
				n, err = r.read(p)
			}
			if n > 0 {
				return nil
			}
			return err
		}); err != nil {
			return 0, err
		}
	}
	r.next += int64(n)
	r.left -= int64(n)
	return n, nil
}

// read is one read that does not wait for ever. An early end is an error.
func (r *resuming) read(p []byte) (int, error) {
	stalled := time.AfterFunc(stallAfter, func() { r.stop(errStalled) })
	defer stalled.Stop()
	n, err := r.body.Read(p)
	if err == io.EOF && n == 0 {
		err = io.ErrUnexpectedEOF
	}
	if n == 0 && err == nil {
		return r.read(p)
	}
	return n, err
}

// Close implements io.Closer.
func (r *resuming) Close() error {
	r.cancel(nil)
	if r.body == nil {
		return nil
	}
	r.stop(nil)
	return r.body.Close()
}
