package driver

import (
	"context"
	"time"

	"drover/eventlog/event"
)

// Labels of the calls that a [Fail] sees. Each call has one before it is made and one after it was made, so that a test
// can lose exactly one request or exactly one answer.
const (
	StartCreate   = "START:CREATE" // before the driver is asked to start
	StartAnswer   = "START:ANSWER" // it has started; the answer is lost
	RecoverFind   = "RECOVER:FIND"
	RecoverAnswer = "RECOVER:ANSWER"
	SignalSend    = "SIGNAL:SEND"
	StopSend      = "STOP:SEND"
	DestroySend   = "DESTROY:SEND"
)

// Fail decides for each labelled call of a task whether it fails instead. Nil fails nothing.
type Fail func(label, taskID string) error

// Hooked is d with every call labelled.
func Hooked(d Driver, fail Fail) Driver {
	if fail == nil {
		return d
	}
	return hooked{d, fail}
}

type hooked struct {
	Driver
	fail Fail
}

// KeeperOf is the driver as one with work of its own, if it has any.
func KeeperOf(d Driver) (Keeper, bool) {
	if h, ok := d.(hooked); ok {
		d = h.Driver
	}
	k, ok := d.(Keeper)
	return k, ok
}

func (h hooked) Start(ctx context.Context, t *Task) (Running, error) {
	if err := h.fail(StartCreate, t.ID); err != nil {
		return nil, err
	}
	r, err := h.Driver.Start(ctx, t)
	if err == nil {
		err = h.fail(StartAnswer, t.ID)
	}
	if err != nil {
		return nil, err
	}
	return hookedRunning{r, t.ID, h.fail}, nil
}

func (h hooked) Recover(ctx context.Context, t *Task, handle []byte) (Running, error) {
	if err := h.fail(RecoverFind, t.ID); err != nil {
		return nil, err
	}
	r, err := h.Driver.Recover(ctx, t, handle)
	if err == nil {
		err = h.fail(RecoverAnswer, t.ID)
	}
	if err != nil {
		return nil, err
	}
	return hookedRunning{r, t.ID, h.fail}, nil
}

type hookedRunning struct {
	Running
	id   string
	fail Fail
}

func (h hookedRunning) Signal(ctx context.Context, signal string) error {
	if err := h.fail(SignalSend, h.id); err != nil {
		return err
	}
	return h.Running.Signal(ctx, signal)
}

func (h hookedRunning) Stop(ctx context.Context, timeout time.Duration, signal string) error {
	if err := h.fail(StopSend, h.id); err != nil {
		return err
	}
	return h.Running.Stop(ctx, timeout, signal)
}

func (h hookedRunning) Destroy(ctx context.Context) error {
	if err := h.fail(DestroySend, h.id); err != nil {
		return err
	}
	return h.Running.Destroy(ctx)
}

// Healthy is the fingerprint of a driver that can be used.
func Healthy(now time.Time, attributes map[string]string) event.DriverInfo {
	return event.DriverInfo{
		Attributes: attributes, Detected: true, Healthy: true, HealthDescription: "Healthy", UpdateTime: event.StampOf(now),
	}
}

// Undetected is the fingerprint of a driver that this machine cannot use, and why.
func Undetected(now time.Time, why string) event.DriverInfo {
	return event.DriverInfo{HealthDescription: why, UpdateTime: event.StampOf(now)}
}
