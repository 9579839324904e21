package pool

import (
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// clock goes on while the host sleeps, and nobody sets it. Go's own monotonic clock stands still meanwhile.
func clock() time.Duration {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &t); err != nil {
		panic(err) // every Linux has it
	}
	return time.Duration(t.Nano())
}

// bootID is another one after every start of the host; empty when it is not known.
func bootID() string {
	b, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(b))
}
