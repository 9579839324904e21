package uki

import (
	"errors"
	"io"

	"github.com/kiln-farm/kiln/image/step"
)

// ErrCompressed says that a kernel is a gzip file: what is in it may be one that can be used.
var ErrCompressed = errors.New("the kernel is compressed with gzip, and firmware does not unpack it")

const (
	takeAnother = "take a kernel that was built with CONFIG_EFI_STUB, or an output format that is not for EFI"
	headLen     = 0x206
)

// Check returns an error that says why when kernel, of size bytes, is not a Linux kernel that firmware of that machine
// can start, which is what systemd-stub does with it: a PE file with the kernel's own EFI stub.
func Check(kernel io.ReaderAt, size int64, machine Machine) error {
	head := make([]byte, min(size, headLen))
	if n, err := kernel.ReadAt(head, 0); n < len(head) {
		return blame(err, "the kernel", "")
	}
	if len(head) > 2 && head[0] == 0x1f && head[1] == 0x8b {
		return step.Failf("%w; build with --decompress-kernel, or give the unpacked one (Image, not Image.gz or a compressed vmlinuz)", ErrCompressed)
	}
	if len(head) < dosHeaderLen || string(head[:2]) != "MZ" {
		return step.Failf("the kernel has no EFI stub, so no firmware can start it; " + takeAnother)
	}
	m, err := parse(kernel, size)
	if err != nil {
		return blame(err, "the kernel's EFI stub", takeAnother)
	}
	if m.machine != machine {
		return step.Failf("the kernel is for %s, not for %s; take the kernel image of that platform", m.machine, machine)
	}
	if m.subsystem != efiApplication {
		return step.Failf("the kernel is a PE file but no EFI application; %s", takeAnother)
	}
	if !isLinux(head, machine) {
		return step.Failf("the kernel is an EFI program but not Linux; give the kernel itself, not a boot loader or a unified kernel image")
	}
	return nil
}

// isLinux looks for the kernel's own magic number: of arch/x86/boot/header.S, of Documentation/arch/arm64/booting.rst
// and Documentation/arch/riscv/boot-image-header.rst, or of a compressed EFI kernel (drivers/firmware/efi/libstub/zboot).
func isLinux(head []byte, machine Machine) bool {
	has := func(at int, magic string) bool {
		return len(head) >= at+len(magic) && string(head[at:at+len(magic)]) == magic
	}
	switch machine {
	case AMD64:
		return has(0x202, "HdrS")
	case ARM64:
		return has(0x38, "ARM\x64") || has(4, "zimg")
	case RISCV64:
		return has(0x38, "RSC\x05") || has(4, "zimg")
	}
	return false
}
