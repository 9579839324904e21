package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/kiln-farm/kiln/cache/s3test"
	"github.com/kiln-farm/kiln/internal/lab"
)

const (
	roomMachines = 1000
	roomEdges    = 2
	roomKernel   = 12 << 20 // bytes
	roomInitrd   = 36 << 20
	roomSize     = roomKernel + roomInitrd
)

// measureRoom has 1,000 machines ask two edges of a farm for a release in the moment in which it becomes theirs, and
// looks what that costs the shared cache: each edge must read it once, however many ask meanwhile.
func measureRoom(ctx context.Context, o options) ([]table, error) {
	r := &roomBench{o: o, dir: filepath.Join(o.work, "room")}
	defer os.RemoveAll(r.dir)
	defer r.close()
	if err := r.prepare(ctx); err != nil {
		return nil, err
	}
	return r.measure(ctx)
}

// roomBench is a farm with S3, and edges that each reach it through a proxy that counts.
type roomBench struct {
	o       options
	dir     string
	s3      *s3test.Server
	farm    *lab.Farm
	proxies []*s3test.Proxy
	edges   []*server
	urls    []string // of edges
}

func (r *roomBench) close() {
	for _, e := range r.edges {
		e.close()
	}
	if r.farm != nil {
		_ = r.farm.Close() // the figures are there
	}
	for _, p := range r.proxies {
		p.Close()
	}
	if r.s3 != nil {
		r.s3.Close()
	}
}

// prepare starts everything, and gives the machines their first release.
func (r *roomBench) prepare(ctx context.Context) error {
	if err := os.MkdirAll(r.dir, 0o700); err != nil {
		return err
	}
	for name, data := range map[string][]byte{
		"old": random(smallFile, 5), "kernel": random(roomKernel, 6), "initrd": random(roomInitrd, 7),
	} {
		if err := os.WriteFile(filepath.Join(r.dir, name), data, 0o600); err != nil {
			return err
		}
	}
	var err error
	if r.s3, err = s3test.Start(r.dir, "127.0.0.1:0"); err != nil {
		return err
	}
	if r.farm, err = lab.New(ctx, lab.Options{Kiln: r.o.kiln, Dir: r.dir, Name: "bench", Coordinators: coordinators, Store: r.s3.URL("room", ""), Env: r.s3.Env()}); err != nil {
		return err
	}
	if err := r.farm.Start(ctx); err != nil {
		return err
	}
	if err := r.release(ctx, "old", "kernel: old, initrd: [old]"); err != nil {
		return err
	}
	token, err := r.kiln(ctx, "farm", "token", "--role", "edge")
	if err != nil {
		return err
	}
	for n := range roomEdges {
		if err := r.edge(n, strings.TrimSpace(token)); err != nil {
			return err
		}
	}
	return r.await(ctx, "old")
}

// kiln runs a command as the farm's administrator.
func (r *roomBench) kiln(ctx context.Context, args ...string) (string, error) {
	_, text, err := told(ctx, r.dir, r.o.kiln, append(args, "--farm", r.farm.URL(), "--credentials", r.farm.Admin)...)
	return text, err
}

// release describes all machines, which boot a release of these files from then on.
func (r *roomBench) release(ctx context.Context, name, files string) error {
	err := room(r.dir, roomMachines, name, files)
	if err == nil {
		_, err = r.kiln(ctx, "apply", "-f", filepath.Join(r.dir, "room.yml"))
	}
	return err
}

func (r *roomBench) edge(n int, token string) error {
	proxy, err := s3test.NewProxy(r.s3.Address, "127.0.0.1:0", 1)
	if err != nil {
		return err
	}
	r.proxies = append(r.proxies, proxy)
	address, err := freePort()
	if err != nil {
		return err
	}
	var join []string
	for _, c := range r.farm.Coordinators() {
		join = append(join, c.Address())
	}
	name := fmt.Sprintf("edge%d", n+1)
	e, err := startServer(r.dir, name, r.s3.Env(), r.o.kiln, "edge", "--data", filepath.Join(r.dir, name), "--id", name, "--listen", address,
		"--join", strings.Join(join, ","), "--token", token, "--store", r.s3.URL("room", proxy.URL))
	if err != nil {
		return err
	}
	r.edges, r.urls = append(r.edges, e), append(r.urls, "http://"+address)
	return nil
}

