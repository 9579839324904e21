package coordinator

import (
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"connectrpc.com/connect"
	"github.com/hashicorp/raft"
	"github.com/kiln-farm/kiln/cache/disk"
	"github.com/kiln-farm/kiln/coordinator/members"
	"github.com/kiln-farm/kiln/coordinator/state"
	"github.com/kiln-farm/kiln/internal/bus"
	"github.com/kiln-farm/kiln/internal/pki"
	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
	"github.com/kiln-farm/kiln/proto/kiln/v1/kilnv1connect"
)

// cluster is a farm of several coordinators in this process, which meet over TLS on loopback.
type cluster struct {
	*farm
	authority *pki.Authority
	bus       *bus.Server
	members   map[string]*member
}

// member is one of the coordinators.
type member struct {
	id      string
	address string
	data    string
	coord   *Coordinator
	close   func() // as a process that is killed: nobody is told
}

func newCluster(t *testing.T, ids ...string) *cluster {
	t.Helper()
	authority, err := pki.NewAuthority("kiln", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	dir, err := disk.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	server, err := bus.Start(bus.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Close)
	nc, err := server.Connect("test")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	c := &cluster{farm: &farm{t: t, dir: dir, nc: nc}, authority: authority, bus: server, members: map[string]*member{}}
	c.config = c.blob([]byte("config"))
	for _, id := range ids {
		c.start(id, t.TempDir(), "127.0.0.1:0")
	}
	for _, id := range ids {
		c.wait(id+" votes", func() bool { return c.members[id].coord.votes() })
	}
	c.wait("all are members, and the level is raised", func() (ok bool) {
		c.leading().coord.fsm.View(func(m *state.Machine) { ok = len(m.Members()) == len(ids) && m.FeatureLevel() == state.Level() })
		return ok
	})
	c.client = kilnv1connect.NewFarmServiceClient(c.web(pki.RoleAdmin, "ann", ""), "https://"+c.follower().address)
	return c
}

// start starts a coordinator, the first one as the first of the farm.
func (c *cluster) start(id, data, address string) *member {
	c.t.Helper()
	listener, err := net.Listen("tcp", address)
	if err != nil {
		c.t.Fatal(err)
	}
	m := &member{id: id, data: data, address: listener.Addr().String()}
	nc, err := c.bus.Connect(id)
	if err != nil {
		c.t.Fatal(err)
	}
	creds := c.credentials(pki.RoleCoordinator, id, "")
	conf := &Cluster{Credentials: creds, Authority: c.authority, Advertise: m.address}
	for _, other := range c.members {
		conf.Join = append(conf.Join, other.address)
	}
	m.coord, err = New(Config{
		NodeID: id, Store: c.dir, Blobs: c.dir, Bus: nc, DataDir: data, Cluster: conf, Version: "test", Log: slog.New(slog.NewTextHandler(io.Discard, nil)),
	})
	if err != nil {
		c.t.Fatal(err)
	}
	protocols := &http.Protocols{}
	protocols.SetHTTP1(true)
	protocols.SetHTTP2(true)
	web := &http.Server{
		Handler: m.coord.Handler(), TLSConfig: creds.ServerTLS("h2", "http/1.1", "kiln-raft"), TLSNextProto: m.coord.Streams(),
		Protocols: protocols, ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelError),
	}
	go func() { _ = web.ServeTLS(listener, "", "") }()
	m.close = sync.OnceFunc(func() {
		_ = web.Close()
		nc.Close()
		if err := m.coord.Close(); err != nil {
			c.t.Error(err)
		}
	})
	c.t.Cleanup(m.close)
	c.members[id] = m
	return m
}

