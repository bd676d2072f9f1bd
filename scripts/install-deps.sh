#!/usr/bin/env bash
# Installs what Sluice needs on Debian 12 and is not there yet. Without arguments everything; else the named groups:
#   scripts/install-deps.sh [build] [demo] [test] [bench] [develop]
# Installing needs root: as another user it goes through sudo where there is one, and else says what to run.
set -euo pipefail

# `make` is not among them: whoever calls this through the Makefile has it.
declare -A groups=(
  [build]="clang-19 lld-19 cmake ninja-build ccache git pkg-config
           libboost1.81-dev libboost-json1.81-dev libboost-url1.81-dev libssl-dev libfmt-dev
           libcli11-dev libyaml-cpp-dev libexpected-dev libgtest-dev libgmock-dev"
  [demo]="ffmpeg fonts-dejavu-core"
  [test]="libclang-rt-19-dev librapidcheck-dev python3 python3-jsonschema python3-pytest python3-pytest-xdist python3-redis python3-requests python3-yaml
          procps iproute2 curl
          chromium fonts-dejavu-core ffmpeg rtmpdump gstreamer1.0-tools gstreamer1.0-plugins-base gstreamer1.0-plugins-good
          gstreamer1.0-plugins-bad nginx libnginx-mod-rtmp redis-server redis-sentinel redis-tools openssl python3-aiortc python3-av srt-tools"
  [bench]="haproxy libbenchmark-dev python3 nginx libnginx-mod-rtmp libnginx-mod-stream srt-tools"
  [develop]="clang-format-19 clang-tidy-19 valgrind"
)

wanted=()
for group in "${@:-build demo test bench develop}"; do
  for name in $group; do
    [[ -v "groups[$name]" ]] || { echo "install-deps: unknown group $name (there are: ${!groups[*]})" >&2; exit 2; }
    # shellcheck disable=SC2206  # the words are package names
    wanted+=(${groups[$name]})
  done
done

# A machine may come with a newer Node, whose package conflicts with Debian's npm.
[[ " ${*:-build} " != *" build "* ]] || command -v npm >/dev/null || wanted+=(nodejs npm)

missing=()
for package in $(printf '%s\n' "${wanted[@]}" | sort -u); do
  status=$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null || true)
  [ "$status" = installed ] || missing+=("$package")
done
if [ ${#missing[@]} -eq 0 ]; then
  exit 0
fi

install=(env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "${missing[@]}")
echo "install-deps: missing: ${missing[*]}"
if [ "$(id -u)" -eq 0 ]; then
  apt-get update -q
  "${install[@]}"
elif command -v sudo >/dev/null; then
  sudo apt-get update -q
  sudo "${install[@]}"
else
  echo "install-deps: installing needs root, and there is no sudo. Run as root:" >&2
  echo "  apt-get update && apt-get install -y --no-install-recommends ${missing[*]}" >&2
  exit 1
fi
