package leasefile

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func FuzzDnsmasqLeases(f *testing.F) { fuzz(f, DnsmasqLeases) }
func FuzzDnsmasqConf(f *testing.F)   { fuzz(f, DnsmasqConf) }
func FuzzDnsmasqHosts(f *testing.F)  { fuzz(f, DnsmasqHosts) }
func FuzzISCLeases(f *testing.F)     { fuzz(f, ISCLeases) }
func FuzzISCConf(f *testing.F)       { fuzz(f, ISCConf) }
func FuzzKeaLeases(f *testing.F)     { fuzz(f, KeaLeases) }
func FuzzKeaConf(f *testing.F)       { fuzz(f, KeaConf) }

// fuzz checks what File promises, whatever the file has in it.
func fuzz(f *testing.F, kind Kind) {
	for name, of := range kinds() {
		if of != kind {
			continue
		}
		data := read(f, name)
		f.Add(data)
		for part := range bytes.SplitSeq(data, []byte("\n\n")) {
			f.Add(part)
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		file, err := Parse(kind, data, Options{})
		if err != nil {
			if e := (*Error)(nil); !errors.As(err, &e) || !printable(e.Text) || e.Line > bytes.Count(data, []byte("\n"))+1 {
				t.Errorf("the error is %q", err)
			}
			return
		}
		promised(t, file, bytes.Count(data, []byte("\n"))+1)
		promised(t, Merge(file, file), bytes.Count(data, []byte("\n"))+1)
	})
}

func promised(t *testing.T, f *File, lines int) {
	in := func(line int) {
		if line < 1 || line > lines {
			t.Errorf("line %d of %d", line, lines)
		}
	}
	for _, s := range f.Subnets {
		in(s.Line)
		if !s.Prefix.IsValid() || s.Prefix != s.Prefix.Masked() || s.LeaseTime < 0 || s.LeaseTime > Forever {
			t.Errorf("subnet %+v", s)
		}
		for _, r := range s.Ranges {
			if !s.Prefix.Contains(r.From) || !s.Prefix.Contains(r.To) || r.To.Less(r.From) {
				t.Errorf("range %v of %s", r, s.Prefix)
			}
		}
		for _, a := range append(append(append(s.Router[:0:0], s.Router...), s.DNS...), s.NTP...) {
			if !a.IsValid() {
				t.Errorf("subnet %+v", s)
			}
		}
	}
	for _, r := range f.Reservations {
		in(r.Line)
		if len(r.MACs) == 0 && len(r.ClientID) == 0 || !r.Address.IsValid() && r.Name == "" || !printable(r.Name) {
			t.Errorf("reservation %+v", r)
		}
		for _, m := range r.MACs {
			canonical(t, m)
		}
	}
	for i, l := range f.Leases {
		in(l.Line)
		if !l.Address.IsValid() || l.MAC == "" && len(l.ClientID) == 0 || !printable(l.Name) {
			t.Errorf("lease %+v", l)
		}
		if l.MAC != "" {
			canonical(t, l.MAC)
		}
		if i > 0 && !f.Leases[i-1].Address.Less(l.Address) {
			t.Errorf("%s is there twice or out of order", l.Address)
		}
	}
	if len(f.Notes) > maxNotes+1 {
		t.Errorf("%d notes", len(f.Notes))
	}
	for _, n := range f.Notes {
		if !printable(n.Text) || n.Line < 0 || n.Line > lines {
			t.Errorf("note %+v", n)
		}
	}
}

func canonical(t *testing.T, mac string) {
	if got, ok := macOf(mac); !ok || got != mac || len(mac) != 17 || strings.ToLower(mac) != mac {
		t.Errorf("the MAC is %q", mac)
	}
}

func FuzzDetect(f *testing.F) {
	names, err := filepath.Glob("testdata/*")
	if err != nil {
		f.Fatal(err)
	}
	for _, name := range names {
		if data, err := os.ReadFile(name); err == nil { // not what fuzzing has found, which is a folder
			f.Add(name, data)
		}
	}
	f.Fuzz(func(t *testing.T, name string, data []byte) {
		if kind, ok := Detect(name, data); ok {
			_, _ = Parse(kind, data, Options{})
		} else if kind != "" {
			t.Errorf("it is a %s, and is not", kind)
		}
	})
}
