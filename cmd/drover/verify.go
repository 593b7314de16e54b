package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"drover/cmd/internal/cli"
	"drover/eventlog"
	"drover/eventlog/event"
)

// verifyDir checks the log of an agent that does not run. dir is the agent's
// data directory, or the log's own directory below it.
func verifyDir(ctx context.Context, dir string, progress func(done, total uint64)) (cli.Verification, error) {
	if below := filepath.Join(dir, "server"); isDir(below) {
		dir = below
	}
	result, err := eventlog.VerifyDir(ctx, dir, progress)
	v := cli.Verification{Records: result.Entries, HeadIndex: result.Head.Index, HeadHash: event.Hash(result.Head.Hash).String()}
	if result.Bad != nil {
		v.Bad, v.BadIndex, v.BadReason = true, result.Bad.Index, fmt.Sprintf("%s (in %s)", result.Bad.Reason, result.Bad.Path)
	}
	return v, err
}

func isDir(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}
