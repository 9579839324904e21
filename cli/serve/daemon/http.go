package daemon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/kiln-farm/kiln/cli/ui"
	"github.com/kiln-farm/kiln/internal/userfile"
)

const (
	// HeaderTimeout bounds how long a client may take to say what it wants (slow loris).
	HeaderTimeout = 10 * time.Second
	// closeTimeout is how long requests may go on when a server is told to end. Watchers connect again elsewhere.
	closeTimeout = 5 * time.Second
)

// Serve answers HTTP at an address until ctx ends, then lets requests end.
func Serve(ctx context.Context, address string, handler http.Handler, log *slog.Logger) error {
	listener, err := Listen(ctx, address)
	if err != nil {
		return err
	}
	protocols := &http.Protocols{}
	protocols.SetHTTP1(true)
	protocols.SetUnencryptedHTTP2(true) // gRPC clients speak it without TLS
	server := &http.Server{Handler: handler, Protocols: protocols, ReadHeaderTimeout: HeaderTimeout}
	failed := make(chan error, 1)
	go func() { failed <- server.Serve(listener) }()
	log.Info("listening", "address", "http://"+listener.Addr().String())
	select {
	case err := <-failed:
		return fmt.Errorf("serve %s: %w", address, err)
	case <-ctx.Done():
	}
	log.Info("ending")
	grace, done := context.WithTimeout(context.WithoutCancel(ctx), closeTimeout)
	defer done()
	err = server.Shutdown(grace)
	if errors.Is(err, context.DeadlineExceeded) {
		err = server.Close() // streams that watch for ever
	}
	<-failed
	return err
}

func Listen(ctx context.Context, address string) (net.Listener, error) {
	return listenAs(ctx, "--listen", address)
}

// listenAs is listen for another flag.
func listenAs(ctx context.Context, flag, address string) (net.Listener, error) {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", address)
	if err != nil {
		return nil, ui.Usagef("%s %s: %w; choose another address", flag, address, userfile.Cause(err))
	}
	return listener, nil
}
