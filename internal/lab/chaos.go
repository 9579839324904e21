package lab

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"sync"
)

// KillAndBack kills nodes in one moment, waits for as long as wait takes, and starts them again, whatever went wrong before.
func KillAndBack(wait func(), nodes ...*Node) error {
	var all sync.WaitGroup
	errs := make([]error, len(nodes))
	for i, n := range nodes {
		all.Go(func() { errs[i] = n.Kill() })
	}
	all.Wait()
	err := errors.Join(errs...)
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
