package runners

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kiln-farm/kiln/cache"
	"github.com/kiln-farm/kiln/image/part"
	"github.com/kiln-farm/kiln/image/step"
)

func TestTarEndsWithTwoBlocksOfZeros(t *testing.T) {
	f := newFarm(t)
	got := f.tar([]step.Root{{Rule: step.RulePlain}}, []cache.Digest{f.tree(file("a", "b"))})
	var want bytes.Buffer
	w := tar.NewWriter(&want)
	w.WriteHeader(&tar.Header{Name: "a", Typeflag: tar.TypeReg, Mode: 0o644, Size: 1, ModTime: epoch, Format: tar.FormatPAX,
		PAXRecords: map[string]string{"LINUXKIT.source": "s", "LINUXKIT.location": "l"}})
	w.Write([]byte("b"))
	w.Close()
	same(t, got, want.Bytes())
}

func TestEntriesWithoutASourceHaveNoRecords(t *testing.T) {
	f := newFarm(t)
	got := f.segment(step.SegmentParams{Root: step.Root{Rule: step.RulePlain}}, one(f.tree(file("Dockerfile", "FROM scratch\n"))))
	if len(got) != 1024 || got[156] != tar.TypeReg {
		t.Errorf("%d bytes of type %q, want a header and a body alone", len(got), got[156])
	}
}

func TestTextArtifact(t *testing.T) {
	f := newFarm(t)
	for _, text := range []string{"console=ttyS0", ""} {
		if got := string(f.bytes(f.run(step.Artifact, step.ArtifactParams{Format: "text", Text: text}))); got != text {
			t.Errorf("got %q, want %q", got, text)
		}
	}
}

func TestTarKernelInitrd(t *testing.T) {
	f := newFarm(t)
	text := func(s string) cache.Digest { return f.run(step.Artifact, step.ArtifactParams{Format: "text", Text: s}) }
	for _, c := range []struct {
		name, cmdline string
		inputs        map[string]string
		want          []string
	}{
		{"all", "quiet", map[string]string{"kernel": "K", "initrd": "I", "microcode": "U"}, []string{"kernel=K", "initrd.img=I", "cmdline=quiet", "ucode.cpio=U"}},
		{"no kernel, no command line, empty microcode", "", map[string]string{"initrd": "I", "microcode": ""}, []string{"initrd.img=I"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			var in []step.Input
			for name, body := range c.inputs {
				in = append(in, step.Input{Name: name, Digest: text(body)})
			}
			b := f.bytes(f.run(step.Artifact, step.ArtifactParams{Format: "tar-kernel-initrd", Text: c.cmdline}, in...))
			var got []string
			for r := tar.NewReader(bytes.NewReader(b)); ; {
				h, err := r.Next()
				if err == io.EOF {
					break
				}
				if err != nil {
					t.Fatal(err)
				}
				body, _ := io.ReadAll(r)
				got = append(got, h.Name+"="+string(body))
				if h.Mode != 0o644 || !h.ModTime.Equal(part.DefaultTime) {
					t.Errorf("%s has mode %o, time %s", h.Name, h.Mode, h.ModTime)
				}
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("members differ (-want +got):\n%s", diff)
			}
			if len(b)%512 != 0 {
				t.Errorf("%d bytes are no blocks", len(b))
			}
		})
	}
}

func TestReferencesAreAllThatAReaderNeeds(t *testing.T) {
	f := newFarm(t)
	large := strings.Repeat("large body ", 20000)
	flat, err := f.try(step.Flatten, step.FlattenParams{}, inputs("layer", f.put(layer(t, file("a", large))))...)
	if err != nil {
		t.Fatal(err)
	}
	segment, err := f.try(step.Segment, step.SegmentParams{Root: image, Source: "s"}, one(flat.Outputs[0].Digest))
	if err != nil {
		t.Fatal(err)
	}
	whole, err := f.try(step.Artifact, step.ArtifactParams{Format: "tar"}, inputs("segment", segment.Outputs[0].Digest)...)
	if err != nil {
		t.Fatal(err)
	}
	if len(flat.References) != 1 || len(segment.References) != 2 || !cmp.Equal(segment.References, whole.References, cmp.Comparer(func(a, b cache.Digest) bool { return a == b })) {
		t.Errorf("references: flatten %v, segment %v, artifact %v", flat.References, segment.References, whole.References)
	}
	body := flat.References[0]
	if err := f.blobs.Delete(t.Context(), cache.BlobKey(body)); err != nil {
		t.Fatal(err)
	}
	_, err = f.try(step.Artifact, step.ArtifactParams{Format: "tar"}, inputs("segment", segment.Outputs[0].Digest)...)
	var missing *step.MissingBlob
	if !errors.As(err, &missing) || missing.Digest != body {
		t.Errorf("error %v, want missing blob %s", err, body)
	}
}

