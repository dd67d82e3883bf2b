package redisstore

import (
	"context"
	"errors"
	"net"

	"github.com/redis/go-redis/v9"
)

// The client's own discovery of primaries and slots parses replies in goroutines of its
// own, where a panic would end the process: one sentinel that answers with an empty list
// did. So the servers are asked here.

// maxNodes bounds the nodes of a cluster.
const maxNodes = 1000

// connectPrimary connects to the server that a sentinel names. The client asks for a new
// connection after a failover: the old primary's are broken, or answer READONLY.
func (l *link) connectPrimary(ctx context.Context, network, _ string) (net.Conn, error) {
	err := error(errNonsense)
	for _, address := range l.params.Addresses {
		var primary string
		if primary, err = l.primary(ctx, address); err == nil {
			return l.connect(ctx, network, primary)
		}
	}
	return nil, &linkError{"asking the sentinels", plain(err)}
}

// primary asks one sentinel.
func (l *link) primary(ctx context.Context, address string) (primary string, err error) {
	c := redis.NewClient(l.options(address, 1, l.connect, l.credentials(l.params.Sentinel.Username, l.sentinel)))
	defer func() {
		if recover() != nil {
			err = errNonsense
		}
		_ = c.Close() // it has said what it had to say
	}()
	answer, err := c.Do(ctx, "sentinel", "get-master-addr-by-name", l.params.Master).StringSlice()
	switch {
	case errors.Is(err, redis.Nil):
		return "", &linkError{"asking a sentinel", errors.New("it knows no server of the name redis.master")}
	case err != nil:
		return "", err
	case len(answer) != 2:
		return "", errNonsense
	}
	return net.JoinHostPort(answer[0], answer[1]), nil
}

// slots asks the nodes that are configured which slots are where.
func (l *link) slots(ctx context.Context) ([]redis.ClusterSlot, error) {
	err := error(errNonsense)
	for _, address := range l.params.Addresses {
		var slots []redis.ClusterSlot
		if slots, err = l.slotsOf(ctx, address); err == nil {
			return slots, nil
		}
	}
	return nil, &linkError{"asking the cluster for its slots", plain(err)}
}

func (l *link) slotsOf(ctx context.Context, address string) (slots []redis.ClusterSlot, err error) {
	c := redis.NewClient(l.options(address, 1, l.connect, l.credentials(l.params.Username, l.password)))
	defer func() {
		if recover() != nil {
			err = errNonsense
		}
		_ = c.Close() // it has said what it had to say
	}()
	//lint:ignore SA1019 Redis before 7.0 and Valkey have CLUSTER SLOTS; CLUSTER SHARDS is newer.
	if slots, err = c.ClusterSlots(ctx).Result(); err != nil {
		return nil, err
	}
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	if len(slots) == 0 {
		return nil, errNonsense
	}
	nodes := map[string]bool{}
	for i := range slots {
		s := &slots[i]
		if s.Start < 0 || s.End < s.Start || s.End > 16383 || len(s.Nodes) == 0 {
			return nil, errNonsense
		}
		for j := range s.Nodes {
			h, p, err := net.SplitHostPort(s.Nodes[j].Addr)
			if err != nil {
				return nil, errNonsense
			}
			// A node that does not know its own address is the one that was asked.
			if h == "" || h == "?" {
				h = host
			}
			if p == "0" {
				p = port
			}
			s.Nodes[j].Addr = net.JoinHostPort(h, p)
			nodes[s.Nodes[j].Addr] = true
		}
	}
	if len(nodes) > maxNodes {
		return nil, errNonsense
	}
	return slots, nil
}
