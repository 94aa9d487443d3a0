package main

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"

	rpc "github.com/digitalocean/go-libvirt"
	"github.com/google/uuid"
	"libvirt.org/go/libvirtxml"
)

const (
	gib     = 1 << 30
	imgPath = "/images/base/debian-12.qcow2"
)

// fakeVolume is a file of a fakePool; what is not set in its XML is derived.
type fakeVolume struct {
	xml        libvirtxml.StorageVolume
	allocation uint64
	content    []byte
}

type fakePool struct {
	path      string
	active    bool
	autostart bool
	built     bool
	volumes   map[string]*fakeVolume
}

// fakeStorage behaves as libvirt's folder pools do, as far as storage needs it.
type fakeStorage struct {
	storage
	pools       map[string]*fakePool
	breakUpload int // upload so many bytes, then fail
}

func refusal(code rpc.ErrorNumber) error {
	return rpc.Error{Code: uint32(code), Message: "fake refusal"}
}

func (f *fakeStorage) StoragePoolLookupByName(name string) (rpc.StoragePool, error) {
	if f.pools[name] == nil {
		return rpc.StoragePool{}, refusal(rpc.ErrNoStoragePool)
	}
	return rpc.StoragePool{Name: name, UUID: rpc.UUID(uuid.NewSHA1(uuid.NameSpaceURL, []byte(name)))}, nil
}

func (f *fakeStorage) StoragePoolLookupByUUID(id rpc.UUID) (rpc.StoragePool, error) {
	for name := range f.pools {
		if pool, _ := f.StoragePoolLookupByName(name); pool.UUID == id {
			return pool, nil
		}
	}
	return rpc.StoragePool{}, refusal(rpc.ErrNoStoragePool)
}

func (f *fakeStorage) StoragePoolGetXMLDesc(p rpc.StoragePool, _ rpc.StorageXMLFlags) (string, error) {
	return (&libvirtxml.StoragePool{Type: "dir", Name: p.Name, Target: &libvirtxml.StoragePoolTarget{Path: f.pools[p.Name].path}}).Marshal()
}

func (f *fakeStorage) StoragePoolIsActive(p rpc.StoragePool) (int32, error) {
	if f.pools[p.Name].active {
		return 1, nil
	}
	return 0, nil
}

func (f *fakeStorage) StoragePoolBuild(p rpc.StoragePool, _ rpc.StoragePoolBuildFlags) error {
	f.pools[p.Name].built = true
	return nil
}

func (f *fakeStorage) StoragePoolCreate(p rpc.StoragePool, _ rpc.StoragePoolCreateFlags) error {
	f.pools[p.Name].active = true
	return nil
}

func (f *fakeStorage) StoragePoolSetAutostart(p rpc.StoragePool, on int32) error {
	f.pools[p.Name].autostart = on == 1
	return nil
}

func (f *fakeStorage) StoragePoolRefresh(p rpc.StoragePool, _ uint32) error {
	if !f.pools[p.Name].active {
		return refusal(rpc.ErrOperationInvalid)
	}
	return nil
}

func (f *fakeStorage) StoragePoolListAllVolumes(p rpc.StoragePool, _ int32, _ uint32) (all []rpc.StorageVol, _ uint32, _ error) {
	for name := range f.pools[p.Name].volumes {
		all = append(all, f.volume(p.Name, name))
	}
	return all, uint32(len(all)), nil
}

func (f *fakeStorage) volume(pool, name string) rpc.StorageVol {
	return rpc.StorageVol{Pool: pool, Name: name, Key: f.pools[pool].path + "/" + name}
}

func (f *fakeStorage) StorageVolLookupByName(p rpc.StoragePool, name string) (rpc.StorageVol, error) {
	if pool := f.pools[p.Name]; !pool.active || pool.volumes[name] == nil {
		return rpc.StorageVol{}, refusal(rpc.ErrNoStorageVol)
	}
	return f.volume(p.Name, name), nil
}

