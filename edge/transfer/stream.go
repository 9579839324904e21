package transfer

import (
	"io"
	"net/http"
	"time"
)

// Stream answers with a file of this host of that many bytes, or the range of it that was asked for.
func (s *Sender) Stream(w http.ResponseWriter, r *http.Request, name string, changed time.Time, size int64, file io.ReadSeeker) {
	if r.Method != http.MethodHead {
		t, ok := s.begin(w, r, size)
		if !ok {
			return
		}
		if t != nil {
			defer func() { httpWait.Record(r.Context(), t.close().Seconds()) }()
			w = inTurns{w, t}
		}
	}
	http.ServeContent(w, r, name, changed, file)
}

// inTurns has a body written in turns.
type inTurns struct {
	http.ResponseWriter
	turns *turns
}

func (w inTurns) Write(p []byte) (int, error) { return w.turns.Write(p) }

// ReadFrom implements io.ReaderFrom.
func (w inTurns) ReadFrom(src io.Reader) (int64, error) { return w.turns.ReadFrom(src) }

// Unwrap gives the writer beneath (http.ResponseController).
func (w inTurns) Unwrap() http.ResponseWriter { return w.ResponseWriter }
