// Package config gives each machine its configuration in the forms that operating systems ask for, all of them from one
// record: so that a room may hold LinuxKit, cloud-init, Ignition and shell scripts, and nobody writes a machine's name twice.
//
//	who asks                         paths
//	EC2's clients, and LinuxKit's metadata as "aws", "openstack" and "hetzner"
//	                                 /latest/…, and the same below EC2's dates; PUT /latest/api/token for a session
//	LinuxKit's, as the other clouds  /computeMetadata/v1/… (gcp), /conf and /user_data/cloud-init (scaleway), /v1/… (vultr),
//	                                 /metadata/v1/… (digitalocean), /metadata and /userdata (equinixmetal), /get/… (metaldata)
//	LinuxKit, from a file            /linuxkit
//	cloud-init, NoCloud              /nocloud/{user-data,meta-data,vendor-data,network-config}
//	cloud-init, OpenStack            /openstack/latest/{meta_data.json,user_data,vendor_data.json,network_data.json}
//	Ignition 3                       /ignition
//	shell scripts                    /kv
//
// A document that is optional and that nobody gave the machine is empty; what nobody could mean is not found.
//
// Each is there twice: below /m/TOKEN, where the boot token says which machine it is, and without, for programs that know
// one fixed address only. There the source address says which machine it is, for as long as the machine boots, and only to
// the edge on whose own segment that address is bound. Secrets are given to a machine that an operator confirmed, with its
// token, and once in a boot. What a client writes into headers is never believed.
//
// Rendering is pure; the Handler needs a function that finds a machine, which Finder is over an intent. The package never
// writes a log line: every read is reported to the caller, and Redact takes tokens out of what is logged elsewhere.
package config
