package main

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/pem"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/digitalocean/go-libvirt/libvirttest"
	"golang.org/x/crypto/ssh"
)

// sshServer is a host with host keys of three types. Its helper is a libvirt that answers the opening of a
// connection, or a shell that says it knows no such command.
type sshServer struct {
	address
	hostKeys map[string]ssh.Signer
	commands chan string
	mute     bool // it answers no request to run a command
}

func serve(t *testing.T, helperIsThere bool) *sshServer {
	t.Helper()
	s := &sshServer{hostKeys: map[string]ssh.Signer{}, commands: make(chan string, 9)}
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	fail(t, err)
	ec, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	fail(t, err)
	r, err := rsa.GenerateKey(rand.Reader, 2048)
	fail(t, err)
	login, keyfile := loginKey(t)
	config := &ssh.ServerConfig{PublicKeyCallback: func(_ ssh.ConnMetadata, key ssh.PublicKey) (*ssh.Permissions, error) {
		if !bytes.Equal(key.Marshal(), login.Marshal()) {
			return nil, errors.New("unknown key")
		}
		return nil, nil
	}}
	for _, key := range []any{ed, ec, r} {
		signer, err := ssh.NewSignerFromKey(key)
		fail(t, err)
		s.hostKeys[signer.PublicKey().Type()] = signer
		config.AddHostKey(signer)
	}
	listener := listen(t)
	s.address = address{host: "h9", hostport: listener.Addr().String(), user: "root", keyfile: keyfile}
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go s.handle(conn, config, helperIsThere)
		}
	}()
	return s
}

func (s *sshServer) handle(tcp net.Conn, config *ssh.ServerConfig, helperIsThere bool) {
	_, channels, requests, err := ssh.NewServerConn(tcp, config)
	if err != nil {
		return
	}
	go ssh.DiscardRequests(requests)
	for wanted := range channels {
		channel, requests, err := wanted.Accept()
		if err != nil {
			return
		}
		go func() {
			for request := range requests {
				s.commands <- string(request.Payload[4:])
				if s.mute {
					continue
				}
				_ = request.Reply(true, nil)
				if helperIsThere {
					libvirt, _ := libvirttest.New().Dial()
					go join(channel, libvirt)
				} else {
					_, _ = io.WriteString(channel.Stderr(), "virt-ssh-helper: command not found\n")
					_, _ = channel.SendRequest("exit-status", false, []byte{0, 0, 0, 127})
					channel.Close()
				}
			}
		}()
	}
}

// pinned is the server's address with its keys of the given types pinned.
func (s *sshServer) pinned(types ...string) address {
	a := s.address
	for _, t := range types {
		a.hostKeys = append(a.hostKeys, s.hostKeys[t].PublicKey())
	}
	return a
}

func listen(t *testing.T) net.Listener {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	fail(t, err)
	t.Cleanup(func() { listener.Close() })
	return listener
}

func loginKey(t *testing.T) (ssh.PublicKey, string) {
	t.Helper()
	public, private, err := ed25519.GenerateKey(rand.Reader)
	fail(t, err)
	block, err := ssh.MarshalPrivateKey(private, "")
	fail(t, err)
	path := filepath.Join(t.TempDir(), "key")
	fail(t, os.WriteFile(path, pem.EncodeToMemory(block), 0o600))
	key, err := ssh.NewPublicKey(public)
	fail(t, err)
	return key, path
}

func encryptedKey(t *testing.T) string {
	t.Helper()
	_, private, err := ed25519.GenerateKey(rand.Reader)
	fail(t, err)
	block, err := ssh.MarshalPrivateKeyWithPassphrase(private, "", []byte("secret"))
	fail(t, err)
	path := filepath.Join(t.TempDir(), "encrypted")
	fail(t, os.WriteFile(path, pem.EncodeToMemory(block), 0o600))
	return path
}

