package httpboot

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/kiln-farm/kiln/cache"
	"github.com/kiln-farm/kiln/edge/edgetest"
	"github.com/kiln-farm/kiln/edge/intent"
	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
)

func TestTheScriptOfAMachine(t *testing.T) {
	r := newRoomOf(t)
	r.SetOthers([]string{"http://10.0.0.2:7380", "http://10.0.0.1:7380"})
	script := r.Get("/boot.ipxe?mac="+known+"&arch=x86_64", "10.0.0.21").Body.String()
	for _, want := range []string{
		"#!ipxe\n", "Kiln: web boots v1", ":edge0_0\nkernel --timeout 15000 --name kernel http://10.0.0.1:7380/files/", "|| goto edge1_0\n", ":edge1_0\nkernel --timeout 15000 --name kernel http://10.0.0.2:7380/files/",
		"initrd --timeout 15000 --name initrd0 http://10.0.0.1", "|| goto edge1_1\n", ":edge1_2\ninitrd --timeout 15000 --name initrd1 http://10.0.0.2", " initrd=initrd0 initrd=initrd1 console=ttyS0 group=1 || goto", " ds=nocloud;s=http://10.0.0.1:7380/m/",
		" kiln.config=http://10.0.0.1:7380/m/", " kiln.config=http://10.0.0.2:7380/m/", "|| goto again", "chain --replace --timeout 15000 ${filename}", "boot || goto again",
	} {
		if !strings.Contains(script, want) {
			t.Errorf("the script has no %q:\n%s", want, script)
		}
	}
	var urls []string
	for word := range strings.FieldsSeq(script) {
		if strings.HasPrefix(word, "http://10.0.0.1:7380/files/") {
			urls = append(urls, strings.TrimPrefix(word, "http://10.0.0.1:7380"))
		}
	}
	want := []string{"the kernel", "first", "second"}
	for i, url := range urls {
		if got := r.Get(url, "10.0.0.21").Body.String(); got != want[i] {
			t.Errorf("%s holds %q, want %q", url, got, want[i])
		}
	}
	var stages []string
	for _, e := range r.Happened() {
		if e.GetMachine() != "web" || e.GetBoot() == "" || e.GetEdge() != "e1" {
			t.Errorf("event %v", e)
		}
		stages = append(stages, strings.TrimPrefix(e.GetStage().String(), "BOOT_STAGE_"))
	}
	if got := strings.Join(stages, " "); got != "SCRIPT KERNEL INITRD INITRD" {
		t.Errorf("events %s", got)
	}
}

func TestWhatOtherMachinesGet(t *testing.T) {
	r := newRoomOf(t)
	for _, c := range []struct{ name, path, want string }{
		{"one that boots from its disk", "/boot.ipxe?mac=" + onDisk, "booting from the local disk"},
		{"one that nobody described", "/boot.ipxe?mac=" + stranger, "nobody_described"},
		{"an architecture that the release does not have", "/boot.ipxe?mac=" + known + "&arch=arm64", "sleep 15"},
		{"a MAC that is none", "/boot.ipxe?mac=%0achain%20http://evil", "sleep 15"},
	} {
		script := r.Get(c.path, "10.0.0.99").Body.String()
		if !strings.Contains(script, c.want) || strings.Contains(script, "http://evil") || strings.Contains(script, "/files/") {
			t.Errorf("%s: %s", c.name, script)
		}
	}
}

func TestFilesNeedAToken(t *testing.T) {
	r := newRoomOf(t)
	digest := cache.SumBytes([]byte("the kernel")).String()
	for _, token := range []string{"x", strings.Repeat("A", 80)} {
		if w := r.Get("/files/"+token+"/"+digest, "10.0.0.21"); w.Code != http.StatusForbidden || strings.Contains(w.Body.String(), "the kernel") {
			t.Errorf("token %q: %d %s", token, w.Code, w.Body.String())
		}
	}
	if w := r.Get("/m/"+strings.Repeat("A", 80)+"/latest/meta-data/hostname", "10.0.0.21"); w.Code != http.StatusForbidden {
		t.Errorf("configuration for a token that is none: %d", w.Code)
	}
}

