package figures_test

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// restartRecords is how long the log is that BenchmarkRestart starts on.
const restartRecords = 100_000

// BenchmarkRestart kills (-9) a server with 100,000 records of a kilobyte and
// starts it again: the time from the start of the process to the first answer of
// its API that is read from the folded state, once with no checkpoint, so that
// every record is folded, and once with the one that the server had saved: the
// first, after 16 MiB, for a state that is all blobs makes the gaps wide.
func BenchmarkRestart(b *testing.B) {
	for b.Loop() {
		data := filepath.Join(b.TempDir(), "data")
		dir := filepath.Join(data, "server")
		if err := os.MkdirAll(data, 0o755); err != nil {
			b.Fatal(err)
		}
		p := openPart(b, dir)
		p.submitters(b, restartRecords, blobOfKiB)
		p.close(b)

		checkpoints := filepath.Join(dir, "checkpoints")
		var folded, loaded samples
		for range 3 {
			if err := os.RemoveAll(checkpoints); err != nil {
				b.Fatal(err)
			}
			a, took := startServer(b, data)
			folded.add(took)
			// The fold was long enough to make the server save a checkpoint.
			a.until(b, "done with its checkpoint", func() bool {
				names, err := filepath.Glob(filepath.Join(checkpoints, "*.checkpoint"))
				return err == nil && len(names) > 0
			})
			a.stop(syscall.SIGKILL)
			a, took = startServer(b, data)
			loaded.add(took)
			a.stop(syscall.SIGKILL)
		}
		b.ReportMetric(milliseconds(folded.at(0.5)), "fold-all-ms")
		b.ReportMetric(milliseconds(loaded.at(0.5)), "checkpoint-ms")
	}
	b.ReportMetric(0, "ns/op")
}

func startServer(b *testing.B, data string) (*program, time.Duration) {
	a := startAgent(b, "-server", "-bootstrap-expect", "1", "-data-dir", data)
	took := a.until(b, "serving", func() bool {
		_, meta, err := a.client.Jobs().List(nil)
		return err == nil && meta.KnownLeader
	})
	return a, took
}
