// Package artifact fetches what a task needs before it starts: a file, an archive or a repository.
//
// Its promise: nothing is written outside of the destination, whatever the source holds and whatever links a task has put
// in the way, and what could not be fetched whole leaves nothing behind. Everything is fetched and unpacked beside the
// destination, looked through, and only then moved there.
package artifact

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	getter "github.com/hashicorp/go-getter/v2"
)

// Artifact is what to fetch. Everything is interpolated.
type Artifact struct {
	Source   string
	Options  map[string]string // become query parameters of Source, such as checksum
	Headers  map[string]string // of HTTP requests
	Mode     string            // any, file or dir; "" is any
	Insecure bool              // do not check certificates
	Dest     string            // below Target.Root
}

// Limits bound one fetch.
type Limits struct {
	HTTPTimeout, GitTimeout time.Duration // from the request to the last byte
	HTTPBytesMax            int64         // downloaded
	UnpackedBytesMax        int64         // of an archive
	UnpackedFilesMax        int           // in an archive
}

// WithDefaults replaces fields that are zero.
func (l Limits) WithDefaults() Limits {
	return Limits{
		HTTPTimeout: cmp.Or(l.HTTPTimeout, defaultTimeout), GitTimeout: cmp.Or(l.GitTimeout, defaultTimeout),
		HTTPBytesMax: cmp.Or(l.HTTPBytesMax, defaultBytesMax), UnpackedBytesMax: cmp.Or(l.UnpackedBytesMax, defaultBytesMax),
		UnpackedFilesMax: cmp.Or(l.UnpackedFilesMax, defaultFilesMax),
	}
}

// Target is where artifacts go.
type Target struct {
	// Root is the directory that nothing may leave. Absolute.
	Root string
	// Staging is a directory below Root for what is not whole yet. Relative to Root.
	Staging string
	// Local lets sources be files of this machine.
	Local bool
	// UID and GID get what was fetched, if Chown.
	Chown    bool
	UID, GID int
}

// StagingPrefix begins the names of what is not whole yet. What bears it and belongs to no running fetch can go.
const StagingPrefix = "artifact-"

// RefusedError says that an artifact cannot be fetched however often it is tried.
type RefusedError struct{ Reason string }

func (e *RefusedError) Error() string { return e.Reason }

func refuse(format string, args ...any) error { return &RefusedError{fmt.Sprintf(format, args...)} }

// Fetch fetches one artifact. It takes ctx's end for an answer.
func Fetch(ctx context.Context, a Artifact, t Target, l Limits) error {
	if !filepath.IsLocal(a.Dest) {
		return refuse("destination %q is outside of the task's directory", a.Dest)
	}
	if !slices.Contains([]string{"", "any", "file", "dir"}, a.Mode) {
		return refuse("mode %q is not one of any, file and dir", a.Mode)
	}
	stage, err := os.MkdirTemp(filepath.Join(t.Root, t.Staging), StagingPrefix)
	if err != nil {
		return fmt.Errorf("make room for download: %w", err)
	}
	defer os.RemoveAll(stage)
	f := &fetch{a: a, t: t, l: l, stage: stage}
	if err := f.get(ctx); err != nil {
		return err
	}
	if err := f.inspect(); err != nil {
		return err
	}
	return f.place()
}

// fetch is one fetch in progress.
type fetch struct {
	a     Artifact
	t     Target
	l     Limits
	stage string // directory of our own
	got   string // what was fetched: a file or a directory, below stage
	name  string // of a single file, as its source calls it
}

// source is the source with the options in its query.
func (f *fetch) source() string {
	if len(f.a.Options) == 0 {
		return f.a.Source
	}
	q := url.Values{}
	for k, v := range f.a.Options {
		q.Set(k, v)
	}
	join := "?"
	if strings.Contains(f.a.Source, "?") {
		join = "&"
	}
	return f.a.Source + join + q.Encode()
}

