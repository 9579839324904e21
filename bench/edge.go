package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
)

// benchMAC is the hardware address of the first machine that boots here.
const benchMAC = "52:54:00:00:00:01"

// random is a file's content: bytes that do not compress.
func random(size int, seed byte) []byte {
	data := make([]byte, size)
	_, _ = rand.NewChaCha8([32]byte{seed}).Read(data) // never fails
	return data
}

// room writes a description of machines that boot one release of files in the same directory.
func room(dir string, machines int, release, files string) error {
	var b strings.Builder
	b.WriteString("machines:\n")
	for n := range machines {
		fmt.Fprintf(&b, "  - {name: m%04d, mac: %q, labels: {role: bench}}\n", n+1, mac(n))
	}
	fmt.Fprintf(&b, `groups:
  - name: bench
    selector: {role: bench}
    release: %s
    templates:
      user-data: "this is {{ .Machine.Hostname }}"
releases:
  - name: %s
    platforms:
      linux/amd64: {%s}
`, release, release, files)
	return os.WriteFile(filepath.Join(dir, "room.yml"), []byte(b.String()), 0o600)
}

// mac is the hardware address of a machine, of which 0 is the first.
func mac(n int) string {
	n++
	return fmt.Sprintf("%s%02x:%02x", benchMAC[:len(benchMAC)-len("00:01")], n>>8, n&0xff)
}

// apply describes the room of a directory in a cache directory of this host.
func apply(ctx context.Context, o options, dir, store string) error {
	_, err := command(ctx, dir, o.kiln, "apply", "--cache", store, "-f", filepath.Join(dir, "room.yml"))
	return err
}
