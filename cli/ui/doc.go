// Package ui is what all verbs of the kiln command do in the same way: what they take from the process around them, how they
// refuse arguments, how they print for people and for scripts, and how what went wrong becomes a sentence and an exit code.
//
// It knows no verb, and asks nothing of a farm.
package ui
