package httpboot

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/kiln-farm/kiln/cache/artifact"
	"github.com/kiln-farm/kiln/cache/record"
	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
)

func (f *fixture) record(t testing.TB, b *kilnv1.BuildRecord) {
	t.Helper()
	if err := record.PutBuild(t.Context(), f.store, b); err != nil {
		t.Fatal(err)
	}
}

func TestNamesFromTheWireStayNames(t *testing.T) {
	f := newFixture(t, "quiet")
	f.record(t, &kilnv1.BuildRecord{Spec: &kilnv1.BuildSpec{Id: "0", Team: "default", Name: "broken"}, State: kilnv1.BuildState_BUILD_STATE_FAILED})
	for _, c := range []struct {
		name, path string
		status     int
		says       string
	}{
		{"a build's file by the build's name", "/builds/default/hello/amd64/hello-cmdline", 200, "quiet"},
		{"a build's file by the build's id", "/builds/default/" + buildID + "/amd64/hello-cmdline", 200, "quiet"},
		{"a digest of another kind", "/artifacts/md5:d41d8cd98f00b204e9800998ecf8427e", 400, "it looks like sha256:"},
		{"a digest in capitals", "/artifacts/sha256:" + strings.Repeat("A", 64), 400, "it looks like sha256:"},
		{"a build that failed", "/boot/broken.ipxe", 404, "build broken is not in the cache"},
		{"a build of another team", "/boot/hello.ipxe?team=other", 404, "build hello is not in the cache"},
		{"a name too long for a file", "/boot/" + strings.Repeat("x", 5000) + ".ipxe", 404, "is not in the cache"},
		{"a team too long for a file", "/boot/hello.ipxe?team=" + strings.Repeat("%2f", 200), 404, "is not in the cache"},
		{"a team that climbs", "/builds/..%2f..%2fetc/hello/amd64/passwd", 404, "is not in the cache"},
		{"a build that climbs", "/builds/default/..%2f..%2f..%2fnames/amd64/x", 404, "is not in the cache"},
		{"a build with a zero byte", "/boot/hello%00.ipxe", 404, "is not in the cache"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if r, got := f.get(t, "GET", c.path); r.StatusCode != c.status || !strings.Contains(string(got), c.says) {
				t.Errorf("got %d %q, want %d and %q", r.StatusCode, got, c.status, c.says)
			}
		})
	}
}

func TestFailuresAreNotCached(t *testing.T) {
	f := newFixture(t, "quiet")
	for path, want := range map[string]string{
		"/artifacts/" + f.digest.String():              "public, max-age=31536000, immutable",
		"/artifacts/sha256:" + strings.Repeat("0", 64): "no-store",
		"/boot/hello.ipxe":                             "no-cache",
		"/builds/default/hello/amd64/hello-cmdline":    "no-cache",
	} {
		if r, _ := f.get(t, "GET", path); r.Header.Get("Cache-Control") != want {
			t.Errorf("%s: got Cache-Control %q, want %q", path, r.Header.Get("Cache-Control"), want)
		}
	}
}

func TestTheBuildOfANameIsTheLatestThatIsDone(t *testing.T) {
	f := newFixture(t, "old")
	content := []byte("new")
	digest := f.artifact(t, content, []artifact.Extent{{Inline: content, Length: 3}})
	next := &kilnv1.BuildRecord{Spec: &kilnv1.BuildSpec{Id: "02", Team: "default", Name: "hello"}, State: kilnv1.BuildState_BUILD_STATE_DONE,
		Outputs: []*kilnv1.BuildOutput{{Platform: "linux/amd64", File: "-cmdline", Digest: digest.String(), Size: 3}}}
	f.record(t, next)
	failed := proto.CloneOf(next)
	failed.Spec.Id, failed.State = "03", kilnv1.BuildState_BUILD_STATE_FAILED
	f.record(t, failed)
	if _, got := f.get(t, "GET", "/builds/default/hello/amd64/hello-cmdline"); string(got) != "new" {
		t.Errorf("got %q, want the file of the last build that is done", got)
	}
}

