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
	Absent  bool  // there is none: nobody gave the machine what is optional, or it lacks what clients ask everybody for
	Session bool  // it asked for a session, and read nothing
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
	// Sessions are those of EC2; nil: there are none.
	Sessions *Sessions
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

// ServeHTTP answers GET and HEAD, and PUT where sessions begin.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	header := w.Header()
	header.Set("Cache-Control", "no-store")
	header.Set("X-Content-Type-Options", "nosniff")
	read := Read{From: remote(r)}
	c, err := h.answer(w, r, &read)
	if err != nil {
		refusal := asRefusal(err)
		read.Status, read.Err, read.Absent = refusal.Status, err, errors.As(err, &absent{})
		http.Error(w, refusal.Text, refusal.Status)
	} else {
		read.Status, read.Bytes, read.Absent = http.StatusOK, len(c.Body), c.Absent
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

// answer makes the document, and fills in what is known of the request. Of w it sets headers only.
func (h *Handler) answer(w http.ResponseWriter, r *http.Request, read *Read) (Content, error) {
	token, parts, err := Split(r.URL.Path)
	if err != nil {
		read.What = Redact(r.URL.Path[:min(len(r.URL.Path), maxPath)])
		return Content{}, err
	}
	read.What, read.Session = "/"+strings.Join(parts, "/"), h.Sessions != nil && isSession(parts)
	if err := method(w, r, read.Session); err != nil {
		return Content{}, err
	}
	if token == "" {
		if err := h.direct(r); err != nil {
			return Content{}, err
		}
		if err := asGoogle(w, r, parts); err != nil {
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
	if read.Session {
		text, ttl, err := h.Sessions.begin(r, found.Record.Boot.Key())
		if err == nil {
			w.Header().Set(sessionTTLHeader, strconv.Itoa(ttl))
		}
		return Content{Type: plain, Body: text}, err
	}
	if isEC2(parts) || len(parts) == 0 {
		if err := h.Sessions.check(r, found.Record.Boot.Key(), token != ""); err != nil {
			return Content{}, err
		}
	}
	if asHetzner(r, parts) {
		parts = []string{"hetzner", "v1", "metadata", "public-keys"}
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

// method refuses what a document or a session is not asked for by.
func method(w http.ResponseWriter, r *http.Request, session bool) error {
	switch {
	case session && r.Method != http.MethodPut:
		w.Header().Set("Allow", "PUT")
		return refuse(http.StatusMethodNotAllowed, "a session begins with PUT", nil)
	case !session && r.Method != http.MethodGet && r.Method != http.MethodHead:
		w.Header().Set("Allow", "GET, HEAD")
		return refuse(http.StatusMethodNotAllowed, "configuration is only read; use GET", nil)
	}
	return nil
}

// googleHeader is what Google's metadata server is asked with, and answers with: a page in a browser cannot send it
// (cloud.google.com/compute/docs/metadata/querying-metadata).
const googleHeader = "Metadata-Flavor"

// asGoogle has documents as Google's given to whoever asks for them as there.
func asGoogle(w http.ResponseWriter, r *http.Request, parts []string) error {
	if len(parts) == 0 || parts[0] != "computeMetadata" {
		return nil
	}
	w.Header().Set(googleHeader, "Google")
	if r.Header.Get(googleHeader) != "Google" {
		return refuse(http.StatusForbidden, "these documents are given with the header Metadata-Flavor: Google only", nil)
	}
	return nil
}

// asHetzner says whether it is LinuxKit that takes this for Hetzner: its provider of that name asks for the keys at EC2's path, and
// wants the list of Hetzner's (linuxkit/linuxkit, pkg/metadata/provider_hetzner.go). EC2's clients say a name of their own, or
// ask for the listing with its slash.
func asHetzner(r *http.Request, parts []string) bool {
	return strings.HasPrefix(r.UserAgent(), "Go-http-client/") && strings.Join(parts, "/") == "latest/meta-data/public-keys" && !strings.HasSuffix(r.URL.Path, "/")
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
	if host == "" && !r.ProtoAtLeast(1, 1) { // as LinuxKit asks for Scaleway's user data; browsers have no such version
		return nil
	}
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
