package main

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestClosureAndOrder(t *testing.T) {
	kernel := map[string][]string{"virtio_net": {"net_failover", "virtio"}, "net_failover": {"failover"}, "failover": nil,
		"virtio": {"virtio_ring"}, "virtio_ring": nil, "other": nil}
	needs, err := closure([]string{"virtio-net"}, func(name string) ([]string, error) {
		direct, ok := kernel[name]
		if !ok {
			return nil, fmt.Errorf("no %s", name)
		}
		return direct, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := needs["other"]; ok || len(needs) != 5 {
		t.Errorf("got %v, want virtio_net and the four that it needs", needs)
	}
	if diff := cmp.Diff([]string{"virtio", "virtio_ring", "net_failover", "failover"}, order("virtio_net", needs)); diff != "" {
		t.Errorf("the line of modules.dep (-want +got):\n%s", diff)
	}
}

func TestAModuleThatTheKernelLacks(t *testing.T) {
	if err := run(t.TempDir(), t.TempDir(), []string{"nope"}); err == nil {
		t.Error("got no error, want a sentence")
	}
}

func TestParseInfo(t *testing.T) {
	for _, c := range []struct {
		name, info string
		want       []string
	}{
		{"a module that needs none", "license=GPL\x00depends=\x00", nil},
		{"a module that needs two", "depends=a-b,c\x00name=x\x00", []string{"a_b", "c"}},
		{"no such line", "softdepends=x\x00", nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			if diff := cmp.Diff(c.want, parseInfo([]byte(c.info))); diff != "" {
				t.Errorf("what it needs (-want +got):\n%s", diff)
			}
		})
	}
}
