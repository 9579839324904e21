package templates

import "errors"

// ErrSecrets: a template uses secrets, and whoever asks may not have them.
var ErrSecrets = errors.New("the template uses secrets, which are given once in a boot, to a machine that is confirmed and shows its boot token")

// Data is what a template can say. In a template: {{.Machine.Hostname}}, {{.Values.port}}, {{.Secrets.password}}.
type Data struct {
	Machine Machine
	Values  map[string]string // of groups, then of the machine
	Release string            // that the machine boots; empty: none
	Groups  []string          // that the machine is in, the one that decides first

	secrets *secrets
}

// Machine is a machine as templates see it. No field is nil, so that a template may range over each.
type Machine struct {
	Name     string
	Hostname string
	ID       string // instance-id
	UUID     string
	MAC      string // the first
	MACs     []string
	Labels   map[string]string
	Address  string // "10.0.0.5"; empty: not known
	Prefix   string // "24"
	Gateway  string
	DNS      []string
	SSHKeys  []string // lines of authorized_keys
}

type secrets struct {
	values  map[string]string
	allowed bool
	used    bool
}

// WithSecrets is d with secrets that are allowed. Without it any mention of .Secrets ends the template with ErrSecrets.
func (d Data) WithSecrets(values map[string]string) Data {
	d.secrets = &secrets{values: values, allowed: true}
	return d
}

// Secrets is what templates call.
func (d Data) Secrets() (map[string]string, error) {
	if d.secrets == nil || !d.secrets.allowed {
		return nil, ErrSecrets
	}
	d.secrets.used = true
	return d.secrets.values, nil
}
