package nsupdate

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"sync"
	"time"

	"github.com/miekg/dns"

	"github.com/kiln-farm/kiln/internal/userfile"
)

// Key signs updates. It never shows its secret.
type Key struct{ name, algorithm, secret string }

// String implements fmt.Stringer.
func (k *Key) String() string { return "key " + strings.TrimSuffix(k.name, ".") }

// GoString implements fmt.GoStringer.
func (k *Key) GoString() string { return k.String() }

const maxKeyFile = 1 << 20 // bytes

// Keys are those of a file, which is read again when it has changed.
type Keys struct {
	path string

	mu   sync.Mutex // guards what follows
	seen seen
	keys map[string]*Key
}

type seen struct {
	at   time.Time
	size int64
	mode fs.FileMode
}

// OpenKeys reads a file of key clauses as tsig-keygen writes them and BIND reads them. Nobody but its owner, and a group that only
// reads, may get at it.
func OpenKeys(path string) (*Keys, error) {
	k := &Keys{path: path}
	return k, k.read()
}

// Get is the key of a name. Its error is a sentence.
func (k *Keys) Get(name string) (*Key, error) {
	if k == nil {
		return nil, fmt.Errorf("this coordinator has no keys: start it, and all others, with --dns-keys FILE that holds key %q", name)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if err := k.read(); err != nil {
		return nil, err
	}
	key := k.keys[dns.CanonicalName(name)]
	if key == nil {
		return nil, fmt.Errorf("%s holds no key %q: add it there, at every coordinator (tsig-keygen makes one)", k.path, name)
	}
	return key, nil
}

// read reads the file when it is not the one that was read last. It is called with mu held, or before there is another caller.
func (k *Keys) read() error {
	file, err := userfile.Open(k.path)
	if errors.Is(err, userfile.ErrNotRegular) {
		return fmt.Errorf("--dns-keys %s is not a file; name one of key clauses", k.path)
	}
	if err != nil {
		return fmt.Errorf("--dns-keys: %w; write a file of key clauses there (tsig-keygen makes one), or leave the flag out", err)
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return fmt.Errorf("--dns-keys: %w", err)
	}
	now := seen{info.ModTime(), info.Size(), info.Mode()}
	if now == k.seen {
		return nil
	}
	switch {
	case info.Mode().Perm()&0o027 != 0:
		return fmt.Errorf("--dns-keys %s has the mode %04o, so that others can get at its secrets; chmod 600 %s", k.path, info.Mode().Perm(), k.path)
	case info.Size() > maxKeyFile:
		return fmt.Errorf("--dns-keys %s has %d bytes, more than %d; that is no file of keys", k.path, info.Size(), maxKeyFile)
	}
	text := make([]byte, info.Size())
	n, err := file.ReadAt(text, 0)
	if n < len(text) {
		return fmt.Errorf("--dns-keys: %w", err)
	}
	keys, err := ParseKeys(text)
	if err != nil {
		return fmt.Errorf("--dns-keys %s: %w", k.path, err)
	}
	k.keys, k.seen = keys, now
	return nil
}

// algorithms that keys may be of. HMAC-MD5 and HMAC-SHA1 are not for new keys (RFC 8945 §6).
func algorithm(name string) string {
	switch strings.TrimSuffix(strings.ToLower(name), ".") {
	case "hmac-sha256":
		return dns.HmacSHA256
	case "hmac-sha384":
		return dns.HmacSHA384
	case "hmac-sha512":
		return dns.HmacSHA512
	}
	return ""
}

// ParseKeys reads clauses like
//
//	key "kiln" { algorithm hmac-sha256; secret "base64"; };
//
// Messages name lines, and show nothing that may be a secret.
func ParseKeys(text []byte) (map[string]*Key, error) {
	s := &scanner{text: text, line: 1}
	keys := map[string]*Key{}
	for {
		word := s.next()
		if word == "" && s.err == nil {
			return keys, nil
		}
		if word != "key" {
			return nil, s.wrong("a clause that begins with something else than \"key\"")
		}
		name, line := s.next(), s.line
		if _, ok := dns.IsDomainName(name); !ok || name == "" || strings.ContainsAny(name, "{};\\") {
			return nil, s.wrong("a key without a name")
		}
		k := &Key{name: dns.CanonicalName(name)}
		if s.next() != "{" {
			return nil, s.wrong("a key without \"{\"")
		}
		for word = s.next(); word != "}"; word = s.next() {
			value := s.next()
			switch {
			case word == "algorithm" && algorithm(value) == "":
				return nil, s.wrong(fmt.Sprintf("an algorithm for key %q that is not hmac-sha256, hmac-sha384 or hmac-sha512", name))
			case word == "algorithm":
				k.algorithm = algorithm(value)
			case word == "secret":
				if raw, err := base64.StdEncoding.DecodeString(value); err != nil || len(raw) == 0 {
					return nil, s.wrong(fmt.Sprintf("a secret of key %q that is not base64", name))
				}
				k.secret = value
			default:
				return nil, s.wrong(fmt.Sprintf("something in key %q that is neither algorithm nor secret", name))
			}
			if s.next() != ";" {
				return nil, s.wrong(fmt.Sprintf("no \";\" where one should be in key %q", name))
			}
		}
		if s.next() != ";" {
			return nil, s.wrong(fmt.Sprintf("no \";\" behind key %q", name))
		}
		switch {
		case k.algorithm == "" || k.secret == "":
			return nil, fmt.Errorf("line %d: key %q lacks its algorithm or its secret; tsig-keygen writes both", line, name)
		case keys[k.name] != nil:
			return nil, fmt.Errorf("line %d: key %q is there twice; keep one", line, name)
		}
		keys[k.name] = k
	}
}

// scanner reads words of named.conf.
type scanner struct {
	text []byte
	line int
	err  error
}

func (s *scanner) wrong(what string) error {
	if s.err != nil {
		what = s.err.Error()
	}
	return fmt.Errorf("line %d has %s; write key clauses as tsig-keygen does", s.line, what)
}

var errOpen = errors.New("a text or comment that does not end")

// next is the next word, "{", "}" or ";"; empty at the end.
func (s *scanner) next() string {
	s.skip()
	if len(s.text) == 0 || s.err != nil {
		return ""
	}
	switch c := s.text[0]; c {
	case '{', '}', ';':
		s.text = s.text[1:]
		return string(c)
	case '"':
		for i := 1; i < len(s.text) && s.text[i] != '\n'; i++ {
			if s.text[i] == '"' {
				word := string(s.text[1:i])
				s.text = s.text[i+1:]
				return word
			}
		}
		s.err = errOpen
		return ""
	}
	end := 1
	for end < len(s.text) && !strings.ContainsRune(" \t\r\n{};\"", rune(s.text[end])) {
		end++
	}
	word := string(s.text[:end])
	s.text = s.text[end:]
	return word
}

// skip goes over blanks and comments of the three kinds that BIND has.
func (s *scanner) skip() {
	for len(s.text) > 0 {
		rest := string(s.text[:min(2, len(s.text))])
		end := 1
		switch {
		case s.text[0] == '#' || rest == "//":
			for end < len(s.text) && s.text[end] != '\n' {
				end++
			}
		case rest == "/*":
			at := bytes.Index(s.text[2:], []byte("*/"))
			if at < 0 {
				s.err, s.text = errOpen, nil
				return
			}
			end = at + 4
		case s.text[0] != ' ' && s.text[0] != '\t' && s.text[0] != '\r' && s.text[0] != '\n':
			return
		}
		s.line += bytes.Count(s.text[:end], []byte("\n"))
		s.text = s.text[end:]
	}
}
