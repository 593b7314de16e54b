package image

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
)

// Reference says which image a task wants: a layout on disk (a directory or an archive of one), or one of a registry.
type Reference struct {
	Path   string // on disk; "" for a registry
	Name   string // in a registry
	Tag    string // on disk, which of several; "" if there is one
	Digest string // "sha256:...": what the image must be; "" for any

	Credentials Credentials // for a registry
}

// Credentials are whom a registry is to know the task as.
type Credentials struct{ Username, Password string }

// ParseReference reads "[oci:|oci-archive:]path[:tag][@digest]" or "[docker://]name[:tag][@digest]". Without a word before
// it, a path is known by its beginning: "/", "./", "local/" or "alloc/".
func ParseReference(text string) (Reference, error) {
	var r Reference
	rest, onDisk := text, false
	for _, prefix := range []string{"oci-archive:", "oci:"} {
		if after, ok := strings.CutPrefix(rest, prefix); ok {
			rest, onDisk = after, true
			break
		}
	}
	for _, start := range []string{"/", "./", "local/", "alloc/"} {
		onDisk = onDisk || strings.HasPrefix(rest, start)
	}
	if !onDisk {
		r.Name = strings.TrimPrefix(strings.TrimPrefix(rest, "docker://"), "https://")
		if r.Name == "" {
			return r, errors.New("image is empty")
		}
		if _, err := name.ParseReference(r.Name); err != nil {
			return r, fmt.Errorf("image %q is neither a path nor the name of an image: %w", text, err)
		}
		return r, nil
	}
	rest, r.Digest, _ = strings.Cut(rest, "@")
	if r.Digest != "" {
		if _, err := v1.NewHash(r.Digest); err != nil {
			return r, fmt.Errorf("image %q: digest: %w", text, err)
		}
	}
	if at := strings.LastIndex(rest, ":"); at > strings.LastIndex(rest, "/") {
		rest, r.Tag = rest[:at], rest[at+1:]
	}
	if r.Path = rest; rest == "" {
		return r, fmt.Errorf("image %q names no path", text)
	}
	return r, nil
}

// openLayout finds the image of a layout, for this machine.
func openLayout(dir string, r Reference) (v1.Image, error) {
	index, err := layout.ImageIndexFromPath(dir)
	if err != nil {
		return nil, fmt.Errorf("%s is not an OCI image layout: %w", r.Path, err)
	}
	found, err := choose(index, r, true)
	if err != nil {
		return nil, fmt.Errorf("image %s: %w", r.Path, err)
	}
	return found, nil
}

// tagAnnotation is where a layout keeps the tag of an image.
const tagAnnotation = "org.opencontainers.image.ref.name"

// choose finds the one image that is wanted in an index, or in an index that it names.
func choose(index v1.ImageIndex, r Reference, top bool) (v1.Image, error) {
	manifest, err := index.IndexManifest()
	if err != nil {
		return nil, err
	}
	var fit []v1.Descriptor
	for _, d := range manifest.Manifests {
		tag := d.Annotations[tagAnnotation]
		switch {
		case top && r.Tag != "" && tag != r.Tag && !strings.HasSuffix(tag, ":"+r.Tag):
		case d.Platform != nil && (d.Platform.OS != "linux" || d.Platform.Architecture != runtime.GOARCH):
		default:
			fit = append(fit, d)
		}
	}
	switch {
	case len(fit) == 0 && r.Tag != "":
		return nil, fmt.Errorf("it has no image tagged %q for linux/%s", r.Tag, runtime.GOARCH)
	case len(fit) == 0:
		return nil, fmt.Errorf("it has no image for linux/%s", runtime.GOARCH)
	case len(fit) > 1 && top:
		return nil, fmt.Errorf("it has %d images: name one as path:tag", len(fit))
	}
	d := fit[0]
	if top && r.Digest != "" && d.Digest.String() != r.Digest {
		return nil, fmt.Errorf("its digest is %s, not %s", d.Digest, r.Digest)
	}
	if d.MediaType.IsIndex() {
		below, err := index.ImageIndex(d.Digest)
		if err != nil {
			return nil, err
		}
		if err := verify(d.Digest, below.RawManifest); err != nil {
			return nil, fmt.Errorf("index: %w", err)
		}
		return choose(below, r, false)
	}
	found, err := index.Image(d.Digest)
	if err != nil {
		return nil, err
	}
	if err := verify(d.Digest, found.RawManifest); err != nil {
		return nil, fmt.Errorf("manifest: %w", err)
	}
	return found, nil
}

// verify makes sure that a small blob is what its digest says.
func verify(want v1.Hash, read func() ([]byte, error)) error {
	content, err := read()
	if err != nil {
		return err
	}
	if len(content) > configBytesMax {
		return fmt.Errorf("it has %d bytes, more than %d", len(content), configBytesMax)
	}
	got, _, err := v1.SHA256(strings.NewReader(string(content)))
	if err != nil {
		return err
	}
	if got != want {
		return fmt.Errorf("digest differs: it should be %s and is %s", want, got)
	}
	return nil
}

// openRemote finds an image in a registry. Without credentials of the job, those of the machine's docker configuration
// are used.
func openRemote(ctx context.Context, r Reference) (v1.Image, error) {
	ref, err := name.ParseReference(r.Name)
	if err != nil {
		return nil, err
	}
	auth := remote.WithAuthFromKeychain(authn.DefaultKeychain)
	if c := r.Credentials; c.Username != "" {
		auth = remote.WithAuth(&authn.Basic{Username: c.Username, Password: c.Password})
	}
	found, err := remote.Image(ref, remote.WithContext(ctx), auth,
		remote.WithPlatform(v1.Platform{OS: "linux", Architecture: runtime.GOARCH}))
	if err != nil {
		return nil, fmt.Errorf("find image %s in its registry: %w", r.Name, err)
	}
	return found, nil
}

// Refused reports whether a registry was reached and does not have the image, or not for us.
func Refused(err error) bool {
	var e *transport.Error
	return errors.As(err, &e) && slices.Contains([]int{http.StatusNotFound, http.StatusUnauthorized, http.StatusForbidden}, e.StatusCode)
}

// unpackArchive writes the archive of a layout into a directory.
func unpackArchive(path, dir string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	in := tar.NewReader(f)
	for {
		h, err := in.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return fmt.Errorf("%s is not an archive: %w", path, err)
		}
		if h.Typeflag != tar.TypeReg || !filepath.IsLocal(h.Name) {
			continue // a layout is made of plain files
		}
		if err := root.MkdirAll(filepath.Dir(filepath.Clean(h.Name)), 0o700); err != nil {
			return err
		}
		out, err := root.Create(filepath.Clean(h.Name))
		if err != nil {
			return err
		}
		_, err = io.Copy(out, in)
		if closeErr := out.Close(); err == nil {
			err = closeErr
		}
		if err != nil {
			return fmt.Errorf("unpack %s: %w", path, err)
		}
	}
	if _, err := root.Stat("index.json"); errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s is not the archive of an OCI image layout: it has no index.json", path)
	}
	return nil
}
