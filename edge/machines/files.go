package machines

import (
	"fmt"

	"github.com/kiln-farm/kiln/edge/config"
	"github.com/kiln-farm/kiln/edge/intent"
	"github.com/kiln-farm/kiln/fleet"
	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
)

// Where files are, by TFTP and over HTTP.
const (
	UKIPath   = "uki/"   // behind which are machines' unified kernel images
	FilesPath = "files/" // behind which are kernels and initrds: the token of a boot, and the digest
)

// UKI is the unified kernel image that a machine boots.
func (m *Machines) UKI(id fleet.Identity, arch string) (*fleet.Boot, *kilnv1.ReleaseFiles, error) {
	boot, err := m.Intents.Index().Resolve(id)
	if err != nil {
		return boot, nil, err
	}
	if boot.LocalDisk {
		return boot, nil, fmt.Errorf("machine %s boots from its own disk", boot.Name())
	}
	files, err := boot.Files(Arch(arch))
	if err == nil && files.GetUki() == nil {
		err = fmt.Errorf("release %s has no unified kernel image for %s; build the format uki, too", boot.Release.GetName(), Arch(arch))
	}
	return boot, files, err
}

// FilesNamed is how many files a boot fetches, each counted once.
func FilesNamed(f *kilnv1.ReleaseFiles) uint32 {
	initrds := map[string]bool{}
	for _, ref := range f.GetInitrds() {
		initrds[ref.GetDigest()] = true
	}
	return uint32(1 + len(initrds))
}

// Arch is an architecture of iPXE's ${buildarch} as Go calls it.
func Arch(arch string) string {
	switch arch {
	case "arm64":
		return "arm64"
	default: // "x86_64", and "i386" of BIOS ROMs, which start 64-bit kernels
		return "amd64"
	}
}

// FileEvent is that a machine has a file of its release.
func FileEvent(boot *fleet.Boot, t config.Token, held intent.File) *kilnv1.BootEvent {
	event := &kilnv1.BootEvent{Machine: boot.Machine.GetName(), Boot: t.Boot.String(), Stage: kilnv1.BootStage_BOOT_STAGE_INITRD, File: held.Ref.GetDigest()}
	if macs := boot.MACs(); len(macs) > 0 {
		event.Mac = macs[0]
	}
	if held.Kernel {
		event.Stage = kilnv1.BootStage_BOOT_STAGE_KERNEL
	}
	return event
}
