package pull

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/kiln-farm/kiln/internal/userfile"
)

const (
	dialWait   = 10 * time.Second
	headerWait = 30 * time.Second
	// pingAfter and pingWait find out that an HTTP/2 connection is dead, which would otherwise be used again and again.
	pingAfter = 15 * time.Second
	pingWait  = 15 * time.Second
)

// CertificateError says which file of a certificates directory is of no use, and why.
type CertificateError struct {
	Path string
	Err  error
}

func (e *CertificateError) Error() string { return fmt.Sprintf("%s %v", e.Path, e.Err) }
func (e *CertificateError) Unwrap() error { return e.Err }

// hosts has a transport for each host that has a certificates directory, and one for all others: a client certificate is
// shown to none but its own host, wherever a registry sends its clients.
type hosts struct {
	dirs   []string
	common *http.Transport

	mu  sync.Mutex
	own map[string]*ownTransport // as many as there are directories
}

type ownTransport struct {
	*http.Transport
	files string // as they were when they were read
}

// NewTransport is a transport with the proxies of the environment and what docker and containerd have for each host, for whoever
// talks to registries otherwise than this package.
func NewTransport() http.RoundTripper { return newHosts(certsDirs()) }

// certsDirs are where docker and containerd have a directory for each host.
func certsDirs() []string { return []string{"/etc/docker/certs.d", "/etc/containerd/certs.d"} }

func newHosts(dirs []string) *hosts {
	return &hosts{dirs: dirs, common: newTransport(nil), own: map[string]*ownTransport{}}
}

// newTransport is a transport with the proxies of the environment.
func newTransport(config *tls.Config) *http.Transport {
	return &http.Transport{
		Proxy:                 http.ProxyFromEnvironment,
		DialContext:           (&net.Dialer{Timeout: dialWait, KeepAlive: 30 * time.Second}).DialContext,
		TLSClientConfig:       config,
		TLSHandshakeTimeout:   dialWait,
		ResponseHeaderTimeout: headerWait,
		IdleConnTimeout:       90 * time.Second,
		MaxIdleConns:          100,
		MaxIdleConnsPerHost:   16,
		ForceAttemptHTTP2:     true,
		HTTP2:                 &http.HTTP2Config{SendPingTimeout: pingAfter, PingTimeout: pingWait},
		DisableCompression:    true, // blobs are what their digests say, bytes for bytes
	}
}

// RoundTrip implements http.RoundTripper.
func (h *hosts) RoundTrip(req *http.Request) (*http.Response, error) {
	t, err := h.transport(req.URL.Host)
	if err != nil {
		return nil, err
	}
	return t.RoundTrip(req)
}

// CloseIdleConnections closes connections that no request uses.
func (h *hosts) CloseIdleConnections() {
	h.common.CloseIdleConnections()
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, own := range h.own {
		own.CloseIdleConnections()
	}
}

// transport is that of a host. Files are looked at each time: certificates are renewed while a builder runs.
func (h *hosts) transport(host string) (*http.Transport, error) {
	files := h.files(host)
	if len(files) == 0 {
		return h.common, nil
	}
	state := stateOf(files)
	h.mu.Lock()
	defer h.mu.Unlock()
	old := h.own[host]
	if old != nil && old.files == state {
		return old.Transport, nil
	}
	config, err := tlsConfig(files)
	if err != nil {
		return nil, err
	}
	if old != nil {
		old.CloseIdleConnections()
	}
	h.own[host] = &ownTransport{newTransport(config), state}
	return h.own[host].Transport, nil
}

// files are those of a host's directories: docker's HOST:PORT, and HOST_PORT_ as containerd has it, too.
func (h *hosts) files(host string) []string {
	if host == "" || strings.Trim(host, ".") == "" || strings.ContainsAny(host, "/\\\x00") { // a redirect may name anything
		return nil
	}
	names := []string{host}
	if name, port, err := net.SplitHostPort(host); err == nil {
		names = append(names, name+"_"+port+"_")
	}
	var files []string
	for _, dir := range h.dirs {
		for _, name := range names {
			entries, _ := os.ReadDir(filepath.Join(dir, name)) // hardly any host has one
			for _, entry := range entries {
				switch filepath.Ext(entry.Name()) {
				case ".crt", ".cert", ".key":
					files = append(files, filepath.Join(dir, name, entry.Name()))
				}
			}
		}
	}
	return files
}

// stateOf changes when one of the files does.
func stateOf(files []string) string {
	var b strings.Builder
	for _, file := range files {
		if info, err := os.Stat(file); err == nil {
			fmt.Fprintf(&b, "%s %d %d\n", file, info.Size(), info.ModTime().UnixNano())
		}
	}
	return b.String()
}

// tlsConfig has the authorities of *.crt beside the system's, and the client certificates of *.cert with their *.key (Docker, "Verify
// repository client with certificates").
func tlsConfig(files []string) (*tls.Config, error) {
	pool, err := x509.SystemCertPool()
	if err != nil {
		pool = x509.NewCertPool()
	}
	config := &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}
	for _, file := range files {
		base := strings.TrimSuffix(file, filepath.Ext(file))
		switch filepath.Ext(file) {
		case ".crt":
			text, err := read(file)
			if err != nil {
				return nil, err
			}
			if !pool.AppendCertsFromPEM(text) {
				return nil, &CertificateError{file, errors.New("has no certificate in PEM form")}
			}
		case ".cert":
			if there(base+".key") != nil {
				return nil, &CertificateError{file, fmt.Errorf("is a client certificate without its key %s (an authority's is called .crt)", base+".key")}
			}
			pair, err := readPair(file, base+".key")
			if err != nil {
				return nil, err
			}
			config.Certificates = append(config.Certificates, pair)
		case ".key":
			if there(base+".cert") != nil {
				return nil, &CertificateError{file, fmt.Errorf("is a key without its client certificate %s", base+".cert")}
			}
		}
	}
	return config, nil
}

// maxCertificate bounds a file, in bytes: a bundle of all public authorities has a quarter of a MiB.
const maxCertificate = 4 << 20

func read(path string) ([]byte, error) {
	text, err := userfile.ReadFile(path, maxCertificate)
	var file *os.PathError
	if errors.As(err, &file) {
		err = file.Err
	}
	if err != nil {
		return nil, &CertificateError{path, fmt.Errorf("cannot be read: %w", err)}
	}
	return text, nil
}

func readPair(cert, key string) (none tls.Certificate, err error) {
	certText, err := read(cert)
	if err != nil {
		return none, err
	}
	keyText, err := read(key)
	if err != nil {
		return none, err
	}
	pair, err := tls.X509KeyPair(certText, keyText)
	if err != nil {
		return none, &CertificateError{cert, fmt.Errorf("and %s are no certificate with its key: %w", key, err)}
	}
	return pair, nil
}

func there(path string) error {
	_, err := os.Stat(path)
	return err
}
