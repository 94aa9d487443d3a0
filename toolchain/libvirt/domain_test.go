package main

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	rpc "github.com/digitalocean/go-libvirt"
	"github.com/google/uuid"
)

// fakeDomain is a host with one domain.
type fakeDomain struct {
	*fakeStorage
	name, xml    string
	state        rpc.DomainState
	obeys        bool // powers off when asked to
	asked        int
	destroyed    bool
	suspended    bool
	autostart    []int32
	undefined    bool
	updates      []string
	updatesFlags []rpc.DomainDeviceModifyFlags
}

var fakeID = uuid.MustParse("11111111-2222-4333-8444-555555555555")

func (f *fakeDomain) domain() (rpc.Domain, error) {
	if f.undefined {
		return rpc.Domain{}, refusal(rpc.ErrNoDomain)
	}
	return rpc.Domain{Name: f.name, UUID: rpc.UUID(fakeID)}, nil
}

func (f *fakeDomain) DomainLookupByName(name string) (rpc.Domain, error) {
	if name != f.name {
		return rpc.Domain{}, refusal(rpc.ErrNoDomain)
	}
	return f.domain()
}

func (f *fakeDomain) DomainLookupByUUID(rpc.UUID) (rpc.Domain, error) { return f.domain() }

func (f *fakeDomain) DomainGetXMLDesc(rpc.Domain, rpc.DomainXMLFlags) (string, error) {
	return f.xml, nil
}

func (f *fakeDomain) DomainGetState(rpc.Domain, uint32) (int32, int32, error) {
	return int32(f.state), 0, nil
}

func (f *fakeDomain) DomainShutdown(rpc.Domain) error {
	if f.asked++; f.obeys {
		f.state = rpc.DomainShutoff
	}
	return nil
}

func (f *fakeDomain) DomainSuspend(rpc.Domain) error {
	f.suspended, f.state = true, rpc.DomainPaused
	return nil
}

func (f *fakeDomain) DomainSetAutostart(_ rpc.Domain, autostart int32) error {
	f.autostart = append(f.autostart, autostart)
	return nil
}

func (f *fakeDomain) DomainDestroy(rpc.Domain) error {
	f.destroyed, f.state = true, rpc.DomainShutoff
	return nil
}

func (f *fakeDomain) DomainUndefineFlags(rpc.Domain, rpc.DomainUndefineFlagsValues) error {
	f.undefined = true
	return nil
}

func (f *fakeDomain) DomainUpdateDeviceFlags(_ rpc.Domain, xml string, flags rpc.DomainDeviceModifyFlags) error {
	f.updates, f.updatesFlags = append(f.updates, xml), append(f.updatesFlags, flags)
	return nil
}

func withDisks(state rpc.DomainState, disks ...string) *fakeDomain {
	return &fakeDomain{fakeStorage: newFakeStorage(), name: "lab-web", state: state,
		xml: "<domain><name>lab-web</name><devices>" + strings.Join(disks, "") + "</devices></domain>"}
}

const (
	ourKey     = "/images/base/debian-12.qcow2"
	ourFile    = "<disk type='file' device='disk'><source file='/images/base/debian-12.qcow2'/></disk>"
	ourVolume  = "<disk type='volume' device='disk'><source pool='base' volume='debian-12.qcow2'/></disk>"
	theirFile  = "<disk type='file' device='disk'><source file='/srv/data.img'/></disk>"
	theirDisc  = "<disk type='file' device='cdrom'><source file='/srv/tools.iso'/></disk>"
	theirBlock = "<disk type='block' device='disk'><source dev='/dev/vg/data'/></disk>"
	oldSeed    = "<disk type='file' device='cdrom'><source file='/images/lab/old.iso'/><serial>cloudinit</serial></disk>"
	emptyTray  = "<disk type='file' device='cdrom'/>"
)

func TestRemnantIsRemoved(t *testing.T) {
	for _, f := range []*fakeDomain{
		withDisks(rpc.DomainRunning, ourFile, oldSeed), withDisks(rpc.DomainShutoff, ourVolume), withDisks(rpc.DomainPaused, ourFile),
	} {
		running := f.state != rpc.DomainShutoff
		fail(t, removeRemnant(f, "lab-web", []string{ourKey}))
		if !f.undefined || f.destroyed != running {
			t.Errorf("%s: undefined %v, destroyed %v", f.xml, f.undefined, f.destroyed)
		}
	}
	fail(t, removeRemnant(withDisks(rpc.DomainRunning), "another-name", []string{ourKey}))
}

