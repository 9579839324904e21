package pull

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"

	"github.com/google/go-containerregistry/pkg/v1/types"
)

// copyBuffer is how much of a blob is in memory, in bytes.
const copyBuffer = 256 << 10

// accept lists the manifests that we understand, and those of which we can say what they are.
var accept = strings.Join([]string{
	string(types.OCIImageIndex), string(types.OCIManifestSchema1), string(types.DockerManifestList), string(types.DockerManifestSchema2),
	string(types.DockerManifestSchema1Signed), string(types.DockerManifestSchema1), "*/*",
}, ", ")

// Manifest fetches a manifest or an index of at most so many bytes, by tag or digest, and says what its sender called it.
// It repeats what a moment may mend.
func (r *Repository) Manifest(ctx context.Context, identifier string, most int64) (raw []byte, contentType string, err error) {
	waits := r.client.cfg.Retry.Waits()
	for {
		raw, contentType, err = r.manifest(ctx, identifier, most)
		if err == nil || !r.mayPass(ctx, err) || !waits.Sleep(ctx) {
			return raw, contentType, err
		}
	}
}

// mayPass says whether another try may end otherwise, and is worth its wait.
func (r *Repository) mayPass(ctx context.Context, err error) bool {
	var status *StatusError
	if errors.As(err, &status) && status.Asked > 0 {
		return false // it was waited for as long as there is patience
	}
	return ctx.Err() == nil && Passing(err)
}

func (r *Repository) manifest(ctx context.Context, identifier string, most int64) ([]byte, string, error) {
	res, err := r.get(ctx, "manifests/"+identifier, http.Header{"Accept": {accept}})
	if err != nil {
		return nil, "", err
	}
	if res.StatusCode != http.StatusOK {
		return nil, "", statusError(res, r.client.cfg.Now())
	}
	defer res.Body.Close()
	raw, err := readAll(res.Body, most)
	if err == nil && strings.EqualFold(res.Header.Get("Content-Encoding"), "gzip") {
		raw, err = gunzip(raw, most)
	}
	return raw, res.Header.Get("Content-Type"), err
}

// gunzip undoes what some servers do unasked. What only says that it is compressed stays as it is.
func gunzip(raw []byte, most int64) ([]byte, error) {
	z, err := gzip.NewReader(bytes.NewReader(raw))
	if err != nil {
		return raw, nil
	}
	return readAll(z, most)
}

// get asks the registry for something below the repository, by way of redirects.
func (r *Repository) get(ctx context.Context, path string, header http.Header) (*http.Response, error) {
	if _, err := r.enter(ctx); err != nil { // to know the scheme
		return nil, err
	}
	r.mu.Lock()
	scheme := r.scheme
	r.mu.Unlock()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, scheme+"://"+r.repo.RegistryStr()+"/v2/"+r.repo.RepositoryStr()+"/"+path, nil)
	if err != nil {
		return nil, err
	}
	req.Header = header
	req.Header.Set("User-Agent", r.client.cfg.UserAgent)
	return r.http.Do(req)
}

// Blob fetches a blob, of size bytes where that is above 0, and writes it to w. What ends early is gone on with from where it ended, as often
// as that brings something. The bytes need not be those of the digest: whoever asks has to check.
func (r *Repository) Blob(ctx context.Context, digest string, size int64, w io.Writer) error {
	d := &download{r: r, path: "blobs/" + digest, size: size, w: w, ranges: true}
	waits := r.client.cfg.Retry.Waits()
	for {
		before := d.got
		err := d.part(ctx)
		if err == nil {
			return nil
		}
		if !r.mayPass(ctx, err) && !absent(err) {
			return err
		}
		if d.got-before >= d.progress() {
			waits.Reset()
		}
		if d.got > before || d.got > 0 && Unreachable(err) {
			d.tell(ctx, err)
		}
		if !waits.Sleep(ctx) {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			return err
		}
	}
}

