package access

import (
	"context"
	"time"

	"github.com/spf13/pflag"

	"github.com/kiln-farm/kiln/cli/client"
	"github.com/kiln-farm/kiln/cli/ui"
)

// Patience is how long a question waits for a farm that has no leader now. Builds wait longer.
const Patience = 15 * time.Second

const defaultTeam = "default"

// Flags say which farm a command talks to, and as whom.
type Flags struct {
	Farm, Credentials, Team string
	Cache                   string // for what works without a farm
}

// Add adds the flags of commands that work with a farm and without.
func (f *Flags) Add(flags *pflag.FlagSet) {
	f.AddFarm(flags)
	flags.Lookup("farm").Usage = "URL of a farm, or several with commas between; none: a farm inside this process (KILN_FARM)"
	flags.StringVar(&f.Cache, "cache", "", "directory of Kiln's cache (default ~/.cache/kiln)")
	f.AddTeam(flags)
}

// AddFarm adds the flags of commands that need a farm.
func (f *Flags) AddFarm(flags *pflag.FlagSet) {
	flags.StringVar(&f.Farm, "farm", "", "URL of the farm, or several with commas between (KILN_FARM)")
	flags.StringVar(&f.Credentials, "credentials", "", "file with your certificate (KILN_CREDENTIALS; default: what kiln login saved)")
}

func (f *Flags) AddTeam(flags *pflag.FlagSet) {
	flags.StringVar(&f.Team, "team", "", "whose build it is, where a farm is shared (KILN_TEAM; default: your certificate's team, or \"default\")")
}

// Fill gives what neither a flag nor its variable said.
func (f *Flags) Fill(env ui.Env) {
	if f.Cache == "" {
		f.Cache = env.CacheDir()
	}
	if f.Team == "" && f.Farm == "" {
		f.Team = defaultTeam
	}
}

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
