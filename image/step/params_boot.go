package step

// PickParams: input "tree". For each of Files an output, an artifact description.
type PickParams struct {
	Image string     `json:"image"` // for messages
	Files []PickFile `json:"files"`
}

// PickFile is a file that lies at one of Paths; the first that is there counts.
type PickFile struct {
	Output string   `json:"output"`
	What   string   `json:"what"` // for messages: "a boot sector of SYSLINUX"
	Paths  []string `json:"paths"`
}

// UKIParams: inputs "stub", "kernel", and where there are some "initrd", "roothash" (the text that verity gives) and
// "signature/0".., blobs with PKCS#7 signatures. Outputs "uki", an artifact description without a digest of its own,
// and "authenticode", a line of text: the digest to sign, and the label.
type UKIParams struct {
	Cmdline   string `json:"cmdline"`
	OSRelease string `json:"os_release"`
	Arch      string `json:"arch"`
	Label     string `json:"label"`
}

// Disk layouts.
const (
	DiskBIOS   = "bios"   // MBR, FAT with SYSLINUX, kernel and initrd
	DiskEFI    = "efi"    // GPT, EFI system partition with a UKI
	DiskVerity = "verity" // and a root filesystem with its dm-verity tree
)

// DiskParams: inputs, all artifact descriptions: for DiskBIOS "kernel", "initrd", "ldlinux.sys", "ldlinux.bss", "ldlinux.c32",
// "mbr"; for DiskEFI "uki"; for DiskVerity "uki", "root", "hash" and the text "roothash". Output "disk", an artifact
// description without a digest of its own.
type DiskParams struct {
	Layout  string `json:"layout"`
	Arch    string `json:"arch"`
	Cmdline string `json:"cmdline,omitempty"` // DiskBIOS
	Size    int64  `json:"size,omitempty"`    // bytes; 0: as small as it can be
	State   int64  `json:"state,omitempty"`   // bytes of a partition for state
	Round   int64  `json:"round,omitempty"`   // the size is a multiple of it, in bytes
}

// SquashPartParams: inputs as of InitrdPartParams, without "omit". Outputs "blocks", the compressed blocks of the files,
// and "table", which says where each is.
type SquashPartParams struct {
	Root
	Compress string `json:"compress"`
}

// Kinds of file systems.
const (
	SquashFS = "squashfs"
	EROFS    = "erofs"
	ISO9660  = "iso9660"
)

// FileSystemParams: Roots in the order of the root tar, inputs "tree/0".. (or "tree/0/0".. for RuleAPK); for SquashFS also
// "blocks/0", "table/0"..; for ISO9660 what it boots with: "kernel", "initrd", "isolinux.bin", "ldlinux.c32", "mbr"
// (BIOS) or "uki" (UEFI), artifact descriptions. Output "image", an artifact description without a digest of its own.
type FileSystemParams struct {
	Kind     string   `json:"kind"`
	Compress string   `json:"compress,omitempty"` // SquashFS
	Roots    []Root   `json:"roots"`
	Labels   []string `json:"labels"`
	KeepBoot bool     `json:"keep_boot,omitempty"` // whether boot/ belongs to it
	Cmdline  string   `json:"cmdline,omitempty"`   // ISO9660 with isolinux.bin
	Arch     string   `json:"arch,omitempty"`      // ISO9660 with uki
}

// VerityParams: input "image", an artifact description. Outputs "hash", an artifact description, and "roothash", the root
// hash as text, in lower-case hexadecimal digits.
type VerityParams struct{}
