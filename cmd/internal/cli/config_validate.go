package cli

import (
	"flag"
	"strings"

	"github.com/posener/complete"

	"drover/cmd/internal/agentconfig"
)

func configValidateSpec() spec {
	return spec{
		name: "config validate", args: "<path>...",
		synopsis: "Check an agent's configuration files",
		about: "Read configuration files and directories as an agent would, and say what is wrong with them, or what an agent\n" +
			"would leave out. Nothing is started and no address is bound.",
		predict: complete.PredictFiles("*"),
		setup: func(fs *flag.FlagSet) runFunc {
			return func(in *invocation, args []string) int {
				if len(args) == 0 {
					return in.usage("Must specify at least one config file or directory")
				}
				cfg, err := agentconfig.Load(&agentconfig.CommandLine{Paths: args}, agentconfig.ThisHost())
				for _, warning := range cfg.Warnings {
					in.ui.Warn("WARNING: " + warning)
				}
				if err != nil {
					in.ui.Error(configFault(err))
					return in.fail("Configuration is invalid")
				}
				in.ui.Output("Configuration is valid!")
				return 0
			}
		},
	}
}

// configFault tells what is wrong: with a file that cannot be read as one, as a list, as the field does.
func configFault(err error) string {
	if text := err.Error(); strings.HasPrefix(text, "Error loading ") {
		return "1 error occurred:\n\t* " + text + "\n"
	}
	return err.Error()
}
