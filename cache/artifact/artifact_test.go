package artifact

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"io"
	"math"
	"net"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/kiln-farm/kiln/cache"
	"github.com/kiln-farm/kiln/cache/cachetest"
)

func TestArtifactEncodingIsGolden(t *testing.T) {
	blob := cache.SumBytes([]byte("blob"))
	a := &Artifact{Digest: cache.SumBytes([]byte("whole")), Size: 1003 + 512, Extents: []Extent{
		{Length: 3, Inline: []byte("abc")}, {Length: 600, Blob: blob, Offset: 10}, {Length: 0}, {Length: 400, Blob: blob, Offset: 610},
		{Length: 500}, {Length: 12},
	}}
	got, err := Encode(a)
	if err != nil {
		t.Fatal(err)
	}
	sum, blobSum := a.Digest.Hex(), blob.Hex()
	want := "6b696c6e61727401" + "01" + sum + "eb0b" + "01" + blobSum + "03" + "0103616263" + "02e807000a" + "008004"
	if hex.EncodeToString(got) != want {
		t.Errorf("got  %x\nwant %s", got, want)
	}
	back, err := Decode(got)
	if err != nil {
		t.Fatal(err)
	}
	joined := []Extent{{Length: 3, Inline: []byte("abc")}, {Length: 1000, Blob: blob, Offset: 10}, {Length: 512}}
	if back.Digest != a.Digest || back.Size != a.Size || !reflect.DeepEqual(back.Extents, joined) {
		t.Errorf("got %+v", back)
	}
}

func TestArtifactWithWrongExtentsIsRefused(t *testing.T) {
	blob := cache.SumBytes([]byte("blob"))
	for _, tt := range []struct {
		name, want string
		a          Artifact
	}{
		{"a negative length", "negative", Artifact{Size: -1, Extents: []Extent{{Length: -1}}}},
		{"a negative offset", "negative", Artifact{Size: 1, Extents: []Extent{{Length: 1, Blob: blob, Offset: -1}}}},
		{"another size", "artifact of 5 bytes has extents of 4", Artifact{Size: 5, Extents: []Extent{{Length: 4}}}},
		{"a sum that overflows", "largest possible file", Artifact{Size: -2, Extents: []Extent{{Length: math.MaxInt64}, {Length: math.MaxInt64}}}},
		{"an end that overflows", "largest possible file", Artifact{Size: 2, Extents: []Extent{{Length: 2, Blob: blob, Offset: math.MaxInt64}}}},
		{"inline bytes of another length", "has 1 bytes inline and says 2", Artifact{Size: 2, Extents: []Extent{{Length: 2, Inline: []byte("a")}}}},
		{"inline bytes and a blob", "two kinds", Artifact{Size: 1, Extents: []Extent{{Length: 1, Inline: []byte("a"), Blob: blob}}}},
		{"an offset in zeros", "two kinds", Artifact{Size: 1, Extents: []Extent{{Length: 1, Offset: 1}}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := Open(context.Background(), cachetest.Dir(t), &tt.a); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("open: got %v, want %q", err, tt.want)
			}
			if _, err := Encode(&tt.a); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("encode: got %v, want %q", err, tt.want)
			}
		})
	}
}

func TestArtifactBeyondItsBlob(t *testing.T) {
	d := cachetest.Dir(t)
	digest := cachetest.Put(t, d, []byte("short"))
	a := &Artifact{Size: 10, Extents: []Extent{{Length: 10, Blob: digest}}}
	r, err := Open(context.Background(), d, a)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if _, err := r.WriteTo(io.Discard); err == nil || !strings.Contains(err.Error(), "which has 5") {
		t.Errorf("got %v", err)
	}
	gone := &Artifact{Size: 1, Extents: []Extent{{Length: 1, Blob: cache.SumBytes([]byte("gone"))}}}
	if r, err = Open(context.Background(), d, gone); err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if _, err := r.ReadAt(make([]byte, 1), 0); !errors.Is(err, cache.ErrNotFound) {
		t.Errorf("got %v, want ErrNotFound", err)
	}
}

