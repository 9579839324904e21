package progress

import (
	"fmt"
	"io"
	"os"

	"golang.org/x/term"

	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
)

// Display shows the events of one build. Close ends it, with a summary when the build went well, else nil.
type Display interface {
	Event(event *kilnv1.BuildEvent)
	Close(s *Summary)
}

// ModeJSON is the mode of machines.
const ModeJSON = "json"

// Open returns the display of that mode. "auto" is "tty" when out is a terminal, else "plain". Colours are for
// terminals only, and not when noColor says so (no-color.org).
func Open(mode string, out io.Writer, noColor bool) (Display, error) {
	file, _ := out.(*os.File)
	terminal := file != nil && term.IsTerminal(int(file.Fd()))
	if mode == "auto" {
		mode = "plain"
		if terminal {
			mode = "tty"
		}
	}
	switch mode {
	case "tty":
		return NewTTY(out, size(file, terminal), terminal && !noColor), nil
	case "plain":
		return NewPlain(out), nil
	case ModeJSON:
		return NewJSON(out), nil
	}
	return nil, fmt.Errorf("--progress %q: it is one of auto, tty, plain, json", mode)
}

// size asks the terminal each time, since windows are resized.
func size(file *os.File, terminal bool) func() (int, int) {
	return func() (int, int) {
		if terminal {
			if w, h, err := term.GetSize(int(file.Fd())); err == nil && w > 0 && h > 0 {
				return w, h
			}
		}
		return 80, 24
	}
}
