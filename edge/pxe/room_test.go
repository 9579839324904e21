package pxe

import (
	"net/http"
	"testing"

	"github.com/kiln-farm/kiln/edge/edgetest"
	"github.com/kiln-farm/kiln/edge/fair"
	"github.com/kiln-farm/kiln/edge/httpboot"
	"github.com/kiln-farm/kiln/edge/transfer"
)

var quiet = edgetest.Quiet

const (
	known    = edgetest.Known
	onDisk   = edgetest.OnDisk
	stranger = edgetest.Stranger
)

// roomOf is what an edge knows, with its answers over HTTP.
type roomOf struct{ *edgetest.Room }

func newRoomOf(t *testing.T) *roomOf {
	t.Helper()
	r := &roomOf{edgetest.New(t)}
	mux := http.NewServeMux()
	httpboot.New(httpboot.Config{Store: r.Store, Files: r.Files, Sender: transfer.New(fair.Config{}, quiet), URL: r.URL, Log: quiet, Machines: r.Machines}).Routes(mux)
	r.Handler = mux
	return r
}

func (r *roomOf) dhcp(full bool, loaders map[string]string) *DHCP {
	return &DHCP{Machines: r.Machines, Programs: Programs{URL: r.URL, Loaders: loaders}, Log: quiet, Full: full}
}

func (r *roomOf) tftp(loaders map[string]string) *TFTP {
	return &TFTP{Machines: r.Machines, Files: r.Files, Loaders: loaders}
}
