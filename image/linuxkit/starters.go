package linuxkit

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/linuxkit/linuxkit/src/cmd/linuxkit/util"

	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
)

// LinuxKit's init starts no containers by itself: the image runc brings etc/init.d/010-onboot and etc/shutdown.d, the image
// containerd etc/init.d/020-containerd, which starts services, each of them with runc.
const (
	initImage       = "linuxkit/init"
	runcImage       = "linuxkit/runc"
	containerdImage = "linuxkit/containerd"
)

// startersOf are the images that start the containers of a section.
var startersOf = map[string][]string{
	"onboot": {runcImage}, "onshutdown": {runcImage}, "services": {containerdImage, runcImage},
}

// initImages are LinuxKit's images for init, whose contents are known. Any other image may start containers in a way of its
// own, as Kiln's example does, or bring those two.
var initImages = []string{
	initImage, runcImage, containerdImage, "linuxkit/ca-certificates", "linuxkit/firmware", "linuxkit/firmware-all",
	"linuxkit/memlogd", "linuxkit/vpnkit-expose-port",
}

// warnings tell what a checked configuration most likely lacks. They may be ignored: a false one is worse than none.
func warnings(docs []*kilnv1.Document) Problems {
	document, _ := grammar()
	var have []string // images of init
	var kernel bool
	containers := map[string]Problem{} // place of the first container of each section
	for _, doc := range docs {
		root, _ := parseDocument(doc.GetName(), doc.GetYaml(), document)
		kernel = kernel || root.get("kernel").get("image").str() != ""
		for _, image := range root.get("init").items() {
			have = append(have, repository(image.str()))
		}
		for _, section := range sections {
			if items := root.get(section).items(); len(items) > 0 && containers[section].File == "" {
				containers[section] = Problem{File: doc.GetName(), Line: items[0].line}
			}
		}
		for _, f := range root.get("files").items() {
			if startsThings(f.get("path").str()) {
				return nil
			}
		}
	}
	return lacking(have, kernel, containers)
}

// lacking is the decision, of what there is.
func lacking(have []string, kernel bool, containers map[string]Problem) Problems {
	known := len(have) > 0 || kernel // with neither it is a part of something
	for _, image := range have {
		known = known && slices.Contains(initImages, image)
	}
	var idle, lack []string
	var place Problem
	for _, section := range sections {
		at, ok := containers[section]
		for _, image := range startersOf[section] {
			if !ok || slices.Contains(have, image) {
				continue
			}
			if len(idle) == 0 {
				place = at
			}
			idle, lack = append(idle, section), append(lack, image)
		}
	}
	if !known || len(lack) == 0 {
		return nil
	}
	if len(have) == 0 {
		lack = append(lack, initImage)
	}
	slices.Sort(lack)
	place.Text = fmt.Sprintf("nothing in init starts the containers of %s; add %s to init, in versions that LinuxKit's examples name together",
		join(slices.Compact(idle)), join(slices.Compact(lack)))
	return Problems{place}
}

// repository is the end of an image's name that is the same wherever it was copied to: "linuxkit/init".
func repository(image string) string {
	name, _, _ := strings.Cut(util.ReferenceExpand(image), "@")
	parts := strings.Split(name, "/")
	last := len(parts) - 1
	parts[last], _, _ = strings.Cut(parts[last], ":")
	return path.Join(parts[max(last-1, 0):]...)
}

// startsThings says that a file may start containers itself.
func startsThings(name string) bool {
	name, _ = FileName(name)
	name = CleanName(name)
	return strings.HasPrefix(name, "etc/init.d/") || slices.Contains([]string{"init", "sbin/init", "etc/init", "bin/init", "bin/sh", "usr/bin/containerd"}, name)
}
