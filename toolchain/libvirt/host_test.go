package main

import (
	"context"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/dmacvicar/terraform-provider-libvirt/libvirt"
)

var errNoHost = errors.New("no route to host")

func failing(err error) func(time.Duration) (*libvirt.Client, error) {
	return func(time.Duration) (*libvirt.Client, error) { return nil, err }
}

func TestWaitingOperationsShareTheAttempts(t *testing.T) {
	var attempts atomic.Int32
	h := &host{budget: firstPause + 100*time.Millisecond, open: func(time.Duration) (*libvirt.Client, error) {
		attempts.Add(1)
		return nil, errNoHost
	}}
	var all sync.WaitGroup
	for range 10 {
		all.Go(func() {
			if _, err := h.connect(context.Background()); !errors.Is(err, errNoHost) {
				t.Error(err)
			}
		})
	}
	all.Wait()
	shared := attempts.Load()
	if shared > 3 {
		t.Errorf("%d attempts", shared)
	}
	start := time.Now()
	if _, err := h.connect(context.Background()); !errors.Is(err, errNoHost) {
		t.Error(err)
	}
	if attempts.Load() != shared+1 || time.Since(start) > firstPause {
		t.Error("the budget is spent: later operations get one attempt each")
	}
}

func TestHopelessAttemptIsTheLast(t *testing.T) {
	var attempts atomic.Int32
	h := &host{budget: time.Minute, open: func(time.Duration) (*libvirt.Client, error) {
		attempts.Add(1)
		return nil, permanentError{errNoHost}
	}}
	_, err := h.connect(context.Background())
	if attempts.Load() != 1 || !errors.Is(err, errNoHost) || !strings.Contains(err.Error(), "1 attempts") {
		t.Error(attempts.Load(), err)
	}
}

func TestOperationsAtOnceAreLimited(t *testing.T) {
	a, err := parseAddress("qemu:///system?slots=2")
	fail(t, err)
	h := newHost(a)
	var inside, most atomic.Int32
	var all sync.WaitGroup
	for range 40 {
		all.Go(func() {
			leave, err := h.enter(context.Background())
			if err != nil {
				t.Error(err)
				return
			}
			defer leave()
			now := inside.Add(1)
			for seen := most.Load(); now > seen && !most.CompareAndSwap(seen, now); seen = most.Load() {
			}
			time.Sleep(time.Millisecond)
			inside.Add(-1)
		})
	}
	all.Wait()
	if most.Load() != 2 {
		t.Errorf("%d operations were under way at once", most.Load())
	}
}

func TestWhoWaitsForASlotCanBeEnded(t *testing.T) {
	h := newHost(address{slots: 2})
	for range 2 {
		if _, err := h.enter(context.Background()); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
	defer cancel()
	if _, err := h.enter(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Error("one more than the slots came in", err)
	}
}

func TestConnectBudget(t *testing.T) {
	for text, want := range map[string]time.Duration{"": defaultBudget, "soon": defaultBudget, "5s": 5 * time.Second} {
		t.Setenv("LIBVIRT_CONNECT_TIMEOUT", text)
		if got := connectBudget(); got != want {
			t.Errorf("%q: %s", text, got)
		}
	}
}
