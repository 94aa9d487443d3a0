package main

import (
	"bytes"
	"encoding/binary"
	"io"
	"slices"
	"testing"
	"testing/iotest"
)

func packet(kind, serial, status uint32, content string) []byte {
	p := make([]byte, headerSize, headerSize+len(content))
	binary.BigEndian.PutUint32(p, uint32(headerSize+len(content)))
	binary.BigEndian.PutUint32(p[typeAt:], kind)
	binary.BigEndian.PutUint32(p[serialAt:], serial)
	binary.BigEndian.PutUint32(p[statusAt:], status)
	return append(p, content...)
}

func TestStreamsAreSorted(t *testing.T) {
	const ok, failed, event = 0, 1, 2
	var (
		reply     = packet(typeReply, 7, ok, "")
		data      = packet(typeStream, 7, statusGoesOn, "data")
		more      = packet(typeStream, 7, statusGoesOn, "more")
		end       = packet(typeStream, 7, statusGoesOn, "")
		confirmed = packet(typeStream, 7, ok, "")
		broken    = packet(typeStream, 7, failed, "message")
		other     = packet(typeReply, 8, ok, "of another call")
		message   = packet(event, 0, ok, "event")
	)
	for name, c := range map[string]struct{ sent, want [][]byte }{
		"in order":         {[][]byte{reply, data, other, more, end}, [][]byte{reply, data, other, more, end}},
		"ends twice":       {[][]byte{reply, data, end, confirmed, other}, [][]byte{reply, data, end, other}},
		"breaks":           {[][]byte{reply, data, broken, end, message}, [][]byte{reply, data, broken, message}},
		"data first":       {[][]byte{data, other, reply, more, end, end}, [][]byte{other, reply, data, more, end}},
		"all before reply": {[][]byte{data, more, end, end, reply, other}, [][]byte{reply, data, more, end, other}},
		"upload":           {[][]byte{reply, confirmed, other}, [][]byte{reply, confirmed, other}},
	} {
		for _, from := range []io.Reader{
			bytes.NewReader(slices.Concat(c.sent...)), iotest.OneByteReader(bytes.NewReader(slices.Concat(c.sent...))),
		} {
			got, err := io.ReadAll(newFrames(from))
			if want := slices.Concat(c.want...); err != nil || !bytes.Equal(got, want) {
				t.Errorf("%s: %v\n got %q\nwant %q", name, err, got, want)
			}
		}
	}
}

func TestFramesEnd(t *testing.T) {
	half := packet(typeStream, 1, statusGoesOn, "data")[:headerSize+1]
	for name, sent := range map[string][]byte{"a broken packet": half, "no packet": []byte("sudo: a password is required")} {
		if _, err := io.ReadAll(newFrames(bytes.NewReader(sent))); err == nil {
			t.Errorf("%s passed", name)
		}
	}
}
