package config

import (
	"encoding/json"
	"fmt"
	"net/url"
	"regexp"

	"github.com/kiln-farm/kiln/fleet"
)

// ignitionType is what Ignition asks for in its Accept header.
const ignitionType = "application/vnd.coreos.ignition+json"

// ignitionVersion is a version of the third specification (coreos.github.io/ignition/specs/).
var ignitionVersion = regexp.MustCompile(`^3\.[0-9]{1,3}\.[0-9]{1,3}(-experimental)?$`)

// ignition is the machine's template, or otherwise its host name and the keys of the user core. Ignition refuses a
// configuration that it does not understand and then leaves the machine without any: what is sent is of version 3.
func (r *Record) ignition(secrets bool) (Content, error) {
	c, err := r.fill(fleet.Ignition, secrets)
	switch {
	case isMissing(err):
		c, err = asJSON(r.ignitionOfRecord())
		c.Type = ignitionType
		return c, err
	case err != nil:
		return c, err
	}
	if err := checkIgnition(c.Body); err != nil {
		return c, r.fault(c, err)
	}
	c.Type = ignitionType
	return c, nil
}

func checkIgnition(text string) error {
	var doc struct {
		Ignition struct {
			Version string `json:"version"`
		} `json:"ignition"`
	}
	if err := json.Unmarshal([]byte(text), &doc); err != nil {
		return fmt.Errorf("it is not JSON (%s); make it with butane, and quote values with json", jsonReason(err))
	}
	if !ignitionVersion.MatchString(doc.Ignition.Version) {
		return fmt.Errorf("its ignition.version is %s, not 3.x; make it with a newer butane", quoted(doc.Ignition.Version))
	}
	return nil
}

// jsonReason is what is wrong with JSON, without the text around the place: that may be a secret.
func jsonReason(err error) string {
	switch e := err.(type) {
	case *json.SyntaxError:
		return fmt.Sprintf("at byte %d", e.Offset)
	case *json.UnmarshalTypeError:
		return "a " + e.Value + " where a " + e.Type.String() + " belongs"
	}
	return "unreadable"
}

func (r *Record) ignitionOfRecord() any {
	type contents struct {
		Source string `json:"source"`
	}
	type file struct {
		Path      string   `json:"path"`
		Mode      int      `json:"mode"`
		Overwrite bool     `json:"overwrite"`
		Contents  contents `json:"contents"`
	}
	doc := map[string]any{
		"ignition": map[string]any{"version": "3.0.0"},
		"storage": map[string]any{"files": []file{{
			Path: "/etc/hostname", Mode: 0o644, Overwrite: true, Contents: contents{"data:," + url.PathEscape(r.Boot.Hostname()+"\n")}, // RFC 2397
		}}},
	}
	if len(r.Boot.SSHKeys) > 0 {
		doc["passwd"] = map[string]any{"users": []any{map[string]any{"name": "core", "sshAuthorizedKeys": r.Boot.SSHKeys}}}
	}
	return doc
}
