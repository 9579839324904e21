package dhcp

import (
	"bytes"
	"testing"
)

func TestFQDNIsAnsweredAsTheRFCSays(t *testing.T) {
	wire := "\x03web\x03lab\x07example\x00"
	for _, c := range []struct {
		name, in string
		asked    string
		none     bool
		is       string // what the client is published as
		want     string
	}{
		{"it asks the server to publish", "\x05\x00\x00\x03pc7", "pc7", false, "web.lab.example", "\x05\xff\xff" + wire},
		{"it would do so itself", "\x04\x00\x00\x03pc7", "pc7", false, "web.lab.example", "\x07\xff\xff" + wire},
		{"and in the old encoding", "\x00\x00\x00pc7", "pc7", false, "web.lab.example", "\x03\xff\xffweb.lab.example"},
		{"old, with a last dot", "\x01\x00\x00pc7.x.", "pc7.x", false, "pc7.lab.example", "\x01\xff\xffpc7.lab.example"},
		{"nothing is published, as it wants", "\x0c\x00\x00\x03pc7", "pc7", true, "", "\x0c\xff\xff\x03pc7"},
		{"nothing is published, though it asks", "\x05\x00\x00\x03pc7", "pc7", false, "", "\x0e\xff\xff\x03pc7"},
		{"a machine that is described has its name anyway", "\x0c\x00\x00\x03pc7", "pc7", true, "web.lab.example", "\x07\xff\xff" + wire},
		{"a name that is none", "\x05\x00\x00\x3fpc7", "", false, "", "\x0e\xff\xff\x3fpc7"},
		{"no name", "\x05\x00\x00", "", false, "web.lab.example", "\x05\xff\xff" + wire},
		{"bytes that no terminal should get", "\x01\x00\x00a\x1bb", "a?b", false, "", "\x0a\xff\xffa\x1bb"},
	} {
		f := readFQDN([]byte(c.in))
		if !f.Sent || f.Name != c.asked || f.None != c.none {
			t.Errorf("%s: read %q, %v, %v", c.name, f.Name, f.None, f.Sent)
		}
		if got := f.Answer(c.is); string(got) != c.want {
			t.Errorf("%s: answered %q, want %q", c.name, got, c.want)
		}
	}
	for _, in := range []string{"", "\x01", "\x01\x00"} {
		if f := readFQDN([]byte(in)); f.Sent || f.Answer("web.lab.example") != nil {
			t.Errorf("%q is taken for an option", in)
		}
	}
}

func FuzzFQDN(f *testing.F) {
	f.Add([]byte("\x05\x00\x00\x03pc7"), "web.lab.example")
	f.Add([]byte("\x00\x00\x00pc7"), "")
	f.Fuzz(func(t *testing.T, b []byte, name string) {
		if len(name) > 253 {
			return
		}
		answer := readFQDN(b).Answer(name)
		if len(answer) > 255 {
			t.Errorf("%d bytes", len(answer))
		}
		if len(answer) > 0 && (answer[0]&fqdnServer != 0) == (answer[0]&fqdnNone != 0) {
			t.Errorf("flags %x", answer[0])
		}
		if len(b) >= 3 && len(answer) > 0 && (answer[0]^b[0])&fqdnWire != 0 {
			t.Error("the answer is encoded otherwise than the question")
		}
		if bytes.ContainsAny([]byte(readFQDN(b).Name), "\x00\x1b\n") {
			t.Error("a name with control characters")
		}
	})
}
