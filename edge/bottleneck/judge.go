// Package bottleneck tells when machines wait because of an edge, which of its parts they wait for, and what helps.
//
// The edge takes a Sample now and then: counters of what waited, and of what the host was busy with. A Judge makes statements of
// them; it is pure. host_linux.go reads what the host tells. It never slows anybody down: it only says what is so.
package bottleneck

import (
	"cmp"
	"slices"
	"time"
)

// Cause is what machines wait for.
type Cause string

// The causes, in the order in which they are looked for.
const (
	Cache   Cause = "cache"   // files come slowly from the shared cache
	Line    Cause = "line"    // a network interface sends as fast as it can
	CPU     Cause = "cpu"     // this host's processors are busy
	Disk    Cause = "disk"    // this host's processes wait for its disks
	Limit   Cause = "limit"   // more transfers at once than the edge takes
	Network Cause = "network" // none of these: what is sent is not taken faster
)

// Remedy is what helps, as a sentence goes on.
func (c Cause) Remedy() string {
	switch c {
	case Cache:
		return "the shared cache gives files slowly: assign releases before machines boot, look at its servers and at the line to them; another edge would fetch the same once more"
	case Line:
		return "its line is full: add an edge, or give this one a faster interface"
	case CPU:
		return "its processors are busy: add an edge, or give this host more of them"
	case Disk:
		return "its disk is slow: give it memory for the files that machines boot, a faster disk, or add an edge"
	case Limit:
		return "more transfers are asked for at once than it takes: add an edge, or find out who asks for so many"
	}
	return "what it sends is taken no faster, and neither its own line nor its processors are full: look at the switches between, or add an edge nearer to the machines"
}

const (
	// Every is how far samples are apart.
	Every = 5 * time.Second

	steps     = 2           // samples in a row until something is said
	sayAgain  = time.Minute // while it goes on
	leastWait = 1.0         // machines that wait on an average
	busyCPU   = 0.9         // parts of all processors
	busyLine  = 0.9         // parts of a line's speed
	busyDisk  = 0.3         // parts of the time in which something waited for a disk
)

// Sample is what is known at a time. Durations and counts grow from one sample to the next.
type Sample struct {
	At      time.Duration
	Starved time.Duration // of all machines: they wanted to be sent something, and it was others' turn
	Waiting int           // machines that wait so now
	Fills   time.Duration // of all requests: they waited for a file from the shared cache
	Filling int           // requests that wait so now
	Refused uint64        // requests that were too many
	TFTP    int           // transfers under way

	CPU   float64 // seconds, of all processors together, in which they were busy; less than zero: unknown
	CPUs  int
	Disk  time.Duration // in which something waited for a disk; less than zero: unknown
	Lines []SentBy
}

// SentBy is what went out by a network interface.
type SentBy struct {
	Name  string
	Bytes uint64
	Speed float64 // bytes a second; zero: unknown
}

// Statement is what is to be said. It is the zero value when nothing is.
type Statement struct {
	Cause    Cause
	Part     string // the name of the interface, when it is a line
	Machines int    // that wait: now, or at the worst when it is over
	Since    time.Duration
	Over     bool
}

// Judge makes statements of samples. Its zero value is ready.
type Judge struct {
	before Sample
	has    bool

	strained, calm int // samples in a row
	now            Statement
	most           int
	said           time.Duration
	first          time.Duration // of the strained samples
}

// Now is how many machines wait, and for what; zero while none does for long.
func (j *Judge) Now() (Cause, int) { return j.now.Cause, j.now.Machines }

// Add takes the next sample.
func (j *Judge) Add(s Sample) (say Statement) {
	before, had := j.before, j.has
	j.before, j.has = s, true
	if !had || s.At <= before.At {
		return Statement{}
	}
	cause, part, machines := judge(before, s)
	if cause == "" {
		return j.quiet()
	}
	j.calm = 0
	if j.strained++; j.strained == 1 {
		j.first = before.At
	}
	if j.strained < steps && j.now.Cause == "" {
		return Statement{}
	}
	began := j.now.Cause == ""
	other := j.now.Cause != cause
	j.most = max(j.most, machines)
	j.now = Statement{Cause: cause, Part: part, Machines: machines, Since: j.first}
	if began || s.At-j.said >= sayAgain || other && s.At-j.said >= sayAgain/4 {
		j.said = s.At
		return j.now
	}
	return Statement{}
}

// quiet is a sample in which nobody waited for long.
func (j *Judge) quiet() (say Statement) {
	if j.calm++; j.calm < steps {
		return Statement{}
	}
	j.strained = 0
	if j.now.Cause != "" {
		say = j.now
		say.Over, say.Machines = true, j.most
		j.now, j.most = Statement{}, 0
	}
	return say
}

// judge says what machines waited for between two samples; nothing when they did not.
func judge(a, b Sample) (cause Cause, part string, machines int) {
	d := (b.At - a.At).Seconds()
	starved := (b.Starved - a.Starved).Seconds() / d // machines, on an average
	fills := (b.Fills - a.Fills).Seconds() / d
	refused := b.Refused - a.Refused
	name, line := busiest(a, b, d)
	cpu, disk := 0.0, 0.0
	if a.CPU >= 0 && b.CPU >= 0 && b.CPUs > 0 {
		cpu = (b.CPU - a.CPU) / d / float64(b.CPUs)
	}
	if a.Disk >= 0 && b.Disk >= 0 {
		disk = (b.Disk - a.Disk).Seconds() / d
	}
	machines = max(b.Waiting, int(starved+0.5))
	full := cpu >= busyCPU && b.TFTP > b.CPUs // blocks of TFTP wait for nothing else that could be measured
	switch {
	case fills >= leastWait && fills >= starved:
		return Cache, "", max(b.Filling, int(fills+0.5))
	case starved < leastWait && refused == 0 && !full:
		return "", "", 0
	case line >= busyLine:
		return Line, name, max(machines, 1)
	case full || cpu >= busyCPU:
		return CPU, "", max(machines, b.TFTP*btoi(full), 1)
	case starved >= leastWait && disk >= busyDisk:
		return Disk, "", machines
	case refused > 0:
		return Limit, "", max(machines, int(min(refused, 1<<20)))
	}
	return Network, "", machines
}

// busiest is the interface that is nearest to its speed, and how near.
func busiest(a, b Sample, d float64) (name string, part float64) {
	for _, l := range b.Lines {
		i := slices.IndexFunc(a.Lines, func(o SentBy) bool { return o.Name == l.Name })
		if i < 0 || l.Speed <= 0 || l.Bytes < a.Lines[i].Bytes {
			continue
		}
		if p := float64(l.Bytes-a.Lines[i].Bytes) / d / l.Speed; cmp.Compare(p, part) > 0 {
			name, part = l.Name, p
		}
	}
	return name, part
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}
