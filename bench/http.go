package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"time"

	"github.com/kiln-farm/kiln/cache"
)

const (
	largeFile = 512 << 20 // bytes
	smallFile = 4 << 10
	loadTime  = 4 * time.Second // of each case
)

// httpCase is something that many ask for, again and again.
type httpCase struct {
	name    string
	clients int
	kiln    string // path at the edge
	nginx   string
	small   bool // requests count, not bytes
}

// measureHTTP measures kiln edge beside nginx, one after the other, with the same files in the page cache and the same
// client. Both write a log of what they served.
func measureHTTP(ctx context.Context, o options) ([]table, error) {
	b := &httpBench{o: o, dir: filepath.Join(o.work, "http")}
	defer os.RemoveAll(b.dir)
	if err := b.prepare(ctx); err != nil {
		return nil, err
	}
	t := table{Title: "HTTP: an artifact by its digest, files in the page cache, connections kept, over loopback", Columns: []string{"kiln", "nginx", "kiln / nginx"}}
	large, small := "/artifacts/"+cache.SumBytes(random(largeFile, 3)).String(), "/artifacts/"+cache.SumBytes(random(smallFile, 4)).String()
	script := "/boot.ipxe?mac=" + benchMAC + "&arch=x86_64"
	for _, c := range []httpCase{
		{"512 MiB, 1 client", 1, large, "/large", false},
		{"512 MiB, 64 clients", 64, large, "/large", false},
		{"4 KiB, 1 client", 1, small, "/small", true},
		{"4 KiB, 64 clients", 64, small, "/small", true},
		{"boot script, 64 clients (nginx: a file of its size)", 64, script, "/script", true},
	} {
		if err := b.measure(ctx, &t, c); err != nil {
			return nil, fmt.Errorf("%s: %w", c.name, err)
		}
	}
	return []table{t}, b.curl(ctx, &t, large)
}

type httpBench struct {
	o   options
	dir string
}

func (b *httpBench) store() string { return filepath.Join(b.dir, "cache") }

// prepare makes the files: for nginx in a directory, for the edge in a cache directory.
func (b *httpBench) prepare(ctx context.Context) error {
	if err := os.MkdirAll(b.dir, 0o755); err != nil {
		return err
	}
	for name, data := range map[string][]byte{"large": random(largeFile, 3), "small": random(smallFile, 4)} {
		if err := os.WriteFile(filepath.Join(b.dir, name), data, 0o644); err != nil {
			return err
		}
	}
	if err := room(b.dir, 1, "v1", "kernel: small, initrd: [large], cmdline: console=ttyS0"); err != nil {
		return err
	}
	return apply(ctx, b.o, b.dir, b.store())
}

// kiln starts an edge, and nginx a server of the directory; both are warm when they return.
func (b *httpBench) kiln(c httpCase) (*server, string, error) {
	address, err := freePort()
	if err != nil {
		return nil, "", err
	}
	s, err := startServer(b.dir, "kiln", nil, b.o.kiln, "edge", "--cache", b.store(), "--listen", address)
	return b.warm(s, err, "http://"+address+c.kiln)
}

// nginxConf is nginx as Debian has it, with the settings that make it fast: as many workers as processors, sendfile,
// whole packets, connections that stay.
const nginxConf = `worker_processes auto;
daemon off;
user root;
pid %[1]s/nginx.pid;
error_log stderr;
events { worker_connections 1024; }
http {
  sendfile on;
  tcp_nopush on;
  keepalive_requests 100000000;
  types { }
  default_type application/octet-stream;
  access_log %[1]s/access.log;
  server { listen %[2]s; root %[1]s; }
}
`

func (b *httpBench) nginx(c httpCase) (*server, string, error) {
	address, err := freePort()
	if err != nil {
		return nil, "", err
	}
	conf := filepath.Join(b.dir, "nginx.conf")
	if err := os.WriteFile(conf, fmt.Appendf(nil, nginxConf, b.dir, address), 0o600); err != nil {
		return nil, "", err
	}
	s, err := startServer(b.dir, "nginx", nil, "nginx", "-p", b.dir, "-c", conf)
	return b.warm(s, err, "http://"+address+c.nginx)
}

// freePort is an address of this host where nothing listens.
func freePort() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}

// warm reads the file once.
func (b *httpBench) warm(s *server, err error, url string) (*server, string, error) {
	if err != nil {
		return nil, "", err
	}
	if err := s.await(func() error { _, err := read(url); return err }); err != nil {
		s.close()
		return nil, "", err
	}
	return s, url, nil
}

func read(url string) ([]byte, error) {
	resp, err := http.Get(url)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s: %s", url, resp.Status)
	}
	if resp.ContentLength > 1<<20 {
		_, err = io.Copy(io.Discard, resp.Body)
		return nil, err
	}
	return io.ReadAll(resp.Body)
}

// served is what a server gave, and what that cost it.
type served struct {
	load
	cpu  time.Duration
	peak float64 // MiB
}

// rate is GB/s, or requests/s of small files.
func (s served) rate(small bool) float64 {
	if small {
		return float64(s.requests) / s.took.Seconds()
	}
	return float64(s.bytes) / 1e9 / s.took.Seconds()
}

