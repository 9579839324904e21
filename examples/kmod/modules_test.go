package kmod

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const modulesDep = `# made by hand
kernel/drivers/virtio/virtio_ring.ko:
kernel/drivers/virtio/virtio.ko: kernel/drivers/virtio/virtio_ring.ko
kernel/net/core/failover.ko:
kernel/drivers/net/net_failover.ko: kernel/net/core/failover.ko
kernel/drivers/net/virtio-net.ko: kernel/drivers/net/net_failover.ko kernel/net/core/failover.ko kernel/drivers/virtio/virtio.ko kernel/drivers/virtio/virtio_ring.ko
kernel/fs/overlayfs/overlay.ko.xz:
`

func TestModulesAreLoadedAfterThoseTheyNeed(t *testing.T) {
	m, err := parseModules(strings.NewReader(modulesDep))
	if err != nil {
		t.Fatal(err)
	}
	const ring, virtio, overlay = "kernel/drivers/virtio/virtio_ring.ko", "kernel/drivers/virtio/virtio.ko", "kernel/fs/overlayfs/overlay.ko.xz"
	for _, c := range []struct {
		name  string
		names []string
		want  []string
	}{
		{"nothing is asked for", nil, nil},
		{"a module that needs none", []string{"overlay"}, []string{overlay}},
		{"a module and all that it needs", []string{"virtio_net"}, []string{ring, virtio, "kernel/net/core/failover.ko", "kernel/drivers/net/net_failover.ko", "kernel/drivers/net/virtio-net.ko"}},
		{"what two need is loaded once", []string{"virtio", "virtio-net"}, []string{ring, virtio, "kernel/net/core/failover.ko", "kernel/drivers/net/net_failover.ko", "kernel/drivers/net/virtio-net.ko"}},
		{"a module that the kernel has built in", []string{"ext4", "overlay"}, []string{overlay}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if diff := cmp.Diff(c.want, m.order(c.names)); diff != "" {
				t.Errorf("the order (-want +got):\n%s", diff)
			}
		})
	}
}

func TestModulesThatNeedEachOtherEnd(t *testing.T) {
	m, err := parseModules(strings.NewReader("a.ko: b.ko\nb.ko: a.ko\n"))
	if err != nil {
		t.Fatal(err)
	}
	if got := m.order([]string{"a"}); len(got) != 2 {
		t.Errorf("got %q, want both files", got)
	}
}

func TestAListOfModulesThatIsNone(t *testing.T) {
	_, err := parseModules(strings.NewReader("a.ko:\nwhat\n"))
	if err == nil || err.Error() != "modules.dep line 2 has no colon" {
		t.Errorf("got %v, want the line", err)
	}
}

func FuzzParseModules(f *testing.F) {
	f.Add(modulesDep, "virtio_net")
	f.Fuzz(func(t *testing.T, list, name string) {
		m, err := parseModules(strings.NewReader(list))
		if err != nil {
			return
		}
		seen := map[string]bool{}
		for _, file := range m.order([]string{name}) {
			if seen[file] {
				t.Errorf("%q is loaded twice", file)
			}
			seen[file] = true
		}
	})
}
