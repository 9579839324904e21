package logins

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"

	"github.com/kiln-farm/kiln/image/step"
)

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// nowhere takes away whatever logins the test's user has.
func nowhere(t *testing.T) (home string) {
	t.Helper()
	home = t.TempDir()
	for name, value := range map[string]string{"HOME": home, "DOCKER_CONFIG": "", "REGISTRY_AUTH_FILE": "", "XDG_RUNTIME_DIR": "", "XDG_CONFIG_HOME": "", "DOCKER_AUTH_CONFIG": ""} {
		t.Setenv(name, value)
	}
	return home
}

func write(t *testing.T, path, text string) {
	t.Helper()
	check(t, os.MkdirAll(filepath.Dir(path), 0o755))
	check(t, os.WriteFile(path, []byte(text), 0o700))
}

func find(t *testing.T, k *Keychain, repository string) (authn.AuthConfig, error) {
	t.Helper()
	repo, err := name.NewRepository(repository)
	check(t, err)
	found, err := k.ResolveContext(context.Background(), repo)
	if err != nil {
		return authn.AuthConfig{}, err
	}
	login, err := authn.Authorization(context.Background(), found)
	check(t, err)
	return *login, nil
}

// wantFailure checks that err is one sentence, of a fault that another try does not mend.
func wantFailure(t *testing.T, err error, parts ...string) {
	t.Helper()
	var failure *step.Failure
	if !errors.As(err, &failure) {
		t.Fatalf("got %v, want a failure", err)
	}
	for _, part := range append(parts, "; ") {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("got %q, want %q in it", err, part)
		}
	}
	if strings.Contains(err.Error(), "\n") {
		t.Errorf("more than one line: %q", err)
	}
}

func TestWhereLoginsAre(t *testing.T) {
	of := func(user string) string {
		return `{"auths":{"lab.example":{"username":"` + user + `","password":"p"}}}`
	}
	for _, tt := range []struct {
		name  string
		files map[string]string // below HOME
		env   map[string]string // HOME is put in
		want  string            // user
	}{
		{"nowhere", nil, nil, ""},
		{"docker's place", map[string]string{".docker/config.json": of("docker")}, nil, "docker"},
		{"DOCKER_CONFIG", map[string]string{".docker/config.json": of("docker"), "d/config.json": of("named")}, map[string]string{"DOCKER_CONFIG": "HOME/d"}, "named"},
		{"DOCKER_CONFIG with nothing in it", map[string]string{".docker/config.json": of("docker")}, map[string]string{"DOCKER_CONFIG": "HOME/d"}, ""},
		{"podman's file", map[string]string{"auth.json": of("podman")}, map[string]string{"REGISTRY_AUTH_FILE": "HOME/auth.json"}, "podman"},
		{"podman's place while it runs", map[string]string{"run/containers/auth.json": of("run")}, map[string]string{"XDG_RUNTIME_DIR": "HOME/run"}, "run"},
		{"podman's place", map[string]string{".config/containers/auth.json": of("config")}, nil, "config"},
		{"docker before podman", map[string]string{".docker/config.json": of("docker"), "auth.json": of("podman")}, map[string]string{"REGISTRY_AUTH_FILE": "HOME/auth.json"}, "docker"},
		{"the environment", nil, map[string]string{"DOCKER_AUTH_CONFIG": `{"auths":{"lab.example":{"auth":"ZW52OnA="}}}`}, "env"},
		{"the environment before the file", map[string]string{".docker/config.json": of("docker")}, map[string]string{"DOCKER_AUTH_CONFIG": `{"auths":{"lab.example":{"auth":"ZW52OnA="}}}`}, "env"},
		{"the file, when the environment has another one's", map[string]string{".docker/config.json": of("docker")}, map[string]string{"DOCKER_AUTH_CONFIG": `{"auths":{"x.example":{"auth":"ZW52OnA="}}}`}, "docker"},
		{"an empty file", map[string]string{".docker/config.json": ""}, nil, ""},
		{"that of the repository before that of the registry", map[string]string{".docker/config.json": `{"auths":{"lab.example":{"auth":"YTpw"},"lab.example/team/web":{"auth":"Yjpw"}}}`}, nil, "b"},
		{"with https before it", map[string]string{".docker/config.json": `{"auths":{"https://lab.example/v2/":{"auth":"YTpw"}}}`}, nil, "a"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			home := nowhere(t)
			for path, text := range tt.files {
				write(t, filepath.Join(home, path), text)
			}
			for name, value := range tt.env {
				t.Setenv(name, strings.ReplaceAll(value, "HOME", home))
			}
			login, err := find(t, Docker(), "lab.example/team/web")
			if err != nil || login.Username != tt.want {
				t.Errorf("got %q, %v; want %q", login.Username, err, tt.want)
			}
		})
	}
	t.Run("Docker Hub has its own name", func(t *testing.T) {
		write(t, filepath.Join(nowhere(t), ".docker/config.json"), `{"auths":{"https://index.docker.io/v1/":{"auth":"aHViOnA="}}}`)
		if login, err := find(t, Docker(), "library/alpine"); err != nil || login.Username != "hub" {
			t.Errorf("got %q, %v", login.Username, err)
		}
	})
	t.Run("a team has none of the environment's", func(t *testing.T) {
		dir := nowhere(t)
		t.Setenv("DOCKER_AUTH_CONFIG", `{"auths":{"lab.example":{"auth":"ZW52OnA="}}}`)
		k := In("team web", func() (string, error) { return dir, nil })
		if login, err := find(t, k, "lab.example/web"); err != nil || login.Username != "" {
			t.Errorf("got %q, %v", login.Username, err)
		}
	})
}

