#!/usr/bin/env bash
# demo.sh: what `make demo` shows. It makes the example images, builds examples/hello.yml for two architectures in one
# process, serves it, and boots a QEMU machine from the network until that powers itself off. Everything is below build/.
# Needs bin/kiln (make build), Go, and the packages named in the Makefile; no root, and no network but Debian's mirror.
set -euo pipefail

cd "$(dirname "$0")/.."
deploy/packages.sh dosfstools qemu-system-x86 ipxe-qemu seabios

readonly dir=build/demo
export KILN_CACHE=$PWD/build/cache
readonly boot_seconds=${BOOT_SECONDS:-120} # a boot takes about 15 s; a busy machine may take four times that
mkdir -p "$dir"
exec 7>"$dir/lock"
flock --nonblock 7 || { echo "another demo runs here; waiting for it to end" >&2; flock 7; }
edge_pid='' qemu_pid=''

cleanup() {
  local pid
  for pid in $qemu_pid $edge_pid; do
    kill "$pid" 2>/dev/null || true
  done
}
trap cleanup EXIT
trap 'exit 130' INT TERM

# now: milliseconds since 1970.
now() { local t=${EPOCHREALTIME/[.,]/}; echo "${t%???}"; }

rows=()
row() { rows+=("$(printf '%-44s %8d.%02d s' "$1" $(($2 / 1000)) $(($2 % 1000 / 10)))"); }
step() { printf '\n== %s\n' "$1"; }

step "images out of Debian packages, for amd64 and arm64"
start=$(now)
examples/images/packages.sh amd64 build/images/amd64.packages linux-image-cloud-amd64 busybox-static runc libc6 libseccomp2
examples/images/packages.sh arm64 build/images/arm64.packages linux-image-cloud-arm64 busybox-static runc libc6 libseccomp2 >/dev/null
row "Debian packages" $(($(now) - start))
start=$(now)
examples/images/build.sh amd64 arm64
row "images" $(($(now) - start))

step "kiln build --arch amd64,arm64 examples/hello.yml"
start=$(now)
bin/kiln build --cache "$KILN_CACHE" --arch amd64,arm64 --dir "$dir" --progress plain examples/hello.yml 2>"$dir/build.log" ||
  { cat "$dir/build.log" >&2; exit 1; }
tail -n 8 "$dir/build.log"
row "build, both architectures" $(($(now) - start))
(cd "$dir" && sha256sum {amd64,arm64}/hello-*)

step "the same as disks and ISOs"
start=$(now)
bin/kiln build --cache "$KILN_CACHE" --arch amd64 --name disks --dir "$dir/disks" --boot kiln.example/boot:demo --initrd kiln.example/root:demo \
  --format raw-efi,raw-efi-verity,iso-bios,qcow2-efi,vmdk,gcp,kernel+squashfs,uki --progress plain examples/hello.yml 2>"$dir/disks.log" ||
  { cat "$dir/disks.log" >&2; exit 1; }
grep MiB "$dir/disks.log"
row "eight more formats" $(($(now) - start))
echo "kiln run build/demo/disks/disks.iso boots one of them"

step "kiln edge, and a machine that boots from it"
: >"$dir/edge.log" # the last run's address must be gone before the first look
bin/kiln edge --cache "$KILN_CACHE" --listen 127.0.0.1:0 >>"$dir/edge.log" 2>&1 7>&- &
edge_pid=$!
address=''
for _ in {1..100}; do
  address=$(sed -n 's/.*msg=listening address=\(http:[^ ]*\).*/\1/p' "$dir/edge.log")
  [[ -z $address ]] || break
  kill -0 "$edge_pid" 2>/dev/null || break
  sleep 0.05
done
[[ -n $address ]] || { cat "$dir/edge.log" >&2; echo "the edge did not start; see the lines above" >&2; exit 1; }
script=http://10.0.2.2:${address##*:}/boot/hello.ipxe # 10.0.2.2 is this machine, seen from QEMU's user network
echo "$address/boot/hello.ipxe:"
echo

serial=$dir/serial
rm -f "$serial"
mkfifo "$serial"
start=$(now)
timeout "$boot_seconds" qemu-system-x86_64 -accel tcg -machine q35,graphics=off -cpu max -m 1024 -nodefaults -display none -no-reboot \
  -boot n -netdev "user,id=n0,bootfile=$script" -device virtio-net-pci,netdev=n0 \
  -serial stdio </dev/null >"$serial" 2>"$dir/qemu.log" 7>&- & # graphics=off: the firmware's words go there, too
qemu_pid=$!

up=0 onboot=0 service=0 off=0
while IFS= read -r line; do
  echo "  $line"
  case $line in
    *'[init] up after'*) up=$(now) ;;
    *KILN-ONBOOT-DONE*) onboot=$(now) ;;
    *KILN-SERVICE-UP*) [[ $service != 0 ]] || service=$(now) ;;
    *'[init] power off'*) off=$(now) ;;
    *'No more network devices'*) kill "$qemu_pid" 2>/dev/null || true ;; # iPXE gave up
  esac
done < <(tee "$dir/serial.log" <"$serial" | sed -u -e 's/\r//g' -e 's/\x1b[^A-Za-z]*[A-Za-z]//g' -e '/^ *$/d')
code=0
wait "$qemu_pid" || code=$?
qemu_pid=''
end=$(now)
rm -f "$serial"

if [[ $up == 0 || $onboot == 0 || $service == 0 || $off == 0 ]]; then
  cat "$dir/qemu.log" "$dir/edge.log" >&2
  echo "the machine did not boot as far as it should (QEMU's exit code $code; 124 is the time limit of $boot_seconds s); the lines above say how far it came" >&2
  exit 1
fi

# served WHAT: when the edge was first asked for a path like that, in milliseconds since 1970.
served() {
  local stamp
  stamp=$(grep -m 1 "path=$1" "$dir/edge.log" | sed 's/^time=\([^ ]*\) .*/\1/')
  date -d "$stamp" +%s%3N
}
script_at=$(served /boot/)
last_at=$(grep 'path=/artifacts/' "$dir/edge.log" | tail -n 1 | sed 's/^time=\([^ ]*\) .*/\1/')
last_at=$(date -d "$last_at" +%s%3N)
row "boot: power on to boot script" $((script_at - start))
row "boot: kernel and initrd fetched" $((last_at - script_at))
row "boot: kernel to init" $((up - last_at))
row "boot: onboot container done" $((onboot - up))
row "boot: service answers" $((service - onboot))
row "boot: until power off" $((end - service))

step "what each part took"
printf '%s\n' "${rows[@]}"
