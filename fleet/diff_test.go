package fleet

import (
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
)

func TestDiff(t *testing.T) {
	old, new := room(), room()
	new.Revision = 99
	new.Machines = new.Machines[1:]
	m := new.Machines[0]
	m.Labels = map[string]string{"role": "db", "rack": "b"}
	m.SshKeys = []string{cloKey}
	m.Confirmed, m.Address6 = true, "fd00::6/64"
	m.Values = map[string]string{"motd": "\x1b[31mred", "none": ""}
	new.Machines = append(new.Machines, &kilnv1.Machine{Name: "a-1", Macs: []string{"52:54:00:00:00:09"}, Secrets: map[string]string{"x": "geheim"}})
	new.Groups[0].Templates = map[string]string{UserData: "one\ntwo\nthree\n", VendorData: "all"}
	old.Groups[0].Templates = map[string]string{UserData: "one\n2\nthree\n", VendorData: "all"}
	new.Groups[1].Release, new.Groups[1].Priority = "v2", 0
	new.Groups[2].SshKeys = nil
	new.Groups = append(new.Groups[:3:3], &kilnv1.Group{Name: "db", Release: "v2", Unknown: true, Boot: BootUKI})
	new.Releases[0].Platforms["linux/amd64"].Kernel.Digest = strings.Replace(digest, "e3b0", "ffff", 1)
	new.Releases[0].CreatedUnixMs = 5
	const want = `~ release v1
    ~ linux/amd64.kernel: sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855 (5 bytes) -> sha256:ffffc44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855 (5 bytes)
~ group all
    ~ templates.user-data: 
        - 2
        + two
+ group db
    + priority: 0
    + release: v2
    + unknown: true
    + boot: uki
- group new
~ group rack-a
    - ssh_keys.MDAwMDAwMD clo: KEY
~ group web
    ~ priority: 10 -> 0
    ~ release: v1 -> v2
+ machine a-1
    + macs: 52:54:00:00:00:09
    + secrets.x: set
- machine web-1
~ machine web-2
    + labels.rack: b
    ~ labels.role: web -> db
    + address6: fd00::6/64
    + ssh_keys.KEYEND clo: KEY
    + values.motd: "\x1b[31mred"
    + values.none: ""
    + confirmed: true
2 added, 5 changed, 2 removed
`
	end := strings.Fields(cloKey)[1]
	end = end[len(end)-8:]
	full := strings.NewReplacer("MDAwMDAwMD", end, "KEYEND", end, ": KEY", ": "+cloKey).Replace(want)
	var b strings.Builder
	if err := WriteDiff(&b, Diff(old, new)); err != nil {
		t.Fatal(err)
	}
	if b.String() != full {
		t.Errorf("got\n%s\nwant\n%s", b.String(), full)
	}
}

func TestSecretsAreNeverShown(t *testing.T) {
	old, new := room(), room()
	new.Machines[0].Secrets = map[string]string{"password": "anders", "more": "neu"}
	new.TokenKey = []byte(strings.Repeat("K", 32))
	new.Machines[1].Secrets = map[string]string{"password": "geheim"}
	old.Machines[2].Secrets = map[string]string{"password": "geheim"}
	var b strings.Builder
	changes := Diff(old, new)
	if err := WriteDiff(&b, changes); err != nil {
		t.Fatal(err)
	}
	const want = `~ machine disk-1
    - secrets.password: removed
~ machine web-1
    + secrets.more: set
    ~ secrets.password: changed
~ machine web-2
    + secrets.password: set
~ intent keys
    ~ token_key: changed
4 changed
`
	if b.String() != want {
		t.Errorf("got\n%s\nwant\n%s", b.String(), want)
	}
	for _, c := range changes {
		for _, f := range c.Fields {
			if f.Secret && f.Old+f.New != "" {
				t.Errorf("%s has %q and %q", f.Name, f.Old, f.New)
			}
		}
	}
}

func TestNothingChanges(t *testing.T) {
	new := proto.Clone(room()).(*kilnv1.Intent)
	new.Revision++
	var b strings.Builder
	if err := WriteDiff(&b, Diff(room(), new)); err != nil || b.String() != "nothing changes\n" {
		t.Errorf("got %q %v", b.String(), err)
	}
}

func TestLongTemplatesAreCut(t *testing.T) {
	old, new := room(), room()
	new.Groups[0].Templates[UserData] = strings.Repeat("line\n", 100)
	var b strings.Builder
	if err := WriteDiff(&b, Diff(old, new)); err != nil || strings.Count(b.String(), "+ line") != maxLines || !strings.Contains(b.String(), "+ … and 60 lines more\n") {
		t.Errorf("got %s %v", b.String(), err)
	}
	new.Groups[0].Templates[UserData] = "all\n"
	b.Reset()
	if err := WriteDiff(&b, Diff(old, new)); err != nil || !strings.Contains(b.String(), "the end of the last line") {
		t.Errorf("got %s %v", b.String(), err)
	}
}
