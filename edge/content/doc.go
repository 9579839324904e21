// Package content is what an edge reads of its cache: the bytes of artifacts, of blobs and of releases' files, by their digests.
// Small files, and what others are made of, stay in memory for a minute, since a thousand machines ask for the same; for how long
// anybody waits for the shared cache is counted; and what machines are to boot is fetched before they ask.
//
// It knows no protocol and never writes a record.
package content
