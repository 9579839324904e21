package client

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"connectrpc.com/connect"

	"github.com/kiln-farm/kiln/cache"
	"github.com/kiln-farm/kiln/proto/kiln/v1/kilnv1connect"
)

// Blobs is where a farm keeps its blobs.
type Blobs interface {
	// Upload gives the farm those of the digests that it lacks, out of from.
	Upload(ctx context.Context, from cache.Blobs, digests []cache.Digest) error
	// WriteArtifact writes the artifact described by the blob to w, verified. A blob that is missing is
	// cache.ErrNotFound.
	WriteArtifact(ctx context.Context, description, want cache.Digest, w io.Writer) error
	// WriteBlob writes a blob to w, verified. One that is missing is cache.ErrNotFound.
	WriteBlob(ctx context.Context, d cache.Digest, w io.Writer) error
}

// Farm is a connection to a farm.
type Farm struct {
	API   kilnv1connect.FarmServiceClient
	Admin kilnv1connect.AdminServiceClient
	Join  kilnv1connect.JoinServiceClient
	Room  kilnv1connect.RoomServiceClient
	Blobs Blobs

	where    string // for messages
	patience time.Duration
	dialer   *dialer     // nil inside the process
	heard    atomic.Bool // somebody answered once
	secure   bool
	stranger string // sentence for when what answers is not of the farm
}

// patience is how long a farm that answered before may be away: a coordinator restarts in less.
const patience = 60 * time.Second

// Options say how a farm is reached.
type Options struct {
	TLS      *tls.Config   // for https; it shows the client's certificate and verifies the farm's
	Patience time.Duration // how long a farm that answered before may be away; 0: 60 s
	// Stranger is the sentence for when what answers is not of the farm; empty: one that says kiln login.
	Stranger string
}

// Protocols are what a client of a farm speaks over TLS (ALPN, RFC 7301).
func Protocols() []string { return []string{"h2", "http/1.1"} }

// Dial makes a client of the farm at a URL, or at several of them with commas between: its coordinators, any of
// which will do. It does not connect yet.
func Dial(addresses string, opts Options) (*Farm, error) {
	urls, err := ParseURLs(addresses)
	if err != nil {
		return nil, err
	}
	f := &Farm{where: strings.Join(urls, ", "), patience: opts.Patience, stranger: opts.Stranger, secure: strings.HasPrefix(urls[0], "https:")}
	if f.patience == 0 {
		f.patience = patience
	}
	if f.secure && opts.TLS == nil {
		return nil, fmt.Errorf("there are no credentials for %s", f.where)
	}
	if !f.secure {
		opts.TLS = nil
	}
	f.dialer = newDialer(urls, opts.TLS)
	client := withTrace(&http.Client{Transport: f.dialer.http})
	f.API = kilnv1connect.NewFarmServiceClient(client, urls[0])
	f.Admin = kilnv1connect.NewAdminServiceClient(client, urls[0])
	f.Join = kilnv1connect.NewJoinServiceClient(client, urls[0])
	f.Room = kilnv1connect.NewRoomServiceClient(client, urls[0])
	f.Blobs = &remote{farm: f, base: urls[0], http: client, direct: newDirect(f)}
	return f, nil
}

// ParseURLs reads a list of URLs, such as "https://a:7300,https://b:7300", and gives each without a slash at its end.
func ParseURLs(addresses string) ([]string, error) {
	var urls []string
	for one := range strings.SplitSeq(addresses, ",") {
		one = strings.TrimRight(strings.TrimSpace(one), "/")
		u, err := url.Parse(one)
		if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" || u.Path != "" || u.RawQuery != "" || u.User != nil {
			return nil, fmt.Errorf("--farm %q: it is a URL like https://kiln1:7300 or http://127.0.0.1:7300, or several of them with commas between", one)
		}
		if len(urls) > 0 && !strings.HasPrefix(urls[0], u.Scheme+":") {
			return nil, fmt.Errorf("--farm %q: one URL is http and another https, but a farm is one of the two", addresses)
		}
		urls = append(urls, one)
	}
	return urls, nil
}

// Local is a farm inside the process, whose handler the client reaches and whose blobs are in blobs.
func Local(client *http.Client, blobs cache.Blobs) *Farm {
	client = withTrace(client)
	return &Farm{
		API:      kilnv1connect.NewFarmServiceClient(client, "http://farm", connect.WithAcceptCompression("gzip", nil, nil)),
		Admin:    kilnv1connect.NewAdminServiceClient(client, "http://farm"),
		Blobs:    LocalBlobs(blobs),
		where:    "inside this process",
		patience: patience,
	}
}

// LocalBlobs are blobs in a cache that this process reads itself.
func LocalBlobs(blobs cache.Blobs) Blobs { return local{blobs} }

// Close ends connections that are not used now.
func (f *Farm) Close() {
	if f.dialer != nil {
		f.dialer.close()
	}
}

// Where is the farm's address or addresses, for messages.
func (f *Farm) Where() string { return f.where }
