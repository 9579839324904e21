package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const (
	formatServices = 8 // of 25 MiB each: a root of 200 MiB
	formatRuns     = 2
)

// allFormats are those of amd64 that one build can give: no two write the same file.
var allFormats = []string{
	"tar", "kernel+initrd", "tar-kernel-initrd", "kernel+squashfs", "kernel+erofs", "iso-bios", "iso-efi", "iso-efi-initrd", "raw-bios",
	"raw-efi", "raw-efi-verity", "qcow2-bios", "qcow2-efi", "aws", "gcp", "vhd", "vmdk", "uki", "ipxe", "oci",
}

// measureFormats makes all formats in one call, and one after the other.
func measureFormats(ctx context.Context, o options) ([]table, error) {
	dir := filepath.Join(o.work, "images")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	if _, err := command(ctx, o.work, self, "-images", dir, "-size", strconv.Itoa(o.size), "-runs", strconv.Itoa(formatRuns)); err != nil {
		return nil, err
	}
	f := &formatBench{options: o, images: dir}
	t := table{
		Title:   fmt.Sprintf("Formats: %d of a root of %d services of %d MiB for amd64, median of %d", len(allFormats), formatServices, o.size, formatRuns),
		Columns: []string{"wall", "CPU", "peak RSS"},
	}
	cases := map[string][]sample{}
	for n := range formatRuns {
		if err := f.once(ctx, n, cases); err != nil {
			return nil, err
		}
	}
	for _, name := range []string{"all in one call", "the same again", "one service changed, all in one call", "one call for each format"} {
		m := median(cases[name])
		t.add("kiln, "+name, map[string]float64{"wall_s": m.wall.Seconds(), "cpu_s": m.cpu.Seconds(), "rss_mib": float64(m.rss) / (1 << 20)},
			seconds(m.wall), seconds(m.cpu), fmt.Sprintf("%.0f MiB", float64(m.rss)/(1<<20)))
	}
	return []table{t}, nil
}

type formatBench struct {
	options
	images string
}

// cache is a new one with the example's kernel, init and boot loaders, and the services.
func (f *formatBench) cache(ctx context.Context) (string, error) {
	cache, err := os.MkdirTemp(f.work, "formats-")
	if err != nil {
		return "", err
	}
	root, err := os.Getwd()
	if err != nil {
		return "", err
	}
	if _, err := command(ctx, root, "env", "KILN="+f.kiln, "KILN_CACHE="+cache, "HOME="+os.Getenv("HOME"), "examples/images/build.sh", "amd64"); err != nil {
		return "", err
	}
	images, err := filepath.Glob(filepath.Join(f.images, "*_m*.tar"))
	for _, image := range images {
		if err == nil {
			_, err = command(ctx, f.work, f.kiln, "cache", "import", "--cache", cache, image)
		}
	}
	return cache, err
}

func (f *formatBench) once(ctx context.Context, n int, cases map[string][]sample) error {
	first, err := f.yaml("first", 1)
	if err != nil {
		return err
	}
	changed, err := f.yaml("changed", n+2)
	if err != nil {
		return err
	}
	cache, err := f.cache(ctx)
	if err != nil {
		return err
	}
	for _, c := range []struct{ name, yaml string }{
		{"all in one call", first}, {"the same again", first}, {"one service changed, all in one call", changed},
	} {
		syscall.Sync() // what earlier cases wrote must not slow this one
		out := filepath.Join(f.work, "out")
		s, err := f.build(ctx, cache, out, c.yaml, allFormats...)
		if err = errors.Join(err, os.RemoveAll(out)); err != nil {
			return err
		}
		cases[c.name] = append(cases[c.name], s)
	}
	if err := os.RemoveAll(cache); err != nil {
		return err
	}
	if cache, err = f.cache(ctx); err != nil {
		return err
	}
	var sum sample
	out := filepath.Join(f.work, "out") // all of it stays until the end, as in one call: a file that is gone at once is never written to the disk
	syscall.Sync()
	for _, format := range allFormats {
		s, err := f.build(ctx, cache, out, first, format)
		if err != nil {
			return err
		}
		sum.wall, sum.cpu, sum.rss = sum.wall+s.wall, sum.cpu+s.cpu, max(sum.rss, s.rss)
	}
	cases["one call for each format"] = append(cases["one call for each format"], sum)
	return errors.Join(os.RemoveAll(out), os.RemoveAll(cache))
}

func (f *formatBench) build(ctx context.Context, cache, out, yaml string, formats ...string) (sample, error) {
	begun := time.Now()
	s, err := command(ctx, f.work, f.kiln, "build", "--cache", cache, "--dir", out, "--no-sbom", "--arch", "amd64", "--progress", "plain",
		"--boot", "kiln.example/boot:demo", "--initrd", "kiln.example/root:demo", "--format", strings.Join(formats, ","), yaml)
	if err == nil && len(formats) > 1 {
		fmt.Fprintf(os.Stderr, "%d formats took %s\n", len(formats), time.Since(begun))
	}
	return s, err
}

// yaml is the example's kernel and init with services of the bench; tag is that of m05.
func (f *formatBench) yaml(name string, tag int) (string, error) {
	var b strings.Builder
	b.WriteString("kernel:\n  image: kiln.example/kernel:demo\n  cmdline: console=ttyS0\ninit:\n  - kiln.example/init:demo\nservices:\n")
	for n := range formatServices {
		t := 1
		if n == 5 {
			t = tag
		}
		fmt.Fprintf(&b, "  - name: m%02d\n    image: bench/m%02d:%d\n", n, n, t)
	}
	dir := filepath.Join(f.work, name)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	file := filepath.Join(dir, "image.yml")
	return file, os.WriteFile(file, []byte(b.String()), 0o600)
}
