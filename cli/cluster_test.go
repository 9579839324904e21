package cli

import (
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/kiln-farm/kiln/cli/ui"
	"github.com/kiln-farm/kiln/internal/pki"
)

// testFarm is a farm of real coordinators on this machine.
type testFarm struct {
	w     *world
	facts struct { // what kiln init --json tells
		Farm        string
		Admin       string // path
		Coordinator string `json:"coordinator_token"`
		Builder     string `json:"builder_token"`
	}
}

// newTestFarm makes a farm; nothing of it runs yet.
func newTestFarm(w *world, name string) *testFarm {
	w.t.Helper()
	f := &testFarm{w: w}
	check(w.t, json.Unmarshal([]byte(w.run("init", "--data", name+"-1", "--farm", name, "--id", name+"-1", "--json").ok(w.t).stdout), &f.facts))
	return f
}

// process is a command that runs until it is stopped.
type process struct {
	url  string
	log  *lines
	stop context.CancelFunc
	done chan struct{}
	code int
	want int // code that it is to end with
}

// spawn runs a command until the test ends, and waits until it says where it listens.
func (w *world) spawn(args ...string) *process {
	w.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	p := &process{log: &lines{ready: make(chan string, 1)}, stop: cancel, done: make(chan struct{})}
	vars := map[string]string{"HOME": w.dir}
	for name, value := range w.vars {
		vars[name] = value
	}
	env := ui.Env{Stdin: strings.NewReader(""), Stdout: p.log, Stderr: p.log, Getenv: func(name string) string { return vars[name] }}
	go func() {
		defer close(p.done)
		p.code = Main(ctx, env, args)
	}()
	w.t.Cleanup(func() {
		p.end()
		if p.code != p.want {
			w.t.Errorf("kiln %s ended with %d, want %d:\n%s", args[0], p.code, p.want, p.log.text())
		}
	})
	select {
	case p.url = <-p.log.ready:
	case <-p.done:
		w.t.Fatalf("kiln %s did not start:\n%s", strings.Join(args, " "), p.log.text())
	}
	return p
}

// end stops the process and waits for it.
func (p *process) end() {
	p.stop()
	<-p.done
}

// first starts the farm's first coordinator, and points the commands of the test at it as its administrator.
func (f *testFarm) first(args ...string) *process {
	f.w.t.Helper()
	p := f.w.spawn(append([]string{"coordinator", "--data", f.facts.Farm + "-1", "--listen", "127.0.0.1:0"}, args...)...)
	f.w.vars["KILN_FARM"], f.w.vars["KILN_CREDENTIALS"] = p.url, f.facts.Admin
	f.w.wait("the farm has a leader that governs", func() bool { return f.w.run("farm", "drain", "nobody").code == ui.ExitDone })
	return p
}

// wait asks until something is so.
func (w *world) wait(what string, so func() bool) {
	w.t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !so(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			w.t.Fatalf("after 30 s it is still not so that %s", what)
		}
	}
}

// address is where the process listens.
func (p *process) address() string { return addressOf(p.url) }

