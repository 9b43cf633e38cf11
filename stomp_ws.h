/* stomp_ws.h - v0.1.0 - STOMP over WebSocket for C, in one header - MIT or public domain, see the end

   A client of message brokers behind a WebSocket URL: Spring Boot, RabbitMQ, ActiveMQ, Artemis. It needs libc and POSIX
   sockets, nothing else.

Do this in one C or C++ file, before any system header:

    #define STOMP_WS_IMPLEMENTATION
    #include "stomp_ws.h"

and include it plainly wherever else you want it. Libraries: define STOMP_WS_STATIC too, and nothing of it leaves your
object file. Nothing is to be linked but, on old systems, -pthread; and -lbearssl for wss://, see STOMP_WS_BEARSSL, or
what another TLS library needs, see options.tls.

Contents; search for ">>" and the name:

    >>results >>codecs >>message >>plug >>client >>drive >>talk >>look >>inbox     declarations: the public interface
    >>includes >>util >>sha1 >>base64 >>utf8                                       implementation: plain tools
    >>url >>handshake >>websocket                                                  RFC 6455
    >>frame                                                                        STOMP frames, parsed and built
    >>dedup                                                                        ids of the last messages
    >>session        versions, heart-beats, subscriptions, receipts, outbox: bytes in, bytes out, no system call
    >>random >>transport >>proxy >>tls >>bearssl >>copy >>queue                    the outside world
    >>options >>diagnosis >>answer >>attempt >>output >>dispatch >>input           the client's state machine
    >>timers >>turn
    >>driving >>talking >>looking >>end                                            the public calls on it

    Where is ...?  A header unescaped: stws_p_unescape. Heart-beats sent: stws_p_post_heartbeat; judged:
    stws_p_judge_silence. What bounds memory: stws_p_layout. What an ERROR does: stws_p_on_error.

Quick start (examples/minimal.c):

    // How do I print every message of a destination?
    #define STOMP_WS_IMPLEMENTATION
    #include "../stomp_ws.h"
    #include <stdio.h>

    static void print(stws *client, const stws_message *message, void *user) {
        (void)client, (void)user;
        puts(message->body);
        fflush(stdout);
    }

    static void explain(stws *client, const stws_event *event, void *user) {
        (void)user;
        if (event->type == STWS_EVENT_DISCONNECTED && event->retry_ms >= 0)
            fprintf(stderr, "%s; trying again\n", stws_error_text(client));
    }

    int main(int argc, char **argv) {
        stws_options options = stws_options_default();
        options.url = argc > 1 ? argv[1] : "ws://localhost:8080/notifications/websocket";
        options.on_message = print;
        options.on_event = explain;

        stws *client = stws_create(&options);
        stws_subscribe(client, "/topic/notifications", NULL);
        int result = stws_run(client); // connects, and again when the connection breaks
        if (result < 0) fprintf(stderr, "%s\n", stws_error_text(client));
        stws_destroy(client);
        return result < 0;
    }

# Manual
A tag such as [G2] marks a promise; the tests that hold us to it bear it, too.

## The model
A client (`stws`) is one connection to one broker, made again when it breaks. Its table of subscriptions is the truth:
`stws_subscribe` may be called at any time, also before the first connection, and each new session subscribes anew with
the same handles. [M1] `stws_send` may be called at any time too: what cannot be sent now waits in the outbox, and goes
out after the subscriptions. [M2] A connection counts as made only when the server has answered CONNECT with CONNECTED:
before that nothing is delivered. [M3]

## Three ways to drive it
1. `stws_run` blocks and calls back. `stws_start` and `stws_join` do it in a thread of its own. [D1]
2. `stws_next` returns one event after another, as sqlite3_step returns rows; `stws_run` is a short loop over it, and
   `stws_run_many` one over several clients. [D2]
3. `stws_fds`, `stws_deadline` and `stws_step` fit any event loop: wait for descriptors or deadline, then step. [D3]

With `options.queue` the messages of any number of clients go to one queue, and `stws_queue_pop` takes them out in
another thread; when it is full the clients stop reading, so that the broker and TCP hold back, and memory stays
bounded. [D4]

## Memory
`stws_create` allocates one block. [Y1] After CONNECTED nothing more is allocated as long as frames fit into rx_buffer
and tx_buffer, but by stws_request, stws_connect, stws_close and stws_flush for events that they keep for stws_next; for
a larger frame the buffer grows (never from a length that a peer only declares) and shrinks back when
the connection ends. [Y2] `stws_init` puts a client into memory of yours, of the size that `stws_size` says, and then
there is no heap at all: the buffers are the limit. [Y3] A message is a view into the receive buffer, unescaped where
it lies; every name, value and body also ends in a NUL octet, so that each is a C string (a body may hold NULs of its
own: see body_len). [Y4] Small buffers suit many idle clients: what the upgrade needs beyond them is the heap's until it
is over. Their error sentences are shorter (rx_buffer / 4, but 256 to 640 octets). What the block is made of: [Y5]

    | what                                          | octets on 64-bit systems |
    |-----------------------------------------------|--------------------------|
    | a client with the least of all, single_thread | 4,560                    |
    | more without single_thread                    | 272                      |
    | an octet of rx_buffer, tx_buffer, outbox_bytes | 1                       |
    | one of max_headers                            | 64                       |
    | one of max_headers, more with on_trace        | 32                       |
    | one of max_subscriptions, and its subscription_bytes | 48                |
    | one of max_receipts                           | 40                       |
    | a proxy                                       | 7,600                    |

## Threads
One thread at a time drives a client. `stws_next`, `_run`, `_run_many`, `_step`, `_fds`, `_deadline` and `_request` are
driving calls: while one of them runs, another thread's is refused (STWS_ERR_STATE), as is any that a callback of that
client makes. `stws_connect` and `stws_flush` wait beside a thread that drives. While no thread does, they drive, and
call back; a flush gives way as soon as another thread comes to drive. `stws_destroy` stops and joins the thread of
`stws_start`; beside any other thread that drives, and in a callback, it does nothing. [T3]

Any thread, callbacks included, may subscribe, send, acknowledge, open and close transactions, flush, disconnect,
reconnect, and ask for state, statistics, error code, broker and version; [T1] `stws_stop` may come from a signal
handler too. [T2] `stws_error_text` is the sentence of the calling thread's last refused call; without one, in the
thread that drives and after the end, that of the last error; elsewhere, the text of the error's code. Codecs are pure:
any thread, each with a state of its own. Each group of declarations says it again.

Callbacks run in the thread that drives, without a lock held. on_trace runs in the thread that sends or reads, under the
lock, once at a time, and may not call the client. The others may call anything but the driving calls and stws_destroy.
`random.fill` of your own may run in any thread that calls the client, also under the lock, once at a time.
`options.single_thread` removes lock and wake descriptor: then everything, stws_stop in a signal handler excepted, has
to come from one thread.

## Errors and reconnecting
A call returns 0 or more, or a negative code. When a connection fails, STWS_EVENT_DISCONNECTED says why and when the
next attempt comes, and `stws_error_text` has a sentence with cause and remedy. [E1] Attempts wait reconnect_min_ms,
then twice as long each time up to reconnect_max_ms, less a random part (so that a thousand clients do not come back
together); a session that lived for stable_ms starts over. [E2]

Before the first session a refusal is final: the client ends, because the next attempt would get the same answer.
Refusals are: an HTTP status below 500 (except 408, 425 and 429), an answer that is not a WebSocket upgrade, a refused
CONNECT, a STOMP version that was not offered, and a certificate that cannot be trusted. With several `urls` each of
them is tried once before a refusal is final. After a first session the client tries again even after a refusal. The
same settings have worked before, so the cause may pass: the server may be starting, or a proxy may have lost its way
to the server. One refusal is still final: refused credentials (HTTP 401, 403 or 407, or an ERROR that names them). If
before_connect is set, this one is retried, too, after the usual delay; before_connect brings fresh credentials, or
ends the client with a negative number. `options.give_up` changes these rules. [E3]

Always retried: no route, connection refused or reset, time-outs, HTTP 408, 425, 429 and 5xx, a lost heart-beat, an
ERROR in a session, a close. If an answer has Retry-After (seconds or a date), the client waits at least so long. It
adds a random part of up to a tenth and reconnect_min_ms. It never waits longer than ten times reconnect_max_ms. If a
host has several addresses and an attempt fails after the TCP connection was made, the next attempt begins with the
next address. [E4]

`urls` names several servers, tried in turn. [E5] `before_connect` and `before_subscribe` are asked before each attempt
and each SUBSCRIBE, and may bring a fresh URL, token or header, or say "not yet". [E6] `stws_reconnect_now` and
`max_session_ms` leave a good session for a new one, once what was accepted is written, within close_timeout_ms (the old
one ends first: two would deliver twice). [E7] Every end of the client is told: STWS_EVENT_DISCONNECTED with retry_ms
-1. A session begins with CONNECT, the SUBSCRIBEs (of the last max_subscriptions the oldest first), and the outbox. [E8]

Some servers end the whole session when they refuse one SUBSCRIBE. All subscriptions are lost then. If the server ends
a session, by an ERROR or a close frame, within a second after a SUBSCRIBE, the error says so. If this happens twice in
a row, the client searches for the bad subscription: in the next session it waits for a second, sends half of the
SUBSCRIBEs, waits for a second, and sends more. The outbox is sent after that. If three sessions in a row end right
after the SUBSCRIBE of the same single subscription, the client sets it aside and subscribes to it no more.
STWS_EVENT_SUBSCRIPTION_REFUSED tells its handle. All other subscriptions go on. To try it again, unsubscribe it and
subscribe anew. [E12]

A receipt ends as STWS_OK, STWS_ERR_BROKER (an ERROR named it), STWS_ERR_TIMEOUT or STWS_ERR_LOST: nothing waits for
ever. [E9] Spring's simple broker sends receipts for DISCONNECT only.

After an ERROR the server has close_timeout_ms to close the connection, as STOMP asks it to; then we do. [E10]

An error's sentence is one line of UTF-8 that may be printed on a terminal. It shows no query and no password of a URL.
For each control character in a peer's words, for each character that is invisible or changes the direction of the text,
and for bytes that are not UTF-8, it shows a '.'. [E11] Of a refused upgrade it quotes the page; the client waits for
the rest of that page for at most 500 ms.

## Delivery guarantees
What is promised, for which set-up:
- **Sending, by default: at most once.** A message waits in the outbox (outbox_bytes, outbox_count) while there is no
  connection; once written it is gone, and lost if the connection then breaks. Calls of one thread go out in their
  order, ACKs too: one that overtook the answer sent before it would lose that if the program died in between. [G1]
- **Sending with `confirm`: at least once.** A SEND stays in the outbox until its RECEIPT and goes again, in order, in
  the next session. [G2] It may come twice, when the receipt was lost: `stable_id` gives it an id that stays, and
  `stws_dedup`, or a broker with duplicate detection, drops the second one. [G3] It is kept in memory: a program that
  dies takes along what was not confirmed. A frame that tx_buffer does not hold needs memory when its turn comes, and
  ends as STWS_ERR_LIMIT without. A receipt may take as long as its session lives (a broker short of memory holds back
  for minutes); heart-beats end a dead session. `stws_flush` waits for all receipts. [G4] What a receipt means is up to
  the broker: RabbitMQ's, ActiveMQ's and Artemis's tell that a persistent message for a durable queue is stored (say
  `persistent:true`). Spring's simple broker sends none, and the flush says so. [G5] There is a receipt for each SEND,
  as one for a batch would tell only of its last frame (STOMP 1.2, "RECEIPT").
- **Transactions: whole or not at all.** From BEGIN to COMMIT all parts stay in the outbox, so a broken connection,
  which makes the broker forget them, has them sent again from BEGIN on; with `confirm` until the COMMIT's receipt.
  [G6] An ACK of the old session cannot be said again: a transaction with one is given up as a whole (receipts end as
  STWS_ERR_STALE, as do its further parts and its COMMIT), and the broker delivers that message again. [G7]
- **Receiving, with ack "auto": at most once.** The broker counts a message as done when it has written it.
- **Receiving, with "client-individual" (or "client"): at least once**, where the broker keeps the messages: a queue,
  or a `durable` subscription. Acknowledge when the work is done, or let `ack_on` do it; [G8] what was not acknowledged
  comes again in the next session. An ACK for an earlier session is never sent (STWS_ERR_STALE). [G9]
- **A slow consumer** is never drowned: when the queue is full, the callback busy, or no room for the ACK that is due,
  nothing is read, and TCP holds the broker back; [G10] with `prefetch` and ack_on = STWS_ACK_ON_RETURN it holds itself
  back. A broker may cut off who reads too slowly (Spring's send buffer limit): the error names that.
- **Topics without `durable`** have gaps: what is published between two sessions is nobody's.
- **Order** is the broker's, per destination; with `confirm` a message that goes again comes after later ones only
  where these were confirmed before.

## Heart-beats
Offered are heartbeat_out_ms and heartbeat_in_ms (10 s each); what holds is the larger of ours and the server's, and
none when either is 0. [H1] We send after half the interval without other output. [H2] The server may be silent for
heartbeat_grace (300) percent of its interval; whatever comes counts, and the socket is read empty before it is judged.
[H3] Some servers want no heart-beats from us, such as Spring's simple broker without a scheduler. Then an idle
connection carries no bytes: a proxy may cut it, and nobody notices a dead server. So, if one of the two heart-beats is
not agreed, the client sends a WebSocket PING whenever it has received nothing, or sent nothing, for ping_ms (20 s).
Until the server has answered one, it sends a PING every ping_ms, also on a busy connection. After the first answer in
a session, the client ends the session if nothing comes for heartbeat_grace percent of ping_ms (60 s). A server that
never answers a PING is not judged by its silence. [H6] When the loop itself came late (a callback blocked, it was not
called, the machine slept) the server gets that time on top, statistics count it, and an error that follows says which.
[H4] Of a server that is silent the error tells whether its machine still acknowledges what we send (Linux). [H5]

## Large frames
max_ws_message = 0 cuts frames over 8 KiB into several WebSocket messages where the server is Spring's simple broker
(Tomcat refuses larger ones), RabbitMQ or Artemis, which join them again, and never for ActiveMQ or a server of unknown
kind, which take one STOMP frame as one message only. [L1] A body that is not UTF-8 makes its frame binary. [L2]

## Spring and SockJS
The URL of a Spring endpoint registered `.withSockJS()` ends in /websocket: ws://host/notifications/websocket. Without
it the server answers 200 or 400 instead of 101, and the error says so. [S1] CONNECT headers (login, tokens for a
ChannelInterceptor) and HTTP headers (Authorization, Cookie, what Spring Security sees at the upgrade) are two
different things, and two options. [S2]

## Proxies
options.proxy is a URL: http:// (CONNECT, Basic) or socks5:// (no login, or user and password); characters of these
that are special in a URL are written %XX. The proxy gets the server's name, so that no local DNS is asked for it, or
of options.addresses one an attempt. [P1] STWS_PROXY_FROM_ENVIRONMENT looks into https_proxy or HTTPS_PROXY (wss://),
http_proxy (ws://), all_proxy or ALL_PROXY, and no_proxy or NO_PROXY (hosts, domains, or *), at each attempt, by
getenv: no thread may change the environment meanwhile. [P2] Basic allows no colon in the user, and no control
characters.

## Limits
Every buffer, table and wait has one, as an option with a default. A peer that breaks a limit or a rule is closed with
the code that RFC 6455 gives for it (1002, 1007, 1009), and the error names the option. [I1]

## Caveats
- getaddrinfo blocks for as long as the resolver takes; numeric hosts and options.addresses avoid it.
- No permessage-deflate. What a proxy is told, credentials included, goes to it in the clear.
- wss:// needs a TLS library. STOMP_WS_BEARSSL compiles BearSSL in, which ends at TLS 1.2. With options.tls it can be
  another one: examples/stomp_ws_openssl.h has TLS 1.2 and 1.3 by OpenSSL 3. Neither asks whether a certificate was
  revoked. Both read CA and key files at each handshake, which blocks as files do; a handshake that resumes this
  client's last session reads no CA.
- Where neither tls_ca_file nor tls_ca_pem is set, the environment may say whom wss:// trusts instead of the system's
  CAs: SSL_CERT_FILE names a file of PEM, SSL_CERT_DIR directories of such files, with a colon between them. A program
  that has other rights than its caller (setuid, setgid) does not look at them. BearSSL reads every file of a
  directory. OpenSSL reads those with the names that `openssl rehash` gives, and where only SSL_CERT_FILE is set it
  trusts its own directory too. getenv is used: no thread may change the environment meanwhile.
- The server's certificate must name the host or address in subjectAltName. The common name does not count, as in
  browsers (RFC 9110, 4.3.4). An extendedKeyUsage, in any certificate of its chain, must include serverAuth or, with
  BearSSL, any.
- A server of TLS 1.2 that wants a client certificate for one path only (renegotiation) gets none: let it ask at the
  first handshake, or use TLS 1.3.
- After fork() the child may destroy a client but not drive it.

## Configuration macros

    | macro                            | meaning                                                              |
    |----------------------------------|----------------------------------------------------------------------|
    | STOMP_WS_IMPLEMENTATION          | this file gets the implementation                                    |
    | STOMP_WS_STATIC                  | public functions are static, and none warns when it is not used      |
    | STOMP_WS_API                     | what stands before public functions (default: extern)                |
    | STOMP_WS_BEARSSL                 | wss:// by BearSSL (bearssl.h, -lbearssl)                             |
    | STOMP_WS_TLS                     | the table where options.tls is NULL (default: stws_bearssl())        |
    | STOMP_WS_NO_IO                   | codecs only: no sockets, no client, no system header but string.h    |
    | STOMP_WS_NO_THREADS              | no pthread.h; options.single_thread must be set                      |
    | STOMP_WS_NO_SIMD                 | no SSE2, SSSE3, AVX2 or NEON                                         |
    | STOMP_WS_NO_PROXY                | no option proxy: 5 KB less                                           |
    | STOMP_WS_NO_TEXTS                | a short stws_error_text, always that of stws_result_text: 15 KB less |
    | STOMP_WS_MALLOC, STOMP_WS_FREE   | instead of malloc and free (both or none)                            |
    | STOMP_WS_ASSERT(condition)       | checks of what cannot happen (default: none)                         |

None of them changes a public struct. Everything else is an option.

## History
- 0.1.0: the first.
*/
#if defined(STOMP_WS_IMPLEMENTATION) && defined(__STRICT_ANSI__) && !defined(_POSIX_C_SOURCE) && \
    !defined(_XOPEN_SOURCE) && !defined(_GNU_SOURCE) && !defined(_DEFAULT_SOURCE)
#define _POSIX_C_SOURCE 200809L /* in a strict mode glibc hides getaddrinfo and clock_gettime otherwise */
#endif

#ifndef STOMP_WS_H
#define STOMP_WS_H

#include <stddef.h>
#define STOMP_WS_VERSION_MAJOR 0
#define STOMP_WS_VERSION_MINOR 1
#define STOMP_WS_VERSION_PATCH 0
#define STOMP_WS_VERSION "0.1.0"

#ifndef STOMP_WS_API
#if defined(STOMP_WS_STATIC) && (defined(__GNUC__) || defined(__clang__))
#define STOMP_WS_API static __attribute__((unused))
#elif defined(STOMP_WS_STATIC)
#define STOMP_WS_API static
#else
#define STOMP_WS_API extern
#endif
#endif

#ifdef __cplusplus
extern "C" {
#endif
/* ==== >>results: every code the library returns, with its name and its sentence ==== */
/* A call returns 0 or more for success and one of these (stws_result) for failure. The bands tell whose matter it
   is: -1 yours or your limits', -20 the network's, -30 the HTTP upgrade's, -40 RFC 6455's, -50 a STOMP frame's, -60 the
   STOMP session's.
   stws_result_text(result), stws_result_name(result)
       The sentence ("the server refused CONNECT") and the name ("STWS_ERR_LOGIN") of a result; never NULL.
       Threads: any. Does not allocate or block.

   Parsers return STWS_DONE or STWS_MORE (more octets are needed) besides errors. As an option, STWS_OFF switches off
   what would have a default at 0. */
#define STWS_RESULTS(X)                                                                                                \
    X(STWS_OK, 0, "success")                                                                                           \
    X(STWS_CLOSED, -1, "the client has ended; stws_error says why")                                                    \
    X(STWS_ERR_USAGE, -2, "an argument or an option is not valid")                                                     \
    X(STWS_ERR_STATE, -3, "not possible in this state")                                                                \
    X(STWS_ERR_MEMORY, -4, "no memory, or the memory given is too small")                                              \
    X(STWS_ERR_SPACE, -5, "the output does not fit into the buffer given")                                             \
    X(STWS_ERR_FULL, -6, "the outbox or the queue is full")                                                            \
    X(STWS_ERR_LIMIT, -7, "a limit of the options is reached")                                                         \
    X(STWS_ERR_TIMEOUT, -8, "not finished before its deadline")                                                        \
    X(STWS_ERR_URL, -9, "the URL is not a ws:// or wss:// URL")                                                        \
    X(STWS_ERR_RESOLVE, -20, "the host name could not be resolved")                                                    \
    X(STWS_ERR_CONNECT, -21, "no connection to the host and port")                                                     \
    X(STWS_ERR_IO, -22, "reading from or writing to the connection failed")                                            \
    X(STWS_ERR_EOF, -23, "the peer ended the connection without a close frame")                                        \
    X(STWS_ERR_TLS, -24, "TLS failed, or is not compiled in")                                                          \
    X(STWS_ERR_TLS_TRUST, -25, "the server's certificate is not to be trusted")                                        \
    X(STWS_ERR_PROXY, -26, "the proxy does not let the connection through")                                            \
    X(STWS_ERR_HTTP, -30, "the answer to the upgrade request is not HTTP")                                             \
    X(STWS_ERR_HTTP_STATUS, -31, "the server did not switch to WebSocket (status not 101)")                            \
    X(STWS_ERR_HTTP_UPGRADE, -32, "the 101 answer lacks or distorts Upgrade, Connection or Sec-WebSocket-Accept")      \
    X(STWS_ERR_HTTP_SUBPROTOCOL, -33, "the server chose a subprotocol that was not offered")                           \
    X(STWS_ERR_HTTP_EXTENSION, -34, "the server uses an extension that was not offered")                               \
    X(STWS_ERR_HTTP_LIMIT, -35, "the HTTP head is larger than the limit")                                              \
    X(STWS_ERR_WS_PROTOCOL, -40, "a WebSocket frame breaks RFC 6455")                                                  \
    X(STWS_ERR_WS_UTF8, -41, "a WebSocket text message is not UTF-8")                                                  \
    X(STWS_ERR_WS_LIMIT, -42, "a WebSocket message is larger, or in more pieces, than the limit")                      \
    X(STWS_ERR_WS_CLOSE, -43, "the peer closed the WebSocket")                                                         \
    X(STWS_ERR_SOCKJS, -44, "the peer speaks SockJS framing, not raw STOMP")                                           \
    X(STWS_ERR_FRAME_COMMAND, -50, "a STOMP frame begins with something that is no command")                           \
    X(STWS_ERR_FRAME_HEADER, -51, "a STOMP header line has no colon or no name")                                       \
    X(STWS_ERR_FRAME_ESCAPE, -52, "a STOMP header holds an escape that the version does not define")                   \
    X(STWS_ERR_FRAME_CR, -53, "a STOMP header holds a carriage return that ends no line")                              \
    X(STWS_ERR_FRAME_NUL, -54, "a NUL byte inside a STOMP head, or none after a body of a stated length")             \
    X(STWS_ERR_FRAME_LENGTH, -55, "a content-length that is not a number")                                             \
    X(STWS_ERR_FRAME_HEADERS, -56, "a STOMP frame has more headers than max_headers")                                  \
    X(STWS_ERR_FRAME_LINE, -57, "a STOMP header line is longer than max_line")                                         \
    X(STWS_ERR_FRAME_BODY, -58, "a STOMP body is longer than max_body")                                                \
    X(STWS_ERR_FRAME_BUILD, -59, "this frame cannot be said in this STOMP version")                                    \
    X(STWS_ERR_VERSION, -60, "no STOMP version in common with the server")                                             \
    X(STWS_ERR_LOGIN, -61, "the server refused CONNECT")                                                               \
    X(STWS_ERR_BROKER, -62, "the server sent an ERROR frame")                                                          \
    X(STWS_ERR_HEARTBEAT, -63, "the server's heart-beat stayed out")                                                   \
    X(STWS_ERR_LATE, -64, "our own loop was late with the heart-beat")                                                 \
    X(STWS_ERR_LOST, -65, "the connection ended before the receipt came")                                              \
    X(STWS_ERR_STALE, -66, "the message belongs to an earlier session; its ACK would mean nothing now")                \
    X(STWS_ERR_GAVE_UP, -67, "all reconnect attempts are used up")
#define STWS_P_ENUM(name, number, sentence) name = (number),
typedef enum stws_result { STWS_RESULTS(STWS_P_ENUM) STWS_RESULT_END = -1000 } stws_result;
#undef STWS_P_ENUM
enum { STWS_MORE = 0, STWS_DONE = 1, STWS_OFF = -1 };
STOMP_WS_API const char *stws_result_text(int result);
STOMP_WS_API const char *stws_result_name(int result);
/* ==== >>codecs: STOMP frames, WebSocket frames and the handshake, without any I/O ==== */
/* Threads: any, a state each. No codec allocates, blocks, or keeps anything outside of its arguments. buf holds len
   octets, or room for cap; *used are done with, *need is what building takes. STOMP 1.0, 1.1, 1.2: "Augmented BNF".

   stws_header      A header; both strings also end in a NUL octet. To be built: a length of 0 means strlen().
   STWS_STOMP_*     A version, and a bit of stws_options.versions. STWS_STOMP_NONE is the time before CONNECTED.
   stws_frame       Parsed: views into the caller's buffer, headers in wire order and decoded, body[body_len] is a NUL.
                    To be built: command, or, where it is NULL, command_id (an stws_command); content_length
                    leaves that header out (ActiveMQ then makes a TextMessage of it).
   stws_frame_state Zero it, then set version, headers and max_headers (the table for one frame's headers), max_line
                    (octets in a header line; 0: 65,536) and max_body (octets; 0: 16 MiB). heartbeats counts the
                    end-of-lines seen between frames. What follows it is the parser's own.
   stws_frame_parse(buf, len, state, frame, used)
       Parse one frame where it lies: octets of buf[0..len) are unescaped and terminated in place. STWS_DONE: *frame
       holds until these octets change or state parses on, and *used of them are done with. STWS_MORE: *used octets
       (end-of-lines) must go; come again with the rest and more, there or elsewhere: none is seen twice.
       STWS_ERR_FRAME_*: the stream is lost.
   stws_frame_build(buf, cap, version, frame, need)
       Write the frame as that version says it. STWS_OK; STWS_ERR_SPACE when it is longer than cap octets (nothing is
       written); STWS_ERR_FRAME_BUILD when it cannot be said: LF, CR or NUL where there is no escape, ':' in a name that
       may not be escaped, a content-length that is wrong, a body where none may be. A body gets a content-length
       unless the frame has one or wants none; one with a NUL gets it all the same.
   stws_frame_header(frame, name)
       The value of the first header of that name ("Repeated Header Entries"), or NULL.
   stws_command_name(command_id)
       "MESSAGE" of a command_id; "" for STWS_COMMAND_OTHER. */
typedef struct stws_header { const char *name, *value; size_t name_len, value_len; } stws_header;
typedef enum stws_stomp_version {
    STWS_STOMP_NONE = 0,
    STWS_STOMP_10 = 1,
    STWS_STOMP_11 = 2,
    STWS_STOMP_12 = 4
} stws_stomp_version;
typedef enum stws_content_length {
    STWS_CONTENT_LENGTH_SEND = 0,
    STWS_CONTENT_LENGTH_OMIT = 1,
    STWS_CONTENT_LENGTH_JMS_TEXT = 2
} stws_content_length;
typedef enum stws_command {
    STWS_COMMAND_OTHER, STWS_COMMAND_CONNECT, STWS_COMMAND_STOMP, STWS_COMMAND_CONNECTED, STWS_COMMAND_SEND,
    STWS_COMMAND_SUBSCRIBE, STWS_COMMAND_UNSUBSCRIBE, STWS_COMMAND_ACK, STWS_COMMAND_NACK, STWS_COMMAND_BEGIN,
    STWS_COMMAND_COMMIT, STWS_COMMAND_ABORT, STWS_COMMAND_DISCONNECT, STWS_COMMAND_MESSAGE, STWS_COMMAND_RECEIPT,
    STWS_COMMAND_ERROR
} stws_command;
typedef struct stws_frame {
    const char *command;
    stws_command command_id;
    stws_content_length content_length;
    const stws_header *headers;
    size_t header_count;
    const char *body;
    size_t body_len;
} stws_frame;
typedef struct stws_frame_state {
    stws_stomp_version version;
    stws_header *headers;
    size_t max_headers, max_line, max_body, heartbeats;
    const char *base; /* private from here on */
    size_t line, scanned, colon, header_count, body_len;
    int phase, command_id, odd;
    const stws_header *known[8], *known_in;
    size_t known_count;
    unsigned char expected[24];
} stws_frame_state;
STOMP_WS_API int stws_frame_parse(char *buf, size_t len, stws_frame_state *state, stws_frame *frame, size_t *used);
STOMP_WS_API int stws_frame_build(char *buf, size_t cap, stws_stomp_version version, const stws_frame *frame, size_t *need);
STOMP_WS_API const char *stws_frame_header(const stws_frame *frame, const char *name);
STOMP_WS_API const char *stws_command_name(stws_command command_id);
/* WebSocket frames (RFC 6455, section 5).

   stws_ws          One direction of a connection. Zero it, then set server (1: the peer's frames must be masked; 0:
                    must not), check_utf8 (1: text is checked as it streams), max_message (octets; 0: any),
                    max_fragments (frames of a message, empty ones too; 0: 65,537). After an error close_code and reason
                    say how to close (7.4.1) and what was wrong. What follows is private.
   stws_ws_event    A piece of a message (opcode TEXT or BINARY; first, last: it begins, ends it) or a control frame,
                    unmasked in place. CLOSE: close_code is its code, 1005 without one, and data its reason.
   stws_ws_parse(buf, len, ws, event, used)
       The next piece of buf[0..len). STWS_DONE: *event, and *used octets are done with. STWS_MORE: *used octets are
       done with; come again with the rest and more. Data come in pieces as they are there, so that no message has to
       fit anywhere; control frames come whole. STWS_ERR_WS_PROTOCOL, _UTF8, _LIMIT: close with ws->close_code.
   stws_ws_build(buf, cap, opcode, fin, payload, len, key, need)
       Write one frame (opcode: STWS_WS_*; fin: it ends a message). key: four octets from a CSPRNG, fresh each time
       (client, 5.3), or NULL (server). STWS_OK, STWS_ERR_SPACE, or STWS_ERR_USAGE for what may not be sent (a control
       frame over 125 octets or in pieces, a reserved opcode). payload may lie in buf only where it belongs anyway.
   stws_ws_mask(dst, src, len, key, offset)
       dst[i] = src[i] ^ key[(offset + i) % 4], for len octets. dst may be src, or begin before it.
   stws_ws_close_payload(out, code, reason)
       Put a close frame's payload into out: code, and as much of reason as 123 octets hold, cut between characters. Its
       length; 0 for code 0, and for 1005, which says that there was none (5.5.1, 7.4.1).
   stws_utf8_valid(data, len)
       1 when it is UTF-8 (RFC 3629: no surrogates, no overlong forms, nothing above U+10FFFF), else 0. */
typedef enum stws_ws_opcode {
    STWS_WS_CONTINUATION = 0, STWS_WS_TEXT = 1, STWS_WS_BINARY = 2, STWS_WS_CLOSE = 8, STWS_WS_PING = 9,
    STWS_WS_PONG = 10
} stws_ws_opcode;
typedef struct stws_ws {
    int server, check_utf8;
    size_t max_message, max_fragments;
    int close_code;
    const char *reason;
    unsigned long long remaining; /* private from here on */
    size_t message_len, fragments, key_offset;
    int in_frame, fin, message_opcode, closed;
    unsigned utf8_state;
    unsigned char key[4];
} stws_ws;
typedef struct stws_ws_event {
    stws_ws_opcode opcode;
    int first, last, close_code;
    char *data;
    size_t len;
} stws_ws_event;
STOMP_WS_API int stws_ws_parse(char *buf, size_t len, stws_ws *ws, stws_ws_event *event, size_t *used);
STOMP_WS_API int stws_ws_build(char *buf, size_t cap, stws_ws_opcode opcode, int fin, const void *payload, size_t len,
                               const unsigned char *key, size_t *need);
STOMP_WS_API void stws_ws_mask(void *dst, const void *src, size_t len, const unsigned char key[4], size_t offset);
STOMP_WS_API size_t stws_ws_close_payload(char out[125], int code, const char *reason);
STOMP_WS_API int stws_utf8_valid(const void *data, size_t len);
/* URL and handshake (RFC 6455, sections 3 and 4).

   stws_url         Views into a URL: host, without brackets if is_ipv6; target is path and query, "" for "/"; port is
                    80 or 443 unless has_port; secure is 1 for wss://.
   stws_http        The head of an HTTP/1.1 request or answer. Zero it, then set headers and max_headers (a table) and
                    max_bytes (of the head; 0: 16,384). Answer: status and reason, which may be ""; request: method and
                    target. minor: the x of HTTP/1.x. scanned is private.
   stws_handshake   What goes into an upgrade request: subprotocols ("v12.stomp, v11.stomp"), origin, cookie and headers
                    (name, value, name, value, ..., NULL) may be NULL.
   stws_url_parse(url, out, why)
       Take a url apart; user_info, of user_info_len bytes, is "user:password" as it stands there, or NULL. STWS_OK, or
       STWS_ERR_URL and in *why (may be NULL) a sentence.
   stws_handshake_parse(buf, len, http, used)
       A head, in place. STWS_DONE: *used octets were its own; what follows is WebSocket already. STWS_MORE,
       STWS_ERR_HTTP, STWS_ERR_HTTP_LIMIT.
   stws_http_header(http, name), stws_http_has_token(http, name, token)
       The first header of that name or NULL; 1 when a comma-separated value of the headers of that name is token. Both
       without regard to case.
   stws_handshake_key(random, key), stws_handshake_accept(key, accept)
       Sec-WebSocket-Key from 16 random octets; the Sec-WebSocket-Accept that belongs to a key, into accept.
   stws_handshake_request(buf, cap, handshake, need)
       The request, with Basic authorization if the URL has user:password@ and headers have no Authorization. STWS_OK;
       STWS_ERR_SPACE; STWS_ERR_USAGE when a string holds a control character such as CR or LF, or a header is one of
       the handshake's own.
   stws_handshake_check(answer, key, offered, subprotocol, why)
       Is it an answer to a request with key and these subprotocols offered? STWS_OK, STWS_ERR_HTTP_STATUS, _UPGRADE,
       _SUBPROTOCOL or _EXTENSION; *subprotocol: the chosen one or NULL; *why: a sentence. Both may be NULL.
   stws_handshake_answer(buf, cap, request, supported, need)
       The server's half: a 101 answer with the client's first subprotocol out of supported (a comma list; NULL: none),
       STWS_OK; or, for a request that is no upgrade, a 400 or 426 answer, STWS_ERR_HTTP_UPGRADE; or STWS_ERR_SPACE. */
typedef struct stws_url {
    int secure, port, has_port, is_ipv6;
    const char *host, *target;
    size_t host_len, target_len;
    const char *user_info;
    size_t user_info_len;
} stws_url;
typedef struct stws_http {
    stws_header *headers;
    size_t max_headers, max_bytes;
    int status, minor;
    const char *reason, *method, *target;
    size_t header_count, scanned;
} stws_http;
typedef struct stws_handshake {
    const stws_url *url;
    const char *key, *subprotocols, *origin, *cookie;
    const char *const *headers;
} stws_handshake;
STOMP_WS_API int stws_url_parse(const char *url, stws_url *out, const char **why);
STOMP_WS_API int stws_handshake_parse(char *buf, size_t len, stws_http *http, size_t *used);
STOMP_WS_API const char *stws_http_header(const stws_http *http, const char *name);
STOMP_WS_API int stws_http_has_token(const stws_http *http, const char *name, const char *token);
STOMP_WS_API void stws_handshake_key(const unsigned char random[16], char key[25]);
STOMP_WS_API void stws_handshake_accept(const char *key, char accept[29]);
STOMP_WS_API int stws_handshake_request(char *buf, size_t cap, const stws_handshake *handshake, size_t *need);
STOMP_WS_API int stws_handshake_check(const stws_http *answer, const char *key, const char *offered,
                                      const char **subprotocol, const char **why);
STOMP_WS_API int stws_handshake_answer(char *buf, size_t cap, const stws_http *request, const char *supported,
                                       size_t *need);
/* Duplicates. At least once means that a message may come twice: these remember the last ids, in memory of fixed size.

   stws_dedup_size(count)
       Octets for the last count ids (32 for each), aligned as malloc aligns.
   stws_dedup_init(memory, count)
       A memory of the last count ids; it needs no end.
   stws_dedup_seen(dedup, id)
       1: the id (what the header of options.stable_id says, say) is among the last count; 0: not, and now it is. Either
       way it is the newest of them now. Its cost grows with the logarithm of count, also for ids that a peer has chosen
       to make it grow. NULL is no id: 0. */
typedef struct stws_dedup stws_dedup;
STOMP_WS_API size_t stws_dedup_size(size_t count);
STOMP_WS_API stws_dedup *stws_dedup_init(void *memory, size_t count);
STOMP_WS_API int stws_dedup_seen(stws_dedup *dedup, const char *id);
#ifndef STOMP_WS_NO_IO
/* ==== >>message: what arrives ==== */
/* stws_message     A frame from the server: a MESSAGE, or, as event.message, an ERROR, RECEIPT, CONNECTED or unknown
                    one. Views that hold until the next driving call, or, in a callback, until it returns: its headers
                    destination, message_id, subscription, content_type and ack (which STOMP 1.2's ACK names), NULL if
                    not there; body, which never is (body[body_len] is a NUL; body_is_utf8: 1 if so); handle, of its
                    stws_subscribe (0: nobody's, as with RabbitMQ's /temp-queue), with its ack_on; epoch, the number
                    of the session; client, whose it is; frame, which has everything, all headers in order.
   stws_event       type (STWS_EVENT_NONE: none), and with it:
       CONNECTED     message: the CONNECTED frame
       MESSAGE       message
       RECEIPT       receipt: the number that the sending call returned (0: nobody's); handle: of the subscription that
                     it confirms, whose number no call returned, or 0; result: STWS_OK, STWS_ERR_BROKER,
                     STWS_ERR_TIMEOUT, STWS_ERR_LOST, or what kept the frame from being sent; text: with
                     STWS_ERR_LOST why the session has ended
       ERROR         message: the ERROR frame; result and text: the error and its sentence
       DISCONNECTED  result and text: why; retry_ms: when the next attempt comes; -1: never, the client has ended, with
                     STWS_CLOSED where the program asked for that
       UNHANDLED     message: a frame of a command that nobody knows
       OUTBOX_HIGH, OUTBOX_LOW   the outbox fills: send less; it has emptied: go on (options outbox_high, outbox_low)
       SUBSCRIPTION_REFUSED      handle: a subscription that is set aside, because three sessions in a row have ended
                     right after its SUBSCRIBE; result and text: how the last of these sessions ended
   stws_message_fn, stws_event_fn   Called back with what the options or the subscription have as user.
   stws_trace_fn    Each frame sent ('>') or received ('<'), the HTTP heads too (command "GET /path HTTP/1.1";
                    a request that is larger than rx_buffer: only that line); passcodes, Authorization and cookies
                    read "***". A heart-beat has an empty command. All else is as the peer has sent it: escape it
                    before you print it. It runs in the thread that sends or reads, maybe under the lock: no call of
                    the library from it.
   stws_header_get(message, name)
       The value of the first header of that name, or NULL. Threads: any. Neither allocates nor blocks; linear in the
       number of headers. STOMP 1.2, "Repeated Header Entries".
   stws_message_copy(message), stws_message_free(copy)
       A copy in one block, NULL without memory; and its end (NULL is fine). Threads: any. Allocates, does not block. */
typedef struct stws stws;
typedef struct stws_queue stws_queue;
typedef enum stws_ack_on {
    STWS_ACK_BY_CALL = 0,
    STWS_ACK_ON_HANDOVER = 1,
    STWS_ACK_ON_RETURN = 2
} stws_ack_on;
typedef struct stws_message {
    const char *destination, *message_id, *subscription, *content_type, *ack, *body;
    size_t body_len;
    int body_is_utf8, handle;
    stws_ack_on ack_on;
    unsigned epoch;
    stws *client;
    stws_frame frame;
    int *answered; /* private */
} stws_message;
typedef enum stws_event_type {
    STWS_EVENT_NONE, STWS_EVENT_CONNECTED, STWS_EVENT_MESSAGE, STWS_EVENT_RECEIPT, STWS_EVENT_ERROR,
    STWS_EVENT_DISCONNECTED, STWS_EVENT_UNHANDLED, STWS_EVENT_OUTBOX_HIGH, STWS_EVENT_OUTBOX_LOW,
    STWS_EVENT_SUBSCRIPTION_REFUSED
} stws_event_type;
typedef struct stws_event {
    stws_event_type type;
    stws_result result;
    int receipt, handle;
    long long retry_ms;
    const char *text;
    const stws_message *message;
} stws_event;
typedef void (*stws_message_fn)(stws *client, const stws_message *message, void *user);
typedef void (*stws_event_fn)(stws *client, const stws_event *event, void *user);
typedef enum stws_direction { STWS_SENT = '>', STWS_RECEIVED = '<' } stws_direction;
typedef void (*stws_trace_fn)(stws *client, stws_direction direction, const stws_frame *frame, void *user);
STOMP_WS_API const char *stws_header_get(const stws_message *message, const char *name);
STOMP_WS_API stws_message *stws_message_copy(const stws_message *message);
STOMP_WS_API void stws_message_free(stws_message *copy);
/* ==== >>plug: transport, clock, randomness and memory of your own ==== */
/* stws_transport   A byte stream instead of TCP (a serial line, a test), one for each client; ctx goes to each
                    call, by the driving thread, without a lock, not to block. stws_endpoint: host, port, secure (wss)
       open          begin, or go on: STWS_DONE when it stands, STWS_MORE (asked again when fd is ready), or an error
       read, write   octets moved; 0: none just now; STWS_ERR_EOF at the end of the stream; or an error
       close         also after an open that failed
       fd            what to poll; -1: nothing (then it is asked every 10 ms)
       wants         NULL, or: from STWS_WANT_READ, _WRITE to what is to be polled for; STWS_WANT_NOW: data wait inside
       error         NULL, or: a sentence for what failed last
   stws_clock       now_us: microseconds, monotonic. slept_us: NULL, or: how many of them the machine has slept, which
                    now_us leaves out.
   stws_random      fill: 0, or -1 when there is no randomness, which makes the connection fail.
   stws_allocator   alloc, release: instead of STOMP_WS_MALLOC and STOMP_WS_FREE. */
typedef enum stws_want { STWS_WANT_READ = 1, STWS_WANT_WRITE = 2, STWS_WANT_NOW = 4 } stws_want;
typedef struct stws_endpoint { const char *host; int port, secure; } stws_endpoint;
typedef struct stws_transport {
    void *ctx;
    int (*open)(void *ctx, const stws_endpoint *to);
    long (*read)(void *ctx, char *buf, size_t len);
    long (*write)(void *ctx, const char *buf, size_t len);
    void (*close)(void *ctx);
    int (*fd)(void *ctx);
    int (*wants)(void *ctx, int wants);
    const char *(*error)(void *ctx);
} stws_transport;
typedef struct stws_clock { void *ctx; long long (*now_us)(void *ctx), (*slept_us)(void *ctx); } stws_clock;
typedef struct stws_random { void *ctx; int (*fill)(void *ctx, void *out, size_t len); } stws_random;
typedef struct stws_allocator {
    void *ctx;
    void *(*alloc)(void *ctx, size_t size);
    void (*release)(void *ctx, void *block, size_t size);
} stws_allocator;
/* stws_tls         TLS over the built-in TCP, through a proxy or not: functions without I/O of their own, for
                    options.tls. The client moves the encrypted bytes between them and the socket. The table has to
                    live as long as its clients; each client has a state of its own. The driving thread calls the
                    functions, one at a time and without a lock, and none of them may block. `input`, `output`, `read`
                    and `write` are called only while `state` has their bit.
       size         bytes of state, which lies in the client's block: zero before the first `begin`, wiped at the end
       begin        a handshake begins: STWS_DONE, or an error. What the state keeps of the connection before is up to
                    the table: usually the session that may be resumed
       state        the bits of stws_tls_state; STWS_ERR_EOF when the peer has ended TLS (close_notify), and its
                    data are read; STWS_ERR_TLS_TRUST for a certificate that is not to be trusted; else STWS_ERR_TLS
       input        where encrypted bytes from the socket go, and for how many there is room
       received     that many of them have been put there
       output       encrypted bytes for the socket, and how many. It is asked after an error too: for an alert, or 0
       sent         that many of them have gone
       read         take out decrypted bytes: how many, at least one
       write        put in bytes to be encrypted and sent without delay: how many were taken
       close        make close_notify the next output
       end          NULL, or: the connection is over, also one whose handshake or `begin` failed. Release what it had,
                    but for the session
       destroy      NULL, or: the client is being destroyed, after `end`. Release the rest
       key_hash     SHA-256 of the server's public key (its SubjectPublicKeyInfo, DER), for tls_pin, also where a
                    session was resumed: 1; 0 when it is not known, which no pin allows
       error        the sentence, with a remedy, for what `begin` or `state` returned; *final = 1 when another attempt
                    would not change it (STWS_ERR_TLS_TRUST always is)
   stws_tls_start   What `begin` gets. It is valid until `end`.
       host, port   of the server: its certificate has to name that host, or that address if it is numeric
       resume       1: the last handshake that was done was with this host and port, so its session may be resumed.
                    0: no session may be
       options      the tls_* of these are for the table to heed, but for tls_pin, which the client checks
       random       the client's randomness; without any, `begin` fails
   stws_tls_state  HAS_OUTPUT: `output` has bytes. TAKES_INPUT: `input` has room. HAS_DATA: `read` has bytes.
                    TAKES_DATA: the handshake is done, no output waits, and `write` takes bytes
   stws_bearssl()
       TLS 1.2 by BearSSL, which allocates nothing: the default of options.tls. NULL when the implementation is compiled
       without STOMP_WS_BEARSSL. Threads: any. Does not allocate or block.
   stws_tls_alert_text(alert)
       For a table's `error`: what a TLS alert of the server's (RFC 8446, section 6) means, with a remedy; NULL for an
       alert that another attempt may not meet. Threads: any. Does not allocate or block. */
typedef enum stws_tls_state {
    STWS_TLS_HAS_OUTPUT = 1,
    STWS_TLS_TAKES_INPUT = 2,
    STWS_TLS_TAKES_DATA = 4,
    STWS_TLS_HAS_DATA = 8
} stws_tls_state;
typedef struct stws_tls_start {
    const char *host;
    int port, resume;
    const struct stws_options *options;
    const struct stws_random *random;
} stws_tls_start;
typedef struct stws_tls {
    size_t size;
    int (*begin)(void *tls, const stws_tls_start *start);
    int (*state)(void *tls);
    char *(*input)(void *tls, size_t *room);
    void (*received)(void *tls, size_t len);
    const char *(*output)(void *tls, size_t *len);
    void (*sent)(void *tls, size_t len);
    size_t (*read)(void *tls, char *buf, size_t len);
    size_t (*write)(void *tls, const char *buf, size_t len);
    void (*close)(void *tls);
    void (*end)(void *tls);
    void (*destroy)(void *tls);
    int (*key_hash)(void *tls, unsigned char sha256[32]);
    const char *(*error)(void *tls, int *final);
} stws_tls;
STOMP_WS_API const stws_tls *stws_bearssl(void);
STOMP_WS_API const char *stws_tls_alert_text(int alert);
/* ==== >>client: options and life ==== */
/* stws_options: 0 means the default, STWS_OFF switches off a time. Times are milliseconds (_ms), sizes are bytes. Every
   number has a range, and one outside of it is refused with a sentence that names the option and its range. Lists of
   headers are flat: name, value, name, value, ..., NULL. All strings are copied.

   url                   ws://[user:password@]host[:port]/path; Spring with SockJS: it ends in /websocket. user and
                         password are sent as HTTP Basic authorization with the upgrade, not in CONNECT; special
                         characters in them are written %XX; an Authorization header in http_headers wins
   urls                  or several, NULL at the end, tried in turn; shuffle_urls: begin anywhere
   addresses             numeric addresses instead of asking DNS, NULL at the end
   proxy                 http://[user:password@]host:port, which is asked to CONNECT, or the same with socks5://; or
                         STWS_PROXY_FROM_ENVIRONMENT; none. See "Proxies" above
   login, passcode       for CONNECT
   host, client_id       CONNECT's host, the vhost, "/"; and its client-id, which durable subscriptions need; none
   broker                STWS_BROKER_*: who the server is, whatever it says itself
   connect_headers       more headers for CONNECT
   http_headers          more headers for the HTTP upgrade: not the same thing
   origin, cookie        for the HTTP upgrade; none
   keep_cookies          1: cookies of an answer to the upgrade are sent with the next upgrade to the same host, on any
                         port, so that a load balancer finds the same server. Path and Secure are heeded. 2,048 bytes in
                         all are kept. A cookie that has expired when it comes is not kept; later
                         its end is not looked at
   follow_redirects      1: an HTTP redirect of the upgrade to the same host, on any port, is followed, at most three in
                         a row. Authorization and cookies go along. ws to wss is followed, wss to ws is not. The next
                         attempt begins at the first URL again
   subprotocols          offered; "v12.stomp, v11.stomp, v10.stomp", as versions allow
   versions              STWS_STOMP_12 | ...; all three
   heartbeat_out_ms, heartbeat_in_ms        offered to the server, wanted from it; 10,000 each
   heartbeat_grace       percent of its interval that the server may be silent; 300
   ping_ms               how often WebSocket PINGs are sent if one of the two heart-beats is not agreed: see
                         "Heart-beats" above; STWS_OFF: never; 20,000
   connect_timeout_ms    TCP, again the proxy, again TLS; 10,000
   handshake_timeout_ms  the upgrade's answer; 10,000
   connected_timeout_ms  CONNECTED; 10,000          receipt_timeout_ms    15,000
   close_timeout_ms      an ending, and the wait for it after an ERROR; 2,000
   write_timeout_ms      output of which the server takes nothing; 30,000
   reconnect             STWS_OFF: the first failure is final
   reconnect_min_ms      the delay before the second attempt, without jitter; 1,000. By default the jitter takes off a
                         random part of it, so the client waits for 0 to reconnect_min_ms. For a true minimum set a
                         positive reconnect_jitter
   reconnect_max_ms      the cap of the delays, without jitter; 30,000
   reconnect_factor      percent from one to the next; 200
   reconnect_jitter      percent of the delay added at most, or, below -1, taken off; STWS_OFF: none; -100 (full jitter)
   reconnect_attempts    in a row, after a first failure; no limit
   give_up               which refusals end the client, an stws_give_up. By default every refusal does before the
                         first session. Later only refused credentials do: HTTP 401, 403 or 407, or an ERROR whose words
                         name login, passcode or access. If before_connect is set, these do not end it either
   stable_ms             a session that lived so long resets the delay; 5,000
   max_session_ms        a session that is older is left for a new one, up to a tenth earlier by chance; no limit
   max_body, max_line, max_headers          of a frame; 16 MiB (or what the buffer holds, without a heap), 65,536, 128
   max_ws_message        cut frames into WebSocket messages of that size, at least 4 bytes, and never inside a character
                         of UTF-8; 0: as the server needs it; STWS_WHOLE: never
   rx_buffer, tx_buffer  69,632 and 131,072; both grow for larger frames where there is a heap
   outbox_bytes, outbox_count               what waits without a connection, or for its receipt; 1 MiB, any number
   outbox_high, outbox_low                  bytes waiting there at which STWS_EVENT_OUTBOX_HIGH is told, and
                         at which, after that, _LOW; none, and half of high. low has to be below high
   outbox_policy         when it is full: STWS_FULL_FAIL, _DROP_OLDEST, _BLOCK (not the driving thread); fail
   outbox_block_ms       STWS_FULL_BLOCK waits so long; 10,000
   stable_id             a header that every SEND gets, with an id that stays when it goes again: for stws_dedup; none
   confirm               1: every SEND asks for a receipt, is kept until it comes, and sent again after a reconnect;
                         STWS_EVENT_RECEIPT still tells only of sends with a receipt of their own
   max_subscriptions     256; subscription_bytes: for the destination, id and headers of each; 256
   max_receipts          waited for at a time; 256
   utf8                  STWS_UTF8_LENIENT: text that is not UTF-8 is delivered and marked (RabbitMQ sends binary bodies
                         so); STWS_UTF8_STRICT: closed with 1007, as RFC 6455 asks
   binary                1: every SEND goes out as a binary WebSocket message
   single_thread         1: every call comes from one thread; no lock, no wake descriptor
   on_message            for subscriptions without a callback of their own
   on_event              for everything else
   on_trace              for every frame
   before_connect        called before each attempt. It may change the stws_attempt; strings that it sets have to live
                         until its next call. It returns 0: connect; > 0: call again in so many ms; < 0: end the client.
                         last_error and last_status tell why the attempt before failed: a refused CONNECT has
                         STWS_ERR_LOGIN and 101, a refused upgrade STWS_ERR_HTTP_STATUS and the status
   before_subscribe      the same before each SUBSCRIBE (stws_subscribing, a handle); headers, if set, replace its own.
                         < 0: not in this session
   user                  handed to these callbacks
   queue                 messages go there instead, but for those of a subscription with a callback of its own, and one
                         that is larger than the queue, which goes to on_message, or is an event of stws_next
   tls                   the TLS library for wss://, by its table (>>plug), which has to live as long as the client:
                         stws_bearssl(), or stws_openssl() of examples/stomp_ws_openssl.h; BearSSL if compiled in
   tls_ca_file, tls_ca_pem                  whom wss:// trusts: a file, or text, of PEM; the system's CAs, or those of
                         SSL_CERT_FILE and SSL_CERT_DIR, see "Caveats" above
   tls_cert_file, tls_key_file              the client's certificate with its chain, and RSA or EC key, in PEM; none
   tls_pin               SHA-256 of the server's public key (SPKI), hex or base64, or several with anything between
                         them: one more check, also where a session is resumed
   tls_insecure_no_verify                   1: anybody may be the server, but for tls_pin. For tests only
   transport, clock, random, allocator      of your own; see >>plug
   stws_options_default()
       The options, all at their defaults: for C++, which has no designated initialisers before C++20.
       Threads: any. Does not allocate or block.
   stws_size(options)
       Octets that stws_init needs for them; 0 when they are wrong. Threads: any. Does not allocate or block.
   stws_init(memory, size, options, client, why)
       A client in memory of yours, aligned as malloc aligns, that never allocates. STWS_OK and *client; STWS_ERR_MEMORY
       when size is too small; STWS_ERR_USAGE, STWS_ERR_URL, STWS_ERR_IO (no descriptor left), and in *why (may be NULL)
       a sentence. Threads: any. Does not allocate or block.
   stws_create(options)
       The same in one block from the allocator. NULL only without memory: with wrong options there is a client too, and
       its first driving call returns the error. Threads: any. Allocates, does not block.
   stws_destroy(client)
       Discards what was not sent; call stws_close first. Closes at once, wipes secrets, releases the memory. NULL is
       fine. It stops and joins the thread of stws_start; in a callback, and beside another thread that drives, it does
       nothing. Threads: any, when no other uses the client any more. Does not allocate, and blocks only to join. No
       callback comes after it.
   stws_stop(client)
       End: what waits is written as far as it goes at once, then DISCONNECT and close. stws_run returns 0, stws_next
       STWS_CLOSED. Threads: any, callbacks, signal handlers. Does not allocate or block.
   stws_disconnect(client, timeout_ms)
       End gracefully: send what waits, DISCONNECT with a receipt, wait for it, close 1000, all within timeout_ms (-1:
       close_timeout_ms). It only asks: drive on until the end. The message in hand is acknowledged first, if the
       library is to do that. DISCONNECT goes when nothing waits to be sent any more. Messages that come after it are
       handed over; they cannot be acknowledged (STWS_ERR_STALE), and the server gives them to somebody again. Where
       the connection breaks, the client connects again and goes on; what it cannot send, or what is not confirmed in
       time, makes the end STWS_ERR_LOST, with a sentence. STWS_OK, or STWS_ERR_MEMORY of NULL. Threads: any. Does not
       allocate or block. STOMP 1.2, "DISCONNECT".
   stws_close(client, timeout_ms)
       stws_disconnect with that timeout_ms, and drive until the end: 0 when nothing was lost, STWS_ERR_LOST, or the
       error that the client has ended with; STWS_ERR_STATE in a callback. While another thread drives, or
       looks at an event of stws_next, it waits for that thread. NULL: STWS_ERR_MEMORY. Threads: any, outside callbacks.
       Does not allocate; blocks. STOMP 1.2, "DISCONNECT".
   stws_reconnect_now(client)
       Leave the connection for a new one, once what was accepted is written (close_timeout_ms at most): STWS_OK; NULL:
       STWS_ERR_MEMORY. Threads: any. Does not allocate or block. */
typedef struct stws_attempt {
    int number; /* 1 for the first since the last stable session */
    const char *url, *login, *passcode;
    const char *const *connect_headers, *const *http_headers;
    stws_result last_error;  /* why the last attempt failed or the last session ended: a result; STWS_OK: there was none */
    int last_status; /* the HTTP status that the last attempt got: 101 if the upgrade succeeded, 0 without an answer */
} stws_attempt;
typedef struct stws_subscribing {
    int handle;
    const char *destination;
    const char *const *headers;
} stws_subscribing;
typedef int (*stws_before_connect_fn)(stws *client, stws_attempt *attempt, void *user);
typedef int (*stws_before_subscribe_fn)(stws *client, stws_subscribing *subscribing, void *user);
typedef enum stws_utf8_check { STWS_UTF8_LENIENT = 0, STWS_UTF8_STRICT = 1 } stws_utf8_check;
typedef enum stws_outbox_policy { STWS_FULL_FAIL = 0, STWS_FULL_DROP_OLDEST = 1, STWS_FULL_BLOCK = 2 } stws_outbox_policy;
typedef enum stws_give_up {
    STWS_GIVE_UP_DEFAULT = 0, /* a refusal before the first session; later only refused credentials, see above */
    STWS_GIVE_UP_SOON = 1,    /* every refusal, also after a session */
    STWS_GIVE_UP_NEVER = 2    /* no refusal */
} stws_give_up;
#define STWS_WHOLE ((size_t)-1)
#define STWS_PROXY_FROM_ENVIRONMENT "environment"
typedef enum stws_broker_kind {
    STWS_BROKER_UNKNOWN, STWS_BROKER_SPRING, STWS_BROKER_RABBITMQ, STWS_BROKER_ACTIVEMQ, STWS_BROKER_ARTEMIS
} stws_broker_kind;
typedef struct stws_options {
    const char *url;
    const char *const *urls, *const *addresses;
    const char *proxy, *login, *passcode, *host, *client_id;
    const char *const *connect_headers, *const *http_headers;
    const char *origin, *cookie, *subprotocols, *stable_id;
    int keep_cookies, follow_redirects;
    int versions;
    int heartbeat_out_ms, heartbeat_in_ms, heartbeat_grace, ping_ms;
    int connect_timeout_ms, handshake_timeout_ms, connected_timeout_ms;
    int receipt_timeout_ms, close_timeout_ms, write_timeout_ms;
    int reconnect, reconnect_min_ms, reconnect_max_ms, reconnect_factor, reconnect_jitter, reconnect_attempts;
    stws_give_up give_up;
    int stable_ms, max_session_ms, shuffle_urls;
    size_t max_body, max_line, max_headers, max_ws_message;
    size_t rx_buffer, tx_buffer, outbox_bytes, outbox_count, outbox_high, outbox_low;
    stws_outbox_policy outbox_policy;
    int outbox_block_ms, confirm;
    int max_subscriptions, max_receipts;
    size_t subscription_bytes;
    stws_utf8_check utf8;
    int binary, single_thread;
    stws_broker_kind broker;
    stws_message_fn on_message;
    stws_event_fn on_event;
    stws_trace_fn on_trace;
    stws_before_connect_fn before_connect;
    stws_before_subscribe_fn before_subscribe;
    void *user;
    stws_queue *queue;
    const char *tls_ca_file, *tls_ca_pem, *tls_cert_file, *tls_key_file, *tls_pin;
    int tls_insecure_no_verify;
    const stws_tls *tls;
    const stws_transport *transport;
    const stws_clock *clock;
    const stws_random *random;
    const stws_allocator *allocator;
} stws_options;
STOMP_WS_API stws_options stws_options_default(void);
STOMP_WS_API size_t stws_size(const stws_options *options);
STOMP_WS_API int stws_init(void *memory, size_t size, const stws_options *options, stws **client, const char **why);
STOMP_WS_API stws *stws_create(const stws_options *options);
STOMP_WS_API void stws_destroy(stws *client);
STOMP_WS_API void stws_stop(stws *client);
STOMP_WS_API int stws_disconnect(stws *client, int timeout_ms);
STOMP_WS_API int stws_close(stws *client, int timeout_ms);
STOMP_WS_API int stws_reconnect_now(stws *client);
/* ==== >>drive: three ways to make it run ==== */
/* Threads: one at a time drives a client. A driving call beside another thread's, or in a callback of the client, is
   refused: STWS_ERR_STATE. stws_connect and stws_flush wait beside a thread that drives; when none does they drive
   themselves, calling back, and a flush gives way to a thread that comes to drive. None of these allocates, but for
   buffers of frames larger than they are; the resolver may allocate, and blocks. timeout_ms -1 is no limit, 0 does not
   block.

   stws_next(client, event, timeout_ms)
       The core: connect when there is no connection, and return the next event. 1: *event, whose views hold until the
       next driving call. 0: none came in time. STWS_CLOSED: the end that was asked for; another error: the client has
       ended for good, and stws_error_text says why. Subscriptions with a callback are called back and make no event;
       the callbacks of the options are not called. One call gives one event: in an event loop of your own call it until
       it returns 0.
   stws_run(client)
       Call back until the end: 0 after stws_stop or stws_disconnect (STWS_ERR_LOST when that lost something), else the
       final error. Blocks.
   stws_run_many(clients, count, timeout_ms)
       The same for several, until all have ended: 0, or STWS_ERR_TIMEOUT; STWS_ERR_USAGE when clients is NULL. None of
       them may be destroyed before it returns. A turn costs O(count) and a wait covers 64 clients at once: for
       thousands use an event loop and the calls below.
   stws_connect(client, timeout_ms)
       Wait for CONNECTED, calling back: 0, STWS_ERR_TIMEOUT, or the error. Not needed: every driving call connects.
   stws_start(client), stws_join(client)
       stws_run in a thread of its own: 0, STWS_ERR_STATE (single_thread, or running), STWS_ERR_MEMORY; and what it
       returned, 0 or the final error.
   stws_fds(client, out, cap)
       Into out[cap] each fd to wait for, with what it wants, 3 stws_fd at most: how many. Ask again after each step.
       STWS_ERR_USAGE when out is NULL, STWS_ERR_STATE as above. A client that is NULL has none.
   stws_deadline(client)
       Milliseconds after which stws_step has to come even if none is ready; 0: at once; -1: whenever;
       STWS_ERR_STATE as above. For a client that is NULL 0: stws_step then says why.
   stws_step(client)
       Do what can be done without blocking, calling back: 0; at the end STWS_CLOSED or the error.
   stws_flush(client, timeout_ms)
       Write what waits: 0 when all is out and, with confirm, confirmed; STWS_ERR_TIMEOUT, STWS_ERR_FULL,
       STWS_ERR_MEMORY when client is NULL, or an error. While another thread drives it waits. Otherwise it drives,
       calling back. Events without a callback are kept for stws_next: as many as fit into rx_buffer bytes, and when one
       more comes the call ends with STWS_ERR_FULL (CONNECTED and DISCONNECTED are not kept). It may end the life of the
       event that stws_next gave last: stws_ack of that one is STWS_ERR_STALE then. In a callback it writes and reads
       nothing: STWS_ERR_STATE when writing is not enough, as with confirm. */
typedef struct stws_fd { int fd, wants; } stws_fd;
STOMP_WS_API int stws_next(stws *client, stws_event *event, int timeout_ms);
STOMP_WS_API int stws_run(stws *client);
STOMP_WS_API int stws_run_many(stws *const *clients, int count, int timeout_ms);
STOMP_WS_API int stws_connect(stws *client, int timeout_ms);
STOMP_WS_API int stws_start(stws *client);
STOMP_WS_API int stws_join(stws *client);
STOMP_WS_API int stws_fds(stws *client, stws_fd *out, int cap);
STOMP_WS_API long long stws_deadline(stws *client);
STOMP_WS_API int stws_step(stws *client);
STOMP_WS_API int stws_flush(stws *client, int timeout_ms);
/* ==== >>talk: subscribe, send, acknowledge ==== */
/* Threads: any, callbacks too, in every state. They allocate only to let tx_buffer grow for a larger frame, and block
   only with STWS_FULL_BLOCK (and stws_request). All may return STWS_ERR_USAGE, STWS_ERR_LIMIT (an option's),
   STWS_ERR_FULL (outbox_policy), STWS_ERR_FRAME_BUILD (no STOMP version can say it), STWS_ERR_MEMORY, STWS_CLOSED, and
   STWS_ERR_STATE after stws_disconnect.

   stws_subscribe_options  id: on the wire, else one of ours; ack: "auto" (also NULL), "client", "client-individual";
                      ack_on: STWS_ACK_BY_CALL, or when the library acknowledges (ack NULL is "client-individual"
                      then): STWS_ACK_ON_HANDOVER, once the queue or you have the message, STWS_ACK_ON_RETURN, when you
                      are done with it: the callback returns, the next driving call or stws_queue_pop comes; not when
                      you said stws_ack or stws_nack yourself. With prefetch that is credit: a broker sends no more than
                      you get done;
                      headers: more of them; receipt: 1: an event when the server has confirmed it; on_message with its
                      user: instead of the options' callback. Said as each broker has it, unless headers do: prefetch:
                      how many messages it may send ahead of their ACKs (Artemis counts octets: 1,024 for each);
                      durable: the name under which a topic's messages are kept while nobody is here, and the id where
                      there is none (set client_id too; Spring's simple broker keeps nothing).
   stws_outgoing      A message: body of body_len octets; content_type (NULL: none, and for a body that is not UTF-8
                      application/octet-stream), headers, transaction may be NULL; receipt: 1: an
                      event tells how it ended; content_length: 1: leave that out; STWS_CONTENT_LENGTH_JMS_TEXT: only where the
                      broker takes that for text (ActiveMQ and Artemis make a TextMessage of it).
   stws_subscribe(client, destination, options)
       A handle > 0 for a destination, good across reconnects: so subscribe once, not at each CONNECTED. options may be
       NULL. STOMP 1.2, "SUBSCRIBE".
   stws_unsubscribe(client, handle)
       End a handle: 0. Messages may still come, and match no subscription; a durable one is forgotten. While a message
       of it is in hand that the library is to acknowledge, UNSUBSCRIBE follows that ACK (but does not wait for one that
       a thread has popped from a queue), and the id is free after it.
       STOMP 1.2, "UNSUBSCRIBE".
   stws_send(client, destination, body, body_len), stws_send_text(client, destination, text), stws_send_ex(client,
   message)
       Copy a body for destination to output or outbox: 0, or the receipt's number (> 0). A body or text that is NULL is
       empty. With STWS_FULL_BLOCK it also waits for one of max_receipts. STOMP 1.2, "SEND".
   stws_ack(client, message), stws_nack(client, message), stws_ack_in(client, message, transaction), stws_nack_in(...)
       As the version says it: id, or message-id and subscription. STWS_ERR_STALE when the message came in an earlier
       session, or when DISCONNECT has been sent: nothing is sent, and the server gives the message to somebody again.
       STWS_ERR_FRAME_BUILD for NACK in STOMP 1.0. STOMP 1.2, "ACK", "NACK".
   stws_begin(client, transaction), stws_commit(...), stws_abort(...)
       A transaction of that name, for stws_outgoing.transaction and stws_ack_in: 0, or STWS_ERR_STALE after an ACK of
       another session. STOMP 1.2, "BEGIN", "COMMIT", "ABORT".
   stws_request(client, message, reply, timeout_ms)
       Send with a reply-to and a correlation-id of its own, and wait for the answer: 0 and *reply, to be freed with
       stws_message_free; STWS_ERR_TIMEOUT after timeout_ms, STWS_ERR_BROKER, or an error. The reply is its only
       confirmation: also with confirm the message asks for no receipt, and once sent it is not sent again. Drives,
       calling back; events without a callback are kept for stws_next, as stws_flush does. */
typedef enum stws_ack_mode {
    STWS_ACK_DEFAULT = 0,
    STWS_ACK_AUTO = 1,
    STWS_ACK_CLIENT = 2,
    STWS_ACK_CLIENT_INDIVIDUAL = 3
} stws_ack_mode;
typedef struct stws_subscribe_options {
    const char *id, *durable;
    const char *const *headers;
    stws_ack_mode ack;
    stws_ack_on ack_on;
    int receipt, prefetch;
    stws_message_fn on_message;
    void *user;
} stws_subscribe_options;
typedef struct stws_outgoing {
    const char *destination, *body;
    size_t body_len;
    const char *content_type, *transaction;
    const char *const *headers;
    int receipt;
    stws_content_length content_length;
} stws_outgoing;
STOMP_WS_API int stws_subscribe(stws *client, const char *destination, const stws_subscribe_options *options);
STOMP_WS_API int stws_unsubscribe(stws *client, int handle);
STOMP_WS_API int stws_send(stws *client, const char *destination, const void *body, size_t body_len);
STOMP_WS_API int stws_send_text(stws *client, const char *destination, const char *text);
STOMP_WS_API int stws_send_ex(stws *client, const stws_outgoing *message);
STOMP_WS_API int stws_ack(stws *client, const stws_message *message);
STOMP_WS_API int stws_nack(stws *client, const stws_message *message);
STOMP_WS_API int stws_ack_in(stws *client, const stws_message *message, const char *transaction);
STOMP_WS_API int stws_nack_in(stws *client, const stws_message *message, const char *transaction);
STOMP_WS_API int stws_begin(stws *client, const char *transaction);
STOMP_WS_API int stws_commit(stws *client, const char *transaction);
STOMP_WS_API int stws_abort(stws *client, const char *transaction);
STOMP_WS_API int stws_request(stws *client, const stws_outgoing *message, stws_message **reply, int timeout_ms);
/* ==== >>look: state, errors, numbers ==== */
/* Threads: any. The text of stws_error_text holds until the thread's next call; in the thread that drives, until its
   next driving call. None allocates or blocks. No text is NULL. A client that is NULL (no memory) has STWS_ERR_MEMORY.
   stws_state(client), stws_state_name(state)  An stws_connection_state, and a word for a state.
   stws_broker(client)       Who the server is, by options.broker or CONNECTED: an stws_broker_kind.
   stws_version(client)      The version negotiated, STWS_STOMP_*.
   stws_error(client)        The last error; 0 again once connected.
   stws_error_text(client)   A sentence: why this thread's last call was refused; if it was not, what the last error
                             was, or "". While another thread drives, this one gets the text of the error's code.
   stws_upgrade_header(client, name)
                             A header of the last answer to an upgrade, or NULL; the case of name does not matter. It
                             is meant for before_connect and CONNECTED, and holds until the next answer. The first
                             rx_buffer / 16 bytes of the headers are kept, 4,096 at most. Threads: the one that drives,
                             and its callbacks.
   stws_http_status(client)  Of the last upgrade's answer; stws_close_code(client): of the server's last close frame; or
                             0.
   stws_user(client)         The user of the options.
   stws_stats(client, out)   Numbers since the beginning, an stws_statistics:
       bytes_in, bytes_out, reads, writes       octets on the transport, and the calls that moved them
       frames_in, frames_out, messages_in, messages_out, heartbeats_in, heartbeats_out       STOMP
       sessions, reconnects
       invalid_utf8             text messages that were none
       stale_acks               ACKs that were not sent, see stws_ack
       unknown_subscription     messages that match no subscription
       matched_by_destination   messages that name no subscription, given to that of their destination
       dropped                  sends that outbox_policy took, or that a session could not say
       late_loops               turns that came too late for a heart-beat
       rtt_us                   microseconds from the last SEND with a receipt to that; -1: none yet
       heartbeat_slack_ms       the least that was left of the server's grace; -1: none yet
       pings_out, pongs_in      WebSocket PINGs of ours, see options.ping_ms, and the answers to them */
typedef enum stws_connection_state {
    STWS_IDLE, STWS_RESOLVING, STWS_CONNECTING, STWS_TLS, STWS_UPGRADING, STWS_LOGGING_IN, STWS_CONNECTED, STWS_CLOSING,
    STWS_BACKOFF, STWS_ENDED
} stws_connection_state;
typedef struct stws_statistics {
    unsigned long long bytes_in, bytes_out, reads, writes;
    unsigned long long frames_in, frames_out, messages_in, messages_out, heartbeats_in, heartbeats_out;
    unsigned long long sessions, reconnects, invalid_utf8, stale_acks, unknown_subscription, dropped, late_loops;
    long long rtt_us, heartbeat_slack_ms;
    unsigned long long matched_by_destination, pings_out, pongs_in;
} stws_statistics;
STOMP_WS_API stws_connection_state stws_state(const stws *client);
STOMP_WS_API const char *stws_state_name(stws_connection_state state);
STOMP_WS_API stws_broker_kind stws_broker(const stws *client);
STOMP_WS_API stws_stomp_version stws_version(const stws *client);
STOMP_WS_API int stws_error(const stws *client);
STOMP_WS_API const char *stws_error_text(const stws *client);
STOMP_WS_API int stws_http_status(const stws *client);
STOMP_WS_API const char *stws_upgrade_header(const stws *client, const char *name);
STOMP_WS_API int stws_close_code(const stws *client);
STOMP_WS_API void *stws_user(const stws *client);
STOMP_WS_API void stws_stats(stws *client, stws_statistics *out);
/* ==== >>inbox: one queue over many clients ==== */
/* A bounded queue of messages: clients put in (options.queue), whoever likes takes out. While it is full they read
   nothing. Threads: any; create and destroy come before and after the clients. Only create allocates, only pop blocks.
   stws_queue_create(capacity)
       A queue for capacity bytes (1 to 2147483647, or 0: 65,536) in one block of memory; NULL without memory, and for
       a larger capacity.
   stws_queue_pop(queue, message, timeout_ms)
       1 and *message; 0 after timeout_ms (-1: no limit); STWS_CLOSED once the queue is empty and either closed, or
       every client that it was given to has ended or is destroyed (a client that is created later opens it again);
       STWS_ERR_MEMORY when queue is NULL, STWS_ERR_USAGE when message is. *message on entry is the one taken before,
       which this call gives back, or NULL: so set a variable to NULL once, and loop. Each thread has its own variable.
       Giving back acknowledges, if ack_on says so. While there is no room for that ACK, the message stays, and the call
       returns 0 after timeout_ms, in the driving thread at once. message->client is the client, for stws_ack, or NULL
       when that was destroyed.
   stws_queue_close(queue)
       Nothing more goes in, and all who wait wake up.
   stws_queue_destroy(queue)
       Destroy the clients first. NULL is fine. */
STOMP_WS_API stws_queue *stws_queue_create(size_t capacity);
STOMP_WS_API int stws_queue_pop(stws_queue *queue, const stws_message **message, int timeout_ms);
STOMP_WS_API void stws_queue_close(stws_queue *queue);
STOMP_WS_API void stws_queue_destroy(stws_queue *queue);
#endif /* STOMP_WS_NO_IO */
#ifdef __cplusplus
}
#endif
#endif /* STOMP_WS_H */

#ifdef STOMP_WS_IMPLEMENTATION
#ifndef STOMP_WS_IMPLEMENTED
#define STOMP_WS_IMPLEMENTED

/* ==== >>includes: what the implementation needs of the system ==== */
#include <stdint.h>
#include <string.h>

#ifndef STOMP_WS_NO_IO
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>
#if defined(__linux__)
#include <sys/ioctl.h>
#include <sys/random.h>
#endif
#if !defined(AI_PASSIVE) || !defined(CLOCK_MONOTONIC)
#error                                                                                             \
    "stomp_ws.h: a system header came before it under -std=cNN: include it first, or use -D_POSIX_C_SOURCE=200809L"
#endif
#ifndef STOMP_WS_NO_THREADS
#include <pthread.h>
#endif
#ifdef STOMP_WS_BEARSSL
#include <bearssl.h>
#include <dirent.h>
#endif
#ifndef STOMP_WS_TLS
#define STOMP_WS_TLS stws_bearssl()
#endif
#ifndef STOMP_WS_MALLOC
#define STOMP_WS_MALLOC(size) malloc(size)
#define STOMP_WS_FREE(block) free(block)
#endif
#endif /* STOMP_WS_NO_IO */

#if !defined(STOMP_WS_NO_SIMD) && defined(__SSE2__)
#include <emmintrin.h>
#define STWS_P_SSE2 1
#else
#define STWS_P_SSE2 0
#endif
/* SSSE3 and AVX2 are chosen at run time, by what compilers link to hosted programs. Of
   vectors of so many bits: bytes looked up in one of the rows of >>utf8, and whether any
   has its top bit set. */
#if STWS_P_SSE2 && __STDC_HOSTED__ && (defined(__clang__) || (defined(__GNUC__) && __GNUC__ > 4))
#define STWS_P_AVX2
#define STWS_P_LOOK_UP(bits, row, at)                                                              \
    ((stws_p_v##bits)__builtin_ia32_pshufb##bits(*STWS_P_AT(char##bits, stws_p_utf8_rows[row]),    \
                                                 (stws_p_char##bits)(at)))
#define STWS_P_TOPS(bits, v) __builtin_ia32_pmovmskb##bits((stws_p_char##bits)(v))
#elif !defined(STOMP_WS_NO_SIMD) && defined(__aarch64__) && defined(__ARM_NEON) &&                 \
    !defined(__ARM_BIG_ENDIAN)
#include <arm_neon.h>
#define STWS_P_LOOK_UP(bits, row, at)                                                              \
    ((stws_p_v##bits)vqtbl1q_u8(vld1q_u8(stws_p_utf8_rows[row]), (uint8x16_t)(at)))
#define STWS_P_TOPS(bits, v) (vmaxvq_u8((uint8x16_t)(v)) > 0x7F)
#endif

#ifdef STOMP_WS_ASSERT
#define STWS_P_ASSERTS 1
#else /* compiled, and never evaluated */
#define STWS_P_ASSERTS 0
#define STOMP_WS_ASSERT(condition) ((void)(0 && (condition)))
#endif

/* ==== >>util: small things that every section below uses ==== */
#define STWS_P_RESULT_NUMBER(name, number, sentence) number,
#define STWS_P_RESULT_NAME(name, number, sentence) #name "\0"
#define STWS_P_RESULT_TEXT(name, number, sentence) sentence "\0"

/* Out of the strings of all results, which stand one behind the other, that of one; the last
   is for what is none. */
static const char *stws_p_result_in(const char *strings, int result) {
    static const signed char numbers[] = {STWS_RESULTS(STWS_P_RESULT_NUMBER) 0};
    size_t i;
    for (i = 0; i + 1 < sizeof numbers && numbers[i] != result; i++) strings += strlen(strings) + 1;
    return strings;
}

STOMP_WS_API const char *stws_result_text(int result) {
    return stws_p_result_in(STWS_RESULTS(STWS_P_RESULT_TEXT) "an unknown result", result);
}

STOMP_WS_API const char *stws_result_name(int result) {
    return stws_p_result_in(STWS_RESULTS(STWS_P_RESULT_NAME) "STWS_UNKNOWN", result);
}

/* strlen is 0 for no string at all, so that an absent option needs no special case. */
static size_t stws_p_strlen(const char *s) { return s ? strlen(s) : 0; }

static const char *stws_p_or(const char *s, const char *otherwise) { return s ? s : otherwise; }

static char stws_p_lower(char c) { return c >= 'A' && c <= 'Z' ? (char)(c + 32) : c; }

static int stws_p_equal(const char *a, size_t a_len, const char *b, size_t b_len) {
    return a_len == b_len && (a_len == 0 || memcmp(a, b, a_len) == 0);
}

static int stws_p_equal_nocase(const char *a, size_t a_len, const char *b, size_t b_len) {
    size_t i;
    if (a_len != b_len) return 0;
    for (i = 0; i < a_len; i++)
        if (stws_p_lower(a[i]) != stws_p_lower(b[i])) return 0;
    return 1;
}

static int stws_p_is_blank(char c) { return c == ' ' || c == '\t'; }

static int stws_p_is_alphanumeric(char c) {
    return (c >= '0' && c <= '9') || (stws_p_lower(c) >= 'a' && stws_p_lower(c) <= 'z');
}

/* Take blanks off both ends of a span (HTTP's OWS; STOMP 1.0's padding; numbers in STOMP
   headers). */
static void stws_p_trim(const char **s, size_t *len) {
    while (*len > 0 && stws_p_is_blank(**s)) ++*s, --*len;
    while (*len > 0 && stws_p_is_blank((*s)[*len - 1])) --*len;
}

/* Where a wrong guess of the compiler's costs two jumps for each header (33 instructions a
   message), and where what is rare would take registers from what is not (20), or room on
   the stack for its large locals. */
#if defined(__GNUC__) || defined(__clang__)
#define STWS_P_LIKELY(condition) __builtin_expect((condition) != 0, 1)
#define STWS_P_APART __attribute__((noinline))
#else
#define STWS_P_LIKELY(condition) ((condition) != 0)
#define STWS_P_APART
#endif

/* A decimal number without sign: 1 and *value; 0 when it is none; -1 when it is over limit,
   however many digits. */
static int stws_p_number(const char *s, size_t len, size_t limit, size_t *value) {
    const char *end = s + len;
    /* all values but the last, or'ed: as long as these are small, nothing wraps */
    size_t n = 0, before_last = 0;
    if (len == 0) return 0;
    for (; s < end; s++) {
        size_t digit = (size_t)(unsigned char)*s - '0'; /* what is below '0' goes round */
        if (digit > 9) return 0;
        before_last |= n;
        n = n * 10 + digit;
    }
    *value = n;
    return before_last > SIZE_MAX / 16 || n > limit ? -1 : 1;
}

/* Decimal digits of n into out (20 bytes are enough for 64 bits); returns how many. */
static size_t stws_p_digits(unsigned long long n, char out[20]) {
    unsigned long long left = n;
    size_t len = 1, i;
    while (left >= 10) left /= 10, len++;
    for (i = len; i-- > 0; n /= 10) out[i] = (char)('0' + n % 10);
    return len;
}

/* A writer that counts on when the room ends, so that one pass can both measure and write. */
typedef struct stws_p_out {
    char *at;
    size_t room;
    size_t need;
} stws_p_out;

static void stws_p_put(stws_p_out *out, const char *data, size_t len) {
    out->need += len;
    if (len > out->room) out->room = 0;
    /* without any room `at` may be NULL, and NULL + 0 is undefined */
    if (len > out->room || len == 0) return;
    memcpy(out->at, data, len);
    out->at += len;
    out->room -= len;
}

static void stws_p_put_string(stws_p_out *out, const char *s) { stws_p_put(out, s, strlen(s)); }

static void stws_p_put_char(stws_p_out *out, char c) { stws_p_put(out, &c, 1); }

static void stws_p_put_number(stws_p_out *out, unsigned long long n) {
    char digits[20];
    stws_p_put(out, digits, stws_p_digits(n, digits));
}

/* The words of a comma-separated list, one after the other: 0 at its end. Empty words are
   passed over. */
static int stws_p_next_word(const char **list, const char **word, size_t *len) {
    while (**list) {
        *word = *list;
        *len = strcspn(*list, ",");
        *list += *len + ((*list)[*len] != 0);
        stws_p_trim(word, len);
        if (*len) return 1;
    }
    return 0;
}

static int stws_p_list_has(const char *list, const char *word, size_t len, int nocase) {
    const char *each;
    size_t each_len;
    while (stws_p_next_word(&list, &each, &each_len))
        if (nocase ? stws_p_equal_nocase(each, each_len, word, len)
                   : stws_p_equal(each, each_len, word, len))
            return 1;
    return 0;
}

/* ==== >>sha1: the hash of the handshake (FIPS 180-4, section 6.1) ==== */
static uint32_t stws_p_rotate_left(uint32_t x, int n) { return (x << n) | (x >> (32 - n)); }

/* Round function and constant of step t. */
static uint32_t stws_p_sha1_f(int t, uint32_t b, uint32_t c, uint32_t d) {
    if (t < 20) return ((b & c) | (~b & d)) + 0x5A827999u;
    if (t < 40) return (b ^ c ^ d) + 0x6ED9EBA1u;
    if (t < 60) return ((b & c) | (b & d) | (c & d)) + 0x8F1BBCDCu;
    return (b ^ c ^ d) + 0xCA62C1D6u;
}

static void stws_p_sha1_block(uint32_t h[5], const unsigned char *block) {
    uint32_t w[80], v[5]; /* v: a, b, c, d, e */
    int t;
    memcpy(v, h, sizeof v);
    memset(w, 0, sizeof w);
    for (t = 0; t < 64; t++) w[t / 4] = w[t / 4] << 8 | block[t];
    for (t = 16; t < 80; t++)
        w[t] = stws_p_rotate_left(w[t - 3] ^ w[t - 8] ^ w[t - 14] ^ w[t - 16], 1);
    for (t = 0; t < 80; t++) {
        uint32_t next =
            stws_p_rotate_left(v[0], 5) + stws_p_sha1_f(t, v[1], v[2], v[3]) + v[4] + w[t];
        memmove(v + 1, v, 4 * sizeof *v);
        v[0] = next;
        v[2] = stws_p_rotate_left(v[2], 30);
    }
    for (t = 0; t < 5; t++) h[t] += v[t];
}

static void stws_p_sha1(const void *data, size_t len, unsigned char out[20]) {
    uint32_t h[5] = {0x67452301u, 0xEFCDAB89u, 0x98BADCFEu, 0x10325476u, 0xC3D2E1F0u};
    const unsigned char *p = (const unsigned char *)data;
    unsigned char tail[128];
    size_t rest = len % 64, tail_len = rest < 56 ? 64 : 128, i;
    uint64_t bits = (uint64_t)len * 8;
    for (i = 0; i + 64 <= len; i += 64) stws_p_sha1_block(h, p + i);
    memset(tail, 0, sizeof tail);
    if (rest) memcpy(tail, p + len - rest, rest);
    tail[rest] = 0x80;
    for (i = 0; i < 8; i++) tail[tail_len - 1 - i] = (unsigned char)(bits >> (8 * i));
    for (i = 0; i < tail_len; i += 64) stws_p_sha1_block(h, tail + i);
    for (i = 0; i < 20; i++) out[i] = (unsigned char)(h[i / 4] >> (24 - 8 * (i % 4)));
}

/* ==== >>base64: RFC 4648, section 4 ==== */
static const char stws_p_base64_alphabet[] =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/* Writes (len + 2) / 3 * 4 characters and a NUL; returns the number of characters. */
static size_t stws_p_base64(const void *data, size_t len, char *out) {
    const unsigned char *p = (const unsigned char *)data;
    size_t i, n = 0;
    for (i = 0; i < len; i += 3) {
        size_t left = len - i;
        unsigned second = left > 1 ? p[i + 1] : 0u, third = left > 2 ? p[i + 2] : 0u;
        unsigned group = (unsigned)p[i] << 16 | second << 8 | third;
        out[n++] = stws_p_base64_alphabet[group >> 18];
        out[n++] = stws_p_base64_alphabet[group >> 12 & 63];
        out[n++] = left > 1 ? stws_p_base64_alphabet[group >> 6 & 63] : '=';
        out[n++] = left > 2 ? stws_p_base64_alphabet[group & 63] : '=';
    }
    out[n] = 0;
    return n;
}

/* ==== >>utf8: RFC 3629, in one go or as a stream ==== */
/* Between two pieces a character may be cut. The state holds how many continuation bytes
   are still due (bits 0-1) and the range the next one must lie in (bits 8-15, 16-23): the
   range is what keeps out overlong forms, surrogates and what lies above U+10FFFF. 0 is the
   boundary between characters. */
#define STWS_P_UTF8_DUE(due, low, high) ((due) | (low) << 8 | (high) << 16)

static unsigned stws_p_utf8_lead(unsigned char c) {
    if (c >= 0xC2 && c <= 0xDF) return STWS_P_UTF8_DUE(1u, 0x80u, 0xBFu);
    if (c == 0xE0) return STWS_P_UTF8_DUE(2u, 0xA0u, 0xBFu);
    if (c == 0xED) return STWS_P_UTF8_DUE(2u, 0x80u, 0x9Fu);
    if (c >= 0xE1 && c <= 0xEF) return STWS_P_UTF8_DUE(2u, 0x80u, 0xBFu);
    if (c == 0xF0) return STWS_P_UTF8_DUE(3u, 0x90u, 0xBFu);
    if (c >= 0xF1 && c <= 0xF3) return STWS_P_UTF8_DUE(3u, 0x80u, 0xBFu);
    if (c == 0xF4) return STWS_P_UTF8_DUE(3u, 0x80u, 0x8Fu);
    return 0;
}

#if STWS_P_SSE2
static inline __m128i stws_p_load(const void *p) { return _mm_loadu_si128((const __m128i *)p); }
#endif

#ifdef STWS_P_TOPS
#define STWS_P_AT(type, p) ((const stws_p_##type *)(const void *)(p))

/* Which errors two neighbours may make, by the first one's upper half, its lower half, and
   the second one's upper half: they make those that stand in all three rows (Keiser and
   Lemire, "Validating UTF-8 In Less Than One Instruction Per Byte"). 01: no continuation
   where one is due; 02: one after ASCII; 04, 08, 40: an overlong form of 2, 3, 4 bytes; 10:
   a surrogate; 20, 40: over U+10FFFF; 80: two continuations, which are right when the second
   is due. */
#define STWS_P_TWICE(...)                                                                          \
    { __VA_ARGS__, __VA_ARGS__ }
static const unsigned char stws_p_utf8_rows[3][32] = {
    STWS_P_TWICE(2, 2, 2, 2, 2, 2, 2, 2, 0x80, 0x80, 0x80, 0x80, 0x05, 0x01, 0x19, 0x61),
    STWS_P_TWICE(0xCF, 0x87, 0x83, 0x83, 0xA3, 0xE3, 0xE3, 0xE3, 0xE3, 0xE3, 0xE3, 0xE3, 0xE3, 0xF3,
                 0xE3, 0xE3),
    STWS_P_TWICE(1, 1, 1, 1, 1, 1, 1, 1, 0xCE, 0xAE, 0xB6, 0xB6, 1, 1, 1, 1)};

/* How far text that begins with a character is UTF-8 for sure, by vectors: to where a
   character begins, the last one or one shortly before an error. Three bytes before the
   text are read, and it must fill a vector; the last overlaps. */
#define STWS_P_UTF8_BY(bits, name)                                                                 \
    typedef unsigned char stws_p_v##bits                                                           \
        __attribute__((vector_size((bits) / 8), aligned(1), may_alias));                           \
    typedef char stws_p_char##bits                                                                 \
        __attribute__((vector_size((bits) / 8), aligned(1), may_alias));                           \
    STWS_P_UTF8_ON_##bits static const unsigned char *name(const unsigned char *text,              \
                                                           const unsigned char *end) {             \
        const unsigned char *p = text;                                                             \
        const long width = (bits) / 8;                                                             \
        while (p != end) {                                                                         \
            stws_p_v##bits back3 = *STWS_P_AT(v##bits, p - 3), back1 = *STWS_P_AT(v##bits, p - 1), \
                           due, errors;                                                            \
            stws_p_v##bits here = *STWS_P_AT(v##bits, p);                                          \
            if (STWS_P_TOPS(bits, back3 | here)) {                                                 \
                due = (stws_p_v##bits)((*STWS_P_AT(v##bits, p - 2) >= 0xE0) | (back3 >= 0xF0)) &   \
                      0x80;                                                                        \
                errors = STWS_P_LOOK_UP(bits, 0, back1 >> 4) &                                     \
                         STWS_P_LOOK_UP(bits, 1, back1 & 15) & STWS_P_LOOK_UP(bits, 2, here >> 4); \
                if (STWS_P_TOPS(bits, errors != due)) break;                                       \
            }                                                                                      \
            p = end - p >= 2 * width ? p + width : p == end - width ? end : end - width;           \
        }                                                                                          \
        while (p > text && (*--p & 0xC0) == 0x80) {                                                \
        }                                                                                          \
        return p;                                                                                  \
    }
#ifdef STWS_P_AVX2
#define STWS_P_UTF8_ON_128 __attribute__((target("ssse3")))
#define STWS_P_UTF8_ON_256 __attribute__((target("avx2")))
STWS_P_UTF8_BY(128, stws_p_utf8_by_128)
STWS_P_UTF8_BY(256, stws_p_utf8_by_256)

static const unsigned char *stws_p_utf8_skip(const unsigned char *text, const unsigned char *end) {
    if (__builtin_cpu_supports("avx2")) return stws_p_utf8_by_256(text, end);
    return __builtin_cpu_supports("ssse3") ? stws_p_utf8_by_128(text, end) : text;
}

STWS_P_UTF8_ON_256 static const unsigned char *stws_p_ascii_by_256(const unsigned char *p,
                                                                   size_t len) {
    const unsigned char *end = p + len / 128 * 128;
    for (; p != end; p += 128) {
        const stws_p_v256 *at = STWS_P_AT(v256, p);
        if (STWS_P_TOPS(256, at[0] | at[1] | at[2] | at[3])) break;
    }
    return p;
}
#else
#define STWS_P_UTF8_ON_128
STWS_P_UTF8_BY(128, stws_p_utf8_skip)
#endif
#else
static const unsigned char *stws_p_utf8_skip(const unsigned char *text, const unsigned char *end) {
    return (void)end, text;
}
#endif

/* Past the ASCII bytes at p, many at a time: most text on the wire is nothing else. */
static inline const unsigned char *stws_p_skip_ascii(const unsigned char *p,
                                                     const unsigned char *end) {
    size_t n;
#ifdef STWS_P_AVX2
    if (end - p >= 256 && __builtin_cpu_supports("avx2"))
        p = stws_p_ascii_by_256(p, (size_t)(end - p));
#endif
#if STWS_P_SSE2
    for (n = (size_t)(end - p) / 64; n > 0; n--, p += 64) {
        __m128i low = _mm_or_si128(stws_p_load(p), stws_p_load(p + 16));
        if (_mm_movemask_epi8(
                _mm_or_si128(low, _mm_or_si128(stws_p_load(p + 32), stws_p_load(p + 48)))))
            break;
    }
    for (n = (size_t)(end - p) / 16; n > 0; n--, p += 16)
        if (_mm_movemask_epi8(stws_p_load(p))) break;
#else
    for (n = (size_t)(end - p) / 8; n > 0; n--, p += 8) {
        uint64_t word;
        memcpy(&word, p, 8);
        if (word & 0x8080808080808080u) break;
    }
#endif
    while (p < end && *p < 0x80) p++;
    return p;
}

/* Feed a piece: 1 while it may still become valid UTF-8, 0 at the first byte that cannot.
   Vectors have one turn, and skip only what is right: of errors, and of characters that are
   cut, they know nothing. */
static int stws_p_utf8_feed(unsigned *state, const void *data, size_t len) {
    const unsigned char *p = (const unsigned char *)data, *begin = p, *end = p + len;
    unsigned due = *state;
    while (p < end) {
        if (due == 0) {
            if (end - p >= 32 && p - begin >= 3) p = stws_p_utf8_skip(p, begin = end);
            if (*p < 0x80) p = stws_p_skip_ascii(p, end);
            if (p == end) break;
            due = stws_p_utf8_lead(*p++);
            if (due == 0) return 0;
        } else {
            if (*p < (due >> 8 & 0xFF) || *p > due >> 16) return 0;
            p++;
            due = (due & 3) == 1 ? 0 : STWS_P_UTF8_DUE((due & 3) - 1, 0x80u, 0xBFu);
        }
    }
    *state = due;
    return 1;
}

STOMP_WS_API int stws_utf8_valid(const void *data, size_t len) {
    const unsigned char *p = (const unsigned char *)data, *end = len ? p + len : p;
    unsigned state = 0;
    if (len && *p < 0x80) p = stws_p_skip_ascii(p, end);
    return p == end || (stws_p_utf8_feed(&state, p, (size_t)(end - p)) && state == 0);
}

/* The largest cut <= len that does not part a character (of text known to be valid). */
static size_t stws_p_utf8_cut(const char *data, size_t len, size_t total) {
    size_t cut = len;
    if (len >= total) return total;
    while (cut > 0 && ((unsigned char)data[cut] & 0xC0) == 0x80) cut--;
    return cut ? cut : len;
}

/* ==== >>url: ws:// and wss:// (RFC 6455, section 3; RFC 3986) ==== */
static int stws_p_is_scheme(const char *url, const char *scheme) {
    return strlen(url) >= strlen(scheme) &&
           stws_p_equal_nocase(url, strlen(scheme), scheme, strlen(scheme));
}

static const char *stws_p_url_scheme(const char *url, stws_url *out, const char **why) {
    out->secure = stws_p_is_scheme(url, "wss://");
    if (out->secure) return url + 6;
    if (stws_p_is_scheme(url, "ws://")) return url + 5;
    if (stws_p_is_scheme(url, "http://") || stws_p_is_scheme(url, "https://"))
        *why = "a WebSocket URL begins with ws:// (for http://) or wss:// (for https://)";
    else *why = "the URL does not begin with ws:// or wss://";
    return NULL;
}

static int stws_p_is_host_char(char c, int in_brackets) {
    if (in_brackets) return stws_p_is_alphanumeric(c) || strchr(":.%-_", c) != NULL;
    return c > ' ' && c < 127 && strchr("[]@:/?#\\\"<>^`{|}%", c) == NULL;
}

static int stws_p_hex_digit(char c) {
    if (c >= '0' && c <= '9') return c - '0';
    c = stws_p_lower(c);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Undo %XX, into a string: 0 when it is none, or over 255 bytes. */
static int stws_p_percent_decode(const char *s, const char *end, char out[256]) {
    size_t n;
    for (n = 0; s < end && n < 255; n++, s++) {
        int high = *s == '%' && end - s > 2 ? stws_p_hex_digit(s[1]) : -1;
        int low = high >= 0 ? stws_p_hex_digit(s[2]) : -1;
        if (*s == '%' && (low < 0 || high + low == 0)) return 0;
        out[n] = low < 0 ? *s : (char)(high * 16 + low);
        if (low >= 0) s += 2;
    }
    out[n] = 0;
    return s == end;
}

/* Take "user:password" of a URL apart: 1, or 0 when a %XX in it is wrong, or one of the two
   is too long. */
static int stws_p_decode_pair(const char *info, const char *end, char user[256],
                              char password[256]) {
    const char *colon = info;
    while (colon < end && *colon != ':') colon++;
    password[0] = 0;
    return stws_p_percent_decode(info, colon, user) &&
           (colon == end || stws_p_percent_decode(colon + 1, end, password));
}

static int stws_p_has_control_character(const char *s) {
    for (; *s; s++)
        if ((unsigned char)*s < 32 || *s == 127) return 1;
    return 0;
}

/* Can Basic authorization send them (RFC 7617, 2)? */
static int stws_p_is_basic(const char *user, const char *password) {
    return !strchr(user, ':') && !stws_p_has_control_character(user) &&
           !stws_p_has_control_character(password);
}

enum { STWS_P_BASIC = 6 + 684 + 1 }; /* of its longest value, with the NUL */

/* The value of an Authorization or Proxy-Authorization header; NULL when both are empty. */
static const char *stws_p_basic(const char *user, const char *password, char out[STWS_P_BASIC]) {
    char pair[512];
    size_t len = strlen(user), password_len = strlen(password);
    if (!len && !password_len) return NULL;
    memcpy(pair, user, len);
    pair[len++] = ':';
    memcpy(pair + len, password, password_len);
    memcpy(out, "Basic ", 6);
    stws_p_base64(pair, len + password_len, out + 6);
    return out;
}

/* The user and password of a URL for Basic authorization: 0 when they cannot be. */
static int stws_p_user_and_password(const char *info, size_t len, char user[256],
                                    char password[256]) {
    const char *end = info + len, *c;
    for (c = info; c < end; c++)
        if (*c <= ' ' || *c >= 127 || *c == '@') return 0;
    return stws_p_decode_pair(info, end, user, password) && stws_p_is_basic(user, password);
}

/* What stands before an '@' in front of the host (RFC 3986, 3.2.1); where the host begins,
   or NULL with *why set. */
static const char *stws_p_url_user_info(const char *p, stws_url *out, const char **why) {
    size_t at = strcspn(p, "/?#");
    char user[256], password[256];
    while (at > 0 && p[at - 1] != '@') at--;
    if (at == 0) return p;
    out->user_info = p;
    out->user_info_len = at - 1;
    if (stws_p_user_and_password(p, at - 1, user, password)) return p + at;
    *why = "the URL's user:password@ holds a character that has to be written as %XX, or a colon "
           "in the user, or more than 255 bytes";
    return NULL;
}

/* The host, in brackets or not, up to where port or path begin; NULL with *why set. */
static const char *stws_p_url_host(const char *p, stws_url *out, const char **why) {
    const char *start;
    out->is_ipv6 = *p == '[';
    if (out->is_ipv6) p++;
    for (start = p; *p && stws_p_is_host_char(*p, out->is_ipv6);) p++;
    out->host = start;
    out->host_len = (size_t)(p - start);
    if (out->is_ipv6 && (*p++ != ']' || !memchr(start, ':', out->host_len))) {
        *why = "the URL's [IPv6 address] is not closed or holds something else";
        return NULL;
    }
    if (out->host_len == 0 || out->host_len > 253)
        *why = "the URL has no host name, or one of more than 253 characters";
    else if (*p && !strchr(":/?#", *p))
        *why = "the URL's host name holds a character that no host name may have";
    else return p;
    return NULL;
}

static const char *stws_p_url_port(const char *p, stws_url *out, const char **why) {
    size_t digits, port = 0;
    out->port = out->secure ? 443 : 80;
    out->has_port = 0;
    if (*p != ':') return p;
    digits = strcspn(++p, "/?#");
    if (stws_p_number(p, digits, 65535, &port) != 1 || port == 0) {
        *why = "the URL's port is not a number from 1 to 65535";
        return NULL;
    }
    out->port = (int)port;
    out->has_port = 1;
    return p + digits;
}

static const char *stws_p_url_target(const char *p, stws_url *out, const char **why) {
    for (out->target = p; *p > ' ' && *p < 127 && *p != '#';) p++;
    out->target_len = (size_t)(p - out->target);
    if (*p == '#')
        *why =
            "the URL has a #fragment, which a WebSocket URL may not have; write a literal # as %23";
    else *why = "the URL holds a blank, a control character or one beyond ASCII; percent-encode it";
    return *p ? NULL : p;
}

STOMP_WS_API int stws_url_parse(const char *url, stws_url *out, const char **why) {
    const char *sentence = "there is no URL", *p = url;
    memset(out, 0, sizeof *out);
    if (p) p = stws_p_url_scheme(p, out, &sentence);
    if (p) p = stws_p_url_user_info(p, out, &sentence);
    if (p) p = stws_p_url_host(p, out, &sentence);
    if (p) p = stws_p_url_port(p, out, &sentence);
    if (p) p = stws_p_url_target(p, out, &sentence);
    if (!p && why) *why = sentence;
    return p ? STWS_OK : STWS_ERR_URL;
}

/* ==== >>handshake: the HTTP upgrade, both halves (RFC 6455, section 4) ==== */
enum { STWS_P_MAX_HEAD = 16384 }; /* bytes of an HTTP head when no limit is set */

STOMP_WS_API void stws_handshake_key(const unsigned char random[16], char key[25]) {
    stws_p_base64(random, 16, key);
}

STOMP_WS_API void stws_handshake_accept(const char *key, char accept[29]) {
    static const char guid[] = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"; /* RFC 6455, 1.3 */
    char text[128];
    unsigned char digest[20];
    size_t len = strlen(key);
    if (len > sizeof text - sizeof guid) len = sizeof text - sizeof guid;
    memcpy(text, key, len);
    memcpy(text + len, guid, sizeof guid - 1);
    stws_p_sha1(text, len + sizeof guid - 1, digest);
    stws_p_base64(digest, sizeof digest, accept);
}

/* RFC 9110, 5.6.2: what names of methods and headers are made of. */
static int stws_p_is_token_char(char c) {
    return stws_p_is_alphanumeric(c) || (c && strchr("!#$%&'*+-.^_`|~", c) != NULL);
}

static int stws_p_is_token(const char *s, size_t len) {
    size_t i;
    for (i = 0; i < len; i++)
        if (!stws_p_is_token_char(s[i])) return 0;
    return len > 0;
}

/* No control characters but TAB: what keeps a caller's string from becoming a header of its
   own. */
static int stws_p_is_field_text(const char *s) {
    for (; *s; s++)
        if ((unsigned char)*s < 32 ? *s != '\t' : *s == 127) return 0;
    return 1;
}

static int stws_p_handshake_owns(const char *name) {
    static const char owned[] =
        "host,upgrade,connection,content-length,transfer-encoding,sec-websocket-key,sec-websocket-"
        "version,sec-websocket-protocol,sec-websocket-extensions,sec-websocket-accept";
    return stws_p_list_has(owned, name, strlen(name), 1);
}

static int stws_p_http_headers_valid(const char *const *headers) {
    for (; headers && *headers; headers += 2)
        if (!headers[1] || !stws_p_is_token(headers[0], strlen(headers[0])) ||
            !stws_p_is_field_text(headers[1]) || stws_p_handshake_owns(headers[0]))
            return 0;
    return 1;
}

static int stws_p_is_visible(const char *s, size_t len) {
    size_t i;
    for (i = 0; i < len; i++)
        if (s[i] <= ' ' || s[i] >= 127) return 0;
    return 1;
}

static int stws_p_handshake_valid(const stws_handshake *h) {
    return stws_p_is_visible(h->url->host, h->url->host_len) &&
           stws_p_is_visible(h->url->target, h->url->target_len) &&
           stws_p_is_field_text(stws_p_or(h->subprotocols, "")) &&
           stws_p_is_field_text(stws_p_or(h->origin, "")) &&
           stws_p_is_field_text(stws_p_or(h->cookie, "")) && stws_p_is_field_text(h->key) &&
           stws_p_http_headers_valid(h->headers);
}

static void stws_p_put_header(stws_p_out *out, const char *name, const char *value) {
    if (!value) return;
    stws_p_put_string(out, name);
    stws_p_put(out, ": ", 2);
    stws_p_put_string(out, value);
    stws_p_put(out, "\r\n", 2);
}

static void stws_p_put_option(stws_p_out *out, const char *name, const char *value) {
    if (value && *value) stws_p_put_header(out, name, value);
}

/* Without the zone of an IPv6 address, which is of this machine only (RFC 6874, section 4). */
static void stws_p_put_host(stws_p_out *out, const stws_url *url) {
    const void *zone = url->is_ipv6 ? memchr(url->host, '%', url->host_len) : NULL;
    stws_p_put_string(out, url->is_ipv6 ? "Host: [" : "Host: ");
    stws_p_put(out, url->host, zone ? (size_t)((const char *)zone - url->host) : url->host_len);
    if (url->is_ipv6) stws_p_put_char(out, ']');
    if (url->port != (url->secure ? 443 : 80)) {
        stws_p_put_char(out, ':');
        stws_p_put_number(out, (unsigned)url->port);
    }
    stws_p_put(out, "\r\n", 2);
}

/* Do the caller's headers have one of that name? */
static int stws_p_headers_have(const char *const *header, const char *name) {
    for (; header && *header; header += 2)
        if (stws_p_equal_nocase(*header, strlen(*header), name, strlen(name))) return 1;
    return 0;
}

/* Basic authorization (RFC 7617) by the URL's user and password, unless a header of the
   caller's says another. */
static void stws_p_put_basic(stws_p_out *out, const stws_handshake *h) {
    const char *info = h->url->user_info;
    char user[256], password[256], value[STWS_P_BASIC];
    if (!info || stws_p_headers_have(h->headers, "Authorization")) return;
    if (!stws_p_user_and_password(info, h->url->user_info_len, user, password)) return;
    stws_p_put_header(out, "Authorization", stws_p_basic(user, password, value));
}

STOMP_WS_API int stws_handshake_request(char *buf, size_t cap, const stws_handshake *h,
                                        size_t *need) {
    stws_p_out out = {buf, cap, 0};
    const char *const *header;
    *need = 0;
    if (!stws_p_handshake_valid(h)) return STWS_ERR_USAGE;
    stws_p_put_string(&out, h->url->target_len && h->url->target[0] == '/' ? "GET " : "GET /");
    stws_p_put(&out, h->url->target, h->url->target_len);
    stws_p_put_string(&out, " HTTP/1.1\r\n");
    stws_p_put_host(&out, h->url);
    stws_p_put_string(&out, "Upgrade: websocket\r\nConnection: Upgrade\r\n");
    stws_p_put_header(&out, "Sec-WebSocket-Key", h->key);
    stws_p_put_header(&out, "Sec-WebSocket-Version", "13");
    stws_p_put_option(&out, "Sec-WebSocket-Protocol", h->subprotocols);
    stws_p_put_option(&out, "Origin", h->origin);
    stws_p_put_option(&out, "Cookie", h->cookie);
    stws_p_put_basic(&out, h);
    for (header = h->headers; header && *header; header += 2)
        stws_p_put_header(&out, header[0], header[1]);
    stws_p_put(&out, "\r\n", 2);
    *need = out.need;
    return out.need > cap ? STWS_ERR_SPACE : STWS_OK;
}

/* Where the head ends (behind its empty line), or 0. Goes on where the last call stopped. */
static size_t stws_p_http_head_end(const char *buf, size_t len, stws_http *http) {
    size_t i = http->scanned;
    while (i < len) {
        const char *lf = (const char *)memchr(buf + i, '\n', len - i);
        size_t at;
        if (!lf) break;
        at = (size_t)(lf - buf);
        if (at >= 1 &&
            (buf[at - 1] == '\n' || (at >= 2 && buf[at - 1] == '\r' && buf[at - 2] == '\n')))
            return at + 1;
        i = at + 1;
    }
    http->scanned = len;
    return 0;
}

/* The longest first word is a method or "HTTP/1.1": garbage is told after as many bytes. */
enum { STWS_P_HTTP_FIRST_WORD = 20 };

static int stws_p_http_begins(const char *buf, size_t len) {
    size_t i;
    for (i = 0; i < len && i <= STWS_P_HTTP_FIRST_WORD; i++) {
        if (buf[i] == ' ') return i > 0;
        if (!stws_p_is_token_char(buf[i]) && buf[i] != '/') return 0;
    }
    return i <= STWS_P_HTTP_FIRST_WORD;
}

/* Cut the line at p off: terminate it, and return where the next begins; NULL when it holds
   a NUL or a bare CR. */
static char *stws_p_http_line(char *p, size_t *len) {
    char *lf = (char *)memchr(p, '\n', *len);
    size_t line = (size_t)(lf - p);
    *len = line > 0 && p[line - 1] == '\r' ? line - 1 : line;
    p[*len] = 0;
    return strlen(p) == *len && !strchr(p, '\r') ? lf + 1 : NULL;
}

static int stws_p_http_first_line(char *line, size_t len, stws_http *http) {
    char *space = (char *)memchr(line, ' ', len), *target;
    size_t status = 0;
    if (!space) return 0;
    if (len >= 12 && memcmp(line, "HTTP/1.", 7) == 0 && line[7] >= '0' && line[7] <= '9' &&
        space == line + 8) {
        if (stws_p_number(line + 9, 3, 999, &status) != 1 || status < 100) return 0;
        if ((line[12] && line[12] != ' ') || (status == 101 && line[7] == '0')) return 0;
        http->minor = line[7] - '0';
        http->status = (int)status;
        http->reason = line[12] ? line + 13 : "";
        return 1;
    }
    *space = 0;
    target = space + 1;
    space = strchr(target, ' ');
    if (!space || space == target || strncmp(space, " HTTP/1.", 8) != 0) return 0;
    if (space[8] < '0' || space[8] > '9' || space[9]) return 0;
    http->minor = space[8] - '0';
    *space = 0;
    http->method = line;
    http->target = target;
    return stws_p_is_token(line, strlen(line));
}

static int stws_p_http_field(char *line, size_t len, stws_http *http) {
    char *colon = (char *)memchr(line, ':', len);
    stws_header *h;
    if (!colon || !stws_p_is_token(line, (size_t)(colon - line))) return STWS_ERR_HTTP;
    if (http->header_count == http->max_headers) return STWS_ERR_HTTP_LIMIT;
    h = &http->headers[http->header_count++];
    h->name = line;
    h->name_len = (size_t)(colon - line);
    h->value = colon + 1;
    h->value_len = len - h->name_len - 1;
    stws_p_trim(&h->value, &h->value_len);
    line[(size_t)(h->value - line) + h->value_len] = 0;
    *colon = 0;
    return STWS_OK;
}

STOMP_WS_API int stws_handshake_parse(char *buf, size_t len, stws_http *http, size_t *used) {
    size_t limit = http->max_bytes ? http->max_bytes : (size_t)STWS_P_MAX_HEAD, end, line_len;
    char *line = buf, *next;
    int result;
    *used = 0;
    if (!stws_p_http_begins(buf, len)) return STWS_ERR_HTTP;
    end = stws_p_http_head_end(buf, len, http);
    if (end > limit || (!end && len >= limit)) return STWS_ERR_HTTP_LIMIT;
    if (!end) return STWS_MORE;
    http->header_count = 0;
    http->scanned = 0;
    http->status = 0;
    http->method = http->target = http->reason = NULL;
    line_len = end;
    next = stws_p_http_line(line, &line_len);
    if (!next || !stws_p_http_first_line(line, line_len, http)) return STWS_ERR_HTTP;
    for (line = next; line < buf + end; line = next) {
        line_len = (size_t)(buf + end - line);
        next = stws_p_http_line(line, &line_len);
        if (!next) return STWS_ERR_HTTP;
        if (line_len == 0) break;
        result = stws_p_http_field(line, line_len, http);
        if (result != STWS_OK) return result;
    }
    *used = end;
    return STWS_DONE;
}

/* The i-th header of that name from index *from on; moves *from behind it. */
static const stws_header *stws_p_http_find(const stws_http *http, const char *name, size_t *from) {
    size_t len = strlen(name);
    while (*from < http->header_count) {
        const stws_header *h = &http->headers[(*from)++];
        if (stws_p_equal_nocase(h->name, h->name_len, name, len)) return h;
    }
    return NULL;
}

STOMP_WS_API const char *stws_http_header(const stws_http *http, const char *name) {
    size_t from = 0;
    const stws_header *h = stws_p_http_find(http, name, &from);
    return h ? h->value : NULL;
}

STOMP_WS_API int stws_http_has_token(const stws_http *http, const char *name, const char *token) {
    size_t from = 0;
    const stws_header *h;
    while ((h = stws_p_http_find(http, name, &from)) != NULL)
        if (stws_p_list_has(h->value, token, strlen(token), 1)) return 1;
    return 0;
}

/* The value of the one header of that name; NULL when there are more, or none. */
static const char *stws_p_http_only(const stws_http *http, const char *name) {
    size_t from = 0;
    const stws_header *h = stws_p_http_find(http, name, &from);
    return h && !stws_p_http_find(http, name, &from) ? h->value : NULL;
}

/* What the answer is worth; *why is set where there is more to say than the code does. */
static int stws_p_handshake_judge(const stws_http *answer, const char *key, const char *offered,
                                  const char **why) {
    const char *accept = stws_p_http_only(answer, "Sec-WebSocket-Accept");
    const char *chosen = stws_p_http_only(answer, "Sec-WebSocket-Protocol");
    /* one protocol; Connection is a list (4.1) */
    const char *upgrade = stws_p_http_only(answer, "Upgrade");
    const stws_header *extension;
    char expected[29];
    size_t from = 0;
    if (answer->status != 101) return STWS_ERR_HTTP_STATUS;
    stws_handshake_accept(key, expected);
    if (!upgrade || !stws_p_equal_nocase(upgrade, strlen(upgrade), "websocket", 9))
        *why = "the 101 answer has no \"Upgrade: websocket\", or names another protocol as well";
    else if (!stws_http_has_token(answer, "Connection", "Upgrade"))
        *why = "the 101 answer has no \"Connection: Upgrade\"";
    else if (!accept || strcmp(accept, expected) != 0)
        *why = "the 101 answer's Sec-WebSocket-Accept does not belong to our key: a proxy or cache "
               "answered, or it is no WebSocket server";
    if (*why) return STWS_ERR_HTTP_UPGRADE;
    if (chosen ? !stws_p_list_has(stws_p_or(offered, ""), chosen, strlen(chosen), 0)
               : stws_http_header(answer, "Sec-WebSocket-Protocol") != NULL)
        return STWS_ERR_HTTP_SUBPROTOCOL;
    while ((extension = stws_p_http_find(answer, "Sec-WebSocket-Extensions", &from)) != NULL)
        if (extension->value_len) return STWS_ERR_HTTP_EXTENSION;
    return STWS_OK;
}

STOMP_WS_API int stws_handshake_check(const stws_http *answer, const char *key, const char *offered,
                                      const char **subprotocol, const char **why) {
    const char *sentence = NULL;
    int result = stws_p_handshake_judge(answer, key, offered, &sentence);
    if (subprotocol) *subprotocol = stws_http_header(answer, "Sec-WebSocket-Protocol");
    if (why && result != STWS_OK) *why = stws_p_or(sentence, stws_result_text(result));
    return result;
}

/* The first of the client's subprotocols that we have too: its order is its preference. */
static void stws_p_put_subprotocol(stws_p_out *out, const stws_http *request,
                                   const char *supported) {
    size_t from = 0, len;
    const stws_header *h;
    const char *list, *word;
    while (supported && (h = stws_p_http_find(request, "Sec-WebSocket-Protocol", &from)) != NULL) {
        list = h->value;
        while (stws_p_next_word(&list, &word, &len)) {
            if (!stws_p_list_has(supported, word, len, 0)) continue;
            stws_p_put_string(out, "Sec-WebSocket-Protocol: ");
            stws_p_put(out, word, len);
            stws_p_put(out, "\r\n", 2);
            return;
        }
    }
}

/* Base64 of 16 bytes? (RFC 6455, 4.2.1) */
static int stws_p_is_key(const char *s) {
    size_t n = strspn(s, stws_p_base64_alphabet);
    return n == 22 && strcmp(s + n, "==") == 0;
}

STOMP_WS_API int stws_handshake_answer(char *buf, size_t cap, const stws_http *request,
                                       const char *supported, size_t *need) {
    const char *key = stws_p_http_only(request, "Sec-WebSocket-Key"), *refusal = NULL;
    const char *version = stws_p_http_only(request, "Sec-WebSocket-Version");
    stws_p_out out = {buf, cap, 0};
    char accept[29];
    if (!request->method || strcmp(request->method, "GET") != 0 || request->minor < 1 || !key ||
        !stws_p_is_key(key) || !stws_p_http_only(request, "Host") ||
        !stws_http_has_token(request, "Upgrade", "websocket") ||
        !stws_http_has_token(request, "Connection", "Upgrade"))
        refusal = "400 Bad Request";
    else if (!version || strcmp(version, "13") != 0)
        refusal = "426 Upgrade Required\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13";
    stws_p_put_string(&out, "HTTP/1.1 ");
    if (refusal) {
        stws_p_put_string(&out, refusal);
        stws_p_put_string(&out, "\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    } else {
        stws_handshake_accept(key, accept);
        stws_p_put_string(
            &out, "101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n");
        stws_p_put_header(&out, "Sec-WebSocket-Accept", accept);
        stws_p_put_subprotocol(&out, request, supported);
        stws_p_put(&out, "\r\n", 2);
    }
    *need = out.need;
    return out.need > cap ? STWS_ERR_SPACE : refusal ? STWS_ERR_HTTP_UPGRADE : STWS_OK;
}

/* ==== >>websocket: frames and messages (RFC 6455, sections 5 to 8) ==== */
/* Codes of a close frame (7.4.1); no code is what stands for none. */
enum {
    STWS_P_CLOSE_NORMAL = 1000,
    STWS_P_CLOSE_PROTOCOL = 1002,
    STWS_P_CLOSE_NO_CODE = 1005,
    STWS_P_CLOSE_BAD_DATA = 1007,
    STWS_P_CLOSE_TOO_BIG = 1009
};

enum { STWS_P_MAX_FRAGMENTS = 65537 }; /* the default: 64 Ki and an empty one at the end */

/* The key repeated over a word, rotated so that it begins at that offset, whatever the byte
   order. */
static uint64_t stws_p_key_word(const unsigned char key[4], size_t offset) {
    unsigned char twice[8];
    uint32_t word;
    memcpy(twice, key, 4);
    memcpy(twice + 4, key, 4);
    memcpy(&word, twice + (offset & 3), 4);
    return (uint64_t)word << 32 | word;
}
#if STWS_P_SSE2
static inline void stws_p_mask_16(unsigned char *to, const unsigned char *from, __m128i key) {
    _mm_storeu_si128((__m128i *)(void *)to, _mm_xor_si128(stws_p_load(from), key));
}
#endif
STOMP_WS_API void stws_ws_mask(void *dst, const void *src, size_t len, const unsigned char key[4],
                               size_t offset) {
    unsigned char *to = (unsigned char *)dst, tail[8];
    const unsigned char *from = (const unsigned char *)src;
    uint64_t pattern = stws_p_key_word(key, offset), word;
    size_t i = 0;
#if STWS_P_SSE2
    size_t n;
    __m128i wide = _mm_set1_epi64x((long long)pattern);
    for (n = len / 64; n > 0; n--, i += 64) {
        stws_p_mask_16(to + i, from + i, wide);
        stws_p_mask_16(to + i + 16, from + i + 16, wide);
        stws_p_mask_16(to + i + 32, from + i + 32, wide);
        stws_p_mask_16(to + i + 48, from + i + 48, wide);
    }
    for (n = (len - i) / 16; n > 0; n--, i += 16) stws_p_mask_16(to + i, from + i, wide);
#endif
    for (; len - i >= 8; i += 8) {
        memcpy(&word, from + i, 8);
        word ^= pattern;
        memcpy(to + i, &word, 8);
    }
    memcpy(tail, &pattern, 8);
    for (; i < len; i++) to[i] = (unsigned char)(from[i] ^ tail[i & 7]);
}

static int stws_p_ws_fail(stws_ws *ws, int result, int close_code, const char *reason) {
    ws->close_code = close_code;
    ws->reason = reason;
    return result;
}

static int stws_p_ws_broken(stws_ws *ws, const char *reason) {
    return stws_p_ws_fail(ws, STWS_ERR_WS_PROTOCOL, STWS_P_CLOSE_PROTOCOL, reason);
}

/* What the first two bytes of a frame alone can be wrong in (5.2, 5.4, 5.5). */
static int stws_p_ws_check_first(stws_ws *ws, unsigned first, unsigned second) {
    unsigned opcode = first & 15;
    if (first & 0x70) return stws_p_ws_broken(ws, "a reserved bit is set");
    if ((second >> 7) != (ws->server ? 1u : 0u))
        return stws_p_ws_broken(ws, ws->server ? "the frame is not masked" : "the frame is masked");
    if (opcode > STWS_WS_PONG || (opcode > STWS_WS_BINARY && opcode < STWS_WS_CLOSE))
        return stws_p_ws_broken(ws, "a reserved opcode");
    if (opcode >= STWS_WS_CLOSE) {
        if (!(first & 0x80)) return stws_p_ws_broken(ws, "a control frame in fragments");
        if ((second & 127) > 125) return stws_p_ws_broken(ws, "a control frame over 125 bytes");
    } else if (opcode == STWS_WS_CONTINUATION && !ws->message_opcode) {
        return stws_p_ws_broken(ws, "a continuation of nothing");
    } else if (opcode != STWS_WS_CONTINUATION && ws->message_opcode) {
        return stws_p_ws_broken(ws, "a new message inside a fragmented one");
    }
    return STWS_OK;
}

/* Begin a data frame of that length: limits first, and never an addition that could wrap. */
static int stws_p_ws_begin_data(stws_ws *ws, unsigned first, unsigned long long len) {
    size_t limit = ws->max_fragments ? ws->max_fragments : (size_t)STWS_P_MAX_FRAGMENTS;
    if (first & 15) {
        ws->message_opcode = (int)(first & 15);
        ws->message_len = 0;
        ws->fragments = 0;
        ws->utf8_state = 0;
    }
    if (++ws->fragments > limit)
        return stws_p_ws_fail(ws, STWS_ERR_WS_LIMIT, STWS_P_CLOSE_TOO_BIG,
                              "a message in too many fragments");
    if (ws->max_message && len > ws->max_message - ws->message_len)
        return stws_p_ws_fail(ws, STWS_ERR_WS_LIMIT, STWS_P_CLOSE_TOO_BIG,
                              "a message over the limit");
    ws->fin = (first & 0x80) != 0;
    ws->remaining = len;
    ws->key_offset = 0;
    ws->in_frame = 1;
    return STWS_OK;
}

/* The length in 7, 16 or 64 bits (5.2): its bytes, or an error when it is not minimal or
   has bit 63 set. */
static int stws_p_ws_length(stws_ws *ws, const unsigned char *p, size_t bytes,
                            unsigned long long *len) {
    size_t i;
    *len = p[1] & 127u;
    if (bytes == 0) return STWS_OK;
    for (*len = 0, i = 0; i < bytes; i++) *len = *len << 8 | p[2 + i];
    if (*len >> 63) return stws_p_ws_broken(ws, "a length over 63 bits");
    if (*len < (bytes == 2 ? 126u : 65536u))
        return stws_p_ws_broken(ws, "a length in more bytes than it needs");
    return STWS_OK;
}

/* RFC 6455, 7.4: which codes may stand in a close frame. */
static int stws_p_ws_close_code_valid(int code) {
    return (code >= 1000 && code <= 1003) || (code >= 1007 && code <= 1014) ||
           (code >= 3000 && code <= 4999);
}

static int stws_p_ws_close_event(stws_ws *ws, stws_ws_event *event) {
    const unsigned char *p = (const unsigned char *)event->data;
    ws->closed = 1;
    event->close_code = STWS_P_CLOSE_NO_CODE;
    if (event->len == 0) return STWS_DONE;
    if (event->len == 1) return stws_p_ws_broken(ws, "a close frame with half a code");
    event->close_code = p[0] << 8 | p[1];
    event->data += 2;
    event->len -= 2;
    if (!stws_p_ws_close_code_valid(event->close_code))
        return stws_p_ws_broken(ws, "a close code that may not be sent");
    if (!stws_utf8_valid(event->data, event->len))
        return stws_p_ws_fail(ws, STWS_ERR_WS_UTF8, STWS_P_CLOSE_BAD_DATA,
                              "a close reason that is not UTF-8");
    return STWS_DONE;
}

static int stws_p_ws_whole(char *payload, size_t len, stws_ws_opcode opcode, stws_ws_event *event) {
    event->opcode = opcode;
    event->first = event->last = 1;
    event->data = payload;
    event->len = len;
    event->close_code = 0;
    return STWS_DONE;
}

static int stws_p_ws_control(char *payload, size_t len, unsigned opcode, stws_ws *ws,
                             stws_ws_event *event) {
    if (ws->server) stws_ws_mask(payload, payload, len, ws->key, 0);
    stws_p_ws_whole(payload, len, (stws_ws_opcode)opcode, event);
    return opcode == STWS_WS_CLOSE ? stws_p_ws_close_event(ws, event) : STWS_DONE;
}

/* As much of the frame's payload as is there. */
static int stws_p_ws_data(char *data, size_t len, stws_ws *ws, stws_ws_event *event, size_t *used) {
    size_t n = ws->remaining < len ? (size_t)ws->remaining : len;
    if (n == 0 && ws->remaining) return STWS_MORE;
    if (ws->server) stws_ws_mask(data, data, n, ws->key, ws->key_offset);
    ws->key_offset += n;
    event->opcode = (stws_ws_opcode)ws->message_opcode;
    event->first = ws->message_len == 0 && ws->fragments == 1 && ws->key_offset == n;
    event->data = data;
    event->len = n;
    event->close_code = 0;
    ws->remaining -= n;
    ws->message_len += n;
    ws->in_frame = ws->remaining != 0;
    event->last = !ws->in_frame && ws->fin;
    *used += n;
    if (ws->check_utf8 && ws->message_opcode == STWS_WS_TEXT &&
        (!stws_p_utf8_feed(&ws->utf8_state, data, n) || (event->last && ws->utf8_state)))
        return stws_p_ws_fail(ws, STWS_ERR_WS_UTF8, STWS_P_CLOSE_BAD_DATA,
                              "a text message that is not UTF-8");
    if (event->last) ws->message_opcode = 0;
    return STWS_DONE;
}

/* What nearly every frame from a server is: a whole message of up to 64 KiB, unmasked, and
   here to its last byte. Told by a few comparisons; the bytes of its head, or 0 when it is
   anything else (or an error), which goes the long way. */
static inline size_t stws_p_ws_usual(const char *buf, size_t len, const stws_ws *ws,
                                     size_t *payload) {
    const unsigned char *p = (const unsigned char *)buf;
    size_t head = 2;
    if (len < 4 || p[0] - 0x81u > 1 || p[1] > 126) return 0;
    if (ws->server | ws->in_frame | ws->message_opcode | ws->closed | ws->check_utf8) return 0;
    *payload = p[1];
    if (p[1] == 126) {
        *payload = (size_t)p[2] << 8 | p[3];
        head = 4;
        if (*payload < 126) return 0;
    }
    /* 0 - 1 is the largest number */
    if (len - head < *payload || *payload > ws->max_message - 1) return 0;
    return head;
}

STOMP_WS_API int stws_ws_parse(char *buf, size_t len, stws_ws *ws, stws_ws_event *event,
                               size_t *used) {
    const unsigned char *p = (const unsigned char *)buf;
    unsigned long long payload;
    size_t bytes, head, whole;
    int result;
    head = stws_p_ws_usual(buf, len, ws, &whole);
    *used = head ? head + whole : 0;
    if (head) return stws_p_ws_whole(buf + head, whole, (stws_ws_opcode)(p[0] & 15), event);
    if (ws->in_frame) return stws_p_ws_data(buf, len, ws, event, used);
    if (ws->closed) *used = len; /* RFC 6455, 5.5.1: nothing counts after a close frame */
    if (ws->closed || len < 2) return STWS_MORE;
    result = stws_p_ws_check_first(ws, p[0], p[1]);
    if (result != STWS_OK) return result;
    bytes = (p[1] & 127) < 126 ? 0 : (p[1] & 127) == 126 ? 2 : 8;
    head = 2 + bytes + (ws->server ? 4u : 0u);
    if (len < 2 + bytes) return STWS_MORE;
    result = stws_p_ws_length(ws, p, bytes, &payload);
    if (result != STWS_OK) return result;
    if (len < head) return STWS_MORE;
    if (ws->server) memcpy(ws->key, p + 2 + bytes, 4);
    if (p[0] & 8) {
        if (len - head < payload) return STWS_MORE;
        *used = head + (size_t)payload;
        return stws_p_ws_control(buf + head, (size_t)payload, p[0] & 15u, ws, event);
    }
    result = stws_p_ws_begin_data(ws, p[0], payload);
    if (result != STWS_OK) return result;
    *used = head;
    return stws_p_ws_data(buf + head, len - head, ws, event, used);
}

/* Bytes that stand before a payload of that length. */
static size_t stws_p_ws_head_len(size_t len, int masked) {
    return (len < 126 ? 2u : len < 65536 ? 4u : 10u) + (masked ? 4u : 0u);
}

/* Write them; returns where the payload goes. */
static char *stws_p_ws_put_head(char *out, int opcode, int fin, size_t len,
                                const unsigned char *key) {
    unsigned char *p = (unsigned char *)out;
    unsigned masked = key ? 0x80u : 0u;
    int shift = len < 126 ? 0 : len < 65536 ? 16 : 64;
    *p++ = (unsigned char)((fin ? 0x80 : 0) | opcode);
    *p++ = (unsigned char)(masked | (shift == 0 ? len : shift == 16 ? 126u : 127u));
    while (shift) *p++ = (unsigned char)((unsigned long long)len >> (shift -= 8));
    if (key) {
        memcpy(p, key, 4);
        p += 4;
    }
    return (char *)p;
}

STOMP_WS_API int stws_ws_build(char *buf, size_t cap, stws_ws_opcode opcode, int fin,
                               const void *payload, size_t len, const unsigned char *key,
                               size_t *need) {
    size_t head = stws_p_ws_head_len(len, key != NULL);
    char *to;
    *need = 0;
    if (opcode < 0 || opcode > STWS_WS_PONG || (opcode > STWS_WS_BINARY && opcode < STWS_WS_CLOSE))
        return STWS_ERR_USAGE;
    if (opcode >= STWS_WS_CLOSE && (!fin || len > 125)) return STWS_ERR_USAGE;
    *need = head + len;
    if (cap < head || cap - head < len) return STWS_ERR_SPACE;
    to = stws_p_ws_put_head(buf, (int)opcode, fin, len, key);
    if (key) stws_ws_mask(to, payload, len, key, 0);
    else if (len && payload != to) memcpy(to, payload, len);
    return STWS_OK;
}

STOMP_WS_API size_t stws_ws_close_payload(char out[125], int code, const char *reason) {
    size_t len = stws_p_strlen(reason);
    if (code == 0 || code == STWS_P_CLOSE_NO_CODE) return 0;
    out[0] = (char)(code >> 8 & 255);
    out[1] = (char)(code & 255);
    if (len > 123) len = stws_p_utf8_cut(reason, 123, len);
    if (len) memcpy(out + 2, reason, len);
    return 2 + len;
}

/* ==== >>frame: STOMP frames, parsed in place and built (STOMP 1.0, 1.1, 1.2) ==== */
/* In the order of stws_command. */
static const char *const stws_p_commands[] = {
    "",     "CONNECT", "STOMP",  "CONNECTED", "SEND",       "SUBSCRIBE", "UNSUBSCRIBE", "ACK",
    "NACK", "BEGIN",   "COMMIT", "ABORT",     "DISCONNECT", "MESSAGE",   "RECEIPT",     "ERROR"};

enum { STWS_P_COMMAND_COUNT = sizeof stws_p_commands / sizeof *stws_p_commands };

STOMP_WS_API const char *stws_command_name(stws_command command_id) {
    return (int)command_id < STWS_P_COMMAND_COUNT ? stws_p_commands[command_id] : "";
}

static int stws_p_command_find(const char *s, size_t len) {
    int i;
    for (i = 1; i < STWS_P_COMMAND_COUNT; i++)
        if (stws_p_equal(s, len, stws_p_commands[i], strlen(stws_p_commands[i]))) return i;
    return STWS_COMMAND_OTHER;
}

/* How header text is written: CONNECT, STOMP and CONNECTED never escape, for the sake of
   1.0, which knows no escapes; before a version is known an ERROR may come from either, so
   what is no escape is left as it is. */
enum { STWS_P_RAW, STWS_P_ESCAPED_11, STWS_P_ESCAPED_12, STWS_P_ESCAPED_MAYBE };

static int stws_p_escaping(int version, int command_id) {
    if (command_id >= STWS_COMMAND_CONNECT && command_id <= STWS_COMMAND_CONNECTED)
        return STWS_P_RAW;
    if (version == STWS_STOMP_10) return STWS_P_RAW;
    if (version == STWS_STOMP_11) return STWS_P_ESCAPED_11;
    return version == STWS_STOMP_12 ? STWS_P_ESCAPED_12 : STWS_P_ESCAPED_MAYBE;
}

/* What stands for backslash and c: 0 when that is no escape. \r is none in 1.1, but servers
   escape alike in both. */
static char stws_p_escape_meaning(char c) {
    static const char escapes[] = "ncr\\", meanings[] = "\n:\r\\";
    const char *at = c ? strchr(escapes, c) : NULL;
    return (char)(at ? meanings[at - escapes] : 0);
}

/* Unescape in place, in one pass (a chain of replacements would turn "\\n" into a line
   feed); the new length, or -1. */
static long stws_p_unescape(char *s, size_t len, int escaping) {
    size_t from = 0, to = 0;
    while (from < len) {
        char meaning = 0;
        if (s[from] == '\\' && from + 1 < len) meaning = stws_p_escape_meaning(s[from + 1]);
        if (s[from] == '\\' && !meaning && escaping != STWS_P_ESCAPED_MAYBE) return -1;
        s[to++] = meaning ? meaning : s[from];
        from += meaning ? 2 : 1;
    }
    return (long)to;
}

/* Bytes looked at together while a head is scanned, and which of them mean something there:
   a bit for each. */
enum { STWS_P_BLOCK = 16 };

typedef struct stws_p_marks {
    uint32_t colons;
    /* LF, NUL, CR, backslash (and, by the way of testing, controls up to CR: a comparison more) */
    uint32_t stops;
} stws_p_marks;

#if STWS_P_SSE2
static inline __m128i stws_p_stops(__m128i v) {
    return _mm_or_si128(_mm_cmpeq_epi8(_mm_min_epu8(v, _mm_set1_epi8('\r')), v),
                        _mm_cmpeq_epi8(v, _mm_set1_epi8('\\')));
}

static inline stws_p_marks stws_p_mark_block(const char *p) {
    __m128i v = stws_p_load(p);
    stws_p_marks m;
    m.colons = (uint32_t)_mm_movemask_epi8(_mm_cmpeq_epi8(v, _mm_set1_epi8(':')));
    m.stops = (uint32_t)_mm_movemask_epi8(stws_p_stops(v));
    return m;
}
#else
static inline stws_p_marks stws_p_mark_block(const char *p) {
    stws_p_marks m = {0, 0};
    unsigned i;
    for (i = 0; i < STWS_P_BLOCK; i++) {
        if (p[i] == ':') m.colons |= 1u << i;
        else if ((unsigned char)p[i] <= '\r' || p[i] == '\\') m.stops |= 1u << i;
    }
    return m;
}
#endif

/* The marks of what may not fill a block, which is therefore not read in place. */
static stws_p_marks stws_p_mark_rest(const char *p, size_t n) {
    char copy[STWS_P_BLOCK];
    memset(copy, ' ', sizeof copy);
    memcpy(copy, p, n);
    return stws_p_mark_block(copy);
}

/* Index of the lowest bit of a mask that has one. */
static unsigned stws_p_lowest_bit(uint32_t mask) {
#if defined(__GNUC__) || defined(__clang__)
    return (unsigned)__builtin_ctz(mask);
#else
    unsigned i = 0;
    while (!(mask >> i & 1)) i++;
    return i;
#endif
}

/* The bits below the lowest one; all of them when there is none. */
static uint32_t stws_p_below(uint32_t mask) { return (mask - 1) & ~mask; }

/* The headers that a client looks at in every message are told apart once, while parsing. */
enum {
    STWS_P_DESTINATION,
    STWS_P_MESSAGE_ID,
    STWS_P_SUBSCRIPTION,
    STWS_P_CONTENT_TYPE,
    STWS_P_ACK,
    STWS_P_RECEIPT_ID,
    STWS_P_CONTENT_LENGTH,
    STWS_P_UNKNOWN
};

static inline uint64_t stws_p_word(const char *s) {
    uint64_t word;
    memcpy(&word, s, 8);
    return word;
}

/* Does a name that is one byte or more longer than 8 equal that literal? Two words that
   overlap. */
#define STWS_P_IS(name, literal)                                                                   \
    (stws_p_word(name) == stws_p_word(literal) &&                                                  \
     stws_p_word((name) + sizeof(literal) - 9) == stws_p_word(&(literal)[sizeof(literal) - 9]))

static inline int stws_p_known_header(const char *name, size_t len) {
    switch (len) {
    case 3: return memcmp(name, "ack", 3) == 0 ? STWS_P_ACK : STWS_P_UNKNOWN;
    case 10:
        if (STWS_P_IS(name, "message-id")) return STWS_P_MESSAGE_ID;
        return STWS_P_IS(name, "receipt-id") ? STWS_P_RECEIPT_ID : STWS_P_UNKNOWN;
    case 11: return STWS_P_IS(name, "destination") ? STWS_P_DESTINATION : STWS_P_UNKNOWN;
    case 12:
        if (STWS_P_IS(name, "subscription")) return STWS_P_SUBSCRIPTION;
        return STWS_P_IS(name, "content-type") ? STWS_P_CONTENT_TYPE : STWS_P_UNKNOWN;
    case 14: return STWS_P_IS(name, "content-length") ? STWS_P_CONTENT_LENGTH : STWS_P_UNKNOWN;
    default: return STWS_P_UNKNOWN;
    }
}

/* Their names in the same order, each behind its length and with its colon, to be compared
   by two words, the first 8 bytes and the last. "ack" is too short for that: its second
   word begins with the byte before the line, which is no 6. Of those that are unknown here
   RabbitMQ and Artemis have this one in each message. */
static const char stws_p_names[][16] = {
    "\13destination:",
    "\12message-id:",
    "\14subscription:",
    "\14content-type:",
    "\6",
    "\12receipt-id:",
    {14, 'c', 'o', 'n', 't', 'e', 'n', 't', '-', 'l', 'e', 'n', 'g', 't', 'h', ':'},
    "\13redelivered:"};

/* The limits of a frame when none are set, in bytes. */
enum { STWS_P_MAX_LINE = 65536, STWS_P_MAX_BODY = 16 << 20 };

enum { STWS_P_BETWEEN, STWS_P_COMMAND, STWS_P_HEADERS, STWS_P_BODY_COUNTED, STWS_P_BODY_TO_NUL };

enum { STWS_P_PADDED = STWS_STOMP_10, STWS_P_WITH_ESCAPES = 2 }; /* why a header is odd */

/* What stands for a header of the known ones that is not there. */
static const stws_header stws_p_absent = {NULL, NULL, 0, 0};

/* Which headers the known ones are, by what is now expected. It stays so for all frames with
   the same ones in the same order, which need no look at it. */
static void stws_p_know(stws_frame_state *s) {
    size_t i;
    for (i = 0; i < sizeof s->known / sizeof *s->known; i++) s->known[i] = &stws_p_absent;
    /* the first of each */
    for (i = s->header_count; i > 0; i--) s->known[s->expected[i - 1]] = &s->headers[i - 1];
    s->known_in = s->headers;
    s->known_count = s->header_count + 1; /* 0: not so */
}

/* The bytes lie elsewhere now: so do the names and values that were found before. */
static void stws_p_frame_moved(stws_frame_state *s, const char *frame) {
    size_t i;
    for (i = 0; i < s->header_count; i++) {
        s->headers[i].name = frame + ((uintptr_t)s->headers[i].name - (uintptr_t)s->base);
        s->headers[i].value = frame + ((uintptr_t)s->headers[i].value - (uintptr_t)s->base);
    }
    s->base = frame;
}

/* Between frames stand end-of-lines, which are heart-beats or padding (nobody can tell), and
   stray NULs. */
static int stws_p_between_frames(const char *buf, size_t len, stws_frame_state *s, size_t *used) {
    const char *p = buf, *end;
    int result = STWS_MORE;
    *used = 0;
    if (!len) return result;
    if (*buf >= 'A') return STWS_DONE; /* the usual case */
    end = buf + len;
    for (; p < end; p++) {
        if (*p == '\n') {
            s->heartbeats++;
        } else if (*p == '\r') {
            if (p + 1 < end && p[1] != '\n') result = STWS_ERR_FRAME_COMMAND;
            if (p + 1 == end || result < 0) break;
        } else if (*p) {
            result = STWS_DONE;
            break;
        }
    }
    *used = (size_t)(p - buf);
    return result;
}

static void stws_p_frame_begin(stws_frame_state *s, const char *frame) {
    s->base = frame;
    s->line = s->scanned = s->colon = 0;
    s->header_count = s->body_len = 0;
    s->odd = (int)s->version & STWS_P_PADDED;
    s->command_id = STWS_COMMAND_OTHER;
    if (!s->max_line) s->max_line = STWS_P_MAX_LINE;
    if (!s->max_body) s->max_body = STWS_P_MAX_BODY;
    s->phase = STWS_P_COMMAND;
}

/* RabbitMQ's longest command, and ours: what is longer is no STOMP at all. */
enum { STWS_P_MAX_COMMAND = 32 };

static int stws_p_command_done(char *frame, size_t len, size_t line_end, stws_frame_state *s) {
    if (len == 0 || len > STWS_P_MAX_COMMAND) return STWS_ERR_FRAME_COMMAND;
    s->command_id = stws_p_command_find(frame, len);
    frame[len] = 0;
    s->line = s->scanned = line_end;
    s->phase = STWS_P_HEADERS;
    return STWS_DONE;
}

static int stws_p_parse_command(char *frame, size_t len, stws_frame_state *s) {
    if (len >= 8 && memcmp(frame, "MESSAGE\n", 8) == 0) {
        s->command_id = STWS_COMMAND_MESSAGE; /* nearly all that comes */
        frame[7] = 0;
        s->line = s->scanned = 8;
        s->phase = STWS_P_HEADERS;
        return STWS_DONE;
    }
    for (; s->scanned < len; s->scanned++) {
        size_t at = s->scanned;
        if (frame[at] >= 'A' && frame[at] <= 'Z' && at < STWS_P_MAX_COMMAND) continue;
        if (frame[at] == '\n') return stws_p_command_done(frame, at, at + 1, s);
        if (frame[at] != '\r') return STWS_ERR_FRAME_COMMAND;
        if (at + 1 == len) return STWS_MORE;
        if (frame[at + 1] != '\n') return STWS_ERR_FRAME_COMMAND;
        return stws_p_command_done(frame, at, at + 2, s);
    }
    return STWS_MORE;
}

/* content-length: digits, perhaps padded. Anything else is fatal, since a guess is how
   frames are smuggled. */
static STWS_P_APART int stws_p_padded_length(stws_frame_state *s) {
    const char *value = s->known[STWS_P_CONTENT_LENGTH]->value;
    size_t len = s->known[STWS_P_CONTENT_LENGTH]->value_len;
    int is_number;
    stws_p_trim(&value, &len);
    is_number = stws_p_number(value, len, s->max_body, &s->body_len);
    if (is_number < 0) return STWS_ERR_FRAME_BODY;
    return is_number ? (int)STWS_DONE : (int)STWS_ERR_FRAME_LENGTH;
}

static int stws_p_content_length(stws_frame_state *s) {
    const stws_header *h = s->known[STWS_P_CONTENT_LENGTH];
    if (STWS_P_LIKELY(stws_p_number(h->value, h->value_len, s->max_body, &s->body_len) > 0))
        return STWS_DONE;
    return stws_p_padded_length(s);
}

/* STOMP 1.0's own examples pad ("login: <username>"); from 1.1 on blanks are data. */
static char *stws_p_trim_in_place(char *s, size_t *len) {
    const char *trimmed = s;
    stws_p_trim(&trimmed, len);
    return s + (trimmed - s);
}

/* The rarer work on a header: 1.0's padding goes, escapes are undone. */
static int stws_p_decode_header(char *name, char *value, stws_header *h,
                                const stws_frame_state *s) {
    int escaping = stws_p_escaping((int)s->version, s->command_id);
    long name_len, value_len;
    if (s->version == STWS_STOMP_10) {
        name = stws_p_trim_in_place(name, &h->name_len);
        value = stws_p_trim_in_place(value, &h->value_len);
        if (h->name_len == 0) return STWS_ERR_FRAME_HEADER;
    }
    if (escaping != STWS_P_RAW) {
        name_len = stws_p_unescape(name, h->name_len, escaping);
        value_len = stws_p_unescape(value, h->value_len, escaping);
        if (name_len < 0 || value_len < 0) return STWS_ERR_FRAME_ESCAPE;
        h->name_len = (size_t)name_len;
        h->value_len = (size_t)value_len;
    }
    h->name = name;
    h->value = value;
    name[h->name_len] = 0;
    value[h->value_len] = 0;
    return STWS_DONE;
}

static int stws_p_header_wrong(size_t len, size_t name_len, const stws_frame_state *s) {
    if (len > s->max_line) return STWS_ERR_FRAME_LINE;
    return name_len ? STWS_ERR_FRAME_HEADERS : STWS_ERR_FRAME_HEADER;
}

/* A line is whole: make it a header. `odd`: it has escapes or padding. */
static int stws_p_header_done(char *line, char *colon, char *end, stws_frame_state *s, int odd) {
    stws_header *h = s->headers + s->header_count;
    size_t len = (size_t)(end - line), name_len = colon ? (size_t)(colon - line) : 0;
    int known;
    if (len > s->max_line || !name_len || s->header_count == s->max_headers)
        return stws_p_header_wrong(len, name_len, s);
    s->header_count++;
    h->name = line;
    h->value = colon + 1;
    h->name_len = name_len;
    h->value_len = len - name_len - 1;
    if (odd) {
        int result = stws_p_decode_header(line, colon + 1, h, s);
        if (result < 0) return s->header_count--, result;
    }
    *colon = *end = 0;
    known = stws_p_known_header(h->name, h->name_len);
    if (s->known[known]->value) return STWS_DONE; /* STOMP 1.2, "Repeated Header Entries" */
    s->known[known] = h;
    s->known_count = 0;
    return known == STWS_P_CONTENT_LENGTH ? stws_p_content_length(s) : (int)STWS_DONE;
}

static int stws_p_head_done(const char *frame, const char *line_end, stws_frame_state *s) {
    s->line = s->scanned = (size_t)(line_end + 1 - frame);
    s->phase = s->known[STWS_P_CONTENT_LENGTH]->value ? STWS_P_BODY_COUNTED : STWS_P_BODY_TO_NUL;
    return STWS_DONE;
}

/* Keep where the scan stands, for when more has come. */
static int stws_p_head_pause(const char *frame, const char *line, size_t colon, const char *scanned,
                             int odd, stws_frame_state *s) {
    s->line = (size_t)(line - frame);
    s->colon = colon;
    s->odd = odd;
    s->scanned = (size_t)(scanned - frame);
    if (s->scanned - s->line > s->max_line) return STWS_ERR_FRAME_LINE;
    return STWS_MORE;
}

/* What stands in a line beside its colon and its end. STWS_MORE: the next byte has to tell. */
static int stws_p_head_other(const char *at, const char *end, int version, int *odd) {
    if (*at == 0) return STWS_ERR_FRAME_NUL;
    if (*at == '\\') *odd |= STWS_P_WITH_ESCAPES;
    if (*at != '\r') return STWS_DONE;
    if (at + 1 == end) return STWS_MORE;
    return at[1] != '\n' && version == STWS_STOMP_12 ? (int)STWS_ERR_FRAME_CR : STWS_DONE;
}

/* From block to block up to the next stop, or colon if one is looked for. NULL: none is in
   the blocks that are here; `at` begins in one. */
static inline char *stws_p_find_mark(char *at, const char *last_block, int or_colon) {
    do {
        stws_p_marks marks = stws_p_mark_block(at);
        uint32_t found = or_colon ? marks.colons | marks.stops : marks.stops;
        if (STWS_P_LIKELY(found)) return at + stws_p_lowest_bit(found);
        at += STWS_P_BLOCK;
    } while (at <= last_block);
    return NULL;
}

/* The colon behind a name that was not expected here, and is from now on. NULL: the line
   needs another look. */
static STWS_P_APART char *stws_p_other_name(char *line, const char *last_block, stws_frame_state *s,
                                            unsigned char *expected) {
    char *colon = stws_p_find_mark(line, last_block, 1);
    int known;
    if (!colon || *colon != ':' || colon == line || colon >= last_block) return NULL;
    known = stws_p_known_header(line, (size_t)(colon - line));
    if (known != *expected) s->known_count = 0;
    *expected = (unsigned char)known;
    return colon;
}

/* The first lines, as far as they are usual: here to their ends and a block more, and with
   nothing odd in them. Servers put headers in the same order each time, so a name is first
   compared with what stood there in the frame before. The line after them is returned, be it
   one that needs another look or the empty one. */
static char *stws_p_usual_lines(char *line, const char *last_block, stws_frame_state *s) {
    stws_header *h = s->headers;
    const stws_header *full =
        h + (s->max_headers < sizeof s->expected ? s->max_headers : sizeof s->expected);
    unsigned char *expected = s->expected;
    const char *last_line = last_block - STWS_P_BLOCK;
    for (; h < full && line <= last_line; h++, expected++) {
        const char *name = stws_p_names[*expected];
        size_t len = (size_t)*name;
        char *value = line + len + 1, *end;
        if (!STWS_P_LIKELY(stws_p_word(line) == stws_p_word(name + 1)) ||
            !STWS_P_LIKELY(stws_p_word(value - 8) == stws_p_word(name + len - 6))) {
            char *colon = *line == '\n' ? NULL : stws_p_other_name(line, last_block, s, expected);
            if (!colon) break;
            len = (size_t)(colon - line);
            value = colon + 1;
        }
        end = stws_p_find_mark(value, last_block, 0);
        if (!end || *end != '\n') break;
        h->name = line;
        h->name_len = len;
        h->value = value;
        h->value_len = (size_t)(end - value);
        value[-1] = *end = 0;
        line = end + 1;
    }
    s->header_count = (size_t)(h - s->headers);
    if (s->headers != s->known_in || s->header_count + 1 != s->known_count) stws_p_know(s);
    return line;
}

/* The first look at a head, which is the last one unless something in it is unusual, or not
   here yet. */
static int stws_p_begin_head(char *frame, size_t len, stws_frame_state *s) {
    size_t near = len - s->line; /* so far that no line could be too long */
    char *at = frame + s->line;
    int result = STWS_DONE;
    if (near > s->max_line) near = s->max_line;
    if (s->odd || near < STWS_P_BLOCK + STWS_P_BLOCK) {
        stws_p_know(s);
        return STWS_DONE;
    }
    at = stws_p_usual_lines(at, at + near - STWS_P_BLOCK, s);
    s->line = s->scanned = (size_t)(at - frame);
    if (s->known[STWS_P_CONTENT_LENGTH]->value) result = stws_p_content_length(s);
    if (result < 0 || at == frame + len || *at != '\n') return result;
    return stws_p_head_done(frame, at, s);
}

/* All header lines that are there, each from block to block up to its end. STWS_DONE: the
   head has ended. */
static STWS_P_APART int stws_p_parse_head(char *frame, size_t len, stws_frame_state *s) {
    char *line = frame + s->line, *at = frame + s->scanned, *end;
    size_t colon = s->colon; /* where it stands in the frame, 0: not seen yet */
    int odd = s->odd, result = STWS_MORE;
    while (at < frame + len) {
        size_t rest = (size_t)(frame + len - at);
        stws_p_marks marks =
            rest < STWS_P_BLOCK ? stws_p_mark_rest(at, rest) : stws_p_mark_block(at);
        marks.colons &= stws_p_below(marks.stops);
        if (!colon && marks.colons) colon = (size_t)(at - frame) + stws_p_lowest_bit(marks.colons);
        if (!marks.stops) {
            at += rest < STWS_P_BLOCK ? rest : (size_t)STWS_P_BLOCK;
            continue;
        }
        at += stws_p_lowest_bit(marks.stops);
        if (*at != '\n') {
            result = stws_p_head_other(at, frame + len, (int)s->version, &odd);
            if (result != STWS_DONE) break;
            at++;
            continue;
        }
        end = at[-1] == '\r' ? at - 1 : at; /* of this line: the one before ends in LF or NUL */
        if (end == line) return stws_p_head_done(frame, at, s);
        result = stws_p_header_done(line, colon ? frame + colon : NULL, end, s, odd);
        if (result < 0) break;
        line = ++at;
        colon = 0;
        odd &= STWS_P_PADDED;
    }
    if (result >= 0) return stws_p_head_pause(frame, line, colon, at, odd, s);
    s->line = (size_t)(line - frame); /* for whoever wants to see what was refused */
    return result;
}

/* The body: STWS_DONE when its NUL is there. */
static int stws_p_parse_body(const char *frame, size_t len, stws_frame_state *s) {
    if (s->phase == STWS_P_BODY_TO_NUL) {
        const void *found =
            len > s->scanned ? memchr(frame + s->scanned, 0, len - s->scanned) : NULL;
        const char *nul = (const char *)found;
        s->scanned = nul ? (size_t)(nul - frame) : len;
        s->body_len = s->scanned - s->line;
        if (s->body_len > s->max_body) return STWS_ERR_FRAME_BODY;
        return nul ? STWS_DONE : STWS_MORE;
    }
    if (len - s->line <= s->body_len) return STWS_MORE;
    if (frame[s->line + s->body_len]) return STWS_ERR_FRAME_NUL;
    return STWS_DONE;
}

STOMP_WS_API int stws_frame_parse(char *buf, size_t len, stws_frame_state *s, stws_frame *frame,
                                  size_t *used) {
    char *at = buf;
    int result = STWS_DONE;
    *used = 0;
    if (s->phase == STWS_P_BETWEEN) {
        result = stws_p_between_frames(buf, len, s, used);
        if (result != STWS_DONE) return result;
        at += *used;
        len -= *used;
        stws_p_frame_begin(s, at);
    } else if (at != s->base) {
        stws_p_frame_moved(s, at);
    }
    if (s->phase == STWS_P_COMMAND) {
        result = stws_p_parse_command(at, len, s);
        if (result == STWS_DONE) result = stws_p_begin_head(at, len, s);
    }
    if (result == STWS_DONE && s->phase == STWS_P_HEADERS) result = stws_p_parse_head(at, len, s);
    if (result == STWS_DONE) result = stws_p_parse_body(at, len, s);
    if (result != STWS_DONE) return result;
    frame->command = at;
    frame->command_id = (stws_command)s->command_id;
    frame->content_length =
        s->phase == STWS_P_BODY_TO_NUL ? STWS_CONTENT_LENGTH_OMIT : STWS_CONTENT_LENGTH_SEND;
    frame->headers = s->headers;
    frame->header_count = s->header_count;
    frame->body = at + s->line;
    frame->body_len = s->body_len;
    *used += s->line + s->body_len + 1;
    s->phase = STWS_P_BETWEEN;
    return STWS_DONE;
}

STOMP_WS_API const char *stws_frame_header(const stws_frame *frame, const char *name) {
    size_t len = strlen(name), i;
    for (i = 0; i < frame->header_count; i++)
        if (stws_p_equal(frame->headers[i].name, frame->headers[i].name_len, name, len))
            return frame->headers[i].value;
    return NULL;
}

/* ---- building ---- */

static size_t stws_p_len_or_strlen(const char *s, size_t len) {
    return len ? len : stws_p_strlen(s);
}

/* The second byte of the escape for c, 0 when c stands for itself, -1 when this version
   cannot say it. */
static int stws_p_escape_for(char c, int escaping, int in_name) {
    if (c == 0) return -1;
    if (escaping == STWS_P_RAW) return c == '\n' || c == '\r' || (c == ':' && in_name) ? -1 : 0;
    if (c == '\n') return 'n';
    if (c == ':') return 'c';
    if (c == '\\') return '\\';
    if (c == '\r') return escaping == STWS_P_ESCAPED_11 ? -1 : 'r';
    return 0;
}

/* Has the text a byte that headers escape? Most have none, and are then copied as they are. */
#if STWS_P_SSE2
static inline __m128i stws_p_escaped(__m128i v) {
    return _mm_or_si128(stws_p_stops(v), _mm_cmpeq_epi8(v, _mm_set1_epi8(':')));
}
#endif
static int stws_p_is_plain(const char *s, size_t len) {
#if STWS_P_SSE2
    if (len >= 16) { /* the last 16 bytes first, then from the front up to them */
        const char *last = s + len - 16;
        __m128i escaped = stws_p_escaped(stws_p_load(last));
        for (; s < last; s += 16) escaped = _mm_or_si128(escaped, stws_p_escaped(stws_p_load(s)));
        return _mm_movemask_epi8(escaped) == 0;
    }
#endif
    for (; len > 0; s++, len--)
        if ((unsigned char)*s <= '\r' || *s == '\\' || *s == ':') return 0;
    return 1;
}

/* Header text as the version says it, written to where `to` points, or only measured when
   that is NULL: its bytes, or SIZE_MAX when it cannot be said. */
static size_t stws_p_say_text(char *to, const char *s, size_t len, int escaping, int in_name) {
    size_t size = 0, i;
    if (stws_p_is_plain(s, len)) {
        if (to && len) memcpy(to, s, len);
        return len;
    }
    for (i = 0; i < len; i++) {
        int escape = stws_p_escape_for(s[i], escaping, in_name);
        if (escape < 0) return SIZE_MAX;
        if (to && escape) to[size] = '\\';
        size += escape != 0;
        if (to) to[size] = escape ? (char)escape : s[i];
        size++;
    }
    return size;
}

static int stws_p_may_have_body(int command_id) {
    return command_id == STWS_COMMAND_SEND || command_id == STWS_COMMAND_MESSAGE ||
           command_id == STWS_COMMAND_ERROR || command_id == STWS_COMMAND_OTHER;
}

/* The command, written or measured like header text; 0 when it is none. */
static size_t stws_p_say_command(char *to, const char *command) {
    size_t n = 0;
    for (; command[n] >= 'A' && command[n] <= 'Z' && n < STWS_P_MAX_COMMAND; n++)
        if (to) to[n] = command[n];
    return command[n] ? 0 : n;
}

/* A content-length of the caller's own: it must be right. */
static int stws_p_length_is(const stws_header *h, size_t body_len) {
    size_t value = 0;
    return stws_p_number(h->value, stws_p_len_or_strlen(h->value, h->value_len), SIZE_MAX,
                         &value) == 1 &&
           value == body_len;
}

/* A body that holds a NUL has no end without a content-length, so it gets one even when
   asked not to. */
static int stws_p_wants_length(const stws_frame *frame) {
    if (frame->body_len == 0) return 0;
    return !frame->content_length || memchr(frame->body, 0, frame->body_len) != NULL;
}

/* One header, measured or written like its text; SIZE_MAX when it cannot be said. Names that
   we know need no escapes. */
static size_t stws_p_say_header(char *to, const stws_header *h, size_t name_len, int known,
                                int escaping) {
    size_t name = name_len, value;
    if (known == STWS_P_UNKNOWN) name = stws_p_say_text(to, h->name, name_len, escaping, 1);
    else if (to) memcpy(to, h->name, name_len);
    if (name == 0 || name == SIZE_MAX) return SIZE_MAX;
    value = stws_p_len_or_strlen(h->value, h->value_len);
    value = stws_p_say_text(to ? to + name + 1 : NULL, h->value, value, escaping, 0);
    if (value == SIZE_MAX) return SIZE_MAX;
    if (to) {
        to[name] = ':';
        to[name + 1 + value] = '\n';
    }
    return name + value + 2;
}

enum { STWS_P_LENGTH_LINE = 36 };

/* The line of a content-length: its bytes. */
static size_t stws_p_say_length(char *to, size_t body_len) {
    size_t digits = stws_p_digits(body_len, to + 15);
    memcpy(to, "content-length:", 15);
    to[15 + digits] = '\n';
    return 16 + digits;
}

/* A reader of 1.0 would take the blanks off such a name. */
static int stws_p_is_padded(const char *s, size_t len) {
    return len && (*s == ' ' || *s == '\t' || s[len - 1] == ' ' || s[len - 1] == '\t');
}

/* Everything up to the body, written to `to`, or only measured when that is NULL: its
   bytes; 0 when it cannot be said. */
static size_t stws_p_say_head(char *to, int version, const stws_frame *frame) {
    const char *command = frame->command ? frame->command : stws_command_name(frame->command_id);
    size_t n = stws_p_say_command(to, command), i, bytes;
    int id = frame->command ? stws_p_command_find(command, n) : (int)frame->command_id;
    int escaping = stws_p_escaping(version, id), wants_length = stws_p_wants_length(frame),
        has_length = 0;
    char line[STWS_P_LENGTH_LINE];
    if (!n || (frame->body_len && !stws_p_may_have_body(id))) return 0;
    if (to) to[n] = '\n';
    n++;
    for (i = 0; i < frame->header_count; i++) {
        const stws_header *h = &frame->headers[i];
        size_t name_len = stws_p_len_or_strlen(h->name, h->name_len);
        int known = stws_p_known_header(h->name, name_len);
        if (known == STWS_P_UNKNOWN && version == STWS_STOMP_10 &&
            stws_p_is_padded(h->name, name_len))
            return 0;
        if (known == STWS_P_CONTENT_LENGTH) {
            if (has_length++ || !stws_p_length_is(h, frame->body_len)) return 0;
            wants_length = 0;
        }
        bytes = stws_p_say_header(to ? to + n : NULL, h, name_len, known, escaping);
        if (bytes == SIZE_MAX) return 0;
        n += bytes;
    }
    if (wants_length) n += stws_p_say_length(to ? to + n : line, frame->body_len);
    if (to) to[n] = '\n';
    return n + 1;
}

/* Upper bound of a frame's head: every byte escaped, the longest command, content-length
   and all line ends. */
static size_t stws_p_head_bound(const stws_frame *frame) {
    size_t bound = STWS_P_MAX_COMMAND + 64, i;
    for (i = 0; i < frame->header_count; i++) {
        const stws_header *h = &frame->headers[i];
        size_t text = stws_p_len_or_strlen(h->name, h->name_len) +
                      stws_p_len_or_strlen(h->value, h->value_len);
        /* no buffer is so large */
        if (sizeof text < 8 && text > (SIZE_MAX / 2 - bound) / 2 - 1) return SIZE_MAX / 2;
        bound += 2 * text + 2;
    }
    return bound;
}

STOMP_WS_API int stws_frame_build(char *buf, size_t cap, stws_stomp_version version,
                                  const stws_frame *frame, size_t *need) {
    size_t bound = stws_p_head_bound(frame);
    /* then it need not be measured first */
    int fits = bound < cap && frame->body_len < cap - bound;
    size_t head = stws_p_say_head(fits ? buf : NULL, (int)version, frame);
    *need = 0;
    if (!head) return STWS_ERR_FRAME_BUILD;
    *need = head + frame->body_len + 1;
    if (*need > cap) return STWS_ERR_SPACE;
    if (!fits) stws_p_say_head(buf, (int)version, frame);
    if (frame->body_len) memcpy(buf + head, frame->body, frame->body_len);
    buf[head + frame->body_len] = 0;
    return STWS_OK;
}

/* ==== >>dedup: the ids of the last messages, in fixed memory ==== */
/* An array. The first 16 bytes of an id's SHA-1 stand for the id. They are in a tree, in
   which the bits of a digest are the way to it, and in a ring by age. A peer that chooses
   the ids cannot make the way long, as ids that share N bits take 2^N tries: so the cost has
   a bound without any secret key. Entry 0 has no id: its child 0 is the root, its newer
   neighbour the oldest entry, its older one the newest. */
struct stws_dedup {
    unsigned char digest[16];
    uint32_t child[2], older, newer; /* indices; a child of 0: none */
};

STOMP_WS_API size_t stws_dedup_size(size_t count) {
    return ((count ? count : 1) + 1) * sizeof(stws_dedup);
}

STOMP_WS_API stws_dedup *stws_dedup_init(void *memory, size_t count) {
    stws_dedup *d = (stws_dedup *)memory;
    size_t all = (count ? count : 1) + 1, i;
    memset(d, 0, stws_dedup_size(count));
    for (i = 0; i < all; i++) {
        d[i].older = (uint32_t)((i + all - 1) % all);
        d[i].newer = (uint32_t)((i + 1) % all);
    }
    return d;
}

/* Where the index of a digest's entry stands in the tree, or, when it is 0, has to stand. */
static uint32_t *stws_p_dedup_find(stws_dedup *d, const unsigned char *digest) {
    uint32_t *at = &d->child[0];
    unsigned bit;
    for (bit = 0; *at && memcmp(d[*at].digest, digest, 16) != 0; bit++)
        at = &d[*at].child[digest[bit / 8] >> bit % 8 & 1];
    return at;
}

/* Take the entry whose index stands there, if one does, out of the tree. Any leaf below
   takes its place. */
static void stws_p_dedup_forget(stws_dedup *d, uint32_t *at) {
    uint32_t *leaf = at, index;
    if (!*at) return;
    while (d[*leaf].child[0] | d[*leaf].child[1]) leaf = &d[*leaf].child[!d[*leaf].child[0]];
    index = *leaf;
    *leaf = 0;
    if (leaf == at) return;
    memcpy(d[index].child, d[*at].child, sizeof d->child);
    *at = index;
}

STOMP_WS_API int stws_dedup_seen(stws_dedup *d, const char *id) {
    unsigned char digest[20];
    uint32_t index;
    int found;
    if (!id) return 0;
    stws_p_sha1(id, strlen(id), digest);
    index = *stws_p_dedup_find(d, digest);
    found = index != 0;
    if (!found) {
        index = d->newer;
        stws_p_dedup_forget(d, stws_p_dedup_find(d, d[index].digest));
        memset(d[index].child, 0, sizeof d->child);
        memcpy(d[index].digest, digest, 16);
        *stws_p_dedup_find(d, digest) = index;
    }
    d[d[index].older].newer = d[index].newer;
    d[d[index].newer].older = d[index].older;
    d[index].older = d->older;
    d[index].newer = 0;
    d[d->older].newer = index;
    d->older = index;
    return found;
}

#ifndef STOMP_WS_NO_IO

/* ==== >>session: one STOMP session and its tables: bytes in, bytes out, no system call ==== */
#define STWS_P_US 1000LL /* microseconds in a millisecond: options are in ms, the clock in us */
#define STWS_P_NEVER 9223372036854775807LL /* as a time or a deadline: later than any other */

/* bytes of randomness asked for at a time, at most: 64 masking keys */
enum { STWS_P_POOL = 256 };

enum { STWS_P_WS_HEAD = 14 }; /* the longest head of a WebSocket frame */

enum { STWS_P_SAID_BEGIN = sizeof "SEND\ndestination:" - 1 };

enum { STWS_P_PIECE = 8192 }; /* what Tomcat takes as one WebSocket message by default */

enum { STWS_P_TEXT = 640, STWS_P_MIN_TEXT = 256 }; /* of error sentences */

/* of what they say of our own lateness, of an idle connection */
enum { STWS_P_LATE = 208, STWS_P_IDLE = 320 };

enum { STWS_P_SAID = 288 }; /* longest head of a SEND that is kept for the next one, at most */

enum { STWS_P_STABLE_ID = 48 };

/* of answers to the upgrade */
enum { STWS_P_KEPT_HEAD = 4096, STWS_P_JAR = 2048, STWS_P_MOVED = 1024 };

/* What compilers say in their own ways; values that another thread may be reading while we
   write them. */
#if defined(__GNUC__) || defined(__clang__)
#define STWS_P_LOAD(p) __atomic_load_n(p, __ATOMIC_ACQUIRE)
#define STWS_P_STORE(p, v) __atomic_store_n(p, v, __ATOMIC_RELEASE)
#define STWS_P_SWAP(p, v) __atomic_exchange_n(p, v, __ATOMIC_SEQ_CST)
#define STWS_P_TAKE(p, old, v)                                                                     \
    __atomic_compare_exchange_n(p, old, v, 0, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST)
#define STWS_P_THREAD_LOCAL __thread
#else
#define STWS_P_LOAD(p) (*(p))
#define STWS_P_STORE(p, v) (void)(*(p) = (v))
#ifdef __cplusplus
#define STWS_P_THREAD_LOCAL thread_local
#elif defined(__STDC_VERSION__) && __STDC_VERSION__ >= 201112L && !defined(__STDC_NO_THREADS__)
#define STWS_P_THREAD_LOCAL _Thread_local
#else /* then a thread may be told the refusal of another */
#define STWS_P_THREAD_LOCAL
#endif
#if defined(STOMP_WS_NO_THREADS) || defined(STOMP_WS_NO_IO)
#define STWS_P_SWAP(p, v) (void)(*(p) = (v))
#define STWS_P_TAKE(p, old, v) (*(p) == *(old) && ((*(p) = (v)), 1))
#else
/* The compiler has nothing for this: one lock for all such values. */
static void stws_p_lock_atomics(int locks) {
    static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    if (locks) pthread_mutex_lock(&lock);
    else pthread_mutex_unlock(&lock);
}

static int stws_p_take_with_lock(uintptr_t *p, uintptr_t old, uintptr_t v) {
    int taken;
    stws_p_lock_atomics(1);
    taken = *p == old;
    if (taken) *p = v;
    stws_p_lock_atomics(0);
    return taken;
}

#define STWS_P_SWAP(p, v) (void)(stws_p_lock_atomics(1), *(p) = (v), stws_p_lock_atomics(0))
#define STWS_P_TAKE(p, old, v) stws_p_take_with_lock(p, *(old), v)
#endif
#endif
#ifdef STOMP_WS_NO_THREADS
#undef STWS_P_THREAD_LOCAL
#define STWS_P_THREAD_LOCAL
#endif

/* A byte buffer with data in [begin, end). */
typedef struct stws_p_buffer {
    char *data;
    size_t cap, begin, end;
    int on_heap;
    int busy; /* being written from without the lock: append, but do not move */
} stws_p_buffer;

/* Bytes that came in, two stretches of one buffer: [begin, end) is STOMP, freed of WebSocket
   frame heads; [raw, raw_end) behind it is not yet looked at. While both touch, nothing is
   ever moved. */
typedef struct stws_p_input {
    char *data;
    size_t cap, begin, end, raw, raw_end;
    int on_heap;
} stws_p_input;

/* The life of a place in the table of subscriptions. Only stws_p_sub_enter changes it.

        FREE --add--> UNSENT --SUBSCRIBE--> SENT --unsubscribe--> ENDED
                      ^    |                  |
                      v    +---> SKIPPED      +---> ASIDE
                 WAITS_FOR_ID

   The end of a session leads from each state but FREE and ASIDE to UNSENT. The end of the
   subscription leads from each state to FREE. */
typedef enum stws_p_sub_state {
    STWS_P_SUB_FREE,
    STWS_P_SUB_UNSENT, /* its SUBSCRIBE is to be sent, in this session or in the next one */
    /* an UNSUBSCRIBE with the same id waits in the outbox, and has to be sent before */
    STWS_P_SUB_WAITS_FOR_ID,
    STWS_P_SUB_SENT,    /* its SUBSCRIBE was sent in this session */
    STWS_P_SUB_SKIPPED, /* it could not be sent, or the program declined: not in this session */
    STWS_P_SUB_ENDED,   /* the program has ended it; it stays while its UNSUBSCRIBE has no room */
    STWS_P_SUB_ASIDE    /* three sessions in a row ended because of it: not in any session */
} stws_p_sub_state;

/* How much a subscription is suspected of ending sessions: not at all; as one of several;
   and, from there on, one more for each session in a row that ended after it alone. */
enum { STWS_P_INNOCENT, STWS_P_ONE_OF_SEVERAL, STWS_P_ALONE, STWS_P_GUILTY = STWS_P_ALONE + 2 };

/* A subscription is on trial for so long after its SUBSCRIBE. */
#define STWS_P_TRIAL_US 1000000LL

typedef struct stws_p_sub {
    int handle; /* 0: free; read without the lock, see stws_p_receiver */
    /* of the chain of the users' ids whose hash is this place's number; places count from 1,
       0 is none */
    int head;
    stws_message_fn on_message;
    void *user;
    int receipt; /* number of the one it will ask for; 0: none */
    int next;    /* in its chain */
    int prefetch;
    /* its texts: destination, id, ack mode, durable name, then names and values, each with
       its NUL */
    int header_count;
    /* pinned: its texts are read without the lock */
    unsigned char custom_id, ack_on, wants_receipt, pinned;
    unsigned char state;               /* stws_p_sub_state */
    unsigned char on_trial, suspicion; /* see STWS_P_TRIAL_US, STWS_P_INNOCENT */
} stws_p_sub;

typedef struct stws_p_subs {
    stws_p_sub *slots;
    int count;               /* slots */
    int live, unsent;        /* slots that are not FREE; those that are UNSENT */
    int next_handle, cursor; /* cursor: slot where the search for the unsent begins */
    int on_trial, suspects;  /* how many are on trial; how many are not innocent */
    int trials_lost;         /* sessions in a row that ended while some were on trial */
    long long trial_us;      /* when the trial began: the last SUBSCRIBE, or CONNECTED */
    char *texts;             /* text_size bytes a slot */
    size_t text_size;
} stws_p_subs;

/* The life of a receipt that was asked for.

        FREE --add--> KEPT --its frame was sent, and is not kept--> SENT --> DONE --take--> FREE

   A KEPT one may also become DONE, and FREE if its frame was not accepted. */
typedef enum stws_p_receipt_state {
    STWS_P_RECEIPT_FREE,
    STWS_P_RECEIPT_KEPT, /* its frame is still to be sent, or may be sent again: no deadline */
    STWS_P_RECEIPT_SENT, /* its frame was sent: it ends at its deadline, or with the session */
    STWS_P_RECEIPT_DONE  /* it has a result, which is to be told */
} stws_p_receipt_state;

typedef struct stws_p_receipt {
    int number;
    stws_p_receipt_state state;
    int result, handle;
    int next_done;                  /* place of the one that ended after it */
    long long sent_us, deadline_us; /* deadline_us: STWS_P_NEVER while KEPT */
} stws_p_receipt;

/* The life of a record in the outbox. Only stws_p_record_enter changes it.

        WAITING --written--> SENT --receipt, or not asked for--> CONFIRMED --> DONE
           ^                  |                                      |
           +------------------+--- the session has ended ------------+

   A record that is alone goes from CONFIRMED to DONE at once, and a part of a transaction when
   the transaction is over. A record that is dropped is DONE. */
typedef enum stws_p_record_state {
    STWS_P_RECORD_WAITING,   /* to be sent */
    STWS_P_RECORD_SENT,      /* sent in this session; its receipt is to come */
    STWS_P_RECORD_CONFIRMED, /* sent, and no receipt is to come: kept for its transaction */
    STWS_P_RECORD_BROKEN,    /* a BEGIN: its transaction cannot be sent whole any more */
    STWS_P_RECORD_DONE       /* may leave the outbox */
} stws_p_record_state;

/* A frame that waits, whole: its headers and texts lie behind it. */
typedef struct stws_p_record {
    size_t size;
    stws_frame frame;
    int receipt;           /* number of the receipt that confirms it; 0: none */
    unsigned epoch;        /* it means something in this session only; 0: in any */
    unsigned char state;   /* stws_p_record_state */
    unsigned char confirm; /* its receipt confirms it */
    unsigned char tied;    /* part of a transaction, which keeps it until that is over */
    uint32_t link;         /* the next record of its chain, see stws_p_chain_of */
    long long sent_us;
} stws_p_record;

/* A ring of entries of any size, none of them split: [head, wrap) and then [0, tail), or
   just [head, tail). Each begins with its size. Entries are taken at `next` and leave at
   `head`, so that what was taken may stay for a while. */
typedef struct stws_p_ring {
    char *data;
    size_t cap, head, tail, wrap, next;
    size_t count, untaken, used; /* used: bytes at its begin that ever held something */
} stws_p_ring;

typedef struct stws_p_session {
    stws *client;
    const stws_options *options;
    stws_p_buffer out;
    stws_p_input in;
    stws_ws ws;
    stws_frame_state parser;
    stws_header *build_headers; /* table for the one draft at a time, under the lock */
    stws_header *trace_headers; /* table for the one that on_trace sees */
    /* of a SEND; its first part, up to the '-', is this client's for good */
    char *stable_id;
    unsigned long long last_id; /* the number in it */
    char *said;                 /* see stws_p_note_said: a head, and how long it is in all, */
    /* for what body, without content-length, its destination */
    size_t said_len, said_body, said_own, said_destination;
    uintptr_t said_to; /* where the destination of the last SEND lies */
    stws_message message;
    int answered;        /* the user has sent an ACK or NACK for it */
    int in_opcode;       /* of the message its bytes came in */
    size_t taken;        /* bytes of the frame that was handed out last */
    int dry;             /* what was read has been looked at, and holds no whole frame more */
    unsigned char *pool; /* as large as the output asks for, like `said` */
    int no_random;       /* there was no masking key: nothing more can be sent in this session */
    size_t said_cap, pool_size, pool_left;
    stws_random random;
    int version, broker, peer_close_code;
    unsigned epoch;
    long long heartbeat_out_us, heartbeat_in_us, last_in_us, last_out_us;
    long long ping_us, last_ping_us; /* PINGs are sent so often; 0: none */
    /* something comes from the server so often: heartbeat_in_us, or ping_us; 0: nobody knows */
    long long expected_us;
    int pinged; /* a PING was sent in this session */
    char pong[125];
    unsigned char pong_len, pong_due;
    /* lies in the client's `where`, and is looked at once, before that is used */
    char *peer_close_reason;
    stws_p_subs subs;
    stws_p_receipt *receipts;
    int next_receipt, receipts_waiting, receipts_done, first_done, last_done;
    stws_p_ring outbox;
    uint32_t *chains;   /* with confirm: the records by their receipts' numbers */
    size_t chain_count; /* a power of two */
    size_t unconfirmed; /* records whose confirmation is to come */
    stws_statistics stats;
} stws_p_session;

/* ---- randomness: masking keys out of a pool ---- */

/* 0, or -1 without randomness. A source of nothing but zeros has failed without saying so:
   eight of them come by chance once in 2^64 times. */
static int stws_p_random_from(const stws_random *source, void *out, size_t len) {
    const unsigned char *p = (const unsigned char *)out;
    size_t i = 0;
    if (source->fill(source->ctx, out, len) != 0) return -1;
    while (i < len && !p[i]) i++;
    return i == len && len >= 8 ? -1 : 0;
}

static int stws_p_random(const stws_p_session *s, void *out, size_t len) {
    return stws_p_random_from(&s->random, out, len);
}

/* Four fresh bytes from the CSPRNG (RFC 6455, 5.3 and 10.3), never all zero, which would
   mask nothing. */
static int stws_p_masking_key(stws_p_session *s, unsigned char key[4]) {
    static const unsigned char zero[4] = {0, 0, 0, 0};
    do {
        if (s->pool_left < 4) {
            if (stws_p_random(s, s->pool, s->pool_size) != 0)
                return STWS_P_STORE(&s->no_random, 1), 0;
            s->pool_left = s->pool_size;
        }
        s->pool_left -= 4;
        memcpy(key, s->pool + s->pool_left, 4);
    } while (memcmp(key, zero, 4) == 0);
    return 1;
}

/* ---- trace: what the user may see of a frame ---- */

static void stws_p_trace_shown(const stws_p_session *s, stws_direction direction,
                               const stws_frame *frame) {
    static const char secrets[] =
        "passcode,authorization,proxy-authorization,cookie,set-cookie,x-csrf-token";
    stws_header *shown = s->trace_headers, *h;
    stws_frame copy;
    copy = *frame;
    if (copy.header_count > s->options->max_headers) copy.header_count = s->options->max_headers;
    if (copy.header_count) memcpy(shown, frame->headers, copy.header_count * sizeof *h);
    for (h = shown; h < shown + copy.header_count; h++) {
        h->name_len = stws_p_len_or_strlen(h->name, h->name_len);
        if (stws_p_list_has(secrets, h->name, h->name_len, 1)) h->value = "***";
        h->value_len = strlen(h->value);
    }
    copy.headers = shown;
    if (!copy.command) copy.command = stws_command_name(copy.command_id);
    if (!copy.body) copy.body = "";
    s->options->on_trace(s->client, direction, &copy, s->options->user);
}

static void stws_p_lock(stws *c);
static void stws_p_unlock(stws *c);
static inline int stws_p_has_lock(const stws *c);

/* What is sent ('>') is traced under the lock, as it is encoded; what was received ('<')
   takes the lock for that. So on_trace runs once at a time, and the table of headers has one
   user. */
STWS_P_APART static void stws_p_trace_now(const stws_p_session *s, stws_direction direction,
                                          const stws_frame *frame) {
    if (direction == STWS_RECEIVED) stws_p_lock(s->client);
    stws_p_trace_shown(s, direction, frame);
    if (direction == STWS_RECEIVED) stws_p_unlock(s->client);
}

static void stws_p_trace(const stws_p_session *s, stws_direction direction,
                         const stws_frame *frame) {
    if (s->options->on_trace) stws_p_trace_now(s, direction, frame);
}

static void stws_p_trace_word(const stws_p_session *s, stws_direction direction, const char *word) {
    stws_frame frame;
    memset(&frame, 0, sizeof frame);
    frame.command = word;
    stws_p_trace(s, direction, &frame);
}

/* ---- output: frames, masked, into one buffer ---- */

static size_t stws_p_pending(const stws_p_buffer *b) { return b->end - b->begin; }

/* Room for n bytes behind the data: 1, or 0 when the buffer would have to grow. */
static int stws_p_make_room(stws_p_buffer *b, size_t n) {
    STOMP_WS_ASSERT(b->begin <= b->end && b->end <= b->cap);
    if (b->cap - b->end >= n) return 1;
    if (b->busy || b->cap - stws_p_pending(b) < n) return 0;
    memmove(b->data, b->data + b->begin, stws_p_pending(b));
    b->end -= b->begin;
    b->begin = 0;
    return 1;
}

/* One WebSocket frame of a short payload (heart-beat, pong, close). */
static int stws_p_post_short(stws_p_session *s, stws_ws_opcode opcode, const char *payload,
                             size_t len) {
    unsigned char key[4];
    size_t need = stws_p_ws_head_len(len, 1) + len;
    STOMP_WS_ASSERT(stws_p_has_lock(s->client));
    if (!stws_p_make_room(&s->out, need)) return STWS_ERR_SPACE;
    if (!stws_p_masking_key(s, key)) return STWS_ERR_IO;
    stws_ws_build(s->out.data + s->out.end, need, opcode, 1, payload, len, key, &need);
    s->out.end += need;
    return STWS_OK;
}

/* What brokers differ in, in the order of stws_broker_kind. */
typedef struct stws_p_profile {
    /* STOMP frames out of several WebSocket messages: large ones may be cut */
    int joins;
    int takes_bare_as_text; /* a SEND without content-length becomes a TextMessage */
    /* a durable subscription is forgotten only when it has no consumer any more */
    int ends_before_forgets;
    const char *prefetch; /* the header for it, and what one message counts there */
    unsigned long long prefetch_unit;
    const char *durable[4]; /* headers; no value is the subscription's name */
} stws_p_profile;

static const stws_p_profile *stws_p_profile_of(int broker) {
    static const stws_p_profile profiles[] = {
        {0, 0, 0, NULL, 0, {NULL, NULL, NULL, NULL}},
        {1, 0, 0, NULL, 0, {NULL, NULL, NULL, NULL}},
        {1, 0, 0, "prefetch-count", 1, {"durable", "true", "auto-delete", "false"}},
        {0, 1, 1, "activemq.prefetchSize", 1, {"activemq.subscriptionName", NULL, NULL, NULL}},
        {1, 1, 0, "consumer-window-size", 1024, {"durable-subscription-name", NULL, NULL, NULL}}};
    return &profiles[broker];
}

/* How large a WebSocket message of ours may be, 0 for any size: see "Large frames" in the
   manual. */
static size_t stws_p_cut_size(const stws_p_session *s) {
    size_t asked = s->options->max_ws_message;
    /* the longest character fits */
    if (asked) return asked == STWS_WHOLE ? 0 : asked < 4 ? 4 : asked;
    return stws_p_profile_of(s->broker)->joins ? STWS_P_PIECE : 0;
}

/* The plain frame lies at the end of the room that was made; cut it into masked messages
   from the front. What is written never overtakes what is still to be read, as a head is put
   in front of each piece only once. */
static int stws_p_post_pieces(stws_p_session *s, size_t plain, size_t len, size_t cut, int opcode) {
    char *data = s->out.data, *to = data + s->out.end;
    unsigned char key[4];
    while (len) {
        size_t piece = len < cut ? len : cut;
        if (opcode == STWS_WS_TEXT) piece = stws_p_utf8_cut(data + plain, piece, len);
        if (!stws_p_masking_key(s, key)) return STWS_ERR_IO;
        to = stws_p_ws_put_head(to, opcode, 1, piece, key);
        stws_ws_mask(to, data + plain, piece, key, 0);
        to += piece;
        plain += piece;
        len -= piece;
    }
    s->out.end = (size_t)(to - data); /* only now: no half of a frame stays */
    return STWS_OK;
}

static int stws_p_post_cut(stws_p_session *s, const stws_frame *frame, int text, size_t total,
                           size_t cut, size_t *need) {
    size_t pieces = total / (cut > 8 ? cut - 3 : cut) + 1, plain, built = 0;
    *need = total + pieces * STWS_P_WS_HEAD;
    if (!stws_p_make_room(&s->out, *need)) return STWS_ERR_SPACE;
    plain = s->out.end + *need - total;
    stws_frame_build(s->out.data + plain, total, (stws_stomp_version)s->version, frame, &built);
    return stws_p_post_pieces(s, plain, total, cut, text ? STWS_WS_TEXT : STWS_WS_BINARY);
}

/* The usual case: the body is masked while it is copied; the head lies behind its place, and
   is masked into it. */
static int stws_p_post_whole(stws_p_session *s, int text, const char *head, size_t head_len,
                             const char *body, size_t body_len) {
    size_t len = head_len + body_len + 1;
    unsigned char key[4];
    char *to;
    if (!stws_p_masking_key(s, key)) return STWS_ERR_IO;
    to = stws_p_ws_put_head(s->out.data + s->out.end, text ? STWS_WS_TEXT : STWS_WS_BINARY, 1, len,
                            key);
    stws_ws_mask(to, head, head_len, key, 0);
    stws_ws_mask(to + head_len, body, body_len, key, head_len);
    to[len - 1] = (char)key[(len - 1) & 3]; /* the NUL, masked */
    s->out.end = (size_t)(to + len - s->out.data);
    return STWS_OK;
}

/* The content-length of the head that is kept, and its end. */
static void stws_p_say_again(stws_p_session *s, size_t body_len) {
    s->said_body = body_len;
    s->said_len =
        s->said_own + (body_len ? stws_p_say_length(s->said + s->said_own, body_len) : 0) + 1;
    s->said[s->said_len - 1] = '\n';
}

/* Who sends once more to where he has just sent probably goes on so. Then the head is kept;
   but only one of UTF-8, with a destination and perhaps a content type, that stand in it as
   they are. */
static void stws_p_note_said(stws_p_session *s, const stws_frame *frame, const char *head) {
    const stws_header *h = frame->headers;
    size_t len = STWS_P_SAID_BEGIN + h->value_len + 1, i;
    int again = s->said_to == (uintptr_t)h->value;
    s->said_to = (uintptr_t)h->value;
    if (!again || frame->header_count > 2) return;
    if (frame->header_count == 2 && strcmp(h[1].name, "content-type") != 0) return;
    if (frame->header_count == 2) len += 14 + h[1].value_len;
    for (i = 0; i < frame->header_count; i++)
        if (!stws_p_is_plain(h[i].value, h[i].value_len)) return;
    if (len + STWS_P_LENGTH_LINE >= s->said_cap || !stws_utf8_valid(head, len)) return;
    memcpy(s->said, head, len);
    s->said_own = len;
    s->said_destination = h->value_len;
    stws_p_say_again(s, frame->body_len);
}

/* Is that what the kept head says? */
static int stws_p_was_said(const stws_p_session *s, const char *destination,
                           const char *content_type) {
    const char *said = s->said + STWS_P_SAID_BEGIN, *type = said + s->said_destination + 14;
    const char *end = s->said + s->said_own - 1; /* its last LF */
    if (!s->said_own || strncmp(destination, said, s->said_destination) != 0 ||
        destination[s->said_destination])
        return 0;
    if (!content_type || end < type) return !content_type && end < type;
    return strncmp(content_type, type, (size_t)(end - type)) == 0 && !content_type[end - type];
}

/* A SEND with the kept head and a body of UTF-8: 1, or 0 when there is no room or it would
   have to be cut. */
static int stws_p_post_again(stws_p_session *s, const char *body, size_t body_len) {
    size_t cut = stws_p_cut_size(s), total;
    if (body_len != s->said_body) stws_p_say_again(s, body_len);
    total = s->said_len + body_len + 1;
    if ((cut && total > cut) || !stws_p_make_room(&s->out, STWS_P_WS_HEAD + total)) return 0;
    if (stws_p_post_whole(s, 1, s->said, s->said_len, body, body_len) != STWS_OK) return 0;
    s->stats.frames_out++;
    s->stats.messages_out++;
    return 1;
}

/* Build a frame into the output; body_is_utf8: its body was found to be UTF-8, and is not
   looked at again. STWS_ERR_SPACE: it does not fit, *need bytes would. STWS_ERR_FRAME_BUILD. */
static int stws_p_post_locked(stws_p_session *s, const stws_frame *asked, int body_is_utf8,
                              size_t *need) {
    const stws_frame *frame = asked;
    stws_frame settled;
    size_t cut = stws_p_cut_size(s), total, head_len;
    char *head;
    int result, text;
    STOMP_WS_ASSERT(stws_p_has_lock(s->client));
    *need = STWS_P_WS_HEAD + stws_p_head_bound(asked) + asked->body_len + 1;
    if (!stws_p_make_room(&s->out, *need)) return STWS_ERR_SPACE;
    if (asked->content_length == STWS_CONTENT_LENGTH_JMS_TEXT) {
        settled = *asked;
        settled.content_length = stws_p_profile_of(s->broker)->takes_bare_as_text
                                     ? STWS_CONTENT_LENGTH_OMIT
                                     : STWS_CONTENT_LENGTH_SEND;
        frame = &settled;
    }
    head = s->out.data + s->out.end + STWS_P_WS_HEAD;
    head_len = stws_p_say_head(head, s->version, frame);
    if (!head_len) return STWS_ERR_FRAME_BUILD;
    total = head_len + frame->body_len + 1;
    if (frame->command_id == STWS_COMMAND_SEND) stws_p_note_said(s, frame, head);
    text = !s->options->binary && stws_utf8_valid(head, head_len) &&
           (body_is_utf8 || stws_utf8_valid(frame->body, frame->body_len));
    if (cut && total > cut) result = stws_p_post_cut(s, frame, text, total, cut, need);
    else result = stws_p_post_whole(s, text, head, head_len, frame->body, frame->body_len);
    if (result != STWS_OK) return result;
    s->stats.frames_out++;
    if (frame->command_id == STWS_COMMAND_SEND) s->stats.messages_out++;
    stws_p_trace(s, STWS_SENT, frame);
    return STWS_OK;
}

/* ---- drafts: frames being put together ---- */

/* A frame that is being put together. Its headers lie in the session's one table for that, so
   there is one draft at a time, and only while the lock is held. Its texts are not copied. */
typedef struct stws_p_draft {
    stws_frame frame;
    stws_header *headers;    /* the same as frame.headers, to write to */
    size_t max_headers;      /* places in that table */
    const char *transaction; /* the transaction that the frame is part of, or NULL */
    int too_many_headers;    /* more than max_headers, or a header without a value */
    int body_is_utf8;        /* the body was found to be UTF-8; 0: nobody has looked */
    char number[24];         /* text of a header's value */
} stws_p_draft;

/* Begins a draft: a frame without headers and body. */
static void stws_p_compose_locked(stws_p_session *s, stws_p_draft *draft, stws_command command_id) {
    STOMP_WS_ASSERT(stws_p_has_lock(s->client));
    memset(&draft->frame, 0, sizeof draft->frame);
    draft->frame.command_id = command_id;
    draft->frame.headers = draft->headers = s->build_headers;
    draft->frame.body = "";
    draft->max_headers = s->options->max_headers;
    draft->transaction = NULL;
    draft->too_many_headers = draft->body_is_utf8 = 0;
}

/* Add a header. No value, no header. */
static void stws_p_add_header(stws_p_draft *draft, const char *name, size_t name_len,
                              const char *value) {
    stws_header *h = &draft->headers[draft->frame.header_count];
    draft->too_many_headers |= draft->frame.header_count == draft->max_headers;
    if (draft->too_many_headers) return;
    h->name = name;
    h->name_len = name_len;
    h->value = value;
    h->value_len = strlen(value);
    draft->frame.header_count++;
}

static inline void stws_p_add(stws_p_draft *draft, const char *name, const char *value) {
    if (value) stws_p_add_header(draft, name, strlen(name), value);
}

static void stws_p_add_list(stws_p_draft *draft, const char *const *list) {
    for (; list && list[0] && list[1]; list += 2) stws_p_add(draft, list[0], list[1]);
    draft->too_many_headers |= list && list[0];
}

/* Names the transaction that the frame is part of, in its header and in the draft. */
static void stws_p_add_transaction(stws_p_draft *draft, const char *transaction) {
    stws_p_add(draft, "transaction", transaction);
    draft->transaction = transaction;
}

/* "prefix12" into text, which has room for the prefix, 20 digits and a NUL. */
static const char *stws_p_number_text(char *text, const char *prefix, unsigned long long n) {
    size_t len = strlen(prefix);
    memcpy(text, prefix, len);
    text[len + stws_p_digits(n, text + len)] = 0;
    return text;
}

/* ---- CONNECT and CONNECTED ---- */

/* By the bits of options.versions. Versions ascend, without blanks, which Spring would not
   forgive; of the subprotocols the newest comes first, as the first choice. */
static const char *const stws_p_accept_version[] = {"",    "1.0",     "1.1",     "1.0,1.1",
                                                    "1.2", "1.0,1.2", "1.1,1.2", "1.0,1.1,1.2"};
static const char *const stws_p_subprotocols[] = {"",
                                                  "v10.stomp",
                                                  "v11.stomp",
                                                  "v11.stomp, v10.stomp",
                                                  "v12.stomp",
                                                  "v12.stomp, v10.stomp",
                                                  "v12.stomp, v11.stomp",
                                                  "v12.stomp, v11.stomp, v10.stomp"};

static int stws_p_post_connect(stws_p_session *s, const stws_attempt *attempt, size_t *need) {
    const stws_options *o = s->options;
    char heartbeat[48];
    stws_p_draft draft;
    stws_p_number_text(heartbeat, "", (unsigned)o->heartbeat_out_ms);
    stws_p_number_text(heartbeat + strlen(heartbeat), ",", (unsigned)o->heartbeat_in_ms);
    stws_p_compose_locked(s, &draft, STWS_COMMAND_CONNECT);
    stws_p_add(&draft, "accept-version", stws_p_accept_version[o->versions]);
    stws_p_add(&draft, "host", o->host);
    stws_p_add(&draft, "heart-beat", heartbeat);
    stws_p_add(&draft, "login", attempt->login);
    stws_p_add(&draft, "passcode", attempt->passcode);
    stws_p_add(&draft, "client-id", s->options->client_id);
    stws_p_add_list(&draft, attempt->connect_headers);
    return draft.too_many_headers ? (int)STWS_ERR_LIMIT
                                  : stws_p_post_locked(s, &draft.frame, 0, need);
}

/* CONNECTED's version: its bit; 0 when nobody offered it. No version is 1.0 (STOMP 1.1,
   "Protocol Negotiation"). */
static int stws_p_negotiated(const char *version, int offered) {
    size_t len = stws_p_strlen(version);
    if (!version) return offered & STWS_STOMP_10;
    stws_p_trim(&version, &len);
    if (len != 3 || memcmp(version, "1.", 2) != 0 || version[2] < '0' || version[2] > '2') return 0;
    return offered & STWS_STOMP_10 << (version[2] - '0');
}

/* "sx,sy" in milliseconds; what is not of that form is 0,0: no heart-beat, and no crash. */
static void stws_p_parse_heartbeat(const char *text, size_t *sx, size_t *sy) {
    const char *word;
    size_t len, numbers[2] = {0, 0}, n = 0;
    while (text && n < 2 && stws_p_next_word(&text, &word, &len))
        if (stws_p_number(word, len, 1u << 30, &numbers[n++]) != 1) return;
    *sx = n == 2 ? numbers[0] : 0;
    *sy = n == 2 ? numbers[1] : 0;
}

static long long stws_p_interval_us(size_t ours, size_t theirs) {
    size_t ms = ours > theirs ? ours : theirs;
    return ours && theirs ? (long long)ms * STWS_P_US : 0;
}

static int stws_p_starts(const char *s, const char *prefix) {
    return s && strncmp(s, prefix, strlen(prefix)) == 0;
}

/* Who it is, from CONNECTED's server header. Spring's simple broker is the one that names none. */
static int stws_p_detect_broker(const char *server) {
    if (!server) return STWS_BROKER_SPRING;
    if (stws_p_starts(server, "RabbitMQ/")) return STWS_BROKER_RABBITMQ;
    if (stws_p_starts(server, "ActiveMQ-Artemis/")) return STWS_BROKER_ARTEMIS;
    return stws_p_starts(server, "ActiveMQ/") ? STWS_BROKER_ACTIVEMQ : STWS_BROKER_UNKNOWN;
}

/* Take over what CONNECTED says; 0 when its version was not offered. */
static int stws_p_accept_connected(stws_p_session *s, const stws_frame *frame) {
    const stws_options *o = s->options;
    size_t sx = 0, sy = 0;
    STWS_P_STORE(&s->version, stws_p_negotiated(stws_frame_header(frame, "version"), o->versions));
    if (!s->version) return 0;
    s->parser.version = (stws_stomp_version)s->version;
    stws_p_parse_heartbeat(stws_frame_header(frame, "heart-beat"), &sx, &sy);
    s->heartbeat_out_us = stws_p_interval_us((size_t)o->heartbeat_out_ms, sy);
    s->heartbeat_in_us = stws_p_interval_us((size_t)o->heartbeat_in_ms, sx);
    s->expected_us = s->heartbeat_in_us;
    if (!s->heartbeat_out_us || !s->heartbeat_in_us) s->ping_us = o->ping_ms * STWS_P_US;
    STWS_P_STORE(&s->broker, o->broker ? (int)o->broker
                                       : stws_p_detect_broker(stws_frame_header(frame, "server")));
    return 1;
}

/* ---- input: from raw bytes to the next STOMP frame ---- */

/* A piece of a data message joins the STOMP bytes; it is moved only when a frame head of the
   WebSocket lies between. */
static void stws_p_join(stws_p_input *in, char *piece, size_t len) {
    size_t at = (size_t)(piece - in->data);
    if (in->begin == in->end) in->begin = in->end = at;
    else if (len && at != in->end) memmove(in->data + in->end, piece, len);
    in->end += len;
}

/* What our PINGs carry, and the answers to them (RFC 6455, 5.5.3): any other PONG was sent
   unasked. */
static const char stws_p_ping[4] = {'s', 't', 'w', 's'};

static void stws_p_on_pong(stws_p_session *s, const stws_ws_event *e) {
    if (!s->pinged || !stws_p_equal(e->data, e->len, stws_p_ping, sizeof stws_p_ping)) return;
    s->stats.pongs_in++;
    if (!s->expected_us) s->expected_us = s->ping_us;
    stws_p_trace_word(s, STWS_RECEIVED, "PONG");
}

static int stws_p_control_frame(stws_p_session *s, const stws_ws_event *e) {
    if (e->opcode == STWS_WS_PING) {
        memcpy(s->pong, e->data, e->len);
        s->pong_len = (unsigned char)e->len;
        s->pong_due = 1; /* of several pings the last is answered (RFC 6455, 5.5.3) */
        stws_p_trace_word(s, STWS_RECEIVED, "PING");
        return STWS_MORE;
    }
    if (e->opcode == STWS_WS_PONG) return stws_p_on_pong(s, e), STWS_MORE;
    s->peer_close_code = e->close_code;
    if (e->len) memcpy(s->peer_close_reason, e->data, e->len);
    s->peer_close_reason[e->len] = 0;
    stws_p_trace_word(s, STWS_RECEIVED, "CLOSE");
    return STWS_ERR_WS_CLOSE;
}

/* The next WebSocket piece: STWS_DONE when there are new STOMP bytes, STWS_MORE, or an error. */
static int stws_p_next_piece(stws_p_session *s) {
    stws_p_input *in = &s->in;
    stws_ws_event event;
    size_t used, head = stws_p_ws_usual(in->data + in->raw, in->raw_end - in->raw, &s->ws, &used);
    int result;
    if (head) {
        char *frame = in->data + in->raw;
        s->in_opcode = *frame & 15;
        in->raw += head + used;
        stws_p_join(in, frame + head, used);
        return STWS_DONE;
    }
    memset(&event, 0, sizeof event);
    for (;;) {
        result = stws_ws_parse(in->data + in->raw, in->raw_end - in->raw, &s->ws, &event, &used);
        in->raw += used;
        if (result != STWS_DONE) return result;
        if (event.opcode < STWS_WS_CLOSE) break;
        result = stws_p_control_frame(s, &event);
        if (result != STWS_MORE) return result;
    }
    s->in_opcode = (int)event.opcode;
    stws_p_join(in, event.data, event.len);
    return STWS_DONE;
}

/* The next STOMP frame of what came in: STWS_DONE, STWS_MORE, or an error. Before it, the
   one handed out is let go. */
static int stws_p_next_frame(stws_p_session *s, stws_frame *frame) {
    stws_p_input *in = &s->in;
    size_t used = 0;
    int result = STWS_DONE;
    in->begin += s->taken;
    for (s->taken = 0; result == STWS_DONE; result = stws_p_next_piece(s)) {
        if (in->begin == in->end) continue;
        result =
            stws_frame_parse(in->data + in->begin, in->end - in->begin, &s->parser, frame, &used);
        s->stats.heartbeats_in += s->parser.heartbeats;
        s->parser.heartbeats = 0;
        if (result == STWS_DONE) {
            s->taken = used;
            s->stats.frames_in++;
            stws_p_trace(s, STWS_RECEIVED, frame);
            return STWS_DONE;
        }
        in->begin += used;
        if (result < 0) return result;
    }
    s->dry = result == STWS_MORE;
    return result;
}

/* Put both stretches at the front of `to`, which is the buffer itself or a larger one; the
   gap between them goes. */
static void stws_p_input_gather(stws_p_input *in, char *to) {
    size_t stomp = in->end - in->begin, raw = in->raw_end - in->raw;
    memmove(to, in->data + in->begin, stomp);
    memmove(to + stomp, in->data + in->raw, raw);
    in->data = to;
    in->begin = 0;
    in->end = in->raw = stomp;
    in->raw_end = stomp + raw;
}

/* Gather free room behind the raw bytes, when there is little: the size of it. */
static size_t stws_p_input_room(stws_p_input *in) {
    int empty = in->begin == in->end && in->raw == in->raw_end;
    if (in->raw == in->raw_end) in->raw = in->raw_end = in->end;
    if (empty || in->cap - in->raw_end < in->cap / 4) stws_p_input_gather(in, in->data);
    return in->cap - in->raw_end;
}

static const char *stws_p_known_value(const stws_p_session *s, int known) {
    return s->parser.known[known]->value;
}

/* The frame as the user sees it. */
static void stws_p_fill_message(stws_p_session *s) {
    stws_message *m = &s->message;
    m->destination = stws_p_known_value(s, STWS_P_DESTINATION);
    m->message_id = stws_p_known_value(s, STWS_P_MESSAGE_ID);
    m->subscription = stws_p_known_value(s, STWS_P_SUBSCRIPTION);
    m->content_type = stws_p_known_value(s, STWS_P_CONTENT_TYPE);
    m->ack = stws_p_known_value(s, STWS_P_ACK);
    m->body = m->frame.body;
    m->body_len = m->frame.body_len;
    m->body_is_utf8 = stws_utf8_valid(m->body, m->body_len);
    m->handle = s->answered = 0;
    m->ack_on = STWS_ACK_BY_CALL;
    m->answered = &s->answered;
    m->epoch = s->epoch;
    m->client = s->client;
    if (!m->body_is_utf8 && s->in_opcode == STWS_WS_TEXT) s->stats.invalid_utf8++;
}

/* ---- subscriptions: the table that outlives every session ---- */

/* The text after s. */
static const char *stws_p_after(const char *s) { return s + strlen(s) + 1; }

static char *stws_p_sub_destination(const stws_p_subs *t, const stws_p_sub *sub) {
    return t->texts + (size_t)(sub - t->slots) * t->text_size;
}

static const char *stws_p_sub_id(const stws_p_subs *t, const stws_p_sub *sub) {
    return stws_p_after(stws_p_sub_destination(t, sub));
}

static const char *stws_p_sub_durable(const stws_p_subs *t, const stws_p_sub *sub) {
    return stws_p_after(stws_p_after(stws_p_sub_id(t, sub)));
}

/* Handles and receipts are counted up to INT_MAX; the longest text of one is
   "receipt-2147483647". */
enum { STWS_P_MAX_NUMBER = 2147483647, STWS_P_ID_TEXT = 24 };

/* The number in an id of ours, "sub-17"; 0 when it is none. */
static inline int stws_p_own_id(const char *id, size_t len) {
    size_t number = 0;
    if (len < 5 || memcmp(id, "sub-", 4) != 0 || id[4] == '0') return 0;
    return stws_p_number(id + 4, len - 4, STWS_P_MAX_NUMBER, &number) == 1 ? (int)number : 0;
}

/* The link to the slot of an id that the user chose, in the chain of its hash (FNV-1a,
   draft-eastlake-fnv), or the end of that chain. No server can make one long: it holds only
   what the user chose. Under the lock. */
static int *stws_p_custom_link_locked(const stws_p_subs *t, const char *id, size_t len) {
    uint32_t hash = 2166136261u;
    size_t i;
    int *link;
    for (i = 0; i < len; i++) hash = (hash ^ (unsigned char)id[i]) * 16777619u;
    for (link = &t->slots[hash % (uint32_t)t->count].head; *link;
         link = &t->slots[*link - 1].next) {
        const char *other = stws_p_sub_id(t, &t->slots[*link - 1]);
        if (stws_p_equal(other, strlen(other), id, len)) break;
    }
    return link;
}

static stws_p_sub *stws_p_find_custom(const stws_p_subs *t, const char *id, size_t len) {
    int place = *stws_p_custom_link_locked(t, id, len);
    return place ? &t->slots[place - 1] : NULL;
}

static stws_p_sub *stws_p_find_handle(const stws_p_subs *t, int handle) {
    stws_p_sub *sub;
    if (handle <= 0) return NULL;
    sub = &t->slots[handle % t->count];
    return sub->handle == handle ? sub : NULL;
}

/* Who gets a message: found without the lock for ids of ours. Another thread may be giving
   the slot away just now, so the handle, which is never used twice, is read again after the
   rest. */
static int stws_p_receiver(const stws_p_subs *t, int handle, stws_message_fn *call, void **user,
                           stws_ack_on *ack_on) {
    const stws_p_sub *sub = &t->slots[handle % t->count];
    if (STWS_P_LOAD(&sub->handle) != handle || STWS_P_LOAD(&sub->custom_id)) return 0;
    *call = STWS_P_LOAD(&sub->on_message);
    *user = STWS_P_LOAD(&sub->user);
    *ack_on = (stws_ack_on)STWS_P_LOAD(&sub->ack_on);
    return STWS_P_LOAD(&sub->handle) == handle;
}

static size_t stws_p_align(size_t n) { return (n + 15) & ~(size_t)15; }

/* The number to give away now; the next one, which is positive, takes its place. */
static int stws_p_number_from(int *next) {
    int number = *next;
    *next = number == STWS_P_MAX_NUMBER ? 1 : number + 1;
    return number;
}

/* The next handle whose slot is free and whose id nobody has taken; 0 when the table is full. */
static int stws_p_new_handle(stws_p_subs *t) {
    char id[STWS_P_ID_TEXT];
    int tries;
    for (tries = 0; tries <= t->count && t->live < t->count; tries++) {
        int handle = stws_p_number_from(&t->next_handle);
        if (t->slots[handle % t->count].handle || t->slots[handle % t->count].pinned) continue;
        stws_p_number_text(id, "sub-", (unsigned)handle);
        if (!stws_p_find_custom(t, id, strlen(id))) return handle;
    }
    return 0;
}

static const char *stws_p_wanted_id(const stws_subscribe_options *o) {
    return o->id ? o->id : o->durable;
}

/* Changes the state of a subscription, and the numbers that follow from it. */
static void stws_p_sub_enter(stws_p_subs *t, stws_p_sub *sub, stws_p_sub_state state) {
    if (state == STWS_P_SUB_UNSENT && !t->unsent) t->cursor = (int)(sub - t->slots);
    t->live += (state != STWS_P_SUB_FREE) - (sub->state != STWS_P_SUB_FREE);
    t->unsent += (state == STWS_P_SUB_UNSENT) - (sub->state == STWS_P_SUB_UNSENT);
    sub->state = (unsigned char)state;
    STOMP_WS_ASSERT(t->unsent >= 0 && t->unsent <= t->live && t->live <= t->count);
}

/* When two sessions in a row have ended right after SUBSCRIBEs, the next one sends these a
   few at a time, and then what is in the outbox. One such end alone may have had another
   reason. */
static int stws_p_is_careful(const stws_p_subs *t) { return t->suspects && t->trials_lost > 1; }

static int stws_p_subs_come_first(const stws_p_subs *t) {
    return t->unsent || stws_p_is_careful(t);
}

static void stws_p_suspect(stws_p_subs *t, stws_p_sub *sub, int suspicion) {
    t->suspects += (suspicion != STWS_P_INNOCENT) - (sub->suspicion != STWS_P_INNOCENT);
    sub->suspicion = (unsigned char)suspicion;
}

static void stws_p_try_sub(stws_p_subs *t, stws_p_sub *sub, long long now) {
    t->on_trial += !sub->on_trial;
    sub->on_trial = 1;
    t->trial_us = now;
}

static void stws_p_acquit(stws_p_subs *t, stws_p_sub *sub) {
    t->on_trial -= sub->on_trial;
    sub->on_trial = 0;
    stws_p_suspect(t, sub, STWS_P_INNOCENT);
}

/* Those on trial are innocent: the session has outlived their SUBSCRIBEs. */
static void stws_p_acquit_all(stws_p_subs *t) {
    int i;
    for (i = 0; t->on_trial && i < t->count; i++)
        if (t->slots[i].on_trial) stws_p_acquit(t, &t->slots[i]);
}

/* The value of SUBSCRIBE's header `ack`. Without a mode of the user's it follows ack_on. */
static const char *stws_p_ack_mode(const stws_subscribe_options *o) {
    static const char *const modes[] = {NULL, "auto", "client", "client-individual"};
    return o->ack ? modes[o->ack] : o->ack_on ? "client-individual" : "auto";
}

/* Enter a subscription; its handle, or an error. Under the lock. */
static int stws_p_add_sub_locked(stws_p_subs *t, const char *destination,
                                 const stws_subscribe_options *o) {
    int handle = stws_p_new_handle(t), slot = handle % t->count, i;
    const char *id = stws_p_wanted_id(o), *ack = stws_p_ack_mode(o);
    char own_id[STWS_P_ID_TEXT];
    const char *texts[] = {destination, id ? id : own_id, ack, stws_p_or(o->durable, "")};
    stws_p_sub *sub = &t->slots[slot];
    stws_p_out out = {stws_p_sub_destination(t, sub), t->text_size, 0};
    if (!handle) return STWS_ERR_LIMIT;
    stws_p_number_text(own_id, "sub-", (unsigned)handle);
    for (i = 0; i < 4; i++) stws_p_put(&out, texts[i], strlen(texts[i]) + 1);
    for (i = 0; o->headers && o->headers[i]; i++)
        stws_p_put(&out, o->headers[i], strlen(o->headers[i]) + 1);
    if (out.need > t->text_size) return STWS_ERR_LIMIT;
    STWS_P_STORE(&sub->on_message, o->on_message);
    STWS_P_STORE(&sub->user, o->user);
    STWS_P_STORE(&sub->ack_on, (unsigned char)o->ack_on);
    STWS_P_STORE(&sub->custom_id, (unsigned char)(id != NULL));
    sub->header_count = i / 2;
    sub->prefetch = o->prefetch;
    sub->receipt = 0;
    sub->wants_receipt = (unsigned char)(o->receipt != 0);
    sub->next = 0;
    if (id) *stws_p_custom_link_locked(t, id, strlen(id)) = slot + 1;
    stws_p_sub_enter(t, sub, STWS_P_SUB_UNSENT);
    STWS_P_STORE(&sub->handle, handle);
    return handle;
}

static void stws_p_remove_sub(stws_p_subs *t, stws_p_sub *sub) {
    const char *id = stws_p_sub_id(t, sub);
    if (sub->custom_id) *stws_p_custom_link_locked(t, id, strlen(id)) = sub->next;
    stws_p_acquit(t, sub);
    stws_p_sub_enter(t, sub, STWS_P_SUB_FREE);
    STWS_P_STORE(&sub->handle, 0);
}

static void stws_p_all_unsent(stws_p_subs *t) {
    int i;
    t->on_trial = 0;
    for (i = 0; i < t->count; i++) {
        stws_p_sub *sub = &t->slots[i];
        sub->on_trial = 0;
        if (sub->state != STWS_P_SUB_FREE && sub->state != STWS_P_SUB_ASIDE)
            stws_p_sub_enter(t, sub, STWS_P_SUB_UNSENT);
    }
    t->cursor = t->next_handle % t->count;
}

/* The next unsent subscription. Slots follow the handles, so a new session subscribes in the
   old order, but for those older than a lap of the table; the cursor makes a round over n
   subscriptions cost n steps, not n * n. */
static stws_p_sub *stws_p_next_unsent(stws_p_subs *t) {
    int i;
    for (i = 0; i < t->count && t->unsent; i++) {
        stws_p_sub *sub = &t->slots[(t->cursor + i) % t->count];
        if (sub->state != STWS_P_SUB_UNSENT) continue;
        t->cursor = (t->cursor + i) % t->count;
        return sub;
    }
    return NULL;
}

/* Add a header, unless the user has said it already. */
static void stws_p_add_missing(stws_p_draft *draft, const char *name, const char *value) {
    if (!stws_frame_header(&draft->frame, name)) stws_p_add(draft, name, value);
}

/* "0123456789abcdef-17": one client of 2^64, and its message. 0 without randomness. */
static int stws_p_add_stable_id(stws_p_session *s, stws_p_draft *draft) {
    static const char digits[] = "0123456789abcdef";
    unsigned char random[8];
    int i;
    if (!s->options->stable_id) return 1;
    if (!s->stable_id[0]) {
        if (stws_p_random(s, random, sizeof random) != 0) return 0;
        for (i = 0; i < 16; i++) s->stable_id[i] = digits[random[i / 2] >> (i & 1 ? 0 : 4) & 15];
    }
    stws_p_number_text(s->stable_id + 16, "-", ++s->last_id);
    stws_p_add_missing(draft, s->options->stable_id, s->stable_id);
    return 1;
}

static void stws_p_add_durable(const stws_p_session *s, stws_p_draft *draft, const char *durable) {
    const char *const *header = stws_p_profile_of(s->broker)->durable;
    int i;
    for (i = 0; i < 4 && header[i] && *durable; i += 2)
        stws_p_add_missing(draft, header[i], stws_p_or(header[i + 1], durable));
}

/* SUBSCRIBE for an entry; headers, when given, stand for the entry's own. */
static void stws_p_compose_subscribe(stws_p_session *s, stws_p_draft *draft, const stws_p_sub *sub,
                                     const char *const *headers, const char *receipt) {
    const stws_p_profile *profile = stws_p_profile_of(s->broker);
    const char *destination = stws_p_sub_destination(&s->subs, sub),
               *id = stws_p_after(destination);
    const char *durable = stws_p_sub_durable(&s->subs, sub), *name = stws_p_after(durable), *value;
    int i;
    stws_p_compose_locked(s, draft, STWS_COMMAND_SUBSCRIBE);
    stws_p_add(draft, "id", id);
    stws_p_add(draft, "destination", destination);
    stws_p_add(draft, "ack", stws_p_after(id));
    stws_p_add(draft, "receipt", receipt);
    stws_p_add_list(draft, headers);
    for (i = 0; i < sub->header_count && !headers; i++, name = stws_p_after(value)) {
        value = stws_p_after(name);
        stws_p_add(draft, name, value);
    }
    stws_p_add_durable(s, draft, durable);
    if (sub->prefetch <= 0 || !profile->prefetch) return;
    stws_p_number_text(draft->number, "", (unsigned)sub->prefetch * profile->prefetch_unit);
    stws_p_add_missing(draft, profile->prefetch, draft->number);
}

/* ---- receipts: each asked for ends, one way or another ---- */

static stws_p_receipt *stws_p_receipt_of(const stws_p_session *s, int number) {
    return &s->receipts[number % s->options->max_receipts];
}

/* Enter a receipt to wait for; its number, or 0 when the table is full. A number has one
   place in the table, so that it is found at once; numbers whose place is taken are passed
   over. */
static int stws_p_add_receipt(stws_p_session *s, int handle) {
    stws_p_receipt *r;
    int number;
    STOMP_WS_ASSERT(stws_p_has_lock(s->client));
    if (s->receipts_waiting + s->receipts_done == s->options->max_receipts) return 0;
    do r = stws_p_receipt_of(s, number = stws_p_number_from(&s->next_receipt));
    while (r->state != STWS_P_RECEIPT_FREE);
    r->state = STWS_P_RECEIPT_KEPT;
    r->number = number;
    r->handle = handle;
    r->sent_us = 0;
    r->deadline_us = STWS_P_NEVER;
    s->receipts_waiting++;
    return number;
}

static int stws_p_receipt_waits(const stws_p_receipt *r) {
    return r->state == STWS_P_RECEIPT_KEPT || r->state == STWS_P_RECEIPT_SENT;
}

/* The receipt of that number, if it is waited for; or NULL. */
static stws_p_receipt *stws_p_find_receipt(const stws_p_session *s, int number) {
    stws_p_receipt *r = stws_p_receipt_of(s, number);
    return number && stws_p_receipt_waits(r) && r->number == number ? r : NULL;
}

static void stws_p_finish_receipt(stws_p_session *s, stws_p_receipt *r, int result) {
    STOMP_WS_ASSERT(stws_p_has_lock(s->client));
    STOMP_WS_ASSERT(stws_p_receipt_waits(r) && s->receipts_waiting > 0);
    r->state = STWS_P_RECEIPT_DONE;
    r->result = result;
    r->next_done = 0;
    if (s->receipts_done) s->receipts[s->last_done].next_done = (int)(r - s->receipts);
    else s->first_done = (int)(r - s->receipts);
    s->last_done = (int)(r - s->receipts);
    s->receipts_waiting--;
    STWS_P_STORE(&s->receipts_done, s->receipts_done + 1);
}

/* Ends the receipts in that state whose deadline is not after `now`: with STWS_P_NEVER all of
   them. */
static void stws_p_finish_receipts(stws_p_session *s, stws_p_receipt_state state, long long now,
                                   int result) {
    int count = s->options->max_receipts, i;
    for (i = 0; i < count && s->receipts_waiting; i++) { /* the oldest number first */
        stws_p_receipt *r = &s->receipts[(s->next_receipt % count + i) % count];
        if (r->state == state && r->deadline_us <= now) stws_p_finish_receipt(s, r, result);
    }
}

static long long stws_p_receipt_deadline(const stws_p_session *s) {
    long long first = STWS_P_NEVER;
    int i;
    for (i = 0; i < s->options->max_receipts && s->receipts_waiting; i++) {
        const stws_p_receipt *r = &s->receipts[i];
        if (r->state == STWS_P_RECEIPT_SENT && r->deadline_us < first) first = r->deadline_us;
    }
    return first;
}

/* The frame that asked for it was never taken. */
static void stws_p_forget_receipt(stws_p_session *s, int number) {
    stws_p_receipt *r = stws_p_find_receipt(s, number);
    if (!r) return;
    r->state = STWS_P_RECEIPT_FREE;
    s->receipts_waiting--;
}

/* The frame that asked for it will not be sent. */
static void stws_p_fail_receipt(stws_p_session *s, int number, int result) {
    stws_p_receipt *r = stws_p_find_receipt(s, number);
    if (r) stws_p_finish_receipt(s, r, result);
}

/* Its id as the header says it; NULL for 0, which is no receipt. */
static const char *stws_p_receipt_id(char id[STWS_P_ID_TEXT], int number) {
    return number ? stws_p_number_text(id, "receipt-", (unsigned)number) : NULL;
}

/* The frame that asked for it was sent, and is not kept: from now on it has a deadline. */
static void stws_p_receipt_sent(stws_p_session *s, int number, long long now) {
    stws_p_receipt *r = stws_p_find_receipt(s, number);
    if (!r) return;
    r->state = STWS_P_RECEIPT_SENT;
    r->sent_us = now;
    /* STWS_OFF: it ends with the session */
    if (s->options->receipt_timeout_ms > 0)
        r->deadline_us = now + (long long)s->options->receipt_timeout_ms * STWS_P_US;
}

/* Take the one that ended first out of the table: 1, and what it was. */
static int stws_p_take_receipt(stws_p_session *s, stws_p_receipt *taken) {
    stws_p_receipt *r = &s->receipts[s->first_done];
    if (!s->receipts_done) return 0;
    *taken = *r;
    STOMP_WS_ASSERT(r->state == STWS_P_RECEIPT_DONE);
    r->state = STWS_P_RECEIPT_FREE;
    s->first_done = r->next_done;
    STWS_P_STORE(&s->receipts_done, s->receipts_done - 1);
    return 1;
}

/* ---- rings: for the outbox here and for the queue below ---- */

static void *stws_p_ring_at(const stws_p_ring *r, size_t offset) { return r->data + offset; }

/* Offset of the entry behind the one at offset. */
static size_t stws_p_ring_after(const stws_p_ring *r, size_t offset) {
    size_t size, next;
    memcpy(&size, r->data + offset, sizeof size);
    next = offset + size;
    return next == r->wrap ? 0 : next;
}

/* The entry after that one, or, after NULL, the first; NULL at the end. */
static void *stws_p_ring_next(const stws_p_ring *r, const void *entry) {
    size_t at = r->head;
    if (entry) at = stws_p_ring_after(r, (size_t)((const char *)entry - r->data));
    return r->count && at != r->tail ? stws_p_ring_at(r, at) : NULL;
}

/* Where an entry of that size would begin, and whether there is room for it. The tail never
   comes up to the head but when the ring is empty. */
static int stws_p_ring_place(const stws_p_ring *r, size_t size, size_t *at) {
    int straight = r->tail > r->head;
    *at = r->count == 0 || (straight && r->cap - r->tail < size) ? 0 : r->tail;
    if (r->count == 0) return size <= r->cap;
    if (straight) return *at || r->head > size;
    return r->head - r->tail > size;
}

/* A place for an entry of that size, which then counts as untaken; NULL when there is none. */
static void *stws_p_ring_put(stws_p_ring *r, size_t size) {
    size_t at;
    if (!stws_p_ring_place(r, size, &at)) return NULL;
    if (r->count == 0) {
        r->head = r->next = 0;
        r->wrap = SIZE_MAX;
    } else if (at == 0) {
        r->wrap = r->tail;
    }
    memcpy(r->data + at, &size, sizeof size);
    if (r->untaken == 0) r->next = at;
    r->tail = at + size;
    if (r->tail > r->used) r->used = r->tail;
    r->count++;
    r->untaken++;
    return r->data + at;
}

static void stws_p_ring_take(stws_p_ring *r) {
    STOMP_WS_ASSERT(r->untaken > 0 && r->untaken <= r->count);
    r->next = stws_p_ring_after(r, r->next);
    r->untaken--;
}

/* Bytes between head and tail. */
static size_t stws_p_ring_used(const stws_p_ring *r) {
    if (r->count == 0) return 0;
    return r->tail > r->head ? r->tail - r->head : r->wrap - r->head + r->tail;
}

/* Let the entry at the head go; one that was never taken counts as taken. */
static void stws_p_ring_drop(stws_p_ring *r) {
    STOMP_WS_ASSERT(r->count > 0 && r->untaken <= r->count);
    if (r->count == r->untaken) stws_p_ring_take(r);
    r->head = stws_p_ring_after(r, r->head);
    if (r->head == 0) r->wrap = SIZE_MAX;
    r->count--;
}

/* ---- outbox: frames that wait for a connection, for room, or for their receipt ---- */

static stws_p_record *stws_p_record_at(const stws_p_ring *b, size_t offset) {
    return (stws_p_record *)stws_p_ring_at(b, offset);
}

static stws_p_record *stws_p_record_next(const stws_p_ring *b, const stws_p_record *r) {
    return (stws_p_record *)stws_p_ring_next(b, r);
}

/* Bytes of a frame that is kept: its header table, and every text with its NUL. */
static size_t stws_p_kept_size(const stws_frame *frame) {
    size_t size = frame->header_count * sizeof(stws_header) + stws_p_strlen(frame->command) +
                  frame->body_len + 2,
           i;
    for (i = 0; i < frame->header_count; i++)
        size += frame->headers[i].name_len + frame->headers[i].value_len + 2;
    return size;
}

static size_t stws_p_record_size(const stws_frame *frame) {
    return stws_p_align(sizeof(stws_p_record) + stws_p_kept_size(frame));
}

static const char *stws_p_keep(char **to, const char *text, size_t len) {
    char *kept = *to;
    if (len) memcpy(kept, text, len);
    kept[len] = 0;
    *to += len + 1;
    return kept;
}

/* Make *frame a copy of itself whose headers and texts lie in that place. */
static void stws_p_keep_frame(stws_frame *frame, void *place) {
    stws_header *headers = (stws_header *)place;
    char *text = (char *)(headers + frame->header_count);
    size_t i;
    for (i = 0; i < frame->header_count; i++) {
        headers[i] = frame->headers[i];
        headers[i].name = stws_p_keep(&text, headers[i].name, headers[i].name_len);
        headers[i].value = stws_p_keep(&text, headers[i].value, headers[i].value_len);
    }
    frame->headers = headers;
    if (frame->command) frame->command = stws_p_keep(&text, frame->command, strlen(frame->command));
    frame->body = stws_p_keep(&text, frame->body, frame->body_len);
}

/* Copy a frame into the outbox; NULL when it is full. */
static stws_p_record *stws_p_record_put(stws_p_ring *b, const stws_frame *frame) {
    size_t size = stws_p_record_size(frame);
    stws_p_record *r = (stws_p_record *)stws_p_ring_put(b, size);
    if (!r) return NULL;
    memset(r, 0, sizeof *r);
    r->size = size;
    r->frame = *frame;
    stws_p_keep_frame(&r->frame, r + 1);
    return r;
}

/* The chain of the records that wait for receipts of numbers like that one. Numbers are
   given one after the other, so chains are equally long, and a RECEIPT costs the same
   however much waits, and whatever a server says. A link is the place in the ring, in units
   of 16 bytes, plus one; 0 ends a chain. */
static uint32_t *stws_p_chain_of(const stws_p_session *s, int receipt) {
    return &s->chains[(size_t)receipt & (s->chain_count - 1)];
}

static stws_p_record *stws_p_record_linked(const stws_p_session *s, uint32_t link) {
    return link ? stws_p_record_at(&s->outbox, ((size_t)link - 1) * 16) : NULL;
}

/* The record is to be confirmed by its receipt. */
static void stws_p_record_confirm(stws_p_session *s, stws_p_record *r, int receipt) {
    uint32_t *chain = stws_p_chain_of(s, receipt);
    r->confirm = 1;
    r->link = *chain;
    *chain = (uint32_t)((size_t)((char *)r - s->outbox.data) / 16 + 1);
    s->unconfirmed++;
}

/* Is its confirmation to come? */
static int stws_p_record_is_unconfirmed(const stws_p_record *r) {
    return r->confirm && (r->state == STWS_P_RECORD_WAITING || r->state == STWS_P_RECORD_SENT);
}

/* Changes the state of a record, and the number of those whose confirmation is to come. */
static void stws_p_record_enter(stws_p_session *s, stws_p_record *r, stws_p_record_state state) {
    STOMP_WS_ASSERT(stws_p_has_lock(s->client));
    STOMP_WS_ASSERT(r->state != STWS_P_RECORD_DONE || state == STWS_P_RECORD_DONE);
    s->unconfirmed -= (size_t)stws_p_record_is_unconfirmed(r);
    r->state = (unsigned char)state;
    s->unconfirmed += (size_t)stws_p_record_is_unconfirmed(r);
    STOMP_WS_ASSERT(s->unconfirmed <= s->outbox.count);
}

/* Drop what is done from the front. */
static void stws_p_record_sweep(stws_p_session *s) {
    stws_p_ring *b = &s->outbox;
    while (b->count && stws_p_record_at(b, b->head)->state == STWS_P_RECORD_DONE) {
        stws_p_record *r = stws_p_record_at(b, b->head);
        uint32_t *link = r->confirm ? stws_p_chain_of(s, r->receipt) : NULL;
        while (link && stws_p_record_linked(s, *link) != r)
            link = &stws_p_record_linked(s, *link)->link;
        if (link) *link = r->link;
        stws_p_ring_drop(b);
    }
}

/* The first record that was not sent yet, past those that are done; NULL when there is none. */
static stws_p_record *stws_p_record_unsent(stws_p_ring *b) {
    while (b->untaken) {
        stws_p_record *r = stws_p_record_at(b, b->next);
        if (r->state < STWS_P_RECORD_BROKEN) return r;
        stws_p_ring_take(b);
    }
    return NULL;
}

/* The first record whose confirmation is to come, or NULL: there are only parts of
   transactions before it. */
static stws_p_record *stws_p_record_unconfirmed(const stws_p_ring *b) {
    stws_p_record *r = stws_p_record_next(b, NULL);
    while (r && !stws_p_record_is_unconfirmed(r)) r = stws_p_record_next(b, r);
    return r;
}

/* The record whose confirmation has that number, and is to come; or NULL. */
static stws_p_record *stws_p_record_find(const stws_p_session *s, int receipt) {
    stws_p_record *r =
        receipt && s->chains ? stws_p_record_linked(s, *stws_p_chain_of(s, receipt)) : NULL;
    while (r && r->receipt != receipt) r = stws_p_record_linked(s, r->link);
    return r && stws_p_record_is_unconfirmed(r) ? r : NULL;
}

/* Does an UNSUBSCRIBE of that id still wait? */
static int stws_p_record_unsubscribes(const stws_p_ring *b, const char *id) {
    const stws_p_record *r = b->untaken ? stws_p_record_next(b, NULL) : NULL;
    for (; r; r = stws_p_record_next(b, r)) {
        if (r->state != STWS_P_RECORD_WAITING || r->frame.command_id != STWS_COMMAND_UNSUBSCRIBE)
            continue;
        if (strcmp(stws_frame_header(&r->frame, "id"), id) == 0) return 1;
    }
    return 0;
}

/* May it be dropped for a newer one? A message that was not sent yet and that stands alone. */
static int stws_p_record_may_go(const stws_p_record *r) {
    return r->state == STWS_P_RECORD_DONE || (r->state == STWS_P_RECORD_WAITING && !r->tied &&
                                              r->frame.command_id == STWS_COMMAND_SEND);
}

/* A record whose frame will never be sent. */
static void stws_p_record_drop(stws_p_session *s, stws_p_record *r, int result) {
    stws_p_fail_receipt(s, r->receipt, result);
    s->stats.dropped++;
    stws_p_record_enter(s, r, STWS_P_RECORD_DONE);
}

/* ---- transactions: kept until they are over, so that a new session gets them whole or not
   at all ---- */

static int stws_p_record_ends(stws_command command_id) {
    return command_id == STWS_COMMAND_COMMIT || command_id == STWS_COMMAND_ABORT;
}

static int stws_p_record_part_of(const stws_p_record *r, const char *transaction) {
    return r->tied && r->state != STWS_P_RECORD_DONE &&
           strcmp(stws_frame_header(&r->frame, "transaction"), transaction) == 0;
}

/* The last BEGIN of that transaction (NULL: of none) before a record, or before the end;
   NULL when there is none. */
static stws_p_record *stws_p_record_begin(const stws_p_ring *b, const char *transaction,
                                          const stws_p_record *before) {
    stws_p_record *r = transaction ? stws_p_record_next(b, NULL) : NULL, *begin = NULL;
    for (; r && r != before; r = stws_p_record_next(b, r))
        if (r->frame.command_id == STWS_COMMAND_BEGIN && stws_p_record_part_of(r, transaction))
            begin = r;
    return begin;
}

/* A record was sent and, where that is asked for, confirmed: it goes, but within a
   transaction only with its end. No session after this one asks for their receipts again, so
   these end with it, or in time. */
static void stws_p_record_through(stws_p_session *s, stws_p_record *r) {
    const char *transaction = r->tied ? stws_frame_header(&r->frame, "transaction") : NULL;
    stws_p_ring *b = &s->outbox;
    stws_p_record *part;
    if (r->state == STWS_P_RECORD_SENT) stws_p_record_enter(s, r, STWS_P_RECORD_CONFIRMED);
    if (r->tied && !stws_p_record_ends(r->frame.command_id)) return;
    for (part = stws_p_record_begin(b, transaction, r); part && part != r;
         part = stws_p_record_next(b, part)) {
        if (!stws_p_record_part_of(part, transaction)) continue;
        stws_p_record_enter(s, part, STWS_P_RECORD_DONE);
        if (part->confirm) stws_p_receipt_sent(s, part->receipt, r->sent_us);
    }
    stws_p_record_enter(s, r, STWS_P_RECORD_DONE);
}

/* The outbox has written a record, or will never write it, as it is DONE. */
static void stws_p_record_taken(stws_p_session *s, stws_p_record *r) {
    stws_p_ring_take(&s->outbox);
    if (!r->confirm) stws_p_record_through(s, r);
    stws_p_record_sweep(s);
}

/* A part of a transaction cannot be said (again): no part of it is. The BEGIN stays and has
   what is still to come refused, up to the COMMIT or ABORT. What a broker has of it ends
   with the session. */
static void stws_p_record_break(stws_p_session *s, const stws_p_record *culprit) {
    const char *transaction = stws_frame_header(&culprit->frame, "transaction");
    stws_p_record *begin = stws_p_record_begin(&s->outbox, transaction, culprit), *r = begin;
    if (begin) stws_p_record_enter(s, begin, STWS_P_RECORD_BROKEN);
    while (r && begin->state == STWS_P_RECORD_BROKEN &&
           (r = stws_p_record_next(&s->outbox, r)) != NULL) {
        if (!stws_p_record_part_of(r, transaction)) continue;
        if (stws_p_record_ends(r->frame.command_id))
            stws_p_record_enter(s, begin, STWS_P_RECORD_DONE);
        stws_p_record_drop(s, r, STWS_ERR_STALE);
    }
}

/* A new session: what is still there is sent again, but for what meant the old session only;
   and so are its receipts asked for again. */
static void stws_p_record_all_unsent(stws_p_session *s) {
    stws_p_ring *b = &s->outbox;
    stws_p_receipt *receipt;
    stws_p_record *r;
    for (r = stws_p_record_next(b, NULL); r; r = stws_p_record_next(b, r)) {
        if (r->epoch && r->tied && r->state != STWS_P_RECORD_DONE) stws_p_record_break(s, r);
        if (r->epoch) stws_p_record_enter(s, r, STWS_P_RECORD_DONE);
    }
    for (r = stws_p_record_next(b, NULL); r; r = stws_p_record_next(b, r)) {
        if (r->state >= STWS_P_RECORD_BROKEN) continue;
        stws_p_record_enter(s, r, STWS_P_RECORD_WAITING);
        receipt = stws_p_find_receipt(s, r->receipt);
        if (!receipt) continue;
        receipt->state = STWS_P_RECEIPT_KEPT;
        receipt->deadline_us = STWS_P_NEVER;
    }
    b->next = b->head;
    b->untaken = b->count;
    stws_p_record_sweep(s);
}

/* ---- ACK and NACK, as each version says them ---- */

/* 0 when the message lacks what its acknowledgement has to name. */
static int stws_p_compose_ack(stws_p_session *s, stws_p_draft *draft, stws_command command_id,
                              const stws_message *m, const char *transaction) {
    const char *id = s->version != STWS_STOMP_12 ? m->message_id : m->ack ? m->ack : m->message_id;
    const stws_p_sub *sub = stws_p_find_handle(&s->subs, m->handle);
    const char *subscription =
        m->subscription || !sub ? m->subscription : stws_p_sub_id(&s->subs, sub);
    stws_p_compose_locked(s, draft, command_id);
    stws_p_add(draft, s->version == STWS_STOMP_12 ? "id" : "message-id", id);
    if (s->version == STWS_STOMP_11) stws_p_add(draft, "subscription", subscription);
    stws_p_add_transaction(draft, transaction);
    return id != NULL;
}

/* A session begins: nothing of the last one counts any more. */
static void stws_p_session_reset(stws_p_session *s, long long now) {
    stws_header *headers = s->parser.headers;
    s->in.begin = s->in.end = s->in.raw = s->in.raw_end = s->taken = 0;
    s->dry = 0;
    s->out.begin = s->out.end = 0;
    memset(&s->ws, 0, sizeof s->ws);
    memset(&s->parser, 0, sizeof s->parser);
    s->parser.headers = headers;
    s->parser.max_headers = s->options->max_headers;
    s->parser.max_line = s->options->max_line;
    s->parser.max_body = s->options->max_body;
    s->ws.check_utf8 = s->options->utf8 == STWS_UTF8_STRICT;
    STWS_P_STORE(&s->version, STWS_STOMP_NONE);
    STWS_P_STORE(&s->broker, STWS_BROKER_UNKNOWN);
    s->heartbeat_in_us = s->heartbeat_out_us = s->expected_us = s->ping_us = 0;
    s->last_in_us = s->last_out_us = s->last_ping_us = now;
    s->pinged = 0;
    s->pong_due = 0;
    s->peer_close_code = 0;
    s->said_own = 0;
    s->no_random = 0;
    s->pool_left = 0; /* also what keeps two processes after a fork() from masking alike */
}

/* ==== >>random: the system's CSPRNG ==== */
/* Overwrite in a way that no compiler takes for useless. */
static void stws_p_wipe(void *data, size_t len) {
#if defined(__GNUC__) || defined(__clang__)
    memset(data, 0, len);
    /* somebody looks at it, for all the compiler knows */
    __asm__ volatile("" : : "r"(data) : "memory");
#else
    volatile unsigned char *p = (volatile unsigned char *)data;
    while (len--) *p++ = 0;
#endif
}

/* getrandom where there is one, /dev/urandom otherwise, and never a guess: 0, or -1. */
static int stws_p_system_random(void *ctx, void *out, size_t len) {
    char *to = (char *)out;
    int fd;
    (void)ctx;
#if defined(__linux__)
    while (len > 0) {
        ssize_t n = getrandom(to, len, 0);
        if (n < 0 && errno != EINTR) break;
        if (n > 0) to += n, len -= (size_t)n;
    }
#endif
    if (len == 0) return 0;
    fd = open("/dev/urandom", O_RDONLY | O_CLOEXEC);
    while (fd >= 0 && len > 0) {
        ssize_t n = read(fd, to, len);
        if (n == 0 || (n < 0 && errno != EINTR)) break;
        if (n > 0) to += n, len -= (size_t)n;
    }
    if (fd >= 0) close(fd);
    return len == 0 ? 0 : -1;
}

static long long stws_p_system_clock(void *ctx) {
    struct timespec t;
    (void)ctx;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (long long)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

/* Time that the machine slept, where the system counts it. */
static long long stws_p_system_slept(void *ctx) {
#ifdef CLOCK_BOOTTIME
    struct timespec t;
    if (clock_gettime(CLOCK_BOOTTIME, &t) == 0)
        return (long long)t.tv_sec * 1000000 + t.tv_nsec / 1000 - stws_p_system_clock(ctx);
#endif
    return (void)ctx, 0;
}

/* Seconds since 1970 by this machine's own clock, which may be wrong. */
static long long stws_p_system_date(void) {
    struct timespec t = {0, 0};
    clock_gettime(CLOCK_REALTIME, &t);
    return (long long)t.tv_sec;
}

/* ==== >>transport: TCP, with IPv6 and IPv4 raced (RFC 8305) ==== */
enum { STWS_P_ADDRESSES = 8 }; /* tried at most, of what DNS gives */

enum {
    STWS_P_RACE_US = 250000,     /* RFC 8305, section 8: Connection Attempt Delay */
    STWS_P_PATIENCE_US = 2000000 /* until the older of two that are silent makes way for the next */
};

#ifndef MSG_NOSIGNAL
#define STWS_P_SEND_FLAGS 0 /* SO_NOSIGPIPE does it there */
#else
#define STWS_P_SEND_FLAGS MSG_NOSIGNAL
#endif

/* Room for one address of either family, which is less than sockaddr_storage takes. */
typedef union stws_p_address {
    struct sockaddr any;
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
} stws_p_address;

typedef struct stws_p_tcp {
    stws_p_address *addresses; /* STWS_P_ADDRESSES of them, which nobody needs once it stands */
    int count, next, port;
    int fd, rival;          /* while addresses race there are two */
    int fd_at, rival_at;    /* the places of their addresses */
    stws_p_address reached; /* the one that answered */
    int error;              /* errno of the last failure */
    long long race_us;      /* when the next address joins */
    const stws_clock *clock;
    struct stws_p_proxy *proxy; /* whom to ask for the way, or NULL */
} stws_p_tcp;

/* First of each family in turn, in the order in which the resolver ranked them (RFC 8305,
   section 4). */
static void stws_p_tcp_interleave(stws_p_tcp *t) {
    int i, j;
    for (i = 1; i < t->count; i++) {
        for (j = i;
             j < t->count && t->addresses[j].any.sa_family == t->addresses[i - 1].any.sa_family;)
            j++;
        if (j == t->count) return;
        for (; j > i; j--) {
            stws_p_address swap = t->addresses[j];
            t->addresses[j] = t->addresses[j - 1];
            t->addresses[j - 1] = swap;
        }
    }
}

/* Is there an address of another family behind this one? */
static int stws_p_has_other_family(const struct addrinfo *list) {
    const struct addrinfo *each = list->ai_next;
    while (each && each->ai_family == list->ai_family) each = each->ai_next;
    return each != NULL;
}

/* Names by getaddrinfo, which blocks for as long as the resolver takes; numeric: without
   asking anybody. 0, or its code. */
static int stws_p_tcp_resolve(stws_p_tcp *t, const char *host, int numeric) {
    struct addrinfo hints, *list = NULL, *each;
    int result;
    memset(&hints, 0, sizeof hints);
    hints.ai_family = AF_UNSPEC;
    hints.ai_socktype = SOCK_STREAM;
    hints.ai_flags = numeric ? AI_NUMERICHOST : 0;
    result = getaddrinfo(host, NULL, &hints, &list);
    if (result != 0) return result;
    for (each = list; each && t->count < STWS_P_ADDRESSES; each = each->ai_next) {
        if (each->ai_addrlen > sizeof(stws_p_address)) continue;
        /* its place is kept */
        if (t->count == STWS_P_ADDRESSES - 1 && stws_p_has_other_family(each)) continue;
        memcpy(&t->addresses[t->count++], each->ai_addr, each->ai_addrlen);
    }
    freeaddrinfo(list);
    return t->count ? 0 : EAI_NONAME;
}

/* A numeric address without getaddrinfo, which allocates: 1 when it was one. */
static int stws_p_tcp_numeric(stws_p_tcp *t, const char *host) {
    stws_p_address *a = &t->addresses[t->count];
    if (t->count == STWS_P_ADDRESSES) return 0;
    memset(a, 0, sizeof *a);
    if (inet_pton(AF_INET, host, &a->v4.sin_addr) == 1) a->v4.sin_family = AF_INET;
    else if (inet_pton(AF_INET6, host, &a->v6.sin6_addr) == 1) a->v6.sin6_family = AF_INET6;
    else return 0;
    t->count++;
    return 1;
}

static int stws_p_same_address(const stws_p_address *a, const stws_p_address *b) {
    if (a->any.sa_family != b->any.sa_family) return 0;
    if (a->any.sa_family == AF_INET)
        return memcmp(&a->v4.sin_addr, &b->v4.sin_addr, sizeof a->v4.sin_addr) == 0;
    return memcmp(&a->v6.sin6_addr, &b->v6.sin6_addr, sizeof a->v6.sin6_addr) == 0;
}

/* Turn the list so that it begins behind this address, which comes last then. */
static void stws_p_tcp_begin_behind(stws_p_tcp *t, const stws_p_address *last) {
    int i = 0, turns;
    while (i < t->count && !stws_p_same_address(&t->addresses[i], last)) i++;
    if (i == t->count) return;
    for (turns = 0; turns <= i; turns++) {
        stws_p_address first = t->addresses[0];
        memmove(t->addresses, t->addresses + 1, (size_t)(t->count - 1) * sizeof first);
        t->addresses[t->count - 1] = first;
    }
}

static void stws_p_close_fd(int *fd) {
    if (*fd >= 0) close(*fd);
    *fd = -1;
}

static int stws_p_nonblocking(int fd) {
    int flags = fcntl(fd, F_GETFL, 0);
    return flags >= 0 && fcntl(fd, F_SETFL, flags | O_NONBLOCK) == 0 &&
           fcntl(fd, F_SETFD, FD_CLOEXEC) == 0;
}

static int stws_p_tcp_socket(const stws_p_address *a) {
    int fd = socket(a->any.sa_family, SOCK_STREAM, 0), on = 1;
    if (fd >= 0 && !stws_p_nonblocking(fd)) stws_p_close_fd(&fd);
    if (fd < 0) return -1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
#ifdef SO_NOSIGPIPE
    setsockopt(fd, SOL_SOCKET, SO_NOSIGPIPE, &on, sizeof on);
#endif
    return fd;
}

static int stws_p_tcp_connect(int fd, stws_p_address *a, int port) {
    uint16_t number = htons((uint16_t)port);
    if (a->any.sa_family == AF_INET) a->v4.sin_port = number;
    else a->v6.sin6_port = number;
    return connect(fd, &a->any, a->any.sa_family == AF_INET ? sizeof a->v4 : sizeof a->v6);
}

/* Start with the next address; fd stays -1 when that fails at once. */
static void stws_p_tcp_start(stws_p_tcp *t, int *fd) {
    stws_p_address *a = &t->addresses[t->next];
    *(fd == &t->fd ? &t->fd_at : &t->rival_at) = t->next++;
    *fd = stws_p_tcp_socket(a);
    if (*fd < 0 ||
        (stws_p_tcp_connect(*fd, a, t->port) != 0 && errno != EINPROGRESS && errno != EINTR)) {
        t->error = errno;
        stws_p_close_fd(fd);
    }
    t->race_us = *fd < 0 ? 0
                         : t->clock->now_us(t->clock->ctx) +
                               (t->rival < 0 ? STWS_P_RACE_US : STWS_P_PATIENCE_US);
}

/* Has a connect of ours come to its end? 1: connected; 0: not yet; a failed one is closed. */
static int stws_p_tcp_finished(stws_p_tcp *t, int *fd) {
    struct pollfd p = {*fd, POLLOUT, 0};
    int error = 0;
    socklen_t len = sizeof error;
    if (*fd < 0 || poll(&p, 1, 0) <= 0) return 0;
    if (getsockopt(*fd, SOL_SOCKET, SO_ERROR, &error, &len) != 0) error = errno;
    if (error == 0) return 1;
    t->error = error;
    t->race_us = 0; /* the next one need not wait */
    stws_p_close_fd(fd);
    return 0;
}

static void stws_p_tcp_promote(stws_p_tcp *t) {
    stws_p_close_fd(&t->fd);
    t->fd = t->rival;
    t->fd_at = t->rival_at;
    t->rival = -1;
}

static int stws_p_tcp_open(void *ctx, const stws_endpoint *to) {
    stws_p_tcp *t = (stws_p_tcp *)ctx;
    int stands = stws_p_tcp_finished(t, &t->fd);
    t->port = to->port;
    if (!stands && stws_p_tcp_finished(t, &t->rival)) {
        stws_p_tcp_promote(t);
        stands = 1;
    }
    if (stands) {
        stws_p_close_fd(&t->rival);
        t->reached = t->addresses[t->fd_at];
        return STWS_DONE;
    }
    while (t->next < t->count && t->fd < 0 && t->rival < 0) stws_p_tcp_start(t, &t->fd);
    if (t->next < t->count && t->clock->now_us(t->clock->ctx) >= t->race_us) {
        /* two that are silent must not keep back the others */
        if (t->fd >= 0 && t->rival >= 0) stws_p_tcp_promote(t);
        stws_p_tcp_start(t, t->fd < 0 ? &t->fd : &t->rival);
    }
    return t->fd < 0 && t->rival < 0 && t->next >= t->count ? (int)STWS_ERR_CONNECT
                                                            : (int)STWS_MORE;
}

static long stws_p_tcp_result(stws_p_tcp *t, ssize_t n) {
    if (n >= 0) return (long)n;
    if (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR) return 0;
    t->error = errno;
    return STWS_ERR_IO;
}

static long stws_p_tcp_read(void *ctx, char *buf, size_t len) {
    stws_p_tcp *t = (stws_p_tcp *)ctx;
    ssize_t n = recv(t->fd, buf, len, 0);
    return n == 0 ? (long)STWS_ERR_EOF : stws_p_tcp_result(t, n);
}

static long stws_p_tcp_write(void *ctx, const char *buf, size_t len) {
    stws_p_tcp *t = (stws_p_tcp *)ctx;
    return stws_p_tcp_result(t, send(t->fd, buf, len, STWS_P_SEND_FLAGS));
}

static void stws_p_tcp_close(void *ctx) {
    stws_p_tcp *t = (stws_p_tcp *)ctx;
    stws_p_close_fd(&t->fd);
    stws_p_close_fd(&t->rival);
}

static int stws_p_tcp_fd(void *ctx) { return ((stws_p_tcp *)ctx)->fd; }

/* What a number means, for a sentence; a table of these ends with what the others mean. */
typedef struct stws_p_meaning {
    int number;
    const char *text;
} stws_p_meaning;

static const char *stws_p_meaning_of(int number, const stws_p_meaning *table) {
    while (table->number && table->number != number) table++;
    return table->text;
}

/* What the usual errors mean to somebody who does not know errno (strerror may not be called
   from threads). */
static const char *stws_p_errno_text(int error) {
    switch (error) {
    case ECONNREFUSED: return "connection refused: nothing listens there";
    case ECONNRESET: return "connection reset by the peer";
    case EPIPE: return "the peer has closed the connection";
    case ETIMEDOUT: return "the peer does not answer (timed out)";
    case EHOSTUNREACH: return "no route to the host";
    case ENETUNREACH: return "the network is unreachable";
    case EADDRNOTAVAIL: return "no local address or port is left for it";
    case EACCES: return "a firewall or the system forbids it";
    case EMFILE: return "this process has too many open files";
    case ENFILE: return "the system has too many open files";
    case EAFNOSUPPORT: return "the system does not support that address family";
    default: return "the system reports an error";
    }
}

/* ==== >>proxy: the way through one: HTTP CONNECT (RFC 9110, 9.3.6) or SOCKS 5 (RFC 1928 and 1929) ==== */
typedef struct stws_p_proxy_url {
    int socks, port;
    char host[256], user[256], password[256];
} stws_p_proxy_url;

typedef struct stws_p_proxy {
    stws_p_proxy_url at;
    int step, final, port, saying; /* saying: data has what goes out, and not what has come in */
    size_t sent, len;              /* of data; sent: or heard of interim answers */
    char target[256], data[4096], why[360]; /* target and port: where the proxy is to lead us */
    stws_header headers[64];
} stws_p_proxy;
#ifdef STOMP_WS_NO_PROXY
#define STWS_P_HAS_PROXY 0 /* and so the compiler leaves out what follows */
#else
#define STWS_P_HAS_PROXY 1
#endif
enum { STWS_P_DIAL, STWS_P_ASK_METHOD, STWS_P_ASK_LOGIN, STWS_P_ASK_WAY };

static const char stws_p_no_proxy[] =
    "a proxy is http://[user:password@]host:port, or the same with socks5://; user and password "
    "have at most 255 bytes each, special characters as %XX, and with http:// no colon in the user "
    "and no control character";

/* 1; or 0 when it is no proxy's URL. One without a scheme, as the environment may have it,
   is http://. */
static int stws_p_proxy_parse(stws_p_proxy_url *out, const char *url) {
    const char *scheme_end = strstr(url, "://"), *p = scheme_end ? scheme_end + 3 : url, *end, *why;
    stws_url place;
    memset(out, 0, sizeof *out);
    memset(&place, 0, sizeof place);
    out->socks = stws_p_is_scheme(url, "socks5://") || stws_p_is_scheme(url, "socks5h://");
    if (scheme_end && !out->socks && !stws_p_is_scheme(url, "http://")) return 0;
    for (end = p + strcspn(p, "/?#"); end > p && *end != '@';) end--;
    if (!stws_p_decode_pair(p, end, out->user, out->password)) return 0;
    if (!out->socks && !stws_p_is_basic(out->user, out->password)) return 0;
    p = stws_p_url_host(*end == '@' ? end + 1 : p, &place, &why);
    if (p) p = stws_p_url_port(p, &place, &why);
    if (!p || (*p && strcmp(p, "/") != 0)) return 0;
    memcpy(out->host, place.host, place.host_len);
    out->port = out->socks && !place.has_port ? 1080 : place.port;
    return 1;
}

/* Is the host, or a domain that it is in, on a list such as no_proxy? */
static int stws_p_proxy_spares(const char *list, const char *host) {
    const char *word, *tail;
    size_t len;
    while (stws_p_next_word(&list, &word, &len)) {
        if (len == 1 && *word == '*') return 1;
        if (*word == '.') word++, len--;
        tail = host + strlen(host) - (strlen(host) < len ? 0 : len);
        if (stws_p_equal_nocase(tail, strlen(tail), word, len) && (tail == host || tail[-1] == '.'))
            return 1;
    }
    return 0;
}

/* The proxy that the environment has for a host, or NULL. Not HTTP_PROXY: in CGI that is a
   request's header. */
static const char *stws_p_proxy_from_environment(const char *host, int secure) {
    const char *spared = stws_p_or(getenv("no_proxy"), getenv("NO_PROXY"));
    const char *url =
        secure ? stws_p_or(getenv("https_proxy"), getenv("HTTPS_PROXY")) : getenv("http_proxy");
    if (!url) url = stws_p_or(getenv("all_proxy"), getenv("ALL_PROXY"));
    return url && *url && !stws_p_proxy_spares(stws_p_or(spared, ""), host) ? url : NULL;
}

static void stws_p_proxy_ask_http(stws_p_proxy *p, stws_p_out *out) {
    char place[280];
    snprintf(place, sizeof place, strchr(p->target, ':') ? "[%s]:%d" : "%s:%d", p->target, p->port);
    stws_p_put_string(out, "CONNECT ");
    stws_p_put_string(out, place);
    stws_p_put_string(out, " HTTP/1.1\r\n");
    stws_p_put_header(out, "Host", place);
    stws_p_put_header(out, "Proxy-Authorization",
                      stws_p_basic(p->at.user, p->at.password, p->data + 3072));
    stws_p_put(out, "\r\n", 2);
}

/* Names go as names: it is for the proxy to ask for their addresses. */
static void stws_p_proxy_ask_socks(stws_p_proxy *p, stws_p_out *out) {
    char address[16];
    int v4 = inet_pton(AF_INET, p->target, address) == 1,
        v6 = inet_pton(AF_INET6, p->target, address) == 1;
    stws_p_put(out, v4 ? "\5\1\0\1" : v6 ? "\5\1\0\4" : "\5\1\0\3", 4);
    if (!v4 && !v6) stws_p_put_char(out, (char)strlen(p->target));
    stws_p_put(out, v4 || v6 ? address : p->target, v4 ? 4 : v6 ? 16 : strlen(p->target));
    stws_p_put_char(out, (char)(p->port >> 8));
    stws_p_put_char(out, (char)(p->port & 255));
}

static void stws_p_proxy_say(stws_p_proxy *p, int step) {
    const char *user = p->at.user, *password = p->at.password;
    stws_p_out out = {p->data, 2048, 0};
    if (step == STWS_P_ASK_METHOD) stws_p_put(&out, *user ? "\5\2\0\2" : "\5\1\0", *user ? 4 : 3);
    else if (step == STWS_P_ASK_LOGIN)
        out.need = (size_t)snprintf(p->data, out.room, "\1%c%s%c%s", (int)strlen(user), user,
                                    (int)strlen(password), password);
    else if (p->at.socks) stws_p_proxy_ask_socks(p, &out);
    else stws_p_proxy_ask_http(p, &out);
    p->step = step;
    p->saying = 1;
    p->sent = 0;
    p->len = out.need;
}

static int stws_p_proxy_refuse(stws_p_proxy *p, int final, const char *what, const char *cause) {
    snprintf(p->why, sizeof p->why, "the proxy %.80s port %d %s%s", p->at.host, p->at.port, what,
             cause);
    p->final = final;
    return STWS_ERR_PROXY;
}

/* Statuses that another attempt will not change. */
static int stws_p_status_is_final(int status) {
    return status < 500 && status != 408 && status != 425 && status != 429;
}

/* It says no, with a reply of SOCKS or a status of HTTP. */
static int stws_p_proxy_says_no(stws_p_proxy *p, int code, const char *reason) {
    static const stws_p_meaning meanings[] = {
        {1, "it failed, and does not say why"},
        {2, "its rules forbid that host or port"},
        {3, "it has no route to the server's network"},
        {4, "it cannot reach the host, or does not know its name"},
        {5, "connection refused: nothing listens at that host and port"},
        {6, "the server is too far away (TTL)"},
        {7, "it does not do CONNECT"},
        {8, "it does not take that kind of address"},
        {255, "it wants credentials, as in socks5://user:password@host:port in options.proxy, or "
              "others than these"},
        /* no reply has this number */
        {256, "it does not take the user and password of options.proxy"},
        {403, "it forbids that host or port (many allow port 443 only)"},
        {407, "it wants credentials: put them into options.proxy, as "
              "http://user:password@host:port (Basic only)"},
        {500, "it cannot reach the server, or is in trouble itself"},
        {0, "does it do CONNECT for that host and port?"}};
    int socks = p->at.socks, final = socks ? code == 2 || code > 6 : stws_p_status_is_final(code);
    char what[100];
    snprintf(what, sizeof what, "says no by %s %d%.60s: ", socks ? "SOCKS reply" : "HTTP", code,
             reason);
    return stws_p_proxy_refuse(p, final, what,
                               stws_p_meaning_of(code >= 500 ? 500 : code, meanings));
}

/* Look at an answer, of *used bytes: STWS_DONE; STWS_MORE when it is not whole; or an
   error. Interim answers (RFC 9110, 15.2) are passed over; they and the final one share the
   room for one head, so that there is an end to them. */
static int stws_p_proxy_hear_http(stws_p_proxy *p, size_t *used) {
    stws_http http;
    int result;
    do {
        p->sent += *used;
        memset(&http, 0, sizeof http);
        http.headers = p->headers;
        http.max_headers = sizeof p->headers / sizeof *p->headers;
        http.max_bytes = sizeof p->data - p->sent;
        result = !http.max_bytes
                     ? (int)STWS_ERR_HTTP_LIMIT
                     : stws_handshake_parse(p->data + p->sent, p->len - p->sent, &http, used);
    } while (result == STWS_DONE && http.status / 100 == 1 && http.status != 101);
    *used += p->sent;
    if (result == STWS_ERR_HTTP_LIMIT)
        return stws_p_proxy_refuse(p, 1, "answers with a head of over 4096 bytes or 64 headers",
                                   "");
    if (result < 0 || (result == STWS_DONE && !http.status))
        return stws_p_proxy_refuse(
            p, 1, "does not answer in HTTP: is it of another kind, such as socks5://?", "");
    /* the line still has its blank before the reason */
    if (result == STWS_DONE && http.status / 100 != 2)
        return stws_p_proxy_says_no(p, http.status, *http.reason ? http.reason - 1 : "");
    return result;
}

static int stws_p_proxy_hear_socks(stws_p_proxy *p, size_t *used) {
    const unsigned char *in = (const unsigned char *)p->data;
    static const char other[] =
        "does not answer in SOCKS 5: is it of another kind, such as http://?";
    int way = p->step == STWS_P_ASK_WAY, login = p->step == STWS_P_ASK_LOGIN;
    /* RFC 1929 has a version of its own */
    if (in[0] != (login ? 1 : 5)) return stws_p_proxy_refuse(p, 1, other, "");
    if (p->len < 2) return STWS_MORE;
    if (in[1] && (way || login || in[1] != 2 || !*p->at.user))
        return stws_p_proxy_says_no(p, way ? in[1] : login ? 256 : 255, "");
    if (way && p->len > 3 && in[3] != 1 && in[3] != 3 && in[3] != 4)
        return stws_p_proxy_refuse(p, 1, other, "");
    *used = !way ? 2 : in[3] == 1 ? 10 : in[3] == 4 ? 22 : 7u + in[4];
    return p->len < *used ? STWS_MORE : STWS_DONE;
}

/* What comes behind an answer is nobody's: the server, and this proxy, wait for us to begin. */
static int stws_p_proxy_hear(stws_p_proxy *p) {
    size_t used = 0;
    int result = p->at.socks ? stws_p_proxy_hear_socks(p, &used) : stws_p_proxy_hear_http(p, &used);
    if (result == STWS_DONE && p->len > used)
        return stws_p_proxy_refuse(p, 1, "sends bytes of its own behind its answer", "");
    if (result != STWS_DONE || p->step == STWS_P_ASK_WAY) return result;
    stws_p_proxy_say(p, p->data[1] ? STWS_P_ASK_LOGIN : STWS_P_ASK_WAY);
    return STWS_MORE;
}

/* As stws_p_tcp_open, and then on through the proxy, when there is one. */
static int stws_p_proxy_open(void *ctx, const stws_endpoint *to) {
    stws_p_tcp *t = (stws_p_tcp *)ctx;
    stws_p_proxy *p = STWS_P_HAS_PROXY ? t->proxy : NULL;
    stws_endpoint first = *to;
    int result = STWS_MORE;
    if (!p) return stws_p_tcp_open(t, to);
    first.port = p->at.port;
    if (!p->step) result = stws_p_tcp_open(t, &first);
    if (result < 0) stws_p_proxy_refuse(p, 0, "cannot be reached: ", stws_p_errno_text(t->error));
    if (result == STWS_DONE) {
        p->port = to->port;
        t->next = t->count; /* none of its other addresses has to join */
        stws_p_proxy_say(p, p->at.socks ? STWS_P_ASK_METHOD : STWS_P_ASK_WAY);
        result = STWS_MORE;
    }
    while (p->step && result == STWS_MORE) {
        size_t *at = p->saying ? &p->sent : &p->len;
        long n = p->saying ? stws_p_tcp_write(t, p->data + p->sent, p->len - p->sent)
                           : stws_p_tcp_read(t, p->data + p->len, sizeof p->data - p->len);
        if (n == 0) return STWS_MORE;
        if (n < 0)
            return stws_p_proxy_refuse(p, 0, "broke the connection off before it had answered", "");
        *at += (size_t)n;
        if (!p->saying) result = stws_p_proxy_hear(p);
        else if (p->sent == p->len) p->saying = 0, p->sent = p->len = 0;
    }
    return result;
}

static int stws_p_proxy_asked(const stws_p_tcp *t) { return t->proxy && t->proxy->step; }

/* What TCP's first descriptor is to be polled for until the connection stands. */
static int stws_p_proxy_wants(const stws_p_tcp *t) {
    return stws_p_proxy_asked(t) && !t->proxy->saying ? STWS_WANT_READ : STWS_WANT_WRITE;
}

static const char *stws_p_proxy_error(void *ctx) {
    const stws_p_tcp *t = (stws_p_tcp *)ctx;
    return t->proxy && *t->proxy->why ? t->proxy->why : stws_p_errno_text(t->error);
}

static void stws_p_tcp_init(stws_p_tcp *t, const stws_clock *clock, stws_transport *io) {
    static const stws_transport tcp = {
        NULL, stws_p_proxy_open, stws_p_tcp_read, stws_p_tcp_write, stws_p_tcp_close, stws_p_tcp_fd,
        NULL, stws_p_proxy_error};
    memset(t, 0, sizeof *t);
    t->fd = t->rival = -1;
    t->clock = clock;
    *io = tcp;
    io->ctx = t;
}

/* ==== >>tls: TLS by a table of functions (stws_tls) over TCP ==== */
/* This section moves encrypted bytes between the table's buffers and the socket, and is the
   client's transport for wss://. It knows no TLS library. The rest of the client asks it
   with stws_p_tls_begun and stws_p_tls_is_final. */
typedef struct stws_p_tls {
    const stws_tls *table;
    void *state; /* the table's */
    stws_p_tcp *tcp;
    stws_tls_start start;
    /* a sentence of this section for the last failure, or NULL: the table's, or TCP's */
    const char *why;
    size_t taken;    /* of the client's output: what the table has, but has not gone out yet */
    int begun, open; /* the table's begin was called; its handshake is done */
    int failed;      /* the table has reported the last failure */
    int silent;      /* the socket is another process's, too: nothing is to be sent any more */
    char host[256];  /* of this connection, and so of the session that may be resumed */
    int port;        /* the same; 0: there is no such session */
} stws_p_tls;

static stws_p_tls *stws_p_tls_init(void *memory, void *state, const stws_tls *table) {
    stws_p_tls *t = (stws_p_tls *)memset(memory, 0, sizeof *t);
    memset(state, 0, table->size);
    t->table = table;
    t->state = state;
    return t;
}

/* Has a table all functions that it needs? */
static int stws_p_tls_is_whole(const stws_tls *table) {
    return table->begin && table->state && table->input && table->received && table->output &&
           table->sent && table->read && table->write && table->close && table->key_hash &&
           table->error;
}

static void stws_p_tls_destroy(stws_p_tls *t) {
    if (t && t->table->destroy) t->table->destroy(t->state);
}

/* After fork() the child closes its socket without a word: the parent goes on with the
   connection. */
static void stws_p_tls_be_silent(stws_p_tls *t) {
    if (t) t->silent = 1;
}

static int stws_p_tls_begun(const stws_p_tls *t) { return t && t->begun; }

/* Would another attempt meet the same failure? */
static int stws_p_tls_is_final(stws_p_tls *t) {
    int final = 0;
    if (t && t->failed) t->table->error(t->state, &final);
    return final;
}

/* Encrypted bytes, a record or a part of it, to the socket or from it. */
static long stws_p_tls_move(stws_p_tls *t, int out) {
    size_t len = 0;
    const char *from = out ? t->table->output(t->state, &len) : NULL;
    char *to = out ? NULL : t->table->input(t->state, &len);
    long n = out ? stws_p_tcp_write(t->tcp, from, len) : stws_p_tcp_read(t->tcp, to, len);
    if (n > 0 && out) t->table->sent(t->state, (size_t)n);
    if (n > 0 && !out) t->table->received(t->state, (size_t)n);
    if (n != STWS_ERR_EOF) return n;
    t->why = t->open
                 ? "the connection was cut off, without the end that TLS asks for"
                 : "the server ended the connection in the handshake: does this port speak TLS?";
    return STWS_ERR_TLS;
}

/* One try to send what is to be said last: an alert, or close_notify. */
static void stws_p_tls_drain(stws_p_tls *t) {
    size_t len = 0;
    while (t->table->output(t->state, &len) && len && stws_p_tls_move(t, 1) > 0) len = 0;
}

/* The table has ended with an error: the client's, and a sentence if this section has one. */
static int stws_p_tls_ended(stws_p_tls *t, int error) {
    stws_p_tls_drain(t);
    if (error == STWS_ERR_EOF && t->open) return error;
    t->failed = error != STWS_ERR_EOF;
    t->why = t->failed ? NULL : "the server ended the connection in the handshake";
    return error == STWS_ERR_TLS_TRUST ? error : (int)STWS_ERR_TLS;
}

enum { STWS_P_TLS_MOVES = 256 };

/* Move records until the table has a bit of `until`: STWS_DONE; STWS_MORE when the socket is
   not ready; or an error. What cannot be sent does not keep us from receiving: the peer may
   wait for just that, or have said why. */
static int stws_p_tls_pump(stws_p_tls *t, int until) {
    int moves;
    for (moves = 0; moves < STWS_P_TLS_MOVES; moves++) {
        int state = t->table->state(t->state);
        long n = 0, received = 0;
        if (state < 0) return stws_p_tls_ended(t, state);
        if (state & STWS_TLS_HAS_OUTPUT) n = stws_p_tls_move(t, 1);
        if (n <= 0 && (state & until)) return STWS_DONE;
        if (n <= 0 && (state & STWS_TLS_TAKES_INPUT)) received = stws_p_tls_move(t, 0);
        if (n <= 0 && received <= 0) return (int)(n < 0 ? n : received);
    }
    return STWS_MORE; /* for now: records with nothing in them are no reason to stay here */
}

/* TCP stands: begin. A session is resumed only with the host and port of the last handshake
   that was done (and so, within one client, under the same options). */
static int stws_p_tls_begin(stws_p_tls *t, const stws_endpoint *to) {
    size_t len = strlen(to->host); /* a dot at its end is for DNS, and in no certificate */
    char host[256];
    int result;
    snprintf(host, sizeof host, "%.*s", (int)(len - (len && to->host[len - 1] == '.')), to->host);
    t->start.resume = t->port == to->port && strcmp(t->host, host) == 0;
    memcpy(t->host, host, sizeof host);
    t->start.host = t->host;
    t->start.port = to->port;
    t->port = 0;
    t->begun = 1;
    result = t->table->begin(t->state, &t->start);
    return result < 0 ? stws_p_tls_ended(t, result) : result;
}

/* Is the hash of the server's key in tls_pin? Encodings are compared, so that there is
   nothing to decode. */
static int stws_p_tls_is_pinned(const char *pin, const unsigned char hash[32]) {
    char base64[48], hex[2][65];
    size_t i;
    stws_p_base64(hash, 32, base64);
    for (i = 0; i < 64; i++)
        snprintf(&hex[i & 1][i & ~1u], 3, i & 1 ? "%02X" : "%02x", hash[i / 2]);
    return strstr(pin, base64) || strstr(pin, hex[0]) || strstr(pin, hex[1]);
}

/* The handshake is done: nothing of ours is sent before the server's key is the one that
   tls_pin wants. */
static int stws_p_tls_check_pin(stws_p_tls *t) {
    const char *pin = t->start.options->tls_pin;
    unsigned char hash[32];
    if (!pin || (t->table->key_hash(t->state, hash) && stws_p_tls_is_pinned(pin, hash)))
        return STWS_DONE;
    t->why = "the server's key is not that of tls_pin";
    return STWS_ERR_TLS_TRUST;
}

static int stws_p_tls_open(void *ctx, const stws_endpoint *to) {
    stws_p_tls *t = (stws_p_tls *)ctx;
    int result = t->begun ? (int)STWS_DONE : stws_p_proxy_open(t->tcp, to);
    if (result == STWS_DONE && !t->begun) result = stws_p_tls_begin(t, to);
    if (result == STWS_DONE) result = stws_p_tls_pump(t, STWS_TLS_TAKES_DATA);
    if (result == STWS_DONE) result = stws_p_tls_check_pin(t);
    if (result != STWS_DONE) return result;
    t->open = 1;
    t->port = to->port;
    return result;
}

/* As many records as are there: less than len means that the socket is empty. An error waits
   until the data are out. */
static long stws_p_tls_read(void *ctx, char *buf, size_t len) {
    stws_p_tls *t = (stws_p_tls *)ctx;
    size_t done = 0, n = 1;
    int result = STWS_DONE;
    while (n > 0 && done < len && (result = stws_p_tls_pump(t, STWS_TLS_HAS_DATA)) == STWS_DONE)
        done += n = t->table->read(t->state, buf + done, len - done);
    if (!n && !done) return 0; /* the table breaks its promise */
    return done ? (long)done : (long)result;
}

/* Bytes count as written when their record is out. Until then they are offered to us again,
   and stand in the client's numbers and deadlines as what waits. */
static long stws_p_tls_write(void *ctx, const char *buf, size_t len) {
    stws_p_tls *t = (stws_p_tls *)ctx;
    size_t done = 0;
    int result = stws_p_tls_pump(t, STWS_TLS_TAKES_DATA), more = 1;
    while (more && result == STWS_DONE && (done += t->taken) < len) {
        t->taken = t->table->write(t->state, buf + done, len - done);
        more = t->taken != 0;
        result = stws_p_tls_pump(t, STWS_TLS_TAKES_DATA);
    }
    if (result == STWS_DONE) t->taken = 0;
    return done || result == STWS_DONE ? (long)done : (long)result;
}

static void stws_p_tls_close(void *ctx) {
    stws_p_tls *t = (stws_p_tls *)ctx;
    if (t->begun && t->open && !t->silent) t->table->close(t->state);
    if (t->begun && !t->silent) stws_p_tls_drain(t);
    if (t->begun && t->table->end) t->table->end(t->state);
    t->begun = t->open = 0;
    stws_p_tcp_close(t->tcp);
}

static int stws_p_tls_fd(void *ctx) { return stws_p_tcp_fd(((stws_p_tls *)ctx)->tcp); }

/* Records go both ways whatever is wanted; data that are inside already make no socket ready. */
static int stws_p_tls_wants(void *ctx, int wants) {
    stws_p_tls *t = (stws_p_tls *)ctx;
    int state = t->table->state(t->state), out = 0;
    if (state < 0) return wants & STWS_WANT_READ ? STWS_WANT_NOW : 0;
    if (state & STWS_TLS_HAS_OUTPUT || (wants & STWS_WANT_WRITE && state & STWS_TLS_TAKES_DATA))
        out = STWS_WANT_WRITE;
    if (state & STWS_TLS_TAKES_INPUT) out |= wants & STWS_WANT_READ;
    return wants & STWS_WANT_READ && state & STWS_TLS_HAS_DATA ? out | STWS_WANT_NOW : out;
}

static const char *stws_p_tls_error(void *ctx) {
    stws_p_tls *t = (stws_p_tls *)ctx;
    int final;
    if (t->why) return t->why;
    return t->failed ? t->table->error(t->state, &final) : stws_p_proxy_error(t->tcp);
}

/* Get ready for an attempt. What is left of the last one is the session. */
static void stws_p_tls_plug(stws_p_tls *t, const stws_options *o, const stws_random *r,
                            stws_p_tcp *tcp, stws_transport *io) {
    static const stws_transport tls = {
        NULL,          stws_p_tls_open,  stws_p_tls_read, stws_p_tls_write, stws_p_tls_close,
        stws_p_tls_fd, stws_p_tls_wants, stws_p_tls_error};
    t->start.options = o, t->start.random = r, t->tcp = tcp;
    t->why = NULL;
    t->taken = 0;
    t->begun = t->open = t->failed = 0;
    *io = tls;
    io->ctx = t;
}

STOMP_WS_API const char *stws_tls_alert_text(int alert) {
    static const char refused[] =
        "the server does not take our certificate: see tls_cert_file and tls_key_file";
    static const stws_p_meaning meanings[] = {
        {40, "the server finds no cipher or kind of key in common, or wants a client certificate "
             "(tls_cert_file)"},
        {42, refused},
        {43, refused},
        {44, refused},
        {45, refused},
        {46, refused},
        {48, refused},
        {49, refused},
        {51, refused},
        {70, "the server speaks none of the TLS versions that are spoken here"},
        {112, "the server knows no host of this name (SNI)"},
        {116, "the server wants a client certificate: see tls_cert_file and tls_key_file"},
        {120, "the server does not offer HTTP/1.1 (ALPN)"},
        {0, NULL}};
    return stws_p_meaning_of(alert, meanings);
}

/* ==== >>bearssl: TLS 1.2 by BearSSL ==== */
#ifdef STOMP_WS_BEARSSL
/* All of TLS's memory is one struct in the client's block. A bundle of CAs has 150
   certificates, a chain needs one of them: so no anchors are kept, but the server's chain is
   put by as it comes, and then the bundle is read for the CAs that it names. That bounds
   memory whatever the bundle's size, and a renewed one holds from the next handshake on that
   resumes no session. */
enum { STWS_P_CHAIN = 8, STWS_P_ANCHORS = 6, STWS_P_DER_ROOM = 32768 };

/* RFC 5280, 4.1 */
enum { STWS_P_ISSUER = 2, STWS_P_SUBJECT = 4, STWS_P_KEY, STWS_P_REST, STWS_P_PARTS };

typedef br_x500_name stws_p_der; /* bytes of DER: data and len */

typedef struct stws_p_bear {
    const br_x509_class *verifier; /* first: BearSSL knows us by its address */
    const stws_options *options;
    const char *host;
    br_ssl_client_context client;
    br_x509_minimal_context minimal;
    br_x509_decoder_context decoders[STWS_P_ANCHORS];
    br_x509_trust_anchor anchors[STWS_P_ANCHORS];
    br_ssl_session_parameters session;
    br_pem_decoder_context pem;
    br_skey_decoder_context key;
    br_x509_certificate own[STWS_P_CHAIN]; /* the client's */
    stws_p_der chain[STWS_P_CHAIN];        /* the server's */
    size_t own_count, chain_count, anchor_count, found, ip_len;
    /* anchors that the chain names: in this reading of the bundle; in use so far */
    size_t seen, tried;
    size_t used, part; /* of der: what stays, what comes */
    int final, overflow;
    int has_session, has_key_hash; /* session: also, the handshake is done; key_hash */
    char why[320];
    unsigned char key_hash[br_sha256_SIZE], ip[16], der[STWS_P_DER_ROOM],
        buffer[BR_SSL_BUFSIZE_BIDI];
} stws_p_bear;

typedef void (*stws_p_pem_use)(stws_p_bear *t, const char *name, stws_p_der der);

/* Take the first element off: its tag, or 0 when there is none or it is cut off. whole (may
   be NULL) has its head. */
static int stws_p_der_next(stws_p_der *rest, stws_p_der *whole, stws_p_der *content) {
    unsigned char *from = rest->data;
    size_t head = 2, len = rest->len < 2 ? 0 : from[1], i;
    if (len & 0x80) head += len & 0x7F;
    if (rest->len < 2 || head > 5 || rest->len < head) return 0;
    for (i = 2, len = head > 2 ? 0 : len; i < head; i++) len = len << 8 | from[i];
    if (len > rest->len - head) return 0;
    rest->data += head + len;
    rest->len -= head + len;
    if (whole) whole->data = from, whole->len = head + len;
    content->data = from + head;
    content->len = len;
    return *from;
}

/* Go on to the first element of that tag and take it off: 1, or 0 without one. content may
   be rest. */
static int stws_p_der_find(stws_p_der *rest, int tag, stws_p_der *content) {
    stws_p_der each;
    int found;
    while ((found = stws_p_der_next(rest, NULL, &each)) != 0 && found != tag) continue;
    if (found) *content = each;
    return found != 0;
}

static int stws_p_der_equal(stws_p_der a, const void *b, size_t len) {
    return a.len == len && !memcmp(a.data, b, len);
}

/* The fields of a certificate, without its version: 1, or 0 when it is none. */
static int stws_p_der_certificate(stws_p_der der, stws_p_der parts[STWS_P_PARTS]) {
    stws_p_der *rest = &parts[STWS_P_REST], content;
    int i = 0, tag = stws_p_der_next(&der, NULL, &der) == 0x30 &&
                     stws_p_der_next(&der, NULL, rest) == 0x30;
    for (; i < STWS_P_REST && tag; i += tag != 0xA0)
        tag = stws_p_der_next(rest, &parts[i], &content);
    return tag != 0;
}

/* The list in the extension of that id: 1; 0 without the extension; -1 when it has no list. */
static int stws_p_der_extension(stws_p_der rest, const char id[3], stws_p_der *list) {
    stws_p_der extension, found;
    if (!stws_p_der_find(&rest, 0xA3, &rest) || !stws_p_der_find(&rest, 0x30, &rest)) return 0;
    while (stws_p_der_find(&rest, 0x30, &extension))
        if (stws_p_der_find(&extension, 6, &found) && stws_p_der_equal(found, id, 3))
            return stws_p_der_find(&extension, 4, list) && stws_p_der_find(list, 0x30, list) ? 1
                                                                                             : -1;
    return 0;
}

/* Has it an element of that tag: this one, or, when that has no length, any? */
static int stws_p_der_has(stws_p_der list, int tag, const void *element, size_t len) {
    stws_p_der each;
    while (stws_p_der_find(&list, tag, &each))
        if (!len || stws_p_der_equal(each, element, len)) return 1;
    return 0;
}

/* Does a certificate's subjectAltName (RFC 5280, 4.2.1.6) have this address, or without one,
   any host name? BearSSL does not look at addresses, and takes the common name where there
   is no host name (against RFC 9110, 4.3.4). */
static int stws_p_der_names(stws_p_der rest, const unsigned char *ip, size_t ip_len) {
    stws_p_der names;
    return stws_p_der_extension(rest, "\x55\x1D\x11", &names) > 0 &&
           stws_p_der_has(names, ip_len ? 0x87 : 0x82, ip, ip_len);
}

/* May it serve as a TLS server's (RFC 5280, 4.2.1.12)? Its extendedKeyUsage, if any, has
   serverAuth or "any". */
static int stws_p_der_is_for_servers(stws_p_der rest) {
    stws_p_der uses;
    int has = stws_p_der_extension(rest, "\x55\x1D\x25", &uses);
    return !has || (has > 0 && (stws_p_der_has(uses, 6, "\x2B\6\1\5\5\7\3\1", 8) ||
                                stws_p_der_has(uses, 6, "\x55\x1D\x25\0", 4)));
}

static void stws_p_pem_store(void *ctx, const void *data, size_t len) {
    stws_p_bear *t = (stws_p_bear *)ctx;
    if (len > sizeof t->der - t->used - t->part) return; /* what lacks a piece is no certificate */
    memcpy(t->der + t->used + t->part, data, len);
    t->part += len;
}

static void stws_p_pem_text(stws_p_bear *t, const char *text, size_t len, stws_p_pem_use use) {
    while (len > 0) {
        const char *cr = (const char *)memchr(text, '\r', len); /* BearSSL knows LF only */
        size_t n = br_pem_decoder_push(&t->pem, text, cr ? (size_t)(cr - text) : len);
        int event = br_pem_decoder_event(&t->pem);
        stws_p_der der = {t->der + t->used, t->part};
        if (text + n == cr) n++;
        text += n;
        len -= n;
        if (event == BR_PEM_BEGIN_OBJ) br_pem_decoder_setdest(&t->pem, stws_p_pem_store, t);
        if (event == BR_PEM_END_OBJ) use(t, br_pem_decoder_name(&t->pem), der);
        if (event) t->part = 0;
    }
}

/* Hand over each object of a text or else of a file. How many certificates were among them;
   of half a file none. */
static size_t stws_p_pem_read(stws_p_bear *t, const char *pem, const char *file,
                              stws_p_pem_use use) {
    int fd = pem || !file ? -1 : open(file, O_RDONLY | O_CLOEXEC);
    char text[1024];
    ssize_t n = 0;
    t->found = t->part = 0;
    br_pem_decoder_init(&t->pem);
    stws_p_pem_text(t, pem, stws_p_strlen(pem), use);
    while (fd >= 0 && ((n = read(fd, text, sizeof text)) > 0 || (n < 0 && errno == EINTR)))
        stws_p_pem_text(t, text, n < 0 ? 0 : (size_t)n, use);
    stws_p_pem_text(t, "\n", 1, use); /* without a line end BearSSL does not see the last line */
    stws_p_wipe(text, sizeof text);   /* it may have been a key */
    stws_p_close_fd(&fd);
    if (n < 0) t->found = 0;
    return t->found;
}

static int stws_p_pem_certificate(stws_p_bear *t, const char *name, stws_p_der der,
                                  stws_p_der parts[STWS_P_PARTS]) {
    int named = strcmp(name, "CERTIFICATE") == 0 || strcmp(name, "X509 CERTIFICATE") == 0;
    if (!named || !stws_p_der_certificate(der, parts)) return 0;
    t->found++;
    return 1;
}

/* ---- whom to trust: the verifier that BearSSL calls ---- */

static stws_p_bear *stws_p_bear_of(const br_x509_class **ctx) { return (stws_p_bear *)ctx; }

static void stws_p_bear_start_chain(const br_x509_class **ctx, const char *name) {
    (void)ctx, (void)name;
}

static void stws_p_bear_start_cert(const br_x509_class **ctx, uint32_t len) {
    stws_p_bear *t = stws_p_bear_of(ctx);
    t->overflow |= len > sizeof t->der - t->used || t->chain_count == STWS_P_CHAIN;
    if (t->overflow) return;
    t->chain[t->chain_count].data = t->der + t->used;
    t->chain[t->chain_count++].len = len;
}

static void stws_p_bear_append(const br_x509_class **ctx, const unsigned char *data, size_t len) {
    stws_p_bear *t = stws_p_bear_of(ctx);
    if (t->overflow) return;
    memcpy(t->der + t->used, data, len);
    t->used += len;
}

static void stws_p_bear_end_cert(const br_x509_class **ctx) { (void)ctx; }

/* Is it the issuer or the subject of a certificate of the chain? */
static int stws_p_bear_is_named(const stws_p_bear *t, stws_p_der name) {
    stws_p_der parts[STWS_P_PARTS], *issuer = &parts[STWS_P_ISSUER],
                                    *subject = &parts[STWS_P_SUBJECT];
    size_t i;
    for (i = 0; i < t->chain_count; i++)
        if (stws_p_der_certificate(t->chain[i], parts) &&
            (stws_p_der_equal(*issuer, name.data, name.len) ||
             stws_p_der_equal(*subject, name.data, name.len)))
            return 1;
    return 0;
}

/* A certificate of the bundle: it stays when the chain names it. That is only so as not to
   keep them all: what is trusted is for BearSSL to find out. */
static void stws_p_bear_use_anchor(stws_p_bear *t, const char *name, stws_p_der der) {
    br_x509_decoder_context *decoder = &t->decoders[t->anchor_count];
    br_x509_trust_anchor *anchor = &t->anchors[t->anchor_count];
    stws_p_der parts[STWS_P_PARTS], *subject = &parts[STWS_P_SUBJECT];
    if (!stws_p_pem_certificate(t, name, der, parts) || !stws_p_bear_is_named(t, *subject)) return;
    /* it had its turn; it will have it */
    if (t->seen++ < t->tried || t->anchor_count == STWS_P_ANCHORS) return;
    t->tried = t->seen;
    br_x509_decoder_init(decoder, NULL, NULL);
    br_x509_decoder_push(decoder, der.data, der.len);
    if (!br_x509_decoder_get_pkey(decoder)) return; /* a kind of key that BearSSL does not know */
    anchor->dn = *subject;
    anchor->flags = br_x509_decoder_isCA(decoder) ? BR_X509_TA_CA : 0;
    anchor->pkey = *br_x509_decoder_get_pkey(decoder);
    t->anchor_count++;
    t->used += der.len;
}

/* Note the hash of the server's key, for tls_pin. */
static void stws_p_bear_note_key(stws_p_bear *t, stws_p_der key) {
    br_sha256_context sha256;
    br_sha256_init(&sha256);
    br_sha256_update(&sha256, key.data, key.len);
    br_sha256_out(&sha256, t->key_hash);
    t->has_key_hash = 1;
}

/* Has the chain an anchor, and its first certificate our server's name? 0, or BearSSL's error. */
static unsigned stws_p_bear_check_chain(stws_p_bear *t, stws_p_der rest) {
    const br_x509_class **x = &t->minimal.vtable;
    unsigned error;
    size_t i;
    br_x509_minimal_init_full(&t->minimal, t->anchors, t->anchor_count);
    br_x509_minimal_set_hash(&t->minimal, br_sha1_ID, NULL); /* broken */
    br_x509_minimal_set_minrsa(&t->minimal, 256);
    (*x)->start_chain(x, t->ip_len ? NULL : t->host);
    for (i = 0; i < t->chain_count; i++) {
        (*x)->start_cert(x, (uint32_t)t->chain[i].len);
        (*x)->append(x, t->chain[i].data, t->chain[i].len);
        (*x)->end_cert(x);
    }
    error = (*x)->end_chain(x);
    return error || stws_p_der_names(rest, t->ip, t->ip_len) ? error : BR_ERR_X509_BAD_SERVER_NAME;
}

static unsigned stws_p_bear_untrusted(stws_p_bear *t, const char *why) {
    snprintf(t->why, sizeof t->why, "%s", why);
    return BR_ERR_X509_NOT_TRUSTED;
}

/* A directory of PEM files: how many certificates they have. A name in it that begins with a
   dot is passed over. */
static size_t stws_p_bear_read_folder(stws_p_bear *t, const char *path, size_t path_len) {
    char name[1024];
    size_t found = 0;
    const struct dirent *each;
    DIR *folder;
    snprintf(name, sizeof name, "%.*s", (int)path_len, path);
    folder = opendir(name);
    while (folder && (each = readdir(folder)) != NULL) {
        int len = snprintf(name, sizeof name, "%.*s/%s", (int)path_len, path, each->d_name);
        if (*each->d_name != '.' && len > 0 && (size_t)len < sizeof name)
            found += stws_p_pem_read(t, NULL, name, stws_p_bear_use_anchor);
    }
    if (folder) closedir(folder);
    return found;
}

/* A variable of the environment; NULL without it, when it is empty, or in a program that
   runs with other rights than those of its caller (setuid), whom the environment belongs to. */
static const char *stws_p_bear_environment(const char *name) {
    const char *value = getuid() == geteuid() && getgid() == getegid() ? getenv(name) : NULL;
    return value && *value ? value : NULL;
}

/* Read the CAs for those that the chain names: how many there are at all. */
static size_t stws_p_bear_read_anchors(stws_p_bear *t) {
    static const char *const bundles[] = {"/etc/ssl/certs/ca-certificates.crt",
                                          "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem",
                                          "/etc/ssl/ca-bundle.pem"};
    const char *pem = t->options->tls_ca_pem, *file = t->options->tls_ca_file, *folders = NULL,
               *end;
    int own = pem || file;
    size_t found = 0, i;
    if (!own) {
        file = stws_p_bear_environment("SSL_CERT_FILE");
        folders = stws_p_bear_environment("SSL_CERT_DIR");
    }
    if (own || file) found = stws_p_pem_read(t, pem, file, stws_p_bear_use_anchor);
    for (; folders; folders = *end ? end + 1 : NULL) {
        end = folders + strcspn(folders, ":");
        found += stws_p_bear_read_folder(t, folders, (size_t)(end - folders));
        own = 1;
    }
    for (i = 0; !own && !file && !found && i < sizeof bundles / sizeof *bundles; i++)
        found = stws_p_pem_read(t, NULL, bundles[i], stws_p_bear_use_anchor);
    return found;
}

/* Nothing that we trust has signed the chain. A server that sends one certificate, of an
   issuer that we do not know, may lack the certificate in between. */
static unsigned stws_p_bear_unknown(stws_p_bear *t, const stws_p_der parts[STWS_P_PARTS]) {
    stws_p_der subject = parts[STWS_P_SUBJECT];
    if (t->seen || t->chain_count > 1 ||
        stws_p_der_equal(parts[STWS_P_ISSUER], subject.data, subject.len))
        return BR_ERR_X509_NOT_TRUSTED;
    return stws_p_bear_untrusted(
        t, "the CA of the server's certificate is not known here: the server did not send its "
           "intermediate certificate, or else see tls_ca_file");
}

/* The chain is there: 0, or BearSSL's error. */
static unsigned stws_p_bear_end_chain(const br_x509_class **ctx) {
    stws_p_bear *t = stws_p_bear_of(ctx);
    stws_p_der parts[STWS_P_PARTS], other[STWS_P_PARTS];
    size_t i, chain_end = t->used;
    unsigned error;
    if (t->overflow)
        return stws_p_bear_untrusted(t, "the server's chain has over 8 certificates or 32 KiB");
    if (!t->chain_count || !stws_p_der_certificate(t->chain[0], parts))
        return BR_ERR_X509_EMPTY_CHAIN;
    stws_p_bear_note_key(t, parts[STWS_P_KEY]);
    if (t->options->tls_insecure_no_verify) {
        br_x509_decoder_init(t->decoders, NULL, NULL);
        br_x509_decoder_push(t->decoders, t->chain[0].data, t->chain[0].len);
        return br_x509_decoder_get_pkey(t->decoders) ? 0 : BR_ERR_X509_WRONG_KEY_TYPE;
    }
    for (i = 0; i < t->chain_count; i++)
        if (!stws_p_der_certificate(t->chain[i], other) ||
            !stws_p_der_is_for_servers(other[STWS_P_REST]))
            return stws_p_bear_untrusted(t, "a certificate of the server's chain is not for TLS "
                                            "servers: its extendedKeyUsage lacks serverAuth");
    do { /* again while there are more anchors that the chain names than have room at a time */
        t->anchor_count = t->seen = 0;
        t->used = chain_end;
        if (!stws_p_bear_read_anchors(t))
            return stws_p_bear_untrusted(
                t, "there is no CA to trust: tls_ca_file, tls_ca_pem, SSL_CERT_FILE, SSL_CERT_DIR "
                   "or the system's bundle cannot be read, or has no certificate in PEM");
        error = stws_p_bear_check_chain(t, parts[STWS_P_REST]);
    } while (error == BR_ERR_X509_NOT_TRUSTED && t->seen > t->tried);
    return error == BR_ERR_X509_NOT_TRUSTED ? stws_p_bear_unknown(t, parts) : error;
}

static const br_x509_pkey *stws_p_bear_get_pkey(const br_x509_class *const *ctx, unsigned *usages) {
    const stws_p_bear *t = (const stws_p_bear *)ctx;
    if (!t->options->tls_insecure_no_verify)
        return t->minimal.vtable->get_pkey(&t->minimal.vtable, usages);
    if (usages) *usages = BR_KEYTYPE_KEYX | BR_KEYTYPE_SIGN;
    return &t->decoders[0].pkey;
}

/* ---- errors ---- */

/* Something of ours that another attempt will not change. */
static int stws_p_bear_refuse(stws_p_bear *t, const char *why, const char *file) {
    snprintf(t->why, sizeof t->why, "%s: %.200s", why, file);
    t->final = 1;
    return STWS_ERR_TLS;
}

/* What an error of BearSSL means; NULL where another attempt may not meet it. */
static const char *stws_p_bear_meaning(int error, int in_session) {
    enum { ALERT = BR_ERR_RECV_FATAL_ALERT };

    static const stws_p_meaning meanings[] = {
        {BR_ERR_UNSUPPORTED_VERSION, "what answers is not TLS 1.2: is this a port for ws://?"},
        {BR_ERR_X509_EXPIRED,
         "a certificate of the server has expired or is not valid yet; is our clock right?"},
        {BR_ERR_X509_BAD_SERVER_NAME, "the server's certificate is for another host (its "
                                      "subjectAltName counts, its common name does not)"},
        {BR_ERR_X509_WEAK_PUBLIC_KEY,
         "a key in the server's chain is too weak (RSA needs 2048 bits)"},
        {BR_ERR_X509_NOT_CA, "the server's chain has an issuer that is no CA"},
        {BR_ERR_X509_UNSUPPORTED,
         "the server's chain uses algorithms that are broken (such as SHA-1), or that BearSSL does "
         "not know (such as Ed25519): a certificate of RSA or EC, or stws_openssl()"},
        {BR_ERR_X509_DN_MISMATCH,
         "the server's chain is out of order, or has certificates that do not belong to it"},
        {BR_ERR_X509_NOT_TRUSTED,
         "the CA of the server's certificate is not known here: see tls_ca_file"},
        {ALERT + BR_ALERT_HANDSHAKE_FAILURE,
         "the server finds no cipher in common (offered: ECDHE with AES-GCM or ChaCha20, "
         "certificates of RSA or EC, not Ed25519), or wants a client certificate (tls_cert_file)"},
        {ALERT + BR_ALERT_PROTOCOL_VERSION,
         "this server speaks only TLS 1.3 (or older ones), BearSSL ends at 1.2: options.tls = "
         "stws_openssl() has 1.3"},
        {0, NULL}};
    const char *meaning = stws_p_meaning_of(error, meanings);
    if (in_session && error == ALERT + BR_ALERT_HANDSHAKE_FAILURE)
        return "the server wants a handshake anew in the middle of a session (renegotiation, "
               "perhaps for a client certificate), which is not done: let it ask for one at the "
               "first handshake";
    return meaning || error < ALERT ? meaning : stws_tls_alert_text(error - ALERT);
}

/* The engine has closed: the error, and a sentence. What has a meaning of its own is final. */
static int stws_p_bear_ended(stws_p_bear *t) {
    enum { ALERT = BR_ERR_RECV_FATAL_ALERT };

    int error = br_ssl_engine_last_error(&t->client.eng),
        trust = error >= BR_ERR_X509_OK && error < ALERT;
    const char *meaning = stws_p_bear_meaning(error, t->has_session);
    if (error == BR_ERR_OK) return STWS_ERR_EOF;
    t->final = meaning != NULL;
    if (!*t->why)
        snprintf(
            t->why, sizeof t->why, "%s (%s, %s %d)",
            stws_p_or(meaning, trust ? "the server's certificate is not valid" : "TLS broke down"),
            t->host, error < ALERT ? "BearSSL error" : "TLS alert", error % ALERT);
    return trust ? (int)STWS_ERR_TLS_TRUST : (int)STWS_ERR_TLS;
}

static void stws_p_bear_use_own(stws_p_bear *t, const char *name, stws_p_der der) {
    stws_p_der parts[STWS_P_PARTS];
    if (t->own_count == STWS_P_CHAIN || !stws_p_pem_certificate(t, name, der, parts)) return;
    t->own[t->own_count].data = der.data;
    t->own[t->own_count++].data_len = der.len;
    t->used += der.len;
}

static void stws_p_bear_use_key(stws_p_bear *t, const char *name, stws_p_der der) {
    if (!strstr(name, "PRIVATE KEY") || strstr(name, "ENCRYPTED")) return;
    br_skey_decoder_init(&t->key);
    br_skey_decoder_push(&t->key, der.data, der.len);
}

/* The client's certificate and key, read for each handshake. */
static int stws_p_bear_identify(stws_p_bear *t) {
    const char *file = t->options->tls_cert_file,
               *key_file = stws_p_or(t->options->tls_key_file, file);
    if (!file) return STWS_DONE;
    if (!stws_p_pem_read(t, NULL, file, stws_p_bear_use_own))
        return stws_p_bear_refuse(t, "tls_cert_file cannot be read, or has no certificate in PEM",
                                  file);
    br_skey_decoder_init(&t->key);
    stws_p_pem_read(t, NULL, key_file, stws_p_bear_use_key);
    if (br_skey_decoder_key_type(&t->key) == BR_KEYTYPE_RSA)
        br_ssl_client_set_single_rsa(&t->client, t->own, t->own_count,
                                     br_skey_decoder_get_rsa(&t->key),
                                     br_rsa_pkcs1_sign_get_default());
    else if (br_skey_decoder_key_type(&t->key) == BR_KEYTYPE_EC)
        br_ssl_client_set_single_ec(&t->client, t->own, t->own_count,
                                    br_skey_decoder_get_ec(&t->key), BR_KEYTYPE_SIGN, BR_KEYTYPE_EC,
                                    br_ec_get_default(), br_ecdsa_sign_asn1_get_default());
    else
        return stws_p_bear_refuse(
            t, "tls_key_file cannot be read, or has no RSA or EC key without password", key_file);
    return STWS_DONE;
}

/* ---- the table ---- */

/* Get the engine ready for a handshake. Of the last one it has the session, and the hash of
   the server's key. */
static int stws_p_bear_begin(void *tls, const stws_tls_start *start) {
    /* ECDHE: four of AES-GCM, two of ChaCha20, which come first without AES-NI */
    static const uint16_t suites[] = {0xC02B, 0xC02F, 0xC02C, 0xC030, 0xCCA9,
                                      0xCCA8, 0xC02B, 0xC02F, 0xC02C, 0xC030};
    static const br_x509_class verifier = {
        sizeof(stws_p_bear),  stws_p_bear_start_chain, stws_p_bear_start_cert, stws_p_bear_append,
        stws_p_bear_end_cert, stws_p_bear_end_chain,   stws_p_bear_get_pkey};
    stws_p_bear *t = (stws_p_bear *)tls;
    br_ssl_engine_context *e = &t->client.eng;
    int fast = br_aes_x86ni_ctr_get_vtable() && br_ghash_pclmul_get(), result,
        resume = start->resume && t->has_session;
    unsigned char seed[32];
    t->verifier = &verifier, t->options = start->options, t->host = start->host;
    t->own_count = t->chain_count = t->anchor_count = t->tried = t->used = 0;
    t->final = t->overflow = t->has_session = 0;
    t->why[0] = 0;
    t->ip_len = inet_pton(AF_INET, t->host, t->ip) == 1    ? 4
                : inet_pton(AF_INET6, t->host, t->ip) == 1 ? 16
                                                           : 0;
    br_ssl_client_init_full(&t->client, &t->minimal, NULL, 0);
    br_ssl_engine_set_versions(e, BR_TLS12, BR_TLS12);
    br_ssl_engine_set_suites(e, fast ? suites : suites + 4, 6);
    br_ssl_engine_add_flags(e, BR_OPT_NO_RENEGOTIATION);
    br_ssl_engine_set_x509(e, &t->verifier);
    br_ssl_engine_set_buffer(e, t->buffer, sizeof t->buffer, 1);
    memset(seed, 0, sizeof seed);
    if (stws_p_random_from(start->random, seed, sizeof seed) != 0)
        return stws_p_bear_refuse(t, "the system gives no random numbers", t->host);
    br_ssl_engine_inject_entropy(e, seed, sizeof seed);
    result = stws_p_bear_identify(t);
    if (result != STWS_DONE) return result;
    if (resume) br_ssl_engine_set_session_parameters(e, &t->session);
    else t->has_key_hash = 0;
    /* an address is no server name */
    if (br_ssl_client_reset(&t->client, t->ip_len ? NULL : t->host, resume)) return STWS_DONE;
    return stws_p_bear_ended(t);
}

static int stws_p_bear_state(void *tls) {
    stws_p_bear *t = (stws_p_bear *)tls;
    unsigned state = br_ssl_engine_current_state(&t->client.eng);
    if (state & BR_SSL_CLOSED) return stws_p_bear_ended(t);
    if (state & BR_SSL_SENDAPP && !t->has_session) { /* the handshake is done */
        t->has_session = 1;
        br_ssl_engine_get_session_parameters(&t->client.eng, &t->session);
    }
    return (state & BR_SSL_SENDREC ? STWS_TLS_HAS_OUTPUT : 0) |
           (state & BR_SSL_RECVREC ? STWS_TLS_TAKES_INPUT : 0) |
           (state & BR_SSL_SENDAPP ? STWS_TLS_TAKES_DATA : 0) |
           (state & BR_SSL_RECVAPP ? STWS_TLS_HAS_DATA : 0);
}

static br_ssl_engine_context *stws_p_bear_engine(void *tls) {
    return &((stws_p_bear *)tls)->client.eng;
}

static char *stws_p_bear_input(void *tls, size_t *room) {
    return (char *)br_ssl_engine_recvrec_buf(stws_p_bear_engine(tls), room);
}

static void stws_p_bear_received(void *tls, size_t len) {
    br_ssl_engine_recvrec_ack(stws_p_bear_engine(tls), len);
}

static const char *stws_p_bear_output(void *tls, size_t *len) {
    return (const char *)br_ssl_engine_sendrec_buf(stws_p_bear_engine(tls), len);
}

static void stws_p_bear_sent(void *tls, size_t len) {
    br_ssl_engine_sendrec_ack(stws_p_bear_engine(tls), len);
}

static size_t stws_p_bear_read(void *tls, char *buf, size_t len) {
    size_t n;
    const unsigned char *from = br_ssl_engine_recvapp_buf(stws_p_bear_engine(tls), &n);
    if (n > len) n = len;
    memcpy(buf, from, n);
    br_ssl_engine_recvapp_ack(stws_p_bear_engine(tls), n);
    return n;
}

static size_t stws_p_bear_write(void *tls, const char *buf, size_t len) {
    size_t n;
    unsigned char *to = br_ssl_engine_sendapp_buf(stws_p_bear_engine(tls), &n);
    if (n > len) n = len;
    memcpy(to, buf, n);
    br_ssl_engine_sendapp_ack(stws_p_bear_engine(tls), n);
    br_ssl_engine_flush(stws_p_bear_engine(tls), 0);
    return n;
}

static void stws_p_bear_close(void *tls) { br_ssl_engine_close(stws_p_bear_engine(tls)); }

static int stws_p_bear_key_hash(void *tls, unsigned char sha256[32]) {
    const stws_p_bear *t = (const stws_p_bear *)tls;
    memcpy(sha256, t->key_hash, sizeof t->key_hash);
    return t->has_key_hash;
}

static const char *stws_p_bear_error(void *tls, int *final) {
    const stws_p_bear *t = (const stws_p_bear *)tls;
    *final = t->final;
    return t->why;
}

STOMP_WS_API const stws_tls *stws_bearssl(void) {
    static const stws_tls table = {sizeof(stws_p_bear),
                                   stws_p_bear_begin,
                                   stws_p_bear_state,
                                   stws_p_bear_input,
                                   stws_p_bear_received,
                                   stws_p_bear_output,
                                   stws_p_bear_sent,
                                   stws_p_bear_read,
                                   stws_p_bear_write,
                                   stws_p_bear_close,
                                   NULL,
                                   NULL,
                                   stws_p_bear_key_hash,
                                   stws_p_bear_error};
    return &table;
}
#else
STOMP_WS_API const stws_tls *stws_bearssl(void) { return NULL; }
#endif

/* ==== >>copy: messages that outlive the receive buffer ==== */
static size_t stws_p_message_size(const stws_message *m) {
    return stws_p_align(sizeof *m + stws_p_kept_size(&m->frame));
}

/* The copy's own of a value that the original takes from its headers. */
static const char *stws_p_moved_value(const stws_message *from, const stws_header *headers,
                                      const char *value) {
    size_t i;
    for (i = 0; value && i < from->frame.header_count; i++)
        if (from->frame.headers[i].value == value) return headers[i].value;
    return NULL;
}

static stws_message *stws_p_message_write(void *block, const stws_message *m) {
    stws_message *copy = (stws_message *)block;
    const stws_header *headers;
    *copy = *m;
    stws_p_keep_frame(&copy->frame, copy + 1);
    headers = copy->frame.headers;
    copy->body = copy->frame.body;
    copy->destination = stws_p_moved_value(m, headers, m->destination);
    copy->message_id = stws_p_moved_value(m, headers, m->message_id);
    copy->subscription = stws_p_moved_value(m, headers, m->subscription);
    copy->content_type = stws_p_moved_value(m, headers, m->content_type);
    copy->ack = stws_p_moved_value(m, headers, m->ack);
    copy->answered = NULL;
    return copy;
}

STOMP_WS_API stws_message *stws_message_copy(const stws_message *message) {
    void *block = message ? STOMP_WS_MALLOC(stws_p_message_size(message)) : NULL;
    return block ? stws_p_message_write(block, message) : NULL;
}

STOMP_WS_API void stws_message_free(stws_message *copy) {
    if (!copy) return;
    stws_p_wipe(copy, stws_p_message_size(copy));
    STOMP_WS_FREE(copy);
}

STOMP_WS_API const char *stws_header_get(const stws_message *message, const char *name) {
    return message && name ? stws_frame_header(&message->frame, name) : NULL;
}

/* ==== >>queue: messages of many clients for whoever pops ==== */
#ifdef STOMP_WS_NO_THREADS
#define STWS_P_LOCK(object) ((void)(object))
#define STWS_P_UNLOCK(object) ((void)(object))
#define STWS_P_WITH_THREADS(code)
#else
#define STWS_P_WITH_THREADS(code) code
#define STWS_P_LOCK(object) ((void)pthread_mutex_lock((object)->mutex))
#define STWS_P_UNLOCK(object) ((void)pthread_mutex_unlock((object)->mutex))

/* A condition that waits by the monotonic clock, where the system lets us choose: 1, or 0
   without memory. */
static int stws_p_cond_init(pthread_cond_t *cond) {
    pthread_condattr_t attributes;
    int made;
    if (pthread_condattr_init(&attributes) != 0) return 0;
#if !defined(__APPLE__)
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
#endif
    made = pthread_cond_init(cond, &attributes) == 0;
    pthread_condattr_destroy(&attributes);
    return made;
}

static int stws_p_sync_init(pthread_mutex_t *mutex, pthread_cond_t *cond) {
    if (pthread_mutex_init(mutex, NULL) != 0) return 0;
    if (stws_p_cond_init(cond)) return 1;
    pthread_mutex_destroy(mutex);
    return 0;
}

/* Wait until signalled or until that many milliseconds are over (-1: no limit); 0 when they
   are. */
static int stws_p_cond_wait(pthread_cond_t *cond, pthread_mutex_t *mutex, long long ms) {
    struct timespec t;
    if (ms < 0) return pthread_cond_wait(cond, mutex) == 0;
#if defined(__APPLE__)
    clock_gettime(CLOCK_REALTIME, &t);
#else
    clock_gettime(CLOCK_MONOTONIC, &t);
#endif
    t.tv_sec += (time_t)(ms / 1000);
    t.tv_nsec += (long)(ms % 1000) * 1000000;
    if (t.tv_nsec >= 1000000000) t.tv_sec++, t.tv_nsec -= 1000000000;
    return pthread_cond_timedwait(cond, mutex, &t) == 0;
}
#endif

/* A client that waits for room: how to wake it. */
typedef struct stws_p_waiter {
    struct stws_p_waiter *next;
    int fd; /* write end of its wake pipe; -1: it asks by itself */
    int listed;
} stws_p_waiter;

/* Messages stand in a ring, each whole; a popped one keeps its place until it is given back. */
typedef struct stws_p_queued {
    size_t size;
    int given_back, answered;
    int settling; /* a thread that gives it back is acknowledging it */
    stws_message *message;
} stws_p_queued;

struct stws_queue {
    stws_p_ring ring;
    long pid; /* of the process that made it */
    int closed;
    int feeders, fed; /* clients that may still put something in; there has been one */
    stws_p_waiter *waiters;
#ifndef STOMP_WS_NO_THREADS
    pthread_mutex_t mutex[1]; /* so that STWS_P_LOCK finds a pointer, as in a client */
    pthread_cond_t filled;
#endif
};

STOMP_WS_API stws_queue *stws_queue_create(size_t capacity) {
    size_t head = stws_p_align(sizeof(stws_queue)), cap = stws_p_align(capacity ? capacity : 65536);
    stws_queue *q;
    if (capacity > 2147483647) return NULL;
    q = (stws_queue *)STOMP_WS_MALLOC(head + cap);
    if (!q) return NULL;
    memset(q, 0, sizeof *q);
#ifndef STOMP_WS_NO_THREADS
    if (!stws_p_sync_init(q->mutex, &q->filled)) {
        STOMP_WS_FREE(q);
        return NULL;
    }
#endif
    q->ring.data = (char *)q + head;
    q->ring.cap = cap;
    q->pid = (long)getpid();
    return q;
}

STOMP_WS_API void stws_queue_destroy(stws_queue *q) {
    if (!q) return;
#ifndef STOMP_WS_NO_THREADS
    if (q->pid == (long)getpid()) { /* a child's threads do not wait there, but these may look so */
        pthread_cond_destroy(&q->filled);
        pthread_mutex_destroy(q->mutex);
    }
#endif
    stws_p_wipe(q->ring.data, q->ring.used); /* messages may be secrets */
    STOMP_WS_FREE(q);
}

STOMP_WS_API void stws_queue_close(stws_queue *q) {
    if (!q) return;
    STWS_P_LOCK(q);
    q->closed = 1;
    STWS_P_WITH_THREADS(pthread_cond_broadcast(&q->filled);)
    STWS_P_UNLOCK(q);
}

static stws_p_queued *stws_p_queued_at(const stws_queue *q, size_t offset) {
    return (stws_p_queued *)stws_p_ring_at(&q->ring, offset);
}

/* The popped entry after that one, or, after NULL, the first; NULL after the last. Those that
   were given back may be among them. Under the lock. */
static stws_p_queued *stws_p_queued_popped_locked(const stws_queue *q, const stws_p_queued *entry) {
    const stws_p_ring *r = &q->ring;
    stws_p_queued *next = (stws_p_queued *)stws_p_ring_next(r, entry);
    return r->untaken && next == stws_p_queued_at(q, r->next) ? NULL : next;
}

/* A client comes, or has ended. Nothing more will come when the last one has. */
static void stws_p_queue_feed(stws_queue *q, int more) {
    STWS_P_LOCK(q);
    q->fed = 1;
    q->feeders += more;
    STWS_P_WITH_THREADS(if (!q->feeders) pthread_cond_broadcast(&q->filled);)
    STWS_P_UNLOCK(q);
}

static int stws_p_queue_over(const stws_queue *q) { return q->closed || (q->fed && !q->feeders); }

/* Put a copy in: 1; 0 when it is full now (waiter is woken once there is room); an error
   when it never will be. */
static int stws_p_queue_push(stws_queue *q, const stws_message *m, stws_p_waiter *waiter) {
    size_t head = stws_p_align(sizeof(stws_p_queued)), size = head + stws_p_message_size(m);
    stws_p_queued *entry = NULL;
    if (size > q->ring.cap) return STWS_ERR_LIMIT;
    STWS_P_LOCK(q);
    if (!q->closed) entry = (stws_p_queued *)stws_p_ring_put(&q->ring, size);
    if (entry) {
        entry->given_back = entry->answered = entry->settling = 0;
        entry->message = stws_p_message_write((char *)entry + head, m);
        entry->message->answered = &entry->answered;
        STWS_P_WITH_THREADS(if (q->ring.untaken == 1) pthread_cond_signal(&q->filled);)
    } else if (!waiter->listed) {
        waiter->next = q->waiters;
        q->waiters = waiter;
        STWS_P_STORE(&waiter->listed, 1);
    }
    STWS_P_UNLOCK(q);
    return entry != NULL;
}
#ifndef STOMP_WS_NO_THREADS
/* Is a thread acknowledging a message of this client? Under the lock. */
static int stws_p_queue_settles_locked(stws_queue *q, const stws *client) {
    const stws_p_queued *entry = stws_p_queued_popped_locked(q, NULL);
    while (entry && !(entry->settling && entry->message->client == client))
        entry = stws_p_queued_popped_locked(q, entry);
    return entry != NULL;
}
#endif

/* A client goes: nobody waits for room any more, and nobody acknowledges its messages.
   Whoever is just doing that ends first. */
static void stws_p_queue_forget(stws_queue *q, const stws *client, stws_p_waiter *waiter) {
    stws_p_waiter **at;
    stws_p_queued *entry = NULL;
    STWS_P_LOCK(q);
    STWS_P_WITH_THREADS(while (stws_p_queue_settles_locked(q, client))
                            stws_p_cond_wait(&q->filled, q->mutex, -1);)
    for (at = &q->waiters; *at && *at != waiter;) at = &(*at)->next;
    if (*at) *at = waiter->next;
    STWS_P_STORE(&waiter->listed, 0);
    while ((entry = (stws_p_queued *)stws_p_ring_next(&q->ring, entry)) != NULL) {
        if (entry->message->client != client) continue;
        STWS_P_STORE(&entry->answered, 1);
        STWS_P_STORE(&entry->message->client, NULL);
    }
    STWS_P_UNLOCK(q);
}

/* Does a user have a message of this client's session, whose ACK the library owes when it
   comes back? */
static int stws_p_queue_owes(stws_queue *q, const stws *client, unsigned epoch) {
    const stws_p_queued *entry = NULL;
    int owes = 0;
    STWS_P_LOCK(q);
    while ((entry = stws_p_queued_popped_locked(q, entry)) != NULL) {
        const stws_message *m = entry->message;
        owes |= m->client == client && m->epoch == epoch && (m->ack_on & STWS_ACK_ON_RETURN) &&
                !entry->given_back && !STWS_P_LOAD(&entry->answered);
    }
    STWS_P_UNLOCK(q);
    return owes;
}

/* One byte into a wake pipe. When it is full, a wake-up is under way anyway.
   Async-signal-safe. */
static void stws_p_poke(int fd) {
    int saved = errno;
    while (fd >= 0 && write(fd, "", 1) < 0 && errno == EINTR) continue;
    errno = saved;
}

/* A message comes back: its place is free once all before it are, and clients that wait for
   room may ask again. */
static void stws_p_queue_give_back(stws_queue *q, stws_p_queued *entry) {
    stws_p_ring *r = &q->ring;
    if (entry) entry->given_back = 1;
    while (r->count > r->untaken && stws_p_queued_at(q, r->head)->given_back) stws_p_ring_drop(r);
    while (q->waiters) {
        stws_p_waiter *waiter = q->waiters;
        q->waiters = waiter->next;
        STWS_P_STORE(&waiter->listed, 0);
        stws_p_poke(waiter->fd);
    }
}

/* Sleep until there is a message, the queue is closed, or the time is over. Under the lock. */
static void stws_p_queue_await_locked(stws_queue *q, int timeout_ms) {
#ifdef STOMP_WS_NO_THREADS
    (void)q, (void)timeout_ms;
#else
    long long until = stws_p_system_clock(NULL) + (long long)timeout_ms * STWS_P_US, left = 1;
    while (!q->ring.untaken && !stws_p_queue_over(q) && left > 0 && timeout_ms != 0) {
        if (timeout_ms > 0) left = (until - stws_p_system_clock(NULL) + STWS_P_US - 1) / STWS_P_US;
        if (left > 0) stws_p_cond_wait(&q->filled, q->mutex, timeout_ms < 0 ? -1 : left);
    }
#endif
}

/* The user is done with a message, or has it, as `when` says, or both: acknowledge it if the
   library is to. 0: there is no room for that now. */
static int stws_p_acknowledge_on(const stws_message *m, int when) {
    return !((int)m->ack_on & when) || STWS_P_LOAD(m->answered) ||
           stws_ack(m->client, m) != STWS_ERR_FULL;
}

static int stws_p_acknowledge_waiting(const stws_message *m, int timeout_ms);

/* The entry of a message that was popped; NULL when it is none of this queue's. Under the lock. */
static stws_p_queued *stws_p_queued_of_locked(stws_queue *q, const stws_message *m) {
    stws_p_queued *entry = stws_p_queued_popped_locked(q, NULL);
    while (entry && entry->message != m) entry = stws_p_queued_popped_locked(q, entry);
    return entry;
}

/* Give a message back, and acknowledge it first if the library owes that. 0: there is no
   room for its ACK. The lock is let go of meanwhile. */
static int stws_p_queue_settle(stws_queue *q, const stws_message *m, int timeout_ms) {
    stws_p_queued *entry = stws_p_queued_of_locked(q, m);
    int settled = 1;
    if (entry && STWS_P_LOAD(&m->client) && (m->ack_on & STWS_ACK_ON_RETURN) &&
        !STWS_P_LOAD(&entry->answered)) {
        entry->settling = 1;
        STWS_P_UNLOCK(q);
        settled = stws_p_acknowledge_waiting(m, timeout_ms);
        STWS_P_LOCK(q);
        entry->settling = 0;
        STWS_P_WITH_THREADS(pthread_cond_broadcast(&q->filled);) /* for a client that goes */
    }
    if (settled) stws_p_queue_give_back(q, entry);
    return settled;
}

STOMP_WS_API int stws_queue_pop(stws_queue *q, const stws_message **message, int timeout_ms) {
    int result = 0;
    if (!q) return STWS_ERR_MEMORY;
    if (!message) return STWS_ERR_USAGE;
    STWS_P_LOCK(q);
    if (*message && !stws_p_queue_settle(q, *message, timeout_ms)) {
        STWS_P_UNLOCK(q);
        return 0;
    }
    *message = NULL;
    stws_p_queue_await_locked(q, timeout_ms);
    if (q->ring.untaken) {
        *message = stws_p_queued_at(q, q->ring.next)->message;
        stws_p_ring_take(&q->ring);
        /* for another who pops */
        STWS_P_WITH_THREADS(if (q->ring.untaken) pthread_cond_signal(&q->filled);)
        result = 1;
    } else if (stws_p_queue_over(q)) {
        result = STWS_CLOSED;
    }
    STWS_P_UNLOCK(q);
    return result;
}

/* ==== >>options: defaults, memory, and the life of a client ==== */
enum { STWS_P_ASKED_NOTHING, STWS_P_ASKED_END, STWS_P_ASKED_STOP };

enum { STWS_P_BATCH = 65536 }; /* what is built is written when so much waits */

/* so much is read beside a part of a frame that has come before */
enum { STWS_P_READ = STWS_P_BATCH + 4096 };

enum { STWS_P_MAX_URLS = 64 };

/* as due_us: the last turn was not followed by a wait, so nobody was told when to come again */
enum { STWS_P_NOT_TOLD = -1 };

enum { STWS_P_AGAIN = STWS_RESULT_END }; /* no code of a call: what it tried is to be tried anew */

/* An event that waits for stws_next, with a copy of its message behind it. */
typedef struct stws_p_kept {
    struct stws_p_kept *next;
    size_t size;
    int answered;
    stws_event event;
    stws_message *message; /* the event's, or NULL */
} stws_p_kept;

/* a message, or the last one's ACK, waits for room there */
enum { STWS_P_HELD_BY_QUEUE = 1, STWS_P_HELD_BY_ACK };

struct stws {
    stws_options o; /* resolved: no default is left at 0 */
    stws_p_session s;
    size_t block_size;
    int state, error, final, http_status, close_code, stop;
    int asked;               /* STWS_P_ASKED_*, under the lock */
    int disconnect_number;   /* of a graceful end */
    int failures, url_index; /* failures in a row, since the last stable session */
    int has_worked;          /* there was a session */
    int put_off;             /* before_connect said not yet: it is asked again about this attempt */
    int write_error;         /* writing has failed; what was sent to us is still read */
    /* a callback is running: the message it looks at has to stay where it is */
    int calling;
    int busy_turns;      /* in a row, in which something moved */
    int frames_left;     /* until time is looked at again */
    unsigned losses;     /* sessions that ended with output unwritten */
    unsigned refusals;   /* calls that would have written, but the socket was full */
    size_t http_scanned; /* of the answer's head, in vain: not to be looked at again */
    unsigned char close_sent, reconnect_asked, waiting, threads, has_heap, broken;
    /* why nothing is read, STWS_P_HELD_; DISCONNECTED waits to be told */
    unsigned char held, event_due;
    unsigned char drained; /* the last read left nothing in the socket */
    unsigned char opened;  /* the transport has to be closed */
    /* what late_us counts passed in a callback, or in the program, not in a wait */
    unsigned char late_in_call;
    unsigned char calls_back; /* stws_run does: a message need not become an event first */
    /* another thread has left something since the last turn; under the lock */
    unsigned char called;
    /* the last step left off before all was done; we said what to wait for */
    unsigned char more, waited;
    unsigned char yield; /* stws_next is to return without an event */
    /* a call that is not stws_next drives: it gives no kept event */
    unsigned char keeping;
    unsigned char has_kept; /* `kept` is for stws_next, after those in `kept_first` */
    unsigned char feeds;    /* it counts among those that feed options.queue */
    unsigned char going;    /* it is being destroyed; under the lock */
    unsigned char renewing; /* a good session is to be left once its output is written */
    /* the subscription of the message in hand was unsubscribed; under the lock */
    unsigned char ends_in_hand;
    /* stws_flush waits for receipts; OUTBOX_HIGH was told, OUTBOX_LOW not yet */
    unsigned char flushing, above_high;
    unsigned char owes_turn; /* frames are left, but a turn comes first: no waiting */
    /* CONNECT was, by an ERROR: STWS_P_REFUSED or _DENIED, else 0 */
    unsigned char refused;
    /* no more of the answer to the upgrade comes, or is waited for */
    unsigned char answer_over;
    char key[25];    /* Sec-WebSocket-Key */
    stws_event kept; /* that a call other than stws_next met, without a callback for it */
    stws_p_kept *kept_first, **kept_last; /* copies of those before it, on the heap */
    /* the one that stws_next gave last, whose views the user looks at */
    stws_p_kept *given;
    size_t kept_bytes; /* of all of these */
    /* the message in hand: the user has it, and the library owes its ACK, at the latest when we
       come again; NULL: none */
    const stws_message *hand;
    int in_hand; /* its subscription's handle; under the lock */
    int aside; /* the handle of a subscription that was set aside, which is to be told; 0: none; under
                                 the lock */
    size_t unwritten; /* bytes that waited when the close frame was posted */
    /* that the broker makes itself, of a stws_request that waits; or NULL */
    const stws_subscribe_options *implied;
    long long error_us; /* when the first ERROR of the session came */
    long long now, deadline_us, error_close_us, hook_us, due_us, stalled_us, session_us, end_us;
    long long slept_us; /* what the clock said of sleep when the session began */
    /* when the session is to be left for a new one; when at the latest, with output */
    long long renew_us, renew_by_us;
    long long late_us, retry_ms, retry_after_ms;
    char *block_in, *block_out; /* the buffers in the block, while larger ones stand in */
    /* a copy of the driving thread's, for the others; NULL when there are none */
    stws_statistics *shared_stats;
    stws_attempt try_now;
    stws_url url;
    char *text, *where; /* the error's sentence, text_size bytes, and its URL, half of that */
    size_t text_size;
    /* headers of the last answer to an upgrade: name, value, name, value, each with its NUL,
       and a NUL */
    char *head;
    char *jar;   /* see stws_p_keep_cookies; behind it the value of the next Cookie header */
    char *moved; /* the URL of a redirect */
    size_t head_size;
    int redirects; /* followed in this attempt */
    stws_transport io;
    stws_p_tcp tcp;
    /* the address of the last attempt, if that failed after TCP; its family is 0: none */
    stws_p_address unlucky;
    stws_p_tls *tls;     /* NULL when no URL of the options is wss:// */
    stws_p_proxy *proxy; /* NULL without the option */
    stws_clock clock;
    stws_random locked_random; /* for TLS */
    stws_allocator allocator;
    stws_p_waiter waiter;
    int wake[2];
#ifndef STOMP_WS_NO_THREADS
    pthread_mutex_t *mutex;  /* this and the next: with threads only */
    pthread_cond_t *changed; /* room in the output, or all confirmed, or the end */
    pthread_t runner;        /* of stws_start */
    int running, run_result;
#endif
    /* of the process that made the client: in another one its threads do not exist */
    long pid;
    uintptr_t lock_owner;  /* with assertions: the thread that has the lock; 0: none */
    uintptr_t driver;      /* the thread that drives, and how, see stws_p_take; 0: none */
    uintptr_t last_driver; /* the thread of the last driving call */
    /* what the thread that drives has until its next driving call: STWS_P_EVENT, ... */
    int lent;
    /* threads that wait to drive; those, and others that wait until nobody drives */
    int wanted, watchers;
};

static uintptr_t stws_p_me(void);

/* Does this thread have the lock? For assertions only; also with options.single_thread, where
   there is no lock. */
static inline int stws_p_has_lock(const stws *c) {
    return STWS_P_LOAD(&c->lock_owner) == stws_p_me();
}

static void stws_p_lock(stws *c) {
    STOMP_WS_ASSERT(!stws_p_has_lock(c));
    if (c->threads) STWS_P_LOCK(c);
    if (STWS_P_ASSERTS) STWS_P_STORE(&c->lock_owner, stws_p_me());
}

static void stws_p_unlock(stws *c) {
    STOMP_WS_ASSERT(stws_p_has_lock(c));
    if (STWS_P_ASSERTS) STWS_P_STORE(&c->lock_owner, 0);
    if (c->threads) STWS_P_UNLOCK(c);
}

/* ---- the state of the connection ---- */

/* The state that stws_state returns. Only stws_p_enter changes it, and only for the thread that
   drives.

        IDLE                        nothing has been done yet
         |
         v    gave up, or the program asked for the end
    +-> BACKOFF ---> ENDED
    |    |
    |    | the next attempt: its URL is chosen
    |    v
    |   RESOLVING <------------+
    |    | addresses           |
    |    v                     |
    |   CONNECTING --+         |
    |    | wss://    |         |
    |    v           |         |
    |   TLS          | ws://   |
    |    |           |         |
    |    v           v         |
    |   UPGRADING -------------+  the answer is a redirect
    |    | 101; CONNECT is sent
    |    v
    |   LOGGING_IN
    |    | CONNECTED came
    |    v
    |   CONNECTED
    |    | DISCONNECT is sent
    |    v
    |   CLOSING
    |    |
    +----+  from each state but ENDED: the attempt failed, or the connection is over

   An attempt that fails while it is being prepared leads from BACKOFF to BACKOFF. A client that
   stws_create cannot make is ENDED from the beginning. */
static inline int stws_p_is_edge(int from, int to) {
    static const unsigned char edges[][2] = {{STWS_BACKOFF, STWS_RESOLVING},
                                             {STWS_RESOLVING, STWS_CONNECTING},
                                             {STWS_CONNECTING, STWS_TLS},
                                             {STWS_CONNECTING, STWS_UPGRADING},
                                             {STWS_TLS, STWS_UPGRADING},
                                             {STWS_UPGRADING, STWS_RESOLVING},
                                             {STWS_UPGRADING, STWS_LOGGING_IN},
                                             {STWS_LOGGING_IN, STWS_CONNECTED},
                                             {STWS_CONNECTED, STWS_CLOSING},
                                             {STWS_BACKOFF, STWS_ENDED},
                                             {STWS_IDLE, STWS_ENDED}};
    size_t i;
    if (to == STWS_BACKOFF) return from != STWS_ENDED;
    for (i = 0; i < sizeof edges / sizeof *edges; i++)
        if (edges[i][0] == from && edges[i][1] == to) return 1;
    return 0;
}

/* Changes the state. At deadline_us, or never, time alone ends the new one. */
static void stws_p_enter(stws *c, stws_connection_state state, long long deadline_us) {
    STOMP_WS_ASSERT(stws_p_is_edge(c->state, (int)state));
    STWS_P_STORE(&c->state, (int)state);
    c->deadline_us = deadline_us;
}

/* ---- calls that are refused ---- */

/* Why the last call of this thread was refused, for stws_error_text. */
static STWS_P_THREAD_LOCAL struct stws_p_refusal {
    const stws *client;
    const char *why;
} stws_p_refusal;

STWS_P_APART static int stws_p_refuse(const stws *c, int error, const char *why) {
    stws_p_refusal.client = c;
    stws_p_refusal.why = why;
    return error;
}

/* A client that is none: the code that says so; 0 for a good one. */
static int stws_p_unusable(const stws *c) {
    return !c ? (int)STWS_ERR_MEMORY : c->broken ? c->error : 0;
}

/* ---- who drives ---- */

static void stws_p_signal(stws *c) {
    (void)c;
    STWS_P_WITH_THREADS(if (c->threads) pthread_cond_broadcast(c->changed);)
}

#ifndef STOMP_WS_NO_THREADS
/* Waits for stws_p_signal, or until that many milliseconds are over (-1: no limit). Under the
   lock, which other threads may take meanwhile. */
static void stws_p_await_change_locked(stws *c, int ms) {
    STOMP_WS_ASSERT(stws_p_has_lock(c));
    if (STWS_P_ASSERTS) STWS_P_STORE(&c->lock_owner, 0);
    stws_p_cond_wait(c->changed, c->mutex, ms);
    if (STWS_P_ASSERTS) STWS_P_STORE(&c->lock_owner, stws_p_me());
}
#endif

/* How a thread may hold a client: to drive it; to flush it while nobody drives; to write one
   full batch. The last two give way to the first. */
enum { STWS_P_DRIVER = 0, STWS_P_FLUSHER = 1, STWS_P_WRITER = 2, STWS_P_HOLDS = 3 };

#define STWS_P_COMING (~(uintptr_t)STWS_P_HOLDS) /* a thread of stws_start that has not begun yet */

/* What the thread that drives may have between two driving calls: an event of stws_next,
   whose views have to stay; and times and descriptors of a loop of its own, which waits for
   them. */
enum { STWS_P_NOTHING = 0, STWS_P_EVENT = 1, STWS_P_LOOP = 2 };

/* What the calling thread is known by: not 0, and a multiple of STWS_P_HOLDS + 1. */
static uintptr_t stws_p_me(void) {
    uintptr_t me = 1;
#ifndef STOMP_WS_NO_THREADS
    pthread_t self = pthread_self();
    memcpy(&me, &self, sizeof self < sizeof me ? sizeof self : sizeof me);
#endif
    return (me ? me : 1) * (STWS_P_HOLDS + 1);
}

/* Does this thread hold the client, as in a callback? With options.single_thread always. */
static int stws_p_drives(const stws *c) {
    return !c->threads || (STWS_P_LOAD(&c->driver) & ~(uintptr_t)STWS_P_HOLDS) == stws_p_me();
}

/* Was it another thread that drove last? */
static int stws_p_another_drove(const stws *c) {
    uintptr_t last = STWS_P_LOAD(&c->last_driver);
    return c->threads && last && last != stws_p_me();
}

/* May this thread wait for another one to drive? Only where another one drives, or drove last:
   otherwise nobody may ever come. */
static int stws_p_may_wait(const stws *c) { return !stws_p_drives(c) && stws_p_another_drove(c); }

/* Take the client when nobody has it: 1, or 0. */
static int stws_p_try_take(stws *c, int hold) {
    uintptr_t nobody = 0;
    return !c->threads || STWS_P_TAKE(&c->driver, &nobody, stws_p_me() + (uintptr_t)hold);
}

/* A thread that flushes has the client, and one that wants to drive waits for it. */
static int stws_p_gives_way(const stws *c) {
    return (STWS_P_LOAD(&c->driver) & STWS_P_HOLDS) == STWS_P_FLUSHER && STWS_P_LOAD(&c->wanted);
}

static void stws_p_let_others_drive(stws *c) {
    if (!c->threads) return;
    STWS_P_SWAP(&c->driver, 0);
    if (!STWS_P_LOAD(&c->watchers)) return;
    stws_p_lock(c);
    stws_p_signal(c);
    stws_p_unlock(c);
}

/* Count the threads that wait. Before one looks at who has the client, so that none waits
   for what has passed. */
static void stws_p_watch(stws *c, int more) { STWS_P_SWAP(&c->watchers, c->watchers + more); }

/* Wait until nobody holds the client, and take it to drive: 1; 0 if another thread drives. */
static int stws_p_take_from_others(stws *c) {
#ifdef STOMP_WS_NO_THREADS
    return (void)c, 0;
#else
    int taken, driven = 0;
    stws_p_lock(c);
    STWS_P_STORE(&c->wanted, c->wanted + 1);
    stws_p_watch(c, 1);
    for (;;) {
        uintptr_t holder;
        taken = stws_p_try_take(c, STWS_P_DRIVER);
        holder = STWS_P_LOAD(&c->driver);
        driven = !taken && holder && !(holder & STWS_P_HOLDS);
        if (taken || driven) break;
        if (holder && c->waiting) stws_p_poke(c->wake[1]);
        if (holder) stws_p_await_change_locked(c, -1);
    }
    STWS_P_STORE(&c->wanted, c->wanted - 1);
    stws_p_watch(c, -1);
    stws_p_unlock(c);
    return taken;
#endif
}

/* The client is not free for this thread: wait, or say why not. */
STWS_P_APART static int stws_p_take_later(stws *c) {
    if (c->threads ? stws_p_drives(c) : c->calling)
        return stws_p_refuse(c, STWS_ERR_STATE,
                             "a callback may not drive the client that it was called by");
    if (!stws_p_take_from_others(c))
        return stws_p_refuse(c, STWS_ERR_STATE, "another thread drives this client already");
    return STWS_OK;
}

/* Take the client to drive it, or to look at it; stws_p_let_others_drive lets go of it.
   STWS_OK, or an error with its sentence. */
static int stws_p_take(stws *c) {
    if (!c || c->broken) return stws_p_unusable(c);
    if (c->threads ? !stws_p_try_take(c, STWS_P_DRIVER) : c->calling) return stws_p_take_later(c);
    return STWS_OK;
}

/* This thread has the client, and drives it from now on: its event of before ends, and its
   wait. */
static void stws_p_begin_driving(stws *c) {
    if (c->threads) STWS_P_STORE(&c->last_driver, stws_p_me());
    STWS_P_STORE(&c->lent, STWS_P_NOTHING);
}

static int stws_p_take_back(stws *c) {
    int result = stws_p_take(c);
    if (result == STWS_OK) stws_p_begin_driving(c);
    return result;
}

/* Does another thread look at an event that stws_next gave it, whose views must stay? Only
   who has the client can be sure. */
static int stws_p_lent_to_others(const stws *c) {
    return (STWS_P_LOAD(&c->lent) & STWS_P_EVENT) && stws_p_another_drove(c);
}

/* ---- error sentences ---- */

#if defined(__GNUC__) || defined(__clang__)
static void stws_p_say(stws *c, int error, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
#endif

/* The words of a peer stand in sentences, and these on terminals: one '.' for each character
   that controls something, changes the direction of the text or cannot be seen, and for
   bytes that are not UTF-8. */
static void stws_p_make_harmless(char *text) {
    /* the bytes of a character as one number, which keeps their order */
    static const uint32_t harmful[][2] = {{0, 0x1F},
                                          {0x7F, 0x7F},
                                          {0xC280, 0xC29F},
                                          {0xC2AD, 0xC2AD},
                                          {0xCD8F, 0xCD8F},
                                          {0xD89C, 0xD89C},
                                          {0xE1859F, 0xE185A0},
                                          {0xE19EB4, 0xE19EB5},
                                          {0xE1A08B, 0xE1A08F},
                                          {0xE2808B, 0xE2808F},
                                          {0xE280A8, 0xE280AE},
                                          {0xE281A0, 0xE281AF},
                                          {0xE385A4, 0xE385A4},
                                          {0xEFB880, 0xEFB88F},
                                          {0xEFBBBF, 0xEFBBBF},
                                          {0xEFBEA0, 0xEFBEA0},
                                          {0xEFBFB0, 0xEFBFBB},
                                          {0xF09BB2A0, 0xF09BB2A3},
                                          {0xF09D85B3, 0xF09D85BA},
                                          {0xF3A08080, 0xF3A0BFBF},
                                          {0, UINT32_MAX}};
    const char *from;
    size_t len;
    for (from = text; *from; from += len ? len : 1) {
        uint32_t bytes = 0;
        unsigned state = 0, row = 0;
        for (len = 0; (!len || state) && stws_p_utf8_feed(&state, from + len, 1); len++)
            bytes = bytes << 8 | (unsigned char)from[len];
        if (!len || state) bytes = 0; /* no UTF-8 */
        while (bytes < harmful[row][0] || bytes > harmful[row][1]) row++;
        if (harmful[row][1] < UINT32_MAX) *text++ = '.';
        else memmove(text, from, len), text += len;
    }
    *text = 0;
}

/* Put "***" wherever a secret of ours stands; what is shorter is none. */
static void stws_p_hide(char *text, const char *secret, size_t len) {
    for (; len > 3 && *text; text++) {
        if (strncmp(text, secret, len) != 0) continue;
        memcpy(text, "***", 3);
        memmove(text + 3, text + len, strlen(text + len) + 1);
    }
}

static void stws_p_say(stws *c, int error, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(c->text, c->text_size, format, arguments);
    va_end(arguments);
    /* a peer's words may repeat our URL */
    if (c->state >= STWS_UPGRADING && c->state <= STWS_CLOSING) {
        const char *query = c->url.target + strcspn(c->url.target, "?");
        stws_p_hide(c->text, query, strlen(query));
        stws_p_hide(c->text, c->url.user_info, c->url.user_info_len);
    }
    stws_p_make_harmless(c->text);
    STWS_P_STORE(&c->error, error);
    if (stws_p_refusal.client == c) stws_p_refusal.client = NULL; /* that was before */
}
#ifdef STOMP_WS_NO_TEXTS /* the compiler leaves out what is there for a longer sentence only */
#define STWS_P_HAS_TEXTS 0
#define stws_p_say(c, error, ...)                                                                  \
    (0 ? stws_p_say(c, error, __VA_ARGS__) : stws_p_say(c, error, "%s", stws_result_text(error)))
#else
#define STWS_P_HAS_TEXTS 1
#endif

/* The first line of what a peer sent, for stws_p_say: at most cap - 1 bytes. */
static const char *stws_p_quote(char *out, size_t cap, const char *data, size_t len) {
    size_t i, n = 0;
    for (i = 0; i < len && n + 1 < cap && data[i] != '\n' && data[i]; i++)
        if (data[i] != '\r') out[n++] = data[i];
    out[n] = 0;
    return out;
}

/* ---- memory: everything of a client in one block ---- */

/* Hands out parts of a block of `size` bytes. Without a block it only counts; a sum that no
   size_t holds stays at SIZE_MAX. Both passes get the same options, so that they cannot come
   to different sums. */
typedef struct stws_p_arena {
    char *base;
    size_t size, used;
} stws_p_arena;

static void *stws_p_carve(stws_p_arena *a, size_t count, size_t each) {
    size_t room = SIZE_MAX - 15 - a->used, begin = a->used;
    int fits = a->used != SIZE_MAX && (!each || count <= room / each);
    a->used = fits ? begin + stws_p_align(count * each) : SIZE_MAX;
    if (!a->base) return NULL;
    STOMP_WS_ASSERT(a->used <= a->size);
    return a->base + begin;
}

/* Room for a string, and the copy in it; NULL for NULL and while only counting. */
static const char *stws_p_carve_string(stws_p_arena *a, const char *s) {
    char *copy = s ? (char *)stws_p_carve(a, strlen(s) + 1, 1) : NULL;
    if (copy) memcpy(copy, s, strlen(s) + 1);
    return copy;
}

static const char *const *stws_p_carve_list(stws_p_arena *a, const char *const *list) {
    size_t n = 0, i;
    const char **copy;
    if (!list) return NULL;
    while (list[n]) n++;
    copy = (const char **)stws_p_carve(a, n + 1, sizeof *copy);
    for (i = 0; i < n; i++) {
        const char *s = stws_p_carve_string(a, list[i]);
        if (copy) copy[i] = s;
    }
    if (copy) copy[n] = NULL;
    return copy;
}

/* All strings of the options: from now on the client has its own. */
static void stws_p_carve_strings(stws_p_arena *a, stws *c, const stws_options *o) {
    stws_options own = *o;
    const char **strings[] = {&own.url,           &own.proxy,        &own.login,      &own.passcode,
                              &own.client_id,     &own.host,         &own.origin,     &own.cookie,
                              &own.stable_id,     &own.subprotocols, &own.tls_ca_pem, &own.tls_pin,
                              &own.tls_cert_file, &own.tls_key_file, &own.tls_ca_file};
    const char *const **lists[] = {&own.urls, &own.addresses, &own.connect_headers,
                                   &own.http_headers};
    size_t i;
    for (i = 0; i < sizeof strings / sizeof *strings; i++)
        *strings[i] = stws_p_carve_string(a, *strings[i]);
    for (i = 0; i < sizeof lists / sizeof *lists; i++) *lists[i] = stws_p_carve_list(a, *lists[i]);
    if (c) c->o = own;
}

static size_t stws_p_within(size_t n, size_t low, size_t high) {
    return n < low ? low : n > high ? high : n;
}

/* What is large for the sake of speed is small beside a small output; error sentences,
   beside a small input. */
static void stws_p_carve_scratch(stws_p_arena *a, stws *c, const stws_options *o) {
    size_t said = stws_p_within(o->tx_buffer / 4, 64, STWS_P_SAID);
    size_t pool = stws_p_within(o->tx_buffer / 64 & ~(size_t)3, 16, STWS_P_POOL);
    size_t text = stws_p_within(o->rx_buffer / 4, STWS_P_MIN_TEXT, STWS_P_TEXT);
    size_t head = stws_p_within(o->rx_buffer / 16, 16, STWS_P_KEPT_HEAD);
    size_t jar = o->keep_cookies ? STWS_P_JAR + STWS_P_JAR + stws_p_strlen(o->cookie) + 3 : 0;
    size_t moved = o->follow_redirects ? STWS_P_MOVED : 0;
    size_t size =
        text + text / 2 + said + pool + (o->stable_id ? STWS_P_STABLE_ID : 0) + head + jar + moved;
    char *at = (char *)stws_p_carve(a, size, 1);
    if (!c) return;
    memset(at, 0, size);
    c->text = at;
    c->where = c->s.peer_close_reason = at + text;
    c->s.said = at + text + text / 2;
    c->s.pool = (unsigned char *)(c->s.said + said);
    c->s.stable_id = c->s.said + said + pool;
    c->head = c->s.stable_id + (o->stable_id ? STWS_P_STABLE_ID : 0);
    c->jar = c->head + head;
    c->moved = c->jar + jar;
    c->head_size = head;
    c->text_size = text;
    c->s.said_cap = said;
    c->s.pool_size = pool;
}

/* What only threads need. */
static void stws_p_carve_shared(stws_p_arena *a, stws *c) {
    void *stats = stws_p_carve(a, 1, sizeof(stws_statistics));
    STWS_P_WITH_THREADS(void *mutex = stws_p_carve(a, 1, sizeof(pthread_mutex_t));)
    STWS_P_WITH_THREADS(void *changed = stws_p_carve(a, 1, sizeof(pthread_cond_t));)
    if (!c) return;
    c->shared_stats = (stws_statistics *)stats;
    memset(c->shared_stats, 0, sizeof *c->shared_stats);
    STWS_P_WITH_THREADS(c->mutex = (pthread_mutex_t *)mutex;)
    STWS_P_WITH_THREADS(c->changed = (pthread_cond_t *)changed;)
}

static void stws_p_carve_tables(stws_p_arena *a, stws_p_session *s, const stws_options *o) {
    size_t subs = (size_t)o->max_subscriptions;
    void *headers = stws_p_carve(a, o->max_headers, sizeof(stws_header));
    void *build_headers = stws_p_carve(a, o->max_headers, sizeof(stws_header));
    void *trace_headers = stws_p_carve(a, o->on_trace ? o->max_headers : 0, sizeof(stws_header));
    void *slots = stws_p_carve(a, subs, sizeof(stws_p_sub)),
         *texts = stws_p_carve(a, subs, o->subscription_bytes);
    void *receipts = stws_p_carve(a, (size_t)o->max_receipts, sizeof(stws_p_receipt));
    if (!s) return;
    s->parser.headers = (stws_header *)headers;
    s->build_headers = (stws_header *)build_headers;
    s->trace_headers = (stws_header *)trace_headers;
    s->subs.slots = (stws_p_sub *)slots;
    s->subs.texts = (char *)texts;
    s->receipts = (stws_p_receipt *)receipts;
    s->subs.text_size = o->subscription_bytes;
    s->subs.count = o->max_subscriptions;
}

static void stws_p_carve_buffers(stws_p_arena *a, stws_p_session *s, const stws_options *o) {
    void *in = stws_p_carve(a, o->rx_buffer, 1), *out = stws_p_carve(a, o->tx_buffer, 1);
    void *chains, *outbox;
    size_t count = 16;
    while (count < o->outbox_bytes / 1024) count *= 2;
    chains = stws_p_carve(a, o->confirm ? count : 0, sizeof(uint32_t));
    outbox = stws_p_carve(a, o->outbox_bytes, 1); /* the last, see stws_destroy */
    if (!s) return;
    s->in.data = (char *)in;
    s->out.data = (char *)out;
    s->outbox.data = (char *)outbox;
    s->in.cap = o->rx_buffer;
    s->out.cap = o->tx_buffer;
    s->outbox.cap = o->outbox_bytes & ~(size_t)15;
    if (o->confirm) s->chains = (uint32_t *)memset(chains, 0, count * sizeof(uint32_t));
    s->chain_count = count;
}

/* ---- options: defaults and checks ---- */

STOMP_WS_API stws_options stws_options_default(void) {
    stws_options o;
    memset(&o, 0, sizeof o);
    return o;
}

/* An option that is a number: its range, and what its 0 stands for. */
typedef struct stws_p_number_option {
    size_t at;                         /* where it is in stws_options */
    unsigned char is_size, may_be_off; /* a size_t, else an int; STWS_OFF makes it 0 */
    int low, high, fallback;
    const char *wrong; /* the sentence for a number that is out of range */
} stws_p_number_option;

/* Smallest buffers: a short HTTP head fits, CONNECT, and the addresses to choose from, see
   stws_p_resolve. */
#define STWS_P_NUMBER(name, is_size, may_be_off, low, high, fallback, range)                       \
    {                                                                                              \
        offsetof(stws_options, name), is_size, may_be_off, low, high, fallback,                    \
            "options." #name " has to be " range                                                   \
    }
#define STWS_P_TIME(name, fallback)                                                                \
    STWS_P_NUMBER(name, 0, 1, 1, 2147483647, fallback,                                             \
                  "1 to 2147483647 ms, 0 (the default) or STWS_OFF")
#define STWS_P_COUNT(name, low, high, fallback)                                                    \
    STWS_P_NUMBER(name, 0, 0, low, high, fallback, #low " to " #high ", or 0 (the default)")
#define STWS_P_SIZE(name, low, high, fallback)                                                     \
    STWS_P_NUMBER(name, 1, 0, low, high, fallback, #low " to " #high ", or 0 (the default)")
#define STWS_P_PERCENT(name, low, high, fallback)                                                  \
    STWS_P_NUMBER(name, 0, 1, low, high, fallback,                                                 \
                  #low " to " #high " percent, 0 (the default) or STWS_OFF")
#define STWS_P_CHOICE(name, last, names) STWS_P_NUMBER(name, 0, 0, 0, last, 0, names)
static const stws_p_number_option stws_p_number_options[] = {
    STWS_P_TIME(heartbeat_out_ms, 10000),
    STWS_P_TIME(heartbeat_in_ms, 10000),
    STWS_P_PERCENT(heartbeat_grace, 1, 1000000, 300),
    STWS_P_TIME(ping_ms, 20000),
    STWS_P_TIME(connect_timeout_ms, 10000),
    STWS_P_TIME(handshake_timeout_ms, 10000),
    STWS_P_TIME(connected_timeout_ms, 10000),
    STWS_P_TIME(receipt_timeout_ms, 15000),
    STWS_P_TIME(close_timeout_ms, 2000),
    STWS_P_TIME(write_timeout_ms, 30000),
    STWS_P_NUMBER(reconnect, 0, 0, STWS_OFF, 1, 0, "0, 1 or STWS_OFF"),
    STWS_P_TIME(reconnect_min_ms, 1000),
    STWS_P_TIME(reconnect_max_ms, 30000),
    STWS_P_COUNT(reconnect_factor, 100, 10000, 200),
    STWS_P_PERCENT(reconnect_jitter, -100, 1000, -100),
    STWS_P_NUMBER(reconnect_attempts, 0, 1, 1, 2147483647, 0,
                  "1 to 2147483647, 0 or STWS_OFF (no limit)"),
    STWS_P_CHOICE(give_up, STWS_GIVE_UP_NEVER, "one of STWS_GIVE_UP_*"),
    STWS_P_TIME(stable_ms, 5000),
    STWS_P_TIME(max_session_ms, 0),
    STWS_P_TIME(outbox_block_ms, 10000),
    STWS_P_SIZE(max_body, 1, 2147483647, STWS_P_MAX_BODY),
    STWS_P_SIZE(max_line, 1, 2147483647, STWS_P_MAX_LINE),
    STWS_P_SIZE(max_headers, 8, 1000000, 128),
    STWS_P_SIZE(rx_buffer, 256, 2147483647, STWS_P_READ),
    STWS_P_SIZE(tx_buffer, 256, 2147483647, 131072),
    STWS_P_SIZE(outbox_bytes, 16, 2147483647, 1048576),
    STWS_P_SIZE(outbox_count, 1, 2147483647, 0),
    STWS_P_SIZE(outbox_high, 1, 2147483647, 0),
    STWS_P_SIZE(outbox_low, 1, 2147483647, 0),
    STWS_P_SIZE(subscription_bytes, 16, 1000000, 256),
    STWS_P_COUNT(max_subscriptions, 1, 1000000, 256),
    STWS_P_COUNT(max_receipts, 4, 1000000, 256),
    STWS_P_CHOICE(versions, 7,
                  "STWS_STOMP_10, STWS_STOMP_11, STWS_STOMP_12, or several of them with |"),
    STWS_P_CHOICE(outbox_policy, STWS_FULL_BLOCK, "one of STWS_FULL_*"),
    STWS_P_CHOICE(utf8, STWS_UTF8_STRICT, "one of STWS_UTF8_*"),
    STWS_P_CHOICE(broker, STWS_BROKER_ARTEMIS, "one of STWS_BROKER_*"),
    STWS_P_CHOICE(shuffle_urls, 1, "0 or 1"),
    STWS_P_CHOICE(keep_cookies, 1, "0 or 1"),
    STWS_P_CHOICE(follow_redirects, 1, "0 or 1"),
    STWS_P_CHOICE(confirm, 1, "0 or 1"),
    STWS_P_CHOICE(binary, 1, "0 or 1"),
    STWS_P_CHOICE(single_thread, 1, "0 or 1"),
    STWS_P_CHOICE(tls_insecure_no_verify, 1, "0 or 1")};

enum { STWS_P_NUMBER_OPTIONS = sizeof stws_p_number_options / sizeof *stws_p_number_options };

/* Is the number in its range? The default and STWS_OFF are. */
static int stws_p_number_allowed(const stws_p_number_option *n, const stws_options *o) {
    const char *at = (const char *)o + n->at;
    size_t size = 0;
    int number = 0;
    if (n->is_size) {
        memcpy(&size, at, sizeof size);
        return !size || (size >= (size_t)n->low && size <= (size_t)n->high);
    }
    memcpy(&number, at, sizeof number);
    return !number || (n->may_be_off && number == STWS_OFF) ||
           (number >= n->low && number <= n->high);
}

/* Put the default in the place of 0, and 0 in that of STWS_OFF. */
static void stws_p_resolve_number(const stws_p_number_option *n, stws_options *o) {
    char *at = (char *)o + n->at;
    size_t size = 0;
    int number = 0;
    if (n->is_size) {
        memcpy(&size, at, sizeof size);
        if (!size) size = (size_t)n->fallback;
        memcpy(at, &size, sizeof size);
    } else {
        memcpy(&number, at, sizeof number);
        number = !number ? n->fallback : n->may_be_off && number == STWS_OFF ? 0 : number;
        memcpy(at, &number, sizeof number);
    }
}

/* All defaults. Where only one of the two delays is given, the default of the other does not
   contradict it. */
static void stws_p_resolve_options(stws_options *o) {
    int has_min = o->reconnect_min_ms != 0, has_max = o->reconnect_max_ms != 0, i;
    for (i = 0; i < STWS_P_NUMBER_OPTIONS; i++) stws_p_resolve_number(&stws_p_number_options[i], o);
    if (!o->versions) o->versions = STWS_STOMP_10 | STWS_STOMP_11 | STWS_STOMP_12;
    if (!o->host) o->host = "/";
    if (!o->tls) o->tls = STOMP_WS_TLS;
    if (!o->outbox_low) o->outbox_low = o->outbox_high / 2;
    if (has_max && !has_min && o->reconnect_min_ms > o->reconnect_max_ms)
        o->reconnect_min_ms = o->reconnect_max_ms;
    if (has_min && !has_max && o->reconnect_min_ms > o->reconnect_max_ms)
        o->reconnect_max_ms = o->reconnect_min_ms;
}

/* CONNECT has no escapes: what it cannot say, and what would smuggle a header, is refused here. */
static int stws_p_is_raw_text(const char *s) {
    return !s || (!strchr(s, '\n') && !strchr(s, '\r'));
}

static int stws_p_connect_headers_valid(const char *const *h) {
    for (; h && h[0]; h += 2)
        if (!h[1] || !*h[0] || strchr(h[0], ':') || !stws_p_is_raw_text(h[0]) ||
            !stws_p_is_raw_text(h[1]))
            return 0;
    return 1;
}

/* Does it look like a numeric address, perhaps with an IPv6 zone? */
static int stws_p_is_address(const char *s) {
    size_t digits = strspn(s, "0123456789abcdefABCDEF:.");
    return digits &&
           (!s[digits] || (s[digits] == '%' && stws_p_is_visible(s + digits, strlen(s + digits))));
}

/* NULL when the options can be used; or a sentence, and its code. */
static const char *stws_p_options_wrong(const stws_options *o, int *code) {
    const char *why = NULL;
    stws_p_proxy_url proxy;
    stws_options resolved;
    stws_url url;
    int i;
    *code = STWS_ERR_USAGE;
    if (!o || (!o->url && (!o->urls || !o->urls[0]))) return "options.url is missing";
    *code = STWS_ERR_URL;
    if (o->url && stws_url_parse(o->url, &url, &why) != STWS_OK) return why;
    *code = STWS_ERR_USAGE;
    for (i = 0; o->urls && o->urls[i]; i++)
        if (stws_url_parse(o->urls[i], &url, &why) != STWS_OK) return why;
    if (i > STWS_P_MAX_URLS) return "options.urls has more than 64 entries";
    for (i = 0; o->addresses && o->addresses[i]; i++)
        if (!stws_p_is_address(o->addresses[i]))
            return "options.addresses holds what is no numeric address";
    if (!stws_p_is_raw_text(o->login) || !stws_p_is_raw_text(o->passcode) ||
        !stws_p_is_raw_text(o->host) || !stws_p_is_raw_text(o->client_id))
        return "login, passcode, host or client_id holds a line end, which CONNECT cannot say";
    if (!stws_p_connect_headers_valid(o->connect_headers))
        return "connect_headers holds a name without value, or a line end, or a colon in a name";
    if (!stws_p_http_headers_valid(o->http_headers))
        return "http_headers holds a control character (CR or LF would smuggle headers), a name "
               "that is no token, or a header that the upgrade itself sets";
    if (!stws_p_is_field_text(stws_p_or(o->origin, "")) ||
        !stws_p_is_field_text(stws_p_or(o->cookie, "")) ||
        !stws_p_is_field_text(stws_p_or(o->subprotocols, "")))
        return "origin, cookie or subprotocols holds a control character such as CR or LF";
    for (i = 0; i < STWS_P_NUMBER_OPTIONS; i++)
        if (!stws_p_number_allowed(&stws_p_number_options[i], o))
            return stws_p_number_options[i].wrong;
    resolved = *o;
    stws_p_resolve_options(&resolved);
    if (resolved.reconnect_min_ms > resolved.reconnect_max_ms && resolved.reconnect_max_ms)
        return "options.reconnect_min_ms is above options.reconnect_max_ms";
    if (o->outbox_low && o->outbox_low >= o->outbox_high)
        return "options.outbox_low has to be below options.outbox_high";
    if (o->stable_id && !*o->stable_id)
        return "options.stable_id is empty: it is the name of a header";
    if (o->tls && o->transport)
        return "options.tls is for the built-in TCP: a transport of your own has its own TLS";
    if (o->tls && !stws_p_tls_is_whole(o->tls)) return "options.tls lacks one of its functions";
    if (o->proxy && !STWS_P_HAS_PROXY)
        return "STOMP_WS_NO_PROXY was defined: leave options.proxy out";
    if (o->proxy && o->transport)
        return "options.proxy is for TCP: a transport of your own finds its own way";
    if (o->proxy && strcmp(o->proxy, STWS_PROXY_FROM_ENVIRONMENT) != 0 &&
        !stws_p_proxy_parse(&proxy, o->proxy))
        return stws_p_no_proxy;
#ifdef STOMP_WS_NO_THREADS
    if (!o->single_thread) return "STOMP_WS_NO_THREADS was defined: set options.single_thread";
#endif
    return NULL;
}

/* Is there a use for TLS? */
static int stws_p_is_secure(const stws_options *o) {
    stws_url url;
    int secure = o->follow_redirects, i; /* a redirect may lead to wss:// */
    secure |= o->url && stws_url_parse(o->url, &url, NULL) == STWS_OK && url.secure;
    for (i = 0; o->urls && o->urls[i]; i++)
        secure |= stws_url_parse(o->urls[i], &url, NULL) == STWS_OK && url.secure;
    return o->tls && secure && !o->transport;
}

/* Lay a client out in the block, or, without one, find out how large it must be: SIZE_MAX if
   no size_t holds that. */
static size_t stws_p_layout(stws *c, size_t size, const stws_options *options) {
    stws_p_arena arena = {(char *)c, size, 0};
    stws_options o = *options;
    stws_p_session *s = c ? &c->s : NULL;
    void *tls, *tls_state, *proxy;
    stws_p_resolve_options(&o);
    stws_p_carve(&arena, 1, sizeof *c);
    stws_p_carve_strings(&arena, c, &o);
    stws_p_carve_scratch(&arena, c, &o);
    if (!o.single_thread) stws_p_carve_shared(&arena, c);
    stws_p_carve_tables(&arena, s, &o);
    tls = stws_p_carve(&arena, stws_p_is_secure(&o) ? 1 : 0, sizeof(stws_p_tls));
    tls_state = stws_p_carve(&arena, 1, stws_p_is_secure(&o) ? o.tls->size : 0);
    proxy = stws_p_carve(&arena, o.proxy ? 1 : 0, sizeof(stws_p_proxy));
    stws_p_carve_buffers(&arena, s, &o);
    if (!c) return arena.used;
    STOMP_WS_ASSERT(arena.used == size);
    if (stws_p_is_secure(&o)) c->tls = stws_p_tls_init(tls, tls_state, o.tls);
    if (o.proxy) c->proxy = (stws_p_proxy *)proxy;
    return size;
}

/* What a client with these options takes: its size; 0, with a sentence and its code, where
   there can be none. */
static size_t stws_p_measure(const stws_options *options, const char **wrong, int *code) {
    size_t size;
    *wrong = stws_p_options_wrong(options, code);
    if (*wrong) return 0;
    size = stws_p_layout(NULL, 0, options);
    if (size != SIZE_MAX) return size;
    *code = STWS_ERR_USAGE;
    *wrong = "the options ask for more memory than a pointer can address";
    return 0;
}

STOMP_WS_API size_t stws_size(const stws_options *options) {
    const char *wrong;
    int code;
    return stws_p_measure(options, &wrong, &code);
}

static void *stws_p_heap_alloc(void *ctx, size_t size) { return (void)ctx, STOMP_WS_MALLOC(size); }

static void stws_p_heap_release(void *ctx, void *block, size_t size) {
    (void)ctx, (void)size, STOMP_WS_FREE(block);
}

static void stws_p_close_wake(stws *c) {
    stws_p_close_fd(&c->wake[0]), stws_p_close_fd(&c->wake[1]);
}

/* The wake pipe: 0 when the system has none left. */
static int stws_p_wake_init(stws *c) {
    c->wake[0] = c->wake[1] = -1;
    if (c->threads && pipe(c->wake) != 0) return 0;
    if (!c->threads || (stws_p_nonblocking(c->wake[0]) && stws_p_nonblocking(c->wake[1]))) return 1;
    stws_p_close_wake(c);
    return 0;
}

static void stws_p_plug(stws *c) {
    static const stws_clock system_clock = {NULL, stws_p_system_clock, stws_p_system_slept};
    static const stws_random system_random = {NULL, stws_p_system_random};
    c->clock = c->o.clock ? *c->o.clock : system_clock;
    c->s.random = c->o.random ? *c->o.random : system_random;
    stws_p_tcp_init(&c->tcp, &c->clock, &c->io);
    if (c->o.transport) c->io = *c->o.transport;
}

/* Make the block a client: NULL; or a sentence, and its code. */
static const char *stws_p_setup(stws *c, size_t size, const stws_options *options, int *code) {
    memset(c, 0, sizeof *c);
    c->block_size = stws_p_layout(c, size, options);
    c->threads = !c->o.single_thread;
    c->pid = (long)getpid();
    c->s.client = c;
    c->s.options = &c->o;
    c->s.next_receipt = 1;
    c->s.subs.next_handle = 1;
    c->s.stats.rtt_us = c->s.stats.heartbeat_slack_ms = -1;
    memset(c->s.subs.slots, 0, (size_t)c->o.max_subscriptions * sizeof *c->s.subs.slots);
    memset(c->s.receipts, 0, (size_t)c->o.max_receipts * sizeof *c->s.receipts);
    stws_p_plug(c);
    c->now = c->clock.now_us(c->clock.ctx);
    c->deadline_us = c->error_us = c->error_close_us = c->renew_us = STWS_P_NEVER;
    c->due_us = STWS_P_NOT_TOLD;
    c->block_in = c->s.in.data;
    c->block_out = c->s.out.data;
    c->url_index = -1;
    c->kept_last = &c->kept_first;
    stws_p_session_reset(&c->s, c->now);
    if (!c->o.subprotocols) c->o.subprotocols = stws_p_subprotocols[c->o.versions];
    *code = STWS_ERR_IO;
    if (!stws_p_wake_init(c)) return "the process has no descriptors left for the wake pipe";
    c->waiter.fd = c->wake[1];
#ifndef STOMP_WS_NO_THREADS
    *code = STWS_ERR_MEMORY;
    if (c->threads && !stws_p_sync_init(c->mutex, c->changed)) {
        stws_p_close_wake(c);
        return "the system has no memory for a mutex and a condition";
    }
#endif
    if (c->o.queue) stws_p_queue_feed(c->o.queue, 1);
    c->feeds = c->o.queue != NULL;
    *code = STWS_OK;
    return NULL;
}

STOMP_WS_API int stws_init(void *memory, size_t size, const stws_options *options, stws **client,
                           const char **why) {
    int result;
    const char *wrong;
    size_t need = stws_p_measure(options, &wrong, &result);
    if (client) *client = NULL;
    if (!wrong && !client) wrong = "stws_init: client is NULL", result = STWS_ERR_USAGE;
    if (!wrong && (!memory || size < need)) {
        result = STWS_ERR_MEMORY;
        wrong = "the memory is smaller than stws_size() says";
    }
    if (!wrong) {
        wrong = stws_p_setup((stws *)memory, need, options, &result);
        if (wrong) stws_p_wipe(memory, need); /* the options' secrets were in it */
        else *client = (stws *)memory;
    }
    if (why) *why = stws_p_or(wrong, "");
    return result;
}

/* A client that can only say why it is none. */
static void stws_p_break(stws *c, int error, const char *why) {
    memset(c, 0, sizeof *c);
    c->broken = 1;
    c->final = 1;
    stws_p_enter(c, STWS_ENDED, STWS_P_NEVER);
    c->text = (char *)(c + 1);
    c->text_size = STWS_P_MIN_TEXT;
    stws_p_say(c, error, "%s", why);
}

STOMP_WS_API stws *stws_create(const stws_options *options) {
    int code;
    const char *wrong;
    stws_allocator a = {NULL, stws_p_heap_alloc, stws_p_heap_release};
    size_t need = stws_p_measure(options, &wrong, &code),
           size = wrong ? sizeof(stws) + STWS_P_MIN_TEXT : need;
    stws *c;
    if (options && options->allocator) a = *options->allocator;
    c = (stws *)a.alloc(a.ctx, size);
    if (!c) return NULL;
    if (!wrong) wrong = stws_p_setup(c, size, options, &code);
    /* nothing will come from it */
    if (wrong && options && options->queue) stws_p_queue_feed(options->queue, 0);
    if (wrong) stws_p_break(c, code, wrong);
    c->has_heap = 1;
    c->allocator = a;
    c->block_size = size;
    return c;
}

/* What was in a buffer may have been a secret. */
static void stws_p_release(stws *c, char *data, size_t size) {
    stws_p_wipe(data, size);
    c->allocator.release(c->allocator.ctx, data, size);
}

/* Free the first of a chain of events. */
static void stws_p_free_kept(stws *c, stws_p_kept **at) {
    stws_p_kept *kept = *at;
    if (!kept) return;
    *at = kept->next;
    c->kept_bytes -= kept->size;
    stws_p_release(c, (char *)kept, kept->size);
}

/* The buffers in the block are in use again. */
static void stws_p_free_heap_buffers(stws *c) {
    stws_p_input *in = &c->s.in;
    stws_p_buffer *out = &c->s.out;
    if (in->on_heap) stws_p_release(c, in->data, in->cap);
    if (out->on_heap) stws_p_release(c, out->data, out->cap);
    in->on_heap = out->on_heap = 0;
    in->data = c->block_in;
    in->cap = c->o.rx_buffer;
    out->data = c->block_out;
    out->cap = c->o.tx_buffer;
}

static void stws_p_close_transport(stws *c) {
    if (c->opened) c->io.close(c->io.ctx);
    c->opened = 0;
}

/* Nothing of this client comes into its queue any more. */
static void stws_p_feed_no_more(stws *c) {
    if (c->feeds && c->o.queue) stws_p_queue_feed(c->o.queue, -1);
    c->feeds = 0;
}

/* A thread of stws_start is stopped and waited for. While a callback runs, or another thread
   drives, the client stays: what they use must not go. After fork() the child has no such
   threads. */
static int stws_p_may_destroy(stws *c) {
    if (c->pid != (long)getpid()) return 1;
    if (stws_p_drives(c) && c->calling)
        return stws_p_refuse(c, 0, "stws_destroy: a callback of this client runs");
#ifndef STOMP_WS_NO_THREADS
    if (c->running) stws_stop(c), stws_join(c);
#endif
    if (!c->threads || !STWS_P_LOAD(&c->driver)) return 1;
    return stws_p_refuse(c, 0, "stws_destroy: another thread drives this client");
}

STOMP_WS_API void stws_destroy(stws *c) {
    stws_allocator a;
    size_t size;
    /* a child must not wait for its parent's locks */
    int has_heap, mine = c && c->pid == (long)getpid();
    if (!c || (!c->broken && !stws_p_may_destroy(c))) return;
    if (!c->broken) {
        if (c->o.queue && mine) {
            stws_p_lock(c);
            c->going = 1;
            stws_p_signal(c);
            stws_p_unlock(c);
            stws_p_queue_forget(c->o.queue, c, &c->waiter);
        }
        if (mine) stws_p_feed_no_more(c);
        if (!mine) stws_p_tls_be_silent(c->tls);
        stws_p_close_transport(c);
        stws_p_tls_destroy(c->tls);
        stws_p_close_wake(c);
        stws_p_free_heap_buffers(c);
        stws_p_free_kept(c, &c->given);
        while (c->kept_first) stws_p_free_kept(c, &c->kept_first);
        STWS_P_WITH_THREADS(if (c->threads && mine) pthread_cond_destroy(c->changed);)
        STWS_P_WITH_THREADS(if (c->threads && mine) pthread_mutex_destroy(c->mutex);)
    }
    a = c->allocator;
    size = c->block_size;
    has_heap = c->has_heap;
    /* The outbox comes last in the block: pages that it never used are not touched for the
       first time now. */
    stws_p_wipe(c, c->broken ? size : size - (c->o.outbox_bytes - c->s.outbox.used));
    if (has_heap) a.release(a.ctx, c, size);
}

/* ==== >>diagnosis: from what went wrong to a sentence with a remedy ==== */
/* How much of a path, or of a Location, may be shown, "***" standing for the rest: all up to
   its query or fragment, which may be secrets; or nothing when there is an '@', as then it
   may all be a user and a password. */
static size_t stws_p_public_len(const char *place) {
    size_t len = strcspn(place, "?#");
    return strchr(place, '@') ? *place == '/' : len + (place[len] != 0);
}

/* The URL's host and port as they stand there, without user and password. */
static const char *stws_p_authority(const stws_url *url) { return url->host - (url->is_ipv6 != 0); }

static int stws_p_authority_len(const stws_url *url) {
    return (int)(url->target - stws_p_authority(url));
}

static const char *stws_p_where(stws *c) {
    const char *target = c->url.target;
    size_t len = stws_p_public_len(target);
    snprintf(c->where, c->text_size / 2, "%s%.*s%.*s%s", c->url.secure ? "wss://" : "ws://",
             stws_p_authority_len(&c->url), stws_p_authority(&c->url), (int)len, target,
             target[len] ? "***" : "");
    return c->where;
}

/* Does the URL's path end in that name already? (a query may follow) */
static int stws_p_path_ends_in(const stws_url *url, const char *name) {
    size_t len = strcspn(url->target, "?"), name_len = strlen(name);
    if (len > url->target_len) len = url->target_len;
    while (len > 0 && url->target[len - 1] == '/') len--;
    return len >= name_len && memcmp(url->target + len - name_len, name, name_len) == 0;
}

/* "ws://host/notifications/websocket", the URL that a SockJS endpoint wants: one level below
   its base, or, where SockJS's own base/server/session/websocket was given (or base/info, as
   is said), the base's. */
static const char *stws_p_websocket_url(const stws *c, int info, char out[256]) {
    const char *target = c->url.target;
    int host = stws_p_authority_len(&c->url);
    size_t len = strcspn(target, "?");
    const char *query = target[len] ? "?***" : "";
    int drop = info ? 1 : stws_p_path_ends_in(&c->url, "/websocket") ? 3 : 0;
    while (len > 0 && target[len - 1] == '/') len--;
    for (; drop > 0 && len > 0; drop--)
        while (len > 0 && target[--len] != '/') continue;
    if ((size_t)host + len > 200 || strchr(target, '@')) snprintf(out, 256, "/websocket");
    else
        snprintf(out, 256, "%s%.*s%.*s/websocket%s", c->url.secure ? "wss://" : "ws://", host,
                 stws_p_authority(&c->url), (int)len, target, query);
    return out;
}

static void stws_p_say_sockjs(stws *c, int error, const char *what, const char *more) {
    char url[256];
    stws_p_say(c, error,
               "%s at %s: this looks like a SockJS endpoint (Spring's withSockJS); raw WebSocket "
               "is at the end of it, so append /websocket: %s%s%s",
               what, stws_p_where(c), stws_p_websocket_url(c, 0, url), *more ? "; " : "", more);
}

/* ---- an answer other than 101, and its page ---- */

/* How long the page of such an answer is waited for, and how much of it is looked at. */
enum { STWS_P_PAGE_MS = 500, STWS_P_PAGE_BYTES = 2048 };

enum { STWS_P_LONG_HEAD = 4096 }; /* some servers take no longer ones */

/* Where those words stand, in whatever case; NULL: nowhere. */
static const char *stws_p_find_words(const char *data, size_t len, const char *words) {
    size_t n = strlen(words);
    for (; len >= n; data++, len--)
        if (stws_p_equal_nocase(data, n, words, n)) return data;
    return NULL;
}

/* The value of a header, in a head that has not been taken apart; NULL without it. The name
   has its colon. */
static const char *stws_p_raw_header(const char *head, size_t len, const char *name) {
    const char *end = head + len, *lf;
    size_t n = strlen(name);
    while ((lf = (const char *)memchr(head, '\n', (size_t)(end - head))) != NULL) {
        if ((size_t)(lf - head) > n && stws_p_equal_nocase(head, n, name, n)) return head + n;
        head = lf + 1;
    }
    return NULL;
}

/* Take the sizes out of a chunked page (RFC 9112, 7.1), which may be cut off or wrong
   anywhere: how long it is without them. It may lie where it is written to; without `out` it
   is only looked at. *whole: its last chunk is there. */
static size_t stws_p_unchunk(char *out, const char *page, size_t len, int *whole) {
    const char *end = page + len, *lf;
    size_t n = 0;
    *whole = 0;
    while ((lf = (const char *)memchr(page, '\n', (size_t)(end - page))) != NULL) {
        size_t size = 0;
        for (; stws_p_hex_digit(*page) >= 0 && size < SIZE_MAX / 32; page++)
            size = size * 16 + (size_t)stws_p_hex_digit(*page);
        *whole = !size;
        if (!size) break;
        page = lf + 1;
        if (size > (size_t)(end - page)) size = (size_t)(end - page);
        if (out) memmove(out + n, page, size);
        n += size;
        page += size;
        while (page < end && (*page == '\r' || *page == '\n')) page++;
    }
    return n;
}

/* Is all of the page here that will come, or enough of it? */
static int stws_p_page_is_whole(const char *head, size_t head_len, size_t len) {
    const char *length = stws_p_raw_header(head, head_len, "content-length:");
    size_t size = 0;
    int whole = 0;
    if (len >= STWS_P_PAGE_BYTES || memcmp(head + 9, "204", 3) == 0 ||
        memcmp(head + 9, "304", 3) == 0)
        return 1;
    if (stws_p_raw_header(head, head_len, "transfer-encoding:")) {
        stws_p_unchunk(NULL, head + head_len, len, &whole);
        return whole;
    }
    if (!length) return 0;
    length += strspn(length, " \t");
    return stws_p_number(length, strspn(length, "0123456789"), SIZE_MAX, &size) != 1 || len >= size;
}

/* The same of a whole answer; of what is no HTTP a line is enough. An answer that is none to
   wait for is whole. */
static int stws_p_answer_is_whole(const char *data, size_t len, size_t scanned) {
    stws_http http;
    size_t head_len;
    memset(&http, 0, sizeof http);
    http.scanned = scanned;
    if (!stws_p_http_begins(data, len)) return len >= 64;
    head_len = stws_p_http_head_end(data, len, &http);
    if (head_len < 14 || memcmp(data, "HTTP/1.", 7) != 0 || data[9] == '1') return 1;
    return stws_p_page_is_whole(data, head_len, len - head_len);
}

/* The text of an HTML element, its blanks and line ends made single blanks; "" without one. */
static const char *stws_p_html_text(char *out, size_t cap, const char *page, size_t len,
                                    const char *tag) {
    const char *end = page + len, *at = stws_p_find_words(page, len, tag);
    size_t n = 0;
    int blank = 0;
    if (at) at = (const char *)memchr(at, '>', (size_t)(end - at));
    for (at = at ? at + 1 : end; at < end && *at != '<' && n + 2 < cap; at++) {
        if (stws_p_is_blank(*at) || *at == '\n' || *at == '\r') {
            blank = n > 0;
            continue;
        }
        if (blank) out[n++] = ' ';
        out[n++] = *at;
        blank = 0;
    }
    out[n] = 0;
    return out;
}

/* One character of a JSON string, as UTF-8 of at most three bytes: how many. Moves *at
   behind it. */
static size_t stws_p_json_char(char *out, const char **at, const char *end) {
    unsigned code = 0;
    int i;
    *out = *(*at)++;
    if (*out != '\\') return 1;
    if (*at == end) return 0;
    *out = *(*at)++;
    if (strchr("nrtbf", *out)) *out = ' ';
    if (*out != 'u') return 1;
    for (i = 0; i < 4 && *at < end && stws_p_hex_digit(**at) >= 0; i++)
        code = code * 16 + (unsigned)stws_p_hex_digit(*(*at)++);
    /* halves of a pair, too */
    if (i < 4 || code == 0 || (code >= 0xD800 && code < 0xE000)) code = '?';
    if (code < 0x80) return *out = (char)code, 1;
    out[0] = (char)(code < 0x800 ? 0xC0 | code >> 6 : 0xE0 | code >> 12);
    out[1] = (char)(0x80 | (code < 0x800 ? code & 63 : code >> 6 & 63));
    out[2] = (char)(0x80 | (code & 63));
    return code < 0x800 ? 2 : 3;
}

/* The first string under that name (in its quotes) which is not empty; "" without one. This
   is no parser: the page may be cut off anywhere. */
static const char *stws_p_json_text(char *out, size_t cap, const char *page, size_t len,
                                    const char *name) {
    const char *end = page + len, *at = page;
    size_t n = 0;
    while (!n && (at = stws_p_find_words(at, (size_t)(end - at), name)) != NULL) {
        at += strlen(name);
        while (at < end && (stws_p_is_blank(*at) || *at == ':')) at++;
        if (at == end || *at != '"') continue;
        for (at++; at < end && *at != '"' && n + 4 < cap;) n += stws_p_json_char(out + n, &at, end);
    }
    out[n] = 0;
    return out;
}

/* What somebody who looks at the page would read, as the end of a sentence; "" when there is
   nothing. */
static const char *stws_p_page_words(char out[140], const stws_http *answer, const char *page,
                                     size_t len) {
    /* Spring's, RFC 9457's, and many */
    static const char *const names[] = {"\"message\"", "\"detail\"", "\"error\""};
    const char *coding = stws_http_header(answer, "Content-Encoding");
    size_t begun = (size_t)snprintf(out, 140, "; it says: "), room = 140 - begun, i;
    char *words = out + begun;
    if (!coding && len > 1 && memcmp(page, "\x1F\x8B", 2) == 0) coding = "gzip";
    if (len && coding && !stws_p_equal_nocase(coding, strlen(coding), "identity", 8)) {
        snprintf(out, 140, "; its page is compressed (%.20s)", coding);
        return out;
    }
    while (len && strchr(" \t\r\n", *page)) page++, len--;
    if (len && *page == '<') stws_p_html_text(words, room, page, len, "<title");
    if (len && *page == '<' && !*words) stws_p_html_text(words, room, page, len, "<h1");
    for (i = 0; len && *page == '{' && !*words && i < 3; i++)
        stws_p_json_text(words, room, page, len, names[i]);
    if (!*words) stws_p_quote(words, room, page, len);
    return *words ? out : "";
}

/* Where a redirect leads to, as a ws:// or wss:// URL: 1; 0 when it leads elsewhere, or is
   too long. */
static int stws_p_redirect_url(const stws_url *from, const char *location, char *out, size_t cap) {
    static const char *const schemes[][2] = {
        {"http:", "ws"}, {"https:", "wss"}, {"ws:", "ws"}, {"wss:", "wss"}};
    const char *scheme = from->secure ? "wss" : "ws", *rest = location;
    size_t i, len = strcspn(location, ":/?#") + 1, path = strcspn(from->target, "?");
    int n;
    if (location[len - 1] == ':') {
        for (i = 0;
             i < 4 && !stws_p_equal_nocase(location, len, schemes[i][0], strlen(schemes[i][0]));)
            i++;
        if (i == 4 || strncmp(location + len, "//", 2) != 0) return 0;
        scheme = schemes[i][1];
        rest += len;
    }
    len = strcspn(rest, "#");
    if (strncmp(rest, "//", 2) == 0) {
        n = snprintf(out, cap, "%s:%.*s", scheme, (int)len, rest);
    } else {
        if (*rest == '/') path = 0;
        else if (*rest != '?')
            while (path > 0 && from->target[path - 1] != '/') path--;
        n = snprintf(out, cap, "%s://%.*s%.*s%s%.*s", scheme, stws_p_authority_len(from),
                     stws_p_authority(from), (int)path, from->target,
                     path || *rest == '/' ? "" : "/", (int)len, rest);
    }
    return n > 0 && (size_t)n < cap;
}

static const char stws_p_upgrade_stripped[] =
    "the server did not see our Upgrade header: a proxy in between has to pass it on (nginx: "
    "proxy_http_version 1.1; proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection "
    "\"upgrade\"; Apache: ProxyPass to a ws:// URL, or with upgrade=websocket)";
static const char stws_p_head_too_long[] =
    "the head of our request is too long for this server: shorten http_headers or cookie";

/* What the words of a page mean that stands behind a status from 400 to 499. */
static const char *stws_p_page_remedy(const char *page, size_t len) {
    static const char use_wss[] = "this port speaks TLS: use wss:// instead of ws://";
    static const char *const remedies[][2] = {
        {"Can \"Upgrade\" only to", stws_p_upgrade_stripped}, /* Spring, sockjs-node */
        {"\"Connection\" must be \"upgrade\"", stws_p_upgrade_stripped},
        {"Cookie Too Large", stws_p_head_too_long}, /* nginx, Tomcat, Apache */
        {"Request header is too large", stws_p_head_too_long},
        {"header field exceeds server limit", stws_p_head_too_long},
        {"request was sent to HTTPS port", use_wss}, /* nginx, Apache, Tomcat, Go */
        {"plain HTTP to an SSL-enabled", use_wss},
        {"combination of host and port requires TLS", use_wss},
        {"HTTP request to an HTTPS server", use_wss},
        {"SSL certificate", "the server wants a client certificate that it trusts: options "
                            "tls_cert_file and tls_key_file"}};
    size_t i;
    for (i = 0; i < sizeof remedies / sizeof *remedies; i++)
        if (stws_p_find_words(page, len, remedies[i][0])) return remedies[i][1];
    return NULL;
}

/* Do we send credentials with the upgrade? */
static int stws_p_sends_authorization(const stws *c) {
    return c->url.user_info || stws_p_headers_have(c->try_now.http_headers, "Authorization");
}

static int stws_p_write_upgrade(const stws *c, char *buf, size_t cap, size_t *need);

/* What to try for an answer other than 101. */
static const char *stws_p_status_remedy(const stws *c, const stws_http *answer, const char *page,
                                        size_t len) {
    static const stws_p_meaning remedies[] = {
        {200, "an ordinary page answered: check the path of the URL, and that a proxy in between "
              "passes our Upgrade header on"},
        {400, "the server did not take it for a WebSocket upgrade: check the path, and proxies in "
              "between"},
        {401, "the HTTP layer wants credentials, and no Authorization header was sent: put one "
              "into http_headers (connect_headers and login only reach STOMP)"},
        {-401, "the HTTP layer did not accept the Authorization header that was sent"},
        {403, "forbidden: the server may not allow this Origin (option origin), or wants "
              "credentials in http_headers or a cookie"},
        {404, "nothing is there: check the path of the URL"},
        {407, "a proxy wants credentials"},
        {426, "the server wants another WebSocket version or protocol on this path"},
        {429, "too many requests: the next attempt waits"},
        {431, stws_p_head_too_long},
        {503, "the server is overloaded or starting: the next attempt waits"},
        {0, "the server did not switch to WebSocket"}};
    int status = answer->status, refused = status >= 400 && status < 500;
    const char *words = refused ? stws_p_page_remedy(page, len) : NULL;
    size_t size = 0;
    if (words) return words;
    if (status == 426 && !stws_http_header(answer, "Sec-WebSocket-Version"))
        return stws_p_upgrade_stripped;
    if (status == 400) stws_p_write_upgrade(c, NULL, 0, &size);
    if (size > STWS_P_LONG_HEAD) return stws_p_head_too_long;
    if (status == 401 && stws_p_sends_authorization(c)) status = -401;
    /* fails, and names one all the same */
    if (status == 500 && stws_http_header(answer, "Sec-WebSocket-Protocol"))
        return "ActiveMQ answers so when no STOMP subprotocol was offered: leave option "
               "subprotocols at its default";
    if (status >= 500 && status != 503)
        return "the server or a proxy before it failed: the next attempt waits";
    if (status >= 300 && status < 400)
        return c->o.follow_redirects
                   ? "this redirect is not followed (to another host, from wss to ws, or the "
                     "fourth): use that URL"
                   : "redirects are not followed (see option follow_redirects): use that URL";
    return stws_p_meaning_of(status, remedies);
}

/* What else the answer's headers tell: where a redirect leads to, in its ws form; what
   credentials a 401 is for. */
static const char *stws_p_status_header(const stws *c, const stws_http *answer, char out[256]) {
    const char *location = stws_http_header(answer, "Location"),
               *wanted = stws_http_header(answer, "WWW-Authenticate");
    const char *login;
    char url[512];
    size_t shown;
    *out = 0;
    if (answer->status == 401 && wanted) snprintf(out, 256, "; WWW-Authenticate: %.150s", wanted);
    if (!location) return out;
    login = strstr(location, "login")
                ? " (a login page: the server wants credentials in http_headers or cookie)"
                : "";
    if (stws_p_redirect_url(&c->url, location, url, sizeof url)) location = url;
    shown = stws_p_public_len(location);
    snprintf(out, 256, "%s%.*s%s%s",
             answer->status / 100 == 3 ? ": " : "; Location: ", (int)stws_p_within(shown, 0, 170),
             location, location[shown] ? "***" : "", login);
    return out;
}

/* Is it what SockJS answers at its base, one level above the WebSocket? There Spring answers
   an upgrade with 400 and nothing else, and greets a request whose Upgrade header was lost
   on the way. */
static int stws_p_is_sockjs(const stws *c, int status, const char *page, size_t len) {
    if (!STWS_P_HAS_TEXTS || stws_p_path_ends_in(&c->url, "/websocket")) return 0;
    return status == 200 ? len > 17 && memcmp(page, "Welcome to SockJS", 17) == 0
                         : status == 400 && len == 0;
}

static void stws_p_say_status(stws *c, const stws_http *answer, const char *page, size_t len) {
    int status = answer->status;
    char words[140], header[256], said[48];
    snprintf(said, sizeof said, "HTTP %d instead of 101", status);
    if (stws_p_is_sockjs(c, status, page, len))
        stws_p_say_sockjs(c, STWS_ERR_HTTP_STATUS, said,
                          status == 200 ? stws_p_upgrade_stripped : "");
    else if (status == 200 && stws_p_find_words(page, len, "\"entropy\":"))
        stws_p_say(c, STWS_ERR_HTTP_STATUS,
                   "%s at %s: this is SockJS's /info, which is for browsers; raw WebSocket is "
                   "beside it: %s",
                   said, stws_p_where(c), stws_p_websocket_url(c, 1, header));
    else
        stws_p_say(c, STWS_ERR_HTTP_STATUS, "HTTP %d%s%.60s instead of 101 at %s: %s%s%s", status,
                   *answer->reason ? " " : "", answer->reason, stws_p_where(c),
                   stws_p_status_remedy(c, answer, page, len),
                   stws_p_status_header(c, answer, header),
                   stws_p_page_words(words, answer, page, len));
}

/* The answer to the upgrade was not HTTP. */
static void stws_p_say_not_http(stws *c, const char *data, size_t len) {
    char quote[64];
    if (len >= 2 && (data[0] == 0x15 || data[0] == 0x16) && data[1] == 3) {
        stws_p_say(c, STWS_ERR_HTTP,
                   "the server at %s answers with TLS: use wss:// instead of ws://",
                   stws_p_where(c));
        return;
    }
    /* SETTINGS (RFC 9113, 6.5) */
    if (len >= 9 && data[0] == 0 && memcmp(data + 3, "\4\0\0\0\0", 6) == 0) {
        stws_p_say(c, STWS_ERR_HTTP,
                   "the server at %s speaks only HTTP/2, and WebSocket needs HTTP/1.1: enable that "
                   "there, or use another port",
                   stws_p_where(c));
        return;
    }
    if (len > 7 && memcmp(data, "HTTP/1.", 7) == 0) {
        stws_p_say(c, STWS_ERR_HTTP,
                   "the head of the HTTP answer at %s breaks RFC 9112: a header line has no colon "
                   "or no name, or there is a control character",
                   stws_p_where(c));
        return;
    }
    stws_p_quote(quote, sizeof quote, data, len);
    stws_p_say(c, STWS_ERR_HTTP,
               "the answer at %s is not HTTP (it begins \"%s\"): is this the port of another "
               "protocol, such as a broker's plain STOMP or AMQP port?",
               stws_p_where(c), quote);
}

static int stws_p_error_has(const stws_frame *frame, const char *words) {
    return strstr(stws_p_or(stws_frame_header(frame, "message"), ""), words) ||
           strstr(frame->body, words);
}

static const char *stws_p_error_hint(const stws_frame *frame, const stws_options *o) {
    if (stws_p_error_has(frame, "irtual host") || stws_p_error_has(frame, "vhost"))
        return strcmp(o->host, "/") != 0
                   ? "; RabbitMQ takes option host as its virtual host: leave it out for \"/\""
                   : "; option host is \"/\" already: does this user lack the permission, or is a "
                     "limit of connections reached? The broker's log has the reason";
    if (stws_p_error_has(frame, "ExecutorSubscribableChannel") ||
        stws_p_error_has(frame, "Failed to send message to"))
        return "; Spring refused our frame: a ChannelInterceptor did, or Spring Security denies "
               "the destination, or it wants a CSRF token in connect_headers; the server's log has "
               "the reason";
    if (stws_p_error_has(frame, "ersion")) return "; see option versions";
    if (stws_p_error_has(frame, "configured buffer size limit") ||
        stws_p_error_has(frame, "maximum command length"))
        return "; the message is over the server's limit (Spring: setMessageSizeLimit)";
    if (stws_p_error_has(frame, "AMQ229014") ||
        (stws_p_error_has(frame, "Session closed") && !o->heartbeat_out_ms))
        return "; the server ends connections without heart-beats: set option heartbeat_out_ms";
    return "";
}

/* How long the machine has slept since the session began, in microseconds. */
static long long stws_p_slept(const stws *c) {
    return c->clock.slept_us ? c->clock.slept_us(c->clock.ctx) - c->slept_us : 0;
}

/* Why the server may rightly have left: the machine slept, or the loop that drives us was
   late with a heart-beat. */
static const char *stws_p_late_hint(const stws *c, char out[STWS_P_LATE]) {
    long long promised = c->s.heartbeat_out_us,
              slept = c->state == STWS_CONNECTED ? stws_p_slept(c) : 0;
    out[0] = 0;
    if (slept > 1000 * STWS_P_US && slept > promised)
        snprintf(out, STWS_P_LATE, "; this machine slept for %lld s of that session",
                 slept / 1000000);
    else if (promised && c->late_us > promised)
        snprintf(out, STWS_P_LATE,
                 "; our own loop was late: %lld ms passed between two of its turns (%s), with a "
                 "heart-beat promised every %lld ms",
                 c->late_us / STWS_P_US,
                 c->late_in_call ? "a callback, or the program between two calls, took them"
                                 : "it was not called, or the process was stopped",
                 promised / STWS_P_US);
    return out;
}

/* How many lines follow the first one, such as those of a Java stack trace. Empty ones do
   not count. */
static const char *stws_p_more_lines(const stws_frame *frame, char out[40]) {
    const char *at = frame->body + strcspn(frame->body, "\n");
    int count = 0;
    for (at += strspn(at, "\r\n"); *at; at += strspn(at, "\r\n")) count++, at += strcspn(at, "\n");
    *out = 0;
    if (count) snprintf(out, 40, " (and %d line%s more)", count, count == 1 ? "" : "s");
    return out;
}

static void stws_p_say_error_frame(stws *c, int error, const stws_frame *frame) {
    char line[200], late[STWS_P_LATE], more[40];
    const char *message = stws_p_or(stws_frame_header(frame, "message"), "");
    stws_p_quote(line, sizeof line, frame->body, frame->body_len);
    stws_p_say(c, error, "%s: \"%.160s\"%s%s%s%s%s%s",
               error == STWS_ERR_LOGIN ? "the server refused CONNECT with an ERROR"
                                       : "the server sent an ERROR",
               message, *line ? ": \"" : "", line, *line ? "\"" : "",
               stws_p_more_lines(frame, more), stws_p_error_hint(frame, &c->o),
               stws_p_late_hint(c, late));
}

static const char *stws_p_close_meaning(int code, int broker) {
    static const stws_p_meaning meanings[] = {
        {1000, "normal closure"},
        {1001, "the server is going away"},
        {1002, "protocol error, says the server"},
        {1003, "a kind of data that the server does not take"},
        {1005, "no code given"},
        {1007, "data that is not UTF-8, or not what the server expects"},
        {1008, "policy violation"},
        {1009, "our message was too big for the server: set option max_ws_message to its limit, or "
               "raise the limit there (Tomcat: 8192 bytes by default)"},
        {1011, "internal error of the server"},
        {1012, "the server restarts"},
        {1013, "the server is overloaded: try again later"},
        {4500, "Spring: its send buffer for us overflowed (setSendBufferSizeLimit), or we read too "
               "slowly"},
        {0, "no code that RFC 6455 names"}};
    if (code == 1009 && broker == STWS_BROKER_ACTIVEMQ)
        return "our message was too big for ActiveMQ, which takes a frame whole or not at all: "
               "raise websocket.maxTextMessageSize on its connector (65536 by default)";
    return stws_p_meaning_of(code, meanings);
}

/* Two brokers end a session that is silent by agreement. */
static const char *stws_p_silence_hint(const stws *c) {
    int silent = c->state == STWS_CONNECTED && c->now - c->s.last_out_us >= 30000 * STWS_P_US;
    if (c->s.heartbeat_out_us || !silent) return "";
    if (c->s.broker == STWS_BROKER_ARTEMIS)
        return "; Artemis ends silent clients after 60 s: set heartbeat_out_ms";
    if (c->s.broker == STWS_BROKER_RABBITMQ)
        return "; RabbitMQ ends idle WebSockets after 60 s: set heartbeat_out_ms";
    return "";
}

/* A connection that was cut while nothing moved in one of its directions: proxies do that. */
static const char *stws_p_idle_hint(const stws *c, char out[STWS_P_IDLE]) {
    const stws_p_session *s = &c->s;
    long long since = s->last_in_us < s->last_out_us ? s->last_in_us : s->last_out_us,
              idle = c->now - since;
    out[0] = 0;
    if (c->state != STWS_CONNECTED || idle < 2000 * STWS_P_US || *stws_p_silence_hint(c))
        return out;
    snprintf(out, STWS_P_IDLE,
             "; nothing had %s for %lld s (heart-beats: %lld ms out, %lld ms in; PINGs: %lld ms). "
             "Many proxies end a connection that is idle, most after 60 s: set option ping_ms "
             "below that time",
             since == s->last_in_us ? "come" : "been sent", idle / 1000000,
             s->heartbeat_out_us / STWS_P_US, s->heartbeat_in_us / STWS_P_US,
             s->ping_us / STWS_P_US);
    return out;
}

STWS_P_APART static void stws_p_say_closed(stws *c) {
    const char *reason = c->s.peer_close_reason, *quote = *reason ? "\"" : "";
    char late[STWS_P_LATE];
    stws_p_late_hint(c, late);
    stws_p_say(c, *late ? (int)STWS_ERR_LATE : (int)STWS_ERR_WS_CLOSE,
               "the server closed the connection with code %d (%s)%s%s%s%s%s%s%s",
               c->s.peer_close_code, stws_p_close_meaning(c->s.peer_close_code, c->s.broker),
               *reason ? ": " : "", quote, reason, quote,
               strcmp(reason, "STOMP died") != 0 || *late
                   ? ""
                   : "; RabbitMQ closes so after an error: no permission for the destination, or "
                     "other arguments than the queue has; the broker's log has the reason",
               stws_p_silence_hint(c), late);
}

/* The frame that cannot be read on, as far as it was understood; its body is all that came
   behind that, up to a NUL. 0: there is not even a command. What came behind the frame is
   not looked at any more, and may be written over. */
static int stws_p_broken_frame(stws *c, int error, stws_frame *frame) {
    stws_frame_state *s = &c->s.parser;
    const stws_p_input *in = &c->s.in;
    char *at = in->data + in->begin, *end = in->data + in->end - (in->end == in->cap),
         *body = at + s->line;
    memset(frame, 0, sizeof *frame);
    if (s->phase < STWS_P_HEADERS || in->begin + s->line > in->end) return 0;
    if (at != s->base) stws_p_frame_moved(s, at);
    *end = 0;
    /* of a wrong length the line has been taken apart already */
    if (body > end || (s->phase == STWS_P_HEADERS &&
                       (error == STWS_ERR_FRAME_LENGTH || error == STWS_ERR_FRAME_BODY)))
        body = end;
    frame->command = at;
    frame->command_id = (stws_command)s->command_id;
    frame->headers = s->headers;
    frame->header_count = s->header_count;
    frame->body = body;
    frame->body_len = strlen(body);
    return 1;
}

/* A content-length is wrong: which one, of what frame, and how servers come to such ones. */
static void stws_p_say_wrong_length(stws *c, int error, const stws_frame *frame) {
    const char *value = stws_p_or(stws_frame_header(frame, "content-length"), "");
    const char *destination = stws_frame_header(frame, "destination"), *why = "";
    size_t len = c->s.parser.body_len;
    if (error == STWS_ERR_FRAME_NUL)
        why = len && frame->body_len < len && !frame->body[len - 1]
                  ? "; does it count the closing NUL, too?"
                  : "; counted in characters instead of bytes?";
    stws_p_say(c, error, "%s: %.20s%s%.150s has content-length:%.40s%s", stws_result_text(error),
               frame->command, destination ? " of " : "", stws_p_or(destination, ""), value, why);
}

/* What came in was wrong: a frame of either layer. */
static void stws_p_say_input(stws *c, int error) {
    const stws_p_input *in = &c->s.in;
    const char *text = stws_result_text(error), *option = NULL;
    size_t limit = 0;
    char quote[48];
    stws_frame frame;
    int head = STWS_P_HAS_TEXTS && error <= STWS_ERR_FRAME_HEADER &&
               error >= STWS_ERR_FRAME_LENGTH && stws_p_broken_frame(c, error, &frame);
    if (error == STWS_ERR_FRAME_HEADERS) option = "max_headers", limit = c->o.max_headers;
    if (error == STWS_ERR_FRAME_LINE) option = "max_line", limit = c->o.max_line;
    if (error == STWS_ERR_FRAME_BODY) option = "max_body", limit = c->o.max_body;
    if (error == STWS_ERR_SOCKJS)
        stws_p_say_sockjs(c, error, "SockJS frames (o, h, a[...]) instead of STOMP", "");
    else if (option) stws_p_say(c, error, "%s (%zu); raise option %s", text, limit, option);
    else if (head && (error == STWS_ERR_FRAME_LENGTH || c->s.parser.phase == STWS_P_BODY_COUNTED))
        stws_p_say_wrong_length(c, error, &frame);
    else if (head || error == STWS_ERR_FRAME_COMMAND)
        stws_p_say(
            c, error, "%s: \"%s\"", text,
            head ? stws_p_quote(quote, sizeof quote, frame.body, frame.body_len)
                 : stws_p_quote(quote, sizeof quote, in->data + in->begin, in->end - in->begin));
    else if (error <= STWS_ERR_WS_PROTOCOL && error > STWS_ERR_WS_CLOSE)
        stws_p_say(c, error, "%s: %s", text, stws_p_or(c->s.ws.reason, ""));
    else stws_p_say(c, error, "%s", text);
}

static void stws_p_say_timeout(stws *c) {
    static const stws_p_meaning silences[] = {
        {STWS_CONNECTING,
         "no TCP connection within connect_timeout_ms: a firewall may drop the packets"},
        {-1, "the proxy did not open the way within connect_timeout_ms: is it of the kind that its "
             "URL says?"},
        {STWS_TLS, "the TLS handshake did not end within connect_timeout_ms"},
        {STWS_UPGRADING, "no answer to the HTTP upgrade within handshake_timeout_ms"},
        {STWS_LOGGING_IN, "the server answered CONNECT with neither CONNECTED nor ERROR within "
                          "connected_timeout_ms: it may speak none of the versions offered, or not "
                          "speak STOMP on this path"},
        {0, "the state's deadline passed"}};
    int state = c->state == STWS_CONNECTING && c->tcp.proxy ? -1 : c->state;
    stws_p_say(c, STWS_ERR_TIMEOUT, "time-out at %s: %s", stws_p_where(c),
               stws_p_meaning_of(state, silences));
}

static void stws_p_say_io(stws *c, int error) {
    const char *why = c->io.error ? c->io.error(c->io.ctx) : NULL, *text = stws_result_text(error);
    int upgrading = c->state == STWS_UPGRADING;
    char late[STWS_P_LATE], idle[STWS_P_IDLE];
    if (STWS_P_LOAD(&c->s.no_random))
        why = "the system gives no random numbers, which masking needs";
    stws_p_late_hint(c, late);
    stws_p_idle_hint(c, idle);
    if (*late) idle[0] = 0; /* one reason is enough */
    if (error == STWS_ERR_EOF)
        stws_p_say(c, error, "%s%s%s%s%s%s", text,
                   !upgrading ? "" : ", before it answered the upgrade: is this a WebSocket port?",
                   upgrading && c->url.secure ? " (a server that speaks only HTTP/2 closes so, too)"
                                              : "",
                   stws_p_silence_hint(c), late, idle);
    else
        stws_p_say(c, error, "%s at %s: %s%s%s", text, stws_p_where(c),
                   stws_p_or(why, "no reason known"), late, idle);
}

/* ==== >>answer: what is kept of an answer to the upgrade: headers, cookies, where to go instead ==== */
/* The next stretch of letters, digits and colons of a date; 0 at its end. */
static size_t stws_p_date_word(const char **at) {
    size_t len = 0;
    while (**at && !stws_p_is_alphanumeric(**at)) ++*at;
    while (stws_p_is_alphanumeric((*at)[len]) || (*at)[len] == ':') len++;
    return len;
}

/* Days from 1970 to the first of March of that year, by the Gregorian calendar. */
static long long stws_p_days_to_march(long long year) {
    return year * 365 + year / 4 - year / 100 + year / 400 - 719468;
}

/* The seconds of a time such as 08:49:37; -1 for anything else. */
static long long stws_p_time_of_day(const char *word, size_t len) {
    long long seconds = 0;
    size_t part, n, parts = 0;
    for (; len; parts++) {
        for (part = 0; part < len && word[part] != ':';) part++;
        if (parts == 3 || part > 2 || stws_p_number(word, part, 60, &n) != 1) return -1;
        seconds = seconds * 60 + (long long)n;
        part += part < len;
        word += part;
        len -= part;
    }
    return parts == 3 ? seconds : -1;
}

/* The seconds from 1970 to a date in one of the three forms of HTTP (RFC 9110, 5.6.7), which
   all have a day, a month by name, a year behind the day, and a time: 1, or 0 for anything
   else. */
static int stws_p_http_date(const char *date, long long *out) {
    /* March first: the leap day is the last */
    static const char months[] = "MarAprMayJunJulAugSepOctNovDecJanFeb";
    long long year = -1, day = -1, month = -1, seconds = -1, i;
    size_t len, n;
    for (; (len = stws_p_date_word(&date)) != 0; date += len) {
        for (i = 0; i < 12 && len == 3; i++)
            if (stws_p_equal_nocase(date, 3, months + 3 * i, 3)) month = i;
        if (memchr(date, ':', len)) {
            seconds = stws_p_time_of_day(date, len);
        } else if (stws_p_number(date, len, 9999, &n) == 1) {
            if (day < 0) day = (long long)n;
            else year = (long long)n + (len == 2 ? n < 70 ? 2000 : 1900 : 0);
        }
    }
    if (month < 0 || day < 1 || day > 31 || year < 1601 || seconds < 0) return 0;
    year -= month >= 10; /* January and February end the year before */
    *out = (stws_p_days_to_march(year) + (month * 153 + 2) / 5 + day - 1) * 86400 + seconds;
    return 1;
}

/* Headers that do not fit any more are left out, as are all behind them. */
static void stws_p_keep_head(stws *c, const stws_http *answer) {
    stws_p_out out = {c->head, c->head_size - 1, 0};
    size_t i, end = 0;
    for (i = 0; i < answer->header_count; i++) {
        stws_p_put(&out, answer->headers[i].name, answer->headers[i].name_len + 1);
        stws_p_put(&out, answer->headers[i].value, answer->headers[i].value_len + 1);
        if (out.need < c->head_size) end = out.need;
    }
    c->head[end] = 0;
}

/* The jar holds of each cookie the host, a word ("s" for those of wss:// only), the path,
   and "name=value", each with its NUL; and a NUL at the end. */
static const char *stws_p_next_cookie(const char *cookie) {
    return stws_p_after(stws_p_after(stws_p_after(stws_p_after(cookie))));
}

static const char *stws_p_cookie_path(const char *cookie) {
    return stws_p_after(stws_p_after(cookie));
}

static const char *stws_p_cookie_pair(const char *cookie) {
    return stws_p_after(stws_p_cookie_path(cookie));
}

static size_t stws_p_cookie_name_len(const char *pair) { return strcspn(pair, "="); }

static int stws_p_cookie_is_here(const char *cookie, const stws_url *url) {
    return stws_p_equal_nocase(cookie, strlen(cookie), url->host, url->host_len);
}

/* Take out the cookie of that host, name and path. */
static void stws_p_drop_cookie(stws *c, const char *path, const char *pair, size_t name_len) {
    char *at = c->jar;
    while (*at) {
        const char *next = stws_p_next_cookie(at), *has = stws_p_cookie_pair(at);
        int same = stws_p_cookie_is_here(at, &c->url) &&
                   strcmp(path, stws_p_cookie_path(at)) == 0 &&
                   stws_p_equal(pair, name_len, has, stws_p_cookie_name_len(has));
        if (same) memmove(at, next, (size_t)(c->jar + STWS_P_JAR - next));
        else at += next - at;
    }
}

/* The value of an attribute of a Set-Cookie (RFC 6265, 5.2), up to its ';'; NULL without it. */
static const char *stws_p_cookie_attribute(const char *set, const char *name, size_t *len) {
    size_t name_len = strlen(name);
    while ((set = strchr(set, ';')) != NULL) {
        const char *word = ++set;
        size_t all = strcspn(set, ";"), before;
        stws_p_trim(&word, &all);
        before = strcspn(word, "=;");
        if (!stws_p_equal_nocase(word, before < all ? before : all, name, name_len)) continue;
        set = before < all ? word + before + 1 : word + all;
        *len = (size_t)(word + all - set);
        return set;
    }
    return NULL;
}

/* Is a cookie over already? */
static int stws_p_cookie_has_ended(const char *set) {
    size_t len = 0;
    const char *age = stws_p_cookie_attribute(set, "Max-Age", &len), *expires;
    long long end;
    char date[40];
    if (age) return len > 0 && (*age == '-' || strspn(age, "0") == len);
    expires = stws_p_cookie_attribute(set, "Expires", &len);
    if (!expires || len >= sizeof date) return 0;
    memcpy(date, expires, len);
    date[len] = 0;
    return stws_p_http_date(date, &end) && end < stws_p_system_date();
}

/* The path that a cookie is for: its own, or the folder of the URL (RFC 6265, 5.1.4). 0 when
   it is too long. */
static int stws_p_path_of_cookie(const stws *c, const char *set, char out[256]) {
    size_t len = 0;
    const char *path = stws_p_cookie_attribute(set, "Path", &len);
    if (!path || len == 0 || *path != '/') {
        path = c->url.target;
        for (len = strcspn(path, "?"); len > 1 && path[len] != '/';) len--;
        if (*path != '/') len = 0;
    }
    if (len == 0) path = "/", len = 1;
    if (len > 255) return 0;
    memcpy(out, path, len);
    out[len] = 0;
    return 1;
}

static void stws_p_keep_cookie(stws *c, const char *set) {
    const char *pair = set;
    size_t len = strcspn(set, ";"), name_len, used;
    char path[256], *end = c->jar;
    stws_p_out out = {NULL, 0, 0};
    stws_p_trim(&pair, &len);
    name_len = stws_p_cookie_name_len(pair);
    if (name_len == 0 || name_len >= len || !stws_p_is_field_text(set)) return;
    if (!stws_p_path_of_cookie(c, set, path)) return;
    stws_p_drop_cookie(c, path, pair, name_len);
    if (stws_p_cookie_has_ended(set)) return;
    while (*end) end += stws_p_next_cookie(end) - end;
    used = (size_t)(end - c->jar);
    if (used + c->url.host_len + 1 + 2 + strlen(path) + 1 + len + 2 > STWS_P_JAR) return;
    out.at = end;
    out.room = STWS_P_JAR - used;
    stws_p_put(&out, c->url.host, c->url.host_len);
    stws_p_put_char(&out, 0);
    stws_p_put(&out, stws_p_cookie_attribute(set, "Secure", &name_len) ? "s" : "-", 2);
    stws_p_put(&out, path, strlen(path) + 1);
    stws_p_put(&out, pair, len);
    stws_p_put(&out, "\0", 2);
}

static void stws_p_keep_cookies(stws *c, const stws_http *answer) {
    const stws_header *set;
    size_t from = 0;
    while (c->o.keep_cookies && (set = stws_p_http_find(answer, "Set-Cookie", &from)) != NULL)
        stws_p_keep_cookie(c, set->value);
}

/* May it go with this URL (RFC 6265, 5.1.4 and 5.4)? */
static int stws_p_cookie_is_for(const char *cookie, const stws_url *url) {
    const char *path = stws_p_cookie_path(cookie);
    size_t len = strlen(path), target = strcspn(url->target, "?");
    if (!stws_p_cookie_is_here(cookie, url) || (*stws_p_after(cookie) == 's' && !url->secure))
        return 0;
    if (len == 1) return 1;
    return target >= len && memcmp(path, url->target, len) == 0 &&
           (path[len - 1] == '/' || target == len || url->target[len] == '/');
}

/* The value of the Cookie header: the user's, and what is in the jar; NULL: none. */
static const char *stws_p_cookies(const stws *c) {
    char *line = c->jar + STWS_P_JAR;
    const char *cookie;
    stws_p_out out = {line, STWS_P_JAR + stws_p_strlen(c->o.cookie) + 2, 0};
    if (!c->o.keep_cookies) return c->o.cookie;
    if (c->o.cookie) stws_p_put_string(&out, c->o.cookie);
    for (cookie = c->jar; *cookie; cookie = stws_p_next_cookie(cookie)) {
        if (!stws_p_cookie_is_for(cookie, &c->url)) continue;
        if (out.need) stws_p_put(&out, "; ", 2);
        stws_p_put_string(&out, stws_p_cookie_pair(cookie));
    }
    line[out.need] = 0;
    return line;
}

/* Go where the answer leads: 1, or 0 when it may not be followed. Credentials of our URL go
   along, as the host is the same; those of the new one are none that the user has given. */
static int stws_p_follow_redirect(stws *c, const stws_http *answer) {
    const char *location = stws_http_header(answer, "Location"), *user_info = c->url.user_info;
    size_t user_info_len = c->url.user_info_len;
    char moved[STWS_P_MOVED];
    stws_url url;
    int status = answer->status;
    int redirects = (status >= 301 && status <= 303) || status == 307 || status == 308;
    if (!c->o.follow_redirects || !redirects || !location || c->redirects == 3) return 0;
    if (!stws_p_redirect_url(&c->url, location, moved, sizeof moved)) return 0;
    if (stws_url_parse(moved, &url, NULL) != STWS_OK || url.user_info || url.secure < c->url.secure)
        return 0;
    if (!stws_p_equal_nocase(url.host, url.host_len, c->url.host, c->url.host_len)) return 0;
    if (url.secure && !c->tls && !c->o.transport) return 0;
    memcpy(c->moved, moved, strlen(moved) + 1);
    stws_url_parse(c->moved, &c->url, NULL);
    c->url.user_info = user_info;
    c->url.user_info_len = user_info_len;
    c->redirects++;
    return 1;
}

/* ==== >>attempt: from a URL to CONNECTED ==== */
static long long stws_p_ms(int ms) { return (long long)ms * STWS_P_US; }

/* When so many milliseconds will be over; STWS_P_NEVER for -1. */
static long long stws_p_in(const stws *c, int ms) {
    return ms < 0 ? STWS_P_NEVER : c->clock.now_us(c->clock.ctx) + stws_p_ms(ms);
}

/* Milliseconds from now until then, rounded up, as poll takes them: -1 for STWS_P_NEVER, and
   an hour at most. */
static int stws_p_until(const stws *c, long long when) {
    long long left;
    if (when == STWS_P_NEVER) return -1;
    left = when ? when - c->clock.now_us(c->clock.ctx) : 0;
    if (left <= 0) return 0;
    return left > 3600000 * STWS_P_US ? 3600000 : (int)((left + STWS_P_US - 1) / STWS_P_US);
}

/* When a state that begins now has to end: after so many milliseconds, or, for 0, never. */
static long long stws_p_time_limit(const stws *c, int timeout_ms) {
    return timeout_ms ? c->now + stws_p_ms(timeout_ms) : STWS_P_NEVER;
}

/* The randomness that a thread asks for while it does not have the lock: fill runs once at a
   time. */
static int stws_p_client_random(void *client, void *out, size_t len) {
    stws *c = (stws *)client;
    int result;
    stws_p_lock(c);
    result = stws_p_random(&c->s, out, len);
    stws_p_unlock(c);
    return result;
}

/* A number from 0 to limit out of the client's randomness. */
static long long stws_p_random_up_to(stws *c, long long limit) {
    uint32_t r = 0;
    if (limit <= 0 || stws_p_client_random(c, &r, sizeof r) != 0) return 0;
    return (long long)(r % ((unsigned long long)limit + 1));
}

/* How long the server's Retry-After makes us wait: as long as it asks, and a random part
   more, so that clients which it sent away together do not come back together; but not for
   days. */
static long long stws_p_asked_wait_ms(stws *c) {
    long long most = 10LL * (c->o.reconnect_max_ms ? c->o.reconnect_max_ms : 30000),
              ms = c->retry_after_ms;
    if (!ms) return 0;
    if (ms > most) return most - stws_p_random_up_to(c, most / 10);
    if (c->o.reconnect_jitter) ms += stws_p_random_up_to(c, ms / 10 + c->o.reconnect_min_ms);
    return ms > most ? most : ms;
}

/* Milliseconds before the next attempt: min * factor^n, capped, with jitter up (positive) or
   down (negative). */
static long long stws_p_backoff_ms(stws *c) {
    long long delay = c->o.reconnect_min_ms, jitter = c->o.reconnect_jitter, spread,
              asked = stws_p_asked_wait_ms(c);
    int i;
    for (i = 1; i < c->failures && delay < c->o.reconnect_max_ms; i++)
        delay = delay * c->o.reconnect_factor / 100;
    if (delay > c->o.reconnect_max_ms) delay = c->o.reconnect_max_ms;
    spread = stws_p_random_up_to(c, delay * (jitter < 0 ? -jitter : jitter) / 100);
    delay += jitter < 0 ? -spread : spread;
    return delay > asked ? delay : asked;
}

/* When a session that begins now is too old; early by chance, so that a thousand clients do
   not come back together. */
static long long stws_p_session_end(stws *c) {
    long long ms = c->o.max_session_ms;
    return ms ? c->now + (ms - stws_p_random_up_to(c, ms / 10)) * STWS_P_US : STWS_P_NEVER;
}

/* The client has ended for good. */
static void stws_p_end(stws *c, int error) {
    stws_p_lock(c);
    if (error == STWS_CLOSED) c->text[0] = 0;
    stws_p_enter(c, STWS_ENDED, STWS_P_NEVER); /* from now on any thread may read the sentence */
    c->final = error;
    if (c->shared_stats) *c->shared_stats = c->s.stats;
    /* those that were sent have ended with their session */
    stws_p_finish_receipts(&c->s, STWS_P_RECEIPT_KEPT, STWS_P_NEVER, STWS_ERR_LOST);
    STOMP_WS_ASSERT(!c->s.receipts_waiting);
    stws_p_signal(c);
    stws_p_unlock(c);
    stws_p_feed_no_more(c);
    if (error != STWS_CLOSED) return;
    STWS_P_STORE(&c->error, STWS_CLOSED);
    if (stws_p_refusal.client == c) stws_p_refusal.client = NULL;
}

/* The connection is gone: receipts end, subscriptions and outbox wait for the next one. */
static void stws_p_leave_session(stws *c) {
    stws_p_close_transport(c);
    stws_p_lock(c);
    c->disconnect_number = 0;
    c->renewing = 0;
    /* of a session, not of an attempt */
    c->losses += c->s.version && (c->write_error || stws_p_pending(&c->s.out));
    stws_p_free_heap_buffers(c);
    stws_p_all_unsent(&c->s.subs);
    stws_p_record_all_unsent(&c->s);
    stws_p_finish_receipts(&c->s, STWS_P_RECEIPT_SENT, STWS_P_NEVER, STWS_ERR_LOST);
    stws_p_session_reset(&c->s, c->now);
    stws_p_enter(c, STWS_BACKOFF, c->now);
    c->close_sent = 0;
    stws_p_signal(c);
    stws_p_unlock(c);
    c->held = 0;
    c->hook_us = 0;
    c->put_off = 0;
    c->error_us = c->error_close_us = c->renew_us = STWS_P_NEVER;
}

/* The last error's sentence moves up for what stands before it. */
static void stws_p_say_before(stws *c, int error, const char *head) {
    size_t len = stws_p_within(strlen(head), 0, c->text_size - 1);
    size_t kept = stws_p_within(strlen(c->text), 0, c->text_size - 1 - len);
    memmove(c->text + len, c->text, kept);
    memcpy(c->text, head, len);
    c->text[len + kept] = 0;
    stws_p_make_harmless(c->text); /* its last character may have been cut */
    STWS_P_STORE(&c->error, error);
}

/* The last error's sentence goes on. */
static void stws_p_say_after(stws *c, const char *tail) {
    size_t len = strlen(c->text);
    snprintf(c->text + len, c->text_size - len, "%s", tail);
    stws_p_make_harmless(c->text);
}

/* ---- subscriptions that a server answers by ending the session ---- */

/* How many subscriptions are on trial just now, and one of them. Under the lock. */
static int stws_p_on_trial_locked(const stws *c, const stws_p_sub **one) {
    const stws_p_subs *t = &c->s.subs;
    int i;
    STOMP_WS_ASSERT(stws_p_has_lock(c));
    *one = NULL;
    if ((c->error_us != STWS_P_NEVER ? c->error_us : c->now) > t->trial_us + STWS_P_TRIAL_US)
        return 0;
    for (i = 0; t->on_trial && i < t->count && !*one; i++)
        if (t->slots[i].on_trial) *one = &t->slots[i];
    return t->on_trial;
}

/* A session that the server ends: the sentence goes on if that may be because of a SUBSCRIBE. */
static void stws_p_say_trial(stws *c) {
    const stws_p_sub *one;
    char tail[240];
    int count;
    stws_p_lock(c);
    count = stws_p_on_trial_locked(c, &one);
    if (one && count == 1)
        snprintf(tail, sizeof tail, "; that was right after SUBSCRIBE to \"%.100s\"%s",
                 stws_p_sub_destination(&c->s.subs, one),
                 one->suspicion + 1 < STWS_P_GUILTY
                     ? ""
                     : ", the third time in a row: that subscription is set aside");
    else
        snprintf(tail, sizeof tail, "; that was right after %d SUBSCRIBEs%s", count,
                 c->s.subs.trials_lost ? ": the next session finds out which of them it was" : "");
    stws_p_unlock(c);
    if (count) stws_p_say_after(c, tail);
}

/* Such a session is over: the subscriptions on trial are the suspects now, and no others.
   One that is alone three times in a row is set aside. Under the lock. */
static void stws_p_judge_trial_locked(stws *c) {
    stws_p_subs *t = &c->s.subs;
    const stws_p_sub *one;
    int count = stws_p_on_trial_locked(c, &one), i;
    t->trials_lost = count ? t->trials_lost + 1 : 0;
    for (i = 0; (t->on_trial || t->suspects) && i < t->count; i++) {
        stws_p_sub *sub = &t->slots[i];
        int suspicion = !count || !sub->on_trial ? 0 : count > 1 ? 1 : sub->suspicion + 1;
        if (suspicion == STWS_P_ONE_OF_SEVERAL && count == 1) suspicion = STWS_P_ALONE;
        stws_p_acquit(t, sub);
        if (suspicion < STWS_P_GUILTY) stws_p_suspect(t, sub, suspicion);
        else STWS_P_STORE(&c->aside, sub->handle), stws_p_sub_enter(t, sub, STWS_P_SUB_ASIDE);
    }
}

/* A session is over. If the server has ended it, with an ERROR or a close frame, that may be
   for a SUBSCRIBE; a stream that just breaks tells nothing. */
static void stws_p_hold_trial(stws *c) {
    if (c->error != STWS_ERR_BROKER && c->error != STWS_ERR_WS_CLOSE) return;
    if (c->error_us == STWS_P_NEVER) stws_p_say_trial(c); /* it has been said of the ERROR */
    stws_p_lock(c);
    stws_p_judge_trial_locked(c);
    stws_p_unlock(c);
}

/* The end that the program asked for. With stws_disconnect it tells what is lost by it. */
static void stws_p_end_asked(stws *c, size_t left, int lost_output) {
    const char *last = *c->text ? "; the last error: " : "";
    char head[160];
    if (STWS_P_LOAD(&c->stop) || (!left && !lost_output)) {
        stws_p_end(c, STWS_CLOSED);
        return;
    }
    if (left)
        snprintf(head, sizeof head, "ended with %zu frames that were not sent or not confirmed%s",
                 left, last);
    else snprintf(head, sizeof head, "ended before all output was written%s", last);
    stws_p_say_before(c, STWS_ERR_LOST, head);
    stws_p_end(c, STWS_ERR_LOST);
}

/* Milliseconds before the next attempt. Before the end that was asked for there have to be
   some attempts more. */
static long long stws_p_retry_ms(stws *c, int at_once, int asked) {
    long long ms = at_once ? 0 : stws_p_backoff_ms(c),
              most = asked ? (c->end_us - c->now) / STWS_P_US / 4 : ms;
    if (asked && most < 100) most = 100;
    return ms > most ? most : ms;
}

/* What a failure tells about the next attempt. */
enum {
    STWS_P_PASSING, /* nothing: it may succeed */
    /* it will fail, too, unless the server changes: which it may where there was a session */
    STWS_P_REFUSED,
    STWS_P_DENIED, /* the same, unless it brings other credentials */
    STWS_P_FINAL   /* it will fail; or the program has asked for the end */
};

static int stws_p_url_count(const stws *c) {
    int count = 0;
    while (c->o.urls && c->o.urls[count]) count++;
    return count;
}

/* Does a failure of that kind end the client? See options.give_up. Before the first session
   each URL is tried. */
static int stws_p_gives_up(const stws *c, int kind) {
    if (kind == STWS_P_PASSING || kind == STWS_P_FINAL) return kind == STWS_P_FINAL;
    if (c->o.give_up == STWS_GIVE_UP_NEVER) return 0;
    if (c->o.give_up == STWS_GIVE_UP_SOON) return 1;
    if (!c->has_worked) return c->failures + 1 >= stws_p_url_count(c);
    return kind == STWS_P_DENIED && !c->o.before_connect;
}

/* An attempt that failed after TCP: the next one begins with another address of the host. */
static void stws_p_note_address(stws *c) {
    int reached = c->state == STWS_TLS || c->state == STWS_UPGRADING || c->state == STWS_LOGGING_IN;
    if (reached && !c->o.transport) c->unlucky = c->tcp.reached;
}

/* This attempt or session is over, c->error says why: end, or wait for the next attempt.
   Always 1: a new state. */
static int stws_p_lost(stws *c, int kind) {
    int final = stws_p_gives_up(c, kind);
    int again = c->renewing, asked = STWS_P_LOAD(&c->asked) || STWS_P_LOAD(&c->stop), lost_output,
        gave_up;
    /* DISCONNECT: what is left is of transactions that are open */
    int said = asked && c->state == STWS_CLOSING;
    size_t left, unconfirmed;
    char head[64];
    /* what is asked for from here on is for the next attempt */
    STWS_P_STORE(&c->reconnect_asked, 0);
    c->now = c->clock.now_us(c->clock.ctx); /* callbacks may have taken their time */
    if (c->state == STWS_CONNECTED && c->now - c->session_us >= stws_p_ms(c->o.stable_ms))
        c->failures = 0;
    c->failures += !again;
    stws_p_note_address(c);
    if (c->state == STWS_CONNECTED && !again) stws_p_hold_trial(c);
    stws_p_lock(c);
    lost_output = c->s.version && (c->state != STWS_CLOSING || c->disconnect_number) &&
                  (c->write_error || (c->close_sent ? c->unwritten : stws_p_pending(&c->s.out)));
    unconfirmed = c->s.unconfirmed;
    stws_p_unlock(c);
    stws_p_leave_session(c);
    stws_p_lock(c);
    left = said ? unconfirmed : c->s.outbox.count;
    stws_p_unlock(c);
    if (again && lost_output)
        stws_p_say_before(c, STWS_ERR_LOST,
                          "output is lost, as the server did not take it in close_timeout_ms: ");
    c->retry_ms = -1;
    c->event_due = 1;
    gave_up = c->o.reconnect_attempts > 0 && c->failures > c->o.reconnect_attempts && !again;
    final |= (c->o.reconnect == STWS_OFF && !again) || gave_up || said;
    if (asked && (final || !left || STWS_P_LOAD(&c->stop) || stws_p_until(c, c->end_us) == 0)) {
        stws_p_end_asked(c, left, lost_output);
    } else if (final) {
        snprintf(head, sizeof head, "gave up after %d attempts; the last: ", c->failures);
        if (gave_up) stws_p_say_before(c, STWS_ERR_GAVE_UP, head);
        stws_p_end(c, c->error);
    } else {
        c->retry_ms = stws_p_retry_ms(c, again, asked);
        c->deadline_us = c->now + c->retry_ms * STWS_P_US;
    }
    c->retry_after_ms = 0;
    return 1;
}

static const char *stws_p_pick_url(stws *c) {
    int count = stws_p_url_count(c);
    if (!count) return c->o.url;
    if (c->url_index < 0)
        c->url_index = c->o.shuffle_urls ? (int)stws_p_random_up_to(c, count - 1) : 0;
    return c->o.urls[c->url_index++ % count];
}

/* Ask before_connect. 1: go on; 0: not yet, or ended. */
static int stws_p_may_connect(stws *c) {
    int answer;
    if (!c->o.before_connect) return 1;
    c->calling++;
    answer = c->o.before_connect(c, &c->try_now, c->o.user);
    c->calling--;
    c->put_off = answer > 0;
    if (answer == 0) return 1;
    if (answer > 0) {
        c->deadline_us = c->now + stws_p_ms(answer);
    } else {
        stws_p_say(c, STWS_ERR_USAGE, "before_connect ended the client");
        stws_p_lost(c, STWS_P_FINAL);
    }
    return 0;
}

/* Ask at c->url: everything is as before the first byte. */
static void stws_p_begin_url(stws *c) {
    stws_p_lock(c);
    stws_p_session_reset(&c->s, c->now);
    c->write_error = 0;
    c->http_scanned = 0;
    c->answer_over = 0;
    stws_p_unlock(c);
    STWS_P_STORE(&c->http_status, 0);
    STWS_P_STORE(&c->close_code, 0);
    c->stalled_us = 0;
    stws_p_enter(c, STWS_RESOLVING, stws_p_time_limit(c, c->o.connect_timeout_ms));
}

/* A new attempt: choose, ask, parse; then RESOLVING. */
static void stws_p_begin_attempt(stws *c) {
    const char *why = "";
    if (!c->put_off) {
        c->try_now.number = c->failures + 1;
        c->try_now.url = stws_p_pick_url(c);
        c->try_now.login = c->o.login;
        c->try_now.passcode = c->o.passcode;
        c->try_now.connect_headers = c->o.connect_headers;
        c->try_now.http_headers = c->o.http_headers;
        c->try_now.last_error = (stws_result)c->error;
        c->try_now.last_status = c->http_status;
    }
    stws_p_enter(c, STWS_BACKOFF, c->now);
    if (!stws_p_may_connect(c)) return;
    if (stws_url_parse(c->try_now.url, &c->url, &why) != STWS_OK) {
        stws_p_say(c, STWS_ERR_URL, "before_connect has brought a URL that cannot be used: %s",
                   why);
        stws_p_lost(c, STWS_P_FINAL);
        return;
    }
    c->redirects = 0;
    stws_p_begin_url(c);
}

/* Fill the address list: 1, or 0 when the attempt failed. */
static int stws_p_resolve(stws *c, const char *host) {
    int result, i, local;
    /* Nothing is read before the connection stands. */
    c->tcp.addresses = (stws_p_address *)(void *)c->block_in;
    c->tcp.count = c->tcp.next = 0;
    c->tcp.race_us = 0;
    c->tcp.error = 0;
    for (i = 0; !c->tcp.proxy && c->o.addresses && c->o.addresses[i]; i++)
        if (!stws_p_tcp_numeric(&c->tcp, c->o.addresses[i]))
            stws_p_tcp_resolve(&c->tcp, c->o.addresses[i], 1);
    if (c->tcp.count || stws_p_tcp_numeric(&c->tcp, host)) return 1;
    result = i ? EAI_NONAME : stws_p_tcp_resolve(&c->tcp, host, 0);
    c->now = c->clock.now_us(c->clock.ctx);
    stws_p_tcp_interleave(&c->tcp);
    if (result == 0) return 1;
    /* which small containers do not know */
    local = stws_p_equal_nocase(host, strlen(host), "localhost", 9);
    stws_p_say(c, STWS_ERR_RESOLVE, "the %shost name \"%s\" could not be resolved: %s%s",
               c->tcp.proxy ? "proxy's " : "", host, gai_strerror(result),
               local ? "; add it to /etc/hosts, or use 127.0.0.1" : "");
    return 0;
}

/* Is there a proxy for this attempt, and for what to ask it: the host, or one of the
   addresses, one attempt after the other. 0 when it cannot be used. */
static int stws_p_choose_proxy(stws *c, const char *host) {
    const char *url = STWS_P_HAS_PROXY ? c->o.proxy : NULL, *const *addresses = c->o.addresses;
    int count = 0;
    if (url && strcmp(url, STWS_PROXY_FROM_ENVIRONMENT) == 0)
        url = stws_p_proxy_from_environment(host, c->url.secure);
    if (!url) return 1;
    memset(c->proxy, 0, sizeof *c->proxy);
    c->tcp.proxy = c->proxy;
    if (!stws_p_proxy_parse(&c->proxy->at, url)) {
        stws_p_say(c, STWS_ERR_USAGE, "the environment's proxy: %s", stws_p_no_proxy);
        return 0;
    }
    while (addresses && addresses[count]) count++;
    if (count) host = addresses[(c->try_now.number - 1) % count];
    snprintf(c->proxy->target, sizeof c->proxy->target, "%s", host);
    return 1;
}

STWS_P_APART static int stws_p_turn_resolving(stws *c) {
    char host[256];
    snprintf(host, sizeof host, "%.*s", (int)c->url.host_len, c->url.host);
    if (!c->o.transport) stws_p_tcp_init(&c->tcp, &c->clock, &c->io);
    if (!stws_p_choose_proxy(c, host)) return stws_p_lost(c, STWS_P_FINAL);
    if (c->tls && c->url.secure) {
        c->locked_random.ctx = c;
        c->locked_random.fill = stws_p_client_random;
        stws_p_tls_plug(c->tls, &c->o, &c->locked_random, &c->tcp, &c->io);
    } else if (!c->o.transport && c->url.secure) {
        stws_p_say(c, STWS_ERR_TLS,
                   "%s needs TLS: compile the implementation with STOMP_WS_BEARSSL, or set option "
                   "tls (and let a wss:// URL be in the options from the beginning)",
                   stws_p_where(c));
        return stws_p_lost(c, STWS_P_FINAL);
    }
    if (!c->o.transport && !stws_p_resolve(c, c->tcp.proxy ? c->tcp.proxy->at.host : host))
        return stws_p_lost(c, STWS_P_PASSING);
    stws_p_tcp_begin_behind(&c->tcp, &c->unlucky);
    stws_p_enter(c, STWS_CONNECTING, stws_p_time_limit(c, c->o.connect_timeout_ms));
    return 1;
}

static int stws_p_grow_output(stws *c, size_t need);

/* Write this attempt's upgrade request; without room it is measured. */
static int stws_p_write_upgrade(const stws *c, char *buf, size_t cap, size_t *need) {
    stws_handshake h = {&c->url,           c->key,
                        c->o.subprotocols, c->o.origin,
                        stws_p_cookies(c), c->try_now.http_headers};
    return stws_handshake_request(buf, cap, &h, need);
}

/* Write the upgrade request into the output. */
static int stws_p_post_upgrade(stws *c) {
    unsigned char random[16];
    size_t need = 0;
    int result;
    if (stws_p_client_random(c, random, sizeof random) != 0) return STWS_ERR_IO;
    stws_handshake_key(random, c->key);
    stws_p_lock(c);
    result = stws_p_write_upgrade(c, c->s.out.data, c->s.out.cap, &need);
    if (result == STWS_ERR_SPACE && stws_p_grow_output(c, need))
        result = stws_p_write_upgrade(c, c->s.out.data, c->s.out.cap, &need);
    if (result == STWS_OK) c->s.out.end = need;
    stws_p_unlock(c);
    return result;
}

/* Show the trace an HTTP head: a first line of ours, and its headers. */
static void stws_p_trace_head(stws *c, stws_direction direction, const char *first_line,
                              const stws_http *head) {
    stws_frame frame;
    memset(&frame, 0, sizeof frame);
    frame.command = first_line;
    frame.headers = head->headers;
    frame.header_count = head->header_count;
    stws_p_trace(&c->s, direction, &frame);
}

/* The request is written once more, into the input, which is still empty, and taken apart
   there. If it does not fit, only its first line is shown. */
STWS_P_APART static void stws_p_trace_upgrade(stws *c) {
    const char *target = c->url.target_len ? c->url.target : "/";
    size_t len = stws_p_public_len(target), need = 0;
    stws_http head;
    char word[128];
    if (!c->o.on_trace) return;
    memset(&head, 0, sizeof head);
    head.headers = c->s.parser.headers;
    head.max_headers = c->o.max_headers;
    head.max_bytes = c->s.in.cap;
    if (stws_p_write_upgrade(c, c->s.in.data, c->s.in.cap, &need) == STWS_OK)
        stws_handshake_parse(c->s.in.data, need, &head, &need);
    snprintf(word, sizeof word, "GET %.*s%s HTTP/1.1", (int)stws_p_within(len, 0, 90), target,
             target[len] ? "***" : "");
    stws_p_lock(c);
    stws_p_trace_head(c, STWS_SENT, word, &head);
    stws_p_unlock(c);
}

/* 1 when the state changed, 0 when more is needed. */
static int stws_p_turn_connecting(stws *c) {
    const char *why = NULL;
    char host[256];
    stws_endpoint to = {host, c->url.port, c->url.secure};
    int result, refused, asked = stws_p_proxy_asked(&c->tcp);
    snprintf(host, sizeof host, "%.*s", (int)c->url.host_len, c->url.host);
    c->opened = 1;
    result = c->io.open(c->io.ctx, &to);
    if (!asked && stws_p_proxy_asked(&c->tcp))
        c->deadline_us = stws_p_time_limit(c, c->o.connect_timeout_ms); /* the proxy's own time */
    if (c->state == STWS_CONNECTING && stws_p_tls_begun(c->tls))
        stws_p_enter(c, STWS_TLS, stws_p_time_limit(c, c->o.connect_timeout_ms));
    if (result == STWS_MORE) return 0;
    if (result < 0) {
        if (c->io.error) why = c->io.error(c->io.ctx);
        why = stws_p_or(why, stws_result_text(result));
        stws_p_say(c, result, "no connection to %s port %d: %s", host, to.port, why);
        refused = result == STWS_ERR_TLS_TRUST ||
                  (result == STWS_ERR_TLS && stws_p_tls_is_final(c->tls)) ||
                  (result == STWS_ERR_PROXY && c->tcp.proxy && c->tcp.proxy->final);
        return stws_p_lost(c, refused ? STWS_P_REFUSED : STWS_P_PASSING);
    }
    result = stws_p_post_upgrade(c);
    if (result != STWS_OK) {
        stws_p_say(c, result, "%s",
                   result == STWS_ERR_SPACE ? "the upgrade request does not fit into tx_buffer"
                   : result == STWS_ERR_IO
                       ? "the system gives no random numbers"
                       : "a header of the upgrade request is not valid (before_connect?)");
        return stws_p_lost(c, STWS_P_FINAL);
    }
    stws_p_trace_upgrade(c);
    stws_p_enter(c, STWS_UPGRADING, stws_p_time_limit(c, c->o.handshake_timeout_ms));
    return 1;
}

/* ---- the upgrade's answer ---- */

static void stws_p_trace_answer(stws *c, const stws_http *answer) {
    char word[64];
    snprintf(word, sizeof word, "HTTP/1.1 %d %.40s", answer->status, answer->reason);
    stws_p_trace_head(c, STWS_RECEIVED, word, answer);
}

/* How long Retry-After (RFC 9110, 10.2.3) asks us to wait: seconds, or a date, which is
   compared with the answer's own Date, as our clock may be wrong. */
static long long stws_p_retry_after_ms(const stws_http *answer) {
    const char *after = stws_p_or(stws_http_header(answer, "Retry-After"), ""), *date;
    long long then, now;
    size_t seconds = 0;
    int number = stws_p_number(after, strlen(after), 1000000, &seconds);
    if (number) return number < 0 ? 1000000000 : (long long)seconds * 1000;
    if (!stws_p_http_date(after, &then)) return 0;
    date = stws_http_header(answer, "Date");
    if (!date || !stws_p_http_date(date, &now)) now = stws_p_system_date();
    return then > now ? (then - now) * 1000 : 0;
}

static int stws_p_status_kind(int status) {
    if (status == 401 || status == 403 || status == 407) return STWS_P_DENIED;
    return stws_p_status_is_final(status) ? STWS_P_REFUSED : STWS_P_PASSING;
}

static int stws_p_refused_upgrade(stws *c, const stws_http *answer, int result, const char *why) {
    const char *culprit = NULL;
    stws_p_input *in = &c->s.in;
    size_t page = in->raw_end - in->raw;
    int whole;
    if (result == STWS_ERR_HTTP_STATUS) {
        if (STWS_P_HAS_TEXTS && stws_http_has_token(answer, "Transfer-Encoding", "chunked"))
            page = stws_p_unchunk(in->data + in->raw, in->data + in->raw, page, &whole);
        c->retry_after_ms = stws_p_retry_after_ms(answer);
        stws_p_say_status(c, answer, in->data + in->raw, page);
        return stws_p_lost(c, stws_p_status_kind(answer->status));
    }
    if (result == STWS_ERR_HTTP_SUBPROTOCOL)
        culprit = stws_http_header(answer, "Sec-WebSocket-Protocol");
    if (result == STWS_ERR_HTTP_EXTENSION)
        culprit = stws_http_header(answer, "Sec-WebSocket-Extensions");
    stws_p_say(c, result, "%s%s%.60s", why, culprit ? ": " : "", stws_p_or(culprit, ""));
    return stws_p_lost(c, STWS_P_REFUSED);
}

/* Where the heads of HTTP were larger than the buffers in the block, these are enough from
   now on. */
static void stws_p_end_upgrade(stws *c) {
    stws_p_input *in = &c->s.in;
    size_t left = in->raw_end - in->raw;
    if (stws_p_pending(&c->s.out) || left > c->o.rx_buffer) return;
    memmove(c->block_in, in->data + in->raw, left);
    stws_p_free_heap_buffers(c);
    in->begin = in->end = in->raw = c->s.out.begin = c->s.out.end = 0;
    in->raw_end = left;
}

/* Is the upgrade refused, and is there more to come of what the server says about it? The
   sentence shall not depend on how the network cuts the answer. So we wait: until the page
   is whole, and not for long. */
static int stws_p_waits_for_page(stws *c) {
    const stws_p_input *in = &c->s.in;
    long long end = c->now + stws_p_ms(STWS_P_PAGE_MS);
    if (!STWS_P_HAS_TEXTS || c->answer_over) return 0;
    if (stws_p_answer_is_whole(in->data + in->raw, in->raw_end - in->raw, c->http_scanned))
        return 0;
    if (c->deadline_us > end) c->deadline_us = end;
    return 1;
}

/* Look at what came: 1 when the state changed, 0 when more is needed. */
STWS_P_APART static int stws_p_turn_upgrading(stws *c) {
    stws_p_input *in = &c->s.in;
    const char *why = "";
    stws_http answer;
    size_t used = 0, need = 0;
    int result;
    memset(&answer, 0, sizeof answer);
    answer.headers = c->s.parser.headers;
    answer.max_headers = c->o.max_headers;
    answer.scanned = c->http_scanned;
    answer.max_bytes = c->has_heap || in->cap > STWS_P_MAX_HEAD ? (size_t)STWS_P_MAX_HEAD : in->cap;
    if (in->raw == in->raw_end || stws_p_waits_for_page(c)) return 0;
    result = stws_handshake_parse(in->data + in->raw, in->raw_end - in->raw, &answer, &used);
    c->http_scanned = answer.scanned;
    if (result == STWS_DONE && !answer.status) result = STWS_ERR_HTTP; /* a request */
    if (result == STWS_MORE) return 0;
    if (result == STWS_ERR_HTTP) stws_p_say_not_http(c, in->data + in->raw, in->raw_end - in->raw);
    if (result == STWS_ERR_HTTP_LIMIT)
        stws_p_say(c, result,
                   "the HTTP head at %s is over %zu bytes or %zu headers (option max_headers)",
                   stws_p_where(c), answer.max_bytes, c->o.max_headers);
    if (result < 0) return stws_p_lost(c, STWS_P_REFUSED);
    in->raw += used;
    in->begin = in->end = in->raw;
    if (answer.status >= 100 && answer.status < 200 && answer.status != 101) return 1;
    STWS_P_STORE(&c->http_status, answer.status);
    stws_p_trace_answer(c, &answer);
    stws_p_keep_head(c, &answer);
    stws_p_keep_cookies(c, &answer);
    if (stws_p_follow_redirect(c, &answer)) {
        stws_p_close_transport(c);
        stws_p_begin_url(c);
        return 1;
    }
    result = stws_handshake_check(&answer, c->key, c->o.subprotocols, NULL, &why);
    if (result != STWS_OK) return stws_p_refused_upgrade(c, &answer, result, why);
    stws_p_lock(c);
    stws_p_end_upgrade(c);
    result = stws_p_post_connect(&c->s, &c->try_now, &need);
    if (result == STWS_ERR_SPACE && stws_p_grow_output(c, need))
        result = stws_p_post_connect(&c->s, &c->try_now, &need);
    stws_p_unlock(c);
    if (result != STWS_OK) {
        stws_p_say(c, result, "CONNECT cannot be sent: %s",
                   result == STWS_ERR_SPACE ? "it does not fit into tx_buffer"
                                            : stws_result_text(result));
        return stws_p_lost(c, STWS_P_FINAL);
    }
    stws_p_enter(c, STWS_LOGGING_IN, stws_p_time_limit(c, c->o.connected_timeout_ms));
    return 1;
}

/* No more of the answer comes, or is waited for: 1 when what is there was enough. */
static int stws_p_end_answer(stws *c) {
    if (!STWS_P_HAS_TEXTS || c->state != STWS_UPGRADING || c->answer_over) return 0;
    c->answer_over = 1;
    return stws_p_turn_upgrading(c);
}

/* The states in which STOMP frames come: they stand together in stws_connection_state. */
static int stws_p_reads_frames(int state) {
    return state >= STWS_LOGGING_IN && state <= STWS_CLOSING;
}

/* ==== >>output: what a session owes the server, and writing it ==== */
/* Let the output grow for a frame that is larger than it: 1, or 0 without a heap. */
static int stws_p_grow_output(stws *c, size_t need) {
    stws_p_buffer *b = &c->s.out;
    char *data;
    if (!c->has_heap || b->busy || need <= b->cap) return 0;
    need += need / 8;
    data = (char *)c->allocator.alloc(c->allocator.ctx, need);
    if (!data) return 0;
    memcpy(data, b->data + b->begin, stws_p_pending(b));
    if (b->on_heap) stws_p_release(c, b->data, b->cap);
    b->end -= b->begin;
    b->begin = 0;
    b->data = data;
    b->cap = need;
    b->on_heap = 1;
    return 1;
}

/* Build a frame into the output, which may have to grow for it. STWS_ERR_SPACE: later;
   STWS_ERR_LIMIT: never. */
static int stws_p_post_growing_locked(stws *c, const stws_frame *frame, int body_is_utf8) {
    size_t need = 0, pending = stws_p_pending(&c->s.out);
    int result = stws_p_post_locked(&c->s, frame, body_is_utf8, &need);
    if (result != STWS_ERR_SPACE) return result;
    if (need > c->s.out.cap && !c->has_heap) return STWS_ERR_LIMIT;
    if (need <= c->s.out.cap || pending > c->o.tx_buffer) return result;
    if (!stws_p_grow_output(c, need + pending)) return pending ? result : (int)STWS_ERR_LIMIT;
    return stws_p_post_locked(&c->s, frame, body_is_utf8, &need);
}

static int stws_p_ask_before_subscribe(stws *c, stws_p_sub *sub, stws_subscribing *asked) {
    int answer;
    asked->handle = sub->handle;
    asked->destination = stws_p_sub_destination(&c->s.subs, sub);
    asked->headers = NULL;
    if (!c->o.before_subscribe) return 0;
    sub->pinned = 1;
    stws_p_unlock(c);
    c->calling++;
    answer = c->o.before_subscribe(c, asked, c->o.user);
    c->calling--;
    stws_p_lock(c);
    sub->pinned = 0;
    return answer;
}

/* Send one SUBSCRIBE: 1; 0 when it has to wait. Under the lock. */
static int stws_p_post_subscribe_locked(stws *c, stws_p_sub *sub) {
    stws_p_session *s = &c->s;
    stws_subscribing asked;
    stws_p_draft draft;
    char id[STWS_P_ID_TEXT];
    int handle = sub->handle, result = STWS_ERR_STATE,
        answer = stws_p_ask_before_subscribe(c, sub, &asked);
    if (sub->handle != handle) return 1; /* unsubscribed meanwhile */
    if (answer > 0) c->hook_us = c->now + stws_p_ms(answer);
    if (answer > 0) return 0;
    if (answer == 0) {
        if (sub->wants_receipt && !sub->receipt) sub->receipt = stws_p_add_receipt(s, handle);
        stws_p_compose_subscribe(s, &draft, sub, asked.headers,
                                 stws_p_receipt_id(id, sub->receipt));
        result = draft.too_many_headers ? (int)STWS_ERR_LIMIT
                                        : stws_p_post_growing_locked(c, &draft.frame, 0);
        if (result == STWS_ERR_SPACE || result == STWS_ERR_IO) return 0;
        s->stats.dropped += result != STWS_OK;
    }
    if (result == STWS_OK) stws_p_receipt_sent(s, sub->receipt, c->now);
    else stws_p_fail_receipt(s, sub->receipt, result);
    if (result != STWS_OK) stws_p_acquit(&s->subs, sub);
    else if (c->error_us == STWS_P_NEVER) stws_p_try_sub(&s->subs, sub, c->now);
    stws_p_sub_enter(&s->subs, sub, result == STWS_OK ? STWS_P_SUB_SENT : STWS_P_SUB_SKIPPED);
    sub->receipt = 0;
    if (!s->subs.unsent) stws_p_signal(c);
    return 1;
}

/* Half of the suspects that are left; the rest comes when the session has outlived these. */
static void stws_p_post_suspects_locked(stws *c) {
    stws_p_subs *t = &c->s.subs;
    int left = (t->suspects + 1) / 2, i;
    for (i = 0; i < t->count && left; i++) {
        stws_p_sub *sub = &t->slots[i];
        if (sub->state != STWS_P_SUB_UNSENT || sub->suspicion == STWS_P_INNOCENT) continue;
        if (sub->pinned || !stws_p_post_subscribe_locked(c, sub)) return;
        left--;
    }
}

static void stws_p_post_subscriptions_locked(stws *c) {
    stws_p_subs *t = &c->s.subs;
    stws_p_sub *sub;
    int trial_is_over = c->error_us == STWS_P_NEVER && c->now >= t->trial_us + STWS_P_TRIAL_US;
    if (c->hook_us > c->now) return;
    c->hook_us = 0;
    if (stws_p_is_careful(t) && !trial_is_over) return;
    if (trial_is_over) stws_p_acquit_all(t);
    if (stws_p_is_careful(t)) {
        stws_p_post_suspects_locked(c);
        return;
    }
    do sub = stws_p_next_unsent(&c->s.subs);
    /* pinned: a caller of ours asks */
    while (sub && !sub->pinned && stws_p_post_subscribe_locked(c, sub));
}

/* The same for those who wait for its end; a transaction goes as a whole. */
static void stws_p_drop_record(stws *c, stws_p_record *r, int result) {
    stws_p_record_drop(&c->s, r, result);
    if (r->tied) stws_p_record_break(&c->s, r);
    stws_p_signal(c);
}

/* Its UNSUBSCRIBE has gone: the subscription that has the id now may go. */
static void stws_p_free_id(stws_p_session *s, const stws_p_record *unsubscribe) {
    const char *id = stws_frame_header(&unsubscribe->frame, "id");
    stws_p_sub *sub = stws_p_find_custom(&s->subs, id, strlen(id));
    if (sub && sub->state == STWS_P_SUB_WAITS_FOR_ID && !stws_p_record_unsubscribes(&s->outbox, id))
        stws_p_sub_enter(&s->subs, sub, STWS_P_SUB_UNSENT);
}

/* Move what waits in the outbox into the output, as far as there is room and no subscription
   is before it. */
static void stws_p_post_outbox_locked(stws *c, long long now) {
    stws_p_record *r;
    while (!stws_p_subs_come_first(&c->s.subs) &&
           (r = stws_p_record_unsent(&c->s.outbox)) != NULL) {
        int stale = r->epoch && r->epoch != c->s.epoch;
        int result = stale ? (int)STWS_ERR_STALE : stws_p_post_growing_locked(c, &r->frame, 0);
        /* later, or in another session */
        if (result == STWS_ERR_SPACE || result == STWS_ERR_IO) return;
        if (result != STWS_OK) stws_p_drop_record(c, r, result);
        r->sent_us = now;
        if (!r->confirm) stws_p_receipt_sent(&c->s, r->receipt, now);
        if (result == STWS_OK) stws_p_record_enter(&c->s, r, STWS_P_RECORD_SENT);
        if (r->frame.command_id == STWS_COMMAND_UNSUBSCRIBE) stws_p_free_id(&c->s, r);
        stws_p_record_taken(&c->s, r);
    }
}

/* A session is about to be left, and its ACKs that wait, also for room, mean nothing in
   another one: they go before all else that waits, as their messages came by subscriptions
   that were sent. Under the lock. */
static void stws_p_post_acks_locked(stws *c) {
    const stws_message *m = c->held == STWS_P_HELD_BY_ACK ? c->hand : NULL;
    stws_p_record *r = stws_p_record_next(&c->s.outbox, NULL);
    stws_p_draft draft;
    for (; r; r = stws_p_record_next(&c->s.outbox, r)) {
        int acknowledges =
            r->frame.command_id == STWS_COMMAND_ACK || r->frame.command_id == STWS_COMMAND_NACK;
        if (!acknowledges || r->epoch != c->s.epoch || r->state != STWS_P_RECORD_WAITING || r->tied)
            continue;
        if (stws_p_post_growing_locked(c, &r->frame, 0) != STWS_OK) return;
        stws_p_record_enter(&c->s, r, STWS_P_RECORD_DONE);
    }
    if (!m || m->epoch != c->s.epoch || STWS_P_LOAD(m->answered)) return;
    if (!stws_p_compose_ack(&c->s, &draft, STWS_COMMAND_ACK, m, NULL)) return;
    if (stws_p_post_growing_locked(c, &draft.frame, 0) == STWS_OK) STWS_P_STORE(m->answered, 1);
}

static void stws_p_post_heartbeat(stws *c) {
    long long idle = c->now - c->s.last_out_us;
    if (!c->s.heartbeat_out_us || idle < c->s.heartbeat_out_us / 2 || stws_p_pending(&c->s.out))
        return;
    if (stws_p_post_short(&c->s, STWS_WS_TEXT, "\n", 1) != STWS_OK) return;
    c->s.stats.heartbeats_out++;
    stws_p_trace_word(&c->s, STWS_SENT, "");
}

/* When a PING is due: ping_ms after the last one, and after the last byte of the direction
   that has been idle for longer, because a proxy may watch either. Until the server has
   answered one, traffic does not put it off: a busy connection, too, has to find out whether
   it may judge the server by its silence. */
static long long stws_p_ping_due(const stws_p_session *s) {
    long long idle = s->last_in_us < s->last_out_us ? s->last_in_us : s->last_out_us;
    if (!s->expected_us) idle = s->last_ping_us;
    return (idle > s->last_ping_us ? idle : s->last_ping_us) + s->ping_us;
}

static void stws_p_post_ping(stws *c) {
    stws_p_session *s = &c->s;
    if (!s->ping_us || c->now < stws_p_ping_due(s) || stws_p_pending(&s->out)) return;
    if (stws_p_post_short(s, STWS_WS_PING, stws_p_ping, sizeof stws_p_ping) != STWS_OK) return;
    s->pinged = 1;
    s->last_ping_us = c->now;
    s->stats.pings_out++;
    stws_p_trace_word(s, STWS_SENT, "PING");
}

/* DISCONNECT with a receipt, once everything before it has gone out. */
static void stws_p_post_disconnect_locked(stws *c) {
    stws_p_draft draft;
    char id[STWS_P_ID_TEXT];
    int number;
    if (c->asked != STWS_P_ASKED_END || c->disconnect_number || c->s.outbox.untaken) return;
    if (c->s.unconfirmed && stws_p_until(c, c->end_us) != 0) return;
    if ((c->in_hand && !*c->hand->answered) ||
        (c->o.queue && stws_p_queue_owes(c->o.queue, c, c->s.epoch)))
        return;
    number = stws_p_number_from(&c->s.next_receipt);
    stws_p_compose_locked(&c->s, &draft, STWS_COMMAND_DISCONNECT);
    stws_p_add(&draft, "receipt", stws_p_receipt_id(id, number));
    if (stws_p_post_growing_locked(c, &draft.frame, 0) != STWS_OK) return;
    c->disconnect_number = number;
    stws_p_enter(c, STWS_CLOSING, c->end_us);
}

/* Everything that is due in a session, in its order: pong, subscriptions, what waits,
   heart-beat, farewell. */
static void stws_p_prepare_output_locked(stws *c) {
    stws_p_session *s = &c->s;
    STOMP_WS_ASSERT(stws_p_has_lock(c));
    if (s->pong_due && !c->close_sent &&
        stws_p_post_short(s, STWS_WS_PONG, s->pong, s->pong_len) == STWS_OK) {
        s->pong_due = 0;
        stws_p_trace_word(s, STWS_SENT, "PONG");
    }
    if (c->state != STWS_CONNECTED || c->renewing || s->no_random) return;
    if (stws_p_subs_come_first(&s->subs)) stws_p_post_subscriptions_locked(c);
    else c->hook_us = 0; /* the one it was about is unsubscribed */
    if (s->outbox.untaken) stws_p_post_outbox_locked(c, c->now);
    stws_p_post_heartbeat(c);
    stws_p_post_ping(c);
    stws_p_post_disconnect_locked(c);
}

/* Write as much as the transport takes: bytes, or an error. Without the lock while it
   writes; only the thread that holds the client does. */
static long stws_p_write_once(stws *c, long long now) {
    stws_p_buffer *b = &c->s.out;
    const char *from;
    size_t len;
    long n;
    STOMP_WS_ASSERT(stws_p_drives(c));
    stws_p_lock(c);
    from = b->data + b->begin;
    len = b->busy ? 0 : stws_p_pending(b);
    b->busy |= len != 0;
    stws_p_unlock(c);
    if (len == 0) return 0;
    n = c->io.write(c->io.ctx, from, len);
    stws_p_lock(c);
    b->busy = 0;
    STOMP_WS_ASSERT(n <= (long)len);
    if (n > 0) {
        b->begin += (size_t)n;
        if (b->begin == b->end) b->begin = b->end = 0;
        c->s.last_out_us = now;
        c->s.stats.bytes_out += (unsigned long long)n;
        c->s.stats.writes++;
        c->stalled_us = 0;
        stws_p_signal(c);
    } else if (n == 0 && !c->stalled_us) {
        c->stalled_us = now;
    }
    stws_p_unlock(c);
    return n;
}

/* Prepare and write until the transport takes no more or nothing is left: 1 when something
   moved; 0; or an error. */
static int stws_p_turn_output(stws *c) {
    int moved = 0, stuck;
    size_t left = 1;
    long n = 1;
    while (n > 0 && left && !c->write_error) {
        stws_p_lock(c);
        if (stws_p_reads_frames(c->state)) stws_p_prepare_output_locked(c);
        left = c->s.outbox.untaken + (size_t)c->s.subs.unsent;
        stws_p_unlock(c);
        n = stws_p_write_once(c, c->now);
        if (n < 0) return (int)n;
        moved |= n > 0;
    }
    stws_p_lock(c);
    stuck = c->s.no_random && !c->write_error && !stws_p_pending(&c->s.out);
    stws_p_unlock(c);
    return stuck ? (int)STWS_ERR_IO : moved; /* what waits goes in the next session */
}

/* ==== >>dispatch: what each frame from the server does ==== */
static void stws_p_event(stws_event *e, stws_event_type type) {
    memset(e, 0, sizeof *e);
    e->type = type;
    e->text = "";
}

/* An event about the frame that came; always 1. */
static int stws_p_frame_event(stws *c, stws_event *e, stws_event_type type) {
    stws_p_event(e, type);
    e->message = &c->s.message;
    return 1;
}

/* Close with a code of ours: one try to say so, then the socket goes. */
static void stws_p_say_goodbye(stws *c, int code, const char *reason) {
    char payload[125];
    size_t len = stws_ws_close_payload(payload, code, reason);
    stws_p_lock(c);
    if (!c->close_sent) c->unwritten = stws_p_pending(&c->s.out);
    if (!c->close_sent && !c->write_error &&
        stws_p_post_short(&c->s, STWS_WS_CLOSE, payload, len) == STWS_OK) {
        c->close_sent = 1;
        stws_p_trace_word(&c->s, STWS_SENT, "CLOSE");
    }
    stws_p_unlock(c);
    while (stws_p_write_once(c, c->now) > 0) continue;
}

/* The same, and the session is over. */
static int stws_p_leave(stws *c, int code, const char *reason, int kind) {
    if (stws_p_reads_frames(c->state)) stws_p_say_goodbye(c, code, reason);
    return stws_p_lost(c, kind);
}

static int stws_p_on_connected(stws *c, stws_event *e) {
    const stws_frame *frame = &c->s.message.frame;
    int accepted;
    stws_p_lock(c);
    accepted = stws_p_accept_connected(&c->s, frame);
    if (accepted) {
        c->s.epoch++;
        c->s.stats.reconnects += c->s.stats.sessions++ > 0;
        c->has_worked = 1;
        c->unlucky.any.sa_family = 0;
        c->s.subs.trial_us = c->now;
        stws_p_enter(c, STWS_CONNECTED, STWS_P_NEVER);
        stws_p_signal(c);
    }
    stws_p_unlock(c);
    if (!accepted) {
        stws_p_say(c, STWS_ERR_VERSION,
                   "the server answers with STOMP version %.20s, which was not offered: see option "
                   "versions",
                   stws_p_or(stws_frame_header(frame, "version"), "1.0"));
        stws_p_leave(c, STWS_P_CLOSE_PROTOCOL, "version", STWS_P_REFUSED);
        return 0;
    }
    c->session_us = c->now;
    c->renew_us = stws_p_session_end(c);
    c->late_us = 0;
    c->slept_us += stws_p_slept(c);
    c->text[0] = 0;
    STWS_P_STORE(&c->error, STWS_OK);
    return stws_p_frame_event(c, e, STWS_EVENT_CONNECTED);
}

/* A receipt's number out of its id, "receipt-17"; 0 when it is none of ours. */
static int stws_p_receipt_number(const char *id) {
    size_t number = 0;
    if (!stws_p_starts(id, "receipt-")) return 0;
    return stws_p_number(id + 8, strlen(id + 8), STWS_P_MAX_NUMBER, &number) == 1 ? (int)number : 0;
}

/* A receipt has come, or its frame was refused: settle what waits for it. 1 when it was one
   of ours. */
static int stws_p_settle(stws *c, int number, int result) {
    stws_p_record *record;
    stws_p_receipt *receipt;
    long long sent_us = 0;
    int confirmed;
    stws_p_lock(c);
    record = stws_p_record_find(&c->s, number);
    receipt = stws_p_find_receipt(&c->s, number);
    confirmed = record && record->confirm;
    if (receipt) {
        sent_us = receipt->sent_us;
        stws_p_finish_receipt(&c->s, receipt, result);
    }
    if (confirmed && record->state == STWS_P_RECORD_SENT) {
        sent_us = record->sent_us;
        /* refused once is enough */
        if (result != STWS_OK && record->tied) stws_p_record_break(&c->s, record);
        if (record->state != STWS_P_RECORD_DONE) stws_p_record_through(&c->s, record);
        stws_p_record_sweep(&c->s);
        if (c->flushing && !c->s.unconfirmed) c->yield = 1;
        stws_p_signal(c);
    }
    if (sent_us) c->s.stats.rtt_us = c->now - sent_us;
    stws_p_unlock(c);
    return receipt || confirmed;
}

static int stws_p_on_receipt(stws *c, stws_event *e) {
    int number = stws_p_receipt_number(stws_p_known_value(&c->s, STWS_P_RECEIPT_ID));
    if (number && number == c->disconnect_number) {
        c->disconnect_number = 0;
        stws_p_say_goodbye(c, STWS_P_CLOSE_NORMAL, "");
        return 0;
    }
    return stws_p_settle(c, number, STWS_OK) ? 0 : stws_p_frame_event(c, e, STWS_EVENT_RECEIPT);
}

/* Does the ERROR refuse the credentials of CONNECT? A broker has only words for that;
   RabbitMQ's "access denied" to a virtual host may mean that this has connections enough. */
static int stws_p_denies(const stws_frame *frame) {
    static const char *const words[] = {
        "assword",      "asscode",         "redential", "ccess refused", "ccess denied", "ogin",
        "ccess Denied", "ccess is denied", "uthentic",  "uthori",        "validate user"};
    size_t i;
    if (stws_p_error_has(frame, "irtual host")) return 0;
    for (i = 0; i < sizeof words / sizeof *words; i++)
        if (stws_p_error_has(frame, words[i])) return 1;
    return 0;
}

/* An ERROR that names a receipt names its culprit: a SUBSCRIBE, or another frame. */
static void stws_p_note_culprit(stws *c, int number) {
    stws_p_subs *t = &c->s.subs;
    const stws_p_receipt *receipt;
    stws_p_sub *culprit;
    int i;
    if (!number) return;
    stws_p_lock(c);
    receipt = stws_p_find_receipt(&c->s, number);
    culprit = receipt && receipt->handle ? stws_p_find_handle(t, receipt->handle) : NULL;
    for (i = 0; t->on_trial && i < t->count; i++)
        if (t->slots[i].on_trial && &t->slots[i] != culprit) stws_p_acquit(t, &t->slots[i]);
    if (culprit) stws_p_try_sub(t, culprit, c->now);
    stws_p_unlock(c);
}

static int stws_p_on_error(stws *c, stws_event *e) {
    int login = c->state == STWS_LOGGING_IN;
    if (c->state == STWS_CLOSING) return 0; /* our DISCONNECT: Spring answers it so */
    stws_p_say_error_frame(c, login ? STWS_ERR_LOGIN : STWS_ERR_BROKER, &c->s.message.frame);
    if (!login && c->error_us == STWS_P_NEVER) {
        stws_p_note_culprit(c, stws_p_receipt_number(stws_p_known_value(&c->s, STWS_P_RECEIPT_ID)));
        stws_p_say_trial(c);
        c->error_us = c->now;
    }
    stws_p_frame_event(c, e, STWS_EVENT_ERROR);
    e->result = (stws_result)c->error;
    e->text = c->text;
    if (login) c->refused = stws_p_denies(&c->s.message.frame) ? STWS_P_DENIED : STWS_P_REFUSED;
    if (login) return 1;
    stws_p_settle(c, stws_p_receipt_number(stws_p_known_value(&c->s, STWS_P_RECEIPT_ID)),
                  STWS_ERR_BROKER);
    if (c->error_close_us == STWS_P_NEVER)
        c->error_close_us = c->now + stws_p_ms(c->o.close_timeout_ms);
    return 1;
}

/* The subscription is out of the table, and nobody hears of its receipt. Under the lock. */
static void stws_p_unsubscribed_locked(stws *c, stws_p_sub *sub) {
    STOMP_WS_ASSERT(stws_p_has_lock(c));
    if (!sub) return;
    stws_p_forget_receipt(&c->s, sub->receipt);
    stws_p_remove_sub(&c->s.subs, sub);
    if (!c->s.subs.unsent) stws_p_signal(c);
}

/* The message in hand is let go: the user is done with it. Where there is no room for its
   ACK nothing more is read until there is: with prefetch nothing more might come anyway.
   When nothing goes out any more there will be none. Only then does its subscription end, if
   the user has unsubscribed it meanwhile. */
STWS_P_APART static void stws_p_let_go_now(stws *c) {
    int ended, full = 0, result;
    if (!c->hand) {
        stws_p_free_kept(c, &c->given);
        return;
    }
    full = !stws_p_acknowledge_on(c->hand, STWS_ACK_ON_HANDOVER | STWS_ACK_ON_RETURN) &&
           !c->write_error;
    stws_p_lock(c);
    ended = c->ends_in_hand && !full ? c->in_hand : 0;
    if (!full) c->in_hand = c->ends_in_hand = 0;
    stws_p_unlock(c);
    if (ended) {
        result = stws_unsubscribe(c, ended);
        full = result == STWS_ERR_FULL && !c->write_error;
        stws_p_lock(c);
        if (full) c->in_hand = ended, c->ends_in_hand = 1;
        else if (result != STWS_OK)
            stws_p_unsubscribed_locked(c, stws_p_find_handle(&c->s.subs, ended));
        stws_p_unlock(c);
    }
    c->held = full ? STWS_P_HELD_BY_ACK : 0;
    if (full) return;
    c->hand = NULL;
    stws_p_free_kept(c, &c->given);
}

static void stws_p_let_go(stws *c) {
    if (c->hand || c->given) stws_p_let_go_now(c);
}

/* The user gets a message: from now on it is in hand, if the library owes its ACK. 0:
   another thread has just unsubscribed it, and an ACK would mean nothing. */
STWS_P_APART static int stws_p_hand_over_now(stws *c, const stws_message *m) {
    int lives;
    stws_p_lock(c);
    lives = stws_p_find_handle(&c->s.subs, m->handle) != NULL;
    if (lives) c->hand = m, c->in_hand = m->handle;
    stws_p_unlock(c);
    return lives;
}

static int stws_p_hand_over(stws *c, const stws_message *m) {
    return !m->ack_on || stws_p_hand_over_now(c, m);
}

/* Give a message to the queue: 1 done, 0 it is full and the message is held back; an error:
   it does not fit. */
static int stws_p_enqueue(stws *c) {
    int result = stws_p_queue_push(c->o.queue, &c->s.message, &c->waiter);
    c->held = result == 0 ? STWS_P_HELD_BY_QUEUE : 0;
    if (result > 0 && c->s.message.ack_on == STWS_ACK_ON_HANDOVER &&
        stws_p_hand_over(c, &c->s.message))
        stws_p_let_go(c);
    if (result == STWS_ERR_LIMIT)
        stws_p_say(c, result, "a message of %zu bytes does not fit into the queue",
                   c->s.message.body_len);
    return result;
}

/* The subscription of a message that names none, as in STOMP 1.0: that of its destination;
   in later versions, which ask for the name, if there is just one. Under the lock. */
static stws_p_sub *stws_p_sub_by_destination_locked(const stws_p_session *s) {
    stws_p_sub *found = NULL;
    int i, seen = 0, count = 0;
    STOMP_WS_ASSERT(stws_p_has_lock(s->client));
    for (i = 0; s->message.destination && i < s->subs.count && seen < s->subs.live; i++) {
        stws_p_sub *sub = &s->subs.slots[i];
        if (!sub->handle) continue;
        seen++;
        if (sub->state == STWS_P_SUB_UNSENT || sub->state == STWS_P_SUB_ASIDE) continue;
        if (strcmp(stws_p_sub_destination(&s->subs, sub), s->message.destination) != 0) continue;
        if (count++ == 0 || sub->handle < found->handle) found = sub;
    }
    return count == 1 || s->version == STWS_STOMP_10 ? found : NULL;
}

/* Who listens? A callback of the subscription's own, or 0. */
static int stws_p_find_receiver(stws *c, stws_message_fn *call, void **user) {
    stws_message *m = &c->s.message;
    stws_p_subs *t = &c->s.subs;
    const stws_header *id = c->s.parser.known[STWS_P_SUBSCRIPTION];
    int handle = id->value ? stws_p_own_id(id->value, id->value_len) : 0;
    *call = NULL;
    if (handle && stws_p_receiver(t, handle, call, user, &m->ack_on)) {
        m->handle = handle;
    } else {
        stws_p_sub *sub;
        stws_p_lock(c);
        sub = id->value ? stws_p_find_custom(t, id->value, id->value_len)
                        : stws_p_sub_by_destination_locked(&c->s);
        c->s.stats.matched_by_destination += sub && !id->value;
        if (sub) {
            m->handle = sub->handle;
            *call = sub->on_message;
            *user = sub->user;
            m->ack_on = (stws_ack_on)sub->ack_on;
        } else if (c->implied && id->value && strcmp(id->value, c->implied->id) == 0) {
            *call = c->implied->on_message;
            *user = c->implied->user;
        }
        stws_p_unlock(c);
    }
    if (!m->handle && !*call) c->s.stats.unknown_subscription++;
    return *call != NULL;
}

/* 1: an event; 0: delivered otherwise, or held back. */
static int stws_p_on_message_frame(stws *c, stws_event *e) {
    stws_message_fn call;
    void *user = NULL;
    c->s.stats.messages_in++;
    stws_p_fill_message(&c->s);
    if (!stws_p_find_receiver(c, &call, &user) && c->calls_back && !c->o.queue) {
        call = c->o.on_message;
        user = c->o.user;
    }
    if (call) {
        stws_ack_on owed = c->s.message.ack_on;
        if (owed && !stws_p_hand_over_now(c, &c->s.message)) return 0;
        c->calling++;
        call(c, &c->s.message, user);
        c->calling--;
        if (owed) stws_p_let_go(c);
        return 0;
    }
    if (c->o.queue && stws_p_enqueue(c) >= 0) return 0;
    return stws_p_frame_event(c, e, STWS_EVENT_MESSAGE);
}

/* What a frame does: 1 when it makes an event. */
static int stws_p_on_frame(stws *c, stws_event *e) {
    stws_command command = c->s.message.frame.command_id;
    int login = c->state == STWS_LOGGING_IN;
    if (command == STWS_COMMAND_MESSAGE && !login) return stws_p_on_message_frame(c, e);
    stws_p_fill_message(&c->s);
    if (command == STWS_COMMAND_CONNECTED && login) return stws_p_on_connected(c, e);
    if (command == STWS_COMMAND_ERROR) return stws_p_on_error(c, e);
    if (command == STWS_COMMAND_RECEIPT && !login) return stws_p_on_receipt(c, e);
    return stws_p_frame_event(c, e, STWS_EVENT_UNHANDLED);
}

/* SockJS frames begin o, h, a[ or c[; no STOMP frame does. */
static int stws_p_looks_like_sockjs(const stws *c) {
    const char *at = c->s.in.data + c->s.in.begin;
    size_t len = c->s.in.end - c->s.in.begin;
    if (c->state != STWS_LOGGING_IN || len == 0) return 0;
    return ((*at == 'o' || *at == 'h') && len == 1) ||
           ((*at == 'a' || *at == 'c') && (len == 1 || at[1] == '[')) ||
           (*at == 'o' && (at[1] == 'a' || at[1] == 'h'));
}

/* The session is about to end, maybe with a frame that cannot be read to its end: it is
   traced. An ERROR says why all the same, and what it is about ends: 1. *kind is that of the
   loss. */
static int stws_p_on_broken_frame(stws *c, int error, int *kind) {
    const stws_p_input *in = &c->s.in;
    int login = c->state == STWS_LOGGING_IN, is_error;
    char quote[48];
    stws_frame frame;
    *kind = STWS_P_PASSING;
    if (error == STWS_ERR_FRAME_COMMAND)
        stws_p_trace_word(
            &c->s, STWS_RECEIVED,
            stws_p_quote(quote, sizeof quote, in->data + in->begin, in->end - in->begin));
    if (!stws_p_reads_frames(c->state) || !stws_p_broken_frame(c, error, &frame)) return 0;
    is_error = frame.command_id == STWS_COMMAND_ERROR;
    if (is_error || (error <= STWS_ERR_FRAME_HEADER && error >= STWS_ERR_FRAME_BODY))
        stws_p_trace(&c->s, STWS_RECEIVED, &frame);
    if (!is_error || c->state == STWS_CLOSING || c->error_close_us != STWS_P_NEVER) return 0;
    stws_p_say_error_frame(c, login ? STWS_ERR_LOGIN : STWS_ERR_BROKER, &frame);
    if (login) *kind = stws_p_denies(&frame) ? STWS_P_DENIED : STWS_P_REFUSED;
    else
        stws_p_settle(c, stws_p_receipt_number(stws_frame_header(&frame, "receipt-id")),
                      STWS_ERR_BROKER);
    return 1;
}

/* The input cannot be read on: the server has closed the WebSocket, which is answered, or
   what it sent is wrong. */
static int stws_p_on_bad_input(stws *c, int error) {
    int too_big = error <= STWS_ERR_FRAME_HEADERS && error >= STWS_ERR_FRAME_BODY;
    int code = too_big ? STWS_P_CLOSE_TOO_BIG : STWS_P_CLOSE_PROTOCOL;
    int kind, told = stws_p_on_broken_frame(c, error, &kind);
    if (error == STWS_ERR_WS_CLOSE) {
        STWS_P_STORE(&c->close_code, c->s.peer_close_code);
        if (!told && c->state != STWS_CLOSING && c->error_close_us == STWS_P_NEVER)
            stws_p_say_closed(c);
        return stws_p_leave(c, c->close_code == STWS_P_CLOSE_NO_CODE ? 0 : c->close_code, "", kind);
    }
    if (error == STWS_ERR_FRAME_COMMAND && stws_p_looks_like_sockjs(c)) error = STWS_ERR_SOCKJS;
    if (c->s.ws.close_code) code = c->s.ws.close_code;
    if (!told) stws_p_say_input(c, error);
    return stws_p_leave(c, code, stws_result_text(error),
                        error == STWS_ERR_SOCKJS ? (int)STWS_P_REFUSED : kind);
}

/* What came at once may be many frames, and each may take its user long: heart-beats,
   answers and what threads want do not wait for the last of them. Time is looked at after
   some frames, and where these are slow after each. The turn that is owed then does not
   read: there is still something to look at. */
enum { STWS_P_FRAMES_AT_ONCE = 16, STWS_P_SLOW_US = 5000 };

static int stws_p_owes_turn(stws *c) {
    const stws_p_input *in = &c->s.in;
    int left = in->begin + c->s.taken < in->end || in->raw < in->raw_end;
    c->owes_turn = left && c->clock.now_us(c->clock.ctx) - c->now >= STWS_P_SLOW_US;
    c->frames_left = c->owes_turn ? 0 : STWS_P_FRAMES_AT_ONCE;
    return c->owes_turn;
}

/* An event out of what is already here: 1, or 0. Never touches the socket but to say goodbye. */
static int stws_p_pull_frames(stws *c, stws_event *e) {
    int result = STWS_DONE;
    c->owes_turn = 0;
    stws_p_let_go(c);
    if (c->held == STWS_P_HELD_BY_QUEUE) stws_p_enqueue(c);
    if (c->held) return 0;  /* it may be the ACK now that has no room */
    c->s.message.epoch = 0; /* its views end, and an ACK of it would name another message */
    while (result == STWS_DONE && stws_p_reads_frames(c->state) && !c->held &&
           !STWS_P_LOAD(&c->stop)) {
        if (c->frames_left < 0 && stws_p_owes_turn(c)) return 0;
        result = stws_p_next_frame(&c->s, &c->s.message.frame);
        if (result == STWS_DONE) c->frames_left--;
        if (result == STWS_DONE && stws_p_on_frame(c, e)) return 1;
        if (result < 0) stws_p_on_bad_input(c, result);
    }
    return 0;
}

/* Is the outbox beyond one of its marks, and nobody was told? Under the lock. */
static int stws_p_crosses_mark_locked(const stws *c) {
    size_t used = stws_p_ring_used(&c->s.outbox);
    STOMP_WS_ASSERT(stws_p_has_lock(c));
    return c->o.outbox_high && (c->above_high ? used <= c->o.outbox_low : used >= c->o.outbox_high);
}

static int stws_p_cross_mark(stws *c) {
    int crosses;
    if (!c->o.outbox_high) return 0;
    stws_p_lock(c);
    crosses = stws_p_crosses_mark_locked(c);
    stws_p_unlock(c);
    if (crosses) c->above_high = !c->above_high;
    return crosses;
}

/* How long it still is to the next attempt: a callback may have taken its time since that
   was decided. */
static long long stws_p_retry_left(const stws *c) {
    long long left = (c->deadline_us - c->clock.now_us(c->clock.ctx)) / STWS_P_US;
    return left > 0 ? left : 0;
}

/* Are there receipts to tell? A call that keeps events for stws_next leaves them in their
   table. */
static int stws_p_receipts_due(const stws *c) {
    return (!c->keeping || c->o.on_event) && STWS_P_LOAD(&c->s.receipts_done) != 0;
}

/* A subscription was set aside, and is still there: 1, and the event. */
static int stws_p_take_aside(stws *c, stws_event *e) {
    int handle = 0;
    if (!STWS_P_LOAD(&c->aside)) return 0;
    stws_p_lock(c);
    handle = c->aside;
    STWS_P_STORE(&c->aside, 0);
    stws_p_unlock(c);
    if (!handle) return 0;
    stws_p_event(e, STWS_EVENT_SUBSCRIPTION_REFUSED);
    e->handle = handle;
    e->result = (stws_result)c->error;
    e->text = c->text;
    return 1;
}

/* An event that no frame brings: a receipt that has ended, the end of a connection, a mark
   of the outbox. */
static int stws_p_pull_other(stws *c, stws_event *e) {
    stws_p_receipt receipt = {0, STWS_P_RECEIPT_FREE, 0, 0, 0, 0, 0};
    int taken = 0, refused = c->refused;
    if (refused) {
        c->refused = STWS_P_PASSING;
        stws_p_leave(c, STWS_P_CLOSE_NORMAL, "", refused);
    }
    if (stws_p_receipts_due(c)) {
        stws_p_lock(c);
        taken = stws_p_take_receipt(&c->s, &receipt);
        stws_p_signal(c); /* who waits for a place in the table */
        stws_p_unlock(c);
    }
    if (taken) {
        stws_p_event(e, STWS_EVENT_RECEIPT);
        e->receipt = receipt.number;
        e->result = (stws_result)receipt.result;
        e->handle = receipt.handle;
        if (receipt.result == STWS_ERR_LOST) e->text = c->text; /* why the session has ended */
    } else if (stws_p_take_aside(c, e)) {
        taken = 1;
    } else if (c->event_due) {
        c->event_due = 0;
        stws_p_event(e, STWS_EVENT_DISCONNECTED);
        e->result = (stws_result)c->error;
        e->text = c->error == STWS_CLOSED ? "the program ended the client" : c->text;
        e->retry_ms = c->retry_ms > 0 ? stws_p_retry_left(c) : c->retry_ms;
        taken = 1;
    } else if (c->state != STWS_ENDED && stws_p_cross_mark(c)) {
        stws_p_event(e, c->above_high ? STWS_EVENT_OUTBOX_HIGH : STWS_EVENT_OUTBOX_LOW);
        taken = 1;
    }
    return taken;
}

/* An event that another call met and kept: 1, or 0. */
static int stws_p_pull_kept(stws *c, stws_event *e) {
    stws_p_let_go(c);
    if (c->held == STWS_P_HELD_BY_ACK) return 0;
    if (c->kept_first) {
        c->given = c->kept_first;
        c->kept_first = c->given->next;
        c->given->next = NULL;
        if (!c->kept_first) c->kept_last = &c->kept_first;
        *e = c->given->event;
    } else {
        c->has_kept = 0;
        *e = c->kept;
    }
    return 1;
}

/* The next event: 1; 0 when the network has to bring something first; negative: the client
   has ended. */
static int stws_p_pull_event(stws *c, stws_event *e) {
    int due = c->refused | c->event_due | stws_p_receipts_due(c) | STWS_P_LOAD(&c->aside);
    if ((c->kept_first || c->has_kept) && !c->keeping) return stws_p_pull_kept(c, e);
    if (due && stws_p_pull_other(c, e)) return 1;
    if (stws_p_pull_frames(c, e) || stws_p_pull_other(c, e)) return 1;
    if (c->state != STWS_ENDED) return 0;
    /* why it has ended is what counts now */
    if (stws_p_refusal.client == c) stws_p_refusal.client = NULL;
    return c->final;
}

static int stws_p_pull(stws *c, stws_event *e) {
    int result = stws_p_pull_event(c, e);
    if (result > 0 && e->type == STWS_EVENT_MESSAGE && !c->keeping) {
        if (!stws_p_hand_over(c, e->message))
            (c->given ? c->given->message : &c->s.message)->ack_on = STWS_ACK_BY_CALL;
        else if (e->message->ack_on == STWS_ACK_ON_HANDOVER && !c->given) stws_p_let_go(c);
    }
    return result;
}

/* ==== >>input: reading ==== */
/* A frame fills the whole buffer: double it, up to the largest frame that the limits allow. */
static int stws_p_grow_input(stws *c) {
    stws_p_input *in = &c->s.in;
    size_t head = c->o.max_line + 65536,
           limit = c->o.max_body > SIZE_MAX - head ? SIZE_MAX : c->o.max_body + head;
    size_t old_cap = in->cap, cap = old_cap > limit / 2 ? limit : old_cap * 2;
    char *old = in->data, *data = NULL;
    if (c->has_heap && cap > old_cap) data = (char *)c->allocator.alloc(c->allocator.ctx, cap);
    if (!data) return 0;
    stws_p_input_gather(in, data);
    if (in->on_heap) stws_p_release(c, old, old_cap);
    in->cap = cap;
    in->on_heap = 1;
    return 1;
}

/* How long the server may be silent. */
static long long stws_p_silence(const stws *c) {
    return c->o.heartbeat_grace <= 0 ? 1LL << 60 : c->s.expected_us * c->o.heartbeat_grace / 100;
}

static void stws_p_note_slack(stws *c) {
    long long left = (c->s.last_in_us + stws_p_silence(c) - c->now) / STWS_P_US;
    if (left < 0) left = 0;
    if (c->s.stats.heartbeat_slack_ms < 0 || left < c->s.stats.heartbeat_slack_ms)
        c->s.stats.heartbeat_slack_ms = left;
}

/* One read: bytes (> 0), 0, or an error. */
static long stws_p_read_once(stws *c) {
    stws_p_input *in = &c->s.in;
    size_t room = stws_p_input_room(in);
    long n;
    STOMP_WS_ASSERT(in->begin <= in->end && in->end <= in->raw && in->raw <= in->raw_end);
    if (room == 0 && !stws_p_grow_input(c)) return STWS_ERR_LIMIT;
    room = in->cap - in->raw_end;
    n = c->io.read(c->io.ctx, in->data + in->raw_end, room);
    if (n <= 0) return n;
    in->raw_end += (size_t)n;
    STOMP_WS_ASSERT(in->raw_end <= in->cap);
    c->s.dry = 0;
    c->s.stats.bytes_in += (unsigned long long)n;
    c->s.stats.reads++;
    c->drained = (size_t)n < room;
    if (c->s.expected_us) stws_p_note_slack(c);
    c->s.last_in_us = c->now;
    return n;
}

/* The stream has broken. After our own farewell that is how it ends. */
static int stws_p_on_io_error(stws *c, long error) {
    int told, kind;
    if (c->state == STWS_CLOSING && STWS_P_LOAD(&c->asked)) return stws_p_lost(c, STWS_P_FINAL);
    if (stws_p_end_answer(c)) return 1;
    told = stws_p_on_broken_frame(c, (int)error, &kind);
    if (error == STWS_ERR_LIMIT) {
        if (!told)
            stws_p_say(c, STWS_ERR_LIMIT, "a message does not fit into rx_buffer (%zu bytes)%s",
                       c->s.in.cap,
                       c->has_heap
                           ? ", and there is no memory to let it grow, or max_body forbids it"
                           : ", which cannot grow in memory of your own: raise option rx_buffer");
        return stws_p_leave(c, STWS_P_CLOSE_TOO_BIG, "message too big", kind);
    }
    if (!told && c->error_close_us == STWS_P_NEVER) stws_p_say_io(c, (int)error);
    /* A server of TLS 1.3 refuses our certificate only now. */
    if (error == STWS_ERR_TLS && c->state == STWS_UPGRADING && stws_p_tls_is_final(c->tls))
        kind = STWS_P_REFUSED;
    return stws_p_lost(c, kind);
}

/* ==== >>timers: heart-beats and deadlines ==== */
/* We come later than we asked to be called, or, when we did not wait, than the last turn was
   over: then neither our silence nor the server's is the server's fault. */
static void stws_p_note_lateness(stws *c, long long last) {
    long long beat = c->s.heartbeat_out_us, late = c->now - (c->due_us > 0 ? c->due_us : last);
    if (!beat || (c->s.expected_us && c->s.expected_us < beat)) beat = c->s.expected_us;
    /* at once cannot be missed */
    if (!c->due_us || !beat || late <= beat / 2 || c->state != STWS_CONNECTED) return;
    c->s.stats.late_loops++;
    c->s.last_in_us += late;
    /* since our last output: so early we had asked to be called */
    if (c->due_us > 0) late += beat / 2;
    if (late <= c->late_us) return;
    c->late_us = late;
    c->late_in_call = c->due_us == STWS_P_NOT_TOLD;
}

/* It is later now; and nobody has been told to come again yet. */
static void stws_p_note_time(stws *c) {
    long long last = c->now;
    c->now = c->clock.now_us(c->clock.ctx);
    stws_p_note_lateness(c, last);
    c->due_us = STWS_P_NOT_TOLD;
}

/* What the system knows of a server that is silent. */
static const char *stws_p_silence_cause(const stws *c) {
#ifdef TIOCOUTQ
    int unacknowledged = 0;
    if (!c->o.transport && ioctl(c->tcp.fd, TIOCOUTQ, &unacknowledged) == 0)
        return unacknowledged
                   ? "nor is what we sent acknowledged: the network or the whole machine is gone"
                   : "its machine acknowledges what we send, so that the server hangs or breaks "
                     "its promise";
#endif
    return (void)c, "the network or the server is gone";
}

static void stws_p_judge_silence(stws *c) {
    long long silent = c->now - c->s.last_in_us;
    if (!c->s.expected_us || silent < stws_p_silence(c)) return;
    stws_p_say(c, STWS_ERR_HEARTBEAT,
               c->s.heartbeat_in_us
                   ? "%s: nothing came for %lld ms, with a heart-beat promised every %lld ms; %s"
                   : "%s: nothing came for %lld ms, though it had answered the PINGs that are sent "
                     "every %lld ms (option ping_ms); %s",
               c->s.heartbeat_in_us ? stws_result_text(STWS_ERR_HEARTBEAT) : "the server is silent",
               silent / STWS_P_US, c->s.expected_us / STWS_P_US, stws_p_silence_cause(c));
    stws_p_lost(c, STWS_P_PASSING);
}

static void stws_p_judge_stall(stws *c) {
    size_t waits;
    stws_p_lock(c);
    waits = c->stalled_us && c->now - c->stalled_us >= stws_p_ms(c->o.write_timeout_ms)
                ? stws_p_pending(&c->s.out)
                : 0;
    stws_p_unlock(c);
    if (!waits || !c->o.write_timeout_ms) return;
    stws_p_say(c, STWS_ERR_IO,
               "the server takes no more data: %zu bytes waited for %d ms (write_timeout_ms)",
               waits, c->o.write_timeout_ms);
    stws_p_lost(c, STWS_P_PASSING);
}

/* Leave a good session for a new one, once what was accepted is written, within
   close_timeout_ms. */
static void stws_p_renew(stws *c) {
    if (c->renewing) return;
    stws_p_turn_output(c);
    stws_p_lock(c);
    c->renewing = 1;
    stws_p_unlock(c);
    c->renew_by_us = c->now + stws_p_ms(c->o.close_timeout_ms);
}

/* 1 when the session was left. */
static int stws_p_turn_renewing(stws *c) {
    int waits;
    stws_p_lock(c);
    stws_p_post_acks_locked(c);
    waits = stws_p_pending(&c->s.out) && !c->write_error && c->now < c->renew_by_us;
    stws_p_unlock(c);
    if (STWS_P_LOAD(&c->asked) || c->state != STWS_CONNECTED) c->renewing = 0;
    return c->renewing && !waits ? stws_p_leave(c, STWS_P_CLOSE_NORMAL, "", STWS_P_PASSING) : 0;
}

/* May age end the session? Not when it is ending already: by the program, after an ERROR, or
   for another new one. */
static int stws_p_may_renew(const stws *c) {
    return !STWS_P_LOAD(&c->asked) && !c->renewing && c->error_close_us == STWS_P_NEVER;
}

/* What time alone brings about, once the socket has been read empty: 1 when it changed the
   state. */
static int stws_p_turn_timers(stws *c) {
    int state = c->state, told, kind;
    if (c->now >= c->deadline_us) {
        if (state == STWS_CLOSING) return stws_p_leave(c, STWS_P_CLOSE_NORMAL, "", STWS_P_FINAL);
        if (stws_p_end_answer(c)) return 1;
        told = stws_p_on_broken_frame(c, STWS_ERR_TIMEOUT, &kind);
        if (!told) stws_p_say_timeout(c);
        return stws_p_leave(c, STWS_P_CLOSE_PROTOCOL, "no CONNECTED", kind);
    }
    if (c->now >= c->error_close_us)
        return stws_p_leave(c, STWS_P_CLOSE_NORMAL, "", STWS_P_PASSING);
    if (stws_p_may_renew(c) && c->now >= c->renew_us) {
        stws_p_say(c, STWS_OK, "the session is over max_session_ms (%d) old: a new one is made",
                   c->o.max_session_ms);
        stws_p_renew(c);
        return 1;
    }
    /* we do not listen: silence means nothing */
    if (c->held || c->owes_turn) c->s.last_in_us = c->now;
    stws_p_lock(c);
    if (c->s.receipts_waiting)
        stws_p_finish_receipts(&c->s, STWS_P_RECEIPT_SENT, c->now, STWS_ERR_TIMEOUT);
    stws_p_unlock(c);
    if (c->state == STWS_CONNECTED) stws_p_judge_silence(c);
    if (c->state == STWS_CONNECTED) stws_p_judge_stall(c);
    return c->state != state;
}

static void stws_p_sooner(long long *first, long long when) {
    if (when < *first) *first = when;
}

/* Is there something that was read, and not looked at? */
static int stws_p_has_unparsed(const stws *c) {
    const stws_p_input *in = &c->s.in;
    return stws_p_reads_frames(c->state) && !c->held && !c->s.dry &&
           (in->begin + c->s.taken < in->end || in->raw < in->raw_end);
}

/* When the client has to be called again even if no descriptor is ready; STWS_P_NEVER, or 0
   for at once. Under the lock. */
static long long stws_p_due_locked(stws *c) {
    const stws_p_session *s = &c->s;
    long long first = c->deadline_us;
    STOMP_WS_ASSERT(stws_p_has_lock(c));
    if (STWS_P_LOAD(&c->stop) || stws_p_receipts_due(c)) return 0;
    if (stws_p_gives_way(c) || c->event_due || c->refused || STWS_P_LOAD(&c->aside)) return 0;
    if (c->state == STWS_IDLE || c->state == STWS_RESOLVING || c->called ||
        stws_p_crosses_mark_locked(c))
        return 0;
    if ((!c->keeping && (c->kept_first || c->has_kept)) || (c->hand && !c->held) ||
        stws_p_has_unparsed(c))
        return 0;
    if (s->no_random && !c->write_error && !stws_p_pending(&s->out)) return 0;
    if (s->pong_due && stws_p_reads_frames(c->state) && !c->close_sent &&
        !stws_p_pending(&s->out) && !c->write_error)
        return 0;
    if (STWS_P_LOAD(&c->asked)) stws_p_sooner(&first, c->end_us);
    if (c->state == STWS_CONNECTING && !c->o.transport && c->tcp.next < c->tcp.count)
        stws_p_sooner(&first, c->tcp.race_us);
    if (c->state != STWS_CONNECTED) return first;
    if (c->renewing) {
        if (!stws_p_pending(&s->out) || c->write_error) return 0;
        stws_p_sooner(&first, c->renew_by_us);
    }
    if (!stws_p_pending(&s->out) && !c->write_error && !c->renewing) {
        int careful = stws_p_is_careful(&s->subs);
        if (careful && !c->hook_us && c->error_us == STWS_P_NEVER)
            stws_p_sooner(&first, s->subs.trial_us + STWS_P_TRIAL_US);
        if (!careful && (s->subs.unsent ? !c->hook_us : s->outbox.untaken)) return 0;
    }
    if (c->hook_us && !c->write_error && !c->renewing) stws_p_sooner(&first, c->hook_us);
    /* what waits is sign of life enough */
    if (s->heartbeat_out_us && !stws_p_pending(&s->out) && !c->write_error)
        stws_p_sooner(&first, s->last_out_us + s->heartbeat_out_us / 2);
    if (s->ping_us && !stws_p_pending(&s->out) && !c->write_error && !c->renewing)
        stws_p_sooner(&first, stws_p_ping_due(s));
    if (s->expected_us && !c->held) stws_p_sooner(&first, s->last_in_us + stws_p_silence(c));
    if (s->receipts_waiting) stws_p_sooner(&first, stws_p_receipt_deadline(s));
    if (c->stalled_us && c->o.write_timeout_ms)
        stws_p_sooner(&first, c->stalled_us + stws_p_ms(c->o.write_timeout_ms));
    stws_p_sooner(&first, c->error_close_us);
    if (stws_p_may_renew(c)) stws_p_sooner(&first, c->renew_us);
    if (c->held != STWS_P_HELD_BY_QUEUE) return first;
    if (!STWS_P_LOAD(&c->waiter.listed)) return 0;                        /* there was room */
    if (c->waiter.fd < 0) stws_p_sooner(&first, c->now + 10 * STWS_P_US); /* nobody can wake us */
    return first;
}

/* ==== >>turn: one non-blocking turn of the state machine ==== */
/* stws_stop: say farewell without waiting for anything. */
static int stws_p_obey_stop(stws *c) {
    stws_p_draft draft;
    size_t need;
    STWS_P_STORE(&c->asked, STWS_P_ASKED_STOP);
    if (c->state == STWS_CONNECTED) {
        stws_p_turn_output(c);
        stws_p_lock(c);
        stws_p_post_acks_locked(c);
        stws_p_compose_locked(&c->s, &draft, STWS_COMMAND_DISCONNECT);
        stws_p_post_locked(&c->s, &draft.frame, 0, &need);
        stws_p_enter(c, STWS_CLOSING, STWS_P_NEVER); /* nothing follows it */
        stws_p_unlock(c);
    }
    return stws_p_leave(c, STWS_P_CLOSE_NORMAL, "", STWS_P_FINAL);
}

/* stws_disconnect: with no connection there is nothing to end, unless something still waits
   to be sent. */
static int stws_p_obey_end(stws *c) {
    size_t waits;
    stws_p_lock(c);
    waits = c->s.outbox.count;
    stws_p_unlock(c);
    if (c->now < c->end_us && (waits || stws_p_reads_frames(c->state))) return 0;
    return stws_p_leave(c, STWS_P_CLOSE_NORMAL, "", STWS_P_FINAL);
}

static void stws_p_obey_reconnect(stws *c) {
    /* an end that was asked for is not cut short */
    if (c->state == STWS_CONNECTED && !STWS_P_LOAD(&c->asked)) {
        stws_p_say(c, STWS_OK, "reconnecting, as stws_reconnect_now asked");
        stws_p_renew(c);
    }
    if (c->state == STWS_BACKOFF) c->deadline_us = c->now;
    /* in any other state a new connection is being made anyway */
    STWS_P_STORE(&c->reconnect_asked, 0);
}

/* Nothing can be written any more: what was sent to us is still read, and then the stream
   has ended. */
static void stws_p_end_output(stws *c, int error) {
    stws_p_lock(c);
    c->write_error = error;
    c->s.out.begin = c->s.out.end = 0;
    c->stalled_us = 0;
    stws_p_signal(c); /* who waits for room waits in vain */
    stws_p_unlock(c);
    c->drained = 0;
}

/* Write, then read: 1 when something moved. */
static int stws_p_turn_stream(stws *c) {
    long n;
    int moved = stws_p_turn_output(c);
    if (moved < 0) stws_p_end_output(c, moved), moved = 0;
    if (c->held || c->owes_turn || (c->drained && !c->write_error)) return moved;
    n = stws_p_read_once(c);
    if (n == 0) c->drained = 1;
    if (n == 0 && c->write_error) n = c->write_error;
    if (n < 0) stws_p_on_io_error(c, n);
    return moved || n != 0;
}

/* After so many turns a call that may not block leaves, and time is looked at, however much
   the network brings. */
enum { STWS_P_TURNS = 64 };

/* In a state that lives on what the network brings: 1 when something moved. */
static int stws_p_turn_network(stws *c) {
    int state = c->state, connecting = state == STWS_CONNECTING || state == STWS_TLS;
    int moved;
    /* a network that always brings more does not stop the clock */
    if (++c->busy_turns >= STWS_P_TURNS) {
        c->busy_turns = 0;
        if (stws_p_turn_timers(c)) return 1;
    }
    moved = connecting ? stws_p_turn_connecting(c) : stws_p_turn_stream(c);
    if (c->state == STWS_UPGRADING) moved |= stws_p_turn_upgrading(c);
    if (moved || c->state != state) return 1;
    c->busy_turns = 0;
    return stws_p_turn_timers(c);
}

/* What was asked for from outside: 1 when it ended the connection, which is to be told first. */
static int stws_p_turn_asked(stws *c) {
    if (STWS_P_LOAD(&c->stop)) return stws_p_obey_stop(c);
    if (STWS_P_LOAD(&c->asked) && stws_p_obey_end(c)) return 1;
    if (STWS_P_LOAD(&c->reconnect_asked)) stws_p_obey_reconnect(c);
    if (c->renewing && stws_p_turn_renewing(c)) return 1;
    return c->state == STWS_ENDED || c->event_due;
}

/* One turn: 1 when something moved, so that another may move more; 0 when it is time to wait. */
static int stws_p_turn(stws *c) {
    if (c->state == STWS_ENDED) return 0;
    stws_p_note_time(c);
    stws_p_lock(c);
    c->called = 0;
    stws_p_unlock(c);
    if (stws_p_turn_asked(c)) return 1;
    switch (c->state) {
    case STWS_IDLE: stws_p_begin_attempt(c); return 1;
    case STWS_BACKOFF:
        if (c->now < c->deadline_us) return 0;
        stws_p_begin_attempt(c);
        return 1;
    case STWS_RESOLVING: return stws_p_turn_resolving(c);
    default: return stws_p_turn_network(c);
    }
}

/* ==== >>driving: waiting, and the calls that run a client ==== */
static int stws_p_add_fd(stws_fd *out, int cap, int n, int fd, int wants) {
    if (fd < 0 || n >= cap || !wants) return n;
    out[n].fd = fd;
    out[n].wants = wants;
    return n + 1;
}

/* Of two times as poll takes them, -1 being no limit, the shorter. */
static int stws_p_at_most(int ms, int limit) {
    return limit >= 0 && (ms < 0 || ms > limit) ? limit : ms;
}

/* A transport without a descriptor has to be asked again and again. */
enum { STWS_P_BLIND_MS = 10 };

/* The descriptors to wait for, and at most how many milliseconds (-1: any): 0 when the
   transport holds data that no descriptor will announce, a few when it has no descriptor. */
static int stws_p_collect_fds(stws *c, stws_fd *out, int cap, int *most_ms) {
    int n = 0, wants = STWS_WANT_READ, asked = wants, pending;
    stws_p_lock(c);
    pending = stws_p_pending(&c->s.out) != 0;
    stws_p_unlock(c);
    *most_ms = -1;
    if (!c->o.transport && c->state == STWS_CONNECTING) {
        n = stws_p_add_fd(out, cap, n, c->tcp.fd, stws_p_proxy_wants(&c->tcp));
        n = stws_p_add_fd(out, cap, n, c->tcp.rival, STWS_WANT_WRITE);
    } else if (c->opened) {
        if (c->held) wants = 0;
        if (pending || c->state == STWS_CONNECTING) wants |= STWS_WANT_WRITE;
        asked = wants;
        if (c->io.wants) wants = c->io.wants(c->io.ctx, wants);
        if ((wants & STWS_WANT_NOW) && !c->held) *most_ms = 0;
        n = stws_p_add_fd(out, cap, n, c->io.fd(c->io.ctx),
                          wants & (STWS_WANT_READ | STWS_WANT_WRITE));
    }
    if (c->opened && asked && !n) *most_ms = stws_p_at_most(*most_ms, STWS_P_BLIND_MS);
    return stws_p_add_fd(out, cap, n, c->wake[0], STWS_WANT_READ);
}

/* This thread drives, and is about to wait: from now on others have to wake it. The due
   time, as stws_p_due_locked. */
static long long stws_p_begin_wait(stws *c) {
    long long due;
    stws_p_lock(c);
    due = stws_p_due_locked(c);
    c->due_us = due;
    c->waiting = c->waited = 1;
    c->frames_left = 0; /* what wakes us may take its time from the first frame on */
    if (c->shared_stats) *c->shared_stats = c->s.stats;
    stws_p_unlock(c);
    return due;
}

/* The wait is over: nobody has to wake us, and whoever did has left what he wants before. */
static void stws_p_end_wait(stws *c) {
    char scrap[64];
    if (!c->waited) return;
    c->waited = 0;
    stws_p_lock(c);
    c->waiting = 0;
    stws_p_unlock(c);
    if (c->wake[0] >= 0)
        while (read(c->wake[0], scrap, sizeof scrap) > 0) continue;
}

/* The same for poll; how many. */
static int stws_p_pollfds(stws *c, struct pollfd *out, int *most_ms) {
    stws_fd fds[3] = {{-1, 0}, {-1, 0}, {-1, 0}};
    int n = stws_p_collect_fds(c, fds, 3, most_ms), i;
    for (i = 0; i < n; i++) {
        out[i].fd = fds[i].fd;
        out[i].revents = 0;
        out[i].events = (short)((fds[i].wants & STWS_WANT_READ ? POLLIN : 0) |
                                (fds[i].wants & STWS_WANT_WRITE ? POLLOUT : 0));
    }
    return n;
}

/* Without a wake pipe, stws_stop from a signal handler just before poll() is seen so much
   later. */
enum { STWS_P_DEAF_MS = 1000 };

/* Make ready to wait: what to poll for, and at most how many milliseconds (-1: any; 0: not
   at all). */
static int stws_p_before_wait(stws *c, struct pollfd *out, int *n) {
    int most_ms, ms = stws_p_until(c, stws_p_begin_wait(c));
    *n = stws_p_pollfds(c, out, &most_ms);
    return c->more ? 0 : stws_p_at_most(ms, most_ms);
}

/* Wait for the network, the clock or another thread, at most limit_ms (-1: no limit). */
static void stws_p_wait(stws *c, int limit_ms) {
    struct pollfd polled[3];
    int n, ms = stws_p_at_most(stws_p_before_wait(c, polled, &n), limit_ms);
    poll(polled, (nfds_t)n, c->wake[0] < 0 ? stws_p_at_most(ms, STWS_P_DEAF_MS) : ms);
    stws_p_end_wait(c);
    c->drained = 0;
}

/* stws_next for a thread that has the client. One that flushes is also called back when
   another wants to drive. */
static int stws_p_next(stws *c, stws_event *e, int timeout_ms) {
    long long until;
    int turns = 0, result, left, moved;
    stws_p_event(e, STWS_EVENT_NONE);
    until = timeout_ms > 0 ? stws_p_in(c, timeout_ms) : STWS_P_NEVER;
    stws_p_end_wait(c);
    c->yield = c->more = 0;
    if (timeout_ms == 0) c->drained = 0;
    for (;;) {
        result = stws_p_pull(c, e);
        if (result != 0 || c->yield) break;
        moved = c->owes_turn;
        moved |= stws_p_turn(c);
        if (moved && (timeout_ms ? c->now < until : ++turns < STWS_P_TURNS)) continue;
        result = stws_p_pull(c, e);
        left = timeout_ms ? stws_p_until(c, until) : 0;
        c->more = (moved && timeout_ms == 0) || (c->owes_turn && left == 0);
        if (result != 0 || left == 0 || c->yield || stws_p_gives_way(c)) break;
        if (!c->owes_turn) stws_p_wait(c, left);
    }
    if (result > 0) c->more = 1; /* behind an event there may be another, or what it lets go out */
    return result;
}

/* Hand an event to the callbacks. */
static void stws_p_dispatch(stws *c, const stws_event *e) {
    c->calling++;
    if (e->type == STWS_EVENT_MESSAGE && c->o.on_message) c->o.on_message(c, e->message, c->o.user);
    else if (c->o.on_event) c->o.on_event(c, e, c->o.user);
    c->calling--;
}

STOMP_WS_API int stws_next(stws *c, stws_event *e, int timeout_ms) {
    int result;
    if (!e) return stws_p_refuse(c, STWS_ERR_USAGE, "stws_next: event is NULL");
    result = stws_p_take_back(c);
    if (result != STWS_OK) {
        stws_p_event(e, STWS_EVENT_NONE);
        return result;
    }
    result = stws_p_next(c, e, timeout_ms);
    STWS_P_STORE(&c->lent, result > 0 ? STWS_P_EVENT : STWS_P_NOTHING);
    stws_p_let_others_drive(c);
    return result;
}

static int stws_p_run(stws *c) {
    stws_event e;
    int result;
    c->calls_back = 1;
    while ((result = stws_p_next(c, &e, -1)) >= 0)
        if (result > 0) stws_p_dispatch(c, &e);
    c->calls_back = 0;
    return result == STWS_CLOSED ? 0 : result;
}

STOMP_WS_API int stws_run(stws *c) {
    int result = stws_p_take_back(c);
    if (result != STWS_OK) return result;
    result = stws_p_run(c);
    stws_p_let_others_drive(c);
    return result;
}

static int stws_p_step(stws *c) {
    stws_event e;
    int result, i;
    for (i = 0; i < 1024; i++) {
        result = stws_p_next(c, &e, 0);
        if (result <= 0) return result;
        stws_p_dispatch(c, &e);
    }
    c->more = 1;
    return 0;
}

STOMP_WS_API int stws_step(stws *c) {
    int result = stws_p_take_back(c);
    if (result != STWS_OK) return result;
    result = stws_p_step(c);
    stws_p_let_others_drive(c);
    return result;
}

/* A loop of the program's own is about to wait: a flush in another thread must wake it. */
static void stws_p_note_loop(stws *c) {
    if (c->threads) STWS_P_STORE(&c->last_driver, stws_p_me());
    STWS_P_STORE(&c->lent, c->lent | STWS_P_LOOP);
}

/* A flush may have read what was to wake that loop, and made its time old. */
static void stws_p_wake_loop(stws *c) {
    if (!(c->lent & STWS_P_LOOP)) return;
    c->waited = 1;
    stws_p_poke(c->wake[1]);
}

STOMP_WS_API int stws_fds(stws *c, stws_fd *out, int cap) {
    int most_ms, n = 0;
    if (!out && cap > 0) return stws_p_refuse(c, STWS_ERR_USAGE, "stws_fds: out is NULL");
    if (stws_p_unusable(c)) return 0;
    n = stws_p_take(c);
    if (n != STWS_OK) return n;
    if (c->state != STWS_ENDED) {
        stws_p_begin_wait(c);
        n = stws_p_collect_fds(c, out, cap, &most_ms);
        stws_p_note_loop(c);
    }
    stws_p_let_others_drive(c);
    return n;
}

STOMP_WS_API long long stws_deadline(stws *c) {
    struct pollfd polled[3];
    int n, ms = 0;
    if (stws_p_unusable(c)) return 0;
    n = stws_p_take(c);
    if (n != STWS_OK) return n;
    if (c->state != STWS_ENDED || c->event_due) ms = stws_p_before_wait(c, polled, &n);
    stws_p_note_loop(c);
    stws_p_let_others_drive(c);
    return ms;
}

enum { STWS_P_MANY = 64 }; /* clients that one poll covers; more are asked every STWS_P_BLIND_MS */

/* Which descriptor belongs to which client does not matter: after a wait all are asked. */
static void stws_p_wait_many(stws *const *clients, int count, int limit_ms) {
    struct pollfd polled[3 * STWS_P_MANY + 3];
    int n = 0, i, ms = limit_ms, each, found;
    for (i = 0; i < count; i++) {
        if (stws_state(clients[i]) == STWS_ENDED) continue;
        each = stws_p_before_wait(clients[i], polled + n, &found);
        if (i < STWS_P_MANY) n += found;
        if (i >= STWS_P_MANY) each = stws_p_at_most(each, STWS_P_BLIND_MS);
        if (clients[i]->wake[0] < 0) each = stws_p_at_most(each, STWS_P_DEAF_MS);
        ms = stws_p_at_most(ms, each);
    }
    poll(polled, (nfds_t)n, ms);
}

/* Sleep until the driving thread has moved something: 1; 0 when the time is over. Under the
   lock, which it leaves meanwhile: so no frame may be half composed. */
static int stws_p_await_driver_locked(stws *c, long long until) {
#ifdef STOMP_WS_NO_THREADS
    return (void)c, (void)until, 0;
#else
    int left = stws_p_until(c, until);
    if (left == 0) return 0;
    if (c->waiting) stws_p_poke(c->wake[1]);
    stws_p_await_change_locked(c, left);
    return 1;
#endif
}

static int stws_p_run_many(stws *const *clients, int count, int timeout_ms) {
    long long until = stws_p_system_clock(NULL) + stws_p_ms(timeout_ms), left;
    int i, alive;
    for (;;) {
        for (alive = 0, i = 0; i < count; i++)
            alive |= !stws_p_unusable(clients[i]) && stws_p_step(clients[i]) >= 0;
        if (!alive) return STWS_OK;
        left = (until - stws_p_system_clock(NULL)) / STWS_P_US;
        if (timeout_ms >= 0 && left <= 0) return STWS_ERR_TIMEOUT;
        stws_p_wait_many(clients, count, timeout_ms < 0 ? -1 : (int)left);
    }
}

STOMP_WS_API int stws_run_many(stws *const *clients, int count, int timeout_ms) {
    int i, result = STWS_OK;
    if (!clients && count > 0)
        return stws_p_refuse(NULL, STWS_ERR_USAGE, "stws_run_many: clients is NULL");
    for (i = 0; i < count && result == STWS_OK; i++)
        if (!stws_p_unusable(clients[i])) result = stws_p_take_back(clients[i]);
    if (result == STWS_OK) result = stws_p_run_many(clients, count, timeout_ms);
    else i--; /* that one was not taken */
    while (i-- > 0)
        if (!stws_p_unusable(clients[i])) stws_p_let_others_drive(clients[i]);
    return result;
}

/* Keep an event for stws_next: a copy of it, as long as all copies take no more than
   rx_buffer bytes; then one more where it lies, and STWS_ERR_FULL: nothing can come before
   stws_next has taken it. */
static int stws_p_keep_event(stws *c, const stws_event *e) {
    size_t head = stws_p_align(sizeof(stws_p_kept)), text = stws_p_align(strlen(e->text) + 1);
    size_t size = head + text + (e->message ? stws_p_message_size(e->message) : 0);
    stws_p_kept *kept = NULL;
    if (c->has_heap && c->kept_bytes + size <= c->o.rx_buffer)
        kept = (stws_p_kept *)c->allocator.alloc(c->allocator.ctx, size);
    if (kept) {
        char *at = (char *)kept + head;
        memset(kept, 0, sizeof *kept);
        kept->size = size;
        kept->event = *e;
        kept->event.text = (const char *)memcpy(at, e->text, strlen(e->text) + 1);
        if (e->message) {
            stws_message *copy = stws_p_message_write(at + text, e->message);
            copy->answered = &kept->answered;
            kept->event.message = kept->message = copy;
        }
        *c->kept_last = kept;
        c->kept_last = &kept->next;
        c->kept_bytes += size;
        return STWS_OK;
    }
    c->kept = *e;
    c->has_kept = 1;
    return stws_p_refuse(
        c, STWS_ERR_FULL,
        "more than rx_buffer bytes of events wait for stws_next: take these first");
}

/* Drive within another call than stws_next: events go to their callbacks, and those without
   one are kept for stws_next; but for CONNECTED and DISCONNECTED, which this call's result
   tells. 1 when there was one, of that type. */
static int stws_p_next_aside(stws *c, int timeout_ms, stws_event_type *type) {
    stws_event e;
    int result;
    *type = STWS_EVENT_NONE;
    if (c->has_kept)
        return stws_p_refuse(c, STWS_ERR_FULL, "an event waits for stws_next: take it first");
    c->keeping++;
    result = stws_p_next(c, &e, timeout_ms);
    c->keeping--;
    if (result <= 0) return result;
    *type = e.type;
    if (c->o.on_event || (e.type == STWS_EVENT_MESSAGE && c->o.on_message)) {
        if (e.type == STWS_EVENT_MESSAGE) (void)stws_p_hand_over(c, e.message);
        stws_p_dispatch(c, &e);
    } else if (e.type != STWS_EVENT_CONNECTED && e.type != STWS_EVENT_DISCONNECTED) {
        result = stws_p_keep_event(c, &e);
        if (result < 0) return result;
    }
    return 1;
}

/* Drive until CONNECTED, or another thread wants to. */
static int stws_p_connect(stws *c, long long until) {
    stws_event_type type;
    while (c->state != STWS_CONNECTED) {
        int left = stws_p_until(c, until), result = stws_p_next_aside(c, left, &type);
        if (result < 0) return result;
        if (result == 0 && left == 0) return c->error ? c->error : (int)STWS_ERR_TIMEOUT;
    }
    return STWS_OK;
}

/* Another thread drives: waits until the client has ended, or, if that is enough, is connected;
   STWS_P_AGAIN if the other thread drives no more before that. */
static int stws_p_await_elsewhere(stws *c, int connected_is_enough, long long until) {
    int result = STWS_P_AGAIN, state;
    stws_p_lock(c);
    stws_p_watch(c, 1);
    while (result == STWS_P_AGAIN && STWS_P_LOAD(&c->driver)) {
        state = STWS_P_LOAD(&c->state);
        if (state == STWS_CONNECTED && connected_is_enough) result = STWS_OK;
        else if (state == STWS_ENDED) result = c->final;
        else if (!stws_p_await_driver_locked(c, until)) result = STWS_ERR_TIMEOUT;
    }
    stws_p_watch(c, -1);
    stws_p_unlock(c);
    return result;
}

/* The same as stws_p_take_back, for a thread that comes beside the one that usually drives:
   while that one looks at an event, wait, and then, after `until`, return STWS_ERR_TIMEOUT. */
static int stws_p_take_beside(stws *c, long long until) {
    for (;;) {
        int result, in_time;
        if (!stws_p_lent_to_others(c)) {
            result = stws_p_take(c);
            if (result != STWS_OK) return result;
            if (!stws_p_lent_to_others(c)) break; /* nor has that changed before we had it */
            stws_p_let_others_drive(c);
        }
        stws_p_lock(c);
        in_time = stws_p_until(c, until) != 0;
        if (in_time) stws_p_await_driver_locked(c, stws_p_in(c, STWS_P_BLIND_MS));
        stws_p_unlock(c);
        if (!in_time) return STWS_ERR_TIMEOUT;
    }
    stws_p_begin_driving(c);
    return STWS_OK;
}

STOMP_WS_API int stws_connect(stws *c, int timeout_ms) {
    long long until;
    int result = stws_p_unusable(c);
    if (result) return result;
    until = stws_p_in(c, timeout_ms);
    do {
        if (c->threads && !stws_p_drives(c) && STWS_P_LOAD(&c->state) == STWS_CONNECTED)
            return STWS_OK;
        result = stws_p_take_beside(c, until);
        if (result == STWS_OK) {
            result = stws_p_connect(c, until);
            stws_p_let_others_drive(c);
        } else if (result == STWS_ERR_STATE && !stws_p_drives(c)) {
            result = stws_p_await_elsewhere(c, 1, until);
        }
    } while (result == STWS_P_AGAIN);
    return result;
}

#ifdef STOMP_WS_NO_THREADS
STOMP_WS_API int stws_start(stws *c) { return c ? STWS_ERR_STATE : STWS_ERR_MEMORY; }

STOMP_WS_API int stws_join(stws *c) { return c ? STWS_ERR_STATE : STWS_ERR_MEMORY; }
#else
static void *stws_p_thread(void *client) {
    stws *c = (stws *)client;
    STWS_P_STORE(&c->last_driver, stws_p_me());
    STWS_P_STORE(&c->driver, stws_p_me());
    c->run_result = stws_p_run(c);
    stws_p_let_others_drive(c);
    return NULL;
}

STOMP_WS_API int stws_start(stws *c) {
    int result = stws_p_unusable(c), made;
    if (result) return result;
    if (!c->threads)
        return stws_p_refuse(c, STWS_ERR_STATE, "stws_start: options.single_thread is set");
    result = stws_p_take_back(c);
    if (result != STWS_OK) return result;
    if (c->running) {
        stws_p_let_others_drive(c);
        return stws_p_refuse(c, STWS_ERR_STATE,
                             "stws_start: the thread of the last one has not been joined");
    }
    /* the new thread has it, whatever that is known by */
    STWS_P_STORE(&c->last_driver, STWS_P_COMING);
    STWS_P_STORE(&c->driver, STWS_P_COMING);
    made = pthread_create(&c->runner, NULL, stws_p_thread, c) == 0;
    c->running = made;
    if (!made) stws_p_let_others_drive(c);
    return made ? STWS_OK
                : stws_p_refuse(c, STWS_ERR_MEMORY, "stws_start: the system gives no thread");
}

STOMP_WS_API int stws_join(stws *c) {
    if (stws_p_unusable(c)) return stws_p_unusable(c);
    if (!c->running)
        return stws_p_refuse(c, STWS_ERR_STATE, "stws_join: no thread of stws_start is running");
    if (stws_p_drives(c))
        return stws_p_refuse(c, STWS_ERR_STATE, "a callback may not wait for its own thread");
    pthread_join(c->runner, NULL);
    c->running = 0;
    if (stws_p_refusal.client == c) stws_p_refusal.client = NULL;
    return c->run_result;
}
#endif

/* ==== >>talking: subscribe, send, acknowledge ==== */
/* Leave the lock, and wake the driving thread if it sleeps. */
static void stws_p_unlock_and_wake(stws *c) {
    int poke = c->waiting;
    c->waiting = 0;
    c->called = 1;
    stws_p_unlock(c);
    if (poke) stws_p_poke(c->wake[1]);
}

STOMP_WS_API void stws_stop(stws *c) {
    if (!c || c->broken) return;
    STWS_P_STORE(&c->stop, 1);
    stws_p_poke(c->wake[1]);
}

STOMP_WS_API int stws_disconnect(stws *c, int timeout_ms) {
    if (stws_p_unusable(c)) return stws_p_unusable(c);
    stws_p_lock(c);
    if (!c->asked) {
        c->end_us = stws_p_in(c, timeout_ms < 0 ? c->o.close_timeout_ms : timeout_ms);
        STWS_P_STORE(&c->asked, STWS_P_ASKED_END);
    }
    stws_p_unlock_and_wake(c);
    return STWS_OK;
}

STOMP_WS_API int stws_close(stws *c, int timeout_ms) {
    int result = stws_p_unusable(c);
    stws_event_type type;
    if (result) return result;
    if (c->threads ? stws_p_drives(c) : c->calling)
        return stws_p_refuse(c, STWS_ERR_STATE,
                             "a callback may not wait for the end: stws_disconnect asks for it");
    stws_disconnect(c, timeout_ms);
    do {
        result = stws_p_take_beside(c, c->end_us);
        /* that thread has had its time */
        if (result == STWS_ERR_TIMEOUT) result = stws_p_take_back(c);
        if (result == STWS_OK) {
            do {
                result = stws_p_next_aside(c, -1, &type);
                /* no room for it: it stays without an ACK, for later */
                if (c->has_kept) c->has_kept = 0, result = 0;
            } while (result >= 0);
            stws_p_let_others_drive(c);
        } else {
            result = stws_p_await_elsewhere(c, 0, STWS_P_NEVER);
        }
    } while (result == STWS_P_AGAIN);
    return result == STWS_CLOSED ? (int)STWS_OK : result;
}

STOMP_WS_API int stws_reconnect_now(stws *c) {
    if (stws_p_unusable(c)) return stws_p_unusable(c);
    stws_p_lock(c);
    STWS_P_STORE(&c->reconnect_asked, 1);
    stws_p_unlock_and_wake(c);
    return STWS_OK;
}

/* Can the frame be said at all? In the version spoken, or, before one is known, in the newest. */
static int stws_p_can_say(const stws *c, const stws_frame *frame) {
    return stws_p_say_head(NULL, c->s.version ? c->s.version : (int)STWS_STOMP_12, frame) != 0;
}

/* May frames go into the output, or are subscriptions before them? */
static inline int stws_p_may_post(const stws *c) {
    return STWS_P_LOAD(&c->state) == STWS_CONNECTED && !stws_p_subs_come_first(&c->s.subs) &&
           !c->write_error && !c->close_sent && !c->renewing && !c->s.no_random;
}

/* How many records have to be dropped from the front, so that one of that size has room: 0
   without need, -1 when room cannot be made so. Tried on a copy of the ring's bounds. */
static int stws_p_drops_for(const stws *c, size_t size) {
    stws_p_ring ring = c->s.outbox;
    size_t at;
    int drops = 0;
    while ((c->o.outbox_count && ring.count >= c->o.outbox_count) ||
           !stws_p_ring_place(&ring, size, &at)) {
        if (c->o.outbox_policy != STWS_FULL_DROP_OLDEST || !ring.count) return -1;
        if (!stws_p_record_may_go(stws_p_record_at(&ring, ring.head))) return -1;
        stws_p_ring_drop(&ring);
        drops++;
    }
    return drops;
}

/* Put a copy of the frame into the outbox; NULL, and *result says why not. */
static stws_p_record *stws_p_queue_frame(stws *c, const stws_frame *frame, int *result) {
    stws_p_ring *outbox = &c->s.outbox;
    int drops;
    *result = STWS_ERR_LIMIT;
    if (!c->has_heap && stws_p_head_bound(frame) + frame->body_len > c->s.out.cap - 15) return NULL;
    if (stws_p_record_size(frame) > outbox->cap) return NULL;
    *result = STWS_ERR_FRAME_BUILD;
    if (!stws_p_can_say(c, frame)) return NULL;
    *result = STWS_ERR_FULL;
    stws_p_record_sweep(&c->s);
    drops = stws_p_drops_for(c, stws_p_record_size(frame));
    if (drops < 0) return NULL;
    for (; drops > 0; drops--) { /* those that were done already are swept along */
        stws_p_record *oldest = stws_p_record_at(outbox, outbox->head);
        size_t count = outbox->count;
        stws_p_drop_record(c, oldest, STWS_ERR_FULL);
        stws_p_record_sweep(&c->s);
        drops -= (int)(count - outbox->count) - 1;
    }
    return stws_p_record_put(outbox, frame);
}

enum { STWS_P_FOR_ANY_SESSION = 0, STWS_P_FOR_THIS_SESSION = 1, STWS_P_CONFIRMED = 2 };

/* A transaction was broken: its parts are refused, and its end is the end of that. */
static int stws_p_refuse_part(stws *c, stws_p_record *begin, stws_command command_id) {
    if (stws_p_record_ends(command_id)) stws_p_record_enter(&c->s, begin, STWS_P_RECORD_DONE);
    stws_p_record_sweep(&c->s);
    return command_id == STWS_COMMAND_ABORT ? (int)STWS_OK : (int)STWS_ERR_STALE;
}

/* There is no room for an ABORT, and what takes it is what is to go: no session gets that
   again. Where this one has got a part of it, it is told, now or, if there is room now, by
   the outbox. */
static int stws_p_abort_anyway(stws *c, const stws_p_draft *draft, stws_p_record *begin) {
    stws_p_ring *outbox = &c->s.outbox;
    stws_p_record *r;
    int begun = begin->state != STWS_P_RECORD_WAITING, result;
    for (r = begin; r; r = stws_p_record_next(outbox, r))
        if (stws_p_record_part_of(r, draft->transaction))
            stws_p_record_drop(&c->s, r, STWS_ERR_STALE);
    stws_p_record_sweep(&c->s);
    stws_p_signal(c);
    if (!begun || (stws_p_may_post(c) && !outbox->untaken &&
                   stws_p_post_growing_locked(c, &draft->frame, draft->body_is_utf8) == STWS_OK))
        return STWS_OK;
    r = stws_p_queue_frame(c, &draft->frame, &result);
    if (r) r->epoch = c->s.epoch;
    return STWS_OK;
}

/* Why nothing new is taken: the client has ended, or is to end. */
static int stws_p_leaving(const stws *c) {
    if (STWS_P_LOAD(&c->state) == STWS_ENDED || STWS_P_LOAD(&c->stop)) return STWS_CLOSED;
    return STWS_P_LOAD(&c->asked) ? (int)STWS_ERR_STATE : (int)STWS_OK;
}

/* Send a composed frame now, or keep it for later. Under the lock. */
static int stws_p_submit_locked(stws *c, const stws_p_draft *draft, int receipt, int kind) {
    const stws_frame *frame = &draft->frame;
    stws_p_record *record, *begin = stws_p_record_begin(&c->s.outbox, draft->transaction, NULL);
    int result, tied = begin || frame->command_id == STWS_COMMAND_BEGIN;
    STOMP_WS_ASSERT(stws_p_has_lock(c));
    if (draft->too_many_headers) return STWS_ERR_LIMIT;
    result = stws_p_leaving(c);
    if (result != STWS_OK &&
        !(kind == STWS_P_FOR_THIS_SESSION && STWS_P_LOAD(&c->state) == STWS_CONNECTED))
        return result; /* what settles a message still goes, before DISCONNECT */
    if (begin && begin->state == STWS_P_RECORD_BROKEN)
        return stws_p_refuse_part(c, begin, frame->command_id);
    if (kind != STWS_P_CONFIRMED && !tied && stws_p_may_post(c) && !c->s.outbox.untaken) {
        result = stws_p_post_growing_locked(c, frame, draft->body_is_utf8);
        if (result == STWS_OK && receipt)
            stws_p_receipt_sent(&c->s, receipt, c->clock.now_us(c->clock.ctx));
        if (result != STWS_ERR_SPACE) return result;
    }
    record = stws_p_queue_frame(c, frame, &result);
    if (!record && begin && frame->command_id == STWS_COMMAND_ABORT)
        return stws_p_abort_anyway(c, draft, begin);
    if (!record) return result;
    record->receipt = receipt;
    record->epoch = kind == STWS_P_FOR_THIS_SESSION ? c->s.epoch : 0;
    if (kind == STWS_P_CONFIRMED) stws_p_record_confirm(&c->s, record, receipt);
    record->tied = (unsigned char)tied;
    if (stws_p_may_post(c)) stws_p_post_outbox_locked(c, c->clock.now_us(c->clock.ctx));
    return STWS_OK;
}

/* Why a call of this section was refused, where its code alone would not tell what to do. */
STWS_P_APART static const char *stws_p_refusal_of(int error) {
    static const stws_p_meaning meanings[] = {
        {STWS_CLOSED, "the client has ended, or stws_stop was called: nothing new is taken"},
        {STWS_ERR_STATE, "stws_disconnect or stws_close was called: nothing new is taken"},
        {STWS_ERR_FULL,
         "the outbox is full: raise option outbox_bytes or outbox_count, or send less"},
        {STWS_ERR_LIMIT,
         "a limit is reached: option max_headers, max_subscriptions, subscription_bytes or "
         "max_receipts, or outbox_bytes or tx_buffer for a frame that is larger"},
        {STWS_ERR_STALE,
         "it belongs to an earlier session, or was let go: its ACK would mean nothing now"},
        {STWS_ERR_IO, "the system gives no random numbers"},
        {0, NULL}};
    const char *why = stws_p_meaning_of(error, meanings);
    return stws_p_or(why, stws_result_text(error));
}

/* A batch is full: write it, unless another thread drives. Under the lock. A socket that
   takes no more is not asked by every call. */
STWS_P_APART static void stws_p_write_batch_locked(stws *c, int result) {
    int mine = stws_p_drives(c), taken = !mine && stws_p_try_take(c, STWS_P_WRITER);
    if ((mine || taken) && (!c->stalled_us || result < 0 || (++c->refusals & 31) == 0)) {
        stws_p_unlock(c);
        stws_p_write_once(c, c->clock.now_us(c->clock.ctx));
        stws_p_lock(c);
    }
    if (taken) STWS_P_SWAP(&c->driver, 0);
    if (taken && c->watchers) stws_p_signal(c);
}

/* The end of every call of this section: write a full batch, and wake the thread that drives. */
static int stws_p_finish_call(stws *c, int result) {
    if (stws_p_pending(&c->s.out) >= STWS_P_BATCH && !c->write_error && c->state == STWS_CONNECTED)
        stws_p_write_batch_locked(c, result);
    if (stws_p_drives(c)) stws_p_unlock(c);
    else stws_p_unlock_and_wake(c);
    return result < 0 ? stws_p_refuse(c, result, stws_p_refusal_of(result)) : result;
}

static int stws_p_header_list_valid(const char *const *list) {
    for (; list && list[0]; list += 2)
        if (!list[1] || !*list[0]) return 0;
    return 1;
}

/* Does the id belong to another subscription that lives? */
static int stws_p_id_taken(const stws_p_subs *t, const char *id) {
    size_t len = strlen(id);
    return *stws_p_custom_link_locked(t, id, len) || stws_p_find_handle(t, stws_p_own_id(id, len));
}

/* Enter a subscription, and its receipt. Under the lock. */
static int stws_p_subscribe_locked(stws *c, const char *destination,
                                   const stws_subscribe_options *o) {
    int handle = stws_p_add_sub_locked(&c->s.subs, destination, o);
    stws_p_sub *sub = stws_p_find_handle(&c->s.subs, handle);
    if (sub && sub->custom_id && stws_p_record_unsubscribes(&c->s.outbox, stws_p_wanted_id(o)))
        stws_p_sub_enter(&c->s.subs, sub, STWS_P_SUB_WAITS_FOR_ID);
    if (!sub || !o->receipt) return handle;
    sub->receipt = stws_p_add_receipt(&c->s, handle);
    if (sub->receipt) return handle;
    stws_p_remove_sub(&c->s.subs, sub);
    return STWS_ERR_LIMIT;
}

/* NULL when it can be used; or a sentence. */
static const char *stws_p_subscription_wrong(const char *destination,
                                             const stws_subscribe_options *o) {
    if (!destination || !*destination) return "stws_subscribe: there is no destination";
    if (!stws_p_header_list_valid(o->headers))
        return "stws_subscribe: headers has a name without a value, or none";
    if ((unsigned)o->ack > STWS_ACK_CLIENT_INDIVIDUAL)
        return "stws_subscribe: ack has to be one of enum stws_ack_mode";
    if ((unsigned)o->ack_on > STWS_ACK_ON_RETURN)
        return "stws_subscribe: ack_on has to be one of enum stws_ack_on";
    if (o->ack == STWS_ACK_AUTO && o->ack_on)
        return "stws_subscribe: with STWS_ACK_AUTO nothing is acknowledged: leave ack_on out";
    return o->prefetch < 0 ? "stws_subscribe: prefetch is negative" : NULL;
}

STOMP_WS_API int stws_subscribe(stws *c, const char *destination,
                                const stws_subscribe_options *options) {
    static const stws_subscribe_options none = {
        NULL, NULL, NULL, STWS_ACK_DEFAULT, STWS_ACK_BY_CALL, 0, 0, NULL, NULL};
    const stws_subscribe_options *o = options ? options : &none;
    const char *id = stws_p_wanted_id(o), *wrong;
    stws_p_draft draft;
    int result;
    if (stws_p_unusable(c)) return stws_p_unusable(c);
    wrong = stws_p_subscription_wrong(destination, o);
    if (wrong) return stws_p_refuse(c, STWS_ERR_USAGE, wrong);
    stws_p_lock(c);
    stws_p_compose_locked(&c->s, &draft, STWS_COMMAND_SUBSCRIBE);
    stws_p_add(&draft, "destination", destination);
    stws_p_add(&draft, "id", id);
    stws_p_add(&draft, "ack", o->ack ? stws_p_ack_mode(o) : NULL);
    stws_p_add_list(&draft, o->headers);
    result = stws_p_leaving(c);
    if (result != STWS_OK) return stws_p_finish_call(c, result);
    if (id && stws_p_id_taken(&c->s.subs, id)) {
        stws_p_finish_call(c, STWS_ERR_USAGE);
        return stws_p_refuse(
            c, STWS_ERR_USAGE,
            "stws_subscribe: another subscription has that id; one that was ended in its own "
            "callback keeps it until the message in hand is acknowledged");
    }
    if (draft.too_many_headers) result = STWS_ERR_LIMIT;
    else if (!stws_p_can_say(c, &draft.frame)) result = STWS_ERR_FRAME_BUILD;
    else result = stws_p_subscribe_locked(c, destination, o);
    return stws_p_finish_call(c, result);
}

/* UNSUBSCRIBE, which names a durable subscription if the broker is to forget it. */
static int stws_p_submit_unsubscribe_locked(stws *c, const stws_p_sub *sub, const char *durable) {
    stws_p_draft draft;
    stws_p_compose_locked(&c->s, &draft, STWS_COMMAND_UNSUBSCRIBE);
    stws_p_add(&draft, "id", stws_p_sub_id(&c->s.subs, sub));
    if (c->s.version == STWS_STOMP_10)
        stws_p_add(&draft, "destination", stws_p_sub_destination(&c->s.subs, sub));
    stws_p_add_durable(&c->s, &draft, durable);
    return stws_p_submit_locked(c, &draft, 0, STWS_P_FOR_THIS_SESSION);
}

/* Has the server got a SUBSCRIBE for it in this session? */
static int stws_p_server_knows(const stws_p_sub *sub) {
    return sub->state == STWS_P_SUB_SENT || sub->state == STWS_P_SUB_ENDED;
}

STOMP_WS_API int stws_unsubscribe(stws *c, int handle) {
    const char *durable;
    stws_p_sub *sub;
    int result = STWS_OK;
    if (stws_p_unusable(c)) return stws_p_unusable(c);
    stws_p_lock(c);
    sub = stws_p_find_handle(&c->s.subs, handle);
    if (handle == c->aside) STWS_P_STORE(&c->aside, 0); /* nobody waits for that any more */
    if (!sub) {
        stws_p_unlock(c);
        return stws_p_refuse(c, STWS_ERR_USAGE,
                             "stws_unsubscribe: no subscription has that handle (any more)");
    }
    if (handle == c->in_hand && !STWS_P_LOAD(c->hand->answered)) {
        c->ends_in_hand = 1; /* its message is to be acknowledged first */
        return stws_p_finish_call(c, STWS_OK);
    }
    if (stws_p_server_knows(sub) && STWS_P_LOAD(&c->state) == STWS_CONNECTED) {
        durable = stws_p_sub_durable(&c->s.subs, sub);
        if (*durable && stws_p_profile_of(c->s.broker)->ends_before_forgets &&
            sub->state != STWS_P_SUB_ENDED)
            result = stws_p_submit_unsubscribe_locked(c, sub, "");
        if (result == STWS_OK) {
            stws_p_sub_enter(&c->s.subs, sub, STWS_P_SUB_ENDED);
            result = stws_p_submit_unsubscribe_locked(c, sub, durable);
        }
    }
    if (result == STWS_OK) stws_p_unsubscribed_locked(c, sub);
    return stws_p_finish_call(c, result);
}

static int stws_p_outgoing_valid(const stws_outgoing *m) {
    return m->destination && *m->destination && (m->body || !m->body_len) &&
           stws_p_header_list_valid(m->headers);
}

/* The content type: what the user says, or, where he does not, the one that keeps Spring
   from taking a body that is not UTF-8 for text, and ruining it. */
static const char *stws_p_content_type(const stws_outgoing *m, int body_is_utf8) {
    const char *const *h = m->headers;
    if (m->content_type || body_is_utf8) return m->content_type;
    for (; h && h[0]; h += 2)
        if (strcmp(h[0], "content-type") == 0) return NULL;
    return "application/octet-stream";
}

/* The draft of a SEND, but for its receipt. STWS_OK, or STWS_ERR_IO without
   randomness. */
static int stws_p_compose_send(stws *c, stws_p_draft *draft, const stws_outgoing *m) {
    stws_p_compose_locked(&c->s, draft, STWS_COMMAND_SEND);
    if (m->body_len) draft->frame.body = m->body;
    draft->frame.body_len = m->body_len;
    draft->frame.content_length = m->content_length;
    draft->body_is_utf8 = stws_utf8_valid(m->body, m->body_len);
    stws_p_add(draft, "destination", m->destination);
    stws_p_add(draft, "content-type", stws_p_content_type(m, draft->body_is_utf8));
    stws_p_add_transaction(draft, m->transaction);
    if (m->headers) stws_p_add_list(draft, m->headers);
    return stws_p_add_stable_id(&c->s, draft) ? (int)STWS_OK : (int)STWS_ERR_IO;
}

/* A SEND with a receipt of ours. Returns its number if the user wants to hear of it, 0, or
   an error. Under the lock. */
static int stws_p_submit_with_receipt_locked(stws *c, stws_p_draft *draft, int told) {
    int number = told ? stws_p_add_receipt(&c->s, 0) : stws_p_number_from(&c->s.next_receipt),
        result;
    char id[STWS_P_ID_TEXT];
    if (!number) return STWS_ERR_LIMIT;
    stws_p_add(draft, "receipt", stws_p_receipt_id(id, number));
    result = stws_p_submit_locked(c, draft, number,
                                  c->o.confirm ? STWS_P_CONFIRMED : STWS_P_FOR_ANY_SESSION);
    if (result != STWS_OK && told) stws_p_forget_receipt(&c->s, number);
    return result == STWS_OK && told ? number : result;
}

/* Say the ACK of a message that is given back. Where there is no room, another thread may
   make some; 0: it did not. */
static int stws_p_acknowledge_waiting(const stws_message *m, int timeout_ms) {
    stws *c = STWS_P_LOAD(&m->client);
    long long until = 0;
    int goes_on, ends = 0;
    while (!ends && !stws_p_acknowledge_on(m, STWS_ACK_ON_RETURN)) {
        if (!until) until = timeout_ms < 0 ? STWS_P_NEVER : stws_p_in(c, timeout_ms);
        stws_p_lock(c);
        ends = c->write_error != 0 || c->going; /* of its session */
        goes_on =
            ends || (timeout_ms != 0 && stws_p_may_wait(c) && stws_p_await_driver_locked(c, until));
        stws_p_unlock(c);
        if (!goes_on) return 0;
    }
    return 1;
}

/* Are all max_receipts taken that a message could be told by? */
static int stws_p_lacks_receipts(const stws *c, const stws_outgoing *m) {
    return m->receipt && c->s.receipts_waiting + c->s.receipts_done == c->o.max_receipts;
}

/* There is no room for a message. STWS_P_AGAIN: there may be some now; else the error. */
static int stws_p_await_room(stws *c, long long *until, int error) {
    if (error >= 0 || c->o.outbox_policy != STWS_FULL_BLOCK || !stws_p_may_wait(c)) return error;
    if (!*until) *until = stws_p_in(c, c->o.outbox_block_ms);
    return stws_p_await_driver_locked(c, *until) ? (int)STWS_P_AGAIN : (int)STWS_ERR_TIMEOUT;
}

/* A message like the one before, when nothing has to wait: 1 when it is on its way; 0: all
   the rest is to be done. */
static int stws_p_send_again(stws *c, const stws_outgoing *m) {
    int bare = m->content_length == STWS_CONTENT_LENGTH_JMS_TEXT
                   ? stws_p_profile_of(c->s.broker)->takes_bare_as_text
                   : m->content_length == STWS_CONTENT_LENGTH_OMIT;
    if (bare || m->receipt || m->transaction || m->headers) return 0;
    if (c->o.confirm || c->o.stable_id || c->o.binary || c->o.on_trace) return 0;
    if (STWS_P_LOAD(&c->stop) || STWS_P_LOAD(&c->asked) || !stws_p_may_post(c) ||
        c->s.outbox.untaken)
        return 0;
    return stws_p_was_said(&c->s, m->destination, m->content_type) &&
           stws_utf8_valid(m->body, m->body_len) && stws_p_post_again(&c->s, m->body, m->body_len);
}

STOMP_WS_API int stws_send_ex(stws *c, const stws_outgoing *m) {
    long long until = 0;
    stws_p_draft draft;
    int result;
    if (stws_p_unusable(c)) return stws_p_unusable(c);
    if (!m || !stws_p_outgoing_valid(m))
        return stws_p_refuse(c, STWS_ERR_USAGE,
                             "stws_send: there is no message or destination, body is NULL with a "
                             "length, or headers has a name without a value");
    stws_p_lock(c);
    if (stws_p_send_again(c, m)) return stws_p_finish_call(c, STWS_OK);
    do {
        result = stws_p_compose_send(c, &draft, m);
        if (result != STWS_OK) break;
        result = m->receipt || c->o.confirm
                     ? stws_p_submit_with_receipt_locked(c, &draft, m->receipt)
                     : stws_p_submit_locked(c, &draft, 0, STWS_P_FOR_ANY_SESSION);
        if (result == STWS_ERR_FULL || stws_p_lacks_receipts(c, m))
            result = stws_p_await_room(c, &until, result);
    } while (result == STWS_P_AGAIN);
    return stws_p_finish_call(c, result);
}

STOMP_WS_API int stws_send(stws *c, const char *destination, const void *body, size_t body_len) {
    stws_outgoing m = {destination, (const char *)body,      body_len, NULL, NULL, NULL,
                       0,           STWS_CONTENT_LENGTH_SEND};
    return stws_send_ex(c, &m);
}

STOMP_WS_API int stws_send_text(stws *c, const char *destination, const char *text) {
    static const char type[] = "text/plain;charset=utf-8";
    stws_outgoing m = {destination, text, stws_p_strlen(text),         type, NULL,
                       NULL,        0,    STWS_CONTENT_LENGTH_JMS_TEXT};
    return stws_send_ex(c, &m);
}

static int stws_p_acknowledge(stws *c, const stws_message *m, stws_command command_id,
                              const char *transaction) {
    stws_p_draft draft;
    int result;
    if (m && !m->client) return STWS_ERR_STALE; /* from a queue, after stws_destroy */
    if (stws_p_unusable(c)) return stws_p_unusable(c);
    if (!m || m->client != c)
        return stws_p_refuse(c, STWS_ERR_USAGE,
                             "stws_ack: the message is NULL, or another client's");
    stws_p_lock(c);
    if (m->epoch != c->s.epoch || STWS_P_LOAD(&c->state) != STWS_CONNECTED) {
        c->s.stats.stale_acks++;
        result = STWS_ERR_STALE;
    } else if (command_id == STWS_COMMAND_NACK && c->s.version == STWS_STOMP_10) {
        result = STWS_ERR_FRAME_BUILD; /* STOMP 1.0 has no NACK */
    } else if (!stws_p_compose_ack(&c->s, &draft, command_id, m, transaction)) {
        result = STWS_ERR_USAGE;
    } else {
        result = stws_p_submit_locked(c, &draft, 0, STWS_P_FOR_THIS_SESSION);
    }
    /* for a while only */
    if (result == STWS_ERR_LIMIT && stws_p_pending(&c->s.out)) result = STWS_ERR_FULL;
    if (result == STWS_OK && m->answered) STWS_P_STORE(m->answered, 1);
    return stws_p_finish_call(c, result);
}

STOMP_WS_API int stws_ack(stws *c, const stws_message *m) { return stws_ack_in(c, m, NULL); }

STOMP_WS_API int stws_nack(stws *c, const stws_message *m) { return stws_nack_in(c, m, NULL); }

STOMP_WS_API int stws_ack_in(stws *c, const stws_message *message, const char *transaction) {
    return stws_p_acknowledge(c, message, STWS_COMMAND_ACK, transaction);
}

STOMP_WS_API int stws_nack_in(stws *c, const stws_message *message, const char *transaction) {
    return stws_p_acknowledge(c, message, STWS_COMMAND_NACK, transaction);
}

static int stws_p_transact(stws *c, stws_command command_id, const char *transaction) {
    stws_p_draft draft;
    int result;
    if (stws_p_unusable(c)) return stws_p_unusable(c);
    if (!transaction || !*transaction)
        return stws_p_refuse(c, STWS_ERR_USAGE, "the transaction has no name");
    stws_p_lock(c);
    stws_p_compose_locked(&c->s, &draft, command_id);
    stws_p_add_transaction(&draft, transaction);
    result = command_id == STWS_COMMAND_COMMIT && c->o.confirm
                 ? stws_p_submit_with_receipt_locked(c, &draft, 0)
                 : stws_p_submit_locked(c, &draft, 0, STWS_P_FOR_ANY_SESSION);
    return stws_p_finish_call(c, result);
}

STOMP_WS_API int stws_begin(stws *c, const char *name) {
    return stws_p_transact(c, STWS_COMMAND_BEGIN, name);
}

STOMP_WS_API int stws_commit(stws *c, const char *name) {
    return stws_p_transact(c, STWS_COMMAND_COMMIT, name);
}

STOMP_WS_API int stws_abort(stws *c, const char *name) {
    return stws_p_transact(c, STWS_COMMAND_ABORT, name);
}

/* Has everything gone out and, with confirm, been confirmed? Under the lock. */
static int stws_p_is_flushed_locked(const stws *c) {
    const stws_p_ring *outbox = &c->s.outbox;
    int sent = !stws_p_pending(&c->s.out) && !outbox->untaken &&
               !stws_p_subs_come_first(&c->s.subs) && !c->write_error;
    STOMP_WS_ASSERT(stws_p_has_lock(c));
    return sent && !c->s.unconfirmed;
}

/* When a flush has to give up: at the user's limit, or earlier when no receipt will come, as
   Spring's simple broker sends none but for DISCONNECT. Under the lock. */
static long long stws_p_flush_limit_locked(const stws *c, long long until) {
    const stws_p_record *oldest = stws_p_record_unconfirmed(&c->s.outbox);
    long long limit = oldest ? oldest->sent_us + stws_p_ms(c->o.receipt_timeout_ms) : STWS_P_NEVER;
    if (!oldest || oldest->state != STWS_P_RECORD_SENT || !c->o.receipt_timeout_ms ||
        c->s.broker != STWS_BROKER_SPRING)
        return until;
    return limit < until ? limit : until;
}

/* Write while the connection stands, and read no more than there is room for: the frames
   wait for stws_next. Inside a callback the message it looks at must stay, as one held back
   for the queue or kept for stws_next must: then nothing is read, and in a callback the
   connection is not given up. */
static int stws_p_push_output(stws *c, int left) {
    struct pollfd polled[3];
    int most_ms, n, can_read = 0, moved;
    long got = 0;
    if (!c->calling && c->held != STWS_P_HELD_BY_QUEUE && !c->has_kept) {
        stws_p_let_go(c);
        if (!c->held) {
            c->s.message.epoch = 0;
            c->s.in.begin += c->s.taken;
            c->s.taken = 0;
            can_read = stws_p_input_room(&c->s.in) >= c->s.in.cap / 4;
        }
    }
    stws_p_note_time(c);
    moved = stws_p_turn_output(c);
    if (moved >= 0 && can_read) got = stws_p_read_once(c);
    if (c->calling && moved < 0) return moved;
    if (c->calling && moved == 0 && !stws_p_pending(&c->s.out)) return STWS_ERR_STATE;
    if (moved < 0 || got < 0) stws_p_end_output(c, moved < 0 ? moved : (int)got);
    if (moved || got) return STWS_OK;
    if (!can_read) c->s.last_in_us = c->now; /* we do not listen: silence means nothing */
    if (!c->calling && c->state == STWS_CONNECTED) stws_p_turn_timers(c);
    if (!c->calling && c->renewing) stws_p_turn_renewing(c);
    if (c->state != STWS_CONNECTED) return c->error;
    /* a byte in the wake pipe stays until the next wait */
    n = stws_p_pollfds(c, polled, &most_ms) - (c->wake[0] >= 0);
    if (n && !can_read) polled[0].events = stws_p_pending(&c->s.out) ? POLLOUT : 0;
    poll(polled, n ? 1 : 0, stws_p_at_most(left, STWS_P_BLIND_MS));
    return STWS_OK;
}

static int stws_p_flush_here(stws *c, long long until, unsigned losses) {
    long long limit;
    int result, left, flushed, unconfirmed, rounds = 0;
    stws_event_type type;
    for (;;) {
        stws_p_lock(c);
        flushed = stws_p_is_flushed_locked(c);
        unconfirmed = c->s.unconfirmed != 0;
        limit = stws_p_flush_limit_locked(c, until);
        stws_p_unlock(c);
        left = stws_p_until(c, limit);
        if (losses != c->losses && !c->o.confirm) return c->error ? c->error : (int)STWS_ERR_LOST;
        if (flushed) return STWS_OK;
        if (left == 0 && limit != until)
            stws_p_say(c, STWS_ERR_TIMEOUT,
                       "Spring's simple broker gives no receipts: do without option confirm");
        if (left == 0 && rounds++) return STWS_ERR_TIMEOUT; /* after one round at least */
        if (!c->calling && (stws_p_gives_way(c) || (c->has_kept && stws_p_another_drove(c))))
            return STWS_P_AGAIN;
        c->flushing = 1;
        if (c->state == STWS_CONNECTED && !unconfirmed && !c->write_error)
            result = stws_p_push_output(c, left);
        else if (c->calling) result = c->write_error ? c->write_error : (int)STWS_ERR_STATE;
        else result = stws_p_next_aside(c, left, &type);
        c->flushing = 0;
        if (result < 0) return result;
    }
}

/* While another thread drives, wait for what that brings about; while none does, flush. But
   an event that stws_next has given to another thread, or has to give to it, must stay: then
   wait for its next call. */
static int stws_p_flush_beside(stws *c, long long until) {
    int result = STWS_P_AGAIN, kept = 0;
    unsigned losses;
    stws_p_lock(c);
    losses = c->losses;
    stws_p_watch(c, 1);
    while (result == STWS_P_AGAIN) {
        kept |= stws_p_lent_to_others(c);
        if (!kept && !c->wanted && stws_p_try_take(c, STWS_P_FLUSHER)) {
            stws_p_unlock(c);
            kept = stws_p_lent_to_others(c); /* has that changed before we had it? */
            if (!kept) {
                result = stws_p_flush_here(c, until, losses);
                kept = c->has_kept && result == STWS_P_AGAIN;
                stws_p_wake_loop(c);
            }
            stws_p_let_others_drive(c);
            stws_p_lock(c);
            continue;
        }
        if (losses != c->losses && !c->o.confirm) result = STWS_ERR_LOST;
        else if (stws_p_is_flushed_locked(c)) result = STWS_OK;
        else if (STWS_P_LOAD(&c->state) == STWS_ENDED) result = STWS_CLOSED;
        else if (stws_p_until(c, stws_p_flush_limit_locked(c, until)) == 0)
            result = STWS_ERR_TIMEOUT;
        else
            stws_p_await_driver_locked(c, kept ? stws_p_in(c, STWS_P_BLIND_MS)
                                               : stws_p_flush_limit_locked(c, until));
        kept = 0;
    }
    stws_p_watch(c, -1);
    stws_p_unlock(c);
    return result;
}

STOMP_WS_API int stws_flush(stws *c, int timeout_ms) {
    long long until;
    if (stws_p_unusable(c)) return stws_p_unusable(c);
    until = stws_p_in(c, timeout_ms);
    return stws_p_drives(c) ? stws_p_flush_here(c, until, c->losses)
                            : stws_p_flush_beside(c, until);
}

/* ---- request and reply ---- */

/* What a request waits for. */
typedef struct stws_p_reply {
    const char *to; /* reply-to */
    const char *correlation;
    stws_message *copy;
    int arrived;
} stws_p_reply;

static void stws_p_take_reply(stws *c, const stws_message *m, void *user) {
    stws_p_reply *reply = (stws_p_reply *)user;
    const char *correlation = stws_header_get(m, "correlation-id");
    if (reply->arrived || (correlation && strcmp(correlation, reply->correlation) != 0)) return;
    reply->copy = stws_message_copy(m);
    reply->arrived = c->yield = 1;
}

static int stws_p_post_request(stws *c, const stws_outgoing *m, const stws_p_reply *reply) {
    stws_p_draft draft;
    int result;
    stws_p_lock(c);
    result = stws_p_compose_send(c, &draft, m);
    stws_p_add(&draft, "reply-to", reply->to);
    stws_p_add(&draft, "correlation-id", reply->correlation);
    if (result == STWS_OK) result = stws_p_submit_locked(c, &draft, 0, STWS_P_FOR_ANY_SESSION);
    return stws_p_finish_call(c, result);
}

static int stws_p_await_reply(stws *c, stws_p_reply *reply, const stws_subscribe_options *implied,
                              long long until) {
    stws_event_type type;
    c->implied = implied;
    while (!reply->arrived) {
        int left = stws_p_until(c, until), result = stws_p_next_aside(c, left, &type);
        if (reply->arrived) break;
        if (result < 0) return result;
        if (result == 0 && left == 0) return STWS_ERR_TIMEOUT;
        if (type == STWS_EVENT_ERROR) return STWS_ERR_BROKER;
    }
    return reply->copy ? (int)STWS_OK : (int)STWS_ERR_MEMORY;
}

static int stws_p_request(stws *c, const stws_outgoing *message, stws_message **reply,
                          long long until) {
    char to[48], correlation[STWS_P_ID_TEXT];
    stws_p_reply wanted = {to, correlation, NULL, 0};
    stws_subscribe_options own = {
        NULL, NULL, NULL, STWS_ACK_DEFAULT, STWS_ACK_BY_CALL, 0, 0, stws_p_take_reply, &wanted};
    int result = stws_p_connect(c, until), handle = 0, number;
    if (result != STWS_OK) return result;
    stws_p_lock(c);
    number = stws_p_number_from(&c->s.next_receipt);
    stws_p_unlock(c);
    stws_p_number_text(correlation, "", (unsigned)number);
    stws_p_number_text(to, "/temp-queue/stws-", (unsigned)number);
    own.id = c->s.broker == STWS_BROKER_RABBITMQ ? to : NULL;
    if (!own.id) handle = stws_subscribe(c, to, &own);
    if (handle < 0) return handle;
    result = stws_p_post_request(c, message, &wanted);
    if (result == STWS_OK) result = stws_p_await_reply(c, &wanted, own.id ? &own : NULL, until);
    /* `wanted` ends here, so the callback must, too */
    if (handle && stws_unsubscribe(c, handle) != STWS_OK) {
        stws_p_lock(c);
        stws_p_unsubscribed_locked(c, stws_p_find_handle(&c->s.subs, handle));
        stws_p_unlock(c);
    }
    c->implied = NULL;
    *reply = wanted.copy;
    return result;
}

STOMP_WS_API int stws_request(stws *c, const stws_outgoing *message, stws_message **reply,
                              int timeout_ms) {
    int result = stws_p_unusable(c);
    long long until;
    if (reply) *reply = NULL;
    if (result) return result;
    if (!reply || !message || !stws_p_outgoing_valid(message))
        return stws_p_refuse(c, STWS_ERR_USAGE,
                             "stws_request: reply or message is NULL, or the message is not valid");
    until = stws_p_in(c, timeout_ms);
    result = stws_p_take_beside(c, until);
    if (result != STWS_OK) return result;
    result = stws_p_request(c, message, reply, until);
    stws_p_let_others_drive(c);
    return result;
}

/* ==== >>looking: state, errors, numbers ==== */
STOMP_WS_API stws_connection_state stws_state(const stws *c) {
    return c ? (stws_connection_state)STWS_P_LOAD(&c->state) : STWS_ENDED;
}

STOMP_WS_API const char *stws_state_name(stws_connection_state state) {
    static const char *const names[] = {"idle",        "resolving",  "connecting", "TLS handshake",
                                        "upgrading",   "logging in", "connected",  "closing",
                                        "backing off", "ended"};
    return (unsigned)state <= STWS_ENDED ? names[state] : "unknown";
}

STOMP_WS_API stws_broker_kind stws_broker(const stws *c) {
    return c ? (stws_broker_kind)STWS_P_LOAD(&c->s.broker) : STWS_BROKER_UNKNOWN;
}

STOMP_WS_API stws_stomp_version stws_version(const stws *c) {
    return c ? (stws_stomp_version)STWS_P_LOAD(&c->s.version) : STWS_STOMP_NONE;
}

STOMP_WS_API int stws_error(const stws *c) {
    return c ? STWS_P_LOAD(&c->error) : (int)STWS_ERR_MEMORY;
}

STOMP_WS_API const char *stws_error_text(const stws *c) {
    if (!c) return stws_result_text(STWS_ERR_MEMORY);
    if (stws_p_refusal.client == c) return stws_p_refusal.why;
    if (c->broken || !stws_p_may_wait(c) || STWS_P_LOAD(&c->state) == STWS_ENDED) return c->text;
    /* the thread that drives may be writing it anew */
    return stws_error(c) ? stws_result_text(stws_error(c)) : "";
}

STOMP_WS_API const char *stws_upgrade_header(const stws *c, const char *name) {
    const char *at = c && !c->broken && name ? c->head : "";
    for (; *at; at = stws_p_after(stws_p_after(at)))
        if (stws_p_equal_nocase(at, strlen(at), name, strlen(name))) return stws_p_after(at);
    return NULL;
}

STOMP_WS_API int stws_http_status(const stws *c) { return c ? STWS_P_LOAD(&c->http_status) : 0; }

STOMP_WS_API int stws_close_code(const stws *c) { return c ? STWS_P_LOAD(&c->close_code) : 0; }

STOMP_WS_API void *stws_user(const stws *c) { return c ? c->o.user : NULL; }

STOMP_WS_API void stws_stats(stws *c, stws_statistics *out) {
    int taken;
    if (!out) return;
    memset(out, 0, sizeof *out);
    if (!c || c->broken) return;
    stws_p_lock(c);
    taken = !stws_p_drives(c) && stws_p_try_take(c, STWS_P_WRITER);
    if (c->shared_stats && (taken || stws_p_drives(c))) *c->shared_stats = c->s.stats;
    *out = c->shared_stats ? *c->shared_stats : c->s.stats;
    if (taken) STWS_P_SWAP(&c->driver, 0);
    if (taken && c->watchers) stws_p_signal(c);
    stws_p_unlock(c);
}

#endif /* STOMP_WS_NO_IO */

/* ==== >>end: what is not for those who include this, and the licence ==== */
#undef STWS_P_AT
#undef STWS_P_ASSERTS
#undef STWS_P_AVX2
#undef STWS_P_APART
#undef STWS_P_HAS_PROXY
#undef STWS_P_HAS_TEXTS
#undef STWS_P_IS
#undef STWS_P_LIKELY
#undef STWS_P_LOAD
#undef STWS_P_LOCK
#undef STWS_P_LOOK_UP
#undef STWS_P_CHOICE
#undef STWS_P_COMING
#undef STWS_P_COUNT
#undef STWS_P_NEVER
#undef STWS_P_NUMBER
#undef STWS_P_PERCENT
#undef STWS_P_SIZE
#undef STWS_P_TIME
#undef STWS_P_RESULT_NAME
#undef STWS_P_RESULT_NUMBER
#undef STWS_P_RESULT_TEXT
#undef STWS_P_SEND_FLAGS
#undef STWS_P_SSE2
#undef STWS_P_STORE
#undef STWS_P_SWAP
#undef STWS_P_TAKE
#undef STWS_P_THREAD_LOCAL
#undef STWS_P_TOPS
#undef STWS_P_TWICE
#undef STWS_P_UNLOCK
#undef STWS_P_US
#undef STWS_P_TRIAL_US
#undef STWS_P_UTF8_BY
#undef STWS_P_UTF8_DUE
#undef STWS_P_UTF8_ON_128
#undef STWS_P_UTF8_ON_256
#undef STWS_P_WITH_THREADS
#undef stws_p_say

#endif /* STOMP_WS_IMPLEMENTED */
#endif /* STOMP_WS_IMPLEMENTATION */

/* This software comes under two licences; take the one that suits you.

   1. MIT. Copyright (c) 2026 the authors of stomp_ws.h
   Permission is hereby granted, free of charge, to any person obtaining a copy of this software and associated
   documentation files (the "Software"), to deal in the Software without restriction, including without limitation the
   rights to use, copy, modify, merge, publish, distribute, sublicense, and/or sell copies of the Software, and to
   permit persons to whom the Software is furnished to do so, subject to the following conditions: The above copyright
   notice and this permission notice shall be included in all copies or substantial portions of the Software. THE
   SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR IMPLIED, INCLUDING BUT NOT LIMITED TO THE
   WARRANTIES OF MERCHANTABILITY, FITNESS FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT. IN NO EVENT SHALL THE AUTHORS OR
   COPYRIGHT HOLDERS BE LIABLE FOR ANY CLAIM, DAMAGES OR OTHER LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR
   OTHERWISE, ARISING FROM, OUT OF OR IN CONNECTION WITH THE SOFTWARE OR THE USE OR OTHER DEALINGS IN THE SOFTWARE.

   2. Public domain. Whoever has the rights to this software gives them up, everywhere, for ever and for everybody, as
   far as the law allows: anyone may use, change and share it in any form, for any purpose, without asking and without
   naming anybody. It comes without any warranty. */
