package cli

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/kiln-farm/kiln/cli/client"
	"github.com/kiln-farm/kiln/cli/ui"
	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
)

const rackYAML = `subnets:
  - name: rack-a
    prefix: 10.0.0.0/24
    pools: [10.0.0.100-10.0.0.109]
    exclude: [10.0.0.105]
    gateway: 10.0.0.1
  - name: rack-b
    prefix: 10.0.1.0/24
    pools: [10.0.1.100-10.0.1.101]
machines:
  - {name: web-1, mac: "52:54:00:00:00:01", address: 10.0.0.101/24}
  - {name: web-2, mac: "52:54:00:00:00:02"}
`

// steps are commands, one after the other, and what they say.
type steps []struct {
	args []string
	code int
	want []string
	not  string
}

func (s steps) run(t *testing.T, w *world) {
	t.Helper()
	for _, s := range s {
		r := w.run(s.args...)
		said := r.stdout + r.stderr
		if r.code != s.code {
			t.Errorf("kiln %s: exit code %d, want %d: %s", strings.Join(s.args, " "), r.code, s.code, said)
		}
		for _, want := range s.want {
			if !regexp.MustCompile(want).MatchString(said) {
				t.Errorf("kiln %s: no %q in:\n%s", strings.Join(s.args, " "), want, said)
			}
		}
		if s.not != "" && strings.Contains(said, s.not) {
			t.Errorf("kiln %s: %q in:\n%s", strings.Join(s.args, " "), s.not, said)
		}
	}
}

// atFarm is a world with a farm.
func atFarm(t *testing.T) *world {
	w := newWorld(t)
	w.vars["KILN_FARM"] = w.startServer(t, filepath.Join(w.dir, "server"))
	return w
}

// bind binds addresses of rack-a at the farm, "ADDRESS MAC" each.
func (w *world) bind(t *testing.T, subnet string, during time.Duration, all ...string) {
	t.Helper()
	w.change(t, kilnv1.BindCommand_OPERATION_BIND, subnet, during, all...)
}

func (w *world) change(t *testing.T, operation kilnv1.BindCommand_Operation, subnet string, during time.Duration, all ...string) {
	t.Helper()
	f, err := client.Dial(w.vars["KILN_FARM"], client.Options{})
	check(t, err)
	defer f.Close()
	var commands []*kilnv1.BindCommand
	for _, one := range all {
		address, mac, _ := strings.Cut(one, " ")
		commands = append(commands, &kilnv1.BindCommand{Operation: operation, Subnet: subnet, Address: address, Client: "mac " + mac, Mac: mac,
			Hostname: "host", Edge: "edge-1", ForMs: during.Milliseconds()})
	}
	results, err := f.Bind(t.Context(), commands)
	check(t, err)
	for i, r := range results {
		if r.GetVerdict() != kilnv1.BindVerdict_BIND_VERDICT_DONE {
			t.Fatalf("%s: %v", all[i], r)
		}
	}
}

