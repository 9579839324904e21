package report

import (
	"fmt"
	"strconv"
	"time"

	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
)

// Span is a length of time in its two largest units: "3s", "2m 05s", "4h 10m", "6d 3h".
func Span(d time.Duration) string {
	d = max(d, 0)
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%ds", int(d.Seconds()))
	case d < time.Hour:
		return fmt.Sprintf("%dm %02ds", int(d.Minutes()), int(d.Seconds())%60)
	case d < 24*time.Hour:
		return fmt.Sprintf("%dh %02dm", int(d.Hours()), int(d.Minutes())%60)
	}
	return fmt.Sprintf("%dd %dh", int(d.Hours())/24, int(d.Hours())%24)
}

// count is a number with commas between thousands.
func count[N ~int | ~uint32 | ~uint64](n N) string {
	digits := strconv.FormatUint(uint64(n), 10)
	for at := len(digits) - 3; at > 0; at -= 3 {
		digits = digits[:at] + "," + digits[at:]
	}
	return digits
}

func several(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return count(n) + " " + what + "s"
}

// State is the word for a build's state.
func State(s kilnv1.BuildState) string {
	switch s {
	case kilnv1.BuildState_BUILD_STATE_RESOLVING:
		return "resolving"
	case kilnv1.BuildState_BUILD_STATE_PLANNING:
		return "planning"
	case kilnv1.BuildState_BUILD_STATE_RUNNING:
		return "running"
	case kilnv1.BuildState_BUILD_STATE_DONE:
		return "done"
	case kilnv1.BuildState_BUILD_STATE_FAILED:
		return "failed"
	case kilnv1.BuildState_BUILD_STATE_CANCELED:
		return "canceled"
	}
	return "unknown"
}

func stateColor(s kilnv1.BuildState) string {
	switch s {
	case kilnv1.BuildState_BUILD_STATE_DONE:
		return green
	case kilnv1.BuildState_BUILD_STATE_FAILED:
		return red
	case kilnv1.BuildState_BUILD_STATE_CANCELED:
		return yellow
	}
	return cyan
}
