package config

import (
	"errors"
	"fmt"
	"net/netip"

	"github.com/kiln-farm/kiln/fleet"
	"github.com/kiln-farm/kiln/fleet/templates"
	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
)

// Values of a record that have a meaning here, beside what templates make of them. EC2's clients know them.
const (
	ValuePublicIPv4       = "public_ipv4"
	ValueAvailabilityZone = "availability_zone"
	ValueRegion           = "region"
	ValueInstanceType     = "instance_type"
)

// ErrNotFound: the machine has no such document.
var ErrNotFound = errors.New("there is no such document")

// Record is one machine with what is known of it now.
type Record struct {
	Boot *fleet.Boot
	// Address is what DHCP gave it. A fixed address of the machine comes before it.
	Address netip.Prefix
}

// Content is a document.
type Content struct {
	Type    string // MIME
	Body    string
	Kind    string // of the template that it was made of; empty: of none
	Secrets bool   // the template used secrets
	Absent  bool   // it is empty, since nobody gave the machine one
}

// orEmpty is an optional document: where there is no template for it, it is empty.
func orEmpty(c Content, err error) (Content, error) {
	if isMissing(err) {
		return Content{Type: plain, Absent: true}, nil
	}
	return c, err
}

func (r *Record) machine() *kilnv1.Machine { return r.Boot.Machine }

func (r *Record) id() string { return r.Boot.InstanceID() }

func (r *Record) uuid() string { return r.Boot.SystemUUID() }

func (r *Record) address() netip.Prefix { return r.Boot.Address(r.Address) }

// ip is the address alone; "": not known.
func (r *Record) ip() string {
	if p := r.address(); p.IsValid() {
		return p.Addr().String()
	}
	return ""
}

func (r *Record) mac() string {
	if macs := r.Boot.MACs(); len(macs) > 0 {
		return macs[0]
	}
	return ""
}

// fill fills the machine's template of a kind. With ErrNotFound there is none.
func (r *Record) fill(kind string, secrets bool) (Content, error) {
	text, ok := r.Boot.Templates[kind]
	if !ok {
		return Content{}, fmt.Errorf("%w: neither machine %s nor a group of it has a template %s", ErrNotFound, r.Boot.Name(), kind)
	}
	compiled, err := templates.Compile(text.Text)
	if err != nil {
		return Content{}, &Fault{Kind: kind, From: text.From, Err: err}
	}
	data := r.Boot.Data(r.Address)
	if secrets {
		data = data.WithSecrets(r.machine().GetSecrets())
	}
	out, err := compiled.Execute(data)
	c := Content{Type: plain, Body: out.Text, Kind: kind, Secrets: out.Secrets}
	if err != nil {
		return c, &Fault{Kind: kind, From: text.From, Err: err}
	}
	return c, nil
}

// Fault is what is wrong with a machine's template, or with what came out of it.
type Fault struct {
	Kind, From string // "user-data", "group web"
	Err        error
}

func (f *Fault) Error() string { return "template " + f.Kind + " of " + f.From + ": " + f.Err.Error() }

// Unwrap gives the reason.
func (f *Fault) Unwrap() error { return f.Err }

// fault is about what came out of the template of c, and shows none of it when secrets may be in it.
func (r *Record) fault(c Content, err error) error {
	if c.Secrets {
		err = errors.New("what it makes of secrets is not of the right form; fill it with other values to see why")
	}
	return &Fault{Kind: c.Kind, From: r.Boot.Templates[c.Kind].From, Err: err}
}

const (
	plain    = "text/plain; charset=utf-8"
	jsonType = "application/json"
)
