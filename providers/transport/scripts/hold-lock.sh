#!/bin/sh
# hold-lock.sh LOCK HOLDER WAIT IDLE: hold the file LOCK until stdin ends or is silent for IDLE seconds.
# The lock's folder is made when it is missing.
# Prints "waiting <holder>" when another holds it, then "locked", or "held <holder>" after WAIT seconds.
set -eu
umask 077

# nobody else may put a file, or a link to one, in the lock's place
folder=${1%/*}
mkdir -m 0700 -- "$folder" 2>/dev/null || [ -d "$folder" ] || mkdir -- "$folder"
if [ -L "$folder" ] || [ "$(stat -c '%u %a' -- "$folder")" != "$(id -u) 700" ] || [ -L "$1" ]; then
    printf '%s must be a folder that only its owner can use, without links in it\n' "$folder" >&2
    exit 1
fi
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
