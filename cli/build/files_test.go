package build

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kiln-farm/kiln/cache"
	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
)

// fakeBlobs writes half of the text of an artifact and then fails, for those that are to fail.
type fakeBlobs struct {
	text map[cache.Digest]string
	fail map[cache.Digest]error
}

func (fakeBlobs) Upload(context.Context, cache.Blobs, []cache.Digest) error { return nil }

func (f fakeBlobs) WriteArtifact(_ context.Context, description, _ cache.Digest, w io.Writer) error {
	text := f.text[description]
	if err := f.fail[description]; err != nil {
		_, _ = io.WriteString(w, text[:len(text)/2])
		return err
	}
	_, err := io.WriteString(w, text)
	return err
}

func twoOutputs(dir string, fail error) (*files, fakeBlobs, []*kilnv1.BuildOutput) {
	a, b := cache.SumBytes([]byte("a")), cache.SumBytes([]byte("b"))
	blobs := fakeBlobs{map[cache.Digest]string{a: "new kernel", b: "new initrd"}, map[cache.Digest]error{b: fail}}
	output := func(file string, d cache.Digest) *kilnv1.BuildOutput {
		return &kilnv1.BuildOutput{Platform: "linux/amd64", File: file, Artifact: d.String(), Digest: d.String(), Size: 10}
	}
	f := &files{stdout: io.Discard, targets: []target{{"linux/amd64", "-kernel", filepath.Join(dir, "x-kernel")}, {"linux/amd64", "-initrd.img", filepath.Join(dir, "x-initrd.img")}}}
	empty := output("-cmdline", a)
	empty.Size = 0
	return f, blobs, []*kilnv1.BuildOutput{output("-kernel", a), output("-initrd.img", b), empty}
}

func TestOutputsReplaceThoseBefore(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "out")
	for range 2 {
		f, blobs, outputs := twoOutputs(dir, nil)
		if _, err := f.write(t.Context(), blobs, outputs); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(map[string]string{"x-initrd.img": "new initrd", "x-kernel": "new kernel"}, texts(t, dir)); diff != "" {
			t.Errorf("files (-want +got):\n%s", diff)
		}
	}
}

func TestAFaultLeavesTheOutputsBefore(t *testing.T) {
	t.Parallel()
	for _, fault := range []error{syscall.ENOSPC, syscall.EROFS, cache.ErrNotFound, cache.ErrMismatch, context.Canceled} {
		t.Run(fault.Error(), func(t *testing.T) {
			dir := t.TempDir()
			if err := os.WriteFile(filepath.Join(dir, "x-kernel"), []byte("old kernel"), 0o644); err != nil {
				t.Fatal(err)
			}
			f, blobs, outputs := twoOutputs(dir, fault)
			if _, err := f.write(t.Context(), blobs, outputs); err == nil {
				t.Fatal("no error")
			}
			if diff := cmp.Diff(map[string]string{"x-kernel": "old kernel"}, texts(t, dir)); diff != "" {
				t.Errorf("files (-want +got):\n%s", diff)
			}
		})
	}
}

func TestAFileThatNobodyAskedForIsRefused(t *testing.T) {
	t.Parallel()
	f, blobs, outputs := twoOutputs(t.TempDir(), nil)
	outputs[0].File = "/../../etc/passwd"
	if _, err := f.write(t.Context(), blobs, outputs); err == nil {
		t.Error("no error")
	}
}

// texts are the files of a directory.
func texts(t *testing.T, dir string) map[string]string {
	t.Helper()
	all := map[string]string{}
	files, err := os.ReadDir(dir)
	for _, f := range files {
		text, readErr := os.ReadFile(filepath.Join(dir, f.Name()))
		err = errors.Join(err, readErr)
		all[f.Name()] = string(text)
	}
	if err != nil {
		t.Fatal(err)
	}
	return all
}
