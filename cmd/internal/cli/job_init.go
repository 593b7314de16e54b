package cli

import (
	"embed"
	"errors"
	"flag"
	"io/fs"
	"os"
	"slices"
	"strings"
)

// The job files that job init writes, by name.
//
//go:embed examples/*.nomad.hcl
var examples embed.FS

// exampleFile is where an example goes when nothing else is said.
const exampleFile = "example.nomad.hcl"

// Examples lists the names of the job files that job init can write.
func Examples() []string {
	entries, err := examples.ReadDir("examples")
	if err != nil {
		panic(err) // they are part of the program
	}
	names := make([]string, len(entries))
	for i, e := range entries {
		names[i] = strings.TrimSuffix(e.Name(), ".nomad.hcl")
	}
	slices.Sort(names) // files are sorted with what names end in
	return names
}

// Example is the job file of a name, nil when there is none.
func Example(name string) []byte {
	text, err := examples.ReadFile("examples/" + name + ".nomad.hcl")
	if err != nil {
		return nil
	}
	return text
}

func jobInitSpec() spec {
	return spec{
		name: "job init", args: "[filename]",
		synopsis: "Create an example job file",
		about:    "Write a job file to start from. Without a name it is " + exampleFile + ". A file that exists is left as it is.",
		setup: func(fs *flag.FlagSet) runFunc {
			var short, connect, list bool
			var template string
			fs.BoolVar(&short, "short", false, "Write a file without comments.")
			fs.BoolVar(&connect, "connect", false, "Write a job of services that reach one another through Consul's mesh. This version has no\nproxies, keeps the job without placing it, and says so.")
			fs.BoolVar(&list, "list-templates", false, "List the names that -template takes.")
			fs.StringVar(&template, "template", "", "Write the example of this `name`.")
			return func(in *invocation, args []string) int {
				if len(args) > 1 {
					return in.usage("This command takes no arguments, or one: <filename>")
				}
				if (short || connect) && template != "" {
					return in.usage("-template cannot be given with -short or -connect")
				}
				if list {
					in.ui.Output(strings.Join(Examples(), "\n"))
					return 0
				}
				path := exampleFile
				if len(args) == 1 {
					path = args[0]
				}
				switch {
				case short && connect:
					template = "connect-short"
				case connect:
					template = "connect"
				case short:
					template = "short"
				}
				return in.jobInit(path, template)
			}
		},
	}
}

func (in *invocation) jobInit(path, template string) int {
	if template == "" {
		template = "service"
	}
	text := Example(template)
	if text == nil {
		return in.fail("There is no template %q; there are %s.", template, strings.Join(Examples(), ", "))
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	switch {
	case errors.Is(err, fs.ErrExist):
		return in.fail("Job '%s' already exists", path)
	case err != nil:
		return in.fail("Failed to write '%s': %v", path, err)
	}
	_, err = f.Write(text)
	if closed := f.Close(); err == nil {
		err = closed
	}
	if err != nil {
		os.Remove(path) // what is there is half a file that was not there before
		return in.fail("Failed to write '%s': %v", path, err)
	}
	in.ui.Output("Example job file written to " + path)
	return 0
}
