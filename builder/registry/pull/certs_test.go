package pull

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"io"
	"math/big"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"

	"github.com/kiln-farm/kiln/builder/registry/regtest"
	"github.com/kiln-farm/kiln/internal/retry"
)

type noLogins struct{}

func (noLogins) Resolve(authn.Resource) (authn.Authenticator, error) { return authn.Anonymous, nil }

// clientPair is a client certificate with its key, both as PEM, that signs itself.
func clientPair(t *testing.T, common string) (cert, key []byte) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	check(t, err)
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: common}, NotAfter: time.Now().Add(time.Hour),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}, IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	check(t, err)
	raw, err := x509.MarshalECPrivateKey(private)
	check(t, err)
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: raw})
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// reader reads from a registry with what is in a certificates directory.
func reader(t *testing.T, at *regtest.Registry, certs ...string) func() error {
	t.Helper()
	client := New(Config{Certs: certs, Retry: retry.Policy{First: time.Millisecond, Tries: 2}})
	repo, err := name.NewRepository(at.Host + "/lab/img")
	check(t, err)
	r := client.Repository(repo, "https", noLogins{})
	return func() error {
		if _, _, err := r.Manifest(context.Background(), "1", 1<<20); err != nil {
			return err
		}
		return r.Blob(context.Background(), at.Image.Layer, at.Image.Size, io.Discard)
	}
}

// anyFault: with TLS 1.3 a server refuses a certificate when the client thinks that all is well, and closes; what is seen of that depends.
const anyFault = "Get"

func TestCertificatesOfAHost(t *testing.T) {
	cert, key := clientPair(t, "builder")
	other, otherKey := clientPair(t, "another")
	ask := func(s *httptest.Server) {
		pool := x509.NewCertPool()
		pool.AppendCertsFromPEM(cert)
		s.TLS = &tls.Config{ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: pool}
	}
	at := regtest.NewTLS(t, 100_000, ask)
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: at.Server().Certificate().Raw})
	hostPort := strings.Replace(at.Host, ":", "_", 1) + "_"
	for _, tt := range []struct {
		name  string
		files map[string][]byte
		want  string // of the error; empty: it goes well
	}{
		{"authority and client certificate", map[string][]byte{at.Host + "/ca.crt": ca, at.Host + "/client.cert": cert, at.Host + "/client.key": key}, ""},
		{"under any name", map[string][]byte{at.Host + "/lab.crt": ca, at.Host + "/x.cert": cert, at.Host + "/x.key": key, at.Host + "/README": nil}, ""},
		{"as containerd calls the directory", map[string][]byte{hostPort + "/ca.crt": ca, hostPort + "/client.cert": cert, hostPort + "/client.key": key}, ""},
		{"for another host", map[string][]byte{"127.0.0.1/ca.crt": ca, "127.0.0.1/client.cert": cert, "127.0.0.1/client.key": key}, "certificate signed by unknown authority"},
		{"no authority", map[string][]byte{at.Host + "/client.cert": cert, at.Host + "/client.key": key}, "certificate signed by unknown authority"},
		{"no client certificate", map[string][]byte{at.Host + "/ca.crt": ca}, anyFault},
		{"a client certificate that is not the right one", map[string][]byte{at.Host + "/ca.crt": ca, at.Host + "/client.cert": other, at.Host + "/client.key": otherKey}, anyFault},
		{"a client certificate without its key", map[string][]byte{at.Host + "/ca.crt": ca, at.Host + "/client.cert": cert}, "client.cert is a client certificate without its key"},
		{"a key without its client certificate", map[string][]byte{at.Host + "/ca.crt": ca, at.Host + "/client.key": key}, "client.key is a key without its client certificate"},
		{"a client certificate with another one's key", map[string][]byte{at.Host + "/ca.crt": ca, at.Host + "/client.cert": cert, at.Host + "/client.key": otherKey}, "are no certificate with its key"},
		{"an authority that is none", map[string][]byte{at.Host + "/ca.crt": []byte("hello")}, "ca.crt has no certificate in PEM form"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			write(t, dir, tt.files)
			err := reader(t, at, dir, filepath.Join(dir, "gone"))()
			if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
	t.Run("of two directories", func(t *testing.T) {
		docker, containerd := t.TempDir(), t.TempDir()
		write(t, docker, map[string][]byte{at.Host + "/ca.crt": ca})
		write(t, containerd, map[string][]byte{at.Host + "/client.cert": cert, at.Host + "/client.key": key})
		check(t, reader(t, at, docker, containerd)())
	})
	t.Run("renewed while the client lives", func(t *testing.T) {
		dir := t.TempDir()
		write(t, dir, map[string][]byte{at.Host + "/ca.crt": ca, at.Host + "/client.cert": other, at.Host + "/client.key": otherKey})
		read := reader(t, at, dir)
		if err := read(); err == nil {
			t.Fatal("it went well with the wrong certificate")
		}
		write(t, dir, map[string][]byte{at.Host + "/client.cert": append(cert, '\n'), at.Host + "/client.key": append(key, '\n')})
		check(t, read())
	})
}

// A registry sends its readers on: the client certificate stays with the registry, and the authority of one counts for no other.
func TestACertificateIsShownToItsHostAlone(t *testing.T) {
	cert, key := clientPair(t, "builder")
	shown := make(chan int, 9)
	storage := regtest.NewTLS(t, 100_000, func(s *httptest.Server) { s.TLS = &tls.Config{ClientAuth: tls.RequestClientCert} }, func(w http.ResponseWriter, a *regtest.Ask) bool {
		shown <- len(a.TLS.PeerCertificates)
		return false
	})
	at := regtest.NewTLS(t, 100_000, func(s *httptest.Server) { s.TLS = &tls.Config{ClientAuth: tls.RequireAnyClientCert} }, regtest.Redirect(307, storage.URL))
	dir := t.TempDir()
	write(t, dir, map[string][]byte{
		at.Host + "/ca.crt":      pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: at.Server().Certificate().Raw}),
		at.Host + "/client.cert": cert, at.Host + "/client.key": key,
		storage.Host + "/ca.crt": pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: storage.Server().Certificate().Raw}),
	})
	check(t, reader(t, at, dir)())
	if n := <-shown; n != 0 {
		t.Errorf("the storage was shown %d certificates", n)
	}
	check(t, os.RemoveAll(filepath.Join(dir, storage.Host)))
	var untrusted *tls.CertificateVerificationError
	if err := reader(t, at, dir)(); !errors.As(err, &untrusted) {
		t.Errorf("got %v", err)
	}
}

