package part

import (
	"archive/tar"
	"context"
	"io"

	"github.com/kiln-farm/kiln/cache"
	"github.com/kiln-farm/kiln/image/tree"
)

const apkInstalled = "lib/apk/db/installed"

// walkAPK yields the union of the trees' package databases, when two or more have one, as LinuxKit appends it after the
// init images.
func walkAPK(ctx context.Context, blobs cache.Blobs, trees []cache.Digest, yield func(*tree.Entry) error) error {
	var databases []tree.Body
	for _, index := range trees {
		err := Each(ctx, blobs, index, func(e *tree.Entry) error {
			if e.Name == apkInstalled {
				databases = append(databases, e.Body)
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	if len(databases) < 2 {
		return nil
	}
	open := newFiles(ctx, blobs)
	defer open.close()
	draft, err := blobs.Create(ctx)
	if err != nil {
		return err
	}
	defer draft.Abort()
	for _, body := range databases {
		r, err := open.body(body)
		if err != nil {
			return err
		}
		if _, err := io.Copy(draft, r); err != nil {
			return err
		}
		if _, err := io.WriteString(draft, "\n\n"); err != nil {
			return err
		}
	}
	d, size, err := draft.Commit()
	if err != nil {
		return err
	}
	return yield(&tree.Entry{
		Name: apkInstalled, Type: tar.TypeReg, Mode: 0o644, Body: tree.Body{Blob: d, Size: size},
		PAX: map[string]string{tree.RecordSource: "LINUXKIT.apkinit", tree.RecordLocation: "init"},
	})
}
