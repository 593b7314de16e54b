package docker

import (
	"strings"
	"testing"

	"drover/executor/docker/dockertest"
	"drover/executor/driver"
)

// A daemon that goes away takes its containers along: the tasks hear of both, and the driver is not healthy meanwhile.
func TestDaemonGoesAway(t *testing.T) {
	own, err := dockertest.New()
	if err != nil {
		t.Fatal(err)
	}
	e := engine{own}
	defer func() {
		if err := e.Remove(); err != nil {
			t.Error(err)
		}
	}()
	d := e.driver(t)
	if info := d.Fingerprint(t.Context()); !info.Healthy || info.Attributes["driver.docker.version"] == "" || !strings.Contains(info.Attributes["driver.docker.runtimes"], "runc") {
		t.Errorf("%+v", info)
	}
	made := task(t, shell("trap 'exit 7' TERM; sleep 1000 & wait"))
	r, err := d.Start(t.Context(), made)
	if err != nil {
		t.Fatal(err)
	}
	e.Stop()
	if info := d.Fingerprint(t.Context()); info.Healthy || !info.Detected || !strings.Contains(info.HealthDescription, "cannot reach the docker daemon") {
		t.Errorf("%+v", info)
	}
	if _, err := d.Start(t.Context(), task(t, shell("true"))); err == nil {
		t.Error("a task started without a daemon")
	}
	if err := e.Start(); err != nil {
		t.Fatal(err)
	}
	exit, err := r.Wait(t.Context())
	if err != nil || exit.Successful() {
		t.Errorf("exit %+v, %v", exit, err)
	}
	if err := r.Destroy(t.Context()); err != nil {
		t.Error(err)
	}
}

// Where no daemon ever was, the driver is not there.
func TestNoDaemon(t *testing.T) {
	d, err := New(Config{Endpoint: "unix://" + t.TempDir() + "/none"})
	if err != nil {
		t.Fatal(err)
	}
	if info := d.Fingerprint(t.Context()); info.Detected || info.Healthy || !strings.Contains(info.HealthDescription, "cannot reach the docker daemon") {
		t.Errorf("%+v", info)
	}
	if _, err := d.Recover(t.Context(), task(t, shell("")), nil); err == nil {
		t.Error("something was found where no daemon is")
	}
	var _ driver.Driver = d
}
