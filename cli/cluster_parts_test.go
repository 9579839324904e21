package cli

import (
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/kiln-farm/kiln/cache/s3test"
	"github.com/kiln-farm/kiln/cli/ui"
	"github.com/kiln-farm/kiln/internal/pki"
)

// builder starts a builder that shares the cache directory "shared" with the rest of the farm.
func (f *testFarm) builder(join *process, id string, args ...string) *process {
	f.w.t.Helper()
	return f.w.spawn(append([]string{"builder", "--data", id, "--id", id, "--join", join.address(), "--token", f.facts.Builder, "--cache", "shared"}, args...)...)
}

func TestAFarmWithCertificatesGivesTheSameAsABuildInOneProcess(t *testing.T) {
	w := newWorld(t)
	w.write("data.txt", strings.Repeat("a file of the client\n", 10000))
	w.write("hello.yml", helloYAML+"files:\n  - path: etc/data\n    source: data.txt\n")
	w.build("--format", "tar,kernel+initrd", "--dir", "here", "hello.yml").ok(t)

	f := newTestFarm(w, "lab")
	c := f.first("--cache", "shared")
	f.builder(c, "b1")
	f.forge("ada.pem", pki.Identity{Farm: "lab", Name: "ada", Role: pki.RoleSubmit, Team: "web"}, time.Now())
	w.vars["KILN_CREDENTIALS"] = "ada.pem"
	w.build("--cache", "client", "--format", "tar,kernel+initrd", "--dir", "there", "hello.yml").ok(t)
	for _, file := range names(t, "here") {
		if read(t, filepath.Join("here", file)) != read(t, filepath.Join("there", file)) {
			t.Errorf("%s differs", file)
		}
	}
	var builds []struct{ Team, User string }
	check(t, json.Unmarshal([]byte(w.run("builds", "--json").ok(t).stdout), &builds))
	if len(builds) != 1 || builds[0].Team != "web" || builds[0].User != "ada" {
		t.Errorf("builds %+v, want one of team web by ada", builds)
	}

	t.Run("and its members come back without a token", func(t *testing.T) {
		w.vars["KILN_CREDENTIALS"] = f.facts.Admin
		builder := w.spawn("builder", "--data", "b2", "--id", "b2", "--join", c.address(), "--token", f.facts.Builder, "--cache", "shared")
		builder.end()
		w.spawn("builder", "--data", "b2", "--cache", "shared")
		w.build("--cache", "client", "--name", "again", "--format", "tar", "--dir", "there", "hello.yml").ok(t)
	})
}

func TestAFarmOverS3GivesTheSameAndSaysWhatIsWrongWithAStore(t *testing.T) {
	s3 := s3test.New(t)
	w := newWorld(t)
	w.build("--format", "tar,kernel+initrd", "--dir", "here", "hello.yml").ok(t)
	t.Setenv("AWS_ACCESS_KEY_ID", s3.AccessKey)
	t.Setenv("AWS_SECRET_ACCESS_KEY", s3.Secret)
	f := newTestFarm(w, "lab")
	c := f.first("--store", s3.URL("farm", ""))
	w.spawn("builder", "--data", "b1", "--id", "b1", "--join", c.address(), "--token", f.facts.Builder)
	w.build("--cache", "client", "--format", "tar,kernel+initrd", "--dir", "there", "hello.yml").ok(t)
	for _, file := range names(t, "here") {
		if read(t, filepath.Join("here", file)) != read(t, filepath.Join("there", file)) {
			t.Errorf("%s differs", file)
		}
	}
	if got := w.run("farm", "status").ok(t).stdout; !strings.Contains(got, s3.URL("farm", "")) {
		t.Errorf("the status does not name the store:\n%s", got)
	}
	newTestFarm(w, "other")
	missing := strings.Replace(s3.URL("farm", ""), "s3://", "s3://no-such-", 1)
	for _, c := range []struct{ name, url, key, want string }{
		{"a bucket that is not there", missing, s3.AccessKey, "bucket"},
		{"a key that is not known", s3.URL("farm", ""), "nobody", "credentials"},
		{"an address that is none", "s3:/bucket", s3.AccessKey, "s3://"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Setenv("AWS_ACCESS_KEY_ID", c.key)
			got := w.run("coordinator", "--data", "other-1", "--listen", "127.0.0.1:0", "--store", c.url)
			if got.code != ui.ExitUsage || !strings.Contains(got.last(), c.want) || strings.Contains(got.last(), s3.Secret) {
				t.Errorf("exit code %d and %q, want %q in it", got.code, got.last(), c.want)
			}
		})
	}
}

func TestANATSOfOnesOwnThatWantsAPasswordSaysSo(t *testing.T) {
	w := newWorld(t)
	newTestFarm(w, "lab")
	ns := must(server.NewServer(&server.Options{Host: "127.0.0.1", Port: server.RANDOM_PORT, Username: "kiln", Password: "secret", NoSigs: true, NoLog: true}))
	ns.Start()
	t.Cleanup(ns.Shutdown)
	if !ns.ReadyForConnections(10 * time.Second) {
		t.Fatal("NATS does not start")
	}
	got := w.run("coordinator", "--data", "lab-1", "--listen", "127.0.0.1:0", "--nats", "nats://"+ns.Addr().String())
	want := "kiln: the bus at nats://" + ns.Addr().String() + " does not let lab-1 in: a NATS of your own needs a user and a password"
	if got.code != ui.ExitUsage || !strings.HasPrefix(got.last(), want) {
		t.Errorf("exit code %d and %q, want %q", got.code, got.last(), want)
	}
	w.spawn("coordinator", "--data", "lab-1", "--listen", "127.0.0.1:0", "--nats", "nats://kiln:secret@"+ns.Addr().String())
}
