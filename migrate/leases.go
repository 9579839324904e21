package migrate

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/kiln-farm/kiln/fleet"
	"github.com/kiln-farm/kiln/migrate/leasefile"
	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
)

const (
	importBatch = 500 // bindings in one call
	// importSlack is what a binding is longer than the lease in the file: the client counts from when it was told.
	importSlack = time.Minute
	// endless is how long a lease without end is bound.
	endless   = 365 * 24 * time.Hour
	importer  = "import" // as the edge that bound it
	maxClient = 255      // bytes of a host's name
)

// Lease is a lease and the file that has it.
type Lease struct {
	leasefile.Lease
	File string
}

// early is larger for what runs earlier in a boot: firmware calls itself by the UUID of its machine (RFC 4578 §2.3), and systems say
// their names, or have an IAID and a DUID (RFC 4361 §6.1).
func (l Lease) early() int {
	switch {
	case len(l.ClientID) == 17 && l.ClientID[0] == 0:
		return 2
	case l.Name != "" || len(l.ClientID) > 0 && l.ClientID[0] == 255:
		return 0
	}
	return 1
}

// Import is one run.
type Import struct {
	In       *kilnv1.Intent
	Bindings []*kilnv1.BindingNow
	Only     string
	Now      time.Time
	Bind     func([]*kilnv1.BindCommand) ([]*kilnv1.BindResult, error)
	reserved map[string]*kilnv1.Machine // by address

	held                                         map[[2]string]string // address in the files that a client was bound, by subnet and client
	remarks                                      []Remark
	bound, fixed, older, refused, leftOut, ended int
}

// Run binds what can be bound. An error ends it; what was done is counted.
func (i *Import) Run(read *Leases) error {
	i.remarks, i.reserved, i.held = read.Remarks, map[string]*kilnv1.Machine{}, map[[2]string]string{}
	for _, m := range i.In.GetMachines() {
		if a := fixedAddress(m); a != "" {
			i.reserved[a] = m
		}
	}
	networks := fleet.NetworksOf(i.In.GetSubnets())
	var leases []Lease
	var commands []*kilnv1.BindCommand
	for _, l := range read.Leases {
		c, why := i.command(l, networks.Of(l.Address))
		switch {
		case why != "":
			i.say(l, why)
			i.leftOut++
		case c != nil:
			leases, commands = append(leases, l), append(commands, c)
		}
	}
	// Of two leases of one machine the one that holds longer is what it uses: servers that go by client ids give its firmware, its
	// boot program and its system each one of their own.
	order := make([]int, len(commands))
	for n := range order {
		order[n] = n
	}
	slices.SortStableFunc(order, func(a, b int) int {
		return cmp.Or(cmp.Compare(commands[b].GetForMs(), commands[a].GetForMs()), cmp.Compare(leases[a].early(), leases[b].early()))
	})
	for batch := range slices.Chunk(order, importBatch) {
		var send []*kilnv1.BindCommand
		for _, n := range batch {
			send = append(send, commands[n])
		}
		results, err := i.Bind(send)
		if err == nil && len(results) != len(send) {
			err = errors.New("the farm answered something else than it was asked")
		}
		if err != nil {
			return fmt.Errorf("after %d leases: %w; run it again", i.bound, err)
		}
		for k, n := range batch {
			i.result(leases[n], commands[n], results[k])
		}
	}
	if n := i.refused + i.leftOut; n > 0 {
		return fmt.Errorf("%d leases were not taken over, for the reasons above", n)
	}
	return nil
}

