package main

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
)

// Of libvirt's RPC protocol (virnetprotocol.x): a packet is its length and six more numbers, then its content.
const (
	headerSize    = 7 * 4
	typeAt        = 4 * 4
	serialAt      = 5 * 4
	statusAt      = 6 * 4
	typeStream    = 3
	statusGoesOn  = 2
	longestPacket = 64 << 20 // libvirt's own limit is 32 MiB
)

// frames passes on libvirt's packets, but no packet of a stream after the one that ends it.
//
// libvirtd ends a download twice, by an empty packet and by a confirmation. go-libvirt takes the first for the end and
// stops to listen; when the second comes at that moment, it waits for ever, with a lock that all other calls need.
type frames struct {
	from  *bufio.Reader
	left  []byte // of the packet that is passed on
	ended map[uint32]bool
}

func newFrames(from io.Reader) *frames {
	return &frames{from: bufio.NewReader(from), ended: map[uint32]bool{}}
}

func (f *frames) Read(p []byte) (int, error) {
	for len(f.left) == 0 {
		packet, err := f.next()
		if err != nil {
			return 0, err
		}
		if !f.isSuperfluous(packet) {
			f.left = packet
		}
	}
	n := copy(p, f.left)
	f.left = f.left[n:]
	return n, nil
}

func (f *frames) next() ([]byte, error) {
	prefix, err := f.from.Peek(4)
	if err != nil {
		return nil, err
	}
	length := binary.BigEndian.Uint32(prefix)
	if length < headerSize || length > longestPacket {
		return nil, fmt.Errorf("not a packet of libvirt: %q", prefix)
	}
	packet := make([]byte, length)
	_, err = io.ReadFull(f.from, packet)
	return packet, err
}

// isSuperfluous says whether a packet belongs to a stream that has ended; it notes when one ends.
func (f *frames) isSuperfluous(packet []byte) bool {
	if binary.BigEndian.Uint32(packet[typeAt:]) != typeStream {
		return false
	}
	serial := binary.BigEndian.Uint32(packet[serialAt:])
	if f.ended[serial] {
		return true
	}
	f.ended[serial] = len(packet) == headerSize || binary.BigEndian.Uint32(packet[statusAt:]) != statusGoesOn
	return false
}
