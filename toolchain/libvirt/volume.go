package main

import (
	"context"
	"errors"
	"fmt"

	rpc "github.com/digitalocean/go-libvirt"
	"github.com/dmacvicar/terraform-provider-libvirt/libvirt"
	"github.com/hashicorp/terraform-plugin-sdk/v2/diag"
	"github.com/hashicorp/terraform-plugin-sdk/v2/helper/schema"
	"libvirt.org/go/libvirtxml"
)

// largestPristine is more than a qcow2 file without data occupies (200 kB), and less than a guest's first boot writes.
const largestPristine = 1 << 20

// disk is a guest's disk as a resource asks for it.
type disk struct {
	pool, name, format string
	capacity           uint64 // bytes; 0: the base's
	baseKey            string // its key, or
	basePool, baseName string // its place; all empty: no base
}

// guardVolumes replaces the provider's Create, which takes any volume of the wanted name for its own, and makes
// disks that every user of the host can read.
func guardVolumes(r *schema.Resource) {
	read, remove := r.ReadContext, r.DeleteContext
	r.CreateContext = func(ctx context.Context, d *schema.ResourceData, meta any) diag.Diagnostics {
		for field, remedy := range map[string]string{
			"source": "an upload that breaks off would leave half an image: let a kvm:BaseImage put it there, and name it as base volume",
			"xml":    "the volume's description is fixed",
		} {
			if _, set := d.GetOk(field); set {
				return diag.Errorf("%s is not supported for volumes: %s", field, remedy)
			}
		}
		wanted := diskOf(d)
		locks := poolLocks(meta.(*libvirt.Client))
		locks.Lock(wanted.pool)
		volume, err := makeDisk(conn(meta.(*libvirt.Client)), wanted)
		locks.Unlock(wanted.pool)
		if err != nil {
			return diag.FromErr(err)
		}
		d.SetId(volume.Key)
		return read(ctx, d, meta)
	}
	r.DeleteContext = func(ctx context.Context, d *schema.ResourceData, meta any) diag.Diagnostics {
		if err := wake(conn(meta.(*libvirt.Client)), d); err != nil {
			return diag.FromErr(err)
		}
		return remove(ctx, d, meta)
	}
}

func diskOf(d *schema.ResourceData) disk {
	w := disk{
		pool:     d.Get("pool").(string),
		name:     d.Get("name").(string),
		format:   d.Get("format").(string),
		capacity: uint64(d.Get("size").(int)),
		baseKey:  d.Get("base_volume_id").(string),
		basePool: d.Get("base_volume_pool").(string),
		baseName: d.Get("base_volume_name").(string),
	}
	if w.format == "" {
		w.format = "qcow2"
	}
	if w.basePool == "" {
		w.basePool = w.pool
	}
	return w
}

// makeDisk creates a disk, or adopts the one that a broken run of ours created: it is what would be made now, and
// nothing was ever written to it.
func makeDisk(s storage, w disk) (rpc.StorageVol, error) {
	pool, err := freshPool(s, w.pool)
	if err != nil {
		return rpc.StorageVol{}, err
	}
	backing, err := w.backing(s)
	if err != nil {
		return rpc.StorageVol{}, err
	}
	if w.capacity == 0 {
		return rpc.StorageVol{}, fmt.Errorf("volume %s: size is missing", w.name)
	}
	existing, err := findVolume(s, pool, w.name)
	if err != nil {
		return rpc.StorageVol{}, err
	}
	if existing == nil {
		return newVolume(s, pool, w.name, w.format, w.capacity, backing)
	}
	description, err := describe(s, *existing)
	if err != nil {
		return rpc.StorageVol{}, err
	}
	_, _, allocation, err := s.StorageVolGetInfo(*existing)
	if err != nil {
		return rpc.StorageVol{}, inside(err, "volume %s", existing.Key)
	}
	if err := w.pristine(description, allocation, backing); err != nil {
		return rpc.StorageVol{}, foreignError("volume", w.pool, w.name, err.Error())
	}
	return *existing, nil
}

// backing finds the base and returns how the disk refers to it; it completes and checks w.capacity.
func (w *disk) backing(s storage) (*libvirtxml.StorageVolumeBackingStore, error) {
	base, err := w.base(s)
	if err != nil || base == nil {
		return nil, err
	}
	description, err := describe(s, *base)
	if err != nil {
		return nil, err
	}
	if description.Target == nil || description.Target.Format == nil || description.Capacity == nil {
		return nil, fmt.Errorf("base volume %s: libvirt knows neither its format nor its size", base.Key)
	}
	if w.capacity == 0 {
		w.capacity = description.Capacity.Value
	}
	if w.capacity < description.Capacity.Value {
		return nil, fmt.Errorf("volume %s shall have %d bytes, its base %s has %d: a disk cannot be smaller than its base",
			w.name, w.capacity, base.Key, description.Capacity.Value)
	}
	return &libvirtxml.StorageVolumeBackingStore{
		Path:   description.Target.Path,
		Format: &libvirtxml.StorageVolumeTargetFormat{Type: description.Target.Format.Type},
	}, nil
}

// base finds the base volume; nil when none is asked for.
func (w *disk) base(s storage) (*rpc.StorageVol, error) {
	switch {
	case w.baseKey != "" && w.baseName != "":
		return nil, errors.New("base_volume_id and base_volume_name exclude each other")
	case w.baseKey != "":
		base, err := s.StorageVolLookupByKey(w.baseKey)
		if err != nil {
			return nil, inside(err, "base volume %s", w.baseKey)
		}
		return &base, nil
	case w.baseName != "":
		pool, err := freshPool(s, w.basePool) // the image may have come there without libvirt
		if err != nil {
			return nil, err
		}
		base, err := s.StorageVolLookupByName(pool, w.baseName)
		if err != nil {
			return nil, inside(err, "base volume %s in pool %s", w.baseName, w.basePool)
		}
		return &base, nil
	}
	return nil, nil
}

// pristine says in which way an existing volume is not the wanted disk, unwritten.
func (w *disk) pristine(seen libvirtxml.StorageVolume, allocation uint64, backing *libvirtxml.StorageVolumeBackingStore) error {
	format := "unknown"
	if seen.Target != nil && seen.Target.Format != nil {
		format = seen.Target.Format.Type
	}
	switch {
	case format != w.format:
		return fmt.Errorf("its format is %s, wanted %s", format, w.format)
	case w.format != "qcow2":
		return fmt.Errorf("whether a %s volume was written to cannot be told", w.format)
	case backingPath(seen.BackingStore) != backingPath(backing):
		return fmt.Errorf("its base is %q, wanted %q", backingPath(seen.BackingStore), backingPath(backing))
	case seen.Capacity == nil || seen.Capacity.Value != w.capacity:
		return fmt.Errorf("its size differs from the wanted %d bytes", w.capacity)
	case allocation > largestPristine:
		return fmt.Errorf("it holds data (%d bytes)", allocation)
	}
	return nil
}

func backingPath(b *libvirtxml.StorageVolumeBackingStore) string {
	if b == nil {
		return ""
	}
	return b.Path
}

// wake starts the pool of a volume that is to be deleted: of a pool that is not started, libvirt says that its
// volumes do not exist, and the file would stay.
func wake(s storage, d *schema.ResourceData) error {
	pool, err := s.StoragePoolLookupByName(d.Get("pool").(string))
	if isCode(err, rpc.ErrNoStoragePool) {
		return nil // and its volumes with it
	}
	if err != nil {
		return err
	}
	return startPool(s, pool)
}
