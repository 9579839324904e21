package cli

import (
	"context"
	"log/slog"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/kiln-farm/kiln/cli/member"
	"github.com/kiln-farm/kiln/cli/member/node"
	"github.com/kiln-farm/kiln/cli/serve/daemon"
	"github.com/kiln-farm/kiln/cli/ui"
	"github.com/kiln-farm/kiln/internal/pki"
)

func TestACertificateIsRenewedWhenItIsWorn(t *testing.T) {
	w := newWorld(t)
	f := newTestFarm(w, "lab")
	c := f.first()
	for _, role := range []pki.Role{pki.RoleBuilder, pki.RoleCoordinator} {
		t.Run(string(role), func(t *testing.T) {
			dir := "worn-" + string(role)
			flags := &member.Flags{Data: dir, ID: dir, Join: c.address(), Token: member.TokenFlags{Token: f.token(role, time.Now().Add(time.Hour))}}
			env := ui.Env{Getenv: func(string) string { return "" }}
			m, err := flags.Open(t.Context(), env, role, time.Second)
			check(t, err)
			// An hour is left of two days.
			f.forge(m.Credentials(), pki.Identity{Farm: "lab", Name: dir, Role: role, Expires: time.Now().Add(time.Hour)}, time.Now().AddDate(0, 0, -1))
			check(t, m.Close())

			flags.Token = member.TokenFlags{}
			m, err = flags.Open(t.Context(), env, role, time.Second)
			check(t, err)
			defer m.Close()
			if !m.Certificate.Worn(time.Now()) {
				t.Fatal("the certificate is not worn")
			}
			check(t, m.Renew(t.Context(), nil))
			for what, credentials := range map[string]*pki.Credentials{"in use": m.Certificate, "in its file": must(pki.LoadCredentials(t.Context(), m.Credentials()))} {
				who := credentials.Identity()
				if credentials.Worn(time.Now()) || who.Name != dir || who.Role != role {
					t.Errorf("the certificate %s is %+v", what, who)
				}
			}
			if len(m.Place().Coordinators) == 0 && role == pki.RoleBuilder {
				t.Error("where the farm is was not kept")
			}
		})
	}
}

func TestKeepingACertificateValidLeavesAFreshOneAlone(t *testing.T) {
	w := newWorld(t)
	newTestFarm(w, "lab")
	flags := &member.Flags{Data: "lab-1"}
	m, err := flags.Open(t.Context(), ui.Env{Getenv: func(string) string { return "" }}, pki.RoleCoordinator, time.Second)
	check(t, err)
	defer m.Close()
	before := m.Certificate.Identity().Key
	var clean daemon.Closers
	clean.Run(t.Context(), func(ctx context.Context) { m.KeepValid(ctx, slog.New(slog.DiscardHandler)) })
	check(t, clean.Close())
	if m.Certificate.Identity().Key != before {
		t.Error("it was renewed")
	}
}

func TestANewFarmSaysWhatToDoNext(t *testing.T) {
	w := newWorld(t)
	got := w.run("init", "--data", "data", "--farm", "lab", "--id", "c1").ok(t).stdout
	for _, want := range []string{
		"farm lab, first coordinator c1", "kiln coordinator --data data --listen HOST:7300", "--join HOST:7300 --token \\\n    kiln1.",
		"kiln builder --data DIR", "kiln farm status --farm https://HOST:7300 --credentials " + filepath.Join(w.dir, "data", "admin.pem"),
	} {
		if !strings.Contains(got, want) {
			t.Errorf("it does not say %q:\n%s", want, got)
		}
	}
}

func TestACoordinatorTellsTheServiceManager(t *testing.T) {
	w := newWorld(t)
	newTestFarm(w, "lab")
	w.vars["NOTIFY_SOCKET"] = filepath.Join(w.dir, "notify")
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: w.vars["NOTIFY_SOCKET"], Net: "unixgram"})
	check(t, err)
	defer conn.Close()
	p := w.spawn("coordinator", "--data", "lab-1", "--listen", "127.0.0.1:0")
	heard := func() string {
		b := make([]byte, 64)
		check(t, conn.SetReadDeadline(time.Now().Add(10*time.Second)))
		return string(b[:must(conn.Read(b))])
	}
	if got := heard(); got != node.Ready {
		t.Errorf("at the start it heard %q, want %q", got, node.Ready)
	}
	p.end()
	if got := heard(); got != node.Stopping {
		t.Errorf("at the end it heard %q, want %q", got, node.Stopping)
	}
}

func TestCommandsCompleteInAShell(t *testing.T) {
	w := newWorld(t)
	for _, shell := range []string{"bash", "zsh", "fish"} {
		if got := w.run("completion", shell).ok(t).stdout; !strings.Contains(got, "kiln") {
			t.Errorf("completion for %s is %.80q", shell, got)
		}
	}
	if got := w.run("__complete", "farm", "st").ok(t).stdout; !strings.HasPrefix(got, "status\t") {
		t.Errorf("kiln farm st completes to %q", got)
	}
}

func TestEveryCommandHasAnExampleOfItself(t *testing.T) {
	root := newRoot(ui.Env{Getenv: func(string) string { return "" }})
	var walk func(path string)
	walk = func(path string) {
		cmd, _, err := root.Find(strings.Fields(path))
		check(t, err)
		for _, below := range cmd.Commands() {
			walk(path + " " + below.Name())
		}
		if cmd.HasSubCommands() && cmd.Name() != "build" || strings.Contains(path, "completion") || cmd.Name() == "help" {
			return
		}
		if !strings.Contains(cmd.Example, "kiln "+strings.TrimSpace(path)) {
			t.Errorf("kiln%s has no example of itself", path)
		}
	}
	for _, cmd := range root.Commands() {
		walk(" " + cmd.Name())
	}
}
