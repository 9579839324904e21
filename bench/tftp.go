package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

const (
	loaderSize = 1 << 20 // bytes, as iPXE has
	imageSize  = 64 << 20
	loaderName = "bench.efi"
	imageName  = "uki/amd64/" + benchMAC + ".efi"
)

// tftpCase is one way to get a file.
type tftpCase struct {
	file    string
	window  int // that the client asks for; 1: it does not ask
	runs    int
	clients int // at once
}

// measureTFTP measures kiln edge beside other servers, one after the other, at several distances. Firmware asks for
// blocks of 1468 bytes; iPXE and older UEFI for no windows, newer UEFI for windows of 4 blocks.
func measureTFTP(ctx context.Context, o options) ([]table, error) {
	if err := networks(); err != nil {
		fmt.Fprintln(os.Stderr, "TFTP is left out:", err)
		return nil, nil
	}
	dir := filepath.Join(o.work, "tftp")
	b := &tftpBench{o: o, dir: dir, root: filepath.Join(dir, "root"), content: map[string][]byte{
		loaderName: random(loaderSize, 1), imageName: random(imageSize, 2),
	}}
	if err := b.prepare(ctx); err != nil {
		return nil, err
	}
	var tables []table
	for _, rtt := range []time.Duration{0, time.Millisecond, 5 * time.Millisecond} {
		t, err := b.distance(ctx, rtt)
		if err != nil {
			return nil, fmt.Errorf("at %s: %w", rtt, err)
		}
		tables = append(tables, t)
	}
	return tables, nil
}

type tftpBench struct {
	o         options
	dir, root string
	content   map[string][]byte
}

