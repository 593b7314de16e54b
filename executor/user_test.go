package executor

import (
	"errors"
	"os/user"
	"testing"
)

func TestAnUnknownUserIsCalledUnknown(t *testing.T) {
	err := giveTo("no-such-user", t.TempDir())
	if unknown := user.UnknownUserError(""); !errors.As(err, &unknown) {
		t.Errorf("got %v", err)
	}
	if err := giveTo("0", t.TempDir()); err != nil {
		t.Errorf("a user by number: %v", err)
	}
}
