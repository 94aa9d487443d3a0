#!/bin/sh
# One change of a host's network, that either is confirmed from outside or undoes itself.
#
# The client unpacks a folder beside this script's final place and runs it in this order:
#
#   stage    check that the files are still those that were read, keep copies, take the one place there is
#   arm      a monotonic timer and a boot-time unit, both of which undo the change; nothing is touched before
#   apply    the change itself, detached from the connection that asked for it
#   confirm  asked for over a new connection once the client has seen that the host answers
#
# and, whoever is first: rollback (by the timer, by a failed apply, by hand), boot-restore (after a power cut).
# status tells where it stands; settle ends what only has to be ended, and lets the host roll back what its
# client left; abandon lets the host roll back at once. What takes the network apart never runs on the
# connection that asks for it: that may be what breaks.
#
# The folder ($here):
#   settings    what the client asks for, as assignments
#   manifest    a line per file: number, path
#   old/ new/   what the client read and what it wants, by number; kept/ is made here with owner and mode
#   live undo   commands of a change that takes nothing down, and those that take it back
#   bridge-loop.sh  looks whether a further port of the bridge would make a loop
#   record      the claims on the bridge as they are once this is confirmed; none: nobody claims it then
#   pending     the verdict is the name of this empty file: pending, confirmed, rolling-back, rolled-back.
#               It changes by rename, under a lock: one of confirm and rollback wins, and a full disk
#               cannot stop it.
#   unrestored  is there when the rollback could not put back every file: it is tried again at the next boot
#   journal     a line per phase: seconds since boot, phase
#   log         what the commands of the change printed; undo.log: those of the rollback
#
# Exit status: 0 done, 1 not done (the reason is on stderr), 3 another change is pending.
set -u
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin
LC_ALL=C
export PATH LC_ALL
umask 077
# A client that is gone must not end a step half-way by what it would have been told.
trap '' PIPE

here=$(cd "$(dirname "$0")" && pwd) || exit 1
base=${here%/*}
transaction=$base/transaction
last=$base/last
unit_folder=/etc/systemd/system
boot_unit=kvm-lab-network-restore.service
boot_wants=$unit_folder/sysinit.target.wants

# How long one ifdown of a change may take; the timer bounds the whole apply anyway. A rollback must bring the host
# back soon: all its ifdowns together have this long, and its ifups are waited for this long.
command_limit=20
undo_down_limit=5
undo_up_limit=8

# A client that has staged and not armed within this time has gone away.
staged_limit=20

# id and stack of the change; kind: activate or live; the bridge, and the hardware address to make it with;
# the port that leaves it; the further ports that join it, and the interface that leads where it is already; seconds
# until the timer; interfaces to take down and to bring up, in order; every interface to compare; where the record
# belongs.
id='' stack='' kind='' bridge='' hardware='' leaving='' joining='' uplink='' timeout=60 down='' up='' names=''
record=''

say() { printf 'network-transaction: %s\n' "$*" >&2; }

fail() {
    say "$@"
    exit 1
}

uptime_seconds() {
    read -r seconds _ </proc/uptime
    printf '%s\n' "${seconds%%.*}"
}

load_settings() {
    # shellcheck source=/dev/null  # written by the client, quoted
    . "$1/settings"
}

# Everything that decides about the verdict or the place runs under this lock.
try_lock() { # seconds to wait
    exec 9>>"$base/lock" || fail "cannot open $base/lock"
    flock -w "$1" 9
}

take_lock() { try_lock "$1" || fail "another step of a network change is still running"; }

# Holding the lock: another step may have ended this change, and another client taken its place meanwhile.
still_there() {
    mine=$id
    [ -e "$here/settings" ] && load_settings "$here" && [ "$id" = "$mine" ]
}

# The lock for a step of this change.
take_own_lock() { # exit status if it is over
    take_lock 60
    still_there || { say "the change is over"; exit "$1"; }
}

drop_lock() { exec 9>&-; }

verdict_of() {
    for name in pending confirmed rolling-back rolled-back; do
        if [ -e "$1/$name" ]; then
            printf '%s\n' "$name"
            return
        fi
    done
}

set_verdict() { # folder, from, to
    mv "$1/$2" "$1/$3" && sync "$1"
}

set_deadline() { # seconds from now
    printf '%s %s\n' "$(cat /proc/sys/kernel/random/boot_id)" "$(($(uptime_seconds) + $1))" >"$here/deadline" &&
        sync "$here/deadline"
}

seconds_left() {
    read -r boot deadline 2>/dev/null <"$here/deadline" || boot=''
    if [ "$boot" = "$(cat /proc/sys/kernel/random/boot_id)" ]; then
        printf '%s\n' "$((deadline - $(uptime_seconds)))"
    else
        printf '%s\n' -1000
    fi
}

phase_of() { tail -n 1 "$1/journal" 2>/dev/null | cut -d ' ' -f 2; }

note_phase() {
    printf '%s %s\n' "$(uptime_seconds)" "$1" >>"$here/journal"
}

enter_phase() {
    note_phase "$1" && sync "$here/journal"
}

note_reason() {
    [ -s "$here/reason" ] || printf '%s\n' "$1" >"$here/reason" 2>/dev/null || true
}

# --- files -----------------------------------------------------------------------------------------------

# Calls "$1 number path" for every file of the change; stops at the first that fails.
each_file() {
    while read -r number path; do
        "$1" "$number" "$path" </dev/null || return 1
    done <"$here/manifest"
}

# Every old file that can be put back is; exit status 1 when one could not.
restore_files() {
    missed=0
    while read -r number path; do
        swap_back "$number" "$path" </dev/null || missed=1
    done <"$here/manifest"
    if [ "$missed" = 0 ]; then
        rm -f "$here/unrestored"
    else
        : >"$here/unrestored"
        return 1
    fi
}

beside() { # path, suffix: a name that no source pattern of interfaces(5) matches
    printf '%s/.kvm-lab-%s.%s\n' "${1%/*}" "${1##*/}" "$2"
}

