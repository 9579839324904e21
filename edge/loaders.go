package edge

import (
	"errors"
	"io/fs"
	"net/http"

	"github.com/kiln-farm/kiln/edge/transfer"
	"github.com/kiln-farm/kiln/internal/userfile"
)

// machineLoader sends a boot program.
func (e *Edge) machineLoader(w http.ResponseWriter, r *http.Request) {
	pxe, name := e.pxe.Load(), r.PathValue("name")
	if pxe == nil || pxe.Loaders[name] == "" {
		if e.serveByName(w, r) {
			return
		}
		transfer.Fail(w, http.StatusNotFound, "there is no such boot program here")
		return
	}
	f, err := userfile.Open(pxe.Loaders[name])
	if err != nil {
		e.cfg.Log.Error("a boot program cannot be read", "file", pxe.Loaders[name], "error", err)
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
	e.sender.Stream(w, r, name, info.ModTime(), info.Size(), f)
}
