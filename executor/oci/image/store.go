// Package image keeps the layers of OCI images, unpacked, for containers to run on.
//
// Its promise: what is in the store is what its digest says: manifest, configuration, packed and unpacked layers are all
// checked before a layer gets its name. A layer that a start of a task uses is not removed.
package image

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/klauspost/compress/zstd"
)

// Store is a directory of layers. One agent uses it at a time.
//
//	layers/<digest>        an unpacked layer, whole
//	layers/<digest>.used   when it was last asked for
//	uses/<hash of a start's state directory>   that directory, then the layers that it uses, one a line
//	new-*                  what is being unpacked
type Store struct {
	dir string

	mu     sync.Mutex // of all below, and of what is removed
	opened bool       // what was left half-done is gone
	// adding are the layers that are being unpacked, by their place; each is closed at the end of that. Two tasks that want
	// one layer fetch it once, two that want others do not wait for one another.
	adding map[string]chan struct{}
}

// OpenStore uses dir, which is made when it is needed. What an agent left half-done there is removed then.
func OpenStore(dir string) *Store { return &Store{dir: dir, adding: map[string]chan struct{}{}} }

// Image is an image that is ready to run.
type Image struct {
	Config v1.Config
	Dir    string   // where the layers are
	Layers []string // names in Dir, uppermost first
}

// File is the content of a file of the image, or nil if it has none of that name. Links are followed in one layer only.
func (i *Image) File(name string) []byte {
	for _, layer := range i.Layers {
		root, err := os.OpenRoot(filepath.Join(i.Dir, layer))
		if err != nil {
			continue
		}
		content, err := root.ReadFile(name)
		if err == nil {
			root.Close()
			return content
		}
		info, err := root.Lstat(name)
		root.Close()
		if err == nil && info.Mode()&fs.ModeCharDevice != 0 { // removed here
			return nil
		}
	}
	return nil
}

// LayersDir is where unpacked layers are.
func (s *Store) LayersDir() string { return filepath.Join(s.dir, "layers") }

// Get makes an image ready for a start, whose state directory keeps it in use. tell is called before something that may
// take long.
func (s *Store) Get(ctx context.Context, r Reference, stateDir string, tell func(string)) (*Image, error) {
	if err := s.clean(); err != nil {
		return nil, err
	}
	var found v1.Image
	var err error
	switch info, statErr := os.Stat(r.Path); {
	case r.Name != "":
		tell("Downloading image")
		found, err = openRemote(ctx, r)
	case errors.Is(statErr, fs.ErrNotExist):
		return nil, fmt.Errorf("image %s does not exist", r.Path)
	case statErr != nil:
		return nil, fmt.Errorf("image: %w", statErr)
	case info.IsDir():
		found, err = openLayout(r.Path, r)
	default:
		tmp, tmpErr := s.temporary()
		if tmpErr != nil {
			return nil, tmpErr
		}
		defer os.RemoveAll(tmp)
		if err = unpackArchive(r.Path, tmp); err == nil {
			found, err = openLayout(tmp, r)
		}
	}
	if err != nil {
		return nil, err
	}
	return s.unpack(ctx, found, stateDir, tell)
}

// unpack brings the layers of an image into the store.
func (s *Store) unpack(ctx context.Context, found v1.Image, stateDir string, tell func(string)) (*Image, error) {
	manifest, err := found.Manifest()
	if err != nil {
		return nil, fmt.Errorf("read manifest of image: %w", err)
	}
	if err := verify(manifest.Config.Digest, found.RawConfigFile); err != nil {
		return nil, fmt.Errorf("configuration of image: %w", err)
	}
	config, err := found.ConfigFile()
	if err != nil {
		return nil, fmt.Errorf("read configuration of image: %w", err)
	}
	layers, err := found.Layers()
	if err != nil {
		return nil, fmt.Errorf("read layers of image: %w", err)
	}
	diffIDs := config.RootFS.DiffIDs
	if len(layers) != len(diffIDs) || len(layers) == 0 || len(layers) > layersMax {
		return nil, fmt.Errorf("image has %d layers and names %d of them; 1 to %d can be run", len(layers), len(diffIDs), layersMax)
	}
	ready := &Image{Config: config.Config, Dir: s.LayersDir()}
	for i := len(diffIDs) - 1; i >= 0; i-- {
		ready.Layers = append(ready.Layers, diffIDs[i].Hex[:nameBytes])
	}
	if err := s.use(stateDir, ready.Layers); err != nil {
		return nil, err
	}
	told := false
	for i, layer := range layers {
		at := filepath.Join(s.LayersDir(), diffIDs[i].Hex[:nameBytes])
		ours, err := s.claim(ctx, at)
		if ours {
			if !told {
				tell("Unpacking image")
				told = true
			}
			err = s.add(layer, diffIDs[i], at)
			s.mu.Lock()
			close(s.adding[at])
			delete(s.adding, at)
			s.mu.Unlock()
		}
		if err == nil {
			err = os.WriteFile(at+".used", nil, 0o600)
		}
		if err != nil {
			return nil, errors.Join(fmt.Errorf("layer %d of image: %w", i+1, err), s.release(stateDir))
		}
	}
	return ready, nil
}

