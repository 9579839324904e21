package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/kiln-farm/kiln/internal/lab"
)

const (
	perfFirst   = 250             // DORA/s, the first rate that is tried
	perfMost    = 20_000          // and the last
	perfSpan    = 6 * time.Second // of one rate
	perfRest    = time.Second     // between two
	perfLow     = 250             // DORA/s at which all latencies are compared
	perfSteps   = 3               // rates between one that went and one that did not
	perfLoss    = 0.001           // of exchanges: what is under way at the end of a run counts as lost
	perfReached = 0.97            // of the rate, by perfdhcp itself
)

// measureDHCP has perfdhcp, of Kea's packages, ask Kiln, Kea and dnsmasq for addresses, one after the other.
func measureDHCP(ctx context.Context, o options) (tables []table, err error) {
	if err := lab.Able(); err != nil {
		fmt.Fprintln(os.Stderr, "dhcp is not measured:", err)
		return nil, nil
	}
	undo := largeBuffers()
	defer func() { err = errors.Join(err, undo()) }()
	t := table{Title: "DHCP: complete exchanges (DISCOVER, OFFER, REQUEST, ACK) a second by perfdhcp, behind a relay agent, without loss",
		Columns: []string{"DORA/s", fmt.Sprintf("p50 at %d/s", perfLow), "p99", "p50 at the most", "p99"}}
	for _, s := range []struct {
		name  string
		start func(context.Context, options, *dhcpBench) error
	}{
		{"kiln, three coordinators with fsync, one edge", func(ctx context.Context, o options, d *dhcpBench) error { return d.kiln(ctx, o, 1) }},
		{"kiln, three coordinators with fsync, two edges", func(ctx context.Context, o options, d *dhcpBench) error { return d.kiln(ctx, o, 2) }},
		{"Kea, memfile, no fsync", func(_ context.Context, _ options, d *dhcpBench) error { return d.kea(keaPlain) }},
		{"Kea, memfile, each lease on disk first", func(_ context.Context, _ options, d *dhcpBench) error { return d.kea(keaSync) }},
		{"Kea, memfile, no fsync, hot standby", func(_ context.Context, _ options, d *dhcpBench) error { return d.kea(keaStandby) }},
		{"dnsmasq", func(_ context.Context, _ options, d *dhcpBench) error { return d.dnsmasq() }},
	} {
		if err := t.dhcp(ctx, o, s.name, s.start); errors.Is(err, errMissing) {
			fmt.Fprintf(os.Stderr, "%s is not measured: %v\n", s.name, err)
		} else if err != nil {
			return nil, fmt.Errorf("%s: %w", s.name, err)
		}
	}
	return []table{t}, nil
}

// dhcp measures one server.
func (t *table) dhcp(ctx context.Context, o options, name string, start func(context.Context, options, *dhcpBench) error) (err error) {
	dir, err := os.MkdirTemp(o.work, "dhcp-")
	if err != nil {
		return err
	}
	d, err := newDHCPBench(dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.close()) }()
	if err := start(ctx, o, d); err != nil {
		return err
	}
	if err := d.warm(ctx); err != nil {
		return err
	}
	low, err := d.perf(ctx, perfLow, perfSpan)
	if err != nil {
		return err
	}
	best, err := d.most(ctx, low)
	if err != nil {
		return err
	}
	cells := []string{fmt.Sprintf("%.0f", best.rate), ms1(low.p50), ms1(low.p99), ms1(best.p50), ms1(best.p99)}
	t.add(name, map[string]float64{"dora_per_s": best.rate, "low_p50_ms": ms(low.p50), "low_p99_ms": ms(low.p99), "most_p50_ms": ms(best.p50), "most_p99_ms": ms(best.p99)}, cells...)
	return nil
}

func ms1(d time.Duration) string { return fmt.Sprintf("%.1f ms", ms(d)) }

// most finds the highest rate at which nothing is lost: first by half as much again each time, then between the last that
// went and the first that did not. A rate has three chances, since this machine does other things, too.
func (d *dhcpBench) most(ctx context.Context, best perfResult) (perfResult, error) {
	try := func(rate int) (perfResult, bool, error) {
		for range 3 {
			r, err := d.perf(ctx, rate, perfSpan)
			if err != nil {
				return r, false, err
			}
			fmt.Fprintf(os.Stderr, "  %d DORA/s: %.0f reached, %.2f %% lost, p50 %s, p99 %s\n", rate, r.rate, 100*r.lost, ms1(r.p50), ms1(r.p99))
			if r.lost <= perfLoss && r.rate >= perfReached*float64(rate) {
				return r, true, nil
			}
		}
		return perfResult{}, false, nil
	}
	good, bad := 0, perfMost
	for rate := perfFirst; rate < perfMost; rate = rate * 3 / 2 {
		r, ok, err := try(rate)
		if err != nil {
			return r, err
		}
		if !ok {
			bad = rate
			break
		}
		best, good = r, rate
	}
	for range perfSteps {
		if good == 0 {
			break
		}
		middle := (good + bad) / 2
		r, ok, err := try(middle)
		switch {
		case err != nil:
			return r, err
		case ok:
			best, good = r, middle
		default:
			bad = middle
		}
	}
	return best, nil
}

// warm waits until the server answers.
func (d *dhcpBench) warm(ctx context.Context) error {
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(500 * time.Millisecond) {
		r, err := d.perf(ctx, 20, 2*time.Second)
		if err == nil && r.lost < 0.1 && r.rate > 10 {
			return nil
		}
		if time.Now().After(end) {
			return fmt.Errorf("it does not answer (%v); its log: %s", err, d.said())
		}
	}
}

// said is the end of the logs of what was started.
func (d *dhcpBench) said() (text string) {
	logs, _ := filepath.Glob(filepath.Join(d.dir, "*.log")) // the pattern is a good one
	for _, path := range logs {
		if b, err := os.ReadFile(path); err == nil {
			text += string(b[max(0, len(b)-1000):])
		}
	}
	return text
}
