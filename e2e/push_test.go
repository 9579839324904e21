package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestPushToARegistry pushes to a registry that many run (Distribution), which knows no referrers, and has others read it.
func TestPushToARegistry(t *testing.T) {
	w := prepared(t)
	crane := filepath.Join(w.root, "build/tools/crane")
	if _, err := os.Stat(crane); err != nil {
		t.Skipf("%s is not there; `make tools` builds it", crane)
	}
	host := registry(t)
	ref := host + "/lab/hello:1"
	push := func(arch string) (digest string) {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), buildLimit)
		defer cancel()
		said, err := w.run(ctx, w.kiln, "build", "--cache", w.cache, "--progress", "plain", "--arch", arch, "--format", "oci", "--dir", t.TempDir(), "--push", ref, "examples/hello.yml")
		if err != nil {
			t.Fatal(err)
		}
		_, digest, ok := strings.Cut(said, "pushed "+ref+"@")
		if !ok {
			t.Fatalf("nothing says what was pushed:\n%s", said)
		}
		digest, _, _ = strings.Cut(digest, "\n")
		return digest
	}
	for _, arch := range []string{"amd64", "arm64", "amd64,arm64"} {
		t.Run(arch, func(t *testing.T) {
			digest := push(arch)
			tool(t, crane, "validate", "--insecure", "--remote", ref)
			if got := strings.TrimSpace(tool(t, crane, "digest", "--insecure", ref)); got != digest {
				t.Errorf("the registry has %s, pushed was %s", got, digest)
			}
			for one := range strings.SplitSeq(arch, ",") {
				said := tool(t, "skopeo", "--override-arch", one, "inspect", "--tls-verify=false", "docker://"+ref)
				if !strings.Contains(said, fmt.Sprintf("%q: %q", "Architecture", one)) {
					t.Errorf("skopeo says nothing of %s:\n%s", one, said)
				}
				image := strings.TrimSpace(tool(t, crane, "digest", "--insecure", "--platform", "linux/"+one, ref))
				checkSBOM(t, crane, host+"/lab/hello", image)
			}
			if again := push(arch); again != digest {
				t.Errorf("pushed again it is %s, was %s", again, digest)
			}
		})
	}
}

// checkSBOM finds the SBOM of an image as registries without the referrers API keep it, in an index under a tag that is
// named after the image (OCI distribution-spec, "Referrers Tag Schema").
func checkSBOM(t *testing.T, crane, repository, image string) {
	t.Helper()
	var index struct {
		Manifests []struct{ Digest, ArtifactType string }
	}
	if err := json.Unmarshal([]byte(tool(t, crane, "manifest", "--insecure", repository+":"+strings.Replace(image, ":", "-", 1))), &index); err != nil {
		t.Fatal(err)
	}
	if len(index.Manifests) != 1 || index.Manifests[0].ArtifactType != "application/spdx+json" {
		t.Fatalf("what refers to the image is %+v, want one SBOM", index.Manifests)
	}
	var sbom struct {
		Layers  []struct{ Digest string }
		Subject struct{ Digest string }
	}
	if err := json.Unmarshal([]byte(tool(t, crane, "manifest", "--insecure", repository+"@"+index.Manifests[0].Digest)), &sbom); err != nil {
		t.Fatal(err)
	}
	if sbom.Subject.Digest != image || len(sbom.Layers) != 1 {
		t.Fatalf("the SBOM is of %q and has %d layers", sbom.Subject.Digest, len(sbom.Layers))
	}
	var document struct{ SpdxVersion string }
	if err := json.Unmarshal([]byte(tool(t, crane, "blob", "--insecure", repository+"@"+sbom.Layers[0].Digest)), &document); err != nil || document.SpdxVersion == "" {
		t.Errorf("the SBOM is no SPDX document: %v", err)
	}
}

// registry runs a registry on loopback until the test ends, and gives its host and port.
func registry(t *testing.T) string {
	t.Helper()
	program, err := exec.LookPath("docker-registry")
	if err != nil {
		t.Skip("docker-registry is not installed; `make test` installs it, or run: apt-get install --no-install-recommends docker-registry")
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	host := listener.Addr().String()
	listener.Close()
	dir := t.TempDir()
	config := filepath.Join(dir, "config.yml")
	text := fmt.Sprintf("version: 0.1\nstorage:\n  filesystem:\n    rootdirectory: %s/data\nhttp:\n  addr: %s\n", dir, host)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	log, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program, "serve", config)
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait() // killed
		log.Close()
	})
	for end := time.Now().Add(endLimit); ; time.Sleep(20 * time.Millisecond) {
		conn, err := net.Dial("tcp", host)
		if err == nil {
			conn.Close()
			return host
		}
		if time.Now().After(end) {
			text, _ := os.ReadFile(log.Name())
			t.Fatalf("docker-registry does not listen: %v\n%s", err, text)
		}
	}
}
