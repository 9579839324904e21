// Package pki is a farm's trust: a certificate authority of its own, certificates that say which part of the farm
// their owner is, and join tokens that are turned into them.
//
// A certificate's subject names its owner (common name), the owner's role (organizational unit) and, for those who
// submit builds, the only team they act for (organization). All coordinators' certificates carry one DNS name, which
// is what the others verify: coordinators may change their addresses, and only the farm's authority can make one.
//
// A join token is a claim signed by the authority's key. It carries the digest of the authority's certificate, so that
// its owner knows whom to trust before it has seen the farm.
//
// The package opens no connection and logs nothing.
package pki
