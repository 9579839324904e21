// Package flat makes one tree of an image's layers.
//
// LinuxKit takes an image apart with go-containerregistry's mutate.Extract: the highest layer first, each
// entry once, whatever a higher layer hides left out. The order of the tree's entries is that of Extract, because
// LinuxKit's tar has it. Opaque whiteouts, which Extract ignores, are honoured (OCI image-spec, layer.md).
//
// Layers are hostile input: nothing in them names a path outside the tree. Memory grows with the number of
// entries, never with their size. The package knows nothing of where layers come from.
package flat
