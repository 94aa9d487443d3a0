package main

import (
	"encoding/xml"
	"fmt"
	"io"
	"time"

	rpc "github.com/digitalocean/go-libvirt"
	"libvirt.org/go/libvirtxml"
)

const (
	refreshLimit = time.Minute
	refreshPause = 200 * time.Millisecond
	qcow2Version = "1.1"  // libvirt's default, 0.10, has no zero clusters: what a guest discards would stay allocated
	privateMode  = "0600" // disks and seeds hold private keys; libvirt hands them to QEMU's user when a guest starts
)

// storage is what is used of a host's storage pools and volumes.
type storage interface {
	StoragePoolLookupByName(name string) (rpc.StoragePool, error)
	StoragePoolLookupByUUID(id rpc.UUID) (rpc.StoragePool, error)
	StoragePoolGetXMLDesc(rpc.StoragePool, rpc.StorageXMLFlags) (string, error)
	StoragePoolIsActive(rpc.StoragePool) (int32, error)
	StoragePoolBuild(rpc.StoragePool, rpc.StoragePoolBuildFlags) error
	StoragePoolCreate(rpc.StoragePool, rpc.StoragePoolCreateFlags) error
	StoragePoolSetAutostart(rpc.StoragePool, int32) error
	StoragePoolRefresh(rpc.StoragePool, uint32) error
	StoragePoolListAllVolumes(rpc.StoragePool, int32, uint32) ([]rpc.StorageVol, uint32, error)
	StorageVolLookupByName(rpc.StoragePool, string) (rpc.StorageVol, error)
	StorageVolLookupByKey(key string) (rpc.StorageVol, error)
	StorageVolGetXMLDesc(rpc.StorageVol, uint32) (string, error)
	StorageVolGetInfo(rpc.StorageVol) (kind int8, capacity, allocation uint64, err error)
	StorageVolCreateXML(rpc.StoragePool, string, rpc.StorageVolCreateFlags) (rpc.StorageVol, error)
	StorageVolUpload(vol rpc.StorageVol, from io.Reader, offset, length uint64, flags rpc.StorageVolUploadFlags) error
	StorageVolDownload(vol rpc.StorageVol, to io.Writer, offset, length uint64, flags rpc.StorageVolDownloadFlags) error
	StorageVolDelete(rpc.StorageVol, rpc.StorageVolDeleteFlags) error
}

var _ storage = (*rpc.Libvirt)(nil)

// freshPool returns a pool, started if it was not, that knows what is in its folder now.
func freshPool(s storage, name string) (rpc.StoragePool, error) {
	pool, err := s.StoragePoolLookupByName(name)
	if err != nil {
		return pool, inside(err, "storage pool %s", name)
	}
	if err := startPool(s, pool); err != nil {
		return pool, err
	}
	return pool, refresh(s, pool)
}

// startPool starts a pool that is not: its volumes are unknown to libvirt until then.
func startPool(s storage, pool rpc.StoragePool) error {
	active, err := s.StoragePoolIsActive(pool)
	if err == nil && active == 0 {
		err = s.StoragePoolCreate(pool, 0)
	}
	if err != nil {
		return inside(err, "starting storage pool %s", pool.Name)
	}
	return nil
}

// refresh makes libvirt read a pool's folder; it waits while another client's transfer goes on there.
func refresh(s storage, pool rpc.StoragePool) error {
	for end := time.Now().Add(refreshLimit); ; time.Sleep(refreshPause) {
		err := s.StoragePoolRefresh(pool, 0)
		if err == nil {
			return nil
		}
		if !isCode(err, rpc.ErrInternalError) || time.Now().After(end) || stopped.Err() != nil {
			return inside(err, "reading storage pool %s", pool.Name)
		}
	}
}

// findVolume returns the volume of that name, or nil when the pool has none.
func findVolume(s storage, pool rpc.StoragePool, name string) (*rpc.StorageVol, error) {
	volume, err := s.StorageVolLookupByName(pool, name)
	if isCode(err, rpc.ErrNoStorageVol) {
		return nil, nil
	}
	if err != nil {
		return nil, inside(err, "looking for volume %s in pool %s", name, pool.Name)
	}
	return &volume, nil
}

// describe returns libvirt's description of a volume.
func describe(s storage, volume rpc.StorageVol) (libvirtxml.StorageVolume, error) {
	var description libvirtxml.StorageVolume
	text, err := s.StorageVolGetXMLDesc(volume, 0)
	if err != nil {
		return description, inside(err, "volume %s", volume.Key)
	}
	return description, description.Unmarshal(text)
}

// newVolume makes a volume that only root and the guest's own QEMU can read.
func newVolume(s storage, pool rpc.StoragePool, name, format string, capacity uint64, backing *libvirtxml.StorageVolumeBackingStore) (rpc.StorageVol, error) {
	target := &libvirtxml.StorageVolumeTarget{
		Format:      &libvirtxml.StorageVolumeTargetFormat{Type: format},
		Permissions: &libvirtxml.StorageVolumeTargetPermissions{Mode: privateMode},
	}
	if format == "qcow2" {
		target.Compat = qcow2Version
	}
	text, err := xml.Marshal(libvirtxml.StorageVolume{
		Name:         name,
		Capacity:     &libvirtxml.StorageVolumeSize{Unit: "bytes", Value: capacity},
		Target:       target,
		BackingStore: backing,
	})
	if err != nil {
		return rpc.StorageVol{}, err
	}
	volume, err := s.StorageVolCreateXML(pool, string(text), 0)
	if err != nil {
		return volume, inside(err, "creating volume %s in pool %s", name, pool.Name)
	}
	return volume, nil
}

// foreignError says that something of the wanted name exists which is not ours to use or to overwrite.
func foreignError(kind, pool, name, seen string) error {
	return fmt.Errorf("%s %s in storage pool %s exists already and was not made by this stack: %s. It is left as it is. "+
		"Rename it or move it away if it is not needed (`virsh vol-list %s --details` shows it), or choose another name",
		kind, name, pool, seen, pool)
}
