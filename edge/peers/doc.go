// Package peers knows the other edges of a farm, each by the URL at which machines reach it, and says the two things that go by
// them: at which edges a boot that began here may go on (Scripts, URLs), and among which edges machines are shared out, so that of
// many one answers first (Order, with dhcp.Rank). The first list is long and forgets late, since an edge that is named in vain
// costs a machine a moment; the second one forgets within seconds, since an edge that counts and is dead costs an answer. All
// that is answered goes by the same Order, whatever the protocol.
//
// It never asks whether an edge lives, and takes nobody's word but that of whoever calls Set.
package peers
