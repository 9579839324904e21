// Package commit has bindings committed by the farm for the packets that wait for them: one call at a time, and all that come
// meanwhile in the next one, since a call costs the farm more than what is in it. While the farm is away nobody waits for it.
//
// It never says that something is committed that the farm has not said to be, and never repeats a command under another key.
package commit
