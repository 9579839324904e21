package linuxkit

import (
	"strings"
	"testing"

	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
)

func TestContainersThatNothingStartsAreWarnedOf(t *testing.T) {
	const (
		kernel   = "kernel: {image: linuxkit/kernel:6.12.59}\n"
		services = "services: [{name: web, image: nginx}]\n"
		onboot   = "onboot: [{name: dhcpcd, image: linuxkit/dhcpcd:1}]\n"
	)
	for _, c := range []struct{ name, yaml, want string }{
		{"LinuxKit's init and runc only", kernel + "init: [linuxkit/init:1, linuxkit/runc:1]\n" + services,
			"x.yml:3: nothing in init starts the containers of services; add linuxkit/containerd to init"},
		{"LinuxKit's init alone", kernel + "init: [linuxkit/init:1]\n" + services,
			"add linuxkit/containerd and linuxkit/runc to init"},
		{"containers of two sections", kernel + "init: [linuxkit/init:1, \"linuxkit/ca-certificates:1\"]\n" + onboot + services,
			"x.yml:3: nothing in init starts the containers of onboot and services; add linuxkit/containerd and linuxkit/runc to init"},
		{"onboot without runc", "init: [linuxkit/init:1, linuxkit/containerd:1]\n" + onboot, "the containers of onboot; add linuxkit/runc to init"},
		{"onshutdown without runc", "init: [linuxkit/init:1]\nonshutdown: [{name: a, image: b}]\n", "the containers of onshutdown; add linuxkit/runc to init"},
		{"LinuxKit's images from another registry", "init: [\"localhost:5000/mirror/linuxkit/init:1@sha256:" + strings.Repeat("0", 64) + "\", \"ghcr.io/linuxkit/runc\"]\n" + services,
			"add linuxkit/containerd to init"},
		{"a kernel and no init", kernel + services, "x.yml:2: nothing in init starts the containers of services; add linuxkit/containerd, linuxkit/init and linuxkit/runc to init"},

		{"all that is needed", kernel + "init: [linuxkit/init:1, linuxkit/runc:1, linuxkit/containerd:1]\n" + onboot + services, ""},
		{"no containers", kernel + "init: [linuxkit/init:1]\n", ""},
		{"onboot needs no containerd", kernel + "init: [linuxkit/init:1, linuxkit/runc:1]\n" + onboot, ""},
		{"an init of one's own", kernel + "init: [kiln.example/init:demo]\n" + services, ""},
		{"an image that may have containerd", kernel + "init: [linuxkit/init:1, linuxkit/runc:1, example.com/containerd-2:1]\n" + services, ""},
		{"LinuxKit's containerd, built by somebody else", kernel + "init: [linuxkit/init:1, linuxkit/runc:1, example.com/team/containerd:1]\n" + services, ""},
		{"a script that starts things", kernel + "init: [linuxkit/init:1]\nfiles: [{path: /etc/init.d/020-mine, contents: x}]\n" + services, ""},
		{"an init in a file", kernel + "files: [{path: ./init, contents: x, mode: \"0755\"}]\n" + services, ""},
		{"a part of a configuration", services, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := warnings([]*kilnv1.Document{document("x.yml", c.yaml)})
			switch {
			case c.want == "" && len(got) > 0:
				t.Errorf("got %v, want none", got)
			case c.want != "" && (len(got) != 1 || !strings.Contains(got.Error(), c.want)):
				t.Errorf("got %v, want one with %q", got, c.want)
			}
		})
	}
	t.Run("in several documents", func(t *testing.T) {
		got := warnings([]*kilnv1.Document{document("a.yml", services), document("b.yml", kernel+"init: [linuxkit/init:1, linuxkit/runc:1]\n")})
		if want := "a.yml:1: nothing in init starts the containers of services; add linuxkit/containerd to init, in versions that LinuxKit's examples name together"; len(got) != 1 || got.Error() != want {
			t.Errorf("got  %v\nwant %s", got, want)
		}
	})
}
