// Command init is process 1 of the example images: a small stand-in for LinuxKit's init, containerd and service
// manager, so that an image built here boots without any published image.
//
// It runs in two stages. The first moves the root filesystem from the initramfs to a tmpfs, because a container
// runtime must pivot_root and the kernel refuses that on the initramfs. The second mounts what a system needs,
// loads the modules it uses, runs the onboot bundles one after another, starts the services, and waits. On a
// signal or a kernel argument it stops the services, runs the onshutdown bundles and powers off.
//
// What it does for a bundle is in its runtime.json (mounts, directories, control groups, network interfaces,
// namespaces to keep) and config.json (runc reads that).
//
// Kernel arguments: kiln.poweroff=SECONDS powers off that long after every service has said something or ended.
//
// It never configures the network beyond the loopback interface, and never restarts a service.
package main
