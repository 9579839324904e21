package registry

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"

	"github.com/kiln-farm/kiln/builder/registry/logins"
	"github.com/kiln-farm/kiln/image/step"
	"github.com/kiln-farm/kiln/internal/userfile"
)

// teams are the logins and mirrors of the teams that share a builder:
//
//	DIR/TEAM/config.json   logins, in docker's form
//	DIR/TEAM/mirrors.json  registry to URL: {"docker.io": "https://mirror.example.com"}
//
// With no directory there is one set of logins for everybody: that of docker's own configuration. With one, a team
// that has no files there pulls what is public. Files are read when they are needed, so that a change needs no
// restart.
type teams struct{ dir string }

// maxMirrors bounds a team's list of mirrors, in bytes.
const maxMirrors = 1 << 20

// place is the directory of a team; empty when it has none. The team's name comes from a client, so it is compared
// with what is there and never becomes part of a path.
func (t teams) place(team string) (string, error) {
	entries, err := os.ReadDir(t.dir)
	if err != nil {
		return "", fmt.Errorf("logins of teams: %w", err)
	}
	for _, entry := range entries {
		if entry.Name() == team {
			return filepath.Join(t.dir, entry.Name()), nil
		}
	}
	return "", nil
}

// mirrors are those of a build and, for other registries, those of its team.
func (t teams) mirrors(team string, own map[string]string) (map[string]string, error) {
	if t.dir == "" {
		return own, nil
	}
	dir, err := t.place(team)
	if err != nil || dir == "" {
		return own, err
	}
	path := filepath.Join(dir, "mirrors.json")
	text, err := userfile.ReadFile(path, maxMirrors)
	if errors.Is(err, fs.ErrNotExist) {
		return own, nil
	}
	if err != nil {
		return nil, fmt.Errorf("mirrors of team %s: %w", team, err)
	}
	all := map[string]string{}
	if err := json.Unmarshal(text, &all); err != nil {
		return nil, step.Failf("the mirrors of team %s (%s) cannot be read: %w; write {\"docker.io\": \"https://HOST\"}", team, path, err)
	}
	maps.Copy(all, own)
	return all, nil
}

// keychain finds the logins of a team.
func (t teams) keychain(team string) *logins.Keychain {
	if t.dir == "" {
		return logins.Docker()
	}
	return logins.In("team "+team, func() (string, error) { return t.place(team) })
}
