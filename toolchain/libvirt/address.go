package main

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"
)

const (
	defaultShutdownTimeout = 180 * time.Second
	defaultSlots           = 8
	mostSlots              = 64
	uriForm                = "qemu+ssh://USER@ADDRESS[:PORT]/system?host_keys=KEY[&keyfile=PATH][&shutdown_timeout=SECONDS][&slots=NUMBER][&created=paused]"
)

// address is where a host's libvirt is reached and what proves that it is that host.
type address struct {
	host            string // for messages; an IP address or a DNS name
	local           bool   // the libvirt of this machine, over its own socket: of what is below host, hostport to hostKeys are not used
	hostport        string
	user            string
	keyfile         string // "": the SSH agent
	hostKeys        []ssh.PublicKey
	shutdownTimeout time.Duration // how long a guest may take to power off before its power is cut
	slots           int           // operations at once
	createdPaused   bool          // new guests wait until somebody resumes them, and no update starts one
}

// parseAddress reads a provider's URI. Everything it needs is in the URI itself, so that a stack's state can be
// used from any clone. All mistakes are reported at once; nothing is contacted.
func parseAddress(s string) (address, error) {
	u, err := url.Parse(s)
	if err != nil {
		return address{}, fmt.Errorf("uri: %w", err)
	}
	query, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return address{}, fmt.Errorf("uri: %w", err)
	}
	a := address{host: u.Hostname(), shutdownTimeout: defaultShutdownTimeout}
	var wrong []error
	if a.shutdownTimeout, err = parseSeconds(query.Get("shutdown_timeout"), defaultShutdownTimeout); err != nil {
		wrong = append(wrong, fmt.Errorf("uri: shutdown_timeout: %w", err))
	}
	if a.slots, err = parseSlots(query.Get("slots")); err != nil {
		wrong = append(wrong, fmt.Errorf("uri: slots: %w", err))
	}
	switch created := query.Get("created"); created {
	case "", "paused":
		a.createdPaused = created != ""
	default:
		wrong = append(wrong, fmt.Errorf("uri: created: %q is not known here: expected paused, or nothing", created))
	}
	known := []string{"shutdown_timeout", "slots", "created"}
	switch {
	case u.Scheme == "qemu" && u.Host == "" && u.Path == "/system":
		a.host, a.local = "localhost", true
	case u.Scheme == "qemu+ssh" && u.Host != "" && u.Path == "/system":
		known = append(known, "keyfile", "host_keys")
		wrong = append(wrong, a.parseSSH(u, query)...)
	default:
		wrong = append(wrong, fmt.Errorf("uri: expected %s or qemu:///system, got %s://%s%s", uriForm, u.Scheme, u.Host, u.Path))
	}
	for name := range query {
		if !slices.Contains(known, name) {
			wrong = append(wrong, fmt.Errorf("uri: parameter %q is not known here (host keys are always checked, against host_keys=; ~/.ssh is not read): expected %s", name, uriForm))
		}
	}
	return a, errors.Join(wrong...)
}

// parseSSH reads what only a URI of another machine has.
func (a *address) parseSSH(u *url.URL, query url.Values) (wrong []error) {
	port := u.Port()
	if port == "" {
		port = "22"
	}
	a.hostport = net.JoinHostPort(u.Hostname(), port)
	if a.user = u.User.Username(); a.user == "" {
		a.user = "root"
	}
	if _, set := u.User.Password(); set {
		wrong = append(wrong, errors.New("uri: no password is taken: log in with keyfile= or the SSH agent"))
	}
	a.keyfile = query.Get("keyfile")
	if rest, ok := strings.CutPrefix(a.keyfile, "~/"); ok {
		home, err := os.UserHomeDir()
		if err != nil {
			wrong = append(wrong, fmt.Errorf("uri: keyfile: %w", err))
		}
		a.keyfile = filepath.Join(home, rest)
	}
	for _, value := range query["host_keys"] {
		for line := range strings.SplitSeq(strings.TrimSpace(value), "\n") {
			key, _, _, _, err := ssh.ParseAuthorizedKey([]byte(line))
			if err != nil {
				wrong = append(wrong, fmt.Errorf(`uri: host_keys: %q is not a public key: expected "ssh-ed25519 AAAA…", URL-encoded (+ is %%2B)`, line))
				continue
			}
			a.hostKeys = append(a.hostKeys, key)
		}
	}
	if len(a.hostKeys) == 0 {
		wrong = append(wrong, fmt.Errorf("uri: host_keys is missing: the keys that host %s may show, expected %s", a.host, uriForm))
	}
	return wrong
}

func parseSeconds(s string, unset time.Duration) (time.Duration, error) {
	if s == "" {
		return unset, nil
	}
	n, err := strconv.ParseUint(s, 10, 16)
	if err != nil {
		return 0, fmt.Errorf("%q is not a number of seconds from 0 to 65535", s)
	}
	return time.Duration(n) * time.Second, nil
}

func parseSlots(s string) (int, error) {
	if s == "" {
		return defaultSlots, nil
	}
	n, err := strconv.ParseUint(s, 10, 16)
	if err != nil || n < 1 || n > mostSlots {
		return 0, fmt.Errorf("%q is not a number of operations from 1 to %d", s, mostSlots)
	}
	return int(n), nil
}
