package transfer

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/kiln-farm/kiln/cache"
	"github.com/kiln-farm/kiln/edge/config"
	"github.com/kiln-farm/kiln/edge/fair"
	"github.com/kiln-farm/kiln/internal/seldom"
)

// File is the bytes of a file, from wherever they come.
type File interface {
	io.ReaderAt
	Size() int64
	// WriteRange writes n bytes from an offset.
	WriteRange(w io.Writer, offset, n int64) (int64, error)
}

// Sender sends files over HTTP. All of one process share what it may send.
type Sender struct {
	queue *fair.Queue
	log   *slog.Logger

	refused atomic.Uint64 // transfers
	sayings *seldom.Sayings
}

// New makes a Sender.
func New(cfg fair.Config, log *slog.Logger) *Sender {
	return &Sender{queue: fair.New(cfg), log: log, sayings: seldom.New(complainEvery, nil)}
}

// Queue is that of the transfers.
func (s *Sender) Queue() *fair.Queue { return s.queue }

// Fail answers with one sentence.
func Fail(w http.ResponseWriter, status int, sentence string) {
	w.Header().Set("Cache-Control", "no-store")
	http.Error(w, sentence, status)
}

// Absent tells a machine that something is gone apart from something being wrong here.
func (s *Sender) Absent(w http.ResponseWriter, r *http.Request, err error, what string) {
	if errors.Is(err, cache.ErrNotFound) {
		Fail(w, http.StatusNotFound, what+" is not in the cache; build it again")
		return
	}
	if r.Context().Err() == nil { // otherwise the client has left, and nothing is wrong
		s.log.Error("the cache cannot be read", "path", r.URL.Path, "error", err)
	}
	Fail(w, http.StatusInternalServerError, "the cache cannot be read; see the edge's log")
}

// Sent is how an answer went.
type Sent struct {
	Whole  bool          // the client has all that it asked for
	Waited time.Duration // for this edge
}

// Send answers with the bytes of a file, or the range of them that was asked for (RFC 9110 §13, §14). A request for
// several ranges gets the whole, as it may.
func (s *Sender) Send(w http.ResponseWriter, r *http.Request, file File, d cache.Digest) Sent {
	size := file.Size()
	etag := `"` + d.String() + `"`
	h := w.Header()
	h.Set("ETag", etag)
	h.Set("Accept-Ranges", "bytes")
	h.Set("Content-Type", "application/octet-stream")
	if matches(r.Header.Get("If-None-Match"), etag) {
		w.WriteHeader(http.StatusNotModified)
		return Sent{Whole: true}
	}
	offset, length, status := int64(0), size, http.StatusOK
	if spec := r.Header.Get("Range"); spec != "" && (r.Header.Get("If-Range") == "" || r.Header.Get("If-Range") == etag) {
		o, n, ok, satisfiable := parseRange(spec, size)
		switch {
		case ok && !satisfiable:
			h.Set("Content-Range", fmt.Sprintf("bytes */%d", size))
			Fail(w, http.StatusRequestedRangeNotSatisfiable, fmt.Sprintf("the file has %d bytes only", size))
			return Sent{}
		case ok:
			offset, length, status = o, n, http.StatusPartialContent
			h.Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", o, o+n-1, size))
		}
	}
	// One byte is read before the status is sent, so that a blob that is gone is a 404 and not a broken transfer.
	if length > 0 {
		var first [1]byte
		if _, err := file.ReadAt(first[:], offset); err != nil && err != io.EOF {
			h.Del("ETag")
			h.Del("Content-Range")
			s.Absent(w, r, err, d.String())
			return Sent{}
		}
	}
	head := r.Method == http.MethodHead || length == 0
	var t *turns
	if !head {
		var ok bool
		if t, ok = s.begin(w, r, length); !ok {
			return Sent{}
		}
	}
	h.Set("Content-Length", strconv.FormatInt(length, 10))
	w.WriteHeader(status)
	if head {
		return Sent{Whole: true}
	}
	to := unwrap(w)
	if t != nil {
		to = t
	}
	n, err := file.WriteRange(to, offset, length)
	waited := t.close()
	if t != nil {
		httpWait.Record(r.Context(), waited.Seconds())
	}
	httpBytes.Add(r.Context(), n)
	if err != nil {
		s.log.Info("a transfer ended early", "path", config.Redact(r.URL.Path), "client", r.RemoteAddr, "sent", n, "of", length, "error", err)
	}
	return Sent{err == nil, waited}
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
