package main

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"strings"
)

// runtimeConfig is a bundle's runtime.json, as LinuxKit writes it.
type runtimeConfig struct {
	Cgroups    []string           `json:"cgroups"`
	Mounts     []mount            `json:"mounts"`
	Mkdir      []string           `json:"mkdir"`
	Interfaces []networkInterface `json:"interfaces"`
	BindNS     map[string]string  `json:"bindNS"`
	Namespace  string             `json:"namespace"` // containerd's; runc has no such thing
}

type mount struct {
	Destination string   `json:"destination"`
	Type        string   `json:"type"`
	Source      string   `json:"source"`
	Options     []string `json:"options"`
}

type networkInterface struct {
	Name         string `json:"name"`
	Add          string `json:"add"`
	Peer         string `json:"peer"`
	CreateInRoot bool   `json:"createInRoot"`
}

// action is one thing to do before a bundle runs. Exactly one of the fields is set.
type action struct {
	mkdir  string
	cgroup string
	mount  *mountCall
}

// mountCall is a call of mount(2).
type mountCall struct {
	source, target, kind string
	flags                uintptr
	data                 string
}

// parseRuntime reads runtime.json; empty text is a bundle without one.
func parseRuntime(text []byte) (runtimeConfig, error) {
	var config runtimeConfig
	if len(text) == 0 {
		return config, nil
	}
	if err := json.Unmarshal(text, &config); err != nil {
		return config, fmt.Errorf("read runtime.json: %w", err)
	}
	return config, nil
}

// plan is what prepares the bundle: mounts, then directories (which may lie in them), then control groups.
// Relative paths are within the bundle's root filesystem.
func (c runtimeConfig) plan(bundle string) []action {
	absolute := func(path string) string {
		if filepath.IsAbs(path) {
			return filepath.Clean(path)
		}
		return filepath.Join(bundle, "rootfs", path)
	}
	var actions []action
	for _, m := range c.Mounts {
		call := mountCall{source: m.Source, target: absolute(m.Destination), kind: m.Type}
		actions = append(actions, action{mkdir: call.target})
		for _, option := range m.Options {
			if key, dir, ok := strings.Cut(option, "="); ok && (key == "upperdir" || key == "workdir") {
				actions = append(actions, action{mkdir: dir})
			}
		}
		call.flags, call.data = mountOptions(m.Options)
		actions = append(actions, action{mount: &call})
	}
	for _, dir := range c.Mkdir {
		actions = append(actions, action{mkdir: absolute(dir)})
	}
	for _, group := range c.Cgroups {
		actions = append(actions, action{cgroup: filepath.Join("/", group)})
	}
	return actions
}

// needsProcess says whether something is to be done once the container's namespaces exist.
func (c runtimeConfig) needsProcess() bool {
	if len(c.Interfaces) > 0 {
		return true
	}
	for _, path := range c.BindNS {
		if path != "" {
			return true
		}
	}
	return false
}
