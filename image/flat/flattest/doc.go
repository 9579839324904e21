// Package flattest has layers for tests, and says what unpacked ones hold, so that who flattens images and who writes
// formats of them are judged by the same cases and beside the same programs of others.
//
// It knows nothing of how Kiln flattens.
package flattest
