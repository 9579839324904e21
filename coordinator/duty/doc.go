// Package duty says what a duty is: one thing that a coordinator does while it leads, in a package of its own.
//
// A duty declares in data, as a Kind, what it hears of, which parts of the state it reads and which commands it may
// propose. With each leadership it is made anew from Tools, begins with what the state says is under way, and hears of
// the changes that it asked for, in the log's order. Whatever it knows beyond the state can be lost: the next leader's
// begins with the state and finds there what is to be done.
//
// Package lead runs duties, package dutytest runs one alone. A duty never knows another one, never changes the state but
// by commands, and never waits in what it is called with.
package duty
