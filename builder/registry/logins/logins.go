package logins

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/docker/cli/cli/config"
	"github.com/docker/cli/cli/config/configfile"
	"github.com/docker/cli/cli/config/credentials"
	"github.com/docker/cli/cli/config/types"
	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"

	"github.com/kiln-farm/kiln/image/step"
	"github.com/kiln-farm/kiln/internal/userfile"
)

// maxFile bounds a file with logins, in bytes.
const maxFile = 4 << 20

// Keychain finds logins. It implements authn.Keychain and authn.ContextKeychain; its methods may be called by many goroutines.
type Keychain struct {
	owner  string                 // for messages: "docker", "team web"
	find   func() (string, error) // path of the file; empty: there is none
	env    bool                   // whether DOCKER_AUTH_CONFIG counts
	wait   time.Duration          // for a helper
	asking chan struct{}          // full while a helper runs
}

// Docker has the logins of whoever runs this process: docker's, or podman's where docker has none.
func Docker() *Keychain {
	return &Keychain{owner: "docker", find: dockerFile, env: true, wait: helperWait, asking: make(chan struct{}, 1)}
}

// In has the logins of owner ("team web") in docker's form in the directory that find names; none when that is empty. It is looked at
// each time.
func In(owner string, find func() (dir string, err error)) *Keychain {
	return &Keychain{owner: owner, wait: helperWait, asking: make(chan struct{}, 1), find: func() (string, error) {
		dir, err := find()
		if err != nil || dir == "" {
			return "", err
		}
		return filepath.Join(dir, config.ConfigFileName), nil
	}}
}

// WithWait is k with another bound for credential helpers.
func (k *Keychain) WithWait(d time.Duration) *Keychain {
	other := *k
	other.wait = d
	return &other
}

// Resolve implements authn.Keychain.
func (k *Keychain) Resolve(target authn.Resource) (authn.Authenticator, error) {
	return k.ResolveContext(context.Background(), target)
}

// ResolveContext implements authn.ContextKeychain: authn.Anonymous when there is no login. *step.Failure for a file or a helper
// that is of no use.
func (k *Keychain) ResolveContext(ctx context.Context, target authn.Resource) (authn.Authenticator, error) {
	path, err := k.find()
	if err != nil {
		return nil, err
	}
	file := &configfile.ConfigFile{}
	if path != "" {
		if file, err = k.load(path); err != nil {
			return nil, err
		}
	}
	for _, key := range []string{target.String(), target.RegistryStr()} {
		if key == name.DefaultRegistry {
			key = authn.DefaultAuthKey
		}
		login, err := k.login(ctx, file, path, key)
		if err != nil {
			return nil, err
		}
		login.ServerAddress = "" // it is set in any case
		if login != (types.AuthConfig{}) {
			return authn.FromConfig(authn.AuthConfig{Username: login.Username, Password: login.Password, Auth: login.Auth,
				IdentityToken: login.IdentityToken, RegistryToken: login.RegistryToken}), nil
		}
	}
	return authn.Anonymous, nil
}

// login is that under one key, in docker's order: the environment, a helper, the file.
func (k *Keychain) login(ctx context.Context, file *configfile.ConfigFile, path, key string) (types.AuthConfig, error) {
	if k.env && os.Getenv(configfile.DockerEnvConfigKey) != "" {
		if login, err := (&configfile.ConfigFile{}).GetAuthConfig(key); err == nil && login.Username != "" {
			return login, nil
		}
	}
	program, ok := file.CredentialHelpers[key]
	if !ok {
		program = file.CredentialsStore
	}
	if program == "" {
		return credentials.NewFileStore(file).Get(key)
	}
	select {
	case k.asking <- struct{}{}:
		defer func() { <-k.asking }()
	case <-ctx.Done():
		return types.AuthConfig{}, ctx.Err()
	}
	return (&helper{program: "docker-credential-" + program, file: path, wait: k.wait}).get(ctx, key)
}

