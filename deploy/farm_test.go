package deploy

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// spy is a kiln that notes how it was called.
const spy = `#!/bin/bash
printf '%%q ' "$@" >>%[1]q
echo >>%[1]q
exec %[2]q "$@"
`

// TestAFarmOfProcessesShowsNoTokens starts and ends the farm of make farm, in a directory of its own.
func TestAFarmOfProcessesShowsNoTokens(t *testing.T) {
	root, err := filepath.Abs("..")
	if err != nil {
		t.Fatal(err)
	}
	kiln, s3 := filepath.Join(root, "bin/kiln"), filepath.Join(root, "build/tools/versitygw")
	for _, program := range []string{kiln, s3} {
		if _, err := os.Stat(program); err != nil {
			t.Fatalf("%v: run make build tools", err)
		}
	}
	dir := t.TempDir()
	calls := filepath.Join(dir, "calls")
	script, err := os.ReadFile("farm.sh")
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{"deploy/farm.sh": string(script), "bin/kiln": fmt.Sprintf(spy, calls, kiln)} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.MkdirAll(filepath.Join(dir, "build/tools"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(s3, filepath.Join(dir, "build/tools/versitygw")); err != nil {
		t.Fatal(err)
	}
	port := fmt.Sprintf("KILN_FARM_PORT=%d", freePorts(t))
	run := func(verb string) {
		t.Helper()
		cmd := exec.Command(filepath.Join(dir, "deploy/farm.sh"), verb)
		cmd.Env = append(os.Environ(), port)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("farm.sh %s: %v\n%s", verb, err, out)
		}
	}
	defer run("down")
	run("up")
	text, err := os.ReadFile(calls)
	if err != nil {
		t.Fatal(err)
	}
	joined := 0
	for call := range strings.Lines(string(text)) {
		if strings.Contains(call, "kiln1.") || strings.Contains(call, "--token ") {
			t.Errorf("a token is on a command line: kiln %s", call)
		}
		if strings.Contains(call, "--token-file") {
			joined++
		}
	}
	if joined != 2+4 {
		t.Errorf("%d processes joined with a token in a file, want 2 coordinators and 4 builders:\n%s", joined, text)
	}
	if left, _ := filepath.Glob(filepath.Join(dir, "build/farm/*.token")); len(left) > 0 {
		t.Errorf("tokens stay behind: %v", left)
	}
}

// freePorts is the first of 91 ports of which those that the farm listens at first are free.
func freePorts(t *testing.T) int {
	t.Helper()
	for range 50 {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		first := l.Addr().(*net.TCPAddr).Port
		l.Close()
		free := first < 65000
		for _, at := range []int{0, 10, 20, 90} {
			l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", first+at))
			if err != nil {
				free = false
				break
			}
			l.Close()
		}
		if free {
			return first
		}
	}
	t.Fatal("no free ports")
	return 0
}
