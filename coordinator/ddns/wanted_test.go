package ddns

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
)

func rack(change ...func(*kilnv1.DNSUpdate)) *kilnv1.Subnet {
	u := &kilnv1.DNSUpdate{Server: "s", Zone: "lab.example", Clients: true, Key: "k"}
	for _, c := range change {
		c(u)
	}
	return &kilnv1.Subnet{Name: "rack", Prefix: "10.0.0.0/24", DnsUpdate: u}
}

func bound(mac, address, name string, until int64) *kilnv1.Binding {
	return &kilnv1.Binding{Subnet: "rack", Address: address, Client: "mac " + mac, Mac: mac, Name: name, State: kilnv1.BindingState_BINDING_STATE_BOUND, UntilMs: until}
}

func lines(records map[Key]*kilnv1.DNSRecord) string {
	var out []string
	for key, r := range records {
		line := key.Name + "=" + key.Address
		if key.Reverse {
			line = key.Address + "=" + key.Name + " in " + key.Zone
		}
		out = append(out, fmt.Sprintf("%s of %s for %d", line, strings.TrimPrefix(key.Client, "mac "), r.GetTtlSeconds()))
	}
	slices.Sort(out)
	return strings.Join(out, ", ")
}

func TestWanted(t *testing.T) {
	web := &kilnv1.Machine{Name: "web", Macs: []string{"m1", "m2"}}
	fixed := &kilnv1.Machine{Name: "fix", Macs: []string{"m3"}, Hostname: "db.lab.example", Address: "10.0.0.3/24", Address6: "fd00::3/64"}
	noReverse := func(u *kilnv1.DNSUpdate) { u.Reverse = NoReverse }
	for _, c := range []struct {
		name     string
		subnets  []*kilnv1.Subnet
		machines []*kilnv1.Machine
		bindings []*kilnv1.Binding
		want     string
		why      string // of the address 10.0.0.5
	}{
		{"a subnet that publishes nothing", []*kilnv1.Subnet{{Name: "rack", Prefix: "10.0.0.0/24"}}, []*kilnv1.Machine{web, fixed}, []*kilnv1.Binding{bound("m1", "10.0.0.5", "", 10)}, "", ""},
		{"a machine at a bound address", []*kilnv1.Subnet{rack()}, []*kilnv1.Machine{web}, []*kilnv1.Binding{bound("m2", "10.0.0.5", "x", 10)},
			"10.0.0.5=web.lab.example in 0.0.10.in-addr.arpa of m1 for 300, web.lab.example=10.0.0.5 of m1 for 300", ""},
		{"at two", []*kilnv1.Subnet{rack(noReverse)}, []*kilnv1.Machine{web}, []*kilnv1.Binding{bound("m2", "10.0.0.5", "", 10), bound("m1", "10.0.0.6", "", 10)},
			"web.lab.example=10.0.0.5 of m1 for 300, web.lab.example=10.0.0.6 of m1 for 300", ""},
		{"a fixed address, bound or not", []*kilnv1.Subnet{rack(noReverse)}, []*kilnv1.Machine{fixed}, []*kilnv1.Binding{bound("m3", "10.0.0.3", "", 10)}, "db.lab.example=10.0.0.3 of m3 for 300", ""},
		{"one of IPv6", []*kilnv1.Subnet{{Name: "six", Prefix: "fd00::/64", DnsUpdate: rack(noReverse).DnsUpdate}}, []*kilnv1.Machine{fixed}, nil, "db.lab.example=fd00::3 of m3 for 300", ""},
		{"a client's name", []*kilnv1.Subnet{rack(func(u *kilnv1.DNSUpdate) { u.TtlSeconds = 60; u.Reverse = "10.in-addr.arpa" })}, nil, []*kilnv1.Binding{bound("m9", "10.0.0.5", "pc", 10)},
			"10.0.0.5=pc.lab.example in 10.in-addr.arpa of m9 for 60, pc.lab.example=10.0.0.5 of m9 for 60", ""},
		{"where only machines have names", []*kilnv1.Subnet{rack(func(u *kilnv1.DNSUpdate) { u.Clients = false })}, nil, []*kilnv1.Binding{bound("m9", "10.0.0.5", "pc", 10)}, "", ""},
		{"a client without a name", []*kilnv1.Subnet{rack()}, nil, []*kilnv1.Binding{bound("m9", "10.0.0.5", "", 10)}, "", ""},
		{"a binding that has run out", []*kilnv1.Subnet{rack()}, nil, []*kilnv1.Binding{bound("m9", "10.0.0.5", "pc", 5)}, "", ""},
		{"a client whose name a machine got", []*kilnv1.Subnet{rack(noReverse)}, []*kilnv1.Machine{web}, []*kilnv1.Binding{bound("m9", "10.0.0.5", "web", 10)}, "", "machine web has this name"},
		{"two clients of one name", []*kilnv1.Subnet{rack(noReverse)}, nil, []*kilnv1.Binding{bound("m9", "10.0.0.5", "pc", 10), bound("m8", "10.0.0.4", "pc", 10)},
			"pc.lab.example=10.0.0.4 of m8 for 300", "mac m8 at 10.0.0.4 has this name"},
		{"two machines of one name", []*kilnv1.Subnet{rack(noReverse)}, []*kilnv1.Machine{web, {Name: "www", Hostname: "web", Macs: []string{"m7"}}},
			[]*kilnv1.Binding{bound("m7", "10.0.0.5", "", 10), bound("m1", "10.0.0.6", "", 10)}, "web.lab.example=10.0.0.6 of m1 for 300", "machine web has this name"},
		{"two names of one address", []*kilnv1.Subnet{rack()}, []*kilnv1.Machine{{Name: "a", Macs: []string{"m1"}, Address: "10.0.0.9/24"}, {Name: "b", Macs: []string{"m1"}, Address: "10.0.0.9/24"}}, nil,
			"10.0.0.9=a.lab.example in 0.0.10.in-addr.arpa of m1 for 300, a.lab.example=10.0.0.9 of m1 for 300, b.lab.example=10.0.0.9 of m1 for 300", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := Wanted(&kilnv1.Intent{Subnets: c.subnets, Machines: c.machines}, c.bindings, 5)
			if lines(got.Records) != c.want {
				t.Errorf("got %s\nwant %s", lines(got.Records), c.want)
			}
			if why := got.Names[Place{"rack", "10.0.0.5"}].Why; why != c.why {
				t.Errorf("why: %q, want %q", why, c.why)
			}
			for range 5 { // no order matters
				rand.Shuffle(len(c.bindings), func(i, j int) { c.bindings[i], c.bindings[j] = c.bindings[j], c.bindings[i] })
				rand.Shuffle(len(c.machines), func(i, j int) { c.machines[i], c.machines[j] = c.machines[j], c.machines[i] })
				if again := Wanted(&kilnv1.Intent{Subnets: c.subnets, Machines: c.machines}, c.bindings, 5); lines(again.Records) != c.want {
					t.Errorf("in another order: %s", lines(again.Records))
				}
			}
		})
	}
}

