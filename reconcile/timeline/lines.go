package timeline

import (
	"bufio"
	"bytes"
	"io"
)

// lines splits a file into lines, and passes over those that are too long to be ours.
type lines struct{ r *bufio.Reader }

func newLines(r io.Reader) *lines { return &lines{bufio.NewReaderSize(r, longestLine)} }

// next gives a line without its line feed, and how many bytes of the file it took. A line without an end, and one
// that is too long, are given as they are; nobody can decode them. The line is valid until the next call.
func (l *lines) next() (line []byte, size int, err error) {
	line, err = l.r.ReadSlice('\n')
	size = len(line)
	for err == bufio.ErrBufferFull {
		var more []byte
		more, err = l.r.ReadSlice('\n')
		size += len(more)
		line = nil
	}
	if err == io.EOF && size > 0 {
		err = nil
	}
	return bytes.TrimSuffix(line, []byte{'\n'}), size, err
}
