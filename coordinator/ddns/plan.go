package ddns

import (
	"google.golang.org/protobuf/proto"

	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
)

// Task is something to be done about a record.
type Task struct {
	Record *kilnv1.DNSRecord
	Remove bool
	// Put: the state must know the record, as one that is not sure, before anything is sent about it.
	Put bool
	// Again: the state is sure of the record, and it is sent once more in case that the server has lost it.
	Again bool
}

// Plan is what makes DNS as it is wanted of what the state says is there or may be: first what is added, then what is removed.
// A name that passes from one client to another is removed first, and added by a later plan; blocked are such records.
func Plan(w Wants, published []*kilnv1.DNSRecord) (tasks []Task, blocked []*kilnv1.DNSRecord) {
	have := make(map[Key]*kilnv1.DNSRecord, len(published))
	leaving := map[Owner]string{} // whose records are removed; of several clients' any
	var removals []Task
	for _, r := range published {
		have[KeyOf(r)] = r
		if w.Records[KeyOf(r)] != nil {
			continue
		}
		owner := OwnerOf(r)
		if other, ok := leaving[owner]; ok && other != r.GetClient() {
			leaving[owner] = "" // nobody's
		} else {
			leaving[owner] = r.GetClient()
		}
		removals = append(removals, Task{Record: signed(r, w.Keys), Remove: true, Put: r.GetSure()})
	}
	for key, r := range w.Records {
		old := have[key]
		if old.GetSure() && old.GetTtlSeconds() == r.GetTtlSeconds() {
			continue
		}
		if client, ok := leaving[OwnerOf(r)]; ok && client != r.GetClient() {
			blocked = append(blocked, r)
			continue
		}
		tasks = append(tasks, Task{Record: r, Put: old == nil || old.GetSure() || old.GetTtlSeconds() != r.GetTtlSeconds()})
	}
	return append(tasks, removals...), blocked
}

// Sweep is what is to be sent once more of that which is wanted and sure to be there. A server that was given an old copy of a zone,
// or whose names somebody deleted, says nothing of it.
func Sweep(w Wants, published []*kilnv1.DNSRecord, due func(Key) bool) (tasks []Task) {
	for _, have := range published {
		key := KeyOf(have)
		if r := w.Records[key]; have.GetSure() && r != nil && r.GetTtlSeconds() == have.GetTtlSeconds() && due(key) {
			tasks = append(tasks, Task{Record: r, Again: true})
		}
	}
	return tasks
}

// signed is a record with the key that its zone has now: the one that it was made with may be gone.
func signed(r *kilnv1.DNSRecord, keys map[Zone]string) *kilnv1.DNSRecord {
	key, ok := keys[Zone{r.GetServer(), r.GetZone()}]
	if !ok || key == r.GetKey() {
		return r
	}
	next := proto.CloneOf(r)
	next.Key = key
	return next
}
