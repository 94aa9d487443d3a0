#!/bin/sh
# remove-file.sh PATH: remove PATH for good; exit status 44: no such file.
set -eu
[ -e "$1" ] || [ -L "$1" ] || exit 44
rm -f -- "$1"
sync -- "$(dirname -- "$1")"
