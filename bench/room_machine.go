package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// booted is how a machine fared.
type booted struct {
	script, end time.Time // when it had its script, and everything
	bytes       int64
	repeats     int // files that came from another edge than the first in the script
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
	buffer := make([]byte, 64<<10)
	config, sizes := "", []int64{}
	for line := range strings.SplitSeq(script, "\n") {
		if !strings.HasPrefix(line, "kernel ") && !strings.HasPrefix(line, "initrd ") {
			continue
		}
		if _, rest, ok := strings.Cut(line, "kiln.config="); ok {
			config = strings.Fields(rest)[0]
		}
		size, err := b.fetch(ctx, client, line, buffer)
		if err != nil {
			return fmt.Errorf("machine %d: %w", n+1, err)
		}
		sizes = append(sizes, size)
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

// fetch gets a file from the first edge that gives it: "kernel … URL … || kernel … URL … || goto again".
func (b *booted) fetch(ctx context.Context, client *http.Client, line string, buffer []byte) (int64, error) {
	var last error
	for i, try := range strings.Split(line, " || ") {
		at := strings.Index(try, "http://") // the first URL: that of the configuration comes after it
		if at < 0 {
			break
		}
		var count atomic.Int64
		last = get(ctx, client, strings.Fields(try[at:])[0], buffer, &count)
		b.bytes += count.Load()
		if last == nil {
			if i > 0 {
				b.repeats++
			}
			return count.Load(), nil
		}
	}
	return 0, fmt.Errorf("no edge gave a file: %w", last)
}

func readWith(ctx context.Context, client *http.Client, url string) (string, error) {
	var count atomic.Int64
	var text strings.Builder
	err := getInto(ctx, client, url, &text, make([]byte, 8<<10), &count)
	return text.String(), err
}
