#!/usr/bin/env bash
# packages.sh PACKAGE…: makes sure that these Debian packages are installed.
# As root it installs what is missing; otherwise it says exactly what to install and fails.
set -euo pipefail

missing=()
for package in "$@"; do
  status=$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null || true)
  [[ $status == installed ]] || missing+=("$package")
done
[[ ${#missing[@]} -gt 0 ]] || exit 0

if [[ $(id -u) != 0 ]]; then
  echo "these Debian packages are missing; as root run: apt-get install --no-install-recommends ${missing[*]}" >&2
  exit 1
fi
echo "installing Debian packages: ${missing[*]}" >&2
export DEBIAN_FRONTEND=noninteractive
log=$(mktemp)
policy=/usr/sbin/policy-rc.d
trap 'rm -f "$log"; [[ -z ${ours:-} ]] || rm -f "$policy"' EXIT

# Some packages bring a server (BIND, Kea, nginx) of which the tests run copies of their own: none is to start on this host, now
# or at its next boot. cloud-init has itself started by a generator, unless a file says otherwise (cloud-init-generator).
enabled() { ! command -v systemctl >/dev/null || systemctl list-unit-files --state=enabled --no-legend 2>/dev/null | awk '{print $1}' | sort; }
before=$(enabled)
for package in "${missing[@]}"; do
  [[ $package != cloud-init ]] || { mkdir -p /etc/cloud && touch /etc/cloud/cloud-init.disabled; }
done
if [[ ! -e $policy ]]; then
  printf '#!/bin/sh\nexit 101\n' >"$policy"
  chmod 755 "$policy"
  ours=yes
fi
if ! { apt-get update && apt-get install -y --no-install-recommends "${missing[@]}"; } >"$log" 2>&1; then
  tail -n 20 "$log" >&2
  echo "could not install ${missing[*]}; see the lines above" >&2
  exit 1
fi
new=$(comm -13 <(echo "$before") <(enabled))
[[ -z $new ]] || systemctl disable --quiet $new
