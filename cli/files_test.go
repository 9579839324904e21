package cli

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kiln-farm/kiln/cache"
	"github.com/kiln-farm/kiln/internal/outfile"
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

func twoOutputs(fail error) (*files, fakeBlobs, []*kilnv1.BuildOutput) {
	a, b := cache.SumBytes([]byte("a")), cache.SumBytes([]byte("b"))
	blobs := fakeBlobs{map[cache.Digest]string{a: "new kernel", b: "new initrd"}, map[cache.Digest]error{b: fail}}
	output := func(file string, d cache.Digest) *kilnv1.BuildOutput {
		return &kilnv1.BuildOutput{Platform: "linux/amd64", File: file, Artifact: d.String(), Digest: d.String(), Size: 10}
	}
	f := &files{stdout: io.Discard, targets: []target{{"linux/amd64", "-kernel", "out/x-kernel"}, {"linux/amd64", "-initrd.img", "out/x-initrd.img"}}}
	empty := output("-cmdline", a)
	empty.Size = 0
	return f, blobs, []*kilnv1.BuildOutput{output("-kernel", a), output("-initrd.img", b), empty}
}

func TestOutputsReplaceThoseBefore(t *testing.T) {
	t.Chdir(t.TempDir())
	for range 2 {
		f, blobs, outputs := twoOutputs(nil)
		if _, err := f.write(t.Context(), blobs, outputs); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff([]string{"x-initrd.img", "x-kernel"}, names(t, "out")); diff != "" {
			t.Errorf("files (-want +got):\n%s", diff)
		}
	}
	if got := read(t, "out/x-kernel"); got != "new kernel" {
		t.Errorf("the kernel holds %q", got)
	}
}

func TestAFaultLeavesTheOutputsBefore(t *testing.T) {
	for _, fault := range []error{syscall.ENOSPC, syscall.EROFS, cache.ErrNotFound, cache.ErrMismatch, context.Canceled} {
		t.Run(fault.Error(), func(t *testing.T) {
			t.Chdir(t.TempDir())
			check(t, os.Mkdir("out", 0o755))
			check(t, os.WriteFile("out/x-kernel", []byte("old kernel"), 0o644))
			f, blobs, outputs := twoOutputs(fault)
			if _, err := f.write(t.Context(), blobs, outputs); err == nil {
				t.Fatal("no error")
			}
			if diff := cmp.Diff([]string{"x-kernel"}, names(t, "out")); diff != "" {
				t.Errorf("files (-want +got):\n%s", diff)
			}
			if got := read(t, "out/x-kernel"); got != "old kernel" {
				t.Errorf("the kernel holds %q", got)
			}
		})
	}
}

func TestAFileThatNobodyAskedForIsRefused(t *testing.T) {
	f, blobs, outputs := twoOutputs(nil)
	outputs[0].File = "/../../etc/passwd"
	if _, err := f.write(t.Context(), blobs, outputs); err == nil {
		t.Error("no error")
	}
}

func TestAStreamThatBeganIsNotBegunAgain(t *testing.T) {
	var b bytes.Buffer
	err := outfile.Stream(&b, func(w io.Writer) error {
		_, _ = io.WriteString(w, "x")
		return cache.ErrNotFound
	})
	if err == nil || errors.Is(err, cache.ErrNotFound) {
		t.Errorf("error %v: the caller would write the output again", err)
	}
	if err := outfile.Stream(&b, func(io.Writer) error { return cache.ErrNotFound }); !errors.Is(err, cache.ErrNotFound) {
		t.Errorf("error %v: the caller would not try again", err)
	}
}
