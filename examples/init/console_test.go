package main

import (
	"strings"
	"testing"
	"time"
)

func TestSecondsOfTheCommandLine(t *testing.T) {
	for _, c := range []struct {
		name, line string
		want       time.Duration
		ok         bool
	}{
		{"the argument is absent", "quiet", 0, false},
		{"a number", "quiet kiln.poweroff=5 x", 5 * time.Second, true},
		{"the last one holds", "kiln.poweroff=5 kiln.poweroff=0", 0, true},
		{"no number", "kiln.poweroff=soon", 0, false},
		{"no value", "kiln.poweroff", 0, false},
		{"a negative number", "kiln.poweroff=-1", 0, false},
		{"longer than a day", "kiln.poweroff=86401", 0, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got, ok := parseCmdline(c.line).seconds("kiln.poweroff"); got != c.want || ok != c.ok {
				t.Errorf("got %v %v, want %v %v", got, ok, c.want, c.ok)
			}
		})
	}
}

func TestLinesOfTheConsoleSayWhoseTheyAre(t *testing.T) {
	var b strings.Builder
	heard := 0
	newConsole(&b).copy("service web", strings.NewReader("one\ntwo\r\n"+strings.Repeat("x", maxLine+1)+"\nlast"), func() { heard++ })
	want := "[service web] one\n[service web] two\n[service web] " + strings.Repeat("x", maxLine) + "\n[service web] x\n[service web] last\n"
	if b.String() != want || heard != 5 {
		t.Errorf("got %q and heard %d times, want %q and 5", b.String(), heard, want)
	}
}
