package client

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
	"github.com/kiln-farm/kiln/cache/artifact"
	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
)

// remote: the farm's blobs are behind its blob API.
type remote struct {
	farm   *Farm
	base   string
	http   *http.Client
	direct *direct
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
		resp, err := Ask(ctx, r.farm, "ask for missing blobs", r.farm.API.MissingBlobs, req)
		if err != nil {
			return err
		}
		for _, s := range resp.GetDigests() {
			d, err := cache.ParseDigest(s)
			if err == nil {
				err = r.again(ctx, func() error { return r.put(ctx, from, d) })
			}
			if err != nil {
				return fmt.Errorf("upload to the farm at %s: %w", r.farm.where, err)
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
		return r.broken(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode/100 != 2 {
		return &statusError{resp.StatusCode, fmt.Sprintf("blob %s: %s", d, refusal(resp))}
	}
	return nil
}

// WriteArtifact implements Blobs: every byte that reaches w is hashed, and the sum must be want.
func (r *remote) WriteArtifact(ctx context.Context, description, want cache.Digest, w io.Writer) error {
	artifact, err := r.describe(ctx, description)
	if err != nil {
		return err
	}
	var blobs []cache.Digest
	for _, e := range artifact.Extents {
		if !e.Blob.IsZero() {
			blobs = append(blobs, e.Blob)
		}
	}
	r.direct.prepare(ctx, blobs)
	hash := sha256.New()
	source := &streams{ctx: ctx, open: r.open}
	defer source.close()
	if err := source.write(io.MultiWriter(w, hash), artifact.Extents); err != nil {
		return err
	}
	if got := cache.FromSum([sha256.Size]byte(hash.Sum(nil))); got != want {
		r.direct.disable() // another try reads what the coordinators have verified
		return fmt.Errorf("the farm at %s sent %s for artifact %s: %w", r.farm.where, got, want, cache.ErrMismatch)
	}
	return nil
}

// WriteBlob implements Blobs.
func (r *remote) WriteBlob(ctx context.Context, d cache.Digest, w io.Writer) error {
	body, err := r.open(ctx, d, 0)
	if err != nil {
		return err
	}
	defer body.Close()
	hash := sha256.New()
	if _, err := io.Copy(io.MultiWriter(w, hash), body); err != nil {
		return fmt.Errorf("fetch %s from the farm at %s: %w", d, r.farm.where, err)
	}
	if cache.FromSum([sha256.Size]byte(hash.Sum(nil))) != d {
		return fmt.Errorf("the farm at %s sent other bytes for %s: %w", r.farm.where, d, cache.ErrMismatch)
	}
	return nil
}

func (r *remote) describe(ctx context.Context, d cache.Digest) (*artifact.Artifact, error) {
	body, err := r.open(ctx, d, 0)
	if err != nil {
		return nil, err
	}
	defer body.Close()
	b, err := io.ReadAll(io.LimitReader(body, artifact.MaxEncoding+1))
	if err != nil {
		return nil, fmt.Errorf("fetch %s from the farm at %s: %w", d, r.farm.where, err)
	}
	if cache.SumBytes(b) != d {
		return nil, fmt.Errorf("the farm at %s sent other bytes for %s: %w", r.farm.where, d, cache.ErrMismatch)
	}
	return decode(bytes.NewReader(b), int64(len(b)))
}

// open reads a blob from offset to its end, over as many connections as it takes.
func (r *remote) open(ctx context.Context, d cache.Digest, offset int64) (io.ReadCloser, error) {
	body := &resuming{ctx: ctx, remote: r, blob: d, at: offset}
	var err error
	if body.body, err = r.direct.open(ctx, d, offset); err == nil {
		return body, nil
	}
	if err := body.connect(); err != nil {
		return nil, err
	}
	return body, nil
}

// resuming is a blob that is read on from where a connection broke.
type resuming struct {
	ctx    context.Context
	remote *remote
	blob   cache.Digest
	at     int64
	body   io.ReadCloser
	breaks int
}

// maxBreaks is how often one blob's connection may break after it was made.
const maxBreaks = 5

func (b *resuming) connect() error {
	return b.remote.again(b.ctx, func() error {
		body, err := b.remote.get(b.ctx, b.blob, b.at)
		if err == nil {
			b.body = body
		}
		return err
	})
}

// Read implements io.Reader.
func (b *resuming) Read(p []byte) (int, error) {
	n, err := b.body.Read(p)
	b.at += int64(n)
	if err == nil || err == io.EOF || b.ctx.Err() != nil || b.breaks == maxBreaks {
		return n, err
	}
	b.breaks++
	b.body.Close()
	b.body = http.NoBody
	return n, b.connect()
}

// Close implements io.Closer.
func (b *resuming) Close() error { return b.body.Close() }

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
		return nil, r.broken(err)
	}
	switch {
	case resp.StatusCode == http.StatusPartialContent, resp.StatusCode == http.StatusOK && offset == 0:
		return resp.Body, nil
	case resp.StatusCode == http.StatusRequestedRangeNotSatisfiable: // it ends there
		return http.NoBody, resp.Body.Close()
	case resp.StatusCode == http.StatusNotFound:
		err = fmt.Errorf("fetch %s from the farm at %s: %w: %s", d, r.farm.where, cache.ErrNotFound, refusal(resp))
	default:
		err = &statusError{resp.StatusCode, fmt.Sprintf("fetch %s from the farm at %s: %s", d, r.farm.where, refusal(resp))}
	}
	return nil, errors.Join(err, resp.Body.Close())
}

// again repeats a request for a blob like a call of the API.
func (r *remote) again(ctx context.Context, do func() error) error {
	wait := backoff{most: r.farm.patience}
	for {
		err := do()
		var status *statusError
		var broken *brokenError
		switch {
		case err == nil || errors.Is(err, cache.ErrNotFound):
			r.farm.heard.Store(true)
			return err
		case errors.As(err, &status) && status.code >= http.StatusInternalServerError: // it may be better elsewhere
		case !errors.As(err, &broken):
			return err
		case !r.farm.passing(broken.err):
			return r.farm.explain("move a blob", broken.err)
		}
		if ctx.Err() != nil || !wait.sleep(ctx) {
			if broken != nil {
				return r.farm.explain("move a blob", broken.err)
			}
			return err
		}
		r.farm.elsewhere()
	}
}

// statusError is an answer of the blob API that is no blob.
type statusError struct {
	code int
	text string
}

func (e *statusError) Error() string { return e.text }

// brokenError is a request that got no answer.
type brokenError struct{ err error }

func (e *brokenError) Error() string { return e.err.Error() }
func (e *brokenError) Unwrap() error { return e.err }

// broken makes the same of a request for a blob as of a call of the API.
func (r *remote) broken(err error) error {
	return &brokenError{connect.NewError(connect.CodeUnavailable, err)}
}

func (r *remote) url(d cache.Digest) string { return r.base + "/v1/blobs/" + d.String() }

// refusal is the status and the first line of what the server said.
func refusal(resp *http.Response) string {
	b, _ := io.ReadAll(io.LimitReader(resp.Body, 512)) // the status says enough without it
	line := firstLine(strings.TrimSpace(string(b)))
	if line == "" {
		return resp.Status
	}
	return resp.Status + ": " + line
}
