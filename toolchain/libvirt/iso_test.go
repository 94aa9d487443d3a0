package main

import (
	"bytes"
	"encoding/binary"
	"strings"
	"testing"
)

func TestSeedImageIsReadBack(t *testing.T) {
	for name, c := range map[string]seed{
		"small":          {"#cloud-config\n", "instance-id: x\n", "version: 2\n"},
		"empty network":  {"#cloud-config\n", "instance-id: x\n", ""},
		"several blocks": {"#cloud-config\n# " + strings.Repeat("ä", 5000), "instance-id: x\n", strings.Repeat("\n", sectorSize)},
	} {
		got, err := readSeed(c.image())
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if got != c {
			t.Errorf("%s: read back %d, %d, %d bytes", name, len(got.userData), len(got.metaData), len(got.networkConfig))
		}
		if !bytes.Equal(c.image(), c.image()) {
			t.Errorf("%s: two images of one seed differ", name)
		}
	}
}

// Linux and cloud-init read the full names from the Joliet tree, which readSeed does not look at.
func TestJolietTree(t *testing.T) {
	image := seed{"U", "M", "N"}.image()
	descriptor := image[jolietSector*sectorSize:]
	if descriptor[0] != 2 || string(descriptor[88:91]) != "%/E" {
		t.Fatal("no Joliet descriptor")
	}
	root := descriptor[156:]
	files := map[string]string{}
	for at := binary.LittleEndian.Uint32(root[2:]) * sectorSize; image[at] != 0; at += uint32(image[at]) {
		r := image[at:]
		if r[25] == folderFlag {
			continue // the folder itself and its parent
		}
		content := binary.BigEndian.Uint32(r[6:]) * sectorSize
		name := strings.ReplaceAll(string(r[33:33+r[32]]), "\x00", "")
		files[name] = string(image[content : content+binary.BigEndian.Uint32(r[14:])])
	}
	if len(files) != 3 || files["meta-data;1"] != "M" || files["user-data;1"] != "U" || files["network-config;1"] != "N" {
		t.Errorf("%q", files)
	}
}
