package fleet

import (
	"fmt"
	"strings"

	"github.com/kiln-farm/kiln/internal/nearest"
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
	best := ""
	if len(known) <= 1000 { // of more, any word is near some
		best = nearest.To(word, known)
	}
	switch {
	case best != "":
		return fmt.Sprintf("did you mean %q?", best)
	case len(known) > 0 && len(known) <= maxListed:
		return "there are " + join(known)
	}
	return otherwise
}
