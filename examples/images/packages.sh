#!/usr/bin/env bash
# packages.sh ARCH DIR PACKAGE…: unpacks Debian packages of an architecture into DIR/<package>, without installing
# them. Names on standard output: "package version". It uses the host's sources and keyrings, but lists, downloads and
# the idea of what is installed are its own, below build/apt, so that the host's architectures stay as they are.
set -euo pipefail

arch=$1 out=$2
shift 2
root=$(cd "$(dirname "$0")/../.." && pwd)
state=$root/build/apt/$arch
mkdir -p "$state/lists/partial" "$state/cache/archives/partial" "$state/debs" "$out"
: >>"$state/status"

options=(
  -o "APT::Architecture=$arch" -o "APT::Architectures=$arch"
  -o "Dir::State=$state" -o "Dir::State::Lists=$state/lists" -o "Dir::State::status=$state/status"
  -o "Dir::Cache=$state/cache"
  -o "APT::Sandbox::User=root" -o "Acquire::Languages=none" -o "Acquire::Retries=3"
)

update() {
  apt-get "${options[@]}" -qq update >&2
  touch "$state/updated"
}

# version PACKAGE: the version that apt would install.
version() {
  apt-cache "${options[@]}" show --no-all-versions "$1" | sed -n 's/^Version: //p' | head -n 1
}

# real PACKAGE: the package that a meta package of one dependency stands for; others stand for themselves.
real() {
  case $1 in
    linux-image-cloud-*)
      apt-cache "${options[@]}" show --no-all-versions "$1" | sed -n 's/^Depends: \(linux-image-[^ ,]*\).*/\1/p' | head -n 1 ;;
    *) echo "$1" ;;
  esac
}

fetch() {
  local package=$1 version=$2
  (cd "$state/debs" && apt-get "${options[@]}" -qq download "$package:$arch=$version" >&2)
}

[[ -n $(find "$state/updated" -mtime -1 2>/dev/null) ]] || update

for name in "$@"; do
  package=$(real "$name")
  version=$(version "$package")
  if [[ -z $package || -z $version ]]; then
    echo "the Debian package $name is in none of this machine's apt sources for $arch; is /etc/apt complete?" >&2
    exit 1
  fi
  file=$state/debs/${package}_${version//:/%3a}_$arch.deb
  if [[ ! -f $file ]]; then
    if ! fetch "$package" "$version"; then # the lists may be older than the mirror
      update
      version=$(version "$package")
      fetch "$package" "$version"
      file=$state/debs/${package}_${version//:/%3a}_$arch.deb
    fi
  fi
  rm -rf "${out:?}/$name"
  mkdir -p "$out/$name"
  dpkg-deb -x "$file" "$out/$name"
  echo "$package $version"
done
