package linuxkit

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/linuxkit/linuxkit/src/cmd/linuxkit/moby"
	"gopkg.in/yaml.v3"

	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
)

// TestADryRunPrintsWhatLinuxKitPrints compares with what LinuxKit's own command (v1.8.2) printed for the same arguments.
func TestADryRunPrintsWhatLinuxKitPrints(t *testing.T) {
	t.Chdir("testdata/dryrun")
	for _, c := range []struct{ want, args, stdin string }{
		{want: "absent-sources", args: "absent-sources.yml"},
		{want: "binary", args: "binary.yml"},
		{want: "binary-paths", args: "binary.yml paths.yml"},
		{want: "blocks", args: "blocks.yml"},
		{want: "paths", args: "paths.yml"},
		{want: "sections", args: "sections.yml"},
		{want: "sections-stdin-blocks", args: "sections.yml -", stdin: "blocks.yml"},
		{want: "stdin-blocks", args: "-", stdin: "blocks.yml"},
		{want: "stdin-blocks-sections", args: "- sections.yml", stdin: "blocks.yml"},
		{want: "stdin-leading", args: "-", stdin: "leading.yml"},
	} {
		t.Run(c.args+" "+c.stdin, func(t *testing.T) {
			opts := Options{Stdin: strings.NewReader("")}
			if c.stdin != "" {
				opts.Stdin = bytes.NewReader(readFile(t, c.stdin))
			}
			config, err := Load(context.Background(), strings.Fields(c.args), opts)
			if err != nil {
				t.Fatal(err)
			}
			got, err := MergedYAML(config.Bundle)
			if err != nil {
				t.Fatal(err)
			}
			if want := readFile(t, c.want+".want"); !bytes.Equal(got, want) {
				t.Errorf("got\n%s\nwant\n%s", got, want)
			}
		})
	}
}

func readFile(t testing.TB, name string) []byte {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func TestATextThatLinuxKitCannotWriteAnewIsWhatYAMLSays(t *testing.T) {
	config, err := Load(context.Background(), []string{"testdata/dryrun/leading.yml"}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	m, err := Merge(config.Bundle)
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []string{"\n\nafter two empty lines\n", "\n  deeper\nback"} {
		if got := *m.Files[i].Contents; got != want {
			t.Errorf("%s: got %q, want %q", m.Files[i].Path, got, want)
		}
	}
}

func TestBinaryContentsAreTheirBytes(t *testing.T) {
	config, err := Load(context.Background(), []string{"testdata/dryrun/binary.yml"}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	m, err := Merge(config.Bundle)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := *m.Files[0].Contents, "\x00\xff\xfehi"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got, want := m.Files[1].Path, "etc/text"; got != want {
		t.Errorf("got path %q, want %q", got, want)
	}
}

// TestTheSettingsDoNotChangeTheRest: what is in an image does not depend on how it is made into outputs.
func TestTheSettingsDoNotChangeTheRest(t *testing.T) {
	blocks := string(readFile(t, "testdata/dryrun/blocks.yml"))
	for _, c := range []struct{ name, settings, text string }{
		{"before the rest", "kiln:\n  boot: x/boot:1\n# and now\n", "%[1]s%[2]s"},
		{"behind it", "kiln: {boot: x/boot:1}\n", "%[2]s%[1]s"},
		{"behind it, and the last text ends with empty lines", "kiln:\n    boot: x/boot:1", "%[2]s\n\n%[1]s"},
	} {
		t.Run(c.name, func(t *testing.T) {
			contents := func(text string) []string {
				m, err := Merge(&kilnv1.ConfigBundle{Documents: []*kilnv1.Document{document("x.yml", text)}})
				if err != nil {
					t.Fatal(err)
				}
				var all []string
				for _, f := range m.Files {
					all = append(all, *f.Contents)
				}
				return all
			}
			want := contents(fmt.Sprintf(c.text, "", blocks))
			if got := contents(fmt.Sprintf(c.text, c.settings, blocks)); fmt.Sprintf("%q", got) != fmt.Sprintf("%q", want) {
				t.Errorf("got  %q\nwant %q", got, want)
			}
		})
	}
	t.Run("on the line of another key", func(t *testing.T) {
		m, err := Merge(&kilnv1.ConfigBundle{Documents: []*kilnv1.Document{document("x.yml", "{kiln: {boot: x}, init: [a]}")}})
		if err != nil || len(m.Init) != 1 {
			t.Errorf("got %v, %v", m.Init, err)
		}
	})
}

// FuzzDryRun: where LinuxKit's parser takes a file and Kiln does, a dry run prints the same.
func FuzzDryRun(f *testing.F) {
	names, err := filepath.Glob("testdata/dryrun/*.yml")
	if err != nil || len(names) == 0 {
		f.Fatal("no seeds", err)
	}
	for _, name := range names {
		f.Add(readFile(f, name))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		name := filepath.Join(t.TempDir(), "x.yml")
		if err := os.WriteFile(name, text, 0o600); err != nil {
			t.Fatal(err)
		}
		config, err := Load(context.Background(), []string{name}, Options{})
		if err != nil || bytes.Contains(text, []byte(settingsKey)) {
			return
		}
		want, err := linuxKits(text)
		if err != nil {
			return
		}
		got, err := MergedYAML(config.Bundle)
		if err != nil {
			t.Fatalf("%v, though it was checked", err)
		}
		if !bytes.Equal(got, want) {
			t.Errorf("got\n%s\nwant\n%s", got, want)
		}
	})
}

// linuxKits is what LinuxKit's command does with a file (build.go).
func linuxKits(text []byte) (out []byte, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%v", p)
		}
	}()
	m, err := moby.NewConfig(text, func(value string) (string, error) {
		if strings.HasPrefix(value, "@pkg:") {
			return "", errors.New("no packages here")
		}
		return value, nil
	})
	if err != nil {
		return nil, err
	}
	if m, err = moby.AppendConfig(moby.Moby{}, m); err != nil {
		return nil, err
	}
	out, err = yaml.Marshal(m)
	return append(out, '\n'), err
}
