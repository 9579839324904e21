// Package version knows which Kiln this is. The Makefile sets it at link time; a plain `go build` leaves the
// module's own build information. It knows nothing else.
package version

import "runtime/debug"

// version is set with -ldflags -X.
var version string

// String is the version for people and user agents: "v0.1.0", "v0.1.0-3-gabcdef1", or "unknown".
func String() string {
	if version != "" {
		return version
	}
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" && info.Main.Version != "(devel)" {
		return info.Main.Version
	}
	return "unknown"
}
