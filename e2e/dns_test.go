package e2e

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"connectrpc.com/connect"

	"github.com/kiln-farm/kiln/internal/lab"
	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
)

const (
	dnsClients = 48
	dnsWorkers = 4
	dnsRounds  = 6
)

// zones is a farm of three coordinator processes beside a real DNS server, and clients that come and go.
type zones struct {
	t     *testing.T
	farm  *lab.Farm
	named *lab.Named

	mu    sync.Mutex // guards there
	there map[int]bool
	acked int
}

// do has a command committed, at whichever coordinator leads, however often it takes.
func (z *zones) do(ctx context.Context, c *kilnv1.BindCommand) error {
	var last error
	for ctx.Err() == nil {
		for _, n := range z.farm.Coordinators() {
			if !n.Running() {
				continue
			}
			room, err := z.farm.Room(n)
			if err != nil {
				return err
			}
			try, cancel := context.WithTimeout(ctx, 2*time.Second)
			answer, err := room.Bind(try, connect.NewRequest(&kilnv1.BindRequest{Commands: []*kilnv1.BindCommand{c}}))
			cancel()
			if err == nil && answer.Msg.GetResults()[0].GetVerdict() == kilnv1.BindVerdict_BIND_VERDICT_DONE {
				return nil
			}
			if last = err; err == nil {
				last = fmt.Errorf("%s: %v", c.GetAddress(), answer.Msg)
			}
		}
		time.Sleep(50 * time.Millisecond)
	}
	return fmt.Errorf("%w: %w", ctx.Err(), last)
}

// live has clients come and go until stop is closed.
func (z *zones) live(ctx context.Context, stop <-chan struct{}) error {
	var all sync.WaitGroup
	errs := make([]error, dnsWorkers)
	for worker := range dnsWorkers {
		r := rand.New(rand.NewPCG(uint64(worker), 5))
		all.Go(func() {
			for {
				select {
				case <-stop:
					return
				case <-time.After(time.Duration(r.IntN(20)) * time.Millisecond):
				}
				client := worker + dnsWorkers*r.IntN(dnsClients/dnsWorkers)
				c := clientOfDNS(client)
				bind := r.IntN(5) > 1
				if !bind {
					c.Operation = kilnv1.BindCommand_OPERATION_RELEASE
				}
				if err := z.do(ctx, c); err != nil {
					errs[worker] = err
					return
				}
				z.mu.Lock()
				z.there[client] = bind
				z.acked++
				z.mu.Unlock()
			}
		})
	}
	all.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

func clientOfDNS(n int) *kilnv1.BindCommand {
	mac := fmt.Sprintf("52:54:00:00:01:%02x", n)
	return &kilnv1.BindCommand{Operation: kilnv1.BindCommand_OPERATION_BIND, Subnet: "rack", Address: fmt.Sprintf("10.0.0.%d", 100+n), Client: "mac " + mac, Mac: mac,
		Edge: "e", ForMs: time.Hour.Milliseconds(), Name: fmt.Sprintf("host-%d", n)}
}

// want is what the zones should hold.
func (z *zones) want() (out []string) {
	z.mu.Lock()
	defer z.mu.Unlock()
	for n, there := range z.there {
		if there {
			out = append(out, fmt.Sprintf("host-%d.lab.example A 10.0.0.%d", n, 100+n), fmt.Sprintf("host-%d.lab.example DHCID", n),
				fmt.Sprintf("%d.0.0.10.in-addr.arpa PTR host-%d.lab.example", 100+n, n), fmt.Sprintf("%d.0.0.10.in-addr.arpa DHCID", 100+n))
		}
	}
	slices.Sort(out)
	return out
}

func (z *zones) got() []string {
	z.t.Helper()
	var out []string
	for _, zone := range []string{"lab.example", "0.0.10.in-addr.arpa"} {
		lines, err := z.named.Zone(zone)
		if err != nil {
			z.t.Fatal(err)
		}
		out = append(out, lines...)
	}
	slices.Sort(out)
	return out
}

// Leaders are killed and stand still while names come and go: nothing is left over in DNS, and nothing is lost.
func TestNoLeaderThatDiesLeavesANameBehind(t *testing.T) {
	full(t)
	if err := lab.NamedAble(); err != nil {
		t.Skip("SKIPPED: ", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	dir := t.TempDir()
	kiln, err := lab.Build(ctx, dir)
	must(err)
	z := &zones{t: t, there: map[int]bool{}}
	z.named, err = lab.StartNamed(ctx, t.TempDir(), "lab.example", "0.0.10.in-addr.arpa")
	must(err)
	t.Cleanup(func() { gone(t, z.named.Close()) })
	z.farm, err = lab.New(ctx, lab.Options{Kiln: kiln, Dir: dir, Name: "names", Coordinators: 3})
	must(err)
	t.Cleanup(func() {
		if t.Failed() {
			for _, n := range z.farm.Nodes() {
				t.Logf("the log of %s ends:\n%s", n.Name, n.Said())
			}
		}
		gone(t, z.farm.Close())
	})
	for _, c := range z.farm.Coordinators() {
		c.Args = append(c.Args, "--dns-keys", z.named.Keys)
	}
	must(z.farm.Start(ctx))
	leader, err := z.farm.Leader(ctx)
	must(err)
	room, err := z.farm.Room(leader)
	must(err)
	change := &kilnv1.RoomCommand{Subnets: []*kilnv1.Subnet{{Name: "rack", Prefix: "10.0.0.0/24", Pools: []*kilnv1.AddressRange{{From: "10.0.0.100", To: "10.0.0.199"}},
		DnsUpdate: &kilnv1.DNSUpdate{Server: z.named.Address, Zone: "lab.example", Clients: true, Key: lab.NamedKey}}}}
	for { // the level rises a moment after the last one has joined
		if _, err = room.Change(ctx, connect.NewRequest(&kilnv1.ChangeRequest{Change: change})); err == nil {
			break
		}
		if ctx.Err() != nil {
			must(err)
		}
		time.Sleep(100 * time.Millisecond)
	}

	stop, ended := make(chan struct{}), make(chan error, 1)
	go func() { ended <- z.live(ctx, stop) }()
	for round := range dnsRounds {
		time.Sleep(1500 * time.Millisecond)
		leader, err := z.farm.Leader(ctx)
		must(err)
		if round%3 == 2 {
			must(leader.Pause())
			time.Sleep(4 * time.Second) // another one leads, and this one does not know yet
			must(leader.Resume())
		} else {
			must(leader.Kill())
			time.Sleep(2 * time.Second)
			must(leader.Start())
		}
		must(z.farm.AwaitLeader(ctx))
	}
	close(stop)
	must(<-ended)
	if z.acked < 100 {
		t.Errorf("only %d changes of bindings were committed", z.acked)
	}
	same := func() bool { return slices.Equal(z.got(), z.want()) }
	for begun := time.Now(); !same(); time.Sleep(100 * time.Millisecond) {
		if time.Since(begun) > time.Minute {
			t.Fatalf("the zones hold\n%s\nwant\n%s", strings.Join(z.got(), "\n"), strings.Join(z.want(), "\n"))
		}
	}
	time.Sleep(35 * time.Second) // what an older leader sent has arrived by now, and what the last one looked at again is settled
	if !same() {
		t.Fatalf("later the zones hold\n%s\nwant\n%s", strings.Join(z.got(), "\n"), strings.Join(z.want(), "\n"))
	}
	t.Logf("%d changes, %d leaders killed or paused, %d lines in the zones", z.acked, dnsRounds, len(z.got()))
}
