#!/bin/sh
# Removes what finished changes of the network have left in the folder $1; a pending one stays.
set -eu
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin
[ -d "$1" ] || exit 0
exec 9>>"$1/lock"
flock -w 30 9
[ -e "$1/transaction/settings" ] || rm -rf -- "$1"
