package s3

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/kiln-farm/kiln/cache"
	"github.com/kiln-farm/kiln/cache/internal/recordfile"
	"github.com/minio/minio-go/v7"
)

const (
	// partSize is the size of a part of an upload in parts, of which one is in memory. S3 allows 10,000 parts, the last
	// of any size and the others of 5 MiB or more.
	partSize = 8 << 20
	// wholeSize is the size up to which a file is uploaded in one request.
	wholeSize  = 64 << 20
	copyBuffer = 64 << 10
)

// errSource: what was to be stored could not be read to its end.
var errSource = errors.New("the source of the bytes failed")

// Put implements Store.
func (s *Store) Put(ctx context.Context, key cache.Key, r io.Reader, size int64, mode cache.PutMode) error {
	digest, blob := key.Digest()
	if !blob {
		return s.putRecord(ctx, key, r, size, mode)
	}
	if mode == cache.IfAbsent {
		if here, err := s.present(ctx, key); err != nil || here {
			return err
		}
	}
	if size >= 0 {
		r = &exactly{r: r, left: size}
	}
	head := make([]byte, packedSample)
	n, err := io.ReadFull(r, head)
	if err != nil && err != io.EOF && !errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, errShort) {
		return fmt.Errorf("store %s: %w", key, err)
	}
	head = head[:n]
	whole := cache.VerifyReader(io.MultiReader(bytes.NewReader(head), r), digest)
	up := &upload{s: s, ctx: ctx, key: key}
	if packable(head) {
		up.meta = map[string]string{packedMeta: packedValue}
		err = pack(up, whole)
	} else {
		_, err = io.CopyBuffer(up, struct{ io.Reader }{whole}, make([]byte, copyBuffer))
	}
	if err == nil {
		err = up.finish()
	}
	if err != nil {
		return errors.Join(fmt.Errorf("store %s: %w", key, err), up.abort())
	}
	return nil
}

// PutFile stores a verified local file under its digest, without holding it in memory or hashing it again.
func (s *Store) PutFile(ctx context.Context, f *cache.File) error {
	key := cache.BlobKey(f.Digest)
	head := make([]byte, min(f.Size, packedSample))
	if _, err := f.ReadAt(head, 0); err != nil && err != io.EOF {
		return fmt.Errorf("store %s: %w", key, err)
	}
	if f.Size > wholeSize || packable(head) {
		return s.Put(ctx, key, f.Section(0, f.Size), f.Size, cache.Replace)
	}
	return s.retry(ctx, "store "+key.String(), func(ctx context.Context) error {
		return s.send(ctx, f.Section(0, f.Size), func(ctx context.Context, body io.Reader) error {
			// The digest is part of the signature (AWS Signature Version 4), so the server verifies the bytes.
			_, err := s.core.PutObject(ctx, s.cfg.Bucket, s.name(key), body, f.Size, "", f.Digest.Hex(), putOptions(nil))
			return err
		})
	})
}

func putOptions(meta map[string]string) minio.PutObjectOptions {
	return minio.PutObjectOptions{UserMetadata: meta, ContentType: "application/octet-stream", DisableMultipart: true, DisableContentSha256: true}
}

// putRecord stores a record with the trailer by which a damaged one is told.
func (s *Store) putRecord(ctx context.Context, key cache.Key, r io.Reader, size int64, mode cache.PutMode) error {
	if size >= 0 {
		r = &exactly{r: r, left: size}
	}
	value, err := io.ReadAll(io.LimitReader(r, cache.MaxRecord+1))
	if err == nil && len(value) > cache.MaxRecord {
		err = errors.New("it is larger than any record")
	}
	if err != nil {
		return fmt.Errorf("store %s: %w", key, err)
	}
	sum := recordfile.NewSum()
	_, _ = sum.Write(value) // a hash takes everything
	data := recordfile.AppendTrailer(value, sum.Sum32(), int64(len(value)))
	opts := putOptions(nil)
	if mode == cache.IfAbsent {
		opts.SetMatchETagExcept("*")
	}
	there := false
	err = s.retry(ctx, "store "+key.String(), func(ctx context.Context) error {
		return s.send(ctx, bytes.NewReader(data), func(ctx context.Context, body io.Reader) error {
			_, err := s.core.PutObject(ctx, s.cfg.Bucket, s.name(key), body, int64(len(data)), "", "", opts)
			if there = mode == cache.IfAbsent && exists(err); there {
				return nil
			}
			return err
		})
	})
	if err != nil || !there {
		return err
	}
	// Whatever makes the record would find it damaged, and make it again, for ever.
	old, err := s.getRecord(ctx, key, 0, 0)
	switch {
	case err == nil:
		return old.Close()
	case errors.Is(err, cache.ErrDamaged):
		return s.putRecord(ctx, key, bytes.NewReader(data[:len(value)]), int64(len(value)), cache.Replace)
	}
	return cache.IgnoreNotFound(err)
}

