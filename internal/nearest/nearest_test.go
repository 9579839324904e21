package nearest

import "testing"

func TestTo(t *testing.T) {
	for _, c := range []struct {
		word  string
		known []string
		want  string
	}{
		{"Mac", []string{"MAC", "MACs", "Name"}, "MAC"},
		{"Adress", []string{"Address", "Name"}, "Address"},
		{"lables", []string{"labels", "tables"}, "labels"},
		{"userNAMES", []string{"services", "volumes"}, ""},
		{"x", []string{"y"}, ""},
		{"xy", []string{"y", "xz"}, "xz"},
		{"wob", []string{"wub", "wab", "web"}, "wab"},
		{"wob", []string{"web", "wab", "wub"}, "wab"},
		{"Serial", []string{"Secrets", "Release"}, ""},
		{"", []string{"a"}, ""},
		{"port", nil, ""},
	} {
		if got := To(c.word, c.known); got != c.want {
			t.Errorf("%q of %q: got %q, want %q", c.word, c.known, got, c.want)
		}
	}
}