unchanged() { # number, path
    cmp -s "$here/old/$1" "$2" || { say "$2 has changed since it was read"; return 1; }
}

keep_file() { # number, path
    cp -a "$2" "$here/kept/$1" && sync "$here/kept/$1"
}

place_beside() { # number, path: the old file again, so that a full disk cannot stop its return
    new=$(beside "$2" new) old=$(beside "$2" old)
    cp -a "$2" "$old" && cp -a "$2" "$new" && sync "$old" &&
        cat "$here/new/$1" >"$new" && sync "$new" && sync "${2%/*}"
}

swap_in() { # number, path
    mv -f "$(beside "$2" new)" "$2" && sync "${2%/*}"
}

swap_back() { # number, path
    old=$(beside "$2" old)
    if cmp -s "$here/kept/$1" "$2"; then
        rm -f "$old"
    elif cmp -s "$here/kept/$1" "$old"; then
        mv -f "$old" "$2"
    else
        rm -f "$old"
        cp -a "$here/kept/$1" "$old" && sync "$old" && mv -f "$old" "$2"
    fi || { say "could not restore $2: its copy is $here/kept/$1"; return 1; }
    rm -f "$(beside "$2" new)"
    sync "${2%/*}"
}

drop_beside() { # number, path
    rm -f "$(beside "$2" new)" "$(beside "$2" old)"
}

is_wanted() { # number, path
    cmp -s "$here/new/$1" "$2" || { say "$2 is not what was staged"; return 1; }
}

# --- units -----------------------------------------------------------------------------------------------

timer_unit() { printf 'kvm-lab-network-rollback-%s\n' "$id"; }

apply_unit() { printf 'kvm-lab-network-apply-%s\n' "$id"; }

undo_unit() { printf 'kvm-lab-network-undo-%s\n' "$id"; }

ifup_unit() { printf 'kvm-lab-network-ifup-%s\n' "$id"; }

# KillMode=process: what ifup starts (a DHCP client) belongs to the interface and stays.
run_detached() { # unit, step, arguments; returns once it runs
    unit=$1
    shift
    systemd-run --quiet --collect --unit="$unit" --property=KillMode=process \
        /bin/sh "$here/transaction.sh" "$@" 9>&-
}

unit_runs() { systemctl --quiet is-active "$1.service"; }

