#!/usr/bin/env bash
# tools.sh [NAME…]: builds the programs that checks, tests, make farm and benchmarks need beside Kiln, once, into build/tools:
# those that are named, else those that tests need. Each is built in a module of its own, apart from Kiln's.
set -euo pipefail
cd "$(dirname "$0")/.."

versitygw=v1.8.0 # a real S3 server
crane=v0.22.1     # reads registries
staticcheck=v0.7.0 # reads the code

tools=$PWD/build/tools
mkdir -p "$tools"

# tool NAME VERSION PACKAGE WHAT: builds it, unless that version is there.
tool() {
  local stamp=$tools/$1-$2
  [[ ! -x $tools/$1 || ! -e $stamp ]] || return 0
  echo "building $4 ($1 $2), which may take a minute or more the first time"
  GOFLAGS= GOBIN=$tools GOTOOLCHAIN=local go install "$3@$2"
  rm -f "$tools/$1"-v*
  touch "$stamp"
}

[[ $# -gt 0 ]] || set -- versitygw crane
for name; do
  case $name in
    versitygw) tool versitygw "$versitygw" github.com/versity/versitygw/cmd/versitygw "the S3 server for tests" ;;
    crane) tool crane "$crane" github.com/google/go-containerregistry/cmd/crane "the reader of registries for tests" ;;
    staticcheck) tool staticcheck "$staticcheck" honnef.co/go/tools/cmd/staticcheck "the reader of code for checks" ;;
    *) echo "tools.sh: there is no tool $name here: versitygw, crane, staticcheck" >&2; exit 2 ;;
  esac
done
