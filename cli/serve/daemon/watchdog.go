package daemon

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"strconv"
	"time"

	"github.com/kiln-farm/kiln/cli/member/node"
	"github.com/kiln-farm/kiln/cli/ui"
)

// Watchdog tells the service manager time and again that the process does what it is for, as long as well says so, until
// ctx ends. One that stands still is ended and started anew then, where the manager is to do that (systemd's WatchdogSec=).
func Watchdog(ctx context.Context, env ui.Env, log *slog.Logger, well func(context.Context) error) {
	limit, ok := watchdogLimit(env)
	if !ok {
		return
	}
	ticker := time.NewTicker(limit / 3)
	defer ticker.Stop()
	for {
		one, cancel := context.WithTimeout(ctx, limit/3)
		err := well(one)
		cancel()
		if err == nil {
			Notify(env, log, node.Alive)
		} else if ctx.Err() == nil {
			log.Error("this process does not do what it should, and may be ended by the service manager", "error", err)
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
	}
}

// watchdogLimit is how long the manager waits for a sign (sd_watchdog_enabled(3)); false when it does not.
func watchdogLimit(env ui.Env) (time.Duration, bool) {
	if pid := env.Getenv("WATCHDOG_PID"); pid != "" && pid != strconv.Itoa(os.Getpid()) {
		return 0, false
	}
	us, err := strconv.ParseInt(env.Getenv("WATCHDOG_USEC"), 10, 64)
	limit := time.Duration(us) * time.Microsecond
	return limit, err == nil && limit >= 3*time.Millisecond && us <= int64(24*time.Hour/time.Microsecond)
}

// Answers is a check that something is served at a URL.
func Answers(url string) func(context.Context) error {
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}} // a connection that is there already proves less
	return func(ctx context.Context) error {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			return err
		}
		res, err := client.Do(req)
		if err != nil {
			return err
		}
		defer res.Body.Close()
		if _, err := io.Copy(io.Discard, io.LimitReader(res.Body, 1<<10)); err != nil {
			return err
		}
		if res.StatusCode != http.StatusOK {
			return fmt.Errorf("%s says %s", url, res.Status)
		}
		return nil
	}
}
