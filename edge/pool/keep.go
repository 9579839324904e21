package pool

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/kiln-farm/kiln/internal/durable"
	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
)

const (
	keepFirst = 10 * time.Second
	keepShare = 50 // writing takes at most one part in so many of the time
	keepName  = "kiln bindings 1"
)

// keep writes what is known of bindings, now and then and at the end.
func (p *Pool) keep(ctx context.Context) {
	if p.cfg.File == "" {
		<-ctx.Done()
		return
	}
	wait := keepFirst
	for ctx.Err() == nil {
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-ctx.Done():
		}
		timer.Stop()
		begun := time.Now()
		if err := p.save(); err != nil {
			p.sayOnce("keep", func() {
				p.cfg.Log.Error("bindings could not be kept on this disk; after a restart without the farm no renewal is answered", "file", p.cfg.File, "error", err)
			})
		}
		wait = max(keepFirst, keepShare*time.Since(begun))
	}
}

// save writes the bindings that hold, with what remains of each now. The time of boot comes with them: another boot of the host
// has another clock.
func (p *Pool) save() error {
	boot := bootID()
	if boot == "" {
		return nil // what remains would not be known
	}
	p.mu.Lock()
	if !p.dirty {
		p.mu.Unlock()
		return nil
	}
	now := p.now()
	all := &kilnv1.WatchBindingsResponse{Complete: true}
	for at, r := range p.replica.At {
		if !r.Holds(now) || r.Client == "" {
			continue
		}
		b := &kilnv1.Binding{Subnet: at.Subnet, Address: at.Address.String(), Client: r.Client, State: r.State, UntilMs: r.Version}
		if r.Kept > 0 {
			b.KeptUntilMs = r.Version - (r.Until - r.Kept).Milliseconds()
		}
		all.Bindings = append(all.Bindings, &kilnv1.BindingNow{RemainingMs: (r.Until - now).Milliseconds(), Binding: b})
	}
	p.dirty = false
	p.mu.Unlock()
	data, err := proto.Marshal(all)
	if err == nil {
		err = durable.Replace(p.cfg.File, append(fmt.Appendf(nil, "%s\n%s %d\n", keepName, boot, now.Nanoseconds()), data...), 0o600)
	}
	if err != nil {
		p.mu.Lock()
		p.dirty = true
		p.mu.Unlock()
	}
	return err
}

// load reads what was kept in this boot of the host.
func (p *Pool) load() {
	if p.cfg.File == "" {
		return
	}
	data, err := os.ReadFile(p.cfg.File)
	if errors.Is(err, fs.ErrNotExist) {
		return
	}
	if err == nil {
		err = p.parse(data)
	}
	if err != nil {
		p.cfg.Log.Warn("the bindings on this disk are of no use; renewals are answered when the farm has told them", "file", p.cfg.File, "error", err)
	}
}

var errKept = errors.New("the file is damaged")

func (p *Pool) parse(data []byte) error {
	name, rest, ok := bytes.Cut(data, []byte("\n"))
	line, rest, ok2 := bytes.Cut(rest, []byte("\n"))
	var boot string
	var saved int64
	if !ok || !ok2 || string(name) != keepName {
		return errKept
	}
	if n, err := fmt.Sscanf(string(line), "%s %d", &boot, &saved); n != 2 || err != nil {
		return errKept
	}
	now := p.now()
	passed := now - time.Duration(saved)
	if boot != bootID() || passed < 0 {
		return errors.New("the host was started anew since, and nobody knows how long that took")
	}
	all := &kilnv1.WatchBindingsResponse{}
	if err := proto.Unmarshal(rest, all); err != nil {
		return fmt.Errorf("%w: %w", errKept, err)
	}
	for _, b := range all.GetBindings() {
		if b.RemainingMs -= passed.Milliseconds(); b.GetRemainingMs() > 0 {
			p.replica.Take(b, now)
		}
	}
	return nil
}