// TestArtifactOverTCP sends a whole artifact as the kernel would, by sendfile.
func TestArtifactOverTCP(t *testing.T) {
	d := cachetest.Dir(t)
	content := bytes.Repeat([]byte("0123456789abcdef"), 20_000)
	digest := cachetest.Put(t, d, content)
	a := &Artifact{Size: 4 + 200_000 + 40_000, Extents: []Extent{
		{Length: 4, Inline: []byte("head")}, {Length: 200_000, Blob: digest, Offset: 7}, {Length: 40_000},
	}}
	want := append(append([]byte("head"), content[7:200_007]...), make([]byte, 40_000)...)
	r, err := Open(context.Background(), d, a)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	sent := make(chan error, 1)
	go func() {
		conn, err := listener.Accept()
		if err == nil {
			_, err = r.WriteTo(conn)
			conn.Close()
		}
		sent <- err
	}()
	conn, err := net.Dial("tcp", listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	got, err := io.ReadAll(conn)
	if err := errors.Join(err, <-sent); err != nil || !bytes.Equal(got, want) {
		t.Errorf("got %d bytes, %v; equal %t", len(got), err, bytes.Equal(got, want))
	}
}

func TestArtifactKeepsFewFilesOpen(t *testing.T) {
	d := cachetest.Dir(t)
	a := &Artifact{}
	for i := range 3 * idleFiles {
		a.Extents = append(a.Extents, Extent{Length: 1, Blob: cachetest.Put(t, d, []byte{byte(i)})})
		a.Size++
	}
	r, err := Open(context.Background(), d, a)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		got, err := io.ReadAll(io.NewSectionReader(r, 0, r.Size()))
		if err != nil || len(got) != len(a.Extents) || int(got[20]) != 20 {
			t.Fatalf("got %v, %v", got, err)
		}
	}
	if len(r.idle) > idleFiles {
		t.Errorf("%d files are open, want at most %d", len(r.idle), idleFiles)
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := r.ReadAt(make([]byte, 1), 0); !errors.Is(err, errReaderClosed) {
		t.Errorf("read after close: %v", err)
	}
}

func FuzzDecode(f *testing.F) {
	blob := cache.SumBytes([]byte("blob"))
	for _, a := range []*Artifact{
		{}, {Digest: blob, Size: 3, Extents: []Extent{{Length: 3, Inline: []byte("abc")}}},
		{Size: 700, Extents: []Extent{{Length: 300, Blob: blob, Offset: 9}, {Length: 400}}},
	} {
		encoded, err := Encode(a)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(encoded)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		a, err := Decode(data)
		if err != nil {
			return
		}
		again, err := Encode(a)
		if err != nil || !bytes.Equal(again, data) {
			t.Fatalf("encodes differently: %v\n%x\n%x", err, data, again)
		}
	})
}

// openings counts how often blobs are opened.
type openings struct {
	cache.Blobs
	n int
}

func (o *openings) Open(ctx context.Context, d cache.Digest) (*cache.File, error) {
	o.n++
	return o.Blobs.Open(ctx, d)
}

func TestABlobIsAnArtifactThatIsOpenedOnce(t *testing.T) {
	for _, text := range []string{"some bytes", ""} {
		dir := cachetest.Dir(t)
		d := cache.SumBytes([]byte(text))
		if err := dir.Put(t.Context(), cache.BlobKey(d), strings.NewReader(text), int64(len(text)), cache.IfAbsent); err != nil {
			t.Fatal(err)
		}
		blobs := &openings{Blobs: dir}
		r, err := OpenWhole(t.Context(), blobs, d)
		if err != nil {
			t.Fatal(err)
		}
		var got strings.Builder
		if _, err := r.WriteTo(&got); err != nil || got.String() != text || r.Size() != int64(len(text)) || blobs.n != 1 {
			t.Errorf("got %q of %d bytes after opening it %d times, %v", got.String(), r.Size(), blobs.n, err)
		}
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	}
	if _, err := OpenWhole(t.Context(), cachetest.Dir(t), cache.SumBytes([]byte("nothing"))); !errors.Is(err, cache.ErrNotFound) {
		t.Errorf("a blob that is not there: got %v", err)
	}
}

