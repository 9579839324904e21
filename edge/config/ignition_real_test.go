package config

import (
	"testing"

	ignition "github.com/coreos/ignition/v2/config"
)

// TestIgnitionTakesItsConfiguration: Ignition's own parser, which leaves a machine without any configuration that it does not
// understand, takes what machines get with a template and without one.
func TestIgnitionTakesItsConfiguration(t *testing.T) {
	for _, c := range []struct{ name, mac, user string }{
		{"of a template", "52:54:00:00:00:01", ""},
		{"of the record", "52:54:00:00:00:02", "core"},
		{"of a machine that nobody described", "52:54:00:00:00:99", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			doc, err := record(t, room(), c.mac).Render([]string{"ignition"}, false)
			if err != nil {
				t.Fatal(err)
			}
			got, report, err := ignition.Parse([]byte(doc.Body))
			if err != nil || report.IsFatal() || len(report.Entries) > 0 {
				t.Fatalf("%v\n%s\n%s", err, report.String(), doc.Body)
			}
			if len(got.Storage.Files) != 1 {
				t.Errorf("it has %d files, want one", len(got.Storage.Files))
			}
			if c.user != "" && (len(got.Passwd.Users) != 1 || got.Passwd.Users[0].Name != c.user || len(got.Passwd.Users[0].SSHAuthorizedKeys) == 0) {
				t.Errorf("it has the users %+v", got.Passwd.Users)
			}
		})
	}
}
