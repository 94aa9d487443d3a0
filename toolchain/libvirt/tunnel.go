package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/dmacvicar/terraform-provider-libvirt/libvirt"
	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"
)

const (
	dialLimit         = 5 * time.Second
	keepaliveInterval = 15 * time.Second
	keepaliveLimit    = 15 * time.Second
	stderrKept        = 2000
	localSocket       = "/run/libvirt/libvirt-sock"
	// virt-ssh-helper comes with libvirt's daemon and finds its socket, also where the daemon is split up.
	helper = "virt-ssh-helper qemu:///system"
)

// permanentError is a failure that trying again cannot mend.
type permanentError struct{ error }

func (e permanentError) Unwrap() error { return e.error }

// open connects to the libvirt at a, within limit.
//
// The provider's own SSH client is not used: it reads the client's ~/.ssh/config, takes the host key type that it
// likes best instead of the one that is known, needs the keys in a file and has no limit on the handshake. It is
// given a socket in a private folder of this machine instead, which leads to the host's libvirt once.
func open(a address, limit time.Duration) (*libvirt.Client, error) {
	if a.local {
		socket, err := net.Dial("unix", localSocket)
		if err != nil {
			return nil, err
		}
		return clientThrough(socket)
	}
	host, err := login(a, limit)
	if err != nil {
		return nil, err
	}
	client, err := clientOn(host, a.user, limit)
	if err != nil {
		host.Close()
		return nil, err
	}
	go keepAlive(host)
	return client, nil
}

// clientOn reaches libvirt over an open connection to its host; one that does not answer within limit is closed.
func clientOn(host *ssh.Client, user string, limit time.Duration) (client *libvirt.Client, err error) {
	expired := time.AfterFunc(limit, func() { host.Close() })
	remote, err := startHelper(host, user)
	if err == nil {
		client, err = clientThrough(remote)
	}
	if !expired.Stop() {
		return nil, fmt.Errorf("logged in, but libvirt did not answer in %s", limit)
	}
	if err != nil && remote != nil && remote.said() != "" {
		return nil, fmt.Errorf("%w: `%s` said: %s", err, remote.command, remote.said())
	}
	return client, err
}

// login opens an SSH connection to a host that shows one of the pinned keys.
func login(a address, limit time.Duration) (*ssh.Client, error) {
	auth, err := loginKeys(a)
	if err != nil {
		return nil, permanentError{err}
	}
	var refused error
	config := &ssh.ClientConfig{
		User:              a.user,
		Auth:              []ssh.AuthMethod{auth},
		HostKeyAlgorithms: algorithms(a.hostKeys),
		HostKeyCallback: func(_ string, _ net.Addr, key ssh.PublicKey) error {
			refused = checkHostKey(a, key)
			return refused
		},
	}
	tcp, err := net.DialTimeout("tcp", a.hostport, dialLimit)
	if err != nil {
		return nil, err
	}
	_ = tcp.SetDeadline(time.Now().Add(limit))
	conn, channels, requests, err := ssh.NewClientConn(tcp, a.hostport, config)
	if err != nil {
		tcp.Close()
		return nil, explain(a, err, refused)
	}
	_ = tcp.SetDeadline(time.Time{})
	return ssh.NewClient(conn, channels, requests), nil
}

// explain tells failures of the handshake that stay from those that may pass.
func explain(a address, err, refused error) error {
	switch {
	case refused != nil:
		return permanentError{refused}
	case strings.Contains(err.Error(), "no common algorithm for host key"):
		return permanentError{fmt.Errorf("%s has no host key of the pinned types (%s): pin a key that it has", a.hostport, strings.Join(keyTypes(a.hostKeys), ", "))}
	case strings.Contains(err.Error(), "unable to authenticate"):
		source := "the SSH agent's keys were refused"
		if a.keyfile != "" {
			source = "key file " + a.keyfile + " was refused"
		}
		return permanentError{fmt.Errorf("%s for user %s: put its public key into that user's authorized_keys", source, a.user)}
	}
	return err
}

func checkHostKey(a address, seen ssh.PublicKey) error {
	for _, pinned := range a.hostKeys {
		if bytes.Equal(pinned.Marshal(), seen.Marshal()) {
			return nil
		}
	}
	var pinned []string
	for _, key := range a.hostKeys {
		pinned = append(pinned, key.Type()+" "+ssh.FingerprintSHA256(key))
	}
	return fmt.Errorf("%s shows host key %s %s, pinned are %s: another machine answers there, or it was installed anew; check on its console before pinning the new key",
		a.hostport, seen.Type(), ssh.FingerprintSHA256(seen), strings.Join(pinned, ", "))
}

func keyTypes(keys []ssh.PublicKey) (types []string) {
	for _, key := range keys {
		if !slices.Contains(types, key.Type()) {
			types = append(types, key.Type())
		}
	}
	return types
}

