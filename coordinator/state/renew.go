package state

import "maps"

// Renew fits a state that comes from a backup into the farm of now: with now's members, since those are who will
// apply what comes next, its feature level, a time that does not go back, and leases that are numbered anew.
func (m *Machine) Renew(epoch uint64, now *Machine) {
	m.epoch = epoch
	m.now = max(m.now, now.now)
	m.level = max(m.level, now.level)
	// What is bound now is newer than the backup, and its clients believe in it.
	if m.addresses.steady = max(m.addresses.steady, now.addresses.steady); len(now.addresses.byAddress) > 0 {
		steady := m.addresses.steady
		m.addresses = now.addresses.clone()
		m.addresses.steady = steady
	}
	m.reserve()
	m.renewPublished(now)
	m.members, m.barred = maps.Clone(now.members), now.barred[:len(now.barred):len(now.barred)]
}
