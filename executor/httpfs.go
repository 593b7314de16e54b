package executor

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// allocFiles are the files of one allocation as its users may see them: nothing outside its directory, whatever links
// a task makes, and nothing of the tasks' secrets.
type allocFiles struct {
	root  *os.Root
	dir   string
	tasks []string
}

func (a *Agent) files(r *http.Request) (*allocFiles, *runner, error) {
	found, err := a.find(r)
	if err != nil {
		return nil, nil, err
	}
	dir, err := filepath.EvalSymlinks(filepath.Join(a.cfg.AllocDir, found.id.String()))
	if err != nil {
		return nil, nil, &httpError{http.StatusNotFound, "the allocation has no directory yet"}
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, nil, err
	}
	f := &allocFiles{root: root, dir: dir}
	found.mu.Lock()
	for _, t := range found.group.Tasks {
		f.tasks = append(f.tasks, t.Name)
	}
	found.mu.Unlock()
	return f, found, nil
}

// errEscapes is what a path gets that leads out of the allocation's directory.
var errEscapes = &httpError{http.StatusBadRequest, "Path escapes the alloc directory"}

// open opens a path of the allocation.
func (f *allocFiles) open(name string) (*os.File, error) {
	local := strings.TrimPrefix(path.Clean("/"+name), "/")
	if local == "" {
		local = "."
	}
	if slices.Contains(strings.Split(name, "/"), "..") && !filepath.IsLocal(strings.TrimPrefix(name, "/")) {
		return nil, errEscapes
	}
	// A named pipe would make a plain open wait for a writer.
	file, err := f.root.OpenFile(local, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, &httpError{http.StatusNotFound, fmt.Sprintf("file %q does not exist", name)}
	}
	if err != nil {
		if strings.Contains(err.Error(), "path escapes") {
			return nil, errEscapes
		}
		return nil, err
	}
	// Looked at after it was opened: a link may lead from an open place to a closed one.
	real, err := os.Readlink("/proc/self/fd/" + strconv.Itoa(int(file.Fd())))
	if err == nil {
		err = f.allowed(real)
	}
	if err != nil {
		file.Close()
		return nil, err
	}
	return file, nil
}

// allowed refuses what is for a task alone.
func (f *allocFiles) allowed(real string) error {
	rel, err := filepath.Rel(f.dir, real)
	if err != nil || !filepath.IsLocal(rel) {
		return errEscapes
	}
	for _, t := range f.tasks {
		for _, closed := range []string{secretsDirName, privateDirName} {
			at := filepath.Join(t, closed)
			if rel == at || strings.HasPrefix(rel, at+"/") {
				return &httpError{http.StatusForbidden, fmt.Sprintf("Reading %s file prohibited: %s", closed, rel)}
			}
		}
	}
	return nil
}

// FileInfo is one file in the answers of ls and stat. Its JSON names are the public API's.
type FileInfo struct {
	Name        string
	IsDir       bool
	Size        int64
	FileMode    string
	ModTime     time.Time
	ContentType string `json:",omitempty"`
}

func infoOf(i fs.FileInfo) FileInfo {
	return FileInfo{Name: i.Name(), IsDir: i.IsDir(), Size: i.Size(), FileMode: i.Mode().String(), ModTime: i.ModTime()}
}

func (a *Agent) serveList(w http.ResponseWriter, r *http.Request) error {
	f, _, err := a.files(r)
	if err != nil {
		return err
	}
	defer f.root.Close()
	dir, err := f.open(r.URL.Query().Get("path"))
	if err != nil {
		return err
	}
	defer dir.Close()
	entries, err := dir.ReadDir(-1)
	if err != nil {
		return err
	}
	slices.SortFunc(entries, func(a, b fs.DirEntry) int { return strings.Compare(a.Name(), b.Name()) })
	list := []FileInfo{}
	for _, e := range entries {
		if info, err := e.Info(); err == nil { // it may be gone by now
			list = append(list, infoOf(info))
		}
	}
	return answerJSON(w, list)
}

func (a *Agent) serveStat(w http.ResponseWriter, r *http.Request) error {
	f, _, err := a.files(r)
	if err != nil {
		return err
	}
	defer f.root.Close()
	file, info, err := f.openFile(r)
	if err != nil {
		return err
	}
	defer file.Close()
	answer := infoOf(info)
	if info.Mode().IsRegular() {
		var head [512]byte
		n, err := file.ReadAt(head[:], 0)
		if err == nil || errors.Is(err, io.EOF) {
			answer.ContentType = http.DetectContentType(head[:n])
		}
	}
	return answerJSON(w, answer)
}

func (f *allocFiles) openFile(r *http.Request) (*os.File, fs.FileInfo, error) {
	name := r.URL.Query().Get("path")
	file, err := f.open(name)
	if err != nil {
		return nil, nil, err
	}
	info, err := file.Stat()
	if err != nil {
		file.Close()
		return nil, nil, err
	}
	return file, info, nil
}

