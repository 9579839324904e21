package config

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/kiln-farm/kiln/fleet/templates"
)

// Found is the machine that a request is for.
type Found struct {
	Record *Record
	Access Access
	Boot   BootID // of the token; zero without one
	By     string // ByToken or ByAddress
}

// How a machine was found.
const (
	ByToken   = "token"
	ByAddress = "address"
)

// Once remembers which documents with secrets a machine has read in a boot, among all edges that may be asked.
type Once interface {
	// Take says whether the document was not taken yet, and takes it. What is a kind of template ("user-data"): the same
	// text under two paths is one document. Secrets are given after Take said yes, and lost if they do not arrive.
	Take(ctx context.Context, machine string, boot BootID, what string) (bool, error)
}

// Read is one request, for the timeline of a boot.
type Read struct {
	Machine string // empty: not found
	Boot    BootID
	By      string
	What    string         // the document's path, without a token
	From    netip.AddrPort // the other end of the connection
	Status  int
	Bytes   int
	Secrets bool  // the answer holds them, or the refusal is about them
	Err     error // why it was refused
}

// Handler answers machines that ask for their configuration, below /m/TOKEN/ and under fixed paths. Serves says which those
// are. It never redirects, and nothing that it sends may be kept by anyone between.
type Handler struct {
	// Find says whose request it is. The token is empty for fixed paths. Its error is a refusal that the client may read
	// when it is a *Refusal, and otherwise a fault of this edge.
	Find func(r *http.Request, token string) (*Found, error)
	// Once is asked before secrets are given; nil: there are no secrets here.
	Once Once
	// Report is told of every request; nil: nobody is. It must not block.
	Report func(Read)
	// Hosts are the names that fixed paths may be asked for by beside addresses, such as "metaldata"; nil: any. With them a page
	// in a browser on the machine that renames its own host to this address learns nothing.
	Hosts []string
}

// Refusal is a status and a sentence for the client.
type Refusal struct {
	Status int
	Text   string
	Err    error
}

func (r *Refusal) Error() string { return r.Text }

// Unwrap gives the reason.
func (r *Refusal) Unwrap() error { return r.Err }

func refuse(status int, text string, err error) *Refusal { return &Refusal{status, text, err} }

// ServeHTTP answers GET and HEAD.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	header := w.Header()
	header.Set("Cache-Control", "no-store")
	header.Set("X-Content-Type-Options", "nosniff")
	read := Read{From: remote(r)}
	c, err := h.answer(r, &read)
	if err != nil {
		refusal := asRefusal(err)
		read.Status, read.Err = refusal.Status, err
		if refusal.Status == http.StatusMethodNotAllowed {
			header.Set("Allow", "GET, HEAD")
		}
		http.Error(w, refusal.Text, refusal.Status)
	} else {
		read.Status, read.Bytes = http.StatusOK, len(c.Body)
		header.Set("Content-Type", c.Type)
		header.Set("Content-Length", strconv.Itoa(len(c.Body)))
		w.WriteHeader(http.StatusOK)
		if r.Method == http.MethodHead {
			read.Bytes = 0
		} else if _, err := w.Write([]byte(c.Body)); err != nil {
			read.Err = err
		}
	}
	if h.Report != nil {
		h.Report(read)
	}
}

// answer makes the document, and fills in what is known of the request.
func (h *Handler) answer(r *http.Request, read *Read) (Content, error) {
	token, parts, err := Split(r.URL.Path)
	if err != nil {
		read.What = Redact(r.URL.Path[:min(len(r.URL.Path), maxPath)])
		return Content{}, err
	}
	read.What = "/" + strings.Join(parts, "/")
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		return Content{}, refuse(http.StatusMethodNotAllowed, "configuration is only read; use GET", nil)
	}
	if token == "" {
		if err := h.direct(r); err != nil {
			return Content{}, err
		}
	}
	found, err := h.Find(r, token)
	if err != nil {
		return Content{}, err
	}
	read.Machine, read.Boot, read.By = found.Record.Boot.Name(), found.Boot, found.By
	if found.Access == None {
		return Content{}, refuse(http.StatusForbidden, "this address is of no machine that is booting here; ask with the boot token, or boot again", nil)
	}
	c, err := found.Record.Render(parts, found.Access == Secrets && h.Once != nil)
	read.Secrets = c.Secrets || errors.Is(err, templates.ErrSecrets)
	if err != nil || !c.Secrets || r.Method == http.MethodHead {
		return c, err
	}
	fresh, err := h.Once.Take(r.Context(), found.Record.Boot.Key(), found.Boot, c.Kind)
	if err != nil {
		return Content{}, err
	}
	if !fresh {
		return Content{}, refuse(http.StatusForbidden, "the secrets in this document were read in this boot already; boot the machine again", nil)
	}
	return c, nil
}

// direct refuses requests without a token that came through someone else or for another name: there the source address is
// not the machine's, or not its will.
func (h *Handler) direct(r *http.Request) error {
	for _, name := range []string{"X-Forwarded-For", "Forwarded", "Via"} {
		if _, ok := r.Header[name]; ok {
			return refuse(http.StatusForbidden, "the request came through a proxy; ask directly, or with the boot token", nil)
		}
	}
	host := r.Host
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	if _, err := netip.ParseAddr(strings.Trim(host, "[]")); err != nil && h.Hosts != nil && !slices.Contains(h.Hosts, strings.ToLower(host)) {
		return refuse(http.StatusForbidden, "configuration is not given under this name; ask the address", nil)
	}
	return nil
}

// asRefusal is what a client may know of an error.
func asRefusal(err error) *Refusal {
	var refusal *Refusal
	var fault *Fault
	switch {
	case errors.As(err, &refusal):
		return refusal
	case errors.Is(err, ErrNotFound):
		return refuse(http.StatusNotFound, err.Error(), err)
	case errors.Is(err, templates.ErrSecrets):
		return refuse(http.StatusForbidden, templates.ErrSecrets.Error(), err)
	case errors.As(err, &fault):
		return refuse(http.StatusInternalServerError, err.Error(), err)
	}
	return refuse(http.StatusInternalServerError, "the configuration cannot be made; see the edge's log", err)
}

// remote is the other end of the connection; the zero value if that is no address of the Internet.
func remote(r *http.Request) netip.AddrPort {
	a, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.AddrPort{}
	}
	return netip.AddrPortFrom(a.Addr().Unmap(), a.Port())
}
