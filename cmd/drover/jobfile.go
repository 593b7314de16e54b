package main

import (
	"drover/cmd/internal/cli"
	"drover/commands/jobspec"
	"drover/eventlog/event"
)

// parseJob reads a job file for the command line, which may use files beside it.
func parseJob(s cli.JobSource) (*cli.ParsedJob, error) {
	parsed := func(r *jobspec.Result, err error) (*cli.ParsedJob, error) {
		if err != nil {
			return nil, err
		}
		return &cli.ParsedJob{
			Job: r.Job, Warnings: r.Warnings, Submission: r.Submission, NamespaceWritten: r.NamespaceWritten, RegionWritten: r.RegionWritten,
		}, nil
	}
	if s.JSON {
		return parsed(jobspec.ParseJSON(s.Body))
	}
	cfg := jobspec.ParseConfig{Path: s.Path, Body: s.Body, Vars: s.Vars, Env: s.Environ, Strict: s.Strict, AllowFS: !s.Remote}
	for _, f := range s.VarFiles {
		cfg.VarFiles = append(cfg.VarFiles, jobspec.VarFile{Path: f.Path, Body: f.Body})
	}
	return parsed(jobspec.Parse(cfg))
}

// validateJob checks a job by the rules that need no server.
func validateJob(job *event.Job) ([]string, error) { return jobspec.Validate(job) }
