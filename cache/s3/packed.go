package s3

import (
	"bytes"
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"

	"github.com/kiln-farm/kiln/cache"
	"github.com/klauspost/compress/zstd"
	"github.com/minio/minio-go/v7"
)

// A packed blob is stored in the zstd seekable format (zstd's contrib/seekable_format, version 0.1.0): frames of
// packedFrame plain bytes each, then a skippable frame with the size of each, so that a range is read without what is
// before it. Any zstd program decompresses it. Its key is the digest of the plain bytes; the object's metadata say that
// it is packed.
const (
	packedFrame  = 1 << 20  // plain bytes of a frame, but for the last one
	packedSample = 64 << 10 // bytes at the begin of a blob by which it is judged
	packedMin    = 64 << 10 // bytes below which packing does not pay
	packedGain   = 80       // percent of its size that the sample must be smaller than

	packedMeta  = "Kiln-Packed"
	packedValue = "zstd-seekable"

	seekSkippable  = 0x184D2A5E
	seekMagic      = 0x8F92EAB1
	seekFooter     = 4 + 1 + 4
	seekEntry      = 4 + 4
	maxSeekEntries = 1 << 20 // a blob of 1 TiB
)

// packable says that a blob which begins with head should be packed. It depends on the bytes alone, so that everyone
// stores a blob alike. What machines load as it is stays as it is, so that any HTTP server's URL of it will do.
func packable(head []byte) bool {
	if len(head) < packedMin || bootable(head) {
		return false
	}
	encoder, err := newEncoder()
	if err != nil {
		return false
	}
	return len(encoder.EncodeAll(head[:packedSample], nil)) < packedSample*packedGain/100
}

// bootable tells Linux kernels: the x86 boot protocol's "HdrS" at 0x202 (Documentation/arch/x86/boot.rst) and arm64's
// Image magic at 56 (Documentation/arch/arm64/booting.rst).
func bootable(head []byte) bool {
	return len(head) > 0x206 && string(head[0x202:0x206]) == "HdrS" || len(head) > 60 && string(head[56:60]) == "ARM\x64"
}

func newEncoder() (*zstd.Encoder, error) {
	return zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1), zstd.WithWindowSize(packedFrame), zstd.WithLowerEncoderMem(true))
}

// pack writes r to w as a packed blob.
func pack(w io.Writer, r io.Reader) error {
	encoder, err := newEncoder()
	if err != nil {
		return err
	}
	plain, out := make([]byte, packedFrame), []byte(nil)
	var table []byte
	for {
		n, err := io.ReadFull(r, plain)
		if n > 0 {
			out = encoder.EncodeAll(plain[:n], out[:0])
			table = binary.LittleEndian.AppendUint32(table, uint32(len(out)))
			table = binary.LittleEndian.AppendUint32(table, uint32(n))
			if _, err := w.Write(out); err != nil {
				return err
			}
		}
		if err == io.EOF || errors.Is(err, io.ErrUnexpectedEOF) && n > 0 {
			break
		}
		if err != nil {
			return err
		}
	}
	last := binary.LittleEndian.AppendUint32(nil, seekSkippable)
	last = binary.LittleEndian.AppendUint32(last, uint32(len(table)+seekFooter))
	last = append(last, table...)
	last = binary.LittleEndian.AppendUint32(last, uint32(len(table)/seekEntry))
	last = append(last, 0) // no checksums: the blob has its digest
	last = binary.LittleEndian.AppendUint32(last, seekMagic)
	_, err = w.Write(last)
	return err
}

// isPacked reads from an object's headers whether it is packed.
func isPacked(header http.Header) bool { return header.Get("X-Amz-Meta-"+packedMeta) == packedValue }

// DecodeStored undoes how a blob is stored, for one who reads it by a URL of PresignGet: header and body are those of
// the answer. The bytes are not verified.
func DecodeStored(header http.Header, body io.ReadCloser) (io.ReadCloser, error) {
	if !isPacked(header) {
		return body, nil
	}
	return unpack(body)
}

// unpack reads a packed blob from its begin.
func unpack(body io.ReadCloser) (io.ReadCloser, error) {
	decoder, err := zstd.NewReader(body, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(8<<20))
	if err != nil {
		return nil, errors.Join(err, body.Close())
	}
	return &unpacked{decoder, body}, nil
}

type readCloser struct {
	io.Reader
	io.Closer
}

type unpacked struct {
	decoder *zstd.Decoder
	body    io.Closer
}

// Read gives an error that counts as wrong bytes when they are not zstd: whoever verifies finds the same.
func (u *unpacked) Read(p []byte) (int, error) {
	n, err := u.decoder.Read(p)
	if err != nil && err != io.EOF && notZstd(err) {
		err = fmt.Errorf("%w: the packed blob is damaged: %w", cache.ErrMismatch, err)
	}
	return n, err
}

