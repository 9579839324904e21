package nsupdate

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

const secret = "c2l4dGVlbiBieXRlcyBhcmUgdG9vIGZldyBmb3IgaXQ="

func TestKeysAreReadAsBINDReadsThem(t *testing.T) {
	text := fmt.Sprintf("// mine\n# and this\n/* and\nthat */ key \"Kiln.\" {\n\talgorithm hmac-sha256;\n\tsecret %q;\n};\nkey b{secret %s;algorithm HMAC-SHA512.;};", secret, secret)
	keys, err := ParseKeys([]byte(text))
	if err != nil || len(keys) != 2 || keys["kiln."] == nil || keys["b."].algorithm != "hmac-sha512." {
		t.Errorf("got %v, %v", keys, err)
	}
	for _, shown := range []string{fmt.Sprint(keys["kiln."]), fmt.Sprintf("%+v", *keys["b."]), fmt.Sprintf("%#v", keys["b."])} {
		if strings.HasPrefix(shown, "key") && strings.Contains(shown, secret) {
			t.Errorf("a key shows its secret: %s", shown)
		}
	}
}

func TestFilesOfKeysThatAreWrong(t *testing.T) {
	for _, c := range []struct{ name, text, want string }{
		{"something else", "options { };", `line 1 has a clause that begins with something else than "key"`},
		{"no name", "key { };", "line 1 has a key without a name"},
		{"an old algorithm", "\nkey a { algorithm hmac-md5; };", `line 2 has an algorithm for key "a" that is not hmac-sha256`},
		{"a secret that is none", `key a { secret "§§"; };`, `a secret of key "a" that is not base64`},
		{"no secret", "key a { algorithm hmac-sha256; };", `key "a" lacks its algorithm or its secret`},
		{"twice", strings.Repeat(`key a { algorithm hmac-sha256; secret "eHg="; };`, 2), `key "a" is there twice`},
		{"no end", "key a { algorithm hmac-sha256;", `something in key "a"`},
		{"a comment without an end", "/* x", "a text or comment that does not end"},
		{"a text without an end", `key "a`, "a text or comment that does not end"},
		{"no semicolon", `key a { algorithm hmac-sha256 secret "eHg="; };`, `no ";" where one should be in key "a"`},
	} {
		if _, err := ParseKeys([]byte(c.text)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %q", c.name, err, c.want)
		}
	}
}

func TestAFileOfKeys(t *testing.T) {
	path := filepath.Join(t.TempDir(), "keys")
	if _, err := OpenKeys(path); err == nil || !strings.Contains(err.Error(), "--dns-keys") {
		t.Errorf("a file that is not there: %v", err)
	}
	write := func(name string, mode os.FileMode) {
		if err := os.WriteFile(path, fmt.Appendf(nil, "key %s { algorithm hmac-sha256; secret %q; };", name, secret), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
	}
	write("a", 0o644)
	if _, err := OpenKeys(path); err == nil || !strings.Contains(err.Error(), "has the mode 0644, so that others can get at its secrets; chmod 600") {
		t.Errorf("a file that all may read: %v", err)
	}
	write("a", 0o640)
	keys, err := OpenKeys(path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := keys.Get("A."); err != nil {
		t.Error(err)
	}
	if _, err := keys.Get("other"); err == nil || !strings.Contains(err.Error(), `holds no key "other"`) {
		t.Errorf("a key that is not there: %v", err)
	}
	write("other", 0o600)
	if err := os.Chtimes(path, time.Time{}, time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	if _, err := keys.Get("other"); err != nil {
		t.Errorf("the file was written anew: %v", err)
	}
	if _, err := (*Keys)(nil).Get("a"); err == nil || !strings.Contains(err.Error(), "--dns-keys FILE") {
		t.Errorf("without a file: %v", err)
	}
}

func FuzzParseKeys(f *testing.F) {
	f.Add([]byte(fmt.Sprintf("key \"k\" { algorithm hmac-sha256; secret %q; };", secret)))
	f.Add([]byte("/*/ key // \n{;}\"\""))
	f.Fuzz(func(t *testing.T, text []byte) {
		keys, err := ParseKeys(text)
		if err != nil && (keys != nil || strings.Contains(err.Error(), "\n")) {
			t.Errorf("%v, %q", keys, err)
		}
		for name, k := range keys {
			if name == "" || k.secret == "" || k.algorithm == "" {
				t.Errorf("key %q lacks something", name)
			}
		}
	})
}
