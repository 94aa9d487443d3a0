#!/bin/sh
# machine.sh BRIDGE BASE NAME HOSTNAME CGROUPS CABLE...
#
# Keeps one machine of the testbed: mounts its disk (an overlay on BASE, in the current folder), runs it, starts
# it again when it reboots, and plugs its cables into BRIDGE at each boot. It runs in a mount namespace of its
# own, so that the overlay is gone with its last process. CGROUPS are folders of control groups, one a line, to
# run in. A CABLE is written HOSTSIDE:INSIDE.
set -eu

bridge=$1 base=$2 name=$3 hostname=$4 cgroups=$5
shift 5

REBOOT=133 # systemd-nspawn's exit status for "start me again" with --keep-unit

unplug() {
    for cable in "$@"; do
        # The last boot's network namespace may still be going away, and its cables with it.
        ip link delete "${cable%%:*}" 2>/dev/null || true
    done
}

plug() {
    for cable in "$@"; do
        until ip link set "${cable%%:*}" master "$bridge" up 2>/dev/null; do
            sleep 0.05
        done
    done
}

boot() {
    set --
    for cable in $cables; do
        set -- "$@" "--network-veth-extra=$cable"
    done
    exec systemd-nspawn --quiet --directory=root --machine="$name" --hostname="$hostname" \
        --register=no --keep-unit --boot --console=read-only \
        --bind=/dev/net/tun --capability=all \
        --resolv-conf=off --timezone=off --link-journal=no "$@"
}

echo "$cgroups" | while read -r folder; do
    [ -z "$folder" ] || echo $$ >"$folder/cgroup.procs"
done
mount -t overlay overlay -o "lowerdir=$base,upperdir=upper,workdir=work" root

# systemd-nspawn leaves its lock file behind when it is killed: remember its name, and remove the last one's.
locks=/run/systemd/nspawn/locks
[ ! -s nspawn-lock ] || rm -f "$locks/$(cat nspawn-lock)"
stat --format=inode-%d:%i root >nspawn-lock

cables=$*
machine=
trap '[ -z "$machine" ] || kill -TERM "$machine" 2>/dev/null || true' TERM
while :; do
    unplug "$@"
    plug "$@" &
    plugger=$!
    boot &
    machine=$!
    status=$REBOOT
    # A signal interrupts the wait: go on until the machine has really ended.
    while kill -0 "$machine" 2>/dev/null; do
        wait "$machine" && status=0 || status=$?
    done
    kill "$plugger" 2>/dev/null || true
    [ "$status" -eq "$REBOOT" ] || exit "$status"
done
