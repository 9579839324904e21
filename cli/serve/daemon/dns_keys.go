package daemon

import (
	"github.com/spf13/pflag"

	"github.com/kiln-farm/kiln/cli/ui"
	"github.com/kiln-farm/kiln/coordinator/nsupdate"
)

func AddDNSKeys(flags *pflag.FlagSet, path *string) {
	flags.StringVar(path, "dns-keys", "", "file of TSIG keys that sign updates of DNS, as tsig-keygen writes them; the same at every coordinator")
}

// OpenDNSKeys reads the file of a flag; nil when there is none.
func OpenDNSKeys(path string) (*nsupdate.Keys, error) {
	if path == "" {
		return nil, nil
	}
	keys, err := nsupdate.OpenKeys(path)
	if err != nil {
		return nil, ui.Usagef("%w", err)
	}
	return keys, nil
}
