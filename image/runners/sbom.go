package runners

import (
	"archive/tar"
	"bufio"
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"path"

	"github.com/kiln-farm/kiln/cache"
	"github.com/kiln-farm/kiln/image/part"
	"github.com/kiln-farm/kiln/image/step"
	"github.com/kiln-farm/kiln/image/stepio"
	"github.com/kiln-farm/kiln/image/tree"
)

// maxSBOM bounds one SPDX document: one with every file of a distribution stays below.
const maxSBOM = 128 << 20

const sbomName = "sbom.spdx.json"

// spdxHead is a merged document but for its lists (SPDX 2.3, clause 6).
type spdxHead struct {
	SPDXVersion       string       `json:"spdxVersion"`
	DataLicense       string       `json:"dataLicense"`
	SPDXID            string       `json:"SPDXID"`
	Name              string       `json:"name"`
	DocumentNamespace string       `json:"documentNamespace"`
	CreationInfo      spdxCreation `json:"creationInfo"`
}

type spdxCreation struct {
	LicenseListVersion string   `json:"licenseListVersion"`
	Creators           []string `json:"creators"`
	Created            string   `json:"created"`
}

// spdxLists are what is merged, with the field of an item that is a path in its image.
var spdxLists = []struct{ name, path string }{
	{"externalDocumentRefs", ""}, {"packages", "packageFileName"}, {"files", "fileName"},
	{"hasExtractedLicensingInfos", ""}, {"relationships", ""}, {"annotations", ""},
}

// sbom merges the images' SPDX documents as LinuxKit does, but for what LinuxKit makes up: the namespace comes from the
// inputs and the time is that of all made-up entries, so that the same images give the same document.
func sbom(ctx context.Context, req *step.Request) (*step.Response, error) {
	var params step.SBOMParams
	if err := stepio.Decode(req, &params); err != nil {
		return nil, err
	}
	draft, err := req.Blobs.Create(ctx)
	if err != nil {
		return nil, err
	}
	defer draft.Abort()
	id := step.Key(req.Kind, req.Version, req.Params, "", req.Inputs)
	head, err := json.Marshal(spdxHead{
		SPDXVersion: "SPDX-2.3", DataLicense: "CC0-1.0", SPDXID: "SPDXRef-DOCUMENT", Name: "sbom",
		DocumentNamespace: "https://github.com/kiln-farm/kiln/sbom-" + id.Hex()[:hex.EncodedLen(16)],
		CreationInfo: spdxCreation{LicenseListVersion: "3.20", Creators: []string{"Organization: Kiln", "Tool: kiln"},
			Created: part.DefaultTime.Format("2006-01-02T15:04:05Z")},
	})
	if err != nil {
		return nil, err
	}
	w := bufio.NewWriter(draft)
	w.Write(head[:len(head)-1])
	if err := mergeLists(ctx, req, params, w); err != nil {
		return nil, err
	}
	w.WriteString("}\n")
	if err := w.Flush(); err != nil {
		return nil, err
	}
	d, size, err := draft.Commit()
	if err != nil {
		return nil, err
	}
	return sbomTree(ctx, req, tree.Body{Blob: d, Size: size})
}

// mergeLists reads each document once for each list, so that no more than an item is in memory.
func mergeLists(ctx context.Context, req *step.Request, params step.SBOMParams, w *bufio.Writer) error {
	for _, list := range spdxLists {
		n := 0
		for i, d := range stepio.Numbered(req, "sbom") {
			prefix := ""
			if i < len(params.Prefixes) {
				prefix = params.Prefixes[i]
			}
			err := eachItem(ctx, req.Blobs, d, list.name, func(item json.RawMessage) error {
				item, err := moved(item, list.path, prefix)
				if err != nil {
					return err
				}
				if n == 0 {
					fmt.Fprintf(w, `,%q:[`, list.name)
				} else {
					w.WriteByte(',')
				}
				n++
				_, err = w.Write(item)
				return err
			})
			if err != nil {
				return err
			}
		}
		if n > 0 {
			w.WriteByte(']')
		}
	}
	return nil
}

