package cli

import (
	"bufio"
	"context"
	"flag"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	hcli "github.com/hashicorp/cli"
	"github.com/posener/complete"

	"drover/cmd/internal/agentconfig"
	"drover/eventlog/event"
)

// Program is the process as commands see it. Every field must be set, but where
// it says otherwise.
type Program struct {
	Version string // "1.2.3"

	Stdin  io.Reader
	Stdout io.Writer
	Stderr io.Writer
	// Terminal: the standard output is a terminal that understands colours.
	Terminal bool

	Environ []string // "NAME=value", as os.Environ gives it
	Now     func() time.Time
	Zone    *time.Location // of the times shown

	// ParseJob reads a job file.
	ParseJob func(JobSource) (*ParsedJob, error)
	// ValidateJob checks a job without a server. The error says what is wrong.
	ValidateJob func(*event.Job) (warnings []string, err error)
	// RunAgent runs an agent until ctx ends or it fails, and returns the exit
	// code; nil = this program has no agent command. ui is for what the agent prints before its log begins.
	RunAgent func(ctx context.Context, cfg agentconfig.Config, ui hcli.Ui) int
	// VerifyDir checks the log in the data directory of an agent that does not
	// run.
	VerifyDir func(ctx context.Context, dir string, progress func(done, total uint64)) (Verification, error)
}

// JobSource is a job file, and what was said about how to read it.
type JobSource struct {
	Path     string // as it was typed; "-" for the standard input
	Body     []byte
	Remote   bool     // from elsewhere, so it may read no files of this machine
	JSON     bool     // the API's JSON, a job or {"Job": …}
	Strict   bool     // a variable that is set and not declared is an error
	Vars     []string // name=value, from flags
	VarFiles []VarFile
	Environ  []string // NAME=value; some set variables
}

// VarFile is a file that sets variables.
type VarFile struct {
	Path string
	Body []byte
}

// ParsedJob is a job file, read.
type ParsedJob struct {
	Job        *event.Job
	Warnings   []string
	Submission *event.JobSubmission // the text, for the servers to keep; nil = not kept

	// Whether the file itself names a namespace and a region, which then count
	// more than flags and environment.
	NamespaceWritten bool
	RegionWritten    bool
}

// Verification is the outcome of checking a log.
type Verification struct {
	Records   uint64 // that are good
	HeadIndex uint64
	HeadHash  string
	Bad       bool   // the rest says what is damaged
	BadIndex  uint64 // the first bad record; 0 = the damage is not in a record
	BadReason string
}

// env is the first of the variables DROVER_<name> and NOMAD_<name> that is set
// and not empty.
func (p *Program) env(name string) string {
	for _, prefix := range []string{"DROVER_", "NOMAD_"} {
		if v := p.getenv(prefix + name); v != "" {
			return v
		}
	}
	return ""
}

func (p *Program) getenv(name string) string {
	for _, pair := range p.Environ {
		if key, value, ok := strings.Cut(pair, "="); ok && key == name {
			return value
		}
	}
	return ""
}

// runFunc runs a command with the arguments that follow its flags.
type runFunc func(in *invocation, args []string) int

// spec is one command.
type spec struct {
	name     string // "job run"
	args     string // "PATH", for the usage line
	synopsis string // one line for lists of commands
	about    string // what it does, for its help
	general  bool   // it talks to an agent and takes the general options
	group    bool   // it only holds other commands
	hidden   bool   // lists of commands leave it out
	console  bool   // its answer has a page in a web console elsewhere, so it takes -ui
	misuse   int    // exit code when its flags are wrong; 0 = 1
	setup    func(fs *flag.FlagSet) runFunc
	predict  complete.Predictor // of arguments; nil = nothing
}

// Run runs the command line without the program's name, and returns the exit
// code.
func (p *Program) Run(args []string) int {
	app := hcli.NewCLI("drover", "Drover v"+p.Version)
	app.Args = args
	app.Commands = map[string]hcli.CommandFactory{}
	app.HelpWriter, app.ErrorWriter = p.Stdout, p.Stderr
	app.HelpFunc = topHelp
	for _, s := range specs() {
		if s.name == "agent" && p.RunAgent == nil {
			continue
		}
		app.Commands[s.name] = func() (hcli.Command, error) { return &command{p: p, spec: s}, nil }
		if s.hidden {
			app.HiddenCommands = append(app.HiddenCommands, s.name)
		}
	}
	for alias, of := range aliases {
		app.Commands[alias.name] = p.underOldName(alias.name, of, app.Commands[of])
		if alias.hidden {
			app.HiddenCommands = append(app.HiddenCommands, alias.name)
		}
	}
	p.addUnbuilt(app)
	code, err := app.Run()
	if code == 127 && len(args) > 0 && !strings.HasPrefix(args[0], "-") {
		fmt.Fprintf(p.Stderr, "There is no command %q.\n", strings.Join(args, " "))
	}
	if err != nil {
		fmt.Fprintf(p.Stderr, "Error executing CLI: %s\n", err)
		return 1
	}
	return code
}

