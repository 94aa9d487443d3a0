#!/bin/sh
# end-download.sh PART: end a download into PART (fetch-image.sh) whose client has gone. None: nothing is done.
set -eu

[ -e "$1.lock" ] || exit 0
exec 9<"$1.lock"
flock -n 9 && exit 0
# the lock is held by curl itself as long as it lives, so the number is no other process's
kill -- "$(cat -- "$1.lock")" 2>/dev/null || :
flock -w 60 9
