package cache

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
)

func TestArtifactEncodingIsGolden(t *testing.T) {
	blob := SumBytes([]byte("blob"))
	a := &Artifact{Digest: SumBytes([]byte("whole")), Size: 1003 + 512, Extents: []Extent{
		{Length: 3, Inline: []byte("abc")}, {Length: 600, Blob: blob, Offset: 10}, {Length: 0}, {Length: 400, Blob: blob, Offset: 610},
		{Length: 500}, {Length: 12},
	}}
	got, err := EncodeArtifact(a)
	if err != nil {
		t.Fatal(err)
	}
	sum, blobSum := a.Digest.Hex(), blob.Hex()
	want := "6b696c6e61727401" + "01" + sum + "eb0b" + "01" + blobSum + "03" + "0103616263" + "02e807000a" + "008004"
	if hex.EncodeToString(got) != want {
		t.Errorf("got  %x\nwant %s", got, want)
	}
	back, err := DecodeArtifact(got)
	if err != nil {
		t.Fatal(err)
	}
	joined := []Extent{{Length: 3, Inline: []byte("abc")}, {Length: 1000, Blob: blob, Offset: 10}, {Length: 512}}
	if back.Digest != a.Digest || back.Size != a.Size || !reflect.DeepEqual(back.Extents, joined) {
		t.Errorf("got %+v", back)
	}
}

func TestArtifactWithWrongExtentsIsRefused(t *testing.T) {
	blob := SumBytes([]byte("blob"))
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
			if _, err := OpenArtifact(context.Background(), openDir(t), &tt.a); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("open: got %v, want %q", err, tt.want)
			}
			if _, err := EncodeArtifact(&tt.a); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("encode: got %v, want %q", err, tt.want)
			}
		})
	}
}

func TestArtifactBeyondItsBlob(t *testing.T) {
	d := openDir(t)
	digest := putBlob(t, d, []byte("short"))
	a := &Artifact{Size: 10, Extents: []Extent{{Length: 10, Blob: digest}}}
	r, err := OpenArtifact(context.Background(), d, a)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if _, err := r.WriteTo(io.Discard); err == nil || !strings.Contains(err.Error(), "which has 5") {
		t.Errorf("got %v", err)
	}
	gone := &Artifact{Size: 1, Extents: []Extent{{Length: 1, Blob: SumBytes([]byte("gone"))}}}
	if r, err = OpenArtifact(context.Background(), d, gone); err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if _, err := r.ReadAt(make([]byte, 1), 0); !errors.Is(err, ErrNotFound) {
		t.Errorf("got %v, want ErrNotFound", err)
	}
}

// TestArtifactOverTCP sends a whole artifact as the kernel would, by sendfile.
func TestArtifactOverTCP(t *testing.T) {
	d := openDir(t)
	content := bytes.Repeat([]byte("0123456789abcdef"), 20_000)
	digest := putBlob(t, d, content)
	a := &Artifact{Size: 4 + 200_000 + 40_000, Extents: []Extent{
		{Length: 4, Inline: []byte("head")}, {Length: 200_000, Blob: digest, Offset: 7}, {Length: 40_000},
	}}
	want := append(append([]byte("head"), content[7:200_007]...), make([]byte, 40_000)...)
	r, err := OpenArtifact(context.Background(), d, a)
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
	d := openDir(t)
	a := &Artifact{}
	for i := range 3 * idleFiles {
		a.Extents = append(a.Extents, Extent{Length: 1, Blob: putBlob(t, d, []byte{byte(i)})})
		a.Size++
	}
	r, err := OpenArtifact(context.Background(), d, a)
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

func FuzzDecodeArtifact(f *testing.F) {
	blob := SumBytes([]byte("blob"))
	for _, a := range []*Artifact{
		{}, {Digest: blob, Size: 3, Extents: []Extent{{Length: 3, Inline: []byte("abc")}}},
		{Size: 700, Extents: []Extent{{Length: 300, Blob: blob, Offset: 9}, {Length: 400}}},
	} {
		encoded, err := EncodeArtifact(a)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(encoded)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		a, err := DecodeArtifact(data)
		if err != nil {
			return
		}
		again, err := EncodeArtifact(a)
		if err != nil || !bytes.Equal(again, data) {
			t.Fatalf("encodes differently: %v\n%x\n%x", err, data, again)
		}
	})
}

// openings counts how often blobs are opened.
type openings struct {
	Blobs
	n int
}

func (o *openings) Open(ctx context.Context, d Digest) (*File, error) {
	o.n++
	return o.Blobs.Open(ctx, d)
}

func TestABlobIsAnArtifactThatIsOpenedOnce(t *testing.T) {
	for _, text := range []string{"some bytes", ""} {
		dir := openDir(t)
		d := SumBytes([]byte(text))
		if err := dir.Put(t.Context(), BlobKey(d), strings.NewReader(text), int64(len(text)), IfAbsent); err != nil {
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
	if _, err := OpenWhole(t.Context(), openDir(t), SumBytes([]byte("nothing"))); !errors.Is(err, ErrNotFound) {
		t.Errorf("a blob that is not there: got %v", err)
	}
}

func TestArtifactReadsAsOneFile(t *testing.T) {
	d := openDir(t)
	big := bytes.Repeat([]byte("0123456789abcdef"), 8192)
	digest := putBlob(t, d, big)
	a := &Artifact{Extents: []Extent{
		{Length: 3, Inline: []byte("abc")},
		{Length: 100_000, Blob: digest, Offset: 5},
		{Length: 70_000},
		{Length: 7, Blob: digest, Offset: 16},
	}}
	want := append([]byte("abc"), big[5:100_005]...)
	want = append(append(want, make([]byte, 70_000)...), big[16:23]...)
	a.Size = int64(len(want))
	encoded, err := EncodeArtifact(a)
	if err != nil {
		t.Fatal(err)
	}
	if a, err = DecodeArtifact(encoded); err != nil {
		t.Fatal(err)
	}
	r, err := OpenArtifact(context.Background(), d, a)
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
	d, data := openDir(b), noise(25<<20)
	a := &Artifact{Size: int64(len(data)), Extents: []Extent{{Length: int64(len(data)), Blob: putBlob(b, d, data)}}}
	b.SetBytes(a.Size)
	for b.Loop() {
		r, err := OpenArtifact(context.Background(), d, a)
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
	ctx, s := context.Background(), openDir(t)
	key := SumBytes([]byte("key"))
	if err := PutArtifact(ctx, s, &Artifact{Digest: key, Size: 3, Extents: []Extent{{Length: 3, Inline: []byte("key")}}}); err != nil {
		t.Fatal(err)
	}
	if got, err := GetArtifact(ctx, s, key); err != nil || got.Size != 3 {
		t.Errorf("got %v, %v", got, err)
	}
	if err := PutArtifact(ctx, s, &Artifact{}); err == nil {
		t.Error("an artifact without a digest is recorded")
	}
	if err := s.Put(ctx, ArtifactKey(key), strings.NewReader("\xff\xff not ours"), -1, Replace); err != nil {
		t.Fatal(err)
	}
	if _, err := GetArtifact(ctx, s, key); !errors.Is(err, ErrNotFound) {
		t.Errorf("one that does not parse: got %v, want ErrNotFound", err)
	}
}
