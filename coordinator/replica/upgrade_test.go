package replica

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// The directory is one that a program of December 2026 left: its log, and a snapshot from the middle of it. The log is that of the
// farm "both" of the state's own test, which knows where it leads to.
func TestTheDirectoryOfAnEarlierProgramIsReadAsItMeantIt(t *testing.T) {
	dir := t.TempDir()
	unpack(t, "testdata/december-2026.tar.gz", dir)
	for _, how := range []string{"as it was left", "after a restart"} {
		fsm := NewFSM()
		node, err := Open(Options{NodeID: "1", DataDir: dir, Log: slog.New(slog.DiscardHandler)}, fsm)
		if err != nil {
			t.Fatal(err)
		}
		select {
		case <-node.Leads:
		case <-time.After(30 * time.Second):
			t.Fatal("it does not lead")
		}
		if err := node.Barrier(ApplyTimeout).Error(); err != nil {
			t.Fatal(err)
		}
		var got bytes.Buffer
		if err := fsm.Freeze().Write(&got); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got.Bytes(), gunzip(t, "../state/testdata/written/both.end.gz")) {
			t.Errorf("%s: it is another state", how)
		}
		if err := node.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func gunzip(t *testing.T, path string) []byte {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	data, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func unpack(t *testing.T, archive, dir string) {
	t.Helper()
	in := tar.NewReader(bytes.NewReader(gunzip(t, archive)))
	for {
		h, err := in.Next()
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(dir, h.Name)
		if h.FileInfo().IsDir() {
			err = os.MkdirAll(path, 0o700)
		} else {
			err = write(path, in)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// write leaves holes where there are zeros: raft's log is as large as it may become.
func write(path string, r io.Reader) (err error) {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	var size int64
	for block, zeros := make([]byte, 64<<10), make([]byte, 64<<10); ; {
		n, err := io.ReadFull(r, block)
		if !bytes.Equal(block[:n], zeros[:n]) {
			if _, err := f.WriteAt(block[:n], size); err != nil {
				return err
			}
		}
		size += int64(n)
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return f.Truncate(size)
		}
		if err != nil {
			return err
		}
	}
}
