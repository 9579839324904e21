// Package member is a process of a farm: the flags by which it joins, its data directory, its name, its certificate, and where
// the farm's coordinators are. Beside the process's work it keeps up with where they are now and has the certificate renewed.
//
// It knows nothing of what the process does for the farm.
package member
