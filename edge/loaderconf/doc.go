// Package loaderconf is what boot loaders ask for by themselves, beside the file that DHCP named: names that they made of what they know
// of their machine, and the texts that they want there.
//
//	loader        names                                                    source
//	iPXE          autoexec.ipxe, beside itself and at the root             ipxe src/interface/efi/efi_autoexec.c
//	GRUB          grub.cfg-UUID, -01-MAC or -MAC, -IP, grub.cfg            GRUB manual, "Network"; grub-core/net/net.c
//	PXELINUX      pxelinux.cfg/UUID, /01-MAC, /IP, /default                wiki.syslinux.org/wiki/index.php?title=PXELINUX
//	U-Boot        the same, and pxelinux.cfg/default-ARCH[-SOC[-BOARD]]    u-boot cmd/pxe.c, doc/usage/pxe.rst
//	Raspberry Pi  SERIAL/ or MAC/ before config.txt, cmdline.txt, kernel…  raspberrypi.com/documentation/computers/raspberry-pi.html,
//	                                                                       "TFTP_PREFIX"; rpi-eeprom
//	shim          grubx64.efi, ipxe.efi beside itself                      shim shim.c, DEFAULT_LOADER: boot programs like others
//
// systemd-boot reads its files from the volume that it was started from only (src/boot/boot.c), and asks for none over a network.
//
// Names are read, never used as paths. It does no I/O, and does not decide what a machine boots.
package loaderconf
