package progress

import (
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
)

// frameInterval: elapsed times move in tenths of a second.
const frameInterval = 100 * time.Millisecond

// TTY redraws a window of live lines on a terminal. It changes no mode of the terminal and leaves the cursor as it
// is, so that there is nothing to restore when the process is killed.
type TTY struct {
	out  io.Writer
	size func() (width, height int)
	now  func() time.Time

	mu     sync.Mutex // of all below
	track  Track
	color  bool
	drawn  int  // lines on the screen
	dirty  bool // something changed since they were drawn
	stop   chan struct{}
	ticker sync.WaitGroup
}

// NewTTY returns a TTY that draws on out, a terminal of that size, which may change.
func NewTTY(out io.Writer, size func() (width, height int), color bool) *TTY {
	t := &TTY{out: out, size: size, now: time.Now, color: color, stop: make(chan struct{})}
	t.ticker.Go(t.tick)
	return t
}

// Event implements Display.
func (t *TTY) Event(event *kilnv1.BuildEvent) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.track.Apply(event, t.now())
	t.dirty = true
}

// Close implements Display: it draws the last frame and the summary.
func (t *TTY) Close(s *Summary) {
	close(t.stop)
	t.ticker.Wait()
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.dirty {
		t.draw()
	}
	var b strings.Builder
	for _, line := range s.Lines(&t.track) {
		b.WriteString(line + "\n")
	}
	_, _ = io.WriteString(t.out, b.String())
}

func (t *TTY) tick() {
	ticker := time.NewTicker(frameInterval)
	defer ticker.Stop()
	for {
		select {
		case <-t.stop:
			return
		case <-ticker.C:
			t.mu.Lock()
			if len(t.track.started) > 0 && !t.track.Ended() {
				t.draw()
			}
			t.mu.Unlock()
		}
	}
}

// draw replaces the lines on the screen by the frame of now, in one write, so that nothing flickers.
func (t *TTY) draw() {
	width, height := t.size()
	lines := Frame(&t.track, Screen{Width: width, Height: height, Color: t.color}, t.now())
	var b strings.Builder
	if t.drawn > 0 {
		fmt.Fprintf(&b, "\x1b[%dA", min(t.drawn, max(height-1, 1)))
	}
	for _, line := range lines {
		b.WriteString("\r" + line + "\x1b[K\n")
	}
	if len(lines) < t.drawn {
		b.WriteString("\x1b[J")
	}
	t.drawn, t.dirty = len(lines), false
	_, _ = io.WriteString(t.out, b.String()) // a terminal that is gone ends the process by a signal
}
