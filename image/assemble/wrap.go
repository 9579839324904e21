package assemble

import (
	"archive/tar"
	"context"
	"encoding/binary"
	"io"

	"github.com/kiln-farm/kiln/cache/artifact"
	"github.com/kiln-farm/kiln/image/extents"
	"github.com/kiln-farm/kiln/image/gzipped"
	"github.com/kiln-farm/kiln/image/part"
	"github.com/kiln-farm/kiln/image/qcow2"
	"github.com/kiln-farm/kiln/image/step"
	"github.com/kiln-farm/kiln/image/stepio"
	"github.com/kiln-farm/kiln/image/vhd"
	"github.com/kiln-farm/kiln/image/vmdk"
)

// wrap puts a disk into the clothes that a hypervisor or a cloud wants. It is nil for other formats.
func wrap(format string) func(context.Context, *step.Request, *extents.List) (*extents.List, error) {
	switch format {
	case "qcow2":
		return func(_ context.Context, _ *step.Request, disk *extents.List) (*extents.List, error) {
			return qcow2.Wrap(disk)
		}
	case "vhd":
		return func(_ context.Context, req *step.Request, disk *extents.List) (*extents.List, error) {
			return vhd.Fixed(disk, stepio.Identity("vhd", req))
		}
	case "dynamic-vhd":
		return func(_ context.Context, req *step.Request, disk *extents.List) (*extents.List, error) {
			return vhd.Dynamic(disk, stepio.Identity("dynamic-vhd", req))
		}
	case "vmdk":
		return func(ctx context.Context, req *step.Request, disk *extents.List) (*extents.List, error) {
			id := stepio.Identity("vmdk", req)
			return read(ctx, req, disk, func(ctx context.Context, disk *extents.List, data io.ReaderAt) (*extents.List, error) {
				return vmdk.Stream(ctx, disk, data, vmdk.Options{CID: binary.BigEndian.Uint32(id[:])})
			})
		}
	case "gcp":
		return func(ctx context.Context, req *step.Request, disk *extents.List) (*extents.List, error) {
			list, err := member("disk.raw", disk)
			if err != nil {
				return nil, err
			}
			return read(ctx, req, list, gzipped.Wrap)
		}
	}
	return nil
}

// read gives f what it needs to read the list's bytes.
func read(ctx context.Context, req *step.Request, l *extents.List, f func(context.Context, *extents.List, io.ReaderAt) (*extents.List, error)) (*extents.List, error) {
	r, err := stepio.Reader(ctx, req, l)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	out, err := f(ctx, l, r)
	if err != nil {
		return nil, stepio.Missing(err, l.Artifact(), req)
	}
	return out, nil
}

// member is a tar of one file, in the GNU format that Google's cloud asks for.
func member(name string, content *extents.List) (*extents.List, error) {
	out := &extents.List{}
	var head sliceWriter
	h := &tar.Header{Name: name, Typeflag: tar.TypeReg, Mode: 0o644, Size: content.Size(), ModTime: part.DefaultTime, Format: tar.FormatGNU}
	if err := tar.NewWriter(&head).WriteHeader(h); err != nil {
		return nil, err
	}
	out.Bytes(head)
	out.Append(content)
	out.Align(tarBlock)
	out.Zeros(tarEnd)
	return out, nil
}

type sliceWriter []byte

func (w *sliceWriter) Write(p []byte) (int, error) {
	*w = append(*w, p...)
	return len(p), nil
}

// wrapped is the artifact of a format that wrap knows.
func (b *assembly) wrapped(params *step.ArtifactParams) {
	format := params.Format
	if b.err != nil {
		return
	}
	disk, err := stepio.Content(b.ctx, b.req, "file")
	if err != nil {
		b.err = err
		return
	}
	if disk == nil {
		b.err = step.Failf("a step of kind %s lacks its input \"file\"; coordinators and builders are of different releases", b.req.Kind)
		return
	}
	list, err := wrap(format)(b.ctx, b.req, disk)
	if err != nil {
		b.err = err
		return
	}
	b.out = artifact.Artifact{Size: list.Size(), Extents: list.Runs()}
}