type alias struct {
	name   string
	hidden bool
}

// aliases are the short and the old names of commands.
var aliases = map[alias]string{
	{"logs", true}:           "alloc logs",
	{"alloc-status", true}:   "alloc status",
	{"eval-status", true}:    "eval status",
	{"init", true}:           "job init",
	{"inspect", true}:        "job inspect",
	{"plan", true}:           "job plan",
	{"run", false}:           "job run",
	{"start", false}:         "job start",
	{"stop", false}:          "job stop",
	{"validate", true}:       "job validate",
	{"node-status", true}:    "node status",
	{"server-members", true}: "server members",
	{"client-config", true}:  "node config",
	{"exec", false}:          "alloc exec",
	{"restart", true}:        "job restart",
	{"fs", true}:             "alloc fs",
}

// warnedAliases are old names whose use is answered with a warning.
var warnedAliases = []string{"server-members", "server-join", "server-force-leave", "client-config"}

// underOldName makes commands that say that they go by another name today.
func (p *Program) underOldName(name, of string, factory hcli.CommandFactory) hcli.CommandFactory {
	if !slices.Contains(warnedAliases, name) {
		return factory
	}
	return func() (hcli.Command, error) {
		c, err := factory()
		return &renamed{c, p, name, of}, err
	}
}

// renamed is a command under an old name.
type renamed struct {
	hcli.Command
	p         *Program
	name, now string
}

func (r *renamed) Run(args []string) int {
	ui := newTerm(r.p)
	ui.colour(r.p, false, false)
	ui.Warn(fmt.Sprintf("WARNING! The \"drover %s\" command is deprecated. Please use \"drover %s\" instead.\n", r.name, r.now))
	return r.Command.Run(args)
}

// specs is every command, groups first.
func specs() []spec {
	return slices.Concat(groups(), []spec{
		agentSpec(),
		checkSpec(),
		jobInitSpec(),
		jobRunSpec(),
		jobPlanSpec(),
		jobHistorySpec(),
		jobRevertSpec(),
		jobTagApplySpec(),
		jobTagUnsetSpec(),
		jobScaleSpec(),
		jobScalingEventsSpec(),
		jobEvalSpec(),
		jobStartSpec(),
		jobInspectSpec(),
		jobStatusSpec(),
		jobStopSpec(),
		jobValidateSpec(),
		allocStatusSpec(),
		allocLogsSpec(),
		nodeStatusSpec(),
		nodeEligibilitySpec(),
		nodeConfigSpec(),
		nodeMetaApplySpec(),
		nodeMetaReadSpec(),
		nodePoolApplySpec(),
		nodePoolDeleteSpec(),
		nodePoolInfoSpec(),
		nodePoolInitSpec(),
		nodePoolJobsSpec(),
		nodePoolListSpec(),
		nodePoolNodesSpec(),
		namespaceApplySpec(),
		namespaceDeleteSpec(),
		namespaceInspectSpec(),
		namespaceListSpec(),
		namespaceStatusSpec(),
		evalStatusSpec(),
		evalListSpec(),
		evalDeleteSpec(),
		eventStreamSpec(),
		eventVerifySpec(),
		schedulerGetConfigSpec(),
		schedulerSetConfigSpec(),
		scalingPolicyListSpec(),
		scalingPolicyInfoSpec(),
		systemGCSpec(),
		benchSpec(),
		statusSpec(),
		versionSpec(),
		reconcileSummariesSpec(),
		agentInfoSpec(),
		monitorSpec(),
		serverMembersSpec(),
		operatorAPISpec(),
		operatorMetricsSpec(),
		raftListPeersSpec(),
		jobAllocsSpec(),
		serverJoinSpec(),
		serverForceLeaveSpec(),
		autopilotHealthSpec(),
		fmtSpec(),
		configValidateSpec(),
		allocExecSpec(),
		allocRestartSpec(),
		allocStopSpec(),
		jobRestartSpec(),
		allocFSSpec(),
		allocSignalSpec(),
	})
}

