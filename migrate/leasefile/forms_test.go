package leasefile

import (
	"strings"
	"testing"
	"time"
)

// form is a small file and what is read from it, as show writes it, or the error.
type form struct{ name, file, want string }

func check(t *testing.T, kind Kind, opts Options, forms []form) {
	t.Helper()
	for _, c := range forms {
		t.Run(c.name, func(t *testing.T) {
			f, err := Parse(kind, []byte(c.file), opts)
			got := ""
			if err != nil {
				got = "error: " + err.Error()
			} else {
				got = strings.TrimSuffix(show(f), "\n")
			}
			if got != c.want {
				t.Errorf("got\n%s\nwant\n%s", got, c.want)
			}
		})
	}
}

func TestLeasesOfDnsmasq(t *testing.T) {
	check(t, DnsmasqLeases, Options{}, []form{
		{"nobody", "", ""},
		{"nothing known of the client but its MAC", "1700000000 52:54:00:00:00:01 10.0.0.1 * *\n", `1: lease 10.0.0.1 for "52:54:00:00:00:01" id  iaid 0 name "" ends 2023-11-14T22:13:20Z`},
		{"never ends", "0 52:54:00:00:00:01 10.0.0.1 a *", `1: lease 10.0.0.1 for "52:54:00:00:00:01" id  iaid 0 name "a" ends never`},
		{"Ethernet by its number", "0 01-52:54:00:00:00:01 10.0.0.1 a *", `1: lease 10.0.0.1 for "52:54:00:00:00:01" id  iaid 0 name "a" ends never`},
		{"InfiniBand", "0 20-52:54:00:00:00:01:02:03 10.0.0.1 a ff:01", `1: note: 10.0.0.1 is held by hardware of type "20", not Ethernet, so it is left out; Kiln boots Ethernet only`},
		{"the last line of an address counts", "0 52:54:00:00:00:01 10.0.0.1 a *\n0 52:54:00:00:00:02 10.0.0.1 b *", `2: lease 10.0.0.1 for "52:54:00:00:00:02" id  iaid 0 name "b" ends never`},
		{"a temporary address", "duid 00:01\n0 T7 2001:db8::1 * 00:01:02", `1: note: the old server's own DUID is not taken over; Kiln's edges have their own, which clients learn when they ask again
2: note: 2001:db8::1 is a temporary IPv6 address (RFC 8415 §6.5), so it is left out; its machine takes another one`},
		{"the last write was cut short", "0 52:54:00:00:00:01 10.0.0.1 a *\n0 52:54:00:0", `1: lease 10.0.0.1 for "52:54:00:00:00:01" id  iaid 0 name "a" ends never
2: note: the line has 2 fields and not five, so it is left out, as dnsmasq does; its last write was cut short, perhaps`},
		{"a name that is no text", "0 52:54:00:00:00:01 10.0.0.1 a\x1b[2J *", `1: lease 10.0.0.1 for "52:54:00:00:00:01" id  iaid 0 name "" ends never
1: note: a machine's name has characters that are no text or more than 255, so the name is left out`},
		{"another file", "dhcp-range=10.0.0.1,10.0.0.9\n", `error: line 1: no line begins with a time, a MAC and an address; give the file that dhcp-leasefile names, which is /var/lib/misc/dnsmasq.leases when nothing does`},
	})
}

