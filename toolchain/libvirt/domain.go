package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	rpc "github.com/digitalocean/go-libvirt"
	"github.com/dmacvicar/terraform-provider-libvirt/libvirt"
	"github.com/google/uuid"
	"github.com/hashicorp/terraform-plugin-sdk/v2/diag"
	"github.com/hashicorp/terraform-plugin-sdk/v2/helper/schema"
	"libvirt.org/go/libvirtxml"
)

const (
	powerOffPoll = 100 * time.Millisecond
	// askAgain is how often a guest is asked to power off: one that is still booting misses it.
	askAgain = 10 * time.Second
	seedMark = "cloudinit" // the provider's serial number for the CD with the seed
	everyBit = rpc.DomainUndefineNvram | rpc.DomainUndefineManagedSave |
		rpc.DomainUndefineSnapshotsMetadata | rpc.DomainUndefineCheckpointsMetadata
)

// domains is what is used of a host's domains.
type domains interface {
	DomainLookupByName(name string) (rpc.Domain, error)
	DomainLookupByUUID(id rpc.UUID) (rpc.Domain, error)
	DomainGetXMLDesc(rpc.Domain, rpc.DomainXMLFlags) (string, error)
	DomainGetState(dom rpc.Domain, flags uint32) (state int32, reason int32, err error)
	DomainShutdown(rpc.Domain) error
	DomainSuspend(rpc.Domain) error
	DomainDestroy(rpc.Domain) error
	DomainUndefineFlags(rpc.Domain, rpc.DomainUndefineFlagsValues) error
	DomainUpdateDeviceFlags(dom rpc.Domain, xml string, flags rpc.DomainDeviceModifyFlags) error
	DomainSetAutostart(dom rpc.Domain, autostart int32) error
	StorageVolLookupByKey(key string) (rpc.StorageVol, error)
	StoragePoolLookupByName(name string) (rpc.StoragePool, error)
	StorageVolLookupByName(rpc.StoragePool, string) (rpc.StorageVol, error)
}

var _ domains = (*rpc.Libvirt)(nil)

// guardDomains lets Create remove what a broken run of ours left under the wanted name and refuse anything else,
// pauses what it made where the URI asks for that, gives a guest that waits its new seed before it is started, and lets
// Delete ask the guest to power off first. A paused domain is one that runs to Read.
func guardDomains(r *schema.Resource) {
	create, read, update, remove := r.CreateContext, r.ReadContext, r.UpdateContext, r.DeleteContext
	r.CreateContext = func(ctx context.Context, d *schema.ResourceData, meta any) diag.Diagnostics {
		s, name, disks := conn(meta.(*libvirt.Client)), d.Get("name").(string), disksOf(d)
		if err := removeRemnant(s, name, disks); err != nil {
			return diag.FromErr(err)
		}
		diags := create(ctx, d, meta)
		if diags.HasError() && d.Id() == "" && s.IsConnected() { // defined, perhaps, but not started
			if err := removeRemnant(s, name, disks); err != nil {
				diags = append(diags, diag.FromErr(err)...)
			}
		}
		if !diags.HasError() && hostOf(ctx).createdPaused {
			if err := suspend(s, d.Id()); err != nil { // it boots then, at once
				tell(ctx, err.Error(), true)
			}
		}
		return diags
	}
	r.ReadContext = func(ctx context.Context, d *schema.ResourceData, meta any) diag.Diagnostics {
		diags := read(ctx, d, meta)
		if diags.HasError() || d.Id() == "" || d.Get("running").(bool) {
			return diags
		}
		_, state, err := findDomain(conn(meta.(*libvirt.Client)), d.Id())
		if err == nil && state == rpc.DomainPaused {
			err = d.Set("running", true)
		}
		return append(diags, diag.FromErr(err)...)
	}
	r.UpdateContext = func(ctx context.Context, d *schema.ResourceData, meta any) diag.Diagnostics {
		s, seed := conn(meta.(*libvirt.Client)), ""
		if d.HasChange("cloudinit") {
			seed, _, _ = strings.Cut(d.Get("cloudinit").(string), ";")
			if seed == "" {
				return diag.Errorf("a guest's cloud-init disk can be replaced by another, but not taken away")
			}
		}
		waits, err := updateWaiting(s, d.Id(), seed, d.Get("autostart").(bool), hostOf(ctx).createdPaused)
		if err != nil {
			return diag.FromErr(err)
		}
		if waits {
			return nil
		}
		return update(ctx, d, meta)
	}
	r.DeleteContext = func(ctx context.Context, d *schema.ResourceData, meta any) diag.Diagnostics {
		s := conn(meta.(*libvirt.Client))
		domain, _, err := findDomain(s, d.Id())
		if err == nil && domain == nil {
			return nil // undefined by hand
		}
		if err == nil {
			err = powerOff(ctx, s, *domain, hostOf(ctx).shutdownTimeout)
		}
		if err != nil {
			return diag.FromErr(err)
		}
		return remove(ctx, d, meta)
	}
}

