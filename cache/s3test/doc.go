// Package s3test gives tests and benchmarks a real S3 server, and faults on the way to it.
//
// The server is VersityGW, which deploy/tools.sh builds; it runs as a child process on loopback with a directory and
// credentials of its own, and ends with whoever started it. The proxy stands before a server and does to requests what
// networks and servers do on bad days, and counts what it did.
package s3test
