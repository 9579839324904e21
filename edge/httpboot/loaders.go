package httpboot

import (
	"errors"
	"io/fs"
	"net/http"

	"github.com/kiln-farm/kiln/edge/transfer"
	"github.com/kiln-farm/kiln/internal/userfile"
)

// machineLoader sends a boot program.
func (s *Server) machineLoader(w http.ResponseWriter, r *http.Request) {
	name := r.PathValue("name")
	path := s.loader(name)
	if path == "" {
		if s.serveByName(w, r) {
			return
		}
		transfer.Fail(w, http.StatusNotFound, "there is no such boot program here")
		return
	}
	f, err := userfile.Open(path)
	if err != nil {
		s.Log.Error("a boot program cannot be read", "file", path, "error", err)
		status := http.StatusInternalServerError
		if errors.Is(err, fs.ErrNotExist) {
			status = http.StatusNotFound
		}
		transfer.Fail(w, status, "the boot program cannot be read here; this edge's log says why")
		return
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		transfer.Fail(w, http.StatusInternalServerError, "the boot program cannot be read here")
		return
	}
	s.Sender.Stream(w, r, name, info.ModTime(), info.Size(), f)
}
