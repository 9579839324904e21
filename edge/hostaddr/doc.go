// Package hostaddr gives the host an address of its own on some interfaces for as long as a process serves there, so that
// nobody has to give it by hand and nothing is left behind.
//
// An address that it gives ends by itself after Lifetime and is renewed meanwhile: the kernel takes it away from a host whose
// process was killed or stands still, and the next process finds its predecessor's and goes on with it. An address that an operator
// gave has no end: it is used, and stays.
//
// It never changes routes, and never an address that it did not give.
package hostaddr
