// Package pull reads manifests and blobs from registries over HTTP (OCI distribution-spec, "Pull"), on their good days and on
// their bad ones.
//
// Registries stop in the middle of a blob, cut connections, forget tokens, ask to be left alone for a minute, and offer several ways
// to log in at once. A request passes through layers that each deal with one of these:
//
//	Repository  who asks: probes, tokens and logins (auth.go, token.go, challenge.go)
//	patience    waits as long as a registry asks for, within a bound (patience.go)
//	stalls      ends an answer that does not go on (stall.go)
//	hosts       connections, with the authorities and client certificates of each host (certs.go)
//
// A blob that ends early is gone on with from where it ended, as long as there is progress (blob.go).
//
// The package gives bytes as they come. It never says that they are the right ones: whoever asked for a digest checks it.
// Credentials go to the host that they are for, or to the token service that it names, and never into an error or a log.
package pull
