package bottleneck

import (
	"bytes"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

const (
	ticks    = 100 // of /proc/stat in a second (USER_HZ, proc_stat(5))
	maxLines = 64  // interfaces
	mostRead = 64 << 10
)

// Host fills in what this host tells of itself. What it does not tell stays unknown.
func Host(s *Sample) { host(s, "/") }

func host(s *Sample, root string) {
	s.CPU, s.CPUs, s.Disk = -1, runtime.NumCPU(), -1
	if busy, ok := busyCPUs(read(filepath.Join(root, "proc/stat"))); ok {
		s.CPU = busy
	}
	// In a container with less than the host has, what counts is what this process may use (Go knows: GOMAXPROCS).
	if may := runtime.GOMAXPROCS(0); may < s.CPUs {
		var u unix.Rusage
		if unix.Getrusage(unix.RUSAGE_SELF, &u) == nil {
			s.CPU, s.CPUs = time.Duration(u.Utime.Nano()+u.Stime.Nano()).Seconds(), may
		}
	}
	if d, ok := pressure(read(filepath.Join(root, "proc/pressure/io"))); ok {
		s.Disk = d
	}
	names, err := os.ReadDir(filepath.Join(root, "sys/class/net"))
	if err != nil {
		return
	}
	for _, n := range names[:min(len(names), maxLines)] {
		dir := filepath.Join(root, "sys/class/net", n.Name())
		speed, err := strconv.ParseFloat(strings.TrimSpace(string(read(filepath.Join(dir, "speed")))), 64) // Mbit/s, or -1
		if err != nil || speed <= 0 {
			continue
		}
		sent, err := strconv.ParseUint(strings.TrimSpace(string(read(filepath.Join(dir, "statistics/tx_bytes")))), 10, 64)
		if err == nil {
			s.Lines = append(s.Lines, SentBy{n.Name(), sent, speed * 1e6 / 8})
		}
	}
}

func read(path string) []byte {
	f, err := os.Open(path)
	if err != nil {
		return nil
	}
	defer f.Close()
	data := make([]byte, mostRead)
	n, _ := f.Read(data) // of a speed that is unknown it is an error
	return data[:n]
}

// busyCPUs reads the first line of /proc/stat: the seconds of all processors together in which they did something.
func busyCPUs(stat []byte) (seconds float64, ok bool) {
	line, _, _ := bytes.Cut(stat, []byte("\n"))
	f := strings.Fields(string(line))
	if len(f) < 9 || f[0] != "cpu" {
		return 0, false
	}
	for _, i := range []int{1, 2, 3, 6, 7, 8} { // user, nice, system, irq, softirq, steal; idle and iowait are left out
		n, err := strconv.ParseUint(f[i], 10, 64)
		if err != nil {
			return 0, false
		}
		seconds += float64(n) / ticks
	}
	return seconds, true
}

// pressure reads the total of the line "some" of /proc/pressure/io (Documentation/accounting/psi.rst).
func pressure(psi []byte) (time.Duration, bool) {
	line, _, _ := strings.Cut(string(psi), "\n")
	rest, some := strings.CutPrefix(line, "some ")
	_, total, ok := strings.Cut(rest, "total=")
	n, err := strconv.ParseInt(total, 10, 64)
	return time.Duration(n) * time.Microsecond, some && ok && err == nil
}
