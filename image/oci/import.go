package oci

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"strings"

	"github.com/kiln-farm/kiln/cache"
	"github.com/kiln-farm/kiln/image/compress"
)

const (
	// maxArchiveFiles and maxArchiveName (bytes) bound what an archive can make its reader remember.
	maxArchiveFiles = 1 << 16
	maxArchiveName  = 1024
	// maxArchiveLinks bounds links that point at links.
	maxArchiveLinks = 8
)

// Import takes the images out of an archive that another tool exported, names them, and returns their names,
// sorted. It knows the OCI layout (OCI image-spec, image-layout.md) and what "docker save" writes, plain or
// compressed. Blobs are stored as they pass and verified; names are written last, when everything is known to be
// there, so that a bad archive leaves no name behind. An image of the same name is replaced.
//
// Images get the names that the archive gives them. With as, the one image in it gets that name instead.
func Import(ctx context.Context, blobs cache.Blobs, store cache.Store, r io.Reader, as string) ([]string, error) {
	plain, _, err := compress.NewReader(r)
	if err != nil {
		return nil, fmt.Errorf("import: %w", err)
	}
	defer plain.Close()
	a, err := readArchive(ctx, blobs, plain)
	if err != nil {
		return nil, fmt.Errorf("import: %w", err)
	}
	return a.imported(ctx, store, as)
}

// archive is what an exported archive held, with its files stored as blobs.
type archive struct {
	blobs     cache.Blobs
	files     map[string]cache.Digest
	links     map[string]string // symbolic and hard links, to names in the archive
	documents map[string][]byte // index.json and manifest.json
	dir       *os.Root          // what was not read yet is there; nil for an archive, which is read in one go
}

// imported names the images and returns their names.
func (a *archive) imported(ctx context.Context, store cache.Store, as string) ([]string, error) {
	images, err := a.images(ctx, as)
	if err != nil {
		return nil, fmt.Errorf("import: %w", err)
	}
	names, err := putNames(ctx, a.blobs, store, images)
	if err != nil {
		return nil, fmt.Errorf("import: %w", err)
	}
	return names, nil
}

// readArchive stores the archive's files as blobs.
func readArchive(ctx context.Context, blobs cache.Blobs, r io.Reader) (*archive, error) {
	a := &archive{blobs: blobs, files: map[string]cache.Digest{}, links: map[string]string{}, documents: map[string][]byte{}}
	tr := tar.NewReader(r)
	for count := 0; ; count++ {
		header, err := tr.Next()
		if err == io.EOF {
			return a, nil
		}
		if err != nil {
			return nil, fmt.Errorf("the archive is no tar, or is damaged: %w", err)
		}
		if count >= maxArchiveFiles {
			return nil, fmt.Errorf("the archive has more than %d files", maxArchiveFiles)
		}
		name, err := archiveName(header.Name)
		if err != nil {
			return nil, err
		}
		if err := a.take(ctx, name, header, tr); err != nil {
			return nil, fmt.Errorf("%s in the archive: %w", name, err)
		}
	}
}

// archiveName is a name in its one clean form.
func archiveName(name string) (string, error) {
	clean := path.Clean(name)
	if len(name) > maxArchiveName || strings.ContainsRune(name, 0) || path.IsAbs(clean) || clean == ".." || strings.HasPrefix(clean, "../") {
		return "", fmt.Errorf("the archive holds a file named %.200q, which would lie outside of it", name)
	}
	return clean, nil
}

func (a *archive) take(ctx context.Context, name string, header *tar.Header, r io.Reader) error {
	switch header.Typeflag {
	case tar.TypeDir, tar.TypeXGlobalHeader:
		return nil
	case tar.TypeSymlink, tar.TypeLink:
		target := header.Linkname
		if header.Typeflag == tar.TypeSymlink && !path.IsAbs(target) {
			target = path.Join(path.Dir(name), target)
		}
		target, err := archiveName(target)
		if err != nil {
			return err
		}
		return a.remember(name, func() { a.links[name] = target })
	case tar.TypeReg:
	default:
		return fmt.Errorf("it is of type %q, which no exported image has", header.Typeflag)
	}
	if sparse(header) {
		return errors.New("it is a sparse file, which no exported image has")
	}
	if name == "index.json" || name == "manifest.json" {
		data, err := io.ReadAll(io.LimitReader(r, MaxDocument+1))
		if err != nil {
			return err
		}
		if len(data) > MaxDocument {
			return fmt.Errorf("it has more than %d bytes", MaxDocument)
		}
		return a.remember(name, func() { a.documents[name] = data })
	}
	stored, err := a.store(ctx, name, r)
	if err != nil {
		return err
	}
	return a.remember(name, func() { a.files[name] = stored })
}

// sparse says that a few bytes of the archive stand for any number of zeros, which would fill the disk.
func sparse(header *tar.Header) bool {
	for record := range header.PAXRecords {
		if strings.HasPrefix(record, "GNU.sparse.") {
			return true
		}
	}
	return false
}

// remember refuses a second file of one name, which other tools might prefer to the first.
func (a *archive) remember(name string, add func()) error {
	_, isFile := a.files[name]
	_, isLink := a.links[name]
	_, isDocument := a.documents[name]
	if isFile || isLink || isDocument {
		return errors.New("it is there twice")
	}
	add()
	return nil
}

// store keeps a file as a blob. One that is named by its digest must have it.
func (a *archive) store(ctx context.Context, name string, r io.Reader) (cache.Digest, error) {
	draft, err := a.blobs.Create(ctx)
	if err != nil {
		return cache.Digest{}, err
	}
	defer draft.Abort()
	if _, err := draft.ReadFrom(r); err != nil {
		return cache.Digest{}, err
	}
	promised, ok := strings.CutPrefix(name, "blobs/sha256/")
	if !ok {
		stored, _, err := draft.Commit()
		return stored, err
	}
	want, err := cache.ParseDigest("sha256:" + promised)
	if err != nil {
		return cache.Digest{}, err
	}
	_, err = draft.CommitAs(want)
	return want, err
}

// file returns the blob that holds a file of the archive, by way of links if need be.
func (a *archive) file(ctx context.Context, name string) (cache.Digest, error) {
	at, err := archiveName(name)
	if err != nil {
		return cache.Digest{}, err
	}
	if a.dir != nil {
		return a.load(ctx, at)
	}
	for range maxArchiveLinks {
		if d, ok := a.files[at]; ok {
			return d, nil
		}
		next, ok := a.links[at]
		if !ok {
			break
		}
		at = next
	}
	return cache.Digest{}, fmt.Errorf("the archive lacks %.200s, which its manifest.json names", name)
}

// size is that of a blob.
func (a *archive) size(ctx context.Context, d cache.Digest) (int64, error) {
	if err := a.ensure(ctx, d); err != nil {
		return 0, err
	}
	f, err := a.blobs.Open(ctx, d)
	if err != nil {
		return 0, err
	}
	return f.Size, f.Close()
}
