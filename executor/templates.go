package executor

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"drover/eventlog/event"
	"drover/executor/driver"
	"drover/executor/template"
)

// templateFailed ends a task whose template cannot be rendered: another try would find the same.
func templateFailed(err error) error {
	return notReady{event.TaskKilling, driver.Unrecoverable{Err: fmt.Errorf("Template failed: %w", err)}}
}

// templates renders what the task's start needs. A later start finds what an earlier one rendered, unless the job wants
// it anew. A template that reads a file which is not there yet waits for it: another template may make it, or another task.
func (p *preparation) templates(ctx context.Context) error {
	waiting := make([]*event.Template, len(p.task.Templates))
	for i := range waiting {
		waiting[i] = &p.task.Templates[i]
	}
	told := ""
	for {
		var left []*event.Template
		var missing []string
		for _, t := range waiting {
			lacks, err := p.template(t)
			switch {
			case len(lacks) > 0:
				left, missing = append(left, t), append(missing, lacks...)
			case err != nil:
				return templateFailed(err)
			}
		}
		if len(left) == 0 {
			return nil
		}
		if len(left) < len(waiting) { // one of those may have made what another waits for
			waiting = left
			continue
		}
		if names := missingNames(missing); names != told {
			told = names
			p.tell(event.TaskHookMessage, map[string]string{event.DetailMessage: "Missing: " + names})
		}
		select {
		case <-time.After(templatePoll):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// missingNames names a few of the files that templates wait for.
func missingNames(paths []string) string {
	slices.Sort(paths)
	paths = slices.Compact(paths)
	more := ""
	if n := len(paths) - missingNamed; n > 0 {
		paths, more = paths[:missingNamed], fmt.Sprintf(", and %d more", n)
	}
	return "file(" + strings.Join(paths, "), file(") + ")" + more
}

// template renders one template unless files are missing that it reads.
func (p *preparation) template(t *event.Template) (missing []string, err error) {
	root, dest, err := p.place(p.env.interpolate(t.DestPath))
	if err != nil {
		return nil, fmt.Errorf("destination %w", err)
	}
	if p.start > 1 && !p.task.RestartPolicy.RenderTemplates {
		if _, err := readBelow(root, dest); err == nil {
			return nil, nil
		}
	}
	result, seen, err := p.render(t)
	if err != nil {
		return seen.missing(), err
	}
	if err := p.write(t, root, dest, result); err != nil {
		return nil, err
	}
	if t.Envvars {
		_, err = template.ParseEnv(result)
	}
	return nil, err
}

// text is the template itself, from the job or from a file of the task.
func (b *taskBasis) text(t *event.Template) (string, error) {
	if t.SourcePath == "" {
		return t.EmbeddedTmpl, nil
	}
	path := b.env.interpolate(t.SourcePath)
	text, err := b.read(path)
	if err != nil {
		return "", fmt.Errorf("read source: %w", err)
	}
	return string(text), nil
}

// read reads one of the task's files.
func (b *taskBasis) read(path string) ([]byte, error) {
	root, rel, err := b.place(path)
	if err != nil {
		return nil, err
	}
	return readBelow(root, rel)
}

// readBelow reads a file; links out of root are not followed.
func readBelow(dir, path string) ([]byte, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	info, err := root.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() { // a pipe would be waited for
		return nil, fmt.Errorf("%s is not a file", path)
	}
	f, err := root.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, template.SourceBytesMax+1))
	if err == nil && len(b) > template.SourceBytesMax {
		err = fmt.Errorf("%s is larger than %d bytes", path, template.SourceBytesMax)
	}
	return b, err
}

// render renders one template, and says how the files looked that it read.
func (b *taskBasis) render(t *event.Template) ([]byte, looks, error) {
	text, err := b.text(t)
	if err != nil {
		return nil, nil, err
	}
	var seen looks
	result, err := template.Render(template.Template{
		Text: text, Left: t.LeftDelim, Right: t.RightDelim, MissingKeyFails: t.ErrMissingKey,
	}, template.Source{Env: b.env.lookup, File: seen.reading(b.look, b.read)})
	return result, seen, err
}

// looks says of files how each looked right before it was read. One that changes while it is read looks different
// afterwards, so no change is missed.
type looks []fileLook

type fileLook struct{ path, look string }

// reading is read with a look ahead.
func (l *looks) reading(look func(path string) string, read func(path string) ([]byte, error)) func(string) ([]byte, error) {
	return func(path string) ([]byte, error) {
		*l = append(*l, fileLook{path, look(path)})
		return read(path)
	}
}

// same reports whether all files look as they did.
func (l looks) same(look func(path string) string) bool {
	return !slices.ContainsFunc(l, func(f fileLook) bool { return look(f.path) != f.look })
}

// missing are the files that were not there.
func (l looks) missing() (paths []string) {
	for _, f := range l {
		if f.look == lookMissing {
			paths = append(paths, f.path)
		}
	}
	return paths
}

// lookMissing is the look of a file that is not there.
const lookMissing = "missing"

// look is a file's size and time, in words.
func (b *taskBasis) look(path string) string {
	root, rel, err := b.place(path)
	if err != nil {
		return "nothing of the task's"
	}
	info, err := os.Stat(filepath.Join(root, rel))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return lookMissing
	case err != nil:
		return "not to be seen"
	}
	return fmt.Sprint(info.Size(), " ", info.ModTime().UnixNano())
}