// moved is the item in its shortest form, with its path, if it has such a field, below prefix.
func moved(item json.RawMessage, field, prefix string) (json.RawMessage, error) {
	if field == "" {
		return json.Marshal(item)
	}
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(item, &fields); err != nil || fields == nil {
		return nil, step.Failf("an item of an SBOM is not an object; build with --no-sbom, or publish the image again")
	}
	var name string
	if raw, ok := fields[field]; ok {
		if err := json.Unmarshal(raw, &name); err != nil {
			return nil, step.Failf("%s in an SBOM is not a string; build with --no-sbom, or publish the image again", field)
		}
	}
	// A package without a file is at the root of its image, as LinuxKit has it.
	if name = path.Join(prefix, name); name != "" {
		fields[field], _ = json.Marshal(name) // a string has a form
	}
	return json.Marshal(fields)
}

// eachItem calls f for each item of one list of the document d.
func eachItem(ctx context.Context, blobs cache.Blobs, d cache.Digest, list string, f func(json.RawMessage) error) error {
	blob, err := part.Open(ctx, blobs, d)
	if err != nil {
		return err
	}
	defer blob.Close()
	if blob.Size > maxSBOM {
		return step.Failf("the SBOM %s of an image has %d bytes, more than the %d allowed; build with --no-sbom", d, blob.Size, int64(maxSBOM))
	}
	var fault error
	decoder := json.NewDecoder(blob.Section(0, blob.Size))
	err = spdxObject(decoder, list, func(item json.RawMessage) error {
		if fault = ctx.Err(); fault == nil {
			fault = f(item)
		}
		return fault
	})
	if fault != nil {
		return fault
	}
	if err != nil {
		return step.Failf("the SBOM %s of an image is no SPDX document: %w; build with --no-sbom, or publish the image again", d, err)
	}
	return nil
}

// spdxObject reads a document, or the in-toto statement around it, which has it as its predicate.
func spdxObject(d *json.Decoder, list string, f func(json.RawMessage) error) error {
	start, err := d.Token()
	if err != nil {
		return noEOF(err)
	}
	if start != json.Delim('{') {
		return fmt.Errorf("it is not an object")
	}
	for d.More() {
		key, err := d.Token()
		if err != nil {
			return noEOF(err)
		}
		if key == "predicate" {
			err = spdxObject(d, list, f)
		} else {
			err = spdxValue(d, func(item json.RawMessage) error {
				if key == list {
					return f(item)
				}
				return nil
			})
		}
		if err != nil {
			return noEOF(err)
		}
	}
	_, err = d.Token()
	return noEOF(err)
}

// spdxValue reads a value; when it is a list, it calls f for each item.
func spdxValue(d *json.Decoder, f func(json.RawMessage) error) error {
	start, err := d.Token()
	if err != nil {
		return err
	}
	open, composite := start.(json.Delim)
	if !composite {
		return nil
	}
	for d.More() {
		if open == '{' {
			if _, err := d.Token(); err != nil {
				return err
			}
		}
		var item json.RawMessage
		if err := d.Decode(&item); err != nil {
			return err
		}
		if open == '[' {
			if err := f(item); err != nil {
				return err
			}
		}
	}
	_, err = d.Token()
	return err
}

func noEOF(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

// sbomTree is the tree with the document alone.
func sbomTree(ctx context.Context, req *step.Request, document tree.Body) (*step.Response, error) {
	index, err := req.Blobs.Create(ctx)
	if err != nil {
		return nil, err
	}
	defer index.Abort()
	w := tree.NewWriter(index)
	if err := w.Append(&tree.Entry{Name: sbomName, Type: tar.TypeReg, Mode: 0o644, ModTime: part.DefaultTime, Body: document}); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	d, size, err := index.Commit()
	return &step.Response{Outputs: []step.Output{{Name: "tree", Digest: d, Size: size}}, References: []cache.Digest{document.Blob}}, err
}
