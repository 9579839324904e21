package config

import (
	"crypto/rand"

	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
)

// TakeCommand is a machine's request for a document with secrets. It has a number of its own, so that it may be repeated.
func TakeCommand(machine string, boot BootID, what string) *kilnv1.TakeCommand {
	return &kilnv1.TakeCommand{Machine: machine, Boot: boot.String(), Document: what, Request: rand.Text()}
}