func TestSubnetsAreDescribedAndLookedAt(t *testing.T) {
	w := atFarm(t)
	w.write("rack.yml", rackYAML)
	w.write("less.yml", strings.Replace(rackYAML, "gateway: 10.0.0.1\n", "gateway: 10.0.0.2\n    options: {26: 9000}\n", 1))
	w.write("one.yml", "subnets:\n  - {name: rack-b, prefix: 10.0.1.0/24, pools: [10.0.1.100-10.0.1.109]}\n")
	w.write("over.yml", "subnets:\n  - {name: rack-c, prefix: 10.0.0.128/25}\n")
	w.write("fixed.yml", "machines:\n  - {name: web-3, mac: \"52:54:00:00:00:03\", address: 10.0.0.102/24}\n")
	steps{
		{args: []string{"subnet", "ls"}, want: []string{"SUBNET"}, not: "rack-a"},
		{args: []string{"diff", "-f", "rack.yml"}, want: []string{`\+ subnet rack-a`, "pools: 10.0.0.100-10.0.0.109", `\+ machine web-1`}},
		{args: []string{"apply", "-f", "rack.yml"}, want: []string{`\+ subnet rack-b`}},
		{args: []string{"apply", "-f", "rack.yml"}, want: []string{"nothing changes"}},
		{args: []string{"subnet", "ls"}, want: []string{`rack-a +10.0.0.0/24 +9 +0 +0 +1 +8\n`, `rack-b +10.0.1.0/24 +2 +0 +0 +0 +2\n`}},
		{args: []string{"leases"}, want: []string{"ADDRESS"}, not: "10.0"},
		{args: []string{"apply", "-f", "over.yml"}, code: ui.ExitUsage, want: []string{"subnet rack-c: its prefix 10.0.0.128/25 overlaps 10.0.0.0/24 of subnet rack-a"}},
	}.run(t, w)

	w.bind(t, "rack-a", time.Hour, "10.0.0.100 52:54:00:00:00:02", "10.0.0.102 52:54:00:00:00:99")
	w.bind(t, "rack-b", time.Hour, "10.0.1.100 52:54:00:00:00:02")
	w.bind(t, "rack-b", time.Millisecond, "10.0.1.101 52:54:00:00:00:98")
	time.Sleep(5 * time.Millisecond)
	steps{
		{args: []string{"subnet", "ls"}, want: []string{`rack-a +10.0.0.0/24 +9 +2 +0 +1 +6\n`, `rack-b +10.0.1.0/24 +2 +1 +0 +0 +1\n`}},
		{args: []string{"subnet", "show", "rack-a"}, want: []string{"exclude: .10.0.0.105.", "bound +2", "free +6"}},
		{args: []string{"subnet", "show", "rack-a", "--json"}, want: []string{`"bound": 2`, `"gateway": "10.0.0.1"`}},
		{args: []string{"subnet", "show", "rack-x"}, code: ui.ExitUsage, want: []string{`there is no subnet called "rack-x"`}},
		{args: []string{"leases"}, want: []string{`10.0.0.100 +52:54:00:00:00:02 +web-2 +host +bound +59m\d+s +edge-1 +rack-a\n10.0.0.102 +52:54:00:00:00:99 +- .*\n10.0.1.100 `}, not: "10.0.1.101"},
		{args: []string{"leases", "--subnet", "rack-b", "--all"}, want: []string{`10.0.1.101 .* ended +- +edge-1 +rack-b`}, not: "10.0.0"},
		{args: []string{"leases", "--subnet", "rack-x"}, code: ui.ExitUsage, want: []string{`there is no subnet called "rack-x"`}},
		{args: []string{"apply", "-f", "fixed.yml"}, code: ui.ExitUsage, want: []string{`machine web-3: its address 10.0.0.102 is bound to 52:54:00:00:00:99 \("host"\) for another .*kiln leases release 10.0.0.102`}},
		{args: []string{"leases", "release", "52:54:00:00:00:02"}, code: ui.ExitUsage, want: []string{"52:54:00:00:00:02 is in the subnets rack-a and rack-b: name one with --subnet"}},
		{args: []string{"leases", "release", "--subnet", "rack-b", "52-54-00-00-00-02"}, want: []string{"10.0.1.100 of 52:54:00:00:00:02 is free again in subnet rack-b"}},
		{args: []string{"leases", "release", "10.0.0.102"}, want: []string{"10.0.0.102 of 52:54:00:00:00:99 is free again"}},
		{args: []string{"leases", "release", "10.0.0.102"}, code: ui.ExitUsage, want: []string{"nobody holds 10.0.0.102 now"}},
		{args: []string{"leases", "release", "web-1"}, code: ui.ExitUsage, want: []string{`"web-1" is neither an address nor a MAC`}},
		{args: []string{"leases", "relase"}, code: ui.ExitUsage, want: []string{`did you mean "kiln leases release"`}},
		{args: []string{"apply", "-f", "fixed.yml"}, want: []string{`\+ machine web-3`}},
		{args: []string{"apply", "-f", "one.yml"}, want: []string{"~ subnet rack-b\n.*pools: 10.0.1.100-10.0.1.101 -> 10.0.1.100-10.0.1.109"}},
		{args: []string{"diff", "--prune", "-f", "one.yml"}, want: []string{"- subnet rack-a", "- machine web-1"}},
		{args: []string{"apply", "-f", "less.yml"}, want: []string{"~ gateway: 10.0.0.1 -> 10.0.0.2", `\+ options.26: 9000`}},
		{args: []string{"apply", "--prune", "-f", "one.yml"}},
		{args: []string{"subnet", "ls"}, want: []string{"rack-b"}, not: "rack-a"},
		{args: []string{"leases"}, not: "rack-a"},
	}.run(t, w)

	var rows []struct {
		Name      string
		Addresses json.Number
	}
	if text := w.run("subnet", "ls", "--json").ok(t).stdout; json.Unmarshal([]byte(text), &rows) != nil || fmt.Sprint(rows) != "[{rack-b 10}]" {
		t.Errorf("subnets as JSON: %s", text)
	}
}

