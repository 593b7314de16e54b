package commands

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"drover/eventlog/event"
)

// TagVersion gives a version of a job a name, or another description.
type TagVersion struct {
	Key         event.JobKey
	Name        string
	Version     *uint64 // nil = the newest
	Description string
}

// UntagVersion takes a name away from the version that has it.
type UntagVersion struct {
	Key  event.JobKey
	Name string
}

func (c TagVersion) decide(d *decision) *Rejection {
	switch {
	case c.Name == "":
		return reject(ReasonInvalid, "tag a version: the tag's name must be specified")
	case len(c.Name) > tagNameMax || !utf8.ValidString(c.Name) || strings.ContainsFunc(c.Name, func(r rune) bool { return r == '/' || unicode.IsControl(r) }):
		return reject(ReasonInvalid, "tag name %q: at most %d bytes, without slashes and control characters", c.Name, tagNameMax)
	case len(c.Description) > descriptionMax:
		return reject(ReasonInvalid, "the description of tag %q has %d bytes; the limit is %d", c.Name, len(c.Description), descriptionMax)
	}
	j := d.state.Job(c.Key)
	if j == nil {
		return reject(ReasonNotFound, "job %q in namespace %q not found", c.Key.ID, c.Key.Namespace)
	}
	version := j.Version
	if c.Version != nil {
		version = *c.Version
	}
	if !j.HasVersion(version) {
		return reject(ReasonNotFound, "job %q in namespace %q at version %d not found", c.Key.ID, c.Key.Namespace, version)
	}
	switch has, ok := j.Tagged(c.Name); {
	case ok && has != version:
		return reject(ReasonConflict, "tag %q already exists on a different version of job %q: version %d; unset it there first", c.Name, c.Key.ID, has)
	case ok && j.TagOf(version).Description == c.Description:
		return nil
	case j.TagOf(version) == nil && j.TagCount() >= tagsMax:
		return reject(ReasonInvalid, "job %q has %d tagged versions; the limit is %d: unset one that is not needed", c.Key.ID, j.TagCount(), tagsMax)
	}
	d.emit(&event.JobVersionTagged{Namespace: c.Key.Namespace, JobID: c.Key.ID, Version: version, Name: c.Name, Description: c.Description}, event.ID{})
	return nil
}

func (c UntagVersion) decide(d *decision) *Rejection {
	j := d.state.Job(c.Key)
	if j == nil {
		return reject(ReasonNotFound, "job %q in namespace %q not found", c.Key.ID, c.Key.Namespace)
	}
	if _, ok := j.Tagged(c.Name); !ok {
		return reject(ReasonNotFound, "tag %q not found on any version of job %q", c.Name, c.Key.ID)
	}
	d.emit(&event.JobVersionUntagged{Namespace: c.Key.Namespace, JobID: c.Key.ID, Name: c.Name}, event.ID{})
	return nil
}
