package uki

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kiln-farm/kiln/image/extents"
	"github.com/kiln-farm/kiln/image/step"
)

// signed is a unified kernel image and the same one signed.
func signed(t *testing.T, s *store, stub []byte, by pair) (plain, with *extents.List, signature []byte) {
	t.Helper()
	sections, _ := parts(s)
	plain, err := Build(stub, sections)
	if err != nil {
		t.Fatal(err)
	}
	with, signature = sign(t, s, plain, by)
	return plain, with, signature
}

func sign(t *testing.T, s *store, l *extents.List, by pair) (*extents.List, []byte) {
	t.Helper()
	digest, err := AuthenticodeDigest(t.Context(), l, s.open(l))
	if err != nil {
		t.Fatal(err)
	}
	signature, err := Sign(digest, by.key, by.certificate)
	if err != nil {
		t.Fatal(err)
	}
	got, err := SignedDigest(signature)
	if err != nil || got != digest {
		t.Fatalf("the signature is over %x, want %x: %v", got, digest, err)
	}
	out, err := Attach(l, s.open(l), signature)
	if err != nil {
		t.Fatal(err)
	}
	if after, err := AuthenticodeDigest(t.Context(), out, s.open(out)); err != nil || after != digest {
		t.Fatalf("signed, the digest is %x, was %x: %v", after, digest, err)
	}
	return out, signature
}

func TestSbverifyAcceptsOurSignatures(t *testing.T) {
	tool(t, "sbverify", "sbsigntool")
	by, other := sharedPair(t), newPair(t, 2048)
	certificate, wrong := write(t, by.certificate), write(t, other.certificate)
	for name, stub := range stubs(t) {
		t.Run(name, func(t *testing.T) {
			s := newStore(t)
			_, with, _ := signed(t, s, stub, by)
			file := s.file(with)
			if out, err := run(t, "sbverify", "--cert", certificate, file); err != nil || !strings.Contains(out, "Signature verification OK") {
				t.Errorf("refused: %v: %s", err, out)
			} else if strings.Contains(out, "warning") {
				t.Errorf("sbverify warns: %s", out)
			}
			if out, err := run(t, "sbverify", "--cert", wrong, file); err == nil {
				t.Errorf("accepted for another certificate: %s", out)
			}
			if out, err := run(t, "sbverify", "--list", file); err != nil || !strings.Contains(out, "CN=Kiln test") {
				t.Errorf("list: %v: %s", err, out)
			}
			content, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			for _, at := range []int{0x4e, len(stub) / 2, len(content) / 2, int(with.Size()) - len(by.certificate) - 3000} {
				changed := bytes.Clone(content)
				changed[at] ^= 1
				if out, err := run(t, "sbverify", "--cert", certificate, write(t, changed)); err == nil {
					t.Errorf("accepted with byte %d changed: %s", at, out)
				}
			}
		})
	}
}

func TestSbsignSignsTheSameDigest(t *testing.T) {
	tool(t, "sbsign", "sbsigntool")
	by := sharedPair(t)
	key, certificate := write(t, by.key), write(t, by.certificate)
	for name, stub := range stubs(t) {
		t.Run(name, func(t *testing.T) {
			s := newStore(t)
			plain, with, _ := signed(t, s, stub, by)
			want, err := AuthenticodeDigest(t.Context(), plain, s.open(plain))
			if err != nil {
				t.Fatal(err)
			}
			out := filepath.Join(t.TempDir(), "signed")
			if said, err := run(t, "sbsign", "--key", key, "--cert", certificate, "--output", out, s.file(plain)); err != nil {
				t.Fatalf("sbsign: %v: %s", err, said)
			}
			theirs, err := os.ReadFile(out)
			if err != nil {
				t.Fatal(err)
			}
			list := s.bytes(theirs)
			if got, err := AuthenticodeDigest(t.Context(), list, s.open(list)); err != nil || got != want {
				t.Errorf("what sbsign signed has digest %x, want %x: %v", got, want, err)
			}
			// A detached signature of theirs is for the same image, and ours can be attached to what they signed.
			detached := filepath.Join(t.TempDir(), "detached")
			if said, err := run(t, "sbsign", "--detached", "--key", key, "--cert", certificate, "--output", detached, s.file(plain)); err != nil {
				t.Fatalf("sbsign: %v: %s", err, said)
			}
			signature, err := os.ReadFile(detached)
			if err != nil {
				t.Fatal(err)
			}
			if got, err := SignedDigest(signature); err != nil || got != want {
				t.Errorf("their signature is over %x, want %x: %v", got, want, err)
			}
			both, err := Attach(with, s.open(with), signature)
			if err != nil {
				t.Fatal(err)
			}
			if said, err := run(t, "sbverify", "--cert", certificate, s.file(both)); err != nil {
				t.Errorf("with two signatures: %v: %s", err, said)
			}
			if said, err := run(t, "sbverify", "--list", s.file(both)); err != nil || !strings.Contains(said, "signature 2") {
				t.Errorf("with two signatures: %v: %s", err, said)
			}
		})
	}
}