func TestConfigurationsOfDnsmasq(t *testing.T) {
	check(t, DnsmasqConf, Options{}, []form{
		{"a range without a mask", "dhcp-range=192.0.2.10,192.0.2.20,120\ndhcp-option=3\n", `1: subnet 192.0.2.0/24 ranges [{192.0.2.10 192.0.2.20}] router [] dns [] ntp [] domain "" for 2m0s
1: note: dhcp-range has no mask, because dnsmasq asks its interface, so 192.0.2.0/24 is taken for the subnet of 192.0.2.10; write the mask into the line if it is another one`},
		{"a range without a mask that is larger", "dhcp-range=10.0.3.10,10.0.4.20\ndhcp-option=option:router\n", `1: subnet 10.0.0.0/21 ranges [{10.0.3.10 10.0.4.20}] router [] dns [] ntp [] domain "" for 0s
1: note: dhcp-range has no mask, because dnsmasq asks its interface, so 10.0.0.0/21 is taken for the subnet of 10.0.3.10; write the mask into the line if it is another one`},
		{"dnsmasq is the router", "dhcp-range=192.0.2.10,192.0.2.20,255.255.255.0,192.0.2.255,1w", `1: subnet 192.0.2.0/24 ranges [{192.0.2.10 192.0.2.20}] router [] dns [] ntp [] domain "" for 168h0m0s
1: note: no router is named for 192.0.2.0/24, which for dnsmasq means itself; give the subnet a router and DNS servers`},
		{"the oldest form of tags, blanks and comments", " dhcp-range = red , 192.0.2.10, 192.0.2.20, 255.255.255.0 # here\ndhcp-option = net:red, option:router , 192.0.2.1", `1: subnet 192.0.2.0/24 ranges [{192.0.2.10 192.0.2.20}] router [192.0.2.1] dns [] ntp [] domain "" for 0s`},
		{"upside down", "dhcp-range=192.0.2.20,192.0.2.10,255.255.255.0\ndhcp-option=3", `1: subnet 192.0.2.0/24 ranges [] router [] dns [] ntp [] domain "" for 0s
1: note: the range from 192.0.2.20 to 192.0.2.10 ends before it begins, so it is left out`},
		{"outside of its subnet", "dhcp-range=192.0.2.20,192.0.3.10,255.255.255.0\ndhcp-option=3", `1: subnet 192.0.2.0/24 ranges [] router [] dns [] ntp [] domain "" for 0s
1: note: the range from 192.0.2.20 to 192.0.3.10 is not in its subnet 192.0.2.0/24, so it is left out`},
		{"a mask with holes", "dhcp-range=192.0.2.20,192.0.2.30,255.0.255.0", `1: note: the range from 192.0.2.20 has "255.0.255.0", which is no mask like 255.255.255.0, so it is left out`},
		{"IPv6 by an interface, and by the machines themselves", "dhcp-range=::1,::400,constructor:eth0\ndhcp-range=2001:db8::,ra-only\ndhcp-range=2001:db8::1,2001:db8::9,slaac,80,1d", `3: subnet 2001:db8::/80 ranges [{2001:db8::1 2001:db8::9}] router [] dns [] ntp [] domain "" for 24h0m0s
1: note: the range from ::1 takes its network from an interface; write it out, as start,end,prefix length
2: note: 2001:db8:: has machines that make their IPv6 addresses themselves (ra-only), so there are none to take over`},
		{"domains of ranges", "domain=b.example,192.0.2.0/24\ndomain=a.example\ndhcp-option=3\ndhcp-range=192.0.2.1,static,255.255.255.0\ndhcp-range=198.51.100.1,198.51.100.9,255.255.255.0\ndomain=c.example,198.51.100.2,198.51.100.9", `4: subnet 192.0.2.0/24 ranges [] router [] dns [] ntp [] domain "b.example" for 0s
5: subnet 198.51.100.0/24 ranges [{198.51.100.1 198.51.100.9}] router [] dns [] ntp [] domain "a.example" for 0s`},
		{"other files", "conf-dir=/etc/dnsmasq.d,*.conf\ndhcp-hostsfile=hosts", `1: note: conf-dir="/etc/dnsmasq.d" is not followed; give that file, too
2: note: dhcp-hostsfile="hosts" is not followed; give that file, too`},
		{"options by name and by number", "dhcp-range=set:a,10.0.0.10,10.0.0.20,255.255.255.0\ndhcp-option=3\ndhcp-option=option:mtu,1500\ndhcp-option=tag:a,26,9000\ndhcp-option=option:domain-search,a.example,b.example\ndhcp-option=121,10.1.0.0/16,10.0.0.2,10.2.0.0/16,10.0.0.3\ndhcp-option=252,\"http://x/wpad.dat\"\ndhcp-option=224,1",
			`1: subnet 10.0.0.0/24 ranges [{10.0.0.10 10.0.0.20}] router [] dns [] ntp [] domain "" for 0s option 119 ["a.example" "b.example"] option 121 ["10.1.0.0/16 10.0.0.2" "10.2.0.0/16 10.0.0.3"] option 252 ["http://x/wpad.dat"] option 26 ["9000"]
8: note: the option "224" is not taken over: how option 224 is written is not known here; write its bytes in hex, as in "0x0a000001"`},
		{"classes, whose options may stand before them", "dhcp-range=set:a,10.0.0.10,10.0.0.20,255.255.255.0\ndhcp-range=10.0.1.10,10.0.1.20,255.255.255.0\ndhcp-option=3\ndhcp-option=tag:phones,66,http://10.0.0.3/\ndhcp-option=tag:phones,tag:a,option:router,10.0.0.1\ndhcp-vendorclass=set:phones,AASTRA\ndhcp-match=set:efi,option:client-arch,7\ndhcp-userclass=set:x,set:y,z",
			`1: subnet 10.0.0.0/24 ranges [{10.0.0.10 10.0.0.20}] router [] dns [] ntp [] domain "" for 0s class phones (AASTRA  0) option 3 ["10.0.0.1"] option 66 ["http://10.0.0.3/"]
2: subnet 10.0.1.0/24 ranges [{10.0.1.10 10.0.1.20}] router [] dns [] ntp [] domain "" for 0s class phones (AASTRA  0) option 66 ["http://10.0.0.3/"]
8: note: dhcp-userclass is not taken over, because it is none of a vendor class, a user class or an architecture alone; write it, and the options for its tag, as a class of the subnets (docs/dhcp.md)`},
		{"known machines only", "dhcp-ignore=tag:!known\ndhcp-range=10.0.0.10,10.0.0.20,255.255.255.0\ndhcp-option=3\ndhcp-range=2001:db8::1,2001:db8::9,64\ndhcp-option=option6:dns-server,[2001:db8::53]\ndhcp-option=option6:sntp-server,[2001:db8::7]",
			`2: subnet 10.0.0.0/24 ranges [{10.0.0.10 10.0.0.20}] router [] dns [] ntp [] domain "" for 0s known only
4: subnet 2001:db8::/64 ranges [{2001:db8::1 2001:db8::9}] router [] dns [2001:db8::53] ntp [] domain "" for 0s option 31 ["2001:db8::7"] known only`},
		{"an option of nobody", "dhcp-option=tag:x,3,192.0.2.1", `1: note: the option is for the tag "x", which no dhcp-range here sets, so it is left out`},
		{"quotes", `dhcp-host="52:54:00:00:00:01","a, # b"`, `1: reservation no address for [52:54:00:00:00:01] id  name "a, # b"`},
		{"a MAC with dashes is a name", "dhcp-host=52-54-00-00-00-01,192.0.2.1", `1: note: the dhcp-host goes by the name "52-54-00-00-00-01", which any machine can claim, so it is left out; write the machine's MAC into it`},
		{"a name that is no text, and no address", "dhcp-host=52:54:00:00:00:01,a\x01\ndhcp-host=id:,192.0.2.1", `1: note: a machine's name has characters that are no text or more than 255, so the name is left out
1: note: there is neither an address nor a name for a machine, so there is nothing to reserve
2: note: the dhcp-host has no MAC of a machine, so it is left out; write the machine's MAC into it`},
		{"a line of another format", "dhcp-option=3\nsubnet 10.0.0.0 {", `error: line 2: the line is not a word, or a word, "=" and a value; give a file that "dnsmasq --test -C FILE" accepts`},
		{"only comments", "#dhcp-range=192.0.2.1\n", "0: note: every line is a comment, so there is nothing to take over"},
	})
}

