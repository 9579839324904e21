//go:build linux

package main

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

func TestPlan(t *testing.T) {
	const bundle = "/containers/services/web"
	for _, c := range []struct {
		name, runtime string
		want          []action
		process       bool
	}{
		{"a bundle without runtime.json needs nothing", "", nil, false},
		{"an empty object, as LinuxKit writes it, needs nothing",
			`{"cgroups":[],"mounts":[],"mkdir":[],"interfaces":[],"bindNS":{"cgroup":"","net":""},"namespace":""}`, nil, false},
		{"a read-write bundle gets a tmpfs and an overlay on it",
			`{"mounts":[
				{"destination":"/containers/services/web/tmp","type":"tmpfs","source":"tmpfs"},
				{"destination":"/containers/services/web/tmp","options":["remount","private"]},
				{"destination":"/containers/services/web/rootfs","type":"overlay","source":"overlay","options":[
					"lowerdir=/containers/services/web/lower","upperdir=/containers/services/web/tmp/upper","workdir=/containers/services/web/tmp/work"]}]}`,
			[]action{
				{mkdir: bundle + "/tmp"},
				{mount: &mountCall{source: "tmpfs", target: bundle + "/tmp", kind: "tmpfs"}},
				{mkdir: bundle + "/tmp"},
				{mount: &mountCall{target: bundle + "/tmp", flags: unix.MS_REMOUNT | unix.MS_PRIVATE}},
				{mkdir: bundle + "/rootfs"},
				{mkdir: bundle + "/tmp/upper"},
				{mkdir: bundle + "/tmp/work"},
				{mount: &mountCall{source: "overlay", target: bundle + "/rootfs", kind: "overlay",
					data: "lowerdir=" + bundle + "/lower,upperdir=" + bundle + "/tmp/upper,workdir=" + bundle + "/tmp/work"}},
			}, false},
		{"a read-only bundle gets a bind mount",
			`{"mounts":[{"destination":"/containers/services/web/rootfs","type":"bind","source":"/containers/onboot/000-x/lower","options":["bind"]}]}`,
			[]action{
				{mkdir: bundle + "/rootfs"},
				{mount: &mountCall{source: "/containers/onboot/000-x/lower", target: bundle + "/rootfs", kind: "bind", flags: unix.MS_BIND}},
			}, false},
		{"directories follow mounts, relative ones are in the root filesystem, groups are last",
			`{"cgroups":["a/b"],"mkdir":["/var/lib/x","etc/y"],"mounts":[{"destination":"var","type":"tmpfs","source":"tmpfs","options":["ro","nosuid","size=1m"]}]}`,
			[]action{
				{mkdir: bundle + "/rootfs/var"},
				{mount: &mountCall{source: "tmpfs", target: bundle + "/rootfs/var", kind: "tmpfs", flags: unix.MS_RDONLY | unix.MS_NOSUID, data: "size=1m"}},
				{mkdir: "/var/lib/x"},
				{mkdir: bundle + "/rootfs/etc/y"},
				{cgroup: "/a/b"},
			}, false},
		{"a namespace to keep needs the process", `{"bindNS":{"net":"/run/netns/web"}}`, nil, true},
		{"an interface needs the process", `{"interfaces":[{"name":"eth1"}]}`, nil, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			config, err := parseRuntime([]byte(c.runtime))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, config.plan(bundle), cmp.AllowUnexported(action{}, mountCall{})); diff != "" {
				t.Errorf("the plan (-want +got):\n%s", diff)
			}
			if got := config.needsProcess(); got != c.process {
				t.Errorf("needs the process: got %v, want %v", got, c.process)
			}
		})
	}
}

func TestMountOptions(t *testing.T) {
	for _, c := range []struct {
		name    string
		options []string
		flags   uintptr
		data    string
	}{
		{"no option is no flag", nil, 0, ""},
		{"defaults are no flag and no data", []string{"defaults"}, 0, ""},
		{"a later option takes back an earlier", []string{"ro", "nodev", "rw"}, unix.MS_NODEV, ""},
		{"a recursive bind is two flags", []string{"rbind", "rshared"}, unix.MS_BIND | unix.MS_REC | unix.MS_SHARED, ""},
		{"what is no flag is the filesystem's", []string{"size=10%", "noexec", "mode=0700"}, unix.MS_NOEXEC, "size=10%,mode=0700"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if flags, data := mountOptions(c.options); flags != c.flags || data != c.data {
				t.Errorf("got %#x %q, want %#x %q", flags, data, c.flags, c.data)
			}
		})
	}
}

func TestTheHookIsAllThatChangesInConfig(t *testing.T) {
	got, err := withHook([]byte(`{"ociVersion":"1.0.0","process":{"args":["a<b"],"rlimits":[{"hard":18446744073709551615}]}}`), "/containers/services/web")
	want := `{"hooks":{"createRuntime":[{"args":["init","prepare-process","/containers/services/web"],"path":"/init"}]},` +
		`"ociVersion":"1.0.0","process":{"args":["a\u003cb"],"rlimits":[{"hard":18446744073709551615}]}}`
	if err != nil || string(got) != want {
		t.Errorf("got %s, %v, want %s", got, err, want)
	}
	if _, err := withHook([]byte("[]"), "/x"); err == nil {
		t.Error("a config.json that is a list: got no error")
	}
}

func FuzzParseRuntime(f *testing.F) {
	f.Add([]byte(`{"mounts":[{"destination":"a","options":["ro"]}],"mkdir":["x"]}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		config, err := parseRuntime(text)
		if err != nil {
			return
		}
		for _, a := range config.plan("/b") {
			if (a.mount == nil) == (a.mkdir == "" && a.cgroup == "") && a.mkdir != "" {
				t.Errorf("%s: got the action %+v", text, a)
			}
		}
	})
}
