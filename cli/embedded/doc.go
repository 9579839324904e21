// Package embedded puts the parts of a farm together in one process: bus, coordinator and builder over one cache.
// `kiln build` without a farm uses it with everything in memory, `kiln server` with a log on disk; the parts are the
// ones of a large farm and do not know the difference.
//
// It owns what it starts: Close drains the builder, then ends coordinator and bus, and returns when all have ended.
// It never opens a port.
package embedded
