package ddns

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"github.com/kiln-farm/kiln/internal/dnstest"
	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
)

const (
	macA = "mac 52:54:00:00:00:0a"
	macB = "mac 52:54:00:00:00:0b"
)

func record(name, address, client string, reverse bool) *kilnv1.DNSRecord {
	r := &kilnv1.DNSRecord{Server: "s", Zone: "lab.example", Name: name + ".lab.example", Address: address, Client: client, Reverse: reverse, TtlSeconds: 60}
	if reverse {
		r.Zone = "0.0.10.in-addr.arpa"
	}
	return r
}

// tell has a whole exchange with a server.
func tell(t *testing.T, s *dnstest.Server, begin func(*kilnv1.DNSRecord) (*Exchange, error), r *kilnv1.DNSRecord) Verdict {
	t.Helper()
	e, err := begin(r)
	if err != nil {
		t.Fatal(err)
	}
	for m, n := e.Begin(), 0; ; n++ {
		if n > maxTries+1 {
			t.Fatal("the exchange does not end")
		}
		wire, err := m.Pack() // what goes over the wire is what is meant
		if err != nil {
			t.Fatal(err)
		}
		got := &dns.Msg{}
		if err := got.Unpack(wire); err != nil {
			t.Fatal(err)
		}
		answer := (&dns.Msg{}).SetReply(got)
		answer.Rcode = s.Update(got)
		next, verdict := e.Next(answer)
		if next == nil {
			return verdict
		}
		m = next
	}
}

func TestExchanges(t *testing.T) {
	type step struct {
		begin func(*kilnv1.DNSRecord) (*Exchange, error)
		of    *kilnv1.DNSRecord
		want  Verdict
	}
	webA, webA2, web6, webB := record("web", "10.0.0.5", macA, false), record("web", "10.0.0.6", macA, false), record("web", "fd00::5", macA, false), record("web", "10.0.0.7", macB, false)
	ptrA, ptrB := record("web", "10.0.0.5", macA, true), record("db", "10.0.0.5", macB, true)
	for _, c := range []struct {
		name   string
		byHand string
		steps  []step
		want   string
	}{
		{"a free name", "", []step{{Adding, webA, Done}}, "web.lab.example A 10.0.0.5, web.lab.example DHCID"},
		{"the same again", "", []step{{Adding, webA, Done}, {Adding, webA, Done}}, "web.lab.example A 10.0.0.5, web.lab.example DHCID"},
		{"a second address of the same machine, and one of IPv6", "", []step{{Adding, webA, Done}, {Adding, webA2, Done}, {Adding, web6, Done}},
			"web.lab.example A 10.0.0.5, web.lab.example A 10.0.0.6, web.lab.example AAAA fd00::5, web.lab.example DHCID"},
		{"another client's name", "", []step{{Adding, webA, Done}, {Adding, webB, Taken}, {Removing, webB, Done}}, "web.lab.example A 10.0.0.5, web.lab.example DHCID"},
		{"a name made by hand", "web.lab.example. 60 IN A 10.9.9.9", []step{{Adding, webA, Taken}, {Removing, webA, Done}}, "web.lab.example A 10.9.9.9"},
		{"a name made by hand that has another type", "web.lab.example. 60 IN TXT x", []step{{Adding, webA, Taken}}, `web.lab.example TXT "x"`},
		{"a name goes with its last address", "", []step{{Adding, webA, Done}, {Adding, web6, Done}, {Removing, webA, Done}, {Removing, web6, Done}, {Removing, web6, Done}}, ""},
		{"the mark stays with an address that is left", "", []step{{Adding, webA, Done}, {Adding, web6, Done}, {Removing, webA, Done}}, "web.lab.example AAAA fd00::5, web.lab.example DHCID"},
		{"the name passes on", "", []step{{Adding, webA, Done}, {Removing, webA, Done}, {Adding, webB, Done}}, "web.lab.example A 10.0.0.7, web.lab.example DHCID"},
		{"a pointer", "", []step{{Adding, ptrA, Done}, {Adding, ptrA, Done}}, "5.0.0.10.in-addr.arpa DHCID, 5.0.0.10.in-addr.arpa PTR web.lab.example"},
		{"an older pointer of ours is replaced, and not removed by who had it", "", []step{{Adding, ptrA, Done}, {Adding, ptrB, Done}, {Removing, ptrA, Done}},
			"5.0.0.10.in-addr.arpa DHCID, 5.0.0.10.in-addr.arpa PTR db.lab.example"},
		{"a pointer made by hand", "5.0.0.10.in-addr.arpa. 60 IN PTR old.example.", []step{{Adding, ptrA, Taken}, {Removing, ptrA, Done}}, "5.0.0.10.in-addr.arpa PTR old.example"},
		{"a pointer is removed", "", []step{{Adding, ptrA, Done}, {Removing, ptrA, Done}}, ""},
		{"a zone that is not there", "", []step{{Adding, &kilnv1.DNSRecord{Zone: "x.example", Name: "a.x.example", Address: "10.0.0.1", Client: macA}, Refused},
			{Removing, &kilnv1.DNSRecord{Zone: "x.example", Name: "a.x.example", Address: "10.0.0.1", Client: macA}, Refused}}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := dnstest.New(t, "", nil, "lab.example", "0.0.10.in-addr.arpa")
			if c.byHand != "" {
				if err := s.Put(c.byHand); err != nil {
					t.Fatal(err)
				}
			}
			for i, step := range c.steps {
				if got := tell(t, s, step.begin, step.of); got != step.want {
					t.Errorf("step %d: %s, want %s", i+1, got, step.want)
				}
			}
			if got := strings.Join(s.Lines(), ", "); got != c.want {
				t.Errorf("the zones hold %s, want %s", got, c.want)
			}
		})
	}
}