// getters are the ways to fetch.
func (f *fetch) getters() []getter.Getter {
	header := http.Header{}
	for k, v := range f.a.Headers {
		header.Set(k, v)
	}
	transport := &http.Transport{Proxy: http.ProxyFromEnvironment, DisableKeepAlives: true, ResponseHeaderTimeout: headTimeout}
	if f.a.Insecure {
		transport.TLSClientConfig = &tls.Config{InsecureSkipVerify: true}
	}
	all := []getter.Getter{
		&getter.GitGetter{
			Detectors: []getter.Detector{new(getter.GitHubDetector), new(getter.GitDetector), new(getter.BitBucketDetector), new(getter.GitLabDetector)},
			Timeout:   f.l.GitTimeout,
		},
		&getter.HttpGetter{
			Netrc: true, Client: &http.Client{Transport: transport}, Header: header, DoNotCheckHeadFirst: true,
			MaxBytes: f.l.HTTPBytesMax + 1, XTerraformGetDisabled: true,
		},
	}
	if f.t.Local {
		all = append(all, new(getter.FileGetter))
	}
	return all
}

// get brings the source below stage, unpacked.
func (f *fetch) get(ctx context.Context) error {
	src, sub := getter.SourceDirSubdir(f.source())
	if sub != "" && !filepath.IsLocal(sub) {
		return refuse("subdirectory %q leads out of the source", sub)
	}
	req := &getter.Request{Src: src, Copy: true, Umask: 0o022}
	var by getter.Getter
	for _, g := range f.getters() {
		ok, err := getter.Detect(req, g)
		if err != nil {
			return refuse("source %q: %v", f.a.Source, err)
		}
		if ok {
			by = g
			break
		}
	}
	if by == nil {
		if strings.HasPrefix(src, "file:") || strings.HasPrefix(src, "/") {
			return refuse("files of the node can be a source only where raw_exec is enabled")
		}
		return refuse("source %q is not one of http, https and git", f.a.Source)
	}
	u, err := url.Parse(req.Src)
	if err != nil {
		return refuse("source %q: %v", f.a.Source, err)
	}
	if deeper, below := getter.SourceDirSubdir(req.Src); below != "" { // a short form such as github.com/o/r/dir
		if !filepath.IsLocal(below) {
			return refuse("subdirectory %q leads out of the source", below)
		}
		req.Src, sub = deeper, filepath.Join(below, sub)
		if u, err = url.Parse(req.Src); err != nil {
			return refuse("source %q: %v", f.a.Source, err)
		}
	}
	q := u.Query()
	client := &getter.Client{Getters: []getter.Getter{by}, Decompressors: map[string]getter.Decompressor{}, DisableSymlinks: true}
	f.got = filepath.Join(f.stage, "got")
	if _, ok := by.(*getter.GitGetter); ok {
		return f.clone(ctx, client, req, u, sub)
	}
	archive := archiveOf(u, q)
	f.name = filepath.Base(u.Path)
	if name := q.Get("filename"); name != "" {
		f.name = name
		q.Del("filename")
	}
	if f.name == "." || f.name == "/" || f.name == ".." || filepath.Base(f.name) != f.name {
		return refuse("source %q does not end with the name of a file", f.a.Source)
	}
	if strings.HasPrefix(q.Get("checksum"), "file:") {
		return refuse("a checksum is written out, as in sha256:…: a file of checksums is as little known as what it is for")
	}
	if _, ok := by.(*getter.FileGetter); ok {
		if info, err := os.Stat(u.Path); err == nil && info.IsDir() {
			return refuse("source %q is a directory: a file or an archive is wanted", f.a.Source)
		}
	}
	// Unpacking is done here: the library would do it in the machine's directory for temporary files.
	q.Set("archive", "false")
	u.RawQuery = q.Encode()
	req.Src, req.GetMode = u.String(), getter.ModeFile
	req.Dst = f.got
	if archive != "" {
		req.Dst = filepath.Join(f.stage, "archive")
	}
	if err := download(ctx, client, req, f.l.HTTPTimeout); err != nil {
		return err
	}
	// The library stops reading at its limit, which is one byte beyond ours, and says nothing.
	if info, err := os.Stat(req.Dst); err != nil || info.Size() > f.l.HTTPBytesMax {
		return refuse("it is larger than %d bytes", f.l.HTTPBytesMax)
	}
	if archive == "" {
		if f.a.Mode == "dir" {
			return refuse("mode is dir, but the source is a single file that is no archive")
		}
		return nil
	}
	packer := getter.LimitedDecompressors(f.l.UnpackedFilesMax, f.l.UnpackedBytesMax)[archive]
	dir := f.a.Mode != "file"
	if dir {
		if err := os.Mkdir(f.got, 0o755); err != nil {
			return err
		}
	}
	if single := slices.Contains([]string{"gz", "bz2", "xz", "zst"}, archive); single && dir {
		f.name = strings.TrimSuffix(f.name, "."+archive)
		if err := packer.Decompress(filepath.Join(f.got, f.name), req.Dst, false, 0o022); err != nil {
			return fmt.Errorf("unpack: %w", err)
		}
	} else if err := packer.Decompress(f.got, req.Dst, dir, 0o022); err != nil {
		return fmt.Errorf("unpack: %w", err)
	}
	return f.descend(sub)
}

