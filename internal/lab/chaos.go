package lab

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
)

// KillAndBack kills nodes all at once, waits for as long as wait takes, and starts them again, whatever went wrong before.
func KillAndBack(wait func(), nodes ...*Node) error {
	var err error
	for _, n := range nodes {
		err = errors.Join(err, n.Kill())
	}
	wait()
	for _, n := range nodes {
		err = errors.Join(err, n.Start())
	}
	return err
}

// WriteReport writes what a run found to dir twice: NAME.json for programs, NAME.txt for people.
func WriteReport(dir, name string, report any, text string) error {
	data, err := json.MarshalIndent(report, "", "  ")
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, name+".json"), append(data, '\n'), 0o644); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, name+".txt"), []byte(text), 0o644)
}