func TestJournalsOfISC(t *testing.T) {
	check(t, ISCLeases, Options{}, []form{
		{"never ends", "lease 10.0.0.1 { ends never; hardware ethernet 52:54:0:0:0:1; }", `1: lease 10.0.0.1 for "52:54:00:00:00:01" id  iaid 0 name "" ends never`},
		{"bytes in hexadecimal", "lease 10.0.0.1 { ends never; uid 01:52:a; }", `1: lease 10.0.0.1 for "" id 01520a iaid 0 name "" ends never`},
		{"free again, and expired", "lease 10.0.0.1 { ends never; hardware ethernet 52:54:0:0:0:1; binding state active; }\nlease 10.0.0.1 { binding state free; }\nlease 10.0.0.2 { binding state expired; }", "2: note: an address is free, expired or released at the end of the file, so nobody holds it (and so for 1 other line)"},
		{"given out again after it was abandoned", "lease 10.0.0.1 { binding state abandoned; }\nlease 10.0.0.1 { ends epoch 5; next binding state free; hardware ethernet 52:54:0:0:0:1; }", `2: lease 10.0.0.1 for "52:54:00:00:00:01" id  iaid 0 name "" ends 1970-01-01T00:00:05Z`},
		{"reserved, with something to do when it ends", "lease 10.0.0.1 { ends 1 2024/1/1 00:00:00; reserved; on expiry { set x = \"}\"; } hardware ethernet 52:54:0:0:0:1; }", `1: lease 10.0.0.1 for "52:54:00:00:00:01" id  iaid 0 name "" ends never`},
		{"other hardware replaces what was said before", "lease 10.0.0.1 { ends never; hardware ethernet 52:54:0:0:0:1; }\nlease 10.0.0.1 { ends never; hardware infiniband 1:2; }", `2: note: 10.0.0.1 is held by "infiniband 1:2", which is no machine on Ethernet, so it is left out`},
		{"no time", "lease 10.0.0.1 { ends soon; hardware ethernet 52:54:0:0:0:1; }", `1: note: the lease of 10.0.0.1 ends at "soon", which is no time, so it is left out`},
		{"the last write was cut short", "lease 10.0.0.1 { ends never; uid \"a\"; }\nlease 10.0.0.1 {\n ends never; uid \"b", `1: lease 10.0.0.1 for "" id 61 iaid 0 name "" ends never
2: note: the last entry is cut short, so it is left out, as dhcpd does`},
		{"hosts made by OMAPI", "server-duid \"x\";\nhost a { dynamic; hardware ethernet 52:54:0:0:0:1; fixed-address 10.0.0.1; }\nhost b { dynamic; uid \"b\"; fixed-address 10.0.0.2; }\nhost a { dynamic; deleted; }", `3: reservation 10.0.0.2 for [] id 62 name "b"`},
		{"IPv6", "ia-na \"\\001\" { cltt never; iaaddr 2001:db8::1 { binding state active; } }", "1: note: IPv6 leases of ISC dhcpd are not taken over; their machines ask for other addresses"},
		{"damage in the middle", "lease 10.0.0.1 { ends never; uid \"a\"; }\n} lease 10.0.0.2 { ends never; uid \"b\"; }", `error: line 2: there is a "}" where no block ends; "dhcpd -t -cf FILE" tells more`},
		{"another file", "option x y;", `error: line 1: "option x" is nothing that dhcpd begins a journal with; give /var/lib/dhcp/dhcpd.leases, or name the right kind of file`},
	})
	check(t, ISCLeases, Options{Location: time.FixedZone("", 3600)}, []form{
		{"times that somebody wrote as local ones", "lease 10.0.0.1 { ends 1 2024/1/1 00:00:00; uid \"a\"; }", `1: lease 10.0.0.1 for "" id 61 iaid 0 name "" ends 2023-12-31T23:00:00Z`},
	})
}

