// Package machines is what an edge knows and says of the machines that boot at it, whatever they ask by: who somebody is, the token
// of a boot and whose a token is, which files that boot has, the texts that tell boot loaders of it, at which edges it may go on, and
// what goes into its timeline. HTTP (edge/httpboot), TFTP and DHCP (edge/pxe) ask here, so that they say the same and need not
// know each other.
//
// It opens no socket and no file, never believes an address that edge/seen did not see, and decides nothing about addresses.
package machines
