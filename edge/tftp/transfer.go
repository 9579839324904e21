package tftp

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync/atomic"
	"syscall"
	"time"
)

const (
	mostTries  = 5 // times that a window is sent before a client that had answered is given up
	firstTries = 3 // the same before its first answer: a forged request must not make us send much
	mostErrors = 8 // of the connection in one transfer, before it is given up
	leastWait  = 200 * time.Millisecond
	roundTrips = 8 // round trips until a window counts as lost

	// A client that sends packets that say nothing is read more slowly: what is too much is lost in its socket.
	mostUseless  = 32 // such packets at once
	uselessPause = time.Millisecond
)

var (
	// errGone is of a client whose port is closed: its kernel or firmware said so.
	errGone = errors.New("the client's port is closed")
	// errSilent is of a client that acknowledges nothing any more.
	errSilent = errors.New("the client does not answer")
)

// line is a connection to one client: what a sender needs of a net.Conn.
type line interface {
	Read([]byte) (int, error)
	Write([]byte) (int, error)
	SetReadDeadline(time.Time) error
}

// sender sends one file over one line.
type sender struct {
	terms
	line  line
	file  io.ReaderAt
	size  int64
	first time.Duration // until the first packet is sent again

	acked   int64 // the last block that the client acknowledged; -1 until it has accepted the options
	next    int64 // the block to send next
	highest int64 // the last block ever sent
	recover int64 // the last block that was on its way when some had to be sent again
	resent  int64 // blocks sent more than once
	heard   bool  // the client has acknowledged something
	clean   bool  // in the last turn nothing was sent again and no acknowledgement came again
	errors  int   // of the line
	lastErr error // of the line

	fastest, smooth time.Duration // round trips: the least and the mean; zero until there is one
	packet          []byte        // one block with its header
	answer          []byte
	due             time.Time   // until then the line reads; zero before the first time
	oneByOne        bool        // the line takes one packet at a time
	share           *share      // with other transfers of the client; nil: with none
	settled         func()      // is called when the client is heard first, if it is not nil
	stalled         atomic.Bool // the client has answered before and does not now
	whole           atomic.Bool // every block was sent
}

// last is the number of the last block: the first one that is not full, maybe empty.
func (s *sender) last() int64 { return s.size/int64(s.block) + 1 }

// run sends everything. It returns a *refusal when the client gave up.
func (s *sender) run() error {
	s.packet = make([]byte, headerLen+s.block)
	s.answer = make([]byte, headerLen+longestSentence)
	if s.next = 1; len(s.accepted) > 0 {
		s.acked = -1
	}
	for s.acked < s.last() {
		if err := s.turn(); err != nil {
			return err
		}
	}
	return nil
}

// probed tells whether the client only wanted the options' values: it ended before it took any data.
func (s *sender) probed() bool { return len(s.accepted) > 0 && s.highest == 0 }

// bytes is how much the client has acknowledged.
func (s *sender) bytes() int64 { return min(max(s.acked, 0)*int64(s.block), s.size) }

// turn sends what may be sent, from next on, until the client acknowledges some of what is on its way.
func (s *sender) turn() error {
	to := min(s.acked+int64(s.window), s.last())
	tries := mostTries
	if !s.heard {
		tries = firstTries
	}
	if s.acked < 0 {
		to = 0 // the options
	}
	defer s.share.leave(s.share.enter())
	clean := s.next > s.highest // nothing is sent again in this turn, and no acknowledgement comes again
	for try := 0; try < tries; {
		start := time.Now()
		if err := s.send(to); err != nil {
			return err
		}
		sent := time.Now()
		heard, err := s.listen(to, start, sent.Add(s.wait(try)), &clean)
		switch {
		case err != nil:
			return err
		case heard == progress:
			if clean && s.next > s.acked { // otherwise nobody knows which packet was answered (Karn)
				s.measure(time.Since(sent))
			}
			if !s.heard && s.settled != nil {
				s.settled()
			}
			s.clean, s.heard = clean, true
			s.stalled.Store(false)
			return nil
		case heard == nothing:
			try++
			s.stalled.Store(s.heard)
		}
		clean, s.clean = false, false
		s.goBack()
	}
	if s.lastErr != nil {
		return fmt.Errorf("%w: %w", errSilent, s.lastErr)
	}
	return errSilent
}

// goBack has everything that is not acknowledged sent again.
func (s *sender) goBack() { s.next, s.recover = s.acked+1, s.highest }

