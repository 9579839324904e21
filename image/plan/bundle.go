package plan

import (
	"encoding/json"
	"fmt"
	"path"
	"strings"

	"github.com/kiln-farm/kiln/image/linuxkit"
	"github.com/kiln-farm/kiln/image/step"
	"github.com/kiln-farm/kiln/image/tree"
	"github.com/linuxkit/linuxkit/src/cmd/linuxkit/moby"
	"github.com/opencontainers/runtime-spec/specs-go"
)

// containers are the bundles of onboot, onshutdown and services.
func (p *planner) containers() ([]part, error) {
	var parts []part
	for _, section := range linuxkit.Sections(p.m) {
		for i, image := range section.Images {
			name := image.Name
			if section.Numbered {
				name = fmt.Sprintf("%03d-%s", i, image.Name)
			}
			b := bundle{
				planner: p, image: image, ref: image.Ref().String(), dir: path.Join("containers", section.Name, name),
				location: fmt.Sprintf("%s[%d]", section.Name, i), label: section.Name + "/" + image.Name,
			}
			made, err := b.parts()
			if err != nil {
				return nil, fmt.Errorf("%s: %w", b.label, err)
			}
			parts = append(parts, made...)
		}
	}
	return parts, nil
}

// bundle is one container: its root filesystem, unless an earlier one has it, and its configuration.
type bundle struct {
	*planner
	image    *moby.Image
	ref      string
	dir      string // where it lies: "containers/services/web"
	location string
	label    string
}

func (b *bundle) parts() ([]part, error) {
	config, runtime, err := b.configure()
	if err != nil {
		return nil, err
	}
	readonly := config.Root.Readonly
	own := path.Join(b.dir, "lower")
	if readonly {
		own = path.Join(b.dir, "rootfs")
	}
	var parts []part
	var entries []tree.Entry
	root, elsewhere := b.roots[b.ref]
	if elsewhere {
		entries = prefixes(b.dir)
	} else {
		root = own
		b.roots[b.ref] = own
		filesystem, err := b.imagePart(b.ref, own+"/", "", b.location, b.label)
		if err != nil {
			return nil, err
		}
		parts = append(parts, filesystem)
	}
	configJSON, err := json.MarshalIndent(config, "", "    ")
	if err != nil {
		return nil, fmt.Errorf("write config.json: %w", err)
	}
	configFile, err := b.regular(path.Join(b.dir, "config.json"), configJSON)
	if err != nil {
		return nil, err
	}
	entries = append(entries, configFile)
	if !readonly {
		entries = append(entries, directory(path.Join(b.dir, "tmp")), directory(path.Join(b.dir, "rootfs")))
	} else if elsewhere {
		entries = append(entries, directory(path.Join(b.dir, "rootfs")))
	}
	mounts := append(b.rootMounts(root, readonly), *runtime.Mounts...)
	runtime.Mounts = &mounts
	runtimeJSON, err := json.MarshalIndent(runtime, "", "    ")
	if err != nil {
		return nil, fmt.Errorf("write runtime.json: %w", err)
	}
	runtimeFile, err := b.regular(path.Join(b.dir, "runtime.json"), runtimeJSON)
	if err != nil {
		return nil, err
	}
	settings, err := b.plainPart(append(entries, runtimeFile), b.ref, b.location, b.label+" config")
	if err != nil {
		return nil, err
	}
	return append(parts, settings), nil
}

// configure joins what the YAML, the image's label and the image's config say.
func (b *bundle) configure() (specs.Spec, moby.Runtime, error) {
	config, err := b.config(b.ref)
	if err != nil {
		return specs.Spec{}, moby.Runtime{}, err
	}
	image, err := b.withVolumes(b.image)
	if err != nil {
		return specs.Spec{}, moby.Runtime{}, err
	}
	spec, runtime, err := moby.ConfigToOCI(image, config, b.ids)
	if err != nil {
		return spec, runtime, step.Failf("image %s cannot be configured (%w); change the entry in the YAML, or the image's label %s", b.ref, err, configLabel)
	}
	return spec, runtime, nil
}

// rootMounts make the root filesystem before the container starts: a writable one is an overlay over root, whose upper
// layer is in memory; a read-only one is root itself, bound so that it is a mount point.
func (b *bundle) rootMounts(root string, readonly bool) []specs.Mount {
	rootfs := "/" + path.Join(b.dir, "rootfs")
	if readonly {
		return []specs.Mount{{Source: "/" + root, Destination: rootfs, Options: []string{"bind"}}}
	}
	tmp := "/" + path.Join(b.dir, "tmp")
	return []specs.Mount{
		{Source: "tmpfs", Type: "tmpfs", Destination: tmp},
		{Destination: tmp, Options: []string{"remount", "private"}}, // nothing else sees the layers
		{Source: "overlay", Type: "overlay", Destination: rootfs, Options: []string{
			"lowerdir=/" + root, "upperdir=" + path.Join(tmp, "upper"), "workdir=" + path.Join(tmp, "work"),
		}},
	}
}

// withVolumes is a copy of image whose binds name the paths of volumes. Volumes in mounts: keep their names, as
// LinuxKit leaves them (it changes a copy of the mount): the same bytes matter more than the better ones.
func (b *bundle) withVolumes(image *moby.Image) (*moby.Image, error) {
	out := *image
	for _, list := range []**[]string{&out.Binds, &out.BindsAdd} {
		if *list == nil {
			continue
		}
		var binds []string
		for _, bind := range **list {
			source, rest, _ := strings.Cut(bind, ":")
			if strings.HasPrefix(source, "/") {
				binds = append(binds, bind)
				continue
			}
			volume, ok := b.volumes[source]
			if !ok {
				return nil, step.Failf("bind %q names the volume %q, which does not exist; add it under volumes", bind, source)
			}
			binds = append(binds, volume.MergedDir()+":"+rest)
		}
		*list = &binds
	}
	return &out, nil
}
