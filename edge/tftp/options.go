package tftp

import (
	"strconv"
	"strings"
	"time"
)

const (
	plainBlock   = 512   // RFC 1350: bytes of a block that nothing was agreed about
	smallBlock   = 8     // RFC 2348: the smallest blksize
	largestBlock = 65464 // RFC 2348
	longestWait  = 60    // seconds of the timeout option that are granted; RFC 2349 allows 255, which would hold a transfer for minutes
)

// terms are what a transfer goes by.
type terms struct {
	block    int           // bytes of data in a block
	window   int           // blocks in flight
	timeout  time.Duration // until something is sent again; zero when the client did not say
	accepted []option      // what the client is told, in its order and spelling
}

// agree settles the options of a request for a file of size bytes. Options that are unknown or make no sense are left out
// of the answer, which refuses them without ending the transfer (RFC 2347).
func agree(options []option, size int64, maxBlock, maxWindow int) terms {
	t := terms{block: plainBlock, window: 1}
	for _, o := range options {
		value, err := strconv.ParseInt(o.value, 10, 64)
		if err != nil || value < 0 {
			continue
		}
		switch strings.ToLower(o.name) {
		case "blksize":
			if value < smallBlock || value > largestBlock {
				continue
			}
			t.block = min(int(value), maxBlock)
			value = int64(t.block)
		case "windowsize":
			if value < 1 || value > 65535 {
				continue
			}
			t.window = min(int(value), maxWindow)
			value = int64(t.window)
		case "timeout":
			if value < 1 || value > longestWait {
				continue
			}
			t.timeout = time.Duration(value) * time.Second
		case "tsize":
			value = size
		default:
			continue
		}
		t.accepted = append(t.accepted, option{o.name, strconv.FormatInt(value, 10)})
	}
	return t
}
