#!/bin/sh
# fetch-image.sh URL PART: download URL into the file PART, going on where an earlier try stopped.
# Prints every few seconds how many bytes are there. The caller bounds the time.
set -eu

url=$1
part=$2

curl --fail --location --silent --show-error --proto '=http,https' --proto-redir '=http,https' \
    --connect-timeout 20 --speed-limit 1024 --speed-time 60 --retry 5 --retry-delay 3 --retry-connrefused \
    --continue-at - --output "$part" -- "$url" &
curl=$!

while kill -0 "$curl" 2>/dev/null; do
    sleep 2
    stat -c %s -- "$part" 2>/dev/null || :
done
wait "$curl"
