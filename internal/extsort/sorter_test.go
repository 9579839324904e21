package extsort

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

func inDir(t *testing.T) (func() (*os.File, error), *int) {
	dir, made := t.TempDir(), 0
	return func() (*os.File, error) {
		made++
		return os.Create(filepath.Join(dir, fmt.Sprint(made)))
	}, &made
}

func drain(t *testing.T, s *Sorter) [][]byte {
	t.Helper()
	it, err := s.Sorted()
	if err != nil {
		t.Fatal(err)
	}
	var out [][]byte
	for {
		r, err := it.Next()
		if err == io.EOF {
			if _, err := it.Next(); err != io.EOF {
				t.Errorf("after the end: %v, want io.EOF again", err)
			}
			return out
		}
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, bytes.Clone(r))
	}
}

func TestRecordsComeBackSorted(t *testing.T) {
	for _, c := range []struct {
		name          string
		count, limit  int
		wantFilesMade int
	}{
		{"none", 0, 1 << 10, 0},
		{"one", 1, 1 << 10, 0},
		{"all in memory", 1000, 1 << 20, 0},
		{"in many runs", 1000, 1 << 10, 1},
		{"each record larger than the memory", 20, 1, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			scratch, made := inDir(t)
			s := New(c.limit, scratch)
			defer s.Close()
			rnd := rand.New(rand.NewPCG(1, uint64(c.count)))
			var want [][]byte
			for range c.count {
				r := make([]byte, rnd.IntN(40))
				for i := range r {
					r[i] = byte(rnd.IntN(3)) // so that many are equal, and many begin alike
				}
				want = append(want, r)
				if err := s.Add(r); err != nil {
					t.Fatal(err)
				}
			}
			slices.SortFunc(want, bytes.Compare)
			got := drain(t, s)
			if !slices.EqualFunc(got, want, bytes.Equal) {
				t.Errorf("%d records, want %d; or in another order", len(got), len(want))
			}
			if *made != c.wantFilesMade {
				t.Errorf("%d files made, want %d", *made, c.wantFilesMade)
			}
		})
	}
}

func TestRecordsBeyondMeasureAreRefused(t *testing.T) {
	s := New(1<<10, nil)
	if err := s.Add(make([]byte, MaxRecord+1)); err == nil {
		t.Error("Add took it")
	}
}

func TestFaultsOfTheDiskAreTold(t *testing.T) {
	full := errors.New("no room")
	s := New(1, func() (*os.File, error) { return nil, full })
	if err := s.Add([]byte("a")); err != nil {
		t.Fatal(err)
	}
	if err := s.Add([]byte("b")); !errors.Is(err, full) {
		t.Errorf("error %v, want %v", err, full)
	}
	var file *os.File
	s = New(1, func() (f *os.File, err error) {
		file, err = os.Create(filepath.Join(t.TempDir(), "runs"))
		return file, err
	})
	defer s.Close()
	for _, r := range []string{"a", "b", "c"} {
		if err := s.Add([]byte(r)); err != nil {
			t.Fatal(err)
		}
	}
	if err := file.Close(); err != nil {
		t.Fatal(err)
	}
	it, err := s.Sorted()
	for err == nil {
		_, err = it.Next()
	}
	if err == io.EOF {
		t.Error("records were lost without an error")
	}
}
