package s3_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/kiln-farm/kiln/cache"
	"github.com/kiln-farm/kiln/cache/cachetest"
	"github.com/kiln-farm/kiln/cache/internal/recordfile"
	"github.com/kiln-farm/kiln/cache/s3"
	"github.com/kiln-farm/kiln/cache/s3test"
	"github.com/kiln-farm/kiln/cache/wrap"
	"github.com/minio/minio-go/v7/pkg/credentials"
)

func openS3(t *testing.T, s *s3test.Server, prefix, via string) *s3.Store {
	t.Helper()
	c, err := s.Config(prefix, via)
	if err != nil {
		t.Fatal(err)
	}
	c.Patience = 10 * time.Second
	store, err := s3.Open(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	return store
}

func TestABucketKeepsTheContract(t *testing.T) {
	s := s3test.New(t)
	n := 0
	open := func(t *testing.T) cache.Store {
		n++
		return wrap.NewVerifying(openS3(t, s, fmt.Sprint("p", n), ""))
	}
	cachetest.Run(t, open)
	cachetest.RunBlobs(t, func(t *testing.T) cache.Blobs {
		return wrap.NewReadThrough(cachetest.Dir(t), open(t), wrap.ReadThroughOptions{})
	})
}

func TestWhatCompressesIsPackedAndReadBackInRanges(t *testing.T) {
	s := s3test.New(t)
	store := openS3(t, s, "", "")
	kernel := cachetest.Text(300 << 10)
	copy(kernel[0x202:], "HdrS")
	for _, c := range []struct {
		name    string
		data    []byte
		unknown bool // its size is not told
		packed  bool
	}{
		{"text of several frames", cachetest.Text(5<<20 + 123), false, true},
		{"text of one frame", cachetest.Text(1 << 20), false, true},
		{"text whose size is not known", cachetest.Text(3<<20 + 1), true, true},
		{"text in many parts", cachetest.Text(40<<20 + 7), false, true},
		{"noise in several parts", cachetest.Noise(20<<20 + 5), true, false},
		{"noise", cachetest.Noise(200 << 10), false, false},
		{"a little text", cachetest.Text(10 << 10), false, false},
		{"a kernel", kernel, false, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := cache.SumBytes(c.data)
			size := int64(len(c.data))
			if c.unknown {
				size = -1
			}
			if err := store.Put(t.Context(), cache.BlobKey(d), bytes.NewReader(c.data), size, cache.IfAbsent); err != nil {
				t.Fatal(err)
			}
			info, err := os.Stat(filepath.Join(s.Dir(), cache.BlobKey(d).String()))
			if err != nil {
				t.Fatal(err)
			}
			if packed := info.Size() < int64(len(c.data)); packed != c.packed {
				t.Errorf("%d bytes are stored as %d", len(c.data), info.Size())
			}
			for _, at := range [][2]int64{{0, -1}, {0, 1}, {1, 10}, {1<<20 - 1, 2}, {int64(len(c.data)) - 3, 100}, {int64(len(c.data)) / 2, -1}, {int64(len(c.data)) + 5, 5}, {3, 0}} {
				from := min(at[0], int64(len(c.data)))
				to := int64(len(c.data))
				if at[1] >= 0 {
					to = min(to, from+at[1])
				}
				got := readAll(t, store, d, at[0], at[1])
				if !bytes.Equal(got, c.data[from:to]) {
					t.Fatalf("range %v gives %d bytes, want %d, or others", at, len(got), to-from)
				}
			}
			url, err := store.PresignGet(t.Context(), d, time.Minute)
			if err != nil {
				t.Fatal(err)
			}
			res, err := http.Get(url)
			if err != nil {
				t.Fatal(err)
			}
			body, err := s3.DecodeStored(res.Header, res.Body)
			if err != nil {
				t.Fatal(err)
			}
			defer body.Close()
			if got, err := io.ReadAll(body); err != nil || !bytes.Equal(got, c.data) {
				t.Fatalf("the URL gives %d other bytes, or %v", len(got), err)
			}
		})
	}
}

func readAll(t *testing.T, store cache.Store, d cache.Digest, offset, n int64) []byte {
	t.Helper()
	r, err := store.Get(t.Context(), cache.BlobKey(d), offset, n)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	data, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// Any zstd program reads a packed blob.
func TestPackedBlobsAreZstd(t *testing.T) {
	if _, err := exec.LookPath("zstd"); err != nil {
		t.Fatalf("zstd is not installed: apt-get install zstd: %v", err)
	}
	s := s3test.New(t)
	store := openS3(t, s, "", "")
	data := cachetest.Text(3 << 20)
	d := cache.SumBytes(data)
	if err := store.Put(t.Context(), cache.BlobKey(d), bytes.NewReader(data), int64(len(data)), cache.IfAbsent); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("zstd", "-dc", filepath.Join(s.Dir(), cache.BlobKey(d).String())).Output()
	if err != nil || !bytes.Equal(out, data) {
		t.Errorf("zstd gives %d bytes, %v", len(out), err)
	}
}

func TestWhyAStoreCannotBeOpenedIsTold(t *testing.T) {
	s := s3test.New(t)
	for _, c := range []struct {
		name   string
		change func(*s3.Config)
		want   error
		text   string
	}{
		{"wrong secret", func(c *s3.Config) { c.Credentials = credentials.NewStaticV4(s.AccessKey, "wrong", "") }, cache.ErrRefused, "does not know these credentials"},
		{"unknown user", func(c *s3.Config) { c.Credentials = credentials.NewStaticV4("nobody", "wrong", "") }, cache.ErrRefused, "AWS_ACCESS_KEY_ID"},
		{"no such bucket", func(c *s3.Config) { c.Bucket = "other" }, cache.ErrRefused, `there is no bucket "other"`},
		{"nobody is there for as long as opening may take", func(c *s3.Config) { c.Endpoint = "127.0.0.1:1" }, cache.ErrUnavailable, "connection refused"},
		{"nobody is there", func(c *s3.Config) { c.Endpoint = "127.0.0.1:1"; c.Patience = 200 * time.Millisecond }, cache.ErrUnavailable, "127.0.0.1:1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			conf, err := s.Config("", "")
			if err != nil {
				t.Fatal(err)
			}
			c.change(&conf)
			_, err = s3.Open(t.Context(), conf)
			if !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.text) {
				t.Errorf("error %v, want %q in it", err, c.text)
			}
		})
	}
}

