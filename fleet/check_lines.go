package fleet

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"

	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
)

// lines makes the command line of every machine as if it booted now, and complains about templates that cannot be filled and about
// lines that are too long: each part of one may be allowed, and the kernel cuts the whole.
func (c *checker) lines() {
	if len(c.in.GetGroups()) > maxGroups {
		return
	}
	index := NewIndex(c.in)
	faults := &lineFaults{count: map[string]int{}}
	for i, m := range c.in.GetMachines() {
		boot, err := index.Named(m.GetName())
		if boot == nil || err != nil && !errors.Is(err, ErrNoRelease) {
			continue
		}
		c.line(faults, boot, Problem{Kind: KindMachine, Index: i, Name: m.GetName()})
	}
	if len(index.unknown) > 0 {
		boot, _ := index.boot(nil, Identity{MAC: "52:54:00:00:00:01"}, "") // any will do
		g := index.unknown[0]
		c.line(faults, boot, Problem{Kind: KindGroup, Index: slices.Index(c.in.GetGroups(), g), Name: g.GetName()})
	}
	for _, p := range faults.all {
		if n := faults.count[p.key] - 1; n > 0 {
			p.Text += fmt.Sprintf(" (and so for %s)", counted(n, "other machine", "other machines"))
		}
		if len(c.problems) < maxProblems {
			c.problems = append(c.problems, p.Problem)
		}
	}
}

// lineFaults has each fault once, however many machines have it.
type lineFaults struct {
	all   []lineFault
	count map[string]int
}

type lineFault struct {
	Problem
	key string
}

func (l *lineFaults) add(key string, p Problem) {
	if l.count[key]++; l.count[key] == 1 {
		l.all = append(l.all, lineFault{p, key})
	}
}

// line checks the command line of one machine, for each platform that it may be of.
func (c *checker) line(faults *lineFaults, boot *Boot, machine Problem) {
	if boot.UKI { // its command line is in the image
		return
	}
	platforms := boot.Release.GetPlatforms()
	if len(platforms) == 0 {
		platforms = map[string]*kilnv1.ReleaseFiles{"": {Kernel: &kilnv1.FileRef{}}} // what the release will have is not known, or there is none
	}
	for _, p := range slices.Sorted(maps.Keys(platforms)) {
		f := platforms[p]
		if f.GetKernel() == nil {
			continue
		}
		text, err := boot.cmdlineBy(f, netip.Prefix{}, c.compile)
		if err != nil {
			var fault *CmdlineFault
			if errors.As(err, &fault) {
				at := c.owner(fault.From, machine)
				at.Field, at.Text = "cmdline", fmt.Sprintf("its cmdline, for %s: %s", describe(machine, boot), fault.Err)
				at.err = fault.Err
				faults.add(err.Error(), at)
			}
			continue
		}
		token := strings.Repeat("t", TokenLength(boot.Key()))
		if _, err := KernelLine(text, token, []string{assumedEdge}, InitrdWords(f)); err != nil {
			machine.Text = err.Error()
			faults.add(strings.Join(append(boot.Groups, p, boot.Release.GetName(), err.Error()), "\x00"), machine)
		}
	}
}

// describe is a machine in a sentence.
func describe(machine Problem, boot *Boot) string {
	if machine.Kind == KindMachine {
		return "machine " + bare(boot.Name())
	}
	return "machines that nobody described"
}

// owner is whose a part of a command line is.
func (c *checker) owner(from string, machine Problem) Problem {
	kind, name, _ := strings.Cut(from, " ")
	switch kind {
	case KindGroup:
		for i, g := range c.in.GetGroups() {
			if g.GetName() == name {
				return Problem{Kind: KindGroup, Index: i, Name: name}
			}
		}
	case KindRelease:
		for i, r := range c.in.GetReleases() {
			if r.GetName() == name {
				return Problem{Kind: KindRelease, Index: i, Name: name}
			}
		}
	}
	return machine
}

func counted(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}
