package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"time"
)

// imageBuilder is kiln or linuxkit: how it imports images and builds with a cache of its own.
type imageBuilder struct {
	name  string
	load  func(ctx context.Context, cache, image string) error
	build func(ctx context.Context, cache, yaml, out string, args ...string) (sample, error)
}

// measureBuilds measures the build rows of the design's budgets.
func measureBuilds(ctx context.Context, o options) ([]table, error) {
	fmt.Fprintf(os.Stderr, "making %d images of %d MiB for two architectures\n", services, o.size)
	dir := filepath.Join(o.work, "images")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	if _, err := command(ctx, o.work, self, "-images", dir, "-size", strconv.Itoa(o.size), "-runs", strconv.Itoa(o.runs)); err != nil {
		return nil, err
	}
	images, err := filepath.Glob(filepath.Join(dir, "*.tar"))
	if err != nil {
		return nil, err
	}
	builders := []imageBuilder{kiln(o.kiln, o.work)}
	if o.linuxkit != "" {
		builders = append(builders, linuxkit(o.linuxkit, o.work))
	}
	t := table{
		Title:   fmt.Sprintf("Builds: kernel+initrd of %d services of %d MiB, images local, median of %d", services, o.size, o.runs),
		Columns: []string{"wall", "CPU", "peak RSS"},
	}
	copied, err := plainCopy(o.work, images[2])
	if err != nil {
		return nil, err
	}
	for _, b := range builders {
		if err := measureBuilder(ctx, o, b, images, &t); err != nil {
			return nil, fmt.Errorf("%s: %w", b.name, err)
		}
	}
	t.add(fmt.Sprintf("one plain copy of %d MiB", copied.mib), map[string]float64{"wall_s": copied.wall.Seconds()}, seconds(copied.wall), "", "")
	return []table{t}, nil
}

func measureBuilder(ctx context.Context, o options, b imageBuilder, images []string, t *table) error {
	out := filepath.Join(o.work, "out")
	if err := os.MkdirAll(out, 0o755); err != nil {
		return err
	}
	first := filepath.Join(o.work, "image.yml")
	if err := writeYAML(first, 1); err != nil {
		return err
	}
	newCache := func() (string, error) {
		cache, err := os.MkdirTemp(o.work, "cache-"+b.name)
		for _, image := range images {
			if err == nil {
				err = b.load(ctx, cache, image)
			}
		}
		return cache, err
	}
	cases := map[string][]sample{}
	record := func(name string, s sample, err error) error {
		cases[name] = append(cases[name], s)
		return err
	}
	compressions := []string{""}
	if b.name == "kiln" {
		compressions = []string{"", "zstd"}
	}
	for _, compress := range compressions {
		var args []string
		suffix := ""
		if compress != "" {
			args, suffix = []string{"--compress", compress}, " (zstd)"
		}
		for n := range o.runs {
			cache, err := newCache()
			if err != nil {
				return err
			}
			s, err := b.build(ctx, cache, first, out, args...)
			if err := record("cold"+suffix, s, err); err != nil {
				return err
			}
			s, err = b.build(ctx, cache, first, out, args...)
			if err := record("nothing changed"+suffix, s, err); err != nil {
				return err
			}
			changed := filepath.Join(o.work, "changed", "image.yml")
			if err := os.MkdirAll(filepath.Dir(changed), 0o755); err != nil {
				return err
			}
			if err := writeYAML(changed, n+2); err != nil {
				return err
			}
			s, err = b.build(ctx, cache, changed, out, args...)
			if err := record("one service changed"+suffix, s, err); err != nil {
				return err
			}
			s, err = b.build(ctx, cache, first, out, append(args, "--format", "tar")...)
			if err := record("then the tar"+suffix, s, err); err != nil {
				return err
			}
			if err := os.RemoveAll(cache); err != nil {
				return err
			}
		}
		for _, name := range []string{"cold", "one service changed", "nothing changed", "then the tar"} {
			m := median(cases[name+suffix])
			t.add(b.name+", "+name+suffix,
				map[string]float64{"wall_s": m.wall.Seconds(), "cpu_s": m.cpu.Seconds(), "rss_mib": float64(m.rss) / (1 << 20)},
				seconds(m.wall), seconds(m.cpu), fmt.Sprintf("%.0f MiB", float64(m.rss)/(1<<20)))
		}
	}
	return nil
}

func kiln(binary, work string) imageBuilder {
	return imageBuilder{
		name: "kiln",
		load: func(ctx context.Context, cache, image string) error {
			_, err := command(ctx, work, binary, "cache", "import", "--cache", cache, image)
			return err
		},
		build: func(ctx context.Context, cache, yaml, out string, args ...string) (sample, error) {
			args = append([]string{"build", "--cache", cache, "--dir", out, "--no-sbom", "--arch", "amd64", "--progress", "plain"}, args...)
			return command(ctx, work, binary, append(args, yaml)...)
		},
	}
}

func linuxkit(binary, work string) imageBuilder {
	return imageBuilder{
		name: "linuxkit",
		load: func(ctx context.Context, cache, image string) error {
			_, err := command(ctx, work, binary, "--cache", cache, "cache", "import", image)
			return err
		},
		build: func(ctx context.Context, cache, yaml, out string, args ...string) (sample, error) {
			args = append([]string{"--cache", cache, "build", "--dir", out, "--no-sbom", "--arch", "amd64"}, args...)
			return command(ctx, work, binary, append(args, yaml)...)
		},
	}
}

type copyTime struct {
	mib  int64
	wall time.Duration
}

// plainCopy copies one image's file twelve times: about the size of a build's output.
func plainCopy(work, file string) (copyTime, error) {
	out, err := os.Create(filepath.Join(work, "copy"))
	if err != nil {
		return copyTime{}, err
	}
	defer os.Remove(out.Name())
	start := time.Now()
	var total int64
	for range services {
		in, err := os.Open(file)
		if err != nil {
			return copyTime{}, err
		}
		n, err := io.Copy(out, in)
		in.Close()
		if err != nil {
			return copyTime{}, err
		}
		total += n
	}
	err = out.Close()
	return copyTime{total >> 20, time.Since(start)}, err
}

func seconds(d time.Duration) string {
	if d < time.Second {
		return fmt.Sprintf("%d ms", d.Milliseconds())
	}
	return fmt.Sprintf("%.2f s", d.Seconds())
}
