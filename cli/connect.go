package cli

import (
	"context"
	"time"

	"github.com/spf13/pflag"

	"github.com/kiln-farm/kiln/cli/client"
	"github.com/kiln-farm/kiln/cli/ui"
)

// askPatience is how long a question waits for a farm that has no leader now. Builds wait longer.
const askPatience = 15 * time.Second

const defaultTeam = "default"

// farmFlags say which farm a command talks to, and as whom.
type farmFlags struct {
	farm, credentials, team string
	cache                   string // for what works without a farm
}

// add adds the flags of commands that work with a farm and without.
func (f *farmFlags) add(flags *pflag.FlagSet) {
	f.addFarm(flags)
	flags.Lookup("farm").Usage = "URL of a farm, or several with commas between; none: a farm inside this process (KILN_FARM)"
	flags.StringVar(&f.cache, "cache", "", "directory of Kiln's cache (default ~/.cache/kiln)")
	f.addTeam(flags)
}

// addFarm adds the flags of commands that need a farm.
func (f *farmFlags) addFarm(flags *pflag.FlagSet) {
	flags.StringVar(&f.farm, "farm", "", "URL of the farm, or several with commas between (KILN_FARM)")
	flags.StringVar(&f.credentials, "credentials", "", "file with your certificate (KILN_CREDENTIALS; default: what kiln login saved)")
}

func (f *farmFlags) addTeam(flags *pflag.FlagSet) {
	flags.StringVar(&f.team, "team", "", "whose build it is, where a farm is shared (KILN_TEAM; default: your certificate's team, or \"default\")")
}

// fill gives what neither a flag nor its variable said.
func (f *farmFlags) fill(env ui.Env) {
	if f.cache == "" {
		f.cache = env.CacheDir()
	}
	if f.team == "" && f.farm == "" {
		f.team = defaultTeam
	}
}

// dial makes a client of the farm that the flags name, and fills in the team of the credentials.
func (f *farmFlags) dial(ctx context.Context, env ui.Env, patience time.Duration) (*client.Farm, error) {
	if f.farm == "" {
		return nil, ui.Usagef("this needs a farm: name it with --farm or KILN_FARM")
	}
	urls, err := client.ParseURLs(f.farm)
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
	if f.team == "" {
		f.team = defaultTeam
	}
	c, err := client.Dial(f.farm, opts)
	if err != nil {
		return nil, ui.Usagef("%w", err)
	}
	return c, nil
}