// cost is CPU seconds per GB, or CPU microseconds per request.
func (s served) cost(small bool) float64 {
	if small {
		return float64(s.cpu.Microseconds()) / float64(s.requests)
	}
	return s.cpu.Seconds() / (float64(s.bytes) / 1e9)
}

// measure asks both, in turns.
func (b *httpBench) measure(ctx context.Context, t *table, c httpCase) error {
	starters := map[string]func(httpCase) (*server, string, error){"kiln": b.kiln}
	if !lacking("nginx", "nginx-light") {
		starters["nginx"] = b.nginx
	}
	all := map[string][]served{}
	for range b.o.runs {
		for _, name := range []string{"kiln", "nginx"} {
			if starters[name] == nil {
				continue
			}
			s, err := b.once(ctx, c, starters[name])
			if err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
			all[name] = append(all[name], s)
			if name == "kiln" && c.nginx == "/script" {
				if err := b.script(c); err != nil {
					return err
				}
			}
		}
	}
	r := row{Figures: map[string]float64{}, Cells: []string{"", "", ""}}
	for column, name := range t.Columns[:2] {
		if len(all[name]) == 0 {
			continue
		}
		rate, cost, peak := middle(all[name], c.small)
		r.Cells[column] = fmt.Sprintf("%.2f GB/s, %.2f CPU s/GB, %.0f MiB", rate, cost, peak)
		if c.small {
			r.Cells[column] = fmt.Sprintf("%.0f/s, %.0f CPU µs each, %.0f MiB", rate, cost, peak)
		}
		r.Figures[name+"_rate"], r.Figures[name+"_cpu"], r.Figures[name+"_peak_mib"] = rate, cost, peak
	}
	if n := r.Figures["nginx_rate"]; n > 0 {
		r.Figures["ratio"] = r.Figures["kiln_rate"] / n
		r.Cells[2] = fmt.Sprintf("%.2f", r.Figures["ratio"])
	}
	t.add(c.name, r.Figures, r.Cells...)
	return nil
}

// script keeps what the edge says for nginx to serve.
func (b *httpBench) script(c httpCase) error {
	s, url, err := b.kiln(c)
	if err != nil {
		return err
	}
	defer s.close()
	text, err := read(url)
	return errors.Join(err, os.WriteFile(filepath.Join(b.dir, "script"), text, 0o644))
}

func (b *httpBench) once(ctx context.Context, c httpCase, start func(httpCase) (*server, string, error)) (served, error) {
	s, url, err := start(c)
	if err != nil {
		return served{}, err
	}
	defer s.close()
	if err := s.forget(); err != nil {
		return served{}, err
	}
	before := s.cpu()
	l, err := askAgain(ctx, url, c.clients, loadTime)
	return served{load: l, cpu: s.cpu() - before, peak: s.peak()}, err
}

// middle takes the medians, and the largest peak.
func middle(all []served, small bool) (rate, cost, peak float64) {
	var rates, costs []float64
	for _, s := range all {
		rates, costs, peak = append(rates, s.rate(small)), append(costs, s.cost(small)), max(peak, s.peak)
	}
	return half(rates), half(costs), peak
}

// curl reads the large file with a client that nobody here wrote.
func (b *httpBench) curl(ctx context.Context, t *table, large string) error {
	if lacking("curl", "curl") || lacking("nginx", "nginx-light") {
		return nil
	}
	c := httpCase{kiln: large, nginx: "/large"}
	r := row{Figures: map[string]float64{}, Cells: []string{"", "", ""}}
	rates := map[string][]float64{}
	for range b.o.runs {
		for column, start := range []func(httpCase) (*server, string, error){b.kiln, b.nginx} {
			name := t.Columns[column]
			more, err := curl(ctx, c, start)
			if err != nil {
				return fmt.Errorf("curl from %s: %w", name, err)
			}
			rates[name] = append(rates[name], more...)
		}
	}
	for column, name := range t.Columns[:2] {
		r.Figures[name+"_rate"] = half(rates[name])
		r.Cells[column] = fmt.Sprintf("%.2f GB/s", half(rates[name]))
	}
	r.Figures["ratio"] = r.Figures["kiln_rate"] / r.Figures["nginx_rate"]
	r.Cells[2] = fmt.Sprintf("%.2f", r.Figures["ratio"])
	t.add("512 MiB, read by curl, once in a connection", r.Figures, r.Cells...)
	return nil
}

// curl starts a server and reads from it a few times; what it returns are GB/s.
func curl(ctx context.Context, c httpCase, start func(httpCase) (*server, string, error)) ([]float64, error) {
	s, url, err := start(c)
	if err != nil {
		return nil, err
	}
	defer s.close()
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	var rates []float64
	for range 3 {
		out, err := exec.CommandContext(ctx, "curl", "-sS", "-o", "/dev/null", "-w", "%{speed_download}", url).Output()
		speed, wrong := strconv.ParseFloat(string(out), 64)
		if err = errors.Join(err, wrong); err != nil {
			return nil, err
		}
		rates = append(rates, speed/1e9)
	}
	return rates, nil
}