func (f *fakeStorage) StorageVolLookupByKey(key string) (rpc.StorageVol, error) {
	for pool, p := range f.pools {
		for name := range p.volumes {
			if v := f.volume(pool, name); v.Key == key && p.active {
				return v, nil
			}
		}
	}
	return rpc.StorageVol{}, refusal(rpc.ErrNoStorageVol)
}

func (f *fakeStorage) StorageVolGetXMLDesc(v rpc.StorageVol, _ uint32) (string, error) {
	x := f.pools[v.Pool].volumes[v.Name].xml
	x.Target.Path = v.Key
	return x.Marshal()
}

func (f *fakeStorage) StorageVolGetInfo(v rpc.StorageVol) (int8, uint64, uint64, error) {
	volume := f.pools[v.Pool].volumes[v.Name]
	return 0, volume.xml.Capacity.Value, volume.allocation, nil
}

func (f *fakeStorage) StorageVolCreateXML(p rpc.StoragePool, text string, _ rpc.StorageVolCreateFlags) (rpc.StorageVol, error) {
	var x libvirtxml.StorageVolume
	if err := xml.Unmarshal([]byte(text), &x); err != nil {
		return rpc.StorageVol{}, err
	}
	if f.pools[p.Name].volumes[x.Name] != nil {
		return rpc.StorageVol{}, refusal(rpc.ErrStorageVolExist)
	}
	v := &fakeVolume{xml: x, allocation: 200_000}
	if x.Target.Format.Type == "raw" {
		v.content = make([]byte, x.Capacity.Value)
	}
	f.pools[p.Name].volumes[x.Name] = v
	return f.volume(p.Name, x.Name), nil
}

func (f *fakeStorage) StorageVolUpload(v rpc.StorageVol, from io.Reader, _, length uint64, _ rpc.StorageVolUploadFlags) error {
	content, err := io.ReadAll(io.LimitReader(from, int64(length)))
	if f.breakUpload > 0 {
		content, err = content[:f.breakUpload], errors.New("connection lost")
	}
	copy(f.pools[v.Pool].volumes[v.Name].content, content)
	return err
}

func (f *fakeStorage) StorageVolDownload(v rpc.StorageVol, to io.Writer, _, _ uint64, _ rpc.StorageVolDownloadFlags) error {
	_, err := to.Write(f.pools[v.Pool].volumes[v.Name].content)
	return err
}

func (f *fakeStorage) StorageVolDelete(v rpc.StorageVol, _ rpc.StorageVolDeleteFlags) error {
	delete(f.pools[v.Pool].volumes, v.Name)
	return nil
}

// newFakeStorage has a base image of 2 GiB and an empty pool that is not started.
func newFakeStorage() *fakeStorage {
	base := &fakeVolume{xml: libvirtxml.StorageVolume{
		Capacity: &libvirtxml.StorageVolumeSize{Value: 2 * gib},
		Target:   &libvirtxml.StorageVolumeTarget{Format: &libvirtxml.StorageVolumeTargetFormat{Type: "qcow2"}},
	}}
	return &fakeStorage{pools: map[string]*fakePool{
		"base": {path: "/images/base", active: true, volumes: map[string]*fakeVolume{"debian-12.qcow2": base}},
		"lab":  {path: "/images/lab", volumes: map[string]*fakeVolume{}},
	}}
}

func wantedDisk() disk {
	return disk{pool: "lab", name: "web-g1.qcow2", format: "qcow2", capacity: 4 * gib, basePool: "base", baseName: "debian-12.qcow2"}
}

func wantError(t *testing.T, err error, parts ...string) {
	t.Helper()
	for _, part := range parts {
		if err == nil || !strings.Contains(err.Error(), part) {
			t.Errorf("wanted %q in %v", part, err)
		}
	}
}

