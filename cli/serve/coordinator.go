package serve

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/spf13/cobra"

	"github.com/kiln-farm/kiln/cli/client"
	"github.com/kiln-farm/kiln/cli/member"
	"github.com/kiln-farm/kiln/cli/member/node"
	"github.com/kiln-farm/kiln/cli/serve/daemon"
	"github.com/kiln-farm/kiln/cli/ui"
	"github.com/kiln-farm/kiln/coordinator"
	"github.com/kiln-farm/kiln/internal/bus"
	"github.com/kiln-farm/kiln/internal/pki"
	"github.com/kiln-farm/kiln/internal/version"
)

// handOver is how long requests may go on when a coordinator ends: clients ask another one then.
const handOver = 500 * time.Millisecond

// closeLimit is how long the end of raft may take before the process ends without it.
const closeLimit = 20 * time.Second

type coordinatorFlags struct {
	member.Flags
	daemon.StoreFlags
	daemon.MetricsFlags
	daemon.BusFlags
	listen, advertise         string
	boot, initrd              string
	busListen, busPeersListen string
	dnsKeys                   string
}

func NewCoordinator(env ui.Env) *cobra.Command {
	var f coordinatorFlags
	cmd := &cobra.Command{
		Use:   "coordinator --data DIR [--join HOST:PORT --token TOKEN]",
		Short: "Run a coordinator: API, scheduler, message bus",
		Long: `Run one of a farm's coordinators. The first one's data directory is made by kiln init; the others join with a token
the first time, and after that need --data and their addresses alone. A farm goes on while more than half of its
coordinators run: three of them may lose one, five may lose two.
The bus is inside the coordinators, at the API's port and the two after it, unless --nats names a NATS of your own.
SIGTERM hands leadership over and ends; a second signal ends at once.`,
		Example: `  kiln init --data /var/lib/kiln && kiln coordinator --data /var/lib/kiln --listen 10.0.0.1:7300 --store s3://kiln?endpoint=https://s3.lab:9000
  kiln coordinator --data /var/lib/kiln --listen 10.0.0.2:7300 --join 10.0.0.1:7300 --token-file token.txt
  kiln coordinator --data /var/lib/kiln --listen 0.0.0.0:7300 --advertise kiln3.lab:7300 --nats tls://nats.lab:4222 --nats-creds kiln.creds`,
		Args: ui.Between(0, 0, "no argument"),
		RunE: func(cmd *cobra.Command, _ []string) error { return runCoordinator(cmd.Context(), env, &f) },
	}
	flags := cmd.Flags()
	f.Flags.Add(flags)
	f.AddMetrics(flags)
	f.StoreFlags.Add(flags, "URL of the farm's shared cache, such as s3://BUCKET/PREFIX?endpoint=https://HOST:PORT&region=R")
	f.BusFlags.Add(flags, "URLs of a NATS of your own, with commas between (default: the bus inside the coordinators)")
	flags.StringVar(&f.Public, "store-public", "", "URL of the S3 server as clients of the farm reach it (default: the endpoint of --store)")
	flags.StringVar(&f.listen, "listen", "127.0.0.1:7300", "address of the API, for clients and for the other coordinators")
	flags.StringVar(&f.advertise, "advertise", "", "HOST:PORT under which others reach the API (default: where it listens)")
	flags.StringVar(&f.boot, "boot", "", "image with boot loaders, for builds that name none")
	flags.StringVar(&f.initrd, "initrd", "", "image that is the initrd where the root filesystem is on the disk, for builds that name none")
	daemon.AddDNSKeys(flags, &f.dnsKeys)
	flags.StringVar(&f.busListen, "bus-listen", "", "address of the bus for builders (default: the API's, one port on)")
	flags.StringVar(&f.busPeersListen, "bus-peers-listen", "", "address of the bus for the other coordinators (default: the API's, two ports on)")
	return cmd
}

