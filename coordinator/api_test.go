package coordinator

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"connectrpc.com/connect"
	"github.com/google/go-cmp/cmp"
	"github.com/kiln-farm/kiln/cache"
	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
)

func TestSubmitRefusesWhatIsNoBuild(t *testing.T) {
	f := newFarm(t, "")
	absent := cache.SumBytes([]byte("absent")).String()
	for _, c := range []struct {
		name   string
		change func(*kilnv1.BuildSpec)
		code   connect.Code
		want   string
	}{
		{"an id that is no UUID", func(s *kilnv1.BuildSpec) { s.Id = "../x" }, connect.CodeInvalidArgument, `the build's id "../x" is not a UUID in its usual form`},
		{"no platform", func(s *kilnv1.BuildSpec) { s.Platforms = nil }, connect.CodeInvalidArgument, "the build names no platform"},
		{"a format twice", func(s *kilnv1.BuildSpec) { s.Formats = []string{"tar", "tar"} }, connect.CodeInvalidArgument, `"tar" is given twice or empty`},
		{"a name too long", func(s *kilnv1.BuildSpec) { s.Name = strings.Repeat("x", 300) }, connect.CodeInvalidArgument, "is longer than 256 bytes"},
		{"a configuration that is no digest", func(s *kilnv1.BuildSpec) { s.Config = "x" }, connect.CodeInvalidArgument, "the build's configuration"},
		{"a configuration that was not uploaded", func(s *kilnv1.BuildSpec) { s.Config = absent }, connect.CodeFailedPrecondition, absent},
		{"a lock that was not uploaded", func(s *kilnv1.BuildSpec) { s.Lock = absent }, connect.CodeFailedPrecondition, absent},
	} {
		t.Run(c.name, func(t *testing.T) {
			spec := f.spec()
			c.change(spec)
			_, err := f.client.Submit(f.ctx(), connect.NewRequest(&kilnv1.SubmitRequest{Spec: spec}))
			if connect.CodeOf(err) != c.code || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %v: …%s…", err, c.code, c.want)
			}
		})
	}
}

func TestSubmittingTwiceIsOneBuild(t *testing.T) {
	f := newFarm(t, "")
	b := f.builder("b", chain(2, ""), nil)
	spec := f.spec()
	f.submit(spec)
	f.submit(spec)
	f.watch(spec.Id, 0)
	f.submit(spec)
	if n := b.ran("resolve images"); n != 1 {
		t.Errorf("resolved %d times", n)
	}
	list, err := f.client.ListBuilds(f.ctx(), connect.NewRequest(&kilnv1.ListBuildsRequest{Team: "team", Name: "name"}))
	if err != nil {
		t.Fatal(err)
	}
	if n := len(list.Msg.Builds); n != 1 {
		t.Errorf("%d builds are listed", n)
	}
}

func TestWhatIsNotThereIsNotFound(t *testing.T) {
	f := newFarm(t, "")
	_, get := f.client.GetBuild(f.ctx(), connect.NewRequest(&kilnv1.GetBuildRequest{Team: "team", Id: "x"}))
	_, cancel := f.client.Cancel(f.ctx(), connect.NewRequest(&kilnv1.CancelRequest{Id: "x"}))
	for name, err := range map[string]error{"GetBuild": get, "Cancel": cancel} {
		if connect.CodeOf(err) != connect.CodeNotFound {
			t.Errorf("%s: %v", name, err)
		}
	}
	missing, err := f.client.MissingBlobs(f.ctx(), connect.NewRequest(&kilnv1.MissingBlobsRequest{Digests: []string{f.config, cache.SumBytes([]byte("x")).String()}}))
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{cache.SumBytes([]byte("x")).String()}; !cmp.Equal(missing.Msg.Digests, want) {
		t.Errorf("missing %v", missing.Msg.Digests)
	}
}

// A record that is none is as if it were not there, for whoever asks for it and for whoever lists it among others.
func TestADamagedRecordOfABuildIsNotThere(t *testing.T) {
	f := newFarm(t, "")
	f.builder("b", chain(2, ""), nil)
	id := f.submit(f.spec())
	f.watch(id, 0)
	if err := f.dir.Put(f.ctx(), cache.BuildKey("team", "damaged"), strings.NewReader("\xff\xff"), 2, cache.Replace); err != nil {
		t.Fatal(err)
	}
	list, err := f.client.ListBuilds(f.ctx(), connect.NewRequest(&kilnv1.ListBuildsRequest{Team: "team"}))
	if err != nil || len(list.Msg.Builds) != 1 || list.Msg.Builds[0].GetSpec().GetId() != id {
		t.Errorf("listed %v, %v", list, err)
	}
	if _, err := f.client.GetBuild(f.ctx(), connect.NewRequest(&kilnv1.GetBuildRequest{Team: "team", Id: "damaged"})); connect.CodeOf(err) != connect.CodeNotFound {
		t.Errorf("asked for it: %v", err)
	}
}

func TestAnEndedBuildCanBeWatchedAfterARestart(t *testing.T) {
	f := newFarm(t, "")
	f.builder("b", chain(3, ""), nil)
	id := f.submit(f.spec())
	f.watch(id, 0)
	f.close()
	f.start()
	s := f.watch(id, 0)
	wantState(t, s, kilnv1.BuildState_BUILD_STATE_DONE)
	if len(s.nodes) != 3 || len(s.last.Outputs) != 1 {
		t.Errorf("%d nodes, outputs %v", len(s.nodes), s.last.Outputs)
	}
}

func TestBlobsOverHTTP(t *testing.T) {
	f := newFarm(t, "")
	web := httptest.NewServer(f.coord.Handler())
	defer web.Close()
	body := []byte("0123456789")
	path := "/v1/blobs/" + cache.SumBytes(body).String()
	other := "/v1/blobs/" + cache.SumBytes([]byte("other")).String()
	for _, c := range []struct {
		name, method, path, ranges string
		body                       []byte
		status                     int
		want                       string
	}{
		{"nothing is there at first", "GET", path, "", nil, 404, ""},
		{"what is put", "PUT", path, "", body, 201, ""},
		{"putting it again changes nothing", "PUT", path, "", body, 201, ""},
		{"comes back", "GET", path, "", nil, 200, "0123456789"},
		{"in part", "GET", path, "bytes=2-4", nil, 206, "234"},
		{"without its body", "HEAD", path, "", nil, 200, ""},
		{"other bytes than the digest says are refused", "PUT", other, "", body, 422, ""},
		{"and not kept", "GET", other, "", nil, 404, ""},
		{"a digest that is none", "GET", "/v1/blobs/sha256:zz", "", nil, 400, ""},
		{"another method", "DELETE", path, "", nil, 405, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			req, err := http.NewRequestWithContext(context.Background(), c.method, web.URL+c.path, bytes.NewReader(c.body))
			if err != nil {
				t.Fatal(err)
			}
			if c.ranges != "" {
				req.Header.Set("Range", c.ranges)
			}
			resp, err := http.DefaultClient.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			got, err := io.ReadAll(resp.Body)
			if err != nil {
				t.Fatal(err)
			}
			if resp.StatusCode != c.status || c.want != "" && string(got) != c.want {
				t.Errorf("got %d %q, want %d %q", resp.StatusCode, got, c.status, c.want)
			}
		})
	}
}