// A file that is not padded to 8 bytes is signed with the padding.
func TestAnImageOfOddLengthIsPadded(t *testing.T) {
	s, by := newStore(t), sharedPair(t)
	odd := append(makePE(AMD64, 4, peSection{".text", []byte("text")}), "tail"+"!"...)
	with, _ := sign(t, s, s.bytes(odd), by)
	if with.Size()%certificateAlign != 0 {
		t.Errorf("%d bytes", with.Size())
	}
	tool(t, "sbverify", "sbsigntool")
	if out, err := run(t, "sbverify", "--cert", write(t, by.certificate), s.file(with)); err != nil {
		t.Errorf("refused: %v: %s", err, out)
	}
}

func TestTheSameDigestGivesTheSameSignature(t *testing.T) {
	by := sharedPair(t)
	digest := sha256.Sum256([]byte("image"))
	first, err := Sign(digest, by.key, by.certificate)
	if err != nil {
		t.Fatal(err)
	}
	second, err := Sign(digest, by.key, by.certificate)
	if err != nil || !bytes.Equal(first, second) {
		t.Errorf("two signatures differ: %v", err)
	}
	if padded, err := SignedDigest(append(first, 0, 0, 0)); err != nil || padded != digest {
		t.Errorf("padded: %x, %v", padded, err)
	}
}

func TestKeysThatCannotBeUsedGetASentence(t *testing.T) {
	by, other := sharedPair(t), newPair(t, 2048)
	weak := newPair(t, 1024)
	tests := []struct {
		name             string
		key, certificate []byte
		want             string
	}{
		{"no key", nil, by.certificate, "key for signing has none"},
		{"no certificate", by.key, nil, "certificate for signing has none"},
		{"the key of another certificate", other.key, by.certificate, "not of the key"},
		{"a short key", weak.key, weak.certificate, "1024 bits"},
		{"an encrypted key", []byte("-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n"), by.certificate, "encrypted"},
		{"a damaged key", []byte("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"), by.certificate, "damaged"},
		{"a damaged certificate", by.key, []byte("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"), "damaged"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			_, err := Sign([32]byte{}, test.key, test.certificate)
			var failure *step.Failure
			if !errors.As(err, &failure) || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want %q", err, test.want)
			}
		})
	}
}

func TestWhatCannotBeSignedGetsASentence(t *testing.T) {
	s := newStore(t)
	good := makePE(AMD64, 4, peSection{".text", []byte("text")})
	few := bytes.Clone(good)
	few[0x40+coffHeaderLen+directoryCountAt] = 4
	for name, p := range map[string][]byte{"few directories": few, "text": []byte(strings.Repeat("text", 99)), "half": good[:600]} {
		l := s.bytes(p)
		var failure *step.Failure
		if _, err := AuthenticodeDigest(t.Context(), l, s.open(l)); !errors.As(err, &failure) {
			t.Errorf("%s: digest: %v", name, err)
		}
		if _, err := Attach(l, s.open(l), []byte("signature")); !errors.As(err, &failure) {
			t.Errorf("%s: attach: %v", name, err)
		}
	}
	if _, err := Attach(extents.Bytes(good), bytes.NewReader(good), nil); err == nil {
		t.Error("attached nothing")
	}
}

func TestADigestStopsWhenItIsNotNeeded(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	good := makePE(AMD64, 4, peSection{".text", []byte("text")})
	if _, err := AuthenticodeDigest(ctx, extents.Bytes(good), bytes.NewReader(good)); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

func TestADiskThatFailsIsNobodysFault(t *testing.T) {
	good := makePE(AMD64, 4, peSection{".text", make([]byte, 5000)})
	// The headers can be read, and no more.
	r := io.NewSectionReader(bytes.NewReader(good), 0, 1024)
	_, err := AuthenticodeDigest(t.Context(), extents.Bytes(good), r)
	var failure *step.Failure
	if !errors.Is(err, io.ErrUnexpectedEOF) || errors.As(err, &failure) {
		t.Errorf("got %v", err)
	}
}
