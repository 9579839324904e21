package bottleneck

import (
	"testing"
	"time"
)

// after is a sample some seconds later in which the host did nothing.
func after(s Sample, change func(*Sample)) Sample {
	s.At += Every
	if change != nil {
		change(&s)
	}
	return s
}

func TestWhatMachinesWaitFor(t *testing.T) {
	calm := Sample{At: time.Minute, CPUs: 2, Lines: []SentBy{{"eth0", 1e9, 125e6}, {"eth1", 5, 0}}}
	for _, c := range []struct {
		name     string
		change   func(*Sample)
		cause    Cause
		machines int
	}{
		{"nobody waits, and the host is busy", func(s *Sample) { s.CPU += 10; s.Lines = []SentBy{{"eth0", 1e9 + 625e6, 125e6}} }, "", 0},
		{"one machine waits now and then", func(s *Sample) { s.Starved += 4 * time.Second }, "", 0},
		{"ten wait, and the line is full", func(s *Sample) {
			s.Starved, s.Waiting = s.Starved+50*time.Second, 12
			s.Lines = []SentBy{{"eth0", 1e9 + 600e6, 125e6}}
		}, Line, 12},
		{"ten wait, and the processors are busy", func(s *Sample) { s.Starved += 50 * time.Second; s.CPU += 9.5 }, CPU, 10},
		{"ten wait for the disk", func(s *Sample) { s.Starved += 50 * time.Second; s.Disk += 3 * time.Second }, Disk, 10},
		{"ten wait, and nothing here is full", func(s *Sample) { s.Starved += 50 * time.Second; s.CPU += 3 }, Network, 10},
		{"three wait for the shared cache", func(s *Sample) { s.Fills, s.Filling = s.Fills+15*time.Second, 3; s.Starved += 5 * time.Second }, Cache, 3},
		{"some are refused", func(s *Sample) { s.Refused += 7 }, Limit, 7},
		{"TFTP transfers, and the processors are busy", func(s *Sample) { s.CPU += 9.9; s.TFTP = 40 }, CPU, 40},
		{"TFTP transfers, and they are not", func(s *Sample) { s.CPU += 2; s.TFTP = 40 }, "", 0},
		{"ten wait, and the host tells nothing", func(s *Sample) { s.Starved += 50 * time.Second; s.CPU, s.Disk, s.Lines = -1, -1, nil }, Network, 10},
		{"an interface that was made anew", func(s *Sample) { s.Starved += 50 * time.Second; s.Lines = []SentBy{{"eth0", 5, 125e6}} }, Network, 10},
	} {
		cause, part, machines := judge(calm, after(calm, c.change))
		if cause != c.cause || machines != c.machines || (part != "") != (cause == Line) {
			t.Errorf("%s: got %q %q, %d machines; want %q, %d", c.name, cause, part, machines, c.cause, c.machines)
		}
		if cause.Remedy() == "" {
			t.Errorf("%s: there is no remedy", c.name)
		}
	}
}

func TestItIsSaidOnceAMinuteAndWhenItIsOver(t *testing.T) {
	var j Judge
	s := Sample{CPUs: 2}
	j.Add(s)
	var said []Statement
	step := func(starved time.Duration) {
		s = after(s, func(s *Sample) { s.Starved += starved })
		if say := j.Add(s); say != (Statement{}) {
			said = append(said, say)
		}
	}
	step(50 * time.Second) // one sample says nothing
	step(0)
	step(0)
	if len(said) != 0 {
		t.Fatalf("a moment was told: %+v", said)
	}
	for range 30 { // 150 s
		step(50 * time.Second)
	}
	if len(said) != 3 || said[0].Cause != Network || said[0].Machines != 10 {
		t.Fatalf("in 150 s it was told %+v, want three times", said)
	}
	if cause, n := j.Now(); cause != Network || n != 10 {
		t.Errorf("now it is %q %d", cause, n)
	}
	step(0)
	step(50 * time.Second) // a moment of calm is not the end
	step(0)
	step(0)
	if last := said[len(said)-1]; len(said) != 4 || !last.Over || last.Machines != 10 || last.Since != said[0].Since {
		t.Errorf("the end was told as %+v", said[3:])
	}
	if cause, n := j.Now(); cause != "" || n != 0 {
		t.Errorf("after the end it is %q %d", cause, n)
	}
}

func TestWaitsCountWhileTheyLast(t *testing.T) {
	var w Waits
	first := w.Begin(10 * time.Second)
	w.Begin(12 * time.Second)
	if total, now := w.Total(15 * time.Second); total != 8*time.Second || now != 2 {
		t.Errorf("got %v, %d", total, now)
	}
	first(15 * time.Second)
	if total, now := w.Total(20 * time.Second); total != 13*time.Second || now != 1 {
		t.Errorf("got %v, %d", total, now)
	}
}
