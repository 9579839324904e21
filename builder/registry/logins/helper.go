package logins

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"github.com/docker/cli/cli/config/types"
	helpers "github.com/docker/docker-credential-helpers/credentials"

	"github.com/kiln-farm/kiln/image/step"
)

const (
	// helperWait is how long a credential helper may take: some ask a cloud.
	helperWait = 30 * time.Second
	// maxOutput bounds what a helper may print, in bytes.
	maxOutput = 64 << 10
	// tokenUser is the user name of an identity token (docker/cli, credential helper protocol).
	tokenUser = "<token>"
)

// errHangs ends a helper that takes too long.
var errHangs = errors.New("no answer")

// helper is a credential helper that a file names.
type helper struct {
	program, file string
	wait          time.Duration
}

// get asks for the login of a server; empty when the helper knows none.
func (h *helper) get(ctx context.Context, server string) (none types.AuthConfig, err error) {
	path, err := exec.LookPath(h.program)
	if err != nil {
		return none, step.Failf("%s names the credential helper %s, which is not installed here (%w); install it, or take it out of the file", h.file, h.program, errors.Unwrap(err))
	}
	ctx, cancel := context.WithTimeoutCause(ctx, h.wait, errHangs)
	defer cancel()
	out, complaint := &bounded{most: maxOutput}, &bounded{most: maxOutput}
	cmd := exec.CommandContext(ctx, path, "get")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(server), out, complaint
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // what it starts is ended with it
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = time.Second
	err = cmd.Run()
	ended := cmd.ProcessState != nil && cmd.ProcessState.Success() // it may have left something running, which holds its output
	switch said := strings.TrimSpace(out.text.String()); {
	case ended:
	case errors.Is(context.Cause(ctx), errHangs):
		return none, step.Failf("credential helper %s, which %s names for %s, gave no answer within %s and was ended; find out why with `echo %s | %s get`, or take it out of the file",
			h.program, h.file, server, h.wait, server, h.program)
	case ctx.Err() != nil:
		return none, ctx.Err()
	default:
		if helpers.IsErrCredentialsNotFoundMessage(said) {
			return none, nil
		}
		return none, step.Failf("credential helper %s, which %s names for %s, failed (%w): %s; mend it, or take it out of the file",
			h.program, h.file, server, err, firstLine(said, complaint.text.String()))
	}
	var login helpers.Credentials
	if json.Unmarshal(out.text.Bytes(), &login) != nil || login.Username == "" && login.Secret == "" {
		// What it printed is not repeated: it may hold a secret.
		return none, step.Failf("credential helper %s, which %s names for %s, printed %d bytes that are no login (JSON with Username and Secret); mend it, or take it out of the file",
			h.program, h.file, server, out.text.Len())
	}
	if login.Username == tokenUser {
		return types.AuthConfig{IdentityToken: login.Secret}, nil
	}
	return types.AuthConfig{Username: login.Username, Password: login.Secret}, nil
}

// firstLine is what a program says about its failure.
func firstLine(texts ...string) string {
	for _, text := range texts {
		line, _, _ := strings.Cut(strings.TrimSpace(text), "\n")
		if line != "" {
			return line[:min(len(line), 300)]
		}
	}
	return "it says nothing"
}

// bounded takes no more than so many bytes, and ends who writes more.
type bounded struct {
	text bytes.Buffer
	most int
}

var errTooMuch = errors.New("it prints too much")

func (b *bounded) Write(p []byte) (int, error) {
	if b.text.Len()+len(p) > b.most {
		return 0, errTooMuch
	}
	return b.text.Write(p)
}
