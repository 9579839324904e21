package daemon

import (
	"log/slog"

	"github.com/kiln-farm/kiln/cli/member/node"
	"github.com/kiln-farm/kiln/cli/ui"
)

// Notify tells the service manager, if there is one; it does without.
func Notify(env ui.Env, log *slog.Logger, message string) {
	if err := node.Notify(env.Getenv("NOTIFY_SOCKET"), message); err != nil {
		log.Warn("the service manager was not told", "error", err)
	}
}
