package apiclient

import "time"

const (
	// errorBodyMax bounds what is read of an error answer: enough for any
	// message, too little for a wrong server to fill the memory.
	errorBodyMax = 64 << 10

	// dialTimeout is how long a connection to the configured agent may take to
	// come about. An agent is near, or reached over a network that answers in
	// far less.
	dialTimeout = 10 * time.Second

	// nodeDialTimeout is how long a direct connection to a node's agent may take
	// before the configured agent is asked to relay. Short, because nodes are
	// often not reachable from where people sit.
	nodeDialTimeout = time.Second

	// frameMax bounds one frame of a log stream. Agents send at most 64 KiB of
	// data in one; base64 and names add a third.
	frameMax = 1 << 20

	// RecordLineMax bounds one line of the record stream: a record is at most
	// 512 KB of CBOR, and its JSON form several times that.
	RecordLineMax = 16 << 20

	// execInputBytes is how much of a program's input goes into one message.
	execInputBytes = 16 << 10

	// execHeartbeat is how often an exec session shows a sign of life.
	execHeartbeat = 10 * time.Second
)
