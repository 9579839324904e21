package plan

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/kiln-farm/kiln/cache"
	"github.com/kiln-farm/kiln/image/step"
	"github.com/kiln-farm/kiln/image/tree"
	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
)

// memory is a Store that keeps trees to look at.
type memory struct {
	blobs map[cache.Digest][]byte
	trees map[cache.Digest][]tree.Entry
}

func (m *memory) Load(_ context.Context, d cache.Digest) ([]byte, error) {
	b, ok := m.blobs[d]
	if !ok {
		return nil, &step.MissingBlob{Digest: d}
	}
	return b, nil
}

func (m *memory) Blob(_ context.Context, b []byte) (cache.Digest, error) {
	d := cache.SumBytes(b)
	m.blobs[d] = b
	return d, nil
}

func (m *memory) Tree(_ context.Context, entries []tree.Entry) (cache.Digest, error) {
	d := cache.SumBytes([]byte(fmt.Sprintf("%+v", entries)))
	m.trees[d] = entries
	return d, nil
}

const amd64, arm64 = "linux/amd64", "linux/arm64"

// lockOf knows images by name; those of one platform differ from those of another.
func lockOf(store *memory, config string, refs ...string) *kilnv1.Lock {
	d, _ := store.Blob(context.Background(), []byte(config))
	lock := &kilnv1.Lock{}
	for _, ref := range refs {
		for _, platform := range []string{amd64, arm64} {
			lock.Images = append(lock.Images, &kilnv1.ResolvedImage{
				Reference: ref, Platform: platform, Config: d.String(),
				Layers: []*kilnv1.Layer{{Digest: cache.SumBytes([]byte(ref + platform)).String(), Size: 1}},
				Sboms:  []*kilnv1.Layer{{Digest: cache.SumBytes([]byte("sbom" + ref + platform)).String(), Size: 2}},
			})
		}
	}
	return lock
}

func planOf(t *testing.T, yaml string, change func(*Input)) (*kilnv1.Graph, *memory, error) {
	t.Helper()
	store := &memory{blobs: map[cache.Digest][]byte{}, trees: map[cache.Digest][]tree.Entry{}}
	in := Input{
		Config:     &kilnv1.ConfigBundle{Documents: []*kilnv1.Document{{Name: "t.yml", Yaml: []byte(yaml)}}},
		Lock:       lockOf(store, `{"config": {"Cmd": ["/x"]}}`, "docker.io/library/a", "docker.io/library/k", "docker.io/library/b:0123456789abcdef0123"),
		Parameters: Parameters{Platforms: []string{amd64}, Formats: []string{"tar"}, Compress: "gzip", NoSBOM: true},
	}
	if change != nil {
		change(&in)
	}
	graph, err := Plan(context.Background(), in, store)
	return graph, store, err
}

func labels(g *kilnv1.Graph) []string {
	var out []string
	for _, n := range g.GetNodes() {
		out = append(out, n.GetKind()+": "+n.GetLabel())
	}
	return out
}

func TestGraphOfAKernelAndAService(t *testing.T) {
	g, _, err := planOf(t, "kernel: {image: k, cmdline: quiet}\ninit: [\"b:0123456789abcdef0123\"]\nservices: [{name: web, image: a}]\n", func(in *Input) {
		in.Platforms = []string{amd64, arm64}
		in.Formats = []string{"kernel+initrd"}
	})
	if err != nil {
		t.Fatal(err)
	}
	of := func(platform string) []string {
		return []string{
			"flatten: unpack k " + platform, "flatten: unpack b:0123456… " + platform, "flatten: unpack a " + platform,
			"kernel: kernel k (boot files) " + platform, "artifact: kernel " + platform,
			"overlap: root directory overlaps " + platform, "initrd-part: kernel k (initrd) " + platform,
			"initrd-part: init b:0123456… (initrd) " + platform, "initrd-part: services/web (initrd) " + platform,
		}
	}
	want := append(of(amd64), "initrd-part: services/web config (initrd)", "artifact: initrd.img linux/amd64", "artifact: cmdline")
	want = append(append(want, of(arm64)...), "artifact: initrd.img linux/arm64")
	if diff := cmp.Diff(want, labels(g)); diff != "" {
		t.Errorf("want (-), got (+):\n%s", diff)
	}
	var files []string
	for _, target := range g.GetTargets() {
		files = append(files, target.GetPlatform()+" "+target.GetFormat()+" "+target.GetFile())
	}
	wantFiles := []string{
		"linux/amd64 kernel+initrd -kernel", "linux/amd64 kernel+initrd -initrd.img", "linux/amd64 kernel+initrd -cmdline",
		"linux/arm64 kernel+initrd -kernel", "linux/arm64 kernel+initrd -initrd.img", "linux/arm64 kernel+initrd -cmdline",
	}
	if diff := cmp.Diff(wantFiles, files); diff != "" {
		t.Errorf("files: want (-), got (+):\n%s", diff)
	}
	for i, n := range g.GetNodes() {
		for _, in := range n.GetInputs() {
			if o := in.GetOutput(); o != nil && int(o.GetNode()) >= i {
				t.Errorf("%q needs a later node", n.GetLabel())
			}
		}
	}
}