func (c *cluster) credentials(role pki.Role, name, team string) *pki.Credentials {
	c.t.Helper()
	key, csr, err := pki.NewRequest(name)
	if err != nil {
		c.t.Fatal(err)
	}
	der, err := c.authority.Sign(csr, pki.Identity{Farm: "kiln", Role: role, Name: name, Team: team}, nil, time.Now())
	if err != nil {
		c.t.Fatal(err)
	}
	creds, err := pki.NewCredentials(c.authority.Certificate(), der, key)
	if err != nil {
		c.t.Fatal(err)
	}
	return creds
}

// web is a client with a certificate.
func (c *cluster) web(role pki.Role, name, team string) *http.Client {
	return &http.Client{Transport: &http.Transport{TLSClientConfig: c.credentials(role, name, team).ClientTLS(), ForceAttemptHTTP2: true}}
}

func (c *cluster) wait(what string, ok func() bool) {
	c.t.Helper()
	for end := time.Now().Add(30 * time.Second); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			c.t.Fatalf("waited too long until %s", what)
		}
	}
}

func (c *cluster) leading() (lead *member) {
	c.t.Helper()
	c.wait("one of them leads", func() bool {
		for _, m := range c.members {
			if l, _ := m.coord.current(); l != nil {
				lead = m
			}
		}
		return lead != nil
	})
	return lead
}

func (c *cluster) follower() *member {
	lead := c.leading()
	for _, m := range c.members {
		if m != lead {
			return m
		}
	}
	return lead
}

// admin is an administrator's client of one of the coordinators.
func (c *cluster) admin(m *member) kilnv1connect.AdminServiceClient {
	return kilnv1connect.NewAdminServiceClient(c.web(pki.RoleAdmin, "ann", ""), "https://"+m.address)
}

func (c *cluster) kill(m *member) {
	m.close()
	delete(c.members, m.id)
}

// done watches a build over changes of leaders until its end.
func (c *cluster) done(id string) *kilnv1.BuildRecord {
	c.t.Helper()
	var r *kilnv1.BuildRecord
	c.wait("build "+id+" is done", func() bool {
		for _, m := range c.members {
			client := kilnv1connect.NewFarmServiceClient(c.web(pki.RoleAdmin, "ann", ""), "https://"+m.address)
			if res, err := client.GetBuild(c.ctx(), connect.NewRequest(&kilnv1.GetBuildRequest{Id: id})); err == nil {
				r = res.Msg.GetBuild()
				return r.GetState() >= kilnv1.BuildState_BUILD_STATE_DONE
			}
		}
		return false
	})
	return r
}

func TestAFollowerTakesABuildAndShowsIt(t *testing.T) {
	c := newCluster(t, "a", "b", "c")
	c.builder("builder", chain(5, ""), nil)
	id := c.submit(c.spec())
	s := c.watch(id, 0)
	wantState(t, s, kilnv1.BuildState_BUILD_STATE_DONE)
	status, err := c.client.Status(c.ctx(), connect.NewRequest(&kilnv1.StatusRequest{}))
	if err != nil {
		t.Fatal(err)
	}
	if n := len(status.Msg.GetMembers()); n != 3 || status.Msg.GetLevel() != state.Level() {
		t.Errorf("%d members at level %d, want 3 at %d", n, status.Msg.GetLevel(), state.Level())
	}
	for _, m := range status.Msg.GetMembers() {
		if !m.GetAlive() || !m.GetVoter() {
			t.Errorf("member %v does not vote", m)
		}
	}
}

// Who asks a follower often is told whom to ask.
func TestAFollowerNamesTheLeader(t *testing.T) {
	c := newCluster(t, "a", "b", "c")
	lead := c.leading()
	for _, m := range c.members {
		room := kilnv1connect.NewRoomServiceClient(c.web(pki.RoleEdge, "edge", ""), "https://"+m.address)
		answer, err := room.Bind(c.ctx(), connect.NewRequest(&kilnv1.BindRequest{}))
		if err != nil {
			t.Fatal(err)
		}
		want := lead.address
		if m == lead {
			want = ""
		}
		if got := answer.Header().Get(kilnv1.HeaderLeader); got != want {
			t.Errorf("%s, of which %s leads, names %q; want %q", m.id, lead.id, got, want)
		}
	}
}

