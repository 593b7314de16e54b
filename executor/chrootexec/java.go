package chrootexec

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"time"

	"drover/eventlog/event"
	"drover/executor/driver"
)

// Java is the driver "java": a Java program in the container of the driver exec.
type Java struct{ Config }

// Name implements driver.Driver.
func (d *Java) Name() string { return "java" }

// Start implements driver.Driver.
func (d *Java) Start(_ context.Context, t *driver.Task) (driver.Running, error) {
	o := driver.OptionsOf(t.Config)
	class, classPath, jar := o.String("class"), o.String("class_path"), o.String("jar_path")
	args, options := o.Strings("args"), o.Strings("jvm_options")
	iso := isolationOf(o)
	if err := o.Err(); err != nil {
		return nil, err
	}
	if class == "" && jar == "" {
		return nil, driver.Invalid{Err: errors.New("jar_path or class must be specified")}
	}
	if classPath != "" {
		options = append(options, "-cp", classPath)
	}
	if jar != "" {
		options = append(options, "-jar", jar)
	}
	if class != "" {
		options = append(options, class)
	}
	return d.start(t, iso, "java", append(options, args...))
}

// Fingerprint implements driver.Driver.
func (d *Java) Fingerprint(ctx context.Context) event.DriverInfo {
	if err := d.Runtime.Check(); err != nil {
		return driver.Undetected(time.Now(), "Driver needs root and control groups: "+err.Error())
	}
	v, err := javaVersion(ctx)
	if err != nil {
		return driver.Undetected(time.Now(), "No Java is installed: "+err.Error())
	}
	return driver.Healthy(time.Now(), map[string]string{
		"driver.java": "1", "driver.java.version": v.version, "driver.java.runtime": v.runtime, "driver.java.vm": v.vm,
	})
}

// java is what a Java says of itself.
type java struct{ version, runtime, vm string }

// javaFound remembers what was found: a Java needs a tenth of a second to tell, and it tells the same until it is
// replaced.
var javaFound struct {
	sync.Mutex
	path string
	at   time.Time // when the program was last changed
	java java
}

// javaVersionTimeout bounds the question; a machine under load may take seconds.
const javaVersionTimeout = 10 * time.Second

func javaVersion(ctx context.Context) (java, error) {
	path, err := exec.LookPath("java")
	if err != nil {
		return java{}, err
	}
	info, err := os.Stat(path)
	if err != nil {
		return java{}, err
	}
	f := &javaFound
	f.Lock()
	defer f.Unlock()
	if f.path == path && f.at.Equal(info.ModTime()) {
		return f.java, nil
	}
	ctx, cancel := context.WithTimeout(ctx, javaVersionTimeout)
	defer cancel()
	out, err := exec.CommandContext(ctx, path, "-version").CombinedOutput()
	if err != nil {
		return java{}, fmt.Errorf("%s -version: %w", path, err)
	}
	v, err := javaOf(string(out))
	if err == nil {
		f.path, f.at, f.java = path, info.ModTime(), v
	}
	return v, err
}

// javaOf reads what `java -version` prints: a line with the version in quotes, one of the runtime, one of the virtual
// machine. Settings that the environment adds are told before.
func javaOf(output string) (java, error) {
	lines := strings.Split(strings.TrimSpace(output), "\n")
	for len(lines) > 3 && !strings.Contains(lines[0], ` version "`) {
		lines = lines[1:]
	}
	_, rest, ok := strings.Cut(lines[0], ` version "`)
	version, _, closed := strings.Cut(rest, `"`)
	if !ok || !closed || len(lines) < 3 {
		return java{}, fmt.Errorf("no version in %q", output)
	}
	return java{version: version, runtime: strings.TrimSpace(lines[1]), vm: strings.TrimSpace(lines[2])}, nil
}