// wait is how long to wait after sending a window for the try'th time. What the client asked for is kept to; otherwise
// the first wait goes by the round trips seen and the others grow from s.first on.
func (s *sender) wait(try int) time.Duration {
	switch {
	case s.timeout > 0:
		return s.timeout
	case try > 0:
		return s.first << (try - 1)
	case s.smooth > 0:
		return min(max(roundTrips*s.smooth, leastWait), s.first)
	}
	return s.first
}

func (s *sender) measure(trip time.Duration) {
	trip = max(trip, 1)
	if s.smooth == 0 {
		s.smooth, s.fastest = trip, trip
	}
	s.smooth += (trip - s.smooth) / 8
	s.fastest = min(s.fastest, trip)
}

// send sends the blocks from next up to one.
func (s *sender) send(to int64) error {
	if s.acked < 0 {
		return s.write(appendOptAck(nil, s.accepted))
	}
	if line, ok := s.line.(segmenter); ok {
		for !s.oneByOne {
			n, err := s.sendTrain(to, line)
			if err != nil {
				return err
			}
			if n == 0 {
				break
			}
			s.next += n
			s.highest = max(s.highest, s.next-1)
		}
	}
	for ; s.next <= to; s.next++ {
		offset := (s.next - 1) * int64(s.block)
		n := int(min(int64(s.block), s.size-offset))
		putHeader(s.packet, s.next)
		if got, err := s.file.ReadAt(s.packet[headerLen:headerLen+n], offset); got < n {
			return fmt.Errorf("read %d bytes at %d: %w", n, offset, err)
		}
		if s.next <= s.highest {
			s.resent++
		}
		if err := s.write(s.packet[:headerLen+n]); err != nil {
			return err
		}
		s.highest = max(s.highest, s.next)
	}
	s.whole.Store(s.highest == s.last())
	return nil
}

func (s *sender) write(packet []byte) error {
	_, err := s.line.Write(packet)
	return s.excuse(err)
}

// excuse takes errors of a line for lost packets, unless they say that there is nobody or come too often.
func (s *sender) excuse(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, syscall.ECONNREFUSED):
		return errGone
	case errors.Is(err, net.ErrClosed):
		return err
	}
	s.lastErr = err
	if s.errors++; s.errors > mostErrors {
		return err
	}
	return nil
}

// outcome is what was heard after a window.
type outcome int

const (
	nothing  outcome = iota // in time
	progress                // some more is acknowledged
	missing                 // the first block of what is on its way was lost
)

// listen waits until a time for an acknowledgement of what was sent up to the block to, the last of it from start on. It sets
// clean to false when one comes again.
func (s *sender) listen(to int64, start, until time.Time, clean *bool) (outcome, error) {
	if s.due.IsZero() || until.Before(s.due) {
		if err := s.deadline(until); err != nil {
			return nothing, err
		}
	}
	for useless := 1; ; useless++ {
		if useless%mostUseless == 0 {
			time.Sleep(uselessPause)
		}
		n, err := s.line.Read(s.answer)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			if time.Now().Before(until) { // the deadline is of an earlier window
				if err := s.deadline(until); err != nil {
					return nothing, err
				}
				continue
			}
			s.due = time.Time{}
			return nothing, nil
		}
		if err = s.excuse(err); err != nil {
			if errors.Is(err, errGone) && s.highest == s.last() {
				s.acked = s.last() // it has left after the last block: its acknowledgement was lost
				return progress, nil
			}
			return nothing, err
		}
		number, gaveUp, ok := parseAnswer(s.answer[:n])
		if gaveUp != nil {
			return nothing, gaveUp
		}
		if !ok {
			continue
		}
		ahead := int64(number - uint16(s.acked))
		if ahead > 0 && ahead <= to-s.acked {
			s.acked += ahead
			s.part(to)
			return progress, nil
		}
		if ahead != 0 {
			continue
		}
		again := s.clean && *clean && s.fastest > 0 && time.Since(start) >= s.fastest
		if *clean = false; again {
			return missing, nil
		}
	}
}

// deadline sets until when the line reads. It is moved when it is reached, or is too late, and not with every window: a timer
// that is set again wakes a thread.
func (s *sender) deadline(until time.Time) error {
	s.due = until
	return s.line.SetReadDeadline(until)
}

// part decides what comes after an acknowledgement. One of a part of the window tells of a lost block (RFC 7440 §4): all
// after it are sent again. But a client that gets a block twice may say the same, and so it does when we go back in vain:
// after going back, acknowledgements of what was on its way then are taken as progress and no more. Likewise listen takes
// a repeated acknowledgement for a lost block only if it can be an answer to this window, and only after a turn in which
// none was repeated. So one packet that comes twice never makes others come twice without end.
func (s *sender) part(to int64) {
	if s.acked < to && s.acked > s.recover {
		s.goBack()
	}
}
