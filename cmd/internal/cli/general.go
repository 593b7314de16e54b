package cli

import (
	"flag"
	"strconv"

	"drover/cmd/internal/apiclient"
)

// general are the options of every command that talks to an agent. Flags beat
// the environment.
type general struct {
	cfg        apiclient.Config
	noColor    bool
	forceColor bool
	console    bool // show the answer in a web console
}

func newGeneral(p *Program) *general {
	skip, _ := strconv.ParseBool(p.env("SKIP_VERIFY")) // anything but a yes is a no
	return &general{
		cfg: apiclient.Config{
			Address: p.env("ADDR"), Region: p.env("REGION"), Namespace: p.env("NAMESPACE"), Token: p.env("TOKEN"), HTTPAuth: p.env("HTTP_AUTH"),
			TLS: apiclient.TLS{
				CACert: p.env("CACERT"), CAPath: p.env("CAPATH"), ClientCert: p.env("CLIENT_CERT"), ClientKey: p.env("CLIENT_KEY"),
				ServerName: p.env("TLS_SERVER_NAME"), SkipVerify: skip,
			},
		},
		noColor:    p.env("CLI_NO_COLOR") != "",
		forceColor: p.env("CLI_FORCE_COLOR") != "",
	}
}

func (g *general) register(fs *flag.FlagSet) {
	c := &g.cfg
	fs.StringVar(&c.Address, "address", c.Address, "The `addr` of the agent, also from DROVER_ADDR or NOMAD_ADDR. Default = "+apiclient.DefaultAddress)
	fs.StringVar(&c.Region, "region", c.Region, "The `region` to ask, also from DROVER_REGION or NOMAD_REGION. Default = the agent's.")
	fs.StringVar(&c.Namespace, "namespace", c.Namespace, "The `namespace` to ask about, also from DROVER_NAMESPACE or NOMAD_NAMESPACE. \"*\" = all. Default = \"default\".")
	fs.StringVar(&c.Token, "token", c.Token, "The secret `id` of an ACL token, also from DROVER_TOKEN or NOMAD_TOKEN.")
	fs.BoolVar(&g.noColor, "no-color", g.noColor, "No colours, also from DROVER_CLI_NO_COLOR or NOMAD_CLI_NO_COLOR.")
	fs.BoolVar(&g.forceColor, "force-color", g.forceColor, "Colours even if the output is no terminal.")
	fs.StringVar(&c.TLS.CACert, "ca-cert", c.TLS.CACert, "PEM `file` with CA certificates to verify the agent by.")
	fs.StringVar(&c.TLS.CAPath, "ca-path", c.TLS.CAPath, "A `directory` of such files.")
	fs.StringVar(&c.TLS.ClientCert, "client-cert", c.TLS.ClientCert, "PEM `file` with this client's certificate.")
	fs.StringVar(&c.TLS.ClientKey, "client-key", c.TLS.ClientKey, "PEM `file` with its key.")
	fs.StringVar(&c.TLS.ServerName, "tls-server-name", c.TLS.ServerName, "The `name` to verify the agent's certificate against.")
	fs.BoolVar(&c.TLS.SkipVerify, "tls-skip-verify", c.TLS.SkipVerify, "Do not verify the agent's certificate.")
	fs.BoolVar(&c.TLS.SkipVerify, "insecure", c.TLS.SkipVerify, "The same as -tls-skip-verify.")
}

func generalHelp() string {
	fs := flag.NewFlagSet("", flag.ContinueOnError)
	newGeneral(&Program{}).register(fs)
	return flagHelp(fs)
}

// client is the agent to talk to. A problem with the options is reported.
func (in *invocation) client() (*apiclient.Client, bool) {
	if in.console {
		in.ui.Warn("-ui has no effect: this version has no web console")
	}
	c, err := apiclient.New(in.cfg)
	if err != nil {
		in.fail("Error initializing client: %s", err)
		return nil, false
	}
	return c, true
}
