#!/usr/bin/env bash
# farm.sh up|down: a farm of separate processes on this machine, on loopback, without root: a real S3 server, three
# coordinators with NATS inside, and four builders. Everything it writes is below build/farm: data, logs, and for each
# process a file with its number. `up` starts what does not run, so it can be called again; `down` ends exactly these
# processes and keeps their data. KILN_FARM_PORT moves the ports (7300 and the 90 after it).
# Needs bin/kiln (make build) and build/tools/versitygw (make tools).
set -euo pipefail

cd "$(dirname "$0")/.."
readonly dir=$PWD/build/farm
readonly port=${KILN_FARM_PORT:-7300}
unset KILN_FARM KILN_CREDENTIALS KILN_TEAM KILN_TOKEN KILN_TOKEN_FILE KILN_CACHE KILN_STORE # those of other farms
readonly coordinators=3 builders=4
readonly patience=60 # seconds until a farm that does not come up is given up
readonly s3=127.0.0.1:$((port + 90))
readonly store="s3://kiln/farm?endpoint=http://$s3&region=us-east-1"
export AWS_ACCESS_KEY_ID=kiln-access AWS_SECRET_ACCESS_KEY=kiln-secret-key

fail() { echo "farm: $1" >&2; exit 1; }

# address N: where the API of the Nth coordinator listens.
address() { echo "127.0.0.1:$((port + 10 * ($1 - 1)))"; }

# born PID: when the process started, which tells it from another one that got its number later; nothing if it is gone.
born() { [[ ! -r /proc/$1/stat ]] || sed 's/.*) //' "/proc/$1/stat" 2>/dev/null | awk '$1 != "Z" { print $20 }'; }

# runs NAME: whether the process of that name is the one that this script started.
runs() {
  local pid since
  [[ -e $dir/$1.pid ]] && read -r pid since <"$dir/$1.pid" && [[ -n $since && $(born "$pid") == "$since" ]]
}

# launch NAME COMMAND...: starts it, unless it runs.
launch() {
  local name=$1 pid
  shift
  if runs "$name"; then return; fi
  setsid "$@" >>"$dir/$name.log" 2>&1 </dev/null 7>&- &
  pid=$!
  echo "$pid $(born "$pid")" >"$dir/$name.pid"
}

# await WHAT NAME COMMAND...: waits until the command succeeds while the process of that name runs.
await() {
  local what=$1 name=$2 end=$((SECONDS + patience))
  shift 2
  until "$@" >/dev/null 2>&1; do
    runs "$name" || { tail -n 5 "$dir/$name.log" >&2; fail "$name ended; its log is $dir/$name.log"; }
    ((SECONDS < end)) || fail "after $patience s $what is not so; the logs are in $dir"
    sleep 0.1
  done
}

listens() { (exec 9<>"/dev/tcp/${1%:*}/${1#*:}") 2>/dev/null; }

admin() { KILN_PATIENCE=2s bin/kiln "$@" --farm "$farm" --credentials "$dir/c1/admin.pem"; }

# whole: whether all coordinators vote.
whole() { [[ $(admin farm members | grep -cwE 'voter|leader') -ge $coordinators ]]; }

# works NAME: whether the leader knows the builder.
works() { admin farm status --json | grep -q "\"$1\""; }

# token ROLE NAME: makes a join token, and names the file that it is in: command lines are for everybody to see, and who has a
# coordinator's token can become the farm. The files go when this script ends.
token() {
  (umask 077 && admin farm token --role "$1" --json | sed -n 's/.*"token": *"\([^"]*\)".*/\1/p' >"$dir/$2.token")
  echo "$dir/$2.token"
}

farm=$(for n in $(seq $coordinators); do printf 'https://%s,' "$(address "$n")"; done)
farm=${farm%,}
readonly farm

up() {
  [[ -x bin/kiln ]] || fail "bin/kiln is missing: run make build"
  [[ -x build/tools/versitygw ]] || fail "build/tools/versitygw is missing: run make tools"
  mkdir -p "$dir/s3/kiln"
  if ! runs s3 && listens "$s3"; then fail "something else listens at $s3: set KILN_FARM_PORT to the first of 91 free ports"; fi
  ROOT_ACCESS_KEY=$AWS_ACCESS_KEY_ID ROOT_SECRET_KEY=$AWS_SECRET_ACCESS_KEY \
    launch s3 build/tools/versitygw --port "$s3" --quiet posix "$dir/s3"
  await "the S3 server listens" s3 listens "$s3"

  [[ -e $dir/c1/pki ]] || bin/kiln init --data "$dir/c1" --farm local --id c1 >/dev/null
  local n
  for n in $(seq $coordinators); do
    local join=()
    if ((n > 1)); then
      join=(--join "$(address 1),$(address 2),$(address 3)")
      [[ -e $dir/c$n/pki ]] || join+=(--token-file "$(token coordinator "c$n")")
    fi
    launch "c$n" bin/kiln coordinator --data "$dir/c$n" --id "c$n" --listen "$(address "$n")" --store "$store" "${join[@]}"
    # A first start needs the others one by one; a later one needs two of them together.
    ((n == 1)) && [[ -e $dir/c2/pki ]] || await "coordinator c$n answers" "c$n" admin farm members
  done
  await "three coordinators vote" c1 whole
  for n in $(seq $builders); do
    local join=(--join "$(address 1),$(address 2),$(address 3)")
    [[ -e $dir/b$n/pki ]] || join+=(--token-file "$(token builder "b$n")")
    launch "b$n" bin/kiln builder --data "$dir/b$n" --id "b$n" --slots 2 "${join[@]}"
  done
  for n in $(seq $builders); do
    await "builder b$n takes work" "b$n" works "b$n"
  done
  cat <<END
farm local runs: S3 at $s3, coordinators at ${farm//https:\/\//}, $builders builders; logs and data are in build/farm
next:
  export KILN_FARM=$farm
  export KILN_CREDENTIALS=$dir/c1/admin.pem
  bin/kiln farm status
  bin/kiln build FILE.yml          # any LinuxKit YAML whose images are in a registry
  make farm-down
END
}

# end NAME...: asks these processes to end, and waits until they have.
end() {
  local name pid limit=$((SECONDS + 40)) # builders let running steps end
  for name in "$@"; do
    runs "$name" || continue
    read -r pid _ <"$dir/$name.pid"
    kill "$pid"
    ended+=("$name ($pid)")
  done
  for name in "$@"; do
    while runs "$name"; do
      if ((SECONDS >= limit)); then
        read -r pid _ <"$dir/$name.pid"
        echo "farm: $name did not end in time and is killed" >&2
        kill -KILL "$pid"
      fi
      sleep 0.05
    done
    rm -f "$dir/$name.pid"
  done
}

# names PATTERN: of processes that were started.
names() {
  local file
  for file in "$dir"/$1.pid; do
    [[ ! -e $file ]] || basename "$file" .pid
  done
}

down() {
  local ended=()
  # What others need goes last. Word splitting makes arguments of the names.
  # shellcheck disable=SC2046
  end $(names 'b*') && end $(names 'c*') && end $(names s3)
  if ((${#ended[@]})); then
    echo "ended ${ended[*]}; the data stay in build/farm"
  else
    echo "no farm runs here"
  fi
}

mkdir -p "$dir"
exec 7>"$dir/lock"
flock --nonblock 7 || fail "another make farm or make farm-down is at work here"
trap 'rm -f "$dir"/*.token' EXIT
case ${1:-} in
up) up ;;
down) down ;;
*) fail "usage: deploy/farm.sh up|down" ;;
esac
