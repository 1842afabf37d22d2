package envelope

import (
	"errors"
	"fmt"
	"io"

	"github.com/wardhq/ward/sdk/seal/chunked"
)

// Find returns the data key of a stream's header.
type Find func(header []byte) (*DataKey, error)

// stream gives the header of a stream, and the key and context of its chunked encryption.
func (d *DataKey) stream(c Context) (header, key, context []byte, err error) {
	header = d.Header()
	header[kindAt] = byte(Stream)
	context, err = c.append(header[:HeaderSize:HeaderSize])
	if err != nil {
		return nil, nil, nil, err
	}
	k, err := d.key.derive(streamInfo)
	return header, k.Reveal(), context, err
}

// NewWriter starts a stream and writes its header to w. Without Close the stream is cut and will be refused. Close
// doesn't close w.
func (d *DataKey) NewWriter(w io.Writer, c Context) (*chunked.Writer, error) {
	header, key, context, err := d.stream(c)
	if err != nil {
		return nil, err
	}
	if _, err := w.Write(header); err != nil {
		return nil, fmt.Errorf("write encrypted stream: %w", err)
	}
	return chunked.NewWriter(w, key, context)
}

// NewReader reads a stream from its header on, whose data key find returns.
func NewReader(r io.Reader, c Context, find Find) (*chunked.Reader, error) {
	header := make([]byte, HeaderSize)
	if _, err := io.ReadFull(r, header); err != nil {
		return nil, short(err)
	}
	key, context, err := find.open(header, c)
	if err != nil {
		return nil, err
	}
	return chunked.NewReader(r, key, context)
}

// NewReaderAt reads any part of a stream that has size bytes with its header, whose data key find returns.
func NewReaderAt(r io.ReaderAt, size int64, c Context, find Find) (*chunked.ReaderAt, error) {
	header := make([]byte, HeaderSize)
	if n, err := r.ReadAt(header, 0); n < HeaderSize {
		return nil, short(err)
	}
	key, context, err := find.open(header, c)
	if err != nil {
		return nil, err
	}
	return chunked.NewReaderAt(io.NewSectionReader(r, HeaderSize, size-HeaderSize), size-HeaderSize, key, context)
}

// open checks the header and gives the key and context of the chunked encryption.
func (f Find) open(header []byte, c Context) (key, context []byte, err error) {
	if in, err := Inspect(header); err != nil || in.Kind != Stream || c.Check() != nil {
		return nil, nil, ErrDecrypt
	}
	d, err := f(header)
	if err != nil {
		return nil, nil, err
	}
	own, key, context, err := d.stream(c)
	if err != nil {
		return nil, nil, err
	}
	if string(own) != string(header) {
		return nil, nil, ErrDecrypt
	}
	return key, context, nil
}

func short(err error) error {
	if err == nil || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return ErrDecrypt
	}
	return fmt.Errorf("read encrypted stream: %w", err)
}