func TestSourcesSayWhereLayersAre(t *testing.T) {
	g, _, err := planOf(t, "init: [a]\n", nil)
	if err != nil {
		t.Fatal(err)
	}
	got := g.GetNodes()[0].GetSources()
	if len(got) != 1 || got[0].GetReference() != "docker.io/library/a" || got[0].GetDigest() != g.GetNodes()[0].GetInputs()[0].GetDigest() {
		t.Errorf("got %v, want the one layer with its reference", got)
	}
}

func TestFilesHaveTheirParentsOnceWithModesThatLetIn(t *testing.T) {
	g, store, err := planOf(t, "files:\n"+
		"  - {path: /etc/deep/x, contents: hi, mode: \"0640\", uid: 3}\n"+
		"  - {path: etc/deep/y, contents: \"\"}\n"+
		"  - {path: srv, directory: true}\n"+
		"  - {path: none, source: none, optional: true}\n"+
		"  - {path: l, symlink: /etc}\n", nil)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, in := range g.GetNodes()[0].GetInputs() {
		d, _ := cache.ParseDigest(in.GetDigest())
		for _, e := range store.trees[d] {
			got = append(got, fmt.Sprintf("%c %s %o %d %s %s", e.Type, e.Name, e.Mode, e.UID, e.Body.Inline, e.PAX["LINUXKIT.location"]))
		}
	}
	want := []string{
		"5 etc 750 3  files[0]", "5 etc/deep 750 3  files[0]", "0 etc/deep/x 640 3 hi files[0]", "0 etc/deep/y 600 0  files[1]",
		"5 srv 700 0  files[2]", "2 l 600 0  files[4]",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("want (-), got (+):\n%s", diff)
	}
}

func TestLargeBodiesAreBlobs(t *testing.T) {
	long := strings.Repeat("x", maxInlineBody+1)
	g, store, err := planOf(t, "files: [{path: f, contents: "+long+"}]\n", nil)
	if err != nil {
		t.Fatal(err)
	}
	d, _ := cache.ParseDigest(g.GetNodes()[0].GetInputs()[0].GetDigest())
	e := store.trees[d][0]
	if e.Type != tar.TypeReg || e.Body.Inline != nil || string(store.blobs[e.Body.Blob]) != long {
		t.Errorf("the body is %v, want a blob", e.Body)
	}
}

func TestSBOMsComeInTheOrderOfTheFiles(t *testing.T) {
	g, _, err := planOf(t, "kernel: {image: k}\ninit: [a]\nservices: [{name: s, image: \"b:0123456789abcdef0123\"}, {name: t, image: \"b:0123456789abcdef0123\"}]\n",
		func(in *Input) { in.NoSBOM = false })
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(g.GetNodes(), func(n *kilnv1.Node) bool { return n.GetKind() == step.SBOM })
	if i < 0 {
		t.Fatal("there is no sbom step")
	}
	want := `{"prefixes":["","","containers/services/s/lower/"]}`
	if got := string(g.GetNodes()[i].GetParams()); got != want {
		t.Errorf("got %s, want %s: a shared root filesystem counts once", got, want)
	}
}

func TestBadInputIsTheUsersFailure(t *testing.T) {
	for _, c := range []struct {
		name   string
		yaml   string
		change func(*Input)
		want   string
	}{
		{"no platform", "init: [a]", func(in *Input) { in.Platforms = nil }, "no platform was asked for; name at least one, such as linux/amd64"},
		{"unknown compression", "init: [a]", func(in *Input) { in.Compress = "xz" }, `unknown compression "xz"; write gzip or zstd`},
		{"a format twice", "init: [a]", func(in *Input) { in.Formats = []string{"tar", "tar"} }, "format tar is asked for twice; name it once"},
		{"a bad document", "init: a", nil, `t.yml:1: init must be a list of strings, not the string "a"; write it as a list: ["a"]`},
		{"a source that was not sent", "files: [{path: f, source: s}]", nil, `file f: its source "s" was not sent with the configuration; submit the build again`},
		{"an image config that is gone", "services: [{name: s, image: a}]", func(in *Input) {
			store := &memory{blobs: map[cache.Digest][]byte{}}
			in.Lock = lockOf(store, `{"config": []}`, "docker.io/library/a")
		}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, _, err := planOf(t, c.yaml, c.change)
			if c.want == "" {
				if !errors.Is(err, cache.ErrNotFound) {
					t.Errorf("got %v, want a missing blob", err)
				}
				return
			}
			var failure *step.Failure
			if err == nil || err.Error() != c.want || !errors.As(err, &failure) {
				t.Errorf("got  %v (%T)\nwant %s", err, err, c.want)
			}
		})
	}
}

func TestParamsAreTheSameForTheSameWork(t *testing.T) {
	spec := &kilnv1.BuildSpec{Id: "1", Name: "n", Team: "t", Platforms: []string{amd64}, Formats: []string{"tar"}}
	other := &kilnv1.BuildSpec{Id: "2", Platforms: []string{amd64}, Formats: []string{"tar"}, Options: &kilnv1.BuildOptions{Compress: "gzip", Pull: true}}
	if a, b := string(Params(spec)), string(Params(other)); a != b {
		t.Errorf("got %s and %s, want the same: a build's name and pulling shape no bytes", a, b)
	}
	if a, b := string(ResolveParams(spec)), string(ResolveParams(other)); a == b {
		t.Errorf("two builds share the resolve step %s", a)
	}
}
