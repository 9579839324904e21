package part

import (
	"archive/tar"
	"context"
	"strings"

	"github.com/kiln-farm/kiln/cache"
	"github.com/kiln-farm/kiln/image/step"
	"github.com/kiln-farm/kiln/image/tree"
)

// left out of every image: `docker export` made them, and LinuxKit keeps leaving them out.
var leftOut = map[string]bool{
	".dockerenv": true, "Dockerfile": true, "dev/console": true, "dev/pts": true, "dev/shm": true, "etc/hostname": true,
}

const (
	hostsFile = `127.0.0.1       localhost
::1     localhost ip6-localhost ip6-loopback
fe00::0 ip6-localnet
ff00::0 ip6-mcastprefix
ff02::1 ip6-allnodes
ff02::2 ip6-allrouters
`
	resolvFile = `
# no resolv.conf configured
`
)

// replaced has files whose contents LinuxKit writes itself.
var replaced = map[string]string{"etc/hosts": hostsFile, "etc/resolv.conf": resolvFile}

// added has what is in every image, in the order of LinuxKit's sorted keys. Directories are written even when
// the image has them: LinuxKit compares names with and without the final slash.
var added = []tree.Entry{
	{Name: "dev", Type: tar.TypeDir, Mode: 0o755},
	{Name: "dev/pts", Type: tar.TypeDir, Mode: 0o755},
	{Name: "dev/shm", Type: tar.TypeDir, Mode: 0o755},
	{Name: "etc", Type: tar.TypeDir, Mode: 0o755},
	{Name: "etc/hosts", Type: tar.TypeReg, Mode: 0o644},
	{Name: "etc/mtab", Type: tar.TypeSymlink, Linkname: "/proc/mounts", Mode: 0o755},
	{Name: "etc/resolv.conf", Type: tar.TypeReg, Mode: 0o644},
	{Name: "proc", Type: tar.TypeDir, Mode: 0o755},
	{Name: "sys", Type: tar.TypeDir, Mode: 0o755},
}

// walkImage is LinuxKit's ImageTar.
func walkImage(ctx context.Context, blobs cache.Blobs, root step.Root, index cache.Digest, yield func(*tree.Entry) error) error {
	if err := Directories(root.Prefix, yield); err != nil {
		return err
	}
	hasMtab := false
	err := Each(ctx, blobs, index, func(e *tree.Entry) error {
		contents, replace := replaced[e.Name]
		switch {
		case leftOut[e.Name]:
			return nil
		case replace && e.Name == "etc/resolv.conf" && root.Resolv != "":
			e.Type, e.Linkname, e.Body, e.ModTime = tar.TypeSymlink, root.Resolv, tree.Body{}, DefaultTime
		case replace:
			if e.Type != tar.TypeReg {
				// LinuxKit fails here, too, with "write too long".
				return step.Failf("%s is not a regular file in the image, so it cannot be replaced; remove it from the image", e.Name)
			}
			e.Body, e.ModTime = tree.Body{Inline: []byte(contents), Size: int64(len(contents))}, DefaultTime
		case e.Name == "etc/mtab":
			hasMtab, e.ModTime = true, DefaultTime
		}
		e.Name = root.Prefix + e.Name
		if e.Type == tar.TypeLink {
			e.Linkname = root.Prefix + e.Linkname
		}
		return yield(e)
	})
	if err != nil {
		return err
	}
	for _, e := range added {
		contents := replaced[e.Name]
		switch {
		case e.Name == "etc/mtab" && hasMtab:
			continue
		case e.Name == "etc/resolv.conf" && root.Resolv != "":
			e.Type, e.Linkname = tar.TypeSymlink, root.Resolv
		case contents != "":
			e.Body = tree.Body{Inline: []byte(contents), Size: int64(len(contents))}
		}
		e.Name, e.ModTime = root.Prefix+e.Name, DefaultTime
		if err := yield(&e); err != nil {
			return err
		}
	}
	return nil
}

// Directories yields the directories that lead to prefix ("a/b/"), as LinuxKit writes them before each image.
func Directories(prefix string, yield func(*tree.Entry) error) error {
	for at, c := range prefix {
		if c != '/' {
			continue
		}
		e := tree.Entry{Name: strings.TrimSuffix(prefix[:at], "/"), Type: tar.TypeDir, Mode: 0o755, ModTime: DefaultTime}
		if err := yield(&e); err != nil {
			return err
		}
	}
	return nil
}
