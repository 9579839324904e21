package tftp

import (
	"bytes"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestAgree(t *testing.T) {
	for _, c := range []struct {
		name          string
		asked, told   []option
		block, window int
		timeout       time.Duration
	}{
		{"nothing", nil, nil, 512, 1, 0},
		{"all, in the client's order and spelling", opts("windowsize", "4", "BlkSize", "1468", "timeout", "3", "tsize", "0"),
			opts("windowsize", "4", "BlkSize", "1468", "timeout", "3", "tsize", "777"), 1468, 4, 3 * time.Second},
		{"more than is granted", opts("blksize", "65464", "windowsize", "65535"), opts("blksize", "1468", "windowsize", "64"), 1468, 64, 0},
		{"less than the usual", opts("blksize", "8", "windowsize", "1"), opts("blksize", "8", "windowsize", "1"), 8, 1, 0},
		{"outside of the RFCs' ranges", opts("blksize", "7", "windowsize", "0", "timeout", "0", "tsize", "-1"), nil, 512, 1, 0},
		{"too large for the RFCs", opts("blksize", "65465", "windowsize", "65536", "timeout", "256"), nil, 512, 1, 0},
		{"a timeout that would hold a transfer for long", opts("timeout", "61"), nil, 512, 1, 0},
		{"no numbers", opts("blksize", "", "windowsize", "x", "timeout", "1.5", "tsize", "99999999999999999999"), nil, 512, 1, 0},
		{"unknown ones", opts("multicast", "", "blksize2", "1024", "blksize", "1024"), opts("blksize", "1024"), 1024, 1, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := agree(c.asked, 777, DefaultBlock, DefaultWindow)
			want := terms{c.block, c.window, c.timeout, c.told}
			if diff := cmp.Diff(want, got, cmp.AllowUnexported(terms{}, option{})); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

func TestParseAnswer(t *testing.T) {
	for _, c := range []struct {
		packet string
		block  uint16
		text   string
		ok     bool
	}{
		{"\x00\x04\x12\x34", 0x1234, "", true},
		{"\x00\x04\x12\x34padding", 0x1234, "", true},
		{"\x00\x05\x00\x08bye\x00more", 0, "bye", true},
		{"\x00\x05\x00\x08no end", 0, "no end", true},
		{"\x00\x05\x00\x08", 0, "", true},
		{"\x00\x04\x12", 0, "", false},
		{"\x00\x03\x00\x01", 0, "", false},
		{"", 0, "", false},
	} {
		block, gaveUp, ok := parseAnswer([]byte(c.packet))
		if block != c.block || ok != c.ok || gaveUp != nil && gaveUp.text != c.text || (gaveUp != nil) != (ok && c.packet[1] == opError) {
			t.Errorf("%q: got %d %v %v, want %d %q %v", c.packet, block, gaveUp, ok, c.block, c.text, c.ok)
		}
	}
}

func FuzzRequest(f *testing.F) {
	f.Add(encodeRequest(opRead, "pxelinux.0", "octet", opts("blksize", "1468", "tsize", "0", "windowsize", "4", "timeout", "2")...))
	f.Add(encodeRequest(opWrite, "x", "netascii"))
	f.Add([]byte("\x00\x01a\x00octet"))
	f.Fuzz(func(t *testing.T, packet []byte) {
		r, err := parseRequest(packet)
		if err != nil {
			no, ok := err.(*refusal)
			if !ok {
				return
			}
			if e := appendError(nil, no); len(e) > headerLen+longestSentence+1 || bytes.IndexByte(e[headerLen:], 0) != len(e)-headerLen-1 {
				t.Errorf("got the error packet %q", e)
			}
			return
		}
		if checkName(r.name) != nil {
			t.Errorf("got the name %q", r.name)
		}
		terms := agree(r.options, 1000, DefaultBlock, DefaultWindow)
		if terms.block < smallBlock || terms.block > DefaultBlock || terms.window < 1 || terms.window > DefaultWindow || terms.timeout > longestWait*time.Second {
			t.Errorf("got %+v", terms)
		}
		if told := appendOptAck(nil, terms.accepted); len(told) > longestRequest {
			t.Errorf("got an answer of %d bytes to %d", len(told), len(packet))
		}
		again, err := parseRequest(encodeRequest(r.op, r.name, "octet", r.options...))
		if diff := cmp.Diff(r, again, cmp.AllowUnexported(request{}, option{})); len(packet) < longestRequest-3 && (err != nil || diff != "") {
			t.Errorf("parsed again: %v %s", err, diff)
		}
	})
}

func FuzzAnswer(f *testing.F) {
	f.Add([]byte("\x00\x04\x00\x01"))
	f.Add([]byte("\x00\x05\x00\x08bye\x00"))
	f.Fuzz(func(t *testing.T, packet []byte) {
		_, gaveUp, ok := parseAnswer(packet)
		if gaveUp != nil && (!ok || len(gaveUp.text) > longestSentence) {
			t.Errorf("got %+v %v", gaveUp, ok)
		}
	})
}
