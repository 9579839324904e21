package chaos

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
)

// report is what a run did and checked.
type report struct {
	mu sync.Mutex // guards the maps

	Seed     uint64         `json:"seed"`
	Seconds  float64        `json:"seconds"`
	Injected map[string]int `json:"injected"`    // faults by kind
	Skipped  []string       `json:"skipped"`     // kinds that this machine or the time did not allow
	Requests map[string]int `json:"s3_requests"` // requests to S3 that a fault hit, by kind
	Recovery map[string]int `json:"recovery_ms"` // the longest time until the farm was whole after a fault, by kind

	Builds       int `json:"builds"`   // that ended with the bytes of a build without a farm
	Detached     int `json:"detached"` // of these
	Again        int `json:"again"`    // tries that were repeated since the farm could not be reached, or an output was lost after the end
	Backups      int `json:"backups"`  // of the state that were looked at meanwhile
	Entries      int `json:"log_entries"`
	Compared     int `json:"log_entries_compared"` // between coordinators
	Granted      int `json:"leases_granted"`
	Completed    int `json:"completions_accepted"`
	Stale        int `json:"completions_refused"`
	Expired      int `json:"leases_expired"`
	Released     int `json:"leases_given_back"`
	Blobs        int `json:"blobs_hashed"`
	Results      int `json:"results_read"`
	Equal        int `json:"results_compared"` // with those of a build without a farm
	Operations   int `json:"operations"`       // of observers, whose history is linearizable
	Unaccounted  int `json:"builds_in_state"`  // that had not left the state at the end
	Contradicted int `json:"contradictions"`   // anything that must not be
}

func (r *report) text() string {
	var b strings.Builder
	fmt.Fprintf(&b, "chaos: seed %d, %.0f s\nfaults injected:\n", r.Seed, r.Seconds)
	for _, kind := range slices.SortedFunc(maps.Keys(r.Injected), cmp.Compare[string]) {
		fmt.Fprintf(&b, "  %4d  %s", r.Injected[kind], kind)
		if ms, ok := r.Recovery[kind]; ok {
			fmt.Fprintf(&b, " (whole again within %.1f s)", float64(ms)/1000)
		}
		b.WriteByte('\n')
	}
	for _, kind := range slices.SortedFunc(maps.Keys(r.Requests), cmp.Compare[string]) {
		fmt.Fprintf(&b, "  %4d  requests to S3: %s\n", r.Requests[kind], kind)
	}
	for _, kind := range r.Skipped {
		fmt.Fprintf(&b, "  none  %s\n", kind)
	}
	fmt.Fprintf(&b, `checked:
  %d builds ended with the bytes of a build in one process; %d of them detached; %d tries repeated after a refusal
  %d entries of the log: %d leases granted, %d completions accepted, %d refused, %d leases expired, %d given back
  %d entries the same at two coordinators; %d backups that agree with each other
  %d blobs hashed, %d results read, %d of them compared with a build in one process
  %d operations of observers, linearizable
contradictions: %d
`, r.Builds, r.Detached, r.Again, r.Entries, r.Granted, r.Completed, r.Stale, r.Expired, r.Released, r.Compared, r.Backups, r.Blobs, r.Results, r.Equal, r.Operations, r.Contradicted)
	return b.String()
}
