package jobspec

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"

	"drover/eventlog/event"
)

// VarFile is the text of a variable file.
type VarFile struct {
	Path string // for messages
	Body []byte
}

// ParseConfig says what Parse reads, and what it may use.
type ParseConfig struct {
	Path     string    // of the job file, for messages and for relative paths in file functions
	Body     []byte    // the job file
	VarFiles []VarFile // in the order given, later ones win
	Vars     []string  // name=value, as given by flags; win over files
	Env      []string  // NAME=value; NOMAD_VAR_ and DROVER_VAR_ names set variables, files win
	Strict   bool      // a file or flag that sets an undeclared variable is an error, not a warning
	AllowFS  bool      // functions may read files of this machine: only for a command its user runs
}

// Result is a job as an author meant it.
type Result struct {
	Job      *event.Job // canonical: every default filled in; not validated
	Warnings []string

	// Submission is the text the job came from; nil when it is too large to keep.
	Submission *event.JobSubmission

	// Written is the job in the API's JSON with only what the author wrote in a job file.
	Written json.RawMessage

	// NamespaceWritten and RegionWritten tell whether the job names them itself. Where it does not, Job has the
	// defaults, and a namespace or region given beside the job (flag, query parameter) takes their place.
	NamespaceWritten bool
	RegionWritten    bool

	old   []oldName         // in the text that was read
	flags map[string]string // texts of variables, as flags and environment gave them
}

// ParseError is one problem of a job file, with its place.
type ParseError struct {
	File                                       string
	StartLine, StartColumn, EndLine, EndColumn int // counted from 1
	Summary, Detail                            string
}

func (e ParseError) Error() string {
	at := fmt.Sprintf("%s:%d,%d-%d", e.File, e.StartLine, e.StartColumn, e.EndColumn)
	if e.EndLine != e.StartLine {
		at = fmt.Sprintf("%s:%d,%d-%d,%d", e.File, e.StartLine, e.StartColumn, e.EndLine, e.EndColumn)
	}
	return at + ": " + e.Summary + "; " + e.Detail
}

// ParseErrors are all problems found in a job file, in the order of their places.
type ParseErrors []ParseError

func (e ParseErrors) Error() string {
	lines := make([]string, len(e))
	for i := range e {
		lines[i] = e[i].Error()
	}
	return strings.Join(lines, "\n")
}

// Parse reads a job file in HCL2, in the HCL1 of older files, or in HCL's JSON syntax when its first byte is {. The error
// is of type ParseErrors.
func Parse(cfg ParseConfig) (*Result, error) {
	if cfg.Path == "" {
		cfg.Path = "input.hcl"
	}
	res, diags, isSyntax := parseText(cfg)
	if res != nil {
		res.Warnings = append((*modernText)(nil).oldNames(res.old), res.Warnings...)
		res.keepSubmission(cfg)
		return res, nil
	}
	if old := modernizeText(cfg.Body, cfg.Path); old != nil {
		modern := cfg
		modern.Body = old.text
		res, again, stillSyntax := parseText(modern)
		if res != nil {
			res.Warnings = slices.Concat(old.warnings, old.oldNames(res.old), res.Warnings)
			res.keepSubmission(cfg)
			return res, nil
		}
		// The text is wrong in some other way. What is left to say is about that, unless the text was misread.
		if isSyntax && !stillSyntax || isSyntax == stillSyntax && len(again) < len(diags) {
			old.place(again, cfg.Path)
			diags, isSyntax = again, stillSyntax
		}
	}
	errs := parseErrors(diags)
	if isSyntax {
		errs = errs[:min(len(errs), syntaxErrorsMax)]
	}
	return nil, errs
}

// parseText reads a text in HCL2. isSyntax tells problems of the text's form from those of its content.
func parseText(cfg ParseConfig) (res *Result, diags hcl.Diagnostics, isSyntax bool) {
	body, diags := parseBody(cfg.Body, cfg.Path, topBlock)
	if diags.HasErrors() {
		return nil, diags, true
	}
	refs := &references{src: source{text: cfg.Body, json: isJSON(cfg.Body)}, literals: map[string]cty.Value{}}
	rewriteReferences(refs, body)

	vars := &variables{functions: functionTable(cfg), declared: map[string]*variable{}, flags: map[string]string{}}
	vars.declare(body, refs)
	vars.assign(cfg)
	root := vars.context(refs).NewChild()
	root.Variables = map[string]cty.Value{"var": vars.values(refs)}
	root.Variables["local"] = vars.locals(body, root)
	if vars.diags.HasErrors() {
		return nil, vars.diags, false
	}

	d := &decoder{}
	written := d.file(body, root, cfg.Path)
	if d.diags.HasErrors() {
		return nil, d.diags, false
	}
	old := append(staggered(written), modernize(written)...)
	inJSON, err := json.Marshal(written)
	if err != nil {
		panic(fmt.Sprintf("jobspec: a tree that is not JSON: %v", err))
	}
	kept := writtenKept(written, jobBlock, "job")
	res = newResult(written)
	res.Written, res.flags, res.old = inJSON, vars.flags, d.old
	res.Warnings = slices.Concat(vars.warnings, old, keptWarning(kept))
	return res, nil, false
}

