// Package house measures the tree of sources: which folder imports which, how large each is, and how the files of a folder use each
// other. Its tests hold the tree to the arrows of docs/design.md and of the decisions about rooms.
//
// It parses sources and needs no compiler; nothing of the program imports it.
package house
