package executor

import (
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"
)

// Servers are the addresses, host:port, at which the agent looks for servers.
func (a *Agent) Servers() []string { return slices.Clone(*a.servers.Load()) }

// SetServers replaces the addresses and registers at one of the new ones. They hold until the agent ends. A list of which
// no address answers is refused: the node would be cut off by a slip of the hand.
func (a *Agent) SetServers(addresses []string) error {
	if err := validServers(addresses); err != nil {
		return err
	}
	if err := oneAnswers(addresses); err != nil {
		return err
	}
	list := slices.Clone(addresses)
	a.servers.Store(&list)
	a.log.Info("servers changed", "servers", list)
	a.registerAgain()
	return nil
}

func validServers(addresses []string) error {
	if len(addresses) == 0 {
		return errors.New("a node agent needs the address of at least one server")
	}
	for _, s := range addresses {
		if _, _, err := net.SplitHostPort(s); err != nil {
			return fmt.Errorf("server address %q: %w", s, err)
		}
	}
	return nil
}

// oneAnswers is an error unless a connection to one of the addresses comes about.
func oneAnswers(addresses []string) error {
	failed := make([]error, len(addresses))
	var all sync.WaitGroup
	for i, address := range addresses {
		all.Go(func() {
			c, err := net.DialTimeout("tcp", address, serverProbeTimeout)
			if err == nil {
				err = c.Close()
			}
			failed[i] = err
		})
	}
	all.Wait()
	if slices.Contains(failed, nil) {
		return nil
	}
	return fmt.Errorf("none of these servers answers: %w", errors.Join(failed...))
}
