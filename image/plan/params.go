package plan

import (
	"encoding/json"
	"fmt"
	"slices"

	"github.com/kiln-farm/kiln/cache"
	"github.com/kiln-farm/kiln/image/step"
	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
)

// Parameters are what of a build, beside its configuration and lock, shapes the graph. What is empty is as the YAML says.
type Parameters struct {
	Platforms        []string `json:"platforms"`
	Formats          []string `json:"formats"`
	Compress         string   `json:"compress"`
	NoSBOM           bool     `json:"no_sbom,omitempty"`
	DecompressKernel bool     `json:"decompress_kernel,omitempty"`
	Boot             string   `json:"boot,omitempty"`
	FarmBoot         string   `json:"farm_boot,omitempty"` // when nobody else names one
	FarmInitrd       string   `json:"farm_initrd,omitempty"`
	Initrd           string   `json:"initrd,omitempty"`
	Cmdline          string   `json:"cmdline,omitempty"`
	Serial           string   `json:"serial,omitempty"`
	DiskSize         int64    `json:"disk_size,omitempty"`
	StateSize        int64    `json:"state_size,omitempty"`
	RootFS           string   `json:"root_fs,omitempty"`
	Signatures       []string `json:"signatures,omitempty"`
	Authenticode     bool     `json:"authenticode,omitempty"`
	Name             string   `json:"name,omitempty"` // of the build, where a format's contents hold it
}

// Params are the parameters of the plan step of a build. Its inputs are "config" and "lock".
func Params(spec *kilnv1.BuildSpec) []byte { return step.EncodeParams(parametersOf(spec)) }

func parametersOf(spec *kilnv1.BuildSpec) Parameters {
	o := spec.GetOptions()
	p := Parameters{
		Platforms: spec.GetPlatforms(), Formats: spec.GetFormats(), Compress: o.GetCompress(),
		NoSBOM: o.GetNoSbom(), DecompressKernel: o.GetDecompressKernel(),
		FarmBoot: o.GetFarmBoot(), FarmInitrd: o.GetFarmInitrd(),
		Boot: o.GetBoot(), Initrd: o.GetInitrd(), Cmdline: o.GetCmdline(), Serial: o.GetSerial(),
		DiskSize: o.GetDiskSize(), StateSize: o.GetStateSize(), RootFS: o.GetRootFs(),
		Signatures: o.GetSignatures(), Authenticode: o.GetAuthenticode(),
	}
	if p.Compress == "" {
		p.Compress = defaultCompress
	}
	if slices.Contains(p.Formats, "ipxe") {
		p.Name = spec.GetName()
	}
	return p
}

// ResolveParams are the parameters of the resolve step of a build. They hold its id, because what a reference means
// changes with time: no two builds share the step. Its input is "config", and "lock" when the build is locked.
func ResolveParams(spec *kilnv1.BuildSpec) []byte {
	return step.EncodeParams(struct {
		Build     string   `json:"build"`
		Platforms []string `json:"platforms"`
		Pull      bool     `json:"pull,omitempty"`
	}{spec.GetId(), spec.GetPlatforms(), spec.GetOptions().GetPull()})
}

const defaultCompress = "gzip"

func decodeParams(b []byte) (Parameters, error) {
	var p Parameters
	if err := json.Unmarshal(b, &p); err != nil {
		return p, fmt.Errorf("parameters of a plan: %w", err)
	}
	return p, p.check()
}

func (p *Parameters) check() error {
	if len(p.Platforms) == 0 {
		return step.Failf("no platform was asked for; name at least one, such as linux/amd64")
	}
	if err := CheckFormats(p.Formats); err != nil && len(p.Formats) > 0 {
		return &step.Failure{Err: err}
	}
	if p.Compress != "gzip" && p.Compress != "zstd" {
		return step.Failf("unknown compression %q; write gzip or zstd", p.Compress)
	}
	for _, d := range p.Signatures {
		if _, err := cache.ParseDigest(d); err != nil {
			return step.Failf("a signature is named %q: %w", d, err)
		}
	}
	return nil
}
