package cli

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestAlertsAreAboutMetricsThatThereAre: a rule about a name that nothing has never fires.
func TestAlertsAreAboutMetricsThatThereAre(t *testing.T) {
	root, err := filepath.Abs("..")
	if err != nil {
		t.Fatal(err)
	}
	have := map[string]bool{}
	made := regexp.MustCompile(`\b(Counter|gauge|Gauge|UpDown|Seconds|Bytes)\("(kiln\.[a-z0-9_.]+)"`)
	err = filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || filepath.Ext(path) != ".go" {
			if d != nil && d.IsDir() && (path == filepath.Join(root, "build") || d.Name() == ".git") {
				return fs.SkipDir
			}
			return err
		}
		text, err := os.ReadFile(path)
		for _, m := range made.FindAllStringSubmatch(string(text), -1) {
			have[strings.ReplaceAll(m[2], ".", "_")] = true
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	rules, err := os.ReadFile(filepath.Join(root, "deploy/alerts.yml"))
	if err != nil {
		t.Fatal(err)
	}
	suffix := regexp.MustCompile(`(_seconds|_bytes)?(_total|_bucket|_sum|_count)?$`) // that Prometheus' names have for units and kinds
	for line := range strings.Lines(string(rules)) {
		if !strings.Contains(line, "expr:") {
			continue
		}
		for _, name := range regexp.MustCompile(`kiln_[a-z0-9_]+`).FindAllString(line, -1) {
			if !have[name] && !have[suffix.ReplaceAllString(name, "")] && !have[strings.TrimSuffix(name, "_total")] {
				t.Errorf("there is no metric %s", name)
			}
		}
	}
	if !strings.Contains(string(rules), "kiln_edge_pool_full") {
		t.Error("no rule is about pools that are exhausted")
	}
}