// keepSubmission keeps the text as its author wrote it.
func (r *Result) keepSubmission(cfg ParseConfig) {
	r.Submission, r.Warnings = keepable(&event.JobSubmission{
		Source: string(cfg.Body), Format: "hcl2", VariableFlags: r.flags, Variables: joinVarFiles(cfg.VarFiles),
	}, r.Warnings)
}

// rewriteReferences treats each part of a file by the names it may use.
func rewriteReferences(refs *references, body *hclsyntax.Body) {
	known := scope{"var": true, "local": true}
	for _, blk := range body.Blocks {
		switch blk.Type {
		case "variable": // its type is made of names that are no references
			for name, attr := range blk.Body.Attributes {
				if name != "type" {
					refs.expression(attr.Expr, known)
				}
			}
			for _, inner := range blk.Body.Blocks {
				refs.body(inner.Body, known)
			}
		default:
			refs.body(blk.Body, known)
		}
	}
	for _, attr := range body.Attributes {
		refs.expression(attr.Expr, known)
	}
}

// file finds the one job block and decodes it.
func (d *decoder) file(body *hclsyntax.Body, root *hcl.EvalContext, path string) tree {
	for _, attr := range sortedAttributes(body) {
		d.diags = append(d.diags, unexpectedArgument(topBlock, attr.Name, attr.NameRange))
	}
	var job *hclsyntax.Block
	for _, blk := range body.Blocks {
		switch {
		case topBlock.byHCL[blk.Type] == nil:
			d.diags = append(d.diags, unexpectedBlock(topBlock, blk.Type, blk.DefRange()))
		case blk.Type == "job" && job != nil:
			d.fail(blk.DefRange(), "Duplicate job block", "A job file holds exactly one job; another is at "+job.DefRange().String()+".")
		case blk.Type == "job":
			job = blk
		case blk.Type != "variable" && len(blk.Labels) > 0:
			d.fail(blk.DefRange(), "Extraneous label for "+blk.Type, fmt.Sprintf("No labels are expected for %s blocks.", blk.Type))
		}
	}
	if job == nil {
		d.fail(hcl.Range{Filename: path, Start: hcl.InitialPos, End: hcl.InitialPos}, "Missing job block", "A job block is required")
		return nil
	}
	return d.block(written{job, root}, jobBlock)
}

func parseErrors(diags hcl.Diagnostics) ParseErrors {
	var errs ParseErrors
	for _, diag := range diags {
		if diag.Severity != hcl.DiagError {
			continue
		}
		e := ParseError{Summary: diag.Summary, Detail: strings.ReplaceAll(diag.Detail, "\n", " ")}
		if r := diag.Subject; r != nil {
			e.File, e.StartLine, e.StartColumn, e.EndLine, e.EndColumn = r.Filename, r.Start.Line, r.Start.Column, r.End.Line, r.End.Column
		}
		errs = append(errs, e)
	}
	slices.SortStableFunc(errs, func(a, b ParseError) int {
		return cmp.Or(cmp.Compare(a.File, b.File), cmp.Compare(a.StartLine, b.StartLine), cmp.Compare(a.StartColumn, b.StartColumn))
	})
	return errs
}

// newResult makes the result of what an author wrote, which becomes canonical.
func newResult(written tree) *Result {
	res := &Result{NamespaceWritten: text(written, "Namespace") != "", RegionWritten: text(written, "Region") != ""}
	canonicalize(written)
	res.Job = buildJob(written)
	return res
}

func joinVarFiles(files []VarFile) string {
	var all strings.Builder
	for _, f := range files {
		all.Write(f.Body)
		if n := len(f.Body); n > 0 && f.Body[n-1] != '\n' {
			all.WriteByte('\n')
		}
	}
	return all.String()
}

// keepable drops a text that is too large to be kept, and says so.
func keepable(s *event.JobSubmission, warnings []string) (*event.JobSubmission, []string) {
	if s == nil || len(s.Source)+len(s.Variables) <= sourceBytesMax {
		return s, warnings
	}
	return nil, append(warnings, fmt.Sprintf("the job's source is not kept: it has %d bytes, more than %d", len(s.Source)+len(s.Variables), sourceBytesMax))
}

