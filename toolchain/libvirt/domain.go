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
	powerOffPoll = 500 * time.Millisecond
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
	DomainDestroy(rpc.Domain) error
	DomainUndefineFlags(rpc.Domain, rpc.DomainUndefineFlagsValues) error
	DomainUpdateDeviceFlags(dom rpc.Domain, xml string, flags rpc.DomainDeviceModifyFlags) error
	StorageVolLookupByKey(key string) (rpc.StorageVol, error)
	StoragePoolLookupByName(name string) (rpc.StoragePool, error)
	StorageVolLookupByName(rpc.StoragePool, string) (rpc.StorageVol, error)
}

var _ domains = (*rpc.Libvirt)(nil)

// guardDomains lets Create remove what a broken run of ours left under the wanted name and refuse anything else,
// gives a stopped guest its new seed before Update starts it, and lets Delete ask the guest to power off first.
func guardDomains(r *schema.Resource) {
	create, update, remove := r.CreateContext, r.UpdateContext, r.DeleteContext
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
		return diags
	}
	r.UpdateContext = func(ctx context.Context, d *schema.ResourceData, meta any) diag.Diagnostics {
		if d.HasChange("cloudinit") {
			key, _, _ := strings.Cut(d.Get("cloudinit").(string), ";")
			if err := swapSeedOfStopped(conn(meta.(*libvirt.Client)), d.Id(), key); err != nil {
				return diag.FromErr(err)
			}
		}
		return update(ctx, d, meta)
	}
	r.DeleteContext = func(ctx context.Context, d *schema.ResourceData, meta any) diag.Diagnostics {
		s := conn(meta.(*libvirt.Client))
		domain, err := findDomain(s, d.Id())
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

func findDomain(s domains, id string) (*rpc.Domain, error) {
	parsed, err := uuid.Parse(id)
	if err != nil {
		return nil, err
	}
	domain, err := s.DomainLookupByUUID(rpc.UUID(parsed))
	if isCode(err, rpc.ErrNoDomain) {
		return nil, nil
	}
	if err != nil {
		return nil, inside(err, "looking for domain %s", id)
	}
	return &domain, nil
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

// swapSeedOfStopped puts a new seed into the definition of a domain that is off. The provider starts such a domain
// and swaps the CD then, so that the guest would boot with the old one.
func swapSeedOfStopped(s domains, id, key string) error {
	domain, err := findDomain(s, id)
	if err != nil || domain == nil {
		return err
	}
	state, _, err := s.DomainGetState(*domain, 0)
	if err != nil || rpc.DomainState(state) != rpc.DomainShutoff {
		return err
	}
	if key == "" {
		return errors.New("a guest's cloud-init disk can be replaced by another, but not taken away")
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
	if err := s.DomainUpdateDeviceFlags(*domain, text, rpc.DomainDeviceModifyConfig); err != nil {
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
