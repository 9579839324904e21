package machines

import (
	"time"

	"github.com/kiln-farm/kiln/edge/intent"
	"github.com/kiln-farm/kiln/edge/peers"
	"github.com/kiln-farm/kiln/edge/seen"
	"github.com/kiln-farm/kiln/edge/timeline"
	"github.com/kiln-farm/kiln/fleet"
	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
)

// Config of Machines.
type Config struct {
	Intents *intent.Store
	Seen    *seen.Machines
	Peers   *peers.Peers
	Events  *timeline.Reporter // what machines do; nil: nobody is told
	URL     string             // of this edge, as machines reach it: "http://10.0.0.2:7380"
}

// Machines is what an edge knows and says of the machines that boot at it, whatever they ask by.
type Machines struct{ Config }

// New makes one.
func New(cfg Config) *Machines { return &Machines{cfg} }

// Edges are the URLs of this edge and of the others that a boot may go on at, this one first.
func (m *Machines) Edges() []string {
	family := 4
	if peers.Family(m.URL) == 6 {
		family = 6
	}
	return m.Peers.URLs(m.URL, family, time.Now())
}

// Resolve is who somebody is, and what that boots.
func (m *Machines) Resolve(id fleet.Identity) (*fleet.Boot, error) {
	return m.Intents.Index().Resolve(id)
}

// Answering is how many edges answer machines over IPv4, this one among them.
func (m *Machines) Answering() int {
	n := 1
	for _, u := range m.Peers.Order(time.Now(), 4) {
		if u != m.URL {
			n++
		}
	}
	return n
}

// TellOf reports what people should know of a client of a pool.
func (m *Machines) TellOf(mac, what string) {
	event := &kilnv1.BootEvent{Mac: mac, Stage: kilnv1.BootStage_BOOT_STAGE_FAILED, Detail: what}
	if boot, _ := m.Resolve(fleet.Identity{MAC: mac}); boot != nil {
		event.Machine = boot.Machine.GetName()
	}
	m.Events.Add(event)
}