// ParseJSON reads a job in the API's JSON, bare or wrapped as {"Job": …}. Fields of the wrong type are reported together
// as ValidationErrors.
func ParseJSON(body []byte) (*Result, error) {
	v, err := readJSON(body)
	if err != nil {
		return nil, err
	}
	obj, ok := v.(map[string]any)
	if !ok {
		return nil, fmt.Errorf("read job: a JSON object is required")
	}
	if inner, ok := member(obj, "Job"); ok {
		if obj, ok = inner.(map[string]any); !ok {
			return nil, fmt.Errorf("read job: Job must be an object")
		}
	}
	res, err := parseJSONJob(obj)
	if err != nil {
		return nil, err
	}
	res.Submission, res.Warnings = keepable(&event.JobSubmission{Source: string(body), Format: "json"}, res.Warnings)
	return res, nil
}

func parseJSONJob(obj map[string]any) (*Result, error) {
	d := &jsonDecoder{}
	written := d.block(obj, jobBlock)
	if len(d.errs) > 0 {
		return nil, d.errs
	}
	old := modernize(written)
	if !d.kept {
		res := newResult(written)
		res.Warnings = old
		return res, nil
	}
	full := cloneTree(written)
	res := newResult(full)
	res.Warnings = append(old, keptWarning(changedKept(written, full))...)
	return res, nil
}

// RegisterRequest is the body of a request to register, plan or validate a job.
type RegisterRequest struct {
	Job               *event.Job // canonical, not validated
	EnforceIndex      bool       // refuse unless the job's JobModifyIndex is the one below, 0 for "must not exist"
	JobModifyIndex    uint64
	PreserveCounts    bool // groups that exist keep their count
	PreserveResources bool // tasks that exist keep their resources
	PolicyOverride    bool
	Diff              bool // of a plan request: tell the difference to the registered job
	EvalPriority      int  // 0 is the job's own
	Submission        *event.JobSubmission
	Region, Namespace string // given beside the job
	NamespaceWritten  bool   // the job names its namespace; see Result
	RegionWritten     bool
	Warnings          []string
}

// ParseRegisterRequest reads {"Job": …, "EnforceIndex": …, …}. Fields of the wrong type are reported together as
// ValidationErrors.
func ParseRegisterRequest(body []byte) (*RegisterRequest, error) {
	v, err := readJSON(body)
	if err != nil {
		return nil, err
	}
	obj, ok := v.(map[string]any)
	if !ok {
		return nil, fmt.Errorf("read request: a JSON object is required")
	}
	job, _ := member(obj, "Job")
	jobObj, ok := job.(map[string]any)
	if !ok {
		return nil, fmt.Errorf("read request: Job must be specified")
	}
	d := &jsonDecoder{}
	t := d.block(obj, registerBlock)
	if len(d.errs) > 0 {
		return nil, d.errs
	}
	res, err := parseJSONJob(jobObj)
	if err != nil {
		return nil, err
	}
	req := &RegisterRequest{
		Job: res.Job, Warnings: res.Warnings, NamespaceWritten: res.NamespaceWritten, RegionWritten: res.RegionWritten,
		Region: text(t, "Region"), Namespace: text(t, "Namespace"),
	}
	req.EnforceIndex, _ = t["EnforceIndex"].(bool)
	req.PreserveCounts, _ = t["PreserveCounts"].(bool)
	req.PreserveResources, _ = t["PreserveResources"].(bool)
	req.PolicyOverride, _ = t["PolicyOverride"].(bool)
	req.Diff, _ = t["Diff"].(bool)
	index, _ := t["JobModifyIndex"].(int64)
	req.JobModifyIndex = uint64(index)
	priority, _ := t["EvalPriority"].(int64)
	req.EvalPriority = int(priority)
	if s := block1(t, "Submission"); s != nil {
		req.Submission = &event.JobSubmission{Source: text(s, "Source"), Format: text(s, "Format"), Variables: text(s, "Variables")}
		if flags, _ := s["VariableFlags"].(map[string]any); len(flags) > 0 {
			req.Submission.VariableFlags = map[string]string{}
			for k, v := range flags {
				req.Submission.VariableFlags[k] = v.(string)
			}
		}
		req.Submission, req.Warnings = keepable(req.Submission, req.Warnings)
	}
	return req, nil
}

var registerBlock = table("request",
	flag("", "EnforceIndex"),
	num("", "JobModifyIndex").within(0, maxInt),
	flag("", "PreserveCounts"),
	flag("", "PreserveResources"),
	flag("", "PolicyOverride"),
	flag("", "Diff"),
	num("", "EvalPriority"),
	one("", "Submission", table("submission",
		str("", "Source"),
		str("", "Format"),
		strMap("", "VariableFlags"),
		str("", "Variables"),
	)),
	str("", "Region"),
	str("", "Namespace"),
)
