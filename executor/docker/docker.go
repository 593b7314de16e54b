// Package docker runs tasks as containers of a Docker Engine on this machine.
//
// Its promise: a container carries the ID of the start that made it as a label. So a start is found again by any later
// agent, runs at most once, and nothing is ever removed that does not carry the label.
package docker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	cerrdefs "github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/client"

	"drover/eventlog/event"
	"drover/executor/driver"
)

// Name is what job files call the driver.
const Name = "docker"

// Labels of the containers.
const (
	labelPrefix = "com.hashicorp.nomad."
	labelAlloc  = labelPrefix + "alloc_id" // what people look for with docker ps
	labelTask   = "drover.task_id"         // which start this is
	labelOwner  = "drover.owner"           // whose it is
)

// Config is what the machine's operator decides.
type Config struct {
	// Endpoint is the daemon's address, such as unix:///var/run/docker.sock; "" is DOCKER_HOST or that.
	Endpoint string
	// AllowPrivileged lets tasks ask for privileged containers and for namespaces of the machine.
	AllowPrivileged bool
	// VolumesEnabled lets tasks mount paths from outside of their allocation.
	VolumesEnabled bool
	// AllowCaps are the capabilities that tasks may have; nil is the field's list. "all" is every one.
	AllowCaps []string
	// AuthFile is a config.json with credentials of registries; AuthHelper is the x of a docker-credential-x.
	AuthFile, AuthHelper string
	// ExtraLabels are patterns of further labels: job_name, job_id, task_group_name, task_name, namespace, node_id, node_name.
	ExtraLabels []string
	// KeepContainers and KeepImages switch cleaning off.
	KeepContainers, KeepImages bool
	// ImageDelay is how long a pulled image outlives its last task; 0 is three minutes.
	ImageDelay time.Duration
	// NoLogs leaves the output to the daemon.
	NoLogs bool
	// Owner names this node among all that use the daemon. Without it nothing is looked for that nobody knows.
	Owner string
	// Dangling is about containers of the owner that no allocation knows any more.
	Dangling Dangling
	// Logger is told what is removed that nobody knows; nil discards.
	Logger *slog.Logger
	// StateFile remembers which images were pulled; "" remembers them for the life of this agent only.
	StateFile string
}

// Dangling says how containers are looked for that no allocation knows.
type Dangling struct {
	Off    bool
	DryRun bool          // they are only told of
	Period time.Duration // between two looks; 0 is five minutes
	Grace  time.Duration // how old they must be; 0 is five minutes
}

// Driver is the docker driver.
type Driver struct {
	cfg    Config
	api    *client.Client
	log    *slog.Logger
	images *images

	mu    sync.Mutex
	seen  bool            // the daemon was reached at least once
	known map[string]bool // containers that belong to an allocation
}

// New makes the driver. It does not need the daemon to be there.
func New(cfg Config) (*Driver, error) {
	var options []client.Opt
	if cfg.Endpoint != "" {
		options = append(options, client.WithHost(cfg.Endpoint))
	} else {
		options = append(options, client.FromEnv)
	}
	api, err := client.New(options...)
	if err != nil {
		return nil, fmt.Errorf("docker driver: %w", err)
	}
	if cfg.ImageDelay == 0 {
		cfg.ImageDelay = imageDelayDefault
	}
	for _, d := range []*time.Duration{&cfg.Dangling.Period, &cfg.Dangling.Grace} {
		if *d == 0 {
			*d = danglingDefault
		}
	}
	log := cfg.Logger
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return &Driver{cfg: cfg, api: api, log: log, images: newImages(api, cfg), known: map[string]bool{}}, nil
}

// Name implements driver.Driver.
func (d *Driver) Name() string { return Name }

// Capabilities implements driver.Driver.
func (d *Driver) Capabilities() driver.Capabilities {
	return driver.Capabilities{FS: driver.IsolationImage, Mounts: true}
}

// KillSignal implements driver.Driver: it is the image's to say.
func (d *Driver) KillSignal() string { return "" }

// Fingerprint implements driver.Driver.
func (d *Driver) Fingerprint(ctx context.Context) event.DriverInfo {
	ctx, cancel := context.WithTimeout(ctx, fingerprintTimeout)
	defer cancel()
	version, err := d.api.ServerVersion(ctx, client.ServerVersionOptions{})
	d.mu.Lock()
	defer d.mu.Unlock()
	if err != nil {
		return event.DriverInfo{
			Detected: d.seen, HealthDescription: "cannot reach the docker daemon: " + err.Error(), UpdateTime: event.StampOf(time.Now()),
		}
	}
	d.seen = true
	attributes := map[string]string{"driver.docker": "1", "driver.docker.version": version.Version, "driver.docker.os_type": version.Os}
	if info, err := d.api.Info(ctx, client.InfoOptions{}); err == nil {
		attributes["driver.docker.runtimes"] = strings.Join(slices.Sorted(maps.Keys(info.Info.Runtimes)), ",")
	}
	if bridge, err := d.api.NetworkInspect(ctx, "bridge", client.NetworkInspectOptions{}); err == nil {
		for _, c := range bridge.Network.IPAM.Config {
			if c.Gateway.IsValid() {
				attributes["driver.docker.bridge_ip"] = c.Gateway.String()
			}
		}
	}
	for name, on := range map[string]bool{"privileged": d.cfg.AllowPrivileged, "volumes": d.cfg.VolumesEnabled} {
		if on {
			attributes["driver.docker."+name+".enabled"] = "true"
		}
	}
	return driver.Healthy(time.Now(), attributes)
}

