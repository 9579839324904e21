package pki

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"
)

// Claims are what a join token entitles its owner to.
type Claims struct {
	Farm    string
	Role    Role
	Team    string // for RoleSubmit: the only team; empty: any
	Expires time.Time
}

// ErrToken: the text is no join token, or one that does not count here.
var ErrToken = errors.New("the join token is not accepted")

const (
	tokenPrefix = "kiln1."
	maxToken    = 4096
)

// tokenBody is a token's signed part.
type tokenBody struct {
	Farm    string `json:"farm"`
	Role    Role   `json:"role"`
	Team    string `json:"team,omitempty"`
	Expires int64  `json:"expires"` // seconds since 1970
	CA      []byte `json:"ca"`      // SHA-256 of the authority's certificate
	Nonce   []byte `json:"nonce"`
}

// Token makes a join token: "kiln1.", what it claims, ".", the authority's signature. Whoever has it can join until
// it expires, so it is a secret.
func (a *Authority) Token(c Claims) (string, error) {
	if _, err := ParseRole(string(c.Role)); err != nil {
		return "", fmt.Errorf("make a join token: %w", err)
	}
	if c.Farm != a.Farm() || c.Team != "" && c.Role != RoleSubmit {
		return "", fmt.Errorf("make a join token: the farm is %q, and only the role submit has a team", a.Farm())
	}
	ca := a.Fingerprint()
	body := tokenBody{Farm: c.Farm, Role: c.Role, Team: c.Team, Expires: c.Expires.Unix(), CA: ca[:], Nonce: make([]byte, 12)}
	if _, err := rand.Read(body.Nonce); err != nil {
		return "", fmt.Errorf("make a join token: %w", err)
	}
	data, err := json.Marshal(body)
	if err != nil {
		return "", fmt.Errorf("make a join token: %w", err)
	}
	signed := tokenPrefix + base64.RawURLEncoding.EncodeToString(data)
	sum := sha256.Sum256([]byte(signed))
	signature, err := ecdsa.SignASN1(rand.Reader, a.key, sum[:])
	if err != nil {
		return "", fmt.Errorf("make a join token: %w", err)
	}
	return signed + "." + base64.RawURLEncoding.EncodeToString(signature), nil
}

// CheckToken returns what a token entitles to, or an ErrToken that says why to nothing.
func (a *Authority) CheckToken(token string, now time.Time) (Claims, error) {
	c, ca, err := ReadToken(token)
	if err != nil {
		return Claims{}, err
	}
	own := a.Fingerprint()
	signed, last, _ := cutLast(strings.TrimSpace(token))
	signature, err := base64.RawURLEncoding.DecodeString(last)
	sum := sha256.Sum256([]byte(signed))
	switch {
	case ca != own && c.Farm != a.Farm():
		return Claims{}, fmt.Errorf("%w: it is for the farm %.64q, and this one is %q", ErrToken, c.Farm, a.Farm())
	case ca != own:
		return Claims{}, fmt.Errorf("%w: it is of another farm that is called %q as well", ErrToken, c.Farm)
	case err != nil || !ecdsa.VerifyASN1(&a.key.PublicKey, sum[:], signature):
		return Claims{}, fmt.Errorf("%w: its signature is wrong; was it copied whole?", ErrToken)
	case now.After(c.Expires):
		return Claims{}, fmt.Errorf("%w: it expired at %s; an administrator makes a new one with kiln farm token --role %s",
			ErrToken, c.Expires.UTC().Format(time.RFC3339), c.Role)
	}
	return c, nil
}

// ReadToken reads a token without checking its signature, as its owner does; ca is the SHA-256 of the certificate of
// the authority that made it.
func ReadToken(token string) (c Claims, ca [sha256.Size]byte, err error) {
	token = strings.TrimSpace(token)
	signed, _, ok := cutLast(token)
	text, prefixed := strings.CutPrefix(signed, tokenPrefix)
	if !ok || !prefixed || len(token) > maxToken {
		return Claims{}, ca, fmt.Errorf("%w: it is not a join token, which begins with %q and comes from kiln init or kiln farm token", ErrToken, tokenPrefix)
	}
	data, err := base64.RawURLEncoding.DecodeString(text)
	var body tokenBody
	if err == nil {
		decoder := json.NewDecoder(bytes.NewReader(data))
		decoder.DisallowUnknownFields()
		err = decoder.Decode(&body)
	}
	if err != nil || len(body.CA) != len(ca) {
		return Claims{}, ca, fmt.Errorf("%w: it cannot be read; was it copied whole?", ErrToken)
	}
	role, err := ParseRole(string(body.Role))
	if err != nil {
		return Claims{}, ca, fmt.Errorf("%w: %w", ErrToken, err)
	}
	copy(ca[:], body.CA)
	return Claims{Farm: body.Farm, Role: role, Team: body.Team, Expires: time.Unix(body.Expires, 0)}, ca, nil
}

func cutLast(s string) (before, after string, ok bool) {
	i := strings.LastIndexByte(s, '.')
	if i < 0 {
		return s, "", false
	}
	return s[:i], s[i+1:], true
}
