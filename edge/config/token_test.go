package config

import (
	"encoding/base64"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/kiln-farm/kiln/fleet"
)

func testKey() Key { return Key([]byte(strings.Repeat("k", 32))) }

func testToken() Token {
	return Token{Machine: "web-1", Boot: BootID{1, 2, 3}, Expires: time.Unix(2000, 0)}
}

func TestATokenIsReadBack(t *testing.T) {
	text := Sign(testKey(), testToken())
	if strings.Trim(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_") != "" || len(text) > 100 {
		t.Errorf("%q does not stand in a path as it is", text)
	}
	got, err := Verify(testKey(), text, time.Unix(1999, 0))
	if err != nil || got != testToken() {
		t.Errorf("got %+v %v, want %+v", got, err, testToken())
	}
	public := testToken()
	public.Public = true
	if got, err := Verify(testKey(), Sign(testKey(), public), time.Unix(1999, 0)); err != nil || got != public {
		t.Errorf("got %+v %v, want %+v", got, err, public)
	}
	// The format is between edges of different versions: it does not change by accident.
	const want = "AQABAgMAAAAAAAAAAAAAAAAAAAAAAAAAB9B3ZWItMTV96urISHJ_P_seYs5g462KQ65w7nOv7IK1GDY6RPdO"
	if text != want {
		t.Errorf("got %s, want %s", text, want)
	}
}

func TestTokensThatAreRefused(t *testing.T) {
	good := Sign(testKey(), testToken())
	raw, err := base64.RawURLEncoding.DecodeString(good)
	if err != nil {
		t.Fatal(err)
	}
	other := testKey()
	other[31]++
	future := append([]byte{2}, raw[1:len(raw)-32]...)
	future = append(future, mac(testKey(), future)...)
	flags := append([]byte{1, 2}, raw[2:len(raw)-32]...)
	flags = append(flags, mac(testKey(), flags)...)
	for _, c := range []struct {
		name, text string
		now        int64
		want       error
	}{
		{"expired now", good, 2000, ErrExpired},
		{"expired long ago", good, 1 << 40, ErrExpired},
		{"nothing", "", 1, ErrToken},
		{"another key", Sign(other, testToken()), 1, ErrToken},
		{"padding", good + "=", 1, ErrToken},
		{"a line's end", good[:10] + "\n" + good[10:], 1, ErrToken},
		{"one byte more", good + "A", 1, ErrToken},
		{"one byte less", good[:len(good)-1], 1, ErrToken},
		{"a machine of no letters", Sign(testKey(), Token{Expires: time.Unix(2000, 0)}), 1, ErrToken},
		{"another version", base64.RawURLEncoding.EncodeToString(future), 1, ErrToken},
		{"a flag that is not known", base64.RawURLEncoding.EncodeToString(flags), 1, ErrToken},
		{"a machine without end", Sign(testKey(), Token{Machine: strings.Repeat("x", 1000), Expires: time.Unix(2000, 0)}), 1, ErrToken},
		{"a path", "../../etc/passwd", 1, ErrToken},
		{"a megabyte", strings.Repeat("A", 1<<20), 1, ErrToken},
		{"a time before all", Sign(testKey(), Token{Machine: "a", Expires: time.Unix(-1, 0)}), 1, ErrToken},
	} {
		if got, err := Verify(testKey(), c.text, time.Unix(c.now, 0)); !errors.Is(err, c.want) || got != (Token{}) {
			t.Errorf("%s: got %+v %v, want %v", c.name, got, err, c.want)
		}
	}
	for i := range raw {
		for bit := range 8 {
			changed := append([]byte(nil), raw...)
			changed[i] ^= 1 << bit
			if _, err := Verify(testKey(), base64.RawURLEncoding.EncodeToString(changed), time.Unix(1, 0)); !errors.Is(err, ErrToken) {
				t.Fatalf("bit %d of byte %d may be changed: %v", bit, i, err)
			}
		}
	}
}

func TestKeysHave32Bytes(t *testing.T) {
	if _, err := ParseKey(make([]byte, 31)); err == nil || err.Error() != "the key of boot tokens has 31 bytes, not 32; make it anew" {
		t.Errorf("got %v", err)
	}
	if k, err := ParseKey([]byte(strings.Repeat("k", 32))); err != nil || k != testKey() {
		t.Errorf("got %v %v", k, err)
	}
}

func FuzzRedact(f *testing.F) {
	for _, s := range []string{"/m/0123456789abcdef", "/artifacts/sha256:0123456789abcdef", "M%2f0123456789abcdef", "x%2FFILES/0123456789abcdef", "\u017f/", "file\u017f/0123456789abcdef"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if tokenPath.MatchString(s) && !mayHaveToken(s) {
			t.Errorf("%q has a token, and is thought to have none", s)
		}
	})
}

func TestRedact(t *testing.T) {
	token := Sign(testKey(), testToken())
	for _, c := range []struct{ name, in string }{
		{"a path", "/m/" + token + "/nocloud/user-data"},
		{"a path that ends", "GET /m/" + token},
		{"a command line", `ds=nocloud;s=http://10.0.0.1:8080/m/` + token + `/nocloud/ kiln.metadata=http://e/m/` + token},
		{"an escaped URL", "next=%2Fm%2F" + token + "%2Fkv"},
		{"a file of a release", "http://e/files/" + token + "/sha256%3Aabc"},
		{"an image that is up", "/up/" + token},
		{"a name of TFTP", "files/" + token + "/abc"},
		{"JSON", `{"path":"/m/` + token + `"}`},
		{"a letter that is escaped", "/m/%41" + token[1:] + "/kv"},
	} {
		got := Redact(c.in)
		if strings.Contains(got, token[20:40]) || !strings.Contains(got, "token-") || Redact(got) != got {
			t.Errorf("%s: %q became %q", c.name, c.in, got)
		}
	}
	if a, b := Redact("/m/"+token+"/a"), Redact("x /m/"+token); a[3:21] != b[5:23] {
		t.Errorf("one token has two marks: %s and %s", a, b)
	}
	for _, same := range []string{"", "/m/short/x", "/artifacts/sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"} {
		if got := Redact(same); got != same {
			t.Errorf("%q became %q", same, got)
		}
	}
}

func FuzzToken(f *testing.F) {
	f.Add(Sign(testKey(), testToken()), int64(1))
	f.Add("", int64(0))
	f.Add("AQ", int64(1<<62))
	f.Fuzz(func(t *testing.T, text string, now int64) {
		got, err := Verify(testKey(), text, time.Unix(now, 0))
		if err != nil {
			if got != (Token{}) {
				t.Errorf("a token that is refused says %+v", got)
			}
			return
		}
		if again := Sign(testKey(), got); again != text {
			t.Errorf("%q has another text, %q", text, again)
		}
	})
}

// Command lines are checked for their length before there are tokens.
func TestTheLengthOfATokenIsKnownBefore(t *testing.T) {
	for _, key := range []string{"a", "web-1", "52:54:00:12:34:56", strings.Repeat("x", 64)} {
		if got, want := len(Sign(testKey(), Token{Machine: key, Expires: time.Unix(2000, 0)})), fleet.TokenLength(key); got != want {
			t.Errorf("the token of %s has %d bytes, and %d are counted", key, got, want)
		}
	}
}
