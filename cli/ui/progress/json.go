package progress

import (
	"io"

	"google.golang.org/protobuf/encoding/protojson"

	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
)

// JSON writes each event as one line of protobuf JSON: for machines.
type JSON struct{ out io.Writer }

// NewJSON returns a JSON that writes to w.
func NewJSON(w io.Writer) *JSON { return &JSON{w} }

// Event implements Display.
func (j *JSON) Event(event *kilnv1.BuildEvent) {
	line, err := protojson.Marshal(event)
	if err != nil {
		return // a string that is no UTF-8: nothing that a machine could read
	}
	_, _ = j.out.Write(append(line, '\n')) // nobody to tell when standard error is closed
}

// Close implements Display: the last event said it all.
func (j *JSON) Close(*Summary) {}
