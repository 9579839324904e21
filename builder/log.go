package builder

import (
	"context"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/kiln-farm/kiln/cache"
	"github.com/kiln-farm/kiln/internal/bus"
	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
)

const (
	logDelay = 100 * time.Millisecond // lines are sent in bunches
	logChunk = 48 << 10               // bytes of lines in one message
	logMost  = 16 << 20               // bytes of a step's whole log
	logLine  = 8 << 10                // bytes of one line
	// lineCost is what a line takes in a message beside its bytes, so that many empty ones are bounded too.
	lineCost = 4
)

// stepLog sends a step's lines to whoever watches, and stores them whole at the end.
type stepLog struct {
	b    *Builder
	task string
	num  uint64

	mu       sync.Mutex
	draft    cache.Draft
	stored   int
	pending  []string
	bytes    int
	sequence uint64
	timer    *time.Timer
	closed   bool
}

func newStepLog(b *Builder, lease *kilnv1.Lease) *stepLog {
	return &stepLog{b: b, task: lease.GetTask(), num: lease.GetNumber()}
}

// line takes text of one or more lines.
func (l *stepLog) line(text string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return
	}
	for one := range strings.SplitSeq(strings.TrimRight(text, "\n"), "\n") {
		if short := sendable(one, logLine); len(one) > logLine {
			one = short + " … (cut)"
		} else {
			one = short
		}
		l.store(one)
		l.pending = append(l.pending, one)
		if l.bytes += len(one) + lineCost; l.bytes > logChunk {
			l.send()
		}
	}
	if len(l.pending) > 0 && l.timer == nil {
		l.timer = time.AfterFunc(logDelay, func() {
			l.mu.Lock()
			defer l.mu.Unlock()
			l.send()
		})
	}
}

// store appends to the stored log; a fault there costs the log, not the step.
func (l *stepLog) store(line string) {
	if l.stored > logMost {
		return
	}
	if l.draft == nil {
		var err error
		if l.draft, err = l.b.cfg.Blobs.Create(context.Background()); err != nil {
			l.stored = logMost + 1
			return
		}
	}
	if l.stored += len(line) + 1; l.stored > logMost {
		line = "(the log is cut here)"
	}
	l.draft.Write([]byte(line + "\n"))
}

// send publishes what is pending. The caller holds the lock.
func (l *stepLog) send() {
	if l.timer != nil {
		l.timer.Stop()
		l.timer = nil
	}
	if len(l.pending) == 0 {
		return
	}
	chunk := &kilnv1.LogChunk{Task: l.task, Number: l.num, Sequence: l.sequence, Lines: l.pending}
	l.sequence++
	l.pending, l.bytes = nil, 0
	if err := bus.Publish(context.Background(), l.b.cfg.Bus, l.b.subjects.Log(l.b.cfg.ID, l.task), chunk); err != nil {
		l.b.cfg.Log.Debug("log lines were lost", "step", l.task, "error", err)
	}
}

// close sends the rest and returns the digest of the stored log, "" when there is none.
func (l *stepLog) close() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.send()
	l.closed = true
	if l.draft == nil {
		return ""
	}
	defer l.draft.Abort()
	d, _, err := l.draft.Commit()
	if err != nil {
		return ""
	}
	return d.String()
}

// sendable is at most n bytes of s, cut between characters and with anything that is not UTF-8 replaced: a message with
// such a string cannot be encoded (protobuf language guide, "string"), and names in an image may be any bytes.
func sendable(s string, n int) string {
	s = strings.ToValidUTF8(s[:min(len(s), n+utf8.UTFMax)], string(utf8.RuneError))
	for len(s) > n {
		_, size := utf8.DecodeLastRuneInString(s)
		s = s[:len(s)-size]
	}
	return s
}