func groups() []spec {
	group := func(name, synopsis, about string) spec {
		return spec{name: name, args: "<subcommand>", synopsis: synopsis, about: about, group: true,
			setup: func(*flag.FlagSet) runFunc {
				return func(*invocation, []string) int { return hcli.RunResultHelp }
			}}
	}
	return []spec{
		group("job", "Interact with jobs", "Groups the commands that submit, show and stop jobs."),
		group("job tag", "Interact with the tags of versions", "Groups the commands that give versions of jobs names, and take them away."),
		group("alloc", "Interact with allocations", "Groups the commands about allocations: instances of a task group on a node."),
		group("node", "Interact with nodes", "Groups the commands about nodes: the machines that run tasks."),
		group("node meta", "Interact with the metadata of nodes", "Groups the commands about the metadata of nodes, which jobs can ask for as ${meta.<key>}."),
		group("node pool", "Interact with node pools", "Groups the commands about node pools: the sets of nodes that jobs are kept to."),
		group("namespace", "Interact with namespaces", "Groups the commands about namespaces: the scopes of the names of jobs."),
		group("eval", "Interact with evaluations", "Groups the commands about evaluations: the scheduler's looks at a job."),
		group("system", "Interact with the servers", "Groups the commands about the servers as a whole."),
		group("system reconcile", "Check the state of the servers", "Groups the commands that have the servers check their state."),
		group("server", "Interact with servers", "Groups the commands about the servers of a region."),
		group("operator", "Tools for operators", "Groups the commands for those who run the cluster."),
		group("operator autopilot", "Look at the health of the servers", "Groups the commands about how well the servers are."),
		group("config", "Interact with configuration files", "Groups the commands about the configuration of agents."),
		group("operator raft", "Look at the replicated log", "Groups the commands about the servers that hold the event log."),
		group("operator scheduler", "Look at the scheduler's configuration, and change it", "Groups the commands about how jobs are taken and placed."),
		group("scaling", "Interact with scaling policies", "Groups the commands about scaling policies: what autoscalers may do with the counts of groups."),
		group("scaling policy", "Interact with scaling policies", "Groups the commands that show scaling policies."),
		group("event", "Interact with the event log", "Groups the commands about the log that the cluster is."),
	}
}

// command is a spec as the library runs it.
type command struct {
	p *Program
	spec
}

func (c *command) Synopsis() string { return c.synopsis }

// flagSet defines the command's own flags and, for commands that talk to an
// agent, the general ones.
func (c *command) flagSet() (own, all *flag.FlagSet, g *general, run runFunc) {
	own = flag.NewFlagSet(c.name, flag.ContinueOnError)
	all = flag.NewFlagSet(c.name, flag.ContinueOnError)
	all.SetOutput(io.Discard)
	run = c.setup(own)
	g = newGeneral(c.p)
	if c.console {
		own.BoolVar(&g.console, "ui", false, "Accepted as it is elsewhere; there is no web console to open.")
	}
	own.VisitAll(func(f *flag.Flag) { all.Var(f.Value, f.Name, f.Usage) })
	if c.general {
		g.register(all)
	}
	return own, all, g, run
}

func (c *command) Run(args []string) int {
	_, fs, g, run := c.flagSet()
	ui := newTerm(c.p)
	if err := fs.Parse(args); err != nil {
		ui.Error(err.Error())
		fmt.Fprintln(c.p.Stdout, c.Help())
		return max(c.misuse, 1)
	}
	ui.colour(c.p, g.noColor, g.forceColor)
	return run(&invocation{ctx: context.Background(), p: c.p, ui: ui, name: c.name, raw: args, general: g}, fs.Args())
}

func (c *command) Help() string {
	own, _, _, _ := c.flagSet()
	var b strings.Builder
	usage := []string{"Usage: drover", c.name, "[options]", c.args}
	if c.group {
		usage[2] = ""
	}
	usage = slices.DeleteFunc(usage, func(word string) bool { return word == "" })
	b.WriteString(strings.Join(usage, " ") + "\n\n")
	b.WriteString(indent(strings.TrimSpace(c.about), "  "))
	if c.general {
		b.WriteString("\n\nGeneral Options:\n\n" + generalHelp())
	}
	if c.name == "agent" {
		b.WriteString("\n\nOptions:\n\n" + strings.TrimRight(agentconfig.FlagHelp(), "\n"))
	} else if help := flagHelp(own); help != "" {
		b.WriteString("\n\nOptions:\n\n" + help)
	}
	return strings.TrimRight(b.String(), " \n")
}

// invocation is one run of a command.
type invocation struct {
	ctx  context.Context
	p    *Program
	ui   *term
	name string
	raw  []string // as typed, flags included
	*general
}

