package flat

import (
	"archive/tar"
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"

	"github.com/kiln-farm/kiln/image/flat/flattest"
	"github.com/kiln-farm/kiln/image/step"
	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
)

// TestWhatLayersMean has a case for each rule of doc.go that a tool has got wrong somewhere.
func TestWhatLayersMean(t *testing.T) {
	own := []flattest.Case{ // that others refuse
		{Name: "a hard link before its directory", Layers: [][]flattest.Item{{flattest.Hard("b", "d/a"), flattest.Dir("d"), flattest.File("d/a", "1")}},
			Want: []string{"b=1", "d/", "d/a=1 same as b"}},
		{Name: "no layers at all"},
	}
	for _, c := range append(flattest.Cases(), own...) {
		t.Run(c.Name, func(t *testing.T) {
			dir := newDir(t)
			var packed [][]byte
			for _, l := range c.Layers {
				packed = append(packed, flattest.Pack(t, l))
			}
			entries, err := flattened(t, dir, packed...)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.Want, flattest.Short(unpacked(t, dir, entries))); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

// TestOfAFileThatIsWrittenUnderAnotherName: owner, mode and xattrs are the file's, not those that its link says.
func TestOfAFileThatIsWrittenUnderAnotherName(t *testing.T) {
	f := flattest.File("a", "body")
	f.Mode, f.Uid, f.PAXRecords = 0o4755, 7, map[string]string{"SCHILY.xattr.user.x": "y"}
	dir := newDir(t)
	entries, err := flattened(t, dir, flattest.Pack(t, []flattest.Item{f, flattest.Hard("b", "a")}), flattest.Pack(t, []flattest.Item{flattest.File(".wh.a", "")}))
	if err != nil {
		t.Fatal(err)
	}
	if len(entries) != 1 || entries[0].Name != "b" || entries[0].Type != tar.TypeReg || entries[0].Mode != 0o4755 || entries[0].UID != 7 ||
		entries[0].PAX["SCHILY.xattr.user.x"] != "y" || entries[0].Body.Size != 4 {
		t.Errorf("got %+v", entries)
	}
}

func TestLayersThatAreRefused(t *testing.T) {
	circle := []flattest.Item{flattest.Soft("a", "b"), flattest.Soft("b", "a"), flattest.File("a/x", "1")}
	for _, c := range []struct {
		name   string
		layers [][]flattest.Item
		want   string
	}{
		{"a name below a file", [][]flattest.Item{{flattest.File("a", "1")}, {flattest.File("a/b", "2")}}, `"a" is a file, but an upper layer has something below it`},
		{"a circle of links", [][]flattest.Item{circle}, `leads through more than 40 symbolic links, or round in a circle`},
		{"a whiteout of no name", [][]flattest.Item{{flattest.File("a/.wh.", "")}}, `entry "a/.wh." is a whiteout of no name`},
		{"a whiteout of the directory above", [][]flattest.Item{{flattest.File("a/.wh...", "")}}, `entry "a/.wh..." is a whiteout of no name`},
		{"a name outside", [][]flattest.Item{{flattest.File("/../x", "")}}, `entry "../x" is outside of the image`},
	} {
		t.Run(c.name, func(t *testing.T) {
			var packed [][]byte
			for _, l := range c.layers {
				packed = append(packed, flattest.Pack(t, l))
			}
			_, err := flattened(t, newDir(t), packed...)
			var failure *step.Failure
			if !errors.As(err, &failure) || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), "sha256:") && c.name != "a name below a file" {
				t.Errorf("error %v\nwant %s", err, c.want)
			}
		})
	}
}

func TestLimits(t *testing.T) {
	m := meter{limits: Limits{Bytes: 100, Entries: 1000, Ratio: 10, RatioFree: 20}}
	m.begin(3)
	for n, c := range []struct {
		size int64
		want string
	}{
		{20, ""}, {12, ""}, {9, `with the 9 bytes of entry "8" a layer of 3 bytes unpacks to more than 10 times its size`},
	} {
		err := m.entry(entryOf(fmt.Sprint(c.size-int64(n)/2), c.size))
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%d bytes: error %v, want %q", c.size, err, c.want)
		}
	}
	m.begin(1000)
	if err := m.entry(entryOf("big", 60)); err == nil || !strings.Contains(err.Error(), `unpacks to more than 100 bytes, which is the limit`) {
		t.Errorf("error %v", err)
	}
	m = meter{limits: Limits{Entries: 1}}
	if err := m.entry(entryOf("a", 0)); err != nil {
		t.Error(err)
	}
	if err := m.entry(entryOf("b", 0)); err == nil || !strings.Contains(err.Error(), `with entry "b" the image has more than 1 entries`) {
		t.Errorf("error %v", err)
	}
}

func TestLimitsThatSomebodySet(t *testing.T) {
	const none = math.MaxInt64
	usual := DefaultLimits
	for _, c := range []struct {
		set  *kilnv1.UnpackLimits
		want Limits
	}{
		{nil, usual},
		{&kilnv1.UnpackLimits{Files: 5}, Limits{Bytes: usual.Bytes, Entries: 5, Ratio: usual.Ratio, RatioFree: usual.RatioFree}},
		{&kilnv1.UnpackLimits{Bytes: none, Ratio: none}, Limits{Entries: usual.Entries, RatioFree: usual.RatioFree}},
	} {
		if got := LimitsOf(c.set); got != c.want {
			t.Errorf("%v: got %+v, want %+v", c.set, got, c.want)
		}
	}
	for _, c := range []struct{ a, b, want *kilnv1.UnpackLimits }{
		{nil, nil, nil},
		{&kilnv1.UnpackLimits{Bytes: 5, Ratio: none}, nil, &kilnv1.UnpackLimits{Bytes: usual.Bytes, Files: usual.Entries, Ratio: none}},
		{&kilnv1.UnpackLimits{Bytes: 5, Files: 9}, &kilnv1.UnpackLimits{Bytes: 7, Files: 8, Ratio: 1}, &kilnv1.UnpackLimits{Bytes: 7, Files: 9, Ratio: usual.Ratio}},
	} {
		if got := Wider(c.a, c.b); !proto.Equal(got, c.want) || (got == nil) != (c.want == nil) {
			t.Errorf("%v and %v: got %v, want %v", c.a, c.b, got, c.want)
		}
	}
}
