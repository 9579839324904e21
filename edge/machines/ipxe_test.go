package machines

import (
	"strings"
	"testing"

	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
)

func TestALongCommandLineKeepsRoomForOneEdge(t *testing.T) {
	kernel := &kilnv1.FileRef{Digest: "sha256:" + strings.Repeat("0", 64)}
	for length, want := range map[int]int{100: 3, 1500: 2, 1600: 1} {
		script, err := machineScript(Boot{Name: "web", Release: "v1", Files: &kilnv1.ReleaseFiles{Kernel: kernel}, Cmdline: strings.Repeat("x", length),
			Token: strings.Repeat("t", 120), Edges: []string{"http://10.0.0.1:7380", "http://10.0.0.2:7380", "http://10.0.0.3:7380"}})
		if err != nil {
			t.Fatal(err)
		}
		line, _, _ := strings.Cut(script[strings.Index(script, "kernel "):], "\n")
		if got := strings.Count(line, "kiln.config="); got != want {
			t.Errorf("with %d bytes the configuration is named at %d edges, want %d", length, got, want)
		}
		if !strings.Contains(line, strings.Repeat("0", 64)+" kiln.config=http://10.0.0.1:7380/") || !strings.Contains(line, " ds=nocloud;s=http://10.0.0.1:7380/") {
			t.Errorf("with %d bytes the configuration does not stand first:\n%s", length, line)
		}
	}
	// A kernel would cut it, and nobody would know why the machine has no configuration.
	_, err := machineScript(Boot{Name: "web", Release: "v1", Files: &kilnv1.ReleaseFiles{Kernel: kernel}, Cmdline: strings.Repeat("x", 1800), Token: strings.Repeat("t", 120), Edges: []string{"http://10.0.0.1:7380"}})
	if err == nil || !strings.Contains(err.Error(), "has 2133 bytes with the address of its configuration and its token, more than the 2000") {
		t.Errorf("got %v", err)
	}
}
