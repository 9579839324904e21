package flat

import "hash/maphash"

// maxHashes bounds a set of hashes: what comes later is not remembered.
const maxHashes = 1 << 20

var hashSeed = maphash.MakeSeed()

// hash is never 0.
func hash(name string) uint64 { return maphash.String(hashSeed, name) | 1 }

// hashes is a set of hashes: a table with open addressing, 8 bytes a place, at most three quarters full.
type hashes struct {
	table []uint64 // 0: free
	count int
}

func (s *hashes) has(h uint64) bool {
	if s.count == 0 {
		return false
	}
	return s.table[s.place(h)] == h
}

func (s *hashes) add(h uint64) {
	if s.count >= maxHashes {
		return
	}
	if 4*(s.count+1) > 3*len(s.table) {
		old := s.table
		s.table = make([]uint64, max(64, 2*len(old)))
		for _, h := range old {
			if h != 0 {
				s.table[s.place(h)] = h
			}
		}
	}
	if at := s.place(h); s.table[at] == 0 {
		s.table[at] = h
		s.count++
	}
}

func (s *hashes) join(other *hashes) {
	if s.count == 0 {
		*s = *other
		return
	}
	for _, h := range other.table {
		if h != 0 {
			s.add(h)
		}
	}
}

// place is where h is, or would be.
func (s *hashes) place(h uint64) int {
	at := int(h>>1) & (len(s.table) - 1)
	for s.table[at] != 0 && s.table[at] != h {
		at = (at + 1) & (len(s.table) - 1)
	}
	return at
}
