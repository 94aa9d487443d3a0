#!/bin/sh
# Who is on the bridge $1 of this host: its ports, the MAC addresses it has learned, libvirt's domains.
#
# A line per fact: key, base64 of its value. Changes nothing.
set -u
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin
LC_ALL=C
export PATH LC_ALL
exec </dev/null

# The value is on stdin.
fact() { printf '%s %s \n' "$1" "$(base64 -w 0)"; }

ask_libvirt() { # seconds, virsh's arguments
    limit=$1
    shift
    timeout "$limit" virsh --quiet --connect qemu:///system "$@"
}

ip -j -d link show | fact links
[ ! -d "/sys/class/net/$1/bridge" ] || bridge -j -s fdb show br "$1" | fact learned

if ! command -v virsh >/dev/null; then
    printf 'libvirt is not installed' | fact silent
    exit 0
fi
# an idle daemon has ended, and is started by its socket
if ! said=$(ask_libvirt 6 domstats --raw --state 2>&1); then
    printf '%s' "${said:-libvirt did not answer within 6 s}" | fact silent
    exit 0
fi
printf '%s' "$said" | fact states
# one command for all of them: a connection to libvirt for each would take seconds
asked=$(ask_libvirt 3 list --all --uuid 2>/dev/null |
    sed -n 's/^ *\([0-9a-f-]\{36\}\) *$/dumpxml --domain \1/p' | paste -s -d ';')
[ -z "$asked" ] || ask_libvirt 3 "$asked" 2>/dev/null | fact domains