// findDomain returns a domain and its state; nil when there is none.
func findDomain(s domains, id string) (*rpc.Domain, rpc.DomainState, error) {
	parsed, err := uuid.Parse(id)
	if err != nil {
		return nil, 0, err
	}
	domain, err := s.DomainLookupByUUID(rpc.UUID(parsed))
	var state int32
	if err == nil {
		state, _, err = s.DomainGetState(domain, 0)
	}
	if isCode(err, rpc.ErrNoDomain) {
		return nil, 0, nil
	}
	if err != nil {
		return nil, 0, inside(err, "looking for domain %s", id)
	}
	return &domain, rpc.DomainState(state), nil
}

// suspend pauses a domain that runs.
func suspend(s domains, id string) error {
	domain, state, err := findDomain(s, id)
	if err != nil || domain == nil || state != rpc.DomainRunning {
		return err
	}
	if err := s.DomainSuspend(*domain); err != nil {
		return inside(err, "pausing domain %s until its turn to boot", domain.Name)
	}
	return nil
}

// disksOf are the keys of the volumes that a domain resource asks for.
func disksOf(d *schema.ResourceData) (keys []string) {
	for i := range d.Get("disk.#").(int) {
		if key := d.Get(fmt.Sprintf("disk.%d.volume_id", i)).(string); key != "" {
			keys = append(keys, key)
		}
	}
	return keys
}

// removeRemnant removes a domain of that name when it has no disks but those given, which belong to this stack: a
// broken run of ours made it. Any other domain of that name is an error.
func removeRemnant(s domains, name string, disks []string) error {
	domain, err := s.DomainLookupByName(name)
	if isCode(err, rpc.ErrNoDomain) {
		return nil
	}
	if err != nil {
		return inside(err, "looking for domain %s", name)
	}
	text, err := s.DomainGetXMLDesc(domain, rpc.DomainXMLInactive)
	if err != nil {
		return inside(err, "domain %s", name)
	}
	var seen libvirtxml.Domain
	if err := seen.Unmarshal(text); err != nil {
		return err
	}
	if foreign := foreignDisks(s, seen, disks); len(foreign) > 0 {
		return fmt.Errorf("a domain named %s exists already (UUID %s) and was not made by this stack: its disks are %s. "+
			"It is left as it is. Rename it (`virsh domrename %s NEWNAME`, when it is off), or choose another name",
			name, uuid.UUID(domain.UUID), strings.Join(foreign, ", "), name)
	}
	state, _, err := s.DomainGetState(domain, 0)
	if err == nil && rpc.DomainState(state) != rpc.DomainShutoff {
		err = s.DomainDestroy(domain)
	}
	if err == nil {
		err = s.DomainUndefineFlags(domain, everyBit)
	}
	if err != nil {
		return inside(err, "removing domain %s, which a broken run left", name)
	}
	return nil
}

// foreignDisks are the disks of a domain that are not among the given volumes. The CD with the seed does not count:
// an edit since the broken run gave it another name. A domain without a disk of ours is foreign as it is.
func foreignDisks(s domains, seen libvirtxml.Domain, ours []string) (foreign []string) {
	count := 0
	if seen.Devices != nil {
		for _, disk := range seen.Devices.Disks {
			if disk.Device == "cdrom" && disk.Serial == seedMark {
				continue
			}
			if key := volumeKey(s, disk.Source); slices.Contains(ours, key) {
				count++
			} else {
				foreign = append(foreign, fmt.Sprintf("%q", key))
			}
		}
	}
	if count == 0 && len(foreign) == 0 {
		return []string{"none"}
	}
	return foreign
}

