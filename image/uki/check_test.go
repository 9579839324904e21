package uki

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/kiln-farm/kiln/image/step"
)

// kernelOf is a PE file with Linux's magic number.
func kernelOf(machine Machine) []byte {
	p := makePE(machine, 8, peSection{".text", make([]byte, 3000)})
	if machine == AMD64 {
		copy(p[0x202:], "HdrS") // in room of the section table that is not used
		return p
	}
	// The DOS header of 64 bytes ends where the PE header begins.
	copy(p[0x38:], "ARM\x64")
	return p
}

func TestKernelsAreChecked(t *testing.T) {
	amd64, arm64 := kernelOf(AMD64), kernelOf(ARM64)
	zboot := makePE(ARM64, 8)
	copy(zboot[4:], "zimg")
	driver := bytes.Clone(amd64)
	driver[0x40+coffHeaderLen+subsystemAt] = 11
	tests := []struct {
		name    string
		kernel  []byte
		machine Machine
		want    string // "" for a good one
	}{
		{"a bzImage", amd64, AMD64, ""},
		{"an arm64 Image", arm64, ARM64, ""},
		{"a kernel that unpacks itself in EFI", zboot, ARM64, ""},
		{"another machine", amd64, ARM64, "is for amd64, not for arm64"},
		{"a compressed Image", []byte("\x1f\x8b\x08\x00"), ARM64, "compressed with gzip"},
		{"a kernel without EFI stub", append(make([]byte, 0x202), "HdrS"...), AMD64, "no EFI stub"},
		{"nothing", nil, AMD64, "no EFI stub"},
		{"an ELF file", []byte("\x7fELF"), AMD64, "no EFI stub"},
		{"a boot loader", makePE(AMD64, 8), AMD64, "not Linux"},
		{"a driver", driver, AMD64, "no EFI application"},
		{"a truncated kernel", amd64[:0x100], AMD64, "ends within its headers"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			err := Check(bytes.NewReader(test.kernel), int64(len(test.kernel)), test.machine)
			if test.want == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			var failure *step.Failure
			if !errors.As(err, &failure) || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want %q", err, test.want)
			}
			if got, want := errors.Is(err, ErrCompressed), strings.Contains(test.want, "gzip"); got != want {
				t.Errorf("compressed: %v, want %v", got, want)
			}
		})
	}
}

// broken is a disk that cannot be read.
type broken struct{}

func (broken) ReadAt([]byte, int64) (int, error) { return 0, io.ErrClosedPipe }

func TestAKernelThatCannotBeReadIsNobodysFault(t *testing.T) {
	err := Check(broken{}, 1000, AMD64)
	var failure *step.Failure
	if !errors.Is(err, io.ErrClosedPipe) || errors.As(err, &failure) {
		t.Errorf("got %v", err)
	}
}

func TestMachinesHaveNames(t *testing.T) {
	for _, m := range []Machine{AMD64, ARM64, RISCV64} {
		if got, ok := MachineOf(m.String()); !ok || got != m {
			t.Errorf("%s is %s", m, got)
		}
	}
	if m, ok := MachineOf("s390x"); ok {
		t.Errorf("s390x is %s", m)
	}
}
