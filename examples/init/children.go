//go:build linux

package main

import (
	"errors"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// children starts processes and is the only one to wait for any: process 1 also inherits every orphan, and a
// wait for a single child elsewhere would race with the wait for all of them here.
type children struct {
	mu      sync.Mutex
	waiting map[int]chan int // by pid: gets the exit code, 128 more than the signal
	started chan struct{}    // there may be children again
}

func newChildren() *children {
	c := &children{waiting: map[int]chan int{}, started: make(chan struct{}, 1)}
	go c.reap() // as long as the machine runs
	return c
}

// start runs a program with its output in out and returns a channel that gets its exit code.
func (c *children) start(path string, args []string, out *os.File) (<-chan int, error) {
	null, err := os.Open(os.DevNull)
	if err != nil {
		return nil, err
	}
	defer null.Close()
	c.mu.Lock() // so that reap finds the process that it has waited for
	defer c.mu.Unlock()
	process, err := os.StartProcess(path, args, &os.ProcAttr{
		Env:   []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin"},
		Files: []*os.File{null, out, out},
	})
	if err != nil {
		return nil, err
	}
	code := make(chan int, 1)
	c.waiting[process.Pid] = code
	_ = process.Release()
	select {
	case c.started <- struct{}{}:
	default:
	}
	return code, nil
}

func (c *children) reap() {
	for {
		var status unix.WaitStatus
		pid, err := unix.Wait4(-1, &status, 0, nil)
		switch {
		case errors.Is(err, unix.EINTR):
		case err != nil: // no children: orphans come only from processes that were started
			select {
			case <-c.started:
			case <-time.After(time.Second):
			}
		case status.Exited():
			c.ended(pid, status.ExitStatus())
		case status.Signaled():
			c.ended(pid, 128+int(status.Signal()))
		}
	}
}

func (c *children) ended(pid, code int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if waiter, ok := c.waiting[pid]; ok {
		waiter <- code
		delete(c.waiting, pid)
	}
}
