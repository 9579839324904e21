#!/usr/bin/env bash
# tools.sh: builds the programs that tests, make farm and benchmarks need beside Kiln, once, into build/tools.
set -euo pipefail
cd "$(dirname "$0")/.."

versitygw=v1.8.0 # a real S3 server

tools=$PWD/build/tools
stamp=$tools/versitygw-$versitygw
if [[ -x $tools/versitygw && -e $stamp ]]; then exit 0; fi
mkdir -p "$tools"
echo "building the S3 server for tests (VersityGW $versitygw), which takes a minute or more the first time"
GOFLAGS= GOBIN=$tools GOTOOLCHAIN=local go install "github.com/versity/versitygw/cmd/versitygw@$versitygw"
rm -f "$tools"/versitygw-v*
touch "$stamp"
