package netboot

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
)

// told logs why a server ended.
func told(log *slog.Logger, what string, err error) {
	if err != nil && !errors.Is(err, http.ErrServerClosed) && !errors.Is(err, context.Canceled) {
		log.Error("a server of the edge ended", "server", what, "error", err)
	}
}
