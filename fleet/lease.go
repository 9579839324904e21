package fleet

import (
	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
)

// What becomes of a lease, for people and scripts.
const (
	LeaseBound    = "bound"
	LeaseReleased = "released"
	LeaseDeclined = "declined" // somebody else was found to use it
	LeaseKept     = "kept"     // given back by a machine that is described: nobody else gets it before its time is over
	LeaseEnded    = "ended"    // it has run out, and its client gets it again when it is still free
)

func LeaseState(b *kilnv1.BindingNow) string {
	switch state := b.GetBinding().GetState(); {
	case state == kilnv1.BindingState_BINDING_STATE_RELEASED && b.GetRemainingMs() > 0:
		return LeaseKept
	case state == kilnv1.BindingState_BINDING_STATE_RELEASED:
		return LeaseReleased
	case b.GetRemainingMs() <= 0:
		return LeaseEnded
	case state == kilnv1.BindingState_BINDING_STATE_DECLINED:
		return LeaseDeclined
	}
	return LeaseBound
}

// HolderOf is whose a binding is, for people.
func HolderOf(b *kilnv1.Binding) string {
	switch {
	case b.GetMac() != "":
		return b.GetMac()
	case b.GetClient() != "":
		return b.GetClient()
	}
	return "nobody that is known"
}