// Machines wait for an edge that was restarted, and it has what they boot.
func TestAStoreThatMayComeLaterIsNotWaitedFor(t *testing.T) {
	silent, err := net.Listen("tcp", "127.0.0.1:0") // takes connections and never answers
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	for name, endpoint := range map[string]string{"nobody is there": "127.0.0.1:1", "somebody says nothing": silent.Addr().String()} {
		t.Run(name, func(t *testing.T) {
			begun := time.Now()
			_, err := s3.Open(t.Context(), s3.Config{Endpoint: endpoint, Plain: true, Bucket: "kiln", Credentials: credentials.NewStaticV4("a", "b", ""), Later: true})
			if took := time.Since(begun); err != nil || took > 10*time.Second {
				t.Errorf("opened after %s with %v, want a moment and no error", took, err)
			}
		})
	}
}

func TestURLsOfStores(t *testing.T) {
	for _, c := range []struct{ url, want, fault string }{
		{"s3://bucket", "s3.us-east-1.amazonaws.com bucket ", ""},
		{"s3://bucket/a/b/?endpoint=http://h:9&region=eu", "h:9 bucket a/b/", ""},
		{"s3:///x", "", "names no bucket"},
		{"s3://a_b", "", "is no name of a bucket"},
		{"https://h", "", "not an s3:// URL"},
		{"s3://bucket?endpoint=h:9", "", "is no URL of a server"},
		{"s3://bucket?colour=red", "", `unknown part "colour"`},
		{"s3://user:secret-word@bucket", "", "credentials do not belong"},
	} {
		got, err := s3.ParseURL(c.url)
		if c.fault != "" {
			if err == nil || !strings.Contains(err.Error(), c.fault) || strings.Contains(err.Error(), "secret-word") {
				t.Errorf("%s: error %v, want %q", c.url, err, c.fault)
			}
			continue
		}
		if text := got.Endpoint + " " + got.Bucket + " " + got.Prefix; err != nil || text != c.want {
			t.Errorf("%s: %q, %v, want %q", c.url, text, err, c.want)
		}
	}
}

func TestACancelledReadEndsAtOnce(t *testing.T) {
	s := s3test.New(t)
	store := openS3(t, s, "", "")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := store.Get(ctx, cache.BlobKey(cache.SumBytes(nil)), 0, -1); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
}

// A record that the server's disk spoilt is told as that, and does not stand in the way of a good one.
func TestADamagedRecordIsReplacedByThatWhichIsKept(t *testing.T) {
	s := s3test.New(t)
	store := openS3(t, s, "", "")
	key := cache.ResultKey(cache.SumBytes([]byte("step")))
	put := func(value string) {
		t.Helper()
		if err := store.Put(t.Context(), key, strings.NewReader(value), int64(len(value)), cache.IfAbsent); err != nil {
			t.Fatal(err)
		}
	}
	get := func() (string, error) {
		r, err := store.Get(t.Context(), key, 0, -1)
		if err != nil {
			return "", err
		}
		defer r.Close()
		data, err := io.ReadAll(r)
		return string(data), err
	}
	put("first")
	put("second") // what is there is kept
	if got, err := get(); err != nil || got != "first" {
		t.Fatalf("got %q, %v", got, err)
	}
	object := filepath.Join(s.Dir(), key.String()+recordfile.Suffix)
	data, err := os.ReadFile(object)
	if err != nil {
		t.Fatal(err)
	}
	data[0] ^= 1
	if f, err := os.OpenFile(object, os.O_WRONLY, 0); err != nil {
		t.Fatal(err)
	} else if _, err := f.WriteAt(data, 0); errors.Join(err, f.Close()) != nil {
		t.Fatal(err)
	}
	if _, err := get(); !errors.Is(err, cache.ErrDamaged) || !errors.Is(err, cache.ErrNotFound) {
		t.Errorf("a damaged one: got %v, want ErrDamaged, which is an ErrNotFound", err)
	}
	put("made again")
	if got, err := get(); err != nil || got != "made again" {
		t.Errorf("got %q, %v", got, err)
	}
}
