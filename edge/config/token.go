package config

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"
	"unicode/utf8"
)

var (
	// ErrToken: it was not made with this key, or is no token at all.
	ErrToken = errors.New("the boot token is not valid; boot the machine again to get a new one")
	// ErrExpired: it was valid.
	ErrExpired = errors.New("the boot token has expired; boot the machine again to get a new one")
)

// Key is what tokens are made with. Every edge has the same (Intent.token_key).
type Key [32]byte

// ParseKey makes a Key of an intent's bytes.
func ParseKey(b []byte) (Key, error) {
	if len(b) != len(Key{}) {
		return Key{}, fmt.Errorf("the key of boot tokens has %d bytes, not %d; make it anew", len(b), len(Key{}))
	}
	return Key(b), nil
}

// BootID tells the boots of a machine apart. It is random.
type BootID [16]byte

// String is the id in hexadecimal digits.
func (b BootID) String() string { return hex.EncodeToString(b[:]) }

// Token says that its bearer is a machine in one of its boots. Nothing is kept about it anywhere: any edge that has the key
// knows as much as the one that made it.
type Token struct {
	Machine string // intent.Boot.Key
	Boot    BootID
	Expires time.Time // to the second
	// Public tokens give no secrets: whoever got it says that it is the machine, and was not seen to have its address. A MAC
	// address in a request is no proof.
	Public bool
}

const (
	tokenVersion = 1
	maxMachine   = 128 // bytes of Token.Machine
	tokenHead    = 1 + 1 + len(BootID{}) + 8
	flagPublic   = 1
	maxToken     = (tokenHead + maxMachine + sha256.Size) * 4 / 3
	// domain keeps a token from being anything else that is made with the key.
	domain = "kiln boot token\x00"
)

// Sign writes a token: version, flags, boot, expiry in seconds since 1970, machine, and HMAC-SHA-256 over these (RFC 2104), all in
// base64url without padding (RFC 4648 §5), so that it stands in a path as it is.
func Sign(key Key, t Token) string {
	b := []byte{tokenVersion, 0}
	if t.Public {
		b[1] = flagPublic
	}
	b = append(b, t.Boot[:]...)
	b = binary.BigEndian.AppendUint64(b, uint64(t.Expires.Unix()))
	b = append(b, t.Machine...)
	return base64.RawURLEncoding.EncodeToString(append(b, mac(key, b)...))
}

func mac(key Key, b []byte) []byte {
	h := hmac.New(sha256.New, key[:])
	h.Write([]byte(domain))
	h.Write(b)
	return h.Sum(nil)
}

// Verify reads a token that Sign made. A token has one text only, and nothing of it is looked at before its code is right.
func Verify(key Key, text string, now time.Time) (Token, error) {
	if len(text) > maxToken+1 {
		return Token{}, ErrToken
	}
	b, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if err != nil || len(b) <= tokenHead+sha256.Size || strings.ContainsAny(text, "\r\n") { // the decoder skips line ends
		return Token{}, ErrToken
	}
	body, code := b[:len(b)-sha256.Size], b[len(b)-sha256.Size:]
	if !hmac.Equal(code, mac(key, body)) || body[0] != tokenVersion || body[1]&^flagPublic != 0 {
		return Token{}, ErrToken
	}
	seconds := binary.BigEndian.Uint64(body[2+len(BootID{}):])
	if seconds > 1<<62 {
		return Token{}, ErrToken
	}
	t := Token{Machine: string(body[tokenHead:]), Boot: BootID(body[2:]), Expires: time.Unix(int64(seconds), 0), Public: body[1]&flagPublic != 0}
	if !now.Before(t.Expires) {
		return Token{}, ErrExpired
	}
	return t, nil
}

// tokenPath finds a token in a path, a URL, a command line or a line of a log: behind /m/, and behind the edge's /files/ and
// /up/. Names of TFTP may lack the first slash.
var tokenPath = regexp.MustCompile(`(?i)((?:^|/|%2f)(?:m|files|up)(?:/|%2f))([^/\s"'<>?#;&]{16,})`)

// mayHaveToken says no of most that has none, for a tenth of the time: every request is logged.
func mayHaveToken(s string) bool {
	for i := range len(s) {
		if s[i] >= utf8.RuneSelf { // there are letters that are an s in another case
			return true
		}
		if s[i] != '/' && s[i] != '%' {
			continue
		}
		for _, before := range [...]string{"m", "files", "up"} {
			if i >= len(before) && strings.EqualFold(s[i-len(before):i], before) {
				return true
			}
		}
	}
	return false
}

// Redact replaces the tokens in s by marks that are the same for the same token, so that what a log says of one boot can
// still be read together.
func Redact(s string) string {
	if !mayHaveToken(s) {
		return s
	}
	return tokenPath.ReplaceAllStringFunc(s, func(found string) string {
		m := tokenPath.FindStringSubmatch(found)
		if strings.HasPrefix(m[2], "token-") {
			return found
		}
		sum := sha256.Sum256([]byte(m[2]))
		return m[1] + "token-" + hex.EncodeToString(sum[:6])
	})
}
