package access

import (
	"context"
	"time"

	"github.com/kiln-farm/kiln/cli/client"
	"github.com/kiln-farm/kiln/cli/ui"
)

// Dial makes a client of the farm that the flags name, and fills in the team of the credentials.
func (f *Flags) Dial(ctx context.Context, env ui.Env, patience time.Duration) (*client.Farm, error) {
	if f.Farm == "" {
		return nil, ui.Usagef("this needs a farm: name it with --farm or KILN_FARM")
	}
	urls, err := client.ParseURLs(f.Farm)
	if err != nil {
		return nil, ui.Usagef("%w", err)
	}
	opts := client.Options{Patience: patience}
	if text := env.Getenv("KILN_PATIENCE"); text != "" {
		if opts.Patience, err = time.ParseDuration(text); err != nil || opts.Patience <= 0 {
			return nil, ui.Usagef("KILN_PATIENCE %q: it is how long to wait for a farm that has no leader, such as 30s", text)
		}
	}
	if err := f.identify(ctx, env, urls, &opts); err != nil {
		return nil, err
	}
	if f.Team == "" {
		f.Team = defaultTeam
	}
	c, err := client.Dial(f.Farm, opts)
	if err != nil {
		return nil, ui.Usagef("%w", err)
	}
	return c, nil
}
