package ui

import (
	"math"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
)

func TestLimitsOfUnpackingAreRead(t *testing.T) {
	for text, want := range map[string]*kilnv1.UnpackLimits{
		"":                         nil,
		"size=2G":                  {Bytes: 2 << 30},
		"ratio=none,files=7":       {Files: 7, Ratio: math.MaxInt64},
		"size=1,files=2,ratio=300": {Bytes: 1, Files: 2, Ratio: 300},
	} {
		if got, err := ParseUnpack("--max-unpack", text); err != nil || !proto.Equal(got, want) {
			t.Errorf("%q: got %v, %v; want %v", text, got, err, want)
		}
	}
	for text, want := range map[string]string{
		"5G":         "it is like size=128G",
		"size=":      "it is a size such as",
		"size=x":     "it is a size such as",
		"files=many": "it is a number, or none",
		"ratio=-1":   "a limit is 1 at least",
		"ratio=0":    "a limit is 1 at least",
		"size=1G,":   "it is like size=128G",
	} {
		if _, err := ParseUnpack("--max-unpack", text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, want %q", text, err, want)
		}
	}
}
