package cachetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/iotest"

	"github.com/kiln-farm/kiln/cache"
)

// Run checks the contract of cache.Store. open returns an empty store, for each case a new one.
func Run(t *testing.T, open func(t *testing.T) cache.Store) {
	cases := []struct {
		name string
		run  func(t *testing.T, s cache.Store)
	}{
		{"an absent value is not found", absentValue},
		{"what was put is got, in whole and in ranges", ranges},
		{"an empty value is a value", emptyValue},
		{"putting again if absent keeps the first value", putIfAbsent},
		{"replacing gives the last value", replace},
		{"a size of -1 means until the end", unknownSize},
		{"bytes that do not match their digest are refused and not kept", mismatch},
		{"a source that ends early or fails leaves nothing", brokenSource},
		{"missing keeps the order asked for", missing},
		{"list gives the keys with a prefix, and their sizes", list},
		{"list ends with the error of its callback", listError},
		{"a name may be the directory of another", nestedNames},
		{"deleting twice is no error", deleteTwice},
		{"many writers of one value leave it whole", concurrentPuts},
		{"a cancelled context stops everything", cancelled},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) { c.run(t, open(t)) })
	}
}

func record(name string) cache.Key { return cache.NameKey("example.com/" + name) }

func put(t *testing.T, s cache.Store, key cache.Key, value string, mode cache.PutMode) {
	t.Helper()
	if err := s.Put(context.Background(), key, strings.NewReader(value), int64(len(value)), mode); err != nil {
		t.Fatalf("put %s: %v", key, err)
	}
}

func putBlob(t *testing.T, s cache.Store, value string) cache.Key {
	t.Helper()
	key := cache.BlobKey(cache.SumBytes([]byte(value)))
	put(t, s, key, value, cache.IfAbsent)
	return key
}

func get(s cache.Store, key cache.Key, offset, n int64) (string, error) {
	r, err := s.Get(context.Background(), key, offset, n)
	if err != nil {
		return "", err
	}
	value, err := io.ReadAll(r)
	return string(value), errors.Join(err, r.Close())
}

func wantValue(t *testing.T, s cache.Store, key cache.Key, want string) {
	t.Helper()
	if got, err := get(s, key, 0, -1); err != nil || got != want {
		t.Errorf("get %s: got %.40q, %v; want %.40q", key, got, err, want)
	}
}

func wantAbsent(t *testing.T, s cache.Store, key cache.Key) {
	t.Helper()
	if got, err := get(s, key, 0, -1); !errors.Is(err, cache.ErrNotFound) {
		t.Errorf("get %s: got %.40q, %v; want ErrNotFound", key, got, err)
	}
	keys, err := s.Missing(context.Background(), []cache.Key{key})
	if err != nil || !slices.Equal(keys, []cache.Key{key}) {
		t.Errorf("missing: got %v, %v; want %s", keys, err, key)
	}
}

func absentValue(t *testing.T, s cache.Store) {
	wantAbsent(t, s, record("a"))
	wantAbsent(t, s, cache.BlobKey(cache.SumBytes([]byte("a"))))
}

func ranges(t *testing.T, s cache.Store) {
	const value = "0123456789"
	for _, key := range []cache.Key{putBlob(t, s, value), record("digits")} {
		put(t, s, key, value, cache.IfAbsent)
		for _, c := range []struct {
			offset, n int64
			want      string
		}{{0, -1, value}, {0, 0, ""}, {0, 3, "012"}, {4, 2, "45"}, {7, -1, "789"}, {8, 100, "89"}, {10, 1, ""}, {50, -1, ""}} {
			if got, err := get(s, key, c.offset, c.n); err != nil || got != c.want {
				t.Errorf("get %s [%d, %d]: got %q, %v; want %q", key, c.offset, c.n, got, err, c.want)
			}
		}
		if _, err := get(s, key, -1, 1); err == nil {
			t.Errorf("get %s: a negative offset is accepted", key)
		}
	}
}

func emptyValue(t *testing.T, s cache.Store) {
	wantValue(t, s, putBlob(t, s, ""), "")
	put(t, s, record("empty"), "", cache.IfAbsent)
	wantValue(t, s, record("empty"), "")
}