// volumeKey is the key of the volume behind a disk: its path, for volumes in folders.
func volumeKey(s domains, source *libvirtxml.DomainDiskSource) string {
	switch {
	case source == nil || source.File != nil && source.File.File == "":
		return "(no medium)"
	case source.File != nil:
		return source.File.File
	case source.Block != nil:
		return source.Block.Dev
	case source.Volume != nil:
		pool, err := s.StoragePoolLookupByName(source.Volume.Pool)
		if err == nil {
			var volume rpc.StorageVol
			if volume, err = s.StorageVolLookupByName(pool, source.Volume.Volume); err == nil {
				return volume.Key
			}
		}
		return source.Volume.Pool + "/" + source.Volume.Volume
	}
	return "(not a file)"
}

// updateWaiting updates a domain that does not run and is not to be started now: a paused one, and, with stays, one that
// is off. The provider would start either, which fails for a paused one. A domain that is off and is to be started gets
// only its new seed: the provider swaps the CD after the start, so that the guest would boot with the old one.
// It says whether all is done; an empty seed is no new one.
func updateWaiting(s domains, id, seed string, autostart, stays bool) (done bool, err error) {
	domain, state, err := findDomain(s, id)
	if err != nil || domain == nil || state != rpc.DomainPaused && state != rpc.DomainShutoff {
		return false, err
	}
	flags := rpc.DomainDeviceModifyConfig
	if state == rpc.DomainPaused {
		flags |= rpc.DomainDeviceModifyLive
	}
	if err := swapSeed(s, *domain, seed, flags); err != nil {
		return false, err
	}
	if state == rpc.DomainShutoff && !stays {
		return false, nil
	}
	start := int32(0)
	if autostart {
		start = 1
	}
	if err := s.DomainSetAutostart(*domain, start); err != nil {
		return false, inside(err, "autostart of domain %s", domain.Name)
	}
	return true, nil
}

// swapSeed gives a domain its new seed; an empty key is no new one.
func swapSeed(s domains, domain rpc.Domain, key string, flags rpc.DomainDeviceModifyFlags) error {
	if key == "" {
		return nil
	}
	volume, err := s.StorageVolLookupByKey(key)
	if err != nil {
		return inside(err, "cloud-init disk %s", key)
	}
	text, err := (&libvirtxml.DomainDisk{
		Device: "cdrom",
		Driver: &libvirtxml.DomainDiskDriver{Name: "qemu", Type: "raw"},
		Source: &libvirtxml.DomainDiskSource{File: &libvirtxml.DomainDiskSourceFile{File: volume.Key}},
		Target: &libvirtxml.DomainDiskTarget{Dev: "hdd", Bus: "ide"},
		Serial: seedMark,
	}).Marshal()
	if err != nil {
		return err
	}
	if err := s.DomainUpdateDeviceFlags(domain, text, flags); err != nil {
		return inside(err, "giving domain %s its new cloud-init disk", domain.Name)
	}
	return nil
}

// powerOff asks a running guest to power off and waits until it did, or limit is over: what it has not yet written
// to its disk is lost when its power is cut, also where only its memory or cores are changed (a new domain, the same
// disk).
func powerOff(ctx context.Context, s domains, domain rpc.Domain, limit time.Duration) error {
	start, asked := time.Now(), 0
	for {
		state, _, err := s.DomainGetState(domain, 0)
		if isCode(err, rpc.ErrNoDomain) {
			return nil
		}
		if err != nil {
			return inside(err, "domain %s", domain.Name)
		}
		waited := time.Since(start)
		if rpc.DomainState(state) != rpc.DomainRunning && rpc.DomainState(state) != rpc.DomainShutdown || waited >= limit {
			return nil
		}
		if waited >= time.Duration(asked)*askAgain {
			asked++
			_ = s.DomainShutdown(domain) // a guest that cannot be asked is waited for all the same
		}
		select {
		case <-time.After(powerOffPoll):
		case <-stopped.Done():
			return errors.New("interrupted while the guest powers off")
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
