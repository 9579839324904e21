package farmlink

import (
	"net/http"
	"testing"

	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
)

// One that was asked itself just now, and answers through others, is out of reach.
func TestOnlyAKnownLeaderIsAskedItself(t *testing.T) {
	f := &Pool{known: func() []string { return []string{"https://c1:7300", "https://c2:7300"} }}
	for _, c := range []struct {
		named string
		want  string
	}{{"", ""}, {"c9:7300", ""}, {"c2:7300", "https://c2:7300"}, {"c2:7300", ""}, {"c1:7300", "https://c1:7300"}, {"c2:7300/x", ""}} {
		answer := http.Header{}
		if c.named != "" {
			answer.Set(kilnv1.HeaderLeader, c.named)
		}
		if elsewhere, got := f.elsewhere(answer), f.next(); got != c.want || elsewhere != (c.want != "") {
			t.Errorf("leader %q: elsewhere %v, next is %q; want %q", c.named, elsewhere, got, c.want)
		}
	}
}
