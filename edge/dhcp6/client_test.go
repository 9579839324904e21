package dhcp6

import (
	"bytes"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kiln-farm/kiln/edge/dhcp"
)

func TestClassifyKinds(t *testing.T) {
	for _, c := range []struct {
		name   string
		fields []field
		kind   dhcp.Kind
		arch   string
	}{
		{"OVMF", []field{ovmf}, dhcp.UEFI, "x86-64"},
		{"OVMF, HTTP boot", []field{ovmfHTTP}, dhcp.UEFIHTTP, "x86-64"},
		{"iPXE of 2019, which says no architecture", []field{ipxeROM}, dhcp.IPXE, ""},
		{"iPXE started by OVMF", []field{ipxeROM, ovmf}, dhcp.IPXE, "x86-64"},
		{"a user class without its length", []field{opt(userClass, []byte("iPXE")...)}, dhcp.IPXE, ""},
		{"arm64 firmware", []field{opt(archType, 0, 11), str(vendorClass, hexa("00000157"), "PXEClient:Arch:00011:UNDI:003000")}, dhcp.UEFI, "arm64"},
		{"firmware that says its architecture only", []field{opt(archType, 0, 7)}, dhcp.UEFI, "x86-64"},
		{"HTTP firmware that says its architecture only", []field{opt(archType, 0, 19)}, dhcp.UEFIHTTP, "arm64"},
		{"a BIOS", []field{opt(archType, 0, 0), str(vendorClass, hexa("00000157"), "PXEClient")}, dhcp.BIOS, "x86-64"},
		{"the first known architecture", []field{opt(archType, 0, 99, 0, 11, 0, 7)}, dhcp.UEFI, "arm64"},
		{"half an architecture", []field{opt(archType, 7)}, dhcp.Plain, ""},
		{"an empty vendor class", []field{opt(vendorClass, 0, 0, 1, 87)}, dhcp.Plain, ""},
		{"an operating system", []field{opt(oro, 0, 23)}, dhcp.Plain, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := mustClassify(t, packet(solicit, append(c.fields, me)...), toAll)
			if got.Kind != c.kind || got.Arch.Name != c.arch {
				t.Errorf("got %s of %q, want %s of %q", got.Kind, got.Arch.Name, c.kind, c.arch)
			}
		})
	}
}

func TestWhoAsks(t *testing.T) {
	const other = "02:00:00:00:00:09"
	other2 := opt(hardware, hexa("0001 020000000009")...)
	uuid := hexa("00112233445566778899aabbccddeeff")
	for _, c := range []struct {
		name   string
		packet []byte
		in     Ingress
		mac    string
		uuids  []string
	}{
		{"by its address of the link, which was made of it", packet(solicit, opt(clientID, 0, 2, 1, 2, 3, 4)), toAll, pcMAC, nil},
		{"by a DUID-LL", packet(solicit, me), from("fe80::8cf2:1111:2222:3333"), pcMAC, nil},
		{"by a DUID-LLT", packet(solicit, opt(clientID, hexa("0001 0001 2a2a2a2a 525400770001")...)), from("fe80::8cf2:1111:2222:3333"), pcMAC, nil},
		{"the disk of another machine", packet(solicit, opt(clientID, hexa("0001 0001 2a2a2a2a 020000000009")...)), toAll, pcMAC, nil},
		{"by what its relay saw", forward(0, "fd77::1", near.String(), packet(solicit, me), other2), from("fd77::9"), other, nil},
		{"by what the relay beside it saw", forward(1, "fd00::1", "fd00::9", forward(0, "fd77::1", secret.String(), packet(solicit, opt(clientID, 0, 2, 9)), other2), opt(hardware, hexa("0001 020000000077")...)), from("fd77::9"), other, nil},
		{"not by what a relay further on saw", forward(1, "fd00::1", "fd00::9", forward(0, "fd77::1", near.String(), packet(solicit, opt(clientID, 0, 2, 9))), other2), from("fd77::9"), pcMAC, nil},
		{"through a relay, by its address", forward(0, "fd77::1", near.String(), packet(solicit, opt(clientID, 0, 2, 9))), from("fd77::9"), pcMAC, nil},
		{"not by the relay's address", forward(0, "fd77::1", secret.String(), packet(solicit, opt(clientID, 0, 2, 9))), from(near.String()), "", nil},
		{"a group's address", packet(solicit, opt(clientID, hexa("0003 0001 ff5400770001")...)), from("fe80::1"), "", nil},
		{"a DUID-LL of another kind of card", packet(solicit, opt(clientID, hexa("0003 0020 525400770001")...)), from("fe80::1"), "", nil},
		{"a DUID-LL that is too long", packet(solicit, opt(clientID, hexa("0003 0001 52540077000102")...)), from("fe80::1"), "", nil},
		{"a DUID-LLT that is too short", packet(solicit, opt(clientID, hexa("0001 0001 2a2a")...)), from("fe80::1"), "", nil},
		{"by a DUID-UUID", packet(solicit, opt(clientID, append([]byte{0, 4}, uuid...)...)), from("fe80::1"), "", []string{"00112233-4455-6677-8899-aabbccddeeff", "33221100-5544-7766-8899-aabbccddeeff"}},
		{"a UUID of zeros, as QEMU has it", packet(solicit, opt(clientID, append([]byte{0, 4}, make([]byte, 16)...)...)), toAll, pcMAC, nil},
		{"a short UUID", packet(solicit, opt(clientID, 0, 4, 1, 2, 3)), from("fe80::1"), "", nil},
		{"a DUID of no known type", packet(solicit, opt(clientID, 0xff, 0xff, 1)), from("fe80::1"), "", nil},
		{"nobody", packet(information), from("fe80::1"), "", nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := mustClassify(t, c.packet, c.in)
			if got.MAC.String() != c.mac || !slices.Equal(got.UUIDs, c.uuids) {
				t.Errorf("got %s and %q, want %s and %q", got.MAC, got.UUIDs, c.mac, c.uuids)
			}
		})
	}
}