func TestAFarmOfThreeCoordinatorsOutlivesOneAndNotTwo(t *testing.T) {
	w := newWorld(t)
	f := newTestFarm(w, "lab")
	c1 := f.first()
	var others []*process
	for _, name := range []string{"lab-2", "lab-3"} {
		others = append(others, w.spawn("coordinator", "--data", name, "--id", name, "--listen", "127.0.0.1:0", "--join", c1.address(), "--token", f.facts.Coordinator))
	}
	w.vars["KILN_FARM"] = strings.Join([]string{c1.url, others[0].url, others[1].url}, ",")
	w.wait("three coordinators vote", func() bool { return strings.Count(w.run("farm", "members").stdout, " voter ") == 2 })
	w.run("farm", "team", "web", "--weight", "300").ok(t)

	c1.end()
	w.wait("the farm goes on without its first leader", func() bool { return w.run("farm", "team", "db", "--weight", "200").code == ui.ExitDone })

	others[0].end()
	w.vars["KILN_PATIENCE"] = "1s"
	got := w.run("farm", "team", "db", "--weight", "100")
	want := regexp.MustCompile(`^kiln: the farm has no leader: coordinator lab-3 has heard none for \S+; 2 of its 3 coordinators \(lab-1, lab-2, lab-3\) must run and reach each other$`)
	if got.code != ui.ExitUnreachable || !want.MatchString(got.last()) {
		t.Errorf("exit code %d and %q", got.code, got.last())
	}
	delete(w.vars, "KILN_PATIENCE")

	t.Run("and goes on when one comes back without a token", func(t *testing.T) {
		back := w.spawn("coordinator", "--data", "lab-2", "--listen", others[0].address(), "--bus-listen", "127.0.0.1:0", "--bus-peers-listen", "127.0.0.1:0")
		w.wait("it takes commands again", func() bool { return w.run("farm", "team", "db", "--weight", "50").code == ui.ExitDone })
		back.end()
	})
	t.Run("and one that is left is made the only one", func(t *testing.T) {
		others[1].end()
		w.run("farm", "recover", "--yes", "--data", "lab-3", "--advertise", others[1].address()).ok(t)
		w.spawn("coordinator", "--data", "lab-3", "--listen", others[1].address(), "--bus-listen", "127.0.0.1:0", "--bus-peers-listen", "127.0.0.1:0")
		w.wait("it leads", func() bool { return strings.Contains(w.run("farm", "members").stdout, "leader") })
		w.run("farm", "leave", "lab-1").ok(t)
		if got := w.run("farm", "members").ok(t).stdout; strings.Contains(got, "lab-1") {
			t.Errorf("the lost one is still a member:\n%s", got)
		}
	})
}

func TestACoordinatorThatTheFarmDoesNotTakeEndsWithTheReason(t *testing.T) {
	w := newWorld(t)
	f := newTestFarm(w, "lab")
	c := f.first()
	t.Run("one that was sent away", func(t *testing.T) {
		second := w.spawn("coordinator", "--data", "lab-2", "--id", "lab-2", "--listen", "127.0.0.1:0", "--join", c.address(), "--token", f.facts.Coordinator)
		w.wait("it votes", func() bool { return strings.Contains(w.run("farm", "members").stdout, " voter ") })
		second.want = ui.ExitUsage
		w.run("farm", "leave", "lab-2").ok(t)
		<-second.done
		want := "kiln: the farm does not take this coordinator: coordinator lab-2 was removed from the farm: to bring this host back, join it with an empty data directory and a new token"
		if got := strings.TrimSpace(second.log.text()); !strings.HasSuffix(got, want) {
			t.Errorf("it ended with %q, want %q", got, want)
		}
		if got := w.run("coordinator", "--data", "lab-2", "--listen", "127.0.0.1:0"); got.code != ui.ExitUsage || got.last() != want {
			t.Errorf("a new start ends with %d and %q, want %q", got.code, got.last(), want)
		}
	})
	t.Run("one of an older release", func(t *testing.T) {
		old := filepath.Join(t.TempDir(), "kiln")
		build := exec.Command("go", "build", "-ldflags", "-X github.com/kiln-farm/kiln/coordinator/state.levelCap=1", "-o", old, "github.com/kiln-farm/kiln/cli/kiln")
		build.Dir = sources(t)
		if out, err := build.CombinedOutput(); err != nil {
			t.Fatalf("build an older release: %v\n%s", err, out)
		}
		cmd := exec.CommandContext(t.Context(), old, "coordinator", "--data", "old", "--id", "old", "--listen", "127.0.0.1:0", "--join", c.address(), "--token", f.facts.Coordinator)
		out, err := cmd.CombinedOutput()
		lines := strings.Split(strings.TrimSpace(string(out)), "\n")
		want := regexp.MustCompile(`^kiln: the farm does not take this coordinator: coordinator old runs release \S+, which is too old for this farm \(it applies feature level 1\): install the release that the others run$`)
		if cmd.ProcessState.ExitCode() != ui.ExitUsage || !want.MatchString(lines[len(lines)-1]) {
			t.Errorf("%v and %q", err, lines[len(lines)-1])
		}
	})
}

