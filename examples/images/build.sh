#!/usr/bin/env bash
# build.sh [ARCH…]: makes the example images for these architectures (default: amd64 arm64) out of Debian packages
# and of the project's init, and keeps them in Kiln's cache. Prints each image's name and digest. Needs no root.
# The same package versions give the same digests.
#   KILN        the kiln binary         (default bin/kiln)
#   KILN_CACHE  the cache directory     (default Kiln's own)
set -euo pipefail

cd "$(dirname "$0")/../.."
kiln=${KILN:-bin/kiln}
cache=()
[[ -z ${KILN_CACHE:-} ]] || cache=(--cache "$KILN_CACHE")
archs=("$@")
[[ ${#archs[@]} -gt 0 ]] || archs=(amd64 arm64)

# What containers, QEMU's machines and other root filesystems need of the kernel's modules.
modules=(virtio_pci virtio_net virtio_blk virtio_scsi virtio_console virtio_rng
  overlay squashfs erofs loop isofs dm_verity veth bridge)
# What the initrd of images with their root filesystem on a disk needs of them.
rootmodules=(virtio_pci virtio_blk virtio_scsi sd_mod overlay squashfs erofs isofs dm_verity)

export SOURCE_DATE_EPOCH=0
export GOTOOLCHAIN=local
out=build/images
mkdir -p "$out"
umask 022
exec 8>"$out/lock" # the demo and the tests may both make images
flock 8

# pack NAME ARCH DIR [FLAG…]: keeps DIR as the image kiln.example/NAME:demo.
pack() {
  local name=$1 arch=$2 dir=$3
  shift 3
  "$kiln" image pack "${cache[@]}" --ref "kiln.example/$name:demo" --platform "linux/$arch" "$@" "$dir" >/dev/null ||
    { echo "the image kiln.example/$name:demo could not be packed" >&2; exit 1; }
}

kernel() {
  local arch=$1 packages=$2 dir=$3 image version
  image=$packages/linux-image-cloud-$arch
  version=$(ls "$image/lib/modules")
  mkdir -p "$dir/tree/lib/modules/$version"
  cp "$image/boot/vmlinuz-$version" "$dir/kernel"
  build/modules "$image/lib/modules/$version" "$dir/tree/lib/modules/$version" "${modules[@]}"
  tar --create --file "$dir/kernel.tar" --directory "$dir/tree" --format=ustar \
    --sort=name --mtime=@0 --owner=0 --group=0 --numeric-owner lib
  rm -r "$dir/tree"
}

init() {
  local arch=$1 packages=$2 dir=$3
  mkdir -p "$dir"/{bin,containers,dev,etc,proc,root,run,sys,tmp,usr/bin,usr/sbin,var}
  CGO_ENABLED=0 GOOS=linux GOARCH=$arch go build -trimpath -buildvcs=false -ldflags '-s -w' -o "$dir/init" ./examples/init
  cp "$packages/busybox-static/bin/busybox" "$dir/bin/busybox"
  ln -s busybox "$dir/bin/sh"
  echo kiln >"$dir/etc/hostname"
}

# runc and the shared libraries that it names: the C library, the loader and libseccomp.
runc() {
  local arch=$1 packages=$2 dir=$3 triplet
  case $arch in
    amd64) triplet=x86_64-linux-gnu ;;
    arm64) triplet=aarch64-linux-gnu ;;
    *) echo "the example images are for amd64 and arm64, not $arch" >&2; exit 2 ;;
  esac
  mkdir -p "$dir/usr/sbin" "$dir/lib/$triplet"
  cp "$packages/runc/usr/sbin/runc" "$dir/usr/sbin/runc"
  cp "$packages/libc6/lib/$triplet/libc.so.6" "$dir/lib/$triplet/"
  cp -L "$packages/libseccomp2/usr/lib/$triplet/libseccomp.so.2" "$dir/lib/$triplet/"
  local loader
  for loader in "$packages/libc6/lib/$triplet"/ld-linux-*.so.*; do
    cp "$loader" "$dir/lib/$triplet/"
    case $arch in
      amd64) mkdir -p "$dir/lib64" && ln -s "/lib/$triplet/$(basename "$loader")" "$dir/lib64/" ;;
      arm64) ln -s "$triplet/$(basename "$loader")" "$dir/lib/" ;;
    esac
  done
}