func putIfAbsent(t *testing.T, s cache.Store) {
	put(t, s, record("a"), "first", cache.IfAbsent)
	put(t, s, record("a"), "second", cache.IfAbsent)
	wantValue(t, s, record("a"), "first")
	wantValue(t, s, putBlob(t, s, "blob"), "blob")
	wantValue(t, s, putBlob(t, s, "blob"), "blob")
}

func replace(t *testing.T, s cache.Store) {
	put(t, s, record("a"), "a long first value", cache.Replace)
	put(t, s, record("a"), "second", cache.Replace)
	wantValue(t, s, record("a"), "second")
}

func unknownSize(t *testing.T, s cache.Store) {
	value := strings.Repeat("kiln", 100_000)
	for _, key := range []cache.Key{record("a"), cache.BlobKey(cache.SumBytes([]byte(value)))} {
		if err := s.Put(context.Background(), key, strings.NewReader(value), -1, cache.IfAbsent); err != nil {
			t.Fatal(err)
		}
		wantValue(t, s, key, value)
	}
}

func mismatch(t *testing.T, s cache.Store) {
	key := cache.BlobKey(cache.SumBytes([]byte("right")))
	for _, wrong := range []string{"wrong", "", "right and more", "righ"} {
		for _, size := range []int64{int64(len(wrong)), -1} {
			err := s.Put(context.Background(), key, strings.NewReader(wrong), size, cache.IfAbsent)
			if !errors.Is(err, cache.ErrMismatch) {
				t.Errorf("put %q: got %v, want ErrMismatch", wrong, err)
			}
			wantAbsent(t, s, key)
		}
	}
	put(t, s, key, "right", cache.IfAbsent)
	wantValue(t, s, key, "right")
}

func brokenSource(t *testing.T, s cache.Store) {
	broken := errors.New("broken")
	for _, key := range []cache.Key{record("a"), cache.BlobKey(cache.SumBytes([]byte("right")))} {
		if err := s.Put(context.Background(), key, strings.NewReader("rig"), 5, cache.IfAbsent); err == nil {
			t.Errorf("put %s: 3 of 5 bytes are accepted", key)
		}
		wantAbsent(t, s, key)
		source := io.MultiReader(strings.NewReader("rig"), iotest.ErrReader(broken))
		if err := s.Put(context.Background(), key, source, -1, cache.IfAbsent); !errors.Is(err, broken) {
			t.Errorf("put %s: got %v, want the source's error", key, err)
		}
		wantAbsent(t, s, key)
	}
}

func missing(t *testing.T, s cache.Store) {
	var keys, want []cache.Key
	for i := range 20 {
		key := record(fmt.Sprint(i))
		if i%2 == 0 {
			key = cache.BlobKey(cache.SumBytes([]byte(fmt.Sprint(i))))
		}
		keys = append(keys, key)
		if i%3 == 0 {
			put(t, s, key, fmt.Sprint(i), cache.IfAbsent)
		} else {
			want = append(want, key)
		}
	}
	slices.Reverse(keys)
	slices.Reverse(want)
	if got, err := s.Missing(context.Background(), keys); err != nil || !slices.Equal(got, want) {
		t.Errorf("got %v, %v\nwant %v", got, err, want)
	}
	if got, err := s.Missing(context.Background(), nil); err != nil || len(got) != 0 {
		t.Errorf("of nothing: got %v, %v", got, err)
	}
}