func TestMakeDisk(t *testing.T) {
	s := newFakeStorage()
	volume, err := makeDisk(s, wantedDisk())
	fail(t, err)
	if volume.Key != "/images/lab/web-g1.qcow2" {
		t.Error(volume.Key)
	}
	made := s.pools["lab"].volumes["web-g1.qcow2"].xml
	if made.BackingStore.Path != imgPath || made.BackingStore.Format.Type != "qcow2" ||
		made.Capacity.Value != 4*gib || made.Target.Permissions.Mode != "0600" {
		t.Errorf("%+v", made)
	}
	again, err := makeDisk(s, wantedDisk())
	if err != nil || again.Key != volume.Key {
		t.Error("what a broken run made is adopted:", err)
	}
}

func TestMakeDiskLeavesForeignVolumes(t *testing.T) {
	for says, change := range map[string]func(*fakeVolume){
		"holds data":        func(v *fakeVolume) { v.allocation = largestPristine + 1 },
		"its base is":       func(v *fakeVolume) { v.xml.BackingStore.Path = "/images/other.qcow2" },
		`its base is ""`:    func(v *fakeVolume) { v.xml.BackingStore = nil },
		"its size differs":  func(v *fakeVolume) { v.xml.Capacity.Value = 5 * gib },
		"its format is raw": func(v *fakeVolume) { v.xml.Target.Format.Type = "raw" },
	} {
		s := newFakeStorage()
		_, err := makeDisk(s, wantedDisk())
		fail(t, err)
		volume := s.pools["lab"].volumes["web-g1.qcow2"]
		change(volume)
		_, err = makeDisk(s, wantedDisk())
		wantError(t, err, says, "web-g1.qcow2", "storage pool lab", "left as it is")
		if s.pools["lab"].volumes["web-g1.qcow2"] != volume {
			t.Errorf("%s: touched", says)
		}
	}
}

func TestMakeDiskRefuses(t *testing.T) {
	for says, change := range map[string]func(*disk){
		"cannot be smaller":            func(w *disk) { w.capacity = gib },
		"exclude each other":           func(w *disk) { w.baseKey = imgPath },
		"base volume none in pool":     func(w *disk) { w.baseName = "none" },
		"storage pool none":            func(w *disk) { w.pool = "none" },
		"size is missing":              func(w *disk) { w.capacity, w.baseName = 0, "" },
		"base volume /images/none.img": func(w *disk) { w.baseName, w.baseKey = "", "/images/none.img" },
	} {
		w, s := wantedDisk(), newFakeStorage()
		change(&w)
		_, err := makeDisk(s, w)
		wantError(t, err, says)
		if len(s.pools["lab"].volumes) > 0 {
			t.Errorf("%s: made all the same", says)
		}
	}
}

func TestDiskTakesItsBasesSize(t *testing.T) {
	w, s := wantedDisk(), newFakeStorage()
	w.capacity, w.baseName, w.baseKey = 0, "", imgPath
	_, err := makeDisk(s, w)
	fail(t, err)
	if size := s.pools["lab"].volumes[w.name].xml.Capacity.Value; size != 2*gib {
		t.Error(size)
	}
}