// regular opens the file that a request wants to read.
func (a *Agent) regular(r *http.Request) (*os.File, fs.FileInfo, error) {
	f, _, err := a.files(r)
	if err != nil {
		return nil, nil, err
	}
	defer f.root.Close()
	if r.URL.Query().Get("path") == "" {
		return nil, nil, badRequest("must provide a file name")
	}
	file, info, err := f.openFile(r)
	if err != nil {
		return nil, nil, err
	}
	if !info.Mode().IsRegular() {
		file.Close()
		return nil, nil, badRequest("file %q is not a regular file", r.URL.Query().Get("path"))
	}
	return file, info, nil
}

func (a *Agent) serveCat(w http.ResponseWriter, r *http.Request) error {
	file, _, err := a.regular(r)
	if err != nil {
		return err
	}
	defer file.Close()
	w.Header().Set("Content-Type", "application/octet-stream")
	io.Copy(w, file)
	return nil
}

func (a *Agent) serveReadAt(w http.ResponseWriter, r *http.Request) error {
	offset, err := intQuery(r, "offset", 0)
	if err != nil {
		return err
	}
	limit, err := intQuery(r, "limit", 0)
	if err != nil {
		return err
	}
	file, info, err := a.regular(r)
	if err != nil {
		return err
	}
	defer file.Close()
	if offset < 0 {
		return badRequest("offset must not be negative")
	}
	if limit <= 0 {
		limit = info.Size()
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	io.Copy(w, io.NewSectionReader(file, offset, limit))
	return nil
}

func (a *Agent) serveStream(w http.ResponseWriter, r *http.Request) error {
	from, err := positionOf(r)
	if err != nil {
		return err
	}
	follow, err := boolQuery(r, "follow", true)
	if err != nil {
		return err
	}
	f, found, err := a.files(r)
	if err != nil {
		return err
	}
	defer f.root.Close()
	file, _, err := a.regular(r)
	if err != nil {
		return err
	}
	file.Close()
	name := r.URL.Query().Get("path")
	out := newFrames(w, false)
	s := streamer{files: f, out: out, follow: follow, stop: stopOf(r, found)}
	s.one(name, from)
	return nil
}

func (a *Agent) serveLogs(w http.ResponseWriter, r *http.Request) error {
	q := r.URL.Query()
	task, kind := q.Get("task"), q.Get("type")
	from, err := positionOf(r)
	if err != nil {
		return err
	}
	follow, err := boolQuery(r, "follow", false)
	if err != nil {
		return err
	}
	plain, err := boolQuery(r, "plain", false)
	if err != nil {
		return err
	}
	switch {
	case task == "":
		return badRequest("must provide task name")
	case kind != "stdout" && kind != "stderr":
		return badRequest(`log type must be one of "stdout" or "stderr"`)
	}
	found, err := a.find(r)
	if err != nil {
		return err
	}
	found.mu.Lock()
	known, started := found.group.LookupTask(task) != nil, found.view.started[task]
	found.mu.Unlock()
	if !known {
		return badRequest("unknown task name %q", task)
	}
	if !started {
		return &httpError{http.StatusNotFound, fmt.Sprintf("task %q not started yet. No logs available", task)}
	}
	f, _, err := a.files(r)
	if err != nil {
		return err
	}
	defer f.root.Close()
	s := streamer{files: f, out: newFrames(w, plain), follow: follow, stop: stopOf(r, found)}
	s.logs(task+"."+kind, from)
	return nil
}

// position is where reading begins: offset bytes from the start, or before the end.
type position struct {
	offset  int64
	fromEnd bool
}

// in is the offset in something of that size.
func (p position) in(size int64) int64 {
	if p.fromEnd {
		return max(size-p.offset, 0)
	}
	return min(p.offset, size)
}

func positionOf(r *http.Request) (position, error) {
	var p position
	var err error
	if p.offset, err = intQuery(r, "offset", 0); err != nil {
		return p, err
	}
	if p.offset < 0 {
		return p, badRequest("offset must not be negative")
	}
	switch origin := r.URL.Query().Get("origin"); origin {
	case "", "start":
	case "end":
		p.fromEnd = true
	default:
		return p, badRequest(`origin must be "start" or "end", not %q`, origin)
	}
	return p, nil
}

func intQuery(r *http.Request, name string, otherwise int64) (int64, error) {
	text := r.URL.Query().Get(name)
	if text == "" {
		return otherwise, nil
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return 0, badRequest("%s must be a number, not %q", name, text)
	}
	return n, nil
}

func boolQuery(r *http.Request, name string, otherwise bool) (bool, error) {
	text := r.URL.Query().Get(name)
	if text == "" {
		return otherwise, nil
	}
	b, err := strconv.ParseBool(text)
	if err != nil {
		return false, badRequest("%s must be true or false, not %q", name, text)
	}
	return b, nil
}

// stopOf is closed when nobody reads any more or nothing is left to read.
func stopOf(r *http.Request, found *runner) func() bool {
	return func() bool {
		select {
		case <-r.Context().Done():
			return true
		case <-found.gone:
			return true
		default:
			return false
		}
	}
}
