// Package access says which farm a command talks to, and as whom: its flags, their variables in the environment, and the
// credentials that kiln login keeps for each farm.
//
// It starts no farm, and decides nothing of what is asked of one.
package access
