package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/kiln-farm/kiln/cache"
)

const (
	greedyLine        = 20e6 // bytes a second
	greedyTrip        = time.Millisecond
	greedyConnections = 64 // of one client
	greedyMachines    = 15
	greedyFile        = 8 << 20 // bytes that each machine reads
)

// measureGreedy has machines read a file at once over a line that is full, alone and beside one client with many connections.
func measureGreedy(ctx context.Context, o options) (tables []table, err error) {
	if err := networks(); err != nil {
		fmt.Fprintln(os.Stderr, "edge-fair is left out:", err)
		return nil, nil
	}
	b := &httpBench{o: o, dir: filepath.Join(o.work, "fair")}
	defer os.RemoveAll(b.dir)
	if err := b.prepareFair(ctx); err != nil {
		return nil, err
	}
	l, err := newThinLink(greedyTrip, greedyLine)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, l.close()) }()
	t := table{Title: fmt.Sprintf("%d machines at once, %d MiB each, over a line of %.0f MB/s, and a client with %d connections", greedyMachines, greedyFile>>20, greedyLine/1e6, greedyConnections),
		Columns: []string{"kiln", "nginx"}}
	rows := map[bool]row{false: {Figures: map[string]float64{}, Cells: []string{"", ""}}, true: {Figures: map[string]float64{}, Cells: []string{"", ""}}}
	for column, name := range t.Columns {
		if name == "nginx" && lacking("nginx", "nginx-light") {
			continue
		}
		for _, greedy := range []bool{false, true} {
			s, url, err := b.startFair(l, name)
			if err != nil {
				return nil, err
			}
			g, err := besideGreedy(ctx, l.own[:greedyMachines+1], url, greedy)
			s.close()
			if err != nil {
				return nil, fmt.Errorf("%s: %w", name, err)
			}
			r := rows[greedy]
			r.Cells[column] = fmt.Sprintf("median %.1f s, last %.1f s", g.median.Seconds(), g.last.Seconds())
			if greedy {
				r.Cells[column] += fmt.Sprintf("; it got %.0f MB meanwhile", float64(g.taken)/1e6)
			}
			r.Figures[name+"_median_s"], r.Figures[name+"_last_s"], r.Figures[name+"_greedy_mb"] = g.median.Seconds(), g.last.Seconds(), float64(g.taken)/1e6
		}
	}
	t.add("machines alone", rows[false].Figures, rows[false].Cells...)
	t.add("beside the greedy client", rows[true].Figures, rows[true].Cells...)
	return []table{t}, nil
}

// prepareFair makes the file, and a cache that has it.
func (b *httpBench) prepareFair(ctx context.Context) error {
	if err := os.MkdirAll(b.dir, 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(b.dir, "large"), random(greedyFile, 8), 0o644); err != nil {
		return err
	}
	if err := room(b.dir, 1, "v1", "kernel: large, initrd: [large]"); err != nil {
		return err
	}
	return apply(ctx, b.o, b.dir, b.store())
}

// startFair starts a server behind the link.
func (b *httpBench) startFair(l *link, name string) (*server, string, error) {
	address := netip.AddrPortFrom(l.server, 7380).String()
	args, path := []string{b.o.kiln, "edge", "--cache", b.store(), "--listen", address}, "/artifacts/"+cache.SumBytes(random(greedyFile, 8)).String()
	if name == "nginx" {
		conf := filepath.Join(b.dir, "nginx.conf")
		if err := os.WriteFile(conf, fmt.Appendf(nil, nginxConf, b.dir, address), 0o600); err != nil {
			return nil, "", err
		}
		args, path = []string{"nginx", "-p", b.dir, "-c", conf}, "/large"
	}
	s, err := startServer(b.dir, name, nil, l.in(args...)...)
	return b.warm(s, err, "http://"+address+path)
}

// beside is how the machines fared.
type beside struct {
	median, last time.Duration
	taken        int64 // bytes that the greedy client got until the last machine had everything
}

func besideGreedy(ctx context.Context, own []netip.Addr, url string, greedy bool) (b beside, err error) {
	ctx, cancel := context.WithTimeout(ctx, bootPatient)
	defer cancel()
	running, stop := context.WithCancel(ctx)
	var others, machines sync.WaitGroup
	var taken atomic.Int64
	defer others.Wait()
	defer stop()
	if greedy {
		for range greedyConnections {
			others.Go(func() {
				for client := clientFrom(own[0]); running.Err() == nil; {
					_ = get(running, client, url, make([]byte, readBuffer), &taken) // it tries again
				}
			})
		}
		time.Sleep(time.Second) // it is there first
	}
	before, begun := taken.Load(), time.Now()
	ends, faults := make([]time.Duration, len(own)-1), make([]error, len(own)-1)
	for n, address := range own[1:] {
		machines.Go(func() {
			var count atomic.Int64
			faults[n] = get(ctx, clientFrom(address), url, make([]byte, readBuffer), &count)
			ends[n] = time.Since(begun)
		})
	}
	machines.Wait()
	return beside{median: quantile(ends, 0.5), last: quantile(ends, 1), taken: taken.Load() - before}, errors.Join(faults...)
}

// clientFrom is a client with one connection, from one of this host's addresses.
func clientFrom(a netip.Addr) *http.Client {
	d := net.Dialer{LocalAddr: net.TCPAddrFromAddrPort(netip.AddrPortFrom(a, 0))}
	return &http.Client{Transport: &http.Transport{DisableCompression: true, DisableKeepAlives: true, MaxConnsPerHost: 1, DialContext: d.DialContext}}
}
