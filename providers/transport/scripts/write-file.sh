#!/bin/sh
# write-file.sh PATH MODE SIZE: replace PATH by the SIZE bytes on stdin, all or nothing.
# A reader sees the old file or the new one; a cut connection leaves the old one.
set -eu
umask 077
# nobody may read a complaint any more; dying of that would leave the temporary file
trap '' PIPE

folder=$(dirname -- "$1")
# the leading dot keeps it out of interfaces.d, cron.d and their like
temp=$(mktemp -- "$folder/.${1##*/}.XXXXXXXX")
trap 'rm -f -- "$temp"' EXIT
trap 'exit 1' HUP INT TERM

cat >"$temp"
came=$(stat -c %s -- "$temp")
if [ "$came" != "$3" ]; then
    echo "only $came of $3 bytes came" >&2
    exit 1
fi
chmod -- "$2" "$temp"
sync -- "$temp"
mv -fT -- "$temp" "$1"
trap - EXIT
sync -- "$folder"
