// Command bench measures Kiln beside its peers and prints tables, and JSON for machines.
//
//	go run ./bench -kiln bin/kiln                       # builds and scheduler
//	go run ./bench -kiln bin/kiln -linuxkit PATH        # LinuxKit in the same run, on the same images
//	go run ./bench -kiln bin/kiln -only builds -runs 5
//
// Builds: a kernel, an init and twelve services of 25 MiB of real programs each, different for amd64 and arm64.
// Each figure is the median of the runs; peak memory is the largest of them, of the process and its children.
// The edge: TFTP, HTTP and a room of machines, beside other servers; as root, since it makes network namespaces.
// Timing lives here and never in tests.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
)

type options struct {
	kiln, linuxkit string
	runs, size     int
	kills          int
	finished       int
	work           string
}

// report is what -json writes.
type report struct {
	CPUs   int     `json:"cpus"`
	Go     string  `json:"go"`
	Tables []table `json:"tables"`
}

func main() {
	var o options
	flag.StringVar(&o.kiln, "kiln", "bin/kiln", "the kiln to measure")
	flag.StringVar(&o.linuxkit, "linuxkit", "", "a linuxkit to measure beside it")
	flag.IntVar(&o.runs, "runs", 3, "runs of each case")
	flag.IntVar(&o.size, "size", 25, "MiB of each of the twelve images")
	only := flag.String("only", "", "comma list of builds, files, scheduler, farm, failover, history, s3, formats, edge (or edge-tftp, edge-http, edge-fair, edge-room), dhcp; empty for all")
	jsonFile := flag.String("json", "", "write the tables to this file, too")
	work := flag.String("worker", "", "be a builder of the bench (bench runs itself so)")
	flag.IntVar(&o.kills, "kills", 100, "kills of the leader")
	flag.IntVar(&o.finished, "finished", 100_000, "finished builds before the coordinators' memory is looked at")
	images := flag.String("images", "", "only write the images into this directory (bench runs itself so: a process's peak memory counts for its children)")
	small := flag.String("small-files", "", "only write the image of many files into this directory (as -images)")
	flag.Parse()
	if *work != "" {
		if err := runWorker(*work); err != nil {
			fmt.Fprintln(os.Stderr, "bench:", err)
			os.Exit(1)
		}
		return
	}
	if *small != "" {
		if err := writeSmallFiles(*small); err != nil {
			fmt.Fprintln(os.Stderr, "bench:", err)
			os.Exit(1)
		}
		return
	}
	if *images != "" {
		if err := writeImages(*images, o.size, o.runs); err != nil {
			fmt.Fprintln(os.Stderr, "bench:", err)
			os.Exit(1)
		}
		return
	}

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, o, *only, *jsonFile); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, o options, only, jsonFile string) error {
	work, err := os.MkdirTemp("", "kiln-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)
	o.work = work
	if o.kiln, err = filepath.Abs(o.kiln); err != nil {
		return err
	}

	suites := []struct {
		name    string
		measure func(context.Context, options) ([]table, error)
	}{
		{"builds", measureBuilds},
		{"files", measureFiles},
		{"scheduler", measureScheduler},
		{"farm", measureFarm},
		{"failover", measureFailover},
		{"history", measureHistory},
		{"s3", measureS3},
		{"formats", measureFormats},
		{"edge-tftp", measureTFTP},
		{"edge-http", measureHTTP},
		{"edge-fair", measureGreedy},
		{"edge-room", measureRoom},
		{"dhcp", measureDHCP},
	}
	out := report{CPUs: runtime.NumCPU(), Go: runtime.Version()}
	for _, s := range suites {
		if !asked(only, s.name) {
			continue
		}
		tables, err := s.measure(ctx, o)
		if err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
		for _, t := range tables {
			t.print(os.Stdout)
		}
		out.Tables = append(out.Tables, tables...)
	}
	if jsonFile == "" {
		return nil
	}
	encoded, err := json.MarshalIndent(out, "", "  ")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(jsonFile), 0o755); err != nil {
		return err
	}
	return os.WriteFile(jsonFile, append(encoded, '\n'), 0o644)
}

// asked says whether a suite is named, or what it is a part of: edge-http is a part of edge.
func asked(only, suite string) bool {
	whole, _, _ := strings.Cut(suite, "-")
	list := "," + only + ","
	return only == "" || strings.Contains(list, ","+suite+",") || strings.Contains(list, ","+whole+",")
}
