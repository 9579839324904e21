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
edge_pid='' qemu_pid='' namespace=''

cleanup() {
  local pid
  for pid in $qemu_pid $edge_pid; do
    kill "$pid" 2>/dev/null || true
  done
  if [[ -n $namespace ]]; then
    wait
    ip netns delete "$namespace"
  fi
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

step "kiln apply: one machine, and what it boots"
bin/kiln build --cache "$KILN_CACHE" --arch amd64 --dir "$dir/machine" --format kernel+initrd --progress plain examples/machine.yml 2>>"$dir/build.log" ||
  { cat "$dir/build.log" >&2; exit 1; }
bin/kiln apply --cache "$KILN_CACHE" --prune -f examples/machines.yml

step "kiln edge, and a machine with nothing on it that boots from it"
: >"$dir/edge.log" # the last run's address must be gone before the first look
readonly mac=52:54:00:12:34:56
inside=()
if [[ $(id -u) == 0 ]] && command -v ip >/dev/null && ip netns add "kdemo$$" 2>/dev/null; then
  namespace=kdemo$$
  inside=(ip netns exec "$namespace")
  for link in "link set lo up" "link add br0 type bridge" "addr add 10.77.0.1/24 dev br0" "tuntap add tap0 mode tap" \
    "link set tap0 master br0" "link set tap0 up" "link set br0 up"; do
    # shellcheck disable=SC2086
    ip -n "$namespace" $link
  done
  echo "a network of its own: the machine's firmware finds the edge by DHCP, TFTP and HTTP"
  edge=(--interface br0 --dhcp full)
  network=(-netdev tap,id=n0,ifname=tap0,script=no,downscript=no)
else
  echo "without root there is no network for DHCP: QEMU tells the firmware where the edge is, and the rest is the same"
  edge=(--listen 127.0.0.1:7381 --url http://10.0.2.2:7381) # 10.0.2.2 is this machine, seen from QEMU's user network
  network=(-netdev "user,id=n0,bootfile=http://10.0.2.2:7381/boot.ipxe?mac=$mac&arch=x86_64")
fi
"${inside[@]}" bin/kiln edge --cache "$KILN_CACHE" "${edge[@]}" >>"$dir/edge.log" 2>&1 7>&- &
edge_pid=$!
for _ in {1..100}; do
  ! grep -q 'msg=listening' "$dir/edge.log" || break
  kill -0 "$edge_pid" 2>/dev/null || break
  sleep 0.05
done
grep -q 'msg=listening' "$dir/edge.log" || { cat "$dir/edge.log" >&2; echo "the edge did not start; see the lines above" >&2; exit 1; }

serial=$dir/serial
rm -f "$serial"
mkfifo "$serial"
start=$(now)
"${inside[@]}" timeout "$boot_seconds" qemu-system-x86_64 -accel tcg -machine q35,graphics=off -cpu max -m 1024 -nodefaults -display none -no-reboot \
  -boot n "${network[@]}" -device "virtio-net-pci,netdev=n0,mac=$mac" \
  -serial stdio </dev/null >"$serial" 2>"$dir/qemu.log" 7>&- & # graphics=off: the firmware's words go there, too
qemu_pid=$!

up=0 configured=0 service=0 off=0
while IFS= read -r line; do
  echo "  $line"
  case $line in
    *'[init] up after'*) up=$(now) ;;
    *'KILN-CONFIGURED demo-machine'*) configured=$(now) ;;
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

if [[ $up == 0 || $configured == 0 || $service == 0 || $off == 0 ]]; then
  cat "$dir/qemu.log" "$dir/edge.log" >&2
  echo "the machine did not boot as far as it should (QEMU's exit code $code; 124 is the time limit of $boot_seconds s); the lines above say how far it came" >&2
  exit 1
fi
row "boot: power on to init" $((up - start))
row "boot: configured by the edge" $((configured - up))
row "boot: service answers" $((service - configured))
row "boot: until power off" $((end - service))

step "kiln machine boots demo-machine"
sleep 1 # the last events are told a moment later
bin/kiln machine boots --cache "$KILN_CACHE" demo-machine | tail -n 8

step "what each part took"
printf '%s\n' "${rows[@]}"
