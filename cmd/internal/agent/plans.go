package agent

import (
	"context"
	"errors"

	"drover/commands"
	"drover/eventlog/event"
	"drover/scheduler"
)

// planCommitter shows the committer to the scheduler's workers.
type planCommitter struct {
	committer *commands.Committer
	server    string // name of this server
}

// propose has a command of a worker decided. It is refused when the state that it
// came of is of an epoch that is over.
func (p planCommitter) propose(ctx context.Context, epoch, cause uint64, body commands.Body) (commands.Result, *commands.Rejection, error) {
	result, err := p.committer.Propose(ctx, commands.Command{
		ID: newID(), Epoch: epoch, Cause: cause, Body: body,
		Caller: event.Caller{Kind: event.CallerWorker, Name: p.server},
	})
	var rejection *commands.Rejection
	if errors.As(err, &rejection) {
		return result, rejection, nil
	}
	return result, nil, err
}

func (p planCommitter) CommitPlan(ctx context.Context, proposal scheduler.Proposal) (scheduler.PlanResult, error) {
	result, rejection, err := p.propose(ctx, proposal.Epoch, proposal.Cause, commands.CommitPlan{Plan: proposal.Plan})
	switch {
	case err != nil:
		return scheduler.PlanResult{}, err
	case rejection != nil:
		return scheduler.PlanResult{
			Refused: rejection.Message, Closed: rejection.Reason == commands.ReasonClosed, Index: rejection.RefreshIndex,
			Stale: rejection.Reason == commands.ReasonStale || rejection.Reason == commands.ReasonSuperseded,
		}, nil
	}
	decided := scheduler.PlanResult{Index: result.Index}
	for _, r := range result.Records {
		if plan, ok := r.Event.(*event.PlanCommitted); ok {
			decided.Partial = len(plan.Dropped) > 0
			decided.Open = plan.Outcome == event.EvalPending
		}
	}
	return decided, nil
}

func (p planCommitter) FailEvaluation(ctx context.Context, epoch uint64, eval *event.Evaluation, description string) error {
	_, _, err := p.propose(ctx, epoch, eval.ModifyIndex, commands.FailEvaluation{EvalID: eval.ID, Description: description})
	return err // refused is as good: it is not open any more, or it is seen anew
}
