package pxe

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"strings"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/kiln-farm/kiln/edge/config"
	"github.com/kiln-farm/kiln/edge/content"
	"github.com/kiln-farm/kiln/edge/intent"
	"github.com/kiln-farm/kiln/edge/loaderconf"
	"github.com/kiln-farm/kiln/edge/machines"
	"github.com/kiln-farm/kiln/edge/tftp"
	"github.com/kiln-farm/kiln/fleet"
	"github.com/kiln-farm/kiln/internal/userfile"
	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
)

// TFTP gives firmware and boot loaders their files.
type TFTP struct {
	Machines *machines.Machines
	Files    *content.Files
	Loaders  map[string]string // boot programs by their names, as paths of this host
}

// Open gives a file by TFTP: a boot program, or a machine's unified kernel image. Names are looked up among those that there
// are, and are never paths of this host.
func (t *TFTP) Open(ctx context.Context, client netip.AddrPort, name string) (tftp.File, error) {
	name = strings.TrimLeft(name, "/")
	if path, ok := t.Loaders[strings.TrimPrefix(name, overHTTP)]; ok {
		return openFile(path)
	}
	if a := loaderconf.Parse(name); a.Kind != loaderconf.None {
		return t.openByName(ctx, client, a)
	}
	arch, mac, ok := ukiName(name)
	if !ok {
		return t.openPXELINUX(ctx, client, name)
	}
	_, files, err := t.Machines.UKI(fleet.Identity{MAC: mac}, arch)
	if err != nil {
		return nil, fmt.Errorf("%q: %w: %w", name, fs.ErrNotExist, err)
	}
	image, err := t.Files.OpenRelease(ctx, files.GetUki())
	if err != nil {
		return nil, err
	}
	t.Machines.Seen.Fetched(mac, client.Addr().Unmap(), time.Now().Add(intent.BootTime))
	return image, nil
}

// ukiName reads the name of a unified kernel image. Its architecture is that of the firmware: a release may be for several.
func ukiName(name string) (arch, mac string, ok bool) {
	rest, ok := strings.CutPrefix(strings.TrimLeft(name, "/"), machines.UKIPath)
	if !ok {
		return "", "", false
	}
	arch, mac, ok = strings.Cut(rest, "/")
	return arch, strings.TrimSuffix(mac, ".efi"), ok
}

// Sent reports a transfer.
func (t *TFTP) Sent(x tftp.Transfer) {
	if x.Probe {
		return
	}
	ended := "well"
	if x.Err != nil {
		ended = "early"
	}
	tftpTime.Record(context.Background(), x.Duration.Seconds(), metric.WithAttributes(attribute.String("ended", ended)))
	tftpBytes.Add(context.Background(), x.Bytes)
	event := &kilnv1.BootEvent{Stage: kilnv1.BootStage_BOOT_STAGE_TFTP}
	name := config.Redact(x.Name)
	if a, ok := parseAsked(x.Name); ok {
		if a.config != "" {
			return // told when it was made, and names that there are not are asked for in any boot
		}
		held, _ := t.Machines.Intents.File(a.digest, time.Now())
		if boot, token, err := t.Machines.Whose(a.token); err == nil && x.Err == nil {
			event, name = machines.FileEvent(boot, token, held), "by TFTP"
		}
	}
	switch loaderconf.Parse(x.Name).Kind {
	case loaderconf.Autoexec, loaderconf.GRUB, loaderconf.PiConfig, loaderconf.PiCmdline:
		return // told when it was made
	case loaderconf.PiKernel:
		event.Stage = kilnv1.BootStage_BOOT_STAGE_KERNEL
	case loaderconf.PiInitrd:
		event.Stage = kilnv1.BootStage_BOOT_STAGE_INITRD
	}
	event.Address, event.Bytes, event.DurationMs = x.Client.Addr().String(), x.Bytes, x.Duration.Milliseconds()
	event.Detail = fmt.Sprintf("%s, %d bytes in %d ms", name, x.Bytes, event.DurationMs)
	if x.Err != nil {
		event.Detail = fmt.Sprintf("%s: %v", name, x.Err)
	}
	if event.Mac != "" {
		t.Machines.Tell(event)
		return
	}
	if b, ok := t.Machines.Seen.Bound(x.Client.Addr()); ok {
		event.Mac = b.MAC
	} else if _, mac, ok := ukiName(x.Name); ok {
		event.Mac = mac
	}
	if boot, _ := t.Machines.Resolve(fleet.Identity{MAC: event.Mac}); boot != nil {
		event.Machine = boot.Machine.GetName()
	}
	if event.Mac != "" {
		t.Machines.Tell(event)
	}
}

// file is a file of this host.
type file struct {
	*os.File
	size int64
}

func (f file) Size() int64 { return f.size }

func openFile(path string) (tftp.File, error) {
	f, err := userfile.Open(path)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return file{f, info.Size()}, nil
}

// openByName gives by TFTP what boot loaders ask for by themselves.
func (t *TFTP) openByName(ctx context.Context, client netip.AddrPort, a loaderconf.Asked) (tftp.File, error) {
	switch a.Kind {
	case loaderconf.PiFirmware:
		if path, ok := t.Loaders[a.File]; ok {
			return openFile(path)
		}
		return nil, machines.ErrNobodys
	case loaderconf.PiKernel, loaderconf.PiInitrd:
		ref, err := t.Machines.PiFile(client.Addr(), a)
		if err != nil {
			return nil, err
		}
		file, err := t.Files.OpenRelease(ctx, ref)
		if err != nil {
			return nil, err
		}
		return file, nil
	}
	told, err := t.Machines.ByName(client.Addr().Unmap(), a, t.Machines.Edges())
	if err != nil {
		return nil, err
	}
	return text{bytes.NewReader([]byte(told))}, nil
}
