package linuxkit

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
)

func merged() *kilnv1.ConfigBundle {
	return &kilnv1.ConfigBundle{Documents: []*kilnv1.Document{
		document("a.yml", "kernel: {image: k1, cmdline: one}\ninit: [a, \"localhost:5000/x:1\"]\nvolumes: [{name: v, image: img, format: oci}, {name: w}]\n"),
		document("b.yml", "kernel: {cmdline: two}\ninit: [a]\nservices: [{name: s, image: img}]\nonboot: [{name: o, image: i}]\n"),
	}}
}

func TestMergeIsLinuxKitsAndKeepsVolumes(t *testing.T) {
	m, err := Merge(merged())
	if err != nil {
		t.Fatal(err)
	}
	if m.Kernel.Image != "k1" || m.Kernel.Cmdline != "two" || len(m.Init) != 3 || len(m.Volumes) != 2 {
		t.Errorf("got kernel %q %q, %d init images, %d volumes; want k1 two, 3, 2", m.Kernel.Image, m.Kernel.Cmdline, len(m.Init), len(m.Volumes))
	}
	if diff := cmp.Diff(map[string]uint32{"o": 100, "s": 101}, IDs(m)); diff != "" {
		t.Errorf("ids: want (-), got (+):\n%s", diff)
	}
}

func TestReferencesAreExpandedAndThereOnce(t *testing.T) {
	m, err := Merge(merged())
	if err != nil {
		t.Fatal(err)
	}
	want := []Reference{
		{Name: "docker.io/library/k1", Section: "kernel"},
		{Name: "docker.io/library/a", Section: "init"},
		{Name: "localhost:5000/x:1", Section: "init"},
		{Name: "docker.io/library/img", AllPlatforms: true, Section: "volumes/v"},
		{Name: "docker.io/library/i", Section: "onboot/o"},
	}
	if diff := cmp.Diff(want, References(m)); diff != "" {
		t.Errorf("want (-), got (+):\n%s", diff)
	}
}

func TestLabelsOfImagesAreChecked(t *testing.T) {
	for _, c := range []struct{ name, label, want string }{
		{"a good label passes", `{"capabilities": ["all"], "readonly": true}`, ""},
		{"a label may not name the container", `{"name": "x"}`, `image img:1, label org.mobyproject.config:1: unknown key "name" in the document; LinuxKit has none like it: remove it`},
	} {
		t.Run(c.name, func(t *testing.T) {
			err := CheckLabel("img:1", c.label)
			if got := errorText(err); got != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
		})
	}
}

func errorText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}
