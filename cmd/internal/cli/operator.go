package cli

import (
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"

	"drover/cmd/internal/apiclient"
)

// headers are -H flags: "Name: value".
type headers struct{ http.Header }

func (h headers) String() string { return "" }

func (h headers) Set(text string) error {
	name, value, ok := strings.Cut(text, ":")
	if !ok {
		return fmt.Errorf("a header must read \"Name: value\", not %q", text)
	}
	h.Header.Add(strings.TrimSpace(name), strings.TrimSpace(value))
	return nil
}

func operatorAPISpec() spec {
	return spec{
		name: "operator api", args: "<path>", general: true,
		synopsis: "Query Drover's HTTP API",
		about: "Send a request to the HTTP API with the address, token and region that all commands use, and print the answer.\n" +
			"The path may leave out /v1 and may have a query. What stands on the standard input, unless that is a terminal,\n" +
			"is the request's body; with one the method is POST unless -X names another.",
		setup: func(fs *flag.FlagSet) runFunc {
			header := headers{http.Header{}}
			method := fs.String("X", "", "The HTTP `method`. Default = GET, or POST with a body.")
			fs.Var(header, "H", "A `header`, \"Name: value\". Can be given more than once.")
			filter := fs.String("filter", "", "Show only what this `expression` holds for.")
			dry := fs.Bool("dryrun", false, "Print the request as a call of curl, and do not send it.")
			verbose := fs.Bool("verbose", false, "Print the request before the answer.")
			return func(in *invocation, args []string) int {
				if len(args) != 1 {
					return in.usage("This command takes one argument: <path>")
				}
				c, ok := in.client()
				if !ok {
					return 1
				}
				body, err := in.piped()
				if err != nil {
					return in.fail("Error reading the request body: %s", err)
				}
				if *method == "" {
					*method = http.MethodGet
					if len(body) > 0 {
						*method = http.MethodPost
					}
				}
				req, err := c.RawRequest(in.ctx, *method, args[0], *filter, header.Header, body)
				if err != nil {
					return in.fail("Error making request: %s", err)
				}
				if *dry {
					in.ui.Output(curl(req, len(body) > 0))
					return 0
				}
				if *verbose {
					fmt.Fprintf(in.ui.err, "> %s %s\n", req.Method, req.URL)
				}
				answer, err := c.Raw(req)
				if err != nil {
					return in.fail("Error querying the API: %s", err)
				}
				defer answer.Close()
				if _, err := io.Copy(in.ui.out, answer); err != nil {
					return in.fail("Error reading the answer: %s", err)
				}
				return 0
			}
		},
	}
}

// piped is what stands on the standard input, unless a person types there.
func (in *invocation) piped() ([]byte, error) {
	if file, ok := in.p.Stdin.(*os.File); ok {
		info, err := file.Stat()
		if err != nil || info.Mode()&os.ModeCharDevice != 0 {
			return nil, nil // a terminal, or no input at all
		}
	}
	body, err := io.ReadAll(in.p.Stdin)
	if len(body) == 0 {
		return nil, err
	}
	return body, err
}

// curl shows a request as a command line. The token is left to the environment.
func curl(req *http.Request, body bool) string {
	words := []string{"curl", "-X", req.Method}
	for _, name := range sorted(req.Header) {
		for _, value := range req.Header[name] {
			switch name {
			case "X-Nomad-Token":
				words = append(words, "-H", `"X-Nomad-Token: ${NOMAD_TOKEN}"`)
			case "Authorization":
				words = append(words, "-u", `"${NOMAD_HTTP_AUTH}"`)
			default:
				words = append(words, "-H", quoted(name+": "+value))
			}
		}
	}
	if body {
		words = append(words, "--data-binary", "@-")
	}
	return strings.Join(append(words, quoted(req.URL.String())), " ")
}

