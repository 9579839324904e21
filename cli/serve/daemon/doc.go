// Package daemon is what processes that run for long have in common: closing what they opened, listening, metrics, the service
// manager and its watchdog, and the flags of the shared cache, of the bus and of DNS keys.
//
// It knows no part of a farm, and starts none.
package daemon
