package cli

import (
	"flag"
	"fmt"
	"io"
	"os"
	"strings"

	"drover/cmd/internal/apiclient"
	"drover/eventlog/event"
)

// jobFileMax bounds a job file, in bytes: more than any person writes, and what
// the servers take at most.
const jobFileMax = 4 << 20

// jobFileOptions says how a job file is read.
type jobFileOptions struct {
	json     bool
	strict   bool
	vars     []string // key=value
	varFiles []string
}

func (o *jobFileOptions) register(fs *flag.FlagSet) {
	fs.BoolVar(&o.json, "json", false, "The file is JSON, a job or {\"Job\": …}.")
	fs.BoolVar(&o.strict, "hcl2-strict", true, "Fail when a variable is set that the file does not declare.")
	fs.Func("var", "Set a `variable` of the file, as name=value; may be repeated.", func(s string) error {
		if !strings.Contains(s, "=") {
			return fmt.Errorf("must be name=value, not %q", s)
		}
		o.vars = append(o.vars, s)
		return nil
	})
	fs.Func("var-file", "Set variables from a `file`; may be repeated.", func(s string) error {
		o.varFiles = append(o.varFiles, s)
		return nil
	})
}

// parseJobFile reads the file and everything that the options name with it.
func (in *invocation) parseJobFile(path string, o jobFileOptions) (*ParsedJob, error) {
	source := JobSource{Path: path, JSON: o.json, Strict: o.strict, Vars: o.vars, Environ: in.p.Environ}
	var err error
	if source.Body, err = in.readJobFile(path); err != nil {
		return nil, fmt.Errorf("Error reading job file from %s: %w", path, err)
	}
	for _, file := range o.varFiles {
		body, err := in.readJobFile(file)
		if err != nil {
			return nil, fmt.Errorf("Error reading variable file from %s: %w", file, err)
		}
		source.VarFiles = append(source.VarFiles, VarFile{Path: file, Body: body})
	}
	job, err := in.p.ParseJob(source)
	if err != nil {
		return nil, fmt.Errorf("Error parsing job file from %s:\n%w", path, err)
	}
	return job, nil
}

// destination is where the job goes: what the file says of namespace and region
// counts more than flags and environment.
func (j *ParsedJob) destination(c *apiclient.Client) *apiclient.Client {
	if j.NamespaceWritten {
		c = c.InNamespace(j.Job.Namespace)
	} else {
		j.Job.Namespace = c.Namespace()
	}
	if j.RegionWritten && j.Job.Region != event.GlobalRegion { // "global" is wherever it is sent
		c = c.InRegion(j.Job.Region)
	}
	return c
}

func (in *invocation) readJobFile(path string) ([]byte, error) {
	r := in.p.Stdin
	if path != "-" {
		f, err := os.Open(path)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		r = f
	}
	body, err := io.ReadAll(io.LimitReader(r, jobFileMax+1))
	if err == nil && len(body) > jobFileMax {
		err = fmt.Errorf("it is longer than %d bytes", jobFileMax)
	}
	return body, err
}
