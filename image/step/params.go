package step

// The parameters of each kind, as the planner writes them and the runner reads them. They hold resolved
// values only: bytes, paths and digests, never something that depends on where or when the step runs.

// FlattenParams: inputs "layer/0" (the lowest) to "layer/N", the layers as the registry stores them, compressed
// or not (told by their bytes). Output "tree".
type FlattenParams struct{}

// Rule says what of a tree goes into the root filesystem.
type Rule string

const (
	// RulePlain: entries as they are.
	RulePlain Rule = "plain"
	// RuleImage: LinuxKit's ImageTar: directories of Prefix, then the tree below it with some files left out,
	// replaced or added.
	RuleImage Rule = "image"
	// RuleKernel: LinuxKit's kernel filter: boot/ and the modules.
	RuleKernel Rule = "kernel"
	// RuleAPK: the union of the package databases of several trees ("tree/0" to "tree/N"), when two or more have one.
	RuleAPK Rule = "apk"
)

// Root says what part of the root filesystem a segment or an initrd part holds. Input "tree" (see RuleAPK).
type Root struct {
	Rule   Rule   `json:"rule"`
	Prefix string `json:"prefix,omitempty"` // RuleImage: "containers/services/web/lower/", or "" for init
	Resolv string `json:"resolv,omitempty"` // RuleImage: target of etc/resolv.conf when it is a symlink

	// RuleKernel:
	Cmdline    string `json:"cmdline,omitempty"`
	Binary     string `json:"binary,omitempty"`  // name of the kernel in its image, never empty
	Modules    string `json:"modules,omitempty"` // name of the modules' tar, empty for none
	Microcode  string `json:"microcode,omitempty"`
	Decompress bool   `json:"decompress,omitempty"`
}

// SegmentParams: output "segment", an artifact description without a digest of its own. Source and Location are
// the PAX records LINUXKIT.source and LINUXKIT.location of every entry that has none of its own; empty: no records.
type SegmentParams struct {
	Root
	Source   string `json:"source,omitempty"`
	Location string `json:"location,omitempty"`
}

// InitrdPartParams: inputs "tree" and, for parts of the root directory, "omit" (a list of paths from overlap).
// Output "part": a compressed archive (4-byte aligned gzip, or zstd) that ends at an entry's end, without TRAILER.
type InitrdPartParams struct {
	Root
	Compress string `json:"compress"` // "gzip" or "zstd"
}

// OverlapParams: Roots in the order of the root tar, inputs "tree/0"..; outputs "omit/0".. with the paths that
// part must leave out, so that unpacking the archives one over the other gives the tar's tree. Labels name the
// parts in messages.
type OverlapParams struct {
	Roots  []Root   `json:"roots"`
	Labels []string `json:"labels"`
}

// KernelParams: input "tree". Outputs "kernel" and, when Microcode is set, "microcode": artifact descriptions.
type KernelParams struct {
	Binary     string `json:"binary"`
	Microcode  string `json:"microcode,omitempty"`
	Decompress bool   `json:"decompress,omitempty"`
}

// ArtifactParams: output "artifact", an artifact description with its digest.
type ArtifactParams struct {
	// Format is "tar" (inputs "segment/0"..), "initrd" (inputs "microcode", an artifact description that may be
	// of size 0 or not given, and "part/0"..), "text" (no input), "file" (input "file", an artifact description), or
	// "tar-kernel-initrd" (inputs "kernel", "initrd", "microcode", each an artifact description that may be absent).
	// Disks in other clothes, of the input "file": "qcow2", "vhd", "dynamic-vhd", "vmdk", "gcp". "lines": inputs
	// "line/0".., blobs, one after the other. "rpi3" and "oci": see their files in image/assemble.
	Format   string `json:"format"`
	Root     *Root  `json:"root,omitempty"`     // "rpi3": of the kernel
	Name     string `json:"name,omitempty"`     // "ipxe": of the build, which the files' names begin with
	Text     string `json:"text,omitempty"`     // "text": the contents; "tar-kernel-initrd": the command line
	Compress string `json:"compress,omitempty"` // "initrd": how the trailer is compressed
}

// SBOMParams: inputs "sbom/0".., SPDX JSON documents. Output "tree" with the one file sbom.spdx.json.
type SBOMParams struct {
	Prefixes []string `json:"prefixes"` // of each input: where its image lies in the root filesystem
}
