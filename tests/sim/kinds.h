/* kinds.h - counts each kind of thing that can happen in a story. If a kind never happens in a long
   run, that is a failure. Otherwise the simulator could stop testing something without anybody
   noticing. */
#ifndef SIM_KINDS_H
#define SIM_KINDS_H

#define SIM_KINDS(X)                                                                               \
    X(FAULT_RESET, "a connection is reset")                                                        \
    X(FAULT_HOLE, "a connection turns into a black hole")                                          \
    X(FAULT_CLOSE, "a broker closes a connection")                                                 \
    X(FAULT_ERROR, "a broker sends an ERROR without a reason")                                     \
    X(FAULT_STUCK, "a connection transports nothing for a while")                                  \
    X(FAULT_DEAF, "a broker receives nothing for a while")                                         \
    X(FAULT_NO_BEATS, "a broker sends no more heart-beats")                                        \
    X(FAULT_CRASH, "a broker dies, and has lost nothing when it is back")                          \
    X(FAULT_CRASH_EMPTY, "a broker dies, and has lost everything when it is back")                 \
    X(FAULT_REFUSE, "a broker refuses upgrades")                                                   \
    X(FAULT_JUMP, "the clock jumps")                                                               \
    X(FAULT_MEMORY, "memory is short for a while")                                                 \
    X(FAULT_SECRET, "a broker refuses CONNECT")                                                    \
    X(FAULT_STRICT, "a broker ends each session that subscribes to a certain place")               \
    X(NET_REFUSED, "an attempt finds no broker")                                                   \
    X(NET_UNKNOWN, "an attempt finds no address")                                                  \
    X(NET_HANGS, "an attempt gets no answer")                                                      \
    X(NET_READ_PART, "a read returns only a part")                                                 \
    X(NET_WRITE_PART, "a write accepts only a part")                                               \
    X(NET_WRITE_NOTHING, "a write accepts nothing")                                                \
    X(NET_NO_MEMORY, "an allocation fails")                                                        \
    X(SAY_FRAGMENTS, "a broker's message arrives in fragments")                                    \
    X(SAY_PING, "a broker sends a ping")                                                           \
    X(SAY_CUT, "a broker's frame arrives in several messages")                                     \
    X(SAY_LATE_RECEIPT, "a receipt arrives late and out of order")                                 \
    X(SAY_REFUSAL, "a broker answers a SEND with an ERROR")                                        \
    X(SAY_RETRY_AFTER, "a broker sends Retry-After")                                               \
    X(SAY_REPLY, "a broker answers a request")                                                     \
    X(SAY_DUPLICATE, "a broker recognises a repeated SEND by its stable id")                       \
    X(SAY_REDELIVERY, "a message is delivered again")                                              \
    X(CALLBACK_BLOCKS, "a callback blocks")                                                        \
    X(CALLBACK_ACTS, "a callback calls the client")                                                \
    X(CALLBACK_ENDS, "a callback ends the client")                                                 \
    X(HOOK_WAITS, "a hook postpones the attempt")                                                  \
    X(THREAD_CALLS, "another thread calls the client between two steps")                           \
    X(THREAD_COMES_BETWEEN, "another thread calls the client in the middle of a step")             \
    X(THREAD_WAKES, "another thread wakes the driving one")                                        \
    X(THREAD_WAITS_FOR_ROOM, "another thread waits for room in the outbox")                        \
    X(THREAD_WAITS_TO_FLUSH, "another thread waits for a flush")                                   \
    X(THREAD_WAITS_TO_POP, "another thread waits for a message, or for room for the ACK of one")   \
    X(THREAD_ENDS, "another thread ends the client")                                               \
    X(WRITE_CONNECT, "the client writes CONNECT")                                                  \
    X(WRITE_SEND, "the client writes SEND")                                                        \
    X(WRITE_SEND_AGAIN, "the client writes the same SEND again")                                   \
    X(WRITE_TRANSACTION_AGAIN, "the client writes a part of a transaction again")                  \
    X(WRITE_SUBSCRIBE, "the client writes SUBSCRIBE")                                              \
    X(WRITE_SUBSCRIBE_AGAIN, "the client writes the same SUBSCRIBE again")                         \
    X(WRITE_UNSUBSCRIBE, "the client writes UNSUBSCRIBE")                                          \
    X(WRITE_STABLE_ID, "the client writes the same id with the same SEND again")                   \
    X(WRITE_ACK, "the client writes ACK")                                                          \
    X(WRITE_NACK, "the client writes NACK")                                                        \
    X(WRITE_BEGIN, "the client writes BEGIN")                                                      \
    X(WRITE_COMMIT, "the client writes COMMIT")                                                    \
    X(WRITE_ABORT, "the client writes ABORT")                                                      \
    X(WRITE_DISCONNECT, "the client writes DISCONNECT")                                            \
    X(WRITE_BEAT, "the client writes a heart-beat")                                                \
    X(WRITE_PONG, "the client writes a pong")                                                      \
    X(WRITE_PING, "the client writes a ping")                                                      \
    X(WRITE_CLOSE, "the client writes a close frame")                                              \
    X(WRITE_CUT, "the client cuts a frame into several messages")                                  \
    X(WRITE_BINARY, "the client writes a binary message")                                          \
    X(ASK_FULL, "a send is refused: the outbox is full")                                           \
    X(ASK_LIMIT, "a call is refused: a limit is reached")                                          \
    X(ASK_STALE, "an ACK is refused: its session has ended")                                       \
    X(ASK_STATE, "a call is refused: the end was requested")                                       \
    X(ASK_TAKEN, "a subscription is refused: its id is in use")                                    \
    X(ASK_REUSE, "an id is used again on the same connection")                                     \
    X(ASK_FLUSHED, "a flush succeeds")                                                             \
    X(ASK_FLUSH_TIMEOUT, "a flush ends at its time-out")                                           \
    X(ASK_FLUSH_LOST, "a flush ends with the connection")                                          \
    X(ASK_REQUEST, "a request gets its reply")                                                     \
    X(ASK_REQUEST_TIMEOUT, "a request ends at its time-out")                                       \
    X(ASK_ACK_IN, "a message is acknowledged in a transaction")                                    \
    X(ASK_RECONNECT, "a reconnection is requested")                                                \
    X(HEAR_CONNECTED, "CONNECTED is reported")                                                     \
    X(HEAR_MESSAGE, "a message is delivered to the program")                                       \
    X(HEAR_NO_ROOM, "a message cannot be given back, because its ACK finds no room")               \
    X(WRITE_ACK_BY_ITSELF, "a client acknowledges automatically")                                  \
    X(HEAR_QUEUED, "a message is taken from the message queue")                                    \
    X(HEAR_LATE_REPLY, "a reply arrives after its request has ended")                              \
    X(HEAR_TRACE, "a frame is traced")                                                             \
    X(HEAR_HELD_BY_ACK, "an ACK that finds no room stops the client from reading")                 \
    X(HEAR_HELD, "a full message queue stops the client from reading")                             \
    X(HEAR_ERROR, "an ERROR is reported")                                                          \
    X(HEAR_HIGH, "a full outbox is reported")                                                      \
    X(HEAR_LOW, "an outbox that has room again is reported")                                       \
    X(HEAR_ASIDE, "a subscription is set aside")                                                   \
    X(HEAR_AGE, "a session is replaced, because it is old")                                        \
    X(HEAR_RECEIPT, "a receipt ends successfully")                                                 \
    X(HEAR_RECEIPT_ERROR, "a receipt ends with an ERROR")                                          \
    X(HEAR_RECEIPT_TIMEOUT, "a receipt ends at its time-out")                                      \
    X(HEAR_RECEIPT_LOST, "a receipt ends because its connection is lost")                          \
    X(HEAR_RECEIPT_FULL, "a receipt ends because its message is dropped")                          \
    X(LOST_ASKED, "a connection ends because the program requested it")                            \
    X(LOST_CONNECT, "a connection cannot be made")                                                 \
    X(LOST_RESOLVE, "an address cannot be found")                                                  \
    X(LOST_TIMEOUT, "a state lasts too long")                                                      \
    X(LOST_STATUS, "an upgrade is refused")                                                        \
    X(LOST_IO, "a connection breaks")                                                              \
    X(LOST_EOF, "a connection ends without a close frame")                                         \
    X(LOST_CLOSE, "a connection is closed by the broker")                                          \
    X(LOST_ERROR, "a connection ends after an ERROR")                                              \
    X(LOST_LOGIN, "a login is refused")                                                            \
    X(LOST_HEARTBEAT, "a silent broker is called dead")                                            \
    X(LOST_LIMIT, "a message finds no memory")                                                     \
    X(LOST_LATE, "a connection ends because the program was late")                                 \
    X(LOST_CLOSED, "the end that the program requested is reported")                               \
    X(LOST_LOSS, "the end that the program requested is reported, and messages are lost")          \
    X(END_STOPPED, "a client ends after stws_stop")                                                \
    X(END_DISCONNECTED, "a client ends after stws_disconnect")                                     \
    X(END_FINAL, "a client ends without a request of the program")                                 \
    X(END_DESTROYED, "a client is destroyed while it is connected")

#define SIM_KIND_NUMBER(name, sentence) name,
#define SIM_KIND_SENTENCE(name, sentence) sentence,
enum kind { SIM_KINDS(SIM_KIND_NUMBER) KINDS };
static const char *const kind_sentence[] = {SIM_KINDS(SIM_KIND_SENTENCE)};

#endif
