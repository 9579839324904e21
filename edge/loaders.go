package edge

import (
	"errors"
	"io"
	"io/fs"
	"net/http"

	"github.com/kiln-farm/kiln/internal/userfile"
)

// machineLoader sends a boot program.
func (e *Edge) machineLoader(w http.ResponseWriter, r *http.Request) {
	pxe, name := e.pxe.Load(), r.PathValue("name")
	if pxe == nil || pxe.Loaders[name] == "" {
		fail(w, http.StatusNotFound, "there is no such boot program here")
		return
	}
	f, err := userfile.Open(pxe.Loaders[name])
	if err != nil {
		e.cfg.Log.Error("a boot program cannot be read", "file", pxe.Loaders[name], "error", err)
		status := http.StatusInternalServerError
		if errors.Is(err, fs.ErrNotExist) {
			status = http.StatusNotFound
		}
		fail(w, status, "the boot program cannot be read here; this edge's log says why")
		return
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		fail(w, http.StatusInternalServerError, "the boot program cannot be read here")
		return
	}
	if r.Method != http.MethodHead {
		t, ok := e.begin(w, r, info.Size())
		if !ok {
			return
		}
		if t != nil {
			defer func() { httpWait.Record(r.Context(), t.close().Seconds()) }()
			w = inTurns{w, t}
		}
	}
	http.ServeContent(w, r, name, info.ModTime(), f)
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