func TestRecordsThatCannotBe(t *testing.T) {
	for _, r := range []*kilnv1.DNSRecord{
		{}, {Zone: "z", Name: "a.z", Client: macA}, {Zone: "z", Name: "a b.z", Address: "10.0.0.1", Client: macA}, {Zone: "z", Name: "a.z", Address: "10.0.0.1", Client: "x"},
	} {
		if _, err := Adding(r); err == nil {
			t.Errorf("%v can be added", r)
		}
	}
}

// Whatever the order of adding and removing the records of one client, and however often each, what was done last holds.
func TestRandomExchangesEndAsTheLastSaid(t *testing.T) {
	for seed := range uint64(200) {
		r := rand.New(rand.NewPCG(seed, 1))
		s := dnstest.New(t, "", nil, "lab.example", "0.0.10.in-addr.arpa")
		last := map[Key]bool{}
		for range 60 {
			one := record("web", fmt.Sprintf("10.0.0.%d", r.IntN(4)), macA, r.IntN(2) == 0)
			begin := Adding
			if r.IntN(2) == 0 {
				begin = Removing
			}
			if got := tell(t, s, begin, one); got != Done {
				t.Fatalf("seed %d: %s", seed, got)
			}
			last[KeyOf(one)] = !isRemoving(begin, one)
		}
		var want []string
		marked := map[string]bool{}
		for key, there := range last {
			if !there {
				continue
			}
			line, owner := key.Name+" A "+key.Address, key.Name
			if key.Reverse {
				owner = strings.TrimPrefix(key.Address, "10.0.0.") + ".0.0.10.in-addr.arpa"
				line = owner + " PTR " + key.Name
			}
			want = append(want, line)
			marked[owner] = true
		}
		for owner := range marked {
			want = append(want, owner+" DHCID")
		}
		slices.Sort(want)
		if got := s.Lines(); !slices.Equal(got, want) {
			t.Fatalf("seed %d: %v, want %v", seed, got, want)
		}
	}
}

func isRemoving(begin func(*kilnv1.DNSRecord) (*Exchange, error), r *kilnv1.DNSRecord) bool {
	e, _ := begin(r)
	return e.remove
}

func TestEveryRefusalHasASentence(t *testing.T) {
	r := record("web", "10.0.0.5", macA, false)
	r.Key = "kiln"
	for code := range 24 {
		for _, tsig := range []uint16{0, dns.RcodeBadSig, dns.RcodeBadKey, dns.RcodeBadTime} {
			if got := Explain(r, code, tsig); !strings.Contains(got, ": ") || strings.Contains(got, "%!") {
				t.Errorf("%d, %d: %q", code, tsig, got)
			}
		}
	}
}
