package tree

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kiln-farm/kiln/cache"
)

var (
	bodies = cache.SumBytes([]byte("bodies"))
	other  = cache.SumBytes([]byte("other"))
)

func samples() []Entry {
	return []Entry{
		{Name: "a", Type: tar.TypeDir, Mode: 0o755, ModTime: time.Unix(1, 0).UTC()},
		{Name: "a/b", Type: tar.TypeReg, Mode: 0o4755, UID: 1, GID: 2, Uname: "u", Gname: "g", ModTime: time.Unix(-5, 999999999).UTC(),
			AccessTime: time.Unix(7, 1).UTC(), ChangeTime: time.Unix(1<<40, 0).UTC(),
			PAX: map[string]string{"SCHILY.xattr.user.z": "1", "SCHILY.xattr.user.a": "\x00\x01"}, Body: Body{Size: 5, Blob: bodies, Offset: 9}},
		{Name: "a/c", Linkname: "./a/b", Type: tar.TypeLink},
		{Name: "a/d", Type: tar.TypeReg, Body: Body{Size: 3, Inline: []byte("abc")}},
		{Name: "a/e", Type: tar.TypeReg, Body: Body{Size: 1 << 40, Blob: other}},
		{Name: "a/f", Type: tar.TypeReg, Body: Body{Size: 1, Blob: bodies, Offset: 14}},
		{Name: "dev/null", Type: tar.TypeChar, Devmajor: 1, Devminor: 3},
	}
}

func encode(t testing.TB, entries []Entry) []byte {
	t.Helper()
	var b bytes.Buffer
	w := NewWriter(&b)
	for i := range entries {
		if err := w.Append(&entries[i]); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func decode(b []byte) ([]Entry, []cache.Digest, error) {
	r, err := NewReader(bytes.NewReader(b))
	if err != nil {
		return nil, nil, err
	}
	var out []Entry
	for {
		e, err := r.Next()
		if err == io.EOF {
			return out, r.Blobs(), nil
		}
		if err != nil {
			return nil, nil, err
		}
		out = append(out, *e)
	}
}

func TestIndexKeepsEveryField(t *testing.T) {
	want := samples()
	got, blobs, err := decode(encode(t, want))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got, cmp.Comparer(func(a, b cache.Digest) bool { return a == b })); diff != "" {
		t.Errorf("entries differ (-want +got):\n%s", diff)
	}
	if len(blobs) != 2 || blobs[0] != bodies || blobs[1] != other {
		t.Errorf("blobs = %v, want %v", blobs, []cache.Digest{bodies, other})
	}
}

func TestIndexRefusesEveryTruncation(t *testing.T) {
	whole := encode(t, samples())
	for n := range whole {
		if _, _, err := decode(whole[:n]); !errors.Is(err, ErrCorrupt) {
			t.Fatalf("the first %d of %d bytes: error %v, want ErrCorrupt", n, len(whole), err)
		}
	}
}

func TestWriterRefusesWhatNoReaderTakes(t *testing.T) {
	for _, c := range []struct {
		name  string
		entry Entry
	}{
		{"no name", Entry{}},
		{"a name that climbs out", Entry{Name: "a/../../b"}},
		{"a name with a NUL", Entry{Name: "a\x00b"}},
		{"a name beyond all measure", Entry{Name: strings.Repeat("a", maxString+1)}},
		{"a large inline body", Entry{Name: "a", Body: Body{Inline: make([]byte, maxInline+1)}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if err := NewWriter(io.Discard).Append(&c.entry); err == nil {
				t.Error("Append took it")
			}
		})
	}
}

func TestReaderRefusesNamesThatClimbOut(t *testing.T) {
	b := encode(t, []Entry{{Name: "aa/bb", Type: tar.TypeReg}})
	b = bytes.Replace(b, []byte("aa/bb"), []byte("../bb"), 1)
	if _, _, err := decode(b); !errors.Is(err, ErrCorrupt) {
		t.Errorf("error %v, want ErrCorrupt", err)
	}
}

func TestHeaderRecords(t *testing.T) {
	in := &tar.Header{Name: "f", Typeflag: tar.TypeReg, PAXRecords: map[string]string{
		"mtime": "5", "SCHILY.xattr.user.x": "y", "GNU.sparse.major": "1", RecordSource: "of an earlier build", RecordLocation: "services[0]"}}
	e, err := FromHeader(in)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{"mtime": "5", "SCHILY.xattr.user.x": "y", RecordSource: "now"}
	if diff := cmp.Diff(want, e.Header(map[string]string{RecordSource: "now"}).PAXRecords); diff != "" {
		t.Errorf("records differ (-want +got):\n%s", diff)
	}
	if _, err := FromHeader(&tar.Header{Name: "v", Typeflag: 'V'}); err == nil || err.Error() != `entry "v" has the unknown type 'V'` {
		t.Errorf("error %v", err)
	}
}

// FuzzIndex: whatever decodes encodes to something that decodes to the same.
func FuzzIndex(f *testing.F) {
	f.Add(encode(f, samples()))
	f.Add([]byte(magic + "Z"))
	f.Add([]byte(magic + "E0\x01a"))
	f.Fuzz(func(t *testing.T, b []byte) {
		entries, _, err := decode(b)
		if err != nil {
			return
		}
		again, _, err := decode(encode(t, entries))
		if err != nil {
			t.Fatalf("what was decoded does not encode: %v", err)
		}
		if diff := cmp.Diff(entries, again, cmp.Comparer(func(a, b cache.Digest) bool { return a == b })); diff != "" {
			t.Errorf("not the same again:\n%s", diff)
		}
	})
}
