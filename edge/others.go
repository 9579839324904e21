package edge

import (
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/kiln-farm/kiln/internal/durable"
)

const (
	// othersKept is for how long an edge that the farm no longer names stays in scripts, behind all others: when the farm
	// gets a new leader, its edges come to it one after the other.
	othersKept = 10 * time.Minute
	// othersRanked is for how long it counts where edges agree who answers a machine first, for the same reason. An edge that
	// has died costs machines a moment for so long.
	othersRanked = 15 * time.Second

	maxOthers  = 1000 // edges of a farm
	othersFile = "edges"
	mostOfFile = 1 << 20
)

// others are the edges of the farm. They are kept on disk: after a power cut the farm may be the last to come back, and a
// boot that one edge began goes on at another nevertheless.
type others struct {
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

// openOthers reads what was told before a restart. A list that cannot be read is as good as none: a new one comes.
func openOthers(intents *Intents, log *slog.Logger) *others {
	o := &others{log: log}
	if intents == nil || intents.path == "" {
		return o
	}
	o.path = filepath.Join(filepath.Dir(intents.path), othersFile)
	if data, err := os.ReadFile(o.path); err == nil && len(data) <= mostOfFile {
		o.told = strings.Fields(string(data))
		log.Info("the edges of this room, as they were", "edges", o.told)
	}
	return o
}

// set takes a new list, and says whether it is another one.
func (o *others) set(urls []string, now time.Time) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	urls = slices.Clone(urls[:min(len(urls), maxOthers)])
	changed := !slices.Equal(urls, o.told)
	for _, u := range o.told {
		o.gone = append(o.gone, goneEdge{u, now})
	}
	o.gone = slices.DeleteFunc(o.gone, func(g goneEdge) bool { return slices.Contains(urls, g.url) || now.Sub(g.at) > othersKept })
	o.told, o.made = urls, time.Time{}
	if o.path != "" && changed {
		if err := durable.Replace(o.path, []byte(strings.Join(o.all(now, othersKept), "\n")), 0o600); err != nil {
			o.log.Warn("which edges there are could not be kept on this disk", "file", o.path, "error", err)
		}
	}
	return changed
}

// all are those that were told last, and behind them those that went since then. It is called with mu held.
func (o *others) all(now time.Time, since time.Duration) []string {
	all := slices.Clone(o.told)
	for _, g := range slices.Backward(o.gone) {
		if now.Sub(g.at) <= since && !slices.Contains(all, g.url) {
			all = append(all, g.url)
		}
	}
	return all
}

// lists are those of a family. Callers do not change them. They are asked for with every packet, and made once a second.
func (o *others) lists(now time.Time, family int) edgeLists {
	o.mu.Lock()
	defer o.mu.Unlock()
	if age := now.Sub(o.made); age < 0 || age >= time.Second {
		all, living := o.all(now, othersKept), o.all(now, othersRanked)
		o.made = now
		o.made4, o.made6 = edgeLists{without(all, 6), without(living, 6)}, edgeLists{without(all, 4), without(living, 4)}
	}
	if family == 6 {
		return o.made6
	}
	return o.made4
}

// list is for scripts: those that machines reach over a family.
func (o *others) list(now time.Time, family int) []string { return o.lists(now, family).scripts }

// living are those that share out among them which of them answers a machine first: all that is answered goes by this list.
func (o *others) living(now time.Time, family int) []string { return o.lists(now, family).order }
