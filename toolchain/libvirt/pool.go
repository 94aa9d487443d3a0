package main

import (
	"context"
	"fmt"
	"strings"

	rpc "github.com/digitalocean/go-libvirt"
	"github.com/dmacvicar/terraform-provider-libvirt/libvirt"
	"github.com/google/uuid"
	"github.com/hashicorp/terraform-plugin-sdk/v2/diag"
	"github.com/hashicorp/terraform-plugin-sdk/v2/helper/schema"
	"libvirt.org/go/libvirtxml"
)

// guardPools lets Create take up the empty pool that a broken run of ours defined, and makes Delete name what is
// still in the pool before it stops anything (the folder would stay, and the pool stopped).
func guardPools(r *schema.Resource) {
	create, read, remove := r.CreateContext, r.ReadContext, r.DeleteContext
	r.CreateContext = func(ctx context.Context, d *schema.ResourceData, meta any) diag.Diagnostics {
		path := d.Get("target.0.path").(string)
		if path == "" {
			path = d.Get("path").(string)
		}
		pool, err := adoptPool(conn(meta.(*libvirt.Client)), d.Get("name").(string), d.Get("type").(string), path)
		if err != nil {
			return diag.FromErr(err)
		}
		if pool == nil {
			return create(ctx, d, meta)
		}
		d.SetId(uuid.UUID(pool.UUID).String())
		return read(ctx, d, meta)
	}
	r.DeleteContext = func(ctx context.Context, d *schema.ResourceData, meta any) diag.Diagnostics {
		if d.Get("type") == "dir" {
			if err := emptyPool(conn(meta.(*libvirt.Client)), d.Id()); err != nil {
				return diag.FromErr(err)
			}
		}
		return remove(ctx, d, meta)
	}
}

// adoptPool returns the pool of that name, made ready for use, when it is the wanted one and holds nothing; nil when
// there is none. A pool that holds something, or is another, is an error.
func adoptPool(s storage, name, kind, path string) (*rpc.StoragePool, error) {
	pool, err := s.StoragePoolLookupByName(name)
	if isCode(err, rpc.ErrNoStoragePool) {
		return nil, nil
	}
	if err != nil {
		return nil, inside(err, "looking for storage pool %s", name)
	}
	text, err := s.StoragePoolGetXMLDesc(pool, 0)
	if err != nil {
		return nil, inside(err, "storage pool %s", name)
	}
	var seen libvirtxml.StoragePool
	if err := seen.Unmarshal(text); err != nil {
		return nil, err
	}
	seenPath := ""
	if seen.Target != nil {
		seenPath = seen.Target.Path
	}
	if seen.Type != kind || kind != "dir" || seenPath != path {
		return nil, foreignPoolError(pool, fmt.Sprintf("it has type %s and path %q, wanted are type %s and path %q", seen.Type, seenPath, kind, path))
	}
	if err := readyPool(s, pool); err != nil {
		return nil, err
	}
	names, err := volumeNames(s, pool)
	if err != nil {
		return nil, err
	}
	if len(names) > 0 {
		return nil, foreignPoolError(pool, "it holds "+strings.Join(names, ", "))
	}
	return &pool, nil
}

// readyPool does what creating a pool does after its definition; each step may have been done before.
func readyPool(s storage, pool rpc.StoragePool) error {
	active, err := s.StoragePoolIsActive(pool)
	if err == nil && active == 0 {
		if err = s.StoragePoolBuild(pool, 0); err == nil {
			err = s.StoragePoolCreate(pool, 0)
		}
	}
	if err == nil {
		err = s.StoragePoolSetAutostart(pool, 1)
	}
	if err != nil {
		return inside(err, "making storage pool %s ready", pool.Name)
	}
	return refresh(s, pool)
}

// emptyPool is an error when the pool holds something that this stack did not make (it deleted its own before).
func emptyPool(s storage, id string) error {
	parsed, err := uuid.Parse(id)
	if err != nil {
		return err
	}
	pool, err := s.StoragePoolLookupByUUID(rpc.UUID(parsed))
	if isCode(err, rpc.ErrNoStoragePool) {
		return nil
	}
	if err != nil {
		return inside(err, "looking for storage pool %s", id)
	}
	if active, err := s.StoragePoolIsActive(pool); err != nil || active == 0 {
		return err // its folder is not looked at; deleting the folder fails when it is not empty
	}
	if err := refresh(s, pool); err != nil {
		return err
	}
	names, err := volumeNames(s, pool)
	if err != nil || len(names) == 0 {
		return err
	}
	return fmt.Errorf("storage pool %s still holds what this stack did not make, and is left as it is: %s. "+
		"Move these files away and run the command again", pool.Name, strings.Join(names, ", "))
}

func volumeNames(s storage, pool rpc.StoragePool) (names []string, err error) {
	volumes, _, err := s.StoragePoolListAllVolumes(pool, 1, 0)
	if err != nil {
		return nil, inside(err, "listing storage pool %s", pool.Name)
	}
	for _, v := range volumes {
		names = append(names, v.Name)
	}
	return names, nil
}

func foreignPoolError(pool rpc.StoragePool, seen string) error {
	id := uuid.UUID(pool.UUID)
	return fmt.Errorf("storage pool %s exists already (UUID %s) and was not made by this stack: %s. It is left as it is. "+
		"Choose another name, or take it into this stack with `pulumi import libvirt:index/pool:Pool NAME %s`", pool.Name, id, seen, id)
}
