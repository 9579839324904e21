package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// readBuffer is what a client reads at once, in bytes.
const readBuffer = 256 << 10

// load is what clients got.
type load struct {
	bytes, requests int64
	took            time.Duration
}

// askAgain has clients, each with a connection of its own, ask for a URL again and again for a while.
func askAgain(ctx context.Context, url string, clients int, d time.Duration) (load, error) {
	var bytes, requests atomic.Int64
	var group sync.WaitGroup
	var once sync.Once
	var fault error
	begun := time.Now()
	ctx, cancel := context.WithDeadline(ctx, begun.Add(d))
	defer cancel()
	for range clients {
		group.Go(func() {
			client := newClient()
			defer client.CloseIdleConnections()
			buffer := make([]byte, readBuffer)
			for ctx.Err() == nil {
				if err := get(ctx, client, url, buffer, &bytes); err == nil {
					requests.Add(1)
				} else if ctx.Err() == nil {
					once.Do(func() { fault = err })
					return
				}
			}
		})
	}
	group.Wait()
	return load{bytes.Load(), requests.Load(), time.Since(begun)}, fault
}

// newClient is a client with at most one connection, as a machine has.
func newClient() *http.Client {
	return &http.Client{Transport: &http.Transport{DisableCompression: true, MaxConnsPerHost: 1}}
}

// get reads a URL to its end, and counts the bytes as they come.
func get(ctx context.Context, client *http.Client, url string, buffer []byte, count *atomic.Int64) error {
	return getInto(ctx, client, url, io.Discard, buffer, count)
}

// getInto is get for those who want to have the bytes.
func getInto(ctx context.Context, client *http.Client, url string, to io.Writer, buffer []byte, count *atomic.Int64) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode/100 != 2 {
		return fmt.Errorf("%s: %s", url, resp.Status)
	}
	for {
		n, err := resp.Body.Read(buffer)
		count.Add(int64(n))
		_, _ = to.Write(buffer[:n]) // to memory, or nowhere
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// half is the median.
func half(all []float64) float64 {
	all = slices.Sorted(slices.Values(all))
	return all[len(all)/2]
}
