// Package jobspec turns what an author wrote into an event.Job, or says where it is wrong.
//
// It promises that a job has one meaning: an HCL2 file, the same file in HCL's JSON syntax and the API's JSON all become
// one tree with the API's names, and from there the same code fills defaults, checks and builds the job. Parsing its own
// output again gives the same job.
//
// One table (schema_*.go) says what may be written: for each block the name in a job file, the name in the API, the
// type, the default and whether anything in Drover acts on it yet. What nothing acts on is kept, returned whole and
// named in a warning; what the table does not know is an error with its place and the nearest known name.
//
// The way of a file: text → hclsyntax (hcl.go; HCL's JSON syntax is brought into the same form by hcljson.go) →
// references that only a node can resolve become literal text (reference.go) → variables and locals (variables.go) →
// tree (decode.go) → defaults (canonical.go) → event.Job (build.go). API JSON joins at the tree (apijson.go).
package jobspec