func TestPlan(t *testing.T) {
	sure := func(r *kilnv1.DNSRecord, sure bool) *kilnv1.DNSRecord { return As(r, sure) }
	a, b, aThere := record("web", "10.0.0.5", macA, false), record("web", "10.0.0.6", macB, false), record("web", "10.0.0.7", macA, false)
	longer := proto.CloneOf(a)
	longer.TtlSeconds = 600
	show := func(tasks []Task, blocked []*kilnv1.DNSRecord) string {
		var out []string
		for _, task := range tasks {
			s := map[bool]string{false: "add ", true: "remove "}[task.Remove] + task.Record.GetAddress()
			if task.Put {
				s = "put, " + s
			}
			out = append(out, s)
		}
		for _, r := range blocked {
			out = append(out, "blocked "+r.GetAddress())
		}
		return strings.Join(out, "; ")
	}
	for _, c := range []struct {
		name   string
		wanted []*kilnv1.DNSRecord
		there  []*kilnv1.DNSRecord
		want   string
	}{
		{"nothing", nil, nil, ""},
		{"a new record", []*kilnv1.DNSRecord{a}, nil, "put, add 10.0.0.5"},
		{"one that was begun", []*kilnv1.DNSRecord{a}, []*kilnv1.DNSRecord{sure(a, false)}, "add 10.0.0.5"},
		{"one that is there", []*kilnv1.DNSRecord{a}, []*kilnv1.DNSRecord{sure(a, true)}, ""},
		{"for a longer time", []*kilnv1.DNSRecord{longer}, []*kilnv1.DNSRecord{sure(a, true)}, "put, add 10.0.0.5"},
		{"one that is not wanted any more", nil, []*kilnv1.DNSRecord{sure(a, true)}, "put, remove 10.0.0.5"},
		{"one whose end was begun", nil, []*kilnv1.DNSRecord{sure(a, false)}, "remove 10.0.0.5"},
		{"the same client's other address comes first", []*kilnv1.DNSRecord{aThere}, []*kilnv1.DNSRecord{sure(a, true)}, "put, add 10.0.0.7; put, remove 10.0.0.5"},
		{"another client waits for the name", []*kilnv1.DNSRecord{b}, []*kilnv1.DNSRecord{sure(a, true)}, "put, remove 10.0.0.5; blocked 10.0.0.6"},
	} {
		w := Wants{Records: map[Key]*kilnv1.DNSRecord{}}
		for _, r := range c.wanted {
			w.Records[KeyOf(r)] = r
		}
		if got := show(Plan(w, c.there)); got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
	tasks, _ := Plan(Wants{Keys: map[Zone]string{{"s", "lab.example"}: "new"}}, []*kilnv1.DNSRecord{a})
	if got := tasks[0].Record.GetKey(); got != "new" {
		t.Errorf("a record is removed with the key %q, want that which its zone has now", got)
	}
}

func BenchmarkWantedAndPlan(b *testing.B) {
	in := &kilnv1.Intent{}
	var bindings []*kilnv1.Binding
	var published []*kilnv1.DNSRecord
	for i := range 400 {
		s := rack()
		s.Name, s.Prefix = fmt.Sprint("rack", i), fmt.Sprintf("10.%d.%d.0/24", i/200, i%200)
		in.Subnets = append(in.Subnets, s)
		for j := range 250 {
			mac := fmt.Sprintf("02:00:00:00:%02x:%02x", i%256, j)
			one := bound(mac, fmt.Sprintf("10.%d.%d.%d", i/200, i%200, j+1), fmt.Sprintf("pc-%d-%d", i, j), 100)
			one.Subnet = s.Name
			bindings = append(bindings, one)
		}
	}
	for _, r := range Wanted(in, bindings, 0).Records {
		published = append(published, As(r, true))
	}
	b.ReportMetric(float64(len(bindings)), "bindings")
	for b.Loop() {
		if tasks, _ := Plan(Wanted(in, bindings, 0), published); len(tasks) > 0 {
			b.Fatal(len(tasks))
		}
	}
}
