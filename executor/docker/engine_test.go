package docker

import (
	"fmt"
	"os"
	"testing"

	"drover/executor/docker/dockertest"
)

// engine is a Docker Engine of the test's own.
type engine struct{ *dockertest.Engine }

// shared is the engine that tests use which do not end it.
var shared engine

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) (code int) {
	e, err := dockertest.New()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer func() {
		if err := e.Remove(); err != nil {
			fmt.Fprintln(os.Stderr, "remove the Docker Engine of the tests:", err)
			code = 1
		}
	}()
	shared = engine{e}
	return m.Run()
}

// driver is the driver as one life of an agent has it.
func (e engine) driver(t *testing.T, change ...func(*Config)) *Driver {
	t.Helper()
	cfg := Config{Endpoint: e.Endpoint()}
	for _, f := range change {
		f(&cfg)
	}
	d, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return d
}
