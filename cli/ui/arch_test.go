package ui

import "testing"

func TestArchitecturesHaveOneName(t *testing.T) {
	for in, want := range map[string]string{"amd64": "amd64", "x86_64": "amd64", "linux/x86-64": "amd64", "amd64/v1": "amd64", "AMD64/3": "amd64/v3",
		"aarch64": "arm64", "arm64/v8": "arm64", "armv8": "arm64", "arm64/v8.2": "arm64/v8.2", " riscv64 ": "riscv64"} {
		if got, err := ParseArch("--arch", in); err != nil || got != want {
			t.Errorf("%s: got %s, %v; want %s", in, got, err, want)
		}
	}
	for _, in := range []string{"", "i386", "arm", "vax", "amd64/", "amd64/v0", "amd64/v3/x", "riscv64/v2", "windows/amd64"} {
		if got, err := ParseArch("--arch", in); err == nil {
			t.Errorf("%s: got %s, want a refusal", in, got)
		}
	}
}