func TestABrokenFileIsToldAsSuch(t *testing.T) {
	for _, tt := range []struct {
		name, text string
		want       []string
	}{
		{"what is no JSON", "{\n  \"auths\": {\n    oops\n", []string{"line 3, column 5", "invalid character 'o'"}},
		{"a comma too many", `{"auths":{},}`, []string{"line 1, column 13", "invalid character '}'"}},
		{"half of it", "{\"auths\":\n{\"a\":", []string{"line 2, column 5", "ends in the middle"}},
		{"another kind", `{"auths":["x"]}`, []string{"line 1, column 10", "auths is a JSON array there"}},
		{"a login that is no base64", `{"auths":{"a.example":{"auth":"YTpi"},"lab.example":{"auth":"%%%"}}}`, []string{`the auth of "lab.example"`, "base64 of USER:PASSWORD"}},
		{"a login without a colon", `{"auths":{"lab.example":{"auth":"YWJj"}}}`, []string{`the auth of "lab.example"`}},
		{"too much of it", `{"auths":{"` + strings.Repeat("a", maxFile) + `":{}}}`, []string{"larger than"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			path := filepath.Join(nowhere(t), ".docker", "config.json")
			write(t, path, tt.text)
			_, err := find(t, Docker(), "lab.example/web")
			wantFailure(t, err, append(tt.want, "the logins of docker in "+path+" cannot be read", "mend the file")...)
		})
	}
	t.Run("a named pipe", func(t *testing.T) {
		path := filepath.Join(nowhere(t), ".docker", "config.json")
		check(t, os.MkdirAll(filepath.Dir(path), 0o755))
		check(t, syscall.Mkfifo(path, 0o600))
		_, err := find(t, Docker(), "lab.example/web")
		wantFailure(t, err, path, "it is a named pipe")
	})
	t.Run("of a team", func(t *testing.T) {
		dir := nowhere(t)
		write(t, filepath.Join(dir, "config.json"), "{")
		_, err := find(t, In("team web", func() (string, error) { return dir, nil }), "lab.example/web")
		wantFailure(t, err, "the logins of team web in "+filepath.Join(dir, "config.json"))
	})
}

