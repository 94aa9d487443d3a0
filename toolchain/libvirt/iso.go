package main

import (
	"bytes"
	"encoding/binary"
	"slices"
	"strings"
	"unicode/utf16"
)

// An ISO 9660 image (ECMA-119) of files in its root folder, with a second tree of their full names (Joliet).
// The same files give the same bytes. Its sectors, in this order:
const (
	primarySector       = 16 + iota // the first 16 belong to the system
	jolietSector                    // supplementary descriptor
	terminatorSector                //
	primaryTableSector              // path table, little-endian; its big-endian twin follows
	_                               //
	jolietTableSector               //
	_                               //
	primaryFolderSector             //
	jolietFolderSector              //
	firstFileSector                 //
)

const (
	sectorSize    = 2048
	pathTableSize = 10
	folderFlag    = 2
)

// isoFile is a file of an image. Short is its name in the primary tree (at most 8+3 letters of A-Z, 0-9, _).
type isoFile struct {
	short, full string
	content     []byte
	sector      uint32
}

// makeISO returns an image of few files (their names fill less than a sector), in the order of their names.
func makeISO(label string, files []isoFile) []byte {
	next := uint32(firstFileSector)
	for i := range files {
		files[i].sector = next
		next += sectors(len(files[i].content))
	}
	image := make([]byte, int(next)*sectorSize)
	put := func(sector int, content []byte) { copy(image[sector*sectorSize:], content) }

	primary := descriptor(1, []byte(label), ' ', next, primaryTableSector, primaryFolderSector)
	put(primarySector, primary)
	joliet := descriptor(2, ucs2(label), 0, next, jolietTableSector, jolietFolderSector)
	copy(joliet[88:], "%/E") // UCS-2, level 3
	put(jolietSector, joliet)
	put(terminatorSector, []byte("\xffCD001\x01"))
	for _, t := range []struct{ table, folder int }{{primaryTableSector, primaryFolderSector}, {jolietTableSector, jolietFolderSector}} {
		put(t.table, pathTable(binary.LittleEndian, t.folder))
		put(t.table+1, pathTable(binary.BigEndian, t.folder))
	}
	put(primaryFolderSector, folder(primaryFolderSector, files, func(f isoFile) []byte { return []byte(f.short + ";1") }))
	put(jolietFolderSector, folder(jolietFolderSector, files, func(f isoFile) []byte { return ucs2(f.full + ";1") }))
	for _, f := range files {
		put(int(f.sector), f.content)
	}
	return image
}

func sectors(size int) uint32 {
	return uint32((size + sectorSize - 1) / sectorSize)
}

// descriptor is a volume descriptor (ECMA-119, 8.4 and 8.5). Names are filled up with blanks, of two bytes in Joliet.
func descriptor(kind byte, label []byte, blank byte, size uint32, table, root int) []byte {
	d := make([]byte, sectorSize)
	d[0] = kind
	copy(d[1:], "CD001\x01")
	for _, field := range []struct{ start, end int }{{8, 72}, {190, 813}} { // system and volume, then all other names
		for i := field.start; i < field.end; i++ {
			d[i] = ' '
			if blank == 0 && (i-field.start)%2 == 0 {
				d[i] = 0
			}
		}
	}
	copy(d[40:72], label)
	both32(d[80:], size)
	both16(d[120:], 1) // volumes in the set
	both16(d[124:], 1) // this volume's number
	both16(d[128:], sectorSize)
	both32(d[132:], pathTableSize)
	binary.LittleEndian.PutUint32(d[140:], uint32(table))
	binary.BigEndian.PutUint32(d[148:], uint32(table)+1)
	copy(d[156:], record([]byte{0}, uint32(root), sectorSize, folderFlag))
	for date := 813; date < 881; date += 17 {
		copy(d[date:], strings.Repeat("0", 16)) // not specified
	}
	d[881] = 1
	return d
}

// pathTable has one entry, the root folder.
func pathTable(order binary.ByteOrder, folder int) []byte {
	t := make([]byte, pathTableSize)
	t[0] = 1 // the length of its name
	order.PutUint32(t[2:], uint32(folder))
	order.PutUint16(t[6:], 1) // its parent
	return t
}

func folder(sector uint32, files []isoFile, name func(isoFile) []byte) []byte {
	records := [][]byte{
		record([]byte{0}, sector, sectorSize, folderFlag), // itself
		record([]byte{1}, sector, sectorSize, folderFlag), // its parent
	}
	for _, f := range files {
		records = append(records, record(name(f), f.sector, uint32(len(f.content)), 0))
	}
	return slices.Concat(records...)
}

// record is a directory record (ECMA-119, 9.1).
func record(name []byte, sector, size uint32, flags byte) []byte {
	length := (33 + len(name) + 1) &^ 1
	r := make([]byte, length)
	r[0] = byte(length)
	both32(r[2:], sector)
	both32(r[10:], size)
	copy(r[18:], []byte{80, 1, 1, 0, 0, 0, 0}) // 1980-01-01
	r[25] = flags
	both16(r[28:], 1)
	r[32] = byte(len(name))
	copy(r[33:], name)
	return r
}

func both16(to []byte, n uint16) {
	binary.LittleEndian.PutUint16(to, n)
	binary.BigEndian.PutUint16(to[2:], n)
}

func both32(to []byte, n uint32) {
	binary.LittleEndian.PutUint32(to, n)
	binary.BigEndian.PutUint32(to[4:], n)
}

func ucs2(s string) []byte {
	var b bytes.Buffer
	_ = binary.Write(&b, binary.BigEndian, utf16.Encode([]rune(s)))
	return b.Bytes()
}