func TestAnOperatorFreesWhatIsDeclinedOrKept(t *testing.T) {
	w := atFarm(t)
	w.write("rack.yml", rackYAML)
	w.run("apply", "-f", "rack.yml").ok(t)
	w.bind(t, "rack-a", time.Hour, "10.0.0.102 52:54:00:00:00:99", "10.0.0.103 52:54:00:00:00:02")
	w.change(t, kilnv1.BindCommand_OPERATION_DECLINE, "rack-a", 10*time.Minute, "10.0.0.102 52:54:00:00:00:99")
	w.change(t, kilnv1.BindCommand_OPERATION_RELEASE, "rack-a", 0, "10.0.0.103 52:54:00:00:00:02") // of web-2, which is described
	steps{
		{args: []string{"leases"}, want: []string{`10.0.0.102 .* declined +(10m0s|9m5\ds) `, `10.0.0.103 +52:54:00:00:00:02 +web-2 +host +kept +(1h0m0s|59m5\ds) `}},
		{args: []string{"leases", "release", "52:54:00:00:00:99"}, code: ui.ExitUsage, want: []string{"nobody holds 52:54:00:00:00:99 now"}},
		{args: []string{"leases", "release", "10.0.0.102"}, want: []string{"10.0.0.102 of 52:54:00:00:00:99 is free again in subnet rack-a"}},
		{args: []string{"leases", "release", "52:54:00:00:00:02"}, want: []string{"10.0.0.103 of 52:54:00:00:00:02 is free again in subnet rack-a"}},
		{args: []string{"leases"}, not: "10.0.0.10"},
	}.run(t, w)
	w.bind(t, "rack-a", time.Hour, "10.0.0.102 52:54:00:00:00:98", "10.0.0.103 52:54:00:00:00:97")
}

func TestSubnetsNeedAFarm(t *testing.T) {
	w := newWorld(t)
	w.write("rack.yml", rackYAML)
	steps{
		{args: []string{"apply", "-f", "rack.yml"}, code: ui.ExitUsage, want: []string{"subnets need a farm, which keeps what is bound to whom: start one with kiln server or kiln coordinator, and name it with --farm"}},
		{args: []string{"machines"}, not: "web-1"},
		{args: []string{"subnet", "ls"}, code: ui.ExitUsage, want: []string{"this needs a farm"}},
		{args: []string{"leases"}, code: ui.ExitUsage, want: []string{"this needs a farm"}},
	}.run(t, w)
}