// sources is the directory of this package's source files.
func sources(t *testing.T) string {
	t.Helper()
	_, file, _, ok := runtime.Caller(0)
	if !ok {
		t.Fatal("where is this file?")
	}
	return filepath.Dir(file)
}

// forge makes credentials with the authority of a farm.
func (f *testFarm) forge(path string, who pki.Identity, now time.Time) {
	f.w.t.Helper()
	authority, err := pki.LoadAuthority(filepath.Join(f.facts.Farm+"-1", "pki"))
	check(f.w.t, err)
	check(f.w.t, authority.Issue(who, path, now))
}

// token makes a join token with the authority of a farm.
func (f *testFarm) token(role pki.Role, expires time.Time) string {
	f.w.t.Helper()
	authority, err := pki.LoadAuthority(filepath.Join(f.facts.Farm+"-1", "pki"))
	check(f.w.t, err)
	return must(authority.Token(pki.Claims{Farm: f.facts.Farm, Role: role, Expires: expires}))
}

// TestEveryFaultOfAFarmGetsASentence holds what people see when they may not, or not so. FARM stands for the farm's
// address.
func TestEveryFaultOfAFarmGetsASentence(t *testing.T) {
	w := newWorld(t)
	lab, other := newTestFarm(w, "lab"), newTestFarm(w, "other")
	lab.first()
	now := time.Now()
	lab.forge("expired.pem", pki.Identity{Farm: "lab", Name: "ada", Role: pki.RoleAdmin, Expires: now.AddDate(0, 0, -3)}, now.AddDate(0, 0, -30))
	lab.forge("later.pem", pki.Identity{Farm: "lab", Name: "ada", Role: pki.RoleAdmin}, now.AddDate(0, 0, 30))
	lab.forge("submit.pem", pki.Identity{Farm: "lab", Name: "ada", Role: pki.RoleSubmit, Team: "web"}, now)
	w.write("garbage.pem", "no certificate at all")
	w.write("empty.token", "\n")
	const joins = "coordinator --data new --id new --listen 127.0.0.1:0 --join FARM --token "
	for _, c := range []struct {
		name string
		args string
		code int
		want string // a regular expression for the whole message
	}{
		{"an expired certificate", "farm status --credentials expired.pem", ui.ExitUsage,
			"the certificate of admin ada expired on ....-..-..: get a new one with kiln login"},
		{"a certificate of tomorrow", "farm status --credentials later.pem", ui.ExitUsage,
			"the certificate of admin ada counts from .* on: is this machine's clock right\\?"},
		{"a certificate of another farm", "farm status --credentials other-1/admin.pem", ui.ExitUsage,
			"the credentials do not fit: https://FARM: the server is of another farm than your credentials: check the address, or get credentials of that farm with kiln login: .*"},
		{"a file that is no certificate", "farm status --credentials garbage.pem", ui.ExitUsage,
			"credentials garbage.pem: it must hold a certificate, the farm's CA certificate and a private key, in PEM"},
		{"credentials that are not there", "farm status --credentials gone.pem", ui.ExitUsage,
			"there are no credentials at gone.pem: kiln login or kiln farm join gets them: .*"},
		{"a role that may not", "farm token --role builder --credentials submit.pem", ui.ExitUsage,
			"the role submit may not do that: ask an administrator of the farm for credentials with another role"},
		{"a team that is not one's own", "builds --team db --credentials submit.pem", ui.ExitUsage,
			"your credentials are for team \"web\", not \"db\": use --team web"},
		{"TLS where there is none", "farm status --farm http://FARM", ui.ExitUnreachable,
			"the farm cannot be reached at http://FARM: what answers there wants TLS; write https:// if it is kiln coordinator"},
		{"a token that is none", joins + "kiln1.abc.def", ui.ExitUsage,
			"the join token is not accepted: .*"},
		{"a token of another farm", joins + other.facts.Coordinator, ui.ExitUsage,
			"the credentials do not fit: the join token is for the farm other, and what answers at https://FARM is not of that farm: check --join, or make a token at that farm with kiln farm token"},
		{"a token that has expired", joins + lab.token(pki.RoleCoordinator, now.Add(-time.Hour)), ui.ExitUsage,
			"the join token is not accepted: it expired at .*; make another one with kiln farm token --role coordinator"},
		{"a token for another role", joins + lab.facts.Builder, ui.ExitUsage,
			"the join token is not accepted: it is for the role builder, and this needs one for the role coordinator: make it with kiln farm token --role coordinator"},
		{"a token that somebody changed", joins + tampered(lab.facts.Coordinator), ui.ExitUsage,
			"the join token is not accepted: .*"},
		{"no token", "coordinator --data new --listen 127.0.0.1:0 --join FARM", ui.ExitUsage,
			".*/new holds no certificate yet: a token is needed with --token, --token-file or KILN_TOKEN; kiln farm token --role coordinator makes it"},
		{"a token file that is empty", "coordinator --data new --token-file empty.token", ui.ExitUsage,
			"--token-file empty.token: it is empty"},
		{"no farm to join", "coordinator --data new --listen 127.0.0.1:0", ui.ExitUsage,
			".*/new holds no certificate yet: kiln init --data .*/new makes a new farm, and --join HOST:PORT with --token joins one"},
		{"an id that is taken", strings.Replace(joins, "--id new", "--id lab-1", 1) + lab.facts.Coordinator, ui.ExitUsage,
			"the id lab-1 is taken by another coordinator of this farm: choose another one with --id, or stop and remove that one first"},
		{"an id that cannot be", strings.Replace(joins, "--id new", "--id a/b", 1) + lab.facts.Coordinator, ui.ExitUsage,
			"--id \"a/b\": a name has 1 to 64 letters, digits, dots, dashes and underscores"},
		{"a data directory that is in use", "coordinator --data lab-1 --listen 127.0.0.1:0", ui.ExitUsage,
			"data directory .*/lab-1: another process uses it; stop that one first, or choose another directory"},
		{"a data directory of another role", "farm join --data other-1 --role builder", ui.ExitUsage,
			"data directory .*/other-1 is that of a coordinator: a builder needs one of its own"},
		{"another name for a data directory", "coordinator --data other-1 --id x --listen 127.0.0.1:0", ui.ExitUsage,
			"--id x: data directory .*/other-1 belongs to other-1; leave --id out, or use a directory of its own for each"},
		{"a second farm in one place", "init --data other-1", ui.ExitUsage,
			"there is a farm in .*/other-1 already: kiln coordinator --data .*/other-1 starts it; for another one choose another directory"},
		{"an address that nobody can reach", "coordinator --data other-1 --listen 0.0.0.0:0", ui.ExitUsage,
			"--listen 0.0.0.0:0 is no address that others can reach: say with --advertise HOST:PORT how they do"},
		{"a coordinator that is not there", "farm leave lab-9", ui.ExitUsage,
			"there is no coordinator \"lab-9\": kiln farm members lists them"},
		{"the last coordinator", "farm leave lab-1", ui.ExitFailed,
			"coordinator lab-1 stays: .*; bring another one up first"},
		{"a backup that is none", "farm restore --yes garbage.pem", ui.ExitUsage,
			"the backup cannot be used: .*"},
		{"a restore without a yes", "farm restore garbage.pem", ui.ExitUsage,
			"kiln farm restore replaces the whole state of the farm at https://FARM, and builds that were submitted since the backup are forgotten: add --yes if that is what you want"},
		{"a login at a farm without TLS", "login http://FARM --token x", ui.ExitUsage,
			"http://FARM: a farm at http asks for no credentials; one with credentials is at https"},
		{"a login with a builder's token", "login https://FARM --token " + lab.facts.Builder, ui.ExitUsage,
			"the join token is not accepted: it is for the role builder, and this needs one for the role submit: make it with kiln farm token --role submit"},
		{"a recovery without a yes", "farm recover --data lab-1 --advertise FARM", ui.ExitUsage,
			"kiln farm recover makes this the only coordinator: .*"},
		{"a recovery of one that runs", "farm recover --yes --data lab-1 --advertise FARM", ui.ExitUsage,
			"data directory .*/lab-1: another process uses it; stop that one first, or choose another directory"},
	} {
		t.Run(c.name, func(t *testing.T) {
			args := strings.Fields(strings.ReplaceAll(c.args, "FARM", addressOf(w.vars["KILN_FARM"])))
			got := w.run(args...)
			message := strings.ReplaceAll(got.last(), addressOf(w.vars["KILN_FARM"]), "FARM")
			if got.code != c.code || !regexp.MustCompile("^kiln: "+c.want+"$").MatchString(message) {
				t.Errorf("exit code %d, want %d\n got %q\nwant %q", got.code, c.code, message, "kiln: "+c.want)
			}
			if strings.Count(strings.TrimSpace(got.stderr), "\n") > 0 {
				t.Errorf("more than a sentence:\n%s", got.stderr)
			}
		})
	}
	if _, err := os.Stat("new/pki"); err == nil {
		t.Error("one that was not let in kept a certificate")
	}
}

