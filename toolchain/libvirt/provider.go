package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	rpc "github.com/digitalocean/go-libvirt"
	"github.com/dmacvicar/terraform-provider-libvirt/libvirt"
	"github.com/hashicorp/terraform-plugin-sdk/v2/diag"
	"github.com/hashicorp/terraform-plugin-sdk/v2/helper/schema"
)

const lostLimit = 10 * time.Second // for an operation to return after its connection is lost

// operation is a resource's Create, Read, Update or Delete, or one of ours that stands before it or for it.
type operation = func(context.Context, *schema.ResourceData, any) diag.Diagnostics

// lazyProvider is the published provider with four changes: it connects when a resource is read or changed instead of
// when it is configured; it leaves alone what it did not make; what a broken run left behind does not stop the next; a
// new guest is paused until its turn to boot, where the URI says so.
func lazyProvider() *schema.Provider {
	p := libvirt.Provider()
	p.ConfigureFunc = func(d *schema.ResourceData) (any, error) {
		a, err := parseAddress(d.Get("uri").(string))
		if err != nil {
			return nil, err
		}
		return newHost(a), nil
	}
	guardPools(p.ResourcesMap["libvirt_pool"])
	guardVolumes(p.ResourcesMap["libvirt_volume"])
	guardSeeds(p.ResourcesMap["libvirt_cloudinit_disk"])
	guardDomains(p.ResourcesMap["libvirt_domain"])
	for _, r := range p.ResourcesMap {
		r.CreateContext = connected(r.CreateContext)
		if r.UpdateContext == nil {
			r.CreateContext = allOrNothing(r.CreateContext)
		}
		r.ReadContext = connected(r.ReadContext)
		r.UpdateContext = connected(r.UpdateContext)
		r.DeleteContext = connected(r.DeleteContext)
	}
	for name, r := range p.DataSourcesMap {
		if strings.HasSuffix(name, "_template") {
			continue // renders text, needs no host
		}
		read := r.Read
		r.Read = nil
		r.ReadContext = connected(schema.ReadContextFunc(
			func(_ context.Context, d *schema.ResourceData, meta any) diag.Diagnostics {
				return diag.FromErr(read(d, meta))
			}))
	}
	return p
}

// connected makes an operation connect first, and gives it the provider's client. Its errors name the host.
func connected[F ~operation](f F) F {
	if f == nil {
		return nil
	}
	return func(ctx context.Context, d *schema.ResourceData, meta any) diag.Diagnostics {
		h := meta.(*host)
		diags := h.run(ctx, operation(f), d)
		if diags.HasError() && !d.IsNewResource() {
			d.Partial(true) // else a failed update leaves the planned values in the state
		}
		for i := range diags {
			diags[i].Summary = "host " + h.host + ": " + diags[i].Summary
		}
		return diags
	}
}

// allOrNothing records nothing of a create that failed. The engine would have a half-made resource updated, which
// this resource cannot be, and not get on; create itself takes up what it finds.
func allOrNothing(create schema.CreateContextFunc) schema.CreateContextFunc {
	return func(ctx context.Context, d *schema.ResourceData, meta any) diag.Diagnostics {
		diags := create(ctx, d, meta)
		if diags.HasError() {
			d.SetId("")
		}
		return diags
	}
}

// run is one operation on the host, over a connection that is watched meanwhile.
func (h *host) run(ctx context.Context, f operation, d *schema.ResourceData) diag.Diagnostics {
	leave, err := h.enter(ctx)
	if err != nil {
		return diag.FromErr(err)
	}
	defer leave()
	client, err := h.connect(ctx)
	if err != nil {
		return diag.FromErr(err)
	}
	done := make(chan diag.Diagnostics, 1)
	go func() { done <- survive(f)(withHost(ctx, h), d, client) }()
	select {
	case diags := <-done:
		if !diags.HasError() || conn(client).IsConnected() {
			return diags
		}
		return append(diags, lost()...)
	case <-conn(client).Disconnected():
	}
	select { // the operation sees the loss, or waits for ever (a transfer does)
	case diags := <-done:
		if !diags.HasError() {
			return diags
		}
		return append(diags, lost()...)
	case <-time.After(lostLimit):
		return lost()
	}
}

func lost() diag.Diagnostics {
	return diag.Errorf("the connection was lost during this operation; the next `pulumi up` continues from what is there")
}

// survive turns a panic of the provider into an error: it would end the plugin, and all that it has under way.
func survive(f operation) operation {
	return func(ctx context.Context, d *schema.ResourceData, meta any) (diags diag.Diagnostics) {
		defer func() {
			if r := recover(); r != nil {
				diags = diag.Errorf("terraform-provider-libvirt failed on this resource (a guest whose CD was ejected does this: `virsh change-media` puts it back): %v", r)
			}
		}()
		return f(ctx, d, meta)
	}
}

type hostKey struct{}

func withHost(ctx context.Context, h *host) context.Context {
	return context.WithValue(ctx, hostKey{}, h)
}

// hostOf is the host that an operation runs on.
func hostOf(ctx context.Context) *host {
	return ctx.Value(hostKey{}).(*host)
}

// isCode says whether err is libvirt's error of that number.
func isCode(err error, code rpc.ErrorNumber) bool {
	var e rpc.Error
	return errors.As(err, &e) && e.Code == uint32(code)
}

// inside adds what was being done to an error of libvirt.
func inside(err error, format string, args ...any) error {
	return fmt.Errorf(format+": %w", append(args, err)...)
}
