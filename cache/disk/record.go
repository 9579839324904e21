package disk

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"github.com/kiln-farm/kiln/cache"
	"github.com/kiln-farm/kiln/cache/internal/recordfile"
)

// smallRecord is the size, in bytes, up to which a record is written in one piece.
const smallRecord = 64 << 10

// openRecord opens the value of a key that is no blob's, without the trailer and without a digest.
func (d *Store) openRecord(ctx context.Context, key cache.Key) (*cache.File, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	f, err := os.Open(d.file(key))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s: %w", key, cache.ErrNotFound)
	}
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", key, err)
	}
	size, err := checkRecord(f)
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("%s: %w", key, err)
	}
	touchRecord(f)
	return &cache.File{File: f, Size: size}, nil
}

// checkRecord returns the size of f's value, or ErrNotFound when f is no whole record.
func checkRecord(f *os.File) (int64, error) {
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	size := info.Size() - recordfile.TrailerSize
	if size < 0 {
		return 0, fmt.Errorf("the record is cut short: %w", cache.ErrDamaged)
	}
	sum := recordfile.NewSum()
	if _, err := io.Copy(sum, io.NewSectionReader(f, 0, size)); err != nil {
		return 0, err
	}
	var got [recordfile.TrailerSize]byte
	if _, err := f.ReadAt(got[:], size); err != nil {
		return 0, err
	}
	if got != [recordfile.TrailerSize]byte(recordfile.AppendTrailer(nil, sum.Sum32(), size)) {
		return 0, fmt.Errorf("the record is damaged: %w", cache.ErrDamaged)
	}
	return size, nil
}

func (d *Store) putRecord(ctx context.Context, key cache.Key, r io.Reader, size int64, mode cache.PutMode) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if mode == cache.IfAbsent && size >= 0 && size <= smallRecord {
		data := make([]byte, size, size+recordfile.TrailerSize)
		if _, err := io.ReadFull(r, data); err != nil {
			return fmt.Errorf("store %s: %w", key, err)
		}
		sum := recordfile.NewSum()
		_, _ = sum.Write(data) // a hash takes everything
		if ok, err := putUnnamed(d.file(key), recordfile.AppendTrailer(data, sum.Sum32(), size)); err != nil {
			return d.writeError("store "+key.String(), err)
		} else if ok {
			return nil
		}
		r = bytes.NewReader(data)
	}
	f, err := d.temp()
	if err != nil {
		return err
	}
	defer d.discard(f)
	sum := recordfile.NewSum()
	counted := &counter{w: io.MultiWriter(f, sum)}
	if err := fill(counted, r, size); err != nil {
		return d.writeError("store "+key.String(), err)
	}
	if _, err := f.Write(recordfile.AppendTrailer(nil, sum.Sum32(), counted.n)); err != nil {
		return d.writeError("store "+key.String(), err)
	}
	move := os.Rename
	if mode == cache.IfAbsent {
		move = d.linkRecord
	}
	if err := place(move, f.Name(), d.file(key)); err != nil {
		return d.writeError("store "+key.String(), err)
	}
	return nil
}

// linkRecord moves from to to unless a whole record is there.
func (d *Store) linkRecord(from, to string) error {
	err := os.Link(from, to)
	if err == nil || errors.Is(err, fs.ErrNotExist) {
		return err
	}
	// There already, or the file system has no hard links.
	if f, err := os.Open(to); err == nil {
		defer f.Close()
		if _, err := checkRecord(f); err == nil {
			return nil
		}
	}
	return os.Rename(from, to)
}

type counter struct {
	w io.Writer
	n int64
}

func (c *counter) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.n += int64(n)
	return n, err
}
