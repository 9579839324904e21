package flattest

import (
	"archive/tar"
	"bytes"
	"fmt"
	"io"
	"testing"
	"time"
)

var epoch = time.Unix(1600000000, 0)

// Item is an entry of a layer.
type Item struct {
	tar.Header
	Body string
}

func (i Item) String() string {
	s := fmt.Sprintf("%c %s", i.Typeflag, i.Name)
	if i.Linkname != "" {
		s += " -> " + i.Linkname
	}
	if i.Body != "" {
		s += " = " + i.Body
	}
	return s
}

// Dir is a directory.
func Dir(name string) Item {
	return Item{Header: tar.Header{Name: name, Typeflag: tar.TypeDir, Mode: 0o755}}
}

// File is a regular file.
func File(name, body string) Item {
	return Item{Header: tar.Header{Name: name, Typeflag: tar.TypeReg, Mode: 0o644}, Body: body}
}

// Hard is one more name of another entry.
func Hard(name, to string) Item {
	return Item{Header: tar.Header{Name: name, Typeflag: tar.TypeLink, Linkname: to, Mode: 0o644}}
}

// Soft is a symbolic link.
func Soft(name, to string) Item {
	return Item{Header: tar.Header{Name: name, Typeflag: tar.TypeSymlink, Linkname: to, Mode: 0o777}}
}

// Mode is the item with another mode.
func Mode(i Item, mode int64) Item {
	i.Header.Mode = mode
	return i
}

// Pack makes the tar of a layer.
func Pack(t testing.TB, items []Item) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, i := range items {
		h := i.Header
		h.Size, h.ModTime = int64(len(i.Body)), epoch
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, i.Body); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}
