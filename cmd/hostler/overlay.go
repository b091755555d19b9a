package main

import (
	"bytes"
	"io/fs"
	"path"
	"slices"
	"time"
)

// overlay is a directory in which one file has another text, or is there although it is not.
type overlay struct {
	fs.FS
	name string
	text []byte
}

// Open implements fs.FS.
func (o overlay) Open(name string) (fs.File, error) {
	if name != o.name {
		return o.FS.Open(name)
	}
	return &overlaid{bytes.NewReader(o.text), o}, nil
}

// ReadDir implements fs.ReadDirFS.
func (o overlay) ReadDir(name string) ([]fs.DirEntry, error) {
	entries, err := fs.ReadDir(o.FS, name)
	if err != nil || name != path.Dir(o.name) {
		return entries, err
	}
	mine := fs.FileInfoToDirEntry(o)
	i, found := slices.BinarySearchFunc(entries, mine.Name(), func(e fs.DirEntry, name string) int { return bytes.Compare([]byte(e.Name()), []byte(name)) })
	if found {
		entries[i] = mine
		return entries, nil
	}
	return slices.Insert(entries, i, mine), nil
}

// overlaid is the open file.
type overlaid struct {
	*bytes.Reader
	info overlay
}

// Stat implements fs.File.
func (f *overlaid) Stat() (fs.FileInfo, error) { return f.info, nil }

// Close implements fs.File.
func (f *overlaid) Close() error { return nil }

// The file's fs.FileInfo.

func (o overlay) Name() string       { return path.Base(o.name) }
func (o overlay) Size() int64        { return int64(len(o.text)) }
func (o overlay) Mode() fs.FileMode  { return 0o444 }
func (o overlay) ModTime() time.Time { return time.Time{} }
func (o overlay) IsDir() bool        { return false }
func (o overlay) Sys() any           { return nil }
