#!/bin/sh
# The account that a student has on a host of his own.
#
#   look USER              a line per fact: key, value (base64 of a file's content); no uid: no such account
#   make USER              makes it, with a locked password; a home that is there is taken, with its owner's number
#   keys USER              its ~/.ssh/authorized_keys becomes what is on stdin
#   no-keys USER FOLDER    the file goes; FOLDER is "remove": an empty ~/.ssh goes too
#   rule FILE              checks the sudoers rule on stdin and puts it there
#   remove USER            ends what it runs, removes it; its home stays
#
# Files of the account are read and written as that account: links in its home lead root nowhere.
set -eu
umask 077
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin
export PATH

fail() {
    printf '%s\n' "$*" >&2
    exit 1
}

home_of() { getent passwd -- "$1" | cut -d : -f 6; }

as() { # USER, COMMAND...
    user=$1
    shift
    if [ "$user" = root ]; then "$@"; else runuser -u "$user" -- "$@"; fi
}

look() { # USER
    rule=/etc/sudoers.d/kvm-lab-$1
    [ ! -f "$rule" ] || printf 'sudoers %s\n' "$(base64 -w 0 <"$rule")"
    id -u -- "$1" >/dev/null 2>&1 || return 0
    printf 'uid %s\ngroups %s\n' "$(id -u -- "$1")" "$(id -nG -- "$1")"
    # shellcheck disable=SC2016  # that shell expands it
    as "$1" sh -c '
        [ ! -d "$1/.ssh" ] || echo "ssh-folder yes"
        file=$1/.ssh/authorized_keys
        if [ -L "$file" ]; then echo "keys-file a symbolic link"
        elif [ -f "$file" ] && [ ! -r "$file" ]; then echo "keys-file a file that the account cannot read"
        elif [ -f "$file" ]; then echo "keys-file file" && printf "keys %s\n" "$(base64 -w 0 <"$file")"
        elif [ -e "$file" ]; then echo "keys-file neither a file nor a link"
        fi' look "$(home_of "$1")"
}

make() { # USER
    home=/home/$1
    if [ -d "$home" ] && [ ! -L "$home" ]; then
        number=$(stat -c %u -- "$home")
        if [ "$number" -ge 1000 ] && ! getent passwd "$number" >/dev/null; then
            set -- --uid "$number" "$1"
        fi
    fi
    # not locked with "!": an sshd without PAM lets nobody in then
    useradd --create-home --shell /bin/bash --user-group --password '*' "$@"
}

keys() { # USER
    # shellcheck disable=SC2016
    as "$1" sh -c '
        set -eu
        umask 077
        file=$1/.ssh/authorized_keys
        [ ! -L "$1/.ssh" ] && [ ! -L "$file" ] || { echo "$file is, or is in, a symbolic link" >&2; exit 1; }
        mkdir -p "$1/.ssh"
        temp=$(mktemp "$1/.ssh/.authorized_keys.XXXXXXXX")
        trap "rm -f -- \"\$temp\"" EXIT
        cat >"$temp"
        [ ! -e "$file" ] || chmod --reference="$file" "$temp"
        sync -- "$temp"
        mv -fT -- "$temp" "$file"' keys "$(home_of "$1")"
}

no_keys() { # USER FOLDER
    # shellcheck disable=SC2016
    as "$1" sh -c '
        [ ! -L "$1/.ssh" ] || exit 0
        rm -f -- "$1/.ssh/authorized_keys"
        [ "$2" != remove ] || rmdir -- "$1/.ssh" 2>/dev/null || :' no-keys "$(home_of "$1")" "$2"
}

rule() { # FILE
    command -v visudo >/dev/null || fail "the package sudo is not installed"
    # a name with a dot is not read by sudo
    temp=$(mktemp /etc/sudoers.d/.kvm-lab.XXXXXXXX)
    trap 'rm -f -- "$temp"' EXIT
    cat >"$temp"
    chmod 0440 "$temp"
    visudo -cqf "$temp" >&2 || fail "visudo refuses the rule"
    sync -- "$temp"
    mv -fT -- "$temp" "$1"
}

remove() { # USER
    id -u -- "$1" >/dev/null 2>&1 || return 0
    loginctl terminate-user "$1" 2>/dev/null || :
    tries=0
    while pgrep -u "$1" >/dev/null && [ "$tries" -lt 50 ]; do
        tries=$((tries + 1))
        sleep 0.1
    done
    pkill -KILL -u "$1" || :
    userdel -- "$1"
}

task=$1
shift
case $task in
    look) look "$@" ;;
    make) make "$@" ;;
    keys) keys "$@" ;;
    no-keys) no_keys "$@" ;;
    rule) rule "$@" ;;
    remove) remove "$@" ;;
    *) fail "unknown task: $task" ;;
esac
