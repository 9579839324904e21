//go:build linux

package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// prepare does what the bundle's runtime.json asks for before its container exists.
func prepare(bundle string) error {
	config, err := readRuntime(bundle)
	if err != nil {
		return err
	}
	for _, a := range config.plan(bundle) {
		if err := a.do(); err != nil {
			return err
		}
	}
	if config.needsProcess() {
		return addHook(bundle)
	}
	return nil
}

func readRuntime(bundle string) (runtimeConfig, error) {
	text, err := os.ReadFile(filepath.Join(bundle, "runtime.json"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return runtimeConfig{}, fmt.Errorf("read runtime.json: %w", err)
	}
	return parseRuntime(text)
}

// addHook makes runc call this program when the container's namespaces exist and before its process starts.
// The bundle is in memory: nothing else sees the change.
func addHook(bundle string) error {
	path := filepath.Join(bundle, "config.json")
	text, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("read config.json: %w", err)
	}
	if text, err = withHook(text, bundle); err != nil {
		return err
	}
	if err := os.WriteFile(path, text, 0o644); err != nil {
		return fmt.Errorf("write config.json: %w", err)
	}
	return nil
}

// withHook adds this program to the hooks of a config.json (OCI runtime-spec, config.md, createRuntime), which
// has none: LinuxKit's YAML knows no hooks.
func withHook(config []byte, bundle string) ([]byte, error) {
	spec := map[string]json.RawMessage{}
	if err := json.Unmarshal(config, &spec); err != nil {
		return nil, fmt.Errorf("read config.json: %w", err)
	}
	hooks, err := json.Marshal(map[string]any{
		"createRuntime": []any{map[string]any{"path": "/init", "args": []string{"init", hookArgument, bundle}}},
	})
	if err != nil {
		return nil, fmt.Errorf("add a hook to config.json: %w", err)
	}
	spec["hooks"] = hooks
	return json.Marshal(spec)
}
