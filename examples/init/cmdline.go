package main

import (
	"strconv"
	"strings"
	"time"
)

// cmdline is the kernel's command line: the last value of each key.
type cmdline map[string]string

func parseCmdline(line string) cmdline {
	arguments := cmdline{}
	for _, word := range strings.Fields(line) {
		key, value, _ := strings.Cut(word, "=")
		arguments[key] = value
	}
	return arguments
}

// seconds reads a duration; ok is false when key is absent or no number of seconds in a day.
func (c cmdline) seconds(key string) (d time.Duration, ok bool) {
	n, err := strconv.ParseUint(c[key], 10, 32)
	if err != nil || n > 24*60*60 {
		return 0, false
	}
	return time.Duration(n) * time.Second, true
}
