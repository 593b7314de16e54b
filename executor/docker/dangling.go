package docker

import (
	"context"
	"time"

	cerrdefs "github.com/containerd/errdefs"
	"github.com/moby/moby/client"
)

// Keep implements driver.Keeper: containers that an agent of this node made and that no allocation knows any more, because
// the agent's state was lost, are removed. Those of others do not carry the owner's label.
func (d *Driver) Keep(ctx context.Context) {
	if d.cfg.Owner == "" || d.cfg.KeepContainers || d.cfg.Dangling.Off {
		return
	}
	tick := time.NewTicker(d.cfg.Dangling.Period)
	defer tick.Stop()
	for {
		select {
		case now := <-tick.C:
			d.removeDangling(ctx, now)
		case <-ctx.Done():
			return
		}
	}
}

// removeDangling looks once. What fails is tried again the next time.
func (d *Driver) removeDangling(ctx context.Context, now time.Time) {
	list, err := d.api.ContainerList(ctx, client.ContainerListOptions{All: true, Filters: client.Filters{}.Add("label", labelOwner+"="+d.cfg.Owner)})
	if err != nil {
		d.log.Debug("cannot look for containers that nobody knows", "err", err)
		return
	}
	for _, c := range list.Items {
		d.mu.Lock()
		known := d.known[c.ID]
		d.mu.Unlock()
		// One that is being started is not known yet.
		if known || now.Sub(time.Unix(c.Created, 0)) < d.cfg.Dangling.Grace {
			continue
		}
		if d.cfg.Dangling.DryRun {
			d.log.Info("container would be removed: no allocation knows it", "container", c.ID, "task", c.Labels[labelTask])
			continue
		}
		if _, err := d.api.ContainerRemove(ctx, c.ID, removeAll); err != nil && !cerrdefs.IsNotFound(err) && !cerrdefs.IsConflict(err) {
			d.log.Warn("cannot remove a container that no allocation knows", "container", c.ID, "err", err)
			continue
		}
		d.log.Info("container removed: no allocation knew it", "container", c.ID, "task", c.Labels[labelTask])
	}
}

// knows notes which containers belong to allocations of this agent.
func (d *Driver) knows(id string, known bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if known {
		d.known[id] = true
	} else {
		delete(d.known, id)
	}
}
