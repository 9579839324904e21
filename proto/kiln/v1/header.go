package kilnv1

// HeaderLeader is in answers that a coordinator passed on from the leader: the leader's address, host:port. Asked there, the
// same costs a connection less.
const HeaderLeader = "Kiln-Leader"