// algorithms are the host key algorithms by which a server can show one of the keys; it is asked for no other.
func algorithms(keys []ssh.PublicKey) (names []string) {
	for _, t := range keyTypes(keys) {
		if t == ssh.KeyAlgoRSA {
			names = append(names, ssh.KeyAlgoRSASHA512, ssh.KeyAlgoRSASHA256)
		} else {
			names = append(names, t)
		}
	}
	return names
}

// loginKeys are the keys to log in with: the key file, or the agent's. An encrypted key file is refused, as by the
// program's other connections to the host, which could not use it either.
func loginKeys(a address) (ssh.AuthMethod, error) {
	if a.keyfile == "" {
		signers, err := agentSigners()
		if err != nil {
			return nil, fmt.Errorf("no key file is given, and the SSH agent cannot be used: %w", err)
		}
		return ssh.PublicKeys(signers...), nil
	}
	text, err := os.ReadFile(a.keyfile)
	if err != nil {
		folder, _ := os.Getwd()
		return nil, fmt.Errorf("key file (seen from %s): %w", folder, err)
	}
	signer, err := ssh.ParsePrivateKey(text)
	var encrypted *ssh.PassphraseMissingError
	if errors.As(err, &encrypted) {
		return nil, fmt.Errorf("key file %s is encrypted: add it to the SSH agent (`ssh-add %s`) and leave the key file out", a.keyfile, a.keyfile)
	}
	if err != nil {
		return nil, fmt.Errorf("key file %s: %w", a.keyfile, err)
	}
	return ssh.PublicKeys(signer), nil
}

// agentSigners returns the agent's keys.
func agentSigners() ([]ssh.Signer, error) {
	socket := os.Getenv("SSH_AUTH_SOCK")
	if socket == "" {
		return nil, errors.New("SSH_AUTH_SOCK is not set")
	}
	conn, err := net.Dial("unix", socket)
	if err != nil {
		return nil, err
	}
	signers, err := agent.NewClient(conn).Signers()
	if err != nil {
		return nil, err
	}
	if len(signers) == 0 {
		return nil, errors.New("it holds no key")
	}
	return signers, nil
}

// helperProcess is a running helper on the host: what is written to it reaches libvirt, what is read comes from it.
type helperProcess struct {
	io.Reader
	io.Writer
	command string
	host    *ssh.Client
	stderr  *head
}

func startHelper(host *ssh.Client, user string) (*helperProcess, error) {
	p := &helperProcess{command: helper, host: host, stderr: &head{}}
	if user != "root" {
		p.command = "sudo -n " + helper
	}
	session, err := host.NewSession()
	if err != nil {
		return nil, err
	}
	session.Stderr = p.stderr
	if p.Writer, err = session.StdinPipe(); err != nil {
		return nil, err
	}
	if p.Reader, err = session.StdoutPipe(); err != nil {
		return nil, err
	}
	return p, session.Start(p.command)
}

// Close ends the connection to the host, and the helper with it.
func (p *helperProcess) Close() error { return p.host.Close() }

func (p *helperProcess) said() string {
	return strings.TrimSpace(p.stderr.String())
}

// head keeps the beginning of what is written to it.
type head struct {
	mu   sync.Mutex
	text []byte
}

func (h *head) Write(p []byte) (int, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.text = append(h.text, p[:min(len(p), stderrKept-len(h.text))]...)
	return len(p), nil
}

func (h *head) String() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return string(h.text)
}

// clientThrough makes a client of the provider that talks through remote. Both end together.
func clientThrough(remote io.ReadWriteCloser) (*libvirt.Client, error) {
	folder, err := os.MkdirTemp("", "libvirt-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(folder)
	socket := filepath.Join(folder, "socket")
	listener, err := net.Listen("unix", socket)
	if err != nil {
		return nil, err
	}
	defer listener.Close()
	go func() {
		if near, err := listener.Accept(); err == nil {
			join(near, remote)
		}
	}()
	return (&libvirt.Config{URI: "qemu+unix:///system?socket=" + url.QueryEscape(socket)}).Client()
}

// join copies both ways until one side ends, then closes both.
func join(client, libvirt io.ReadWriteCloser) {
	done := make(chan struct{}, 2)
	transfer := func(to io.Writer, from io.Reader) {
		_, _ = io.Copy(to, from)
		done <- struct{}{}
	}
	go transfer(client, newFrames(libvirt))
	go transfer(libvirt, client)
	<-done
	client.Close()
	libvirt.Close()
}

// keepAlive closes the connection to a host that fell silent: TCP itself would wait for many minutes.
func keepAlive(host *ssh.Client) {
	for {
		time.Sleep(keepaliveInterval)
		silent := time.AfterFunc(keepaliveLimit, func() { host.Close() })
		_, _, err := host.SendRequest("keepalive@openssh.com", true, nil)
		silent.Stop()
		if err != nil {
			host.Close()
			return
		}
	}
}
