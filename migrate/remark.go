package migrate

import (
	"cmp"
	"fmt"
	"io"
	"net/netip"
	"slices"

	"github.com/kiln-farm/kiln/internal/printable"
	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
)

// Remark is what is told of a line.
type Remark struct {
	File string
	Line int
	Text string
}

func writeRemarks(w io.Writer, mark string, remarks []Remark) {
	slices.SortStableFunc(remarks, func(a, b Remark) int { return cmp.Or(cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line)) })
	for _, r := range remarks {
		at := printable.Line(r.File)
		if r.Line > 0 {
			at = fmt.Sprintf("%s:%d", at, r.Line)
		}
		fmt.Fprintf(w, "%s%s: %s\n", mark, at, printable.Line(r.Text))
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
