package part

import (
	"archive/tar"
	"math"
	"path"
	"strings"

	"github.com/kiln-farm/kiln/image/step"
	"github.com/kiln-farm/kiln/image/tree"
)

// Limits of Linux (include/uapi/linux/limits.h), and its 32-bit form of device numbers (include/linux/kdev_t.h).
const (
	maxName  = 255
	maxPath  = 4096
	maxMajor = 1<<12 - 1
	maxMinor = 1<<20 - 1
)

// Check refuses, with a step.Failure, an entry that no file system of Linux can hold as it is, be it on a disk or unpacked
// from an initrd, which drops such entries without a word. Names are clean; label, if any, says in which part it is.
func Check(label string, e *tree.Entry) error {
	if label != "" {
		label += ": "
	}
	if err := checkName(label, e.Name); err != nil {
		return err
	}
	if e.Type == tar.TypeLink {
		return checkName(label, e.Linkname)
	}
	if e.UID < 0 || e.GID < 0 || int64(e.UID) > math.MaxUint32 || int64(e.GID) > math.MaxUint32 {
		return step.Failf("%s%s belongs to %d:%d, but users and groups are numbers from 0 to %d; give it another owner",
			label, e.Name, e.UID, e.GID, uint32(math.MaxUint32))
	}
	switch e.Type {
	case tar.TypeSymlink:
		if e.Linkname == "" || len(e.Linkname) >= maxPath || strings.ContainsRune(e.Linkname, 0) {
			return step.Failf("%sthe symbolic link %s leads to a name of %d bytes, but such names have 1 to %d and no NUL; correct it",
				label, e.Name, len(e.Linkname), maxPath-1)
		}
	case tar.TypeChar, tar.TypeBlock:
		if e.Devmajor < 0 || e.Devmajor > maxMajor || e.Devminor < 0 || e.Devminor > maxMinor {
			return step.Failf("%s%s is device %d:%d, but Linux has devices from 0:0 to %d:%d; correct its numbers",
				label, e.Name, e.Devmajor, e.Devminor, maxMajor, maxMinor)
		}
	}
	return nil
}

// checkName refuses names that no file system takes, or that would be outside of the tree.
func checkName(label, name string) error {
	switch {
	case name == ".." || strings.HasPrefix(name, "../"), path.IsAbs(name), name == "":
		return step.Failf("%sentry %q is outside of the image; remove it", label, name)
	case strings.ContainsRune(name, 0):
		return step.Failf("%sentry %q has a NUL in its name; rename it", label, name)
	case len(name) >= maxPath:
		return step.Failf("%sentry %.64q... has a name of %d bytes, but Linux takes %d; shorten it", label, name, len(name), maxPath-1)
	}
	for element := range strings.SplitSeq(name, "/") {
		if len(element) > maxName {
			return step.Failf("%sentry %.64q... has a name with a part of %d bytes, but Linux takes %d; shorten it", label, name, len(element), maxName)
		}
	}
	return nil
}
