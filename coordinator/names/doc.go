// Package names is the duty that keeps DNS in step with what is described and bound: a name for each client and machine of a
// subnet that says so, by signed updates to the subnet's own servers, one after the other at each.
//
// What to do is package ddns's to say, how to say it package nsupdate's. The duty never takes away a record that it cannot
// know to be Kiln's, and never lets an address wait for a name.
package names
