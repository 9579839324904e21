// Package chaos breaks a real farm while it works, and checks that nobody can tell by the results.
//
// A farm of processes (package lab), each in a network namespace of its own where the machine allows that, builds images
// for many clients from a real S3 server. Meanwhile nodes are killed and paused, links are cut, disks fill up, clocks are
// wrong and the S3 server misbehaves, one after the other in an order that a seed decides. In the end:
//
//   - every build ended, and gave the bytes that `kiln build` gives in one process;
//   - the committed log, replayed command by command, never leased a task that was leased, and never accepted a result
//     from one who did not hold the lease; two coordinators have the same log;
//   - every blob in the store hashes to its name, and every result is the one that a build in one process has;
//   - what clients saw of submit, cancel and status is linearizable.
//
// The short run is part of `make test`; `make chaos` takes minutes and does everything (KILN_CHAOS=5m). KILN_CHAOS_SEED
// repeats an order of faults. The report of a run, as text and JSON, is written to the directory KILN_CHAOS_REPORT.
// The checkers are tests here as well: each is shown broken histories and damaged stores that it must not let pass.
package chaos
