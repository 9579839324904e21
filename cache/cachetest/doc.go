// Package cachetest is the contract of cache.Store and cache.Blobs as tests. Whoever writes a backend or a
// wrapper runs it against theirs; twenty lines do.
//
// It looks at a store through its interface only and never at how it keeps things.
package cachetest
