package httpboot

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"

	"github.com/kiln-farm/kiln/edge/fair"
	"github.com/kiln-farm/kiln/edge/transfer"
)

func TestBootProgramsAreSentInTurns(t *testing.T) {
	sender := transfer.New(fair.Config{Transfers: 1}, quiet)
	r := newRoomOf(t, func(cfg *Config) { cfg.Sender = sender })
	dir := t.TempDir()
	large, small := bytes.Repeat([]byte("loader "), 20<<10), []byte("small")
	for name, data := range map[string][]byte{"large.efi": large, "small.efi": small} {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	loaders := map[string]string{}
	for _, name := range []string{"large.efi", "small.efi", "gone.efi"} {
		loaders[name] = filepath.Join(dir, name)
	}
	r.server.SetLoaders(loaders)
	other, err := sender.Queue().Enter("10.9.9.9", "")
	if err != nil {
		t.Fatal(err)
	}
	left := false
	for _, c := range []struct {
		name, method, path, ranges string
		leave                      bool // the other client has gone
		status                     int
		want                       []byte
	}{
		{"while others have all there is", "GET", "/loaders/large.efi", "", false, 503, nil},
		{"a small one", "GET", "/loaders/small.efi", "", false, 200, small},
		{"how large it is", "HEAD", "/loaders/large.efi", "", false, 200, []byte{}},
		{"afterwards", "GET", "/loaders/large.efi", "", true, 200, large},
		{"a part", "GET", "/loaders/large.efi", "bytes=7-13", true, 206, large[7:14]},
		{"beyond its end", "GET", "/loaders/large.efi", "bytes=9999999-", true, 416, nil},
		{"again", "GET", "/loaders/large.efi", "", true, 200, large},
		{"one that is gone", "GET", "/loaders/gone.efi", "", true, 404, nil},
		{"one that there is not", "GET", "/loaders/no.efi", "", true, 404, nil},
	} {
		if c.leave && !left {
			other.Leave()
			left = true
		}
		request := httptest.NewRequest(c.method, c.path, nil)
		if c.ranges != "" {
			request.Header.Set("Range", c.ranges)
		}
		w := httptest.NewRecorder()
		r.Handler.ServeHTTP(w, request)
		if w.Code != c.status || c.want != nil && !bytes.Equal(w.Body.Bytes(), c.want) {
			t.Errorf("%s: got %d with %d bytes, want %d with %d", c.name, w.Code, w.Body.Len(), c.status, len(c.want))
		}
		if retry := w.Header().Get("Retry-After"); (retry != "") != (c.status == http.StatusServiceUnavailable) {
			t.Errorf("%s: got Retry-After %q", c.name, retry)
		}
		if n := sender.Queue().Counts().Transfers; left && n != 0 {
			t.Errorf("%s: %d transfers are left", c.name, n)
		}
	}
}
