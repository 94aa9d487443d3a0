package main

import (
	"crypto/ed25519"
	"net/url"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
)

// publicKey is an authorized_keys line of a key made from a seed.
func publicKey(t *testing.T, seed byte) string {
	t.Helper()
	private := ed25519.NewKeyFromSeed([]byte(strings.Repeat(string(rune(seed)), ed25519.SeedSize)))
	key, err := ssh.NewPublicKey(private.Public())
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(ssh.MarshalAuthorizedKey(key)))
}

func TestParseAddress(t *testing.T) {
	t.Setenv("HOME", "/home/someone")
	one, two := publicKey(t, 'a'), publicKey(t, 'b')
	keys := url.Values{"host_keys": {one, two}}.Encode()
	lines := url.Values{"host_keys": {one + "\n" + two + "\n"}}.Encode()
	for _, c := range []struct {
		uri  string
		want address
		keys int
	}{
		{"qemu:///system", address{host: "localhost", local: true, shutdownTimeout: 180 * time.Second, slots: 8}, 0},
		{"qemu+ssh://198.51.100.7/system?" + keys, address{host: "198.51.100.7", hostport: "198.51.100.7:22", user: "root", shutdownTimeout: 180 * time.Second, slots: 8}, 2},
		{"qemu+ssh://op@[2001:db8::7]:2222/system?" + lines + "&keyfile=.lab/key&shutdown_timeout=0",
			address{host: "2001:db8::7", hostport: "[2001:db8::7]:2222", user: "op", keyfile: ".lab/key", slots: 8}, 2},
		{"qemu:///system?slots=64&created=paused&shutdown_timeout=0", address{host: "localhost", local: true, slots: 64, createdPaused: true}, 0},
		{"qemu+ssh://g1s1.example/system?keyfile=~/.ssh/lab&" + keys,
			address{host: "g1s1.example", hostport: "g1s1.example:22", user: "root", keyfile: "/home/someone/.ssh/lab", shutdownTimeout: 180 * time.Second, slots: 8}, 2},
	} {
		got, err := parseAddress(c.uri)
		if err != nil {
			t.Errorf("%s: %v", c.uri, err)
		}
		if len(got.hostKeys) != c.keys {
			t.Errorf("%s: %d host keys", c.uri, len(got.hostKeys))
		}
		got.hostKeys = nil
		if !equal(got, c.want) {
			t.Errorf("%s:\n got %+v\nwant %+v", c.uri, got, c.want)
		}
	}
}

func equal(a, b address) bool {
	return a.host == b.host && a.local == b.local && a.hostport == b.hostport && a.user == b.user &&
		a.keyfile == b.keyfile && a.shutdownTimeout == b.shutdownTimeout &&
		a.slots == b.slots && a.createdPaused == b.createdPaused
}

func TestParseAddressRefuses(t *testing.T) {
	key := url.Values{"host_keys": {publicKey(t, 'a')}}.Encode()
	for uri, says := range map[string][]string{
		"":                                                             {"expected qemu+ssh://"},
		"qemu+ssh:///system?" + key:                                    {"expected qemu+ssh://"},
		"qemu+tcp://198.51.100.7/system":                               {"expected qemu+ssh://"},
		"qemu://198.51.100.7/system":                                   {"expected qemu+ssh://"},
		"qemu+ssh://198.51.100.7/session?" + key:                       {"expected qemu+ssh://"},
		"qemu+ssh://198.51.100.7/system":                               {"host_keys is missing"},
		"qemu+ssh://h/system?no_verify=1&" + key:                       {`"no_verify" is not known`},
		"qemu+ssh://h/system?no_verify&" + key:                         {`"no_verify" is not known`},
		"qemu+ssh://h/system?knownhosts=x&" + key:                      {`"knownhosts" is not known`},
		"qemu+ssh://h/system?known_hosts_verify=ignore&" + key:         {`"known_hosts_verify" is not known`},
		"qemu+ssh://h/system?host_keys=ssh-ed25519+AAAA":               {"is not a public key"},
		"qemu+ssh://a:b@h/system?" + key:                               {"no password"},
		"qemu+ssh://h/system?shutdown_timeout=1m&" + key:               {`"1m" is not a number of seconds`},
		"qemu:///system?slots=0":                                       {`"0" is not a number of operations from 1 to 64`},
		"qemu:///system?slots=65":                                      {`"65" is not a number`},
		"qemu:///system?slots=-1&created=running":                      {"slots", `"running" is not known here: expected paused`},
		"qemu+ssh://a:b@h/system?socket=/x&shutdown_timeout=-1":        {"no password", `"socket"`, "shutdown_timeout", "host_keys is missing"},
		"qemu:///system?known_hosts_verify=ignore&host_keys=whatever+": {`"known_hosts_verify"`, `"host_keys"`},
	} {
		_, err := parseAddress(uri)
		for _, s := range says {
			if err == nil || !strings.Contains(err.Error(), s) {
				t.Errorf("%q: wanted %q in %v", uri, s, err)
			}
		}
	}
}
