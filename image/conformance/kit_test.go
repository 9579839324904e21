package conformance

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// kitVariable names the environment variable with the directory of the whole conformance kit: LinuxKit's public examples
// beside our own cases. They are data for a check, not for this repository.
const kitVariable = "KILN_CONFORMANCE"

// kitFixtures are small stand-ins for the images that the public examples name, listed in the kit's refs.json.
func kitFixtures(list string) []fixture {
	raw, err := os.ReadFile(list)
	must(err)
	var refs []struct{ Ref, Label, Kind string }
	must(json.Unmarshal(raw, &refs))
	var fixtures []fixture
	for n, r := range refs {
		base := strings.NewReplacer("/", "-", ":", "-").Replace(r.Ref)
		f := fixture{ref: r.Ref, seed: int64(n * 100), config: v1.Config{Entrypoint: []string{"/usr/bin/" + base}, Env: []string{"PATH=/usr/bin:/bin"}}}
		if r.Label != "" {
			f.config.Labels = map[string]string{"org.mobyproject.config": r.Label}
		}
		if r.Kind == "kernel" {
			f.layers = [][]entry{{file("kernel", "KERNEL @arch "+r.Ref), file("kernel.tar", kernelModules(3)), file("kernel-dev.tar", "junk"), file("intel-ucode.cpio", "UCODE\n"), file("amd-ucode.cpio", "AMD\n")}}
		} else {
			l := append([]entry{dir("bin/"), dir("etc/")}, apkDB(fmt.Sprintf("P:%s\nV:%d\n", base, n))...)
			f.layers = [][]entry{append(l, dir("usr/"), dir("usr/bin/"), binary("usr/bin/"+base, 10000+n), file("usr/bin/arch", "@arch"), hardlink("bin/"+base, "usr/bin/"+base), symlink("etc/alt", "../bin/"+base))}
		}
		fixtures = append(fixtures, f)
	}
	// A registry knows a reference without a tag as :latest, and keeps what was pushed last.
	for i, f := range fixtures {
		for _, later := range fixtures[i:] {
			if later.ref == f.ref+":latest" {
				later.ref = f.ref
				fixtures[i] = later
			}
		}
	}
	return fixtures
}
