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
	typeReply     = 1
	typeStream    = 3
	statusGoesOn  = 2
	longestPacket = 64 << 20 // libvirt's own limit is 32 MiB
)

// frames passes on libvirt's packets: of each call first the reply, then its stream, up to the packet that ends it.
//
// libvirtd may send the first data of a download before the reply to the call, and the end twice. go-libvirt takes the
// first packet for the reply and the next for data or the end: the download is empty then, and the packet that comes
// after it is waited with for ever, under a lock that all other calls need.
type frames struct {
	from    *bufio.Reader
	left    []byte              // what is to be passed on at once
	replied map[uint32]bool     // calls, by serial number
	early   map[uint32][][]byte // stream packets that came before their call's reply
	ended   map[uint32]bool     // streams
}

func newFrames(from io.Reader) *frames {
	return &frames{
		from:    bufio.NewReader(from),
		replied: map[uint32]bool{}, early: map[uint32][][]byte{}, ended: map[uint32]bool{},
	}
}

func (f *frames) Read(p []byte) (int, error) {
	for len(f.left) == 0 {
		packet, err := f.next()
		if err != nil {
			return 0, err
		}
		f.left = f.sort(packet)
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

// sort returns what is to be passed on now that a packet came.
func (f *frames) sort(packet []byte) []byte {
	serial := binary.BigEndian.Uint32(packet[serialAt:])
	switch binary.BigEndian.Uint32(packet[typeAt:]) {
	case typeReply:
		f.replied[serial] = true
		for _, early := range f.early[serial] {
			packet = append(packet, f.untilEnd(serial, early)...)
		}
		delete(f.early, serial)
	case typeStream:
		if !f.replied[serial] {
			f.early[serial] = append(f.early[serial], packet)
			return nil
		}
		return f.untilEnd(serial, packet)
	}
	return packet
}

// untilEnd returns a packet of a stream, or nothing when the stream has ended before.
func (f *frames) untilEnd(serial uint32, packet []byte) []byte {
	if f.ended[serial] {
		return nil
	}
	f.ended[serial] = len(packet) == headerSize || binary.BigEndian.Uint32(packet[statusAt:]) != statusGoesOn
	return packet
}
