// Package logfile writes a task's output into files of bounded size and number.
//
// Its promise: read in the order of their numbers, the files hold exactly the bytes that were written, less whole files
// that were dropped at the front. A file ends at the end of a line unless a line is longer than [OvershootBytesMax]
// beyond the size limit.
package logfile

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

// OvershootBytesMax is how far a file may grow beyond its size limit so that a line is not split.
const OvershootBytesMax = 32 << 10

// Writer writes files <name>.0, <name>.1, … in a directory. It is not safe for use by several goroutines.
type Writer struct {
	dir, name string
	bytesMax  int64
	filesMax  int
	file      *os.File
	index     int
	size      int64
	line      bool // the file ends with a whole line
}

// Open continues the file with the highest number, or starts number 0. A limit that is not positive means "no limit".
func Open(dir, name string, bytesMax int64, filesMax int) (*Writer, error) {
	w := &Writer{dir: dir, name: name, bytesMax: bytesMax, filesMax: filesMax}
	if indexes := Indexes(dir, name); len(indexes) > 0 {
		w.index = indexes[len(indexes)-1]
	}
	if err := w.open(); err != nil {
		return nil, err
	}
	return w, nil
}

// Indexes lists the numbers of the files there are, lowest first.
func Indexes(dir, name string) []int {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil
	}
	var indexes []int
	for _, e := range entries {
		text, ok := strings.CutPrefix(e.Name(), name+".")
		if !ok {
			continue
		}
		if n, err := strconv.Atoi(text); err == nil && n >= 0 && strconv.Itoa(n) == text {
			indexes = append(indexes, n)
		}
	}
	slices.Sort(indexes)
	return indexes
}

// Path is the path of file number index.
func Path(dir, name string, index int) string {
	return filepath.Join(dir, name+"."+strconv.Itoa(index))
}

func (w *Writer) open() error {
	// The directory belongs to the task too. A link that it put in our way would have us write, with the agent's rights,
	// wherever it leads.
	path := Path(w.dir, w.name, w.index)
	const flags = os.O_RDWR | os.O_CREATE | os.O_APPEND | syscall.O_NOFOLLOW | syscall.O_NONBLOCK
	f, err := os.OpenFile(path, flags, 0o644)
	if errors.Is(err, syscall.ELOOP) {
		if err = os.Remove(path); err == nil {
			f, err = os.OpenFile(path, flags|os.O_EXCL, 0o644)
		}
	}
	if err != nil {
		return fmt.Errorf("open log file: %w", err)
	}
	info, err := f.Stat()
	if err != nil {
		f.Close()
		return fmt.Errorf("open log file: %w", err)
	}
	w.file, w.size = f, info.Size()
	w.line = true
	if w.size > 0 {
		var last [1]byte
		if _, err := f.ReadAt(last[:], w.size-1); err == nil {
			w.line = last[0] == '\n'
		}
	}
	return nil
}

// Write appends p, in as many files as it takes.
func (w *Writer) Write(p []byte) (int, error) {
	written := 0
	for len(p) > 0 {
		n := w.take(p)
		if n == 0 {
			if err := w.rotate(); err != nil {
				return written, err
			}
			continue
		}
		n, err := w.file.Write(p[:n])
		if n > 0 {
			w.size += int64(n)
			w.line = p[n-1] == '\n'
			written += n
			p = p[n:]
		}
		if err != nil {
			return written, err
		}
	}
	return written, nil
}

// take is how many bytes at the front of p belong to the current file; 0 says that the file is full.
func (w *Writer) take(p []byte) int {
	if w.bytesMax <= 0 {
		return len(p)
	}
	room := w.bytesMax - w.size
	if int64(len(p)) <= room {
		return len(p)
	}
	if room <= 0 && (w.line || room <= -OvershootBytesMax) {
		return 0
	}
	// The limit falls into p, or was passed in the middle of a line: go on to that line's end. The byte before the limit
	// may be that end already.
	from := max(room-1, 0)
	over := min(int64(len(p)), room+OvershootBytesMax)
	if room <= 0 {
		from = 0
	}
	if i := bytes.IndexByte(p[from:over], '\n'); i >= 0 {
		return int(from) + i + 1
	}
	return int(over)
}

func (w *Writer) rotate() error {
	if err := w.file.Close(); err != nil {
		return fmt.Errorf("close full log file: %w", err)
	}
	w.index++
	if err := w.open(); err != nil {
		return err
	}
	if w.filesMax > 0 {
		for _, i := range Indexes(w.dir, w.name) {
			if i <= w.index-w.filesMax {
				os.Remove(Path(w.dir, w.name, i))
			}
		}
	}
	return nil
}

// Close closes the current file.
func (w *Writer) Close() error { return w.file.Close() }
