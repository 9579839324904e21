package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
)

// smallFiles is how many files the image of measureFiles has.
const smallFiles = 1_000_000

// measureFiles measures an image of very many small files: what grows with their number, and not with their size.
func measureFiles(ctx context.Context, o options) ([]table, error) {
	fmt.Fprintf(os.Stderr, "making an image of %d files\n", smallFiles)
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	dir := filepath.Join(o.work, "files")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	if _, err := command(ctx, o.work, self, "-small-files", dir); err != nil {
		return nil, err
	}
	yaml := filepath.Join(dir, "files.yml")
	if err := os.WriteFile(yaml, []byte("init:\n  - bench/files:1\n"), 0o644); err != nil {
		return nil, err
	}
	t := table{
		Title:   fmt.Sprintf("An image of %d files of 10 to 16 bytes, cold, image local, median of %d", smallFiles, o.runs),
		Columns: []string{"wall", "CPU", "peak RSS"},
	}
	builders := []imageBuilder{kiln(o.kiln, o.work)}
	if o.linuxkit != "" {
		builders = append(builders, linuxkit(o.linuxkit, o.work))
	}
	for _, b := range builders {
		for _, format := range []string{"kernel+initrd", "tar"} {
			var samples []sample
			for range o.runs {
				s, err := coldBuild(ctx, b, dir, yaml, format)
				if err != nil {
					return nil, fmt.Errorf("%s: %w", b.name, err)
				}
				samples = append(samples, s)
			}
			m := median(samples)
			t.add(b.name+", "+format,
				map[string]float64{"wall_s": m.wall.Seconds(), "cpu_s": m.cpu.Seconds(), "rss_mib": float64(m.rss) / (1 << 20)},
				seconds(m.wall), seconds(m.cpu), fmt.Sprintf("%.0f MiB", float64(m.rss)/(1<<20)))
		}
	}
	return []table{t}, nil
}

// coldBuild builds with a cache that has the image and nothing else.
func coldBuild(ctx context.Context, b imageBuilder, dir, yaml, format string) (sample, error) {
	cache, err := os.MkdirTemp(dir, "cache")
	if err != nil {
		return sample{}, err
	}
	defer os.RemoveAll(cache)
	if err := b.load(ctx, cache, filepath.Join(dir, "files.tar")); err != nil {
		return sample{}, err
	}
	out := filepath.Join(dir, "out")
	if err := os.MkdirAll(out, 0o755); err != nil {
		return sample{}, err
	}
	return b.build(ctx, cache, yaml, out, "--format", format)
}

// writeSmallFiles writes the image: a thousand directories of a thousand files.
func writeSmallFiles(dir string) error {
	return writeLayout(filepath.Join(dir, "files.tar"), "docker.io/bench/files:1", func(string) []member {
		members := make([]member, smallFiles)
		for i := range members {
			members[i] = member{fmt.Sprintf("data/%03d/file-%07d", i/1000, i), []byte("contents " + strconv.Itoa(i))}
		}
		return members
	})
}
