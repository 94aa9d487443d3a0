#!/bin/sh
# fetch-image.sh URL PART: download URL into the file PART, going on where an earlier try stopped.
# Prints every few seconds how many bytes are there. The caller bounds the time.
# PART.lock is held, and has curl's process number in it, as long as curl lives.
set -eu
# nobody may read the numbers any more: a write that fails ends curl, below, where the signal would leave it
trap '' PIPE

url=$1
part=$2

exec 9>>"$part.lock"
if ! flock -n 9; then
    echo "another download into $part is under way" >&2
    exit 1
fi
: >"$part.lock"
curl --fail --location --silent --show-error --proto '=http,https' --proto-redir '=http,https' \
    --connect-timeout 20 --speed-limit 1024 --speed-time 60 --retry 5 --retry-delay 3 --retry-connrefused \
    --continue-at - --output "$part" -- "$url" &
curl=$!
echo "$curl" >"$part.lock"
exec 9>&-
trap 'kill "$curl" 2>/dev/null || :' EXIT
trap 'exit 1' HUP INT TERM

while kill -0 "$curl" 2>/dev/null; do
    sleep 2
    if [ -e "$part" ]; then
        stat -c %s -- "$part"
    fi
done
wait "$curl"