func operatorMetricsSpec() spec {
	return spec{
		name: "operator metrics", general: true,
		synopsis: "Show what an agent measures",
		about:    "Print what the agent counts and measures of itself, as JSON or in Prometheus's text format.",
		setup: func(fs *flag.FlagSet) runFunc {
			var s shaped
			s.register(fs)
			pretty := fs.Bool("pretty", false, "Print the JSON for people.")
			format := fs.String("format", "", "The `format`: prometheus. Default = JSON.")
			return func(in *invocation, args []string) int {
				if len(args) != 0 {
					return in.usage("This command takes no arguments")
				}
				c, ok := in.client()
				if !ok {
					return 1
				}
				q := apiclient.Query{Values: map[string][]string{}}
				if *format != "" {
					q.Values["format"] = []string{*format}
				}
				if *pretty {
					q.Values["pretty"] = []string{"true"}
				}
				answer, err := c.Get(in.ctx, "/v1/metrics", q, nil)
				switch {
				case err != nil:
					return in.fail("Error getting metrics: %s", err)
				case s.wanted():
					return in.print(s, answer.Body)
				}
				in.ui.Output(strings.TrimRight(string(answer.Body), "\n"))
				return 0
			}
		},
	}
}

func raftListPeersSpec() spec {
	return spec{
		name: "operator raft list-peers", general: true,
		synopsis: "Display the servers that hold the event log",
		about:    "List the servers that replicate the event log among themselves.",
		setup: func(fs *flag.FlagSet) runFunc {
			stale := fs.Bool("stale", false, "Any server may answer, even if there is no leader.")
			return func(in *invocation, args []string) int {
				if len(args) != 0 {
					return in.usage("This command takes no arguments")
				}
				c, ok := in.client()
				if !ok {
					return 1
				}
				list, err := c.RaftServers(in.ctx, *stale)
				if err != nil {
					return in.fail("Error getting peers: %s", err)
				}
				rows := [][]string{{"Node", "ID", "Address", "State", "Voter", "RaftProtocol"}}
				for _, s := range list {
					state := "follower"
					if s.Leader {
						state = "leader"
					}
					rows = append(rows, []string{s.Node, s.ID, s.Address, state, strconv.FormatBool(s.Voter), s.RaftProtocol})
				}
				in.ui.Output(tableOf(rows...))
				return 0
			}
		},
	}
}

func serverMembersSpec() spec {
	return spec{
		name: "server members", general: true, console: true,
		synopsis: "Display the servers",
		about:    "List the servers of the region and who leads.",
		setup: func(fs *flag.FlagSet) runFunc {
			var s shaped
			s.register(fs)
			verbose := fs.Bool("verbose", false, "Show the protocol and all tags.")
			fs.BoolVar(verbose, "detailed", false, "The same as -verbose.")
			return func(in *invocation, args []string) int {
				if len(args) != 0 {
					return in.usage("This command takes no arguments")
				}
				c, ok := in.client()
				if !ok {
					return 1
				}
				return in.serverMembers(c, s, *verbose)
			}
		},
	}
}

func (in *invocation) serverMembers(c *apiclient.Client, s shaped, verbose bool) int {
	list, answer, err := c.Members(in.ctx)
	switch {
	case err != nil:
		return in.fail("Error querying servers: %s", err)
	case s.wanted():
		return in.print(s, answer.Body)
	}
	leader, leaderErr := c.Leader(in.ctx)
	head := []string{"Name", "Address", "Port", "Status", "Leader", "Raft Version", "Build", "Datacenter", "Region"}
	if verbose {
		head = append(slices.Insert(head, 5, "Protocol"), "Tags")
	}
	rows := [][]string{head}
	slices.SortFunc(list, func(a, b *apiclient.Member) int { return strings.Compare(a.Name, b.Name) })
	for _, m := range list {
		leads := leader != "" && leader == m.Addr+":"+m.Tags["port"]
		row := []string{m.Name, m.Addr, strconv.Itoa(int(m.Port)), m.Status, strconv.FormatBool(leads), m.Tags["raft_vsn"], m.Tags["build"], m.Tags["dc"], m.Tags["region"]}
		if verbose {
			var tags []string
			for _, key := range sorted(m.Tags) {
				tags = append(tags, key+"="+m.Tags[key])
			}
			row = append(slices.Insert(row, 5, strconv.Itoa(int(m.ProtocolCur))), strings.Join(tags, ","))
		}
		rows = append(rows, row)
	}
	in.ui.Output(tableOf(rows...))
	switch {
	case leaderErr != nil:
		return in.fail("\nError determining leaders: %s", leaderErr)
	case leader == "":
		return in.fail("\nError determining leaders: no leader is known")
	}
	return 0
}
