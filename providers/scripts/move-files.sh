#!/bin/sh
# move-files.sh away|back|check FOLDER KEPT NAME...: rename files of FOLDER into KEPT, below it, or back.
# What has been moved is passed over; so is what is in neither. One that is in both: exit status 1, nothing moved.
# A rename never copies: FOLDER and KEPT are on one file system, or nothing is done.
set -eu
umask 077
direction=$1 folder=$2 kept=$3
shift 3

fail() {
    printf '%s\n' "$*" >&2
    exit 1
}

there() { [ -e "$1" ] || [ -L "$1" ]; }

for name; do
    ! there "$folder/$name" || ! there "$kept/$name" || fail "$folder/$name and $kept/$name are both there"
done
[ "$direction" != check ] || exit 0
if [ "$direction" = away ]; then
    from=$folder to=$kept
    parent=${kept%/*}
    [ -d "$parent" ] || mkdir -- "$parent"
    [ -d "$kept" ] || mkdir -- "$kept"
    # nobody but root may come at what is kept
    [ "$(realpath -e -- "$kept")" = "$kept" ] && [ "$(stat -c '%u %a' -- "$parent")" = '0 700' ] ||
        fail "$parent must be a folder that only root can use, without links in its path"
else
    [ -d "$kept" ] || exit 0
    from=$kept to=$folder
fi
[ "$(stat -c %d -- "$folder")" = "$(stat -c %d -- "$kept")" ] ||
    fail "$folder and $kept are on two file systems"
for name; do
    ! there "$from/$name" || mv -T -- "$from/$name" "$to/$name"
done
sync -- "$folder" "$kept"
if [ "$direction" = back ]; then
    rmdir -- "$kept" "${kept%/*}" 2>/dev/null || :
fi