// usage reports a misuse of the command.
func (in *invocation) usage(format string, args ...any) int {
	in.ui.Error(fmt.Sprintf(format, args...))
	in.ui.Error(fmt.Sprintf("For additional help try 'drover %s -help'", in.name))
	return 1
}

// fail reports an error.
func (in *invocation) fail(format string, args ...any) int {
	in.ui.Error(fmt.Sprintf(format, args...))
	return 1
}

func isBool(f *flag.Flag) bool {
	b, ok := f.Value.(interface{ IsBoolFlag() bool })
	return ok && b.IsBoolFlag()
}

// flagHelp lists flags with what their usage says.
func flagHelp(fs *flag.FlagSet) string {
	var parts []string
	fs.VisitAll(func(f *flag.Flag) {
		value, usage := flag.UnquoteUsage(f)
		head := "  -" + f.Name
		if value != "" && !isBool(f) {
			head += "=<" + value + ">"
		}
		parts = append(parts, head+"\n"+indent(usage, "    "))
	})
	return strings.Join(parts, "\n\n")
}

func indent(text, by string) string {
	lines := strings.Split(text, "\n")
	for i, line := range lines {
		if line != "" {
			lines[i] = by + line
		}
	}
	return strings.Join(lines, "\n")
}

// commonCommands head the top help, in this order.
var commonCommands = []string{"run", "stop", "status", "alloc", "job", "node", "agent"}

func topHelp(commands map[string]hcli.CommandFactory) string {
	var b strings.Builder
	b.WriteString("Usage: drover [-version] [-help] [-autocomplete-(un)install] <command> [args]\n\nCommon commands:\n")
	line := func(name string) {
		impl, err := commands[name]()
		if err != nil {
			panic(err) // the factories above return none
		}
		fmt.Fprintf(&b, "    %-10s  %s\n", name, impl.Synopsis())
	}
	for _, name := range commonCommands {
		if commands[name] != nil { // an unknown subcommand shows its group's commands
			line(name)
		}
	}
	b.WriteString("\nOther commands:\n")
	var others []string
	for name := range commands {
		if !slices.Contains(commonCommands, name) {
			others = append(others, name)
		}
	}
	slices.Sort(others)
	for _, name := range others {
		line(name)
	}
	return strings.TrimRight(b.String(), "\n")
}

// term is the person at the other end.
type term struct {
	in       *bufio.Reader
	out, err io.Writer
	bolds    bool // headings are bold
	lines    bool // whole lines are coloured by what they say
}

func newTerm(p *Program) *term {
	return &term{in: bufio.NewReader(p.Stdin), out: p.Stdout, err: p.Stderr}
}

// colour decides on colours: a terminal has them, flags and environment may
// switch them.
func (t *term) colour(p *Program, off, forced bool) {
	t.bolds = !off && (forced || p.Terminal)
	t.lines = t.bolds && p.getenv("NO_COLOR") == "" && p.getenv("TERM") != "dumb"
}

const (
	ansiReset  = "\x1b[0m"
	ansiBold   = "\x1b[1m"
	ansiRed    = "\x1b[31m"
	ansiGreen  = "\x1b[32m"
	ansiYellow = "\x1b[33m"
	ansiCyan   = "\x1b[36m"
)

func (t *term) painted(colour, text string) string {
	if !t.lines || colour == "" {
		return text
	}
	return colour + text + ansiReset
}

// bold is a heading.
func (t *term) bold(text string) string {
	if !t.bolds {
		return text
	}
	return ansiBold + text + ansiReset
}

// red marks a part of a line.
func (t *term) red(text string) string { return t.painted(ansiRed, text) }

// Output writes a result.
func (t *term) Output(text string) { fmt.Fprintln(t.out, text) }

// Info writes good news.
func (t *term) Info(text string) { fmt.Fprintln(t.out, t.painted(ansiGreen, text)) }

// Warn writes a warning.
func (t *term) Warn(text string) { fmt.Fprintln(t.err, t.painted(ansiYellow, text)) }

// Error writes an error.
func (t *term) Error(text string) { fmt.Fprintln(t.err, t.painted(ansiRed, text)) }

// Ask asks for a line.
func (t *term) Ask(question string) (string, error) {
	fmt.Fprint(t.out, question+" ")
	answer, err := t.in.ReadString('\n')
	if err != nil && answer == "" {
		return "", fmt.Errorf("read the answer: %w", err)
	}
	return strings.TrimRight(answer, "\r\n"), nil
}

// AskSecret is part of the library's interface; nothing here asks for secrets,
// so it asks openly.
func (t *term) AskSecret(question string) (string, error) { return t.Ask(question) }
