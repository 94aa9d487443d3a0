#!/bin/sh
# Looks at, and changes, whether packets that a bridge passes on go through the host's firewall.
#
#   facts                                 a line per fact: key, base64 of its value, and for files the path
#   settle [ID]                           takes back now what was set and not confirmed, and says so
#   prepare FOLDER...                     makes them, and exit status 1: a file cannot be written there
#   set ID SECONDS VARIABLE=VALUE...      sets them in the kernel; the host takes that back after SECONDS
#   confirm ID VARIABLE=VALUE...          they stay; exit status 1: they have been taken back, 3: not set yet
#
# No file is written here: until the client does so, starting the host again takes all back too.
set -u
umask 022
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin
LC_ALL=C
export PATH LC_ALL
exec </dev/null

variables=/proc/sys/net/bridge

# Of all changes the same: one that a client left must not end in the midst of the next one's.
unit=kvm-lab-netfilter-undo

fail() {
    printf '%s\n' "$*" >&2
    exit 1
}

# The value is on stdin.
fact() { printf '%s %s %s\n' "$1" "$(base64 -w 0)" "${2:-}"; }

# Loaded it is listed in /proc/modules; there and not listed it is built in.
module() {
    if grep -qs '^br_netfilter ' /proc/modules; then
        printf loaded
    elif [ -d "$variables" ]; then
        printf built-in
    else
        printf not-loaded
    fi
}

# A file that is masked (a link to /dev/null) is an empty one.
files() { # key, name of the folders, further files
    key=$1 name=$2
    shift 2
    for path in "/etc/$name"/*.conf "/run/$name"/*.conf "/usr/local/lib/$name"/*.conf "/usr/lib/$name"/*.conf \
        "/lib/$name"/*.conf "$@"; do
        # shellcheck disable=SC2094  # printed, not written
        [ ! -r "$path" ] || fact "$key" "$path" <"$path"
    done
}

facts() {
    module | fact module
    for path in "$variables"/bridge-nf-call-*; do
        [ ! -r "$path" ] || printf '%s %s\n' "${path##*/}" "$(cat "$path")"
    done | fact values
    files sysctl sysctl.d /etc/sysctl.conf
    # /etc/modules counts by the link that modules-load.d has to it
    files modules modules-load.d
}

description() { printf 'undo of the bridge netfilter change %s\n' "$1"; }

is_pending() { systemctl --quiet is-active "$unit.timer" "$unit.service"; }

is_of() { # ID
    [ "$(systemctl show --property=Description --value "$unit.service")" = "$(description "$1")" ]
}

stop_timer() { systemctl --quiet stop "$unit.timer" 2>/dev/null; }

await_undo() { while systemctl --quiet is-active "$unit.service"; do sleep 0.1; done; }

settle() { # ID, or nothing for whichever it is
    is_pending || return 0
    [ "$#" = 0 ] || is_of "$1" || return 0
    # the timer may have done so meanwhile, and is gone then
    systemctl start "$unit.service" 2>/dev/null || ! is_pending || fail "cannot start $unit.service"
    await_undo
    stop_timer
    echo "a change of bridge netfilter that was not confirmed is taken back"
}

prepare() { # FOLDER...
    for folder in "$@"; do
        mkdir -p "$folder" && file=$(mktemp "$folder/.kvm-lab.XXXXXX") && rm "$file" || exit 1
    done
}

# A shell line that gives the variables the values they have now; 0 is what a host without the module does.
undo_line() { # VARIABLE=VALUE...
    for pair in "$@"; do
        name=${pair%%=*}
        printf 'echo %s >%s/%s; ' "$(cat "$variables/$name" 2>/dev/null || echo 0)" "$variables" "$name"
    done
}

set_all() { # VARIABLE=VALUE...
    for pair in "$@"; do
        echo "${pair#*=}" >"$variables/${pair%%=*}" || return 1
    done
}

have_all() { # VARIABLE=VALUE...
    for pair in "$@"; do
        [ "$(cat "$variables/${pair%%=*}" 2>/dev/null)" = "${pair#*=}" ] || return 1
    done
}

set_kernel() { # ID, SECONDS, VARIABLE=VALUE...
    id=$1 seconds=$2
    shift 2
    undo=$(undo_line "$@")
    systemd-run --quiet --collect --unit="$unit" --description="$(description "$id")" --on-active="$seconds" \
        --timer-property=AccuracySec=1s /bin/sh -c "$undo" || fail "cannot start the timer that undoes it"
    systemctl --quiet is-active "$unit.timer" || fail "the timer that undoes it does not run"
    if [ ! -d "$variables" ] && ! modprobe br_netfilter; then
        stop_timer
        fail "the kernel's module br_netfilter cannot be loaded"
    fi
    set_all "$@" || {
        sh -c "$undo"
        stop_timer
        fail "cannot set the variables in $variables"
    }
}

confirm() { # ID, VARIABLE=VALUE...
    id=$1
    shift
    if is_pending; then
        is_of "$id" || fail "another client's change is under way"
        have_all "$@" || { echo "it is not set yet" >&2; exit 3; }
        stop_timer
        # it may have begun already
        await_undo
    fi
    have_all "$@" || fail "the host has taken it back"
}

task=$1
shift
case $task in
    facts) facts ;;
    settle) settle "$@" ;;
    prepare) prepare "$@" ;;
    set) set_kernel "$@" ;;
    confirm) confirm "$@" ;;
    *) echo "unknown task: $task" >&2; exit 2 ;;
esac
