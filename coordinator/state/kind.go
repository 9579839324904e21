package state

import (
	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
)

// CommandKind is the name of a kind of command, as in the message Command.
type CommandKind string

// KindOf is a command's kind; empty when it holds none.
func KindOf(c *kilnv1.Command) CommandKind {
	m := c.ProtoReflect()
	if f := m.WhichOneof(m.Descriptor().Oneofs().Get(0)); f != nil {
		return CommandKind(f.Name())
	}
	return ""
}

// CommandKinds are all kinds of commands, in the order of their numbers.
func CommandKinds() (all []CommandKind) {
	fields := (&kilnv1.Command{}).ProtoReflect().Descriptor().Oneofs().Get(0).Fields()
	for i := range fields.Len() {
		all = append(all, CommandKind(fields.Get(i).Name()))
	}
	return all
}

// Part is the name of a part of the state.
type Part string

// The parts of the state.
const (
	Builds    Part = "builds"    // builds, their tasks and leases
	Teams     Part = "teams"     // how teams share the farm, and which builders are held
	Members   Part = "members"   // the farm's coordinators, and its feature level
	Machines  Part = "machines"  // what machines are to boot
	Addresses Part = "addresses" // what is bound to whom
	Names     Part = "names"     // what is in DNS
)
