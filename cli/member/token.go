package member

import (
	"context"
	"io"
	"strings"

	"github.com/kiln-farm/kiln/cli/ui"
	"github.com/kiln-farm/kiln/internal/userfile"
)

// maxToken bounds a token that is read from a file, in bytes.
const maxToken = 64 << 10

// TokenFlags are where a join token comes from.
type TokenFlags struct{ Token, file string }

func (t *TokenFlags) Add(add func(p *string, name, value, usage string)) {
	add(&t.Token, "token", "", "join token of the farm (KILN_TOKEN)")
	add(&t.file, "token-file", "", "file with the join token, or - for standard input")
}

// Read gives the token; empty when there is none.
func (t *TokenFlags) Read(ctx context.Context, env ui.Env) (string, error) {
	switch {
	case t.Token != "" && t.file != "":
		return "", ui.Usagef("--token and --token-file both name a token: leave one of them out")
	case t.file == "" && t.Token == "":
		return "", nil
	case t.file == "":
		return strings.TrimSpace(t.Token), nil
	}
	r, err := ui.OpenInput(ctx, env, t.file)
	if err != nil {
		return "", ui.Usagef("--token-file %s: %w", t.file, err)
	}
	defer r.Close()
	text, err := io.ReadAll(io.LimitReader(r, maxToken))
	if err != nil {
		return "", ui.Usagef("--token-file %s: %w", t.file, userfile.Cause(err))
	}
	if strings.TrimSpace(string(text)) == "" {
		return "", ui.Usagef("--token-file %s: it is empty", t.file)
	}
	return strings.TrimSpace(string(text)), nil
}

// CoordinatorURLs are the URLs of a farm's coordinators.
func CoordinatorURLs(addresses []string) []string {
	var urls []string
	for _, address := range addresses {
		urls = append(urls, "https://"+address)
	}
	return urls
}