func TestConfigurationsOfISC(t *testing.T) {
	check(t, ISCConf, Options{}, []form{
		{"options behind the subnet", "subnet 10.0.0.0 netmask 255.0.0.0 { range 10.0.0.5; }\noption routers 10.0.0.1;", `1: subnet 10.0.0.0/8 ranges [{10.0.0.5 10.0.0.5}] router [10.0.0.1] dns [] ntp [] domain "" for 0s`},
		{"a pool of a shared network", "shared-network x { subnet 10.0.0.0 netmask 255.255.0.0 {}\nsubnet 10.1.0.0 netmask 255.255.0.0 {}\npool { range 10.1.0.5 10.1.0.6; } }", `1: subnet 10.0.0.0/16 ranges [] router [] dns [] ntp [] domain "" for 0s
2: subnet 10.1.0.0/16 ranges [{10.1.0.5 10.1.0.6}] router [] dns [] ntp [] domain "" for 0s`},
		{"a range of no subnet", "pool { range 10.1.0.5 10.1.0.6; }", "1: note: the range from 10.1.0.5 stands in no subnet, nor behind one that has it, so it is left out; put it into its subnet"},
		{"who may have an address", "subnet 10.0.0.0 netmask 255.0.0.0 { deny unknown-clients; pool { allow members of \"x\"; range 10.0.0.5; } }", `1: subnet 10.0.0.0/8 ranges [{10.0.0.5 10.0.0.5}] router [] dns [] ntp [] domain "" for 0s known only
1: note: the pool is only for some machines ("allow members of x"); Kiln gives its addresses to all that ask`},
		{"classes", "class \"phones\" { match if substring (option vendor-class-identifier, 0, 6) = \"AASTRA\"; option tftp-server-name \"http://10.0.0.3/\"; option routers 10.0.0.1; }\nclass \"efi_64\" { match if option vendor-class-identifier = \"x\" and option user-class = \"u\"; option interface-mtu 9000; }\nclass \"odd\" { match hardware; option interface-mtu 9000; }\nclass \"silent\" { match if option user-class = \"u\"; }\nsubnet 10.0.0.0 netmask 255.255.255.0 { }",
			`5: subnet 10.0.0.0/24 ranges [] router [] dns [] ntp [] domain "" for 0s class phones (AASTRA  0) option 3 ["10.0.0.1"] option 66 ["http://10.0.0.3/"] class efi-64 (x u 0) option 26 ["9000"]
3: note: a match is not taken over; write it as a class of the subnets (docs/dhcp.md)
3: note: the class "odd" is not taken over, because it does not match a vendor class, a user class or an architecture alone; write it as a class of the subnets (docs/dhcp.md)`},
		{"options, the nearest first", "option interface-mtu 1500; option ip-forwarding on; option domain-search \"a.example\", \"b.example\";\nsubnet 10.0.0.0 netmask 255.255.255.0 { option interface-mtu 9000; option time-servers 10.0.0.3, 10.0.0.4; option tftp-server-name \"x\"; }",
			`2: subnet 10.0.0.0/24 ranges [] router [] dns [] ntp [] domain "" for 0s option 26 ["9000"] option 4 ["10.0.0.3" "10.0.0.4"] option 19 ["true"] option 119 ["a.example" "b.example"]
2: note: the option "tftp-server-name" is not taken over: option 66 is the server's own to say; what machines boot is that of their groups, and what other devices do goes into a class with their vendor_class`},
		{"IPv6", "option dhcp6.name-servers 2001:db8::53;\nsubnet6 2001:db8:0:1::/64 { range6 2001:db8:0:1::100 2001:db8:0:1::1ff; range6 2001:db8:0:1:1::/80; option dhcp6.domain-search \"lab.example\"; prefix6 2001:db8:1:: 2001:db8:2:: /56; }\nhost web { host-identifier option dhcp6.client-id 00:03:00:01:52:54:00:12:34:56; fixed-address6 2001:db8:0:1::5; }",
			`2: subnet 2001:db8:0:1::/64 ranges [{2001:db8:0:1::100 2001:db8:0:1::1ff} {2001:db8:0:1:1:: 2001:db8:0:1:1:ffff:ffff:ffff}] router [] dns [2001:db8::53] ntp [] domain "" for 0s option 24 ["lab.example"]
3: reservation 2001:db8:0:1::5 for [52:54:00:12:34:56] id 00030001525400123456 name "web"
2: note: prefixes that are delegated are not taken over, because Kiln gives addresses only`},
		{"names for servers", "option domain-name-servers ns.example;", `1: note: the option "domain-name-servers" has "ns.example", of which one is no address, so it is left out; write addresses, not names`},
		{"other files", "include \"/etc/dhcp/hosts.conf\";", `1: note: include "/etc/dhcp/hosts.conf" is not followed; give that file, too`},
		{"a subnet without a mask", "subnet 10.0.0.0 {}", `error: line 1: the subnet "10.0.0.0" has no network and netmask like 192.0.2.0 and 255.255.255.0; correct it, "dhcpd -t -cf FILE" helps`},
		{"a block without an end", "\nsubnet 10.0.0.0 netmask 255.0.0.0 {\n option routers 10.0.0.1;", `error: line 2: the block that begins here has no "}" at its end; give the whole file, or see what "dhcpd -t -cf FILE" says`},
		{"a statement without an end", "authoritative", `error: line 1: the file ends inside of the statement "authoritative"; give the whole file, or end it with ";"`},
	})
}

