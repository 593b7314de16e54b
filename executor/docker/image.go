package docker

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	cerrdefs "github.com/containerd/errdefs"
	"github.com/distribution/reference"
	"github.com/moby/moby/api/pkg/authconfig"
	"github.com/moby/moby/api/types/registry"
	"github.com/moby/moby/client"

	"drover/executor/driver"
)

// images gets images and counts who uses them. An image that was pulled or loaded here is removed some time after its
// last user; one that was there before is never touched.
type images struct {
	api *client.Client
	cfg Config

	mu     sync.Mutex
	pulls  map[string]*pull           // by reference
	users  map[string]map[string]bool // image ID -> IDs of the starts that use it
	pulled map[string]string          // image ID -> the reference it was pulled by
	timers map[string]*time.Timer     // image ID -> its removal
}

// pull is one pull that any number of tasks wait for.
type pull struct {
	done    chan struct{}
	err     error
	waiting []*driver.Task
	giveUp  context.CancelFunc // called when nobody waits any more
}

func newImages(api *client.Client, cfg Config) *images {
	i := &images{
		api: api, cfg: cfg, pulls: map[string]*pull{}, users: map[string]map[string]bool{}, pulled: map[string]string{},
		timers: map[string]*time.Timer{},
	}
	if cfg.StateFile != "" {
		if b, err := os.ReadFile(cfg.StateFile); err == nil && json.Unmarshal(b, &i.pulled) == nil {
			for id := range i.pulled {
				i.later(id)
			}
		}
	}
	return i
}

// get returns the ID of the task's image, which is held for the task from then on.
func (i *images) get(ctx context.Context, t *driver.Task, o *options) (string, error) {
	if o.load != "" {
		if err := i.load(ctx, t, o); err != nil {
			return "", err
		}
	}
	name, err := normal(o.image)
	if err != nil {
		return "", driver.Invalid{Err: err}
	}
	local, err := i.api.ImageInspect(ctx, name)
	if err != nil && !cerrdefs.IsNotFound(err) {
		return "", fmt.Errorf("look for image %s: %w", name, err)
	}
	here := err == nil
	if here && !o.forcePull && (o.load != "" || !strings.HasSuffix(name, ":latest")) {
		i.hold(local.ID, t.ID)
		return local.ID, nil
	}
	if err := i.pull(ctx, t, o, name, here); err != nil {
		if here && !o.forcePull {
			t.Tell(fmt.Sprintf("cannot ask the registry for a newer %s, using the one that is here: %v", name, err))
			i.hold(local.ID, t.ID)
			return local.ID, nil
		}
		return "", err
	}
	now, err := i.api.ImageInspect(ctx, name)
	if err != nil {
		return "", fmt.Errorf("look for image %s after its pull: %w", name, err)
	}
	i.hold(now.ID, t.ID)
	if !here || local.ID != now.ID {
		i.mine(now.ID, name)
	}
	return now.ID, nil
}

// normal is the full name of an image with its tag or digest.
func normal(image string) (string, error) {
	for _, scheme := range []string{"https://", "http://", "docker://"} {
		image = strings.TrimPrefix(image, scheme)
	}
	named, err := reference.ParseDockerRef(image)
	if err != nil {
		return "", fmt.Errorf("image %q: %w", image, err)
	}
	return named.String(), nil
}

// load reads an image from an archive in the task's local directory.
func (i *images) load(ctx context.Context, t *driver.Task, o *options) error {
	root, err := os.OpenRoot(t.LocalDir)
	if err != nil {
		return fmt.Errorf("load image: %w", err)
	}
	defer root.Close()
	f, err := root.Open(filepath.Clean(o.load))
	if err != nil {
		return driver.Unrecoverable{Err: fmt.Errorf("load image: %w", err)}
	}
	defer f.Close()
	name, err := normal(o.image)
	if err != nil {
		return driver.Invalid{Err: err}
	}
	before, beforeErr := i.api.ImageInspect(ctx, name)
	answer, err := i.api.ImageLoad(ctx, f)
	if err != nil {
		return fmt.Errorf("load image from %s: %w", o.load, err)
	}
	defer answer.Close()
	dec := json.NewDecoder(answer)
	for {
		var m struct {
			Error string `json:"error"`
		}
		if err := dec.Decode(&m); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return fmt.Errorf("load image from %s: %w", o.load, err)
		}
		if m.Error != "" {
			return driver.Unrecoverable{Err: fmt.Errorf("load image from %s: %s", o.load, m.Error)}
		}
	}
	now, err := i.api.ImageInspect(ctx, name)
	if err != nil {
		return driver.Unrecoverable{Err: fmt.Errorf("image %s is not in %s: %w", name, o.load, err)}
	}
	if beforeErr != nil || before.ID != now.ID {
		i.mine(now.ID, name)
	}
	return nil
}

