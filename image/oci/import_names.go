package oci

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"
	imagespec "github.com/opencontainers/image-spec/specs-go/v1"
)

// found is an image in an archive.
type found struct {
	descriptor imagespec.Descriptor
	names      []string // whole ones, as they stand there
	tag        string   // where there is nothing but a tag
}

// images are those of the OCI layout's index, or else of Docker's list, with the names that they are to get.
func (a *archive) images(ctx context.Context, as string) ([]named, error) {
	index, isLayout := a.documents[layoutIndex]
	list, isDocker := a.documents[dockerList]
	if !isLayout && !isDocker {
		return nil, errors.New("there are no images: it has neither index.json (OCI layout) nor manifest.json (docker save)")
	}
	var all []found
	var err error
	if isLayout {
		if all, err = a.layoutImages(index); err != nil {
			return nil, err
		}
	}
	isNamed := func(f found) bool { return len(f.names) > 0 }
	if isDocker && (len(all) == 0 || as == "" && !slices.ContainsFunc(all, isNamed)) {
		docker, err := a.dockerImages(ctx, list)
		if err != nil {
			return nil, err
		}
		if len(all) == 0 || slices.ContainsFunc(docker, isNamed) {
			all = docker
		}
	}
	var images []named
	if as == "" {
		images, err = ownNames(all)
	} else {
		images, err = a.renamed(ctx, all, as)
	}
	if err != nil {
		return nil, err
	}
	for _, image := range images {
		if err := a.checkComplete(ctx, image.descriptor); err != nil {
			return nil, fmt.Errorf("image %s: %w", image.reference, err)
		}
	}
	return images, nil
}

// ownNames leaves out what has no name, unless nothing has.
func ownNames(all []found) ([]named, error) {
	var images []named
	var tags []string
	for _, f := range all {
		for _, name := range f.names {
			reference, err := checkName(name)
			if err != nil {
				return nil, err
			}
			images = append(images, named{reference, f.descriptor})
		}
		if f.tag != "" {
			tags = append(tags, f.tag)
		}
	}
	switch {
	case len(images) > 0:
		return images, nil
	case len(all) == 0:
		return nil, errors.New("there are no images: its list of them is empty")
	case len(tags) == 1:
		return nil, fmt.Errorf("the image has no name, only the tag %.100q: give it one with --name, such as --name example.com/image:%.100s", tags[0], tags[0])
	}
	return nil, errors.New("no image there has a name: give it one with --name, such as --name example.com/image:1")
}

// renamed gives the one image that there is, or its platforms, another name.
func (a *archive) renamed(ctx context.Context, all []found, as string) ([]named, error) {
	reference, err := checkName(as)
	if err != nil {
		return nil, err
	}
	// What has no name beside what has one belongs to it: attestations and SBOMs.
	chosen := slices.DeleteFunc(slices.Clone(all), func(f found) bool { return len(f.names) == 0 && f.tag == "" })
	if len(chosen) == 0 {
		chosen = all
	}
	var images []named
	known := map[digest.Digest]bool{}
	for _, f := range chosen {
		if !known[f.descriptor.Digest] {
			known[f.descriptor.Digest] = true
			images = append(images, named{reference, f.descriptor})
		}
	}
	if len(images) > 1 && (!sameNames(chosen) || !a.differentPlatforms(ctx, images)) {
		return nil, fmt.Errorf("there are several images (%.500s), and --name names one: export that one alone, or leave --name out", listed(chosen))
	}
	if len(images) == 0 {
		return nil, errors.New("there are no images: its list of them is empty")
	}
	return images, nil
}

// sameNames says that whatever has names has the same ones.
func sameNames(all []found) bool {
	return !slices.ContainsFunc(all, func(f found) bool { return f.tag != all[0].tag || !slices.Equal(f.names, all[0].names) })
}

// differentPlatforms says that images are those of one, each for another platform.
func (a *archive) differentPlatforms(ctx context.Context, images []named) bool {
	r := &resolver{fetch: a.fetch, budget: maxDocuments}
	seen := map[string]bool{}
	for _, image := range images {
		if isIndex(image.descriptor.MediaType) {
			return false
		}
		p, err := r.platformOf(ctx, image.descriptor)
		if err != nil || p.Architecture == "" || seen[PlatformString(normal(p))] {
			return false
		}
		seen[PlatformString(normal(p))] = true
	}
	return true
}

// listed are images as a person tells them apart.
func listed(all []found) string {
	var out []string
	for _, f := range all {
		switch {
		case len(f.names) > 0:
			out = append(out, f.names...)
		case f.tag != "":
			out = append(out, f.tag)
		default:
			out = append(out, string(f.descriptor.Digest))
		}
	}
	return strings.Join(out, ", ")
}
