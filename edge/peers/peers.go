package peers

import (
	"log/slog"
	"net/netip"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/kiln-farm/kiln/internal/durable"
)

const (
	// kept is for how long an edge that the farm no longer names stays in scripts, behind all others: when the farm
	// gets a new leader, its edges come to it one after the other.
	kept = 10 * time.Minute
	// ranked is for how long it counts where edges agree who answers a machine first, for the same reason. An edge that
	// has died costs machines a moment for so long.
	ranked = 15 * time.Second

	maxPeers   = 1000 // edges of a farm
	mostOfFile = 1 << 20

	// File is what the file is called that keeps them.
	File = "edges"
	// Most is how many edges a script names.
	Most = 4
)

// Peers are the edges of the farm. They are kept on disk: after a power cut the farm may be the last to come back, and a
// boot that one edge began goes on at another nevertheless.
type Peers struct {
	path string // empty: in memory only
	log  *slog.Logger

	mu           sync.Mutex // guards what follows
	told         []string   // what was told last
	gone         []goneEdge // what was told before
	made         time.Time  // when the lists were
	made4, made6 edgeLists  // without those with addresses of IPv6, or of IPv4
}

// edgeLists are the edges that machines reach over a family.
type edgeLists struct {
	scripts []string // that scripts name
	order   []string // that share machines out among them, in no order
}

type goneEdge struct {
	url string
	at  time.Time // that it was no longer told
}

// Open reads what was told before a restart. A list that cannot be read is as good as none: a new one comes.
func Open(path string, log *slog.Logger) *Peers {
	o := &Peers{path: path, log: log}
	if path == "" {
		return o
	}
	if data, err := os.ReadFile(o.path); err == nil && len(data) <= mostOfFile {
		o.told = strings.Fields(string(data))
		log.Info("the edges of this room, as they were", "edges", o.told)
	}
	return o
}

// Set takes a new list, and says whether it is another one.
func (o *Peers) Set(urls []string, now time.Time) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	urls = slices.Clone(urls[:min(len(urls), maxPeers)])
	changed := !slices.Equal(urls, o.told)
	for _, u := range o.told {
		o.gone = append(o.gone, goneEdge{u, now})
	}
	o.gone = slices.DeleteFunc(o.gone, func(g goneEdge) bool { return slices.Contains(urls, g.url) || now.Sub(g.at) > kept })
	o.told, o.made = urls, time.Time{}
	if o.path != "" && changed {
		if err := durable.Replace(o.path, []byte(strings.Join(o.all(now, kept), "\n")), 0o600); err != nil {
			o.log.Warn("which edges there are could not be kept on this disk", "file", o.path, "error", err)
		}
	}
	return changed
}

// all are those that were told last, and behind them those that went since then. It is called with mu held.
func (o *Peers) all(now time.Time, since time.Duration) []string {
	all := slices.Clone(o.told)
	for _, g := range slices.Backward(o.gone) {
		if now.Sub(g.at) <= since && !slices.Contains(all, g.url) {
			all = append(all, g.url)
		}
	}
	return all
}

// lists are those of a family. Callers do not change them. They are asked for with every packet, and made once a second.
func (o *Peers) lists(now time.Time, family int) edgeLists {
	o.mu.Lock()
	defer o.mu.Unlock()
	if age := now.Sub(o.made); age < 0 || age >= time.Second {
		all, living := o.all(now, kept), o.all(now, ranked)
		o.made = now
		o.made4, o.made6 = edgeLists{Without(all, 6), Without(living, 6)}, edgeLists{Without(all, 4), Without(living, 4)}
	}
	if family == 6 {
		return o.made6
	}
	return o.made4
}

// Scripts are those that scripts name: which machines reach over a family.
func (o *Peers) Scripts(now time.Time, family int) []string { return o.lists(now, family).scripts }

// Order are those that share out among them which of them answers a machine first: all that is answered goes by this list.
func (o *Peers) Order(now time.Time, family int) []string { return o.lists(now, family).order }

// URLs are an edge's own and those of others that a boot may go on at, that machines reach over a family, as scripts name them.
func (o *Peers) URLs(own string, family int, now time.Time) []string {
	urls := []string{own}
	for _, u := range o.Scripts(now, family) {
		if u != own && len(urls) < Most {
			urls = append(urls, u)
		}
	}
	return urls
}

// Family is 4 or 6 when a URL has an address in it, and 0 when it has a name, which may mean both.
func Family(base string) int {
	u, err := url.Parse(base)
	if err != nil {
		return 0
	}
	a, err := netip.ParseAddr(u.Hostname())
	switch {
	case err != nil:
		return 0
	case a.Unmap().Is4():
		return 4
	}
	return 6
}

// Without are the URLs that have no address of a family.
func Without(urls []string, family int) []string {
	return slices.DeleteFunc(slices.Clone(urls), func(u string) bool { return Family(u) == family })
}
