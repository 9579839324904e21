package state

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
	"google.golang.org/protobuf/encoding/protodelim"
	"google.golang.org/protobuf/proto"
)

// What earlier programs wrote lies in testdata/written: for each farm its log, its state in the middle and at the end, and what its commands were
// answered. See the README there.
const written = "testdata/written"

func TestWhatAnEarlierProgramWroteIsReadAsItMeantIt(t *testing.T) {
	logs, err := filepath.Glob(filepath.Join(written, "*.log.gz"))
	if err != nil || len(logs) == 0 {
		t.Fatalf("no logs: %v", err)
	}
	for _, path := range logs {
		farm := strings.TrimSuffix(filepath.Base(path), ".log.gz")
		t.Run(farm, func(t *testing.T) {
			read := func(what string) []byte { return unzip(t, filepath.Join(written, farm+"."+what+".gz")) }
			entries := entriesOf(t, read("log"))
			half, end := read("half"), read("end")
			m, back := New(), (*Machine)(nil)
			var answers bytes.Buffer
			for i, entry := range entries {
				if i == len(entries)/2 {
					if !bytes.Equal(snapshotOf(t, m), half) {
						t.Fatalf("after %d entries it is another state", i)
					}
					if back, err = Restore(bytes.NewReader(half)); err != nil {
						t.Fatalf("its snapshot: %v", err)
					}
				}
				if back != nil {
					back.Apply(proto.CloneOf(entry))
				}
				tellResults(t, &answers, m.Apply(entry).Results)
			}
			if !bytes.Equal(snapshotOf(t, m), end) {
				t.Error("the log leads to another state")
			}
			if !bytes.Equal(snapshotOf(t, back), end) {
				t.Error("the snapshot and the rest of the log lead to another state")
			}
			want, got := strings.Split(string(read("answers")), "\n"), strings.Split(answers.String(), "\n")
			for i := range min(len(got), len(want)) {
				if got[i] != want[i] {
					t.Fatalf("entry %d is answered %s, want %s", i, got[i], want[i])
				}
			}
			if len(got) != len(want) {
				t.Errorf("%d answers, want %d", len(got), len(want))
			}
		})
	}
}

// tellResults writes a line that says what the commands of an entry were answered.
func tellResults(t *testing.T, w io.Writer, results []Result) {
	t.Helper()
	for _, r := range results {
		fmt.Fprintf(w, "%q %v %d %q", r.Refused, r.Existing, r.Lease, r.Name)
		for _, m := range []proto.Message{r.Binding, r.Block} {
			data, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
			if err != nil {
				t.Fatal(err)
			}
			fmt.Fprintf(w, " %x", data)
		}
		fmt.Fprint(w, ";")
	}
	fmt.Fprintln(w)
}

func unzip(t *testing.T, path string) []byte {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	data, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func entriesOf(t *testing.T, log []byte) (all []*kilnv1.Entry) {
	t.Helper()
	in := bufio.NewReader(bytes.NewReader(log))
	for {
		entry := &kilnv1.Entry{}
		err := protodelim.UnmarshalFrom(in, entry)
		if errors.Is(err, io.EOF) {
			return all
		}
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, entry)
	}
}
