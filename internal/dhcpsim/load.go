package dhcpsim

import (
	"net/netip"
	"time"
)

// Loading is what a machine was told to load: by its firmware a boot program, by that an operating system.
type Loading struct {
	Machine int
	MAC     string
	IPXE    bool       // the boot program runs, and otherwise firmware
	Address netip.Addr // of the machine
	Server  netip.Addr // of the DHCP server
	Next    netip.Addr // server of the file (siaddr); not valid: the DHCP server is
	File    string     // a name for TFTP, or a URL
}

// loadAgain is after how long a machine begins anew whose boot has failed.
const loadAgain = 2 * time.Second

// load has a machine load what runs next, and goes on then.
func (s *Sim) load(m *machine) {
	m.wakes++ // nothing else happens to it meanwhile
	turn, ctx := m.wakes, s.ctx
	l := Loading{Machine: m.id, MAC: m.mac.String(), IPXE: m.program == ipxe, Address: m.lease.address, Server: m.lease.server, Next: m.lease.next, File: m.lease.file}
	s.loads.Go(func() {
		err := s.o.Load(ctx, l)
		s.do(ctx, func() {
			switch {
			case m.wakes != turn:
			case err != nil:
				s.counts["boots that failed"]++
				m.lose()
				m.state = off
				s.wake(m, loadAgain)
			default:
				m.program++
				m.begin(s.now())
			}
		})
	})
}
