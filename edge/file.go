package edge

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/kiln-farm/kiln/cache"
	"github.com/kiln-farm/kiln/cache/artifact"
	"github.com/kiln-farm/kiln/edge/config"
	"github.com/kiln-farm/kiln/edge/content"
)

// artifact serves bytes by their digest: an output, or a blob.
func (e *Edge) artifact(w http.ResponseWriter, r *http.Request) {
	d, err := cache.ParseDigest(r.PathValue("digest"))
	if err != nil {
		fail(w, http.StatusBadRequest, err.Error()+"; it looks like sha256:<64 digits>")
		return
	}
	reader, err := e.files.Open(r.Context(), d)
	if err != nil {
		e.absent(w, r, err, d.String())
		return
	}
	defer reader.Close()
	w.Header().Set("Cache-Control", "public, max-age=31536000, immutable")
	e.send(w, r, reader, d)
}

// absent tells a machine that something is gone apart from something being wrong here.
func (e *Edge) absent(w http.ResponseWriter, r *http.Request, err error, what string) {
	if errors.Is(err, cache.ErrNotFound) {
		fail(w, http.StatusNotFound, what+" is not in the cache; build it again")
		return
	}
	if r.Context().Err() == nil { // otherwise the client has left, and nothing is wrong
		e.cfg.Log.Error("the cache cannot be read", "path", r.URL.Path, "error", err)
	}
	fail(w, http.StatusInternalServerError, "the cache cannot be read; see the edge's log")
}

// sent is how an answer went.
type sent struct {
	whole  bool          // the client has all that it asked for
	waited time.Duration // for this edge
}

// serve answers with an artifact.
func (e *Edge) serve(w http.ResponseWriter, r *http.Request, a *artifact.Artifact, d cache.Digest) sent {
	reader, err := e.files.OpenArtifact(r.Context(), a)
	if err != nil {
		e.absent(w, r, err, d.String())
		return sent{}
	}
	defer reader.Close()
	return e.send(w, r, reader, d)
}

// send answers with the bytes of a file, or the range of them that was asked for (RFC 9110 §13, §14). A request for
// several ranges gets the whole, as it may.
func (e *Edge) send(w http.ResponseWriter, r *http.Request, reader content.File, d cache.Digest) sent {
	size := reader.Size()
	etag := `"` + d.String() + `"`
	h := w.Header()
	h.Set("ETag", etag)
	h.Set("Accept-Ranges", "bytes")
	h.Set("Content-Type", "application/octet-stream")
	if matches(r.Header.Get("If-None-Match"), etag) {
		w.WriteHeader(http.StatusNotModified)
		return sent{whole: true}
	}
	offset, length, status := int64(0), size, http.StatusOK
	if spec := r.Header.Get("Range"); spec != "" && (r.Header.Get("If-Range") == "" || r.Header.Get("If-Range") == etag) {
		o, n, ok, satisfiable := parseRange(spec, size)
		switch {
		case ok && !satisfiable:
			h.Set("Content-Range", fmt.Sprintf("bytes */%d", size))
			fail(w, http.StatusRequestedRangeNotSatisfiable, fmt.Sprintf("the file has %d bytes only", size))
			return sent{}
		case ok:
			offset, length, status = o, n, http.StatusPartialContent
			h.Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", o, o+n-1, size))
		}
	}
	// One byte is read before the status is sent, so that a blob that is gone is a 404 and not a broken transfer.
	if length > 0 {
		var first [1]byte
		if _, err := reader.ReadAt(first[:], offset); err != nil && err != io.EOF {
			h.Del("ETag")
			h.Del("Content-Range")
			e.absent(w, r, err, d.String())
			return sent{}
		}
	}
	head := r.Method == http.MethodHead || length == 0
	var t *turns
	if !head {
		var ok bool
		if t, ok = e.begin(w, r, length); !ok {
			return sent{}
		}
	}
	h.Set("Content-Length", strconv.FormatInt(length, 10))
	w.WriteHeader(status)
	if head {
		return sent{whole: true}
	}
	to := unwrap(w)
	if t != nil {
		to = t
	}
	n, err := reader.WriteRange(to, offset, length)
	waited := t.close()
	if t != nil {
		httpWait.Record(r.Context(), waited.Seconds())
	}
	httpBytes.Add(r.Context(), n)
	if err != nil {
		e.cfg.Log.Info("a transfer ended early", "path", config.Redact(r.URL.Path), "client", r.RemoteAddr, "sent", n, "of", length, "error", err)
	}
	return sent{err == nil, waited}
}

// unwrap finds the server's own writer, whose ReadFrom uses sendfile(2).
func unwrap(w http.ResponseWriter) io.Writer {
	for {
		u, ok := w.(interface{ Unwrap() http.ResponseWriter })
		if !ok {
			return w
		}
		w = u.Unwrap()
	}
}

// matches says whether an If-None-Match field names the tag.
func matches(field, etag string) bool {
	for one := range strings.SplitSeq(field, ",") {
		one = strings.TrimPrefix(strings.TrimSpace(one), "W/")
		if one == etag || one == "*" {
			return true
		}
	}
	return false
}

// parseRange reads a single range of bytes. ok is false for anything else, which is then ignored.
func parseRange(spec string, size int64) (offset, length int64, ok, satisfiable bool) {
	set, found := strings.CutPrefix(spec, "bytes=")
	first, last, dash := strings.Cut(strings.TrimSpace(set), "-")
	if !found || !dash || strings.Contains(set, ",") {
		return 0, 0, false, false
	}
	if first == "" { // the last n bytes
		n, err := strconv.ParseInt(last, 10, 64)
		if err != nil || n < 0 || last[0] == '+' {
			return 0, 0, false, false
		}
		n = min(n, size)
		return size - n, n, true, n > 0
	}
	from, err := strconv.ParseInt(first, 10, 64)
	if err != nil || from < 0 || first[0] == '+' {
		return 0, 0, false, false
	}
	to := size - 1
	if last != "" {
		if to, err = strconv.ParseInt(last, 10, 64); err != nil || to < from || last[0] == '+' {
			return 0, 0, false, false
		}
		to = min(to, size-1)
	}
	return from, to - from + 1, true, from < size
}
