package plan

import (
	"fmt"

	"github.com/kiln-farm/kiln/cache"
	"github.com/kiln-farm/kiln/image/step"
	"github.com/kiln-farm/kiln/image/tree"
	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
)

// dockerfileText makes an image of the root filesystem, as LinuxKit's format docker has it.
const dockerfileText = `
FROM scratch

COPY . ./

ENTRYPOINT ["/bin/rc.init"]
`

func (p *planner) dockerfile() ([]part, error) {
	e, err := p.regular("Dockerfile", []byte(dockerfileText))
	if err != nil {
		return nil, err
	}
	out, err := p.plainPart([]tree.Entry{e}, "", "", "Dockerfile")
	out.tarOnly = "docker"
	return []part{out}, err
}

// sbomInput is an SPDX document of an image, and where the image lies in the root filesystem.
type sbomInput struct {
	prefix string
	ref    string
	layer  *kilnv1.Layer
}

const sbomLabel = "sbom.spdx.json"

func (p *planner) addSBOMs(ref, prefix string) {
	r, err := p.resolve(ref)
	if err != nil || p.in.NoSBOM {
		return // an image that is not there is told of where it is needed
	}
	for _, l := range r.GetSboms() {
		p.sboms = append(p.sboms, sbomInput{prefix, ref, l})
	}
}

// sbom joins the documents of all images, in the order in which their files are in the root filesystem.
func (p *planner) sbom() ([]part, error) {
	if p.in.NoSBOM {
		return nil, nil
	}
	params := step.SBOMParams{Prefixes: []string{}}
	var inputs []input
	var sources []*kilnv1.Source
	for i, s := range p.sboms {
		d, err := cache.ParseDigest(s.layer.GetDigest())
		if err != nil {
			return nil, step.Failf("the lock's SBOM of %s: %w; make the lock again with \"kiln lock\"", s.ref, err)
		}
		params.Prefixes = append(params.Prefixes, s.prefix)
		inputs = append(inputs, blobInput(fmt.Sprintf("sbom/%d", i), d))
		sources = append(sources, source(s.ref, s.layer))
	}
	node := p.graph.add(step.SBOM, "SBOM", params, inputs, sources...)
	return []part{{
		label: sbomLabel, root: step.Root{Rule: step.RulePlain}, shared: true,
		trees: []input{nodeInput("tree", nodeOutput{node, "tree"})},
	}}, nil
}
