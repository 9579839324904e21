package durable

import (
	"os"
	"path/filepath"
	"testing"
)

func TestReplace(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "file")
	for _, step := range []struct {
		data string
		mode os.FileMode
	}{{"first", 0o600}, {"second, which is longer", 0o644}, {"", 0o600}} {
		if err := Replace(path, []byte(step.data), step.mode); err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile(path)
		if err != nil || string(got) != step.data {
			t.Errorf("file has %q, %v; want %q", got, err, step.data)
		}
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != step.mode {
			t.Errorf("file has mode %v, %v; want %v", info.Mode(), err, step.mode)
		}
	}
	onlyFile(t, dir, "file")
}

// What cannot be replaced stays as it was, and nothing is left beside it.
func TestReplaceFails(t *testing.T) {
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "folder"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := Replace(filepath.Join(dir, "folder"), []byte("x"), 0o600); err == nil {
		t.Error("a folder was replaced by a file")
	}
	if err := Replace(filepath.Join(dir, "missing", "file"), []byte("x"), 0o600); err == nil {
		t.Error("a file was made in a folder that is not there")
	}
	onlyFile(t, dir, "folder")
}

func onlyFile(t *testing.T, dir, want string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if e.Name() != want {
			t.Errorf("%s was left behind", e.Name())
		}
	}
}
