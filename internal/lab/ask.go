package lab

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"slices"
	"sync"
	"time"

	"connectrpc.com/connect"

	"github.com/kiln-farm/kiln/internal/pki"
	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
	"github.com/kiln-farm/kiln/proto/kiln/v1/kilnv1connect"
)

const (
	askEvery = 50 * time.Millisecond
	askWait  = 5 * time.Second // for one answer

	tokenWait = 30 * time.Second
)

// clients are the connections of the lab's administrator.
type clients struct {
	mu   sync.Mutex
	http *http.Client
}

func (c *clients) get(credentials string) (*http.Client, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.http == nil {
		who, err := pki.LoadCredentials(context.Background(), credentials)
		if err != nil {
			return nil, err
		}
		c.http = &http.Client{Transport: &http.Transport{TLSClientConfig: who.ClientTLS("h2", "http/1.1"), ForceAttemptHTTP2: true,
			HTTP2: &http.HTTP2Config{SendPingTimeout: 2 * time.Second, PingTimeout: 2 * time.Second}}}
	}
	return c.http, nil
}

func (c *clients) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.http != nil {
		c.http.CloseIdleConnections()
	}
}

// HTTP is a client with the administrator's certificate.
func (f *Farm) HTTP() (*http.Client, error) { return f.clients.get(f.Admin) }

// API is a coordinator's API, as its administrator.
func (f *Farm) API(c *Node) (kilnv1connect.FarmServiceClient, error) {
	client, err := f.HTTP()
	if err != nil {
		return nil, err
	}
	return kilnv1connect.NewFarmServiceClient(client, "https://"+c.api), nil
}

// Room is a coordinator's API for machines and addresses, as its administrator.
func (f *Farm) Room(c *Node) (kilnv1connect.RoomServiceClient, error) {
	client, err := f.HTTP()
	if err != nil {
		return nil, err
	}
	return kilnv1connect.NewRoomServiceClient(client, "https://"+c.api), nil
}

// Status asks the coordinators, one after the other, what the farm does.
func (f *Farm) Status(ctx context.Context) (*kilnv1.StatusResponse, error) {
	err := error(fmt.Errorf("no coordinator runs"))
	for _, c := range f.coordinators {
		if !c.Running() {
			continue
		}
		var api kilnv1connect.FarmServiceClient
		if api, err = f.API(c); err != nil {
			return nil, err
		}
		one, cancel := context.WithTimeout(ctx, askWait)
		var answer *connect.Response[kilnv1.StatusResponse]
		answer, err = api.Status(one, connect.NewRequest(&kilnv1.StatusRequest{}))
		cancel()
		if err == nil {
			return answer.Msg, nil
		}
	}
	return nil, err
}

// Leader is the coordinator that leads now.
func (f *Farm) Leader(ctx context.Context) (*Node, error) {
	status, err := f.Status(ctx)
	if err != nil {
		return nil, err
	}
	if i := slices.IndexFunc(f.coordinators, func(n *Node) bool { return n.Name == status.GetLeader() }); i >= 0 {
		return f.coordinators[i], nil
	}
	return nil, fmt.Errorf("the leader %q is none of the lab's coordinators", status.GetLeader())
}

// AwaitLeader waits until a leader answers.
func (f *Farm) AwaitLeader(ctx context.Context) error {
	return f.await(ctx, func(*kilnv1.StatusResponse) string { return "" })
}

// Await waits until the farm is whole: every node that runs is known to the leader, and coordinators vote.
func (f *Farm) Await(ctx context.Context) error {
	return f.await(ctx, func(s *kilnv1.StatusResponse) string {
		for _, c := range f.coordinators {
			if c.Running() && !slices.ContainsFunc(s.GetMembers(), func(m *kilnv1.MemberStatus) bool {
				return m.GetMember().GetId() == c.Name && m.GetVoter() && (m.GetAlive() || m.GetLeader())
			}) {
				return c.Name + " is not a member that votes and answers"
			}
		}
		for _, b := range f.builders {
			if b.Running() && !slices.Contains(s.GetBuilders(), b.Name) {
				return b.Name + " does not ask for work"
			}
		}
		return ""
	})
}

// await asks for the farm's status until nothing is missing.
func (f *Farm) await(ctx context.Context, missing func(*kilnv1.StatusResponse) string) error {
	for {
		status, err := f.Status(ctx)
		lack := ""
		if fell := slices.IndexFunc(f.Nodes(), (*Node).Fell); fell >= 0 {
			n := f.Nodes()[fell]
			return fmt.Errorf("%s ended by itself: %s", n.Name, n.Said())
		}
		if err != nil {
			lack = err.Error()
		} else if lack = missing(status); lack == "" {
			return nil
		}
		select {
		case <-time.After(askEvery):
		case <-ctx.Done():
			return fmt.Errorf("the farm is not whole: %s (%w); the logs are in %s", lack, ctx.Err(), f.Dir)
		}
	}
}

// token makes a token with which a node of that role joins.
func (f *Farm) token(role Role) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), tokenWait)
	defer cancel()
	client, err := f.HTTP()
	if err != nil {
		return "", err
	}
	leader, err := f.Leader(ctx)
	if err != nil {
		return "", err
	}
	admin := kilnv1connect.NewAdminServiceClient(client, "https://"+leader.api)
	answer, err := admin.Token(ctx, connect.NewRequest(&kilnv1.TokenRequest{Role: string(role), TtlMs: time.Hour.Milliseconds()}))
	if err != nil {
		return "", fmt.Errorf("make a token for the role %s: %w", role, err)
	}
	return answer.Msg.GetToken(), nil
}

// Backup reads the whole state from the farm.
func (f *Farm) Backup(ctx context.Context, w io.Writer) error {
	client, err := f.HTTP()
	if err != nil {
		return err
	}
	leader, err := f.Leader(ctx)
	if err != nil {
		return err
	}
	stream, err := kilnv1connect.NewAdminServiceClient(client, "https://"+leader.api).Backup(ctx, connect.NewRequest(&kilnv1.BackupRequest{}))
	if err != nil {
		return err
	}
	defer stream.Close()
	for stream.Receive() {
		if _, err := w.Write(stream.Msg().GetData()); err != nil {
			return err
		}
	}
	return stream.Err()
}
