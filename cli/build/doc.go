// Package build is kiln build and what goes with it: the lock of its images, and looking at, waiting for and fetching a build
// that goes on without its command.
//
// It checks flags, gives the farm what it lacks, follows the build and writes its outputs, all of them or none. How an image is
// made it leaves to package image and to builders.
package build