write_boot_unit() {
    cat >"$unit_folder/$boot_unit" <<UNIT || return 1
[Unit]
Description=Put back the network configuration that nobody confirmed
Documentation=man:interfaces(5)
DefaultDependencies=no
Wants=network-pre.target
Before=network-pre.target networking.service
After=local-fs.target
RequiresMountsFor=$transaction /etc/network
ConditionPathExists=$transaction/settings

[Service]
Type=oneshot
ExecStart=/bin/sh $transaction/transaction.sh boot-restore

[Install]
WantedBy=sysinit.target
UNIT
    chmod 0644 "$unit_folder/$boot_unit"
    [ -d "$boot_wants" ] || mkdir -m 0755 "$boot_wants" || return 1
    ln -sf "$unit_folder/$boot_unit" "$boot_wants/$boot_unit" || return 1
    sync "$unit_folder/$boot_unit" && sync "$boot_wants" && sync "$unit_folder"
}

remove_boot_unit() {
    rm -f "$boot_wants/$boot_unit" "$unit_folder/$boot_unit"
    rmdir "$boot_wants" 2>/dev/null
    sync "$unit_folder"
}

# Its ifups run in a unit of their own: what is left of an ifdown that hung goes with this one.
start_timer() {
    systemd-run --quiet --collect --unit="$(timer_unit)" \
        --on-active="$timeout" --timer-property=AccuracySec=1s \
        /bin/sh "$transaction/transaction.sh" rollback "$id" "not confirmed within $timeout s"
}

timer_runs() { systemctl --quiet is-active "$(timer_unit).timer"; }

stop_timer() { systemctl --quiet stop "$(timer_unit).timer" 2>/dev/null; }

disarm() {
    stop_timer
    remove_boot_unit
}

# --- the network -----------------------------------------------------------------------------------------

# Without the lock: what ifup leaves running (a DHCP client) would hold it for ever.
bounded() { # seconds, command
    limit=$1
    shift
    timeout -k 1 "$limit" "$@" </dev/null 9>&-
}

# A port that was never configured has no stanza: ifupdown fails with it.
has_stanza() { ifquery --no-mappings "$1" >/dev/null 2>&1; }

members() { # bridge
    for port in "/sys/class/net/$1/brif/"*; do
        [ ! -e "$port" ] || printf '%s\n' "${port##*/}"
    done
}

# shellcheck disable=SC2086  # lists of interface names
devices() { printf '%s\n' $down $up "$bridge" | sort -u; }

reversed() {
    result=''
    for word in "$@"; do result="$word $result"; done
    printf '%s\n' "$result"
}

listed() { # word, list
    case " $2 " in *" $1 "*) true ;; *) false ;; esac
}

master_of() { # interface; nothing when it is in no bridge or bond
    ! master=$(readlink "/sys/class/net/$1/master") || printf '%s\n' "${master##*/}"
}

is_up() { [ "$(($(cat "/sys/class/net/$1/flags") & 1))" = 1 ]; }

routes_on() { ip -4 route show dev "$1" | sed 's/ *$//'; }

# What the kernel has before the change, to return to when ifupdown cannot.
take_snapshot() {
    mkdir -p "$here/before" || return 1
    [ -d "/sys/class/net/$bridge" ] && : >"$here/before/bridge"
    members "$bridge" >"$here/before/members" || return 1
    for device in $(devices); do
        [ -d "/sys/class/net/$device" ] || continue
        ip -4 address save dev "$device" >"$here/before/$device.4" || return 1
        ip -6 address save dev "$device" scope global permanent >"$here/before/$device.6" || return 1
        routes_on "$device" >"$here/before/$device.routes" || return 1
        ip -4 route save table all dev "$device" >"$here/before/$device.routes4" || return 1
        ip -6 route save table all dev "$device" >"$here/before/$device.routes6" || return 1
        master_of "$device" >"$here/before/$device.master" || return 1
        ! is_up "$device" || : >"$here/before/$device.up" || return 1
    done
    # of all interfaces; one of a guest may vanish meanwhile
    for file in /proc/sys/net/ipv6/conf/*/addr_gen_mode; do
        device=${file%/*}
        cat "$file" >"$here/before/${device##*/}.mode" || [ ! -e "$file" ] || return 1
    done 2>/dev/null
}

# The bridge is made while the port still works: bridge-utils' own way sleeps a second in the outage.
# It takes the address of the port whose place it takes (the stanza's bridge_hw says the same).
prepare_bridge() {
    [ -z "$hardware" ] || [ -d "/sys/class/net/$bridge" ] ||
        ip link add name "$bridge" address "$hardware" type bridge
}