// await waits until all edges give machines that release.
func (r *roomBench) await(ctx context.Context, release string) error {
	for n, e := range r.edges {
		if err := e.await(func() error {
			if err := ctx.Err(); err != nil {
				return err
			}
			script, err := read(r.urls[n] + "/boot.ipxe?mac=" + mac(0) + "&arch=x86_64")
			if err == nil && !strings.Contains(string(script), " boots "+release) {
				err = errors.New("it does not know release " + release)
			}
			return err
		}); err != nil {
			return err
		}
	}
	return nil
}

// measure gives the machines a new release, and lets all boot.
func (r *roomBench) measure(ctx context.Context) ([]table, error) {
	reads, bytes, cpu := make([]int64, roomEdges), make([]int64, roomEdges), time.Duration(0)
	for n, p := range r.proxies {
		reads[n], bytes[n] = p.BlobReads()
		cpu -= r.edges[n].cpu()
		if err := r.edges[n].forget(); err != nil {
			return nil, err
		}
	}
	if err := r.release(ctx, "new", "kernel: kernel, initrd: [initrd], cmdline: console=ttyS0"); err != nil {
		return nil, err
	}
	begun := time.Now()
	boots, err := bootAll(ctx, r.urls, "new")
	if err != nil {
		return nil, err
	}
	var scripts, ends []time.Duration
	total, other := int64(0), 0
	for _, b := range boots {
		scripts, ends = append(scripts, b.script.Sub(begun)), append(ends, b.end.Sub(begun))
		total, other = total+b.bytes, other+b.repeats
	}
	slices.Sort(scripts)
	slices.Sort(ends)
	t := table{Title: fmt.Sprintf("A room: %d machines and %d edges of a farm, and a new release of %d MiB that nobody has yet", roomMachines, roomEdges, roomSize>>20), Columns: []string{"figure"}}
	for n, p := range r.proxies {
		after, read := p.BlobReads()
		cpu += r.edges[n].cpu()
		copies := float64(read-bytes[n]) / roomSize
		t.add(fmt.Sprintf("read from S3 by edge %d", n+1), map[string]float64{"bytes": float64(read - bytes[n]), "reads": float64(after - reads[n]), "copies": copies},
			fmt.Sprintf("%.4f copies of the release, in %d reads", copies, after-reads[n]))
	}
	t.add("from kiln apply's end to the first machine that has its script", map[string]float64{"s": scripts[0].Seconds()}, fmt.Sprintf("%.3f s", scripts[0].Seconds()))
	t.add("the last one", map[string]float64{"s": scripts[len(scripts)-1].Seconds()}, fmt.Sprintf("%.2f s", scripts[len(scripts)-1].Seconds()))
	for _, f := range []struct {
		name string
		at   int
	}{{"to the first machine that has kernel, initrd and configuration", 0}, {"the median", len(ends) / 2}, {"the last one", len(ends) - 1}} {
		t.add(f.name, map[string]float64{"s": ends[f.at].Seconds()}, fmt.Sprintf("%.2f s", ends[f.at].Seconds()))
	}
	rate := float64(total) / 1e9 / ends[len(ends)-1].Seconds()
	t.add("served to machines", map[string]float64{"bytes": float64(total), "gb_per_s": rate}, fmt.Sprintf("%.1f GB, %.2f GB/s", float64(total)/1e9, rate))
	t.add("machines that a file reached from another edge than their own", map[string]float64{"machines": float64(other)}, fmt.Sprint(other))
	peak := max(r.edges[0].peak(), r.edges[1].peak())
	t.add("CPU time of both edges, peak memory of the larger", map[string]float64{"cpu_s": cpu.Seconds(), "peak_mib": peak}, fmt.Sprintf("%.1f s, %.0f MiB", cpu.Seconds(), peak))
	return []table{t}, nil
}
