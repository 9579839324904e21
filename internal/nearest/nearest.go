// Package nearest finds the word that somebody likely meant.
//
// It guesses only what is near: no guess is better than a far one. It never looks at what words mean.
package nearest

import "strings"

// longest bounds what is compared, in bytes.
const longest = 64

// To is the one of the known words that is nearest to word, whatever its case, when a third of its letters at most differ; ""
// otherwise. Of several that are equally near it is the first in lexical order, whatever order they are given in.
func To(word string, known []string) string {
	best, distance := "", max(len(word)/3, 1)+1
	for _, k := range known {
		if d := edits(strings.ToLower(word), strings.ToLower(k)); 2*d <= min(len(word), len(k)) && (d < distance || d == distance && best != "" && k < best) {
			best, distance = k, d
		}
	}
	return best
}

// edits is the number of single-byte changes that make b of a, two swapped neighbours counting as one (optimal string
// alignment).
func edits(a, b string) int {
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
