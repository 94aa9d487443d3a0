package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	rpc "github.com/digitalocean/go-libvirt"
	"github.com/dmacvicar/terraform-provider-libvirt/libvirt"
	"github.com/google/uuid"
	"github.com/hashicorp/terraform-plugin-sdk/v2/diag"
	"github.com/hashicorp/terraform-plugin-sdk/v2/helper/schema"
	"github.com/hooklift/iso9660"
)

const largestSeed = 16 << 20 // a NoCloud seed is some kilobytes

// seed is the content of a cloud-init disk (NoCloud).
type seed struct{ userData, metaData, networkConfig string }

// image is the seed as a disk. Names and label are NoCloud's; the short names are those that mkisofs gives.
func (c seed) image() []byte {
	return makeISO("cidata", []isoFile{
		{short: "META_DAT.", full: "meta-data", content: []byte(c.metaData)},
		{short: "NETWORK_.", full: "network-config", content: []byte(c.networkConfig)},
		{short: "USER_DAT.", full: "user-data", content: []byte(c.userData)},
	})
}

// readSeed reads a disk made by us or by mkisofs.
func readSeed(image []byte) (c seed, err error) {
	reader, err := iso9660.NewReader(bytes.NewReader(image))
	if err != nil {
		return c, err
	}
	for {
		file, err := reader.Next()
		if errors.Is(err, io.EOF) {
			return c, nil
		}
		if err != nil {
			return c, err
		}
		content, err := io.ReadAll(file.Sys().(io.Reader))
		if err != nil {
			return c, err
		}
		switch strings.ToLower(file.Name()) {
		case "/user_dat.":
			c.userData = string(content)
		case "/meta_dat.":
			c.metaData = string(content)
		case "/network_.":
			c.networkConfig = string(content)
		}
	}
}

// guardSeeds replaces the provider's Create and Read. Its own leave the seed readable for every user of the host and
// the client's copy behind when they fail, print it to the log, and stop for good when an upload once broke off.
func guardSeeds(r *schema.Resource) {
	r.ReadContext = readSeedResource
	r.CreateContext = func(ctx context.Context, d *schema.ResourceData, meta any) diag.Diagnostics {
		wanted := seed{d.Get("user_data").(string), d.Get("meta_data").(string), d.Get("network_config").(string)}
		pool, name := d.Get("pool").(string), d.Get("name").(string)
		locks := poolLocks(meta.(*libvirt.Client))
		locks.Lock(pool)
		volume, err := placeSeed(conn(meta.(*libvirt.Client)), pool, name, wanted)
		locks.Unlock(pool)
		if err != nil {
			return diag.FromErr(err)
		}
		d.SetId(volume.Key + ";" + uuid.NewString()) // the provider's form
		return readSeedResource(ctx, d, meta)
	}
	remove := r.DeleteContext
	r.DeleteContext = func(ctx context.Context, d *schema.ResourceData, meta any) diag.Diagnostics {
		if err := wake(conn(meta.(*libvirt.Client)), d); err != nil {
			return diag.FromErr(err)
		}
		return remove(ctx, d, meta)
	}
}

func readSeedResource(_ context.Context, d *schema.ResourceData, meta any) diag.Diagnostics {
	s := conn(meta.(*libvirt.Client))
	if err := wake(s, d); err != nil {
		return diag.FromErr(err)
	}
	key, _, _ := strings.Cut(d.Id(), ";")
	volume, err := s.StorageVolLookupByKey(key)
	if isCode(err, rpc.ErrNoStorageVol) {
		d.SetId("")
		return nil
	}
	if err != nil {
		return diag.FromErr(inside(err, "cloud-init disk %s", key))
	}
	image, err := download(s, volume)
	if err != nil {
		return diag.FromErr(err)
	}
	seen, _ := readSeed(image) // what cannot be read differs from what is wanted, and is replaced
	for field, value := range map[string]string{
		"name": volume.Name, "pool": volume.Pool,
		"user_data": seen.userData, "meta_data": seen.metaData, "network_config": seen.networkConfig,
	} {
		if err := d.Set(field, value); err != nil {
			return diag.FromErr(err)
		}
	}
	return nil
}

// placeSeed uploads a seed. What a broken upload of the same seed left is replaced, the same seed is adopted, and
// anything else of that name is left alone.
func placeSeed(s storage, poolName, name string, wanted seed) (rpc.StorageVol, error) {
	pool, err := freshPool(s, poolName)
	if err != nil {
		return rpc.StorageVol{}, err
	}
	image := wanted.image()
	existing, err := findVolume(s, pool, name)
	if err != nil {
		return rpc.StorageVol{}, err
	}
	if existing != nil {
		content, err := download(s, *existing)
		if err != nil && !errors.Is(err, errNoSeed) {
			return rpc.StorageVol{}, err
		}
		if seen, err := readSeed(content); err == nil && seen == wanted {
			return *existing, nil
		}
		if err != nil || !isPartOf(content, image) {
			return rpc.StorageVol{}, foreignError("cloud-init disk", poolName, name, "its content is another")
		}
		if err := s.StorageVolDelete(*existing, 0); err != nil {
			return rpc.StorageVol{}, inside(err, "removing the incomplete cloud-init disk %s", existing.Key)
		}
	}
	volume, err := newVolume(s, pool, name, "raw", uint64(len(image)), nil)
	if err != nil {
		return rpc.StorageVol{}, err
	}
	if err := s.StorageVolUpload(volume, bytes.NewReader(image), 0, uint64(len(image)), 0); err != nil {
		return rpc.StorageVol{}, inside(err, "uploading cloud-init disk %s", volume.Key)
	}
	return volume, nil
}

// isPartOf says whether content is what a broken upload of an image leaves: a volume is created with all its zeros
// first, then written from its beginning.
func isPartOf(content, image []byte) bool {
	return len(content) <= len(image) && bytes.HasPrefix(image, bytes.TrimRight(content, "\x00"))
}

var errNoSeed = errors.New("larger than any cloud-init disk")

func download(s storage, volume rpc.StorageVol) ([]byte, error) {
	_, capacity, _, err := s.StorageVolGetInfo(volume)
	if err != nil {
		return nil, inside(err, "volume %s", volume.Key)
	}
	if capacity > largestSeed {
		return nil, inside(errNoSeed, "volume %s has %d bytes", volume.Key, capacity)
	}
	var content bytes.Buffer
	if err := s.StorageVolDownload(volume, &content, 0, 0, 0); err != nil {
		return nil, inside(err, "reading volume %s", volume.Key)
	}
	if uint64(content.Len()) != capacity {
		return nil, fmt.Errorf("reading volume %s: %d bytes came of %d", volume.Key, content.Len(), capacity)
	}
	return content.Bytes(), nil
}
