#!/usr/bin/env bash
# Builds the player page of web/ into build/web (dist, and beside each text a .gz): once for a checkout, whatever the presets. CMake
# calls it when it configures. Nothing is done if the inputs are those of the last time; packages are fetched only if web/package-lock.json
# changed or web/node_modules is gone.
#   scripts/build-web.sh --test        only runs the unit tests of web/
#   scripts/build-web.sh --packages    only fetches what tests/web needs to drive a browser
set -euo pipefail
cd "$(dirname "$0")/.."
out=$PWD/build/web
mkdir -p "$out"
exec 9>"$out/lock"
flock 9  # two presets may be configured at once

# Fetches the packages of a folder, unless those of its lock file are there.
packages() {
  local lock
  lock=$(sha256sum <"$1/package-lock.json")
  [ "$(cat "$1/node_modules/.sluice-lock" 2>/dev/null)" != "$lock" ] || return 0
  command -v npm >/dev/null || {
    echo "build-web: npm is missing (Node 18 or newer): scripts/install-deps.sh build" >&2
    return 1
  }
  (cd "$1" && npm ci --ignore-scripts --no-audit --no-fund --prefer-offline --loglevel=error) >&2
  printf '%s\n' "$lock" >"$1/node_modules/.sluice-lock"
}

case ${1:-} in
  --test)
    packages web
    cd web
    exec ./node_modules/.bin/vitest run
    ;;
  --packages)
    packages tests/web
    exit
    ;;
esac

inputs=$(cd web && find . -path ./node_modules -prune -o -path ./dist -prune -o -path ./tests -prune -o -type f ! -name '*.md' -print | LC_ALL=C sort | tr '\n' '\0' |
  xargs -0 sha256sum | cat - ../scripts/build-web.sh | sha256sum)
if [ -f "$out/dist/index.html" ] && [ "$(cat "$out/stamp" 2>/dev/null)" = "$inputs" ]; then
  exit 0
fi
packages web
rm -rf "$out/dist.new"
(cd web && ./node_modules/.bin/tsc --noEmit && ./node_modules/.bin/vite build --outDir "$out/dist.new" --emptyOutDir --logLevel warn)
find "$out/dist.new" -type f -exec gzip -9 -n -k {} +
rm -rf "$out/dist"
mv "$out/dist.new" "$out/dist"
printf '%s\n' "$inputs" >"$out/stamp"
