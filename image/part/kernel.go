package part

import (
	"archive/tar"
	"context"
	"fmt"
	"io"
	"path"
	"strings"

	"github.com/kiln-farm/kiln/cache"
	"github.com/kiln-farm/kiln/image/step"
	"github.com/kiln-farm/kiln/image/tree"
)

// walkKernel is LinuxKit's kernel filter: of a kernel image, boot/cmdline, boot/kernel, the modules out of their tar,
// and boot/ucode.cpio; nothing else.
func walkKernel(ctx context.Context, blobs cache.Blobs, root step.Root, index cache.Digest, yield func(*tree.Entry) error) error {
	var haveKernel, haveModules, haveMicrocode bool
	open := newFiles(ctx, blobs)
	defer open.close()
	made := func(of *tree.Entry, name string, kind byte, mode int64, body tree.Body) error {
		return yield(&tree.Entry{Name: name, Type: kind, Mode: mode, ModTime: DefaultTime, PAX: of.PAX, Body: body})
	}
	err := Each(ctx, blobs, index, func(e *tree.Entry) error {
		switch e.Name {
		case root.Binary:
			if haveKernel {
				return step.Failf("the kernel image has more than one %s", root.Binary)
			}
			haveKernel = true
			if !haveMicrocode {
				if err := made(e, "boot", tar.TypeDir, 0o755, tree.Body{}); err != nil {
					return err
				}
			}
			cmdline := tree.Body{Inline: []byte(root.Cmdline), Size: int64(len(root.Cmdline))}
			if err := made(e, "boot/cmdline", tar.TypeReg, 0o644, cmdline); err != nil {
				return err
			}
			body, err := kernelBody(ctx, blobs, open, e.Body, root.Decompress)
			if err != nil {
				return err
			}
			return made(e, "boot/kernel", tar.TypeReg, e.Mode, body)
		case root.Modules:
			haveModules = true
			return walkModules(open, e, yield)
		case root.Microcode:
			if !haveKernel {
				if err := made(e, "boot", tar.TypeDir, 0o755, tree.Body{}); err != nil {
					return err
				}
			}
			haveMicrocode = true
			return made(e, "boot/ucode.cpio", tar.TypeReg, e.Mode, e.Body)
		}
		return nil
	})
	switch {
	case err != nil:
		return err
	case !haveKernel:
		return step.Failf("the kernel image has no file %s; name the right one with kernel.binary", root.Binary)
	case !haveModules && root.Modules != "":
		return step.Failf("the kernel image has no file %s; name the right one with kernel.tar, or write tar: none", root.Modules)
	}
	return nil
}

// walkModules yields the entries of the modules' tar, whose bodies are ranges of its own body.
func walkModules(open *files, archive *tree.Entry, yield func(*tree.Entry) error) error {
	body, err := open.body(archive.Body)
	if err != nil {
		return err
	}
	section, seekable := body.(*io.SectionReader)
	if !seekable {
		section = io.NewSectionReader(strings.NewReader(string(archive.Body.Inline)), 0, archive.Body.Size)
	}
	tr := tar.NewReader(section)
	for {
		h, err := tr.Next()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return step.Failf("the modules in %s cannot be unpacked: %w", archive.Name, err)
		}
		if clean := path.Clean("/" + h.Name)[1:]; strings.HasPrefix(path.Clean(h.Name), "..") || clean == "" && h.Typeflag != tar.TypeDir {
			return step.Failf("the modules in %s have an entry %q outside of the image", archive.Name, h.Name)
		}
		e, err := tree.FromHeader(h)
		if err != nil {
			return &step.Failure{Err: err}
		}
		if h.Size > 0 && e.Type == tar.TypeReg {
			if h.Typeflag == tar.TypeGNUSparse || h.PAXRecords["GNU.sparse.major"] != "" || h.PAXRecords["GNU.sparse.map"] != "" {
				return step.Failf("the modules in %s have a sparse file %q, which Kiln does not take", archive.Name, h.Name)
			}
			at, err := section.Seek(0, io.SeekCurrent)
			if err != nil {
				return err
			}
			e.Body = tree.Body{Blob: archive.Body.Blob, Offset: archive.Body.Offset + at, Size: h.Size}
			if archive.Body.Inline != nil {
				if h.Size > archive.Body.Size-at {
					return step.Failf("the modules in %s cannot be unpacked: %w", archive.Name, io.ErrUnexpectedEOF)
				}
				e.Body = tree.Body{Inline: archive.Body.Inline[at : at+h.Size], Size: h.Size}
			}
		}
		if err := yield(e); err != nil {
			return err
		}
	}
}

// Kernel finds the kernel and its microcode in the tree of a kernel image; a body of size 0 where there is none.
func Kernel(ctx context.Context, blobs cache.Blobs, params step.KernelParams, index cache.Digest) (kernel, microcode tree.Body, err error) {
	open := newFiles(ctx, blobs)
	defer open.close()
	found := false
	err = Each(ctx, blobs, index, func(e *tree.Entry) error {
		switch e.Name {
		case params.Binary:
			found = true
			kernel, err = kernelBody(ctx, blobs, open, e.Body, params.Decompress)
			return err
		case params.Microcode:
			microcode = e.Body
		}
		return nil
	})
	if err == nil && !found {
		err = step.Failf("the kernel image has no file %s; name the right one with kernel.binary", params.Binary)
	}
	return kernel, microcode, err
}

// kernelBody is the kernel as it is, or decompressed into a blob of its own.
func kernelBody(ctx context.Context, blobs cache.Blobs, open *files, body tree.Body, decompress bool) (tree.Body, error) {
	if !decompress {
		return body, nil
	}
	r, err := open.body(body)
	if err != nil {
		return tree.Body{}, err
	}
	draft, err := blobs.Create(ctx)
	if err != nil {
		return tree.Body{}, err
	}
	defer draft.Abort()
	section, ok := r.(*io.SectionReader)
	if !ok {
		section = io.NewSectionReader(strings.NewReader(string(body.Inline)), 0, body.Size)
	}
	if err := decompressKernel(draft, section); err != nil {
		return tree.Body{}, err
	}
	d, size, err := draft.Commit()
	if err != nil {
		return tree.Body{}, fmt.Errorf("store the decompressed kernel: %w", err)
	}
	return tree.Body{Blob: d, Size: size}, nil
}