// prepare writes the files, and describes the machine that boots the large one.
func (b *tftpBench) prepare(ctx context.Context) error {
	for name, data := range b.content {
		path := filepath.Join(b.root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(path, data, 0o644); err != nil {
			return err
		}
	}
	// dnsmasq and atftpd give up root's rights before they read.
	for _, dir := range []string{b.o.work, b.dir} {
		if err := os.Chmod(dir, 0o755); err != nil {
			return err
		}
	}
	if err := os.Rename(filepath.Join(b.root, imageName), filepath.Join(b.root, "image")); err != nil {
		return err
	}
	if err := os.Link(filepath.Join(b.root, "image"), filepath.Join(b.root, imageName)); err != nil {
		return err
	}
	if err := room(b.root, 1, "v1", "uki: image"); err != nil {
		return err
	}
	return apply(ctx, b.o, b.root, b.store())
}

func (b *tftpBench) store() string { return filepath.Join(b.dir, "cache") }

// servers are what is measured; those whose programs are not there are left out.
func (b *tftpBench) servers(l *link) map[string][]string {
	all := map[string][]string{
		"kiln": {b.o.kiln, "edge", "--cache", b.store(), "--interface", "eth0", "--dhcp", "off", "--loaders", b.root},
	}
	if !lacking("dnsmasq", "dnsmasq-base") {
		all["dnsmasq"] = []string{"dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null", "--port=0", "--interface=eth0", "--bind-interfaces",
			"--enable-tftp", "--tftp-max=200", "--tftp-root=" + b.root, "--log-facility=-", "--pid-file="}
	}
	if !lacking("atftpd", "atftpd") {
		all["atftpd"] = []string{"atftpd", "--daemon", "--no-fork", "--bind-address", l.server.String(), "--logfile", "-", b.root}
	}
	return all
}

// distance measures all servers at one.
func (b *tftpBench) distance(ctx context.Context, rtt time.Duration) (t table, err error) {
	l, err := newLink(rtt)
	if err != nil {
		return t, err
	}
	defer func() { err = errors.Join(err, l.close()) }()
	trip, err := l.trip()
	if err != nil {
		return t, err
	}
	t = table{Title: fmt.Sprintf("TFTP at a round trip of %d ms (%.2f ms measured), blksize 1468, one client unless it says; ~ is of a transfer that was cut after %s", rtt.Milliseconds(), ms(trip), tftpCut),
		Columns: []string{"kiln", "dnsmasq", "atftpd", "limit"}}
	cases := []tftpCase{
		{loaderName, 1, 5, 1}, {loaderName, 1, b.o.runs, 64}, {imageName, 1, 1, 1}, {imageName, 4, b.o.runs, 1}, {imageName, 16, b.o.runs, 1}, {imageName, 64, b.o.runs, 1},
	}
	rows := make([]row, len(cases))
	for i := range rows {
		rows[i] = row{Figures: map[string]float64{"rtt_ms": ms(trip)}, Cells: []string{"", "", "", ""}}
	}
	servers := b.servers(l)
	for column, name := range t.Columns[:3] {
		args, ok := servers[name]
		if !ok {
			continue
		}
		if err := b.server(ctx, l, name, args, cases, func(i int, cell string, figures map[string]float64) {
			rows[i].Cells[column] = cell
			for k, v := range figures {
				rows[i].Figures[name+"_"+k] = v
			}
		}); err != nil {
			return t, err
		}
	}
	for i, c := range cases {
		if rtt > 0 {
			most := float64(tftpBlock*c.window*c.clients) / trip.Seconds() / 1e6
			rows[i].Cells[3], rows[i].Figures["limit_mb_s"] = fmt.Sprintf("%.2f MB/s", most), most
		}
		t.add(c.String(len(b.content[c.file])), rows[i].Figures, rows[i].Cells...)
	}
	if rtt == time.Millisecond {
		return t, b.foreign(ctx, l, &t, servers)
	}
	return t, nil
}

func (c tftpCase) String(size int) string {
	if c.clients > 1 {
		return fmt.Sprintf("%d clients, %d MiB each, no windows", c.clients, size>>20)
	}
	if c.window == 1 {
		return fmt.Sprintf("%d MiB, no windows", size>>20)
	}
	return fmt.Sprintf("%d MiB, windowsize %d", size>>20, c.window)
}

// server measures all cases of one.
func (b *tftpBench) server(ctx context.Context, l *link, name string, args []string, cases []tftpCase, tell func(int, string, map[string]float64)) error {
	s, err := b.start(l, name, args)
	if err != nil {
		return err
	}
	defer s.close()
	for i, c := range cases {
		want := b.content[c.file]
		var runs []fetched
		before := s.cpu()
		for n := 0; n < c.runs; n++ {
			if err := ctx.Err(); err != nil {
				return err
			}
			f, err := crowd(l.own, c.clients, netip.AddrPortFrom(l.server, 69), c.file, c.window, want)
			if err != nil {
				return fmt.Errorf("%s from %s: %w", c.String(len(want)), name, err)
			}
			if runs = append(runs, f); f.window != c.window {
				break // it has no windows: the figure is that without
			}
		}
		cell, figures := summary(runs, c.clients*len(want), s.cpu()-before)
		if runs[0].window != c.window {
			cell, figures = "does not grant it", map[string]float64{"window": 1}
		}
		tell(i, cell, figures)
	}
	return nil
}

// start starts a server in the link's namespace, and has it read both files once.
func (b *tftpBench) start(l *link, name string, args []string) (*server, error) {
	s, err := startServer(b.dir, name, nil, l.in(args...)...)
	if err != nil {
		return nil, err
	}
	err = s.await(func() error {
		for _, file := range []string{loaderName, imageName} {
			if _, err := fetchTFTP(l.own[0], netip.AddrPortFrom(l.server, 69), file, 64, b.content[file]); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		s.close()
		return nil, err
	}
	return s, nil
}

// summary is the median run.
func summary(runs []fetched, size int, cpu time.Duration) (string, map[string]float64) {
	var took []time.Duration
	bytes, repeats := 0, 0
	for _, f := range runs {
		took = append(took, time.Duration(float64(size)/f.rate()*1000)) // of the whole file, at the rate of the run
		bytes, repeats = bytes+f.bytes, repeats+f.repeats
	}
	whole := quantile(took, 0.5)
	rate := float64(size) / 1e6 / whole.Seconds()
	perGB := cpu.Seconds() / float64(bytes) * 1e9
	about := ""
	if runs[0].cut {
		about = "~"
	}
	return fmt.Sprintf("%.2f MB/s, %s%.2f s, %.1f CPU s/GB", rate, about, whole.Seconds(), perGB),
		map[string]float64{"mb_per_s": rate, "s": whole.Seconds(), "cpu_s_per_gb": perGB, "repeats": float64(repeats), "runs": float64(len(runs))}
}

// foreign has clients that nobody here wrote read the same: curl without windows, atftp with them.
func (b *tftpBench) foreign(ctx context.Context, l *link, t *table, servers map[string][]string) error {
	clients := []struct {
		name, program string
		file          string
		args          []string
	}{
		{"1 MiB, no windows, read by curl", "curl", loaderName, []string{"-sS", "--tftp-blksize", strconv.Itoa(tftpBlock), "-o", "OUT", "tftp://" + l.server.String() + "/" + loaderName}},
		{"64 MiB, windowsize 64, read by atftp", "atftp", "image.efi", []string{"--option", "blksize " + strconv.Itoa(tftpBlock), "--option", "windowsize 64", "--get",
			"--remote-file", imageName, "--local-file", "OUT", l.server.String()}},
	}
	for _, c := range clients {
		if lacking(c.program, c.program) {
			continue
		}
		size := loaderSize
		if c.program == "atftp" {
			size = imageSize
		}
		r := row{Figures: map[string]float64{}, Cells: []string{"", "", "", ""}}
		for column, name := range t.Columns[:3] {
			args, ok := servers[name]
			if !ok || c.program == "atftp" && name == "dnsmasq" {
				continue // it would take a minute without windows
			}
			s, err := b.start(l, name, args)
			if err != nil {
				return err
			}
			out := filepath.Join(b.dir, "out")
			run, cancel := context.WithTimeout(ctx, time.Minute)
			begun := time.Now()
			text, err := exec.CommandContext(run, c.program, strings.Split(strings.ReplaceAll(strings.Join(c.args, "\n"), "OUT", out), "\n")...).CombinedOutput()
			took := time.Since(begun)
			cancel()
			s.close()
			info, gone := os.Stat(out)
			if err != nil || gone != nil || info.Size() != int64(size) {
				r.Cells[column] = "failed"
				fmt.Fprintf(os.Stderr, "%s from %s: %v %v: %s\n", c.name, name, err, gone, text)
				continue
			}
			if err := os.Remove(out); err != nil {
				return err
			}
			rate := float64(size) / 1e6 / took.Seconds()
			r.Cells[column], r.Figures[name+"_mb_per_s"] = fmt.Sprintf("%.2f MB/s, %.2f s", rate, took.Seconds()), rate
		}
		t.add(c.name, r.Figures, r.Cells...)
	}
	return nil
}
