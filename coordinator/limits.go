package coordinator

import "time"

// Bounds on what a coordinator waits for.
const (
	leadRetry       = 500 * time.Millisecond // until leadership that could not be taken up is tried again
	clientPatience  = 30 * time.Second       // that a build goes on while nobody watches it
	electionTimeout = 400 * time.Millisecond // until a follower that hears no leader stands for election
	peerPing        = 2 * time.Second        // of silence on a connection to another coordinator, then it is asked
	announceLook    = 2 * time.Second        // how often a coordinator looks whether it is still a member
	announceTold    = 10 * time.Second       // how often it says why it is not
	announceRetry   = 200 * time.Millisecond // while it is not
	announceTimeout = 5 * time.Second
	leaderLook      = 50 * time.Millisecond // how often raft is asked who leads, while a request waits for that
	leaderPatience  = 3 * time.Second       // that a follower waits for a new leader before it refuses a request
	removeDead      = 72 * time.Hour        // of silence, then it goes anyway
	handOverTimeout = 3 * time.Second       // for another coordinator to take leadership from one that ends
	closeTimeout    = 10 * time.Second
)
