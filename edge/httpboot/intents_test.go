package httpboot

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/kiln-farm/kiln/edge/intent"
	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
)

// filesOfScript are the paths of the files that a machine's script names at the first edge.
func (r *roomOf) filesOfScript(t *testing.T) []string {
	t.Helper()
	var paths []string
	for word := range strings.FieldsSeq(r.Get("/boot.ipxe?mac="+known+"&arch=x86_64", "10.0.0.21").Body.String()) {
		if path, ok := strings.CutPrefix(word, "http://10.0.0.1:7380"); ok && strings.HasPrefix(path, "/files/") {
			paths = append(paths, path)
		}
	}
	if len(paths) != 3 {
		t.Fatalf("the script names %d files, want 3", len(paths))
	}
	return paths
}

func TestABootEndsWithTheFilesThatItBeganWith(t *testing.T) {
	other := &kilnv1.FileRef{Digest: "sha256:" + strings.Repeat("0", 64), Size: 1}
	replaced := func(in *kilnv1.Intent) {
		in.Releases[0].Platforms["linux/amd64"].Kernel = other
		in.Releases[0].Platforms["linux/amd64"].Initrds = []*kilnv1.FileRef{other}
	}
	for _, c := range []struct {
		name    string
		changes []func(*kilnv1.Intent)
		want    int
	}{
		{"nothing changes", nil, http.StatusOK},
		{"the group boots another release", []func(*kilnv1.Intent){func(in *kilnv1.Intent) {
			in.Releases = append(in.Releases, &kilnv1.Release{Name: "v2", Platforms: map[string]*kilnv1.ReleaseFiles{"linux/amd64": {Kernel: other}}})
			in.Groups[0].Release = "v2"
		}}, http.StatusOK},
		{"the release is of another build now", []func(*kilnv1.Intent){replaced}, http.StatusOK},
		{"and changes once more", []func(*kilnv1.Intent){replaced, func(in *kilnv1.Intent) { in.Releases[0].Platforms["linux/amd64"].Cmdline = "quiet" }}, http.StatusOK},
		{"the release is removed", []func(*kilnv1.Intent){func(in *kilnv1.Intent) { in.Releases, in.Groups = nil, nil }}, http.StatusNotFound},
		{"the release was changed, and is removed", []func(*kilnv1.Intent){replaced, func(in *kilnv1.Intent) { in.Releases, in.Groups = nil, nil }}, http.StatusNotFound},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRoomOf(t)
			paths := r.filesOfScript(t)
			for _, change := range c.changes {
				r.Change(change)
			}
			r.Happened()
			for _, path := range paths {
				if got := r.Get(path, "10.0.0.21"); got.Code != c.want {
					t.Errorf("got %d %s, want %d", got.Code, got.Body, c.want)
				}
			}
			for i, e := range r.Happened() {
				if want := min(i, 1) + int(kilnv1.BootStage_BOOT_STAGE_KERNEL); int(e.GetStage()) != want {
					t.Errorf("file %d was told as %s", i, e.GetStage())
				}
			}
		})
	}
}

func TestFormerFilesOfAReleaseAreServedForAsLongAsABoot(t *testing.T) {
	r := newRoomOf(t)
	digest := r.Intents.Now().GetReleases()[0].GetPlatforms()["linux/amd64"].GetKernel().GetDigest()
	r.Change(func(in *kilnv1.Intent) { in.Releases[0].Platforms["linux/amd64"].Kernel = nil })
	for after, want := range map[time.Duration]bool{time.Second: true, intent.BootTime - time.Minute: true, intent.BootTime + time.Minute: false} {
		if _, got := r.Intents.File(digest, time.Now().Add(after)); got != want {
			t.Errorf("after %s the file is there: %t, want %t", after, got, want)
		}
	}
}