// Start implements driver.Driver.
func (d *Driver) Start(ctx context.Context, t *driver.Task) (driver.Running, error) {
	o, err := parse(t)
	if err != nil {
		return nil, err
	}
	create, err := d.container(t, o)
	if err != nil {
		return nil, err
	}
	image, err := d.images.get(ctx, t, o)
	if err != nil {
		return nil, err
	}
	// By its ID: the name may be given to another image in the meantime.
	create.Config.Image = image
	started := false
	defer func() {
		if !started {
			d.images.release(image, t.ID)
		}
	}()
	id, err := d.create(ctx, t, create)
	if err != nil {
		return nil, err
	}
	if err = os.MkdirAll(t.StateDir, 0o700); err == nil {
		_, err = d.api.ContainerStart(ctx, id, client.ContainerStartOptions{})
	}
	if err != nil {
		if _, removeErr := d.api.ContainerRemove(context.WithoutCancel(ctx), id, removeAll); removeErr != nil && !cerrdefs.IsNotFound(removeErr) {
			t.Tell("cannot remove the container that did not start: " + removeErr.Error())
		}
		err = fmt.Errorf("start container: %w", err)
		if hopeless(err) {
			return nil, driver.Unrecoverable{Err: err}
		}
		return nil, err
	}
	started = true
	return d.follow(t, id, image, o.tty), nil
}

// removeAll removes a container with the nameless volumes that were made for it.
var removeAll = client.ContainerRemoveOptions{Force: true, RemoveVolumes: true}

// hopeless reports whether the daemon will say the same next time.
func hopeless(err error) bool {
	if cerrdefs.IsInvalidArgument(err) || cerrdefs.IsNotFound(err) {
		return true
	}
	text := err.Error()
	return strings.Contains(text, "executable file not found") || strings.Contains(text, "exec format error")
}

// create makes the container. A name that is taken by an older start of the same task is freed; one that is taken by
// somebody else is not ours to free.
func (d *Driver) create(ctx context.Context, t *driver.Task, options client.ContainerCreateOptions) (string, error) {
	for try := 0; ; try++ {
		made, err := d.api.ContainerCreate(ctx, options)
		if err == nil {
			for _, warning := range made.Warnings {
				t.Tell("Docker: " + warning)
			}
			return made.ID, nil
		}
		err = fmt.Errorf("create container: %w", err)
		if hopeless(err) {
			return "", driver.Unrecoverable{Err: err}
		}
		if !cerrdefs.IsConflict(err) || try == nameRetries {
			return "", err
		}
		found, findErr := d.api.ContainerInspect(ctx, options.Name, client.ContainerInspectOptions{})
		switch {
		case cerrdefs.IsNotFound(findErr): // it went by itself
		case findErr != nil:
			return "", err
		case found.Container.Config == nil || found.Container.Config.Labels[labelAlloc] != t.AllocID.String():
			return "", err
		default:
			if _, err := d.api.ContainerRemove(ctx, found.Container.ID, removeAll); err != nil && !cerrdefs.IsNotFound(err) && !cerrdefs.IsConflict(err) {
				return "", fmt.Errorf("remove container of an earlier start: %w", err)
			}
			d.untilRemoved(ctx, found.Container.ID)
		}
	}
}

// untilRemoved waits for the end of a removal that is under way.
func (d *Driver) untilRemoved(ctx context.Context, id string) {
	ctx, cancel := context.WithTimeout(ctx, drainTimeout)
	defer cancel()
	w := d.api.ContainerWait(ctx, id, client.ContainerWaitOptions{Condition: container.WaitConditionRemoved})
	select {
	case <-w.Result:
	case <-w.Error:
	}
}

// Recover implements driver.Driver.
func (d *Driver) Recover(ctx context.Context, t *driver.Task, handle []byte) (driver.Running, error) {
	id := string(handle)
	if id == "" {
		list, err := d.api.ContainerList(ctx, client.ContainerListOptions{All: true, Filters: client.Filters{}.Add("label", labelTask+"="+t.ID)})
		if err != nil {
			return nil, fmt.Errorf("look for container: %w", err)
		}
		if len(list.Items) == 0 {
			return nil, driver.ErrNotFound
		}
		id = list.Items[0].ID
	}
	found, err := d.api.ContainerInspect(ctx, id, client.ContainerInspectOptions{})
	if cerrdefs.IsNotFound(err) {
		return nil, driver.ErrNotFound
	}
	if err != nil {
		return nil, fmt.Errorf("look for container: %w", err)
	}
	c := found.Container
	if c.Config == nil || c.State == nil || c.Config.Labels[labelTask] != t.ID {
		return nil, fmt.Errorf("%w: container %.12s is not of this start", driver.ErrNotFound, id)
	}
	if c.State.Status == container.StateCreated {
		// The agent died before it started the container, or the start failed: nothing has run.
		if _, err := d.api.ContainerRemove(ctx, id, removeAll); err != nil && !cerrdefs.IsNotFound(err) {
			return nil, fmt.Errorf("remove container that never ran: %w", err)
		}
		return nil, driver.ErrNotFound
	}
	if err := os.MkdirAll(t.StateDir, 0o700); err != nil {
		return nil, fmt.Errorf("make state directory: %w", err)
	}
	d.images.hold(c.Image, t.ID)
	return d.follow(t, c.ID, c.Image, c.Config.Tty), nil
}

// errUnreachable reports whether nobody answered, as against an answer that says no.
func errUnreachable(err error) bool {
	return client.IsErrConnectionFailed(err) || cerrdefs.IsUnavailable(err) || !answered(err)
}

func answered(err error) bool {
	for _, is := range []func(error) bool{
		cerrdefs.IsNotFound, cerrdefs.IsConflict, cerrdefs.IsInvalidArgument, cerrdefs.IsInternal, cerrdefs.IsPermissionDenied,
	} {
		if is(err) {
			return true
		}
	}
	return errors.Is(err, driver.ErrNotFound)
}
