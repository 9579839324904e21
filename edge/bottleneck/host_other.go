//go:build !linux

package bottleneck

import "runtime"

// Host fills in what this host tells of itself: on systems that are not Linux, nothing.
func Host(s *Sample) { s.CPU, s.CPUs, s.Disk = -1, runtime.NumCPU(), -1 }