func list(t *testing.T, s cache.Store) {
	blob := putBlob(t, s, "some blob")
	put(t, s, record("a:1"), "1", cache.IfAbsent)
	put(t, s, record("a:2"), "22", cache.IfAbsent)
	put(t, s, record("b/c:1"), "333", cache.IfAbsent)
	for _, c := range []struct {
		prefix string
		want   []string
	}{
		{"", []string{blob.String() + " 9", "names/example.com/a:1 1", "names/example.com/a:2 2", "names/example.com/b/c:1 3"}},
		{cache.BlobPrefix, []string{blob.String() + " 9"}},
		{cache.NamePrefix, []string{"names/example.com/a:1 1", "names/example.com/a:2 2", "names/example.com/b/c:1 3"}},
		{"names/example.com/a", []string{"names/example.com/a:1 1", "names/example.com/a:2 2"}},
		{"names/example.com/b/", []string{"names/example.com/b/c:1 3"}},
		{"names/nothing/", nil},
		{cache.ResultPrefix, nil},
	} {
		var got []string
		err := s.List(context.Background(), c.prefix, func(e cache.Entry) error {
			if e.LastUse.IsZero() {
				t.Errorf("%s has no time of last use", e.Key)
			}
			got = append(got, fmt.Sprint(e.Key, " ", e.Size))
			return nil
		})
		slices.Sort(got)
		if err != nil || !slices.Equal(got, c.want) {
			t.Errorf("list %q: got %q, %v; want %q", c.prefix, got, err, c.want)
		}
	}
}

func listError(t *testing.T, s cache.Store) {
	put(t, s, record("a"), "1", cache.IfAbsent)
	put(t, s, record("b"), "2", cache.IfAbsent)
	enough := errors.New("enough")
	calls := 0
	err := s.List(context.Background(), "", func(cache.Entry) error {
		calls++
		return enough
	})
	if !errors.Is(err, enough) || calls != 1 {
		t.Errorf("got %v after %d calls, want the callback's error after 1", err, calls)
	}
}

func nestedNames(t *testing.T, s cache.Store) {
	put(t, s, record("a/b"), "inner", cache.Replace)
	put(t, s, record("a"), "outer", cache.Replace)
	wantValue(t, s, record("a"), "outer")
	wantValue(t, s, record("a/b"), "inner")
}

func deleteTwice(t *testing.T, s cache.Store) {
	for _, key := range []cache.Key{putBlob(t, s, "blob"), record("a")} {
		put(t, s, key, "blob", cache.IfAbsent)
		for range 2 {
			if err := s.Delete(context.Background(), key); err != nil {
				t.Errorf("delete %s: %v", key, err)
			}
			wantAbsent(t, s, key)
		}
		put(t, s, key, "blob", cache.IfAbsent)
		wantValue(t, s, key, "blob")
	}
}

func concurrentPuts(t *testing.T, s cache.Store) {
	blob := bytes.Repeat([]byte("0123456789abcdef"), 40_000)
	key := cache.BlobKey(cache.SumBytes(blob))
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			if err := s.Put(context.Background(), key, bytes.NewReader(blob), int64(len(blob)), cache.IfAbsent); err != nil {
				t.Errorf("put the blob: %v", err)
			}
			value := strings.Repeat(fmt.Sprint(i), 10_000)
			mode := cache.Replace
			if i%2 == 0 {
				mode = cache.IfAbsent
			}
			if err := s.Put(context.Background(), record("a"), strings.NewReader(value), -1, mode); err != nil {
				t.Errorf("put the record: %v", err)
			}
			got, err := get(s, record("a"), 0, -1)
			if err != nil || len(got) != 10_000 || strings.Trim(got, got[:1]) != "" {
				t.Errorf("the record is not one writer's: %d bytes, %v", len(got), err)
			}
		})
	}
	wg.Wait()
	wantValue(t, s, key, string(blob))
}

func cancelled(t *testing.T, s cache.Store) {
	key := putBlob(t, s, "blob")
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_, getErr := s.Get(ctx, key, 0, -1)
	_, missingErr := s.Missing(ctx, []cache.Key{key})
	for name, err := range map[string]error{
		"get":     getErr,
		"missing": missingErr,
		"put":     s.Put(ctx, record("a"), strings.NewReader("1"), 1, cache.Replace),
		"list":    s.List(ctx, "", func(cache.Entry) error { return nil }),
		"delete":  s.Delete(ctx, key),
	} {
		if !errors.Is(err, context.Canceled) {
			t.Errorf("%s: got %v, want context.Canceled", name, err)
		}
	}
	wantValue(t, s, key, "blob")
}
