package report

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/kiln-farm/kiln/cli/ui/progress"
	"github.com/kiln-farm/kiln/internal/printable"
	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
)

// Status is a page about a farm: who leads, what it does, and who takes part.
func Status(s *kilnv1.StatusResponse, style Style) []string {
	lines := []string{headline(s, style)}
	facts := table{head: make([]string, 2)}
	leader := s.GetLeader()
	if leader == "" {
		leader = "none"
	}
	facts.add(colored(faint, "leader"), plain(leader+", Kiln "+s.GetVersion()))
	store := s.GetStore()
	if store == "" {
		store = "a directory of each coordinator"
	}
	facts.add(colored(faint, "store"), plain(store))
	facts.add(colored(faint, "work"), plain(fmt.Sprintf("%s, %s running, %s waiting",
		several(int(s.GetBuilds()), "build"), several(int(s.GetLeased()), "step"), count(s.GetReady()))))
	lines = append(lines, facts.lines(style, "  ")[1:]...)
	for _, part := range []struct {
		name  string
		lines []string
	}{
		{"coordinators", Members(s.GetMembers(), style)},
		{"builders", Builders(s.GetWorkers(), style)},
		{"teams", Teams(s.GetTeams(), style)},
	} {
		if len(part.lines) == 0 {
			continue
		}
		lines = append(lines, "", style.paint(bold, part.name))
		for _, line := range part.lines {
			lines = append(lines, "  "+line)
		}
	}
	if len(s.GetWorkers()) == 0 && len(s.GetBuilders()) == 0 {
		lines = append(lines, "", style.paint(yellow, "no builder works for this farm: start one with kiln builder"))
	}
	return lines
}

func headline(s *kilnv1.StatusResponse, style Style) string {
	name := s.GetFarm()
	if name == "" {
		name = "kiln"
	}
	alive, voters := 0, 0
	for _, m := range s.GetMembers() {
		if m.GetVoter() {
			voters++
			if m.GetAlive() || m.GetLeader() {
				alive++
			}
		}
	}
	health := style.paint(green, "healthy")
	switch {
	case s.GetLeader() == "":
		health = style.paint(red, "no leader")
	case alive < voters:
		spare := alive - (voters/2 + 1)
		health = style.paint(yellow, fmt.Sprintf("%d of %d coordinators answer", alive, voters))
		if spare <= 0 {
			health = style.paint(red, fmt.Sprintf("%d of %d coordinators answer; one more lost and the farm stops", alive, voters))
		}
	}
	return "farm " + style.paint(bold, printable.Line(name)) + "  " + health
}

// Members is a table of coordinators; nil when there is none, as with a farm that is one process.
func Members(members []*kilnv1.MemberStatus, style Style) []string {
	if len(members) == 0 {
		return nil
	}
	t := table{head: []string{"ID", "ADDRESS", "ROLE", "STATE", "VERSION", "LEVEL"}}
	for _, m := range sorted(members, func(m *kilnv1.MemberStatus) string { return m.GetMember().GetId() }) {
		role, state := colored(faint, "joins"), colored(green, "alive")
		switch {
		case m.GetLeader():
			role = colored(cyan, "leader")
		case m.GetVoter():
			role = plain("voter")
		}
		if !m.GetAlive() && !m.GetLeader() {
			state = colored(red, silent(m.GetSilentMs()))
		}
		t.add(plain(m.GetMember().GetId()), plain(m.GetMember().GetAddress()), role, state, plain(m.GetMember().GetVersion()), number(count(m.GetMember().GetLevel())))
	}
	return t.lines(style, "")
}

// lateHeartbeat is when a builder's silence is worth a word: it says something every two seconds.
const lateHeartbeat = 6 * time.Second