// pull gets an image from its registry. Tasks that want the same image wait for the same pull.
func (i *images) pull(ctx context.Context, t *driver.Task, o *options, name string, here bool) error {
	t.Tell("Downloading image")
	i.mu.Lock()
	p, ok := i.pulls[name]
	if !ok {
		whole, giveUp := context.WithCancel(context.WithoutCancel(ctx))
		p = &pull{done: make(chan struct{}), giveUp: giveUp}
		i.pulls[name] = p
		go func() {
			defer giveUp()
			p.err = i.fetch(whole, p, o, name, here)
			i.leave(name, p, nil)
			close(p.done)
		}()
	}
	p.waiting = append(p.waiting, t)
	i.mu.Unlock()
	select {
	case <-p.done:
		return p.err
	case <-ctx.Done():
		i.leave(name, p, t)
		return ctx.Err()
	}
}

// leave takes a task out of those that wait for a pull. One that nobody waits for is given up, and one that is over (t is
// nil) or given up is joined by nobody.
func (i *images) leave(name string, p *pull, t *driver.Task) {
	i.mu.Lock()
	defer i.mu.Unlock()
	p.waiting = slices.DeleteFunc(p.waiting, func(other *driver.Task) bool { return t == nil || other == t })
	if len(p.waiting) == 0 {
		p.giveUp()
		if i.pulls[name] == p {
			delete(i.pulls, name)
		}
	}
}

func (i *images) fetch(ctx context.Context, p *pull, o *options, name string, here bool) error {
	fail := func(err error) error {
		err = fmt.Errorf("Failed to pull `%s`: %w", name, err)
		// The daemon passes the registry's words on under a status that says little.
		for _, final := range []string{"not found", "does not exist", "manifest unknown", "unauthorized", "denied", "no basic auth credentials"} {
			if cerrdefs.IsNotFound(err) || strings.Contains(err.Error(), final) {
				return driver.Unrecoverable{Err: err}
			}
		}
		return err
	}
	auth, err := i.auth(ctx, o, name)
	if err != nil {
		if !o.authSoftFail {
			return driver.Unrecoverable{Err: fmt.Errorf("Failed to find docker auth for image %s: %w", name, err)}
		}
		auth = ""
	}
	whole := o.pullTimeout
	ctx, cancel := context.WithTimeoutCause(ctx, whole, fmt.Errorf("it took longer than image_pull_timeout, %s", whole))
	defer cancel()
	ctx, stall := context.WithCancelCause(ctx)
	defer stall(nil)
	patience := pullSilenceMax
	if here && !o.forcePull {
		patience = refreshSilenceMax
	}
	silence := time.AfterFunc(patience, func() { stall(errors.New("the registry does not answer")) })
	defer silence.Stop()
	answer, err := i.api.ImagePull(ctx, name, client.ImagePullOptions{RegistryAuth: auth})
	if err != nil {
		if cause := context.Cause(ctx); cause != nil {
			err = cause
		}
		return fail(err)
	}
	defer answer.Close()
	layers, told := map[string]bool{}, time.Now() // layer -> it is here
	for m, err := range answer.JSONMessages(ctx) {
		if err != nil {
			if cause := context.Cause(ctx); cause != nil {
				err = cause
			}
			return fail(err)
		}
		if m.Error != nil {
			return fail(errors.New(m.Error.Message))
		}
		silence.Reset(pullSilenceMax)
		switch m.Status {
		case "Pull complete", "Already exists":
			layers[m.ID] = true
		case "Pulling fs layer", "Waiting", "Downloading", "Extracting":
			layers[m.ID] = false
		}
		if time.Since(told) >= progressInterval {
			told = time.Now()
			here := 0
			for _, done := range layers {
				if done {
					here++
				}
			}
			i.mu.Lock()
			waiting := slices.Clone(p.waiting)
			i.mu.Unlock()
			for _, t := range waiting {
				t.Tell(fmt.Sprintf("Docker image pull progress: Pulled %d/%d layers", here, len(layers)))
			}
		}
	}
	if err := context.Cause(ctx); err != nil {
		return fail(err)
	}
	return nil
}

// auth finds the credentials for an image: the task's, the file's, the helper's.
func (i *images) auth(ctx context.Context, o *options, name string) (string, error) {
	if o.auth.Username != "" {
		return authconfig.Encode(o.auth)
	}
	named, err := reference.ParseNormalizedNamed(name)
	if err != nil {
		return "", err
	}
	domain := reference.Domain(named)
	servers := []string{domain, "https://" + domain, "http://" + domain}
	if domain == "docker.io" {
		servers = append(servers, "https://index.docker.io/v1/")
	}
	if i.cfg.AuthFile != "" {
		found, err := authFromFile(i.cfg.AuthFile, servers)
		if err != nil || found != nil {
			return encodeAuth(found, err)
		}
	}
	if i.cfg.AuthHelper != "" {
		return encodeAuth(authFromHelper(ctx, i.cfg.AuthHelper, servers[len(servers)-1]))
	}
	return "", nil
}