func TestClassifyReadsTheRest(t *testing.T) {
	inner := packet(request, me, toUs, na(iaNA, 7, "fd77::21", "fd77::22"), na(iaTA, 8, "fd77::23"), na(iaPD, 9), opt(elapsed, 1, 44), opt(rapid), opt(oro, 0, 59, 0, 23, 9))
	got := mustClassify(t, forward(1, "fe80::1", "fd00::9", forward(0, "fd77::1", near.String(), inner)), from("fd00::5"))
	if got.XID() != "cafeba" || got.Elapsed != 3*time.Second || got.Waited() != 3 || !got.Rapid || !bytes.Equal(got.ServerID, self) || !got.Relayed || got.Peer != near {
		t.Errorf("got %+v", got)
	}
	if diff := cmp.Diff([]string{"fd77::21", "fd77::22"}, []string{got.Asked()[0].String(), got.Asked()[1].String()}); diff != "" || len(got.IAs) != 3 || len(got.Wants) != 2 {
		t.Errorf("got %v %v: %s", got.IAs, got.Wants, diff)
	}
	if want := "fd77::1"; got.Link.String() != want {
		t.Errorf("got the link %s, want that of the relay beside it, %s", got.Link, want)
	}
	lazy := forward(1, "fd00::1", "fd00::9", forward(0, "::", near.String(), packet(solicit, me))) // a switch that relays (RFC 6221)
	if got := mustClassify(t, lazy, from("fd00::5")); got.Link.String() != "fd00::1" {
		t.Errorf("got the link %s, want that of the relay behind the switch", got.Link)
	}
}

func TestPacketsThatAreNone(t *testing.T) {
	deep := packet(solicit, me)
	for range maxRelays + 1 {
		deep = forward(0, "fd77::1", near.String(), deep)
	}
	long := opt(clientID, make([]byte, longestDUID+1)...)
	var many []field
	for i := range maxIAs + 1 {
		many = append(many, na(iaNA, byte(i)))
	}
	for _, c := range []struct {
		name   string
		packet []byte
		want   string
	}{
		{"nothing", nil, "it is too short"},
		{"half a header", []byte{solicit, 1, 2}, "it is too short"},
		{"no message of a client", packet(advertise, me), "no request of a DHCPv6 client (message type 2)"},
		{"an answer of a relay", append([]byte{13}, forward(0, "::", "::", packet(solicit, me))[1:]...), "message type 13"},
		{"a message that nobody knows", packet(200, me), "message type 200"},
		{"nobody who asks", packet(solicit), "it does not say who it is"},
		{"a DUID without anything", packet(solicit, opt(clientID, 0, 3)), "a DUID has 2 bytes"},
		{"a long DUID", packet(solicit, long), "a DUID has 131 bytes"},
		{"a long DUID of a server", packet(request, me, opt(serverID, make([]byte, 200)...)), "a DUID has 200 bytes"},
		{"an option that is cut off", packet(solicit, me)[:12], "an option ends behind the packet's end"},
		{"an option's head that is cut off", append(packet(solicit, me), 0, 6, 0), "an option ends behind the packet's end"},
		{"a short association", packet(solicit, me, opt(iaNA, 0, 0, 0, 1)), "an association has 4 bytes"},
		{"a short address", packet(solicit, me, opt(iaNA, append(make([]byte, 12), opt(iaAddr, 1, 2)...)...)), "an address has 2 bytes"},
		{"an association that is cut off inside", packet(solicit, me, opt(iaNA, append(make([]byte, 12), 0, 5, 0, 99)...)), "an option ends behind the packet's end"},
		{"too many associations", packet(solicit, append(many, me)...), "a client at most 8"},
		{"a short relay", forward(0, "::", "::", nil)[:20], "it is too short"},
		{"a relay without a message", forward(0, "::", "::", nil)[:34], "no message in it"},
		{"a relay with a message that is too short", forward(0, "::", "::", []byte{1}), "it is too short"},
		{"a relay's option that is cut off", append(forward(0, "::", "::", packet(solicit, me)), 9), "an option ends behind the packet's end"},
		{"relays in a circle", deep, "relays go in a circle"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if _, err := Classify(c.packet, toAll); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
}

func TestServerDUIDs(t *testing.T) {
	if len(self) != 18 || string(self[:2]) != "\x00\x04" || bytes.Equal(self, nobody) || !bytes.Equal(self, ServerDUID("http://[fd77::1]:7380")) {
		t.Errorf("got %s and %s: they are to be UUIDs, of each edge its own, and always the same", self, nobody)
	}
}

func TestHostnames(t *testing.T) {
	for _, c := range []struct {
		name  string
		value []byte
		want  string
	}{
		{"a name", []byte("\x01\x02pc"), "pc"},
		{"the first label of one", []byte("\x01\x04pc-7\x03lab\x00"), "pc-7"},
		{"none", []byte{1}, ""},
		{"an empty one", []byte{1, 0}, ""},
		{"one that ends too early", []byte("\x01\x09pc"), ""},
		{"a pointer", []byte{1, 0xc0, 0x0c}, ""},
		{"what no name has", []byte("\x01\x03a\x1bb"), ""},
	} {
		if got := mustClassify(t, packet(solicit, me, na(iaNA, 7), opt(39, c.value...)), toAll).Hostname; got != c.want {
			t.Errorf("%s: got %q, want %q", c.name, got, c.want)
		}
	}
}
