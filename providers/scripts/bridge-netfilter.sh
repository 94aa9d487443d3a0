#!/bin/sh
# Looks at, and changes, whether packets that a bridge passes on go through the host's firewall.
#
#   facts                                 a line per fact: key, base64 of its value, and for files the path
#   set ID SECONDS VARIABLE=VALUE...      sets them in the kernel; the host takes that back after SECONDS
#   confirm ID VARIABLE=VALUE...          they stay; exit status 1: they have been taken back
#
# Files are not touched here: until they are written, starting the host again takes all back too.
set -u
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin
LC_ALL=C
export PATH LC_ALL
exec </dev/null

variables=/proc/sys/net/bridge

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

unit() { printf 'kvm-lab-netfilter-undo-%s\n' "$1"; }

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

set_kernel() { # ID, SECONDS, VARIABLE=VALUE...
    id=$1 seconds=$2
    shift 2
    undo=$(undo_line "$@")
    systemd-run --quiet --collect --unit="$(unit "$id")" --on-active="$seconds" \
        --timer-property=AccuracySec=1s /bin/sh -c "$undo" || fail "cannot start the timer that undoes it"
    systemctl --quiet is-active "$(unit "$id").timer" || fail "the timer that undoes it does not run"
    if [ ! -d "$variables" ] && ! modprobe br_netfilter; then
        systemctl --quiet stop "$(unit "$id").timer"
        fail "the kernel's module br_netfilter cannot be loaded"
    fi
    set_all "$@" || {
        sh -c "$undo"
        systemctl --quiet stop "$(unit "$id").timer"
        fail "cannot set the variables in $variables"
    }
}

confirm() { # ID, VARIABLE=VALUE...
    systemctl --quiet stop "$(unit "$1").timer" 2>/dev/null
    # it may have begun already
    until ! systemctl --quiet is-active "$(unit "$1").service"; do sleep 0.1; done
    shift
    for pair in "$@"; do
        [ "$(cat "$variables/${pair%%=*}")" = "${pair#*=}" ] || fail "the host has taken it back"
    done
}

task=$1
shift
case $task in
    facts) facts ;;
    set) set_kernel "$@" ;;
    confirm) confirm "$@" ;;
esac
