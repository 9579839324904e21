package leasefile

import (
	"fmt"
	"net/netip"
	"time"
)

const (
	// maxFile bounds a file, in bytes. A journal of ISC dhcpd has about 250 for each change of a lease, Kea's 100.
	maxFile = 64 << 20
	// maxObjects bounds the subnets, ranges, reservations and addresses of a file, each.
	maxObjects = 500_000
	// maxNotes bounds the notes of a file; one more then says that there are others.
	maxNotes = 1000
	// maxDepth bounds how deep blocks and objects are nested: real files have six.
	maxDepth = 64
	// maxWords bounds a statement of ISC dhcpd and the fields of a line of dnsmasq or Kea.
	maxWords = 1000
	// maxNodes bounds the values of a JSON file, each of which takes about a hundred bytes: 200,000 reservations.
	maxNodes = 1_000_000
)

// Forever is the lease time that never ends (RFC 2131 §3.3).
const Forever = 0xffffffff * time.Second

// Kind is a format. Its text is for people.
type Kind string

// The formats.
const (
	DnsmasqLeases Kind = "leases of dnsmasq"
	DnsmasqConf   Kind = "configuration of dnsmasq"
	DnsmasqHosts  Kind = "hosts of dnsmasq" // what dhcp-hostsfile names: dhcp-host without the word
	ISCLeases     Kind = "leases of ISC dhcpd"
	ISCConf       Kind = "configuration of ISC dhcpd"
	KeaLeases     Kind = "leases of Kea" // kea-leases4.csv and kea-leases6.csv
	KeaConf       Kind = "configuration of Kea"
)

// Options are what Parse takes from the process around it.
type Options struct {
	// Location is where the times of ISC dhcpd's leases are local times. nil is UTC, which dhcpd itself writes; files
	// that people or other programs wrote may have others. Times since the epoch are what they are.
	Location *time.Location
}

// File is what a file says. Subnets are in the order of the file, reservations too, and leases in that of addresses.
type File struct {
	Subnets      []Subnet
	Reservations []Reservation
	Leases       []Lease
	Notes        []Note // in the order of lines

	free map[netip.Addr]bool // addresses that the file says nobody holds any more, for Merge
}

// Subnet is a network with what the old server told its machines.
type Subnet struct {
	Prefix    netip.Prefix
	Ranges    []Range // given out dynamically, in the order of the file
	Router    []netip.Addr
	DNS       []netip.Addr
	NTP       []netip.Addr
	Domain    string
	LeaseTime time.Duration // 0: the file does not say; may be Forever
	Options   []Option      // the others
	Relays    []netip.Addr  // relay agents whose machines are in it, without those in the prefix
	KnownOnly bool          // machines without a reservation get no address
	Classes   []Class       // in their order; of IPv4 only
	Line      int
}

// Class is of clients that are told something else. All that it says of them must fit.
type Class struct {
	Name        string
	VendorClass string // option 60 begins with it
	UserClass   string // option 77
	Arch        uint32 // option 93, plus one; 0: any
	Options     []Option
	Line        int
}

// Range has both its ends.
type Range struct{ From, To netip.Addr }

// Reservation is an address, or only a name, that a machine always gets. It has a MAC or a client id.
type Reservation struct {
	MACs     []string // of one machine, of which one is in use at a time: 52:54:00:12:34:56
	ClientID []byte   // option 61 (RFC 2132 §9.14), or for an IPv6 address the DUID (RFC 8415 §11)
	Address  netip.Addr
	Name     string // printable; not necessarily a host's name
	Line     int
}

// Lease is an address that a machine holds. It has a MAC or a client id, or both.
type Lease struct {
	Address  netip.Addr
	MAC      string    // 52:54:00:12:34:56
	ClientID []byte    // as in Reservation
	IAID     uint32    // of an IPv6 address: with the DUID it says who holds it (RFC 8415 §12)
	Name     string    // as in Reservation
	Ends     time.Time // zero: never. In UTC
	Line     int
}

// Note is something that was not taken over, or not as it is: one sentence with the reason.
type Note struct {
	Line int // 0: of the whole file
	Text string
}

func (n Note) String() string {
	if n.Line == 0 {
		return n.Text
	}
	return fmt.Sprintf("line %d: %s", n.Line, n.Text)
}

// Error is why a file cannot be read: one sentence, with what to do.
type Error struct {
	Line int // 0: of the whole file
	Text string

	cut bool // the file ends where more must come
}

func (e *Error) Error() string { return Note{e.Line, e.Text}.String() }

// Parse reads a file of the kind. Its error is an *Error.
func Parse(kind Kind, data []byte, opts Options) (*File, error) {
	if len(data) > maxFile {
		return nil, &Error{Text: fmt.Sprintf("the file is larger than %d MiB; let its server clean it up first, which a restart does", maxFile>>20)}
	}
	parsers := map[Kind]func(*builder, string) error{
		DnsmasqLeases: dnsmasqLeases, DnsmasqConf: dnsmasqConf, DnsmasqHosts: dnsmasqHosts,
		ISCLeases: iscLeases, ISCConf: iscConf,
		KeaLeases: keaLeases, KeaConf: keaConf,
	}
	parse, ok := parsers[kind]
	if !ok {
		return nil, &Error{Text: fmt.Sprintf("%s is not a kind of file that is read here; name one that Detect gives", quote(string(kind)))}
	}
	b := newBuilder(opts)
	err := parse(b, withoutMark(string(data)))
	if err == nil {
		err = b.full
	}
	if err != nil {
		return nil, err
	}
	return b.finish(), nil
}
