package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"connectrpc.com/connect"

	"github.com/kiln-farm/kiln/cache"
	"github.com/kiln-farm/kiln/cli/farm"
	"github.com/kiln-farm/kiln/image/linuxkit"
	"github.com/kiln-farm/kiln/internal/pki"
)

// Exit codes, as scripts rely on them.
const (
	exitDone        = 0
	exitFailed      = 1 // the build failed, or was stopped
	exitUsage       = 2 // the command or its input is wrong
	exitUnreachable = 3 // the farm cannot be reached
)

// usageError is a fault of the command line: trying again with the same one would not help.
type usageError struct{ err error }

func (e *usageError) Error() string { return e.err.Error() }
func (e *usageError) Unwrap() error { return e.err }

func usagef(format string, args ...any) error {
	return &usageError{fmt.Errorf(format, args...)}
}

var (
	// errStopped: the user stopped the command.
	errStopped = errors.New("stopped")
	// errBuildStopped: and the build with it.
	errBuildStopped = errors.New("stopped; the build is canceled")
	// errLeft: the user stopped a command that only looked on.
	errLeft = errors.New("stopped; a detached build goes on, kiln build wait follows it again")
)

// exitCode is what the process ends with.
func exitCode(err error) int {
	var usage *usageError
	var api *farm.APIError
	switch {
	case err == nil:
		return exitDone
	case errors.Is(err, farm.ErrUnreachable), errors.Is(err, cache.ErrUnavailable):
		return exitUnreachable
	case errors.Is(err, context.Canceled): // also while a file of the user's was read
		return exitFailed
	case errors.As(err, &usage), errors.Is(err, linuxkit.ErrInput), errors.Is(err, farm.ErrCredentials), errors.Is(err, pki.ErrToken):
		return exitUsage
	case errors.As(err, &api):
		return apiCode(api.Code)
	}
	return exitFailed
}

// apiCode is the exit code for what a farm said.
func apiCode(code connect.Code) int {
	switch code {
	case connect.CodeUnavailable, connect.CodeDeadlineExceeded: // no leader, no quorum
		return exitUnreachable
	case connect.CodeInvalidArgument, connect.CodeUnauthenticated, connect.CodePermissionDenied, connect.CodeAlreadyExists, connect.CodeNotFound:
		return exitUsage
	}
	return exitFailed
}

// message is the sentence for people; several faults of a file are several lines.
func message(err error) string {
	if errors.Is(err, context.Canceled) {
		err = errStopped
	}
	var b strings.Builder
	for line := range strings.Lines(strings.TrimSpace(err.Error())) {
		b.WriteString("kiln: " + strings.TrimRight(line, "\n") + "\n")
	}
	return b.String()
}
