package dispatch

import (
	"testing"

	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
)

func TestWhatWaitsHasAReason(t *testing.T) {
	kinds := []*kilnv1.StepKind{{Kind: "segment", Version: 1}}
	for _, c := range []struct {
		name   string
		class  class
		status []*kilnv1.BuilderStatus
		want   string
	}{
		{"nobody", class{kind: "segment", version: 1}, nil, "no builder is connected"},
		{"another platform", class{"segment", 1, "linux/arm64", ""}, []*kilnv1.BuilderStatus{{Id: "b"}}, "no builder for linux/arm64 is connected"},
		{"another class", class{"segment", 1, "", "large"}, []*kilnv1.BuilderStatus{{Id: "b"}}, "no builder of the class large is connected"},
		{"another release", class{"segment", 2, "", ""}, []*kilnv1.BuilderStatus{{Id: "b"}}, "no builder that is connected can run it: it needs steps of kind segment, version 2"},
		{"a held builder", class{"segment", 1, "", ""}, []*kilnv1.BuilderStatus{{Id: "b", Hold: "its disk is broken"}}, "builder b is held: its disk is broken"},
		{"a builder that ends", class{"segment", 1, "", ""}, []*kilnv1.BuilderStatus{{Id: "b", Draining: true}}, "all builders that can run it are about to end"},
		{"busy builders", class{"segment", 1, "", ""}, []*kilnv1.BuilderStatus{{Id: "b", Slots: 4}, {Id: "c", Slots: 8}}, "all 12 slots are busy"},
	} {
		infos := map[string]*kilnv1.BuilderInfo{}
		for _, b := range c.status {
			infos[b.Id] = &kilnv1.BuilderInfo{Id: b.Id, Kinds: kinds, Platforms: b.Platforms, Classes: b.Classes}
		}
		if got := whyNot(c.class, c.status, infos); got != c.want {
			t.Errorf("%s: got %q, want %q", c.name, got, c.want)
		}
	}
}
