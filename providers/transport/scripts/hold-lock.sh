#!/bin/sh
# hold-lock.sh LOCK HOLDER WAIT IDLE: hold the file LOCK until stdin ends or is silent for IDLE seconds.
# Prints "waiting <holder>" when another holds it, then "locked", or "held <holder>" after WAIT seconds.
set -eu
umask 077

exec 9>>"$1"
if ! flock -n 9; then
    printf 'waiting %s\n' "$(head -n 1 -- "$1")"
    if ! flock -w "$3" 9; then
        printf 'held %s\n' "$(head -n 1 -- "$1")"
        exit 1
    fi
fi
printf '%s, process %s on the host\n' "$2" "$$" >"$1"
echo locked
# the client sends a dot now and then: one that lost its power frees the lock too
while [ -n "$(timeout "$4" dd bs=1 count=1 2>/dev/null 9>&-)" ]; do :; done
: >"$1"
