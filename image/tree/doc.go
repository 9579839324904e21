// Package tree is Kiln's form of a filesystem in transit: an index of entries whose bodies are ranges of blobs.
//
// Flattening an image makes a tree once; tar segments and initrd parts are then made from it by writing headers
// and pointing at bodies, so that file contents are neither copied nor unpacked again. An index is one blob; the
// blobs with the bodies are listed in it. Entries keep the order in which LinuxKit would emit them, duplicates
// included.
package tree
