package ui

import (
	"math"
	"strconv"
	"strings"

	"github.com/kiln-farm/kiln/image/linuxkit"
)

// ParseSize reads "20G", "500MiB", "1048576": powers of 1024.
func ParseSize(flag, s string) (int64, error) {
	digits := strings.TrimRight(s, "KMGTiBkmgtb")
	shift, ok := map[string]uint{"": 0, "B": 0, "K": 10, "M": 20, "G": 30, "T": 40}[strings.TrimSuffix(strings.TrimSuffix(strings.ToUpper(s[len(digits):]), "B"), "I")]
	n, err := strconv.ParseInt(digits, 10, 64)
	if err != nil || !ok || n < 0 || n > math.MaxInt64>>shift {
		return 0, Usagef("%s %q: it is a size such as 500M or 20G", flag, s)
	}
	return n << shift, nil
}

func ParseDiskSize(flag, text string) (int64, error) {
	if text == "" {
		return 0, nil
	}
	n, err := linuxkit.ParseSize(text)
	if err != nil {
		return 0, Usagef("%s %w", flag, err)
	}
	return n, nil
}