// lookup is what a template may ask of the task and its node.
func (e *taskEnv) lookup(name string) (string, bool) {
	for _, m := range []map[string]string{e.vars, e.named, e.node} {
		if v, ok := m[name]; ok {
			return v, true
		}
	}
	return "", false
}

// write puts a rendered template into its place, whole or not at all.
func (b *taskBasis) write(t *event.Template, dir, dest string, text []byte) error {
	perms, err := strconv.ParseUint(t.Perms, 8, 32)
	if t.Perms == "" {
		perms, err = 0o644, nil
	}
	if err != nil {
		return fmt.Errorf("perms %q is not an octal number", t.Perms)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	if err := root.MkdirAll(filepath.Dir(dest), 0o755); err != nil {
		return fmt.Errorf("write %s: %w", t.DestPath, b.explainFull(dest, err))
	}
	// A name that nobody else takes: templates of one task are written one after the other.
	half := filepath.Join(filepath.Dir(dest), "."+filepath.Base(dest)+".new")
	if err := root.Remove(half); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("write %s: %w", t.DestPath, b.explainFull(dest, err))
	}
	f, err := root.OpenFile(half, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return fmt.Errorf("write %s: %w", t.DestPath, b.explainFull(dest, err))
	}
	_, err = f.Write(text)
	if uid, gid := ownerOf(t); err == nil && (uid >= 0 || gid >= 0) {
		err = f.Chown(uid, gid)
	}
	if err == nil {
		err = f.Chmod(os.FileMode(perms) & os.ModePerm)
	}
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	if err == nil {
		err = root.Rename(half, dest)
	}
	if err != nil {
		root.Remove(half)
		return fmt.Errorf("write %s: %w", t.DestPath, b.explainFull(dest, err))
	}
	return nil
}

// ownerOf is whom a rendered file belongs to; -1 is the agent's user.
func ownerOf(t *event.Template) (uid, gid int) {
	uid, gid = -1, -1
	if t.Uid != nil {
		uid = *t.Uid
	}
	if t.Gid != nil {
		gid = *t.Gid
	}
	return uid, gid
}

// addTemplates adds what templates for the environment say.
func (b *taskBasis) addTemplates() error {
	for i := range b.task.Templates {
		t := &b.task.Templates[i]
		if !t.Envvars {
			continue
		}
		text, err := b.read(b.env.interpolate(t.DestPath))
		if err != nil {
			return templateFailed(err)
		}
		vars, err := template.ParseEnv(text)
		if err != nil {
			return templateFailed(fmt.Errorf("%s: %w", t.DestPath, err))
		}
		for name, value := range vars {
			b.env.vars[name] = value
		}
	}
	return nil
}

