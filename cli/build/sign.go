package build

import (
	"bytes"
	"context"
	"encoding/hex"
	"fmt"
	"os/exec"
	"strings"

	"github.com/spf13/pflag"
	"google.golang.org/protobuf/proto"

	"github.com/kiln-farm/kiln/cache"
	"github.com/kiln-farm/kiln/cache/disk"
	"github.com/kiln-farm/kiln/cli/client"
	"github.com/kiln-farm/kiln/cli/ui"
	"github.com/kiln-farm/kiln/cli/ui/progress"
	"github.com/kiln-farm/kiln/image/uki"
	"github.com/kiln-farm/kiln/internal/userfile"
	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
)

// signFlags say who signs unified kernel images. The farm never sees a key: it gives digests and takes signatures.
type signFlags struct{ key, cert, program string }

func (f *signFlags) add(flags *pflag.FlagSet) {
	flags.StringVar(&f.key, "sign-key", "", "sign what UEFI loads with this RSA key, in PEM; it stays here")
	flags.StringVar(&f.cert, "sign-cert", "", "the key's certificate, in PEM")
	flags.StringVar(&f.program, "signer", "", "program that signs in place of --sign-key: a SHA-256 digest on its standard input, the RSA signature (PKCS #1 v1.5) on its standard output")
}

// signer signs digests.
type signer struct {
	cert    []byte
	key     []byte // nil: program signs
	program string
}

// maxPEM bounds a key or certificate, in bytes.
const maxPEM = 1 << 20

func newSigner(ctx context.Context, f *signFlags) (*signer, error) {
	switch {
	case f.key == "" && f.cert == "" && f.program == "":
		return nil, nil
	case f.key != "" && f.program != "":
		return nil, ui.Usagef("--sign-key and --signer both sign: leave one of them out")
	case f.cert == "" || f.key == "" && f.program == "":
		return nil, ui.Usagef("signing needs --sign-cert, and --sign-key or --signer")
	}
	s := &signer{program: f.program}
	var err error
	if s.cert, err = userfile.Read(ctx, f.cert, maxPEM); err != nil {
		return nil, ui.Usagef("--sign-cert %s: %w", f.cert, userfile.Cause(err))
	}
	if f.key != "" {
		if s.key, err = userfile.Read(ctx, f.key, maxPEM); err != nil {
			return nil, ui.Usagef("--sign-key %s: %w", f.key, userfile.Cause(err))
		}
	}
	// A key that does not fit is told before anything is built.
	if _, err := s.signature(ctx, [32]byte{}); err != nil {
		return nil, ui.Usagef("%w", err)
	}
	return s, nil
}

// signature makes the PKCS #7 signature over an Authenticode digest.
func (s *signer) signature(ctx context.Context, digest [32]byte) ([]byte, error) {
	if s.program != "" {
		return uki.SignBy(digest, s.cert, programSigner{ctx, s.program})
	}
	return uki.Sign(digest, s.key, s.cert)
}

// sign has the digests of the build's images made, signs them, and puts the signatures into spec. It returns the blobs
// that the farm needs for that.
func (s *signer) sign(ctx context.Context, f *client.Farm, store *disk.Store, spec *kilnv1.BuildSpec, blobs []cache.Digest, show string, env ui.Env) ([]cache.Digest, error) {
	if err := f.Blobs.Upload(ctx, store, blobs); err != nil {
		return nil, err
	}
	display, err := progress.Open(show, env.Stderr, env.Getenv("NO_COLOR") != "")
	if err != nil {
		return nil, ui.Usagef("%w", err)
	}
	first := proto.CloneOf(spec)
	first.Detached, first.Options.Authenticode = false, true
	end, err := buildOnce(ctx, f, first, display)
	display.Close(nil)
	if err != nil {
		return nil, err
	}
	var made []cache.Digest
	for _, out := range end.GetOutputs() {
		lines, err := digestsToSign(ctx, f, out)
		if err != nil {
			return nil, err
		}
		for _, digest := range lines {
			signature, err := s.signature(ctx, digest)
			if err != nil {
				return nil, err
			}
			d := cache.SumBytes(signature)
			if err := putBytes(ctx, store, d, signature); err != nil {
				return nil, err
			}
			made = append(made, d)
			spec.Options.Signatures = append(spec.Options.Signatures, d.String())
		}
	}
	return made, nil
}

// digestsToSign reads the file that a build made for its signer: lines of a digest and what it is of.
func digestsToSign(ctx context.Context, f *client.Farm, out *kilnv1.BuildOutput) ([][32]byte, error) {
	description, err := cache.ParseDigest(out.GetArtifact())
	if err != nil {
		return nil, err
	}
	want, err := cache.ParseDigest(out.GetDigest())
	if err != nil {
		return nil, err
	}
	var text bytes.Buffer
	if err := f.Blobs.WriteArtifact(ctx, description, want, &text); err != nil {
		return nil, err
	}
	var digests [][32]byte
	for line := range strings.Lines(text.String()) {
		digest, _, _ := strings.Cut(line, " ")
		var d [32]byte
		if n, err := hex.Decode(d[:], []byte(digest)); err != nil || n != len(d) {
			return nil, fmt.Errorf("the farm gave %q to sign: is it of another version?", strings.TrimSpace(line))
		}
		digests = append(digests, d)
	}
	return digests, nil
}

// programSigner has a program sign.
type programSigner struct {
	ctx     context.Context
	program string
}

// Sign runs the program, by the shell, so that it may have arguments.
func (p programSigner) Sign(digest []byte) ([]byte, error) {
	cmd := exec.CommandContext(p.ctx, "sh", "-c", p.program)
	var complaint bytes.Buffer
	cmd.Stdin, cmd.Stderr = bytes.NewReader(digest), &complaint
	signature, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("%s: %w: %s", p.program, err, strings.TrimSpace(complaint.String()))
	}
	return signature, nil
}
