package config

import (
	"fmt"

	"github.com/kiln-farm/kiln/fleet"
	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
)

// Faults fills the templates of every machine of an intent as if it booted now, and says what fails, each fault once and in
// the order of the machines: what fleet.Check cannot see, such as a value that one machine of a group lacks. It takes about
// a second for ten thousand machines.
func Faults(in *kilnv1.Intent) []string {
	index := fleet.NewIndex(in)
	var order []string
	machines := map[string]int{} // by fault
	first := map[string]string{}
	for _, m := range in.GetMachines() {
		boot, _ := index.Named(m.GetName()) // without a release it has a configuration nevertheless
		if boot == nil {
			continue
		}
		for _, err := range (&Record{Boot: boot}).faults() {
			text := err.Error()
			if machines[text]++; machines[text] == 1 {
				order = append(order, text)
				first[text] = m.GetName()
			}
		}
	}
	out := make([]string, len(order))
	for i, text := range order {
		out[i] = fmt.Sprintf("machine %s: %s", first[text], text)
		if n := machines[text] - 1; n > 0 {
			out[i] = fmt.Sprintf("machine %s and %d more: %s", first[text], n, text)
		}
	}
	return out
}

// faults are what is wrong with the machine's templates when they are filled.
func (r *Record) faults() []error {
	var out []error
	for _, kind := range fleet.Kinds() {
		if _, ok := r.Boot.Templates[kind]; !ok {
			continue
		}
		var err error
		switch kind {
		case fleet.UserData:
			_, err = r.userData(true)
		case fleet.MetaData:
			_, err = r.nocloudMetaData(true)
		case fleet.Ignition:
			_, err = r.ignition(true)
		default:
			_, err = r.fill(kind, true)
		}
		if err != nil {
			out = append(out, err)
		}
	}
	return out
}
