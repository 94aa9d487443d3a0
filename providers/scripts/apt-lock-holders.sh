#!/bin/sh
# apt-lock-holders.sh: print a line for each process that holds a lock of apt's or dpkg's.
set -eu
lslocks --noheadings --raw --notruncate --output PID,PATH |
    while read -r pid path; do
        case $path in
        /var/lib/dpkg/lock-frontend | /var/lib/dpkg/lock | /var/lib/apt/lists/lock | /var/cache/apt/archives/lock) ;;
        *) continue ;;
        esac
        # ended since: then it holds nothing
        command=$(tr '\0\n' '  ' <"/proc/$pid/cmdline") || continue
        printf 'process %s (%.200s)\n' "$pid" "${command% }"
    done 2>/dev/null | sort -u
