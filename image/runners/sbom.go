package runners

import (
	"archive/tar"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"path"

	"github.com/kiln-farm/kiln/cache"
	"github.com/kiln-farm/kiln/image/part"
	"github.com/kiln-farm/kiln/image/step"
	"github.com/kiln-farm/kiln/image/tree"
)

// maxSBOM bounds one SPDX document: an image with every package of a distribution stays below.
const maxSBOM = 32 << 20

// spdx is the part of an SPDX 2.3 document that is merged; what is in the lists is passed on as it is.
type spdx struct {
	SPDXVersion       string            `json:"spdxVersion"`
	DataLicense       string            `json:"dataLicense"`
	SPDXID            string            `json:"SPDXID"`
	Name              string            `json:"name"`
	DocumentNamespace string            `json:"documentNamespace"`
	ExternalRefs      []json.RawMessage `json:"externalDocumentRefs,omitempty"`
	CreationInfo      spdxCreation      `json:"creationInfo"`
	Packages          []map[string]any  `json:"packages,omitempty"`
	Files             []map[string]any  `json:"files,omitempty"`
	Licenses          []json.RawMessage `json:"hasExtractedLicensingInfos,omitempty"`
	Relationships     []json.RawMessage `json:"relationships,omitempty"`
	Annotations       []json.RawMessage `json:"annotations,omitempty"`
}

type spdxCreation struct {
	LicenseListVersion string   `json:"licenseListVersion"`
	Creators           []string `json:"creators"`
	Created            string   `json:"created"`
}

// sbom merges the images' SPDX documents as LinuxKit does, but for what LinuxKit makes up: the namespace comes from the
// contents and the time is that of all made-up entries, so that the same images give the same document.
func sbom(ctx context.Context, req *step.Request) (*step.Response, error) {
	var params step.SBOMParams
	if err := decode(req, &params); err != nil {
		return nil, err
	}
	doc := spdx{
		SPDXVersion: "SPDX-2.3", DataLicense: "CC0-1.0", SPDXID: "SPDXRef-DOCUMENT", Name: "sbom",
		CreationInfo: spdxCreation{LicenseListVersion: "3.20", Creators: []string{"Organization: Kiln", "Tool: kiln"},
			Created: part.DefaultTime.Format("2006-01-02T15:04:05Z")},
	}
	for i, d := range numbered(req, "sbom") {
		raw, err := get(ctx, req.Blobs, d, maxSBOM)
		if err != nil {
			return nil, err
		}
		one, err := spdxDocument(raw)
		if err != nil {
			return nil, step.Failf("the SBOM %s of an image is no SPDX document: %w; build with --no-sbom, or publish the image again", d, err)
		}
		prefix := ""
		if i < len(params.Prefixes) {
			prefix = params.Prefixes[i]
		}
		for _, f := range one.Files {
			rename(f, "fileName", prefix)
		}
		for _, p := range one.Packages {
			rename(p, "packageFileName", prefix)
		}
		doc.Packages, doc.Files = append(doc.Packages, one.Packages...), append(doc.Files, one.Files...)
		doc.Licenses, doc.Relationships = append(doc.Licenses, one.Licenses...), append(doc.Relationships, one.Relationships...)
		doc.Annotations, doc.ExternalRefs = append(doc.Annotations, one.Annotations...), append(doc.ExternalRefs, one.ExternalRefs...)
	}
	contents, err := json.Marshal(doc)
	if err != nil {
		return nil, err
	}
	id := sha256.Sum256(contents)
	doc.DocumentNamespace = "https://github.com/kiln-farm/kiln/sbom-" + hex.EncodeToString(id[:16])
	if contents, err = json.Marshal(doc); err != nil {
		return nil, err
	}
	return sbomTree(ctx, req, contents)
}

// spdxDocument reads a document that may be wrapped in an in-toto statement, as attestations are.
func spdxDocument(raw []byte) (*spdx, error) {
	var statement struct {
		Predicate json.RawMessage `json:"predicate"`
	}
	if err := json.Unmarshal(raw, &statement); err != nil {
		return nil, err
	}
	if statement.Predicate != nil {
		raw = statement.Predicate
	}
	var doc spdx
	return &doc, json.Unmarshal(raw, &doc)
}

func rename(item map[string]any, field, prefix string) {
	if name, ok := item[field].(string); ok {
		item[field] = path.Join(prefix, name)
	}
}

func sbomTree(ctx context.Context, req *step.Request, contents []byte) (*step.Response, error) {
	body, err := put(ctx, req.Blobs, "", contents)
	if err != nil {
		return nil, err
	}
	index, err := req.Blobs.Create(ctx)
	if err != nil {
		return nil, err
	}
	defer index.Abort()
	w := tree.NewWriter(index)
	e := &tree.Entry{Name: "sbom.spdx.json", Type: tar.TypeReg, Mode: 0o644, ModTime: part.DefaultTime,
		Body: tree.Body{Blob: body.Digest, Size: body.Size}}
	if err := w.Append(e); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	d, size, err := index.Commit()
	return &step.Response{Outputs: []step.Output{{Name: "tree", Digest: d, Size: size}}, References: []cache.Digest{body.Digest}}, err
}