# root: the initrd of images whose root filesystem is on a disk.
root() {
  local arch=$1 packages=$2 dir=$3 image version
  image=$packages/linux-image-cloud-$arch
  version=$(ls "$image/lib/modules")
  mkdir -p "$dir/lib/modules/$version"
  build/modules "$image/lib/modules/$version" "$dir/lib/modules/$version" "${rootmodules[@]}"
  CGO_ENABLED=0 GOOS=linux GOARCH=$arch go build -trimpath -buildvcs=false -ldflags '-s -w' -o "$dir/init" ./examples/root
}

# boot: boot loaders, at the places where Debian has them. SYSLINUX's installer carries two of its files inside itself, and
# gives them to a scratch volume. It runs here, whatever the image is for: the files are always those of a PC.
boot() {
  local arch=$1 packages=$2 dir=$3 scratch
  mkdir -p "$dir/usr/lib/systemd/boot/efi"
  cp "$packages"/systemd-boot-efi/usr/lib/systemd/boot/efi/linux*.efi.stub "$dir/usr/lib/systemd/boot/efi/"
  case $arch in
    arm64)
      mkdir -p "$dir/rpi3"
      cp "$packages/u-boot-rpi/usr/lib/u-boot/rpi_3/u-boot.bin" "$dir/rpi3/" ;;
    amd64)
      mkdir -p "$dir/usr/lib/ISOLINUX" "$dir/usr/lib/syslinux/modules/bios" "$dir/usr/lib/syslinux/mbr"
      cp "$packages"/isolinux/usr/lib/ISOLINUX/{isolinux,isohdpfx}.bin "$dir/usr/lib/ISOLINUX/"
      cp "$packages/syslinux-common/usr/lib/syslinux/modules/bios/ldlinux.c32" "$dir/usr/lib/syslinux/modules/bios/"
      cp "$packages/syslinux-common/usr/lib/syslinux/mbr/mbr.bin" "$dir/usr/lib/syslinux/mbr/"
      scratch=$out/syslinux.scratch
      rm -f "$scratch"
      truncate -s 34M "$scratch"
      PATH=$PATH:/usr/sbin mkfs.vfat -F 32 -i 0 --invariant "$scratch" >/dev/null
      PATH=$packages/mtools/usr/bin:$PATH MTOOLSRC=/dev/null "$packages/syslinux/usr/bin/syslinux" --install "$scratch"
      "$packages/mtools/usr/bin/mcopy" -n -i "$scratch" ::ldlinux.sys "$dir/usr/lib/syslinux/ldlinux.sys"
      dd if="$scratch" of="$dir/usr/lib/syslinux/ldlinux.bss" bs=512 count=1 status=none
      chmod 0644 "$dir/usr/lib/syslinux/"*
      chmod 0755 "$dir/usr/lib/syslinux/"{modules,mbr}
      rm -f "$scratch" ;;
  esac
}

# A container: busybox under all the names that its scripts use, and the script.
container() {
  local packages=$1 dir=$2 script=$3 applet
  mkdir -p "$dir"/{bin,dev,etc,proc,sys,tmp}
  cp "$packages/busybox-static/bin/busybox" "$dir/bin/busybox"
  for applet in sh awk cat df hostname httpd ifconfig mkdir nproc route sed sleep udhcpc uname wget; do
    ln -s busybox "$dir/bin/$applet"
  done
  install -m 0755 "examples/images/$script" "$dir/bin/$script"
  [[ $script != configure ]] || install -m 0755 examples/images/address "$dir/bin/address"
}

CGO_ENABLED=0 go build -trimpath -o build/modules ./examples/images/modules
for arch in "${archs[@]}"; do
  packages=$out/$arch.packages
  loaders=(isolinux syslinux syslinux-common mtools)
  [[ $arch == amd64 ]] || loaders=(u-boot-rpi)
  examples/images/packages.sh "$arch" "$packages" "linux-image-cloud-$arch" busybox-static runc libc6 libseccomp2 systemd-boot-efi "${loaders[@]}" >"$out/$arch.versions"
done
for arch in "${archs[@]}"; do
  packages=$out/$arch.packages
  for name in kernel init runc facts hello configure root boot; do
    dir=$out/$arch/$name
    rm -rf "$dir"
    mkdir -p "$dir"
    case $name in
      kernel | init | runc | root | boot) "$name" "$arch" "$packages" "$dir"; pack "$name" "$arch" "$dir" ;;
      facts | hello | configure) container "$packages" "$dir" "$name"; pack "$name" "$arch" "$dir" --cmd "/bin/$name" ;;
    esac
  done
done
"$kiln" cache ls "${cache[@]}" 2>/dev/null | grep kiln.example/ || true
