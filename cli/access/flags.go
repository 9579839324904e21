package access

import (
	"time"

	"github.com/spf13/pflag"

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