func encodeAuth(a *registry.AuthConfig, err error) (string, error) {
	if err != nil || a == nil {
		return "", err
	}
	return authconfig.Encode(*a)
}

// authFromFile reads a config.json as `docker login` writes it.
func authFromFile(path string, servers []string) (*registry.AuthConfig, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var file struct {
		Auths map[string]struct {
			Auth, Username, Password string
		} `json:"auths"`
	}
	if err := json.NewDecoder(io.LimitReader(f, credentialBytesMax)).Decode(&file); err != nil {
		return nil, fmt.Errorf("credentials in %s: %w", path, err)
	}
	for _, server := range servers {
		a, ok := file.Auths[server]
		if !ok {
			continue
		}
		if a.Auth != "" {
			b, err := base64.StdEncoding.DecodeString(a.Auth)
			user, password, ok := strings.Cut(string(b), ":")
			if err != nil || !ok {
				return nil, fmt.Errorf("credentials in %s: those of %s are not base64 of user:password", path, server)
			}
			a.Username, a.Password = user, strings.TrimRight(password, "\x00")
		}
		return &registry.AuthConfig{Username: a.Username, Password: a.Password, ServerAddress: server}, nil
	}
	return nil, nil
}

// authFromHelper asks a docker-credential-x program.
func authFromHelper(ctx context.Context, helper, server string) (*registry.AuthConfig, error) {
	ctx, cancel := context.WithTimeout(ctx, credentialTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, "docker-credential-"+helper, "get")
	cmd.Stdin = strings.NewReader(server)
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("docker-credential-%s: %w: %s", helper, err, strings.TrimSpace(string(out)))
	}
	var answer struct{ Username, Secret string }
	if err := json.Unmarshal(out, &answer); err != nil {
		return nil, fmt.Errorf("docker-credential-%s: %w", helper, err)
	}
	if answer.Username == "<token>" {
		return &registry.AuthConfig{IdentityToken: answer.Secret, ServerAddress: server}, nil
	}
	return &registry.AuthConfig{Username: answer.Username, Password: answer.Secret, ServerAddress: server}, nil
}

// hold counts a user of an image.
func (i *images) hold(image, user string) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.users[image] == nil {
		i.users[image] = map[string]bool{}
	}
	i.users[image][user] = true
	if t := i.timers[image]; t != nil {
		t.Stop()
		delete(i.timers, image)
	}
}

// release counts it out.
func (i *images) release(image, user string) {
	i.mu.Lock()
	defer i.mu.Unlock()
	delete(i.users[image], user)
	if len(i.users[image]) == 0 {
		delete(i.users, image)
		if _, ok := i.pulled[image]; ok {
			i.later(image)
		}
	}
}

// mine notes that an image would not be here without us.
func (i *images) mine(image, name string) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.pulled[image] = name
	i.save()
}

// later removes an image after the delay unless somebody uses it by then. The caller holds the lock, or is alone.
func (i *images) later(image string) {
	if i.cfg.KeepImages || i.timers[image] != nil {
		return
	}
	i.timers[image] = time.AfterFunc(i.cfg.ImageDelay, func() { i.remove(image) })
}

func (i *images) remove(image string) {
	i.mu.Lock()
	name := i.pulled[image]
	delete(i.timers, image)
	used := len(i.users[image]) > 0
	i.mu.Unlock()
	if used || name == "" {
		return
	}
	// By its name and without force: an image that somebody else uses, or has given another name, stays.
	found, err := i.api.ImageInspect(context.Background(), name)
	if err == nil && found.ID == image {
		_, err = i.api.ImageRemove(context.Background(), name, client.ImageRemoveOptions{PruneChildren: true})
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	if err != nil && !cerrdefs.IsNotFound(err) {
		if len(i.users[image]) == 0 {
			i.later(image)
		}
		return
	}
	delete(i.pulled, image)
	i.save()
}

// save writes down which images are ours. A file that cannot be written costs disk space, nothing else.
func (i *images) save() {
	if i.cfg.StateFile == "" {
		return
	}
	b, err := json.Marshal(maps.Clone(i.pulled))
	if err != nil {
		return
	}
	next := i.cfg.StateFile + ".next"
	if os.WriteFile(next, b, 0o600) == nil {
		os.Rename(next, i.cfg.StateFile)
	}
}
