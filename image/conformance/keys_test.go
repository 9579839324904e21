package conformance

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"github.com/kiln-farm/kiln/cache"
	"github.com/kiln-farm/kiln/image/plan"
	"github.com/kiln-farm/kiln/image/step"
	"google.golang.org/protobuf/proto"
)

// keys are the keys of a build's steps of one kind, by label.
func (b *build) keys(kind string) map[string]cache.Digest {
	keys := map[string]cache.Digest{}
	for i, node := range b.graph.GetNodes() {
		if node.GetKind() == kind {
			keys[node.GetLabel()] = b.run.Keys[i]
		}
	}
	return keys
}

const oneService = `
kernel: {image: "lab/kernel:6.12", cmdline: quiet}
init: ["lab/init:1"]
services:
  - {name: web, image: "lab/svc:1"}
`

func TestWhatAnEditLeavesAlone(t *testing.T) {
	k := newKiln(t, lab())
	spec := noSBOM([]string{"kernel+initrd"}, "linux/amd64", "linux/arm64")
	before := k.build(t, inline(oneService), spec)
	for _, c := range []struct {
		name, yaml string
		changed    []string // starts of the labels of initrd parts that are new
	}{
		{"a service in front leaves every other part of the initrd", strings.Replace(oneService, "  - {name: web", "  - {name: first, image: \"lab/svc-rw:1\"}\n  - {name: web", 1),
			[]string{"services/first (initrd)", "services/first config (initrd)"}},
		{"an onboot container leaves the services' parts", oneService + "onboot: [{name: up, image: \"lab/svc-rw:1\"}]\n",
			[]string{"onboot/up (initrd)", "onboot/up config (initrd)"}},
		{"another command is another configuration and not another root filesystem", strings.Replace(oneService, "svc:1\"}", "svc:1\", command: [/x]}", 1),
			[]string{"services/web config (initrd)"}},
		{"another kernel command line leaves the initrd", strings.Replace(oneService, "quiet", "debug", 1), nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			after := k.build(t, inline(c.yaml), spec)
			old, changed := before.keys(step.InitrdPart), map[string]bool{}
			for label, key := range after.keys(step.InitrdPart) {
				if old[label] != key {
					changed[strings.TrimSuffix(strings.TrimSuffix(label, " linux/amd64"), " linux/arm64")] = true
				}
			}
			var got []string
			for label := range changed {
				got = append(got, label)
			}
			slices.Sort(got)
			slices.Sort(c.changed)
			if !slices.Equal(got, c.changed) {
				t.Errorf("new parts are %q, want %q", got, c.changed)
			}
		})
	}
}

func TestPlatformsShareWhatDoesNotDependOnThem(t *testing.T) {
	k := newKiln(t, lab())
	b := k.build(t, inline(oneService), noSBOM([]string{"kernel+initrd"}, "linux/amd64", "linux/arm64"))
	parts := b.keys(step.InitrdPart)
	for label, want := range map[string]bool{
		"services/web config (initrd)":    true,
		"services/web (initrd)":           false, // the images differ
		"init lab/init:1 (initrd)":        false,
		"kernel lab/kernel:6.12 (initrd)": false,
	} {
		if _, shared := parts[label]; shared != want {
			t.Errorf("%q is one step for both platforms: %v, want %v; steps are %v", label, shared, want, parts)
		}
	}
	seen := map[cache.Digest]bool{}
	for i, key := range b.run.Keys {
		if seen[key] {
			t.Errorf("the step %q is in the graph twice", b.graph.GetNodes()[i].GetLabel())
		}
		seen[key] = true
	}
}

func TestOnlyWhatAFormatNeedsIsPlanned(t *testing.T) {
	k := newKiln(t, lab())
	for format, unwanted := range map[string][]string{
		"tar":               {step.InitrdPart, step.Overlap, step.Kernel, step.SBOM},
		"docker":            {step.InitrdPart, step.Overlap, step.Kernel, step.SBOM},
		"kernel+initrd":     {step.Segment, step.SBOM},
		"tar-kernel-initrd": {step.Segment, step.SBOM},
	} {
		graph, err := k.plan(t, inline(oneService), noSBOM([]string{format}, "linux/amd64"))
		if err != nil {
			t.Fatal(err)
		}
		for _, node := range graph.GetNodes() {
			if slices.Contains(unwanted, node.GetKind()) {
				t.Errorf("format %s has the step %q of kind %s, which it does not need", format, node.GetLabel(), node.GetKind())
			}
		}
	}
}

func TestPlanningTwiceGivesTheSameGraph(t *testing.T) {
	spec := noSBOM([]string{"tar", "kernel+initrd"}, "linux/amd64", "linux/arm64")
	var graphs [2][]byte
	for i := range graphs {
		graph, err := newKiln(t, lab()).plan(t, inline(oneService), spec)
		if err != nil {
			t.Fatal(err)
		}
		graphs[i], err = proto.MarshalOptions{Deterministic: true}.Marshal(graph)
		must(err)
	}
	if !bytes.Equal(graphs[0], graphs[1]) {
		t.Error("two plans of one configuration differ")
	}
}

func TestPlansThatCannotBe(t *testing.T) {
	k := newKiln(t, lab())
	for _, c := range []struct{ name, yaml, platform, format, want string }{
		{"an image that is not for the platform", "init: [\"lab/single:1\"]", "linux/arm64", "tar",
			"image docker.io/lab/single:1 has no linux/arm64; it has linux/amd64"},
		{"an image that is not in the lock", "init: [\"lab/nobody:1\"]", "linux/amd64", "tar",
			"image docker.io/lab/nobody:1 is not in the lock; make the lock again with \"kiln lock\""},
		{"a layout of a single manifest", "volumes: [{name: v, image: \"lab/single:1\", format: oci}]", "linux/amd64", "tar",
			"volumes/v: image docker.io/lab/single:1 is a single manifest, and an OCI layout needs an index; publish it for several platforms, or use format filesystem"},
		{"a format that Kiln does not have", "init: [\"lab/init:1\"]", "linux/amd64", "floppy",
			"unknown format \"floppy\"; Kiln makes " + strings.Join(plan.Formats(), ", ")},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := k.plan(t, inline(c.yaml), noSBOM([]string{c.format}, c.platform))
			if err == nil || err.Error() != "step \"plan\": "+c.want {
				t.Errorf("got  %v\nwant step \"plan\": %s", err, c.want)
			}
		})
	}
}