func TestAnEdgeKeepsWhatItSaw(t *testing.T) {
	r := newRoomOf(t)
	again, err := intent.Open(r.Path, quiet)
	if err != nil || again.Revision() != 1 || len(again.Key()) != 32 {
		t.Fatalf("revision %d, %v", again.Revision(), err)
	}
	if err := os.WriteFile(r.Path, []byte("not an intent"), 0o600); err != nil {
		t.Fatal(err)
	}
	if damaged, err := intent.Open(r.Path, quiet); err != nil || damaged.Revision() != 0 {
		t.Errorf("a damaged one: revision %d, %v", damaged.Revision(), err)
	}
}

// Whoever watches a boot learns how many files it has, and which ones came: in any order, and one that came twice is one.

func TestEventsSayWhichFilesABootHas(t *testing.T) {
	r := newRoomOf(t)
	r.Change(func(in *kilnv1.Intent) {
		f := in.Releases[0].Platforms["linux/amd64"]
		f.Initrds = append(f.Initrds, f.Initrds[0])
	})
	script := r.Get("/boot.ipxe?mac="+known+"&arch=x86_64", "10.0.0.21").Body.String()
	fetched := 0
	for word := range strings.FieldsSeq(script) {
		if path, ok := strings.CutPrefix(word, "http://10.0.0.1:7380"); ok && strings.HasPrefix(path, "/files/") {
			fetched++
			r.Get(path, "10.0.0.21")
		}
	}
	files := map[string]bool{}
	var named uint32
	for _, e := range r.Happened() {
		named += e.GetFiles()
		if e.GetFile() != "" {
			files[e.GetFile()] = true
		}
	}
	if fetched != 4 || named != 3 || len(files) != 3 {
		t.Errorf("%d files were fetched, the script's event names %d, and %d different ones were told: want 4, 3 and 3", fetched, named, len(files))
	}
}

func TestScriptsNameEdgesThatCanBeReached(t *testing.T) {
	others := []string{"http://10.0.0.2:7380", "http://[fd77::2]:7380", "http://edge3.example:7380"}
	for _, c := range []struct {
		name, url, from, asked string
		want                   []string
	}{
		{"over IPv4", "http://10.0.0.1:7380", "10.0.0.21:1", "10.0.0.1:7380", []string{"http://10.0.0.1:7380", "http://10.0.0.2:7380", "http://edge3.example:7380"}},
		{"over IPv6", "http://10.0.0.1:7380", "[fd77::21]:1", "[fd77::1]:7380", []string{"http://[fd77::1]:7380", "http://[fd77::2]:7380", "http://edge3.example:7380"}},
		{"over IPv6, where the edge has a name", "http://edge1.example", "[fd77::21]:1", "[fd77::1]:7380", []string{"http://edge1.example", "http://[fd77::2]:7380", "http://edge3.example:7380"}},
		{"where there is no IPv4", "http://[fd77::1]:7380", "[fd77::21]:1", "[fd77::1]:7380", []string{"http://[fd77::1]:7380", "http://[fd77::2]:7380", "http://edge3.example:7380"}},
		{"IPv4 that is written as IPv6", "http://10.0.0.1:7380", "[::ffff:10.0.0.21]:1", "[::ffff:10.0.0.1]:7380", []string{"http://10.0.0.1:7380", "http://10.0.0.2:7380", "http://edge3.example:7380"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := edgetest.New(t)
			r.URL = c.url
			r.SetOthers(others)
			served := serve(r)
			req := httptest.NewRequest(http.MethodGet, "/boot.ipxe?mac="+known+"&arch=x86_64", nil)
			req.RemoteAddr = c.from
			asked := net.TCPAddrFromAddrPort(netip.MustParseAddrPort(c.asked))
			req = req.WithContext(context.WithValue(req.Context(), http.LocalAddrContextKey, net.Addr(asked)))
			if got := served.server.urlsFor(req); !slices.Equal(got, c.want) {
				t.Errorf("got %q, want %q", got, c.want)
			}
			w := httptest.NewRecorder()
			r.Handler.ServeHTTP(w, req)
			for _, want := range []string{"kiln.config=" + c.want[0] + "/m/", " --name kernel " + c.want[1] + "/files/"} {
				if !strings.Contains(w.Body.String(), want) {
					t.Errorf("the script has no %q:\n%s", want, w.Body.String())
				}
			}
		})
	}
}
