//go:build !linux

package pool

import "time"

var begun = time.Now()

func clock() time.Duration { return time.Since(begun) }

func bootID() string { return "" }