func TestLeasesAreImported(t *testing.T) {
	w := atFarm(t)
	w.write("rack.yml", rackYAML)
	w.run("apply", "-f", "rack.yml").ok(t)
	w.bind(t, "rack-a", time.Hour, "10.0.0.103 52:54:00:00:00:99", "10.0.0.109 52:54:00:00:00:97")
	soon, past := time.Now().Add(30*time.Minute).Unix(), time.Now().Add(-time.Hour).Unix()
	w.write("dnsmasq.leases", fmt.Sprintf(`%[1]d 52:54:00:00:00:02 10.0.0.100 two 01:52:54:00:00:00:02
%[1]d 52:54:00:00:00:01 10.0.0.101 one *
%[1]d 52:54:00:00:00:04 10.0.0.102 * *
%[1]d 52:54:00:00:00:05 10.0.0.103 * *
%[1]d 52:54:00:00:00:06 10.0.0.105 * *
%[1]d 52:54:00:00:00:97 10.0.0.106 * *
%[1]d 52:54:00:00:00:08 10.0.7.1 * *
%[2]d 52:54:00:00:00:09 10.0.0.107 * *
0 52:54:00:00:00:0a 10.0.1.100 ever *
duid 00:01:00:01:2a:2a:2a:2a:52:54:00:00:00:fe
%[1]d 7 fd00::100 six 00:01:00:01:2a:2a:2a:2b:52:54:00:00:00:01
`, soon, past))
	w.write("wrong.leases", fmt.Sprintf("%d 52:54:00:00:00:07 10.0.0.101 x *\n", soon))
	w.write("dnsmasq.conf", "dhcp-range=10.0.0.100,10.0.0.109,255.255.255.0,12h\n")
	told := []string{
		`dnsmasq.leases:4: 10.0.0.103 of 52:54:00:00:00:05: it is bound to 52:54:00:00:00:99\n`,
		`dnsmasq.leases:5: 10.0.0.105 of 52:54:00:00:00:06: no pool of subnet rack-a gives it; widen a pool, or give the machine a fixed address\n`,
		`dnsmasq.leases:6: 10.0.0.106 of 52:54:00:00:00:97: its machine has 10.0.0.109 in subnet rack-a\n`,
		`dnsmasq.leases:7: 10.0.7.1 of 52:54:00:00:00:08: it is in no subnet of the farm; describe one, as kiln subnet import does\n`,
		`dnsmasq.leases:9: 10.0.1.100 of 52:54:00:00:00:0a: it has no end, and is bound for a year`,
		`dnsmasq.leases:11: fd00::100 of .*: leases of IPv6 name no MAC and are not taken over; its machine asks for the address again, and gets it when it is in a pool and free\n`,
		`kiln: 5 leases were not taken over, for the reasons above\n`,
	}
	steps{
		{args: []string{"leases", "import", "--dry-run", "dnsmasq.leases"}, code: ui.ExitFailed, want: append(told, "3 leases would be bound, 1 fixed for their machines, 0 not needed, 3 refused, 2 left out, 1 had ended\n")},
		{args: []string{"leases"}, not: "10.0.0.100"},
		{args: []string{"leases", "import", "dnsmasq.leases"}, code: ui.ExitFailed, want: append(told, "3 leases bound, 1 fixed for their machines, 0 not needed, 3 refused, 2 left out, 1 had ended\n")},
		{args: []string{"leases"}, want: []string{`10.0.0.100 +52:54:00:00:00:02 +web-2 +two +bound +30m\d+s +import +rack-a\n`, `10.0.1.100 .* 87\d\dh`}},
		{args: []string{"leases", "import", "dnsmasq.leases"}, code: ui.ExitFailed, want: append(told, "3 leases bound, 1 fixed for their machines, 0 not needed, 3 refused, 2 left out, 1 had ended\n")},
		{args: []string{"leases", "import", "wrong.leases"}, code: ui.ExitFailed, want: []string{"wrong.leases:1: 10.0.0.101 of 52:54:00:00:00:07: it is the fixed address of machine web-1, which has not the MAC 52:54:00:00:00:07"}},
		{args: []string{"leases", "import", "--subnet", "rack-b", "wrong.leases"}, code: ui.ExitFailed, want: []string{"wrong.leases:1: 10.0.0.101 of 52:54:00:00:00:07: it is in subnet rack-a"}},
		{args: []string{"leases", "import", "dnsmasq.conf"}, code: ui.ExitUsage, want: []string{"dnsmasq.conf is the configuration of dnsmasq, and has no leases: kiln subnet import reads it"}},
		{args: []string{"leases", "import", "rack.yml"}, code: ui.ExitUsage, want: []string{"rack.yml is no file of dnsmasq, ISC dhcpd or Kea that is known here"}},
		{args: []string{"leases", "import", "gone"}, code: ui.ExitUsage, want: []string{"gone: no such file or directory"}},
		{args: []string{"leases", "import"}, code: ui.ExitUsage, want: []string{"kiln leases import needs a lease file"}},
	}.run(t, w)
}

// A server that goes by client ids knows a machine that boots from the network more than once.
func TestASystemsLeaseGoesBeforeThatOfItsFirmware(t *testing.T) {
	w := atFarm(t)
	w.write("rack.yml", rackYAML)
	w.run("apply", "-f", "rack.yml").ok(t)
	soon := time.Now().Add(30 * time.Minute).Unix()
	w.write("dnsmasq.leases", fmt.Sprintf(`%[1]d 52:54:00:00:00:05 10.0.0.102 * 00:01:02:03:04:05:06:07:08:09:0a:0b:0c:0d:0e:0f:10
%[1]d 52:54:00:00:00:05 10.0.0.103 * 01:52:54:00:00:00:05
%[1]d 52:54:00:00:00:05 10.0.0.104 five ff:00:00:00:05:00:03:00:01:52:54:00:00:00:05
`, soon))
	steps{
		{args: []string{"leases", "import", "--dry-run", "dnsmasq.leases"}, want: []string{"dnsmasq.leases:1: 10.0.0.102 of 52:54:00:00:00:05: it is not needed, since its machine has 10.0.0.104 for longer\n", "1 leases would be bound, 0 fixed for their machines, 2 not needed"}},
		{args: []string{"leases", "import", "dnsmasq.leases"}, want: []string{"1 leases bound, 0 fixed for their machines, 2 not needed"}},
		{args: []string{"leases"}, want: []string{"10.0.0.104 +52:54:00:00:00:05 "}, not: "10.0.0.102"},
	}.run(t, w)
}

