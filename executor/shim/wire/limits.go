package wire

// MessageBytesMax bounds one message. Linux takes at most 2 MiB of arguments and environment by default (a quarter of
// an 8 MiB stack), so a specification that a kernel would accept fits with room to spare.
const MessageBytesMax = 8 << 20