// A helper is a program of others. Each of these is docker-credential-lab in PATH; the second argument of the tests' wait is its bound.
func TestHelpers(t *testing.T) {
	const bound = 500 * time.Millisecond
	const config = `{"credHelpers":{"lab.example":"lab"},"auths":{"lab.example":{"auth":"ZmlsZTpw"}}}`
	for _, tt := range []struct {
		name, script string // script: what the helper does; empty: there is none
		config       string
		user, token  string
		want         []string
	}{
		{name: "a login", script: `read server; echo "{\"ServerURL\":\"$server\",\"Username\":\"u\",\"Secret\":\"s\"}"`, user: "u"},
		{name: "of the store for all", config: `{"credsStore":"lab"}`, script: `echo '{"Username":"u","Secret":"s"}'`, user: "u"},
		{name: "an identity token", script: `echo '{"Username":"<token>","Secret":"id"}'`, token: "id"},
		{name: "a login and an agent that stays", script: `sleep 2 & echo '{"Username":"u","Secret":"s"}'`, user: "u"},
		{name: "none", script: `echo credentials not found in native keychain; exit 1`},
		{name: "not installed", want: []string{"docker-credential-lab", "not installed", "config.json", "take it out of the file"}},
		{name: "it fails", script: `echo the vault is closed; echo more; exit 3`, want: []string{"docker-credential-lab", "failed (exit status 3): the vault is closed;"}},
		{name: "it fails on its other channel", script: `echo the vault is closed >&2; exit 3`, want: []string{"the vault is closed;"}},
		{name: "it fails without a word", script: `exit 1`, want: []string{"it says nothing"}},
		{name: "it prints what is no login", script: `echo 'secret: hunter2'`, want: []string{"docker-credential-lab", "printed 16 bytes that are no login"}},
		{name: "it prints nothing", script: `:`, want: []string{"printed 0 bytes that are no login"}},
		{name: "it prints a login with nothing in it", script: `echo '{}'`, want: []string{"are no login"}},
		{name: "it never ends to print", script: `while :; do echo aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa; done`, want: []string{"docker-credential-lab"}},
		{name: "it hangs", script: `sleep 600`, want: []string{"docker-credential-lab", "gave no answer within 500ms and was ended", "echo lab.example"}},
		{name: "what it starts hangs", script: `sleep 600 & sleep 600`, want: []string{"gave no answer within"}},
		{name: "it hangs and is deaf", script: `trap '' TERM INT HUP; while :; do sleep 600; done`, want: []string{"gave no answer within"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			home := nowhere(t)
			bin := filepath.Join(home, "bin")
			t.Setenv("PATH", bin+":"+os.Getenv("PATH"))
			pids := filepath.Join(home, "pids")
			if tt.script != "" {
				write(t, filepath.Join(bin, "docker-credential-lab"), "#!/bin/sh\necho $$ > "+pids+"\n"+tt.script+"\n")
			}
			if tt.config == "" {
				tt.config = config
			}
			write(t, filepath.Join(home, ".docker/config.json"), tt.config)
			begun := time.Now()
			login, err := find(t, Docker().WithWait(bound), "lab.example/web")
			if took := time.Since(begun); took > bound+10*time.Second {
				t.Errorf("it took %s", took)
			}
			if tt.want != nil {
				wantFailure(t, err, tt.want...)
				if strings.Contains(err.Error(), "hunter2") {
					t.Errorf("a secret is told: %v", err)
				}
			} else if err != nil || login.Username != tt.user || login.IdentityToken != tt.token {
				t.Errorf("got %+v, %v; want user %q, token %q", login, err, tt.user, tt.token)
			}
			if strings.Contains(tt.name, "hang") {
				text, err := os.ReadFile(pids)
				check(t, err)
				group, err := strconv.Atoi(strings.TrimSpace(string(text)))
				check(t, err)
				for range 100 {
					if err = syscall.Kill(-group, 0); err != nil {
						break
					}
					time.Sleep(20 * time.Millisecond)
				}
				if !errors.Is(err, syscall.ESRCH) {
					t.Errorf("something of it is left: %v", err)
				}
			}
		})
	}
	t.Run("it ends with the build", func(t *testing.T) {
		home := nowhere(t)
		bin := filepath.Join(home, "bin")
		t.Setenv("PATH", bin+":"+os.Getenv("PATH"))
		write(t, filepath.Join(bin, "docker-credential-lab"), "#!/bin/sh\nsleep 600\n")
		write(t, filepath.Join(home, ".docker/config.json"), config)
		repo, err := name.NewRepository("lab.example/web")
		check(t, err)
		ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
		defer cancel()
		begun := time.Now()
		if _, err = Docker().ResolveContext(ctx, repo); !errors.Is(err, context.DeadlineExceeded) || time.Since(begun) > 10*time.Second {
			t.Errorf("got %v after %s", err, time.Since(begun))
		}
	})
}

func FuzzLoad(f *testing.F) {
	f.Add([]byte(`{"auths":{"lab.example":{"auth":"YTpi"}}}`))
	f.Add([]byte("{\n\"auths\": oops"))
	f.Add([]byte(`{"auths":["x"],"credsStore":1}`))
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, text []byte) {
		path := filepath.Join(dir, "config.json")
		check(t, os.WriteFile(path, text, 0o600))
		_, err := Docker().load(path)
		var failure *step.Failure
		if err != nil && !errors.As(err, &failure) {
			t.Errorf("%q: %v", text, err)
		}
	})
}
