package cli

import (
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/kiln-farm/kiln/cli/ui"
)

// variable is an environment variable that stands for a flag where that is not given.
type variable struct {
	name, flag string
	not        []string // commands below kiln whose flag of that name is another thing
	instead    string   // the flag that makes this one needless
}

// variables are those of flags that say the same whatever a person does: where the farm is and who asks it, where bytes are
// kept, which images help. What belongs to one process (--data, --listen, --join) or to one command has none.
// docs/environment.md has the same list.
var variables = []variable{
	{name: "KILN_FARM", flag: "farm", not: []string{"init"}}, // which it names
	{name: "KILN_CREDENTIALS", flag: "credentials"},
	{name: "KILN_TEAM", flag: "team", not: []string{"queue", "farm token"}}, // who look at a team, and give it to somebody
	{name: "KILN_TOKEN", flag: "token", instead: "token-file"},
	{name: "KILN_TOKEN_FILE", flag: "token-file", instead: "token"},
	{name: "KILN_CACHE", flag: "cache"},
	{name: "KILN_STORE", flag: "store", not: []string{"cache ls", "cache prune"}}, // which are for this machine's cache
	{name: "KILN_BOOT", flag: "boot"},
	{name: "KILN_INITRD", flag: "initrd", not: []string{"run"}}, // of which it is a file
}

// of is the flag of cmd that the variable stands for; nil for none.
func (v *variable) of(cmd *cobra.Command) *pflag.Flag {
	path := strings.TrimPrefix(cmd.CommandPath(), cmd.Root().Name()+" ")
	if slices.Contains(v.not, path) {
		return nil
	}
	return cmd.Flag(v.flag)
}

// takeVariables gives the flags of cmd that were not given what their variables say. An empty variable is as good as none.
func takeVariables(env ui.Env, cmd *cobra.Command) error {
	taken := map[string]bool{}
	for i := range variables {
		v := &variables[i]
		flag, value := v.of(cmd), env.Getenv(v.name)
		if flag == nil || flag.Changed || value == "" || taken[v.instead] {
			continue
		}
		if other := cmd.Flag(v.instead); other != nil && other.Changed {
			continue
		}
		if err := flag.Value.Set(value); err != nil {
			return ui.Usagef("%s %q: %w", v.name, value, err)
		}
		taken[v.flag] = true
	}
	return nil
}

// tellVariables has the help of each flag name its variable.
func tellVariables(cmd *cobra.Command) {
	for i := range variables {
		v := &variables[i]
		flag := v.of(cmd)
		if flag == nil || strings.Contains(flag.Usage, v.name) {
			continue
		}
		before, last, ok := strings.Cut(flag.Usage, "(default")
		if !ok {
			flag.Usage += fmt.Sprintf(" (%s)", v.name)
			continue
		}
		flag.Usage = before + "(" + v.name + "; default" + last
	}
	for _, below := range cmd.Commands() {
		tellVariables(below)
	}
}
