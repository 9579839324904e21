package pull

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
)

const (
	// maxToken bounds the answer of a token service, in bytes.
	maxToken = 1 << 20
	// clientID is what we are called where OAuth2 wants a name.
	clientID = "kiln"
	// tokenUser is the user name that docker writes beside an identity token.
	tokenUser = "<token>"
)

// token asks a token service for a token to read the repository (distribution, "Token Authentication Specification" and, for
// identity tokens, "OAuth2 Token Authentication"). until is zero when it does not say how long the token is good.
func (r *Repository) token(ctx context.Context, c challenge, login *authn.AuthConfig) (token string, until time.Time, err error) {
	realm, err := url.Parse(c.params["realm"])
	if err != nil || realm.Host == "" {
		return "", until, &PolicyError{fmt.Sprintf("names %.200q as its token service, which is no URL", c.params["realm"])}
	}
	if err := r.trusted(realm); err != nil {
		return "", until, err
	}
	scopes := strings.Fields(c.params["scope"]) // first: some look at no other
	if ours := r.repo.Scope("pull"); !slices.Contains(scopes, ours) {
		scopes = append(scopes, ours)
	}
	req, err := r.tokenRequest(ctx, realm, c.params["service"], scopes, login)
	if err != nil {
		return "", until, err
	}
	asked := r.client.cfg.Now()
	answer, err := r.askToken(req)
	var status *StatusError
	if req.Method == http.MethodPost && errors.As(err, &status) && (status.Status == http.StatusNotFound || status.Status == http.StatusMethodNotAllowed) {
		// It knows no OAuth2.
		plain := *login
		plain.IdentityToken = ""
		if req, err = r.tokenRequest(ctx, realm, c.params["service"], scopes, &plain); err == nil {
			answer, err = r.askToken(req)
		}
	}
	if err != nil {
		return "", until, &TokenError{realm.Host, err}
	}
	if answer.RefreshToken != "" && login.IdentityToken != "" {
		r.refresh = refreshed{login.IdentityToken, answer.RefreshToken}
	}
	if life := answer.life(); life > 0 {
		until = asked.Add(life - life/10)
	}
	return cmp.Or(answer.Token, answer.AccessToken), until, nil
}

// refreshed is an identity token that took the place of one in the logins: some are good for one use.
type refreshed struct{ of, now string }

// tokenRequest is a GET with the login's password, or a POST with its identity token.
func (r *Repository) tokenRequest(ctx context.Context, realm *url.URL, service string, scopes []string, login *authn.AuthConfig) (*http.Request, error) {
	if identity := login.IdentityToken; identity != "" {
		if r.refresh.of == identity {
			identity = r.refresh.now
		}
		form := url.Values{"grant_type": {"refresh_token"}, "refresh_token": {identity}, "service": {service}, "scope": {strings.Join(scopes, " ")}, "client_id": {clientID}}
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, realm.String(), strings.NewReader(form.Encode()))
		if err != nil {
			return nil, err
		}
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		return req, nil
	}
	query := realm.Query()
	if service != "" {
		query.Set("service", service)
	}
	for _, scope := range scopes {
		query.Add("scope", scope)
	}
	asked := *realm
	asked.RawQuery = query.Encode()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, asked.String(), nil)
	if err != nil {
		return nil, err
	}
	if basic := basicHeader(login); basic != "" {
		req.Header.Set("Authorization", basic)
	}
	return req, nil
}

// tokenAnswer is what a token service says.
type tokenAnswer struct {
	Token        string          `json:"token"`
	AccessToken  string          `json:"access_token"`
	RefreshToken string          `json:"refresh_token"`
	ExpiresIn    json.RawMessage `json:"expires_in"` // a number of seconds, which some write as a string
}

func (t *tokenAnswer) life() time.Duration {
	n, err := strconv.ParseFloat(strings.Trim(string(t.ExpiresIn), `"`), 64)
	if err != nil || n <= 0 || n > maxAsked.Seconds() {
		return 0
	}
	return time.Duration(n * float64(time.Second))
}

func (r *Repository) askToken(req *http.Request) (*tokenAnswer, error) {
	req.Header.Set("User-Agent", r.client.cfg.UserAgent)
	// net/http drops the password where a redirect leads to another host.
	client := http.Client{Transport: r.client.base, CheckRedirect: func(to *http.Request, via []*http.Request) error {
		if err := redirect(to, via); err != nil {
			return err
		}
		return r.trusted(to.URL)
	}}
	res, err := client.Do(req)
	if err != nil {
		return nil, err
	}
	if res.StatusCode != http.StatusOK {
		return nil, statusError(res, r.client.cfg.Now())
	}
	defer res.Body.Close()
	raw, err := readAll(res.Body, maxToken)
	if err != nil {
		return nil, err
	}
	var answer tokenAnswer
	if err := json.Unmarshal(raw, &answer); err != nil {
		return nil, &PolicyError{"its answer is not JSON"} // nothing of it is repeated: it may hold a token
	}
	if answer.Token == "" && answer.AccessToken == "" {
		return nil, &PolicyError{"there is no token in its answer"}
	}
	return &answer, nil
}

// readAll reads at most so many bytes.
func readAll(r io.Reader, most int64) ([]byte, error) {
	raw, err := io.ReadAll(io.LimitReader(r, most+1))
	if err == nil && int64(len(raw)) > most {
		err = ErrTooLong
	}
	return raw, err
}

// basicHeader is the Authorization of a login with a password; empty when it has none (RFC 7617).
func basicHeader(login *authn.AuthConfig) string {
	switch {
	case login.Auth != "":
		return "Basic " + login.Auth
	case login.Username != "" && login.Username != tokenUser || login.Password != "":
		req := http.Request{Header: http.Header{}}
		req.SetBasicAuth(login.Username, login.Password)
		return req.Header.Get("Authorization")
	}
	return ""
}
