package cli

import (
	"flag"
	"fmt"
	"strconv"

	"drover/cmd/internal/apiclient"
)

func jobTagApplySpec() spec {
	return spec{
		name: "job tag apply", args: "<job>", general: true,
		synopsis: "Give a version of a job a name",
		about: "Give a version of a job a name, the newest unless -version names another. A version has at most one name,\n" +
			"and a name at most one version of a job. A version with a name is kept when others of its age are forgotten,\n" +
			"and can be compared with and reverted to by it.",
		setup: func(fs *flag.FlagSet) runFunc {
			name := fs.String("name", "", "The `name`.")
			description := fs.String("description", "", "A `text` that says more.")
			var version number
			version.register(fs, "version", "This `version` rather than the newest.")
			return func(in *invocation, args []string) int {
				switch {
				case len(args) != 1:
					return in.usage("This command takes one argument: <job>")
				case *name == "":
					return in.usage("A version tag name must be specified using the -name flag")
				}
				return in.tagVersion(args[0], *name, *description, version)
			}
		},
	}
}

func (in *invocation) tagVersion(typed, name, description string, version number) int {
	c, id, code, ok := in.taggedJob(typed)
	if !ok {
		return code
	}
	// The newest is named by its number, so that what is said afterwards is what was done.
	if !version.set {
		job, _, err := c.Job(in.ctx, id, apiclient.Query{})
		if err != nil {
			return in.fail("Error retrieving job: %s", err)
		}
		version.value = job.Version
	}
	if err := c.TagVersion(in.ctx, id, name, version.value, description); err != nil {
		return in.fail("Error tagging job version: %s", err)
	}
	in.ui.Output(fmt.Sprintf("Job version %d tagged with name %q", version.value, name))
	return 0
}

func jobTagUnsetSpec() spec {
	return spec{
		name: "job tag unset", args: "<job>", general: true,
		synopsis: "Take the name of a version of a job away",
		about:    "Take the name of a version of a job away. The version is forgotten when it is not among the newest.",
		setup: func(fs *flag.FlagSet) runFunc {
			name := fs.String("name", "", "The `name`.")
			return func(in *invocation, args []string) int {
				switch {
				case len(args) != 1:
					return in.usage("This command takes one argument: <job>")
				case *name == "":
					return in.usage("A version tag name must be specified using the -name flag")
				}
				c, id, code, ok := in.taggedJob(args[0])
				if !ok {
					return code
				}
				if err := c.UntagVersion(in.ctx, id, *name); err != nil {
					return in.fail("Error removing job version tag: %s", err)
				}
				in.ui.Output(fmt.Sprintf("Tag %q removed from job %q", *name, id))
				return 0
			}
		},
	}
}

// taggedJob is the job that was typed, and a client in its namespace.
func (in *invocation) taggedJob(typed string) (c *apiclient.Client, id string, code int, ok bool) {
	if c, ok = in.client(); !ok {
		return nil, "", 1, false
	}
	stub, _, code, ok := in.oneJob(c, typed)
	if !ok {
		return nil, "", code, false
	}
	return c.InNamespace(stub.JobNamespace()), stub.ID, 0, true
}

// versionTyped is the version that a person means: by its number, or by its name.
func (in *invocation) versionTyped(c *apiclient.Client, job, typed string) (uint64, error) {
	if version, err := strconv.ParseUint(typed, 10, 64); err == nil {
		return version, nil
	}
	list, _, err := c.JobVersions(in.ctx, job, false, apiclient.Query{})
	if err != nil {
		return 0, fmt.Errorf("Error retrieving job versions: %w", err)
	}
	for _, v := range list.Versions {
		if v.VersionTag != nil && v.VersionTag.Name == typed {
			return v.Version, nil
		}
	}
	return 0, fmt.Errorf("Job %q has no version with the tag %q", job, typed)
}
