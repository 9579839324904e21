package disk

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/kiln-farm/kiln/cache"
	"github.com/kiln-farm/kiln/cache/internal/recordfile"
)

// childDir names, in the environment, the cache that a child process of this test writes to until it is killed.
const childDir = "KILN_TEST_CACHE_CHILD"

func TestMain(m *testing.M) {
	if dir := os.Getenv(childDir); dir != "" {
		seed, _ := strconv.ParseUint(os.Args[len(os.Args)-1], 10, 64)
		fmt.Fprintln(os.Stderr, writeForever(dir, seed))
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// writeForever puts blobs, some of them those of other children, and replaces records.
func writeForever(dir string, seed uint64) error {
	d, err := Open(dir)
	if err != nil {
		return err
	}
	ctx := context.Background()
	random := rand.New(rand.NewPCG(seed, 0))
	for i := 0; ; i++ {
		content := bytes.Repeat([]byte{byte(random.IntN(256))}, 1+random.IntN(64)*9000)
		draft, err := d.Create(ctx)
		if err != nil {
			return err
		}
		if _, err := draft.ReadFrom(bytes.NewReader(content)); err != nil {
			return err
		}
		if _, _, err := draft.Commit(); err != nil {
			return err
		}
		record := bytes.Repeat([]byte{byte('a' + seed%26)}, 10_000)
		if err := d.Put(ctx, cache.NameKey(fmt.Sprint("n", i%3)), bytes.NewReader(record), -1, cache.Replace); err != nil {
			return err
		}
		if i == 0 {
			fmt.Println("writing")
		}
	}
}

// killedChild runs a child until it writes and a moment longer.
func killedChild(dir string, seed uint64, after time.Duration) error {
	cmd := exec.Command(os.Args[0], fmt.Sprint(seed))
	cmd.Env = append(os.Environ(), childDir+"="+dir)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	_, err = io.ReadFull(out, make([]byte, len("writing\n")))
	time.Sleep(after)
	_ = cmd.Process.Kill() // SIGKILL
	_ = cmd.Wait()         // it was killed: an error says no more than that
	if err != nil {
		return fmt.Errorf("the child ended by itself: %s", stderr.String())
	}
	return nil
}

func TestKilledWritersLeaveOnlyWholeValues(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "cache")
	rounds := 12
	if testing.Short() {
		rounds = 3
	}
	random := rand.New(rand.NewPCG(1, 2))
	for round := range rounds {
		done := make(chan error)
		for child := range 2 {
			after := time.Duration(random.IntN(20_000)) * time.Microsecond
			go func() { done <- killedChild(dir, uint64(2*round+child), after) }()
		}
		if err := errors.Join(<-done, <-done); err != nil {
			t.Fatal(err)
		}
	}

	d, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	blobs, records := 0, 0
	err = d.List(context.Background(), "", func(e cache.Entry) error {
		file := d.file(e.Key)
		data, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		if digest, ok := e.Key.Digest(); ok {
			blobs++
			if cache.SumBytes(data) != digest {
				t.Errorf("%s holds other bytes", e.Key)
			}
			return nil
		}
		records++
		if value := data[:len(data)-recordfile.TrailerSize]; len(value) != 10_000 || len(bytes.Trim(value, string(value[:1]))) != 0 {
			t.Errorf("%s is not one writer's whole value: %d bytes", e.Key, len(value))
		}
		r, err := d.Get(context.Background(), e.Key, 0, -1)
		if err != nil {
			return err
		}
		return r.Close()
	})
	if err != nil || blobs == 0 || records == 0 {
		t.Errorf("%d blobs, %d records, %v", blobs, records, err)
	}

	temps := filepath.Join(dir, tmpDir)
	left, err := os.ReadDir(temps)
	if err != nil {
		t.Fatal(err)
	}
	old := time.Now().Add(-2 * staleAge)
	for _, entry := range left {
		if err := os.Chtimes(filepath.Join(temps, entry.Name()), old, old); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := Open(dir); err != nil {
		t.Fatal(err)
	}
	if left, err = os.ReadDir(temps); err != nil || len(left) != 0 {
		t.Errorf("not swept: %v, %v", left, err)
	}
}

func TestSweepLeavesDraftsOfTheLiving(t *testing.T) {
	d := openDir(t)
	begun, err := d.Create(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	draft := begun.(*draft)
	defer draft.Abort()
	old := time.Now().Add(-2 * staleAge)
	if err := os.Chtimes(draft.file.Name(), old, old); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(d.root); err != nil {
		t.Fatal(err)
	}
	if _, _, err := draft.Commit(); err != nil {
		t.Errorf("commit: %v", err)
	}
}

func TestRecordSpoiltByAPowerCutIsAbsent(t *testing.T) {
	for name, spoil := range map[string]func(data []byte) []byte{
		"empty":           func([]byte) []byte { return nil },
		"cut short":       func(data []byte) []byte { return data[:len(data)-1] },
		"without trailer": func(data []byte) []byte { return data[:len(data)-recordfile.TrailerSize] },
		"all zeros":       func(data []byte) []byte { return make([]byte, len(data)) },
		"a flipped bit":   func(data []byte) []byte { data[0] ^= 1; return data },
	} {
		t.Run(name, func(t *testing.T) {
			d := openDir(t)
			key := cache.NameKey("example.com/a:1")
			put := func(value string) {
				t.Helper()
				if err := d.Put(context.Background(), key, bytes.NewReader([]byte(value)), -1, cache.IfAbsent); err != nil {
					t.Fatal(err)
				}
			}
			put("a value of some length")
			data, err := os.ReadFile(d.file(key))
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(d.file(key), spoil(data), 0o600); err != nil {
				t.Fatal(err)
			}
			if _, err := d.Get(context.Background(), key, 0, -1); !errors.Is(err, cache.ErrDamaged) || !errors.Is(err, cache.ErrNotFound) {
				t.Errorf("get: %v, want ErrDamaged, which is an ErrNotFound", err)
			}
			if missing, err := d.Missing(context.Background(), []cache.Key{key}); err != nil || len(missing) != 1 {
				t.Errorf("missing: %v, %v; want the key", missing, err)
			}
			put("new") // what is spoilt does not count as present
			r, err := d.Get(context.Background(), key, 0, -1)
			if err != nil {
				t.Fatal(err)
			}
			defer r.Close()
			if got, err := io.ReadAll(r); err != nil || string(got) != "new" {
				t.Errorf("got %q, %v; want new", got, err)
			}
		})
	}
}
