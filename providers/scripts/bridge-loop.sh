#!/bin/sh
# Checks whether an interface that is to join a bridge leads where the bridge is already. With STP off that
# closes a loop: one broadcast then goes round for ever, and takes the network of the whole room down.
#
#   look FOLDER UPLINK PORT...  exit status 1: a loop, named on stderr; stdout: what could not be checked
#   clean FOLDER                undoes what a killed `look` has left
#
# Nothing is forwarded meanwhile. Each PORT becomes the only port of a bridge made for this, which learns the
# sources of what it hears; a PORT that is a bridge itself, which UPLINK is to join, learns them anyway. UPLINK
# and the new bridges send broadcasts: ARP requests for an address that nobody has (RFC 6890: 192.0.0.0/24 is
# not for hosts).
#
# Not seen: a loop that only tagged frames (VLANs) go round; one over a new cable that a switch with STP keeps
# silent for half a minute (that switch ends it). FOLDER holds a file per interface with how it was found.
set -u
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin
LC_ALL=C
export PATH LC_ALL

task=$1 folder=$2
shift 2

# Carrier takes a network card some seconds; then one broadcast each 0.2 s.
carrier_tries=25
broadcasts=10
# The IPv4 dummy address of RFC 7600, for interfaces that have none to send from.
dummy=192.0.0.8
nobody=192.0.0.11

hw_address() { cat "/sys/class/net/$1/address"; }

is_bridge() { [ -d "/sys/class/net/$1/bridge" ]; }

# The bridge that learns what comes in by a port.
probe_of() { # port
    ! is_bridge "$1" || { printf '%s\n' "$1"; return; }
    printf 'kvmloop%s\n' "$(cat "/sys/class/net/$1/ifindex")"
}

state_of() { # interface: up or down, as the administrator has set it
    [ $(($(cat "/sys/class/net/$1/flags") & 1)) = 1 ] && echo up || echo down
}

mode_file() { printf '/proc/sys/net/ipv6/conf/%s/addr_gen_mode\n' "$1"; }

# A bridge with the port's address: udev (MACAddressPolicy=persistent) would give it one that hears() does not
# know. It neither answers ARP for this host's addresses nor speaks IPv6.
set_port_up() { # port
    ! is_bridge "$1" || return 0
    probe=$(probe_of "$1")
    printf '%s %s %s\n' "$1" "$(state_of "$1")" "$(cat "$(mode_file "$1")" 2>/dev/null)" >"$folder/$probe.look" &&
        ip link add name "$probe" address "$(hw_address "$1")" type bridge mcast_snooping 0 forward_delay 0 &&
        echo 8 >"/proc/sys/net/ipv4/conf/$probe/arp_ignore" || return 1
    [ ! -e "$(mode_file "$1")" ] || echo 1 >"$(mode_file "$1")"
    [ ! -e "/proc/sys/net/ipv6/conf/$probe" ] || echo 1 >"/proc/sys/net/ipv6/conf/$probe/disable_ipv6"
    ip link set dev "$1" master "$probe" up &&
        ip address add "$dummy/32" dev "$probe" &&
        ip link set dev "$probe" up
}

# An interface that is down gets a link-local address at once, and it is one too many.
restore_mode() { # interface, up or down, mode
    echo "$3" >"$(mode_file "$1")"
    [ "$2" = up ] || ip -6 address flush dev "$1" scope link
}

set_uplink_up() { # uplink
    [ -z "$(ip -4 -o address show dev "$1")" ] || return 0
    printf '%s\n' "$1" >"$folder/uplink.look" && ip address add "$dummy/32" dev "$1"
}

clean() {
    for file in "$folder"/kvmloop*.look; do
        [ -e "$file" ] || continue
        probe=${file##*/}
        read -r port state mode <"$file"
        ip link delete dev "${probe%.look}" 2>/dev/null
        ip link set dev "$port" "$state"
        [ -z "$mode" ] || restore_mode "$port" "$state" "$mode"
        rm -f "$file"
    done
    [ ! -e "$folder/uplink.look" ] || {
        ip address delete "$dummy/32" dev "$(cat "$folder/uplink.look")"
        rm -f "$folder/uplink.look"
    }
}

has_carrier() { [ "$(cat "/sys/class/net/$1/carrier" 2>/dev/null)" = 1 ]; }

# IFF_NOARP of linux/if.h is not set.
uses_arp() { [ $(($(cat "/sys/class/net/$1/flags") & 0x80)) = 0 ]; }

await_carriers() { # ports
    tries=0
    for port in "$@"; do
        until has_carrier "$port" || [ "$tries" -ge "$carrier_tries" ]; do
            sleep 0.2
            tries=$((tries + 1))
        done
    done
}

broadcast() { # interface
    ip neigh flush to "$nobody" dev "$1" nud all 2>/dev/null
    ip neigh replace "$nobody" dev "$1" nud none use
}

# A port that hears another interface of this host leads where that one leads.
hears() { # port, other interface
    bridge fdb show br "$(probe_of "$1")" | grep -v permanent | grep -qi "^$(hw_address "$2") "
}

find_loop() { # uplink, ports
    uplink=$1
    shift
    others=$uplink
    for port in "$@"; do
        for other in $others; do
            if hears "$port" "$other"; then
                echo "$port leads into the network that $other is in: with STP off this is a loop" >&2
                return 0
            fi
        done
        others="$others $port"
    done
    return 1
}

note_blind_spots() { # uplink, ports
    uses_arp "$1" || echo "$1 sends no ARP requests: whether further ports make a loop could not be checked"
    has_carrier "$1" || echo "$1 has no carrier: whether further ports make a loop could not be checked"
    others=$1
    shift
    for port in "$@"; do
        # its own entries at least must be shown
        bridge fdb show br "$(probe_of "$port")" 2>/dev/null | grep -q permanent ||
            echo "bridge(8) shows nothing: whether $port makes a loop could not be checked"
        has_carrier "$port" || echo "$port has no carrier: whether it makes a loop could not be checked"
        for other in $others; do
            [ "$(hw_address "$port")" != "$(hw_address "$other")" ] ||
                echo "$port has the hardware address of $other: whether it makes a loop could not be checked"
        done
        others="$others $port"
    done
}

look() { # uplink, ports
    trap clean EXIT
    trap 'exit 1' TERM INT HUP
    set_uplink_up "$1" || exit 1
    for port in "$@"; do
        [ "$port" = "$1" ] || set_port_up "$port" || { echo "cannot check whether $port makes a loop" >&2; exit 1; }
    done
    await_carriers "$@"
    note_blind_spots "$@"
    sent=0
    while [ "$sent" -lt "$broadcasts" ]; do
        for device in "$@"; do
            if [ "$device" != "$1" ]; then
                # without an address of its own it would send from another interface's
                ! is_bridge "$device" || continue
                device=$(probe_of "$device")
            fi
            broadcast "$device" || { echo "$device cannot send a broadcast" >&2; exit 1; }
        done
        sleep 0.2
        ! find_loop "$@" || exit 1
        sent=$((sent + 1))
    done
}

case $task in
    look) look "$@" ;;
    clean) clean ;;
    *) echo "unknown task: $task" >&2; exit 2 ;;
esac