func TestTheNextLeaderGoesOnWhereTheLastOneDied(t *testing.T) {
	c := newCluster(t, "a", "b", "c")
	started, free := make(chan struct{}, 10), make(chan struct{})
	c.builder("builder", chain(5, "x"), func(l *kilnv1.Lease) *kilnv1.CompleteRequest {
		if l.Node.Label == "step 2" {
			started <- struct{}{}
			<-free
		}
		return nil
	})
	id := c.submit(c.spec())
	<-started
	last := c.leading()
	c.kill(last)
	c.leading()
	close(free)
	if r := c.done(id); r.GetState() != kilnv1.BuildState_BUILD_STATE_DONE {
		t.Fatalf("the build ended as %v: %s", r.GetState(), r.GetError())
	}
	// The one that died comes back with what it has on disk.
	c.start(last.id, last.data, last.address)
	c.wait("it follows again", func() bool {
		_, leader := c.members[last.id].coord.node.LeaderWithID()
		return leader != "" && c.members[last.id].coord.votes()
	})
}

func TestACoordinatorThatLostItsDiskComesBackAsANewMember(t *testing.T) {
	c := newCluster(t, "a", "b", "c")
	lost := c.follower()
	c.kill(lost)
	c.start("new", t.TempDir(), lost.address)
	c.wait("the new one votes", func() bool { return c.members["new"].coord.votes() })
	var ids []raft.ServerID
	for _, s := range c.leading().coord.node.Servers() {
		ids = append(ids, s.ID)
	}
	if len(ids) != 3 || strings.Contains(fmt.Sprint(ids), lost.id) {
		t.Errorf("raft has %v, want three without %s", ids, lost.id)
	}
}

func TestAMemberThatWasRemovedStaysAway(t *testing.T) {
	c := newCluster(t, "a", "b", "c")
	gone := c.follower()
	if _, err := c.admin(c.leading()).RemoveMember(c.ctx(), connect.NewRequest(&kilnv1.RemoveMemberRequest{Id: gone.id})); err != nil {
		t.Fatal(err)
	}
	select {
	case <-gone.coord.Failed():
	case <-c.ctx().Done():
		t.Fatal("the coordinator that was removed goes on")
	}
	if err := gone.coord.Fault(); !strings.Contains(err.Error(), "was removed from the farm") {
		t.Errorf("fault: %v", err)
	}
	c.kill(gone)
	// Of the two that are left none can go: one alone is no majority of what the farm was told to be.
	left := c.follower()
	c.kill(left)
	_, err := c.admin(c.any()).RemoveMember(c.ctx(), connect.NewRequest(&kilnv1.RemoveMemberRequest{Id: "nobody"}))
	if code := connect.CodeOf(err); code != connect.CodeUnavailable && code != connect.CodeNotFound {
		t.Errorf("error %v, want unavailable or not found", err)
	}
}

// any is one of the members.
func (c *cluster) any() *member {
	for _, m := range c.members {
		return m
	}
	return nil
}

func TestALostQuorumIsTold(t *testing.T) {
	c := newCluster(t, "a", "b", "c")
	last := c.follower()
	for _, m := range []string{"a", "b", "c"} {
		if m != last.id {
			c.kill(c.members[m])
		}
	}
	client := kilnv1connect.NewFarmServiceClient(c.web(pki.RoleAdmin, "ann", ""), "https://"+last.address)
	c.wait("the follower notices", func() bool { at, _ := last.coord.node.LeaderWithID(); return at == "" })
	_, err := client.Status(c.ctx(), connect.NewRequest(&kilnv1.StatusRequest{}))
	if connect.CodeOf(err) != connect.CodeUnavailable || !strings.Contains(err.Error(), "2 of its 3 coordinators (a, b, c) must run") {
		t.Errorf("error %v", err)
	}
}