func TestLeasesOfKea(t *testing.T) {
	const head = "address,hwaddr,client_id,valid_lifetime,expire,subnet_id,fqdn_fwd,fqdn_rev,hostname,state\n"
	const head6 = "address,duid,valid_lifetime,expire,subnet_id,pref_lifetime,lease_type,iaid,prefix_len,fqdn_fwd,fqdn_rev,hostname,hwaddr,state\n"
	check(t, KeaLeases, Options{}, []form{
		{"nobody", head, ""},
		{"a comma in a name", head + "10.0.0.1,52:54:00:00:00:01,,60,5,1,0,0,a&#x2cb.,0", `2: lease 10.0.0.1 for "52:54:00:00:00:01" id  iaid 0 name "a,b" ends 1970-01-01T00:00:05Z`},
		{"never ends", head + "10.0.0.1,52:54:00:00:00:01,ff:1,4294967295,9,1,0,0,,0", `2: lease 10.0.0.1 for "52:54:00:00:00:01" id ff01 iaid 0 name "" ends never`},
		{"reclaimed", head + "10.0.0.1,52:54:00:00:00:01,,60,5,1,0,0,,0\n10.0.0.1,52:54:00:00:00:01,,60,5,1,0,0,,2", "3: note: an address is free, expired or released at the end of the file, so nobody holds it"},
		{"an old version without states", "address,hwaddr,client_id,valid_lifetime,expire\n10.0.0.1,52:54:00:00:00:01,,60,5", `2: lease 10.0.0.1 for "52:54:00:00:00:01" id  iaid 0 name "" ends 1970-01-01T00:00:05Z`},
		{"the last write was cut short", head + "10.0.0.1,52:54:00:00:00:01,,60,5,1,0,0,,0\n10.0.0.1,52:54", `2: lease 10.0.0.1 for "52:54:00:00:00:01" id  iaid 0 name "" ends 1970-01-01T00:00:05Z
3: note: the line of 10.0.0.1 has no lifetime and no end, so it is left out, as Kea does`},
		{"IPv6, with a prefix", head6 + "2001:db8::1,00:01:02,60,5,1,30,0,7,128,0,0,a,52:54:00:00:00:01,0\n2001:db8:1::,00:01:02,60,5,1,30,2,7,48,0,0,,,0", `2: lease 2001:db8::1 for "52:54:00:00:00:01" id 000102 iaid 7 name "a" ends 1970-01-01T00:00:05Z
3: note: a prefix or a temporary address is not taken over, because Kiln gives addresses that stay`},
		{"another file", "a,b\n", `error: line 1: the first line names no column "address"; give kea-leases4.csv or one of its companions as Kea wrote it`},
	})
}

