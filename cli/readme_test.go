package cli

import (
	"context"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/kiln-farm/kiln/image/linuxkit"
)

var yamlBlock = regexp.MustCompile("(?ms)^```yaml\n(.*?)^```")

// TestTheREADMEsYAMLBoots: what it shows first has all that its services need.
func TestTheREADMEsYAMLBoots(t *testing.T) {
	blocks := yamlBlock.FindAllStringSubmatch(read(t, filepath.Join(testdata, "../../README.md")), -1)
	if len(blocks) == 0 {
		t.Fatal("README.md has no YAML")
	}
	for _, block := range blocks {
		path := filepath.Join(t.TempDir(), "readme.yml")
		check(t, os.WriteFile(path, []byte(block[1]), 0o600))
		config, err := linuxkit.Load(context.Background(), []string{path}, linuxkit.Options{})
		if err != nil {
			t.Error(err)
			continue
		}
		for _, w := range config.Warnings {
			t.Error(w)
		}
	}
}

// TestCommandsOfTheDocsAreKilns: commands that stand in the docs are there, with these flags, and can be typed as they stand.
func TestCommandsOfTheDocsAreKilns(t *testing.T) {
	names, err := filepath.Glob(filepath.Join(testdata, "../../docs/*.md"))
	check(t, err)
	found := 0
	for _, name := range append(names, filepath.Join(testdata, "../../README.md")) {
		for line := range strings.Lines(read(t, name)) {
			text, ok := strings.CutPrefix(strings.TrimRight(line, "\n"), "    ")
			if !ok {
				continue
			}
			text = strings.TrimPrefix(text, "bin/")
			if !strings.HasPrefix(text, "kiln ") || strings.ContainsAny(text, "[…") || strings.Contains(text, "|boots|") { // a synopsis
				continue
			}
			found++
			if err := typed(text); err != nil {
				t.Errorf("%s: %s: %v", filepath.Base(name), text, err)
			}
			if filepath.Base(name) == "README.md" && regexp.MustCompile(`\b[A-Z]{4,}\b`).MatchString(strings.SplitN(text, " # ", 2)[0]) {
				t.Errorf("README.md: %s has a word that is not to be typed", text)
			}
		}
	}
	if found < 20 {
		t.Errorf("there are %d commands", found)
	}
}

var (
	shellWord = regexp.MustCompile(`'[^']*'|"[^"]*"|(?:\$\([^)]*\)|\S)+`)
	shellRest = regexp.MustCompile(`\s(&&|\||>|;|<|#\s|\\$).*`)
)

// typed says why kiln would not take the first command of a line.
func typed(line string) error {
	var words []string
	for _, word := range shellWord.FindAllString(shellRest.ReplaceAllString(line, ""), -1)[1:] {
		words = append(words, strings.Trim(word, `'"`))
	}
	root, _ := kilnIn(nil)
	cmd, args, err := root.Find(words)
	if err == nil {
		err = cmd.ParseFlags(args)
	}
	if err == nil {
		err = cmd.ValidateArgs(cmd.Flags().Args())
	}
	return err
}
