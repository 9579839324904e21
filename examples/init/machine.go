//go:build linux

package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// runc is where the runc image has it.
const runc = "/usr/sbin/runc"

// stopWait is how long a service may take to end when it is asked to.
const stopWait = 10 * time.Second

// machine runs bundles.
type machine struct {
	console  *console
	children *children
	services []*service
}

type service struct {
	name  string
	heard chan struct{} // closed when it has said something or has ended
	ended chan struct{}
}

// runAll runs bundles one after another. One that fails does not keep the next from running.
func (m *machine) runAll(ctx context.Context, section string, bundles []string) {
	for _, bundle := range bundles {
		if ctx.Err() != nil {
			return
		}
		// Names are unique in their section alone.
		id := section + "-" + filepath.Base(bundle)
		who := section + " " + filepath.Base(bundle)
		if err := m.run(bundle, id, who, func() {}); err != nil {
			m.console.print("init", fmt.Sprintf("%s: %v", who, err))
		}
	}
}

// startAll starts services.
func (m *machine) startAll(ctx context.Context, bundles []string) {
	for _, bundle := range bundles {
		if ctx.Err() != nil {
			return
		}
		s := &service{name: filepath.Base(bundle), heard: make(chan struct{}), ended: make(chan struct{})}
		m.services = append(m.services, s)
		go m.serve(bundle, s) // until the service ends; stopServices waits for that
	}
}

func (m *machine) serve(bundle string, s *service) {
	var once sync.Once
	heard := func() { once.Do(func() { close(s.heard) }) }
	err := m.run(bundle, s.name, "service "+s.name, heard)
	if err != nil {
		m.console.print("init", fmt.Sprintf("service %s: %v", s.name, err))
	} else {
		m.console.print("init", "service "+s.name+" has ended")
	}
	heard()
	close(s.ended)
}

// stopServices asks services to end, and ends those that do not.
func (m *machine) stopServices() {
	for _, signal := range []string{"TERM", "KILL"} {
		deadline := time.After(stopWait)
		for _, s := range m.services {
			select {
			case <-s.ended:
			default:
				m.kill(s.name, signal)
			}
		}
		for _, s := range m.services {
			select {
			case <-s.ended:
			case <-deadline:
			}
		}
	}
}

// kill sends a signal to a container. That it may have ended meanwhile is why its failure says nothing.
func (m *machine) kill(id, signal string) {
	null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	if err != nil {
		return
	}
	defer null.Close()
	if code, err := m.children.start(runc, []string{"runc", "kill", id, signal}, null); err == nil {
		<-code
	}
}

// run prepares a bundle and runs it to its end.
func (m *machine) run(bundle, id, who string, heard func()) error {
	if err := prepare(bundle); err != nil {
		return err
	}
	r, w, err := os.Pipe()
	if err != nil {
		return fmt.Errorf("make a pipe for its output: %w", err)
	}
	defer r.Close()
	copied := make(chan struct{})
	go func() {
		defer close(copied)
		m.console.copy(who, r, heard)
	}()
	code, err := m.children.start(runc, []string{"runc", "run", "--bundle", bundle, id}, w)
	w.Close()
	if err != nil {
		<-copied
		return fmt.Errorf("start runc: %w", err)
	}
	status := <-code
	// A process that the container left behind may hold the pipe open.
	select {
	case <-copied:
	case <-time.After(time.Second):
	}
	if status != 0 {
		return fmt.Errorf("ended with code %d", status)
	}
	return nil
}