func TestConfigurationsOfKea(t *testing.T) {
	check(t, KeaConf, Options{}, []form{
		{"a comma too many, escapes, and the last key of two", `{"Dhcp4": {"subnet4": [{"subnet": "1.0.0.0/8", "subnet": "10.0.0.0\/8", "pools": [{"pool": "10.0.0.0/30"},],}]}}`, `1: subnet 10.0.0.0/8 ranges [{10.0.0.0 10.0.0.3}] router [] dns [] ntp [] domain "" for 0s`},
		{"another file inside", "{\"Dhcp4\": {\n\"subnet4\": <?include \"nets.json\"?>,\n<?include \"more.json\"?>\n}}", `2: note: "<?include nets.json?>" is not followed; write what it has in its place, and give that file
3: note: "<?include more.json?>" is not followed; write what it has in its place, and give that file`},
		{"leases and hosts in a database", `{"Dhcp4": {"lease-database": {"type": "mysql"}, "hosts-database": {"type": "postgresql"}}}`, `1: note: reservations are in a database, too (hosts-database), which is not read; write them into the configuration's "reservations", and give that
1: note: the leases are in a database ("mysql"); write them to a file with "kea-admin lease-dump", and give that`},
		{"a pool of nothing, a subnet of nothing", `{"Dhcp4": {"subnet4": [{"subnet": "x"}, {"subnet": "10.0.0.0/8", "pools": [{"pool": "10.0.0.1"}]}]}}`, `1: subnet 10.0.0.0/8 ranges [] router [] dns [] ntp [] domain "" for 0s
1: note: the pool "10.0.0.1" is neither two addresses nor a prefix, so it is left out
1: note: the subnet "x" is no network like 192.0.2.0/24, so it is left out`},
		{"the other server's", `{"Dhcp6": {}}`, ``},
		{"neither server's", `{"Dhcp7": {}}`, `error: line 1: the file has no "Dhcp4" and no "Dhcp6"; give kea-dhcp4.conf or kea-dhcp6.conf`},
		{"relays of a network and of a shared one, in it and outside", `{"Dhcp4": {"subnet4": [{"subnet": "10.0.0.0/24", "relay": {"ip-addresses": ["10.0.0.1", "10.9.0.1", "x"]}}],
"shared-networks": [{"name": "a", "relay": {"ip-address": "10.9.0.2"}, "subnet4": [{"subnet": "10.0.1.0/24"}, {"subnet": "10.0.2.0/24", "relay": {"ip-addresses": ["10.9.0.3"]}}]}]}}`,
			`1: subnet 10.0.0.0/24 ranges [] router [] dns [] ntp [] domain "" for 0s relays [10.9.0.1]
2: subnet 10.0.1.0/24 ranges [] router [] dns [] ntp [] domain "" for 0s relays [10.9.0.2]
2: subnet 10.0.2.0/24 ranges [] router [] dns [] ntp [] domain "" for 0s relays [10.9.0.3]
1: note: the relay "x" is no address, so it is left out`},
		{"options by name, number and bytes, the nearest first", `{"Dhcp4": {"option-data": [{"name": "interface-mtu", "data": "1500"}, {"name": "domain-search", "data": "a.example, b.example"}],
"subnet4": [{"subnet": "10.0.0.0/24", "option-data": [{"code": 26, "data": "9000"}, {"code": 224, "csv-format": false, "data": "0A 0B"}, {"name": "classless-static-route", "data": "10.1.0.0/16 - 10.0.0.2, 10.2.0.0/16 - 10.0.0.3"},
{"name": "ip-forwarding", "data": "true"}, {"name": "root-path", "data": "10.0.0.5:/srv,vers=3"}, {"name": "x", "data": "1"}, {"code": 26, "space": "vendor-4491", "data": "1"}, {"code": 66, "data": "10.0.0.1"}]}]}}`,
			`2: subnet 10.0.0.0/24 ranges [] router [] dns [] ntp [] domain "" for 0s option 119 ["a.example" "b.example"] option 26 ["9000"] option 224 ["0x0a0b"] option 121 ["10.1.0.0/16 10.0.0.2" "10.2.0.0/16 10.0.0.3"] option 19 ["true"] option 17 ["10.0.0.5:/srv,vers=3"]
3: note: the option "26" is not taken over, because it is one of a vendor's (vendor-4491)
3: note: the option "66" is not taken over: option 66 is the server's own to say; what machines boot is that of their groups, and what other devices do goes into a class with their vendor_class
3: note: the option "x" is not taken over, because nothing here is called so; give its code and its bytes ("csv-format": false)`},
		{"classes", `{"Dhcp4": {"client-classes": [{"name": "phones", "test": "substring(option[60].hex,0,6) == 'AASTRA'", "option-data": [{"code": 66, "data": "http://10.0.0.3/"}, {"name": "routers", "data": "10.0.0.1"}]},
{"name": "efi", "test": "option[93].hex == 0x0007 and option[77].hex == 'iPXE'", "option-data": [{"name": "interface-mtu", "data": "9000"}]}, {"name": "odd", "test": "member('x')"},
{"name": "short", "test": "substring(option[60].hex,0,3) == 'AASTRA'"}], "subnet4": [{"subnet": "10.0.0.0/24"}]}}`,
			`3: subnet 10.0.0.0/24 ranges [] router [] dns [] ntp [] domain "" for 0s class phones (AASTRA  0) option 3 ["10.0.0.1"] option 66 ["http://10.0.0.3/"] class efi ( iPXE 8) option 26 ["9000"]
2: note: the client class "odd" is not taken over, because its test is none of a vendor class, a user class or an architecture alone; write it as a class of the subnets (docs/dhcp.md)
3: note: the client class "short" is not taken over, because its test is none of a vendor class, a user class or an architecture alone; write it as a class of the subnets (docs/dhcp.md)`},
		{"known machines only", `{"Dhcp4": {"subnet4": [{"subnet": "10.0.0.0/24", "client-class": "KNOWN"}, {"subnet": "10.0.1.0/24", "client-class": "phones"}]}}`,
			`1: subnet 10.0.0.0/24 ranges [] router [] dns [] ntp [] domain "" for 0s known only
1: subnet 10.0.1.0/24 ranges [] router [] dns [] ntp [] domain "" for 0s
1: note: the subnet 10.0.1.0/24 is for some classes of clients only; Kiln gives its addresses to all that are in it`},
		{"IPv6", `{"Dhcp6": {"option-data": [{"name": "dns-servers", "data": "2001:db8::53"}], "subnet6": [{"subnet": "2001:db8:0:1::/64", "relay": {"ip-addresses": ["2001:db8:9::1"]},
"pools": [{"pool": "2001:db8:0:1::100 - 2001:db8:0:1::1ff"}, {"pool": "2001:db8:0:1:1::/80"}], "option-data": [{"name": "domain-search", "data": "lab.example"}, {"name": "sntp-servers", "data": "2001:db8::7"}],
"reservations": [{"duid": "00:03:00:01:52:54:00:12:34:56", "ip-addresses": ["2001:db8:0:1::5", "2001:db8:0:1::6"], "hostname": "web"}, {"hw-address": "52:54:00:12:34:57", "ip-addresses": ["2001:db8:0:1::7"]},
{"duid": "00:02:00:00:ab:11", "ip-addresses": ["2001:db8:0:1::8"]}], "pd-pools": []}]}}`,
			`1: subnet 2001:db8:0:1::/64 ranges [{2001:db8:0:1::100 2001:db8:0:1::1ff} {2001:db8:0:1:1:: 2001:db8:0:1:1:ffff:ffff:ffff}] router [] dns [2001:db8::53] ntp [] domain "" for 0s option 24 ["lab.example"] option 31 ["2001:db8::7"] relays [2001:db8:9::1]
3: reservation 2001:db8:0:1::5 for [52:54:00:12:34:56] id 00030001525400123456 name "web"
3: reservation 2001:db8:0:1::7 for [52:54:00:12:34:57] id  name ""
3: note: the further addresses of a reservation are left out, since a machine has one
4: note: "pd-pools" is not taken over, because nothing in Kiln is like it or it is about Kea itself
4: note: the DUID "00:02:00:00:ab:11" has no MAC in it, by which machines are known here, so the reservation is left out; write hw-address into it`},
		{"no JSON", "{\n\"Dhcp4\" 1}", `error: line 2: there is no ":" behind the key "Dhcp4"; write it`},
		{"not the whole file", "{\"Dhcp4\": {\n\"subnet4\": [", `error: line 2: the file ends too early; give the whole file, and see what "kea-dhcp4 -t FILE" says`},
		{"nested too deep", strings.Repeat("[", 100), `error: line 1: values are nested more than 64 deep; take some apart`},
	})
}
