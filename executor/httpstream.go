package executor

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"
)

// frame is one piece of a followed file. Its JSON names are the public API's.
type frame struct {
	Offset    int64  `json:",omitempty"` // position after Data
	Data      []byte `json:",omitempty"`
	File      string `json:",omitempty"`
	FileEvent string `json:",omitempty"`
}

// frames writes pieces of files to a client: as JSON objects back to back, or as they are.
type frames struct {
	w     http.ResponseWriter
	flush func() error
	plain bool
	last  time.Time
}

func newFrames(w http.ResponseWriter, plain bool) *frames {
	if plain {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	} else {
		w.Header().Set("Content-Type", "application/json")
	}
	f := &frames{w: w, plain: plain, flush: http.NewResponseController(w).Flush, last: time.Now()}
	w.WriteHeader(http.StatusOK)
	f.flush()
	return f
}

// send writes one piece.
func (f *frames) send(p frame) error {
	var err error
	if f.plain {
		_, err = f.w.Write(p.Data)
	} else {
		var b []byte
		if b, err = json.Marshal(p); err == nil {
			_, err = f.w.Write(b)
		}
	}
	if err == nil {
		err = f.flush()
	}
	f.last = time.Now()
	return err
}

// heartbeat shows that a quiet stream is alive; plain text has no room for it.
func (f *frames) heartbeat() error {
	if f.plain || time.Since(f.last) < logHeartbeat {
		return nil
	}
	return f.send(frame{})
}

// streamer reads files to their end and, when it follows, beyond.
type streamer struct {
	files  *allocFiles
	out    *frames
	follow bool
	stop   func() bool
}

// errStreamDone ends a stream without a fault.
var errStreamDone = errors.New("stream is done")

// pause waits for more to read.
func (s *streamer) pause() error {
	if s.stop() {
		return errStreamDone
	}
	if err := s.out.heartbeat(); err != nil {
		return err
	}
	time.Sleep(logPoll)
	return nil
}

// copy sends what a file holds from offset on and returns the new offset.
func (s *streamer) copy(file *os.File, name string, offset int64) (int64, error) {
	buffer := make([]byte, logFrameBytes)
	for {
		n, err := file.ReadAt(buffer, offset)
		if n > 0 {
			offset += int64(n)
			if err := s.out.send(frame{Offset: offset, Data: buffer[:n], File: name}); err != nil {
				return offset, err
			}
		}
		if errors.Is(err, io.EOF) {
			return offset, nil
		}
		if err != nil {
			return offset, err
		}
		if s.stop() {
			return offset, errStreamDone
		}
	}
}

// one streams a single file.
func (s *streamer) one(name string, from position) error {
	file, err := s.files.open(name)
	if err != nil {
		return err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return err
	}
	shown := strings.TrimPrefix(path.Clean("/"+name), "/")
	offset := from.in(info.Size())
	for {
		if offset, err = s.copy(file, shown, offset); err != nil || !s.follow {
			return err
		}
		if err := s.pause(); err != nil {
			return err
		}
		now, err := file.Stat()
		if err != nil {
			return err
		}
		if now.Size() < offset {
			offset = 0
			if err := s.out.send(frame{File: shown, FileEvent: "file truncated"}); err != nil {
				return err
			}
		}
		if again, err := s.files.open(name); err != nil {
			return s.out.send(frame{File: shown, FileEvent: "file deleted"})
		} else {
			again.Close()
		}
	}
}

// logsDir is where the logs of all tasks of an allocation lie.
const logsDir = "alloc/logs"

// indexes lists the numbers of a log's files, lowest first.
func (s *streamer) indexes(log string) []int {
	dir, err := s.files.open(logsDir)
	if err != nil {
		return nil
	}
	defer dir.Close()
	names, err := dir.Readdirnames(-1)
	if err != nil {
		return nil
	}
	var found []int
	for _, name := range names {
		if text, ok := strings.CutPrefix(name, log+"."); ok {
			if n, err := strconv.Atoi(text); err == nil && n >= 0 {
				found = append(found, n)
			}
		}
	}
	slices.Sort(found)
	return found
}

// logs streams the files of a log as if they were one.
func (s *streamer) logs(log string, from position) error {
	index, offset := s.seek(log, from)
	for {
		var err error
		if index, offset, err = s.logFile(log, index, offset); err != nil {
			return err
		}
		// The file was read to its end. What is in a later one was written after it.
		indexes := s.indexes(log)
		if i := slices.IndexFunc(indexes, func(n int) bool { return n > index }); i >= 0 {
			if _, _, err = s.logFile(log, index, offset); err != nil {
				return err
			}
			index, offset = indexes[i], 0
			continue
		}
		if !s.follow {
			return nil
		}
		if err := s.pause(); err != nil {
			return err
		}
	}
}

// logFile sends what a log file holds from offset on. A file that is not there holds nothing.
func (s *streamer) logFile(log string, index int, offset int64) (int, int64, error) {
	name := path.Join(logsDir, log+"."+strconv.Itoa(index))
	file, err := s.files.open(name)
	if err != nil {
		return index, offset, nil
	}
	defer file.Close()
	offset, err = s.copy(file, name, offset)
	return index, offset, err
}

// seek finds file and offset of a position in the whole log.
func (s *streamer) seek(log string, from position) (index int, offset int64) {
	indexes := s.indexes(log)
	if len(indexes) == 0 {
		return 0, 0
	}
	sizes := make([]int64, len(indexes))
	var total int64
	for i, n := range indexes {
		if file, err := s.files.open(path.Join(logsDir, log+"."+strconv.Itoa(n))); err == nil {
			if info, err := file.Stat(); err == nil {
				sizes[i] = info.Size()
			}
			file.Close()
		}
		total += sizes[i]
	}
	offset = from.in(total)
	for i, size := range sizes {
		if offset < size || i == len(sizes)-1 {
			return indexes[i], offset
		}
		offset -= size
	}
	return indexes[0], 0
}
