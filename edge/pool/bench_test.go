package pool

import (
	"fmt"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// BenchmarkDORA is a new client from DISCOVER to ACK, with the farm's real state and calls to it that take a while. Packets and
// sockets are not in it.
func BenchmarkDORA(b *testing.B) {
	for _, delay := range []time.Duration{0, 2 * time.Millisecond, 10 * time.Millisecond} {
		b.Run(fmt.Sprint("farm ", delay), func(b *testing.B) {
			f := newTestFarm(b, room(subnetOf("a", "10.0.0.0/8", "10.1.0.0-10.200.255.255")))
			if delay > 0 {
				f.delay = func() time.Duration { return delay }
			}
			e := newEdge(b, f, "edge1")
			defer e.end()
			e.own = []netip.Prefix{netip.MustParsePrefix("10.0.0.2/8")}
			var n, failed atomic.Uint32
			b.SetParallelism(200)
			b.ResetTimer()
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					i := n.Add(1)
					mac := fmt.Sprintf("02:00:%02x:%02x:%02x:%02x", i>>24, i>>16&255, i>>8&255, i&255)
					offer := e.ask(b, packet{message: discover, mac: mac, xid: i})
					address, _, ok := strings.Cut(offer, "/")
					if !ok || !strings.HasPrefix(e.ask(b, packet{message: request, mac: mac, xid: i, asked: address, server: "10.0.0.2"}), "bound") {
						failed.Add(1)
					}
				}
			})
			b.ReportMetric(float64(b.N-int(failed.Load()))/b.Elapsed().Seconds(), "DORA/s")
			b.ReportMetric(float64(failed.Load()), "failed")
		})
	}
}
