package checker

import (
	"fmt"
	"maps"

	"drover/eventlog/event"
	"drover/projections"
)

// tagged is a name that a version has.
type tagged struct {
	version     uint64
	description string
	time        int64
}

func (c *Checker) tagged(e *event.JobVersionTagged) error {
	key := event.JobKey{Namespace: e.Namespace, ID: e.JobID}
	j := c.jobs[key]
	switch {
	case j == nil:
		return fmt.Errorf("there is no job %v", key)
	case e.Version > j.version || j.gone[e.Version]:
		return fmt.Errorf("job %v has no version %d any more, or not yet", key, e.Version)
	case e.Name == "":
		return fmt.Errorf("a tag without a name")
	}
	if has, ok := j.tags[e.Name]; ok && has.version != e.Version {
		return fmt.Errorf("version %d of job %v has the tag %q already", has.version, key, e.Name)
	}
	was := *j
	was.tags = make(map[string]tagged)
	for name, has := range j.tags {
		if has.version != e.Version {
			was.tags[name] = has
		}
	}
	was.tags[e.Name] = tagged{e.Version, e.Description, c.time}
	c.jobs[key] = &was
	return nil
}

func (c *Checker) untagged(e *event.JobVersionUntagged) error {
	key := event.JobKey{Namespace: e.Namespace, ID: e.JobID}
	j := c.jobs[key]
	if j == nil {
		return fmt.Errorf("there is no job %v", key)
	}
	if _, ok := j.tags[e.Name]; !ok {
		return fmt.Errorf("no version of job %v has the tag %q", key, e.Name)
	}
	was := *j
	was.tags = maps.Clone(j.tags)
	delete(was.tags, e.Name)
	was.forget()
	c.jobs[key] = &was
	return nil
}

// forget says which versions are not kept any more, of which none comes back: all but
// the newest six that there were, and those with a tag.
func (j *job) forget() {
	next := make(map[uint64]bool)
	var left []uint64 // newest first
	for version := j.version + 1; version > 0; version-- {
		if j.gone[version-1] {
			next[version-1] = true
		} else {
			left = append(left, version-1)
		}
	}
	for i, version := range left {
		has := false
		for _, t := range j.tags {
			has = has || t.version == version
		}
		if i >= 6 && !has {
			next[version] = true
		}
	}
	j.gone = next
}

// compareTags holds the versions of a job and their tags against the records.
func compareTags(mine *job, j *projections.Job) error {
	shown := make(map[uint64]*event.JobVersionTag)
	add := func(version uint64, tag *event.JobVersionTag) error {
		if _, twice := shown[version]; twice || version > mine.version || mine.gone[version] {
			return fmt.Errorf("job %v has version %d, which it should not have", j.Key, version)
		}
		shown[version] = tag
		return nil
	}
	if err := add(j.Version, j.Tag); err != nil {
		return err
	}
	for i := range j.Older {
		if err := add(j.Older[i].Version, j.Older[i].Tag); err != nil {
			return err
		}
	}
	if want := int(mine.version) + 1 - len(mine.gone); len(shown) != want {
		return fmt.Errorf("job %v has %d versions, expected %d", j.Key, len(shown), want)
	}
	tags := 0
	for version, tag := range shown {
		if tag == nil {
			continue
		}
		tags++
		if want, ok := mine.tags[tag.Name]; !ok || want != (tagged{version, tag.Description, tag.TaggedTime}) {
			return fmt.Errorf("version %d of job %v has the tag %+v, expected %+v", version, j.Key, *tag, want)
		}
	}
	if tags != len(mine.tags) {
		return fmt.Errorf("job %v has %d tags, expected %d", j.Key, tags, len(mine.tags))
	}
	return nil
}
