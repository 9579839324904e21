package plan

import (
	"fmt"
	"strings"

	"github.com/kiln-farm/kiln/image/tree"
)

// volumeParts are the volumes: a lower directory with the image, and two to mount over it.
func (p *planner) volumeParts() ([]part, error) {
	var parts []part
	for i, v := range p.m.Volumes {
		location, label := fmt.Sprintf("volume[%d]", i), "volumes/"+v.Name
		lower := relative(v.LowerDir())
		var content part
		var err error
		switch {
		case v.ImageRef() == nil:
			content, err = p.plainPart(prefixes(lower), "empty", location, label)
		case v.Format == "oci":
			content, err = p.layoutPart(v.ImageRef().String(), lower+"/", v.Platforms, location, label)
		default:
			content, err = p.imagePart(v.ImageRef().String(), lower+"/", resolvLink, location, label)
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", label, err)
		}
		over := []tree.Entry{directory(relative(v.TmpDir()) + "/"), directory(relative(v.MergedDir()) + "/")}
		mounts, err := p.plainPart(over, "linuxkit.volumes", location, label+" mount points")
		if err != nil {
			return nil, err
		}
		parts = append(parts, content, mounts)
	}
	return parts, nil
}

func relative(dir string) string { return strings.TrimPrefix(dir, "/") }