func TestKeasFilesAreReadWithThoseBesideThem(t *testing.T) {
	w := atFarm(t)
	w.write("rack.yml", rackYAML)
	w.run("apply", "-f", "rack.yml").ok(t)
	soon := time.Now().Add(30 * time.Minute).Unix()
	const head = "address,hwaddr,client_id,valid_lifetime,expire,subnet_id,fqdn_fwd,fqdn_rev,hostname,state,user_context\n"
	w.write("kea-leases4.csv.2", fmt.Sprintf(head+"10.0.0.102,52:54:00:00:00:04,,3600,%[1]d,1,0,0,old,0,\n10.0.0.103,52:54:00:00:00:05,,3600,%[1]d,1,0,0,five,0,\n", soon))
	w.write("kea-leases4.csv", fmt.Sprintf(head+"10.0.0.102,52:54:00:00:00:06,,3600,%[1]d,1,0,0,new,0,\n", soon))
	steps{
		{args: []string{"leases", "import", "kea-leases4.csv"}, want: []string{"2 leases bound, 0 fixed for their machines, 0 not needed, 0 refused, 0 left out, 0 had ended\n"}},
		{args: []string{"leases"}, want: []string{"10.0.0.102 +52:54:00:00:00:06 .*\n10.0.0.103 +52:54:00:00:00:05 "}},
	}.run(t, w)
}

func TestSubnetsAreMadeOfAnOldConfiguration(t *testing.T) {
	w := atFarm(t)
	w.write("dnsmasq.conf", `domain=office.example
dhcp-range=192.0.2.100,192.0.2.199,255.255.255.0,12h
dhcp-range=192.0.3.10,192.0.3.19,255.255.255.0,infinite
dhcp-option=3,192.0.2.1
dhcp-option=option:dns-server,192.0.2.110
dhcp-host=52:54:00:12:34:50,Printer_1,192.0.2.10
dhcp-host=52:54:00:12:34:51,192.0.2.150
dhcp-host=id:01:02,192.0.2.151
dhcp-host=52:54:00:12:34:52,192.0.9.1
`)
	got := w.run("subnet", "import", "dnsmasq.conf").ok(t).stdout
	w.write("new.yml", got)
	for _, want := range []string{
		"#   dnsmasq.conf:3: leases that do not end are not given here; it is a year\n",
		"#   dnsmasq.conf:3: the router 192.0.2.1 is left out, since it is not in 192.0.3.0/24\n",
		"#   dnsmasq.conf:8: the reservation of 192.0.2.151 is left out, since it has no MAC, by which machines are known here\n",
		"#   dnsmasq.conf:9: the address 192.0.9.1 of machine host-525400123452 is left out, since no subnet in these files has it\n",
		"  - name: net-192.0.2.0-24\n    prefix: 192.0.2.0/24\n    pools: [192.0.2.100-192.0.2.199]\n    exclude: [192.0.2.110]\n    gateway: 192.0.2.1\n    dns: [192.0.2.110]\n    domain: office.example\n    lease: 12h\n",
		"  - name: printer-1\n",
		"  - name: host-525400123451\n",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in:\n%s", want, got)
		}
	}
	steps{
		{args: []string{"apply", "-f", "new.yml"}, want: []string{`\+ subnet net-192.0.2.0-24`, `\+ machine printer-1`}},
		{args: []string{"subnet", "ls"}, want: []string{`net-192.0.2.0-24 +192.0.2.0/24 +99 +0 +0 +1 +98\n`}},
		{args: []string{"subnet", "import", "hello.yml"}, code: ui.ExitUsage, want: []string{"hello.yml is no file of"}},
	}.run(t, w)
}

