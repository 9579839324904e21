package tftp

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
)

// Opcodes: RFC 1350 §5, RFC 2347.
const (
	opRead   = 1
	opWrite  = 2
	opData   = 3
	opAck    = 4
	opError  = 5
	opOptAck = 6
)

// Error codes: RFC 1350 appendix, RFC 2347.
const (
	codeOther       = 0
	codeNotFound    = 1
	codeAccess      = 2
	codeIllegal     = 4
	codeUnknownID   = 5
	codeOptions     = 8
	headerLen       = 4   // bytes before the data of a block
	longestRequest  = 512 // RFC 2347: bytes of a request with its options
	longestName     = 255
	mostOptions     = 16
	longestSentence = 128 // bytes of an error's text that are sent or believed
)

// option is one name and value as the client wrote them.
type option struct{ name, value string }

// request is a read or write request.
type request struct {
	op      uint16
	name    string
	options []option
}

// refusal is an error that the client is told.
type refusal struct {
	code uint16
	text string
}

func (r *refusal) Error() string { return r.text }

// errNoRequest is of packets that are not to be answered at all.
var errNoRequest = errors.New("the packet is no request: only requests are sent to the server's port")

// parseRequest reads a read or write request. An error that is a *refusal is to be sent to the client; any other packet
// is to be ignored.
func parseRequest(packet []byte) (request, error) {
	if len(packet) < 2 {
		return request{}, errNoRequest
	}
	r := request{op: binary.BigEndian.Uint16(packet)}
	if r.op != opRead && r.op != opWrite {
		return request{}, errNoRequest
	}
	if len(packet) > longestRequest {
		return request{}, &refusal{codeIllegal, fmt.Sprintf("the request is longer than %d bytes", longestRequest)}
	}
	name, rest, ok := cutString(packet[2:])
	if !ok {
		return request{}, &refusal{codeIllegal, "the request ends within the file's name"}
	}
	if err := checkName(name); err != nil {
		return request{}, err
	}
	mode, rest, ok := cutString(rest)
	if !ok {
		return request{}, &refusal{codeIllegal, "the request ends within the mode"}
	}
	// A file for firmware is the same bytes in every mode: netascii, which some ROMs ask for, is answered as octet.
	if !strings.EqualFold(mode, "octet") && !strings.EqualFold(mode, "netascii") {
		return request{}, &refusal{codeIllegal, "the mode is neither octet nor netascii"}
	}
	r.name = name
	var err error
	r.options, err = parseOptions(rest)
	return r, err
}

// parseOptions reads pairs of strings. What follows the last whole pair is padding of some ROMs and is ignored.
func parseOptions(rest []byte) ([]option, error) {
	var options []option
	for len(rest) > 0 && rest[0] != 0 {
		name, after, ok := cutString(rest)
		if !ok {
			break
		}
		value, after, ok := cutString(after)
		if !ok {
			break
		}
		if len(options) == mostOptions {
			return nil, &refusal{codeOptions, fmt.Sprintf("the request has more than %d options", mostOptions)}
		}
		for _, o := range options {
			if strings.EqualFold(o.name, name) { // RFC 2347: an option may be specified once only
				return nil, &refusal{codeOptions, "the request names an option twice"}
			}
		}
		options = append(options, option{name, value})
		rest = after
	}
	return options, nil
}

// cutString splits off a string that ends with a zero byte.
func cutString(b []byte) (s string, rest []byte, ok bool) {
	end := bytes.IndexByte(b, 0)
	if end < 0 {
		return "", nil, false
	}
	return string(b[:end]), b[end+1:], true
}

// checkName refuses names that no file of ours has, so that nothing strange gets as far as logs and lookups.
func checkName(name string) error {
	if name == "" {
		return &refusal{codeNotFound, "the request names no file"}
	}
	if len(name) > longestName {
		return &refusal{codeAccess, fmt.Sprintf("the file's name is longer than %d bytes", longestName)}
	}
	for i := range len(name) {
		if name[i] < ' ' || name[i] > '~' {
			return &refusal{codeAccess, "the file's name has bytes that are not printable ASCII"}
		}
	}
	return nil
}

// parseAnswer reads what a client sends during a transfer: the number of the block that it acknowledges, or a *refusal
// when it gives up. ok is false for packets to ignore.
func parseAnswer(packet []byte) (block uint16, gaveUp *refusal, ok bool) {
	if len(packet) < headerLen {
		return 0, nil, false
	}
	number := binary.BigEndian.Uint16(packet[2:])
	switch binary.BigEndian.Uint16(packet) {
	case opAck:
		return number, nil, true
	case opError:
		text, _, _ := cutString(append(bytes.Clone(packet[headerLen:min(len(packet), headerLen+longestSentence)]), 0))
		return 0, &refusal{number, printable(text)}, true
	}
	return 0, nil, false
}

// printable replaces what should not get into a log.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return '?'
		}
		return r
	}, s)
}

// appendError makes an error packet.
func appendError(b []byte, r *refusal) []byte {
	b = binary.BigEndian.AppendUint16(b, opError)
	b = binary.BigEndian.AppendUint16(b, r.code)
	b = append(b, r.text[:min(len(r.text), longestSentence)]...)
	return append(b, 0)
}

// appendOptAck makes the packet that accepts options.
func appendOptAck(b []byte, accepted []option) []byte {
	b = binary.BigEndian.AppendUint16(b, opOptAck)
	for _, o := range accepted {
		b = append(append(b, o.name...), 0)
		b = append(append(b, o.value...), 0)
	}
	return b
}

// putHeader writes the first bytes of a block. Numbers wrap from 65535 to 0, as every client that takes larger files expects.
func putHeader(b []byte, block int64) {
	binary.BigEndian.PutUint16(b, opData)
	binary.BigEndian.PutUint16(b[2:], uint16(block))
}
