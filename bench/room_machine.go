package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// booted is how a machine fared.
type booted struct {
	script, end time.Time // when it had its script, and everything
	bytes       int64
	repeats     int // files that an edge did not give
}

const (
	bootAgain   = 100 * time.Millisecond // until a machine asks again that was told to boot something else
	bootPatient = 5 * time.Minute
)

// bootAll boots all machines at once, each at one of the edges, until each has that release and its configuration.
func bootAll(ctx context.Context, edges []string, release string) ([]booted, error) {
	ctx, cancel := context.WithTimeout(ctx, bootPatient)
	defer cancel()
	all := make([]booted, roomMachines)
	faults := make([]error, roomMachines)
	var group sync.WaitGroup
	for n := range all {
		group.Go(func() { faults[n] = all[n].boot(ctx, edges[n%len(edges)], n, release) })
	}
	group.Wait()
	return all, errors.Join(faults...)
}

// boot is what iPXE and an image do: the script, the files that it names, and the configuration with the boot's token.
func (b *booted) boot(ctx context.Context, edge string, n int, release string) error {
	client := newClient()
	defer client.CloseIdleConnections()
	script, err := b.ask(ctx, client, edge, n, release)
	if err != nil {
		return fmt.Errorf("machine %d: %w", n+1, err)
	}
	b.script = time.Now()
	config, sizes, err := b.run(ctx, client, strings.Split(script, "\n"))
	if err != nil {
		return fmt.Errorf("machine %d: %w", n+1, err)
	}
	if len(sizes) != 2 || sizes[0] != roomKernel || sizes[1] != roomInitrd {
		return fmt.Errorf("machine %d got files of %v bytes, not %d and %d", n+1, sizes, roomKernel, roomInitrd)
	}
	data, err := readWith(ctx, client, config+"/nocloud/user-data")
	if want := fmt.Sprintf("this is m%04d", n+1); err == nil && data != want {
		err = fmt.Errorf("its configuration is %q, not %q", data, want)
	}
	if err != nil {
		return fmt.Errorf("machine %d: %w", n+1, err)
	}
	b.end = time.Now()
	return nil
}

// ask asks for the script until it is that of the release.
func (b *booted) ask(ctx context.Context, client *http.Client, edge string, n int, release string) (string, error) {
	for {
		script, err := readWith(ctx, client, edge+"/boot.ipxe?mac="+mac(n)+"&arch=x86_64")
		if err != nil || strings.Contains(script, " boots "+release+"\n") {
			return script, err
		}
		select {
		case <-time.After(bootAgain):
		case <-ctx.Done():
			return "", ctx.Err()
		}
	}
}

// run does what a script says, as iPXE does: a line "kernel … URL … || goto LABEL" goes on at the label when there is no such file.
// It ends at boot, with the first URL of the configuration and the sizes of what was fetched.
func (b *booted) run(ctx context.Context, client *http.Client, lines []string) (config string, sizes []int64, err error) {
	buffer := make([]byte, 64<<10)
	for at := 0; at < len(lines); at++ {
		command, otherwise, _ := strings.Cut(lines[at], " || goto ")
		word, rest, _ := strings.Cut(command, " ")
		switch word {
		case "kernel":
			sizes = nil
			if _, after, ok := strings.Cut(rest, "kiln.config="); ok {
				config = strings.Fields(after)[0]
			}
		case "initrd":
		case "boot":
			return config, sizes, nil
		default:
			continue
		}
		_, url, ok := strings.Cut(rest, "http://")
		if !ok {
			return "", nil, fmt.Errorf("the script has no URL in %q", command)
		}
		var count atomic.Int64
		last := get(ctx, client, "http://"+strings.Fields(url)[0], buffer, &count)
		b.bytes += count.Load()
		if last == nil {
			sizes = append(sizes, count.Load())
			continue
		}
		b.repeats++
		next := slices.Index(lines, ":"+otherwise)
		if next < at || otherwise == "again" {
			return "", nil, fmt.Errorf("no edge gave all files: %w", last)
		}
		at = next
	}
	return "", nil, errors.New("the script ends without a boot")
}

func readWith(ctx context.Context, client *http.Client, url string) (string, error) {
	var count atomic.Int64
	var text strings.Builder
	err := getInto(ctx, client, url, &text, make([]byte, 8<<10), &count)
	return text.String(), err
}