func TestABackupBringsBackWhatItHeldAndFencesOldLeases(t *testing.T) {
	c := newCluster(t, "a", "b", "c")
	grants := make(chan *kilnv1.Lease, 100)
	free := make(chan struct{})
	c.builder("builder", chain(3, "y"), func(l *kilnv1.Lease) *kilnv1.CompleteRequest {
		grants <- l
		if l.Node.Label == "step 1" {
			<-free
		}
		return nil
	})
	id := c.submit(c.spec())
	var old *kilnv1.Lease
	for old == nil {
		if l := <-grants; l.Node.Label == "step 1" {
			old = l
		}
	}
	admin := c.admin(c.follower())
	stream, err := admin.Backup(c.ctx(), connect.NewRequest(&kilnv1.BackupRequest{}))
	if err != nil {
		t.Fatal(err)
	}
	var backup bytes.Buffer
	for stream.Receive() {
		backup.Write(stream.Msg().GetData())
	}
	if err := stream.Err(); err != nil {
		t.Fatal(err)
	}
	if _, err := c.client.Cancel(c.ctx(), connect.NewRequest(&kilnv1.CancelRequest{Id: id})); err != nil {
		t.Fatal(err)
	}
	restore := admin.Restore(c.ctx())
	if err := restore.Send(&kilnv1.RestoreRequest{Data: backup.Bytes()}); err != nil {
		t.Fatal(err)
	}
	res, err := restore.CloseAndReceive()
	if err != nil {
		t.Fatal(err)
	}
	if res.Msg.GetBuilds() != 1 || res.Msg.GetEpoch() <= old.GetEpoch() {
		t.Errorf("%d builds and epoch %d, want 1 and more than %d", res.Msg.GetBuilds(), res.Msg.GetEpoch(), old.GetEpoch())
	}
	stale := &kilnv1.CompleteReply{}
	late := &kilnv1.CompleteRequest{Builder: "builder", Session: "1", Epoch: old.GetEpoch(), Number: old.GetNumber(), Task: old.GetTask(), Completion: kilnv1.Completion_COMPLETION_FAILED, Error: "late"}
	c.wait("the leader listens again", func() bool {
		return bus.Request(c.ctx(), c.nc, bus.For("kiln").Complete("builder"), late, stale) == nil
	})
	if stale.GetAccepted() {
		t.Error("a lease from before the restore was completed")
	}
	close(free)
	if n := len(c.leading().coord.node.Servers()); n != 3 {
		t.Errorf("raft has %d members, want 3", n)
	}
}

func TestDeadServersGoOnlyWhileAMajorityIsHeard(t *testing.T) {
	servers := func(ids string) (all []raft.Server) {
		for _, id := range strings.Split(ids, "") {
			all = append(all, raft.Server{ID: raft.ServerID(id), Suffrage: raft.Voter})
		}
		return all
	}
	for _, test := range []struct {
		name    string
		servers string
		silent  map[raft.ServerID]time.Duration
		want    raft.ServerID
	}{
		{"all are heard", "abc", nil, ""},
		{"one of three is silent for a minute", "abc", map[raft.ServerID]time.Duration{"c": time.Minute}, ""},
		{"one of four is silent for a minute: its place was taken", "abcd", map[raft.ServerID]time.Duration{"c": time.Minute}, "c"},
		{"one of four is silent for a second", "abcd", map[raft.ServerID]time.Duration{"c": time.Second}, ""},
		{"one of three is silent for days", "abc", map[raft.ServerID]time.Duration{"c": 100 * time.Hour}, "c"},
		{"one of two is silent for days", "ab", map[raft.ServerID]time.Duration{"b": 100 * time.Hour}, "b"},
	} {
		got := members.DeadServer(servers(test.servers), "a", func(id raft.ServerID) time.Duration { return test.silent[id] }, 72*time.Hour)
		if got != test.want {
			t.Errorf("%s: %q is removed, want %q", test.name, got, test.want)
		}
	}
}
