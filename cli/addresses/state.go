package addresses

import (
	kilnv1 "github.com/kiln-farm/kiln/proto/kiln/v1"
)

// What becomes of a lease, for people and scripts.
const (
	leaseBound    = "bound"
	leaseReleased = "released"
	leaseDeclined = "declined" // somebody else was found to use it
	leaseKept     = "kept"     // given back by a machine that is described: nobody else gets it before its time is over
	leaseEnded    = "ended"    // it has run out, and its client gets it again when it is still free
)

func leaseState(b *kilnv1.BindingNow) string {
	switch state := b.GetBinding().GetState(); {
	case state == kilnv1.BindingState_BINDING_STATE_RELEASED && b.GetRemainingMs() > 0:
		return leaseKept
	case state == kilnv1.BindingState_BINDING_STATE_RELEASED:
		return leaseReleased
	case b.GetRemainingMs() <= 0:
		return leaseEnded
	case state == kilnv1.BindingState_BINDING_STATE_DECLINED:
		return leaseDeclined
	}
	return leaseBound
}

// holderOf is whose a binding is, for people.
func holderOf(b *kilnv1.Binding) string {
	switch {
	case b.GetMac() != "":
		return b.GetMac()
	case b.GetClient() != "":
		return b.GetClient()
	}
	return "nobody that is known"
}
