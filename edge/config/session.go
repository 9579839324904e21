package config

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// EC2's second version (docs.aws.amazon.com/AWSEC2/latest/UserGuide/instance-metadata-v2-how-it-works.html): a client puts for a
// token first, and shows it with what it asks.
const (
	sessionHeader    = "X-Aws-Ec2-Metadata-Token"
	sessionTTLHeader = "X-Aws-Ec2-Metadata-Token-Ttl-Seconds"
	maxSessionTTL    = 21600 // seconds
	// sessionDomain keeps a session's token from being anything else that is made with the key.
	sessionDomain  = "kiln metadata session\x00"
	sessionVersion = 1
	sessionHead    = 1 + 8
)

// Sessions are EC2's. Nothing is kept of them: any edge that has the key knows as much as the one that made a token.
type Sessions struct {
	Keys     func() []Key // the first makes tokens; none: there are no sessions now
	Now      func() time.Time
	Required bool // EC2's documents are given with a token only, unless a boot token says who asks
}

// isSession says whether the parts of a path are where tokens come from.
func isSession(parts []string) bool {
	return len(parts) == 3 && isEC2(parts) && parts[1] == "api" && parts[2] == "token"
}

// signSession writes a token: version, expiry in seconds since 1970, and HMAC-SHA-256 over these and the machine, which need not be
// in it: whose it is says the address that it comes from.
func signSession(key Key, machine string, expires time.Time) string {
	b := binary.BigEndian.AppendUint64([]byte{sessionVersion}, uint64(expires.Unix()))
	return base64.RawURLEncoding.EncodeToString(append(b, sessionMAC(key, b, machine)...))
}

func sessionMAC(key Key, head []byte, machine string) []byte {
	h := hmac.New(sha256.New, key[:])
	h.Write([]byte(sessionDomain))
	h.Write(head)
	h.Write([]byte(machine))
	return h.Sum(nil)
}

// verifySession says whether a token is the machine's, and holds.
func verifySession(key Key, text, machine string, now time.Time) bool {
	b, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if err != nil || len(b) != sessionHead+sha256.Size || strings.ContainsAny(text, "\r\n") || b[0] != sessionVersion {
		return false
	}
	if !hmac.Equal(b[sessionHead:], sessionMAC(key, b[:sessionHead], machine)) {
		return false
	}
	expires := binary.BigEndian.Uint64(b[1:])
	return expires < 1<<62 && now.Before(time.Unix(int64(expires), 0))
}

// begin makes a token for whoever puts for one, and says how many seconds it holds.
func (s *Sessions) begin(r *http.Request, machine string) (token string, ttl int, err error) {
	ttl, err = strconv.Atoi(r.Header.Get(sessionTTLHeader))
	if err != nil || ttl < 1 || ttl > maxSessionTTL {
		return "", 0, refuse(http.StatusBadRequest, fmt.Sprintf("the header %s is the number of seconds that the token is to hold, from 1 to %d", sessionTTLHeader, maxSessionTTL), nil)
	}
	keys := s.Keys()
	if len(keys) == 0 {
		return "", 0, refuse(http.StatusServiceUnavailable, "this edge does not know yet what tokens are made with; ask again", nil)
	}
	return signSession(keys[0], machine, s.Now().Add(time.Duration(ttl)*time.Second)), ttl, nil
}

// check says whether a request for one of EC2's documents may be answered. s may be nil: then all are.
func (s *Sessions) check(r *http.Request, machine string, bootToken bool) error {
	if s == nil {
		return nil
	}
	shown, ok := r.Header[sessionHeader]
	if !ok && (bootToken || !s.Required) {
		return nil
	}
	for _, key := range s.Keys() {
		if len(shown) == 1 && verifySession(key, shown[0], machine, s.Now()) {
			return nil
		}
	}
	if !ok {
		return refuse(http.StatusUnauthorized, "EC2's documents are given with a session token only; PUT to /latest/api/token for one", nil)
	}
	return refuse(http.StatusUnauthorized, "the session token is not valid or has expired; PUT to /latest/api/token for a new one", nil)
}
