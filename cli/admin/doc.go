// Package admin is the verbs of those who look after a farm: making one, letting processes and people in, watching it, holding
// builders, teams, backups.
//
// It runs no part of a farm.
package admin
