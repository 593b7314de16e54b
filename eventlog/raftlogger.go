package eventlog

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"sync/atomic"

	"github.com/lni/dragonboat/v4/logger"
)

// Dragonboat keeps one logger factory per process and may be given it once, so it is given here, before anything can log to
// standard output. Its lines go to the logger of the log opened last.
var raftLog atomic.Pointer[slog.Logger]

// settingsFiles are the files that Dragonboat silently reads from the working directory when the process starts, and
// that change, among others, the format of what it stores. What it has read cannot be undone, so Open refuses to run
// in such a process.
var settingsFiles = func() (found []string) {
	for _, name := range []string{"dragonboat-hard-settings.json", "dragonboat-soft-settings.json"} {
		if _, err := os.Stat(name); err == nil {
			found = append(found, name)
		}
	}
	return found
}()

func init() {
	logger.SetLoggerFactory(func(pkg string) logger.ILogger { return raftLogger{pkg} })
}

// raftLogger passes Dragonboat's lines to slog. Its "info" and "warning" are our "debug": it tells of every file it opens
// and warns of every step of an election. The log tells of each new leader itself.
type raftLogger struct{ pkg string }

func (raftLogger) SetLevel(logger.LogLevel) {}

func (r raftLogger) log(level slog.Level, format string, args []any) {
	l := raftLog.Load()
	if l == nil || !l.Enabled(context.Background(), level) {
		return
	}
	l.Log(context.Background(), level, fmt.Sprintf(format, args...), "raft", r.pkg)
}

func (r raftLogger) Debugf(format string, args ...any)   { r.log(slog.LevelDebug-4, format, args) }
func (r raftLogger) Infof(format string, args ...any)    { r.log(slog.LevelDebug, format, args) }
func (r raftLogger) Warningf(format string, args ...any) { r.log(slog.LevelDebug, format, args) }
func (r raftLogger) Errorf(format string, args ...any)   { r.log(slog.LevelError, format, args) }

// Panicf must not return: Dragonboat calls it where going on would damage the log.
func (r raftLogger) Panicf(format string, args ...any) {
	r.log(slog.LevelError, format, args)
	panic(fmt.Sprintf("raft "+r.pkg+": "+format, args...))
}
