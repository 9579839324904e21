package coordinator

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/kiln-farm/kiln/cache"
	"github.com/kiln-farm/kiln/coordinator/state"
	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
	"google.golang.org/protobuf/proto"
)

const (
	recheckTimeout = 10 * time.Minute // for a large blob over a slow way
	recheckKept    = 2 * time.Second  // that an answer counts for those who ask later
)

// rechecks reads blobs a second time, each once however many say that it is gone.
type rechecks struct {
	mu   sync.Mutex // guards what follows
	busy map[cache.Digest]*recheck
}

type recheck struct {
	done chan struct{}
	gone bool // set before done is closed
	err  error
}

// recheck says whether a blob of which somebody says that it is gone or damaged is gone: now, if not before.
func (l *leader) recheck(ctx context.Context, text string) (gone bool, err error) {
	d, err := cache.ParseDigest(text)
	if err != nil || l.cfg.Recheck == nil {
		return true, nil
	}
	l.rechecks.mu.Lock()
	r := l.rechecks.busy[d]
	if r == nil {
		r = &recheck{done: make(chan struct{})}
		if l.rechecks.busy == nil {
			l.rechecks.busy = map[cache.Digest]*recheck{}
		}
		l.rechecks.busy[d] = r
		l.spawn(func() { l.read(d, r) })
	}
	l.rechecks.mu.Unlock()
	select {
	case <-r.done:
		return r.gone, r.err
	case <-ctx.Done():
		return false, ctx.Err()
	}
}

func (l *leader) read(d cache.Digest, r *recheck) {
	ctx, cancel := context.WithTimeout(l.ctx, recheckTimeout)
	defer cancel()
	r.gone, r.err = l.cfg.Recheck(ctx, d)
	close(r.done)
	if r.err != nil {
		l.log.Warn("a blob of which somebody says that it is gone could not be looked at", "blob", d.String(), "error", r.err)
	}
	keep := recheckKept
	if r.err != nil {
		keep = 0 // who asks next may be luckier
	}
	time.AfterFunc(keep, func() {
		l.rechecks.mu.Lock()
		defer l.rechecks.mu.Unlock()
		delete(l.rechecks.busy, d)
	})
}

// doubted turns a completion that says that an input is gone into one of the builder's own fault, when the blob is
// there and good: another builder may be luckier.
func (l *leader) doubted(ctx context.Context, req *kilnv1.CompleteRequest) (*kilnv1.CompleteRequest, error) {
	if req.GetCompletion() != kilnv1.Completion_COMPLETION_INPUT_MISSING {
		return req, nil
	}
	gone, err := l.recheck(ctx, req.GetMissing())
	switch {
	case ctx.Err() != nil:
		return nil, ctx.Err() // the builder says it again
	case err == nil && gone:
		return req, nil
	}
	infra := proto.CloneOf(req)
	infra.Completion, infra.Missing = kilnv1.Completion_COMPLETION_INFRA, ""
	infra.Error = fmt.Sprintf("builder %s could not read the blob %s, which is there", req.GetBuilder(), req.GetMissing())
	if err != nil {
		infra.Error = fmt.Sprintf("builder %s could not read the blob %s, and the leader cannot look for it: %v", req.GetBuilder(), req.GetMissing(), err)
	}
	return infra, nil
}

// errUnread: this coordinator could not read a blob that is there.
var errUnread = errors.New("a blob that is there could not be read")

// lost makes a blob that a build made be made again, unless it is there after all: then errUnread.
func (l *leader) lost(ctx context.Context, build, digest string) error {
	gone, err := l.recheck(ctx, digest)
	if err != nil {
		return fmt.Errorf("%w: %s: %w", errUnread, digest, err)
	}
	if !gone {
		return fmt.Errorf("%w: %s", errUnread, digest)
	}
	l.tell(&kilnv1.Command{Command: &kilnv1.Command_Lost{Lost: &kilnv1.LostCommand{Build: build, Digest: digest}}})
	return nil
}

// remake has builds that go on make a blob again that is gone, before others take it from them.
func (l *leader) remake(ctx context.Context, d cache.Digest) error {
	var commands []*kilnv1.Command
	l.fsm.View(func(m *state.Machine) {
		for _, build := range m.MadeBy(d.String()) {
			commands = append(commands, &kilnv1.Command{Command: &kilnv1.Command_Lost{Lost: &kilnv1.LostCommand{Build: build, Digest: d.String()}}})
		}
	})
	if len(commands) == 0 {
		return nil
	}
	_, err := l.proposer.Propose(ctx, commands...)
	return err
}
