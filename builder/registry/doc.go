// Package registry finds out what image references mean and brings images into the cache.
//
// A reference means, in this order: an image made or imported here under that name; what a registry said when it was asked
// before; what a registry says now. What a registry says is stored under refs/ for the team, with manifests and configs as
// blobs. Layers are fetched when a step needs them.
//
// Where teams share a builder, each has its own logins and mirrors (Config.Teams). How a registry is talked to, on bad days as well,
// is in pull; where logins are kept, in logins; registries of all manners for tests, in regtest.
//
// Everything that comes from a registry is checked against its digest while it arrives. Credentials come from docker's
// configuration and its helpers, proxies from the environment, private authorities and client certificates from SSL_CERT_FILE and
// the certs.d directories of docker and containerd; none of them ever gets into a record, a key or a log.
package registry
