package dispatch

import (
	"slices"
	"time"

	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
)

// The policy of the scheduler: what goes first, and to whom. Nothing here waits or remembers.

// item is a task that is ready.
type item struct {
	task     string
	team     string // of the build that ranks first among those that wait for it
	class    class
	priority int32     // the highest of the builds that wait for it
	order    uint64    // of the oldest of those builds
	node     int       // its place in that build's graph
	since    time.Time // when it became ready, by the leader's clock
	avoid    []string  // builders that failed it
	inputs   []input   // that other steps made
}

// input is how many bytes a builder made of what a task takes.
type input struct {
	builder string
	bytes   int64
}

// near is how many bytes of what a task takes a builder has made itself, and so has on its disk.
func (it item) near(builder string) (n int64) {
	for _, in := range it.inputs {
		if in.builder == builder {
			n += in.bytes
		}
	}
	return n
}

// class is what a builder must be able to do to run a task.
type class struct {
	kind     string
	version  uint32
	platform string // empty: any
	resource string // resource class; empty: any
}

// before says that a goes first. Priority is the user's word. Then builds are finished in the order in which
// they came, rather than all at once and late. Within a build the graph's order follows its longest chains.
func before(a, b item) bool {
	switch {
	case a.priority != b.priority:
		return a.priority > b.priority
	case a.order != b.order:
		return a.order < b.order
	case a.node != b.node:
		return a.node < b.node
	}
	return a.task < b.task
}

// accepts says that a builder can run tasks of the class.
func accepts(b *kilnv1.BuilderInfo, c class) bool {
	if c.platform != "" && !slices.Contains(b.GetPlatforms(), c.platform) {
		return false
	}
	if c.resource != "" && !slices.Contains(b.GetClasses(), c.resource) {
		return false
	}
	return slices.ContainsFunc(b.GetKinds(), func(k *kilnv1.StepKind) bool {
		return k.GetKind() == c.kind && k.GetVersion() == c.version
	})
}

// heapOf is a container/heap of items by before.
type heapOf []item

func (h heapOf) Len() int           { return len(h) }
func (h heapOf) Less(i, j int) bool { return before(h[i], h[j]) }
func (h heapOf) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *heapOf) Push(x any)        { *h = append(*h, x.(item)) }
func (h *heapOf) Pop() any {
	old := *h
	last := old[len(old)-1]
	*h = old[:len(old)-1]
	return last
}
