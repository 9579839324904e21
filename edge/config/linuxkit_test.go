package config

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// kit does what LinuxKit's metadata package does with an answer, by the rules in reference: plain GET, 200 or nothing, each
// value into a file of that name as it came, user data that is JSON into files and directories whose names are joined.
type kit struct {
	dir  string
	base string
}

func (k kit) get(path string) ([]byte, bool) {
	client := &http.Client{Timeout: 2 * time.Second}
	resp, err := client.Get(k.base + path)
	if err != nil {
		return nil, false
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return body, err == nil && resp.StatusCode == http.StatusOK
}

func (k kit) save(path, name string, mode os.FileMode) bool {
	body, ok := k.get(path)
	return ok && os.WriteFile(filepath.Join(k.dir, name), body, mode) == nil
}

// run says whether the provider is there at all.
func (k kit) run(meta, user, keys string, names map[string]string) bool {
	if !k.save(meta+"hostname", "hostname", 0o644) {
		return false
	}
	for from, to := range names {
		k.save(meta+from, to, 0o644)
	}
	if body, ok := k.get(meta + keys); ok && os.Mkdir(filepath.Join(k.dir, "ssh"), 0o755) == nil {
		os.WriteFile(filepath.Join(k.dir, "ssh/authorized_keys"), body, 0o600)
	}
	if body, ok := k.get(user); ok {
		os.WriteFile(filepath.Join(k.dir, "userdata"), body, 0o644)
		k.expand(body)
	}
	return true
}

type kitEntry struct {
	Perm    string
	Content *string
	Entries map[string]kitEntry
}

func (k kit) expand(body []byte) {
	var root map[string]kitEntry
	if json.Unmarshal(body, &root) == nil {
		for name, e := range root {
			e.write(filepath.Join(k.dir, name))
		}
	}
}

func (e kitEntry) write(at string) {
	mode := func(otherwise uint64) os.FileMode {
		if n, err := strconv.ParseUint(e.Perm, 8, 32); err == nil {
			otherwise = n
		}
		return os.FileMode(otherwise)
	}
	switch {
	case e.Content != nil && e.Entries == nil:
		os.WriteFile(at, []byte(*e.Content), mode(0o644))
	case e.Content == nil && e.Entries != nil && os.MkdirAll(at, mode(0o755)) == nil:
		for name, one := range e.Entries {
			one.write(filepath.Join(at, name))
		}
	}
}

func tree(t *testing.T, dir string) map[string]string {
	t.Helper()
	out := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		info, _ := d.Info()
		name, _ := filepath.Rel(dir, path)
		out[name] = fmt.Sprintf("%o %s", info.Mode().Perm(), b)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestLinuxKitConfiguresItself(t *testing.T) {
	server := httptest.NewServer(&Handler{Find: func(r *http.Request, _ string) (*Found, error) {
		return &Found{Record: record(t, room(), "52:54:00:00:00:03"), Access: Public}, nil
	}})
	defer server.Close()
	common := map[string]string{
		"hostname": "644 kit-1", "ssh/authorized_keys": "600 " + bobKey + "\n", "nginx/port": "640 kit-1",
		"userdata": `644 {"nginx":{"entries":{"port":{"perm":"0640","content":"kit-1"}}},"ssh":{"entries":{"authorized_keys":{"perm":"0600","content":"` + bobKey + `\n"}}}}`,
	}
	for _, c := range []struct {
		name             string
		meta, user, keys string
		names, want      map[string]string
	}{
		{"as aws", "/latest/meta-data/", "/latest/user-data", "public-keys/0/openssh-key",
			map[string]string{"public-ipv4": "public_ipv4", "local-ipv4": "local_ipv4", "placement/availability-zone": "availability_zone",
				"instance-type": "instance_type", "instance-id": "instance_id", "local-hostname": "local_hostname"},
			map[string]string{"instance_type": "644 kiln", "instance_id": "644 kiln-kit-1", "local_hostname": "644 kit-1"}},
		{"as metaldata", "/get/meta/", "/get/user", "authorized-keys",
			map[string]string{"public-ipv4": "public_ipv4", "private-ipv4": "private_ipv4", "failure-domain": "failure_domain", "machine-id": "machine_id", "machine-type": "machine_type"},
			map[string]string{"machine_type": "644 kiln", "machine_id": "644 kiln-kit-1"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			k := kit{dir: t.TempDir(), base: server.URL}
			if !k.run(c.meta, c.user, c.keys, c.names) {
				t.Fatal("LinuxKit does not find the provider")
			}
			for name, v := range common {
				c.want[name] = v
			}
			got := tree(t, k.dir)
			if fmt.Sprint(got) != fmt.Sprint(c.want) {
				t.Errorf("got\n%v\nwant\n%v", got, c.want)
			}
		})
	}
}

func TestLinuxKitUserData(t *testing.T) {
	keys := []string{annKey, bobKey}
	const ssh = `"ssh":{"entries":{"authorized_keys":{"perm":"0600","content":"` + annKey + `\n` + bobKey + `\n"}}}`
	for _, c := range []struct {
		name, text string
		keys       []string
		want       string
	}{
		{"nothing", "", nil, ""},
		{"keys alone", "", keys, "{" + ssh + "}"},
		{"an object", `{"a": {"content": "x"}}`, keys, `{"a":{"content":"x"},` + ssh + "}"},
		{"an object without keys", `{"a": {"content": "<&>"}}`, nil, `{"a":{"content":"<&>"}}`},
		{"an object with ssh", `{"ssh": {"entries": {"sshd_config": {"content": ""}}}}`, keys,
			strings.Replace("{"+ssh+"}", `\n"}}}`, `\n"},"sshd_config":{"content":""}}}`, 1)},
		{"an object with keys of its own", `{"ssh": {"entries": {"authorized_keys": {"content": "mine"}}}}`, keys, `{"ssh":{"entries":{"authorized_keys":{"content":"mine"}}}}`},
		{"ssh as a file", `{"ssh": {"content": "x"}}`, keys, `{"ssh":{"content":"x"}}`},
		{"cloud-config", "#cloud-config\n", keys, "#cloud-config\n"},
		{"JSON that is no object", "[1]", keys, "[1]"},
		{"null", "null", keys, "null"},
		{"Ignition", `{"ignition": {"version": "3.0.0"}, "storage": {"files": [{"path": "/etc/x"}]}}`, keys, `{"ignition": {"version": "3.0.0"}, "storage": {"files": [{"path": "/etc/x"}]}}`},
		{"an object of another kind", `{"a/b": {"x": 1}}`, keys, `{"a/b": {"x": 1}}`},
		{"two objects", `{"../a": {"content": "x"}} {}`, keys, `{"../a": {"content": "x"}} {}`},
	} {
		got, err := LinuxKitUserData(c.text, c.keys)
		if err != nil || got != c.want {
			t.Errorf("%s: got  %s %v\nwant %s", c.name, got, err, c.want)
		}
	}
}

func TestNamesThatLeaveTheDirectoryAreRefused(t *testing.T) {
	for _, text := range []string{
		`{"../x": {"content": "x"}}`, `{"a/b": {"content": "x"}}`, `{"..": {"entries": {"x": {"content": "y"}}}}`, `{"a": {"entries": {"..": {"content": "x"}}}}`,
		`{"a": {"entries": {"../../etc/passwd": {"content": "x"}}}}`, `{"/etc/passwd": {"content": "x"}}`, `{"\u002e\u002e/x": {"content": "x"}}`,
		`{"a\u0000b": {"content": "x"}}`, `{"": {"content": "x"}}`, `{".": {"content": "x"}}`, `{"` + strings.Repeat("a", 256) + `": {"content": "x"}}`,
		`{"a": {"ENTRIES": {"../x": {"Content": "x"}}}}`, `{"a": {"entries": {"../x": {"content": "x"}}, "unknown": 1}}`,
		`{"a": {"entries": {"../x": {"content": "x"}}, "entries": {"b": {"content": "x"}}}}`,
		strings.Repeat(`{"a": {"entries": `, 20) + `{"b": {"content": "x"}}` + strings.Repeat("}}", 20),
	} {
		got, err := LinuxKitUserData(text, []string{annKey})
		if err == nil || got != "" || !strings.Contains(err.Error(), "; ") {
			t.Errorf("%.60s became %q (%v)", text, got, err)
		}
	}
}

func FuzzLinuxKitUserData(f *testing.F) {
	for _, text := range []string{`{"a": {"content": "x"}}`, `{"../x": {"content": "x"}}`, `{"a": {"entries": {"b": {"content": "", "perm": "0600"}}}}`, `{"a":{"Entries":{"..":{}}}}`} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		got, err := LinuxKitUserData(text, []string{annKey})
		if err != nil {
			return
		}
		var root map[string]kitEntry
		if json.Unmarshal([]byte(got), &root) == nil {
			inside(t, root)
		}
	})
}

// inside fails when LinuxKit would write outside of its directory.
func inside(t *testing.T, entries map[string]kitEntry) {
	for name, e := range entries {
		if (e.Content == nil) == (e.Entries == nil) {
			continue
		}
		if filepath.Join("/run/config", name) != "/run/config/"+name || name == "" || strings.ContainsRune(name, '/') {
			t.Errorf("%q leads elsewhere", name)
		}
		inside(t, e.Entries)
	}
}
