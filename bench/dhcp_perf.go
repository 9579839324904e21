package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// perfClients are MACs that perfdhcp uses in turn: more than exchanges in a run, since it counts the address of a client that comes
// again as one that was given twice.
const perfClients = 120_000

// perfResult is what perfdhcp found at a rate.
type perfResult struct {
	rate     float64 // complete exchanges a second
	lost     float64 // share of exchanges of two packets that were not answered
	p50, p99 time.Duration
}

var errMissing = errors.New("a program is not installed")

const (
	bufferFile  = "/proc/sys/net/core/rmem_default"
	bufferBytes = 4 << 20
)

// largeBuffers has sockets hold as much as they may until the returned function is called. perfdhcp shares the cores with the servers,
// takes the buffer that it finds, and counts what does not fit into that as lost by the server: 200 KiB are some 10 ms of answers.
// Only the host itself can set this, for all its networks.
func largeBuffers() (undo func() error) {
	was, err := os.ReadFile(bufferFile)
	if err == nil {
		err = os.WriteFile(bufferFile, strconv.AppendInt(nil, bufferBytes, 10), 0)
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "perfdhcp has a small buffer, and loses answers itself: %v\n", err)
		return func() error { return nil }
	}
	return func() error { return os.WriteFile(bufferFile, was, 0) }
}

// perf runs perfdhcp for a while. Its packets are those of a relay agent, and sent to all servers, as a relay agent does.
func (d *dhcpBench) perf(ctx context.Context, rate int, span time.Duration) (perfResult, error) {
	time.Sleep(perfRest)
	args := d.load.Command("perfdhcp", "-4", "-l", "eth0", "-r", strconv.Itoa(rate), "-R", strconv.Itoa(perfClients), "-p", strconv.Itoa(int(span.Seconds())),
		"-W", "1500000", "-u", "-x", "t", "all")
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	var out, complaint bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &complaint
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && (!errors.As(err, &exit) || exit.ExitCode() != 3) { // 3: something was lost
		return perfResult{}, fmt.Errorf("perfdhcp: %w: %s", err, bytes.TrimSpace(complaint.Bytes()))
	}
	return parsePerf(out.Bytes(), span)
}

var (
	perfStamp = regexp.MustCompile(`^sent / received: ([0-9.]+) / ([0-9.]+)$`)
	perfCount = regexp.MustCompile(`^(sent packets|received packets|non unique addresses): ([0-9]+)$`)
)

// parsePerf reads what perfdhcp prints. The times of the two halves of an exchange are not told apart: the latency is that of
// both, as the sum of their percentiles, which is a bit too much. The rate that it tells counts the time in which it only waits.
func parsePerf(out []byte, span time.Duration) (r perfResult, err error) {
	var stamps [2][]time.Duration
	var sent, received, double, complete float64
	half := 0
	lines := bufio.NewScanner(bytes.NewReader(out))
	for lines.Scan() {
		line := lines.Text()
		switch {
		case strings.Contains(line, "DISCOVER-OFFER"):
			half = 0
		case strings.Contains(line, "REQUEST-ACK"):
			half = 1
		}
		if m := perfStamp.FindStringSubmatch(line); m != nil {
			a, errA := strconv.ParseFloat(m[1], 64)
			b, errB := strconv.ParseFloat(m[2], 64)
			err = errors.Join(errA, errB)
			stamps[half] = append(stamps[half], time.Duration((b-a)*float64(time.Second)))
		} else if m := perfCount.FindStringSubmatch(line); m != nil {
			n, _ := strconv.ParseFloat(m[2], 64) // the pattern has digits only
			switch m[1] {
			case "sent packets":
				sent += n
			case "received packets":
				received += n
				if half == 1 {
					complete = n
				}
			default:
				if half == 1 { // two edges may offer a client the same address
					double += n
				}
			}
		}
		if err != nil {
			return r, fmt.Errorf("perfdhcp says %q: %w", line, err)
		}
	}
	if sent == 0 {
		return r, fmt.Errorf("perfdhcp does not say what it sent: %s", out)
	}
	if double > 0 {
		return r, fmt.Errorf("perfdhcp was given %.0f addresses twice", double)
	}
	r.lost, r.rate = 1-received/sent, complete/span.Seconds()
	for _, s := range stamps {
		if len(s) > 0 {
			slices.Sort(s)
			r.p50 += s[len(s)/2]
			r.p99 += s[len(s)*99/100]
		}
	}
	return r, nil
}
