package step

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"hash"

	"github.com/kiln-farm/kiln/cache"
	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
)

// Kinds of steps. Resolve alone is not pure: its key holds the build's id, and its result is never recorded.
const (
	Resolve    = "resolve"     // references to manifests
	Plan       = "plan"        // configuration and lock to a graph
	Flatten    = "flatten"     // an image's layers to a tree
	Segment    = "segment"     // a tree to a run of tar bytes
	InitrdPart = "initrd-part" // a tree to a compressed newc archive without its trailer
	Overlap    = "overlap"     // trees that share the root directory, to what each must leave out of the initrd
	Kernel     = "kernel"      // the kernel image's tree to kernel, microcode
	Artifact   = "artifact"    // segments or parts to an output file
	SBOM       = "sbom"        // SPDX documents to one
	Pick       = "pick"        // an image of boot loaders to the files that are needed of it
	UKI        = "uki"         // kernel, initrd and command line to one program for UEFI
	Disk       = "disk"        // boot files to a disk with partitions
	SquashPart = "squash-part" // a tree to the compressed blocks of a squashfs
	FileSystem = "filesystem"  // trees to a read-only file system
	Verity     = "verity"      // a file system to its dm-verity tree
)

// Versions of the kinds: part of the key.
var Versions = map[string]uint32{
	Resolve: 1, Plan: 1, Flatten: 2, Segment: 1, InitrdPart: 2, Overlap: 2, Kernel: 1, Artifact: 1, SBOM: 1,
	Pick: 1, UKI: 1, Disk: 1, SquashPart: 1, FileSystem: 1, Verity: 1,
}

// Input is a named input of a step: the digest of its content.
type Input struct {
	Name   string
	Digest cache.Digest
}

// Key names a step. Inputs are taken in their order, which the planner makes deterministic.
func Key(kind string, version uint32, params []byte, platform string, inputs []Input) cache.Digest {
	h := sha256.New()
	field(h, []byte("kiln step 1"))
	field(h, []byte(kind))
	field(h, binary.BigEndian.AppendUint32(nil, version))
	field(h, params)
	field(h, []byte(platform))
	field(h, binary.BigEndian.AppendUint32(nil, uint32(len(inputs))))
	for _, in := range inputs {
		sum := in.Digest.Sum()
		field(h, []byte(in.Name))
		field(h, sum[:])
	}
	var sum [sha256.Size]byte
	h.Sum(sum[:0])
	return cache.FromSum(sum)
}

func field(h hash.Hash, b []byte) {
	var n [8]byte
	binary.BigEndian.PutUint64(n[:], uint64(len(b)))
	h.Write(n[:])
	h.Write(b)
}

// EncodeParams is the canonical encoding of a kind's parameters: JSON with fields in the order of the struct,
// map keys sorted, and nothing left to the encoder's taste.
func EncodeParams(params any) []byte {
	b, err := json.Marshal(params)
	if err != nil {
		panic(fmt.Sprintf("parameters that JSON cannot hold: %v", err)) // a fault of ours: params are plain structs
	}
	return b
}

// Request is a step to run.
type Request struct {
	Kind    string
	Version uint32
	Params  []byte
	Inputs  []Input
	Build   *kilnv1.BuildSpec    // for resolve and plan
	Unpack  *kilnv1.UnpackLimits // for flatten; nil: what is usual
	Blobs   cache.Blobs
	// Log takes a line for people. Never nil.
	Log func(line string)
}

// Input returns the digest of the input with that name; the zero digest when there is none.
func (r *Request) Input(name string) cache.Digest {
	for _, in := range r.Inputs {
		if in.Name == name {
			return in.Digest
		}
	}
	return cache.Digest{}
}

// Response is what a step made.
type Response struct {
	Outputs []Output
	// References are all blobs that a reader of the outputs needs; the outputs themselves are added by Run's caller.
	References []cache.Digest
}

// Output is a named blob that the step stored.
type Output struct {
	Name   string
	Digest cache.Digest
	Size   int64
}

// Runner runs one kind of step. An error that wraps *InputError blames the input's owner; any other error that
// wraps cache.ErrNotFound is a missing input; *Failure is the step's own fault; anything else is the builder's.
type Runner interface {
	Run(ctx context.Context, req *Request) (*Response, error)
}

// Failure is a fault in what the user gave: trying again would not help. Its text is one sentence with place and remedy.
type Failure struct{ Err error }

func (f *Failure) Error() string { return f.Err.Error() }
func (f *Failure) Unwrap() error { return f.Err }

// Failf makes a Failure.
func Failf(format string, args ...any) error { return &Failure{fmt.Errorf(format, args...)} }

// CheckDisk says why a disk cannot have size bytes when what goes onto it needs so many, and has sectors of so many.
func CheckDisk(size, needs, sector int64) error {
	const mib = 1 << 20
	switch {
	case size < needs:
		return Failf("a disk of %d bytes is too small: what goes onto it needs %d bytes; make it larger, %dM at least, or leave its size out (--disk-size)",
			size, needs, (needs+mib-1)/mib)
	case size%sector != 0:
		return Failf("a disk of %d bytes cannot be made: it consists of sectors of %d bytes; choose a multiple, such as %dM (--disk-size)",
			size, sector, (size+mib-1)/mib)
	}
	return nil
}

// MissingBlob says that an input is not in the cache. It wraps cache.ErrNotFound.
type MissingBlob struct{ Digest cache.Digest }

func (m *MissingBlob) Error() string { return "blob " + m.Digest.String() + " is not in the cache" }
func (m *MissingBlob) Unwrap() error { return cache.ErrNotFound }
