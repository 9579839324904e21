package uki

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/kiln-farm/kiln/cache/artifact"
	"github.com/kiln-farm/kiln/cache/disk"
	"github.com/kiln-farm/kiln/image/extents"
)

// store is a cache of a test's own.
type store struct {
	t     testing.TB
	blobs *disk.Store
}

func newStore(t testing.TB) *store {
	t.Helper()
	dir, err := disk.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return &store{t: t, blobs: dir}
}

// blob stores r's bytes and returns a list of them.
func (s *store) blob(r io.Reader) *extents.List {
	s.t.Helper()
	draft, err := s.blobs.Create(s.t.Context())
	if err != nil {
		s.t.Fatal(err)
	}
	defer draft.Abort()
	if _, err := io.Copy(draft, r); err != nil {
		s.t.Fatal(err)
	}
	d, size, err := draft.Commit()
	if err != nil {
		s.t.Fatal(err)
	}
	return extents.Blob(d, size)
}

func (s *store) bytes(p []byte) *extents.List { return s.blob(bytes.NewReader(p)) }

// open reads what a list says.
func (s *store) open(l *extents.List) *artifact.Reader {
	s.t.Helper()
	r, err := artifact.Open(context.Background(), s.blobs, l.Artifact())
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { r.Close() })
	return r
}

func (s *store) render(l *extents.List) []byte {
	s.t.Helper()
	var out bytes.Buffer
	if _, err := s.open(l).WriteTo(&out); err != nil {
		s.t.Fatal(err)
	}
	return out.Bytes()
}

// file writes what a list says to a file.
func (s *store) file(l *extents.List) string {
	s.t.Helper()
	return write(s.t, s.render(l))
}

func write(t testing.TB, p []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, p, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// peSection is a section of a hand-made PE file.
type peSection struct {
	name    string
	content []byte
}

// makePE makes a PE file with room for that many section headers more.
func makePE(machine Machine, room int, sections ...peSection) []byte {
	const pe, optionalLen, fileAlign, memoryAlign = 0x40, 0xf0, 0x200, 0x1000
	table := pe + coffHeaderLen + optionalLen
	headers := align(int64(table+(len(sections)+room)*sectionHeaderLen), fileAlign)
	if room == 0 { // no more than there is
		headers = int64(table + len(sections)*sectionHeaderLen)
	}
	h := make([]byte, headers)
	copy(h, "MZ")
	le.PutUint32(h[lfanewAt:], pe)
	copy(h[pe:], "PE\x00\x00")
	le.PutUint16(h[pe+machineAt:], uint16(machine))
	le.PutUint16(h[pe+sectionCountAt:], uint16(len(sections)))
	le.PutUint16(h[pe+optionalHeaderLen:], optionalLen)
	o := h[pe+coffHeaderLen:]
	le.PutUint16(o, magicPE32Plus)
	le.PutUint32(o[sectionAlignmentAt:], memoryAlign)
	le.PutUint32(o[fileAlignmentAt:], fileAlign)
	le.PutUint32(o[sizeOfHeadersAt:], uint32(headers))
	le.PutUint16(o[subsystemAt:], efiApplication)
	le.PutUint32(o[directoryCountAt:], 16)
	var body []byte
	address := int64(memoryAlign)
	for i, s := range sections {
		e := h[table+i*sectionHeaderLen:]
		raw := align(int64(len(s.content)), fileAlign)
		copy(e[:sectionNameLen], s.name)
		le.PutUint32(e[8:], uint32(len(s.content)))
		le.PutUint32(e[12:], uint32(address))
		le.PutUint32(e[16:], uint32(raw))
		le.PutUint32(e[20:], uint32(headers)+uint32(len(body)))
		body = append(body, append(bytes.Clone(s.content), make([]byte, raw-int64(len(s.content)))...)...)
		address = align(address+int64(len(s.content)), memoryAlign)
	}
	le.PutUint32(o[sizeOfImageAt:], uint32(address))
	return append(h, body...)
}

// stubs are a made one per machine, and systemd's where they are installed.
func stubs(t testing.TB) map[string][]byte {
	out := map[string][]byte{
		"made amd64": makePE(AMD64, 8, peSection{".text", []byte("text")}, peSection{".sdmagic", []byte("#### LoaderInfo")}),
		"made arm64": makePE(ARM64, 8, peSection{".text", make([]byte, 5000)}),
	}
	for _, name := range []string{"linuxx64.efi.stub", "linuxaa64.efi.stub"} {
		b, err := os.ReadFile(filepath.Join("/usr/lib/systemd/boot/efi", name))
		if err != nil {
			t.Logf("not tried with systemd's %s, which is not installed (package systemd-boot-efi)", name)
			continue
		}
		out[name] = b
	}
	return out
}

// pair is a key with its certificate, in PEM.
type pair struct{ key, certificate []byte }

// newPair makes a pair.
func newPair(t testing.TB, bits int) pair {
	t.Helper()
	p, err := makePair(bits)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// sharedPair is one for all tests, since making keys is slow.
func sharedPair(t testing.TB) pair {
	t.Helper()
	p, err := firstPair()
	if err != nil {
		t.Fatal(err)
	}
	return p
}

var firstPair = sync.OnceValues(func() (pair, error) { return makePair(2048) })

func makePair(bits int) (pair, error) {
	key, err := rsa.GenerateKey(rand.Reader, bits)
	if err != nil {
		return pair{}, err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(0x1234567890), Subject: pkix.Name{CommonName: "Kiln test"},
		NotBefore: time.Unix(1622548800, 0), NotAfter: time.Unix(1<<32, 0), BasicConstraintsValid: true, IsCA: true,
	}
	certificate, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return pair{}, err
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return pair{}, err
	}
	return pair{
		pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}),
		pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certificate}),
	}, nil
}

// tool skips the test when a program is not installed.
func tool(t testing.TB, name, debian string) {
	t.Helper()
	if _, err := exec.LookPath(name); err != nil {
		t.Skipf("not tried: %s is not installed (Debian package %s)", name, debian)
	}
}

// run runs a program and returns what it said.
func run(t testing.TB, name string, args ...string) (string, error) {
	t.Helper()
	out, err := exec.Command(name, args...).CombinedOutput()
	return string(out), err
}
