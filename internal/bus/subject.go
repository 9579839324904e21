package bus

import (
	"fmt"
	"net/url"
	"strings"
)

// Subjects names where the messages of one farm go. A builder asks under subjects that end with its name, which are
// the only ones that its rights allow it (see access.go), so the leader, who alone listens to them, knows who asks.
type Subjects struct{ farm string }

// For returns the subjects of a farm.
func For(farm string) Subjects { return Subjects{"kiln." + token(farm)} }

// Lease takes LeaseRequest of a builder and answers LeaseReply.
func (s Subjects) Lease(builder string) string { return s.farm + ".lease." + token(builder) }

// Complete takes CompleteRequest of a builder and answers CompleteReply.
func (s Subjects) Complete(builder string) string { return s.farm + ".complete." + token(builder) }

// Heartbeat takes HeartbeatRequest of a builder and answers HeartbeatReply.
func (s Subjects) Heartbeat(builder string) string { return s.farm + ".heartbeat." + token(builder) }

// Release takes ReleaseRequest of a builder and answers ReleaseReply.
func (s Subjects) Release(builder string) string { return s.farm + ".release." + token(builder) }

// AllLeases, AllCompletes, AllHeartbeats and AllReleases match what any builder asks.
func (s Subjects) AllLeases() string { return s.farm + ".lease.*" }

// AllCompletes matches every Complete.
func (s Subjects) AllCompletes() string { return s.farm + ".complete.*" }

// AllHeartbeats matches every Heartbeat.
func (s Subjects) AllHeartbeats() string { return s.farm + ".heartbeat.*" }

// AllReleases matches every Release.
func (s Subjects) AllReleases() string { return s.farm + ".release.*" }

// Log carries the LogChunks of one task that a builder runs.
func (s Subjects) Log(builder, task string) string {
	return s.farm + ".log." + token(builder) + "." + token(task)
}

// AllLogs matches every Log.
func (s Subjects) AllLogs() string { return s.farm + ".log.*.*" }

// Stop carries LeaseRefs that a builder must drop.
func (s Subjects) Stop(builder string) string { return s.farm + ".stop." + token(builder) }

// Leader carries the leader's LeaderBeacons.
func (s Subjects) Leader() string { return s.farm + ".leader" }

// senderOf is the name of the builder in a subject of Lease, Complete, Heartbeat, Release or Log; empty in others.
func senderOf(subject string) string {
	parts := strings.Split(subject, ".")
	if len(parts) < 4 {
		return ""
	}
	name, err := url.PathUnescape(parts[3])
	if err != nil {
		return ""
	}
	return name
}

// token makes any string one element of a subject: what NATS gives a meaning (dots, wildcards, blanks) and every
// byte outside of ASCII becomes %XX.
func token(s string) string {
	if s == "" {
		return "%"
	}
	var b strings.Builder
	for i := range len(s) {
		if c := s[i]; c <= ' ' || c >= 0x7f || strings.IndexByte(".*>%$", c) >= 0 {
			fmt.Fprintf(&b, "%%%02X", c)
		} else {
			b.WriteByte(c)
		}
	}
	return b.String()
}
