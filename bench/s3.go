package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"time"

	"github.com/minio/minio-go/v7"

	"github.com/kiln-farm/kiln/cache"
	"github.com/kiln-farm/kiln/cache/disk"
	"github.com/kiln-farm/kiln/cache/s3"
	"github.com/kiln-farm/kiln/cache/s3test"
	"github.com/kiln-farm/kiln/cache/wrap"
)

const (
	largeBlob = 64 << 20
	smallBlob = 4 << 10
	largeRuns = 7
	smallRuns = 400
)

// measureS3 measures reads and writes of blobs beside plain minio-go, in turns, against one server on this machine.
// What is read is verified on both sides: minio-go's bytes are piped through SHA-256.
func measureS3(ctx context.Context, o options) ([]table, error) {
	dir := filepath.Join(o.work, "s3")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	server, err := s3test.Start(dir, "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	defer server.Close()
	conf, err := server.Config("bench", "")
	if err != nil {
		return nil, err
	}
	store, err := s3.Open(ctx, conf)
	if err != nil {
		return nil, err
	}
	local, err := disk.Open(filepath.Join(dir, "local"))
	if err != nil {
		return nil, err
	}
	client, err := server.Client()
	if err != nil {
		return nil, err
	}
	b := &s3Bench{ours: wrap.NewVerifying(store), store: store, local: local, peer: client}
	t := table{Title: "S3: blobs that do not compress, beside minio-go on the same server", Columns: []string{"kiln", "minio-go", "speed"}}
	for _, size := range []int{largeBlob, smallBlob} {
		if err := b.measure(ctx, &t, size); err != nil {
			return nil, err
		}
	}
	return []table{t}, nil
}

type s3Bench struct {
	ours  cache.Store
	store *s3.Store
	local *disk.Store
	peer  *minio.Client
}

func (b *s3Bench) measure(ctx context.Context, t *table, size int) error {
	runs, name := largeRuns, "64 MiB"
	if size == smallBlob {
		runs, name = smallRuns, "4 KiB"
	}
	var ourPut, peerPut, ourGet, peerGet []time.Duration
	took := func(list *[]time.Duration, f func() error) error {
		begun := time.Now()
		err := f()
		*list = append(*list, time.Since(begun))
		return err
	}
	data := make([]byte, size)
	random := rand.NewChaCha8([32]byte{7})
	for range runs {
		_, _ = random.Read(data) // never fails
		d := cache.SumBytes(data)
		if err := b.local.Put(ctx, cache.BlobKey(d), bytes.NewReader(data), int64(size), cache.IfAbsent); err != nil {
			return err
		}
		f, err := b.local.Open(ctx, d)
		if err != nil {
			return err
		}
		err = errors.Join(
			took(&ourPut, func() error { return b.store.PutFile(ctx, f) }),
			took(&peerPut, func() error {
				_, err := b.peer.PutObject(ctx, s3test.Bucket, "peer/"+d.Hex(), bytes.NewReader(data), int64(size), minio.PutObjectOptions{DisableMultipart: true})
				return err
			}),
			took(&ourGet, func() error {
				r, err := b.ours.Get(ctx, cache.BlobKey(d), 0, -1)
				if err != nil {
					return err
				}
				_, err = io.Copy(io.Discard, r)
				return errors.Join(err, r.Close())
			}),
			took(&peerGet, func() error {
				r, err := b.peer.GetObject(ctx, s3test.Bucket, "peer/"+d.Hex(), minio.GetObjectOptions{})
				if err != nil {
					return err
				}
				sum := sha256.New()
				_, err = io.Copy(sum, r)
				return errors.Join(err, r.Close())
			}),
			f.Close(), b.local.Delete(ctx, cache.BlobKey(d)),
		)
		if err != nil {
			return err
		}
	}
	b.add(t, "write "+name, ourPut, peerPut)
	b.add(t, "read "+name+", verified", ourGet, peerGet)
	return nil
}

func (b *s3Bench) add(t *table, name string, ours, peers []time.Duration) {
	a, p := ms(quantile(ours, 0.5)), ms(quantile(peers, 0.5))
	t.add(name, map[string]float64{"kiln_ms": a, "minio_ms": p, "speed": p / a},
		fmt.Sprintf("%.2f ms", a), fmt.Sprintf("%.2f ms", p), fmt.Sprintf("%.2f ×", p/a))
}
