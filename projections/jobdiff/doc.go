// Package jobdiff says in which fields two versions of a job differ, in the tree
// that the public API shows: the job, its groups, their tasks, and the objects in
// each of them. It promises that a job does not differ from itself, and that
// whatever differs in content stands in the tree; lists of objects are sets to it,
// whose order says nothing.
package jobdiff