take_down() {
    for device in $down; do
        if [ ! -d "/sys/class/net/$device" ]; then
            # only ifupdown believes that it is there
            bounded "$command_limit" ifdown --force --ignore-errors "$device"
            continue
        fi
        if has_stanza "$device"; then
            bounded "$command_limit" ifdown "$device" || { say "ifdown $device failed"; return 1; }
        fi
        # Addresses that ifupdown did not put there (or does not remember) must not stay beside the bridge's.
        [ ! -d "/sys/class/net/$device" ] && continue
        ip address flush dev "$device" scope global && ip link set dev "$device" down || return 1
    done
}

# bridge-utils switches a port's link-local address off and never on again. Switched on, a card that is down gets one
# at once, and it is one too many.
set_address_mode() { # interface, file with the mode
    cat "$2" >"/proc/sys/net/ipv6/conf/$1/addr_gen_mode" || return 1
    is_up "$1" || ip -6 address flush dev "$1" scope link
}

leave_bridge() {
    [ -n "$leaving" ] || return 0
    if listed "$bridge" "$up"; then
        [ "$(master_of "$leaving")" != "$bridge" ] || ip link set dev "$leaving" nomaster || return 1
    elif [ -d "/sys/class/net/$bridge/bridge" ]; then
        ip link delete dev "$bridge" || return 1
    fi
    [ ! -e "/proc/sys/net/ipv6/conf/$leaving" ] ||
        set_address_mode "$leaving" /proc/sys/net/ipv6/conf/default/addr_gen_mode
}

bring_up() {
    for device in $up; do
        ! ifquery --state "$device" >/dev/null 2>&1 || ifdown --force --ignore-errors "$device" || true
        # Unbounded: the timer is the bound, and it kills the whole unit.
        ifup "$device" </dev/null || { say "ifup $device failed"; return 1; }
    done
}

enslave() { # interface, bridge or bond: unless it is in one already
    if [ ! -d "/sys/class/net/$1" ] || [ ! -d "/sys/class/net/$2" ] || [ -e "/sys/class/net/$1/master" ]; then
        return 0
    fi
    ip link set dev "$1" master "$2" up
}

# The bridge's ports are in it again, and what was taken down is where it was: ifup may have made it anew.
reattach() { # the port that shall not
    while read -r port; do
        [ "$port" = "$1" ] || enslave "$port" "$bridge" || return 1
    done <"$here/before/members"
    for device in $(devices); do
        [ -s "$here/before/$device.master" ] && [ "$device" != "$1" ] || continue
        enslave "$device" "$(cat "$here/before/$device.master")" || return 1
    done
}

# Within the outage the journal is not synced: after a power cut boot-restore puts the files back whatever
# the phase, and only a rollback in the same boot reads it.
activate() {
    enter_phase down && prepare_bridge && take_down && leave_bridge &&
        note_phase swap && each_file swap_in &&
        note_phase up && bring_up && reattach "$leaving" && sh -eu "$here/live"
}

# Nothing is changed yet, and nothing forwarded: a loop would take everybody's network down, not just this host's.
look_for_loops() {
    # shellcheck disable=SC2086  # a list of interface names
    [ -z "$joining" ] || sh "$here/bridge-loop.sh" look "$here/before" "$uplink" $joining >"$here/notes"
}

change_live() {
    enter_phase swap && each_file swap_in && enter_phase live && sh -eu "$here/live"
}

change_network() {
    enter_phase prepare && each_file place_beside && take_snapshot && look_for_loops || return 1
    if [ "$kind" = activate ]; then activate; else change_live; fi
}

