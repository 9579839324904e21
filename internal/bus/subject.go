package bus

import (
	"fmt"
	"strings"
)

// Subjects names where the messages of one farm go. The leader alone listens to lease, complete, heartbeat and
// release; each builder listens to its own stop; whoever shows a build listens to log.
type Subjects struct{ farm string }

// For returns the subjects of a farm.
func For(farm string) Subjects { return Subjects{"kiln." + token(farm)} }

// Lease takes LeaseRequest and answers LeaseReply.
func (s Subjects) Lease() string { return s.farm + ".lease" }

// Complete takes CompleteRequest and answers CompleteReply.
func (s Subjects) Complete() string { return s.farm + ".complete" }

// Heartbeat takes HeartbeatRequest and answers HeartbeatReply.
func (s Subjects) Heartbeat() string { return s.farm + ".heartbeat" }

// Release takes ReleaseRequest and answers ReleaseReply.
func (s Subjects) Release() string { return s.farm + ".release" }

// Log carries the LogChunks of one task.
func (s Subjects) Log(task string) string { return s.farm + ".log." + token(task) }

// AllLogs matches every Log.
func (s Subjects) AllLogs() string { return s.farm + ".log.*" }

// Stop carries LeaseRefs that a builder must drop.
func (s Subjects) Stop(builder string) string { return s.farm + ".stop." + token(builder) }

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
