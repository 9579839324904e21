package fleet

import (
	"fmt"
	"strings"
)

// join lists words as people do: "a, b and c".
func join(words []string) string {
	if len(words) < 2 {
		return strings.Join(words, "")
	}
	return strings.Join(words[:len(words)-1], ", ") + " and " + words[len(words)-1]
}

// maxListed is how many words a message lists.
const maxListed = 16

// suggest says which of the known words was likely meant, which there are, or otherwise what to do.
func suggest(word string, known []string, otherwise string) string {
	best, distance := "", len(word)/2+1
	for _, k := range known {
		if len(known) > 1000 {
			break // of so many, any word is near some
		}
		if d := edits(strings.ToLower(word), strings.ToLower(k)); d < distance {
			best, distance = k, d
		}
	}
	switch {
	case best != "":
		return fmt.Sprintf("did you mean %q?", best)
	case len(known) > 0 && len(known) <= maxListed:
		return "there are " + join(known)
	}
	return otherwise
}

// edits is the number of single-byte changes that make b of a, two swapped neighbours counting as one (optimal string
// alignment).
func edits(a, b string) int {
	const longest = 64
	a, b = a[:min(len(a), longest)], b[:min(len(b), longest)]
	before, row := make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		next := make([]int, len(b)+1)
		next[0] = i + 1
		for j := range len(b) {
			if a[i] == b[j] {
				next[j+1] = row[j]
			} else {
				next[j+1] = 1 + min(row[j], row[j+1], next[j])
			}
			if i > 0 && j > 0 && a[i] == b[j-1] && a[i-1] == b[j] {
				next[j+1] = min(next[j+1], before[j-1]+1)
			}
		}
		before, row = row, next
	}
	return row[len(b)]
}
