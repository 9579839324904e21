package ui

import (
	"math"
	"strconv"
	"strings"

	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
)

// UnpackForm is what ParseUnpack reads, for help texts.
const UnpackForm = "size=128G,files=10000000,ratio=250 are the defaults, none is no limit"

// ParseUnpack reads what an image may unpack to: size, files, and how many times its size a layer may become. What is
// left out stays as usual; nil when that is all of it.
func ParseUnpack(flag, text string) (*kilnv1.UnpackLimits, error) {
	if text == "" {
		return nil, nil
	}
	var u kilnv1.UnpackLimits
	for part := range strings.SplitSeq(text, ",") {
		name, value, _ := strings.Cut(part, "=")
		to := map[string]*int64{"size": &u.Bytes, "files": &u.Files, "ratio": &u.Ratio}[name]
		if to == nil {
			return nil, Usagef("%s %q: it is like size=128G,files=10000000,ratio=250, or some of these", flag, text)
		}
		var err error
		switch {
		case value == "none":
			*to = math.MaxInt64
		case name == "size":
			*to, err = ParseSize(flag+" size=", value)
		default:
			*to, err = strconv.ParseInt(value, 10, 64)
			if err != nil {
				err = Usagef("%s %s=%q: it is a number, or none", flag, name, value)
			}
		}
		if err == nil && *to < 1 {
			err = Usagef("%s %s: a limit is 1 at least; none is no limit", flag, part)
		}
		if err != nil {
			return nil, err
		}
	}
	return &u, nil
}
