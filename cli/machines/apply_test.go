package machines

import (
	"fmt"
	"testing"

	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
)

func TestAReleaseHasOnePlatformForAnArchitecture(t *testing.T) {
	for want, platforms := range map[string][]string{
		"map[linux/amd64:linux/amd64]":                            {"linux/amd64/v3", "linux/amd64"},
		"map[linux/amd64/v2:linux/amd64 linux/arm64:linux/arm64]": {"linux/arm64", "linux/amd64/v3", "linux/amd64/v2", "linux/amd64/v2"},
		"map[linux/arm64/v9:linux/arm64]":                         {"linux/arm64/v9"},
	} {
		b := &kilnv1.BuildRecord{}
		for _, p := range platforms {
			b.Outputs = append(b.Outputs, &kilnv1.BuildOutput{Platform: p})
		}
		if got := fmt.Sprint(releasePlatforms(b)); got != want {
			t.Errorf("%v: got %s, want %s", platforms, got, want)
		}
	}
}
