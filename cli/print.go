package cli

import (
	"bytes"
	"encoding/json"
	"io"
	"log/slog"
	"os"
	"strings"

	"golang.org/x/term"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"github.com/kiln-farm/kiln/cli/node"
	"github.com/kiln-farm/kiln/cli/report"
)

// writeJSON writes v for scripts.
func writeJSON(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}

// writeMessage writes a message of the API as the API's own JSON, with every field, and with the same white space each
// time: protojson varies it on purpose.
func writeMessage(w io.Writer, m proto.Message) error {
	raw, err := protojson.MarshalOptions{EmitDefaultValues: true}.Marshal(m)
	if err != nil {
		return err
	}
	var b bytes.Buffer
	if err := json.Indent(&b, raw, "", "  "); err != nil {
		return err
	}
	b.WriteByte('\n')
	_, err = w.Write(b.Bytes())
	return err
}

// writeLines writes what package report composed.
func writeLines(w io.Writer, lines []string) error {
	_, err := io.WriteString(w, strings.Join(append(lines, ""), "\n"))
	return err
}

// style of text on standard output: colours for terminals, unless NO_COLOR says no (no-color.org).
func (e Env) style() report.Style {
	file, ok := e.Stdout.(*os.File)
	return report.Style{Color: ok && term.IsTerminal(int(file.Fd())) && e.Getenv("NO_COLOR") == ""}
}

// notify tells the service manager, if there is one; it does without.
func (e Env) notify(log *slog.Logger, message string) {
	if err := node.Notify(e.Getenv("NOTIFY_SOCKET"), message); err != nil {
		log.Warn("the service manager was not told", "error", err)
	}
}
