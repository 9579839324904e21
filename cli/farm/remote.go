package farm

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	"connectrpc.com/connect"

	"github.com/kiln-farm/kiln/cache"
	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
	"github.com/kiln-farm/kiln/proto/kiln/v1/kilnv1connect"
)

// remote: the farm's blobs are behind its blob API.
type remote struct {
	api  kilnv1connect.FarmServiceClient
	base string
	http *http.Client
}

// maxAsked is how many digests one MissingBlobs call asks for.
const maxAsked = 1000

// Upload implements Blobs.
func (r *remote) Upload(ctx context.Context, from cache.Blobs, digests []cache.Digest) error {
	for len(digests) > 0 {
		n := min(len(digests), maxAsked)
		req := &kilnv1.MissingBlobsRequest{}
		for _, d := range digests[:n] {
			req.Digests = append(req.Digests, d.String())
		}
		digests = digests[n:]
		resp, err := r.api.MissingBlobs(ctx, connect.NewRequest(req))
		if err != nil {
			f := &Farm{where: r.base}
			return f.explain("ask for missing blobs", err)
		}
		for _, s := range resp.Msg.GetDigests() {
			d, err := cache.ParseDigest(s)
			if err == nil {
				err = r.put(ctx, from, d)
			}
			if err != nil {
				return fmt.Errorf("upload to the farm at %s: %w", r.base, err)
			}
		}
	}
	return nil
}

func (r *remote) put(ctx context.Context, from cache.Blobs, d cache.Digest) error {
	f, err := from.Open(ctx, d)
	if err != nil {
		return err
	}
	defer f.Close()
	req, err := http.NewRequestWithContext(ctx, http.MethodPut, r.url(d), f.Section(0, f.Size))
	if err != nil {
		return err
	}
	req.ContentLength = f.Size
	resp, err := r.http.Do(req)
	if err != nil {
		return fmt.Errorf("%w: %s", ErrUnreachable, cause(err))
	}
	defer resp.Body.Close()
	if resp.StatusCode/100 != 2 {
		return fmt.Errorf("blob %s: %s", d, refusal(resp))
	}
	return nil
}

// WriteArtifact implements Blobs: every byte that reaches w is hashed, and the sum must be want.
func (r *remote) WriteArtifact(ctx context.Context, description, want cache.Digest, w io.Writer) error {
	artifact, err := r.describe(ctx, description)
	if err != nil {
		return err
	}
	hash := sha256.New()
	source := &streams{ctx: ctx, open: r.get}
	defer source.close()
	if err := source.write(io.MultiWriter(w, hash), artifact.Extents); err != nil {
		return err
	}
	if got := cache.FromSum([sha256.Size]byte(hash.Sum(nil))); got != want {
		return fmt.Errorf("the farm at %s sent %s for artifact %s: %w", r.base, got, want, cache.ErrMismatch)
	}
	return nil
}

func (r *remote) describe(ctx context.Context, d cache.Digest) (*cache.Artifact, error) {
	body, err := r.get(ctx, d, 0)
	if err != nil {
		return nil, err
	}
	defer body.Close()
	b, err := io.ReadAll(io.LimitReader(body, cache.MaxArtifactEncoding+1))
	if err != nil {
		return nil, fmt.Errorf("fetch %s from the farm at %s: %w", d, r.base, err)
	}
	if cache.SumBytes(b) != d {
		return nil, fmt.Errorf("the farm at %s sent other bytes for %s: %w", r.base, d, cache.ErrMismatch)
	}
	return decode(bytes.NewReader(b), int64(len(b)))
}

// get opens a blob from offset to its end.
func (r *remote) get(ctx context.Context, d cache.Digest, offset int64) (io.ReadCloser, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, r.url(d), nil)
	if err != nil {
		return nil, err
	}
	if offset > 0 {
		req.Header.Set("Range", fmt.Sprintf("bytes=%d-", offset))
	}
	resp, err := r.http.Do(req)
	if err != nil {
		return nil, fmt.Errorf("fetch %s: %w at %s (%s)", d, ErrUnreachable, r.base, cause(err))
	}
	switch {
	case resp.StatusCode == http.StatusPartialContent, resp.StatusCode == http.StatusOK && offset == 0:
		return resp.Body, nil
	case resp.StatusCode == http.StatusNotFound:
		err = fmt.Errorf("fetch %s from the farm at %s: %w", d, r.base, cache.ErrNotFound)
	default:
		err = fmt.Errorf("fetch %s from the farm at %s: %s", d, r.base, refusal(resp))
	}
	return nil, errors.Join(err, resp.Body.Close())
}

func (r *remote) url(d cache.Digest) string { return r.base + "/v1/blobs/" + d.String() }

// refusal is the status and the first line of what the server said.
func refusal(resp *http.Response) string {
	b, _ := io.ReadAll(io.LimitReader(resp.Body, 512)) // the status says enough without it
	line, _, _ := strings.Cut(strings.TrimSpace(string(b)), "\n")
	if line == "" {
		return resp.Status
	}
	return resp.Status + ": " + line
}
