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
	"golang.org/x/sync/singleflight"
	"google.golang.org/protobuf/proto"
)

const (
	recheckTimeout = 10 * time.Minute // for a large blob over a slow way
	recheckKept    = 2 * time.Second  // that an answer counts for those who ask later
)

// rechecks reads blobs a second time, each once however many say that it is gone.
type rechecks struct {
	reads singleflight.Group

	mu   sync.Mutex            // guards what follows
	kept map[cache.Digest]bool // answers of a moment ago
}

// recheck says whether a blob of which somebody says that it is gone or damaged is gone: now, if not before.
func (l *leader) recheck(ctx context.Context, text string) (gone bool, err error) {
	d, err := cache.ParseDigest(text)
	if err != nil || l.cfg.Recheck == nil {
		return true, nil
	}
	answer := make(chan singleflight.Result, 1)
	l.spawn(func() {
		v, err, _ := l.rechecks.reads.Do(d.Hex(), func() (any, error) { return l.read(d) })
		answer <- singleflight.Result{Val: v, Err: err}
	})
	select {
	case a := <-answer:
		return a.Val == true, a.Err
	case <-ctx.Done():
		return false, ctx.Err()
	}
}

// read reads a blob, unless that was done a moment ago.
func (l *leader) read(d cache.Digest) (gone bool, err error) {
	r := &l.rechecks
	r.mu.Lock()
	gone, ok := r.kept[d]
	r.mu.Unlock()
	if ok {
		return gone, nil
	}
	ctx, cancel := context.WithTimeout(l.ctx, recheckTimeout)
	defer cancel()
	if gone, err = l.cfg.Recheck(ctx, d); err != nil { // who asks next may be luckier
		l.log.Warn("a blob of which somebody says that it is gone could not be looked at", "blob", d.String(), "error", err)
		return gone, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.kept == nil {
		r.kept = map[cache.Digest]bool{}
	}
	r.kept[d] = gone
	time.AfterFunc(recheckKept, func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		delete(r.kept, d)
	})
	return gone, nil
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
