// Package lead is the core of a leader: it takes duties up when its coordinator begins to lead, gives each the changes
// that it asked for, commits what they propose, and lays them down again.
//
// It knows no duty and no command: what is done in a farm is the business of duties, which it is given as a list.
package lead
