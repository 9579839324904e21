package leasefile

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

func TestNotesAreBounded(t *testing.T) {
	f, err := Parse(DnsmasqConf, []byte(strings.Repeat("dhcp-host=a,10.0.0.1\n", 5000)), Options{})
	if err != nil {
		t.Fatal(err)
	}
	if got, want := len(f.Notes), maxNotes+1; got != want {
		t.Fatalf("got %d notes, want %d", got, want)
	}
	if got, want := f.Notes[maxNotes].Text, "4000 more notes are not shown; the file may be of another kind"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestTooMuchIsAnError(t *testing.T) {
	many := func(n int, line func(i int) string) string {
		var b strings.Builder
		for i := range n {
			b.WriteString(line(i))
		}
		return b.String()
	}
	for _, c := range []struct {
		name string
		kind Kind
		data string
		want string
	}{
		{"leases", DnsmasqLeases, many(maxObjects+1, func(i int) string {
			return fmt.Sprintf("0 52:54:00:00:00:01 10.%d.%d.%d * *\n", i>>16, i>>8&255, i&255)
		}), "line 500001: the file has more than 500000 leases; divide it into several files"},
		{"values", KeaConf, "[" + strings.Repeat("1,", maxNodes) + "]", "line 1: the file has more than 1000000 values; divide it into several files"},
		{"words", ISCConf, strings.Repeat("a ", maxWords+1), `line 1: the statement "a a" has more than 1000 words; end it with ";"`},
		{"blocks", ISCConf, strings.Repeat("group {", maxDepth+1), "line 1: blocks are nested more than 64 deep; take some apart"},
		{"bytes", ISCConf, strings.Repeat(" ", maxFile+1), "the file is larger than 64 MiB; let its server clean it up first, which a restart does"},
		{"kinds", "leases of nobody", "", `"leases of nobody" is not a kind of file that is read here; name one that Detect gives`},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := Parse(c.kind, []byte(c.data), Options{})
			if err == nil || err.Error() != c.want {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
}

// Files that are made to be slow take as long as others: a quadratic reader would need hours for these.
func TestReadingIsLinear(t *testing.T) {
	const size = 1 << 20
	for _, c := range []struct {
		name string
		kind Kind
		part string
	}{
		{"quotes", ISCConf, `"\`}, {"blocks that are skipped", ISCConf, "class { { } } "}, {"subnets and ranges", ISCConf, "subnet 10.0.0.0 netmask 255.0.0.0 { } pool { range 11.0.0.1; } "},
		{"one address", ISCLeases, "lease 10.0.0.1 { binding state free; } "}, {"comments", KeaConf, "/**/"}, {"keys", KeaConf, `{"a":`}, {"escapes", KeaConf, `"\u`},
		{"marks", KeaLeases, "&#x"}, {"commas", DnsmasqConf, "a=,,"}, {"tags", DnsmasqConf, "dhcp-option=tag:x,3,1.1.1.1\ndhcp-range=set:x,1.1.1.1,static,255.255.255.0\n"},
		{"fields", DnsmasqLeases, "0 "},
	} {
		t.Run(c.name, func(t *testing.T) {
			data := []byte(strings.Repeat(c.part, size/len(c.part)))
			if c.kind == KeaLeases {
				data = append([]byte("address,hwaddr,client_id,valid_lifetime,expire,hostname\n10.0.0.1,52:54:00:00:00:01,,60,60,"), data...)
			}
			start := time.Now()
			Detect("x", data)
			_, _ = Parse(c.kind, data, Options{})
			if took := time.Since(start); took > 5*time.Second {
				t.Errorf("1 MiB took %s", took)
			}
		})
	}
}
