// Package seen remembers what one edge saw of machines: which addresses it gave to whom on its own segment, whose firmware it
// heard a short while ago, and which machine used an address last. The first is what secrets are given by, the second what public
// documents are given by together with the kernel's table of neighbours, and the third proves nothing: it names lines of timelines.
//
// What it remembers is bounded, and forgotten with the process. It never believes an address by itself, and never tells anybody
// but the edge that saw it.
package seen
