package fleet

import (
	"fmt"
	"maps"
	"slices"

	"github.com/kiln-farm/kiln/cache"
	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
)

// maxInitrds bounds the files of one release: an iPXE script names each.
const maxInitrds = 32

func (c *checker) release(r *kilnv1.Release, names map[string]bool) {
	if c.must("name", objectName(r.GetName())) {
		if names[r.GetName()] {
			c.complain("name", "there is another release of that name; rename one of them")
		}
		names[r.GetName()] = true
	}
	c.cmdline("cmdline", r.GetCmdline())
	if len(r.GetPlatforms()) == 0 && !(c.draft && r.GetBuild() != "") {
		c.complain("platforms", "it has no files; name a build, or a kernel for each platform")
	}
	for _, p := range slices.Sorted(maps.Keys(r.GetPlatforms())) {
		field := "platforms." + p
		if !c.must("platforms", platform(p)) {
			continue
		}
		f := r.GetPlatforms()[p]
		if f.GetKernel() == nil && f.GetUki() == nil {
			c.complain(field, "it has neither a kernel nor a unified kernel image for %s; add one", p)
		}
		if f.GetKernel() == nil && len(f.GetInitrds()) > 0 {
			c.complain(field, "it has an initrd and no kernel for %s; add the kernel", p)
		}
		if len(f.GetInitrds()) > maxInitrds {
			c.complain(field, "it has %d initrds for %s, more than %d; put them into one file", len(f.GetInitrds()), p, maxInitrds)
		}
		if r.GetBuild() != "" || f.GetKernel() == nil { // no template
			c.must(field, plainCmdline(f))
		} else {
			c.cmdline(field, f.GetCmdline())
		}
		c.file(field, "kernel", f.GetKernel())
		c.file(field, "unified kernel image", f.GetUki())
		for i, initrd := range f.GetInitrds() {
			c.file(field, fmt.Sprintf("initrd %d", i+1), initrd)
		}
	}
}

// plainCmdline checks the command line that a build made. That of a unified kernel image is in it already, and meets no iPXE.
func plainCmdline(f *kilnv1.ReleaseFiles) error {
	err := checkCmdline(f.GetCmdline())
	if f.GetKernel() == nil && len(f.GetCmdline()) <= maxCmdline {
		return nil
	}
	return err
}

func (c *checker) file(field, what string, f *kilnv1.FileRef) {
	if f == nil || c.draft && f.GetDigest() == "" {
		return
	}
	if _, err := cache.ParseDigest(f.GetDigest()); err != nil {
		c.complain(field, "the digest %s of its %s is none; it looks like \"sha256:<64 digits>\"", quote(f.GetDigest()), what)
	}
	if _, err := cache.ParseDigest(f.GetArtifact()); f.GetArtifact() != "" && err != nil {
		c.complain(field, "the artifact %s of its %s is no digest; it looks like \"sha256:<64 digits>\"", quote(f.GetArtifact()), what)
	}
	if f.GetSize() < 0 {
		c.complain(field, "its %s has a size below zero; upload it again", what)
	}
}