// claim returns true when the layer is not there and the caller is to add it, false when it is there. It waits while
// somebody else adds it.
func (s *Store) claim(ctx context.Context, at string) (bool, error) {
	for {
		s.mu.Lock()
		other := s.adding[at]
		if other == nil {
			_, err := os.Stat(at)
			if err != nil {
				s.adding[at] = make(chan struct{})
			}
			s.mu.Unlock()
			return err != nil, nil
		}
		s.mu.Unlock()
		select {
		case <-other:
		case <-ctx.Done():
			return false, context.Cause(ctx)
		}
	}
}

// add unpacks a layer beside its place and puts it there when it is whole.
func (s *Store) add(layer v1.Layer, diffID v1.Hash, at string) error {
	tmp, err := s.temporary()
	if err != nil {
		return err
	}
	defer os.RemoveAll(tmp)
	if err := os.Chmod(tmp, 0o755); err != nil { // it is the root directory of containers
		return err
	}
	if err := unpackLayer(layer, diffID, tmp); err != nil {
		return err
	}
	if err := os.Rename(tmp, at); err != nil {
		return fmt.Errorf("keep layer: %w", err)
	}
	return nil
}

func (s *Store) temporary() (string, error) {
	tmp, err := os.MkdirTemp(s.dir, "new-*")
	if err != nil {
		return "", fmt.Errorf("unpack image: %w", err)
	}
	return tmp, nil
}

func (s *Store) useFile(stateDir string) string {
	sum := sha256.Sum256([]byte(stateDir))
	return filepath.Join(s.dir, "uses", hex.EncodeToString(sum[:16]))
}

func (s *Store) use(stateDir string, layers []string) error {
	s.mu.Lock() // collect must not have looked already
	defer s.mu.Unlock()
	text := stateDir + "\n" + strings.Join(layers, "\n") + "\n"
	if err := os.WriteFile(s.useFile(stateDir), []byte(text), 0o600); err != nil {
		return fmt.Errorf("use image: %w", err)
	}
	return nil
}

func (s *Store) release(stateDir string) error {
	if err := os.Remove(s.useFile(stateDir)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("release image: %w", err)
	}
	return nil
}

// Release ends the use of an image by a start, and removes layers that nobody has used for long.
func (s *Store) Release(stateDir string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return errors.Join(s.release(stateDir), s.collect(time.Now()))
}

// clean makes the store's directories and removes what nobody wants any more, at first what was left half-done.
func (s *Store) clean() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, dir := range []string{s.dir, filepath.Join(s.dir, "uses"), s.LayersDir()} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return fmt.Errorf("open image store: %w", err)
		}
	}
	if !s.opened {
		left, err := filepath.Glob(filepath.Join(s.dir, "new-*"))
		if err != nil {
			return err
		}
		for _, path := range left {
			if err := os.RemoveAll(path); err != nil {
				return fmt.Errorf("clean image store: %w", err)
			}
		}
		s.opened = true
	}
	return s.collect(time.Now())
}

// collect removes layers that no start uses and that nobody has asked for since a while. A start whose state directory
// is gone uses nothing.
func (s *Store) collect(now time.Time) error {
	used := map[string]bool{}
	uses, err := os.ReadDir(filepath.Join(s.dir, "uses"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("clean image store: %w", err)
	}
	for _, u := range uses {
		path := filepath.Join(s.dir, "uses", u.Name())
		text, err := os.ReadFile(path)
		if err != nil {
			return fmt.Errorf("clean image store: %w", err)
		}
		lines := strings.Split(strings.TrimSpace(string(text)), "\n")
		if _, err := os.Stat(lines[0]); errors.Is(err, fs.ErrNotExist) {
			if err := os.Remove(path); err != nil {
				return fmt.Errorf("clean image store: %w", err)
			}
			continue
		}
		for _, layer := range lines[1:] {
			used[layer] = true
		}
	}
	layers, err := os.ReadDir(s.LayersDir())
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("clean image store: %w", err)
	}
	for _, l := range layers {
		at := filepath.Join(s.LayersDir(), l.Name())
		if !l.IsDir() || used[l.Name()] {
			continue
		}
		if info, err := os.Stat(at + ".used"); err == nil && now.Sub(info.ModTime()) < unusedKept {
			continue
		}
		if err := errors.Join(os.RemoveAll(at), os.RemoveAll(at+".used")); err != nil {
			return fmt.Errorf("clean image store: %w", err)
		}
	}
	return nil
}

// decompress knows how a layer is packed by its first bytes, as media types are not always right.
func decompress(r io.Reader) (io.Reader, error) {
	b := bufio.NewReader(r)
	head, err := b.Peek(4)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	switch {
	case bytes.HasPrefix(head, []byte{0x1f, 0x8b}):
		return gzip.NewReader(b)
	case bytes.Equal(head, []byte{0x28, 0xb5, 0x2f, 0xfd}):
		z, err := zstd.NewReader(b, zstd.WithDecoderConcurrency(1))
		if err != nil {
			return nil, err
		}
		return z.IOReadCloser(), nil
	}
	return b, nil
}