// notZstd says that an error is about the bytes and not about how they are fetched.
func notZstd(err error) bool {
	return !errors.Is(err, cache.ErrUnavailable) && !errors.Is(err, cache.ErrRefused) && !errors.Is(err, cache.ErrNotFound) &&
		!errors.Is(err, context.Canceled) && !errors.Is(err, context.DeadlineExceeded)
}

func (u *unpacked) Close() error {
	u.decoder.Close()
	return u.body.Close()
}

// frame is where one frame of a packed blob is.
type frame struct {
	stored, size int64 // in the object
	plain        int64 // offset in the blob
	length       int64
}

// seekTableSize reads from a packed blob's last bytes how long its last frame, the seek table, is.
func seekTableSize(footer []byte) (int64, error) {
	if len(footer) != seekFooter || binary.LittleEndian.Uint32(footer[5:]) != seekMagic || binary.LittleEndian.Uint32(footer) > maxSeekEntries {
		return 0, fmt.Errorf("the packed blob has no seek table: %w", cache.ErrNotFound)
	}
	return 8 + int64(binary.LittleEndian.Uint32(footer))*seekEntry + seekFooter, nil
}

// parseSeekTable reads the last frame of a packed blob of stored bytes.
func parseSeekTable(last []byte, stored int64) ([]frame, error) {
	damaged := fmt.Errorf("the seek table of the packed blob is damaged: %w", cache.ErrNotFound)
	n := (len(last) - 8 - seekFooter) / seekEntry
	if len(last) < 8+seekFooter || len(last) != 8+n*seekEntry+seekFooter ||
		binary.LittleEndian.Uint32(last) != seekSkippable || binary.LittleEndian.Uint32(last[4:]) != uint32(len(last)-8) {
		return nil, damaged
	}
	frames := make([]frame, n)
	var at frame
	for i, table := 0, last[8:]; i < n; i, table = i+1, table[seekEntry:] {
		at.size, at.length = int64(binary.LittleEndian.Uint32(table)), int64(binary.LittleEndian.Uint32(table[4:]))
		if at.length < 1 || at.length > packedFrame || at.size < 1 {
			return nil, damaged
		}
		frames[i] = at
		at.stored += at.size
		at.plain += at.length
	}
	if at.stored != stored-int64(len(last)) {
		return nil, damaged
	}
	return frames, nil
}

// packedRange reads part of a packed blob.
func (s *Store) packedRange(ctx context.Context, key cache.Key, offset, n int64) (io.ReadCloser, error) {
	frames, err := s.seekTable(ctx, key)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", key, err)
	}
	var plain int64
	if k := len(frames); k > 0 {
		plain = frames[k-1].plain + frames[k-1].length
	}
	if n < 0 || n > plain-offset {
		n = max(plain-offset, 0)
	}
	if n == 0 {
		return io.NopCloser(bytes.NewReader(nil)), nil
	}
	holds := func(at int64) int {
		i, _ := slices.BinarySearchFunc(frames, at+1, func(f frame, at int64) int { return cmp.Compare(f.plain+f.length, at) })
		return i
	}
	first, last := frames[holds(offset)], frames[holds(offset+n-1)]
	body, _, err := s.stream(ctx, key, first.stored, last.stored+last.size-first.stored)
	if err != nil {
		return nil, err
	}
	r, err := unpack(body)
	if err != nil {
		return nil, err
	}
	if _, err := io.CopyN(io.Discard, r, offset-first.plain); err != nil {
		return nil, errors.Join(err, r.Close())
	}
	return &readCloser{io.LimitReader(r, n), r}, nil
}

// seekTable fetches and reads the seek table: its end, which says how long it is, then the whole.
func (s *Store) seekTable(ctx context.Context, key cache.Key) ([]frame, error) {
	var stored int64
	err := s.retry(ctx, "read "+key.String(), func(ctx context.Context) error {
		info, err := s.core.StatObject(ctx, s.cfg.Bucket, s.name(key), minio.StatObjectOptions{})
		stored = info.Size
		return err
	})
	if err != nil {
		return nil, err
	}
	tail := func(n int64) ([]byte, error) {
		if n > stored {
			return nil, fmt.Errorf("it is cut short: %w", cache.ErrNotFound)
		}
		body, _, err := s.stream(ctx, key, stored-n, n)
		if err != nil {
			return nil, err
		}
		defer body.Close()
		return io.ReadAll(body)
	}
	footer, err := tail(seekFooter)
	if err != nil {
		return nil, err
	}
	size, err := seekTableSize(footer)
	if err != nil {
		return nil, err
	}
	last, err := tail(size)
	if err != nil {
		return nil, err
	}
	return parseSeekTable(last, stored)
}
