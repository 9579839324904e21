package httpboot

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/kiln-farm/kiln/cache"
	"github.com/kiln-farm/kiln/cache/artifact"
	"github.com/kiln-farm/kiln/cache/disk"
	"github.com/kiln-farm/kiln/cache/record"
	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
)

const buildID = "0190c0de-0000-7000-8000-000000000001"

// fixture is a cache with one finished build, hello: a kernel of one blob, an initrd of extents, a command line.
type fixture struct {
	store  *disk.Store
	server *httptest.Server
	initrd []byte
	digest cache.Digest // of the initrd
}

func newFixture(t testing.TB, cmdline string) *fixture {
	t.Helper()
	store, err := disk.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	f := &fixture{store: store}
	first, second := bytes.Repeat([]byte("first "), 50_000), bytes.Repeat([]byte("second "), 20_000)
	b1, b2 := f.blob(t, first), f.blob(t, second)
	f.initrd = slicesConcat(first[6:], make([]byte, 100), []byte("inline"), second)
	initrd := f.artifact(t, f.initrd, []artifact.Extent{
		{Blob: b1, Offset: 6, Length: int64(len(first) - 6)}, {Length: 100}, {Inline: []byte("inline"), Length: 6}, {Blob: b2, Length: int64(len(second))},
	})
	f.digest = initrd
	kernelBytes := []byte("the kernel")
	kernel := f.artifact(t, kernelBytes, []artifact.Extent{{Blob: f.blob(t, kernelBytes), Length: int64(len(kernelBytes))}})
	line := f.artifact(t, []byte(cmdline), []artifact.Extent{{Inline: []byte(cmdline), Length: int64(len(cmdline))}})
	kept := &kilnv1.BuildRecord{
		Spec:  &kilnv1.BuildSpec{Id: buildID, Team: "default", Name: "hello"},
		State: kilnv1.BuildState_BUILD_STATE_DONE, FinishedUnixMs: 1,
		Outputs: []*kilnv1.BuildOutput{
			{Platform: "linux/amd64", File: "-kernel", Digest: kernel.String(), Size: int64(len(kernelBytes))},
			{Platform: "linux/amd64", File: "-initrd.img", Digest: initrd.String(), Size: int64(len(f.initrd))},
			{Platform: "linux/amd64", File: "-cmdline", Digest: line.String(), Size: int64(len(cmdline))},
		},
	}
	if err := record.PutBuild(context.Background(), store, kept); err != nil {
		t.Fatal(err)
	}
	_, handler := serveCache(store, store)
	f.server = httptest.NewServer(handler)
	t.Cleanup(f.server.Close)
	return f
}

func slicesConcat(parts ...[]byte) []byte { return bytes.Join(parts, nil) }

