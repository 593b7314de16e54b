package image

import (
	"archive/tar"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"golang.org/x/sys/unix"
)

// unpackLayer writes a layer into a directory as overlayfs wants it, and makes sure that both the packed and the plain
// bytes are those that the image names.
func unpackLayer(layer v1.Layer, diffID v1.Hash, dir string) error {
	digest, err := layer.Digest()
	if err != nil {
		return err
	}
	packed, err := layer.Compressed()
	if err != nil {
		return fmt.Errorf("read layer %s: %w", digest, err)
	}
	defer packed.Close()
	packedSum := sha256.New()
	in := io.TeeReader(packed, packedSum)
	plain, err := decompress(in)
	if err != nil {
		return fmt.Errorf("read layer %s: %w", digest, err)
	}
	plainSum := sha256.New()
	tee := io.TeeReader(plain, plainSum)
	unpackErr := Unpack(tee, dir)
	// What stands after the end of the archive is part of the digests. A layer that is not what it should be is called so,
	// whatever could not be unpacked of it.
	_, err = io.Copy(io.Discard, tee)
	if err == nil {
		_, err = io.Copy(io.Discard, in)
	}
	if got := hex.EncodeToString(packedSum.Sum(nil)); err == nil && got != digest.Hex {
		return fmt.Errorf("digest of a layer differs: it should be %s and is sha256:%s", digest, got)
	}
	if got := hex.EncodeToString(plainSum.Sum(nil)); err == nil && got != diffID.Hex {
		return fmt.Errorf("digest of layer %s, unpacked, differs: it should be %s and is sha256:%s", digest, diffID, got)
	}
	if err = errors.Join(unpackErr, err); err != nil {
		return fmt.Errorf("unpack layer %s: %w", digest, err)
	}
	return nil
}

const (
	whiteout = ".wh."         // before the name of what a layer removes
	opaque   = ".wh..wh..opq" // a directory with this hides what is below it
)

// Unpack writes the archive of one layer into dir. What it removes becomes what overlayfs takes for a removal. Nothing is
// written outside of dir, whatever names and links say.
func Unpack(r io.Reader, dir string) error {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	var dirs []*tar.Header // their times are set last: what is written into them changes them
	in := tar.NewReader(r)
	for {
		h, err := in.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		name := strings.TrimPrefix(path.Clean("/"+h.Name), "/")
		if name == "" {
			continue
		}
		if err := unpackEntry(root, in, h, name); err != nil {
			return fmt.Errorf("entry %q: %w", h.Name, err)
		}
		if h.Typeflag == tar.TypeDir {
			h.Name = name
			dirs = append(dirs, h)
		}
	}
	for _, h := range dirs {
		if err := root.Chtimes(h.Name, h.ModTime, h.ModTime); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

func unpackEntry(root *os.Root, in io.Reader, h *tar.Header, name string) error {
	parent, base := path.Dir(name), path.Base(name)
	if err := root.MkdirAll(parent, 0o755); err != nil {
		return err
	}
	switch {
	case base == opaque:
		d, err := root.Open(parent)
		if err != nil {
			return err
		}
		defer d.Close()
		return unix.Fsetxattr(int(d.Fd()), "trusted.overlay.opaque", []byte("y"), 0)
	case strings.HasPrefix(base, whiteout):
		return mknod(root, parent, strings.TrimPrefix(base, whiteout), unix.S_IFCHR)
	}
	mode := fs.FileMode(h.Mode & 0o777)
	for bit, m := range map[int64]fs.FileMode{0o4000: fs.ModeSetuid, 0o2000: fs.ModeSetgid, 0o1000: fs.ModeSticky} {
		if h.Mode&bit != 0 {
			mode |= m
		}
	}
	if info, err := root.Lstat(name); err == nil && !(info.IsDir() && h.Typeflag == tar.TypeDir) {
		if err := root.RemoveAll(name); err != nil { // a later entry takes the place of an earlier one
			return err
		}
	}
	switch h.Typeflag {
	case tar.TypeDir:
		if err := root.Mkdir(name, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
	case tar.TypeReg:
		out, err := root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
		if err != nil {
			return err
		}
		if _, err = io.Copy(out, in); err == nil {
			err = setCapability(out, h)
		}
		if closeErr := out.Close(); err == nil {
			err = closeErr
		}
		if err != nil {
			return err
		}
	case tar.TypeSymlink:
		if err := root.Symlink(h.Linkname, name); err != nil {
			return err
		}
		return root.Lchown(name, h.Uid, h.Gid)
	case tar.TypeLink:
		return root.Link(strings.TrimPrefix(path.Clean("/"+h.Linkname), "/"), name)
	case tar.TypeFifo:
		if err := mknod(root, parent, base, unix.S_IFIFO); err != nil {
			return err
		}
	default:
		return nil // devices: a container has its own, and no others
	}
	if err := root.Lchown(name, h.Uid, h.Gid); err != nil {
		return err
	}
	if err := root.Chmod(name, mode); err != nil { // after the owner, which takes the setuid bit away
		return err
	}
	return root.Chtimes(name, h.ModTime, h.ModTime)
}

// capability is the attribute by which a program has more rights than who runs it; others are not kept.
const capability = "security.capability"

func setCapability(f *os.File, h *tar.Header) error {
	if value, ok := h.PAXRecords["SCHILY.xattr."+capability]; ok {
		return unix.Fsetxattr(int(f.Fd()), capability, []byte(value), 0)
	}
	return nil
}

// mknod makes a node that is no file; a character device 0:0 is how overlayfs writes down a removal.
func mknod(root *os.Root, parent, base string, kind uint32) error {
	if !filepath.IsLocal(base) || strings.Contains(base, "/") || base == "." {
		return fmt.Errorf("%q is no name", base)
	}
	d, err := root.Open(parent)
	if err != nil {
		return err
	}
	defer d.Close()
	if err := unix.Mknodat(int(d.Fd()), base, kind|0o600, 0); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return nil
}
