package executor

import (
	"cmp"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"syscall"

	"drover/eventlog/event"
	"drover/executor/driver"
	"drover/executor/memdir"
)

// secretsMB is the size of a task's directory of secrets.
func secretsMB(t *event.Task) int { return cmp.Or(t.Resources.SecretsMB, defaultSecretsMB) }

// keepSecrets has a task's secrets in memory from its first start to the end of its allocation's directory. After a power
// cut a start finds an empty directory and fills it again.
func (env *runnerEnv) keepSecrets(dirs taskDirs, t *event.Task) error {
	_, err := env.memory.Mount(dirs.secrets, secretsMB(t))
	if errors.Is(err, syscall.ENOTDIR) || errors.Is(err, syscall.ELOOP) {
		err = driver.Unrecoverable{Err: fmt.Errorf("the task has replaced its directory of secrets: %w", err)}
	}
	if err != nil {
		return notReady{event.TaskSetupFailure, fmt.Errorf("failed to setup task: %w", err)}
	}
	return nil
}

// dropSecrets lets go of the secrets of all tasks of an allocation.
func dropSecrets(env *runnerEnv, id event.ID) {
	if err := memdir.UnmountEach(filepath.Join(env.cfg.AllocDir, id.String()), secretsDirName); err != nil {
		env.log.Error("cannot let go of secrets", "alloc", id, "err", err)
	}
}

// isSecret reports whether a path below a task's directory is one of its secrets.
func isSecret(path string) bool {
	return path == secretsDirName || strings.HasPrefix(path, secretsDirName+"/")
}

// explainFull says more of a path that could not be written where a task's secrets found no room.
func (b *taskBasis) explainFull(path string, err error) error {
	if !errors.Is(err, syscall.ENOSPC) || !isSecret(path) {
		return err
	}
	return fmt.Errorf("%w: the task's directory of secrets holds %d MB; secrets in its resources block is its size", err, secretsMB(b.task))
}
