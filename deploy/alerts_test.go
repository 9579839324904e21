// Package deploy has what runs Kiln somewhere: units, scripts, rules for alerts. Only its tests are Go.
package deploy

import (
	"os/exec"
	"testing"
)

// Prometheus's own tool reads the rules, and says when they would have told somebody.
func TestAlerts(t *testing.T) {
	promtool, err := exec.LookPath("promtool")
	if err != nil {
		t.Skip("SKIPPED: promtool is not installed; on Debian it is in the package prometheus, which starts a server, so make test does not install it")
	}
	for _, args := range [][]string{{"check", "rules", "alerts.yml"}, {"test", "rules", "alerts.test.yml"}} {
		if out, err := exec.Command(promtool, args...).CombinedOutput(); err != nil {
			t.Errorf("promtool %v: %v\n%s", args, err, out)
		}
	}
}
