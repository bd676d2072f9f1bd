#!/bin/bash
# Stands for `sluice proxy` and `sluice origin` in the tests of the supervisor: reports on descriptor $REPORT.
role=$1
arguments="$*"
ready_fd=$(sed -n 's/.*--ready-fd \([0-9]*\).*/\1/p' <<<"$arguments")

on_term() {
  [ "$MODE" = stubborn ] && { echo "$role asked" >&"$REPORT"; return; }
  echo "$role stopped" >&"$REPORT"
  exit 0
}
trap on_term TERM

echo "$arguments " >&"$REPORT"
[ "$MODE" = "fail-$role" ] && exit 1
if [ "$role" = proxy ]; then
  echo '{"phase":"api","system_api":"127.0.0.1:4243"}' >&"$ready_fd"
  echo '{"phase":"ready","rtmp":"127.0.0.1:4242","http_api":"127.0.0.1:4244","system_api":"127.0.0.1:4243"}' >&"$ready_fd"
  # Crash at the first start only: the port is not yet the real one.
  [ "$MODE" = crash-proxy ] && [[ $arguments != *:4242* ]] && kill -KILL $$
fi
mkfifo "${fifo:=$(mktemp -u)}" && exec {never}<>"$fifo" && rm "$fifo"
while :; do read -r -u "$never"; done