// clone fetches a repository.
func (f *fetch) clone(ctx context.Context, client *getter.Client, req *getter.Request, u *url.URL, sub string) error {
	schemes := []string{"http", "https", "ssh", "git"}
	if f.t.Local {
		schemes = append(schemes, "file", "")
	}
	if !slices.Contains(schemes, u.Scheme) {
		return refuse("repository %q is not reached by http, https, ssh or git", f.a.Source)
	}
	q := u.Query()
	if strings.HasPrefix(q.Get("ref"), "-") || strings.HasPrefix(u.Host, "-") || strings.HasPrefix(u.Path, "-") {
		return refuse("repository %q: a name cannot begin with a dash", f.a.Source)
	}
	if q.Get("checksum") != "" {
		return refuse("a repository has no checksum: name a commit by ref")
	}
	if f.a.Mode == "file" && sub == "" {
		return refuse("mode is file, but the source is a repository")
	}
	req.GetMode, req.Dst, req.Forced = getter.ModeDir, f.got, "git"
	if err := download(ctx, client, req, f.l.GitTimeout); err != nil {
		return err
	}
	return f.descend(sub)
}

func download(ctx context.Context, client *getter.Client, req *getter.Request, limit time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	_, err := client.Get(ctx, req)
	if err != nil && errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return fmt.Errorf("it took longer than %v: %w", limit, err)
	}
	return plain(err)
}

// descend goes on with a part of what was fetched.
func (f *fetch) descend(sub string) error {
	if sub == "" {
		return nil
	}
	root, err := os.OpenRoot(f.got)
	if err != nil {
		return err
	}
	defer root.Close()
	matches, err := fs.Glob(root.FS(), filepath.ToSlash(filepath.Clean(sub)))
	if err != nil || len(matches) != 1 {
		return fmt.Errorf("%q names %d parts of the source, not one", sub, len(matches))
	}
	info, err := root.Lstat(matches[0])
	if err != nil {
		return err
	}
	if !info.IsDir() && !info.Mode().IsRegular() {
		return fmt.Errorf("%q is neither a file nor a directory", sub)
	}
	f.got, f.name = filepath.Join(f.got, matches[0]), filepath.Base(matches[0])
	return nil
}

// archiveOf is the kind of archive that a source is, or "".
func archiveOf(u *url.URL, q url.Values) string {
	kinds := getter.LimitedDecompressors(1, 1)
	if word := q.Get("archive"); word != "" {
		if _, ok := kinds[word]; ok {
			return word
		}
		return "" // false, and what is no kind
	}
	longest := ""
	for kind := range kinds {
		if strings.HasSuffix(u.Path, "."+kind) && len(kind) > len(longest) {
			longest = kind
		}
	}
	return longest
}

