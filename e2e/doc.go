// Package e2e holds tests of the whole: bin/kiln as users run it, and machines that boot what it built.
//
// They make the example images once (with Debian's mirror as the only network), build examples/hello.yml, and
// boot it in QEMU without KVM, root or a network device of the host. Without QEMU or bin/kiln's tools they skip and say
// what is missing; `make test` installs it. KILN_E2E=full adds the slow ones: every compression, and arm64.
//
// Where root runs them, machines boot from real edges of a real farm, each in a network namespace of its own, and edges,
// coordinators and the S3 server die at moments of a boot that the test sees on the machine's cable (deaths_test.go).
//
// Nothing else is here: what one package can promise is tested in that package.
package e2e
