package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"reflect"
	"sync"
	"time"

	rpc "github.com/digitalocean/go-libvirt"
	"github.com/dmacvicar/terraform-provider-libvirt/libvirt"
	"github.com/dmacvicar/terraform-provider-libvirt/libvirt/helper/mutexkv"
	"github.com/pulumi/pulumi-terraform-bridge/v3/pkg/tfbridge"
)

const (
	firstPause    = 500 * time.Millisecond
	longestPause  = 5 * time.Second
	attemptLimit  = 15 * time.Second
	attemptFloor  = 3 * time.Second
	defaultBudget = time.Minute
)

// connectBudget is how long the first use of a host keeps trying: LIBVIRT_CONNECT_TIMEOUT, in Go's form ("90s").
func connectBudget() time.Duration {
	if d, err := time.ParseDuration(os.Getenv("LIBVIRT_CONNECT_TIMEOUT")); err == nil {
		return d
	}
	return defaultBudget
}

// stopped ends when the engine is interrupted: no new attempt or wait starts after that.
var stopped, stop = context.WithCancel(context.Background())

// host stands for the provider's client until a resource is read or changed.
type host struct {
	address
	open   func(limit time.Duration) (*libvirt.Client, error) // one attempt
	budget time.Duration
	slots  chan struct{}

	mu   sync.Mutex
	last *dial
}

func newHost(a address) *host {
	return &host{
		address: a,
		open:    func(limit time.Duration) (*libvirt.Client, error) { return open(a, limit) },
		budget:  connectBudget(),
		slots:   make(chan struct{}, a.slots),
	}
}

// dial is one run of attempts, shared by all the operations that wait for it.
type dial struct {
	done   chan struct{}
	client *libvirt.Client
	err    error
}

// connect returns the host's client, connected when it was not, or not any more.
func (h *host) connect(ctx context.Context) (*libvirt.Client, error) {
	h.mu.Lock()
	d := h.last
	if d == nil || d.over() && (d.err != nil || !conn(d.client).IsConnected()) {
		budget := h.budget
		if d != nil && d.err != nil { // the time is spent: one attempt for each later operation
			budget = 0
		}
		d = &dial{done: make(chan struct{})}
		h.last = d
		go d.run(ctx, h, budget)
	}
	h.mu.Unlock()
	select {
	case <-d.done:
		return d.client, d.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// enter waits for one of the host's slots; the operation gives it back by calling leave.
func (h *host) enter(ctx context.Context) (leave func(), err error) {
	select {
	case h.slots <- struct{}{}:
		return func() { <-h.slots }, nil
	case <-stopped.Done():
		return nil, errors.New("interrupted")
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (d *dial) over() bool {
	select {
	case <-d.done:
		return true
	default:
		return false
	}
}

// run tries to connect until it succeeds, the budget is spent, the engine is interrupted or trying cannot help.
func (d *dial) run(ctx context.Context, h *host, budget time.Duration) {
	defer close(d.done)
	start, pause := time.Now(), firstPause
	for n := 1; ; n++ {
		limit := attemptLimit
		if n > 1 { // the last attempts end with the budget
			limit = max(min(limit, budget-time.Since(start)), attemptFloor)
		}
		client, err := attempt(h.open, limit)
		if err == nil {
			d.client = client
			return
		}
		left := budget - time.Since(start)
		if final(err) || left <= 0 {
			d.err = fmt.Errorf("cannot connect to libvirt (%d attempts in %s): %w",
				n, time.Since(start).Round(100*time.Millisecond), err)
			return
		}
		tell(ctx, fmt.Sprintf("host %s does not answer, trying for %s more: %v",
			h.host, left.Round(time.Second), err), n == 1)
		select {
		case <-time.After(min(pause, left)):
		case <-stopped.Done():
		}
		pause = min(2*pause, longestPause)
	}
}

// attempt returns at once when the engine is interrupted; open itself ends within its limit.
func attempt(open func(time.Duration) (*libvirt.Client, error), limit time.Duration) (*libvirt.Client, error) {
	type result struct {
		client *libvirt.Client
		err    error
	}
	c := make(chan result, 1)
	go func() {
		client, err := open(limit)
		c <- result{client, err}
	}()
	select {
	case r := <-c:
		return r.client, r.err
	case <-stopped.Done():
		return nil, permanentError{errors.New("interrupted")}
	}
}

func final(err error) bool {
	var permanent permanentError
	return stopped.Err() != nil || errors.As(err, &permanent)
}

// conn is the connection behind client (the field is not exported).
func conn(client *libvirt.Client) *rpc.Libvirt {
	return (*rpc.Libvirt)(reflect.ValueOf(client).Elem().FieldByName("libvirt").UnsafePointer())
}

// poolLocks are the locks that the provider's own operations take on a pool (the field is not exported).
func poolLocks(client *libvirt.Client) *mutexkv.MutexKV {
	return (*mutexkv.MutexKV)(reflect.ValueOf(client).Elem().FieldByName("poolMutexKV").UnsafePointer())
}

// tell shows a message beside the resource; only the first stays in the log.
func tell(ctx context.Context, msg string, stays bool) {
	defer func() { _ = recover() }() // a context without a logger
	if l := tfbridge.GetLogger(ctx); stays {
		l.Warn(msg)
	} else {
		l.Status().Warn(msg)
	}
}