// watchTemplates looks after the templates of a task that runs: those that read files change with them. It ends with ctx.
// begun says that the task has just been started.
func (r *runner) watchTemplates(ctx context.Context, task string, start uint64, begun bool, d driver.Running) {
	b, err := r.basis(task)
	if err != nil {
		return
	}
	var watched []*event.Template
	for i := range b.task.Templates {
		t := &b.task.Templates[i]
		if first := begun && t.ChangeMode == "script" && t.ChangeScript.RunOnFirstRender; first && !r.runScript(ctx, task, start, t, d) {
			return
		}
		// Most read no files. What one reads is known only once it is rendered; what it might read stands in its text.
		if text, err := b.text(t); err == nil && !t.Once && strings.Contains(text, "file") {
			watched = append(watched, t)
		}
	}
	if len(watched) == 0 {
		return
	}
	tick := time.NewTicker(templatePoll)
	defer tick.Stop()
	seen := map[*event.Template]looks{}
	for {
		var changed []*event.Template
		for _, t := range watched {
			ok, err := b.again(t, seen)
			if err != nil {
				r.send(obsTemplateFailed{Task: task, Start: start, Reason: templateFailed(err).Error()})
				return
			}
			if ok {
				changed = append(changed, t)
			}
		}
		if len(changed) > 0 && !r.applyTemplates(ctx, task, start, changed, d) {
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// again renders a template whose files have changed; true if it became something else.
func (b *taskBasis) again(t *event.Template, seen map[*event.Template]looks) (bool, error) {
	if old, ok := seen[t]; ok && old.same(b.look) {
		return false, nil
	}
	result, now, err := b.render(t)
	if err != nil {
		if len(now.missing()) > 0 { // what is there stays until the file comes back
			return false, nil
		}
		return false, err
	}
	seen[t] = now
	root, dest, err := b.place(b.env.interpolate(t.DestPath))
	if err != nil {
		return false, err
	}
	if old, err := readBelow(root, dest); err == nil && bytes.Equal(old, result) {
		return false, nil
	}
	return true, b.write(t, root, dest, result)
}

// applyTemplates lets the task know that its templates have changed; false if it is not to go on.
func (r *runner) applyTemplates(ctx context.Context, task string, start uint64, changed []*event.Template, d driver.Running) bool {
	var splay time.Duration
	restart := false
	var signals []string
	var scripts []*event.Template
	for _, t := range changed {
		splay = max(splay, t.Splay)
		switch t.ChangeMode {
		case "restart", "":
			restart = true
		case "signal":
			if !slices.Contains(signals, t.ChangeSignal) {
				signals = append(signals, t.ChangeSignal)
			}
		case "script":
			scripts = append(scripts, t)
		}
	}
	if splay > 0 && (restart || len(signals)+len(scripts) > 0) {
		select {
		case <-time.After(rand.N(splay)):
		case <-ctx.Done():
			return false
		}
	}
	if restart {
		r.send(obsRestart{Task: task, Start: start, Reason: "Template with change_mode restart re-rendered"})
		return false // the next start has a watch of its own
	}
	for _, signal := range signals {
		r.send(obsSignaling{Task: task, Start: start, Signal: signal, Reason: "Template re-rendered"})
		if err := d.Signal(ctx, signal); err != nil && !errors.Is(err, driver.ErrEnded) {
			r.send(obsTemplateFailed{Task: task, Start: start, Reason: fmt.Sprintf("Template failed to send signal %s: %v", signal, err)})
			return false
		}
	}
	for _, t := range scripts {
		if !r.runScript(ctx, task, start, t, d) {
			return false
		}
	}
	return true
}

// runScript runs a template's script beside the task; false if the task is not to go on. How it went stands in the task's
// history.
func (r *runner) runScript(ctx context.Context, name string, start uint64, t *event.Template, d driver.Running) bool {
	script := t.ChangeScript
	err := r.execScript(ctx, name, start, script, d)
	switch {
	case ctx.Err() != nil || errors.Is(err, driver.ErrEnded):
		return false // there is no task any more whose template it is
	case err == nil:
		r.send(obsHook{Task: name, Start: start, Kind: event.TaskHookMessage, Message: fmt.Sprintf("Template %s: script %s ran", t.DestPath, script.Command)})
		return true
	}
	failed := fmt.Sprintf("Template %s: script %s failed: %v", t.DestPath, script.Command, err)
	if script.FailOnError {
		r.send(obsTemplateFailed{Task: name, Start: start, Reason: failed})
		return false
	}
	r.send(obsHook{Task: name, Start: start, Kind: event.TaskHookFailed, Message: failed})
	return true
}

// execScript returns once the script has ended; nil if it ended well.
func (r *runner) execScript(ctx context.Context, name string, start uint64, script *event.ChangeScript, d driver.Running) error {
	execer, ok := driver.ExecerOf(d)
	if !ok {
		return errors.New("the task's driver cannot run programs beside it")
	}
	b, err := r.basis(name)
	if err != nil {
		return err
	}
	task, _, err := r.task(name, start)
	if err != nil {
		return err
	}
	said := new(head)
	x := &driver.Exec{Command: []string{b.env.interpolate(script.Command)}, Stdin: strings.NewReader(""), Stdout: said, Stderr: said}
	for _, arg := range script.Args {
		x.Command = append(x.Command, b.env.interpolate(arg))
	}
	limited, cancel := context.WithTimeout(ctx, script.Timeout)
	defer cancel()
	code, err := execer.Exec(limited, task, x)
	switch {
	case ctx.Err() == nil && limited.Err() != nil:
		return fmt.Errorf("it took longer than %v", script.Timeout)
	case err != nil:
		return err
	case code != 0:
		return fmt.Errorf("exit code %d: %s", code, said)
	}
	return nil
}

// head keeps the first bytes of what is written, enough to see what went wrong.
type head struct {
	mu   sync.Mutex
	kept []byte
}

func (h *head) Write(p []byte) (int, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.kept = append(h.kept, p[:min(len(p), scriptOutputBytesMax-len(h.kept))]...)
	return len(p), nil
}

func (h *head) String() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return strings.ToValidUTF8(string(bytes.TrimSpace(h.kept)), "")
}
