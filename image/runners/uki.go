package runners

import (
	"context"
	"encoding/hex"

	"github.com/kiln-farm/kiln/image/extents"
	"github.com/kiln-farm/kiln/image/step"
	"github.com/kiln-farm/kiln/image/stepio"
	"github.com/kiln-farm/kiln/image/uki"
)

// unified makes a unified kernel image, and says what is to be signed of it. When signatures are given, one must fit.
func unified(ctx context.Context, req *step.Request) (*step.Response, error) {
	var params step.UKIParams
	if err := stepio.Decode(req, &params); err != nil {
		return nil, err
	}
	list, err := layUKI(ctx, req, params)
	if err != nil {
		return nil, err
	}
	r, err := stepio.Reader(ctx, req, list)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	digest, err := uki.AuthenticodeDigest(ctx, list, r)
	if err != nil {
		return nil, stepio.Missing(err, list.Artifact(), req)
	}
	line, err := stepio.Put(ctx, req.Blobs, "authenticode", []byte(hex.EncodeToString(digest[:])+"  "+params.Label+"\n"))
	if err != nil {
		return nil, err
	}
	signature, err := fitting(ctx, req, digest)
	if err != nil {
		return nil, err
	}
	if signature != nil {
		if list, err = uki.Attach(list, r, signature); err != nil {
			return nil, err
		}
	}
	out, err := stepio.OutputList(ctx, req, "uki", list)
	if err != nil {
		return nil, err
	}
	out.Outputs = append(out.Outputs, line)
	return out, nil
}

func layUKI(ctx context.Context, req *step.Request, params step.UKIParams) (*extents.List, error) {
	in, err := stepio.Contents(ctx, req, "stub", "kernel")
	if err != nil {
		return nil, err
	}
	machine, ok := uki.MachineOf(params.Arch)
	if !ok {
		return nil, step.Failf("there are no unified kernel images for %s; choose another format", params.Arch)
	}
	stub, err := stepio.BytesOf(ctx, req, in["stub"])
	if err != nil {
		return nil, err
	}
	kernel, err := stepio.Reader(ctx, req, in["kernel"])
	if err != nil {
		return nil, err
	}
	defer kernel.Close()
	if err := uki.Check(kernel, in["kernel"].Size(), machine); err != nil {
		return nil, stepio.Missing(err, in["kernel"].Artifact(), req)
	}
	initrd, err := stepio.Content(ctx, req, "initrd")
	if err != nil {
		return nil, err
	}
	hash, err := stepio.Text(ctx, req, "roothash")
	if err != nil {
		return nil, err
	}
	cmdline := params.Cmdline
	if hash != "" {
		cmdline += " roothash=" + hash
	}
	return uki.Build(stub, uki.Sections{
		OSRelease: extents.Bytes([]byte(params.OSRelease)), Cmdline: extents.Bytes([]byte(cmdline)),
		Initrd: initrd, Linux: in["kernel"], Machine: machine,
	})
}

// fitting is the signature over that digest among those that were given; nil when none was.
func fitting(ctx context.Context, req *step.Request, digest [32]byte) ([]byte, error) {
	given := stepio.Numbered(req, "signature")
	for _, d := range given {
		signature, err := stepio.Get(ctx, req.Blobs, d, stepio.MaxBootFile)
		if err != nil {
			return nil, err
		}
		signed, err := uki.SignedDigest(signature)
		if err != nil {
			return nil, err
		}
		if signed == digest {
			return signature, nil
		}
	}
	if len(given) > 0 {
		return nil, step.Failf("none of the %d signatures is over this image, whose digest is %x; sign the digests that this very build gives", len(given), digest)
	}
	return nil, nil
}
