// Package farmlink is what an edge has to do with its farm: it follows what machines boot, tells what they do, asks what they have
// read once, and binds addresses and follows the bindings of others. Coordinators come and go; whatever fails is tried with
// another one.
//
// How a coordinator is reached, and with which certificate, is for who makes a Link to say. The package decides nothing of a boot.
package farmlink
