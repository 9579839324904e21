package compress

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

func gzipMember(t testing.TB, in string) []byte {
	t.Helper()
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	if _, err := io.WriteString(w, in); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func zstdFrame(t testing.TB, in string) []byte {
	t.Helper()
	w, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	return w.EncodeAll([]byte(in), nil)
}

// skipped is a frame of zstd that readers skip (RFC 8878 §3.1.2).
func skipped(kind byte, text string) []byte {
	return append([]byte{0x50 | kind, 0x2a, 0x4d, 0x18, byte(len(text)), 0, 0, 0}, text...)
}

func tarOf(t testing.TB, name string) []byte {
	t.Helper()
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	if err := w.WriteHeader(&tar.Header{Name: name, Mode: 0o644}); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func TestReader(t *testing.T) {
	one, two := gzipMember(t, "one"), gzipMember(t, "two")
	zOne, zTwo := zstdFrame(t, "one"), zstdFrame(t, "two")
	join := func(parts ...[]byte) []byte { return slices.Concat(parts...) }
	oddTar := tarOf(t, "BZh91AY&SY")
	type test struct {
		name        string
		in          []byte
		compression string
		want, err   string
	}
	tests := []test{
		{"nothing", nil, "", "", ""},
		{"what is not compressed", []byte("plain"), "", "plain", ""},
		{"a tar whose first name looks compressed", oddTar, "", string(oddTar), ""},
		{"one gzip member", one, "gzip", "one", ""},
		{"two gzip members", join(one, two), "gzip", "onetwo", ""},
		{"an empty gzip member between two", join(one, gzipMember(t, ""), two), "gzip", "onetwo", ""},
		{"gzip padded by a byte", join(one, make([]byte, 1)), "gzip", "one", ""},
		{"gzip padded by blocks", join(one, two, make([]byte, 3*readBuffer+7)), "gzip", "onetwo", ""},
		{"gzip with something after it", join(one, []byte("xyz")), "gzip", "one", "neither gzip nor padding"},
		{"gzip with one byte after it", join(one, []byte{0x1f}), "gzip", "one", "neither gzip nor padding"},
		{"gzip with something after its padding", join(one, make([]byte, 100), two), "gzip", "one", "neither gzip nor padding"},
		{"gzip that ends early", one[:len(one)-3], "gzip", "one", "unexpected EOF"},
		{"a second gzip member that ends early", join(one, two[:15]), "gzip", "one", "unexpected EOF"},
		{"gzip of a wrong checksum", join(one[:len(one)-8], make([]byte, 8)), "gzip", "one", "checksum"},
		{"one zstd frame", zOne, "zstd", "one", ""},
		{"two zstd frames", join(zOne, zTwo), "zstd", "onetwo", ""},
		{"zstd after a frame to skip with nothing in it", join(skipped(0, ""), zOne), "zstd", "one", ""},
		{"zstd after several frames to skip", join(skipped(1, "a"), skipped(2, "bc"), zOne), "zstd", "one", ""},
		{"zstd before a frame to skip", join(zOne, skipped(14, "seek table")), "zstd", "one", ""},
		{"nothing but a frame to skip", skipped(3, "abc"), "zstd", "", ""},
		{"zstd with something after it", join(zOne, make([]byte, 100)), "zstd", "one", "no frame of zstd"},
		{"a frame to skip that ends early", join(zOne, skipped(3, "abc")[:9]), "zstd", "one", "EOF"},
	}
	for kind := range byte(16) {
		tests = append(tests, test{"zstd around frames to skip, magic number " + string("0123456789abcdef"[kind]),
			join(skipped(kind, "first"), zOne, skipped(kind, "between"), zTwo), "zstd", "onetwo", ""})
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			for _, in := range []io.Reader{bytes.NewReader(tt.in), iotestOneByte{bytes.NewReader(tt.in)}} {
				r, name, err := NewReader(in)
				if err != nil {
					t.Fatal(err)
				}
				defer r.Close()
				got, err := io.ReadAll(r)
				if name != tt.compression || string(got) != tt.want {
					t.Errorf("got %.100q of %q, want %.100q of %q", got, name, tt.want, tt.compression)
				}
				if (err == nil) != (tt.err == "") || err != nil && !strings.Contains(err.Error(), tt.err) {
					t.Errorf("got error %v, want %q", err, tt.err)
				}
			}
		})
	}
}

// iotestOneByte reads a byte at a time.
type iotestOneByte struct{ r io.Reader }

func (o iotestOneByte) Read(p []byte) (int, error) { return o.r.Read(p[:min(1, len(p))]) }

func TestOtherCompressionsAreNamed(t *testing.T) {
	for _, tt := range []struct{ name, in string }{
		{"xz", "\xfd7zXZ\x00\x00\x04\xe6\xd6\xb4\x46"},
		{"bzip2", "BZh91AY&SY\x4e\xec\xe8\x36"},
		{"bzip2", "BZh1\x17\x72\x45\x38\x50\x90\x00\x00\x00\x00"},
		{"lz4", "\x04\x22\x4d\x18\x64\x40\xa7"},
		{"lz4", "\x02\x21\x4c\x18\x08\x00\x00\x00"},
		{"lzma", "\x5d\x00\x00\x80\x00\xff\xff\xff\xff\xff\xff\xff\xff\x00"},
		{"lzip", "LZIP\x01\x0c\x00"},
		{"lzop", "\x89LZO\x00\x0d\x0a\x1a\x0a\x10\x40"},
		{"compress", "\x1f\x9d\x90\x68"},
		{"snappy", "\xff\x06\x00\x00sNaPpY"},
		{"zip", "PK\x03\x04\x0a"},
		{"7-Zip", "7z\xbc\xaf\x27\x1c\x00\x04"},
	} {
		_, _, err := NewReader(strings.NewReader(tt.in))
		var unreadable *UnreadableError
		if !errors.As(err, &unreadable) || unreadable.Compression != tt.name || !strings.Contains(err.Error(), tt.name) {
			t.Errorf("%q: got %v, want that it is %s", tt.in, err, tt.name)
		}
	}
}

func FuzzReader(f *testing.F) {
	f.Add(append(gzipMember(f, "one"), 0, 0, 0))
	f.Add(append(skipped(5, "x"), zstdFrame(f, "one")...))
	f.Add(tarOf(f, "a"))
	f.Fuzz(func(t *testing.T, in []byte) {
		r, _, err := NewReader(bytes.NewReader(in))
		if err != nil {
			return
		}
		defer r.Close()
		_, _ = io.Copy(io.Discard, io.LimitReader(r, 1<<20))
	})
}