func TestEveryFileOfTheListIsThere(t *testing.T) {
	f := newFixture(t, "quiet")
	var builds []listedBuild
	_, list := f.get(t, "GET", "/", "Accept", "application/json")
	if err := json.Unmarshal(list, &builds); err != nil {
		t.Fatal(err)
	}
	if len(builds) != 1 || len(builds[0].Files) != 3 {
		t.Fatalf("got %+v, want one build of three files", builds)
	}
	for _, file := range builds[0].Files {
		if r, _ := f.get(t, "HEAD", file.URL); r.StatusCode != 200 || r.ContentLength != file.Size {
			t.Errorf("%s: got %d with %d bytes, want 200 with %d", file.URL, r.StatusCode, r.ContentLength, file.Size)
		}
	}
}

func TestNamesNeverBecomeScript(t *testing.T) {
	f := newFixture(t, "quiet")
	const evil = "x\nchain http://evil/ ${"
	f.record(t, &kilnv1.BuildRecord{Spec: &kilnv1.BuildSpec{Id: evil, Team: evil, Name: evil}, State: kilnv1.BuildState_BUILD_STATE_DONE,
		Outputs: []*kilnv1.BuildOutput{
			{Platform: "linux/amd64", File: "-kernel", Digest: f.digest.String()},
			{Platform: "linux/amd64", File: "-initrd.img", Digest: f.digest.String()},
		}})
	build, team := url.PathEscape(evil), "?team="+url.QueryEscape(evil)
	for _, path := range []string{"/boot/" + build + ".ipxe" + team, "/boot/" + build + "/amd64.ipxe" + team} {
		r, script := f.get(t, "GET", path)
		if r.StatusCode != 200 {
			t.Fatalf("%s: got %d %s", path, r.StatusCode, script)
		}
		for line := range strings.Lines(string(script)) {
			if strings.HasPrefix(line, "chain http") || strings.Contains(strings.ReplaceAll(line, "${buildarch}", ""), "${") {
				t.Errorf("%s: got the line %q", path, line)
			}
		}
	}
}

func FuzzPaths(f *testing.F) {
	for _, seed := range []string{"/", "/artifacts/sha256:0", "/builds/default/hello/amd64/hello-kernel", "/boot/hello.ipxe", "/boot/%2e%2e/amd64.ipxe", "//boot//hello.ipxe"} {
		f.Add(seed, "default", "bytes=0-1")
	}
	w := newFixture(f, "quiet")
	_, handler := serveCache(w.store, w.store)
	f.Fuzz(func(t *testing.T, path, team, spec string) {
		u := &url.URL{Path: path, RawQuery: url.Values{"team": {team}}.Encode()}
		r := (&http.Request{Method: http.MethodGet, URL: u, Header: http.Header{"Range": {spec}}, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1}).WithContext(t.Context())
		recorder := httptest.NewRecorder()
		handler.ServeHTTP(recorder, r)
		if answer, _ := io.ReadAll(recorder.Body); recorder.Code >= 500 {
			t.Errorf("%q of team %q: got %d %s", path, team, recorder.Code, answer)
		}
	})
}

// Firmware says amd64, whatever its processor: what was built for variants serves it, the plain build before them.
func TestABuildForVariantsServesTheirArchitecture(t *testing.T) {
	of := func(platforms ...string) *kilnv1.BuildRecord {
		b := &kilnv1.BuildRecord{Spec: &kilnv1.BuildSpec{Name: "x"}}
		for _, p := range platforms {
			b.Outputs = append(b.Outputs, &kilnv1.BuildOutput{Platform: p, File: "-kernel"})
		}
		return b
	}
	for _, c := range []struct {
		b          *kilnv1.BuildRecord
		arch, want string
	}{
		{of("linux/amd64/v3", "linux/amd64"), "amd64", "linux/amd64"},
		{of("linux/amd64/v3", "linux/amd64/v2", "linux/arm64"), "amd64", "linux/amd64/v2"},
		{of("linux/amd64/v2", "linux/amd64/v3"), "amd64_v3", "linux/amd64/v3"},
		{of("linux/arm64"), "amd64", ""},
		{of("linux/arm64/v9"), "arm", ""},
	} {
		if got := output(c.b, c.arch, "x-kernel").GetPlatform(); got != c.want {
			t.Errorf("%s of %v: got %q, want %q", c.arch, c.b.GetOutputs(), got, c.want)
		}
	}
}