// More than one call takes, and a machine with two leases keeps the one that holds longer.
func TestManyLeasesAreImported(t *testing.T) {
	w := atFarm(t)
	w.write("rack.yml", "subnets:\n  - {name: big, prefix: 10.1.0.0/16, pools: [10.1.1.0-10.1.9.255]}\n")
	w.run("apply", "-f", "rack.yml").ok(t)
	var b strings.Builder
	soon := time.Now().Add(time.Hour).Unix()
	const many = 1200
	for i := range many {
		fmt.Fprintf(&b, "%d 52:54:00:01:%02x:%02x 10.1.%d.%d * *\n", soon, i>>8, i&255, 1+i>>8, i&255)
	}
	fmt.Fprintf(&b, "%d 52:54:00:01:00:00 10.1.9.1 * *\n", soon+600)
	w.write("dnsmasq.leases", b.String())
	for range 2 {
		r := w.run("leases", "import", "dnsmasq.leases")
		if want := "1200 leases bound, 0 fixed for their machines, 1 not needed, 0 refused, 0 left out, 0 had ended\n"; r.code != ui.ExitDone || !strings.HasSuffix(r.stdout, want) ||
			!strings.HasPrefix(r.stdout, "dnsmasq.leases:1: 10.1.1.0 of 52:54:00:01:00:00: it is not needed, since its machine has 10.1.9.1 for longer\n") {
			t.Errorf("exit code %d:\n%s%s", r.code, r.stdout, r.stderr)
		}
	}
	if got := w.run("leases").ok(t).stdout; strings.Count(got, "\n") != many+1 || !strings.Contains(got, "10.1.9.1 ") {
		t.Errorf("%d lines of leases", strings.Count(got, "\n"))
	}
}

// What Kiln has by now is taken over: relays, options, and addresses of IPv6. The farm takes what is printed.
func TestSubnetsOfKeaAreTakenOverWhole(t *testing.T) {
	w := newWorld(t)
	w.write("kea-dhcp4.conf", `{"Dhcp4": {"client-classes": [{"name": "phones", "test": "option[60].hex == 'AASTRA'", "option-data": [{"code": 66, "data": "http://10.0.0.3/"}]}],
"subnet4": [{"subnet": "10.0.0.0/24", "pools": [{"pool": "10.0.0.10-10.0.0.20"}, {"pool": "10.0.0.30-10.0.0.40"}], "relay": {"ip-addresses": ["10.9.0.1"]},
"option-data": [{"name": "routers", "data": "10.0.0.1"}, {"name": "interface-mtu", "data": "9000"}, {"name": "domain-search", "data": "a.example, b.example"}, {"code": 224, "csv-format": false, "data": "0A0B"}],
"reservations": [{"hw-address": "52:54:00:00:00:01", "ip-address": "10.0.0.5", "hostname": "web"}]}]}}`)
	w.write("kea-dhcp6.conf", `{"Dhcp6": {"subnet6": [{"subnet": "fd00:1::/64", "pools": [{"pool": "fd00:1::100-fd00:1::1ff"}], "reservations": [{"hw-address": "52:54:00:00:00:01", "ip-addresses": ["fd00:1::5"]}]}]}}`)
	got := w.run("subnet", "import", "kea-dhcp4.conf", "kea-dhcp6.conf").ok(t).stdout
	const want = `# Made by kiln subnet import. Look it through, then: kiln diff -f THIS, and kiln apply -f THIS.
subnets:
  - name: net-10.0.0.0-24
    prefix: 10.0.0.0/24
    pools: [10.0.0.10-10.0.0.20, 10.0.0.30-10.0.0.40]
    gateway: 10.0.0.1
    relays: [10.9.0.1]
    options: {26: "9000", 119: [a.example, b.example], 224: "0x0a0b"}
    classes:
      - name: phones
        vendor_class: AASTRA
        options: {66: 'http://10.0.0.3/'}
  - name: net-fd00-1---64
    prefix: fd00:1::/64
    pools: ['fd00:1::100-fd00:1::1ff']
machines:
  - name: web
    macs: ["52:54:00:00:00:01"]
    address: 10.0.0.5/24
    address6: fd00:1::5/64
`
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	w.write("taken.yml", got)
	w.vars["KILN_FARM"] = w.startServer(t, filepath.Join(w.dir, "server"))
	w.run("apply", "-f", "taken.yml").ok(t)
	if r := w.run("diff", "-f", "taken.yml").ok(t); r.stdout != "nothing changes\n" {
		t.Errorf("the farm has something else: %s", r.stdout)
	}
}
