package state

import (
	"bytes"
	"errors"
	"go/parser"
	"go/token"
	"os"
	"strings"
	"testing"

	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
	"google.golang.org/protobuf/proto"
)

// The package may import what computes, and nothing that asks the world.
func TestThePackageImportsNothingThatAsksTheWorld(t *testing.T) {
	allowed := map[string]bool{
		"bufio": true, "cmp": true, "encoding/binary": true, "errors": true, "fmt": true, "hash/crc32": true, "io": true, "maps": true, "net/netip": true, "slices": true, "strings": true,
		"github.com/kiln-farm/kiln/cache":                true, // digests
		"github.com/kiln-farm/kiln/fleet/taken":          true,
		"github.com/kiln-farm/kiln/image/step":           true, // keys
		"github.com/kiln-farm/kiln/internal/dnsname":     true,
		"github.com/kiln-farm/kiln/proto/kiln/v1":        true,
		"google.golang.org/protobuf/proto":               true,
		"google.golang.org/protobuf/encoding/protodelim": true,
	}
	files, err := os.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		if !strings.HasSuffix(file.Name(), ".go") || strings.HasSuffix(file.Name(), "_test.go") {
			continue
		}
		f, err := parser.ParseFile(token.NewFileSet(), file.Name(), nil, parser.ImportsOnly)
		if err != nil {
			t.Fatal(err)
		}
		for _, i := range f.Imports {
			if path := strings.Trim(i.Path.Value, `"`); !allowed[path] {
				t.Errorf("%s imports %s", file.Name(), path)
			}
		}
		text, err := os.ReadFile(file.Name())
		if err != nil {
			t.Fatal(err)
		}
		for _, word := range []string{"\tgo ", "cache.Open", "panic("} {
			if strings.Contains(string(text), word) {
				t.Errorf("%s has %q", file.Name(), word)
			}
		}
	}
}

func TestADamagedSnapshotIsRefused(t *testing.T) {
	m := New()
	m.Apply(&kilnv1.Entry{Commands: []*kilnv1.Command{{Command: &kilnv1.Command_Submit{Submit: &kilnv1.SubmitCommand{
		Spec: &kilnv1.BuildSpec{Id: "a", Config: digest("c")},
	}}}}})
	whole := snapshotOf(t, m)
	if _, err := Restore(bytes.NewReader(whole)); err != nil {
		t.Fatal(err)
	}
	for n := range whole {
		if _, err := Restore(bytes.NewReader(whole[:n])); !errors.Is(err, ErrSnapshot) {
			t.Fatalf("cut to %d bytes: %v", n, err)
		}
	}
}

func FuzzApply(f *testing.F) {
	for _, c := range []*kilnv1.Command{
		{Command: &kilnv1.Command_Submit{Submit: &kilnv1.SubmitCommand{Spec: &kilnv1.BuildSpec{Id: "a", Config: digest("c")}}}},
		{Command: &kilnv1.Command_Attach{Attach: &kilnv1.AttachCommand{Build: "a", Total: 1, Nodes: []*kilnv1.AttachNode{{Node: &kilnv1.Node{}}}}}},
		{Command: &kilnv1.Command_Complete{Complete: &kilnv1.CompleteRequest{Task: "x"}}},
		{Command: &kilnv1.Command_Lost{Lost: &kilnv1.LostCommand{Build: "planned"}}},
		{Command: &kilnv1.Command_Cancel{}},
		{},
	} {
		data, err := proto.Marshal(&kilnv1.Entry{Level: Level(), Commands: []*kilnv1.Command{c}})
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		entry, err := Decode(data)
		if err != nil {
			return
		}
		m := planned(t)
		m.Apply(entry)
		if _, err := Restore(bytes.NewReader(snapshotOf(t, m))); err != nil {
			t.Fatal(err)
		}
	})
}

func FuzzRestore(f *testing.F) {
	var b bytes.Buffer
	if err := New().Snapshot().Write(&b); err != nil {
		f.Fatal(err)
	}
	f.Add(b.Bytes())
	f.Fuzz(func(_ *testing.T, data []byte) { _, _ = Restore(bytes.NewReader(data)) })
}
