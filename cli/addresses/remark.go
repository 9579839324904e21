package addresses

import (
	"cmp"
	"fmt"
	"io"
	"net/netip"
	"slices"

	"github.com/kiln-farm/kiln/internal/printable"
	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
)

// remark is what is told of a line.
type remark struct {
	file string
	line int
	text string
}

func writeRemarks(w io.Writer, mark string, remarks []remark) {
	slices.SortStableFunc(remarks, func(a, b remark) int { return cmp.Or(cmp.Compare(a.file, b.file), cmp.Compare(a.line, b.line)) })
	for _, r := range remarks {
		at := printable.Line(r.file)
		if r.line > 0 {
			at = fmt.Sprintf("%s:%d", at, r.line)
		}
		fmt.Fprintf(w, "%s%s: %s\n", mark, at, printable.Line(r.text))
	}
}

// fixedAddress is that of a machine, without its prefix.
func fixedAddress(m *kilnv1.Machine) string {
	p, err := netip.ParsePrefix(m.GetAddress())
	if err != nil {
		return ""
	}
	return p.Addr().String()
}