func TestArtifactReadsAsOneFile(t *testing.T) {
	d := cachetest.Dir(t)
	big := bytes.Repeat([]byte("0123456789abcdef"), 8192)
	digest := cachetest.Put(t, d, big)
	a := &Artifact{Extents: []Extent{
		{Length: 3, Inline: []byte("abc")},
		{Length: 100_000, Blob: digest, Offset: 5},
		{Length: 70_000},
		{Length: 7, Blob: digest, Offset: 16},
	}}
	want := append([]byte("abc"), big[5:100_005]...)
	want = append(append(want, make([]byte, 70_000)...), big[16:23]...)
	a.Size = int64(len(want))
	encoded, err := Encode(a)
	if err != nil {
		t.Fatal(err)
	}
	if a, err = Decode(encoded); err != nil {
		t.Fatal(err)
	}
	r, err := Open(context.Background(), d, a)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()

	whole, err := io.ReadAll(io.NewSectionReader(r, 0, r.Size()))
	if err != nil || !bytes.Equal(whole, want) {
		t.Errorf("ReadAt: %v, equal %t", err, bytes.Equal(whole, want))
	}
	var buf bytes.Buffer
	if _, err := r.WriteTo(struct{ io.Writer }{&buf}); err != nil || !bytes.Equal(buf.Bytes(), want) {
		t.Errorf("WriteTo a plain writer: %v, equal %t", err, bytes.Equal(buf.Bytes(), want))
	}
	out, err := os.Create(filepath.Join(t.TempDir(), "out"))
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	if n, err := r.WriteRange(out, 2, r.Size()); err != nil || n != r.Size()-2 {
		t.Errorf("WriteRange: %d, %v", n, err)
	}
	if got, err := os.ReadFile(out.Name()); err != nil || !bytes.Equal(got, want[2:]) {
		t.Errorf("WriteRange to a file: %v, equal %t", err, bytes.Equal(got, want[2:]))
	}
}

func BenchmarkCopyArtifactOut(b *testing.B) {
	d, data := cachetest.Dir(b), cachetest.Noise(25<<20)
	a := &Artifact{Size: int64(len(data)), Extents: []Extent{{Length: int64(len(data)), Blob: cachetest.Put(b, d, data)}}}
	b.SetBytes(a.Size)
	for b.Loop() {
		r, err := Open(context.Background(), d, a)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := r.WriteTo(struct{ io.Writer }{io.Discard}); err != nil {
			b.Fatal(err)
		}
		r.Close()
	}
}

func TestDescriptionsAreRecorded(t *testing.T) {
	ctx, s := context.Background(), cachetest.Dir(t)
	key := cache.SumBytes([]byte("key"))
	if err := Put(ctx, s, &Artifact{Digest: key, Size: 3, Extents: []Extent{{Length: 3, Inline: []byte("key")}}}); err != nil {
		t.Fatal(err)
	}
	if got, err := Get(ctx, s, key); err != nil || got.Size != 3 {
		t.Errorf("got %v, %v", got, err)
	}
	if err := Put(ctx, s, &Artifact{}); err == nil {
		t.Error("an artifact without a digest is recorded")
	}
	if err := s.Put(ctx, cache.ArtifactKey(key), strings.NewReader("\xff\xff not ours"), -1, cache.Replace); err != nil {
		t.Fatal(err)
	}
	if _, err := Get(ctx, s, key); !errors.Is(err, cache.ErrNotFound) {
		t.Errorf("one that does not parse: got %v, want ErrNotFound", err)
	}
}
