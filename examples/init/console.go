package main

import (
	"bufio"
	"fmt"
	"io"
	"sync"
)

// console is the machine's console, shared line by line.
type console struct {
	mu sync.Mutex
	w  io.Writer
}

func newConsole(w io.Writer) *console { return &console{w: w} }

// print writes one line, with who says it in front.
func (c *console) print(who, line string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	_, _ = fmt.Fprintf(c.w, "[%s] %s\n", who, line) // nobody is left to tell when the console is gone
}

// maxLine bounds what is held of a line; a longer one is cut into several.
const maxLine = 4096

// copy prints r's lines until its end, and calls heard after the first.
func (c *console) copy(who string, r io.Reader, heard func()) {
	reader := bufio.NewReaderSize(r, maxLine)
	for {
		line, _, err := reader.ReadLine()
		if err != nil {
			return
		}
		c.print(who, string(line))
		heard()
	}
}
