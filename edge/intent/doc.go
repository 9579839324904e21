// Package intent keeps the last intent that an edge saw, in memory and on its disk, so that machines which are known boot from it
// when nobody else is there, also after a restart; and says which files of releases machines may ask for now.
//
// It never asks anybody for an intent and never changes one: whoever hears of a newer one sets it.
package intent
