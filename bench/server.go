package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const (
	// tick is the unit of CPU time in /proc (proc(5), USER_HZ): 100 a second on every platform that Go runs on.
	tick       = 10 * time.Millisecond
	serverWait = 5 * time.Second // for a server that was told to end, until it is killed
)

// server is a process of a server that is measured, with those that it started.
type server struct {
	name string
	cmd  *exec.Cmd
	log  string
	done chan struct{}
}

// startServer starts a server whose output goes to a file of dir. It ends with the bench, or with close.
func startServer(dir, name string, env []string, args ...string) (*server, error) {
	s := &server{name: name, log: filepath.Join(dir, name+".log"), done: make(chan struct{})}
	out, err := os.OpenFile(s.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	defer out.Close() // the process has its own
	s.cmd = exec.Command(args[0], args[1:]...)
	s.cmd.Env = append(append(os.Environ(), "HOME="+dir), env...)
	s.cmd.Stdout, s.cmd.Stderr = out, out
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if err := s.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	go func() {
		defer close(s.done)
		_ = s.cmd.Wait() // await and close look at it
	}()
	return s, nil
}

// await waits until ready finds nothing wrong with the server.
func (s *server) await(ready func() error) error {
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		err := ready()
		if err == nil {
			return nil
		}
		select {
		case <-s.done:
			return fmt.Errorf("%s ended by itself: %s", s.name, s.said())
		default:
		}
		if time.Now().After(end) {
			return fmt.Errorf("%s does not serve: %w; it said: %s", s.name, err, s.said())
		}
	}
}

// said is the end of its log.
func (s *server) said() string {
	data, _ := os.ReadFile(s.log) // only for an error that is told anyway
	return strings.TrimSpace(string(data[max(0, len(data)-2000):]))
}

// close ends the server and what it started.
func (s *server) close() {
	_ = syscall.Kill(-s.cmd.Process.Pid, syscall.SIGTERM) // it has ended, or ends
	select {
	case <-s.done:
	case <-time.After(serverWait):
	}
	_ = syscall.Kill(-s.cmd.Process.Pid, syscall.SIGKILL)
	<-s.done
}

// pids are the processes of the server's group.
func (s *server) pids() []int {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil
	}
	var all []int
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		if f := statFields(pid); len(f) > 2 && f[2] == strconv.Itoa(s.cmd.Process.Pid) {
			all = append(all, pid)
		}
	}
	return all
}

// statFields are those of /proc/PID/stat from the state on; the name before may hold spaces (proc(5)).
func statFields(pid int) []string {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return nil
	}
	return strings.Fields(string(data[strings.LastIndexByte(string(data), ')')+1:]))
}

// cpu is the CPU time that the server has used, in the kernel and outside.
func (s *server) cpu() time.Duration {
	var all time.Duration
	for _, pid := range s.pids() {
		f := statFields(pid)
		if len(f) < 15 {
			continue
		}
		for _, n := range f[11:15] { // utime, stime, and those of children that have ended
			ticks, _ := strconv.Atoi(n)
			all += time.Duration(ticks) * tick
		}
	}
	return all
}

// forget makes peak begin anew (proc(5), clear_refs).
func (s *server) forget() error {
	var err error
	for _, pid := range s.pids() {
		err = errors.Join(err, os.WriteFile(fmt.Sprintf("/proc/%d/clear_refs", pid), []byte("5"), 0))
	}
	return err
}

// peak is the largest memory since forget in MiB, the sum over all processes: what they share counts for each.
func (s *server) peak() float64 {
	all := 0.0
	for _, pid := range s.pids() {
		data, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
		if err != nil {
			continue
		}
		_, rest, _ := strings.Cut(string(data), "VmHWM:")
		if f := strings.Fields(rest); len(f) > 0 {
			kib, _ := strconv.ParseFloat(f[0], 64)
			all += kib / 1024
		}
	}
	return all
}

// lacking says aloud that a peer is left out because its program is not there.
func lacking(program, pkg string) bool {
	if _, err := exec.LookPath(program); err == nil {
		return false
	}
	fmt.Fprintf(os.Stderr, "%s is left out: %s is not installed; run: apt-get install --no-install-recommends %s\n", program, program, pkg)
	return true
}
