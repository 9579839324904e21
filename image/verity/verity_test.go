package verity

import (
	"bytes"
	"context"
	"encoding/hex"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/uuid"

	"github.com/kiln-farm/kiln/cache"
	"github.com/kiln-farm/kiln/cache/artifact"
	"github.com/kiln-farm/kiln/cache/disk"
	"github.com/kiln-farm/kiln/image/extents"
)

func openCache(t testing.TB) *disk.Store {
	t.Helper()
	dir, err := disk.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// data is so many blocks of noise, some of zeros.
func data(blocks int) []byte {
	random := rand.New(rand.NewPCG(uint64(blocks), 1))
	b := make([]byte, blocks*BlockSize)
	for n := range blocks {
		if random.IntN(4) == 0 {
			continue
		}
		for i := range 64 {
			b[n*BlockSize+random.IntN(BlockSize)] = byte(i)
		}
	}
	return b
}

// build makes a tree of b, written in pieces, and its hash device.
func build(t testing.TB, b []byte, options Options) (*Tree, []byte) {
	t.Helper()
	blobs := openCache(t)
	w, err := NewWriter(t.Context(), blobs, options)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Abort()
	for rest := b; len(rest) > 0; {
		n := min(len(rest), 10000)
		if _, err := w.Write(rest[:n]); err != nil {
			t.Fatal(err)
		}
		rest = rest[n:]
	}
	tree, err := w.Finish()
	if err != nil {
		t.Fatal(err)
	}
	return tree, read(t, blobs, tree.Hashes)
}

func read(t testing.TB, blobs cache.Blobs, l *extents.List) []byte {
	t.Helper()
	r, err := artifact.Open(context.Background(), blobs, l.Artifact())
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	var out bytes.Buffer
	if _, err := r.WriteTo(&out); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func write(t testing.TB, b []byte) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "device")
	if err := os.WriteFile(name, b, 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

func setup(t testing.TB, args ...string) (string, error) {
	t.Helper()
	if _, err := exec.LookPath("veritysetup"); err != nil {
		t.Skip("veritysetup is not installed here, so it cannot say what it thinks of the tree")
	}
	out, err := exec.Command("veritysetup", args...).CombinedOutput()
	return string(out), err
}

// sizes, in blocks, around those where a tree has one level or one block more.
var sizes = []int{1, 2, 127, 128, 129, 255, 256, 257, 1000, 128 * 128, 128*128 + 1, 20000}

func TestSameAsVeritysetup(t *testing.T) {
	for _, blocks := range sizes {
		for _, salt := range [][]byte{nil, {}, {1, 2, 3}, bytes.Repeat([]byte{9}, 256)} {
			if blocks > 1000 && salt != nil {
				continue // small trees have had this salt
			}
			t.Run(fmt.Sprintf("%d blocks, salt of %d", blocks, len(salt)), func(t *testing.T) {
				b := data(blocks)
				tree, got := build(t, b, Options{Salt: salt, Superblock: true})
				disk, hashes := write(t, b), filepath.Join(t.TempDir(), "hashes")
				saltText := "-"
				if len(tree.Salt) > 0 {
					saltText = hex.EncodeToString(tree.Salt)
				}
				out, err := setup(t, "format", "--salt", saltText, "--uuid", uuid.UUID(tree.UUID).String(), disk, hashes)
				if err != nil {
					t.Fatalf("veritysetup: %v\n%s", err, out)
				}
				if !strings.Contains(out, tree.RootHash()) {
					t.Errorf("root hash %s, veritysetup says\n%s", tree.RootHash(), out)
				}
				want, err := os.ReadFile(hashes)
				if err != nil {
					t.Fatal(err)
				}
				if blocks == 1 { // veritysetup does not fill the superblock's block when nothing follows
					want = append(want, make([]byte, len(got)-len(want))...)
				}
				if !bytes.Equal(got, want) {
					t.Errorf("%d bytes differ from the %d of veritysetup", len(got), len(want))
				}
			})
		}
	}
}

func TestVeritysetupAcceptsTheTreeAlone(t *testing.T) {
	for _, superblock := range []bool{false, true} {
		for _, blocks := range sizes[:9] {
			t.Run(fmt.Sprintf("%d blocks, superblock %v", blocks, superblock), func(t *testing.T) {
				b := data(blocks)
				tree, hashes := build(t, b, Options{Superblock: superblock})
				verify := func(b, hashes []byte) (string, error) {
					args := []string{"verify"}
					if !superblock {
						args = append(args, "--no-superblock", "--salt", hex.EncodeToString(tree.Salt), "--data-blocks", fmt.Sprint(tree.Blocks))
					}
					return setup(t, append(args, write(t, b), write(t, hashes), tree.RootHash())...)
				}
				if out, err := verify(b, hashes); err != nil {
					t.Errorf("veritysetup refuses the tree: %s", out)
				}
				b[len(b)-1] ^= 1
				if _, err := verify(b, hashes); err == nil {
					t.Error("veritysetup accepts data with a wrong bit")
				}
				b[len(b)-1] ^= 1
				if blocks > 1 {
					hashes[len(hashes)-BlockSize] ^= 1
					if _, err := verify(b, hashes); err == nil {
						t.Error("veritysetup accepts hashes with a wrong bit")
					}
				}
			})
		}
	}
}

func TestArtifactsAndWritersMakeTheSameTree(t *testing.T) {
	b := data(300)
	want, _ := build(t, b, Options{})
	blobs := openCache(t)
	draft, err := blobs.Create(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer draft.Abort()
	if _, err := draft.Write(b[5*BlockSize:]); err != nil {
		t.Fatal(err)
	}
	d, size, err := draft.Commit()
	if err != nil {
		t.Fatal(err)
	}
	list := extents.Bytes(b[:5*BlockSize])
	list.Add(artifact.Extent{Blob: d, Length: size})
	got, err := Build(t.Context(), blobs, list.Artifact(), Options{})
	if err != nil {
		t.Fatal(err)
	}
	if got.Root != want.Root || got.Blocks != 300 {
		t.Errorf("root hash %s of %d blocks, want %s", got.RootHash(), got.Blocks, want.RootHash())
	}
}

func TestUpperLevelsOfLargeTrees(t *testing.T) {
	blobs := openCache(t)
	w, err := NewWriter(t.Context(), blobs, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Abort()
	const blocks = 600000
	zeros := make([]byte, 1000*BlockSize)
	for range blocks / 1000 {
		if _, err := w.Write(zeros); err != nil {
			t.Fatal(err)
		}
	}
	tree, err := w.Finish()
	if err != nil {
		t.Fatal(err)
	}
	if runs := tree.Hashes.Runs(); len(runs) != 2 || runs[0].Inline != nil {
		t.Errorf("%d runs, the first of %d bytes inline; want two blobs", len(runs), len(runs[0].Inline))
	}
	const lowest, middle, upper = (blocks + 127) / 128, (blocks/128 + 128) / 128, 1
	if want := int64(lowest+middle+upper) * BlockSize; tree.Hashes.Size() != want {
		t.Errorf("%d bytes of hashes, want %d", tree.Hashes.Size(), want)
	}
}

func TestDataMustBeWholeBlocks(t *testing.T) {
	for _, c := range []struct {
		name string
		size int
		want string
	}{
		{"nothing", 0, "dm-verity takes whole blocks of 4096 bytes, but the data has 0 bytes; pad it with zeros"},
		{"half a block", 2*BlockSize + 5, "dm-verity takes whole blocks of 4096 bytes, but the data has 8197 bytes; pad it with zeros"},
	} {
		t.Run(c.name, func(t *testing.T) {
			w, err := NewWriter(t.Context(), openCache(t), Options{})
			if err != nil {
				t.Fatal(err)
			}
			io.Copy(w, bytes.NewReader(make([]byte, c.size)))
			if _, err := w.Finish(); err == nil || err.Error() != c.want {
				t.Errorf("error %v, want %s", err, c.want)
			}
		})
	}
	if _, err := NewWriter(t.Context(), openCache(t), Options{Salt: make([]byte, 257)}); err == nil {
		t.Error("a salt of 257 bytes is taken")
	}
}

func BenchmarkWriter(b *testing.B) {
	blocks := data(16384)
	for i := range blocks {
		blocks[i] ^= byte(i >> 12)
	}
	b.SetBytes(int64(len(blocks)))
	for b.Loop() {
		w, err := NewWriter(b.Context(), openCache(b), Options{})
		if err != nil {
			b.Fatal(err)
		}
		if _, err := w.Write(blocks); err != nil {
			b.Fatal(err)
		}
		if _, err := w.Finish(); err != nil {
			b.Fatal(err)
		}
	}
}
