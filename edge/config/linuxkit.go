package config

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/kiln-farm/kiln/fleet"
)

// entry is what LinuxKit's metadata package makes a file or a directory of, below /run/config (pkg/metadata/main.go).
type entry struct {
	Perm    string           `json:"perm,omitempty"`
	Content *string          `json:"content,omitempty"`
	Entries map[string]entry `json:"entries,omitempty"`
}

const (
	maxEntryDepth = 16
	maxEntryName  = 255 // of a file, in Linux
)

// LinuxKitUserData is the user data of a machine for LinuxKit's metadata package: text, and when that is a JSON object of
// files and directories, or nothing, with the SSH keys in it as ssh/authorized_keys, unless it has that file already.
// Anything else is not LinuxKit's (cloud-config, Ignition) and stays as it is.
//
// LinuxKit joins the names of the object into paths as they are. Names that would lead elsewhere are refused, also in texts
// that are not made for LinuxKit but that it would take for its own.
func LinuxKitUserData(text string, keys []string) (string, error) {
	if text == "" && len(keys) == 0 {
		return "", nil
	}
	var root map[string]entry
	if text == "" {
		root = map[string]entry{}
	} else if err := json.Unmarshal([]byte(text), &root); err != nil || root == nil {
		return text, nil // LinuxKit keeps it as one file
	}
	if err := names(root, "", 0); err != nil {
		return "", err
	}
	if !strict(text) || !whole(root) {
		return text, nil
	}
	if len(keys) > 0 && root["ssh"].Content == nil {
		ssh := root["ssh"]
		if ssh.Entries == nil {
			ssh.Entries = map[string]entry{}
		}
		if _, ok := ssh.Entries["authorized_keys"]; !ok {
			lines := strings.Join(keys, "\n") + "\n"
			ssh.Entries["authorized_keys"] = entry{Perm: "0600", Content: &lines}
		}
		root["ssh"] = ssh
	}
	var out bytes.Buffer
	e := json.NewEncoder(&out)
	e.SetEscapeHTML(false)
	if err := e.Encode(root); err != nil {
		return "", fmt.Errorf("user data: %w", err)
	}
	return strings.TrimSuffix(out.String(), "\n"), nil
}

// names refuses what LinuxKit would write outside of its directory. Of what has both content and entries, or neither, it
// writes nothing.
func names(entries map[string]entry, where string, depth int) error {
	if depth > maxEntryDepth {
		return fmt.Errorf("the user data has directories %d deep at %s; put the files less deep", depth, quoted(where))
	}
	for _, name := range slices.Sorted(maps.Keys(entries)) {
		e := entries[name]
		if (e.Content == nil) == (e.Entries == nil) {
			continue
		}
		if name == "" || name == "." || name == ".." || strings.ContainsAny(name, "/\x00") || len(name) > maxEntryName {
			return fmt.Errorf("the user data has a file called %s in /run/config/%s, which LinuxKit would write elsewhere; "+
				"use a name without \"/\", and directories (\"entries\") for paths", quoted(name), where)
		}
		if err := names(e.Entries, where+name+"/", depth+1); err != nil {
			return err
		}
	}
	return nil
}

// whole says whether all that is in there is a file or a directory.
func whole(entries map[string]entry) bool {
	for _, e := range entries {
		if (e.Content == nil) == (e.Entries == nil) || !whole(e.Entries) {
			return false
		}
	}
	return true
}

// strict says whether text has no other keys than entries have, and nothing behind the object.
func strict(text string) bool {
	if text == "" {
		return true
	}
	var root map[string]entry
	d := json.NewDecoder(strings.NewReader(text))
	d.DisallowUnknownFields()
	return d.Decode(&root) == nil
}

// userData is the machine's user data, for whoever reads it. Without a template there is none.
func (r *Record) userData(secrets bool) (Content, error) {
	c, err := r.fill(fleet.UserData, secrets)
	if err != nil {
		return c, err
	}
	if c.Body, err = LinuxKitUserData(c.Body, r.Boot.SSHKeys); err != nil {
		return c, r.fault(c, err)
	}
	return c, nil
}

// linuxkit is what LinuxKit reads from a file: the user data, and when there is none the keys alone, which it cannot ask for
// by another way there.
func (r *Record) linuxkit(secrets bool) (Content, error) {
	c, err := r.userData(secrets)
	if isMissing(err) {
		c = Content{Type: plain}
		c.Body, err = LinuxKitUserData("", r.Boot.SSHKeys)
		c.Body = cmp.Or(c.Body, "{}")
	}
	if json.Valid([]byte(c.Body)) {
		c.Type = jsonType
	}
	return c, err
}

func quoted(s string) string {
	const most = 40
	if len(s) > most {
		return fmt.Sprintf("%q…", strings.ToValidUTF8(s[:most], ""))
	}
	return fmt.Sprintf("%q", s)
}