// plain tells a failure in one line.
func plain(err error) error {
	if sum := (*getter.ChecksumError)(nil); errors.As(err, &sum) {
		return fmt.Errorf("the checksum differs: expected %x, got %x", sum.Expected, sum.Actual)
	}
	return err
}

// inspect looks through what was fetched: no link leads out of it, nothing is a device, no file changes its user.
func (f *fetch) inspect() error {
	return filepath.WalkDir(f.got, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(f.got, path)
		if err != nil {
			return err
		}
		switch info, err := d.Info(); {
		case err != nil:
			return err
		case d.Type() == fs.ModeSymlink:
			to, err := os.Readlink(path)
			if err != nil {
				return err
			}
			if filepath.IsAbs(to) || !filepath.IsLocal(filepath.Join(filepath.Dir(rel), to)) {
				return refuse("it holds a link %q to %q, which leads out of it", rel, to)
			}
			return nil
		case !info.IsDir() && !info.Mode().IsRegular():
			return refuse("it holds %q, which is neither a file nor a directory", rel)
		default:
			return os.Chmod(path, info.Mode().Perm())
		}
	})
}

// place moves what was fetched to its destination.
func (f *fetch) place() error {
	root, err := os.OpenRoot(f.t.Root)
	if err != nil {
		return err
	}
	defer root.Close()
	from, err := filepath.Rel(f.t.Root, f.got)
	if err != nil {
		return err
	}
	info, err := root.Lstat(from)
	if err != nil {
		return err
	}
	dest := filepath.Clean(f.a.Dest)
	if !info.IsDir() && f.a.Mode != "file" {
		dest = filepath.Join(dest, f.name)
	}
	if err := root.MkdirAll(filepath.Dir(dest), 0o755); err != nil {
		return fmt.Errorf("write to %s: %w", f.a.Dest, err)
	}
	if err := f.merge(root, from, dest, info); err != nil {
		return fmt.Errorf("write to %s: %w", f.a.Dest, err)
	}
	return nil
}

// merge moves one entry; directories that are there already keep what else they hold.
func (f *fetch) merge(root *os.Root, from, to string, info fs.FileInfo) error {
	if !info.IsDir() {
		err := root.Rename(from, to)
		if errors.Is(err, syscall.EXDEV) && info.Mode().IsRegular() { // a part of the root is a file system of its own
			err = copyFile(root, from, to, info.Mode().Perm())
		}
		if err != nil {
			return err
		}
		return f.own(root, to)
	}
	if err := root.Mkdir(to, info.Mode().Perm()); err == nil {
		if err := f.own(root, to); err != nil {
			return err
		}
	} else if !errors.Is(err, fs.ErrExist) {
		return err
	}
	dir, err := root.Open(from)
	if err != nil {
		return err
	}
	entries, err := dir.ReadDir(-1)
	dir.Close()
	if err != nil {
		return err
	}
	for _, e := range entries {
		info, err := e.Info()
		if err != nil {
			return err
		}
		if err := f.merge(root, filepath.Join(from, e.Name()), filepath.Join(to, e.Name()), info); err != nil {
			return err
		}
	}
	return nil
}

// copyFile does what a move does where there is no way but to copy: the whole file is there, or what was there before.
func copyFile(root *os.Root, from, to string, mode fs.FileMode) error {
	in, err := root.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	half := filepath.Join(filepath.Dir(to), "."+filepath.Base(to)+".new")
	if err := root.Remove(half); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	out, err := root.OpenFile(half, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	if err == nil {
		err = out.Chmod(mode)
	}
	if closeErr := out.Close(); err == nil {
		err = closeErr
	}
	if err == nil {
		err = root.Rename(half, to)
	}
	if err != nil {
		root.Remove(half)
	}
	return err
}

func (f *fetch) own(root *os.Root, path string) error {
	if !f.t.Chown {
		return nil
	}
	return root.Lchown(path, f.t.UID, f.t.GID)
}
