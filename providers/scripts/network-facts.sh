#!/bin/sh
# What a change of the bridge $1 on the port $2 must know of this host. With "probe" as $3 also whether the
# gateway and libvirt answer now, which takes up to two seconds when they do not.
#
# A line per fact: key, base64 of its value, and for files the path. Changes nothing.
set -u
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin
LC_ALL=C
export PATH LC_ALL
exec </dev/null

bridge=$1
port=$2

# The value is on stdin.
fact() { printf '%s %s %s\n' "$1" "$(base64 -w 0)" "${2:-}"; }

# Runs a command; a host without it has not that fact.
fact_of() {
    key=$1
    shift
    ! command -v "$1" >/dev/null || "$@" 2>/dev/null | fact "$key"
}

files_below() { # key, folder, find(1) arguments
    key=$1 folder=$2
    shift 2
    [ ! -d "$folder" ] || find -L "$folder" -type f "$@" 2>/dev/null | sort | while read -r path; do
        # shellcheck disable=SC2094  # printed, not written
        fact "$key" "$path" <"$path"
        printf '%s' "$(readlink -f "$path")" | fact real "$path"
    done
}

# Scripts that ifupdown runs are no interfaces(5) files.
files_below file /etc/network -not -path '/etc/network/if-*.d/*'
for folder in /etc/netplan /run/netplan /lib/netplan; do
    files_below netplan "$folder" -name '*.yaml'
done

ip -j -d link show | fact links
ip -j address show | fact addresses
ip -j -4 route show | fact routes4
ip -j -6 route show | fact routes6

fact_of ifquery_bridge ifquery --no-mappings "$bridge"
fact_of ifquery_port ifquery --no-mappings "$port"
fact_of configured ifquery --state
for tool in ifup ifdown brctl systemd-run flock unshare timeout; do
    ! command -v "$tool" >/dev/null || printf '%s\n' "$tool"
done | fact tools

if command -v nmcli >/dev/null && [ "$(nmcli -t -f RUNNING general 2>/dev/null)" = running ]; then
    nmcli -t -f DEVICE,STATE device 2>/dev/null | fact networkmanager
fi
if systemctl --quiet is-active systemd-networkd 2>/dev/null; then
    networkctl --no-legend --no-pager list 2>/dev/null | fact networkd
elif systemctl --quiet is-enabled systemd-networkd 2>/dev/null; then
    for folder in /etc/systemd/network /run/systemd/network /usr/local/lib/systemd/network; do
        files_below network "$folder" -name '*.network'
    done
fi

# sudo drops SSH_CONNECTION; the shell above it still has it.
process=$$
while [ "$process" -gt 1 ]; do
    connection=$(tr '\0' '\n' <"/proc/$process/environ" 2>/dev/null | sed -n 's/^SSH_CONNECTION=//p')
    [ -z "$connection" ] || break
    process=$(sed 's/.*) [A-Z] \([0-9]*\).*/\1/' "/proc/$process/stat")
done
printf '%s' "$connection" | fact connection

[ "${3:-}" = probe ] || exit 0

answers() { # address, device
    for _ in 1 2; do
        ! ping -n -q -c 1 -W 1 -I "$2" "$1" >/dev/null 2>&1 || return 0
    done
    return 1
}

if command -v ping >/dev/null; then
    { ip -4 route show default && ip -6 route show default; } | while read -r line; do
        via=$(printf '%s\n' "$line" | sed -n 's/.* via \([^ ]*\).*/\1/p')
        device=$(printf '%s\n' "$line" | sed -n 's/.* dev \([^ ]*\).*/\1/p')
        case "$device" in "$port" | "$bridge") ;; *) continue ;; esac
        [ -z "$via" ] || ! answers "$via" "$device" || printf '%s\n' "$via"
    done | sort -u | fact answering
fi
# libvirt's own notes on running guests, which need no libvirt to read; a disk has a target too.
cards="/<interface /,/<\/interface>/s/.*<target dev='\([^']*\)'.*/\1/p"
for path in /run/libvirt/qemu/*.xml; do
    [ ! -r "$path" ] || sed -n "$cards" "$path" | while read -r device; do
        guest=${path##*/}
        printf '%s %s\n' "$device" "${guest%.xml}"
    done
done | fact domains
# Where only its socket is there, asking starts libvirt: that is an answer too.
for unit in libvirtd virtqemud; do
    if systemctl --quiet is-active "$unit" "$unit.socket" 2>/dev/null &&
        timeout 10 virsh --quiet --connect qemu:///system hostname >/dev/null 2>&1; then
        printf yes | fact libvirt
        break
    fi
done