// load reads a file with logins; an empty one when it is not there.
func (k *Keychain) load(path string) (*configfile.ConfigFile, error) {
	text, err := userfile.ReadFile(path, maxFile)
	if errors.Is(err, fs.ErrNotExist) {
		return &configfile.ConfigFile{}, nil
	}
	if err != nil {
		return nil, k.fail(path, err)
	}
	file, err := config.LoadFromReader(strings.NewReader(string(text)))
	if err != nil {
		return nil, k.fail(path, place(text, err))
	}
	return file, nil
}

func (k *Keychain) fail(path string, err error) error {
	var file *fs.PathError
	if errors.As(err, &file) {
		err = file.Err
	}
	return step.Failf("the logins of %s in %s cannot be read: %w; mend the file, or move it away", k.owner, path, err)
}

// place says where in the text the fault is.
func place(text []byte, err error) error {
	var syntax *json.SyntaxError
	var kind *json.UnmarshalTypeError
	switch {
	case errors.As(err, &syntax):
		return fmt.Errorf("%s: %w", position(text, syntax.Offset), err)
	case errors.As(err, &kind):
		return fmt.Errorf("%s: %s is a JSON %s there, which it cannot be", position(text, kind.Offset), kind.Field, kind.Value)
	case errors.Is(err, io.ErrUnexpectedEOF):
		return fmt.Errorf("%s: it ends in the middle", position(text, int64(len(text))))
	}
	if entry := badEntry(text); entry != "" {
		return fmt.Errorf("the auth of %q is not the base64 of USER:PASSWORD", entry)
	}
	return err
}

// position is that of a byte, counted from one.
func position(text []byte, offset int64) string {
	before := string(text[:min(max(offset, 0), int64(len(text)))])
	line := strings.Count(before, "\n") + 1
	return fmt.Sprintf("line %d, column %d", line, max(1, len(before)-strings.LastIndex(before, "\n")-1))
}

// badEntry is the first registry whose login docker cannot read.
func badEntry(text []byte) string {
	var file struct {
		Auths map[string]struct{ Auth string }
	}
	if json.Unmarshal(text, &file) != nil {
		return ""
	}
	for _, registry := range slices.Sorted(maps.Keys(file.Auths)) {
		auth := file.Auths[registry].Auth
		plain, err := base64.StdEncoding.DecodeString(auth)
		if user, _, ok := strings.Cut(string(plain), ":"); auth != "" && (err != nil || !ok || user == "") {
			return registry
		}
	}
	return ""
}

// dockerFile is docker's configuration, or where podman keeps logins when docker has none (go-containerregistry's order).
func dockerFile() (string, error) {
	home, _ := os.UserHomeDir()
	own := filepath.Join(home, ".docker", config.ConfigFileName)
	dir, set := os.LookupEnv(config.EnvOverrideConfigDir)
	set = set && dir != ""
	named := filepath.Join(dir, config.ConfigFileName)
	if home != "" && exists(own) || set && exists(named) {
		if set {
			return named, nil
		}
		return own, nil
	}
	places := []string{os.Getenv("REGISTRY_AUTH_FILE")}
	if run := os.Getenv("XDG_RUNTIME_DIR"); run != "" {
		places = append(places, filepath.Join(run, "containers", "auth.json"))
	}
	if settings := os.Getenv("XDG_CONFIG_HOME"); settings != "" {
		places = append(places, filepath.Join(settings, "containers", "auth.json"))
	} else if home != "" {
		places = append(places, filepath.Join(home, ".config", "containers", "auth.json"))
	}
	for _, path := range places {
		if path != "" && exists(path) {
			return path, nil
		}
	}
	return "", nil
}

// exists says that there is something other than a directory.
func exists(path string) bool {
	info, err := os.Stat(path)
	return err == nil && !info.IsDir()
}