func TestPlaceSeed(t *testing.T) {
	wanted := seed{"#cloud-config\n", "instance-id: a\n", "version: 2\n"}
	image := wanted.image()
	place := func(s *fakeStorage) error { _, err := placeSeed(s, "lab", "web-seed.iso", wanted); return err }
	put := func(content []byte) *fakeStorage {
		s := newFakeStorage()
		_, err := newVolume(s, rpc.StoragePool{Name: "lab"}, "web-seed.iso", "raw", uint64(len(content)), nil)
		fail(t, err)
		copy(s.pools["lab"].volumes["web-seed.iso"].content, content)
		return s
	}
	is := func(s *fakeStorage, content []byte) {
		t.Helper()
		if !bytes.Equal(s.pools["lab"].volumes["web-seed.iso"].content, content) {
			t.Error("another content")
		}
	}

	s := newFakeStorage()
	fail(t, place(s))
	is(s, image)
	if mode := s.pools["lab"].volumes["web-seed.iso"].xml.Target.Permissions.Mode; mode != "0600" {
		t.Error(mode)
	}
	fail(t, place(s)) // adopted

	for _, uploaded := range []int{1, 20 * sectorSize, len(image) - 1} {
		s := newFakeStorage()
		s.breakUpload = uploaded
		wantError(t, place(s), "uploading cloud-init disk", "connection lost")
		s.breakUpload = 0
		fail(t, place(s)) // replaced
		is(s, image)
	}

	foreign := seed{"#cloud-config\nusers: []\n", "instance-id: b\n", ""}.image()
	for _, content := range [][]byte{foreign, []byte("notes of a student"), append(bytes.Clone(image[:20*sectorSize]), 'x'), bytes.Repeat([]byte{0}, len(image)+1)} {
		s := put(content)
		wantError(t, place(s), "cloud-init disk web-seed.iso", "left as it is")
		is(s, content)
	}
	tooLarge := put(nil)
	tooLarge.pools["lab"].volumes["web-seed.iso"].xml.Capacity.Value = 4 * gib
	wantError(t, place(tooLarge), "left as it is")
}

func TestAdoptPool(t *testing.T) {
	s := newFakeStorage()
	pool, err := adoptPool(s, "none", "dir", "/images/none")
	if pool != nil || err != nil {
		t.Error("there is none:", pool, err)
	}
	pool, err = adoptPool(s, "lab", "dir", "/images/lab")
	fail(t, err)
	if lab := s.pools["lab"]; pool == nil || !lab.active || !lab.built || !lab.autostart {
		t.Errorf("not made ready: %+v", lab)
	}
	_, err = adoptPool(s, "lab", "dir", "/elsewhere")
	wantError(t, err, `path "/images/lab"`, `path "/elsewhere"`, "left as it is", "pulumi import")
	_, err = adoptPool(s, "lab", "logical", "/images/lab")
	wantError(t, err, "left as it is")
	_, err = adoptPool(s, "base", "dir", "/images/base")
	wantError(t, err, "it holds debian-12.qcow2", "left as it is")
	if s.pools["base"].built {
		t.Error("an active pool is not built")
	}
}

func TestPoolWithForeignVolumesIsNotDeleted(t *testing.T) {
	s := newFakeStorage()
	s.pools["lab"].active = true
	ids := map[string]string{}
	for name := range s.pools {
		pool, _ := s.StoragePoolLookupByName(name)
		ids[name] = uuid.UUID(pool.UUID).String()
	}
	wantError(t, emptyPool(s, ids["base"]), "storage pool base still holds", "debian-12.qcow2")
	fail(t, emptyPool(s, ids["lab"]))
	fail(t, emptyPool(s, uuid.NewString())) // gone already
}

func TestNewVolumesCanGiveSpaceBack(t *testing.T) {
	for format, version := range map[string]string{"qcow2": "1.1", "raw": ""} {
		s := newFakeStorage()
		_, err := newVolume(s, rpc.StoragePool{Name: "lab"}, "disk", format, 1<<20, nil)
		fail(t, err)
		if seen := s.pools["lab"].volumes["disk"].xml.Target.Compat; seen != version {
			t.Errorf("%s: version %q", format, seen)
		}
	}
}

func TestVolumeNamesAreAll(t *testing.T) {
	s := newFakeStorage()
	for _, name := range []string{"a", "b"} {
		_, err := newVolume(s, rpc.StoragePool{Name: "lab"}, name, "qcow2", gib, nil)
		fail(t, err)
	}
	names, err := volumeNames(s, rpc.StoragePool{Name: "lab"})
	fail(t, err)
	if slices.Sort(names); !slices.Equal(names, []string{"a", "b"}) {
		t.Error(names)
	}
}