func (f *fixture) blob(t testing.TB, b []byte) cache.Digest {
	t.Helper()
	draft, err := f.store.Create(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := draft.Write(b); err != nil {
		t.Fatal(err)
	}
	d, _, err := draft.Commit()
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func (f *fixture) artifact(t testing.TB, contents []byte, extents []artifact.Extent) cache.Digest {
	t.Helper()
	d := cache.FromSum(sha256.Sum256(contents))
	if err := artifact.Put(context.Background(), f.store, &artifact.Artifact{Digest: d, Size: int64(len(contents)), Extents: extents}); err != nil {
		t.Fatal(err)
	}
	return d
}

func (f *fixture) get(t *testing.T, method, path string, header ...string) (*http.Response, []byte) {
	t.Helper()
	req, err := http.NewRequest(method, f.server.URL+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, body
}

func TestArtifactsOverHTTP(t *testing.T) {
	f := newFixture(t, "console=ttyS0")
	url := "/artifacts/" + f.digest.String()
	etag := `"` + f.digest.String() + `"`
	size := len(f.initrd)
	cases := []struct {
		name, method string
		header       []string
		status       int
		body         []byte
		contentRange string
	}{
		{"the whole, across extents", "GET", nil, 200, f.initrd, ""},
		{"head gives the length and no body", "HEAD", nil, 200, nil, ""},
		{"a range that spans zeros, inline bytes and a blob", "GET", []string{"Range", "bytes=299990-300110"}, 206, f.initrd[299990:300111], fmt.Sprintf("bytes 299990-300110/%d", size)},
		{"an open range", "GET", []string{"Range", fmt.Sprintf("bytes=%d-", size-3)}, 206, f.initrd[size-3:], fmt.Sprintf("bytes %d-%d/%d", size-3, size-1, size)},
		{"the last bytes", "GET", []string{"Range", "bytes=-5"}, 206, f.initrd[size-5:], fmt.Sprintf("bytes %d-%d/%d", size-5, size-1, size)},
		{"a range that ends beyond the end", "GET", []string{"Range", "bytes=0-999999999"}, 206, f.initrd, fmt.Sprintf("bytes 0-%d/%d", size-1, size)},
		{"a range that begins beyond the end", "GET", []string{"Range", "bytes=999999999-"}, 416, []byte(fmt.Sprintf("the file has %d bytes only\n", size)), fmt.Sprintf("bytes */%d", size)},
		{"several ranges get the whole", "GET", []string{"Range", "bytes=0-1,5-6"}, 200, f.initrd, ""},
		{"a range that is none is ignored", "GET", []string{"Range", "bytes=9-1"}, 200, f.initrd, ""},
		{"known to the client", "GET", []string{"If-None-Match", `"x", ` + etag}, 304, nil, ""},
		{"if-range with another tag gets the whole", "GET", []string{"Range", "bytes=0-1", "If-Range", `"x"`}, 200, f.initrd, ""},
		{"if-range with this tag", "GET", []string{"Range", "bytes=0-1", "If-Range", etag}, 206, f.initrd[:2], fmt.Sprintf("bytes 0-1/%d", size)},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			resp, body := f.get(t, c.method, url, c.header...)
			if resp.StatusCode != c.status || !bytes.Equal(body, c.body) || resp.Header.Get("Content-Range") != c.contentRange {
				t.Errorf("got %d, %d bytes, range %q; want %d, %d bytes, range %q", resp.StatusCode, len(body), resp.Header.Get("Content-Range"), c.status, len(c.body), c.contentRange)
			}
			if c.method == "HEAD" && resp.ContentLength != int64(size) {
				t.Errorf("content length %d, want %d", resp.ContentLength, size)
			}
			if c.status < 400 && resp.Header.Get("ETag") != etag {
				t.Errorf("etag %q, want %q", resp.Header.Get("ETag"), etag)
			}
		})
	}
}

func TestPathsThatLeadNowhere(t *testing.T) {
	f := newFixture(t, "console=ttyS0")
	gone := cache.SumBytes([]byte("gone")).String()
	cases := []struct {
		path   string
		status int
		want   string
	}{
		{"/artifacts/" + gone, 404, gone + " is not in the cache; build it again\n"},
		{"/artifacts/sha256:abc", 400, ""},
		{"/artifacts/..%2f..%2fetc%2fpasswd", 400, ""},
		{"/builds/default/nope/amd64/hello-kernel", 404, "build nope is not in the cache; build it again\n"},
		{"/builds/default/hello/amd64/hello.tar", 404, "the build has no such file; it has amd64/hello-kernel, amd64/hello-initrd.img, amd64/hello-cmdline\n"},
		{"/builds/..%2f..%2fblobs/hello/amd64/hello-kernel", 404, ""},
		{"/boot/hello", 404, "a boot script is called BUILD.ipxe\n"},
		{"/boot/hello/arm64.ipxe", 404, "the build has no kernel and initrd for arm64; build it with --format kernel+initrd --arch arm64\n"},
		{"/nothing", 404, ""},
	}
	for _, c := range cases {
		resp, body := f.get(t, "GET", c.path)
		if resp.StatusCode != c.status || c.want != "" && string(body) != c.want {
			t.Errorf("%s: got %d %q, want %d %q", c.path, resp.StatusCode, body, c.status, c.want)
		}
	}
	if resp, _ := f.get(t, "POST", "/artifacts/"+f.digest.String()); resp.StatusCode != http.StatusMethodNotAllowed {
		t.Errorf("POST: got %d", resp.StatusCode)
	}
}

func TestAMissingBlobIsA404BeforeTheFirstByte(t *testing.T) {
	f := newFixture(t, "")
	err := f.store.List(context.Background(), cache.BlobPrefix, func(e cache.Entry) error { return f.store.Delete(context.Background(), e.Key) })
	if err != nil {
		t.Fatal(err)
	}
	resp, body := f.get(t, "GET", "/artifacts/"+f.digest.String())
	if resp.StatusCode != 404 || !strings.Contains(string(body), "build it again") {
		t.Errorf("got %d %q", resp.StatusCode, body)
	}
}

func TestBootScripts(t *testing.T) {
	f := newFixture(t, "console=ttyS0  root=x")
	_, choose := f.get(t, "GET", "/boot/hello.ipxe")
	want := "#!ipxe\niseq ${buildarch} arm64 && goto arm64 ||\nchain /boot/" + buildID + "/amd64.ipxe\n:arm64\nchain /boot/" + buildID + "/arm64.ipxe\n"
	if string(choose) != want {
		t.Errorf("got %q, want %q", choose, want)
	}
	_, boot := f.get(t, "GET", "/boot/"+buildID+"/amd64.ipxe")
	if !strings.HasPrefix(string(boot), "#!ipxe\necho Kiln: hello "+buildID+"\nkernel --name kernel /artifacts/sha256%3A") ||
		!strings.Contains(string(boot), " initrd=initrd.img console=ttyS0 root=x\ninitrd --name initrd.img /artifacts/sha256%3A"+f.digest.Hex()+"\nboot\n") {
		t.Errorf("got %q", boot)
	}
}

func TestCommandLinesThatAScriptCannotCarry(t *testing.T) {
	for _, cmdline := range []string{"a ${net0/ip} b", "a && shell", "a || b", "a \x1b[2J"} {
		f := newFixture(t, cmdline)
		if resp, body := f.get(t, "GET", "/boot/hello/amd64.ipxe"); resp.StatusCode != http.StatusUnprocessableEntity {
			t.Errorf("%q: got %d %s", cmdline, resp.StatusCode, body)
		}
	}
}

func TestIndexListsBuildsForPeopleAndMachines(t *testing.T) {
	f := newFixture(t, "")
	_, page := f.get(t, "GET", "/")
	if !strings.Contains(string(page), "hello-initrd.img") || !strings.Contains(string(page), buildID) {
		t.Errorf("the page lacks the build: %s", page)
	}
	resp, list := f.get(t, "GET", "/", "Accept", "application/json")
	if resp.Header.Get("Content-Type") != "application/json" || !strings.Contains(string(list), `"script":"/boot/`+buildID+`.ipxe"`) {
		t.Errorf("got %s %s", resp.Header.Get("Content-Type"), list)
	}
}
