package main

import (
	"context"
	"reflect"
	"strings"
	"testing"

	"github.com/dmacvicar/terraform-provider-libvirt/libvirt"
	"github.com/hashicorp/terraform-plugin-sdk/v2/diag"
	"github.com/hashicorp/terraform-plugin-sdk/v2/helper/schema"
)

// Every function that a resource gets the client through is wrapped; a new kind of function fails here.
func TestEveryFunctionConnects(t *testing.T) {
	known := map[string]bool{"CreateContext": true, "ReadContext": true, "UpdateContext": true, "DeleteContext": true,
		"CustomizeDiff": true} // libvirt_pool's does not use the client
	check := func(name string, r *schema.Resource) {
		v := reflect.ValueOf(r).Elem()
		for i := range v.NumField() {
			f := v.Type().Field(i).Name
			if v.Field(i).Kind() == reflect.Func && !v.Field(i).IsNil() && !known[f] {
				t.Errorf("%s.%s is not wrapped", name, f)
			}
		}
		if len(r.StateUpgraders) > 0 {
			t.Errorf("%s has state upgraders", name)
		}
		passthrough := reflect.ValueOf(schema.ImportStatePassthroughContext).Pointer()
		if r.Importer != nil && reflect.ValueOf(r.Importer.StateContext).Pointer() != passthrough {
			t.Errorf("%s has its own importer", name)
		}
	}
	p := lazyProvider()
	if p.ConfigureContextFunc != nil {
		t.Error("another way to configure")
	}
	for n, r := range p.ResourcesMap {
		check(n, r)
	}
	for n, r := range p.DataSourcesMap {
		if !strings.HasSuffix(n, "_template") {
			check(n, r)
		}
	}
	if err := p.InternalValidate(); err != nil {
		t.Error(err)
	}
}

// Two fields of the client are read by reflection, as they are not exported.
func TestClientFields(t *testing.T) {
	for name, want := range map[string]string{
		"libvirt":     "github.com/digitalocean/go-libvirt.Libvirt",
		"poolMutexKV": "github.com/dmacvicar/terraform-provider-libvirt/libvirt/helper/mutexkv.MutexKV",
	} {
		f, ok := reflect.TypeOf(libvirt.Client{}).FieldByName(name)
		if !ok || f.Type.Kind() != reflect.Pointer || f.Type.Elem().PkgPath()+"."+f.Type.Elem().Name() != want {
			t.Errorf("%s: %v", name, f.Type)
		}
	}
}

func TestPanicIsAnError(t *testing.T) {
	f := survive(func(context.Context, *schema.ResourceData, any) diag.Diagnostics { panic("nil medium") })
	if diags := f(context.Background(), nil, nil); !diags.HasError() || !strings.Contains(diags[0].Summary, "nil medium") {
		t.Error(diags)
	}
}

// A failed update must not leave the planned values in the state, a failed create has nothing to leave.
func TestFailedUpdateIsPartial(t *testing.T) {
	h := &host{address: address{host: "h9"}, open: failing(errNoHost), slots: make(chan struct{}, 1)}
	resource := lazyProvider().ResourcesMap["libvirt_domain"]
	for _, isNew := range []bool{true, false} {
		d := resource.TestResourceData()
		d.SetId("8d9c0e4e-9a3c-4d0b-8f57-3a1d3cb0d3a1")
		if isNew {
			d.MarkNewResource()
		}
		if err := d.Set("autostart", true); err != nil {
			t.Fatal(err)
		}
		diags := resource.UpdateContext(context.Background(), d, h)
		if !diags.HasError() || !strings.HasPrefix(diags[0].Summary, "host h9: cannot connect") {
			t.Error(diags)
		}
		if kept := d.State().Attributes["autostart"] == "true"; kept != isNew {
			t.Errorf("new: %v, planned value in the state: %v", isNew, kept)
		}
	}
}

// The engine has a resource updated whose create failed; one without an update would be stuck.
func TestFailedCreateLeavesNothingToUpdate(t *testing.T) {
	halfWay := func(_ context.Context, d *schema.ResourceData, _ any) diag.Diagnostics {
		d.SetId("made")
		return diag.Errorf("not read back")
	}
	d := lazyProvider().ResourcesMap["libvirt_volume"].TestResourceData()
	if diags := allOrNothing(halfWay)(context.Background(), d, nil); !diags.HasError() || d.Id() != "" {
		t.Error(diags, d.Id())
	}
}