func runCoordinator(ctx context.Context, env ui.Env, f *coordinatorFlags) (err error) {
	log := env.Logger(slog.LevelInfo)
	m, err := f.Flags.Open(ctx, env, pki.RoleCoordinator, member.JoinPatience, hostsOf(f.advertise, f.listen)...)
	if err != nil {
		return err
	}
	var clean daemon.Closers
	defer func() { err = errors.Join(err, clean.Close()) }()
	clean.Add(m.Close)
	keys, err := daemon.OpenDNSKeys(f.dnsKeys)
	if err != nil {
		return err
	}
	if err := f.Measure(ctx, log, &clean); err != nil {
		return err
	}
	listener, err := daemon.Listen(ctx, f.listen)
	if err != nil {
		return err
	}
	clean.Add(func() error { _ = listener.Close(); return nil }) // the server has closed it, if there was one
	if err := f.fill(listener.Addr().String()); err != nil {
		return err
	}
	store, err := f.StoreFlags.Open(ctx, m.Data, f.Store, true, log)
	if err != nil {
		return err
	}
	clean.Add(store.Close)
	cluster := &coordinator.Cluster{
		Credentials: m.Certificate, Authority: m.Authority, Advertise: f.advertise, Store: f.Store, Join: f.others(m),
	}
	conn, err := f.openBus(ctx, m, cluster, &clean, log)
	if err != nil {
		return err
	}
	config := coordinator.Config{
		Farm: m.Certificate.Identity().Farm, NodeID: m.ID, Store: store, Blobs: store, Bus: conn, DataDir: m.Path(),
		Cluster: cluster, Log: log, Version: version.String(), Now: env.Now(),
		Boot: f.boot, Initrd: f.initrd, DNSKeys: keys,
	}
	if f.Store != "" {
		config.BlobURL, config.Recheck = store.BlobURL, store.Recheck
	}
	c, err := coordinator.New(config)
	if err != nil {
		return err
	}
	clean.Run(ctx, func(ctx context.Context) { m.KeepValid(ctx, log, hostsOf(f.advertise)...) })
	clean.Run(ctx, func(ctx context.Context) { m.Follow(ctx, log, func(node.Place) {}) })
	log.Info("listening", "address", "https://"+f.advertise, "coordinator", m.ID, "farm", config.Farm, "store", f.Store)
	return f.serve(ctx, env, m, c, listener, log)
}

// serve answers until ctx ends or the coordinator cannot go on.
func (f *coordinatorFlags) serve(ctx context.Context, env ui.Env, m *member.Member, c *coordinator.Coordinator, listener net.Listener, log *slog.Logger) error {
	streams := c.Streams()
	protocols := client.Protocols()
	for name := range streams {
		protocols = append(protocols, name)
	}
	server := &http.Server{
		Handler: c.Handler(), TLSConfig: m.Certificate.ServerTLS(protocols...), TLSNextProto: streams,
		ReadHeaderTimeout: daemon.HeaderTimeout, ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelDebug),
		Protocols: &http.Protocols{}, HTTP2: &http.HTTP2Config{MaxConcurrentStreams: 4096},
	}
	server.Protocols.SetHTTP1(true)
	server.Protocols.SetHTTP2(true)
	failed := make(chan error, 1)
	go func() { failed <- server.ServeTLS(listener, "", "") }()
	daemon.Notify(env, log, node.Ready)
	var fault error
	select {
	case fault = <-failed:
		failed <- fault
	case <-c.Failed():
		fault = ui.Usagef("%w", c.Fault()) // starting it again would not help
	case <-ctx.Done():
		log.Info("ending")
		daemon.Notify(env, log, node.Stopping)
	}
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), handOver)
	defer cancel()
	closed := make(chan error, 1)
	go func() { closed <- c.Close() }() // which ends raft's connections, that the server would wait for
	err := server.Shutdown(grace)
	if errors.Is(err, context.DeadlineExceeded) {
		err = server.Close()
	}
	err = errors.Join(fault, err)
	select {
	case e := <-closed:
		err = errors.Join(err, e)
	case <-time.After(closeLimit): // no worse than a kill: what was committed is on the disk
		stacks := make([]byte, 1<<20)
		log.Error("raft does not end; leaving it", "after", closeLimit, "goroutines", string(stacks[:runtime.Stack(stacks, true)]))
	}
	<-failed
	return err
}

