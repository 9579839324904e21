package coordinator

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"time"

	"github.com/kiln-farm/kiln/cache"
)

// maxUpload is the size of the largest blob that a client may upload: sources of files, not images.
const maxUpload = 64 << 30

// blobHandler is GET, HEAD and PUT of blobs, for clients that cannot reach the cache.
type blobHandler struct {
	store  cache.Store
	blobs  cache.Blobs
	log    *slog.Logger
	absent func(w http.ResponseWriter, r *http.Request, d cache.Digest, why error) // answers for a blob that is not there
}

func (h *blobHandler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if who := callerOf(r.Context()); who.Role == "" {
		http.Error(w, "this farm wants to know who you are: get credentials with kiln login", http.StatusUnauthorized)
		return
	} else if r.Method == http.MethodPut && !slices.Contains(users, who.Role) {
		http.Error(w, fmt.Sprintf("the role %s may not store blobs here", who.Role), http.StatusForbidden)
		return
	}
	digest, err := cache.ParseDigest(r.PathValue("digest"))
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	switch r.Method {
	case http.MethodGet, http.MethodHead:
		h.get(w, r, digest)
	case http.MethodPut:
		h.put(w, r, digest)
	default:
		w.Header().Set("Allow", "GET, HEAD, PUT")
		http.Error(w, "only GET, HEAD and PUT are possible", http.StatusMethodNotAllowed)
	}
}

func (h *blobHandler) get(w http.ResponseWriter, r *http.Request, digest cache.Digest) {
	f, err := h.blobs.Open(r.Context(), digest)
	if errors.Is(err, cache.ErrNotFound) {
		h.absent(w, r, digest, err)
		return
	}
	if err != nil {
		h.fail(w, r, err)
		return
	}
	defer f.Close()
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set("ETag", `"`+digest.String()+`"`)
	w.Header().Set("Cache-Control", "public, max-age=31536000, immutable")
	http.ServeContent(w, r, "", time.Time{}, f.File)
}

func (h *blobHandler) put(w http.ResponseWriter, r *http.Request, digest cache.Digest) {
	body := http.MaxBytesReader(w, r.Body, maxUpload)
	if err := h.store.Put(r.Context(), cache.BlobKey(digest), body, r.ContentLength, cache.IfAbsent); err != nil {
		h.fail(w, r, err)
		return
	}
	w.WriteHeader(http.StatusCreated)
}

func (h *blobHandler) fail(w http.ResponseWriter, r *http.Request, err error) {
	var large *http.MaxBytesError
	switch {
	case errors.Is(err, cache.ErrNotFound):
		http.Error(w, "no such blob", http.StatusNotFound)
	case errors.Is(err, cache.ErrMismatch), errors.Is(err, io.ErrUnexpectedEOF):
		http.Error(w, err.Error(), http.StatusUnprocessableEntity)
	case errors.As(err, &large):
		http.Error(w, fmt.Sprintf("a blob may have at most %d bytes", large.Limit), http.StatusRequestEntityTooLarge)
	default:
		h.log.Error("a blob could not be served", "method", r.Method, "path", r.URL.Path, "error", err)
		http.Error(w, err.Error(), http.StatusInternalServerError)
	}
}

// absent answers for a blob that this coordinator cannot read. The leader looks for it once more, and condemns it when
// it is damaged, so that the next build which needs it makes it again. When it is there after all, the client should
// ask again.
func (c *Coordinator) absent(w http.ResponseWriter, r *http.Request, d cache.Digest, why error) {
	c.forwarded(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if l, _ := c.current(); l != nil {
			gone, err := l.second.Gone(r.Context(), d.String())
			if err != nil {
				http.Error(w, fmt.Sprintf("look for the blob: %v", err), http.StatusServiceUnavailable)
				return
			}
			if !gone {
				http.Error(w, fmt.Sprintf("the blob is there, but could not be read: %v", why), http.StatusServiceUnavailable)
				return
			}
			if err := l.results.Remake(r.Context(), d); err != nil {
				http.Error(w, fmt.Sprintf("have the blob made again: %v", err), http.StatusServiceUnavailable)
				return
			}
		}
		http.Error(w, fmt.Sprintf("no such blob: %v", why), http.StatusNotFound)
	})).ServeHTTP(w, r)
}