// addressOf is what is behind the scheme of a URL.
func addressOf(url string) string { return strings.TrimPrefix(url, "https://") }

// tampered changes what a token claims.
func tampered(token string) string {
	parts := strings.Split(token, ".")
	signature := []byte(parts[2])
	if at := &signature[len(signature)/2]; *at == 'A' {
		*at = 'B'
	} else {
		*at = 'A'
	}
	return parts[0] + "." + parts[1] + "." + string(signature)
}

func TestPeopleLogInAndStayLoggedIn(t *testing.T) {
	w := newWorld(t)
	newTestFarm(w, "lab").first()
	var token struct{ Token string }
	check(t, json.Unmarshal([]byte(w.run("farm", "token", "--role", "submit", "--team", "web", "--json").ok(t).stdout), &token))
	delete(w.vars, "KILN_CREDENTIALS")
	w.vars["USER"] = "ada"
	w.vars["KILN_TOKEN"] = token.Token
	var who struct {
		Farm, Name, Team, Path string
		Role                   pki.Role
		Expires                time.Time
	}
	check(t, json.Unmarshal([]byte(w.run("login", "--json", w.vars["KILN_FARM"]).ok(t).stdout), &who))
	delete(w.vars, "KILN_TOKEN")
	if who.Farm != "lab" || who.Role != pki.RoleSubmit || who.Team != "web" || !strings.HasPrefix(who.Name, "ada@") {
		t.Errorf("logged in as %+v", who)
	}
	info, err := os.Stat(who.Path)
	check(t, err)
	if info.Mode().Perm() != 0o600 {
		t.Errorf("the credentials have mode %v", info.Mode())
	}
	if got := w.run("builds").ok(t).stdout; got != "team web has no such builds\n" {
		t.Errorf("builds: %q", got)
	}
	before := read(t, who.Path)
	w.run("login", w.vars["KILN_FARM"]).ok(t)
	if read(t, who.Path) == before {
		t.Error("logging in again did not renew the certificate")
	}
	w.run("builds").ok(t)
}

func TestAFarmIsBackedUpAndRestored(t *testing.T) {
	w := newWorld(t)
	newTestFarm(w, "lab").first()
	w.run("farm", "drain", "b7", "--reason", "new disk").ok(t)
	w.run("farm", "backup", "one.backup").ok(t)
	w.run("farm", "undrain", "b7").ok(t)
	if got := w.run("farm", "undrain", "b7"); got.code != ui.ExitUsage {
		t.Errorf("it was held twice: %d %s", got.code, got.last())
	}
	w.run("farm", "restore", "--yes", "one.backup").ok(t)
	w.wait("the hold of the backup is back", func() bool { return w.run("farm", "undrain", "b7").code == ui.ExitDone })
	if left := names(t, "."); strings.Contains(strings.Join(left, " "), ".tmp") {
		t.Errorf("something half-written is left: %v", left)
	}
}
