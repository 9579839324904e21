package coordinator

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"slices"
	"time"

	"connectrpc.com/connect"
	"github.com/hashicorp/raft"
	"github.com/kiln-farm/kiln/coordinator/replica"
	"github.com/kiln-farm/kiln/coordinator/state"
	"github.com/kiln-farm/kiln/internal/pki"
	"github.com/kiln-farm/kiln/internal/retry"
	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
	"github.com/kiln-farm/kiln/proto/kiln/v1/kilnv1connect"
)

// Cluster says how a coordinator meets the others of its farm. They reach each other at one address each, which
// serves raft and the API over mTLS, told apart by ALPN (RFC 7301).
type Cluster struct {
	Credentials *pki.Credentials
	Authority   *pki.Authority // signs the certificates of those who join
	Advertise   string         // host:port under which others reach the API of this coordinator
	Bus         string         // host:port of its bus for clients; empty with an external bus
	BusPeers    string         // host:port of its bus for the other coordinators; empty with an external bus
	// Join lists addresses of coordinators that are there. Empty: this is the first one of a new farm, or the data
	// directory knows the others.
	Join []string
	// Routes is told where the buses of the other coordinators are, whenever that changes. Nil with an external bus.
	Routes func(peers []string) error
	Buses  []string // URLs of an external bus, as builders are told them: without passwords
	Store  string   // URL of the shared cache, as builders are told it: without credentials
	// ElectionTimeout is how long a follower waits for the leader before it stands for election; 400 ms when 0.
	ElectionTimeout time.Duration
	// RemoveDead is how long a coordinator may be silent before it is removed although nobody replaced it; 72 h when 0.
	RemoveDead time.Duration
}

// replica says what raft needs.
func (c *Config) replica() replica.Options {
	o := replica.Options{NodeID: c.NodeID, DataDir: c.DataDir, Log: c.Log}
	if c.Cluster != nil {
		o.Peers = &replica.Peers{Advertise: c.Cluster.Advertise, Credentials: c.Cluster.Credentials, ElectionTimeout: c.Cluster.ElectionTimeout, Joins: len(c.Cluster.Join) > 0}
	}
	return o
}

func (c *Cluster) check() error {
	switch {
	case c.Credentials == nil || c.Authority == nil:
		return errors.New("a coordinator of a cluster needs credentials and the farm's authority")
	case c.Credentials.Identity().Role != pki.RoleCoordinator:
		return fmt.Errorf("the certificate is for the role %s: a coordinator needs one of its own", c.Credentials.Identity().Role)
	}
	if _, _, err := net.SplitHostPort(c.Advertise); err != nil {
		return fmt.Errorf("address %q that others are told is not host:port: %w", c.Advertise, err)
	}
	return nil
}

// client calls another coordinator.
func (c *Cluster) client() *http.Client {
	transport := &http.Transport{
		TLSClientConfig: c.Credentials.ClientTLS(), ForceAttemptHTTP2: true, DisableCompression: true,
		TLSHandshakeTimeout: replica.PeerTimeout, MaxIdleConnsPerHost: 64, IdleConnTimeout: time.Minute,
		DialContext: (&net.Dialer{Timeout: replica.PeerTimeout}).DialContext,
	}
	// A peer that was cut off takes its connection with it: notice within seconds, not when TCP gives up.
	transport.HTTP2 = &http.HTTP2Config{SendPingTimeout: peerPing, PingTimeout: replica.PeerTimeout}
	return &http.Client{Transport: transport}
}

// self is what a coordinator tells of itself.
func (c *Config) self() *kilnv1.Member {
	m := &kilnv1.Member{Id: c.NodeID, Level: state.Level(), Version: c.Version}
	if c.Cluster != nil {
		m.Address, m.Bus, m.BusPeers = c.Cluster.Advertise, c.Cluster.Bus, c.Cluster.BusPeers
	}
	return m
}

