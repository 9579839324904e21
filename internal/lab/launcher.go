package lab

import (
	"os/exec"
	"runtime"
)

// launcher starts processes from one thread of the system, which lives as long as the lab: the kernel sends a child its
// parent-death signal when the thread that started it ends, not the process (prctl(2), PR_SET_PDEATHSIG).
type launcher struct {
	jobs chan func()
	done chan struct{}
}

func newLauncher() *launcher {
	l := &launcher{jobs: make(chan func()), done: make(chan struct{})}
	go func() {
		defer close(l.done)
		runtime.LockOSThread() // and never unlocked: the thread ends with the goroutine
		for job := range l.jobs {
			job()
		}
	}()
	return l
}

func (l *launcher) start(cmd *exec.Cmd) error {
	started := make(chan error)
	l.jobs <- func() { started <- cmd.Start() }
	return <-started
}

// close ends the thread, and with it whatever it started and still runs.
func (l *launcher) close() {
	close(l.jobs)
	<-l.done
}
