package ddns

import (
	"net/netip"

	"google.golang.org/protobuf/proto"

	"github.com/kiln-farm/kiln/internal/dnsname"
	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
)

// DefaultTTL of records, in seconds: RFC 4702 §5 wants no more than a third of a lease.
const DefaultTTL = 300

// Key tells records apart. How long a record is cached, and who signs, does not make it another one.
type Key struct {
	Server, Zone, Name, Address, Client string
	Reverse                             bool
}

// KeyOf is the key of a record.
func KeyOf(r *kilnv1.DNSRecord) Key {
	return Key{r.GetServer(), r.GetZone(), r.GetName(), r.GetAddress(), r.GetClient(), r.GetReverse()}
}

// Owner is the name in DNS that a record belongs to.
type Owner struct{ Server, Name string }

// OwnerOf is where a record is.
func OwnerOf(r *kilnv1.DNSRecord) Owner {
	if !r.GetReverse() {
		return Owner{r.GetServer(), r.GetName()}
	}
	address, err := netip.ParseAddr(r.GetAddress())
	if err != nil {
		return Owner{r.GetServer(), ""}
	}
	return Owner{r.GetServer(), dnsname.Reverse(address)}
}

// As is a record with another answer to whether it is there for sure.
func As(r *kilnv1.DNSRecord, sure bool) *kilnv1.DNSRecord {
	next := proto.CloneOf(r)
	next.Sure = sure
	return next
}
