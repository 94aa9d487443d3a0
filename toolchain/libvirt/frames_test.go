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

func TestStreamEndsOnce(t *testing.T) {
	const ok, failed, reply = 0, 1, 1
	sent := [][]byte{
		packet(reply, 7, ok, ""),
		packet(typeStream, 7, statusGoesOn, "data"),
		packet(reply, 8, ok, "of another call"),
		packet(typeStream, 7, statusGoesOn, "more"),
		packet(typeStream, 7, statusGoesOn, ""), // the end
		packet(typeStream, 7, ok, ""),           // superfluous
		packet(reply, 7, ok, ""),
		packet(typeStream, 9, failed, "message"), // the end
		packet(typeStream, 9, ok, ""),            // superfluous
		packet(typeStream, 10, ok, ""),
	}
	want := slices.Concat(slices.Concat(sent[:5]...), sent[6], sent[7], sent[9])
	for _, from := range []io.Reader{
		bytes.NewReader(slices.Concat(sent...)), iotest.OneByteReader(bytes.NewReader(slices.Concat(sent...))),
	} {
		got, err := io.ReadAll(newFrames(from))
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("%v\n got %q\nwant %q", err, got, want)
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
