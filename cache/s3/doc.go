// Package s3 is the backend that keeps a cache in a bucket of an S3 server: what the parts of a farm share. Large blobs
// go up in parts, what compresses well is stored as seekable zstd, and an operation that fails for a reason that may
// pass is tried again for a while, streams from where they broke.
//
// It never vouches for the bytes of a blob that it reads, since others write to the bucket: wrap.Verifying does. It
// makes no bucket, and it deletes nothing by itself but the parts of its own uploads that failed.
package s3