// command binds a lease, or says why not; neither when there is nothing to do.
func (i *Import) command(l Lease, s *kilnv1.Subnet) (*kilnv1.BindCommand, string) {
	left := endless
	if !l.Ends.IsZero() {
		left = min(l.Ends.Sub(i.Now)+importSlack, endless)
	}
	if left <= importSlack {
		i.ended++
		return nil, ""
	}
	c := &kilnv1.BindCommand{Operation: kilnv1.BindCommand_OPERATION_BIND, Subnet: s.GetName(), Address: l.Address.String(), Edge: importer, ForMs: left.Milliseconds()}
	if len(l.Name) <= maxClient {
		c.Hostname = l.Name
	}
	if l.MAC != "" {
		mac, err := fleet.MAC(l.MAC)
		if err != nil {
			return nil, err.Error()
		}
		c.Mac = mac
	}
	switch {
	case l.Address.Is6():
		return nil, "leases of IPv6 name no MAC and are not taken over; its machine asks for the address again, and gets it when it is in a pool and free"
	case s == nil:
		return nil, "it is in no subnet of the farm; describe one, as kiln subnet import does"
	case i.Only != "" && s.GetName() != i.Only:
		return nil, "it is in subnet " + s.GetName()
	case i.fixedFor(c):
		i.fixed++
		return nil, ""
	case c.Mac == "":
		return nil, "it has no MAC, so that no machine would be known by it; when its machine asks again, it is given another address"
	default:
		c.Client = "mac " + c.Mac
	}
	if l.Ends.IsZero() {
		i.say(l, "it has no end, and is bound for a year; a machine that never asks again needs a fixed address")
	}
	return c, ""
}

// fixedFor says whether an address is the fixed one of the machine that has it: nobody else gets it.
func (i *Import) fixedFor(c *kilnv1.BindCommand) bool {
	return i.reserved[c.GetAddress()] != nil && slices.Contains(i.reserved[c.GetAddress()].GetMacs(), c.GetMac())
}

func (i *Import) result(l Lease, c *kilnv1.BindCommand, r *kilnv1.BindResult) {
	switch r.GetVerdict() {
	case kilnv1.BindVerdict_BIND_VERDICT_DONE:
		i.bound++
		i.held[[2]string{c.GetSubnet(), c.GetClient()}] = c.GetAddress()
		return
	case kilnv1.BindVerdict_BIND_VERDICT_TAKEN:
		i.say(l, i.taken(c))
	case kilnv1.BindVerdict_BIND_VERDICT_ELSEWHERE:
		if r.GetAddress() == i.held[[2]string{c.GetSubnet(), c.GetClient()}] {
			i.say(l, fmt.Sprintf("it is not needed, since its machine has %s for longer", r.GetAddress()))
			i.older++
			return
		}
		i.say(l, fmt.Sprintf("its machine has %s in subnet %s", r.GetAddress(), c.GetSubnet()))
	case kilnv1.BindVerdict_BIND_VERDICT_OUTSIDE:
		i.say(l, fmt.Sprintf("no pool of subnet %s gives it; widen a pool, or give the machine a fixed address", c.GetSubnet()))
	default:
		i.say(l, "the farm refused it")
	}
	i.refused++
}

// taken says who has an address instead.
func (i *Import) taken(c *kilnv1.BindCommand) string {
	for _, b := range i.Bindings {
		if v := b.GetBinding(); v.GetSubnet() == c.GetSubnet() && v.GetAddress() == c.GetAddress() {
			switch fleet.LeaseState(b) {
			case fleet.LeaseDeclined:
				return "somebody else was found to use it, so that nobody gets it for a while"
			case fleet.LeaseBound, fleet.LeaseKept:
				return fmt.Sprintf("it is bound to %s", fleet.HolderOf(v))
			}
		}
	}
	if m := i.reserved[c.GetAddress()]; m != nil {
		return fmt.Sprintf("it is the fixed address of machine %s, which has not the MAC %s", m.GetName(), c.GetMac())
	}
	return "another lease in the files has it for longer"
}

func (i *Import) say(l Lease, text string) {
	who := l.MAC
	if who == "" {
		who = fmt.Sprintf("client %x", l.ClientID)
	}
	i.remarks = append(i.remarks, Remark{l.File, l.Line, fmt.Sprintf("%s of %s: %s", l.Address, who, text)})
}

// Tell writes what is told of lines, in their order, and the count.
func (i *Import) Tell(w io.Writer, dryRun bool) error {
	writeRemarks(w, "", i.remarks)
	done := "bound"
	if dryRun {
		done = "would be bound"
	}
	_, err := fmt.Fprintf(w, "%d leases %s, %d fixed for their machines, %d not needed, %d refused, %d left out, %d had ended\n", i.bound, done, i.fixed, i.older, i.refused, i.leftOut, i.ended)
	return err
}

// Leases is what lease files say.
type Leases struct {
	Leases  []Lease
	Remarks []Remark
}
