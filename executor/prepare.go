package executor

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"drover/eventlog/event"
	"drover/executor/artifact"
	"drover/executor/driver"
)

// preparation makes one start of a task ready. It runs on the start's own goroutine.
type preparation struct {
	*taskBasis
	r     *runner
	start uint64
}

// tell adds to the task's history.
func (p *preparation) tell(kind event.TaskEventType, details map[string]string) {
	p.r.send(obsPreparing{Task: p.task.Name, Start: p.start, Kind: kind, Details: details})
}

// place is where a path of the job file is: below the task's directory, or below the one that its group shares. Nothing
// else can be named: not the other tasks' directories, and not what is the agent's in this one.
func (b *taskBasis) place(path string) (root, below string, err error) {
	clean := filepath.Clean(path)
	if rel, err := filepath.Rel(b.dirs.alloc, clean); err == nil && filepath.IsAbs(clean) && filepath.IsLocal(rel) {
		clean = rel
	} else if b.isolated && (clean == driver.SharedMount || strings.HasPrefix(clean, driver.SharedMount+"/")) {
		clean = sharedDirName + strings.TrimPrefix(clean, driver.SharedMount)
	} else {
		clean = filepath.Join(b.task.Name, clean)
	}
	first, rest, _ := strings.Cut(clean, "/")
	switch {
	case !filepath.IsLocal(clean) || first != b.task.Name && first != sharedDirName,
		first == b.task.Name && (rest == privateDirName || strings.HasPrefix(rest, privateDirName+"/")):
		return "", "", fmt.Errorf("%q is outside of the task's directory", path)
	case first == sharedDirName:
		return b.dirs.alloc, clean, nil
	}
	return b.dirs.task, filepath.Clean(rest), nil
}

// artifacts fetches what the task needs and has not got yet.
func (p *preparation) artifacts(ctx context.Context) error {
	if len(p.task.Artifacts) == 0 {
		return nil
	}
	path := filepath.Join(p.r.dir, "fetched-"+p.task.Name)
	var fetched []string // hashes of what is there
	if err := loadState(path, &fetched); err != nil && !errors.Is(err, fs.ErrNotExist) {
		fetched = nil // it is fetched again
	}
	have := make(map[string]bool, len(fetched))
	for _, hash := range fetched {
		have[hash] = true
	}
	type job struct {
		what artifact.Artifact
		to   artifact.Target
		hash string
	}
	var jobs []job
	for i := range p.task.Artifacts {
		what, to, err := p.artifact(&p.task.Artifacts[i])
		if err != nil {
			return p.artifactFailed(&p.task.Artifacts[i], driver.Unrecoverable{Err: err})
		}
		b, err := json.Marshal(what)
		if err != nil {
			return p.artifactFailed(&p.task.Artifacts[i], driver.Unrecoverable{Err: err})
		}
		sum := sha256.Sum256(b)
		if hash := hex.EncodeToString(sum[:]); !have[hash] {
			jobs = append(jobs, job{what, to, hash})
		}
	}
	if len(jobs) == 0 {
		return nil
	}
	// What an agent that was killed had not got whole.
	for _, dir := range []string{p.dirs.private, p.dirs.secrets} {
		if halves, err := filepath.Glob(filepath.Join(dir, artifact.StagingPrefix+"*")); err == nil {
			for _, half := range halves {
				os.RemoveAll(half)
			}
		}
	}
	p.tell(event.TaskDownloadingArtifacts, nil)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var (
		mu    sync.Mutex
		all   sync.WaitGroup
		first error
		slots = make(chan struct{}, artifactsParallel)
	)
	for _, j := range jobs {
		slots <- struct{}{}
		all.Go(func() {
			defer func() { <-slots }()
			err := ctx.Err()
			if err == nil {
				err = p.explainFull(j.what.Dest, artifact.Fetch(ctx, j.what, j.to, p.r.env.cfg.Artifacts))
			}
			mu.Lock()
			defer mu.Unlock()
			if err == nil {
				fetched = append(fetched, j.hash)
				return
			}
			if first == nil { // the others are given up
				if refused := (*artifact.RefusedError)(nil); errors.As(err, &refused) {
					err = driver.Unrecoverable{Err: err}
				}
				first = p.artifactFailed(&event.TaskArtifact{GetterSource: j.what.Source}, err)
				cancel()
			}
		})
	}
	all.Wait()
	if err := saveState(path, fetched, false); err != nil && first == nil {
		first = err
	}
	return first
}

func (p *preparation) artifactFailed(a *event.TaskArtifact, err error) error {
	text := fmt.Errorf("failed to download artifact %q: %w", a.GetterSource, err)
	return notReady{event.TaskFailedArtifactDownload, text}
}

// artifact interpolates one artifact.
func (p *preparation) artifact(a *event.TaskArtifact) (artifact.Artifact, artifact.Target, error) {
	dest := p.env.interpolate(a.RelativeDest)
	if dest == "" {
		dest = "local/"
	}
	what := artifact.Artifact{
		Source: p.env.interpolate(a.GetterSource), Mode: p.env.interpolate(a.GetterMode), Insecure: a.GetterInsecure,
		Options: map[string]string{}, Headers: map[string]string{},
	}
	for k, v := range a.GetterOptions {
		what.Options[p.env.interpolate(k)] = p.env.interpolate(v)
	}
	for k, v := range a.GetterHeaders {
		what.Headers[p.env.interpolate(k)] = p.env.interpolate(v)
	}
	// A job that may run any program as the agent's user learns nothing new by a file of the node.
	to := artifact.Target{Local: p.r.env.cfg.RawExecEnabled}
	var err error
	if to.Root, what.Dest, err = p.place(dest); err != nil {
		return what, to, fmt.Errorf("destination %w", err)
	}
	staging := p.dirs.private
	if to.Root == p.dirs.task && isSecret(what.Dest) { // what is secret never touches the disk
		staging = p.dirs.secrets
	}
	if to.Staging, err = filepath.Rel(to.Root, staging); err != nil {
		return what, to, err
	}
	if user := p.env.interpolate(p.task.User); a.Chown && user != "" {
		to.Chown = true
		if to.UID, to.GID, err = lookupUser(user); err != nil {
			return what, to, err
		}
	}
	return what, to, nil
}
