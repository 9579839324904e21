// Package node is what every long-lived process of a farm does besides its work: it owns a data directory that no
// other process uses, has a name that it keeps, remembers where the farm is, has its certificate renewed in time, and
// tells systemd when it is ready.
//
//	DATA/id            its name in the farm
//	DATA/lock          held while it runs
//	DATA/pki/node.pem  its certificate and key, with the farm's authority
//	DATA/farm.json     where the farm's coordinators were when it last looked
//
// The package knows nothing of what coordinators and builders do.
package node
