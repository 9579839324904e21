package config

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"net/netip"
	"strings"

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

// id is the instance's id. cloud-init does its work again when it changes, so it is the machine's and not the boot's.
func (r *Record) id() string { return "kiln-" + strings.ReplaceAll(r.Boot.Key(), ":", "-") }

// uuid is the machine's, or otherwise one of version 8 made of its id (RFC 9562 §5.8).
func (r *Record) uuid() string {
	if u := r.machine().GetUuid(); u != "" {
		return u
	}
	if u := r.Boot.Identity.UUID; u != "" {
		return u
	}
	b := sha256.Sum256([]byte("kiln machine\x00" + r.id()))
	b[6], b[8] = b[6]&0x0f|0x80, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[0:4], b[4:6], b[6:8], b[8:10], b[10:16])
}

// address is the machine's fixed address, or the one that it has now; invalid: not known.
func (r *Record) address() netip.Prefix {
	if p, err := fleet.Address(r.machine().GetAddress()); err == nil {
		return p
	}
	return r.Address
}

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

// data is what the machine's templates may say.
func (r *Record) data() templates.Data {
	m := templates.Machine{
		Name: r.Boot.Name(), Hostname: r.Boot.Hostname(), ID: r.id(), UUID: r.uuid(), MAC: r.mac(), MACs: r.Boot.MACs(),
		Labels: r.machine().GetLabels(), Address: r.ip(), Gateway: r.machine().GetGateway(), DNS: r.machine().GetDns(), SSHKeys: r.Boot.SSHKeys,
	}
	if p := r.address(); p.IsValid() {
		m.Prefix = fmt.Sprint(p.Bits())
	}
	// JSON of a nil slice or map is null, which whoever reads it may not expect.
	if m.MACs == nil {
		m.MACs = []string{}
	}
	if m.DNS == nil {
		m.DNS = []string{}
	}
	if m.SSHKeys == nil {
		m.SSHKeys = []string{}
	}
	if m.Labels == nil {
		m.Labels = map[string]string{}
	}
	return templates.Data{Machine: m, Values: r.Boot.Values, Release: r.Boot.Release.GetName(), Groups: r.Boot.Groups}
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
	data := r.data()
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
