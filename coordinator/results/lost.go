package results

import (
	"context"
	"errors"
	"fmt"

	"github.com/kiln-farm/kiln/cache"
	"github.com/kiln-farm/kiln/coordinator/state"
	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
)

// errUnread: this coordinator could not read a blob that is there.
var errUnread = errors.New("a blob that is there could not be read")

// lost makes a blob that a build made be made again, unless it is there after all: then errUnread.
func (l *Duty) lost(ctx context.Context, build, digest string) error {
	gone, err := l.Second.Gone(ctx, digest)
	if err != nil {
		return fmt.Errorf("%w: %s: %w", errUnread, digest, err)
	}
	if !gone {
		return fmt.Errorf("%w: %s", errUnread, digest)
	}
	l.Tell(&kilnv1.Command{Command: &kilnv1.Command_Lost{Lost: &kilnv1.LostCommand{Build: build, Digest: digest}}})
	return nil
}

// Remake has builds that go on make a blob again that is gone, before others take it from them.
func (l *Duty) Remake(ctx context.Context, d cache.Digest) error {
	var commands []*kilnv1.Command
	l.View(func(m *state.Machine) {
		for _, build := range m.MadeBy(d.String()) {
			commands = append(commands, &kilnv1.Command{Command: &kilnv1.Command_Lost{Lost: &kilnv1.LostCommand{Build: build, Digest: d.String()}}})
		}
	})
	if len(commands) == 0 {
		return nil
	}
	_, err := l.Propose(ctx, commands...)
	return err
}