# Whatever stands now, as far down as it goes, with the files that are in place.
take_apart() {
    until=$(($(uptime_seconds) + undo_down_limit))
    # shellcheck disable=SC2046,SC2086  # lists of interface names
    for device in $(reversed $up) $down; do
        has_stanza "$device" || continue
        left=$((until - $(uptime_seconds)))
        bounded "$((left > 1 ? left : 1))" ifdown --force --ignore-errors "$device" ||
            say "ifdown $device failed: going on without it"
    done
    if [ ! -e "$here/before/bridge" ] && [ -d "/sys/class/net/$bridge/bridge" ]; then
        ip link delete dev "$bridge" || true
    fi
    for device in $up $down; do
        if [ ! -d "/sys/class/net/$device" ] || [ ! -e "$here/before/$device.4" ]; then continue; fi
        ip address flush dev "$device" scope global || true
        if [ "$(master_of "$device")" = "$bridge" ] && ! grep -qx "$device" "$here/before/members"; then
            ip link set dev "$device" nomaster || true
        fi
        [ ! -s "$here/before/$device.mode" ] || set_address_mode "$device" "$here/before/$device.mode" || true
    done
}

# What the old files gave now and the kernel had otherwise before: another default route is in the way of it.
drop_new_routes() { # device
    routes_on "$1" | while read -r route; do
        # shellcheck disable=SC2086  # a route is several words
        grep -qxF -- "$route" "$here/before/$1.routes" || ip -4 route delete $route dev "$1"
    done
}

# In a unit of its own and unbounded: ended with its ifup, a DHCP client would never renew the address. Restoring
# the kernel's state beside a running ifup would make that fail: it is waited for, but not for ever.
ifup_again() {
    if ! run_detached "$(ifup_unit)" ifup-now "$id"; then
        say "systemd-run does not start ifup: putting back what the kernel had"
        return
    fi
    waited=0
    while unit_runs "$(ifup_unit)" && [ "$waited" -lt "$((undo_up_limit * 5))" ]; do
        sleep 0.2
        waited=$((waited + 1))
    done
    ! unit_runs "$(ifup_unit)" || say "ifup goes on by itself: putting back what the kernel had meanwhile"
}

ifup_now() {
    # the folder may be archived meanwhile: its file stays open
    exec >>"$here/undo.log" 2>&1 </dev/null
    # shellcheck disable=SC2046,SC2086  # lists of interface names
    for device in $(reversed $down); do
        has_stanza "$device" || continue
        ifup "$device" || say "ifup $device failed"
    done
}

# The old files are in place: as ifupdown does it, then whatever it left out.
put_together() {
    # shellcheck disable=SC2086  # a list of interface names
    again=$(reversed $down)
    ifup_again
    reattach '' || true
    for device in $again; do
        [ -d "/sys/class/net/$device" ] || continue
        [ -e "$here/before/$device.routes" ] || continue
        if [ ! -e "$here/before/$device.up" ]; then
            ip link set dev "$device" down || true
            continue
        fi
        ip link set dev "$device" up || true
        drop_new_routes "$device"
        ip address restore <"$here/before/$device.4" || true
        ip address restore <"$here/before/$device.6" || true
        ip route restore <"$here/before/$device.routes4" || true
        ip route restore <"$here/before/$device.routes6" || true
    done 2>/dev/null
}

# Each by itself; one that fails is said only: where a change stopped half-way there is nothing to take back.
take_back() {
    while IFS= read -r line; do
        sh -uc "$line" undo "$here/before" </dev/null || say "could not take back: $line"
    done <"$here/undo"
}

# Exit status 1 when a file could not be put back; the kernel is mended all the same.
undo_network() {
    restored=0
    sh "$here/bridge-loop.sh" clean "$here/before"
    case $(phase_of "$here") in
        '' | staged | armed | prepare) restore_files || restored=1 ;;
        *)
            [ "$kind" != activate ] || take_apart
            restore_files || restored=1
            [ "$kind" != activate ] || put_together
            take_back
            ;;
    esac
    return "$restored"
}

# --- the end of a change ---------------------------------------------------------------------------------

# The claims follow the verdict, whenever the client dies.
store_record() {
    if [ ! -e "$here/record" ]; then
        rm -f "$record"
        return
    fi
    mkdir -p "${record%/*}" && cp "$here/record" "$record.new" && sync "$record.new" &&
        mv -f "$record.new" "$record" && sync "${record%/*}"
}

archive() {
    rm -rf "$last"
    mv "$transaction" "$last" && sync "$base"
}

# Under another name first: a power cut leaves no half folder in the place.
drop_folder() { # folder
    mv "$1" "$base/junk-$$" && sync "$base"
    rm -rf "$base"/junk-*
}