func (f *farm) sbom(prefixes []string, documents ...string) (map[string]any, []byte, error) {
	f.t.Helper()
	var digests []cache.Digest
	for _, d := range documents {
		digests = append(digests, f.put([]byte(d)))
	}
	out, err := f.try(step.SBOM, step.SBOMParams{Prefixes: prefixes}, inputs("sbom", digests...)...)
	if err != nil {
		return nil, nil, err
	}
	b := f.get(out.References[0])
	var doc map[string]any
	if err := json.Unmarshal(b, &doc); err != nil {
		f.t.Fatalf("%v: %s", err, b)
	}
	return doc, b, nil
}

func TestSBOMMerge(t *testing.T) {
	f := newFarm(t)
	a := `{"spdxVersion":"SPDX-2.3","documentDescribes":["x"],"packages":[{"SPDXID":"P1","name":"a"},{"SPDXID":"P2","packageFileName":"usr/p"}],"files":[{"fileName":"./bin/a","comment":"<&>"}]}`
	b := `{"_type":"https://in-toto.io/Statement/v0.1","subject":[{"name":"b"}],"predicate":{"files":[{"fileName":"/bin/b"}],"relationships":[{"spdxElementId":"X"}],"packages":null}}`
	doc, raw, err := f.sbom([]string{"containers/services/a/lower/", ""}, a, b)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]any{
		"packages": []any{
			map[string]any{"SPDXID": "P1", "name": "a", "packageFileName": "containers/services/a/lower"},
			map[string]any{"SPDXID": "P2", "packageFileName": "containers/services/a/lower/usr/p"}},
		"files":         []any{map[string]any{"fileName": "containers/services/a/lower/bin/a", "comment": "<&>"}, map[string]any{"fileName": "/bin/b"}},
		"relationships": []any{map[string]any{"spdxElementId": "X"}},
		"spdxVersion":   "SPDX-2.3", "dataLicense": "CC0-1.0", "SPDXID": "SPDXRef-DOCUMENT", "name": "sbom",
		"creationInfo":      map[string]any{"licenseListVersion": "3.20", "creators": []any{"Organization: Kiln", "Tool: kiln"}, "created": "2017-04-18T16:30:00Z"},
		"documentNamespace": doc["documentNamespace"],
	}
	if diff := cmp.Diff(want, doc); diff != "" {
		t.Errorf("document differs (-want +got):\n%s", diff)
	}
	if _, again, _ := newFarm(t).sbom([]string{"containers/services/a/lower/", ""}, a, b); !bytes.Equal(raw, again) {
		t.Error("the same inputs gave another document")
	}
	if other, _, _ := f.sbom([]string{"containers/services/a/lower/"}, a); other["documentNamespace"] == doc["documentNamespace"] {
		t.Error("other inputs gave the same namespace")
	}
}

func TestSBOMWithoutInputsIsASkeleton(t *testing.T) {
	doc, _, err := newFarm(t).sbom(nil)
	if err != nil || len(doc) != 6 {
		t.Errorf("document %v, error %v", doc, err)
	}
}

func TestSBOMFaultsAreSentences(t *testing.T) {
	for _, c := range []struct{ name, document, want string }{
		{"no JSON", `spdx`, "is no SPDX document: invalid character 's' looking for beginning of value; build with --no-sbom, or publish the image again"},
		{"a list", `[]`, "is no SPDX document: it is not an object; build with --no-sbom, or publish the image again"},
		{"cut off", `{"files":[{"fileName":"a"`, "is no SPDX document: unexpected EOF; build with --no-sbom, or publish the image again"},
		{"a file that is no object", `{"files":[1]}`, "an item of an SBOM is not an object; build with --no-sbom, or publish the image again"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, _, err := newFarm(t).sbom([]string{"p"}, c.document)
			var failure *step.Failure
			if !errors.As(err, &failure) || !strings.HasSuffix(err.Error(), c.want) {
				t.Errorf("error %v\nwant  %s", err, c.want)
			}
		})
	}
}
