package lab_test

import (
	"encoding/hex"
	"strings"
	"testing"

	"github.com/kiln-farm/kiln/internal/lab"
)

func TestPacketsOfACable(t *testing.T) {
	ethernet := "525400123456" + "525400000001" + "0800"
	from, to := "0a4d0002", "0a4d0015"
	for _, c := range []struct {
		name, frame string
		want        string // from to payload; empty: no packet
	}{
		{"UDP", ethernet + "45000020000000004011ffff" + from + to + "00430044000c0000" + "68656c6c", "10.77.0.2:67 10.77.0.21:68 hell"},
		{"what stands behind a short packet is no part of it", ethernet + "4500001e000000004011ffff" + from + to + "00430044000a0000" + "6869" + "0000", "10.77.0.2:67 10.77.0.21:68 hi"},
		{"TCP with options of its own and of IP", ethernet + "46000032000000004006ffff" + from + to + "01010100" + "1cd4c0000000000000000000601000000000000001010101" + "6869", "10.77.0.2:7380 10.77.0.21:49152 hi"},
		{"TCP whose header is longer than the packet", ethernet + "45000028000000004006ffff" + from + to + "1cd4c0000000000000000000f01000000000ffff", ""},
		{"a packet that says more than there is", ethernet + "45000040000000004011ffff" + from + to + "00430044000c0000" + "68656c6c", ""},
		{"a part of a packet", ethernet + "45000020000020004011ffff" + from + to + "00430044000c0000" + "68656c6c", ""},
		{"ICMP", ethernet + "45000020000000004001ffff" + from + to + "00430044000c0000" + "68656c6c", ""},
		{"ARP", strings.Replace(ethernet, "0800", "0806", 1) + strings.Repeat("00", 28), ""},
		{"nothing", "", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			frame, err := hex.DecodeString(c.frame)
			if err != nil {
				t.Fatal(err)
			}
			got := ""
			if p, ok := lab.ParsePacket(frame); ok {
				got = p.From.String() + " " + p.To.String() + " " + string(p.Payload)
			}
			if got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}