// Builders is a table of builders; nil when there is none.
func Builders(builders []*kilnv1.BuilderStatus, style Style) []string {
	if len(builders) == 0 {
		return nil
	}
	t := table{head: []string{"ID", "FOR", "CLASSES", "SLOTS", "", "STATE", "DONE", "FAILED", "VERSION"}}
	for _, b := range sorted(builders, (*kilnv1.BuilderStatus).GetId) {
		platforms := strings.ReplaceAll(strings.Join(b.GetPlatforms(), ","), "linux/", "")
		if platforms == "" {
			platforms = "any"
		}
		state := colored(green, "idle")
		switch {
		case time.Duration(b.GetSilentMs())*time.Millisecond > lateHeartbeat:
			state = colored(red, silent(b.GetSilentMs()))
		case b.GetHold() != "":
			state = colored(yellow, "held: "+b.GetHold())
		case b.GetDraining():
			state = colored(yellow, "draining")
		case b.GetLeased() > 0:
			state = colored(cyan, "works")
		}
		failed := number(count(b.GetFailed()))
		if b.GetFailed() > 0 {
			failed.color = red
		}
		t.add(plain(b.GetId()), plain(platforms), plain(strings.Join(b.GetClasses(), ",")), slots(b),
			number(fmt.Sprintf("%d/%d", b.GetLeased(), b.GetSlots())), state, number(count(b.GetDone())), failed, plain(b.GetVersion()))
	}
	return t.lines(style, "")
}

// barWidth is the most squares that a builder's slots are drawn as.
const barWidth = 16

// slots is a bar of as many squares as a builder has slots.
func slots(b *kilnv1.BuilderStatus) cell {
	all, used := int(b.GetSlots()), int(min(b.GetLeased(), b.GetSlots()))
	if all > barWidth {
		used = (used*barWidth + all - 1) / all
		all = barWidth
	}
	return cell{text: strings.Repeat("■", used) + strings.Repeat("□", all-used), color: cyan}
}

// Teams is a table of teams; nil when there is none.
func Teams(teams []*kilnv1.TeamStatus, style Style) []string {
	if len(teams) == 0 {
		return nil
	}
	t := table{head: []string{"TEAM", "WEIGHT", "BUILDS", "RUNNING", "WAITING", "LIMITS"}}
	for _, team := range sorted(teams, func(t *kilnv1.TeamStatus) string { return t.GetTeam().GetName() }) {
		var limits []string
		if n := team.GetTeam().GetMaxLeases(); n > 0 {
			limits = append(limits, several(int(n), "step")+" at a time")
		}
		if n := team.GetTeam().GetMaxBuilds(); n > 0 {
			limits = append(limits, several(int(n), "build")+" at a time")
		}
		if u := team.GetTeam().GetUnpack(); u != nil {
			limits = append(limits, Unpack(u))
		}
		t.add(plain(team.GetTeam().GetName()), number(count(team.GetTeam().GetWeight())), number(count(team.GetBuilds())),
			number(count(team.GetLeased())), number(count(team.GetReady())), plain(strings.Join(limits, ", ")))
	}
	return t.lines(style, "")
}

// Unpack says what a team's images may unpack to, as far as that is not what is usual.
func Unpack(u *kilnv1.UnpackLimits) string {
	var all []string
	add := func(n int64, none, some string) {
		switch {
		case n == math.MaxInt64:
			all = append(all, none)
		case n > 0:
			all = append(all, some)
		}
	}
	add(u.GetBytes(), "of any size", "of "+progress.Size(u.GetBytes()))
	add(u.GetFiles(), "any number of files", fmt.Sprintf("%d files", u.GetFiles()))
	add(u.GetRatio(), "any ratio", fmt.Sprintf("ratio %d", u.GetRatio()))
	return "images " + strings.Join(all, ", ")
}

func silent(ms int64) string {
	if ms < time.Second.Milliseconds() {
		return "silent"
	}
	return "silent for " + Span(time.Duration(ms)*time.Millisecond)
}

func sorted[T any](list []T, name func(T) string) []T {
	return slices.SortedFunc(slices.Values(list), func(a, b T) int { return cmp.Compare(name(a), name(b)) })
}