// Over HTTP/2 a stalled answer leaves its connection open: it must not be the one that is tried next.
func TestAnAnswerThatStopsOverHTTP2IsBegunAgain(t *testing.T) {
	at := regtest.NewTLS(t, 300_000, nil)
	var connections, versions sync.Map
	at.Behave(func(_ http.ResponseWriter, a *regtest.Ask) bool {
		connections.Store(a.Kind+a.RemoteAddr, true)
		versions.Store(a.Proto, true)
		return false
	}, at.Stall(1, 100_000))
	dir := t.TempDir()
	write(t, dir, map[string][]byte{at.Host + "/ca.crt": pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: at.Server().Certificate().Raw})})
	client := New(Config{Certs: []string{dir}, Stall: 300 * time.Millisecond, Retry: retry.Policy{First: 50 * time.Millisecond, Tries: 4}})
	repo, err := name.NewRepository(at.Host + "/lab/img")
	check(t, err)
	var got bytes.Buffer
	check(t, client.Repository(repo, "https", noLogins{}).Blob(context.Background(), at.Image.Layer, at.Image.Size, &got))
	if int64(got.Len()) != at.Image.Size || at.Asked("Range=bytes=100000-") != 1 {
		t.Errorf("got %d bytes of %d:\n%s", got.Len(), at.Image.Size, strings.Join(at.Asks(), "\n"))
	}
	if _, ok := versions.Load("HTTP/2.0"); !ok {
		t.Error("the test is not about HTTP/2")
	}
	n := 0
	connections.Range(func(key, _ any) bool {
		if strings.HasPrefix(key.(string), regtest.Blobs) {
			n++
		}
		return true
	})
	if n != 2 {
		t.Errorf("the blob came over %d connections, want 2", n)
	}
}

// A host on this machine may speak either. One whose certificate is unknown speaks https, and is not tried without.
func TestALocalHostThatIsNotTrustedIsNotAskedWithout(t *testing.T) {
	at := regtest.NewTLS(t, 1000, nil)
	repo, err := name.NewRepository(at.Host + "/lab/img")
	check(t, err)
	client := New(Config{Certs: []string{}, Retry: retry.Policy{First: time.Millisecond, Tries: 2}})
	_, _, err = client.Repository(repo, "", noLogins{}).Manifest(context.Background(), "1", 1<<20)
	var untrusted *tls.CertificateVerificationError
	if !errors.As(err, &untrusted) {
		t.Errorf("got %v, want that the certificate is not trusted", err)
	}
	plain := regtest.New(t, 1000)
	repo, err = name.NewRepository(plain.Host + "/lab/img")
	check(t, err)
	_, _, err = client.Repository(repo, "", noLogins{}).Manifest(context.Background(), "1", 1<<20)
	check(t, err)
	_, _, err = client.Repository(repo, "https", noLogins{}).Manifest(context.Background(), "1", 1<<20)
	if err == nil {
		t.Error("https was asked for, and http was spoken")
	}
	repo, err = name.NewRepository(at.Host + "/lab/img")
	check(t, err)
	if _, _, err = client.Repository(repo, "http", noLogins{}).Manifest(context.Background(), "1", 1<<20); err == nil || !strings.Contains(err.Error(), "400") {
		t.Errorf("a host of https that is spoken to without: got %v", err)
	}
}

func TestNoHostNamesAPathOfItsOwn(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, map[string][]byte{"ca.crt": nil, "certs.d/x/ca.crt": nil})
	h := newHosts([]string{filepath.Join(dir, "certs.d")})
	for _, host := range []string{"", ".", "..", "../certs.d/x", "x/../x", "..:1", "x\x00"} {
		if files := h.files(host); len(files) > 0 {
			t.Errorf("%q: %v", host, files)
		}
	}
	if files := h.files("x"); len(files) != 1 {
		t.Errorf("x: %v", files)
	}
}

func write(t *testing.T, dir string, files map[string][]byte) {
	t.Helper()
	for name, data := range files {
		path := filepath.Join(dir, name)
		check(t, os.MkdirAll(filepath.Dir(path), 0o755))
		if old, err := os.ReadFile(path); err == nil && bytes.Equal(old, data) {
			continue
		}
		check(t, os.WriteFile(path, data, 0o600))
	}
}
