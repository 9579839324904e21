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
exec 9>"$state/lock"
flock 9

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

# candidate NAME: "package version" of what apt would install; of a meta package's only dependency if it is one.
candidate() {
  local package=$1 record
  record=$(apt-cache "${options[@]}" show --no-all-versions "$package")
  case $package in
    linux-image-cloud-*)
      package=$(sed -n 's/^Depends: \(linux-image-[^ ,]*\).*/\1/p' <<<"$record" | head -n 1)
      record=$(apt-cache "${options[@]}" show --no-all-versions "$package") ;;
  esac
  echo "$package $(sed -n 's/^Version: //p' <<<"$record" | head -n 1)"
}

# fetch PACKAGE VERSION: downloads it unless it is there, and prints the file. apt checks it against the signed lists.
fetch() {
  local name=$state/debs/${1}_${2//:/%3a} file
  for file in "${name}_$arch.deb" "${name}_all.deb"; do # a package may be the same for all
    [[ ! -f $file ]] || { echo "$file"; return; }
  done
  (cd "$state/debs" && apt-get "${options[@]}" -qq download "$1:$arch=$2" >&2) || return 1
  file=${name}_$arch.deb
  [[ -f $file ]] || file=${name}_all.deb
  echo "$file"
}

[[ -n $(find "$state/updated" -mtime -1 2>/dev/null) ]] || update

for name in "$@"; do
  if ! read -r package version < <(candidate "$name") || [[ -z $version ]]; then
    echo "the Debian package $name is in none of this machine's apt sources for $arch; is /etc/apt complete?" >&2
    exit 1
  fi
  if ! file=$(fetch "$package" "$version"); then # the lists may be older than the mirror
    update
    read -r package version < <(candidate "$name")
    file=$(fetch "$package" "$version")
  fi
  if [[ $(cat "$out/$name.unpacked" 2>/dev/null) != "$package $version" ]]; then
    rm -rf "${out:?}/$name"
    mkdir -p "$out/$name"
    dpkg-deb -x "$file" "$out/$name"
    echo "$package $version" >"$out/$name.unpacked"
  fi
  echo "$package $version"
done
