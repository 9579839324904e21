package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"time"
)

// sample is what one run of a command cost.
type sample struct {
	wall, cpu time.Duration
	rss       int64 // peak, bytes; the largest of the process and its children
}

// command runs a command to its end and measures it; a failure's last lines are in the error.
func command(ctx context.Context, dir, name string, args ...string) (sample, error) {
	s, _, err := told(ctx, dir, name, args...)
	return s, err
}

// told is command for those who want to have what it prints.
func told(ctx context.Context, dir, name string, args ...string) (sample, string, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "HOME="+dir)
	var output bytes.Buffer
	cmd.Stdout, cmd.Stderr = &output, &output
	start := time.Now()
	err := cmd.Run()
	wall := time.Since(start)
	if err != nil {
		lines := strings.Split(strings.TrimSpace(output.String()), "\n")
		return sample{}, "", fmt.Errorf("%s %s: %w: %s", name, strings.Join(args, " "), err, lines[len(lines)-1])
	}
	usage := cmd.ProcessState.SysUsage().(*syscall.Rusage)
	return sample{wall: wall, cpu: cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime(), rss: usage.Maxrss << 10}, output.String(), nil
}

// median takes the median of wall and CPU each, and the largest peak.
func median(samples []sample) sample {
	var wall, cpu []time.Duration
	var out sample
	for _, s := range samples {
		wall, cpu = append(wall, s.wall), append(cpu, s.cpu)
		out.rss = max(out.rss, s.rss)
	}
	slices.Sort(wall)
	slices.Sort(cpu)
	out.wall, out.cpu = wall[len(wall)/2], cpu[len(cpu)/2]
	return out
}