// announce makes this coordinator a member that votes, and keeps it one, until it is closed or sent away.
func (c *Coordinator) announce(ctx context.Context) {
	known := false // the others know what this one is now
	told := time.Now()
	for ctx.Err() == nil {
		wait := announceLook
		if !known || !c.votes() || !c.led() {
			wait = announceRetry
			voter, err := c.announceOnce(ctx)
			switch {
			case connect.CodeOf(err) == connect.CodeFailedPrecondition || connect.CodeOf(err) == connect.CodePermissionDenied:
				c.fail(fmt.Errorf("the farm does not take this coordinator: %s", messageOf(err)))
				return
			case err != nil && time.Since(told) > announceTold:
				told = time.Now()
				c.cfg.Log.Info("this coordinator could not announce itself yet; trying again", "node", c.cfg.NodeID, "error", err)
			}
			known = err == nil && voter
		}
		retry.Sleep(ctx, wait*4/5+rand.N(wait*2/5))
	}
}

// led says that this coordinator leads or knows who does. One that was removed while raft was busy is not told so by raft, and
// would stand for election for ever; the others tell it when it announces itself.
func (c *Coordinator) led() bool {
	leader, _ := c.node.LeaderWithID()
	return leader != "" || c.node.State() == raft.Leader
}

// votes says that this coordinator has a vote, as far as it knows.
func (c *Coordinator) votes() bool {
	for _, s := range c.node.Servers() {
		if s.ID == raft.ServerID(c.cfg.NodeID) {
			return s.Suffrage == raft.Voter
		}
	}
	return false
}

// announceOnce tells whoever answers; followers pass it on to the leader.
func (c *Coordinator) announceOnce(ctx context.Context) (voter bool, err error) {
	req := &kilnv1.AnnounceRequest{Member: c.cfg.self(), Applied: c.node.AppliedIndex()}
	if l, _ := c.current(); l != nil {
		res, err := l.members.Announce(ctx, req)
		return res.GetVoter(), announceError(err)
	}
	err = errors.New("no other coordinator is known")
	for _, address := range c.others() {
		ctx, cancel := context.WithTimeout(ctx, announceTimeout)
		var res *connect.Response[kilnv1.AnnounceResponse]
		res, err = kilnv1connect.NewAdminServiceClient(c.peers, "https://"+address).Announce(ctx, connect.NewRequest(req))
		cancel()
		if err == nil {
			return res.Msg.GetVoter(), nil
		}
		err = fmt.Errorf("ask %s: %w", address, err)
		if code := connect.CodeOf(err); code == connect.CodeFailedPrecondition || code == connect.CodePermissionDenied {
			return false, err
		}
	}
	return false, err
}

// others are the addresses of the other coordinators, as far as this one knows them.
func (c *Coordinator) others() []string {
	var all []string
	add := func(address string) {
		if address != "" && address != c.cfg.Cluster.Advertise && !slices.Contains(all, address) {
			all = append(all, address)
		}
	}
	if address, _ := c.node.LeaderWithID(); address != "" {
		add(string(address))
	}
	c.fsm.View(func(m *state.Machine) {
		for _, member := range m.Members() {
			add(member.GetAddress())
		}
	})
	for _, address := range c.cfg.Cluster.Join {
		add(address)
	}
	return all
}

// followMembers tells the bus where the others are, whenever that changes.
func (c *Coordinator) followMembers() {
	var last []string
	for {
		if c.cfg.Cluster.Routes != nil {
			var routes []string
			c.fsm.View(func(m *state.Machine) {
				for _, member := range m.Members() {
					if member.GetId() != c.cfg.NodeID && member.GetBusPeers() != "" {
						routes = append(routes, member.GetBusPeers())
					}
				}
			})
			if !slices.Equal(routes, last) {
				if err := c.cfg.Cluster.Routes(routes); err != nil {
					c.cfg.Log.Error("the bus could not be told where the other coordinators are", "routes", routes, "error", err)
				} else {
					last = routes
				}
			}
		}
		select {
		case <-c.fsm.MembersChanged:
		case <-c.stopped:
			return
		}
	}
}

// messageOf is what a call's error says, without its code.
func messageOf(err error) string {
	var ce *connect.Error
	if errors.As(err, &ce) {
		return ce.Message()
	}
	return err.Error()
}