func fail(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func isPermanent(err error) bool {
	var p permanentError
	return errors.As(err, &p)
}

// Each pinned type is the one that is negotiated, whichever the server would rather show.
func TestOpenAsksForThePinnedType(t *testing.T) {
	s := serve(t, true)
	for _, types := range [][]string{
		{ssh.KeyAlgoED25519}, {ssh.KeyAlgoECDSA256}, {ssh.KeyAlgoRSA}, {ssh.KeyAlgoRSA, ssh.KeyAlgoED25519},
	} {
		client, err := open(s.pinned(types...), 5*time.Second)
		if err != nil {
			t.Errorf("%v: %v", types, err)
			continue
		}
		if command := <-s.commands; command != "virt-ssh-helper qemu:///system" {
			t.Error(command)
		}
		if !conn(client).IsConnected() {
			t.Error("not connected")
		}
		_ = conn(client).Disconnect()
	}
}

func TestOpenLeavesNothingInTheTemporaryFolder(t *testing.T) {
	folder := t.TempDir()
	t.Setenv("TMPDIR", folder)
	s := serve(t, true)
	client, err := open(s.pinned(ssh.KeyAlgoED25519), 5*time.Second)
	fail(t, err)
	defer conn(client).Disconnect()
	left, err := os.ReadDir(folder)
	fail(t, err)
	if len(left) > 0 {
		t.Error(left)
	}
}

// The client's own SSH configuration would lead elsewhere.
func TestOpenReadsNoSSHConfig(t *testing.T) {
	home := t.TempDir()
	t.Setenv("HOME", home)
	fail(t, os.Mkdir(filepath.Join(home, ".ssh"), 0o700))
	fail(t, os.WriteFile(filepath.Join(home, ".ssh", "config"), []byte("Host *\n  Port 1\n  ProxyJump nowhere\n"), 0o600))
	s := serve(t, true)
	client, err := open(s.pinned(ssh.KeyAlgoED25519), 5*time.Second)
	fail(t, err)
	_ = conn(client).Disconnect()
}

func TestOpenUsesSudoForOtherUsers(t *testing.T) {
	s := serve(t, true)
	a := s.pinned(ssh.KeyAlgoED25519)
	a.user = "op"
	client, err := open(a, 5*time.Second)
	fail(t, err)
	defer conn(client).Disconnect()
	if command := <-s.commands; command != "sudo -n virt-ssh-helper qemu:///system" {
		t.Error(command)
	}
}

func TestOpenFailures(t *testing.T) {
	s, without := serve(t, true), serve(t, false)
	other, otherFile := loginKey(t)
	silent := listen(t)
	mute := serve(t, true)
	mute.mute = true

	anotherKey := s.address
	anotherKey.hostKeys = []ssh.PublicKey{other}
	notItsType := s.address
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	fail(t, err)
	signer, err := ssh.NewSignerFromKey(p384)
	fail(t, err)
	notItsType.hostKeys = []ssh.PublicKey{signer.PublicKey()}
	refusedLogin := s.pinned(ssh.KeyAlgoED25519)
	refusedLogin.keyfile = otherFile
	noKeyFile := s.pinned(ssh.KeyAlgoED25519)
	noKeyFile.keyfile = "/nowhere"
	encrypted := s.pinned(ssh.KeyAlgoED25519)
	encrypted.keyfile = encryptedKey(t)
	says := s.pinned(ssh.KeyAlgoED25519)
	says.hostport = silent.Addr().String()

	for name, c := range map[string]struct {
		address
		permanent bool
		says      []string
	}{
		"another host key": {anotherKey, true, []string{"shows host key ssh-ed25519 SHA256:", ssh.FingerprintSHA256(other)}},
		"not its type":     {notItsType, true, []string{"has no host key of the pinned types (ecdsa-sha2-nistp384)"}},
		"refused login":    {refusedLogin, true, []string{otherFile, "authorized_keys"}},
		"no key file":      {noKeyFile, true, []string{"/nowhere", "no such file"}},
		"encrypted key":    {encrypted, true, []string{encrypted.keyfile + " is encrypted", "ssh-add"}},
		"silent":           {says, false, []string{"timeout"}},
		"mute":             {mute.pinned(ssh.KeyAlgoED25519), false, []string{"logged in, but libvirt did not answer in 1s"}},
		"no libvirt":       {without.pinned(ssh.KeyAlgoED25519), false, []string{"virt-ssh-helper: command not found"}},
	} {
		start := time.Now()
		_, err := open(c.address, time.Second)
		if err == nil {
			t.Errorf("%s: connected", name)
			continue
		}
		for _, s := range c.says {
			if !strings.Contains(err.Error(), s) {
				t.Errorf("%s: %q is not in %v", name, s, err)
			}
		}
		if isPermanent(err) != c.permanent || time.Since(start) > 3*time.Second {
			t.Errorf("%s: permanent %v after %s: %v", name, isPermanent(err), time.Since(start), err)
		}
	}
}
