package disk

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/kiln-farm/kiln/cache"
)

func openDir(t testing.TB) *Store {
	t.Helper()
	d, err := Open(filepath.Join(t.TempDir(), "cache"))
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func putBlob(t testing.TB, blobs cache.Blobs, data []byte) cache.Digest {
	t.Helper()
	draft, err := blobs.Create(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	defer draft.Abort()
	if _, err := draft.Write(data); err != nil {
		t.Fatal(err)
	}
	digest, size, err := draft.Commit()
	if err != nil || digest != cache.SumBytes(data) || size != int64(len(data)) {
		t.Fatalf("commit: got %s, %d, %v; want %s, %d", digest, size, err, cache.SumBytes(data), len(data))
	}
	return digest
}

func readBlob(t testing.TB, blobs cache.Blobs, digest cache.Digest) []byte {
	t.Helper()
	f, err := blobs.Open(context.Background(), digest)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	data, err := io.ReadAll(f)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func TestChangedBlobCountsAsAbsent(t *testing.T) {
	content := bytes.Repeat([]byte("kiln "), 1000)
	tests := []struct {
		name   string
		tamper func(t *testing.T, file string)
	}{
		{"a byte is flipped", func(t *testing.T, file string) { flip(t, file) }},
		{"a byte is flipped and the modification time restored", func(t *testing.T, file string) {
			info, err := os.Stat(file)
			if err != nil {
				t.Fatal(err)
			}
			time.Sleep(2 * stampSlack)
			flip(t, file)
			if err := os.Chtimes(file, info.ModTime(), info.ModTime()); err != nil {
				t.Fatal(err)
			}
		}},
		{"the file is cut short", func(t *testing.T, file string) {
			if err := errors.Join(os.Chmod(file, 0o644), os.Truncate(file, 100)); err != nil {
				t.Fatal(err)
			}
		}},
		{"the file is replaced", func(t *testing.T, file string) {
			if err := errors.Join(os.Remove(file), os.WriteFile(file, []byte("other"), 0o644)); err != nil {
				t.Fatal(err)
			}
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			d := openDir(t)
			digest := putBlob(t, d, content)
			tt.tamper(t, d.blobFile(digest))
			missing, err := d.MissingBlobs(context.Background(), []cache.Digest{digest})
			if err != nil || len(missing) != 1 {
				t.Errorf("missing: got %v, %v; want the blob", missing, err)
			}
			if _, err := d.Open(context.Background(), digest); !errors.Is(err, cache.ErrNotFound) {
				t.Errorf("open: got %v, want ErrNotFound", err)
			}
			if _, err := os.Stat(d.blobFile(digest)); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("the file is still there: %v", err)
			}
			putBlob(t, d, content)
			if got := readBlob(t, d, digest); !bytes.Equal(got, content) {
				t.Error("stored again, it reads differently")
			}
		})
	}
}

func flip(t *testing.T, file string) {
	t.Helper()
	if err := os.Chmod(file, 0o644); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	data[len(data)/2] ^= 1
	if err := os.WriteFile(file, data, 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestCommitAsRefusesOtherBytes(t *testing.T) {
	d := openDir(t)
	draft, err := d.Create(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := draft.ReadFrom(strings.NewReader("one")); err != nil {
		t.Fatal(err)
	}
	if _, err := draft.CommitAs(cache.SumBytes([]byte("two"))); !errors.Is(err, cache.ErrMismatch) {
		t.Errorf("got %v, want ErrMismatch", err)
	}
	left, err := os.ReadDir(filepath.Join(d.root, tmpDir))
	if err != nil || len(left) != 0 {
		t.Errorf("left in tmp: %v, %v", left, err)
	}
}

// A cache directory may be a symbolic link to a disk with more room, and so may what is directly in it.
func TestAListingFollowsTheLinksThatAUserMade(t *testing.T) {
	real := filepath.Join(t.TempDir(), "real")
	link, blobs := filepath.Join(t.TempDir(), "link"), filepath.Join(t.TempDir(), "blobs")
	for _, err := range []error{os.Mkdir(real, 0o700), os.Mkdir(blobs, 0o700), os.Symlink(real, link), os.Symlink(blobs, filepath.Join(real, "blobs")), os.Symlink(link, filepath.Join(blobs, "loop"))} {
		if err != nil {
			t.Fatal(err)
		}
	}
	d, err := Open(link)
	if err != nil {
		t.Fatal(err)
	}
	digest := putBlob(t, d, []byte("kiln"))
	if err := d.Put(t.Context(), cache.NameKey("a"), strings.NewReader("a"), 1, cache.Replace); err != nil {
		t.Fatal(err)
	}
	for prefix, want := range map[string]int{"": 2, "b": 1, cache.BlobPrefix: 1, cache.BlobPrefix + digest.Hex()[:2]: 1, cache.NamePrefix: 1, "refs/": 0} {
		var keys []cache.Key
		err := d.List(t.Context(), prefix, func(e cache.Entry) error {
			keys = append(keys, e.Key)
			return nil
		})
		if err != nil || len(keys) != want {
			t.Errorf("%q: listed %v, %v; want %d", prefix, keys, err, want)
		}
	}
}
