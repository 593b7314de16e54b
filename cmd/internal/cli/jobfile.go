package cli

import (
	"context"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"time"

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

	consulNamespace, vaultNamespace string // "" = as the file says
}

func (o *jobFileOptions) register(fs *flag.FlagSet) {
	fs.BoolVar(&o.json, "json", false, "The file is JSON, a job or {\"Job\": …}.")
	fs.BoolVar(&o.strict, "hcl2-strict", true, "Fail when a variable is set that the file does not declare.")
	fs.StringVar(&o.consulNamespace, "consul-namespace", "", "Consul `namespace` of the job, in place of the file's.")
	fs.StringVar(&o.vaultNamespace, "vault-namespace", "", "Vault `namespace` of the job, in place of the file's.")
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
	source := JobSource{Path: path, Remote: isURL(path), JSON: o.json, Strict: o.strict, Vars: o.vars, Environ: in.p.Environ}
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
	if o.consulNamespace != "" {
		job.Job.ConsulNamespace = o.consulNamespace
	}
	if o.vaultNamespace != "" {
		job.Job.VaultNamespace = o.vaultNamespace
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

// readJobFile reads a file, the standard input, or what a URL leads to.
func (in *invocation) readJobFile(path string) ([]byte, error) {
	switch {
	case path == "-":
		return readBounded(in.p.Stdin)
	case isURL(path):
		return in.download(path)
	}
	f, err := os.Open(strings.TrimPrefix(path, "file://"))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return readBounded(f)
}

func isURL(path string) bool {
	return strings.HasPrefix(path, "http://") || strings.HasPrefix(path, "https://")
}

func readBounded(r io.Reader) ([]byte, error) {
	body, err := io.ReadAll(io.LimitReader(r, jobFileMax+1))
	if err == nil && len(body) > jobFileMax {
		err = fmt.Errorf("it is longer than %d bytes", jobFileMax)
	}
	return body, err
}

// downloadTimeout bounds the wait for a job file from elsewhere: somebody sits in front of it.
const downloadTimeout = time.Minute

func (in *invocation) download(url string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(in.ctx, downloadTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("the server at %s answered %s", req.URL.Host, resp.Status)
	}
	return readBounded(resp.Body)
}