# Holding the lock; the verdict stands, and what follows from it is on disk before anything is disarmed.
finish() { # what disarms
    [ "$here" = "$transaction" ] || return 0
    case $(verdict_of "$here") in
        confirmed) each_file drop_beside && store_record || return 1 ;;
        rolling-back) set_verdict "$here" rolling-back rolled-back || return 1 ;;
    esac
    "$1"
    archive
}

stop_apply() {
    systemctl kill --signal=KILL "$(apply_unit).service" 2>/dev/null || return 0
    for _ in 1 2 3 4 5 6 7 8 9 10; do
        unit_runs "$(apply_unit)" || return 0
        sleep 0.2
    done
}

# Holding the lock; $1 is the reason, $2 says who asks: an apply must not kill itself. When a file could not be
# put back the verdict stays, and so does the boot-time unit: the next boot and the next run try again.
roll_back() {
    [ "$(verdict_of "$here")" != pending ] || set_verdict "$here" pending rolling-back || return 1
    note_reason "$1"
    [ "$2" = apply ] || stop_apply
    if undo_network >>"$here/undo.log" 2>&1; then
        finish disarm
    else
        stop_timer
        return 1
    fi
}

# Holding the lock: frees the place of a change whose client went away and that nothing else will end.
clear_place() {
    [ -d "$transaction" ] || return 0
    # what a power cut has left of a folder that was never armed
    [ -e "$transaction/settings" ] || { drop_folder "$transaction"; return; }
    drop_lock
    sh "$transaction/transaction.sh" settle || exit
    take_lock 30
    [ ! -d "$transaction" ] || fail "an earlier change is not settled: see $transaction"
}

# --- subcommands -----------------------------------------------------------------------------------------

stage() {
    take_lock 30
    clear_place
    rm -rf "$base"/junk-*
    for folder in "$base"/incoming-*; do
        [ "$folder" = "$here" ] || rm -rf "$folder"
    done
    mkdir -p "$here/kept" && each_file unchanged && each_file keep_file || exit 1
    : >"$here/pending" || exit 1
    set_deadline "$staged_limit" && enter_phase staged || exit 1
    find "$here" -type f -exec sync {} + || exit 1
    sync "$here/kept" "$here/old" "$here/new" "$here" || exit 1
    mv "$here" "$transaction" && sync "$base" || exit 1
}

# The new files in a mount namespace of its own, where ifquery follows the same source lines as later.
check() {
    ifquery_all >"$here/interfaces.old" || fail "cannot write to $here"
    unshare --mount sh "$0" check-new || exit 1
    sed 's/^/old /' "$here/interfaces.old"
    sed 's/^/new /' "$here/interfaces.new"
}

cover() { # number, path
    mount --bind "$here/new/$1" "$2"
}

check_new() {
    each_file cover || fail "cannot show the new files to ifquery"
    ifquery_all >"$here/interfaces.new" || fail "cannot write to $here"
    for device in $up; do
        ifup --no-act --force --no-mappings "$device" >"$here/no-act" 2>&1 </dev/null || {
            cat "$here/no-act" >&2
            fail "ifup --no-act $device failed with the new files"
        }
    done
}

ifquery_all() {
    for device in $names; do
        printf 'interface: %s\n' "$device"
        ifquery --no-mappings "$device" 2>/dev/null || true
    done
}

# Refuses unless the change is pending and in the phase $1.
expect_phase() {
    take_own_lock 1
    if [ "$(verdict_of "$here")" != pending ] || [ "$(phase_of "$here")" != "$1" ]; then
        fail "the change is not $1 but $(verdict_of "$here"), $(phase_of "$here")"
    fi
}

arm() {
    expect_phase staged
    trap 'disarm' EXIT
    trap 'exit 1' TERM INT HUP
    set_deadline "$timeout" || fail "cannot write to $here"
    write_boot_unit || fail "cannot install $boot_unit"
    start_timer || fail "cannot start the timer"
    timer_runs || fail "the timer does not run"
    [ "$(systemctl is-enabled "$boot_unit")" = enabled ] || fail "$boot_unit is not enabled"
    enter_phase armed || fail "cannot write to $here"
    trap - EXIT
}

apply() {
    expect_phase armed
    run_detached "$(apply_unit)" apply-now "$id"
}

