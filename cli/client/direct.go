package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"

	"connectrpc.com/connect"

	"github.com/kiln-farm/kiln/cache"
	"github.com/kiln-farm/kiln/cache/s3"
	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
)

const (
	// directWait is how long the shared store may take to begin an answer. A client that does not reach it finds out
	// once.
	directWait = 5 * time.Second
	// urlMargin is how long before its end a URL is not used any more.
	urlMargin = time.Minute
	// directSkip is how many bytes are read and dropped to get to an offset, rather than asking the blob API.
	directSkip = 8 << 20
)

// direct reads blobs from the farm's shared store itself, by URLs that the farm gives, so that their bytes do not go
// through a coordinator. Whatever goes wrong there, the blob API has the last word.
type direct struct {
	farm *Farm
	http *http.Client

	mu   sync.Mutex // guards what follows
	off  bool       // the store is not reached from here, or gave wrong bytes
	urls map[string]directURL
}

type directURL struct {
	url  string
	ends time.Time
}

func newDirect(f *Farm) *direct {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.ResponseHeaderTimeout = directWait
	transport.DisableCompression = true
	return &direct{farm: f, http: &http.Client{Transport: transport}, urls: map[string]directURL{}}
}

// prepare asks for the URLs of blobs that will be read soon.
func (d *direct) prepare(ctx context.Context, blobs []cache.Digest) {
	d.mu.Lock()
	defer d.mu.Unlock()
	req := &kilnv1.BlobURLsRequest{}
	seen := map[string]bool{}
	for _, b := range blobs {
		text := b.String()
		if !seen[text] && time.Until(d.urls[text].ends) < urlMargin && len(req.Digests) < maxAsked {
			seen[text] = true
			req.Digests = append(req.Digests, text)
		}
	}
	if d.off || len(req.Digests) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, directWait)
	defer cancel()
	resp, err := d.farm.API.BlobURLs(ctx, connect.NewRequest(req))
	if err != nil || len(resp.Msg.GetUrls()) == 0 {
		d.off = true // an older farm, or one whose store has no URLs
		return
	}
	ends := time.Now().Add(time.Duration(resp.Msg.GetValidMs()) * time.Millisecond)
	for text, url := range resp.Msg.GetUrls() {
		d.urls[text] = directURL{url, ends}
	}
}

// disable makes every further read go through the blob API.
func (d *direct) disable() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.off = true
}

var errNotDirect = errors.New("not read directly")

// open reads a blob from offset on; errNotDirect or any other fault leaves it to the blob API. What is packed cannot
// be entered in the middle, so it is read from its begin.
func (d *direct) open(ctx context.Context, blob cache.Digest, offset int64) (io.ReadCloser, error) {
	d.mu.Lock()
	at, off := d.urls[blob.String()], d.off
	d.mu.Unlock()
	if off || offset > directSkip || time.Until(at.ends) < urlMargin {
		return nil, errNotDirect
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, at.url, nil)
	if err != nil {
		return nil, errNotDirect
	}
	resp, err := d.http.Do(req)
	if err != nil {
		d.disable()
		return nil, err
	}
	if resp.StatusCode != http.StatusOK {
		return nil, errors.Join(fmt.Errorf("the shared store answers %s", resp.Status), resp.Body.Close())
	}
	body, err := s3.DecodeStored(resp.Header, resp.Body)
	if err != nil {
		return nil, err
	}
	if _, err := io.CopyN(io.Discard, body, offset); err != nil {
		return nil, errors.Join(err, body.Close())
	}
	return body, nil
}
