// Package syslog takes what machines log over UDP while they boot (RFC 3164, RFC 5426), so that it stands in their timelines.
//
// Anybody can send anything: lines are made printable and short, each sender has a rate, and what is over it is counted and
// not kept. Nothing is ever answered.
package syslog