// send makes a request with a body and gives up when the server takes nothing of it for a while. How long the answer
// may take once all is sent is the transport's to say.
func (s *Store) send(ctx context.Context, body io.Reader, request func(context.Context, io.Reader) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	w := &watched{r: body, timer: time.AfterFunc(stallAfter+dialTimeout, func() { cancel(errStalled) })}
	defer w.timer.Stop()
	err := request(ctx, w)
	if cause := context.Cause(ctx); err != nil && errors.Is(cause, errStalled) {
		return cause
	}
	return err
}

// watched sets a timer back whenever something is read, and stops it at the end.
type watched struct {
	r     io.Reader
	timer *time.Timer
}

func (w *watched) Read(p []byte) (int, error) {
	n, err := w.r.Read(p)
	if err == nil {
		w.timer.Reset(stallAfter)
	} else {
		w.timer.Reset(answerTimeout + stallAfter)
	}
	return n, err
}

// upload stores what is written to it: in one request when it fits into one part, else in parts of which each is kept
// until the server has it.
type upload struct {
	s     *Store
	ctx   context.Context
	key   cache.Key
	meta  map[string]string
	buf   []byte
	id    string // of an upload in parts
	parts []minio.CompletePart
}

func (u *upload) Write(p []byte) (int, error) {
	total := len(p)
	for len(p) > 0 {
		if len(u.buf) == partSize {
			if err := u.part(); err != nil {
				return 0, err
			}
		}
		n := min(partSize-len(u.buf), len(p))
		u.buf = append(u.buf, p[:n]...) // grows with what there is: most blobs are small
		p = p[n:]
	}
	return total, nil
}

// part sends a full buffer as the next part.
func (u *upload) part() error {
	s := u.s
	if u.id == "" {
		err := s.retry(u.ctx, "store "+u.key.String(), func(ctx context.Context) (err error) {
			u.id, err = s.core.NewMultipartUpload(ctx, s.cfg.Bucket, s.name(u.key), putOptions(u.meta))
			return err
		})
		if err != nil {
			return err
		}
	}
	n := len(u.parts) + 1
	err := s.retry(u.ctx, "store "+u.key.String(), func(ctx context.Context) error {
		return s.send(ctx, bytes.NewReader(u.buf), func(ctx context.Context, body io.Reader) error {
			done, err := s.core.PutObjectPart(ctx, s.cfg.Bucket, s.name(u.key), u.id, n, body, int64(len(u.buf)), minio.PutObjectPartOptions{DisableContentSha256: true})
			if err == nil {
				u.parts = append(u.parts, minio.CompletePart{PartNumber: n, ETag: done.ETag})
			}
			return err
		})
	})
	u.buf = u.buf[:0]
	return err
}

// finish makes what was written the object.
func (u *upload) finish() error {
	s := u.s
	if u.id == "" {
		return s.retry(u.ctx, "store "+u.key.String(), func(ctx context.Context) error {
			return s.send(ctx, bytes.NewReader(u.buf), func(ctx context.Context, body io.Reader) error {
				_, err := s.core.PutObject(ctx, s.cfg.Bucket, s.name(u.key), body, int64(len(u.buf)), "", "", putOptions(u.meta))
				return err
			})
		})
	}
	if len(u.buf) > 0 {
		if err := u.part(); err != nil {
			return err
		}
	}
	return s.retry(u.ctx, "store "+u.key.String(), func(ctx context.Context) error {
		_, err := s.core.CompleteMultipartUpload(ctx, s.cfg.Bucket, s.name(u.key), u.id, u.parts, minio.PutObjectOptions{})
		if minio.ToErrorResponse(err).Code == "NoSuchUpload" { // the answer to an earlier try was lost
			_, err = s.core.StatObject(ctx, s.cfg.Bucket, s.name(u.key), minio.StatObjectOptions{})
		}
		return err
	})
}

// abort drops the parts of an upload that will not be finished. What cannot be dropped now is the server's to clean up.
func (u *upload) abort() error {
	if u.id == "" {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(u.ctx), checkTimeout)
	defer cancel()
	if err := u.s.core.AbortMultipartUpload(ctx, u.s.cfg.Bucket, u.s.name(u.key), u.id); err != nil {
		u.s.cfg.Log.Warn("parts of an upload are left on the server", "key", u.key.String(), "error", err)
	}
	return nil
}

// errShort: a source had fewer bytes than it was said to have.
var errShort = fmt.Errorf("%w: it ends early: %w", errSource, io.ErrUnexpectedEOF)

// exactly gives left bytes of r, and errShort when there are fewer.
type exactly struct {
	r    io.Reader
	left int64
}

func (e *exactly) Read(p []byte) (int, error) {
	if e.left == 0 {
		return 0, io.EOF
	}
	n, err := e.r.Read(p[:min(int64(len(p)), e.left)])
	e.left -= int64(n)
	if err == io.EOF && e.left > 0 {
		err = errShort
	}
	return n, err
}
