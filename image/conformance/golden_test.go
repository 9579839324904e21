package conformance

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kiln-farm/kiln/cache/artifact"
	"github.com/kiln-farm/kiln/image/linuxkit"
	"github.com/kiln-farm/kiln/image/plan"
	"github.com/kiln-farm/kiln/image/runners"
	"github.com/kiln-farm/kiln/image/steptest"
	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
	"google.golang.org/protobuf/proto"
)

// kiln plans and runs builds over a library.
type kiln struct {
	*library
	*steptest.Executor
}

func newKiln(t testing.TB, l *library) *kiln {
	all := runners.All()
	all["plan"] = plan.Runner{}
	return &kiln{l, &steptest.Executor{Blobs: l.dir, Runners: all, Log: func(line string) { t.Log(line) }}}
}

// build is a graph that has run.
type build struct {
	*kiln
	graph *kilnv1.Graph
	run   *steptest.Run
}

func (k *kiln) plan(t testing.TB, config *kilnv1.ConfigBundle, spec *kilnv1.BuildSpec) (*kilnv1.Graph, error) {
	t.Helper()
	put := func(m proto.Message) *kilnv1.Input_Digest {
		b, err := proto.Marshal(m)
		must(err)
		return &kilnv1.Input_Digest{Digest: k.put(strings.NewReader(string(b)))}
	}
	run, err := k.Run(context.Background(), &kilnv1.Graph{Nodes: []*kilnv1.Node{{
		Kind: "plan", Version: 1, Label: "plan", Params: plan.Params(spec),
		Inputs: []*kilnv1.Input{{Name: "config", From: put(config)}, {Name: "lock", From: put(k.lock)}},
	}}})
	if err != nil {
		return nil, err
	}
	f, err := k.dir.Open(context.Background(), run.Outputs[0]["graph"])
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b := make([]byte, f.Size)
	if _, err := f.ReadAt(b, 0); err != nil {
		return nil, err
	}
	graph := &kilnv1.Graph{}
	return graph, proto.Unmarshal(b, graph)
}

// load reads a case as the command line does, from its directory.
func (k *kiln) load(t testing.TB, home string, args ...string) *kilnv1.ConfigBundle {
	t.Helper()
	config, err := linuxkit.Load(context.Background(), args, linuxkit.Options{})
	if err == nil {
		err = config.Gather(context.Background(), linuxkit.SourceOptions{Blobs: k.dir, Home: home})
	}
	if err != nil {
		t.Fatal(err)
	}
	return config.Bundle
}

// inline is a configuration of one document.
func inline(yaml string) *kilnv1.ConfigBundle {
	return &kilnv1.ConfigBundle{Documents: []*kilnv1.Document{{Name: "test.yml", Yaml: []byte(yaml)}}}
}

func (k *kiln) build(t testing.TB, config *kilnv1.ConfigBundle, spec *kilnv1.BuildSpec) *build {
	t.Helper()
	graph, err := k.plan(t, config, spec)
	if err != nil {
		t.Fatal(err)
	}
	run, err := k.Run(context.Background(), graph)
	if err != nil {
		t.Fatal(err)
	}
	return &build{k, graph, run}
}

func noSBOM(formats []string, platforms ...string) *kilnv1.BuildSpec {
	return &kilnv1.BuildSpec{Platforms: platforms, Formats: formats, Options: &kilnv1.BuildOptions{NoSbom: true}}
}

// open reads the file with that suffix for a platform.
func (b *build) open(t testing.TB, platform, file string) *artifact.Reader {
	t.Helper()
	for _, target := range b.graph.GetTargets() {
		if target.GetPlatform() != platform || target.GetFile() != file {
			continue
		}
		a, err := b.Artifact(context.Background(), b.run, target)
		if err != nil {
			t.Fatal(err)
		}
		r, err := artifact.Open(context.Background(), b.dir, a)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { r.Close() })
		return r
	}
	t.Fatalf("the build has no file %s for %s", file, platform)
	return nil
}

func (b *build) sum(t testing.TB, platform, file string) string {
	t.Helper()
	h := sha256.New()
	if _, err := b.open(t, platform, file).WriteTo(h); err != nil {
		t.Fatal(err)
	}
	return hex.EncodeToString(h.Sum(nil))
}

// golden reads lines of "<sha256> <architecture> <case>" into case, architecture, hash.
func golden(t testing.TB, file string) map[string]map[string]string {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	want := map[string]map[string]string{}
	for lines := bufio.NewScanner(f); lines.Scan(); {
		fields := strings.Fields(lines.Text())
		if want[fields[2]] == nil {
			want[fields[2]] = map[string]string{}
		}
		want[fields[2]]["linux/"+fields[1]] = fields[0]
	}
	return want
}

func TestTarsAreLinuxKitsByteForByte(t *testing.T) {
	compareAll(t, newKiln(t, lab()), t.TempDir(), golden(t, "testdata/golden.txt"), func(name string) string {
		return filepath.Join("testdata/cases", filepath.Base(name))
	})
}

func TestTheWholeKit(t *testing.T) {
	kit := os.Getenv(kitVariable)
	if kit == "" {
		t.Skip("set " + kitVariable + " to the directory of the conformance kit")
	}
	k := newKiln(t, newLibrary(t.TempDir(), append(labFixtures(), kitFixtures(filepath.Join(kit, "registry/refs.json"))...)))
	compareAll(t, k, filepath.Join(kit, "home"), golden(t, filepath.Join(kit, "golden.txt")), func(name string) string {
		return filepath.Join(kit, "cases", name)
	})
}

func compareAll(t *testing.T, k *kiln, home string, want map[string]map[string]string, file func(name string) string) {
	start, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for name, hashes := range want {
		t.Run(short(name), func(t *testing.T) {
			path := file(name)
			if !filepath.IsAbs(path) {
				path = filepath.Join(start, path)
			}
			t.Chdir(filepath.Dir(path))
			config := k.load(t, home, filepath.Base(path))
			var asked []string
			for _, p := range platforms {
				if hashes[p] != "" {
					asked = append(asked, p)
				}
			}
			b := k.build(t, config, noSBOM([]string{"tar"}, asked...))
			for _, p := range asked {
				if got := b.sum(t, p, ".tar"); got != hashes[p] {
					t.Errorf("%s: got %s, want %s", p, got, hashes[p])
				}
			}
		})
	}
}