func TestForeignDomainIsLeft(t *testing.T) {
	for says, f := range map[string]*fakeDomain{
		`its disks are "/srv/data.img"`:  withDisks(rpc.DomainRunning, theirFile),
		`"/srv/data.img"`:                withDisks(rpc.DomainRunning, ourFile, theirFile),
		`"/srv/tools.iso"`:               withDisks(rpc.DomainShutoff, ourFile, theirDisc),
		`"/dev/vg/data"`:                 withDisks(rpc.DomainShutoff, theirBlock, ourFile),
		"(no medium)":                    withDisks(rpc.DomainShutoff, emptyTray, ourFile),
		"its disks are none":             withDisks(rpc.DomainRunning),
		"its disks are none. It is left": withDisks(rpc.DomainShutoff, oldSeed),
	} {
		err := removeRemnant(f, "lab-web", []string{ourKey})
		wantError(t, err, says, "lab-web", fakeID.String(), "virsh domrename")
		if f.undefined || f.destroyed {
			t.Errorf("%s: touched", says)
		}
	}
	wantError(t, removeRemnant(withDisks(rpc.DomainRunning, ourFile), "lab-web", nil), "was not made by this stack")
}

func TestGuestThatWaitsGetsItsNewSeedBeforeItIsStarted(t *testing.T) {
	const config, live = rpc.DomainDeviceModifyConfig, rpc.DomainDeviceModifyLive
	for name, c := range map[string]struct {
		state rpc.DomainState
		stays bool
		done  bool
		flags []rpc.DomainDeviceModifyFlags
	}{
		"off, to be started":   {rpc.DomainShutoff, false, false, []rpc.DomainDeviceModifyFlags{config}},
		"off, and stays so":    {rpc.DomainShutoff, true, true, []rpc.DomainDeviceModifyFlags{config}},
		"paused":               {rpc.DomainPaused, true, true, []rpc.DomainDeviceModifyFlags{config | live}},
		"paused by hand":       {rpc.DomainPaused, false, true, []rpc.DomainDeviceModifyFlags{config | live}},
		"the provider does it": {rpc.DomainRunning, true, false, nil},
	} {
		f := withDisks(c.state, ourFile, oldSeed)
		done, err := updateWaiting(f, fakeID.String(), ourKey, true, c.stays)
		fail(t, err)
		if done != c.done || !slices.Equal(f.updatesFlags, c.flags) || f.state != c.state {
			t.Errorf("%s: done %v, flags %v, state %d", name, done, f.updatesFlags, f.state)
		}
		if set := slices.Equal(f.autostart, []int32{1}); set != c.done {
			t.Errorf("%s: autostart %v", name, f.autostart)
		}
		for _, text := range f.updates {
			for _, part := range []string{`device="cdrom"`, `file="` + ourKey + `"`, "<serial>cloudinit</serial>", `dev="hdd"`} {
				if !strings.Contains(text, part) {
					t.Errorf("%s: %s is not in %s", name, part, text)
				}
			}
		}
	}
	same := withDisks(rpc.DomainPaused, ourFile, oldSeed)
	done, err := updateWaiting(same, fakeID.String(), "", false, true)
	fail(t, err)
	if !done || len(same.updates) > 0 || !slices.Equal(same.autostart, []int32{0}) {
		t.Error("without a new seed the CD stays", done, same.updates, same.autostart)
	}
}

func TestOnlyARunningDomainIsSuspended(t *testing.T) {
	for state, want := range map[rpc.DomainState]bool{rpc.DomainRunning: true, rpc.DomainPaused: false, rpc.DomainShutoff: false} {
		f := withDisks(state, ourFile)
		fail(t, suspend(f, fakeID.String()))
		if f.suspended != want {
			t.Errorf("state %d: suspended %v", state, f.suspended)
		}
	}
	gone := withDisks(rpc.DomainRunning, ourFile)
	gone.undefined = true
	fail(t, suspend(gone, fakeID.String()))
}

func TestPowerOff(t *testing.T) {
	ctx := context.Background()
	for name, c := range map[string]struct {
		guest *fakeDomain
		limit time.Duration
		asked int
		state rpc.DomainState
	}{
		"obeys":            {&fakeDomain{state: rpc.DomainRunning, obeys: true}, time.Minute, 1, rpc.DomainShutoff},
		"does not":         {&fakeDomain{state: rpc.DomainRunning}, time.Millisecond, 1, rpc.DomainRunning},
		"is not asked":     {&fakeDomain{state: rpc.DomainRunning}, 0, 0, rpc.DomainRunning},
		"is off":           {&fakeDomain{state: rpc.DomainShutoff}, time.Minute, 0, rpc.DomainShutoff},
		"is paused":        {&fakeDomain{state: rpc.DomainPaused}, time.Minute, 0, rpc.DomainPaused},
		"crashed some day": {&fakeDomain{state: rpc.DomainCrashed}, time.Minute, 0, rpc.DomainCrashed},
	} {
		domain, _ := c.guest.domain()
		fail(t, powerOff(ctx, c.guest, domain, c.limit))
		if c.guest.asked != c.asked || c.guest.state != c.state || c.guest.destroyed {
			t.Errorf("%s: asked %d times, state %d", name, c.guest.asked, c.guest.state)
		}
	}
	ended, cancel := context.WithCancel(ctx)
	cancel()
	deaf := &fakeDomain{state: rpc.DomainRunning}
	domain, _ := deaf.domain()
	if err := powerOff(ended, deaf, domain, time.Minute); err == nil {
		t.Error("the wait ends with the operation")
	}
}
