#!/bin/sh
# run-apt.sh COMMAND...: run apt-get or dpkg, then print what it said.
# It writes to a file, not to the connection: a client that dies would end it half-way with SIGPIPE.
log=$(mktemp) || exit 1
trap 'rm -f -- "$log"' EXIT
"$@" >"$log" 2>&1 </dev/null
status=$?
tail -n 60 -- "$log"
exit "$status"
