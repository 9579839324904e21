package ui

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"connectrpc.com/connect"

	"github.com/kiln-farm/kiln/cache"
	"github.com/kiln-farm/kiln/cli/client"
	"github.com/kiln-farm/kiln/image/linuxkit"
	"github.com/kiln-farm/kiln/internal/pki"
)

// Exit codes, as scripts rely on them.
const (
	ExitDone        = 0
	ExitFailed      = 1 // the build failed, or was stopped
	ExitUsage       = 2 // the command or its input is wrong
	ExitUnreachable = 3 // the farm cannot be reached
)

// UsageError is a fault of the command line: trying again with the same one would not help.
type UsageError struct{ err error }

func (e *UsageError) Error() string { return e.err.Error() }
func (e *UsageError) Unwrap() error { return e.err }

// Usagef is a UsageError with a text as of fmt.Errorf.
func Usagef(format string, args ...any) error {
	return &UsageError{fmt.Errorf(format, args...)}
}

var (
	// ErrStopped: the user stopped the command.
	ErrStopped = errors.New("stopped")
	// ErrBuildStopped: and the build with it.
	ErrBuildStopped = errors.New("stopped; the build is canceled")
	// ErrLeft: the user stopped a command that only looked on.
	ErrLeft = errors.New("stopped; a detached build goes on, kiln build wait follows it again")
)

// ExitCode is what the process ends with.
func ExitCode(err error) int {
	var usage *UsageError
	var api *client.APIError
	switch {
	case err == nil:
		return ExitDone
	case errors.Is(err, client.ErrUnreachable), errors.Is(err, cache.ErrUnavailable):
		return ExitUnreachable
	case errors.Is(err, context.Canceled): // also while a file of the user's was read
		return ExitFailed
	case errors.As(err, &usage), errors.Is(err, linuxkit.ErrInput), errors.Is(err, client.ErrCredentials), errors.Is(err, pki.ErrToken):
		return ExitUsage
	case errors.As(err, &api):
		return apiCode(api.Code)
	}
	return ExitFailed
}

// apiCode is the exit code for what a farm said.
func apiCode(code connect.Code) int {
	switch code {
	case connect.CodeUnavailable, connect.CodeDeadlineExceeded: // no leader, no quorum
		return ExitUnreachable
	case connect.CodeInvalidArgument, connect.CodeUnauthenticated, connect.CodePermissionDenied, connect.CodeAlreadyExists, connect.CodeNotFound:
		return ExitUsage
	}
	return ExitFailed
}

// Sentence is the sentence for people; several faults of a file are several lines.
func Sentence(err error) string {
	if errors.Is(err, context.Canceled) {
		err = ErrStopped
	}
	var b strings.Builder
	for line := range strings.Lines(strings.TrimSpace(err.Error())) {
		b.WriteString("kiln: " + strings.TrimRight(line, "\n") + "\n")
	}
	return b.String()
}
