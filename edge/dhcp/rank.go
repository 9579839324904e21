package dhcp

import (
	"crypto/sha256"
	"encoding/binary"
	"net"
	"time"
)

// Rank is the place of an edge in the order in which edges answer a machine: 0 answers first. Every edge computes the same
// order from the names of those that live, and when one goes or comes no two others change places (rendezvous hashing).
// self need not be among the edges.
func Rank(mac net.HardwareAddr, edges []string, self string) int {
	own := weight(mac, self)
	rank := 0
	for _, e := range edges {
		if w := weight(mac, e); e != self && (w > own || w == own && e < self) {
			rank++
		}
	}
	return rank
}

func weight(mac net.HardwareAddr, edge string) uint64 {
	b := append([]byte{byte(len(mac))}, mac...)
	sum := sha256.Sum256(append(b, edge...))
	return binary.BigEndian.Uint64(sum[:])
}

const (
	secondWait = 150 * time.Millisecond // well below the 2 s that iPXE collects offers for
	restSecs   = 4                      // the first time that firmware repeats itself after (EDK2: after 4, 12, 28 s)
)

// Wait is how long an edge of a rank waits before it answers, and whether it answers at all. secs is Client.Waited: a client
// that has waited was not answered by the first one, and later not by the second one either. Few answer at once because EDK2
// keeps 16 offers at most.
func Wait(rank int, secs uint16) (wait time.Duration, answer bool) {
	switch {
	case rank <= 0 || rank == 1 && secs > 0:
		return 0, true
	case rank == 1:
		return secondWait, true
	}
	return 0, secs >= restSecs
}