apply_now() {
    expect_phase armed
    # the timer must be able to roll back meanwhile
    drop_lock
    if change_network >>"$here/log" 2>&1 && enter_phase applied; then
        exit 0
    fi
    take_own_lock 1
    [ "$(verdict_of "$here")" = pending ] || exit 1
    roll_back "the change failed in phase $(phase_of "$here")" apply
    exit 1
}

confirm() {
    take_own_lock 1
    case $(verdict_of "$here") in
        confirmed) ;;
        pending)
            [ "$(phase_of "$here")" = applied ] || fail "the change is not applied yet"
            each_file is_wanted || exit 1
            set_verdict "$here" pending confirmed || fail "cannot write to $here"
            ;;
        *) fail "the change was rolled back: $(cat "$here/reason" 2>/dev/null)" ;;
    esac
    finish disarm
}

rollback() {
    take_own_lock 0
    case $(verdict_of "$here") in
        pending | rolling-back) roll_back "${1:-asked for by hand}" other ;;
        *) finish disarm ;;
    esac
}

# For the reason $1; also another try after one that could not put back every file.
abandon() {
    rm -f "$here/unrestored"
    run_detached "$(undo_unit)" rollback "$id" "$1" || unit_runs "$(undo_unit)"
}

# Before networking.service: ifup has not run, only the files count.
boot_restore() {
    take_own_lock 0
    case $(verdict_of "$here") in
        pending | rolling-back)
            [ ! -e "$here/pending" ] || set_verdict "$here" pending rolling-back
            note_reason "the host started again before the change was confirmed"
            restore_files >>"$here/undo.log" 2>&1 || fail "not every file is restored: see $here/undo.log"
            ;;
    esac
    finish remove_boot_unit
}

# For a client that finds this change in its way. Exit status 3, and the status: it is not over yet.
settle() {
    try_lock 2 || { status; exit 3; }
    still_there || exit 0
    case $(verdict_of "$here") in
        pending) settle_pending ;;
        rolling-back)
            # tried, and in vain
            [ ! -e "$here/unrestored" ] || { status; exit 3; }
            undo_later ""
            ;;
        *) finish disarm ;;
    esac
}

settle_pending() {
    # The timer has a second of slack, and rolls back under the lock.
    if [ "$(seconds_left)" -ge -5 ]; then
        status
        exit 3
    elif [ "$(phase_of "$here")" = staged ]; then
        # its client may have gone away while it armed
        disarm
        drop_folder "$here"
    else
        undo_later "its client went away, and its timer too"
    fi
}

undo_later() { # reason
    drop_lock
    abandon "$1" || fail "systemd-run does not start the rollback"
    status
    exit 3
}

status() {
    printf 'id=%s\nstack=%s\nverdict=%s\nphase=%s\nleft=%s\n' \
        "$id" "$stack" "$(verdict_of "$here")" "$(phase_of "$here")" "$(seconds_left)"
    printf 'since=%s\n' "$(date -u -r "$here/settings" '+%Y-%m-%d %H:%M:%S UTC')"
    printf 'reason=%s\n' "$(cat "$here/reason" 2>/dev/null)"
    [ ! -e "$here/unrestored" ] || printf 'unrestored=yes\n'
    [ ! -e "$here/notes" ] || sed 's/^/note=/' "$here/notes"
    {
        tail -n 20 "$here/log"
        sed -n '/^network-transaction: /p' "$here/undo.log"
    } 2>/dev/null | sed 's/^/log=/'
}

# Before anything is armed the client may think better of it.
discard() {
    expect_phase staged
    drop_folder "$here"
}

load_settings "$here"
# A timer of an earlier change finds another one in its place: not its business.
if [ "$#" -ge 2 ] && [ "$2" != "$id" ]; then
    fail "change $2 is over"
fi
case ${1:-} in
    stage) stage ;;
    check) check ;;
    check-new) check_new ;;
    discard) discard ;;
    arm) arm ;;
    apply) apply ;;
    apply-now) apply_now ;;
    ifup-now) ifup_now ;;
    confirm) confirm ;;
    rollback) rollback "${3:-}" ;;
    abandon) abandon "${3:-asked for by the client}" ;;
    boot-restore) boot_restore ;;
    settle) settle ;;
    status) status ;;
    *) fail "unknown step: ${1:-}" ;;
esac
