package uki

import "fmt"

// Machine is a kind of processor, as PE files number it (PE/COFF specification, "Machine Types").
type Machine uint16

// Machines that Linux has an EFI stub for and Kiln builds for.
const (
	AMD64   Machine = 0x8664
	ARM64   Machine = 0xaa64
	RISCV64 Machine = 0x5064
)

// MachineOf is the machine of an architecture as Go and OCI name it; false when it has none here.
func MachineOf(arch string) (Machine, bool) {
	for _, m := range []Machine{AMD64, ARM64, RISCV64} {
		if m.String() == arch {
			return m, true
		}
	}
	return 0, false
}

// String is the architecture's name as Go and OCI write it.
func (m Machine) String() string {
	switch m {
	case AMD64:
		return "amd64"
	case ARM64:
		return "arm64"
	case RISCV64:
		return "riscv64"
	}
	return fmt.Sprintf("machine %#x", uint16(m))
}