// fill sets the addresses that no flag named, now that it is known where the API listens.
func (f *coordinatorFlags) fill(listening string) error {
	host, port, err := net.SplitHostPort(listening)
	if err != nil {
		return err
	}
	if f.advertise == "" {
		if ip := net.ParseIP(host); ip != nil && ip.IsUnspecified() {
			return ui.Usagef("--listen %s is no address that others can reach: say with --advertise HOST:PORT how they do", f.listen)
		}
		f.advertise = listening
	}
	if _, _, err := net.SplitHostPort(f.advertise); err != nil {
		f.advertise = net.JoinHostPort(f.advertise, port)
	}
	n, err := strconv.Atoi(port)
	if err != nil {
		return err
	}
	_, asked, _ := net.SplitHostPort(f.listen)
	for i, address := range []*string{&f.busListen, &f.busPeersListen} {
		if *address == "" && asked == "0" { // any port for the API: any for the others
			*address = net.JoinHostPort(host, "0")
		} else if *address == "" {
			*address = net.JoinHostPort(host, strconv.Itoa(n+1+i))
		}
	}
	return nil
}

// others are the addresses of the farm's other coordinators, as the flags and the last life of this one know them.
func (f *coordinatorFlags) others(m *member.Member) []string {
	var all []string
	for _, one := range m.Coordinators() {
		if address := strings.TrimPrefix(one, "https://"); address != f.advertise && !slices.Contains(all, address) {
			all = append(all, address)
		}
	}
	return all
}

// openBus connects to the bus of your own, or starts this coordinator's part of the farm's.
func (f *coordinatorFlags) openBus(ctx context.Context, m *member.Member, cluster *coordinator.Cluster, clean *daemon.Closers, log *slog.Logger) (*nats.Conn, error) {
	if urls := f.List(); urls != nil {
		conn, err := f.Dial(ctx, bus.DialOptions{Name: m.ID}, log)
		if err != nil {
			return nil, err
		}
		clean.Add(func() error { conn.Close(); return nil })
		cluster.Buses = bus.Redacted(urls)
		return conn, nil
	}
	name := m.Certificate.Identity().Farm
	client, server := m.Certificate.PeerTLS()
	b, err := bus.Start(bus.Options{
		Name: m.ID, Listen: f.busListen, TLS: m.Certificate.ServerTLS(), Farm: name,
		Peers: &bus.Peers{Cluster: name, Listen: f.busPeersListen, Client: client, Server: server},
	})
	if err != nil {
		return nil, ui.Usagef("%w", err)
	}
	clean.Add(func() error { b.Close(); return nil })
	conn, err := b.Connect(m.ID)
	if err != nil {
		return nil, err
	}
	clean.Add(func() error { conn.Close(); return nil })
	cluster.Bus = atHost(f.advertise, b.URL())
	cluster.BusPeers = atHost(f.advertise, b.PeersAddress())
	cluster.Routes = b.SetRoutes
	return conn, nil
}

// atHost is an address with the port of where something listens and the host under which others reach this one.
func atHost(advertise, listens string) string {
	if _, address, ok := strings.Cut(listens, "://"); ok {
		listens = address
	}
	host, _, err := net.SplitHostPort(advertise)
	_, port, err2 := net.SplitHostPort(listens)
	if err != nil || err2 != nil {
		return listens
	}
	return net.JoinHostPort(host, port)
}

// hostsOf are the hosts of addresses under which others may reach this one, and its name.
func hostsOf(addresses ...string) []string {
	var hosts []string
	for _, address := range addresses {
		if host := member.HostOf(address); host != "" && !slices.Contains(hosts, host) {
			hosts = append(hosts, host)
		}
	}
	if name, err := os.Hostname(); err == nil && !slices.Contains(hosts, name) {
		hosts = append(hosts, name)
	}
	return hosts
}