// progress is what a try must bring for the next ones to count anew, in bytes: a hundredth of a small blob. That bounds how often it is
// asked for, whatever a registry does.
func (d *download) progress() int64 {
	if d.size <= 0 {
		return leastProgress
	}
	return min(leastProgress, max(1, d.size/100))
}

// absent says that a registry has no such blob. A manifest names it, so it may be on its way between the registry's machines.
func absent(err error) bool {
	var status *StatusError
	return errors.As(err, &status) && status.Status == http.StatusNotFound
}

// download is a blob on its way.
type download struct {
	r      *Repository
	path   string
	size   int64 // 0: not known
	w      io.Writer
	got    int64
	ranges bool // false: the registry does not understand Range
	buffer []byte
}

func (d *download) tell(ctx context.Context, err error) {
	of := ""
	if d.size > 0 {
		of = fmt.Sprintf(" of %d", d.size)
	}
	why := "was cut off"
	var stall *StallError
	if errors.As(err, &stall) {
		why = "has stopped for " + seconds(stall.For)
	}
	visitOf(ctx).tell(fmt.Sprintf("registry %s: a blob %s after %d%s bytes; going on from there", d.r.repo.RegistryStr(), why, d.got, of))
}

// errRange: an answer is not the part that was asked for.
var errRange = errors.New("another part of the blob than the one that was asked for")

// part asks for what is not there yet and takes what comes.
func (d *download) part(ctx context.Context) error {
	err := d.ask(ctx)
	if errors.Is(err, errRange) {
		d.ranges = false
		err = d.ask(ctx)
	}
	return err
}

func (d *download) ask(ctx context.Context) error {
	header := http.Header{"Accept-Encoding": {"identity"}}
	if d.got > 0 && d.ranges {
		header.Set("Range", fmt.Sprintf("bytes=%d-", d.got))
	}
	res, err := d.r.get(ctx, d.path, header)
	if err != nil {
		return err
	}
	skip := d.got
	switch {
	case res.StatusCode == http.StatusOK: // from the beginning, whether it was asked for a part or not
	case res.StatusCode == http.StatusPartialContent && d.got > 0 && d.ranges:
		if !startsAt(res.Header.Get("Content-Range"), d.got) {
			discard(res)
			return errRange
		}
		skip = 0
	case res.StatusCode == http.StatusRequestedRangeNotSatisfiable && d.got > 0 && d.ranges:
		discard(res)
		return errRange
	default:
		return statusError(res, d.r.client.cfg.Now())
	}
	defer res.Body.Close()
	if _, err := io.CopyN(io.Discard, res.Body, skip); err != nil {
		return early(err)
	}
	return d.take(res.Body)
}

// startsAt reads "bytes FIRST-LAST/LENGTH" (RFC 9110 §14.4).
func startsAt(contentRange string, at int64) bool {
	unit, span, _ := strings.Cut(strings.TrimSpace(contentRange), " ")
	first, _, _ := strings.Cut(span, "-")
	n, err := strconv.ParseInt(strings.TrimSpace(first), 10, 64)
	return strings.EqualFold(unit, "bytes") && err == nil && n == at
}

// early is the end of an answer that should not end there.
func early(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

// take writes what comes.
func (d *download) take(body io.Reader) error {
	if d.buffer == nil {
		d.buffer = make([]byte, copyBuffer)
	}
	for {
		n, err := body.Read(d.buffer)
		if d.size > 0 && d.got+int64(n) > d.size {
			return ErrTooLong
		}
		if n > 0 {
			if _, err := d.w.Write(d.buffer[:n]); err != nil {
				return &WriteError{err}
			}
			d.got += int64(n)
		}
		switch {
		case err == io.EOF && d.got < d.size:
			return io.ErrUnexpectedEOF
		case err == io.EOF:
			return nil
		case err != nil:
			return err
		}
	}
}
