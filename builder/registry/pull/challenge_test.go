package pull

import (
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestChallenges(t *testing.T) {
	bearer := challenge{"bearer", map[string]string{"realm": "https://a.example/token", "service": "reg"}}
	basic := challenge{"basic", map[string]string{"realm": "r"}}
	none := map[string]string{}
	for _, tt := range []struct {
		name    string
		headers []string
		want    []challenge
		best    string // scheme
	}{
		{"nothing", nil, nil, ""},
		{"empty", []string{"", " , ,"}, nil, ""},
		{"one", []string{`Bearer realm="https://a.example/token",service="reg"`}, []challenge{bearer}, "bearer"},
		{"with spaces and without quotes", []string{`BEARER  realm = "https://a.example/token" , service=reg`}, []challenge{bearer}, "bearer"},
		{"in two headers", []string{`Basic realm="r"`, `Bearer realm="https://a.example/token",service="reg"`}, []challenge{basic, bearer}, "bearer"},
		{"in one header", []string{`Basic realm="r", Bearer realm="https://a.example/token",service="reg"`}, []challenge{basic, bearer}, "bearer"},
		{"in one header, the other way", []string{`Bearer realm="https://a.example/token",service="reg",Basic realm="r"`}, []challenge{bearer, basic}, "bearer"},
		{"without a comma between", []string{`Basic realm="r" Bearer realm="https://a.example/token",service="reg"`}, []challenge{basic, bearer}, "bearer"},
		{"commas and quotes in a realm", []string{`Basic realm="a, Bearer realm=\"x\"", charset="UTF-8"`},
			[]challenge{{"basic", map[string]string{"realm": `a, Bearer realm="x"`, "charset": "UTF-8"}}}, "basic"},
		{"schemes with a token68", []string{`Negotiate YIIabc==, NTLM TlRM+/AA=, Bearer realm="https://a.example/token",service="reg"`},
			[]challenge{{"negotiate", none}, {"ntlm", none}, bearer}, "bearer"},
		{"schemes with nothing", []string{`Negotiate, Basic realm="r"`}, []challenge{{"negotiate", none}, basic}, "basic"},
		{"a scope", []string{`Bearer realm="https://a.example/token",scope="repository:a/b:pull,push repository:c:pull",error="invalid_token"`},
			[]challenge{{"bearer", map[string]string{"realm": "https://a.example/token", "scope": "repository:a/b:pull,push repository:c:pull", "error": "invalid_token"}}}, "bearer"},
		{"an empty realm", []string{`Bearer realm=""`, `Basic realm=""`}, []challenge{{"bearer", map[string]string{"realm": ""}}, {"basic", map[string]string{"realm": ""}}}, "basic"},
		{"the first of a parameter counts", []string{`Basic realm="r",REALM="other"`}, []challenge{basic}, "basic"},
		{"a quote without an end", []string{`Basic realm="r`, `Bearer realm="https://a.example/token",service="reg"`}, []challenge{{"basic", none}, bearer}, "bearer"},
		{"garbage before", []string{`"x", Basic realm="r"`}, []challenge{basic}, "basic"},
		{"nothing that we know", []string{`Digest realm="r", nonce="n"`}, []challenge{{"digest", map[string]string{"realm": "r", "nonce": "n"}}}, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := challenges(http.Header{"Www-Authenticate": tt.headers})
			if diff := cmp.Diff(tt.want, got, cmp.AllowUnexported(challenge{})); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			best := ""
			if c := choose(got); c != nil {
				best = c.scheme
			}
			if best != tt.best {
				t.Errorf("the best is %q, want %q", best, tt.best)
			}
		})
	}
}

func FuzzChallenges(f *testing.F) {
	f.Add(`Basic realm="r, x", Bearer realm="https://a.example/token",service="reg"`)
	f.Add(`Negotiate YII==, Digest realm="a\"b", qop="auth,auth-int"`)
	f.Add(`"x", ,=,Bearer`)
	f.Fuzz(func(t *testing.T, header string) {
		all := challenges(http.Header{"Www-Authenticate": {header, header}})
		if len(all) > maxChallenges {
			t.Errorf("%d challenges", len(all))
		}
		for _, c := range all {
			if c.scheme == "" || c.scheme != strings.ToLower(c.scheme) {
				t.Errorf("scheme %q", c.scheme)
			}
			for name := range c.params {
				if name == "" || name != strings.ToLower(name) {
					t.Errorf("parameter %q", name)
				}
			}
		}
	})
}
