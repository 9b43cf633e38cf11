/* stomp_ws.h - v0.1.0 - STOMP over WebSocket for C, in one header - MIT or public domain, see end

   A client for STOMP brokers reached over WebSocket: Spring Boot, RabbitMQ, ActiveMQ, Artemis.
   It needs libc and POSIX sockets. TLS is optional.

Do this in one C or C++ file, before any system header:

    #define STOMP_WS_IMPLEMENTATION
    #include "stomp_ws.h"

In all other files, include it without the define. There is nothing to link, except -pthread on
old systems (before glibc 2.34) and -lbearssl if you compile with STOMP_WS_BEARSSL for wss://.
A library that embeds this header should also define STOMP_WS_STATIC: no symbol then leaves its
object file.

Contents. Search for ">>" and the name. `grep '= >>' stomp_ws.h` prints each section's title.

    Declarations, in the order in which a program needs them:
    >>results >>frame >>message                        what calls return, what arrives
    >>options >>life                                   create a client, end it
    >>subscribe >>send >>ack >>transactions            talk to the broker
    >>drive >>flush                                    make it run: a thread, a loop, your loop
    >>state >>queue                                    look at it; one queue for many clients
    >>plug                                             a transport, TLS library, clock of your own
    >>codecs                                           STOMP, WebSocket and HTTP without I/O
    Implementation, each section built on those above it:
    -- pure: text, hashes, HTTP, WebSocket, STOMP frames
    >>includes >>results.c >>text >>sha1 >>base64 >>utf8 >>url >>http >>handshake
    >>websocket >>stomp_text >>stomp_head >>stomp_parse >>stomp_build >>dedup
    -- session: tables and buffers of one STOMP session
    >>threads >>session_structs >>client_structs >>ring >>random >>draft >>subscriptions
    >>receipts >>outbox >>transaction_records >>encode >>connect >>decode
    -- world: clocks, TCP, proxies, TLS, queues
    >>system >>tcp >>proxy >>tls >>bearssl_trust >>bearssl >>message.c >>queue.c
    -- client: the state machine
    >>state_machine >>driver >>error_text >>memory >>option_rules >>create >>where >>pages
    >>cookies >>refusals >>errors >>retry >>lost >>attempt >>upgrade >>output >>dispatch
    >>delivery >>pull >>input >>timers >>turn >>wait >>state.c >>drive.c >>life.c
    -- API: the public calls on it
    >>submit >>subscribe.c >>send.c >>ack.c >>transactions.c >>flush.c >>request.c >>pop >>end

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
A tag such as [G2] marks a promise. The tests of that promise bear the same tag.

## The model
A client (`stws`) keeps one connection to one broker, and connects again when the connection
breaks. You may call `stws_subscribe` at any time, also before the first connection. The client
remembers each subscription, and every new session subscribes again under the same handles. [M1]
You may also call `stws_send` at any time. A message that cannot be sent yet waits in the outbox,
and goes out after the subscriptions. [M2] A session begins when the server has answered CONNECT
with CONNECTED. Before that, nothing is delivered. [M3]

## Three ways to drive it
1. `stws_run` blocks and calls your callbacks. `stws_start` and `stws_join` run it in a thread of
   its own. [D1]
2. `stws_next` returns one event per call, as sqlite3_step returns one row per call. `stws_run` is
   a short loop over it. `stws_run_many` is such a loop over several clients. [D2]
3. `stws_fds`, `stws_deadline` and `stws_step` fit any event loop: wait for the descriptors or the
   deadline, then call `stws_step`. [D3]

With `options.queue`, the messages of any number of clients go to one queue. Another thread takes
them out with `stws_queue_pop`. When the queue is full, its clients stop reading. TCP then makes
the broker wait, and memory stays bounded. [D4]

## Memory
`stws_create` allocates one block. [Y1] After CONNECTED, nothing more is allocated as long as
frames fit into rx_buffer and tx_buffer. There are two exceptions: stws_request allocates the
reply; and stws_request, stws_connect, stws_close and stws_flush copy events that arrive
meanwhile, so that a later stws_next can return them. For a larger frame the buffer grows as its
data arrives, never because of a declared length. It shrinks back when the connection ends. [Y2]
`stws_init` puts a client into memory that you provide (`stws_size` returns the size). Such a
client never uses the heap, except for the reply of stws_request. What does not fit into its
buffers is an error. [Y3]

A message is a view into the receive buffer. Header values are unescaped in place. Every name,
value and body ends in a NUL byte, so each of them is a C string. A body may also contain NUL
bytes of its own: use body_len. [Y4]

Small buffers suit many idle clients. The HTTP upgrade may need more than a small buffer: a client
of stws_create then allocates a block, and frees it when the upgrade is over, and a client of
stws_init fails, with a sentence that names the buffer. Error sentences are cut to rx_buffer / 4
bytes, at least 256 and at most 640. These are the parts of the block that stws_create allocates:
[Y5]

    | what                                           | bytes on 64-bit systems |
    |------------------------------------------------|-------------------------|
    | a client with default options                  | 1,354,208               |
    | the smallest client possible, single_thread    | 4,560                   |
    | added if single_thread is not set              | 272                     |
    | per byte of rx_buffer, tx_buffer, outbox_bytes | 1                       |
    | per header of max_headers                      | 64                      |
    | added per header of max_headers with on_trace  | 32                      |
    | per subscription, besides subscription_bytes   | 48                      |
    | per receipt of max_receipts                    | 40                      |
    | a proxy                                        | 7,600                   |

## Threads
One thread at a time drives a client. The driving calls are `stws_next`, `stws_run`,
`stws_run_many`, `stws_step`, `stws_fds`, `stws_deadline` and `stws_request`. While one thread is
in a driving call, a driving call of another thread returns STWS_ERR_STATE. So does a driving call
from a callback of that client. `stws_connect`, `stws_close` and `stws_flush` are different: if
another thread drives, they wait until it has done the work; if none does, they drive and call
back. `stws_flush` stops driving as soon as another thread wants to drive. `stws_destroy` stops
and joins the thread of `stws_start`. stws_destroy does nothing if it is called from a callback,
or while a thread of your own is in a driving call. [T3]

Any thread may subscribe, send, acknowledge and use transactions; call stws_disconnect and
stws_reconnect_now; and read state, statistics, error code, broker and version. Callbacks may,
too. [T1] `stws_stop` may also be called from a signal handler. [T2] The codecs are pure
functions: use them from any thread, with a separate state object for each stream.

If the calling thread's last call was refused, `stws_error_text` returns the sentence of that
refusal. Otherwise it returns the sentence of the client's last error, provided that this thread
drives the client or the client has ended. In all other threads it returns the text of the error's
code.

Callbacks run in the thread that drives, and no lock is held. They may call everything except
driving calls, stws_connect, stws_close, stws_join and stws_destroy; in a callback, stws_flush
writes what it can and does not wait. on_trace is different: it runs in the thread that sends or
reads, under the client's lock, one call at a time, and must not call the client. Your own
`random.fill` may run in any thread that calls the client, sometimes under the lock, one call at a
time.

`options.single_thread` removes the lock and the wake-up descriptor. All calls must then come from
one thread, except stws_stop in a signal handler.

## Errors and reconnecting
A call returns 0 or a positive number, or a negative code. When a connection fails,
STWS_EVENT_DISCONNECTED tells why, and when the next attempt starts. `stws_error_text` has a
sentence with the cause and a remedy. [E1] The first delay is reconnect_min_ms. It doubles with
each failure, up to reconnect_max_ms. A random part is taken off, so that a thousand clients do
not come back at the same moment. A session that lived for stable_ms resets the delay. [E2]

Before the first session, a refusal is final: the client ends, because the next attempt would get
the same answer. Refusals are: an HTTP status below 500 (except 408, 425 and 429), an answer that
is not a WebSocket upgrade, a refused CONNECT, a STOMP version that was not offered, a certificate
that is not trusted, and a proxy that refuses for good: by HTTP with a status below 500, or by
SOCKS. With several `urls`, each of them is tried once before a refusal is final. After a first
session the client tries again even after a refusal. The same settings have worked before, so the
cause may pass: the server may be starting, or a proxy may have lost its way to the server. One
refusal is still final: refused credentials (HTTP 401, 403 or 407, or an ERROR that names them).
If before_connect is set, refused credentials are retried as well, after a first session, with the
usual delay; before_connect brings fresh credentials, or ends the client with a negative number.
`options.give_up` changes these rules. [E3]

These failures are always retried: no route, connection refused or reset, time-outs, HTTP 408,
425, 429 and 5xx, a lost heart-beat, an ERROR in a session, a close. If an answer has Retry-After
(seconds or a date), the client waits at least that long. To this it adds a random time: at most
reconnect_min_ms plus a tenth of Retry-After. It never waits longer than ten times
reconnect_max_ms. If a host has several addresses and an attempt fails after the TCP connection
was made, the next attempt begins with the next address. [E4]

`urls` names several servers, which are tried in turn. [E5] `before_connect` is called before each
attempt, and `before_subscribe` before each SUBSCRIBE. They may set a fresh URL, token or header,
or ask for more time. [E6] `stws_reconnect_now` and `max_session_ms` replace a working session by
a new one. The old session ends first, because two sessions would deliver messages twice. Before
it ends, messages that stws_send has accepted are written, for at most close_timeout_ms. [E7]
Every end of the client is reported by STWS_EVENT_DISCONNECTED with retry_ms -1. Frames go out in
this order: CONNECT, the SUBSCRIBEs (oldest first), the outbox. [E8]

Some servers end the whole session when they refuse one SUBSCRIBE. All subscriptions are lost
then. If the server ends a session, by an ERROR or a close frame, within a second after a
SUBSCRIBE, the error says so. If this happens twice in a row, the client searches for the bad
subscription: in the next session it waits for a second, sends half of the suspected SUBSCRIBEs,
waits for a second, sends half of the rest, and so on. The outbox is sent after that. If three
sessions in a row end right after the SUBSCRIBE of the same single subscription, the client sets
it aside and subscribes to it no more. STWS_EVENT_SUBSCRIPTION_REFUSED tells its handle. All other
subscriptions go on. To try it again, unsubscribe it and subscribe anew. [E12]

Each receipt ends: as STWS_OK, STWS_ERR_BROKER (an ERROR named it), STWS_ERR_TIMEOUT or
STWS_ERR_LOST, or with the error that kept its frame from being sent. No receipt waits for ever.
With `confirm` there is no time-out: if the session ends first, the message is resent, and its
receipt goes on waiting until the client's end. [E9] Spring's simple broker sends receipts for
DISCONNECT only.

After an ERROR the server should close the connection, as STOMP requires. If it has not done so
after close_timeout_ms, the client closes it. [E10]

An error sentence is one line of UTF-8 that is safe to print on a terminal. It shows no query and
no password of a URL. It shows a '.' for each control character in a peer's words, for each
character that is invisible or changes the direction of the text, and for bytes that are not
UTF-8. [E11] For a refused upgrade the sentence quotes the page that the server sent. The client
waits for the rest of that page for at most 500 ms.

## Delivery guarantees
- **Sending, by default: at most once.** While there is no connection, a message waits in the
  outbox (outbox_bytes, outbox_count). Once written it is forgotten, and it is lost if the
  connection then breaks. The frames of one thread leave in the order of its calls. This includes
  ACKs: if a program sends a reply and then acknowledges the request, the reply is written first.
  So the reply is not lost if the program dies in between. [G1]
- **Sending with `confirm`: at least once.** A SEND stays in the outbox until its RECEIPT arrives.
  If the connection breaks, it is resent in order in the next session. [G2] A message arrives
  twice if only its receipt was lost. `stable_id` gives each message an id that stays the same
  when it is resent; `stws_dedup`, or a broker with duplicate detection, then drops the second
  copy. [G3] The outbox is in memory: if the program dies, unconfirmed messages are lost. For a
  frame larger than tx_buffer the buffer grows when the frame is written. If there is no memory
  for that, its receipt ends as STWS_ERR_LIMIT. receipt_timeout_ms does not apply: a receipt may
  arrive at any time during the session, because a broker that is short of memory holds receipts
  back for minutes. Heart-beats end a dead session. `stws_flush` waits for all receipts. [G4] The
  meaning of a receipt depends on the broker. For RabbitMQ, ActiveMQ and Artemis it means that a
  persistent message for a durable queue is stored (set the header `persistent:true`). Spring's
  simple broker sends no receipt for a SEND: stws_flush then returns STWS_ERR_TIMEOUT, and its
  sentence says why. [G5] Each SEND asks for its own receipt, because a receipt covers one frame
  only (STOMP 1.2, "RECEIPT").
- **Transactions: all or nothing.** The frames from BEGIN to COMMIT stay in the outbox. When a
  connection breaks, the broker forgets the transaction, so the client resends it from BEGIN. With
  `confirm` the frames are kept until the receipt of the COMMIT. [G6] An ACK is valid only in its
  own session. If a transaction contains an ACK of an earlier session, the whole transaction is
  given up: its receipts end as STWS_ERR_STALE, further frames for it and its COMMIT return
  STWS_ERR_STALE, and the broker delivers that message again. [G7]
- **Receiving, with STWS_ACK_AUTO: at most once.** The broker regards a message as done when it
  has written it.
- **Receiving, with STWS_ACK_CLIENT_INDIVIDUAL or STWS_ACK_CLIENT: at least once**, where the
  broker keeps messages: in a queue, or for a `durable` subscription. Acknowledge a message when
  its work is done, or let `ack_on` do it. [G8] Messages without an ACK are delivered again in the
  next session. An ACK for an earlier session is never sent; the call returns STWS_ERR_STALE. [G9]
- **A slow consumer** is not flooded. The client reads nothing while the queue is full, while a
  callback runs, or while there is no room for an ACK that is due. TCP then makes the broker wait.
  [G10] With `prefetch` and STWS_ACK_ON_RETURN the broker itself limits what it sends. A broker
  may disconnect a client that reads too slowly (Spring's send buffer limit). The error then says
  so.
- **Topics without `durable`** have gaps: messages published between two sessions are lost.
- **Order** is the broker's order, per destination. With `confirm` the order can change in one
  case: a later message was confirmed already when an earlier one is resent.

## Heart-beats
The client offers heartbeat_out_ms and asks for heartbeat_in_ms (10,000 ms each). In each
direction the larger of the two sides' numbers is used, and there is no heart-beat if either is 0.
[H1] The client sends an end-of-line after half the interval without other output. [H2] The server
may be silent for heartbeat_grace percent (300) of its interval. Any received byte counts, and the
client reads everything from the socket before it judges. [H3]

Some servers want no heart-beats from us, such as Spring's simple broker without a scheduler. Then
an idle connection carries no bytes: a proxy may cut it, and nobody notices a dead server. So, if
one of the two heart-beats is not agreed, the client sends a WebSocket PING whenever it has
received nothing, or sent nothing, for ping_ms (20,000 ms). Until the server has answered a PING,
the client sends one every ping_ms, also on a busy connection. After the first answer in a
session, the client ends the session if nothing arrives for heartbeat_grace percent of ping_ms
(60,000 ms). A server that never answers a PING is not judged by its silence. [H6]

Sometimes our own loop is late: a callback took long, the client was not driven, or the machine
slept. The server then gets that time on top, statistics count it, and an error that follows says
which of these it was. [H4] If a server is silent, the error tells whether its machine still
acknowledges our TCP data (Linux only). [H5]

## Large frames
Some servers limit the size of a WebSocket message. With max_ws_message = 0 the client cuts frames
over 8 KiB into several WebSocket messages if the server is known to join them: Spring's simple
broker (Tomcat refuses larger messages), RabbitMQ and Artemis. It never cuts for ActiveMQ or an
unknown server, because these accept a STOMP frame in one message only. [L1] If the body is not
UTF-8, the frame is sent as a binary message. [L2]

## Spring and SockJS
The URL of a Spring endpoint registered with `.withSockJS()` ends in /websocket:
ws://host/notifications/websocket. Without that ending the server answers 200 or 400 instead of
101, and the error says so. [S1] The headers of CONNECT (login, tokens for a ChannelInterceptor)
and the HTTP headers of the upgrade (Authorization, Cookie, read by Spring Security) are two
different things. There is an option for each: connect_headers and http_headers. [S2]

## Proxies
options.proxy is a URL: http:// (CONNECT, with Basic authorization) or socks5:// (with or without
user and password). In user and password, write characters that are special in a URL as %XX. The
proxy gets the server's name, so the client makes no DNS query for it. If options.addresses is
set, each attempt gives the proxy one of these addresses instead. [P1] STWS_PROXY_FROM_ENVIRONMENT
reads https_proxy or HTTPS_PROXY (for wss://), http_proxy (for ws://), all_proxy or ALL_PROXY, and
no_proxy or NO_PROXY (hosts, domains, or *). It reads them with getenv at each attempt, so no
other thread may change the environment at that time. [P2] Basic authorization allows no colon in
the user and no control characters.

## Limits
Every buffer, table and wait has a limit. Nearly all are options with a default; the few fixed
ones are stated where they apply. If a peer breaks a limit or a rule, the client closes the
connection with the code that RFC 6455 gives for it (1002, 1007, 1009). The error names the rule,
or the option that sets the limit. [I1]

## Caveats
- The library prints nothing, and changes no signal's disposition. It need not: its writes to a
  closed connection raise no SIGPIPE.
- getaddrinfo blocks until the resolver answers. Numeric hosts and options.addresses avoid it.
- There is no permessage-deflate. The CONNECT or SOCKS exchange with a proxy, its password
  included, is not encrypted. TLS with the server begins after it.
- wss:// needs a TLS library. STOMP_WS_BEARSSL compiles BearSSL in, which supports TLS 1.2.
  Another library can be used through options.tls: examples/stomp_ws_openssl.h adds TLS 1.2 and
  1.3 by OpenSSL 3. Neither checks whether a certificate was revoked. Both read CA and key files
  at each handshake, and that blocks as file access does. A handshake that resumes this client's
  last session reads no CA file.
- If neither tls_ca_file nor tls_ca_pem is set, the client trusts the system's CAs. Two
  environment variables replace these: SSL_CERT_FILE names a PEM file, and SSL_CERT_DIR names
  directories of PEM files, separated by colons. A program with more rights than its caller
  (setuid, setgid) ignores both. BearSSL reads every file of a directory. OpenSSL reads only files
  named as `openssl rehash` names them. If only SSL_CERT_FILE is set, OpenSSL also trusts its own
  directory. The variables are read with getenv: no other thread may change the environment at
  that time.
- The server's certificate must name the host or address in subjectAltName. The common name does
  not count, as in browsers (RFC 9110, 4.3.4). If a certificate of the chain has extendedKeyUsage,
  this must include serverAuth or, with BearSSL, anyExtendedKeyUsage.
- A TLS 1.2 server may ask for a client certificate only for one path, by renegotiation. This is
  not supported: let the server ask in the first handshake, or use TLS 1.3.
- After fork() the child may destroy a client but not drive it.

## Configuration macros
Define these before you include the header with STOMP_WS_IMPLEMENTATION. None of them changes a
public struct. Everything else is an option.

    | macro                          | meaning                                                     |
    |--------------------------------|-------------------------------------------------------------|
    | STOMP_WS_IMPLEMENTATION        | this file gets the implementation                           |
    | STOMP_WS_STATIC                | public functions are static; unused ones cause no warning   |
    | STOMP_WS_API                   | the words before each public function (default: extern)     |
    | STOMP_WS_BEARSSL               | wss:// by BearSSL (needs bearssl.h and -lbearssl)           |
    | STOMP_WS_TLS                   | the TLS library if options.tls is NULL (default: BearSSL's) |
    | STOMP_WS_NO_IO                 | only the codecs: no sockets, no client                      |
    | STOMP_WS_NO_THREADS            | no pthread.h; options.single_thread must be set             |
    | STOMP_WS_NO_SIMD               | no SSE2, SSSE3, AVX2 or NEON                                |
    | STOMP_WS_NO_PROXY              | options.proxy is refused: 5 KB less code                    |
    | STOMP_WS_NO_TEXTS              | stws_error_text is always short: 15 KB less code            |
    | STOMP_WS_MALLOC, STOMP_WS_FREE | used instead of malloc and free (define both or none)       |
    | STOMP_WS_ASSERT(condition)     | called with conditions that always hold (default: nothing)  |

## History
- 0.1.0: the first release.
- Since then, for the next release, these were renamed: stws_subscription to
  stws_subscribe_options (its ack is an enum now), no_content_length to content_length (an enum),
  stws_stats_numbers to stws_statistics, and the types of callbacks, which now end in _fn. All
  enums have typedef names.
*/
#if defined(STOMP_WS_IMPLEMENTATION) && defined(__STRICT_ANSI__) && !defined(_POSIX_C_SOURCE) &&   \
    !defined(_XOPEN_SOURCE) && !defined(_GNU_SOURCE) && !defined(_DEFAULT_SOURCE)
#define _POSIX_C_SOURCE 200809L /* else glibc hides getaddrinfo and clock_gettime in strict modes */
#endif

#ifndef STOMP_WS_H
#define STOMP_WS_H

#include <stddef.h>

/* The version of this header. Before 1.0 a new minor version may break programs. */
#define STOMP_WS_VERSION "0.1.0"

/* Its first number. */
#define STOMP_WS_VERSION_MAJOR 0

/* Its second number. */
#define STOMP_WS_VERSION_MINOR 1

/* Its third number. */
#define STOMP_WS_VERSION_PATCH 0

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

/* ==== >>results: what a call returns ====

   A call that can fail returns an int: 0 or a positive number for success, or one of the
   negative codes below. The codes stand in groups: -1 to -9 concern the call itself, -20 the
   network, -30 the HTTP upgrade, -40 WebSocket, -50 a STOMP frame, and -60 the STOMP
   session. */

/* All result codes. stws_result_text and stws_result_name return their text and name. */
typedef enum stws_result {
    /* Success: the call did what it is for. */
    STWS_OK = 0,

    /* The client has ended, or the queue is closed. If the program asked for that, there is
       nothing to do; if not, stws_error tells why. */
    STWS_CLOSED = -1,

    /* An argument or an option is not valid: NULL, a number outside of its range, an id that
       is already in use. The sentence names it. Correct the program. */
    STWS_ERR_USAGE = -2,

    /* The call is not possible now: from a callback, while another thread drives, or after
       stws_disconnect. Make it at another time. */
    STWS_ERR_STATE = -3,

    /* There is no memory, or the memory that was given is too small, or the client is NULL.
       Give more; stws_size tells how much. */
    STWS_ERR_MEMORY = -4,

    /* The output does not fit into the buffer that was given. Give a larger one; *need tells
       how many bytes. */
    STWS_ERR_SPACE = -5,

    /* The outbox or the queue is full. Wait for room (stws_flush, STWS_FULL_BLOCK), or raise
       outbox_bytes, outbox_count or the capacity of the queue. */
    STWS_ERR_FULL = -6,

    /* A limit of the options is reached: max_subscriptions, subscription_bytes,
       max_receipts, or, for a large frame, outbox_bytes, tx_buffer or rx_buffer. Raise it. */
    STWS_ERR_LIMIT = -7,

    /* Something did not happen in time. Raise the time-out, or find out with on_trace why
       the server is silent. */
    STWS_ERR_TIMEOUT = -8,

    /* The URL is not a ws:// or wss:// URL. It must begin with one of these, and hold no
       fragment and no blank; write special characters as %XX. */
    STWS_ERR_URL = -9,

    /* The host name could not be resolved. Check it. The client tries again. */
    STWS_ERR_RESOLVE = -20,

    /* There is no connection to the host and port. Check both, and whether the server runs.
       The client tries again. */
    STWS_ERR_CONNECT = -21,

    /* Reading from or writing to the connection failed. The client connects again. If this
       happens at every attempt, look at the server's log. */
    STWS_ERR_IO = -22,

    /* The peer ended the connection without a close frame. The client connects again. If
       this happens at every attempt, look at the server's log. */
    STWS_ERR_EOF = -23,

    /* The TLS connection failed, or TLS is not compiled in. The sentence has the TLS alert,
       or tells how to compile. */
    STWS_ERR_TLS = -24,

    /* The server's certificate is not trusted. Set tls_ca_file, or correct the certificate
       or the host in the URL; the sentence tells which. */
    STWS_ERR_TLS_TRUST = -25,

    /* The proxy refused the connection. The sentence has the proxy's answer and its meaning. */
    STWS_ERR_PROXY = -26,

    /* The answer to the upgrade request is not HTTP. Usually this is the port of another
       protocol, or a ws:// URL to a TLS port. */
    STWS_ERR_HTTP = -30,

    /* The server answered the upgrade with another status than 101. The sentence has the
       status, the server's words and a remedy; stws_http_status returns the status. */
    STWS_ERR_HTTP_STATUS = -31,

    /* The 101 answer lacks Upgrade, Connection or Sec-WebSocket-Accept, or one of them is
       wrong. Usually a proxy or a cache answered: go around it. */
    STWS_ERR_HTTP_UPGRADE = -32,

    /* The server chose a subprotocol that was not offered. Leave options.subprotocols at its
       default. */
    STWS_ERR_HTTP_SUBPROTOCOL = -33,

    /* The server uses a WebSocket extension that was not offered. Usually a proxy answered:
       go around it. */
    STWS_ERR_HTTP_EXTENSION = -34,

    /* The head of the HTTP answer is larger than the limit. Raise rx_buffer or max_headers. */
    STWS_ERR_HTTP_LIMIT = -35,

    /* A WebSocket frame breaks RFC 6455. The sentence tells the rule. */
    STWS_ERR_WS_PROTOCOL = -40,

    /* A WebSocket text message is not UTF-8. Only with STWS_UTF8_STRICT; STWS_UTF8_LENIENT
       accepts it. */
    STWS_ERR_WS_UTF8 = -41,

    /* A WebSocket message has more than 65,537 fragments. Correct the server. (From
       stws_ws_parse also: it is larger than max_message.) */
    STWS_ERR_WS_LIMIT = -42,

    /* The peer closed the WebSocket. The sentence has its code and reason, and for 1009
       (message too big) the option to change. */
    STWS_ERR_WS_CLOSE = -43,

    /* The peer uses SockJS framing, not plain STOMP. Append /websocket directly to the
       endpoint's path, without SockJS's server and session ids (/123/abc/websocket). */
    STWS_ERR_SOCKJS = -44,

    /* A STOMP frame begins with an unknown command. For this and all other codes from -50 to
       -58 on_trace shows the frame. */
    STWS_ERR_FRAME_COMMAND = -50,

    /* A STOMP header line has no colon or no name. */
    STWS_ERR_FRAME_HEADER = -51,

    /* A STOMP header has an escape sequence that this STOMP version does not define. */
    STWS_ERR_FRAME_ESCAPE = -52,

    /* A STOMP header has a carriage return that does not end a line. */
    STWS_ERR_FRAME_CR = -53,

    /* A NUL byte stands inside the head of a STOMP frame, or there is none after a body with
       a content-length. */
    STWS_ERR_FRAME_NUL = -54,

    /* The value of content-length is not a number. */
    STWS_ERR_FRAME_LENGTH = -55,

    /* A STOMP frame has more headers than max_headers. Raise it. */
    STWS_ERR_FRAME_HEADERS = -56,

    /* A STOMP header line is longer than max_line. Raise it. */
    STWS_ERR_FRAME_LINE = -57,

    /* A STOMP body is longer than max_body. Raise it. */
    STWS_ERR_FRAME_BODY = -58,

    /* The frame cannot be represented in this STOMP version, or in none: a line feed or a
       colon in a header of STOMP 1.0, NACK in STOMP 1.0, a wrong content-length. */
    STWS_ERR_FRAME_BUILD = -59,

    /* Client and server have no STOMP version in common. Offer more in options.versions. */
    STWS_ERR_VERSION = -60,

    /* The server refused CONNECT. Check login and passcode, and for RabbitMQ also
       options.host. The sentence has the server's words. */
    STWS_ERR_LOGIN = -61,

    /* The server sent an ERROR frame. The sentence has its words; usual causes are the
       destination and missing rights. */
    STWS_ERR_BROKER = -62,

    /* No heart-beat came from the server. The client connects again. If the server is only
       slow, raise heartbeat_grace. */
    STWS_ERR_HEARTBEAT = -63,

    /* Our own loop was late, so that we sent no heart-beat in time. Return from callbacks
       sooner, or drive the client in a thread of its own. */
    STWS_ERR_LATE = -64,

    /* The connection ended before the receipt came. The message may have arrived. Send it
       again, or set options.confirm, which does that for you. */
    STWS_ERR_LOST = -65,

    /* The message belongs to an earlier session, so it can no longer be acknowledged. There
       is nothing to do: the broker delivers it again. */
    STWS_ERR_STALE = -66,

    /* All reconnect attempts are used up. Raise reconnect_attempts, or leave it at 0 (no
       limit). */
    STWS_ERR_GAVE_UP = -67,

    /* Lower than every code. No call returns it; the values above it are reserved for new
       codes. */
    STWS_RESULT_END = -1000
} stws_result;

/* Results of the parsers (>>codecs), besides errors; and STWS_OFF, for options. */
enum {
    STWS_MORE = 0, /* a parser needs more bytes */
    STWS_DONE = 1, /* a parser has found a whole frame, piece or head */
    STWS_OFF = -1  /* as the value of an option: off (0 means: use the default) */
};

/* Returns the text of a result, such as "the server refused CONNECT"; never NULL. Threads:
   any. Does not allocate or block. */
STOMP_WS_API const char *stws_result_text(int result);

/* Returns the name of a result, such as "STWS_ERR_LOGIN"; "STWS_UNKNOWN" for other numbers.
   Threads: any. Does not allocate or block. */
STOMP_WS_API const char *stws_result_name(int result);

/* ==== >>frame: a STOMP frame, with all of its headers ====

   A frame that was received is a view: its strings lie in the receive buffer and end in a
   NUL byte. Frames of your own are needed only for the codecs; clients send by stws_send. */

/* A header of STOMP or HTTP. */
typedef struct stws_header {
    const char *name;  /* unescaped, and ended by a NUL byte */
    const char *value; /* unescaped, and ended by a NUL byte */
    size_t name_len;   /* bytes of name; in a frame to be built 0 means strlen(name) */
    size_t value_len;  /* bytes of value; in a frame to be built 0 means strlen(value) */
} stws_header;

/* A version of STOMP. For options.versions these values are combined with |. */
typedef enum stws_stomp_version {
    STWS_STOMP_NONE = 0, /* not negotiated yet: the time before CONNECTED */
    STWS_STOMP_10 = 1,   /* STOMP 1.0 */
    STWS_STOMP_11 = 2,   /* STOMP 1.1 */
    STWS_STOMP_12 = 4    /* STOMP 1.2 */
} stws_stomp_version;

/* The command of a STOMP frame. */
typedef enum stws_command {
    STWS_COMMAND_OTHER,       /* an unknown command; stws_frame.command has its text */
    STWS_COMMAND_CONNECT,     /* client: open a session */
    STWS_COMMAND_STOMP,       /* client: the same as CONNECT */
    STWS_COMMAND_CONNECTED,   /* server: the session is open */
    STWS_COMMAND_SEND,        /* client: a message */
    STWS_COMMAND_SUBSCRIBE,   /* client: begin a subscription */
    STWS_COMMAND_UNSUBSCRIBE, /* client: end a subscription */
    STWS_COMMAND_ACK,         /* client: a message was handled */
    STWS_COMMAND_NACK,        /* client: a message was not handled */
    STWS_COMMAND_BEGIN,       /* client: begin a transaction */
    STWS_COMMAND_COMMIT,      /* client: complete a transaction */
    STWS_COMMAND_ABORT,       /* client: undo a transaction */
    STWS_COMMAND_DISCONNECT,  /* client: end the session */
    STWS_COMMAND_MESSAGE,     /* server: a message of a subscription */
    STWS_COMMAND_RECEIPT,     /* server: a frame of the client was handled */
    STWS_COMMAND_ERROR        /* server: something failed; the server closes the connection */
} stws_command;

/* Whether a frame with a body has a content-length header. */
typedef enum stws_content_length {
    STWS_CONTENT_LENGTH_SEND = 0, /* yes (default) */
    STWS_CONTENT_LENGTH_OMIT = 1, /* no, except for a body with a NUL byte */

    /* No, if the broker is ActiveMQ or Artemis: without this header they make a JMS
       TextMessage of a SEND, and with it a BytesMessage. Only for stws_outgoing. */
    STWS_CONTENT_LENGTH_JMS_TEXT = 2
} stws_content_length;

/* A STOMP frame. Parsed: views into the receive buffer. To be built: your strings. */
typedef struct stws_frame {
    const char *command;     /* the command's text; to be built: NULL means that of command_id */
    stws_command command_id; /* the command, or STWS_COMMAND_OTHER */
    stws_content_length content_length; /* to be built: SEND or OMIT */
    const stws_header *headers;         /* all headers, in the order of the wire */
    size_t header_count;                /* number of headers */
    const char *body;                   /* the body; parsed: body[body_len] is a NUL byte */
    size_t body_len;                    /* bytes of the body */
} stws_frame;

/* Returns the value of the first header with that name, or NULL (STOMP 1.2, "Repeated Header
   Entries": the first one counts). Threads: any. Does not allocate or block. */
STOMP_WS_API const char *stws_frame_header(const stws_frame *frame, const char *name);

/* Returns the text of a command, such as "MESSAGE"; "" for STWS_COMMAND_OTHER (STOMP 1.2,
   "Client Frames" and "Server Frames"). Threads: any. Does not allocate or block. */
STOMP_WS_API const char *stws_command_name(stws_command command_id);

#ifndef STOMP_WS_NO_IO

/* ==== >>message: what arrives ====

   Messages and events are views. They are valid until the next driving call for this client,
   or, in a callback, until it returns. stws_message_copy makes a copy that lasts. */

/* A client: one connection to one broker, made again when it breaks. */
typedef struct stws stws;

/* A queue of messages for many clients, see >>queue. */
typedef struct stws_queue stws_queue;

/* When the library acknowledges a message by itself. */
typedef enum stws_ack_on {
    STWS_ACK_BY_CALL = 0, /* never: the program calls stws_ack or stws_nack (default) */

    /* When the queue has stored the message, or stws_next has returned it. If the program
       then dies, the message is lost. For a callback: when it returns. */
    STWS_ACK_ON_HANDOVER = 1,

    /* When the program is done with the message: its callback returns, or the next driving
       call or stws_queue_pop follows. Not if the program has called stws_ack or stws_nack
       itself. */
    STWS_ACK_ON_RETURN = 2
} stws_ack_on;

/* A frame from the server: a MESSAGE; or, as event.message, an ERROR, RECEIPT, CONNECTED or
   unknown frame. */
typedef struct stws_message {
    const char *destination;  /* header destination, or NULL */
    const char *message_id;   /* header message-id, or NULL */
    const char *subscription; /* header subscription, or NULL */
    const char *content_type; /* header content-type, or NULL */
    const char *ack;          /* header ack (STOMP 1.2: the id for ACK and NACK), or NULL */
    const char *body;         /* the body, never NULL; body[body_len] is a NUL byte */
    size_t body_len;          /* bytes of the body */
    int body_is_utf8;         /* 1 if the body is valid UTF-8 */
    int handle;               /* the subscription (see stws_subscribe); 0 if none matches */
    stws_ack_on ack_on;       /* the subscription's ack_on */
    unsigned epoch;           /* the number of the session in which it arrived */
    stws *client;             /* the client that received it */
    stws_frame frame;         /* the whole frame, with all headers in order */
    int *answered;            /* private */
} stws_message;

/* The kinds of events. */
typedef enum stws_event_type {
    STWS_EVENT_NONE,      /* no event */
    STWS_EVENT_CONNECTED, /* a session begins; message is the CONNECTED frame */
    STWS_EVENT_MESSAGE,   /* a message whose subscription has no on_message */

    /* A receipt has ended: receipt and handle tell which, result tells how. */
    STWS_EVENT_RECEIPT,

    STWS_EVENT_ERROR,        /* the server sent ERROR; message is the frame, text the sentence */
    STWS_EVENT_DISCONNECTED, /* the connection, or the client, has ended; see retry_ms */
    STWS_EVENT_UNHANDLED,    /* message is a frame with an unknown command */
    STWS_EVENT_OUTBOX_HIGH,  /* the outbox holds options.outbox_high bytes or more: send less */
    STWS_EVENT_OUTBOX_LOW,   /* it holds at most options.outbox_low bytes again: go on */

    /* A subscription was set aside, because three sessions in a row ended right after its
       SUBSCRIBE. handle tells which; result and text tell how the last session ended. */
    STWS_EVENT_SUBSCRIPTION_REFUSED
} stws_event_type;

/* Something that happened. Fields that do not belong to the type are 0, NULL or "". */
typedef struct stws_event {
    /* CONNECTED, MESSAGE, RECEIPT, ERROR, UNHANDLED: the frame, or NULL */
    const stws_message *message;

    stws_event_type type; /* what happened */

    /* RECEIPT: STWS_OK, STWS_ERR_BROKER, STWS_ERR_TIMEOUT, STWS_ERR_LOST, or the error that
       kept the frame from being sent. ERROR, DISCONNECTED, SUBSCRIPTION_REFUSED: the error;
       STWS_CLOSED if the program asked for the end. */
    stws_result result;

    /* RECEIPT: the number that the sending call returned; 0 if no call returned it. */
    int receipt;

    /* RECEIPT: the subscription that it confirms, or 0. SUBSCRIPTION_REFUSED: the
       subscription. */
    int handle;

    /* DISCONNECTED: milliseconds until the next attempt; -1: there is none, the client has
       ended. */
    long long retry_ms;

    /* ERROR, DISCONNECTED, SUBSCRIPTION_REFUSED: a sentence with the cause and a remedy.
       RECEIPT with STWS_ERR_LOST: why the session ended. Else "". Never NULL. */
    const char *text;
} stws_event;

/* The direction of a traced frame. */
typedef enum stws_direction {
    STWS_SENT = '>',    /* from us to the server */
    STWS_RECEIVED = '<' /* from the server to us */
} stws_direction;

/* Called with each message; user is the one of the options or of the subscription. */
typedef void (*stws_message_fn)(stws *client, const stws_message *message, void *user);

/* Called with each event that is not a message; user is that of the options. */
typedef void (*stws_event_fn)(stws *client, const stws_event *event, void *user);

/* Called with each frame that is sent or received, also with the HTTP heads: their command
   is "GET /path HTTP/1.1" or the status line. (Of a request that is larger than rx_buffer
   only that line is shown.) A heart-beat has an empty command. Passcodes, Authorization and
   cookies are shown as "***". Everything else is as the peer sent it: escape it before you
   print it. It runs in the thread that sends or reads, under the client's lock, and must not
   call the client. */
typedef void (*stws_trace_fn)(stws *client, stws_direction direction, const stws_frame *frame,
                              void *user);

/* Returns the value of the first header with that name, or NULL (STOMP 1.2, "Repeated Header
   Entries"). The time grows with the number of headers. Threads: any. Does not allocate or
   block. */
STOMP_WS_API const char *stws_header_get(const stws_message *message, const char *name);

/* Returns a copy of a message in one block, or NULL without memory. It lasts until
   stws_message_free. Acknowledge a copy only if ack_on is STWS_ACK_BY_CALL: otherwise the
   original is acknowledged as well. The copy lies in memory of STOMP_WS_MALLOC. Threads:
   any. Allocates, does not block. */
STOMP_WS_API stws_message *stws_message_copy(const stws_message *message);

/* Frees a copy of stws_message_copy or a reply of stws_request. NULL is fine. Threads: any.
   Does not allocate or block. */
STOMP_WS_API void stws_message_free(stws_message *copy);

/* ==== >>options: where a client connects, and how it behaves ====

   Fill a stws_options and give it to stws_create. Every field except url (or urls) may stay
   0: it then has the default that stands beside it. STWS_OFF switches off a time that would
   otherwise have a default. Times are in milliseconds (_ms), sizes in bytes. Every number
   has a range; stws_create refuses a number outside of it with a sentence that names the
   option and the range. A list of headers is flat: name, value, name, value, ..., NULL.
   Strings and lists are copied, so they may be temporary. */

/* As options.proxy: read the proxy from the environment, see "Proxies" above. */
#define STWS_PROXY_FROM_ENVIRONMENT "environment"

/* As options.max_ws_message: never cut a frame into several WebSocket messages. */
#define STWS_WHOLE ((size_t)-1)

/* The kind of broker. Brokers differ in a few headers and limits. */
typedef enum stws_broker_kind {
    STWS_BROKER_UNKNOWN,  /* unknown: the client sends what every broker accepts */
    STWS_BROKER_SPRING,   /* the simple broker of Spring */
    STWS_BROKER_RABBITMQ, /* RabbitMQ with its web_stomp plugin */
    STWS_BROKER_ACTIVEMQ, /* ActiveMQ Classic */
    STWS_BROKER_ARTEMIS   /* ActiveMQ Artemis */
} stws_broker_kind;

/* Which refusals end the client instead of being retried, see "Errors and reconnecting"
   above. */
typedef enum stws_give_up {
    /* any refusal before the first session; later only refused credentials */
    STWS_GIVE_UP_DEFAULT = 0,

    STWS_GIVE_UP_SOON = 1, /* any refusal, also after a session */
    STWS_GIVE_UP_NEVER = 2 /* no refusal */
} stws_give_up;

/* What a send does if the outbox is full. */
typedef enum stws_outbox_policy {
    STWS_FULL_FAIL = 0,        /* returns STWS_ERR_FULL (default) */
    STWS_FULL_DROP_OLDEST = 1, /* drops the oldest message that is not sent yet */
    STWS_FULL_BLOCK = 2        /* waits for room; in the driving thread it returns STWS_ERR_FULL */
} stws_outbox_policy;

/* What happens to a text message that is not UTF-8. */
typedef enum stws_utf8_check {
    /* it is delivered with body_is_utf8 = 0; RabbitMQ sends binary bodies so */
    STWS_UTF8_LENIENT = 0,

    STWS_UTF8_STRICT = 1 /* the connection is closed with 1007 (RFC 6455, 8.1) */
} stws_utf8_check;

/* What before_connect sees, and may change. The strings that it sets must stay valid until
   it is called again. */
typedef struct stws_attempt {
    int number;           /* 1: the first since the last session that lived for stable_ms */
    const char *url;      /* may be replaced */
    const char *login;    /* may be replaced */
    const char *passcode; /* may be replaced */
    const char *const *connect_headers; /* may be replaced */
    const char *const *http_headers;    /* may be replaced */

    /* why the last attempt failed or the last session ended; STWS_OK: none */
    stws_result last_error;

    /* the HTTP status of the last attempt; 101: upgraded; 0: there was no answer */
    int last_status;
} stws_attempt;

/* What before_subscribe sees, and may change. */
typedef struct stws_subscribing {
    int handle;                 /* the subscription */
    const char *destination;    /* its destination */
    const char *const *headers; /* if set, these replace the subscription's own headers */
} stws_subscribing;

/* Called before each attempt to connect; user is that of the options. Returns 0 to connect;
   a positive number to be called again in so many milliseconds; a negative number to end the
   client. After a refused CONNECT attempt->last_error is STWS_ERR_LOGIN, and last_status is
   101. */
typedef int (*stws_before_connect_fn)(stws *client, stws_attempt *attempt, void *user);

/* Called before each SUBSCRIBE; user is that of the options. Returns 0 to subscribe; a
   positive number to be called again in so many milliseconds; a negative number to leave
   this subscription out of this session. */
typedef int (*stws_before_subscribe_fn)(stws *client, stws_subscribing *subscribing, void *user);

/* Plugs of your own, see >>plug. */
struct stws_transport;
struct stws_clock;
struct stws_random;
struct stws_allocator;
struct stws_tls;

/* All options of a client. */
typedef struct stws_options {
    /* -- Where to connect -- */

    /* The server: ws://[user:password@]host[:port]/path, or wss:// for TLS. A Spring
       endpoint that was registered with withSockJS() needs /websocket at the end. user and
       password are sent as HTTP Basic authorization with the upgrade, not in CONNECT. Write
       special characters in them as %XX. An Authorization header in http_headers replaces
       them. Required, unless urls is set. */
    const char *url;

    /* Several servers instead of one, ended by NULL. They are tried in turn. */
    const char *const *urls;

    /* 1: begin with a random one of urls. Default: the first. */
    int shuffle_urls;

    /* Numeric addresses to connect to instead of asking DNS, ended by NULL. */
    const char *const *addresses;

    /* A proxy: http://[user:password@]host:port (CONNECT) or socks5://...; or
       STWS_PROXY_FROM_ENVIRONMENT. Default: none. See "Proxies" above. */
    const char *proxy;

    /* 1: follow an HTTP redirect of the upgrade to the same host, on any port, at most three
       times in a row. Authorization and cookies are sent along. ws to wss is followed, wss
       to ws is not. The next attempt uses the original URL, not the redirect's. Default: 0. */
    int follow_redirects;

    /* -- The HTTP upgrade -- */

    const char *const *http_headers; /* more headers for the upgrade, not for CONNECT */
    const char *origin;              /* header Origin; default: none */
    const char *cookie;              /* header Cookie; default: none */

    /* 1: send the cookies of an answer to the upgrade with the next upgrade to the same
       host, on any port, so that a load balancer finds the same server. The attributes Path
       and Secure are respected. At most 2,048 bytes of cookies are kept. A cookie that has
       expired when it arrives is not kept. A later expiry time is ignored. Default: 0. */
    int keep_cookies;

    /* Subprotocols to offer. Default: "v12.stomp, v11.stomp, v10.stomp", according to
       versions. */
    const char *subprotocols;

    /* -- CONNECT -- */

    const char *login;    /* header login; default: none */
    const char *passcode; /* header passcode; default: none */
    const char *host;     /* header host, the virtual host; default: "/" */

    /* header client-id, which durable subscriptions need; default: none */
    const char *client_id;

    const char *const *connect_headers; /* more headers for CONNECT, not for the upgrade */

    /* STOMP versions to offer, such as STWS_STOMP_12 | STWS_STOMP_11; default: all three */
    int versions;

    /* The kind of broker. It replaces what the header `server` of CONNECTED tells. Default:
       taken from that header. */
    stws_broker_kind broker;

    /* -- Heart-beats -- */

    /* how often we promise to send something; default 10,000; STWS_OFF: never */
    int heartbeat_out_ms;

    /* how often the server shall send something; default 10,000; STWS_OFF: never */
    int heartbeat_in_ms;

    /* how long the server may be silent, in percent of its interval; default 300 */
    int heartbeat_grace;

    /* How often to send WebSocket PINGs if one of the two heart-beats is not agreed, see
       "Heart-beats" above. Default 20,000; STWS_OFF: never. */
    int ping_ms;

    /* -- Time-outs -- */

    /* for TCP, then again for the proxy, then again for TLS; default 10,000 */
    int connect_timeout_ms;

    int handshake_timeout_ms; /* for the answer to the upgrade; default 10,000 */
    int connected_timeout_ms; /* for CONNECTED; default 10,000 */
    int receipt_timeout_ms;   /* for a receipt; default 15,000 */

    /* for ending a session, and for the server to close after ERROR; default 2,000 */
    int close_timeout_ms;

    int write_timeout_ms; /* how long writing may make no progress; default 30,000 */

    /* -- Reconnecting -- */

    int reconnect; /* STWS_OFF: the first failure ends the client */

    /* The delay before the second attempt, without jitter. Default 1,000. The default jitter
       takes off a random part of it, so the client waits for 0 to reconnect_min_ms. For a
       true minimum set a positive reconnect_jitter. */
    int reconnect_min_ms;

    int reconnect_max_ms; /* the longest delay, without jitter; default 30,000 */
    int reconnect_factor; /* each delay in percent of the one before; default 200 */

    /* The random part of a delay, in percent of the delay. A positive number: up to so much
       is added. A number below -1: up to so much is taken off. STWS_OFF (-1): none. Default
       -100, full jitter. */
    int reconnect_jitter;

    /* how often to try again: with 3, the fourth failure in a row ends the client; default
       0: no limit */
    int reconnect_attempts;

    stws_give_up give_up; /* which refusals end the client */
    int stable_ms;        /* a session that lived so long resets the delay; default 5,000 */

    /* A session that reaches this age is replaced by a new one. A random part of up to a
       tenth is taken off the time. Default 0: no limit. */
    int max_session_ms;

    /* -- Delivery -- */

    /* 1: every SEND asks for a receipt, stays in the outbox until the receipt arrives, and
       is resent after a reconnect. STWS_EVENT_RECEIPT is still reported only for sends that
       asked for a receipt themselves (stws_outgoing.receipt). Default: 0. See "Delivery
       guarantees" above. */
    int confirm;

    /* A header that every SEND gets, with an id that stays the same when the message is
       resent, for stws_dedup. Default: none. */
    const char *stable_id;

    size_t outbox_bytes; /* bytes that may wait for a connection or a receipt; default 1 MiB */
    size_t outbox_count; /* messages that may wait there; default 0: any number */

    /* bytes waiting at which STWS_EVENT_OUTBOX_HIGH is reported; default 0: never */
    size_t outbox_high;

    /* bytes waiting at which _LOW follows; less than high; default: half of high */
    size_t outbox_low;

    stws_outbox_policy outbox_policy; /* what a send does if the outbox is full */
    int outbox_block_ms;              /* how long STWS_FULL_BLOCK waits; default 10,000 */

    /* Cut frames into WebSocket messages of at most this size, at least 4 bytes, never
       inside a UTF-8 character. Default 0: as the broker needs it, see "Large frames" above.
       STWS_WHOLE: never. */
    size_t max_ws_message;

    int binary;           /* 1: send every SEND as a binary WebSocket message */
    stws_utf8_check utf8; /* what happens to received text that is not UTF-8 */

    /* -- Memory and limits -- */

    /* Bytes of the receive buffer and of the send buffer. If there is a heap, both grow for
       larger frames: the receive buffer up to max_body, the send buffer for any frame that
       is sent. */
    size_t rx_buffer; /* default 69,632 */
    size_t tx_buffer; /* default 131,072 */

    /* bytes of a received body; default 16 MiB, without a heap the buffer's size */
    size_t max_body;

    size_t max_line;       /* bytes of a received header line; default 65,536 */
    size_t max_headers;    /* headers of a frame; default 128 */
    int max_subscriptions; /* subscriptions at a time; default 256 */

    /* bytes for destination, id and headers of each subscription; default 256 */
    size_t subscription_bytes;

    int max_receipts; /* receipts that are waited for at a time; default 256 */

    /* 1: every call comes from one thread; there is no lock and no wake-up descriptor. In an
       event loop of your own, a stws_stop from a signal handler is then noticed at the next
       stws_step. Default: 0. */
    int single_thread;

    /* -- Callbacks -- */

    /* for messages of subscriptions without a callback of their own */
    stws_message_fn on_message;

    stws_event_fn on_event;                    /* for all other events */
    stws_trace_fn on_trace;                    /* for every frame, in both directions */
    stws_before_connect_fn before_connect;     /* before each attempt */
    stws_before_subscribe_fn before_subscribe; /* before each SUBSCRIBE */
    void *user;                                /* handed to these callbacks */

    /* Messages go to this queue instead of on_message, and make no event of stws_next. There
       are two exceptions: messages of a subscription with a callback of its own, and a
       message larger than the queue. */
    stws_queue *queue;

    /* -- TLS -- */

    /* The TLS library for wss://, as a table of functions (>>plug) that must live as long as
       the client: stws_bearssl(), or stws_openssl() of examples/stomp_ws_openssl.h. Default:
       BearSSL, if it is compiled in. */
    const struct stws_tls *tls;

    /* a PEM file of trusted CAs; default: the system's, see "Caveats" above */
    const char *tls_ca_file;

    const char *tls_ca_pem; /* the trusted CAs themselves, as PEM text */

    /* a PEM file of the client's certificate and its chain; default: none */
    const char *tls_cert_file;

    const char *tls_key_file; /* a PEM file of the client's RSA or EC key; default: none */

    /* SHA-256 of the server's public key (SPKI) in hex or base64, or a string that holds
       several, with blanks or commas between them. The server must have one of them. This is
       checked in addition, also when a session is resumed. Default: none. */
    const char *tls_pin;

    /* 1: do not verify the certificate; tls_pin is still checked; for tests only */
    int tls_insecure_no_verify;

    /* -- Plugs of your own, see >>plug -- */

    const struct stws_transport *transport; /* instead of TCP and TLS */
    const struct stws_clock *clock;         /* instead of the system's clock */
    const struct stws_random *random;       /* instead of the system's random numbers */
    const struct stws_allocator *allocator; /* instead of malloc and free */
} stws_options;

/* Returns the options, all at their defaults. C++ before C++20 needs it, because it has no
   designated initialisers. Threads: any. Does not allocate or block. */
STOMP_WS_API stws_options stws_options_default(void);

/* ==== >>life: create a client, end it, destroy it ====

   A client lives from stws_create or stws_init to stws_destroy. In between it ends once: by
   stws_stop, by stws_disconnect, or by an error. After its end, driving calls return
   STWS_CLOSED or that error, calls that send or subscribe return STWS_CLOSED, and calls that
   ask for an end do nothing. Threads: any, unless stated. */

/* Creates a client in one block of memory. Returns NULL only if there is no memory. If an
   option is wrong there is a client nevertheless, and its first driving call returns the
   error. Allocates, does not block. */
STOMP_WS_API stws *stws_create(const stws_options *options);

/* Returns the number of bytes that stws_init needs for these options, or 0 if an option is
   wrong. Does not allocate or block. */
STOMP_WS_API size_t stws_size(const stws_options *options);

/* Creates a client in memory of yours, of size bytes, aligned as malloc aligns. Such a
   client never allocates, except for the reply of stws_request. Returns STWS_OK and sets
   *client; else STWS_ERR_MEMORY if size is too small, STWS_ERR_USAGE or STWS_ERR_URL for an
   option, STWS_ERR_IO if the system has no descriptor left, and sets *why (which may be
   NULL) to a sentence. Does not allocate or block. */
STOMP_WS_API int stws_init(void *memory, size_t size, const stws_options *options, stws **client,
                           const char **why);

/* Destroys a client: closes the connection, wipes secrets, releases the memory. Messages
   that were not sent are lost; call stws_close first. Call it after every other thread has
   finished with the client. It stops and joins the thread of stws_start. It does nothing in
   a callback, and while a thread of your own is in a driving call. No callback comes after
   it. NULL is fine. Does not allocate. Blocks only to join. */
STOMP_WS_API void stws_destroy(stws *client);

/* Ends the client soon: what is waiting is written as far as the connection takes it at the
   moment, then DISCONNECT and a close frame. stws_run then returns 0, and stws_next returns
   STWS_CLOSED. Threads: any, also signal handlers. Does not allocate or block. */
STOMP_WS_API void stws_stop(stws *client);

/* Asks for a graceful end: send what is waiting, send DISCONNECT with a receipt, wait for the
   receipt, close with 1000, all within timeout_ms (-1: close_timeout_ms). Drive the client on
   until its end, or call stws_close instead.

   If ack_on is set, the message that the program handles is acknowledged first. DISCONNECT
   follows when nothing waits to be sent any more, and when the program has given back the
   messages that it popped from a queue. Messages that arrive after it are delivered; they can
   no longer be acknowledged (STWS_ERR_STALE), so the server delivers them again. If the
   connection breaks, the client connects again and goes on. If something cannot be sent or
   confirmed in time, the client's end is STWS_ERR_LOST with a sentence.

   Returns STWS_OK, or STWS_ERR_MEMORY if the client is NULL. Does not allocate or block.
   STOMP 1.2, "DISCONNECT". */
STOMP_WS_API int stws_disconnect(stws *client, int timeout_ms);

/* Calls stws_disconnect with that timeout_ms (-1: close_timeout_ms), and drives until the
   end. A thread of stws_start ends, too; stws_destroy joins it, if stws_join does not.
   stws_close waits while another thread is in a driving call, or still uses an event of
   stws_next (until that thread's next driving call). Returns 0 if nothing was lost;
   STWS_ERR_LOST; the error with which the client has ended; STWS_ERR_STATE in a callback;
   STWS_ERR_MEMORY if the client is NULL. Threads: any, outside of callbacks. Allocates only
   copies of events for stws_next; blocks. STOMP 1.2, "DISCONNECT". */
STOMP_WS_API int stws_close(stws *client, int timeout_ms);

/* Writes the messages that sending calls have accepted, for at most close_timeout_ms, then
   replaces the connection by a new one. Returns STWS_OK, or STWS_ERR_MEMORY if the client is
   NULL. Does not allocate or block. */
STOMP_WS_API int stws_reconnect_now(stws *client);

/* ==== >>subscribe: receive messages ====

   Threads: any, also callbacks, in every state of the client. These calls do not block. They
   allocate only if tx_buffer must grow for a large frame. */

/* The value of SUBSCRIBE's header ack: who acknowledges messages. */
typedef enum stws_ack_mode {
    STWS_ACK_DEFAULT = 0,          /* AUTO; with ack_on set, CLIENT_INDIVIDUAL */
    STWS_ACK_AUTO = 1,             /* "auto": no ACKs, a written message is handled */
    STWS_ACK_CLIENT = 2,           /* "client": an ACK also covers all earlier messages */
    STWS_ACK_CLIENT_INDIVIDUAL = 3 /* "client-individual": an ACK covers one message */
} stws_ack_mode;

/* Options of one subscription. All may stay 0 (C: `= {0}`, C++: `= {}`). */
typedef struct stws_subscribe_options {
    const char *id; /* header id; default: one of ours */

    /* The name under which the broker keeps a topic's messages while no client is there,
       translated into the headers of each broker. It is also the id, if there is none. Set
       options.client_id, too. Spring's simple broker keeps nothing. Default: none. */
    const char *durable;

    /* more headers: name, value, ..., NULL; they replace those of prefetch and durable */
    const char *const *headers;

    stws_ack_mode ack;  /* header ack */
    stws_ack_on ack_on; /* when the library acknowledges by itself */
    int receipt;        /* 1: report STWS_EVENT_RECEIPT when the server has confirmed it */

    /* How many messages the broker may send before their ACKs, translated into the header of
       each broker (for Artemis, which counts bytes: 1,024 bytes per message). With
       STWS_ACK_ON_RETURN the broker then sends only as many as you handle. Default: the
       broker's. */
    int prefetch;

    stws_message_fn on_message; /* called instead of options.on_message */
    void *user;                 /* handed to this on_message */
} stws_subscribe_options;

/* Subscribes to a destination. Call it once, not at each CONNECTED: the client subscribes again
   in every session. options may be NULL.

   Returns a handle > 0, which stays valid across reconnects; STWS_ERR_USAGE for a missing
   destination, a wrong option, or an id in use; STWS_ERR_LIMIT if max_subscriptions,
   subscription_bytes or max_receipts is reached; STWS_ERR_FRAME_BUILD if no STOMP version
   can represent the headers; STWS_ERR_MEMORY; STWS_CLOSED after the client's end;
   STWS_ERR_STATE after stws_disconnect. STOMP 1.2, "SUBSCRIBE". */
STOMP_WS_API int stws_subscribe(stws *client, const char *destination,
                                const stws_subscribe_options *options);

/* Ends a subscription. Messages that are still on their way match no subscription then. The
   broker forgets a durable subscription. If the program still handles a message of this
   subscription, and ack_on will acknowledge it, UNSUBSCRIBE is sent after that ACK. The id can
   be used again then. Messages that another thread has popped from a queue are not waited for.

   Returns 0; STWS_ERR_USAGE for an unknown handle; STWS_ERR_FULL if there is no room for
   UNSUBSCRIBE; STWS_ERR_MEMORY; STWS_CLOSED after the client's end; STWS_ERR_STATE after
   stws_disconnect. STOMP 1.2, "UNSUBSCRIBE". */
STOMP_WS_API int stws_unsubscribe(stws *client, int handle);

/* ==== >>send: publish messages ====

   Threads: any, also callbacks, in every state of the client. These calls copy what they are
   given, and return before the message is on the wire. Messages of one thread are sent in
   the order of the calls. They block only with STWS_FULL_BLOCK: then they wait for room in
   the outbox and, if a receipt is asked for, until fewer than max_receipts receipts are
   outstanding. They allocate only if tx_buffer must grow for a large frame. */

/* A message to send, with all that SEND can express. Fields that are not needed stay 0 (C:
   `= {0}`, C++: `= {}`). */
typedef struct stws_outgoing {
    const char *destination; /* header destination */
    const char *body;        /* the body; NULL: empty */
    size_t body_len;         /* bytes of the body */

    /* header content-type; default: none, or application/octet-stream if the body is not
       UTF-8 */
    const char *content_type;

    /* the transaction that it is part of, see stws_begin; default: none */
    const char *transaction;

    const char *const *headers; /* more headers: name, value, ..., NULL */

    /* 1: STWS_EVENT_RECEIPT tells how it ended; also needed with options.confirm */
    int receipt;

    stws_content_length content_length; /* whether it has a content-length header */
} stws_outgoing;

/* Publishes a body of body_len bytes to a destination. It has no content-type, except
   application/octet-stream if it is not UTF-8. body may be NULL if body_len is 0.

   Returns 0; STWS_ERR_FULL if the outbox is full (see outbox_policy); STWS_ERR_TIMEOUT if it
   is still full after outbox_block_ms with STWS_FULL_BLOCK; STWS_ERR_LIMIT if the message
   can never fit, or max_receipts is reached; STWS_ERR_USAGE for a missing destination or
   another wrong argument; STWS_ERR_FRAME_BUILD if no STOMP version can represent it;
   STWS_ERR_STALE if its transaction was given up; STWS_ERR_STATE after stws_disconnect;
   STWS_CLOSED after the client's end; STWS_ERR_MEMORY. STOMP 1.2, "SEND". */
STOMP_WS_API int stws_send(stws *client, const char *destination, const void *body,
                           size_t body_len);

/* Publishes a text to a destination, with content-type text/plain;charset=utf-8, in the form
   that the broker regards as text (STWS_CONTENT_LENGTH_JMS_TEXT). text may be NULL (empty).
   Returns 0, or an error of stws_send. STOMP 1.2, "SEND". */
STOMP_WS_API int stws_send_text(stws *client, const char *destination, const char *text);

/* Publishes a message with headers, a receipt, or in a transaction. Returns 0; the number (>
   0) of the receipt, if receipt is 1; or an error of stws_send. STOMP 1.2, "SEND". */
STOMP_WS_API int stws_send_ex(stws *client, const stws_outgoing *message);

/* Adds headers reply-to and correlation-id to a message, sends it, and waits for the answer.
   timeout_ms: -1 means no limit. A reply without correlation-id is accepted, too. Sets *reply
   to a copy; free it with stws_message_free. The reply is the only confirmation: also with
   options.confirm the message asks for no receipt, and is not resent once it was written.

   This is a driving call: it calls back, and keeps events without a callback for stws_next,
   as stws_flush does. Returns 0; STWS_ERR_TIMEOUT; STWS_ERR_BROKER if an ERROR came;
   STWS_ERR_STATE in a callback or while another thread drives; an error of stws_send; or the
   error that ended the client. Threads: as driving calls. Allocates the reply; blocks. STOMP
   1.2, "SEND". */
STOMP_WS_API int stws_request(stws *client, const stws_outgoing *message, stws_message **reply,
                              int timeout_ms);

/* ==== >>ack: acknowledge messages ====

   Needed for subscriptions with STWS_ACK_CLIENT or STWS_ACK_CLIENT_INDIVIDUAL, unless ack_on
   does it. Threads: any, also callbacks. These calls do not block. They allocate only if
   tx_buffer must grow. */

/* Acknowledges a message: it was handled. Names it as the STOMP version requires: by id, or by
   message-id and subscription.

   Returns 0, also between stws_disconnect and the sending of DISCONNECT; STWS_ERR_STALE if
   the message belongs to an earlier session, or DISCONNECT was sent: nothing is sent then,
   and the server delivers the message again; STWS_ERR_USAGE if the message is NULL, belongs
   to another client, or lacks the header that ACK must name; STWS_ERR_FULL if there is no
   room; STWS_ERR_LIMIT; STWS_ERR_STATE if the client is about to end; STWS_CLOSED after its
   end; STWS_ERR_MEMORY if it is NULL. STOMP 1.2, "ACK". */
STOMP_WS_API int stws_ack(stws *client, const stws_message *message);

/* Rejects a message: it was not handled. The broker decides what happens to it. Returns 0;
   STWS_ERR_FRAME_BUILD in STOMP 1.0, which has no NACK; or an error of stws_ack. STOMP 1.2,
   "NACK". */
STOMP_WS_API int stws_nack(stws *client, const stws_message *message);

/* Acknowledges a message as part of a transaction; transaction is its name. Returns 0;
   STWS_ERR_STALE also if the transaction was given up; or an error of stws_ack. STOMP 1.2,
   "ACK". */
STOMP_WS_API int stws_ack_in(stws *client, const stws_message *message, const char *transaction);

/* Rejects a message as part of a transaction; transaction is its name. Returns 0;
   STWS_ERR_STALE also if the transaction was given up; or an error of stws_nack. STOMP 1.2,
   "NACK". */
STOMP_WS_API int stws_nack_in(stws *client, const stws_message *message, const char *transaction);

/* ==== >>transactions: several frames, all or nothing ====

   A transaction has a name of your choice. Name it in stws_outgoing.transaction and in
   stws_ack_in. Several may be open at a time. Threads: any, also callbacks. These calls do
   not block. They allocate only if tx_buffer must grow. */

/* Begins the transaction with that name. Returns 0; STWS_ERR_USAGE without a name;
   STWS_ERR_FULL if the outbox is full; STWS_ERR_FRAME_BUILD if no STOMP version can
   represent the name; STWS_ERR_LIMIT; STWS_ERR_STATE after stws_disconnect; STWS_CLOSED
   after the client's end; STWS_ERR_MEMORY. STOMP 1.2, "BEGIN". */
STOMP_WS_API int stws_begin(stws *client, const char *transaction);

/* Completes the transaction: all of its frames take effect. Returns 0; STWS_ERR_STALE if it
   was given up, because it held an ACK of an earlier session; or an error of stws_begin.
   STOMP 1.2, "COMMIT". */
STOMP_WS_API int stws_commit(stws *client, const char *transaction);

/* Undoes the transaction: none of its frames takes effect. Returns 0 or an error of
   stws_begin. STOMP 1.2, "ABORT". */
STOMP_WS_API int stws_abort(stws *client, const char *transaction);

/* ==== >>drive: make the client run ====

   Threads: one at a time drives a client. A driving call returns STWS_ERR_STATE while
   another thread is in one, and in a callback of the client. timeout_ms: -1 means no limit,
   0 does not block. Driving calls allocate only for frames, or an HTTP upgrade, larger than
   the buffers; stws_request also allocates the reply and copies of events. The system's
   resolver may allocate, and blocks. All return STWS_ERR_MEMORY if the client is NULL,
   unless stated. */

/* A descriptor to wait for. */
typedef struct stws_fd {
    int fd;    /* the descriptor */
    int wants; /* what to wait for: STWS_WANT_READ, STWS_WANT_WRITE, or both */
} stws_fd;

/* What to wait for at a descriptor: bits. */
typedef enum stws_want {
    STWS_WANT_READ = 1,  /* until it can be read */
    STWS_WANT_WRITE = 2, /* until it can be written */
    STWS_WANT_NOW = 4    /* do not wait: data is ready inside of the transport */
} stws_want;

/* Blocks, connects, and calls back until the client's end. Returns 0 after stws_stop; after
   stws_disconnect 0, or STWS_ERR_LOST if something was lost; STWS_ERR_USAGE or STWS_ERR_URL
   for a wrong option; STWS_ERR_STATE in a callback, or while another thread is in a driving
   call; else the error that ended the client. Blocks. */
STOMP_WS_API int stws_run(stws *client);

/* Runs several clients until all have ended, as stws_run does. Returns 0; STWS_ERR_TIMEOUT
   after timeout_ms; STWS_ERR_USAGE if clients is NULL; STWS_ERR_STATE in a callback. count
   is their number. Do not destroy any of them before it returns. Each round steps every
   client, and polls the descriptors of 64 of them; the next round polls the next 64. For
   thousands of clients use an event loop and the calls below. Blocks up to timeout_ms. */
STOMP_WS_API int stws_run_many(stws *const *clients, int count, int timeout_ms);

/* Runs the client in a thread of its own, as stws_run does. Returns 0; STWS_ERR_STATE if it
   runs already, or with single_thread; STWS_ERR_MEMORY if the system cannot make a thread.
   Does not block. */
STOMP_WS_API int stws_start(stws *client);

/* Waits for the end of the thread of stws_start, and returns what stws_run returned in it: 0
   or the final error; STWS_ERR_STATE without such a thread, or in it. Blocks. */
STOMP_WS_API int stws_join(stws *client);

/* Waits for CONNECTED, and calls back meanwhile. It is not needed: every driving call
   connects. Returns 0; after timeout_ms the error of the last attempt, or STWS_ERR_TIMEOUT
   if no attempt has failed; STWS_ERR_STATE in a callback; or the error that ended the
   client. If another thread drives, it waits until that has connected. Blocks up to
   timeout_ms. */
STOMP_WS_API int stws_connect(stws *client, int timeout_ms);

/* Returns the next event: connects if there is no connection, and waits. All other ways to
   drive are built on it. Subscriptions with a callback are called back and make no event.
   on_message and on_event of the options are not called: their events are returned. In an event
   loop of your own you can call it, with timeout_ms 0, in place of stws_step, until it returns
   0.

   Returns 1 and sets *event, whose pointers are valid until the next driving call; 0 if none
   came within timeout_ms; STWS_CLOSED after an end that the program asked for;
   STWS_ERR_USAGE if event is NULL; STWS_ERR_STATE in a callback, or while another thread is
   in a driving call; or the error that ended the client (stws_error_text tells why). Blocks
   up to timeout_ms. */
STOMP_WS_API int stws_next(stws *client, stws_event *event, int timeout_ms);

/* Sets out[0], out[1], ... to the descriptors to wait for, at most cap of them; there are
   never more than 3. Ask again after each step, because a reconnect changes them.
   Level-triggered waiting (poll, select, epoll without EPOLLET) is enough. Returns how many;
   0 after the client's end, or if the client is NULL; STWS_ERR_USAGE if out is NULL;
   STWS_ERR_STATE in a callback, or while another thread is in a driving call. Does not
   block. */
STOMP_WS_API int stws_fds(stws *client, stws_fd *out, int cap);

/* Returns the number of milliseconds after which stws_step must be called even if no
   descriptor is ready: at most 3,600,000 (an hour); 0 means now, also after the client's
   end; -1 means no limit. Returns STWS_ERR_STATE in a callback, or while another thread is
   in a driving call. It is 0 if the client is NULL: stws_step then tells why. Does not
   block. */
STOMP_WS_API long long stws_deadline(stws *client);

/* Does what can be done without waiting, and calls back. Returns 0; after the client's end
   STWS_CLOSED or the error; STWS_ERR_STATE in a callback, or while another thread is in a
   driving call. Does not block, except for the system's resolver. */
STOMP_WS_API int stws_step(stws *client);

/* ==== >>flush: be sure that messages are out ==== */

/* Writes what is waiting. timeout_ms: -1 means no limit. Returns 0 if all is written and, with
   options.confirm, confirmed. While another thread drives, it waits. Otherwise it drives, calls
   back, and gives way to a thread that wants to drive.

   Events without a callback are kept for stws_next, as many as fit into rx_buffer bytes. If one
   more comes, stws_flush ends with STWS_ERR_FULL. CONNECTED and DISCONNECTED are not kept. The
   event that stws_next returned last may become invalid: stws_ack of its message then returns
   STWS_ERR_STALE.

   In a callback it writes, but does not read. It returns STWS_ERR_STATE there if writing is
   not enough, as with options.confirm. Other errors: STWS_ERR_TIMEOUT after timeout_ms;
   STWS_ERR_MEMORY if the client is NULL; STWS_CLOSED if the client ends while messages wait
   (after the end it returns 0 if nothing waits); STWS_ERR_LOST, or the error of the
   connection, if messages were lost with it. Threads: any. Allocates only copies of events;
   blocks up to timeout_ms. */
STOMP_WS_API int stws_flush(stws *client, int timeout_ms);

/* ==== >>state: state, errors, statistics ====

   Threads: any. These calls do not allocate or block. A text is never NULL, except from
   stws_upgrade_header. It is valid until the calling thread's next call; in the thread that
   drives, until its next driving call. A client that is NULL has the state STWS_ENDED and
   the error STWS_ERR_MEMORY. */

/* The states of a client. */
typedef enum stws_connection_state {
    STWS_IDLE,       /* created; no driving call was made yet */
    STWS_RESOLVING,  /* the host name is being resolved */
    STWS_CONNECTING, /* the TCP connection, and the way through a proxy, is being made */
    STWS_TLS,        /* the TLS handshake runs */
    STWS_UPGRADING,  /* the HTTP upgrade runs */
    STWS_LOGGING_IN, /* CONNECT was sent */
    STWS_CONNECTED,  /* there is a session */
    STWS_CLOSING,    /* the session is being ended */
    STWS_BACKOFF,    /* there is no connection; the client waits for the next attempt */
    STWS_ENDED       /* the client has ended */
} stws_connection_state;

/* Numbers since the client was created. */
typedef struct stws_statistics {
    unsigned long long bytes_in;             /* bytes read from the transport */
    unsigned long long bytes_out;            /* bytes written to the transport */
    unsigned long long reads;                /* reads from the transport */
    unsigned long long writes;               /* writes to the transport */
    unsigned long long frames_in;            /* STOMP frames received */
    unsigned long long frames_out;           /* STOMP frames sent */
    unsigned long long messages_in;          /* MESSAGE frames received */
    unsigned long long messages_out;         /* SEND frames sent */
    unsigned long long heartbeats_in;        /* heart-beats received */
    unsigned long long heartbeats_out;       /* heart-beats sent */
    unsigned long long sessions;             /* sessions that began */
    unsigned long long reconnects;           /* sessions that were not the first */
    unsigned long long invalid_utf8;         /* text messages that were not UTF-8 */
    unsigned long long stale_acks;           /* ACKs that were not sent, see stws_ack */
    unsigned long long unknown_subscription; /* messages that match no subscription */

    /* Sends that outbox_policy dropped, or that could not be represented in a session. */
    unsigned long long dropped;

    unsigned long long late_loops; /* turns that came too late for a heart-beat */

    /* microseconds from the last SEND with a receipt to its receipt; -1: none yet */
    long long rtt_us;

    /* the shortest time that ever remained until the server would have been called dead; -1:
       none yet */
    long long heartbeat_slack_ms;

    /* Messages without a subscription header that were matched by their destination. */
    unsigned long long matched_by_destination;

    unsigned long long pings_out; /* WebSocket PINGs sent, see options.ping_ms */
    unsigned long long pongs_in;  /* answers to them */
} stws_statistics;

/* Returns the state of the client. */
STOMP_WS_API stws_connection_state stws_state(const stws *client);

/* Returns a word for a state, such as "connected"; "unknown" for other numbers. */
STOMP_WS_API const char *stws_state_name(stws_connection_state state);

/* Returns the kind of broker, from options.broker or from CONNECTED. */
STOMP_WS_API stws_broker_kind stws_broker(const stws *client);

/* Returns the STOMP version of the session; STWS_STOMP_NONE before the first one. */
STOMP_WS_API stws_stomp_version stws_version(const stws *client);

/* Returns the result code of the last error; 0 again once connected. */
STOMP_WS_API int stws_error(const stws *client);

/* Returns a sentence that tells why this thread's last call was refused. If it was not: in
   the thread that drives, and after the client's end, the sentence of the last error; in
   other threads the text of the error's code; "" without any error. */
STOMP_WS_API const char *stws_error_text(const stws *client);

/* Returns the HTTP status of the last answer to an upgrade, or 0. */
STOMP_WS_API int stws_http_status(const stws *client);

/* Returns a header of the last answer to an upgrade, or NULL; the case of name does not
   matter. It is meant for before_connect and for STWS_EVENT_CONNECTED, and is valid until
   the next answer. The first rx_buffer / 16 bytes of the headers are kept, at most 4,096.
   Threads: the one that drives, and its callbacks. */
STOMP_WS_API const char *stws_upgrade_header(const stws *client, const char *name);

/* Returns the code of the last close frame of the server (RFC 6455, section 7.4), or 0. */
STOMP_WS_API int stws_close_code(const stws *client);

/* Returns the user pointer of the options. */
STOMP_WS_API void *stws_user(const stws *client);

/* Sets *out to the client's statistics. */
STOMP_WS_API void stws_stats(stws *client, stws_statistics *out);

/* ==== >>queue: one queue for many clients ====

   A bounded queue of messages. Clients put messages in (options.queue), and any thread takes
   them out. While it is full, its clients do not read. Threads: any. Create the queue before
   its clients, and destroy it after them. Only stws_queue_create allocates, only
   stws_queue_pop blocks. */

/* Creates a queue of capacity bytes (1 to 2,147,483,647; 0 means 65,536) in one block of
   memory of STOMP_WS_MALLOC. Room becomes free in the order of arrival: a thread that keeps
   a message for long keeps the room of all later ones. So size the capacity for the slowest
   thread, or copy a message before long work. Returns NULL without memory, and for a larger
   capacity. */
STOMP_WS_API stws_queue *stws_queue_create(size_t capacity);

/* Gives back the message that *message points to, and takes out the next one. Set *message to
   NULL once, then call it in a loop. Each thread has its own variable. If ack_on is
   STWS_ACK_ON_RETURN, giving back acknowledges. While there is no room for that ACK, *message
   stays as it is, and the call returns 0 after timeout_ms; in the driving thread it returns 0
   immediately. (*message)->client is the client, for stws_ack, or NULL if that was destroyed.

   Returns 1 and sets *message; 0 if none came within timeout_ms (-1: no limit); STWS_CLOSED
   if the queue is empty and closed, or empty and all clients that had it have ended or are
   destroyed (in this case a new client makes it usable again); STWS_ERR_MEMORY if queue is
   NULL; STWS_ERR_USAGE if message is NULL. */
STOMP_WS_API int stws_queue_pop(stws_queue *queue, const stws_message **message, int timeout_ms);

/* Closes a queue: no message goes in any more, and all waiting threads wake up. Messages
   inside of it can still be taken out. */
STOMP_WS_API void stws_queue_close(stws_queue *queue);

/* Destroys a queue. Destroy its clients first. NULL is fine. */
STOMP_WS_API void stws_queue_destroy(stws_queue *queue);

/* ==== >>plug: a transport, clock, TLS library, randomness or allocator of your own ====

   Each is a table of functions. Those of the options are copied into the client, except for
   stws_tls. ctx is handed to each of its functions. The driving thread calls them, and holds
   no lock, unless stated. They must not block. */

/* Where a transport connects to. */
typedef struct stws_endpoint {
    const char *host; /* host name or address of the URL */
    int port;         /* port of the URL */
    int secure;       /* 1 for wss:// */
} stws_endpoint;

/* A byte stream instead of TCP: a serial line, a test. One for each client. */
typedef struct stws_transport {
    void *ctx; /* handed to each function */

    /* Begins to connect, or goes on with it. Returns STWS_DONE when connected; STWS_MORE to
       be called again when fd is ready; or an error. */
    int (*open)(void *ctx, const stws_endpoint *to);

    /* Reads up to len bytes into buf. Returns how many; 0 if there are none at the moment;
       STWS_ERR_EOF at the end of the stream; or an error. */
    long (*read)(void *ctx, char *buf, size_t len);

    /* Writes up to len bytes of buf. Returns how many; 0 if none can be written at the
       moment; or an error. */
    long (*write)(void *ctx, const char *buf, size_t len);

    void (*close)(void *ctx); /* closes the stream; also called after an open that failed */

    /* returns the descriptor to wait for; -1: none, the client then asks every 10 ms */
    int (*fd)(void *ctx);

    /* NULL, or: changes STWS_WANT_READ and STWS_WANT_WRITE, which the client wants, into
       what must be waited for. Returns STWS_WANT_NOW if data is ready inside. */
    int (*wants)(void *ctx, int wants);

    const char *(*error)(void *ctx); /* NULL, or: returns a sentence for the last failure */
} stws_transport;

/* A clock instead of the system's. Any thread may call it. */
typedef struct stws_clock {
    void *ctx;                      /* handed to each function */
    long long (*now_us)(void *ctx); /* returns a monotonic time in microseconds */

    /* NULL, or: returns how long the machine has slept, which now_us leaves out */
    long long (*slept_us)(void *ctx);
} stws_clock;

/* Random numbers instead of the system's. The client calls it in any thread that calls the
   client, sometimes under the lock, one call at a time. */
typedef struct stws_random {
    void *ctx; /* handed to the function */

    /* Fills out with len random bytes. Returns 0, or -1 if there is no randomness: the
       connection then fails. Must be suitable for cryptography (RFC 6455, section 10.3). */
    int (*fill)(void *ctx, void *out, size_t len);
} stws_random;

/* An allocator instead of STOMP_WS_MALLOC and STOMP_WS_FREE, for what belongs to a client:
   its block, grown buffers, and events that are kept for stws_next. Copies of messages,
   replies and queues use STOMP_WS_MALLOC. */
typedef struct stws_allocator {
    void *ctx; /* handed to each function */

    /* returns size bytes, aligned as malloc aligns, or NULL */
    void *(*alloc)(void *ctx, size_t size);

    /* frees a block of alloc, of that size */
    void (*release)(void *ctx, void *block, size_t size);
} stws_allocator;

/* What a TLS connection can do at the moment: bits. */
typedef enum stws_tls_state {
    STWS_TLS_HAS_OUTPUT = 1,  /* output has bytes for the socket */
    STWS_TLS_TAKES_INPUT = 2, /* input has room for bytes of the socket */
    STWS_TLS_TAKES_DATA = 4,  /* the handshake is done, no output waits, and write takes bytes */
    STWS_TLS_HAS_DATA = 8     /* read has decrypted bytes */
} stws_tls_state;

/* The argument of stws_tls.begin, valid until stws_tls.end is called. */
typedef struct stws_tls_start {
    /* the server: its certificate must name this host, or this address if it is numeric */
    const char *host;

    int port; /* the server's port */

    /* 1: the last completed handshake was with the same host and port, so its session may be
       resumed. 0: no session may be resumed. */
    int resume;

    /* for its tls_ fields; the client itself checks tls_pin */
    const struct stws_options *options;

    /* the client's random numbers; if it fails, begin must fail */
    const struct stws_random *random;
} stws_tls_start;

/* A TLS library, for options.tls: functions without I/O. The client moves the encrypted
   bytes between them and the socket, through a proxy or not. The table must live as long as
   its clients. The first parameter is the state of one client: size bytes in its block. The
   functions are called one at a time for a client. input, output, read and write are called
   only while state() returns their bit; output also after an error. */
typedef struct stws_tls {
    size_t size; /* bytes of a state; zeroed before the first begin, wiped at the end */

    /* Begins a handshake. The state still holds what end left there: usually a session that
       may be resumed. Returns STWS_DONE, or an error. */
    int (*begin)(void *tls, const stws_tls_start *start);

    /* Returns bits of stws_tls_state; STWS_ERR_EOF if the peer has ended TLS (close_notify)
       and all its data was read; STWS_ERR_TLS_TRUST for a certificate that is not trusted;
       else STWS_ERR_TLS. */
    int (*state)(void *tls);

    /* returns where to put encrypted bytes; *room: how many */
    char *(*input)(void *tls, size_t *room);

    void (*received)(void *tls, size_t len); /* len bytes were put there */

    /* returns encrypted bytes to send; also asked after an error, for an alert */
    const char *(*output)(void *tls, size_t *len);

    void (*sent)(void *tls, size_t len); /* len of them were sent */

    /* moves decrypted bytes to buf; returns how many, at least 1 */
    size_t (*read)(void *tls, char *buf, size_t len);

    /* encrypts bytes, which output then returns; returns how many it took */
    size_t (*write)(void *tls, const char *buf, size_t len);

    void (*close)(void *tls); /* makes close_notify the next output */

    /* May be NULL. Called when the connection is over, also after a begin that failed.
       Releases all except the session. */
    void (*end)(void *tls);

    /* may be NULL; called when the client is destroyed, after end; releases the rest */
    void (*destroy)(void *tls);

    /* Writes the SHA-256 of the server's public key (SubjectPublicKeyInfo in DER), for
       tls_pin, also if a session was resumed. Returns 1; 0 if it is unknown: then no pin
       matches. */
    int (*key_hash)(void *tls, unsigned char sha256[32]);

    /* Returns a sentence with a remedy for what begin or state returned. Sets *final to 1 if
       another attempt would not change it (for STWS_ERR_TLS_TRUST that is assumed). */
    const char *(*error)(void *tls, int *final);
} stws_tls;

/* Returns the table for TLS 1.2 by BearSSL, the default of options.tls. It allocates
   nothing. Returns NULL if the implementation was compiled without STOMP_WS_BEARSSL.
   Threads: any. Does not allocate or block. */
STOMP_WS_API const stws_tls *stws_bearssl(void);

/* Helps to write stws_tls.error: returns what an alert of the server means (RFC 8446,
   section 6), with a remedy; NULL for an alert that may be temporary. Threads: any. Does not
   allocate or block. */
STOMP_WS_API const char *stws_tls_alert_text(int alert);

#endif /* STOMP_WS_NO_IO */

/* ==== >>codecs: STOMP, WebSocket, HTTP upgrade and URLs without any I/O ====

   What the client is built on, usable alone. Threads: any, each with a state of its own. No
   codec allocates, blocks, or keeps anything outside of its arguments. A parser works in
   place: it changes buf[0..len). *used is set to the number of bytes that are consumed; call
   again with the rest and more. A builder writes at most cap bytes to buf, and sets *need to
   the bytes that the output takes. */

/* The state of a STOMP parser. Set all to zero, then version, headers and max_headers. */
typedef struct stws_frame_state {
    stws_header *headers;       /* a table for the headers of one frame */
    size_t max_headers;         /* entries of the table */
    stws_stomp_version version; /* the version of the stream; may change between frames */
    size_t max_line;            /* bytes of a header line; 0: 65,536 */
    size_t max_body;            /* bytes of a body; 0: 16 MiB */
    size_t heartbeats;          /* counts end-of-lines between frames; reset it as you like */

    const char *base;            /* private, as all below */
    size_t line;                 /* private */
    size_t scanned;              /* private */
    size_t colon;                /* private */
    size_t header_count;         /* private */
    size_t body_len;             /* private */
    int phase;                   /* private */
    int command_id;              /* private */
    int odd;                     /* private */
    const stws_header *known[8]; /* private */
    const stws_header *known_in; /* private */
    size_t known_count;          /* private */
    unsigned char expected[24];  /* private */
} stws_frame_state;

/* Parses a STOMP frame in place: bytes of buf are unescaped and ended by NUL bytes.

   Returns STWS_DONE and sets *frame, which is valid until the bytes change or the state
   parses on; *used is the length of the frame. Returns STWS_MORE if more bytes are needed:
   drop *used bytes (end-of-lines) and call again with the rest and more, in the same or
   another place; no byte is scanned twice. Returns STWS_ERR_FRAME_*: the stream cannot be
   parsed any further. STOMP 1.2, "Augmented BNF". */
STOMP_WS_API int stws_frame_parse(char *buf, size_t len, stws_frame_state *state, stws_frame *frame,
                                  size_t *used);

/* Builds a STOMP frame as that version represents it. A body gets a content-length, unless the
   frame has one or content_length is STWS_CONTENT_LENGTH_OMIT.

   Returns STWS_OK; STWS_ERR_SPACE if it takes more than cap bytes (nothing is written then);
   STWS_ERR_FRAME_BUILD if the version cannot represent it: LF, CR or NUL where the version
   has no escape sequence, a colon in a name where it has none, a wrong content-length, a
   body in a frame that must not have one. STOMP 1.2, "Augmented BNF". */
STOMP_WS_API int stws_frame_build(char *buf, size_t cap, stws_stomp_version version,
                                  const stws_frame *frame, size_t *need);

/* The opcode of a WebSocket frame (RFC 6455, section 5.2). */
typedef enum stws_ws_opcode {
    STWS_WS_CONTINUATION = 0, /* goes on with a message */
    STWS_WS_TEXT = 1,         /* begins a text message */
    STWS_WS_BINARY = 2,       /* begins a binary message */
    STWS_WS_CLOSE = 8,        /* closes the connection */
    STWS_WS_PING = 9,         /* asks for a PONG */
    STWS_WS_PONG = 10         /* answers a PING */
} stws_ws_opcode;

/* The state of a WebSocket parser, for one direction of a connection. Set all to zero, then
   server, check_utf8, and the limits. */
typedef struct stws_ws {
    int server;           /* 1: we are the server, so frames must be masked; 0: they must not be */
    int check_utf8;       /* 1: check text as it arrives */
    size_t max_message;   /* bytes of a message; 0: no limit */
    size_t max_fragments; /* frames of a message, also empty ones; 0: 65,537 */
    int close_code;       /* after an error: the code to close with (RFC 6455, section 7.4.1) */
    const char *reason;   /* after an error: what was wrong */

    unsigned long long remaining; /* private, as all below */
    size_t message_len;           /* private */
    size_t fragments;             /* private */
    size_t key_offset;            /* private */
    int in_frame;                 /* private */
    int fin;                      /* private */
    int message_opcode;           /* private */
    int closed;                   /* private */
    unsigned utf8_state;          /* private */
    unsigned char key[4];         /* private */
} stws_ws;

/* A piece of a message, or a control frame, unmasked in place. */
typedef struct stws_ws_event {
    char *data;            /* the bytes; of CLOSE its reason */
    size_t len;            /* how many */
    stws_ws_opcode opcode; /* TEXT or BINARY, also for later pieces; CLOSE, PING or PONG */
    int first;             /* 1: the piece begins a message */
    int last;              /* 1: the piece ends a message */
    int close_code;        /* CLOSE: its code; 1005 without one (RFC 6455, section 7.1.5) */
} stws_ws_event;

/* Parses the next piece of buf[0..len). Data comes in pieces as they arrive, so no message has
   to fit into a buffer; control frames come whole.

   Returns STWS_DONE and sets *event and *used; STWS_MORE if more bytes are needed: drop
   *used bytes and call again with the rest and more; STWS_ERR_WS_PROTOCOL, STWS_ERR_WS_UTF8
   or STWS_ERR_WS_LIMIT: close with ws->close_code. RFC 6455, section 5. */
STOMP_WS_API int stws_ws_parse(char *buf, size_t len, stws_ws *ws, stws_ws_event *event,
                               size_t *used);

/* Builds one WebSocket frame with a payload of len bytes. fin: 1 if it ends a message. key: for
   a client, four bytes from a CSPRNG, new for each frame (RFC 6455, section 5.3); for a server,
   NULL. payload may lie in buf only at the place where the frame will have it, behind the
   frame's head.

   Returns STWS_OK; STWS_ERR_SPACE if it takes more than cap bytes; STWS_ERR_USAGE for a
   frame that is not allowed: a control frame over 125 bytes or in pieces, a reserved opcode.
   RFC 6455, section 5. */
STOMP_WS_API int stws_ws_build(char *buf, size_t cap, stws_ws_opcode opcode, int fin,
                               const void *payload, size_t len, const unsigned char *key,
                               size_t *need);

/* Masks or unmasks len bytes: dst[i] = src[i] ^ key[(offset + i) % 4]. dst may be src, or
   begin before it. RFC 6455, section 5.3. */
STOMP_WS_API void stws_ws_mask(void *dst, const void *src, size_t len, const unsigned char key[4],
                               size_t offset);

/* Writes the payload of a close frame to out: the code, and as much of reason as fits into
   123 bytes, cut between UTF-8 characters. Returns its length in bytes; 0 for code 0, and
   for 1005, which means "no code" (RFC 6455, sections 5.5.1 and 7.4.1). */
STOMP_WS_API size_t stws_ws_close_payload(char out[125], int code, const char *reason);

/* Returns 1 if the len bytes at data are valid UTF-8, else 0 (RFC 3629: no surrogates, no
   overlong forms, nothing above U+10FFFF). */
STOMP_WS_API int stws_utf8_valid(const void *data, size_t len);

/* A URL, taken apart: views into its text, without NUL bytes of their own. */
typedef struct stws_url {
    int secure;            /* 1 for wss:// */
    int port;              /* the port; 80 or 443 if the URL has none */
    int has_port;          /* 1 if the URL has a port */
    int is_ipv6;           /* 1 if the host is an IPv6 address */
    const char *host;      /* the host, without brackets */
    const char *target;    /* path and query; "" means "/" */
    size_t host_len;       /* bytes of host */
    size_t target_len;     /* bytes of target */
    const char *user_info; /* "user:password" as the URL has it, or NULL */
    size_t user_info_len;  /* bytes of user_info */
} stws_url;

/* Takes a URL apart: url begins with ws:// or wss://. Returns STWS_OK; or STWS_ERR_URL, and
   sets *why (which may be NULL) to a sentence. RFC 6455, section 3. */
STOMP_WS_API int stws_url_parse(const char *url, stws_url *out, const char **why);

/* The head of an HTTP/1.1 request or answer. Set all to zero, then headers, max_headers and
   max_bytes. */
typedef struct stws_http {
    stws_header *headers; /* a table for the headers */
    size_t max_headers;   /* entries of the table */
    size_t max_bytes;     /* bytes of the head; 0: 16,384 */
    int status;           /* answer: the status */
    int minor;            /* the x of HTTP/1.x */
    const char *reason;   /* answer: the words behind the status, or "" */
    const char *method;   /* request: the method */
    const char *target;   /* request: the target */
    size_t header_count;  /* number of headers */
    size_t scanned;       /* private */
} stws_http;

/* Parses an HTTP head in place. Returns STWS_DONE, and *used is its length: what follows is
   WebSocket data; STWS_MORE if more bytes are needed; STWS_ERR_HTTP; STWS_ERR_HTTP_LIMIT for
   more headers than max_headers or more than max_bytes. RFC 6455, section 4. */
STOMP_WS_API int stws_handshake_parse(char *buf, size_t len, stws_http *http, size_t *used);

/* Returns the value of the first header with that name, or NULL. The case of name does not
   matter. RFC 6455, section 4. */
STOMP_WS_API const char *stws_http_header(const stws_http *http, const char *name);

/* Returns 1 if token is in the comma-separated values of the headers with that name, else 0.
   The case of both does not matter. RFC 6455, section 4. */
STOMP_WS_API int stws_http_has_token(const stws_http *http, const char *name, const char *token);

/* What goes into an upgrade request. All but url and key may be NULL. */
typedef struct stws_handshake {
    const stws_url *url;        /* where to */
    const char *key;            /* of stws_handshake_key */
    const char *subprotocols;   /* such as "v12.stomp, v11.stomp" */
    const char *origin;         /* header Origin */
    const char *cookie;         /* header Cookie */
    const char *const *headers; /* more headers: name, value, ..., NULL */
} stws_handshake;

/* Writes a Sec-WebSocket-Key, made of 16 random bytes, to key. RFC 6455, section 4.1. */
STOMP_WS_API void stws_handshake_key(const unsigned char random[16], char key[25]);

/* Computes the Sec-WebSocket-Accept for key, and writes it into accept. RFC 6455, section
   4.2.2. */
STOMP_WS_API void stws_handshake_accept(const char *key, char accept[29]);

/* Builds an upgrade request. If the URL has user:password@ and headers has no Authorization, it
   gets Basic authorization.

   Returns STWS_OK; STWS_ERR_SPACE if it takes more than cap bytes; STWS_ERR_USAGE if a
   string has a control character such as CR or LF, or a header is one that the handshake
   sets itself. RFC 6455, section 4.1. */
STOMP_WS_API int stws_handshake_request(char *buf, size_t cap, const stws_handshake *handshake,
                                        size_t *need);

/* Checks the answer to a request that had this key and offered these subprotocols.

   Returns STWS_OK and sets *subprotocol to the chosen one or NULL; else
   STWS_ERR_HTTP_STATUS, STWS_ERR_HTTP_UPGRADE, STWS_ERR_HTTP_SUBPROTOCOL or
   STWS_ERR_HTTP_EXTENSION, and sets *why to a sentence. subprotocol and why may be NULL. RFC
   6455, section 4.1. */
STOMP_WS_API int stws_handshake_check(const stws_http *answer, const char *key, const char *offered,
                                      const char **subprotocol, const char **why);

/* Builds the server's answer to a request: 101 with the client's first subprotocol that is in
   supported (a comma-separated list, or NULL: none).

   Returns STWS_OK; STWS_ERR_HTTP_UPGRADE for a request that is not a WebSocket upgrade: the
   answer is then 400 or 426; STWS_ERR_SPACE if it takes more than cap bytes. RFC 6455,
   section 4.2. */
STOMP_WS_API int stws_handshake_answer(char *buf, size_t cap, const stws_http *request,
                                       const char *supported, size_t *need);

/* A memory of the last ids, of fixed size, against messages that arrive twice. */
typedef struct stws_dedup stws_dedup;

/* Returns the bytes that stws_dedup_init needs to remember the last ids, count of them: 32
   for each. */
STOMP_WS_API size_t stws_dedup_size(size_t count);

/* Makes an empty memory of the last ids, count of them, in memory of yours, of
   stws_dedup_size bytes, aligned as malloc aligns. It needs no destruction. Returns it. */
STOMP_WS_API stws_dedup *stws_dedup_init(void *memory, size_t count);

/* Returns 1 if the id (for example the value of the header named by options.stable_id) is
   among the last ids, else 0. In both cases it is then the newest of them. The time grows
   with the logarithm of count, also for ids that an attacker chose. An id that is NULL is
   not kept: 0. */
STOMP_WS_API int stws_dedup_seen(stws_dedup *dedup, const char *id);

#ifdef __cplusplus
}
#endif
#endif /* STOMP_WS_H */

#ifdef STOMP_WS_IMPLEMENTATION
#ifndef STOMP_WS_IMPLEMENTED
#define STOMP_WS_IMPLEMENTED

/* ==== >>includes: what the implementation needs of the system ====

   Includes the system headers, and decides what depends on the compiler: vector instructions,
   the allocator, the default TLS library, assertions. With STOMP_WS_NO_IO only the codecs
   remain; they need <stdint.h> and <string.h> alone. */

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
/* Without POSIX names, the standard C headers hide what sockets and clocks need. This happens
   when a system header came first and the compiler runs with -std=c99 or similar. */
#if !defined(AI_PASSIVE) || !defined(CLOCK_MONOTONIC)
#error "stomp_ws.h: a system header came before it: swap them, or -D_POSIX_C_SOURCE=200809L"
#endif
#ifndef STOMP_WS_NO_THREADS
#include <pthread.h>
#endif
#ifdef STOMP_WS_BEARSSL
#include <bearssl.h>
#include <dirent.h>
#endif
/* The TLS implementation that wss:// uses unless options.tls names another. */
#ifndef STOMP_WS_TLS
#define STOMP_WS_TLS stws_bearssl()
#endif
/* Memory for stws_create. Define both macros, or neither. */
#ifndef STOMP_WS_MALLOC
#define STOMP_WS_MALLOC(size) malloc(size)
#define STOMP_WS_FREE(block) free(block)
#endif
#endif /* STOMP_WS_NO_IO */

/* Vector instructions. SSE2 belongs to every x86-64, so the compiler's own macro decides.
   STOMP_WS_NO_SIMD selects the portable C code everywhere. */
#if !defined(STOMP_WS_NO_SIMD) && defined(__SSE2__)
#include <emmintrin.h>
#define STWS_P_SSE2 1
#else
#define STWS_P_SSE2 0
#endif
/* SSSE3 and AVX2 are not on every x86-64. A hosted program asks the processor at run time, with
   the support code that clang and GCC 5 or newer link into it. AArch64 always has NEON.

   STWS_P_LOOK_UP replaces each byte of the vector `at` (values 0 to 15) by the entry of one row
   of stws_p_utf8_rows. STWS_P_TOPS is non-zero if a byte of the vector `v` has its top bit set.
   `bits` is the width of the vector: 128 or 256. */
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

/* Checks of invariants. Define STOMP_WS_ASSERT as assert to have them. By default they are
   compiled, and never evaluated. */
#ifdef STOMP_WS_ASSERT
#define STWS_P_ASSERTS 1
#else
#define STWS_P_ASSERTS 0
#define STOMP_WS_ASSERT(condition) ((void)(0 && (condition)))
#endif

/* ==== >>results.c: the names and texts of results ====

   One table has a line for each result: its code, its name, its text. The texts state only what
   follows from the code. The sentences of stws_error_text add cause and remedy. */

#define STWS_P_RESULT(code, text)                                                                  \
    { code, #code, text }

/* The name and the text of each result. `make lint` compares the table with enum
   stws_result. */
static const struct stws_p_result {
    int code;
    const char *name;
    const char *text;
} stws_p_results[] = {
    STWS_P_RESULT(STWS_OK, "success"),
    STWS_P_RESULT(STWS_CLOSED, "the client has ended"),
    STWS_P_RESULT(STWS_ERR_USAGE, "an argument or an option is not valid"),
    STWS_P_RESULT(STWS_ERR_STATE, "not possible in this state"),
    STWS_P_RESULT(STWS_ERR_MEMORY, "no memory, or the given memory is too small"),
    STWS_P_RESULT(STWS_ERR_SPACE, "the output does not fit into the given buffer"),
    STWS_P_RESULT(STWS_ERR_FULL, "the outbox or the queue is full"),
    STWS_P_RESULT(STWS_ERR_LIMIT, "a limit of the options is reached"),
    STWS_P_RESULT(STWS_ERR_TIMEOUT, "not finished before its deadline"),
    STWS_P_RESULT(STWS_ERR_URL, "the URL is not a ws:// or wss:// URL"),
    STWS_P_RESULT(STWS_ERR_RESOLVE, "the host name could not be resolved"),
    STWS_P_RESULT(STWS_ERR_CONNECT, "no connection to the host and port"),
    STWS_P_RESULT(STWS_ERR_IO, "reading from or writing to the connection failed"),
    STWS_P_RESULT(STWS_ERR_EOF, "the peer ended the connection without a close frame"),
    STWS_P_RESULT(STWS_ERR_TLS, "the TLS connection failed, or TLS is not compiled in"),
    STWS_P_RESULT(STWS_ERR_TLS_TRUST, "the server's certificate is not trusted"),
    STWS_P_RESULT(STWS_ERR_PROXY, "the proxy refused the connection"),
    STWS_P_RESULT(STWS_ERR_HTTP, "the answer to the upgrade request is not HTTP"),
    STWS_P_RESULT(STWS_ERR_HTTP_STATUS, "the server did not switch to WebSocket (status not 101)"),
    STWS_P_RESULT(STWS_ERR_HTTP_UPGRADE,
                  "the 101 answer has no or a wrong Upgrade, Connection or Sec-WebSocket-Accept"),
    STWS_P_RESULT(STWS_ERR_HTTP_SUBPROTOCOL, "the server chose a subprotocol that was not offered"),
    STWS_P_RESULT(STWS_ERR_HTTP_EXTENSION, "the server uses an extension that was not offered"),
    STWS_P_RESULT(STWS_ERR_HTTP_LIMIT, "the HTTP head is larger than the limit"),
    STWS_P_RESULT(STWS_ERR_WS_PROTOCOL, "a WebSocket frame breaks RFC 6455"),
    STWS_P_RESULT(STWS_ERR_WS_UTF8, "a WebSocket text message is not UTF-8"),
    STWS_P_RESULT(STWS_ERR_WS_LIMIT,
                  "a WebSocket message is larger, or in more pieces, than the limit"),
    STWS_P_RESULT(STWS_ERR_WS_CLOSE, "the peer closed the WebSocket"),
    STWS_P_RESULT(STWS_ERR_SOCKJS, "the peer uses SockJS framing, not plain STOMP"),
    STWS_P_RESULT(STWS_ERR_FRAME_COMMAND, "a STOMP frame begins with an unknown command"),
    STWS_P_RESULT(STWS_ERR_FRAME_HEADER, "a STOMP header line has no colon or no name"),
    STWS_P_RESULT(STWS_ERR_FRAME_ESCAPE,
                  "a STOMP header has an escape sequence that the version does not define"),
    STWS_P_RESULT(STWS_ERR_FRAME_CR,
                  "a STOMP header has a carriage return that does not end a line"),
    STWS_P_RESULT(
        STWS_ERR_FRAME_NUL,
        "a NUL byte stands inside a STOMP head, or is missing after a body with content-length"),
    STWS_P_RESULT(STWS_ERR_FRAME_LENGTH, "the content-length of a STOMP frame is not a number"),
    STWS_P_RESULT(STWS_ERR_FRAME_HEADERS, "a STOMP frame has more headers than max_headers"),
    STWS_P_RESULT(STWS_ERR_FRAME_LINE, "a STOMP header line is longer than max_line"),
    STWS_P_RESULT(STWS_ERR_FRAME_BODY, "a STOMP body is longer than max_body"),
    STWS_P_RESULT(STWS_ERR_FRAME_BUILD, "this frame cannot be represented in this STOMP version"),
    STWS_P_RESULT(STWS_ERR_VERSION, "no STOMP version in common with the server"),
    STWS_P_RESULT(STWS_ERR_LOGIN, "the server refused CONNECT"),
    STWS_P_RESULT(STWS_ERR_BROKER, "the server sent an ERROR frame"),
    STWS_P_RESULT(STWS_ERR_HEARTBEAT, "no heart-beat from the server"),
    STWS_P_RESULT(STWS_ERR_LATE, "our own loop was too late to send a heart-beat"),
    STWS_P_RESULT(STWS_ERR_LOST, "the connection ended before the receipt came"),
    STWS_P_RESULT(STWS_ERR_STALE,
                  "the message belongs to an earlier session and can no longer be acknowledged"),
    STWS_P_RESULT(STWS_ERR_GAVE_UP, "all reconnect attempts are used up"),
};

/* Returns the entry of a result, or that of an unknown one. */
static const struct stws_p_result *stws_p_find_result(int result) {
    static const struct stws_p_result unknown = {0, "STWS_UNKNOWN", "an unknown result"};
    size_t i;
    for (i = 0; i < sizeof stws_p_results / sizeof *stws_p_results; i++)
        if (stws_p_results[i].code == result) return &stws_p_results[i];
    return &unknown;
}

STOMP_WS_API const char *stws_result_text(int result) { return stws_p_find_result(result)->text; }

STOMP_WS_API const char *stws_result_name(int result) { return stws_p_find_result(result)->name; }

/* ==== >>text: small functions on strings, numbers and lists ====

   Comparisons, decimal numbers, comma-separated lists, and a writer that measures while it
   writes (stws_p_out). All are pure: they keep no state, allocate nothing, and ignore the
   locale. The hints for the compiler are here, too. Every section below may call these
   functions. */

/* Returns the length of s. Returns 0 for NULL, so an absent option needs no special case. */
static size_t stws_p_strlen(const char *s) { return s ? strlen(s) : 0; }

/* Returns s, or `otherwise` if s is NULL. */
static const char *stws_p_or(const char *s, const char *otherwise) { return s ? s : otherwise; }

/* ASCII only, and independent of the locale. HTTP and the URL scheme need exactly this. */
static char stws_p_lower(char c) { return c >= 'A' && c <= 'Z' ? (char)(c + 32) : c; }

/* Returns 1 if both byte strings are equal. A pointer may be NULL if its length is 0. */
static int stws_p_equal(const char *a, size_t a_len, const char *b, size_t b_len) {
    return a_len == b_len && (a_len == 0 || memcmp(a, b, a_len) == 0);
}

/* Like stws_p_equal, but ignores the case of ASCII letters. */
static int stws_p_equal_nocase(const char *a, size_t a_len, const char *b, size_t b_len) {
    size_t i;
    if (a_len != b_len) return 0;
    for (i = 0; i < a_len; i++)
        if (stws_p_lower(a[i]) != stws_p_lower(b[i])) return 0;
    return 1;
}

/* A blank or a tab: the white space of HTTP (RFC 9110, 5.6.3) and of padding in STOMP 1.0. */
static int stws_p_is_blank(char c) { return c == ' ' || c == '\t'; }

static int stws_p_is_alphanumeric(char c) {
    return (c >= '0' && c <= '9') || (stws_p_lower(c) >= 'a' && stws_p_lower(c) <= 'z');
}

/* Removes blanks and tabs from both ends of a span. Used for HTTP header values, for the
   padding of STOMP 1.0, and for numbers in STOMP headers. */
static void stws_p_trim(const char **s, size_t *len) {
    while (*len > 0 && stws_p_is_blank(**s)) ++*s, --*len;
    while (*len > 0 && stws_p_is_blank((*s)[*len - 1])) --*len;
}

/* Hints for the compiler, each kept because a measurement showed a gain.

   STWS_P_LIKELY: without it GCC guesses wrong, and each header costs two jumps (33 instructions
   per message).

   STWS_P_NOINLINE: keeps a rare case out of its caller. Inlined, it would take registers from
   the usual case (20 instructions per message), or stack space for large local variables. */
#if defined(__GNUC__) || defined(__clang__)
#define STWS_P_LIKELY(condition) __builtin_expect((condition) != 0, 1)
#define STWS_P_NOINLINE __attribute__((noinline))
#define STWS_P_PRINTF(format_at, first_at) __attribute__((format(printf, format_at, first_at)))
#else
#define STWS_P_LIKELY(condition) ((condition) != 0)
#define STWS_P_NOINLINE
#define STWS_P_PRINTF(format_at, first_at)
#endif

/* Parses a decimal number without sign. Returns 1 and sets *value; 0 if the text is not a
   number; -1 if the number is larger than limit, however many digits it has. */
static int stws_p_number(const char *s, size_t len, size_t limit, size_t *value) {
    const char *end = s + len;
    /* All values except the last one, combined with OR. While they are small, n cannot have
       wrapped. */
    size_t n = 0, before_last = 0;
    if (len == 0) return 0;
    for (; s < end; s++) {
        /* a character below '0' becomes a huge number */
        size_t digit = (size_t)(unsigned char)*s - '0';
        if (digit > 9) return 0;
        before_last |= n;
        n = n * 10 + digit;
    }
    *value = n;
    return before_last > SIZE_MAX / 16 || n > limit ? -1 : 1;
}

/* Writes the decimal digits of n, without a NUL. Returns their number, at most 20 (64 bits). */
static size_t stws_p_digits(unsigned long long n, char out[20]) {
    unsigned long long left = n;
    size_t len = 1, i;
    while (left >= 10) left /= 10, len++;
    for (i = len; i-- > 0; n /= 10) out[i] = (char)('0' + n % 10);
    return len;
}

/* A writer with limited room that goes on counting when the room is full. So one pass both
   writes and measures. Set {buffer, size, 0}, call stws_p_put as often as needed, then compare
   `need` with the size. */
typedef struct stws_p_out {
    char *at;    /* where the next byte goes */
    size_t room; /* bytes left; 0 from the first put that did not fit */
    size_t need; /* bytes that all puts together need */
} stws_p_out;

/* Appends bytes. After the first put that does not fit, nothing more is written, only
   counted. */
static void stws_p_put(stws_p_out *out, const char *data, size_t len) {
    out->need += len;
    if (len > out->room) out->room = 0;
    /* `at` may be NULL without room, and memcpy(NULL, ...) is undefined */
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

/* Iterates over a comma-separated list. Sets *word and *len to the next word without blanks
   around it, and moves *list behind it. Returns 0 at the end of the list. Empty words are
   skipped. */
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

/* Returns 1 if a comma-separated list contains the word. nocase: ignore the case of ASCII
   letters. */
static int stws_p_list_has(const char *list, const char *word, size_t len, int nocase) {
    const char *each;
    size_t each_len;
    while (stws_p_next_word(&list, &each, &each_len))
        if (nocase ? stws_p_equal_nocase(each, each_len, word, len)
                   : stws_p_equal(each, each_len, word, len))
            return 1;
    return 0;
}

/* ==== >>sha1: the hash of the handshake (FIPS 180-4, section 6.1) ====

   Used for Sec-WebSocket-Accept (RFC 6455, 4.2.2), and for the ids that stws_dedup
   remembers. No password and no key depends on it. It hashes a whole text in one call and
   keeps no state. */

/* Rotates 32 bits to the left, by 1 to 31 (FIPS 180-4, 3.2). */
static uint32_t stws_p_rotate_left(uint32_t x, int n) { return (x << n) | (x >> (32 - n)); }

/* Returns the value of function f(t) plus constant K(t) (FIPS 180-4, 4.1.1 and 4.2.1). */
static uint32_t stws_p_sha1_f(int t, uint32_t b, uint32_t c, uint32_t d) {
    if (t < 20) return ((b & c) | (~b & d)) + 0x5A827999u;
    if (t < 40) return (b ^ c ^ d) + 0x6ED9EBA1u;
    if (t < 60) return ((b & c) | (b & d) | (c & d)) + 0x8F1BBCDCu;
    return (b ^ c ^ d) + 0xCA62C1D6u;
}

/* Adds one block of 64 bytes to the hash value h (FIPS 180-4, 6.1.2). */
static void stws_p_sha1_block(uint32_t h[5], const unsigned char *block) {
    uint32_t w[80], v[5]; /* v: the working variables a, b, c, d, e */
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

/* The padding (a 1 bit, zeros, the length in bits) needs a second block if fewer than 9 bytes
   are free in the last one (FIPS 180-4, 5.1.1). `tail` is that end of the message. */
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

/* ==== >>base64: the encoder of RFC 4648, section 4 ====

   Encodes the key of the handshake, Basic authorization, and the hash of a pinned certificate.
   Nothing decodes base64: stws_p_is_key only looks at the alphabet. */

static const char stws_p_base64_alphabet[] =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/* Writes (len + 2) / 3 * 4 characters and a NUL. Returns the number of characters. */
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

/* ==== >>utf8: a check by RFC 3629, of a whole text or of a stream ====

   A text message must be UTF-8 (RFC 6455, 8.1). stws_p_utf8_feed checks a text piece by piece.
   The caller keeps the state between two pieces, which is one number. It is 0 before the first
   piece. The text is valid if it is 0 again after the last piece.

   Three layers check the same text, each faster than the one below it: vector instructions skip
   valid text, a loop skips ASCII, and the state machine checks byte by byte. Only the state
   machine reports an error, so the result is the same on processors without vectors. */

/* The state of an UTF-8 check. Text may arrive in pieces, so a character can be cut at the end
   of a piece. Bits 0-1: how many continuation bytes are still missing. Bits 8-15 and 16-23: the
   lowest and the highest value that the next byte may have. This range excludes overlong forms,
   surrogates and values above U+10FFFF (RFC 3629, section 4). A state of 0 means: between two
   characters. */
#define STWS_P_UTF8_DUE(due, low, high) ((due) | (low) << 8 | (high) << 16)

/* Returns the state after the first byte of a character of several bytes; 0 if no character may
   begin with this byte. */
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
/* Loads 16 bytes from any address. */
static inline __m128i stws_p_load(const void *p) { return _mm_loadu_si128((const __m128i *)p); }
#endif

#ifdef STWS_P_TOPS
/* Reads memory as a vector type (which may alias, and need not be aligned). */
#define STWS_P_AT(type, p) ((const stws_p_##type *)(const void *)(p))

/* The tables of the vector check (Keiser and Lemire, "Validating UTF-8 In Less Than One
   Instruction Per Byte"). They tell which errors two neighbouring bytes can form. The rows are
   indexed by the upper half of the first byte, its lower half, and the upper half of the second
   byte. A pair has an error if its bit is set in all three entries. The bits are:

       01  no continuation byte where one must follow
       02  a continuation byte after an ASCII character
       04  an overlong form of 2 bytes
       08  an overlong form of 3 bytes
       10  a surrogate
       20  a value above U+10FFFF
       40  an overlong form of 4 bytes, or a value above U+10FFFF
       80  two continuation bytes; no error at byte 3 and 4 of a character

   Each row of 16 entries stands twice, for vectors of 256 bits. */
#define STWS_P_TWICE(...)                                                                          \
    { __VA_ARGS__, __VA_ARGS__ }
static const unsigned char stws_p_utf8_rows[3][32] = {
    STWS_P_TWICE(2, 2, 2, 2, 2, 2, 2, 2, 0x80, 0x80, 0x80, 0x80, 0x05, 0x01, 0x19, 0x61),
    STWS_P_TWICE(0xCF, 0x87, 0x83, 0x83, 0xA3, 0xE3, 0xE3, 0xE3, 0xE3, 0xE3, 0xE3, 0xE3, 0xE3, 0xF3,
                 0xE3, 0xE3),
    STWS_P_TWICE(1, 1, 1, 1, 1, 1, 1, 1, 0xCE, 0xAE, 0xB6, 0xB6, 1, 1, 1, 1)};

/* Defines a function `name` that checks text in steps of one vector. The text must begin with a
   character and be at least one vector long. The function returns a pointer to the beginning of
   a character: everything before it is valid UTF-8. That character is the last one of the text,
   or it stands at or shortly before the first error. The caller looks at the rest byte by byte.

   The function also reads the three bytes before the text. The last step overlaps the one
   before it, so the text needs no padding at its end. */
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

/* Selects the widest vectors that this processor has. Returns `text` if it has none of them. */
static const unsigned char *stws_p_utf8_skip(const unsigned char *text, const unsigned char *end) {
    if (__builtin_cpu_supports("avx2")) return stws_p_utf8_by_256(text, end);
    return __builtin_cpu_supports("ssse3") ? stws_p_utf8_by_128(text, end) : text;
}

/* Skips blocks of 128 bytes that are all ASCII. Returns the first block that is not, or the end
   of the last whole block. */
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
/* The portable version checks nothing in advance. */
static const unsigned char *stws_p_utf8_skip(const unsigned char *text, const unsigned char *end) {
    return (void)end, text;
}
#endif

/* Returns the first byte from p on that is not ASCII, or end. Most text on the wire is ASCII,
   so this loop looks at many bytes per step. */
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

/* Checks the next piece of a text. Returns 1 while the text can still be valid UTF-8, and 0 at
   the first byte that makes it invalid. The text is valid as a whole if *state is 0 after its
   last piece.

   The vector check runs once per call, as soon as three bytes lie before p; setting begin to
   end prevents a second run. It only skips text that is valid. Errors, and characters that are
   cut at the end of the piece, are left to the loop below. */
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

/* Returns the largest length <= len at which no character is cut. The text must be valid UTF-8.
   If there is no such length above 0, returns len, so the caller always makes progress. */
static size_t stws_p_utf8_cut(const char *data, size_t len, size_t total) {
    size_t cut = len;
    if (len >= total) return total;
    while (cut > 0 && ((unsigned char)data[cut] & 0xC0) == 0x80) cut--;
    return cut ? cut : len;
}

/* ==== >>url: ws:// and wss:// (RFC 6455, section 3; RFC 3986) ====

   Splits a URL into scheme, user:password, host, port and target, from left to right, one
   function per part. The results point into the caller's string. If a part is invalid, the
   sentence *why names the rule and the remedy. The section also decodes user and password for
   Basic authorization, which the handshake and the proxy need. */

/* Returns 1 if the URL begins with this scheme, in upper or lower case (RFC 3986, 3.1). */
static int stws_p_is_scheme(const char *url, const char *scheme) {
    return strlen(url) >= strlen(scheme) &&
           stws_p_equal_nocase(url, strlen(scheme), scheme, strlen(scheme));
}

/* The functions stws_p_url_* parse one part each. They take the place where the part begins,
   and fill its members of *out. They return the place where the next part begins, or NULL with
   a sentence in *why. */
static const char *stws_p_url_scheme(const char *url, stws_url *out, const char **why) {
    out->secure = stws_p_is_scheme(url, "wss://");
    if (out->secure) return url + 6;
    if (stws_p_is_scheme(url, "ws://")) return url + 5;
    if (stws_p_is_scheme(url, "http://") || stws_p_is_scheme(url, "https://"))
        *why = "a WebSocket URL begins with ws:// (for http://) or wss:// (for https://)";
    else *why = "the URL does not begin with ws:// or wss://";
    return NULL;
}

/* Returns 1 if a host may contain this character. In brackets an IPv6 address stands, perhaps
   with a zone ("%eth0"). Outside of brackets any visible ASCII character is allowed that does
   not end or structure a URL. */
static int stws_p_is_host_char(char c, int in_brackets) {
    if (in_brackets) return stws_p_is_alphanumeric(c) || strchr(":.%-_", c) != NULL;
    return c > ' ' && c < 127 && strchr("[]@:/?#\\\"<>^`{|}%", c) == NULL;
}

/* Returns the value of a hexadecimal digit, or -1. */
static int stws_p_hex_digit(char c) {
    if (c >= '0' && c <= '9') return c - '0';
    c = stws_p_lower(c);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Decodes %XX into a C string. Returns 0 if a %XX is invalid or means a NUL, or if the result
   is longer than 255 bytes. */
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

/* Splits "user:password" at the first colon and decodes both parts. Returns 0 if a %XX is
   invalid or a part is longer than 255 bytes. Without a colon, the password is empty. */
static int stws_p_decode_user_info(const char *info, const char *end, char user[256],
                                   char password[256]) {
    const char *colon = info;
    while (colon < end && *colon != ':') colon++;
    password[0] = 0;
    return stws_p_percent_decode(info, colon, user) &&
           (colon == end || stws_p_percent_decode(colon + 1, end, password));
}

/* Returns 1 if the string contains a control character (0 to 31, or 127). */
static int stws_p_has_control_character(const char *s) {
    for (; *s; s++)
        if ((unsigned char)*s < 32 || *s == 127) return 1;
    return 0;
}

/* Returns 1 if Basic authorization can carry this user and password (RFC 7617, section 2): the
   user has no colon, and both have no control characters. */
static int stws_p_is_basic(const char *user, const char *password) {
    return !strchr(user, ':') && !stws_p_has_control_character(user) &&
           !stws_p_has_control_character(password);
}

/* Size of the longest value of a Basic authorization, with its NUL: "Basic " and 684
   characters, the Base64 of 255 + 1 + 255 bytes. */
enum { STWS_P_BASIC = 6 + 684 + 1 };

/* Writes the value of an Authorization or Proxy-Authorization header to out and returns it.
   Returns NULL if user and password are both empty. Both must be at most 255 bytes long. */
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

/* Decodes the user and password of a URL for Basic authorization. Returns 0 if that is
   impossible: a character must be written as %XX, a part is too long, or stws_p_is_basic
   refuses it. */
static int stws_p_user_and_password(const char *info, size_t len, char user[256],
                                    char password[256]) {
    const char *end = info + len, *c;
    for (c = info; c < end; c++)
        if (*c <= ' ' || *c >= 127 || *c == '@') return 0;
    return stws_p_decode_user_info(info, end, user, password) && stws_p_is_basic(user, password);
}

/* Parses "user:password@" in front of the host, if there is one (RFC 3986, 3.2.1). The last '@'
   before the path ends it. The text stays encoded in *out; it is decoded when it is used. */
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

/* Parses the host, with or without brackets. A name may be at most 253 characters long (RFC
   1035). */
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

/* Parses ":port". Default: 443 for wss://, 80 for ws:// (RFC 6455, section 3). */
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

/* Parses path and query: everything up to the end. A URL of a WebSocket has no fragment (RFC
   6455, section 3). Any other character that is not visible ASCII must be written as %XX. */
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

/* ==== >>http: heads of HTTP messages, parsed ====

   Parses a request or an answer up to its empty line (RFC 9112). Nothing is parsed before the
   whole head has arrived. Then the lines are cut in place: NULs end the names and values, and
   the results point into the buffer. Until then only one offset is kept: the bytes that were
   already searched for the empty line. The client parses the answers of the server and of an
   HTTP proxy with it; tests and servers parse requests. */

enum { STWS_P_MAX_HEAD = 16384 }; /* bytes of an HTTP head, if stws_http.max_bytes is 0 */

/* Returns 1 if a token may contain this character (RFC 9110, 5.6.2). Methods and names of
   headers are tokens. */
static int stws_p_is_token_char(char c) {
    return stws_p_is_alphanumeric(c) || (c && strchr("!#$%&'*+-.^_`|~", c) != NULL);
}

static int stws_p_is_token(const char *s, size_t len) {
    size_t i;
    for (i = 0; i < len; i++)
        if (!stws_p_is_token_char(s[i])) return 0;
    return len > 0;
}

/* Returns 1 if s is NULL, or has no control character except TAB. So no string of the caller
   can end its line and begin a header of its own. */
static int stws_p_is_field_text(const char *s) {
    for (; s && *s; s++)
        if ((unsigned char)*s < 32 ? *s != '\t' : *s == 127) return 0;
    return 1;
}

/* Returns 1 if all bytes are visible ASCII characters: no blanks, no control characters. */
static int stws_p_is_visible(const char *s, size_t len) {
    size_t i;
    for (i = 0; i < len; i++)
        if (s[i] <= ' ' || s[i] >= 127) return 0;
    return 1;
}

/* Searches the empty line that ends an HTTP head. Returns the length of the head with that
   line, or 0 if it has not arrived yet. A later call continues at http->scanned, so no byte is
   searched twice. A line may end in a bare LF (RFC 9112, 2.2). */
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

/* The longest first word of a head: a method, or "HTTP/1.1". A peer that does not speak HTTP is
   recognised after this many bytes, and not only when max_bytes have arrived. */
enum { STWS_P_HTTP_FIRST_WORD = 20 };

/* Returns 1 if these bytes can be the beginning of an HTTP head. */
static int stws_p_http_begins(const char *buf, size_t len) {
    size_t i;
    for (i = 0; i < len && i <= STWS_P_HTTP_FIRST_WORD; i++) {
        if (buf[i] == ' ') return i > 0;
        if (!stws_p_is_token_char(buf[i]) && buf[i] != '/') return 0;
    }
    return i <= STWS_P_HTTP_FIRST_WORD;
}

/* Ends the line at p with a NUL, without its line end, and sets *len to its length. Returns the
   beginning of the next line, or NULL if the line contains a NUL or a bare CR. A LF must be in
   it. */
static char *stws_p_http_line(char *p, size_t *len) {
    char *lf = (char *)memchr(p, '\n', *len);
    size_t line = (size_t)(lf - p);
    *len = line > 0 && p[line - 1] == '\r' ? line - 1 : line;
    p[*len] = 0;
    return strlen(p) == *len && !strchr(p, '\r') ? lf + 1 : NULL;
}

/* Parses the first line: a status line (RFC 9112, section 4) or a request line (section 3).
   Returns 1, or 0 if it is neither. A 101 answer must be HTTP/1.1, because HTTP/1.0 has no
   upgrade. */
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

/* Parses one header line and appends it to http->headers (RFC 9112, section 5). A blank before
   the colon, or a continuation line, makes the name invalid: STWS_ERR_HTTP. */
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

/* Returns STWS_MORE until the whole head has arrived. Then cuts it into NUL-terminated texts in
   place, so the results are pointers into buf. */
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

/* Returns the next header with this name, beginning at index *from, and moves *from behind it.
   Returns NULL if there is no more. Start with *from = 0. */
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

/* ==== >>handshake: the HTTP upgrade, client and server (RFC 6455, section 4) ====

   Writes the request of a client, judges the answer to it, and answers the request of a client
   (for tests and for servers). No text of the caller can end its line and so add a header:
   stws_p_handshake_valid refuses it. Nothing here keeps state; the caller keeps the key. */

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

/* Returns 1 for a header that the handshake writes itself. The caller's lists must not contain
   it. */
static int stws_p_handshake_owns(const char *name) {
    static const char owned[] =
        "host,upgrade,connection,content-length,transfer-encoding,sec-websocket-key,sec-websocket-"
        "version,sec-websocket-protocol,sec-websocket-extensions,sec-websocket-accept";
    return stws_p_list_has(owned, name, strlen(name), 1);
}

/* Returns 1 if a list (name, value, name, value, ..., NULL) can be written into a request as it
   is. */
static int stws_p_http_headers_valid(const char *const *headers) {
    for (; headers && *headers; headers += 2)
        if (!headers[1] || !stws_p_is_token(headers[0], strlen(headers[0])) ||
            !stws_p_is_field_text(headers[1]) || stws_p_handshake_owns(headers[0]))
            return 0;
    return 1;
}

/* Returns 1 if no text of the caller can damage the request. */
static int stws_p_handshake_valid(const stws_handshake *h) {
    return stws_p_is_visible(h->url->host, h->url->host_len) &&
           stws_p_is_visible(h->url->target, h->url->target_len) &&
           stws_p_is_field_text(h->subprotocols) && stws_p_is_field_text(h->origin) &&
           stws_p_is_field_text(h->cookie) && stws_p_is_field_text(h->key) &&
           stws_p_http_headers_valid(h->headers);
}

/* Writes "name: value" and the end of the line. Writes nothing if value is NULL. */
static void stws_p_put_header(stws_p_out *out, const char *name, const char *value) {
    if (!value) return;
    stws_p_put_string(out, name);
    stws_p_put(out, ": ", 2);
    stws_p_put_string(out, value);
    stws_p_put(out, "\r\n", 2);
}

/* The same, but an empty value also means: no header. */
static void stws_p_put_nonempty_header(stws_p_out *out, const char *name, const char *value) {
    if (value && *value) stws_p_put_header(out, name, value);
}

/* Writes the Host header. The port is left out if it is the default one. The zone of an IPv6
   address is left out, because only this machine knows it (RFC 6874, section 4). */
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

/* Returns 1 if the caller's list contains a header with this name. */
static int stws_p_headers_have(const char *const *header, const char *name) {
    for (; header && *header; header += 2)
        if (stws_p_equal_nocase(*header, strlen(*header), name, strlen(name))) return 1;
    return 0;
}

/* Writes an Authorization header (RFC 7617) if the URL contains a user and the caller's headers
   do not contain an Authorization already. */
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
    stws_p_put_nonempty_header(&out, "Sec-WebSocket-Protocol", h->subprotocols);
    stws_p_put_nonempty_header(&out, "Origin", h->origin);
    stws_p_put_nonempty_header(&out, "Cookie", h->cookie);
    stws_p_put_basic(&out, h);
    for (header = h->headers; header && *header; header += 2)
        stws_p_put_header(&out, header[0], header[1]);
    stws_p_put(&out, "\r\n", 2);
    *need = out.need;
    return out.need > cap ? STWS_ERR_SPACE : STWS_OK;
}

/* Returns the value of a header that must occur once. Returns NULL if it is missing or
   repeated. */
static const char *stws_p_http_only(const stws_http *http, const char *name) {
    size_t from = 0;
    const stws_header *h = stws_p_http_find(http, name, &from);
    return h && !stws_p_http_find(http, name, &from) ? h->value : NULL;
}

/* Checks an answer to the upgrade request by the rules of RFC 6455, 4.1. Returns STWS_OK or an
   error. Sets *why if a sentence can explain more than the error code. */
static int stws_p_handshake_judge(const stws_http *answer, const char *key, const char *offered,
                                  const char **why) {
    const char *accept = stws_p_http_only(answer, "Sec-WebSocket-Accept");
    const char *chosen = stws_p_http_only(answer, "Sec-WebSocket-Protocol");
    /* Upgrade must name one protocol; Connection is a list (RFC 6455, 4.1) */
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

/* Writes the chosen subprotocol: the first one of the client's list that `supported` contains
   too. The client's order is its preference (RFC 6455, 4.1). Writes nothing if there is no
   common one. */
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

/* Returns 1 if s is the Base64 of 16 bytes (RFC 6455, 4.2.1). */
static int stws_p_is_key(const char *s) {
    size_t n = strspn(s, stws_p_base64_alphabet);
    return n == 22 && strcmp(s + n, "==") == 0;
}

/* Checks the request by RFC 6455, 4.2.1. A wrong version gets a 426 answer, which names version
   13 (4.4). Any other fault gets a 400 answer. */
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

/* ==== >>websocket: frames and messages (RFC 6455, sections 5 to 8) ====

   stws_ws_parse takes bytes as they arrive, and returns pieces of messages and whole control
   frames. It unmasks in place. All of its state is in stws_ws:

       head of a data frame --> payload, reported in pieces --> the next head
       PING or PONG, when it is complete ---------------------> the next head
       close frame, when it is complete ----------------------> closed: all input is ignored

   A head that has not arrived completely is parsed again from its first byte, so it needs no
   state. message_opcode is not 0 from the first fragment of a message to its last one. After an
   error the caller must end the connection with ws->close_code.

   stws_ws_build writes a whole frame. Sessions call its parts instead (stws_p_ws_put_head,
   stws_ws_mask), so that masking and copying are one pass. */

/* Codes of a close frame (RFC 6455, 7.4.1). STWS_P_CLOSE_NO_CODE is never sent: it means that a
   close frame had no code. */
enum {
    STWS_P_CLOSE_NORMAL = 1000,
    STWS_P_CLOSE_PROTOCOL = 1002,
    STWS_P_CLOSE_NO_CODE = 1005,
    STWS_P_CLOSE_BAD_DATA = 1007,
    STWS_P_CLOSE_TOO_BIG = 1009
};

/* the default limit: 65,536 fragments, and an empty one that ends the message */
enum { STWS_P_MAX_FRAGMENTS = 65537 };

/* Returns eight bytes of the repeated masking key, beginning at key[offset % 4], in memory
   order. So XOR with this word masks eight bytes on any machine, whatever its byte order. */
static uint64_t stws_p_key_word(const unsigned char key[4], size_t offset) {
    unsigned char twice[8];
    uint32_t word;
    memcpy(twice, key, 4);
    memcpy(twice + 4, key, 4);
    memcpy(&word, twice + (offset & 3), 4);
    return (uint64_t)word << 32 | word;
}
#if STWS_P_SSE2
/* Masks 16 bytes. `to` and `from` may be any addresses. */
static inline void stws_p_mask_16(unsigned char *to, const unsigned char *from, __m128i key) {
    _mm_storeu_si128((__m128i *)(void *)to, _mm_xor_si128(stws_p_load(from), key));
}
#endif
/* All loops go upwards, and read a step completely before they write it. So `to` may be `from`,
   or begin before it. */
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

/* Ends the parser's work with an error. close_code and reason tell the caller how to close. */
static int stws_p_ws_fail(stws_ws *ws, int result, int close_code, const char *reason) {
    ws->close_code = close_code;
    ws->reason = reason;
    return result;
}

/* The peer broke the protocol: close with 1002. */
static int stws_p_ws_protocol_error(stws_ws *ws, const char *reason) {
    return stws_p_ws_fail(ws, STWS_ERR_WS_PROTOCOL, STWS_P_CLOSE_PROTOCOL, reason);
}

/* Checks the first two bytes of a frame (RFC 6455, 5.2, 5.4, 5.5): reserved bits, masking,
   opcode, the rules for control frames, and the order of the fragments of a message. */
static int stws_p_ws_check_first(stws_ws *ws, unsigned first, unsigned second) {
    unsigned opcode = first & 15;
    if (first & 0x70) return stws_p_ws_protocol_error(ws, "a reserved bit is set");
    if ((second >> 7) != (ws->server ? 1u : 0u))
        return stws_p_ws_protocol_error(ws, ws->server ? "the frame is not masked"
                                                       : "the frame is masked");
    if (opcode > STWS_WS_PONG || (opcode > STWS_WS_BINARY && opcode < STWS_WS_CLOSE))
        return stws_p_ws_protocol_error(ws, "a reserved opcode");
    if (opcode >= STWS_WS_CLOSE) {
        if (!(first & 0x80)) return stws_p_ws_protocol_error(ws, "a control frame in fragments");
        if ((second & 127) > 125)
            return stws_p_ws_protocol_error(ws, "a control frame over 125 bytes");
    } else if (opcode == STWS_WS_CONTINUATION && !ws->message_opcode) {
        return stws_p_ws_protocol_error(ws, "a continuation of nothing");
    } else if (opcode != STWS_WS_CONTINUATION && ws->message_opcode) {
        return stws_p_ws_protocol_error(ws, "a new message inside a fragmented one");
    }
    return STWS_OK;
}

/* Begins a data frame with a payload of `len` bytes. `first` is the first byte of the frame.
   The limits are checked before anything is added, so no sum can wrap. */
static int stws_p_ws_begin_data(stws_ws *ws, unsigned first, unsigned long long len) {
    size_t limit = ws->max_fragments ? ws->max_fragments : (size_t)STWS_P_MAX_FRAGMENTS;
    /* An opcode other than 0 (continuation) begins a message. */
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

/* Reads the payload length (RFC 6455, 5.2): 7 bits, or 2 or 8 bytes in network order. `bytes`
   is the number of those extra bytes. It is an error if fewer bytes would do, or if bit 63 is
   set. */
static int stws_p_ws_length(stws_ws *ws, const unsigned char *p, size_t bytes,
                            unsigned long long *len) {
    size_t i;
    *len = p[1] & 127u;
    if (bytes == 0) return STWS_OK;
    for (*len = 0, i = 0; i < bytes; i++) *len = *len << 8 | p[2 + i];
    if (*len >> 63) return stws_p_ws_protocol_error(ws, "a length over 63 bits");
    if (*len < (bytes == 2 ? 126u : 65536u))
        return stws_p_ws_protocol_error(ws, "a length in more bytes than it needs");
    return STWS_OK;
}

/* Returns 1 if a close frame may contain this code (RFC 6455, 7.4.2, and the IANA registry:
   1012 to 1014). */
static int stws_p_ws_close_code_valid(int code) {
    return (code >= 1000 && code <= 1003) || (code >= 1007 && code <= 1014) ||
           (code >= 3000 && code <= 4999);
}

/* Splits the payload of a close frame into code and reason (RFC 6455, 5.5.1). From now on the
   parser ignores all input. The event keeps code 1005 if the frame has none. */
static int stws_p_ws_close_event(stws_ws *ws, stws_ws_event *event) {
    const unsigned char *p = (const unsigned char *)event->data;
    ws->closed = 1;
    event->close_code = STWS_P_CLOSE_NO_CODE;
    if (event->len == 0) return STWS_DONE;
    if (event->len == 1) return stws_p_ws_protocol_error(ws, "a close frame with half a code");
    event->close_code = p[0] << 8 | p[1];
    event->data += 2;
    event->len -= 2;
    if (!stws_p_ws_close_code_valid(event->close_code))
        return stws_p_ws_protocol_error(ws, "a close code that may not be sent");
    if (!stws_utf8_valid(event->data, event->len))
        return stws_p_ws_fail(ws, STWS_ERR_WS_UTF8, STWS_P_CLOSE_BAD_DATA,
                              "a close reason that is not UTF-8");
    return STWS_DONE;
}

/* Reports a payload that is complete: a control frame, or a message of one frame. */
static int stws_p_ws_whole(char *payload, size_t len, stws_ws_opcode opcode, stws_ws_event *event) {
    event->opcode = opcode;
    event->first = event->last = 1;
    event->data = payload;
    event->len = len;
    event->close_code = 0;
    return STWS_DONE;
}

/* Reports a control frame, unmasked in place. Its payload is complete (RFC 6455, 5.5). */
static int stws_p_ws_control(char *payload, size_t len, unsigned opcode, stws_ws *ws,
                             stws_ws_event *event) {
    if (ws->server) stws_ws_mask(payload, payload, len, ws->key, 0);
    stws_p_ws_whole(payload, len, (stws_ws_opcode)opcode, event);
    return opcode == STWS_WS_CLOSE ? stws_p_ws_close_event(ws, event) : STWS_DONE;
}

/* Reports the part of the frame's payload that is there, unmasked in place. Returns STWS_MORE
   if no byte of it has arrived, except for an empty payload, which is reported as a piece of 0
   bytes. event->first is set for the first piece of the first frame, event->last for the last
   piece of the last frame. A message never has to be in memory as a whole. */
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

/* The fast path of the WebSocket parser. Nearly every frame from a server is a complete message
   of up to 64 KiB, unmasked, and has arrived to its last byte. A few comparisons recognise such
   a frame.

   Returns the length of its head (2 or 4) and sets *payload. Returns 0 for any other frame, and
   for any frame with an error; stws_ws_parse then does all checks step by step. No state
   changes here. The frame must be text or binary with FIN set and no reserved bits (first byte
   0x81 or 0x82), its length minimal and within max_message, and the parser between two
   messages. A parser with check_utf8 does not use this path. */
static inline size_t stws_p_ws_fast_path(const char *buf, size_t len, const stws_ws *ws,
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
    /* a limit of 0 means no limit: 0 - 1 is the largest size_t */
    if (len - head < *payload || *payload > ws->max_message - 1) return 0;
    return head;
}

/* Tries these cases in this order: the fast path; more payload of a data frame whose head was
   parsed before; input after a close frame, which is ignored; the head of a new frame. A head
   is parsed only when it has arrived completely, so an incomplete head needs no state. A
   control frame is parsed when its payload has arrived too, which is at most 125 bytes. */
STOMP_WS_API int stws_ws_parse(char *buf, size_t len, stws_ws *ws, stws_ws_event *event,
                               size_t *used) {
    const unsigned char *p = (const unsigned char *)buf;
    unsigned long long payload;
    size_t bytes, head, whole;
    int result;
    head = stws_p_ws_fast_path(buf, len, ws, &whole);
    *used = head ? head + whole : 0;
    if (head) return stws_p_ws_whole(buf + head, whole, (stws_ws_opcode)(p[0] & 15), event);
    if (ws->in_frame) return stws_p_ws_data(buf, len, ws, event, used);
    if (ws->closed) *used = len; /* nothing counts after a close frame (RFC 6455, 5.5.1) */
    if (ws->closed || len < 2) return STWS_MORE;
    result = stws_p_ws_check_first(ws, p[0], p[1]);
    if (result != STWS_OK) return result;
    bytes = (p[1] & 127) < 126 ? 0 : (p[1] & 127) == 126 ? 2 : 8;
    head = 2 + bytes + (ws->server ? 4u : 0u);
    if (len < 2 + bytes) return STWS_MORE;
    result = stws_p_ws_length(ws, p, bytes, &payload);
    if (result != STWS_OK) return result;
    if (len < head) return STWS_MORE;
    /* Bit 3 of the opcode marks control frames (RFC 6455, 5.5). */
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

/* Returns the length of the head in front of a payload of `len` bytes. */
static size_t stws_p_ws_head_len(size_t len, int masked) {
    return (len < 126 ? 2u : len < 65536 ? 4u : 10u) + (masked ? 4u : 0u);
}

/* Writes the head of a frame, with its key if there is one. Returns where the payload
   begins. */
static char *stws_p_ws_put_head(char *out, int opcode, int fin, size_t len,
                                const unsigned char *key) {
    unsigned char *p = (unsigned char *)out;
    unsigned masked = key ? 0x80u : 0u;
    int shift = len < 126 ? 0 : len < 65536 ? 16 : 64;
    *p++ = (unsigned char)((fin ? 0x80 : 0) | opcode);
    /* `shift` bits of the length follow, in network byte order. */
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

/* ==== >>stomp_text: commands, escapes and well-known headers of STOMP ====

   The parser and the builder of STOMP frames share these tables: the names of commands, the
   rules of escaping for each version, and the headers that the parser recognises. The section
   also searches a head, 16 bytes at a time, for the bytes that have a meaning in it. */

/* The names of the commands, in the order of stws_command. */
static const char *const stws_p_commands[] = {
    "",     "CONNECT", "STOMP",  "CONNECTED", "SEND",       "SUBSCRIBE", "UNSUBSCRIBE", "ACK",
    "NACK", "BEGIN",   "COMMIT", "ABORT",     "DISCONNECT", "MESSAGE",   "RECEIPT",     "ERROR"};

enum { STWS_P_COMMAND_COUNT = sizeof stws_p_commands / sizeof *stws_p_commands };

STOMP_WS_API const char *stws_command_name(stws_command command_id) {
    return (unsigned)command_id < STWS_P_COMMAND_COUNT ? stws_p_commands[command_id] : "";
}

/* Returns the stws_command with this name. STWS_COMMAND_OTHER: STOMP does not define the
   command. */
static int stws_p_command_find(const char *s, size_t len) {
    int i;
    for (i = 1; i < STWS_P_COMMAND_COUNT; i++)
        if (stws_p_equal(s, len, stws_p_commands[i], strlen(stws_p_commands[i]))) return i;
    return STWS_COMMAND_OTHER;
}

/* How header text is escaped (STOMP 1.2, "Value Encoding"). CONNECT, STOMP and CONNECTED never
   escape, because they must be readable for STOMP 1.0, which has no escapes.

       STWS_P_RAW            no escapes
       STWS_P_ESCAPED_11     LF, ':' and backslash (STOMP 1.1)
       STWS_P_ESCAPED_12     the same, and CR (STOMP 1.2)
       STWS_P_ESCAPED_MAYBE  the version is not known yet; an ERROR may come in any version. A
                             backslash that begins no escape stays as it is. */
enum { STWS_P_RAW, STWS_P_ESCAPED_11, STWS_P_ESCAPED_12, STWS_P_ESCAPED_MAYBE };

/* Returns how the headers of a command are escaped in a version (0: not known yet). */
static int stws_p_escaping(int version, int command_id) {
    if (command_id >= STWS_COMMAND_CONNECT && command_id <= STWS_COMMAND_CONNECTED)
        return STWS_P_RAW;
    if (version == STWS_STOMP_10) return STWS_P_RAW;
    if (version == STWS_STOMP_11) return STWS_P_ESCAPED_11;
    return version == STWS_STOMP_12 ? STWS_P_ESCAPED_12 : STWS_P_ESCAPED_MAYBE;
}

/* Returns the character that a backslash and c stand for, or 0 if that is not an escape. STOMP
   1.1 does not define \r, but servers escape in the same way in both versions, so it is
   accepted. */
static char stws_p_escape_meaning(char c) {
    static const char escapes[] = "ncr\\", meanings[] = "\n:\r\\";
    const char *at = c ? strchr(escapes, c) : NULL;
    return (char)(at ? meanings[at - escapes] : 0);
}

/* Unescapes text in place. Returns its new length, or -1 for an invalid escape. One pass is
   needed: a chain of replacements would turn "\\n" into a line feed. */
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

/* A head is scanned in blocks of 16 bytes. The marks of a block show which bytes mean something
   in a head: bit i belongs to byte i. */
enum { STWS_P_BLOCK = 16 };

typedef struct stws_p_marks {
    uint32_t colons; /* ':', which ends a name */
    /* LF, NUL, CR and backslash. The other control characters below CR are marked too, because
       an exact test would cost one more comparison; they are then handled as text. */
    uint32_t stops;
} stws_p_marks;

#if STWS_P_SSE2
/* Sets each byte to 0xFF that is a stop (at most CR, or a backslash), and the others to 0. */
static inline __m128i stws_p_stops(__m128i v) {
    return _mm_or_si128(_mm_cmpeq_epi8(_mm_min_epu8(v, _mm_set1_epi8('\r')), v),
                        _mm_cmpeq_epi8(v, _mm_set1_epi8('\\')));
}

/* Marks a block of 16 bytes. */
static inline stws_p_marks stws_p_mark_block(const char *p) {
    __m128i v = stws_p_load(p);
    stws_p_marks m;
    m.colons = (uint32_t)_mm_movemask_epi8(_mm_cmpeq_epi8(v, _mm_set1_epi8(':')));
    m.stops = (uint32_t)_mm_movemask_epi8(stws_p_stops(v));
    return m;
}
#else
/* Marks a block of 16 bytes: the portable version. */
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

/* Marks the last n bytes of the input, fewer than 16. They are copied first: reading a whole
   block here would read beyond the buffer. */
static stws_p_marks stws_p_mark_rest(const char *p, size_t n) {
    char copy[STWS_P_BLOCK];
    memset(copy, ' ', sizeof copy);
    memcpy(copy, p, n);
    return stws_p_mark_block(copy);
}

/* Returns the index of the lowest bit that is set. The mask must not be 0. */
static unsigned stws_p_lowest_bit(uint32_t mask) {
#if defined(__GNUC__) || defined(__clang__)
    return (unsigned)__builtin_ctz(mask);
#else
    unsigned i = 0;
    while (!(mask >> i & 1)) i++;
    return i;
#endif
}

/* Returns the bits below the lowest bit that is set, or all bits if the mask is 0. */
static uint32_t stws_p_below(uint32_t mask) { return (mask - 1) & ~mask; }

/* The headers that a client looks up in every message. The parser recognises them once, so no
   look-up has to compare names. These numbers are the indices of stws_frame_state.known and
   stws_p_names. */
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

/* Reads 8 bytes at any address. */
static inline uint64_t stws_p_word(const char *s) {
    uint64_t word;
    memcpy(&word, s, 8);
    return word;
}

/* Returns 1 if a name equals a literal of the same length, which is 9 to 16. Two words of 8
   bytes that overlap cover the name. */
#define STWS_P_IS(name, literal)                                                                   \
    (stws_p_word(name) == stws_p_word(literal) &&                                                  \
     stws_p_word((name) + sizeof(literal) - 9) == stws_p_word(&(literal)[sizeof(literal) - 9]))

/* Returns the number of a known header, or STWS_P_UNKNOWN. */
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

/* The names of the known headers, in the order of their numbers. Each has its length in front
   and its colon behind, so stws_p_fast_header_lines can compare a line by two words: its first
   8 bytes, and the last 8 bytes up to the colon.

   "ack" is too short for two words, so its entry never matches: its second word would begin with
   the byte before the line. That byte is the LF of the line above, and never 6. A line "ack" is
   handled as an unexpected name. The lengths are octal: "\13" is 11.

   The last entry stands for all unknown headers: RabbitMQ and Artemis send "redelivered" in
   each message. */
static const char stws_p_names[][16] = {
    "\13destination:",
    "\12message-id:",
    "\14subscription:",
    "\14content-type:",
    "\6",
    "\12receipt-id:",
    {14, 'c', 'o', 'n', 't', 'e', 'n', 't', '-', 'l', 'e', 'n', 'g', 't', 'h', ':'},
    "\13redelivered:"};

/* ==== >>stomp_head: the head of a STOMP frame, line by line ====

   Each function handles one kind of line, or one rule of STOMP 1.0, 1.1 or 1.2 for a header.
   stws_frame_parse in the next section calls them in order. A function that lacks input returns
   STWS_MORE and leaves the state so that a later call continues at the byte where it stopped:

       BETWEEN -> COMMAND -> HEADERS -> BODY_COUNTED -> BETWEEN     with a content-length
                                     -> BODY_TO_NUL  -> BETWEEN     without: up to the first NUL

   Invariants: `known` never contains NULL. `line` <= `scanned`, and both are offsets from the
   beginning of the frame, so the caller may move the bytes between two calls. */

/* Limits in bytes that are used if max_line and max_body are 0: a header line, and a body (16
   MiB). */
enum { STWS_P_MAX_LINE = 65536, STWS_P_MAX_BODY = 16 << 20 };

/* The phases of the parser. Each call of stws_frame_parse goes on in the phase in which the
   last one ran out of input.

   `line` and `scanned` are offsets from the beginning of the frame. All bytes before `scanned`
   have been looked at. `line` is the beginning of the current header line, or, in the phases of
   the body, the beginning of the body. */
enum { STWS_P_BETWEEN, STWS_P_COMMAND, STWS_P_HEADERS, STWS_P_BODY_COUNTED, STWS_P_BODY_TO_NUL };

/* Bits of `odd`: why the headers of a line need more work than usual. STWS_P_PADDED has the
   value of STWS_STOMP_10, the only version in which blanks around names and values are
   removed. */
enum { STWS_P_PADDED = STWS_STOMP_10, STWS_P_WITH_ESCAPES = 2 };

/* Stands for each known header that the frame does not have. So `known` never contains NULL. */
static const stws_header stws_p_absent = {NULL, NULL, 0, 0};

/* Fills the table `known` from `expected`, which has the number of each header in the frame, in
   wire order. If a header occurs several times, the first one counts (STOMP 1.2, "Repeated
   Header Entries"). The table stays valid for each following frame with the same known headers
   in the same order: it points into the table of headers, and only the entries there change.
   known_in and known_count record for which table and for how many headers it is valid. */
static void stws_p_fill_known(stws_frame_state *s) {
    size_t i;
    for (i = 0; i < sizeof s->known / sizeof *s->known; i++) s->known[i] = &stws_p_absent;
    /* backwards, so that the first header of each name stays */
    for (i = s->header_count; i > 0; i--) s->known[s->expected[i - 1]] = &s->headers[i - 1];
    s->known_in = s->headers;
    s->known_count = s->header_count + 1; /* plus 1, because 0 means: not valid */
}

/* The caller has moved the bytes of an incomplete frame, for example to the front of the
   buffer. Corrects the pointers of the headers that were parsed before. */
static void stws_p_frame_moved(stws_frame_state *s, const char *frame) {
    size_t i;
    for (i = 0; i < s->header_count; i++) {
        s->headers[i].name = frame + ((uintptr_t)s->headers[i].name - (uintptr_t)s->base);
        s->headers[i].value = frame + ((uintptr_t)s->headers[i].value - (uintptr_t)s->base);
    }
    s->base = frame;
}

/* Skips the bytes between two frames. End-of-lines are heart-beats or padding (they look the
   same), and are counted in s->heartbeats. Stray NULs are accepted too.

   Returns STWS_DONE if a frame begins at buf[*used]; STWS_MORE if all input was skipped, or a
   CR waits for its LF; STWS_ERR_FRAME_COMMAND for a CR without LF. */
static int stws_p_between_frames(const char *buf, size_t len, stws_frame_state *s, size_t *used) {
    const char *p = buf, *end;
    int result = STWS_MORE;
    *used = 0;
    if (!len) return result;
    if (*buf >= 'A') return STWS_DONE; /* a command begins here: the usual case */
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

/* Begins a frame: resets everything except the settings of the caller, and `known` and
   `expected`, which stay from the last frame. */
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

/* Longest command in bytes. STOMP's longest one has 11 letters; RabbitMQ knows longer ones. If
   there are more letters, the peer does not speak STOMP. */
enum { STWS_P_MAX_COMMAND = 32 };

/* The command line is complete. `len` is the length of the command, `line_end` the offset of
   the first header line. */
static int stws_p_command_done(char *frame, size_t len, size_t line_end, stws_frame_state *s) {
    if (len == 0 || len > STWS_P_MAX_COMMAND) return STWS_ERR_FRAME_COMMAND;
    s->command_id = stws_p_command_find(frame, len);
    frame[len] = 0;
    s->line = s->scanned = line_end;
    s->phase = STWS_P_HEADERS;
    return STWS_DONE;
}

/* Parses the command line. Returns STWS_DONE, STWS_MORE, or STWS_ERR_FRAME_COMMAND for anything
   that is not a line of capital letters. */
static int stws_p_parse_command(char *frame, size_t len, stws_frame_state *s) {
    if (len >= 8 && memcmp(frame, "MESSAGE\n", 8) == 0) {
        s->command_id = STWS_COMMAND_MESSAGE; /* nearly every frame from a server */
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

/* Reads a content-length that may have blanks around its digits. Any other text is a fatal
   error: a guessed length would let an attacker hide a frame inside a body.

   Returns STWS_DONE; STWS_ERR_FRAME_BODY if the length is over max_body; STWS_ERR_FRAME_LENGTH
   if it is not a number. */
static STWS_P_NOINLINE int stws_p_padded_length(stws_frame_state *s) {
    const char *value = s->known[STWS_P_CONTENT_LENGTH]->value;
    size_t len = s->known[STWS_P_CONTENT_LENGTH]->value_len;
    int is_number;
    stws_p_trim(&value, &len);
    is_number = stws_p_number(value, len, s->max_body, &s->body_len);
    if (is_number < 0) return STWS_ERR_FRAME_BODY;
    return is_number ? (int)STWS_DONE : (int)STWS_ERR_FRAME_LENGTH;
}

/* Reads the content-length of the frame into s->body_len. Returns like stws_p_padded_length. */
static int stws_p_content_length(stws_frame_state *s) {
    const stws_header *h = s->known[STWS_P_CONTENT_LENGTH];
    if (STWS_P_LIKELY(stws_p_number(h->value, h->value_len, s->max_body, &s->body_len) > 0))
        return STWS_DONE;
    return stws_p_padded_length(s);
}

/* Does the rarer work on a header, which *h describes, and which stands at `name` and `value`:
   removes its padding, undoes escapes, and ends both strings with a NUL. Padding exists in
   STOMP 1.0 only, whose own examples have it ("login: <username>"). In later versions blanks
   are data. Returns STWS_DONE; STWS_ERR_FRAME_HEADER for an empty name; STWS_ERR_FRAME_ESCAPE
   for an invalid escape. */
static int stws_p_decode_header(char *name, char *value, stws_header *h,
                                const stws_frame_state *s) {
    int escaping = stws_p_escaping((int)s->version, s->command_id);
    long name_len, value_len;
    if (s->version == STWS_STOMP_10) {
        stws_p_trim(&h->name, &h->name_len);
        stws_p_trim(&h->value, &h->value_len);
        if (h->name_len == 0) return STWS_ERR_FRAME_HEADER;
        name += h->name - name;
        value += h->value - value;
    }
    if (escaping != STWS_P_RAW) {
        name_len = stws_p_unescape(name, h->name_len, escaping);
        value_len = stws_p_unescape(value, h->value_len, escaping);
        if (name_len < 0 || value_len < 0) return STWS_ERR_FRAME_ESCAPE;
        h->name_len = (size_t)name_len;
        h->value_len = (size_t)value_len;
    }
    name[h->name_len] = 0;
    value[h->value_len] = 0;
    return STWS_DONE;
}

/* A header line is complete: `line` to `end`, with its first colon at `colon` (NULL: none).
   Adds it to the table of headers. `odd`: the line has escapes or may have padding. Returns
   STWS_DONE or an error. */
static int stws_p_header_done(char *line, char *colon, char *end, stws_frame_state *s, int odd) {
    stws_header *h = s->headers + s->header_count;
    size_t len = (size_t)(end - line), name_len = colon ? (size_t)(colon - line) : 0;
    int known;
    if (len > s->max_line) return STWS_ERR_FRAME_LINE;
    if (!name_len) return STWS_ERR_FRAME_HEADER;
    if (s->header_count == s->max_headers) return STWS_ERR_FRAME_HEADERS;
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
    /* the first one counts (STOMP 1.2, "Repeated Header Entries") */
    if (s->known[known]->value) return STWS_DONE;
    s->known[known] = h;
    s->known_count = 0;
    return known == STWS_P_CONTENT_LENGTH ? stws_p_content_length(s) : (int)STWS_DONE;
}

/* The empty line at the end of the head has been found at line_end. The body begins behind
   it. */
static int stws_p_head_done(const char *frame, const char *line_end, stws_frame_state *s) {
    s->line = s->scanned = (size_t)(line_end + 1 - frame);
    s->phase = s->known[STWS_P_CONTENT_LENGTH]->value ? STWS_P_BODY_COUNTED : STWS_P_BODY_TO_NUL;
    return STWS_DONE;
}

/* Handles a stop that is not a LF. A NUL is an error. A backslash marks the line as escaped. A
   CR must be followed by LF in STOMP 1.2; in other versions it is data. Returns STWS_MORE if
   the byte that decides this has not arrived. */
static int stws_p_head_other(const char *at, const char *end, int version, int *odd) {
    if (*at == 0) return STWS_ERR_FRAME_NUL;
    if (*at == '\\') *odd |= STWS_P_WITH_ESCAPES;
    if (*at != '\r') return STWS_DONE;
    if (at + 1 == end) return STWS_MORE;
    return at[1] != '\n' && version == STWS_STOMP_12 ? (int)STWS_ERR_FRAME_CR : STWS_DONE;
}

/* ==== >>stomp_parse: a STOMP frame, parsed in place ====

   stws_frame_parse takes bytes as they arrive and returns whole frames that point into the
   input. There are two parsers for heads. The fast path takes simple lines that are complete,
   and expects the names of the last frame. The slow path continues at the first line that is
   not simple. It accepts every line, and input that ends anywhere. Both give the same
   headers. */

/* Searches the next stop, or (or_colon) the next stop or colon, in blocks of 16 bytes that
   begin at `at`. Returns NULL if there is none in the blocks up to last_block, the last address
   at which a whole block can be read. `at` must not be behind last_block. */
static inline char *stws_p_find_mark(char *at, const char *last_block, int or_colon) {
    do {
        stws_p_marks marks = stws_p_mark_block(at);
        uint32_t found = or_colon ? marks.colons | marks.stops : marks.stops;
        if (STWS_P_LIKELY(found)) return at + stws_p_lowest_bit(found);
        at += STWS_P_BLOCK;
    } while (at <= last_block);
    return NULL;
}

/* A line does not begin with the name that was expected here. Finds its colon, and expects its
   name at this place from now on. Returns the colon, or NULL if the line needs the slow
   path. */
static STWS_P_NOINLINE char *stws_p_other_name(char *line, const char *last_block,
                                               stws_frame_state *s, unsigned char *expected) {
    char *colon = stws_p_find_mark(line, last_block, 1);
    int known;
    if (!colon || *colon != ':' || colon == line || colon >= last_block) return NULL;
    known = stws_p_known_header(line, (size_t)(colon - line));
    if (known != *expected) s->known_count = 0;
    *expected = (unsigned char)known;
    return colon;
}

/* The fast path of the header parser. Parses header lines from `line` on, while they are
   simple: no escape, no CR, complete, and with at least one more block behind them. Returns the
   line at which it stopped: a line for the slow path, or the empty line that ends the head.

   Servers usually send the same headers in the same order in each frame. `expected` remembers
   which known header stood in each line of the last frame. Two comparisons of 8 bytes confirm
   that the line begins with this name and colon; then only the end of the line has to be
   searched. If all lines match, the table `known` of the last frame is valid as it is.

   It handles at most 24 lines (the size of `expected`), and at most max_headers. No escapes are
   undone and no lengths are checked here: the caller excludes lines over max_line, and frames
   of STOMP 1.0. */
static char *stws_p_fast_header_lines(char *line, const char *last_block, stws_frame_state *s) {
    stws_header *h = s->headers;
    const stws_header *full =
        h + (s->max_headers < sizeof s->expected ? s->max_headers : sizeof s->expected);
    unsigned char *expected = s->expected;
    const char *last_line = last_block - STWS_P_BLOCK;
    for (; h < full && line <= last_line; h++, expected++) {
        const char *name = stws_p_names[*expected];
        size_t len = (size_t)*name;
        char *value = line + len + 1, *end;
        /* The name is as expected if its first 8 bytes and the 8 bytes up to the colon are. */
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
    if (s->headers != s->known_in || s->header_count + 1 != s->known_count) stws_p_fill_known(s);
    return line;
}

/* Parses the head for the first time, when the command line is complete. Usually this is also
   the last time: the fast path reaches the empty line. Otherwise stws_p_parse_head continues
   after the lines that were parsed here. Without 32 bytes of input, or in STOMP 1.0, the fast
   path is not used. */
static int stws_p_begin_head(char *frame, size_t len, stws_frame_state *s) {
    size_t near = len - s->line; /* not more than max_line, so no line here can be too long */
    char *at = frame + s->line;
    int result = STWS_DONE;
    if (near > s->max_line) near = s->max_line;
    if (s->odd || near < STWS_P_BLOCK + STWS_P_BLOCK) {
        stws_p_fill_known(s);
        return STWS_DONE;
    }
    at = stws_p_fast_header_lines(at, at + near - STWS_P_BLOCK, s);
    s->line = s->scanned = (size_t)(at - frame);
    if (s->known[STWS_P_CONTENT_LENGTH]->value) result = stws_p_content_length(s);
    if (result < 0 || at == frame + len || *at != '\n') return result;
    return stws_p_head_done(frame, at, s);
}

/* The slow path of the header parser. It accepts every line, and input that ends anywhere.
   Scans from stop to stop, remembers the first colon of the line, and makes a header of each
   line that ends.

   Returns STWS_DONE if the head has ended; STWS_MORE if the input ended first; or an error. */
static STWS_P_NOINLINE int stws_p_parse_head(char *frame, size_t len, stws_frame_state *s) {
    char *line = frame + s->line, *at = frame + s->scanned, *end;
    size_t colon = s->colon; /* its offset in the frame; 0: not seen yet */
    int odd = s->odd, result = STWS_MORE;
    while (at < frame + len) {
        size_t rest = (size_t)(frame + len - at);
        stws_p_marks marks =
            rest < STWS_P_BLOCK ? stws_p_mark_rest(at, rest) : stws_p_mark_block(at);
        /* Colons behind the first stop of the block may belong to the next line, so ignore them
           now. */
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
        /* in an empty line at[-1] is the LF or NUL that ended the last one */
        end = at[-1] == '\r' ? at - 1 : at;
        if (end == line) return stws_p_head_done(frame, at, s);
        result = stws_p_header_done(line, colon ? frame + colon : NULL, end, s, odd);
        if (result < 0) break;
        line = ++at;
        colon = 0;
        odd &= STWS_P_PADDED;
    }
    s->line = (size_t)(line - frame); /* also for an error text that quotes the refused line */
    if (result < 0) return result;
    /* The input ended. A line longer than max_line is an error, even without its end. */
    s->colon = colon;
    s->odd = odd;
    s->scanned = (size_t)(at - frame);
    return s->scanned - s->line > s->max_line ? (int)STWS_ERR_FRAME_LINE : STWS_MORE;
}

/* Parses the body. Returns STWS_DONE if the body and its NUL have arrived; STWS_MORE;
   STWS_ERR_FRAME_BODY if a body without content-length is longer than max_body;
   STWS_ERR_FRAME_NUL if no NUL follows a body of the stated length. */
static int stws_p_parse_body(const char *frame, size_t len, stws_frame_state *s) {
    STOMP_WS_ASSERT(s->line <= s->scanned && s->scanned <= len);
    if (s->phase == STWS_P_BODY_TO_NUL) {
        const char *nul = (const char *)memchr(frame + s->scanned, 0, len - s->scanned);
        s->scanned = nul ? (size_t)(nul - frame) : len;
        s->body_len = s->scanned - s->line;
        if (s->body_len > s->max_body) return STWS_ERR_FRAME_BODY;
        return nul ? STWS_DONE : STWS_MORE;
    }
    if (len - s->line <= s->body_len) return STWS_MORE;
    if (frame[s->line + s->body_len]) return STWS_ERR_FRAME_NUL;
    return STWS_DONE;
}

/* Runs the phases from the one that the last call reached. Each phase function returns
   STWS_DONE to let the next one run. The frame begins at buf + *used; its bytes stay in the
   buffer until it is complete, and only their offsets are kept, so the caller may move them. */
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

/* ==== >>stomp_build: a STOMP frame, encoded ====

   Writes a frame with the escapes of a version, and with a content-length. The functions
   stws_p_encode_* write to `to`, or only measure if `to` is NULL. A frame that the version
   cannot express is an error, and never changed silently. stws_frame_build encodes whole
   frames; a session encodes the head alone (stws_p_encode_head), because it masks the body
   while copying. */

/* In frames to be built, a length of 0 means that the string ends in a NUL. */
static size_t stws_p_len_or_strlen(const char *s, size_t len) {
    return len ? len : stws_p_strlen(s);
}

/* Returns the second byte of the escape for c; 0 if c is written as it is; -1 if c cannot be
   expressed: a NUL always; LF, CR, or ':' in a name, without escapes; CR in STOMP 1.1. */
static int stws_p_escape_for(char c, int escaping, int in_name) {
    if (c == 0) return -1;
    if (escaping == STWS_P_RAW) return c == '\n' || c == '\r' || (c == ':' && in_name) ? -1 : 0;
    if (c == '\n') return 'n';
    if (c == ':') return 'c';
    if (c == '\\') return '\\';
    if (c == '\r') return escaping == STWS_P_ESCAPED_11 ? -1 : 'r';
    return 0;
}

#if STWS_P_SSE2
/* Sets each byte to 0xFF that may need an escape. */
static inline __m128i stws_p_escaped(__m128i v) {
    return _mm_or_si128(stws_p_stops(v), _mm_cmpeq_epi8(v, _mm_set1_epi8(':')));
}
#endif
/* Returns 1 if the text has no character that headers escape. Most texts have none; they are
   copied. */
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

/* Encodes header text. Writes it to `to`, or only measures it if `to` is NULL. Returns its
   length in bytes, or SIZE_MAX if the version cannot express it. in_name: the text is the name
   of a header. */
static size_t stws_p_encode_text(char *to, const char *s, size_t len, int escaping, int in_name) {
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

/* Returns 1 if frames with this command may have a body (STOMP 1.2, "Body"). Unknown commands
   may. */
static int stws_p_may_have_body(int command_id) {
    return command_id == STWS_COMMAND_SEND || command_id == STWS_COMMAND_MESSAGE ||
           command_id == STWS_COMMAND_ERROR || command_id == STWS_COMMAND_OTHER;
}

/* Encodes the command, or measures it if `to` is NULL. Returns its length, or 0 if it is not a
   valid command: 1 to 32 capital letters. */
static size_t stws_p_encode_command(char *to, const char *command) {
    size_t n = 0;
    for (; command[n] >= 'A' && command[n] <= 'Z' && n < STWS_P_MAX_COMMAND; n++)
        if (to) to[n] = command[n];
    return command[n] ? 0 : n;
}

/* Returns 1 if a content-length of the caller is a number and equals the length of the body. */
static int stws_p_length_is(const stws_header *h, size_t body_len) {
    size_t value = 0;
    return stws_p_number(h->value, stws_p_len_or_strlen(h->value, h->value_len), SIZE_MAX,
                         &value) == 1 &&
           value == body_len;
}

/* Returns 1 if the frame needs a content-length of ours. A body with a NUL always needs it,
   even if the caller asked for no content-length: otherwise that NUL would end the frame. */
static int stws_p_wants_length(const stws_frame *frame) {
    if (frame->body_len == 0) return 0;
    return !frame->content_length || memchr(frame->body, 0, frame->body_len) != NULL;
}

/* Encodes one header line, or measures it if `to` is NULL. Returns its length in bytes, or
   SIZE_MAX if the version cannot express it. Names of known headers need no escapes. */
static size_t stws_p_encode_header(char *to, const stws_header *h, size_t name_len, int known,
                                   int escaping) {
    size_t name = name_len, value;
    if (known == STWS_P_UNKNOWN) name = stws_p_encode_text(to, h->name, name_len, escaping, 1);
    else if (to) memcpy(to, h->name, name_len);
    if (name == 0 || name == SIZE_MAX) return SIZE_MAX;
    value = stws_p_len_or_strlen(h->value, h->value_len);
    value = stws_p_encode_text(to ? to + name + 1 : NULL, h->value, value, escaping, 0);
    if (value == SIZE_MAX) return SIZE_MAX;
    if (to) {
        to[name] = ':';
        to[name + 1 + value] = '\n';
    }
    return name + value + 2;
}

/* size of the longest line: "content-length:", 20 digits and LF */
enum { STWS_P_LENGTH_LINE = 36 };

/* Writes the line of a content-length. Returns its length in bytes. */
static size_t stws_p_encode_length(char *to, size_t body_len) {
    size_t digits = stws_p_digits(body_len, to + 15);
    memcpy(to, "content-length:", 15);
    to[15 + digits] = '\n';
    return 16 + digits;
}

/* Returns 1 if a name begins or ends with a blank. A reader of STOMP 1.0 would remove it. */
static int stws_p_is_padded(const char *s, size_t len) {
    return len && (*s == ' ' || *s == '\t' || s[len - 1] == ' ' || s[len - 1] == '\t');
}

/* Encodes everything up to the body, or measures it if `to` is NULL. Returns its length in
   bytes, or 0 if the frame cannot be expressed in this version: an invalid command or header, a
   body where STOMP allows none, or a content-length of the caller that is wrong or repeated. */
static size_t stws_p_encode_head(char *to, int version, const stws_frame *frame) {
    const char *command = frame->command ? frame->command : stws_command_name(frame->command_id);
    size_t n = stws_p_encode_command(to, command), i, bytes;
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
        bytes = stws_p_encode_header(to ? to + n : NULL, h, name_len, known, escaping);
        if (bytes == SIZE_MAX) return 0;
        n += bytes;
    }
    if (wants_length) n += stws_p_encode_length(to ? to + n : line, frame->body_len);
    if (to) to[n] = '\n';
    return n + 1;
}

/* Returns an upper bound for the length of the head: the longest command, every byte escaped, a
   content-length and all line ends. It is much cheaper than measuring. */
static size_t stws_p_head_bound(const stws_frame *frame) {
    size_t bound = STWS_P_MAX_COMMAND + 64, i;
    for (i = 0; i < frame->header_count; i++) {
        const stws_header *h = &frame->headers[i];
        size_t text = stws_p_len_or_strlen(h->name, h->name_len) +
                      stws_p_len_or_strlen(h->value, h->value_len);
        /* on 32 bits: no buffer is so large */
        if (sizeof text < 8 && text > (SIZE_MAX / 2 - bound) / 2 - 1) return SIZE_MAX / 2;
        bound += 2 * text + 2;
    }
    return bound;
}

STOMP_WS_API int stws_frame_build(char *buf, size_t cap, stws_stomp_version version,
                                  const stws_frame *frame, size_t *need) {
    size_t bound = stws_p_head_bound(frame);
    /* if so, the head need not be measured before it is written */
    int fits = bound < cap && frame->body_len < cap - bound;
    size_t head = stws_p_encode_head(fits ? buf : NULL, (int)version, frame);
    *need = 0;
    if (!head) return STWS_ERR_FRAME_BUILD;
    *need = head + frame->body_len + 1;
    if (*need > cap) return STWS_ERR_SPACE;
    if (!fits) stws_p_encode_head(buf, (int)version, frame);
    if (frame->body_len) memcpy(buf + head, frame->body, frame->body_len);
    buf[head + frame->body_len] = 0;
    return STWS_OK;
}

/* ==== >>dedup: the ids of the last messages, in fixed memory ====

   Remembers the last `count` ids, so that a program notices a message that is delivered twice.
   It works in memory of the caller, which belongs to one thread at a time. No other section
   calls it.

   It is an array of entries of fixed size. An id is represented by the first 16 bytes of its
   SHA-1. Each entry belongs to two structures:

   - A tree to find it. At depth n, bit n of the digest selects the child. Entries stay
     unsorted, so an entry is somewhere on the path of its own digest.
   - A ring by age, from the oldest to the newest entry.

   Entry 0 has no id. Its child 0 is the root of the tree, its `newer` is the oldest entry, and
   its `older` is the newest entry.

   An attacker who chooses the ids cannot make a path long: to find ids with N equal bits takes
   2^N tries. So the cost is bounded without a secret key. */

/* An entry of the array. */
struct stws_dedup {
    unsigned char digest[16];        /* the id */
    uint32_t child[2], older, newer; /* indices of other entries; a child of 0: no child */
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

/* Returns the link that contains the index of the entry with this digest. If there is no such
   entry, the link contains 0, and a new entry with this digest belongs there. */
static uint32_t *stws_p_dedup_find(stws_dedup *d, const unsigned char *digest) {
    uint32_t *at = &d->child[0];
    unsigned bit;
    for (bit = 0; *at && memcmp(d[*at].digest, digest, 16) != 0; bit++)
        at = &d[*at].child[digest[bit / 8] >> bit % 8 & 1];
    return at;
}

/* Removes the entry to which the link points, if it points to one. Some leaf below the entry
   takes its place: the leaf's digest has the same first bits, so it stays on its own path. */
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

/* An id that was seen before becomes the newest one again. A new id replaces the oldest one.
   While the memory is not full, the oldest entry is an unused one, which is not in the tree. */
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

/* ==== >>threads: atomic variables, mutexes, and which thread this is ====

   Hides three differences between systems: whether the compiler has atomics, whether the
   program was compiled with threads, and by which clock a condition waits. With
   STOMP_WS_NO_THREADS the macros for locks do nothing. The end of the section defines how a
   thread can hold a client; >>driver uses it. */

/* Atomic access, for values that another thread may read while they are written.

       LOAD(p), STORE(p, v)  acquire and release
       SWAP(p, v)            stores v; sequentially consistent
       TAKE(p, old, v)       stores v if *p equals *old; returns 1 if it did

   Compilers without __atomic use plain loads and stores, and a mutex for SWAP and TAKE. */
#if defined(__GNUC__) || defined(__clang__)
#define STWS_P_LOAD(p) __atomic_load_n(p, __ATOMIC_ACQUIRE)
#define STWS_P_STORE(p, v) __atomic_store_n(p, v, __ATOMIC_RELEASE)
#define STWS_P_SWAP(p, v) __atomic_exchange_n(p, v, __ATOMIC_SEQ_CST)
#define STWS_P_TAKE(p, old, v)                                                                     \
    __atomic_compare_exchange_n(p, old, v, 0, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST)
#else
#define STWS_P_LOAD(p) (*(p))
#define STWS_P_STORE(p, v) (void)(*(p) = (v))
#ifdef STOMP_WS_NO_THREADS
#define STWS_P_SWAP(p, v) (void)(*(p) = (v))
#define STWS_P_TAKE(p, old, v) (*(p) == *(old) && ((*(p) = (v)), 1))
#else
/* This compiler has no atomics: one mutex serves SWAP and TAKE of all values. locks: 1 locks, 0
   unlocks. */
static void stws_p_lock_atomics(int locks) {
    static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    if (locks) pthread_mutex_lock(&lock);
    else pthread_mutex_unlock(&lock);
}

/* Stores v in *p if *p is old. Returns 1 if it did. */
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

/* Gives each thread its own copy of a static variable. */
#if defined(STOMP_WS_NO_THREADS)
#define STWS_P_THREAD_LOCAL
#elif defined(__GNUC__) || defined(__clang__)
#define STWS_P_THREAD_LOCAL __thread
#elif defined(__cplusplus)
#define STWS_P_THREAD_LOCAL thread_local
#elif defined(__STDC_VERSION__) && __STDC_VERSION__ >= 201112L && !defined(__STDC_NO_THREADS__)
#define STWS_P_THREAD_LOCAL _Thread_local
#else /* a thread may then read the refusal of another thread */
#define STWS_P_THREAD_LOCAL
#endif

#ifdef STOMP_WS_NO_THREADS
#define STWS_P_LOCK(object) ((void)(object))
#define STWS_P_UNLOCK(object) ((void)(object))
#define STWS_P_WITH_THREADS(code)
#else
#define STWS_P_WITH_THREADS(code) code
#define STWS_P_LOCK(object) ((void)pthread_mutex_lock((object)->mutex))
#define STWS_P_UNLOCK(object) ((void)pthread_mutex_unlock((object)->mutex))

/* Creates a mutex, and a condition that waits by the monotonic clock, if the system offers
   that. Returns 1, or 0 without memory. */
static int stws_p_sync_init(pthread_mutex_t *mutex, pthread_cond_t *cond) {
    pthread_condattr_t attributes;
    int made = 0;
    if (pthread_mutex_init(mutex, NULL) != 0) return 0;
    if (pthread_condattr_init(&attributes) == 0) {
#if !defined(__APPLE__)
        pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
#endif
        made = pthread_cond_init(cond, &attributes) == 0;
        pthread_condattr_destroy(&attributes);
    }
    if (!made) pthread_mutex_destroy(mutex);
    return made;
}

/* Waits for a signal, at most `ms` milliseconds; -1: no limit. Returns 1, or 0 if the time is
   over. The lock is held. */
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

/* How a thread may hold a client: it drives; it flushes while no thread drives; it writes one
   full batch. A flusher or a writer makes way for a thread that wants to drive. The value
   stands in the lowest bits of `driver`; STWS_P_HOLDS is their mask. */
enum { STWS_P_DRIVER = 0, STWS_P_FLUSHER = 1, STWS_P_WRITER = 2, STWS_P_HOLDS = 3 };

/* `driver` while the thread of stws_start has not begun yet */
#define STWS_P_COMING (~(uintptr_t)STWS_P_HOLDS)

/* Values of `lent`. The driving thread may still use one of these between two driving calls: an
   event of stws_next, whose views have to stay valid; or the times and descriptors that its own
   loop waits for. */
enum { STWS_P_NOTHING = 0, STWS_P_EVENT = 1, STWS_P_LOOP = 2 };

/* Returns a number for the calling thread. It is not 0, and a multiple of STWS_P_HOLDS + 1. */
static uintptr_t stws_p_thread_id(void) {
    uintptr_t me = 1;
#ifndef STOMP_WS_NO_THREADS
    pthread_t self = pthread_self();
    memcpy(&me, &self, sizeof self < sizeof me ? sizeof self : sizeof me);
#endif
    return (me ? me : 1) * (STWS_P_HOLDS + 1);
}

/* ==== >>session_structs: the tables and buffers of one STOMP session ====

   The types of the session. The sections from >>ring to >>decode work on them:

       bytes from the transport -> in -> ws, parser -> frames       >>decode
       calls -> draft -> (outbox) -> out -> bytes to the transport  >>draft, >>outbox, >>encode
       tables that outlive a session: subs, receipts, outbox

   A session makes no system call, and reads no clock: callers pass the time. So the simulator
   can run it. Three rules say who may touch a field:

   - The input side (`in`, `ws`, `parser`, `message`, times) belongs to the driving thread.
   - The output side and the tables (`out`, `outbox`, `subs`, `receipts`, the pool of masking
     keys) are used under the client's lock.
   - Fields that are read without the lock are atomic. Fields that are set once need neither.

   The life of an entry in a table is an enum with a diagram. */

#define STWS_P_US 1000LL /* microseconds in a millisecond: options are in ms, the clock in us */
/* A time that is not set, or a deadline that does not exist: later than any other time. */
#define STWS_P_NEVER 9223372036854775807LL

/* Bytes of randomness that are fetched at once, at most: 64 masking keys. */
enum { STWS_P_POOL = 256 };

enum { STWS_P_WS_HEAD = 14 }; /* the longest head of a WebSocket frame */

/* number of bytes in front of the destination in a kept head */
enum { STWS_P_SEND_HEAD_BEGIN = sizeof "SEND\ndestination:" - 1 };

enum { STWS_P_PIECE = 8192 }; /* Tomcat's default limit for a WebSocket message, in bytes */

/* Size of error sentences in bytes: normally, and with the smallest rx_buffer. */
enum { STWS_P_TEXT = 640, STWS_P_MIN_TEXT = 256 };

/* Size of two parts of error sentences: about our own lateness, and about an idle
   connection. */
enum { STWS_P_LATE = 208, STWS_P_IDLE = 320 };

/* longest kept head of a SEND, in bytes; see stws_p_keep_send_head */
enum { STWS_P_MAX_SEND_HEAD = 288 };

enum { STWS_P_STABLE_ID = 48 }; /* room for a stable id: 16 digits, '-', at most 20 digits, NUL */

/* Room for parts of an answer to the upgrade that are kept, in bytes: its headers, its cookies,
   the URL of a redirect. */
enum { STWS_P_MAX_ANSWER_HEAD = 4096, STWS_P_JAR = 2048, STWS_P_MOVED = 1024 };

/* A buffer of bytes. The session has one for its output. The lock is held when it is used,
   except while the transport writes from it. */
typedef struct stws_p_buffer {
    char *data;             /* the memory */
    size_t cap, begin, end; /* cap: bytes of memory; the data is [begin, end) */
    int on_heap; /* data is a larger buffer on the heap; else it is the one that was set up once */
    int busy;    /* a write without the lock is running: append only, do not move data */
} stws_p_buffer;

/* The bytes that were received, in two parts of one buffer:

       0 ... begin          free
       begin ... end        STOMP bytes, without WebSocket heads; not consumed yet
       end ... raw          gap left by heads that were removed; often empty
       raw ... raw_end      received bytes that were not parsed yet
       raw_end ... cap      free, for the next read

   While the gap is empty, no byte has to be moved. Only the driving thread uses this buffer. */
typedef struct stws_p_input {
    char *data; /* the memory */
    /* cap: bytes of memory; the others are offsets, see above */
    size_t cap, begin, end, raw, raw_end;
    int on_heap; /* data is a larger buffer on the heap; else it is the one that was set up once */
} stws_p_input;

/* The life of an entry in the table of subscriptions. Only stws_p_sub_enter changes it.

        FREE --add--> UNSENT --SUBSCRIBE--> SENT --unsubscribe--> ENDED
                      ^    |                  |
                      v    +---> SKIPPED      +---> ASIDE
                 WAITS_FOR_ID

   When a session ends, every entry except the FREE ones and those set aside becomes UNSENT.
   When a subscription ends, its entry becomes FREE. */
typedef enum stws_p_sub_state {
    STWS_P_SUB_FREE,
    STWS_P_SUB_UNSENT, /* its SUBSCRIBE is to be sent, in this session or in the next one */
    /* An UNSUBSCRIBE with the same id waits in the outbox, and must be sent first. */
    STWS_P_SUB_WAITS_FOR_ID,
    STWS_P_SUB_SENT,    /* its SUBSCRIBE was sent in this session */
    STWS_P_SUB_SKIPPED, /* not in this session: before_subscribe refused, or it cannot be sent */
    STWS_P_SUB_ENDED,   /* the program has ended it, but there is no room for its UNSUBSCRIBE */
    STWS_P_SUB_ASIDE    /* set aside: in no session, because it ended three of them */
} stws_p_sub_state;

/* The values of stws_p_sub.suspicion: how much a subscription is suspected of ending sessions.

   A server may answer a SUBSCRIBE by ending the session, for example if the destination is
   forbidden. A client that subscribes to everything again would then never get through.
   Therefore:

   - After its SUBSCRIBE, a subscription is on trial for 1 second (STWS_P_TRIAL_US). If the
     session lives longer, the subscription is innocent.
   - If the server ends the session during a trial, with an ERROR or a close frame, the
     subscriptions on trial become the suspects, and all others are innocent. If the ERROR names
     the receipt of a frame, only a SUBSCRIBE with this receipt stays on trial.
   - After two such sessions in a row the client is careful: it sends half of the suspects that
     are left, waits until their trial is over, and so on. Other subscriptions and the outbox
     wait meanwhile. So each bad session halves the number of suspects.
   - A subscription that was alone on trial in three such sessions in a row is guilty. It is set
     aside, and an event tells the user.

       STWS_P_INNOCENT        no suspicion
       STWS_P_ONE_OF_SEVERAL  it was on trial together with others
       STWS_P_ALONE           it was alone on trial, once; one more for each further time
       STWS_P_GUILTY          it was alone on trial for the third time in a row */
enum { STWS_P_INNOCENT, STWS_P_ONE_OF_SEVERAL, STWS_P_ALONE, STWS_P_GUILTY = STWS_P_ALONE + 2 };

/* How long the trial of a subscription lasts after its SUBSCRIBE, in microseconds. */
#define STWS_P_TRIAL_US 1000000LL

/* An entry of the table of subscriptions. The lock is held for every change. `handle` and the
   fields that stws_p_find_callback reads are atomic, because it reads them without the lock. */
typedef struct stws_p_sub {
    int handle; /* 0: the entry is free; atomic, see stws_p_find_callback */
    /* First entry of the hash chain with this entry's number (see stws_p_custom_link_locked).
       Entries in chains are numbered from 1; 0 ends a chain. */
    int head;
    stws_message_fn on_message; /* its own callback, or NULL; atomic */
    void *user;                 /* the argument of on_message; atomic */
    int receipt;  /* number of the receipt that its next SUBSCRIBE asks for; 0: none */
    int next;     /* the next entry in the hash chain that contains this one; 0: the last */
    int prefetch; /* stws_subscribe_options.prefetch; 0: not set */
    /* Number of headers of the user's own among its texts. The texts are: destination, id, ack
       mode, durable name, then a name and a value per header, each ended by a NUL. */
    int header_count;
    /* custom_id      1: the user chose the id; 0: it is "sub-" and the handle; atomic
       ack_on         stws_subscribe_options.ack_on; atomic
       wants_receipt  the user wants an event when the server confirms the SUBSCRIBE
       pinned         before_subscribe reads the texts without the lock: keep the entry */
    unsigned char custom_id, ack_on, wants_receipt, pinned;
    unsigned char state; /* stws_p_sub_state */
    /* on_trial: it is on trial now; suspicion: STWS_P_INNOCENT etc. */
    unsigned char on_trial, suspicion;
} stws_p_sub;

/* The table of subscriptions. It outlives sessions: each new session subscribes to all of it
   again. The entry of a handle is slots[handle % count], so it is found without a search. The
   lock is held for every change. */
typedef struct stws_p_subs {
    stws_p_sub *slots; /* set once */
    int count;         /* entries; set once */
    int live, unsent;  /* entries that are not FREE; entries that are UNSENT */
    /* next_handle  the handle to try next
       cursor       the entry at which the search for UNSENT ones begins */
    int next_handle, cursor;
    /* on_trial: entries on trial; suspects: entries that are not innocent */
    int on_trial, suspects;
    int failed_trials;  /* sessions in a row that the server ended during a trial */
    long long trial_us; /* when the trial began: the last SUBSCRIBE, or CONNECTED */
    char *texts;        /* the texts of all entries, text_size bytes each; set once */
    size_t text_size;   /* options.subscription_bytes; set once */
} stws_p_subs;

/* The life of a receipt's entry.

        FREE --add--> KEPT --its frame was sent, and is not kept--> SENT --> DONE --take--> FREE

   A KEPT entry may also become DONE, and FREE if its frame was not accepted. */
typedef enum stws_p_receipt_state {
    STWS_P_RECEIPT_FREE,
    STWS_P_RECEIPT_KEPT, /* its frame is still to be sent, or may be resent: no deadline */
    STWS_P_RECEIPT_SENT, /* its frame was sent: it ends at its deadline, or with the session */
    STWS_P_RECEIPT_DONE  /* it has a result, which is still to be reported */
} stws_p_receipt_state;

/* An entry of the table of receipts. The lock is held. */
typedef struct stws_p_receipt {
    int number; /* the N of "receipt-N", which the sending call returned */
    stws_p_receipt_state state;
    /* result  once DONE: STWS_OK, or the reason why no RECEIPT came
       handle  the subscription whose SUBSCRIBE asked for it, or 0 */
    int result, handle;
    int next_done; /* once DONE: index of the entry that ended next */
    /* sent_us      when its frame was sent; 0: not yet
       deadline_us  when waiting for it ends; STWS_P_NEVER while KEPT */
    long long sent_us, deadline_us;
} stws_p_receipt;

/* The life of a record in the outbox. Only stws_p_record_enter changes it.

        WAITING --encoded--> SENT --receipt, or not asked for--> CONFIRMED --> DONE
           ^                  |                                      |
           +------------------+--- the session has ended ------------+

   With `confirm` a SENT record waits for its RECEIPT. If the session ends before that, it is
   WAITING again, and the next session resends it. A single record goes from CONFIRMED to DONE
   immediately; a part of a transaction does so when the transaction is over. A BEGIN becomes
   BROKEN when its transaction can no longer be sent as a whole. A record that is dropped
   becomes DONE. Records leave at the head of the ring, so a DONE record stays until all older
   records are DONE, too. */
typedef enum stws_p_record_state {
    STWS_P_RECORD_WAITING,   /* to be sent */
    STWS_P_RECORD_SENT,      /* sent in this session; its receipt is to come */
    STWS_P_RECORD_CONFIRMED, /* sent, and no receipt is to come: kept for its transaction */
    STWS_P_RECORD_BROKEN,    /* a BEGIN whose transaction can no longer be sent as a whole */
    STWS_P_RECORD_DONE       /* not needed any more */
} stws_p_record_state;

/* A frame in the outbox, with a copy of its headers and texts behind it. The lock is held. */
typedef struct stws_p_record {
    size_t size;           /* bytes in the ring; must be first, see stws_p_ring */
    stws_frame frame;      /* its pointers point behind the record */
    int receipt;           /* number of the receipt that its frame asks for; 0: none */
    unsigned epoch;        /* the only session in which the frame has a meaning; 0: any session */
    unsigned char state;   /* stws_p_record_state */
    unsigned char confirm; /* its receipt confirms it */
    unsigned char tied;    /* a part of a transaction, kept until the transaction is over */
    uint32_t link;         /* the next record in its chain, see stws_p_chain_of */
    long long sent_us;     /* when it was encoded into the output */
} stws_p_record;

/* A queue of entries of any size in a ring of bytes, in the order in which they were put. Used
   for the outbox, and for stws_queue. Each entry begins with a size_t: its size. No entry is
   split at the end of the ring, so the data is [head, wrap) and then [0, tail), or, without a
   wrap, [head, tail).

   An entry is first untaken. It is taken (in order, at `next`) when it is sent or popped, and
   dropped (in order, at `head`) when it is not needed any more. So a taken entry can stay for a
   while. */
typedef struct stws_p_ring {
    char *data; /* set once */
    /* cap   size in bytes; set once
       head  the oldest entry
       tail  the end of the newest entry
       wrap  where the data ends before it continues at 0; SIZE_MAX: it does not
       next  the oldest untaken entry */
    size_t cap, head, tail, wrap, next;
    /* count    entries
       untaken  entries that were not taken yet
       used     bytes, from the beginning, that ever contained data; only these must be wiped */
    size_t count, untaken, used;
} stws_p_ring;

/* One STOMP session, and the tables that outlive it. It turns received bytes into frames, and
   frames into bytes to send. It makes no system calls. Any thread that sends holds the lock;
   the input side belongs to the driving thread. */
typedef struct stws_p_session {
    stws *client;                /* set once */
    const stws_options *options; /* set once; every default is filled in */
    stws_p_buffer out;           /* encoded frames that wait to be written; the lock is held */
    stws_p_input in;             /* received bytes; driving thread */
    stws_ws ws;                  /* state of the WebSocket parser; driving thread */
    stws_frame_state parser;     /* state of the STOMP parser; driving thread */
    /* headers of the one draft at a time, max_headers of them; the lock is held */
    stws_header *build_headers;
    stws_header *trace_headers; /* copy of the headers for on_trace; the lock is held */
    /* Text of the id of the last SEND, for options.stable_id. Its first 16 digits are chosen
       once per client. The lock is held. */
    char *stable_id;
    unsigned long long last_id; /* the number in stable_id, behind the '-' */
    char *send_head; /* the kept head of a SEND, see stws_p_keep_send_head; the lock is held */
    /* The lock is held for all four:

           send_head_len              length of the kept head
           send_head_body_len         length of the body that its content-length names
           send_head_own_len          its length without content-length and empty line; 0: no head
           send_head_destination_len  length of its destination */
    size_t send_head_len, send_head_body_len, send_head_own_len, send_head_destination_len;
    /* address of the destination of the last SEND; compared, never read */
    uintptr_t last_destination;
    stws_message message; /* the last MESSAGE, as views; driving thread */
    int answered;         /* its ACK or NACK has been submitted; atomic */
    int in_opcode; /* opcode of the WebSocket message that the last bytes came in; driving thread */
    size_t taken; /* bytes of the frame that was handed out last, not removed yet; driving thread */
    int dry;      /* all input was parsed, no complete frame is left; driving thread */
    /* Random bytes for masking keys. Its size depends on tx_buffer, as does that of
       `send_head`. The lock is held. */
    unsigned char *pool;
    int no_random; /* no masking key could be made: this session can send no more; atomic */
    /* send_head_cap  size of `send_head`; set once
       pool_size      size of `pool`; set once
       pool_left      unused bytes of the pool; the lock is held */
    size_t send_head_cap, pool_size, pool_left;
    stws_random random; /* the source of randomness; set once */
    /* version          STWS_STOMP_*; STWS_STOMP_NONE before CONNECTED; atomic
       broker           STWS_BROKER_*; atomic
       peer_close_code  code of the server's close frame; 0: none came; driving thread */
    int version, broker, peer_close_code;
    unsigned epoch; /* counts sessions, from 1; the driving thread changes it under the lock */
    /* Times and intervals of the driving thread, in microseconds.

           heartbeat_out_us  we send a heart-beat so often; 0: not agreed
           heartbeat_in_us   the server sends one so often; 0: not agreed
           last_in_us        when bytes arrived last
           last_out_us       when bytes were written last */
    long long heartbeat_out_us, heartbeat_in_us, last_in_us, last_out_us;
    /* ping_us       we send a PING so often; 0: no PINGs
       last_ping_us  when the last PING was sent */
    long long ping_us, last_ping_us;
    /* The interval in which something must come from the server: heartbeat_in_us, or ping_us
       once the server has answered a PING. 0: not known, so the server's silence is no
       error. */
    long long expected_us;
    int pinged;                       /* a PING was sent in this session; driving thread */
    char pong[125];                   /* payload of the last PING from the server; driving thread */
    unsigned char pong_len, pong_due; /* pong_len: its length; pong_due: it has to be answered */
    /* The reason in the server's close frame. It shares the memory of the client's `where`, so
       it must be read before that is written. */
    char *peer_close_reason;
    stws_p_subs subs; /* the subscriptions; they outlive the session */
    /* options.max_receipts entries; they outlive the session; the lock is held */
    stws_p_receipt *receipts;
    /* next_receipt      the number to use next
       receipts_waiting  entries in the states KEPT and SENT
       receipts_done     entries in the state DONE; atomic
       first_done        index of the DONE entry that ended first
       last_done         index of the DONE entry that ended last */
    int next_receipt, receipts_waiting, receipts_done, first_done, last_done;
    stws_p_ring outbox; /* frames that wait; it outlives the session; the lock is held */
    uint32_t *chains; /* with options.confirm: chains of records by receipt, see stws_p_chain_of */
    size_t chain_count;    /* a power of two; set once */
    size_t unconfirmed;    /* records that wait for their confirmation; the lock is held */
    stws_statistics stats; /* counted since the client was created, see stws_stats */
} stws_p_session;

/* ==== >>client_structs: a client, its connection and its lock ====

   The struct stws and the types of its parts outside of the session: TCP connection, proxy,
   TLS, queue, events that wait. They are here because the client contains or points to them.
   The sections >>tcp, >>proxy, >>tls and >>queue.c work on them.

   A field belongs to the driving thread, unless its comment says otherwise: set once, under the
   lock, or atomic. stws_p_lock takes the lock, and stws_p_unlock releases it. With assertions,
   they record its owner, and stws_p_has_lock checks it. A function whose name ends in _locked
   needs the lock. If it releases the lock meanwhile, its comment says so. */

enum { STWS_P_ADDRESSES = 8 }; /* the most addresses of one host that are tried */

/* One address, IPv4 or IPv6. It is smaller than sockaddr_storage. */
typedef union stws_p_address {
    struct sockaddr any;
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
} stws_p_address;

/* A TCP connection, or the race of two connects that leads to it. Only the driving thread uses
   it. */
typedef struct stws_p_tcp {
    /* the addresses of the host, STWS_P_ADDRESSES at most; unused once the connection is
       open */
    stws_p_address *addresses;
    /* number of addresses; index of the next address to try; port of the server or proxy */
    int count, next, port;
    /* the sockets of the two connects that race, -1: none; fd alone is the connection in the
       end */
    int fd, rival;
    int fd_at, rival_at;    /* indexes of their addresses */
    stws_p_address reached; /* the address that the open connection leads to */
    int error;              /* errno of the last failure */
    long long race_us;      /* time at which the next address is tried as well */
    const stws_clock *clock;
    struct stws_p_proxy *proxy; /* the proxy, or NULL for a direct connection */
} stws_p_tcp;

/* A proxy's URL, taken apart. `socks`: 1 for SOCKS 5, 0 for HTTP CONNECT. The strings are
   decoded and end with NUL; without credentials, user and password are "". */
typedef struct stws_p_proxy_url {
    int socks, port;
    char host[256], user[256], password[256];
} stws_p_proxy_url;

/* The state of the dialogue with the proxy. Only the driving thread uses it. */
typedef struct stws_p_proxy {
    stws_p_proxy_url at;
    /* step: one of STWS_P_DIAL ...; final: another attempt would fail in the same way; port: of
       the server; saying: `data` holds our request, else the bytes of the proxy's answer */
    int step, final, port, saying;
    /* While we send: bytes of `data` already sent, and the length of the request. While we
       receive: bytes of interim answers to skip, and bytes received. */
    size_t sent, len;
    /* the server's host; request or answer; the error sentence, "" without an error */
    char target[256], data[4096], why[360];
    stws_header headers[64]; /* of an HTTP answer */
} stws_p_proxy;
#ifdef STOMP_WS_NO_PROXY
#define STWS_P_HAS_PROXY 0 /* the compiler then removes the code of >>proxy */
#else
#define STWS_P_HAS_PROXY 1
#endif
/* The steps of the dialogue with the proxy: connecting to it; choosing the method, and sending
   user and password (both with SOCKS only); asking for the connection to the server. */
enum { STWS_P_DIAL, STWS_P_ASK_METHOD, STWS_P_ASK_LOGIN, STWS_P_ASK_CONNECT };

/* The state of a TLS connection, see >>tls. Only the driving thread uses it. */
typedef struct stws_p_tls {
    const stws_tls *table;
    void *state; /* the TLS library's state, table->size bytes */
    stws_p_tcp *tcp;
    stws_tls_start start; /* what the table's begin gets */
    /* the sentence of >>tls for the last failure; NULL: the table or TCP has the sentence */
    const char *why;
    /* bytes of the client's output that the table has taken, but that are not yet sent */
    size_t taken;
    int begun, open; /* begun: the table's begin was called; open: its handshake is done */
    int failed;      /* the table reported the last failure */
    int silent;      /* after fork(): another process uses the socket, so send nothing */
    char host[256];  /* host of this connection, and of the session that may be resumed */
    int port;        /* its port; 0: there is no session to resume */
} stws_p_tls;

/* A client that waits for room in the queue, and how to wake it. Under the queue's lock; the
   client reads `listed` atomically. */
typedef struct stws_p_waiter {
    struct stws_p_waiter *next;
    int fd;     /* write end of the client's wake pipe; -1: the client asks again by itself */
    int listed; /* it is in the list of waiters */
} stws_p_waiter;

/* One message in the queue. Messages lie in a ring, each in one piece. A popped message keeps
   its place until it is given back. */
typedef struct stws_p_queued {
    size_t size; /* of the entry, in bytes; the ring needs it first */
    /* given_back: the user does not need it any more; answered: it was acknowledged, or need
       not be (atomic) */
    int given_back, answered;
    int settling; /* the thread that gives it back is just acknowledging it */
    stws_message *message;
} stws_p_queued;

/* A queue. All fields that change are under its lock. */
struct stws_queue {
    stws_p_ring ring;
    long pid;               /* the process that created it; set once */
    int closed;             /* stws_queue_close was called */
    int feeders, fed;       /* number of clients that may still add messages; there has been one */
    stws_p_waiter *waiters; /* clients that wait for room */
#ifndef STOMP_WS_NO_THREADS
    pthread_mutex_t mutex[1]; /* an array, so that STWS_P_LOCK gets a pointer, like a client's */
    pthread_cond_t filled;    /* a message came, the queue ended, or an ACK is done */
#endif
};

/* Values of `asked`: the user has asked for nothing, a graceful end, or an immediate stop. */
enum { STWS_P_ASKED_NOTHING, STWS_P_ASKED_END, STWS_P_ASKED_STOP };

/* encoded output is written at the latest when this many bytes wait */
enum { STWS_P_BATCH = 65536 };

/* the input buffer's default: a full read beside part of an earlier frame */
enum { STWS_P_READ = STWS_P_BATCH + 4096 };

enum { STWS_P_MAX_URLS = 64 }; /* the most entries of options.urls */

/* A value of due_us: no wait has begun since the last turn, so no due time is known. */
enum { STWS_P_NOT_TOLD = -1 };

enum { STWS_P_AGAIN = STWS_RESULT_END }; /* an internal result: try the operation again */

/* An event that waits for stws_next. A copy of its message follows it in the same memory. */
typedef struct stws_p_kept {
    struct stws_p_kept *next;
    size_t size;  /* of this block with the message's copy, in bytes */
    int answered; /* the message has been acknowledged */
    stws_event event;
    stws_message *message; /* the event's, or NULL */
} stws_p_kept;

/* why no frame is dispatched: options.queue has no room for a message, or the output has no
   room for the last message's ACK */
enum { STWS_P_HELD_BY_QUEUE = 1, STWS_P_HELD_BY_ACK };

struct stws {
    stws_options o; /* the options with all defaults filled in; set once */
    /* the STOMP session; its output, outbox and tables are under the lock */
    stws_p_session s;
    size_t block_size; /* size of the client's block of memory; set once */
    /* state: STWS_IDLE ...; error: the last error's code, explained by `text`; final: the
       result of driving calls once the client has ended; http_status, close_code: of the last
       answer and close frame, else 0; stop: stws_stop was called, atomic. Only the driving
       thread writes the others; other threads read them atomically. */
    int state, error, final, http_status, close_code, stop;
    int asked;             /* one of STWS_P_ASKED_*; written under the lock, read atomically */
    int disconnect_number; /* number of the receipt that a graceful end waits for */
    /* failed attempts in a row since the last stable session; index of the current URL, -1:
       none */
    int failures, url_index;
    int had_session; /* there has been a session */
    int put_off;     /* before_connect asked for more time: it is called again for this attempt */
    int write_error; /* writing has failed; what the server sent before is still read */
    /* a callback is running, so the message that it reads must stay in its place */
    int calling;
    int busy_turns;      /* turns in a row in which bytes moved; at STWS_P_TURNS the timers run */
    int frames_left;     /* frames to dispatch before the clock is read again */
    unsigned losses;     /* number of sessions that ended with unwritten output */
    unsigned refusals;   /* number of calls that did not try to write: the socket was full */
    size_t http_scanned; /* bytes of the HTTP head that were searched for its end without success */
    /* close_sent: our close frame is encoded; reconnect_asked: stws_reconnect_now was called,
       atomic; waiting: the driving thread waits, so wake it, under the lock; threads:
       options.single_thread is not set; has_heap: the block came from the allocator; broken:
       stws_create failed, and the client can only report its error. The last three are set
       once. */
    unsigned char close_sent, reconnect_asked, waiting, threads, has_heap, broken;
    /* held: why no frame is dispatched, one of STWS_P_HELD_*, 0: nothing; disconnected_due: the
       event DISCONNECTED has yet to be reported */
    unsigned char held, disconnected_due;
    unsigned char drained; /* the last read took everything that the socket had */
    unsigned char opened;  /* the transport has to be closed */
    /* the time of late_us passed in a callback or in the program, not in a wait */
    unsigned char late_in_call;
    /* stws_run drives: a message goes directly to its callback and need not become an event */
    unsigned char calls_back;
    /* another thread has left work since the last turn; under the lock */
    unsigned char called;
    /* more: the last step ended before all was done; waited: the caller got the times and
       descriptors to wait for */
    unsigned char more, waited;
    unsigned char yield; /* stws_next is to return without an event */
    /* the driving call is not stws_next: events are kept for stws_next, none is returned */
    unsigned char keeping;
    unsigned char has_kept; /* `kept` has an event for stws_next, due after those of `kept_first` */
    unsigned char feeds;    /* the client counts as a feeder of options.queue */
    unsigned char going;    /* the client is being destroyed; under the lock */
    unsigned char renewing; /* leave this good session for a new one once its output is written */
    /* the subscription of the message in hand was unsubscribed; under the lock */
    unsigned char hand_unsubscribed;
    /* flushing: stws_flush waits for receipts; above_high: OUTBOX_HIGH was reported, and
       OUTBOX_LOW was not yet */
    unsigned char flushing, above_high;
    unsigned char turn_due; /* frames are left; a turn comes before the next one: do not wait */
    /* an ERROR refused CONNECT: STWS_P_REFUSED or STWS_P_DENIED; else 0 */
    unsigned char refused;
    /* the rest of the answer to the upgrade will not come, or is not waited for */
    unsigned char answer_over;
    char key[25];    /* the Sec-WebSocket-Key of this attempt */
    stws_event kept; /* an event without a callback that a call other than stws_next met */
    stws_p_kept *kept_first, **kept_last; /* heap copies of the events before `kept` */
    /* the event that stws_next returned last; the user may still read its views */
    stws_p_kept *given;
    size_t kept_bytes; /* total size of these copies */
    /* the message that the user has and that the library has to acknowledge, at the latest at
       the next driving call; NULL: none */
    const stws_message *hand;
    int hand_subscription; /* handle of that message's subscription; under the lock */
    int aside;        /* handle of a subscription that was set aside, not yet reported; 0: none */
    size_t unwritten; /* bytes of output that waited when the close frame was encoded */
    /* the subscription of a waiting stws_request that the broker creates itself; or NULL */
    const stws_subscribe_options *implied;
    long long error_us; /* time of the session's first ERROR frame */
    /* Times in microseconds of `clock`. now: of this turn; deadline_us: of the current state;
       error_close_us: when to close after an ERROR; hook_us: until when before_subscribe puts
       the next SUBSCRIBE off, 0: it does not; due_us: when the wait that began last should
       end, STWS_P_NEVER: without limit, STWS_P_NOT_TOLD: no wait since the last turn;
       stalled_us: since when the socket is full, 0: it is not; session_us: when the session
       began; end_us: deadline of a graceful end. */
    long long now, deadline_us, error_close_us, hook_us, due_us, stalled_us, session_us, end_us;
    long long slept_us; /* value of clock.slept_us when the session began */
    /* when to leave the session for a new one; the latest time, if there is still output */
    long long renew_us, renew_by_us;
    /* by how much the loop was late, microseconds; the delay before the next attempt; the delay
       that the server asked for (Retry-After), milliseconds */
    long long late_us, retry_ms, retry_after_ms;
    /* the block's buffers, while larger heap buffers are in use */
    char *block_in, *block_out;
    /* a copy of the driving thread's statistics for the other threads; NULL without threads */
    stws_statistics *shared_stats;
    stws_attempt try_now; /* what before_connect may change about this attempt */
    stws_url url;         /* the URL of this attempt, parsed */
    /* the error's sentence, text_size bytes; the URL shown in it, text_size / 2 bytes */
    char *text, *where;
    size_t text_size;
    /* headers of the last answer to an upgrade: name, value, name, value, each ended by NUL,
       and one more NUL at the end */
    char *head;
    char *jar;   /* the cookies, see stws_p_keep_cookies; then the next Cookie header's value */
    char *moved; /* the URL of a redirect */
    size_t head_size;
    int redirects;     /* redirects followed in this attempt */
    stws_transport io; /* the transport in use: TCP, TLS or the user's */
    stws_p_tcp tcp;
    /* the address of the last attempt if it failed after TCP connected; family 0: none */
    stws_p_address unlucky;
    stws_p_tls *tls;     /* NULL if no URL can need TLS */
    stws_p_proxy *proxy; /* NULL without options.proxy */
    stws_clock clock;
    stws_random locked_random; /* the random source for TLS; takes the lock */
    stws_allocator allocator;
    stws_p_waiter waiter; /* waits for room in options.queue */
    int wake[2];          /* the wake pipe: read end, write end; -1 without threads */
#ifndef STOMP_WS_NO_THREADS
    pthread_mutex_t *mutex;  /* the lock; set once, only with threads */
    pthread_cond_t *changed; /* signalled for room in the output, confirmations, and the end */
    pthread_t runner;        /* the thread of stws_start */
    int running, run_result; /* that thread exists and has to be joined; what it returned */
#endif
    /* the process that created the client; after fork() the child has none of its threads */
    long pid;
    uintptr_t lock_owner;  /* with assertions: the thread that has the lock; 0: none; atomic */
    uintptr_t driver;      /* the thread that holds the client, and how, see stws_p_take; atomic */
    uintptr_t last_driver; /* the thread of the last driving call; atomic */
    /* what the driving thread uses until its next driving call: STWS_P_EVENT, ...; atomic */
    int lent;
    /* number of threads that wait to drive; of all threads that wait until the client is
       free */
    int wanted, watchers;
};

/* Returns 1 if this thread has the lock. For assertions only; also with options.single_thread,
   where there is no lock. */
static inline int stws_p_has_lock(const stws *c) {
    return STWS_P_LOAD(&c->lock_owner) == stws_p_thread_id();
}

/* Takes the client's lock. Without threads it does nothing. */
static void stws_p_lock(stws *c) {
    STOMP_WS_ASSERT(!stws_p_has_lock(c));
    if (c->threads) STWS_P_LOCK(c);
    if (STWS_P_ASSERTS) STWS_P_STORE(&c->lock_owner, stws_p_thread_id());
}

static void stws_p_unlock(stws *c) {
    STOMP_WS_ASSERT(stws_p_has_lock(c));
    if (STWS_P_ASSERTS) STWS_P_STORE(&c->lock_owner, 0);
    if (c->threads) STWS_P_UNLOCK(c);
}

/* ==== >>ring: records of any size in one block of memory ====

   A queue of bytes in which each entry lies in one piece. The outbox and stws_queue are rings.
   The caller owns the memory and the lock.

       put (at tail) --> untaken --take (at next)--> taken --drop (at head)--> gone

   Invariants: head, next and tail follow each other in this order around the ring. head = tail
   only if the ring is empty. untaken <= count. An entry never moves, so pointers to it stay
   valid until it is dropped. */

/* Rounds up to a multiple of 16. So records in the ring are aligned for every type. */
static size_t stws_p_align(size_t n) { return (n + 15) & ~(size_t)15; }

static void *stws_p_ring_at(const stws_p_ring *r, size_t offset) { return r->data + offset; }

/* Returns the offset of the entry behind the one at `offset`. memcpy reads the size, because
   the entries of the ring have any type. */
static size_t stws_p_ring_after(const stws_p_ring *r, size_t offset) {
    size_t size, next;
    memcpy(&size, r->data + offset, sizeof size);
    next = offset + size;
    return next == r->wrap ? 0 : next;
}

/* Finds the offset for a new entry. Returns 1 if there is room for it. The entry goes behind
   the tail, or to 0 if it does not fit before the end of the ring. The tail never reaches the
   head, so that head = tail always means an empty ring. */
static int stws_p_ring_place(const stws_p_ring *r, size_t size, size_t *at) {
    int straight = r->tail > r->head;
    *at = r->count == 0 || (straight && r->cap - r->tail < size) ? 0 : r->tail;
    if (r->count == 0) return size <= r->cap;
    if (straight) return *at || r->head > size;
    return r->head - r->tail > size;
}

/* Returns the entry behind `entry`, or the first entry if that is NULL; NULL at the end. */
static void *stws_p_ring_next(const stws_p_ring *r, const void *entry) {
    size_t at = r->head;
    if (entry) at = stws_p_ring_after(r, (size_t)((const char *)entry - r->data));
    return r->count && at != r->tail ? stws_p_ring_at(r, at) : NULL;
}

/* Appends an untaken entry of this size. Returns its address, or NULL if there is no room. Only
   the size is filled in. */
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

/* Marks the oldest untaken entry as taken. There must be one. */
static void stws_p_ring_take(stws_p_ring *r) {
    STOMP_WS_ASSERT(r->untaken > 0 && r->untaken <= r->count);
    r->next = stws_p_ring_after(r, r->next);
    r->untaken--;
}

/* Returns the bytes from head to tail. */
static size_t stws_p_ring_used(const stws_p_ring *r) {
    if (r->count == 0) return 0;
    return r->tail > r->head ? r->tail - r->head : r->wrap - r->head + r->tail;
}

/* Removes the entry at the head. If it was never taken, it is taken first. */
static void stws_p_ring_drop(stws_p_ring *r) {
    STOMP_WS_ASSERT(r->count > 0 && r->untaken <= r->count);
    if (r->count == r->untaken) stws_p_ring_take(r);
    r->head = stws_p_ring_after(r, r->head);
    if (r->head == 0) r->wrap = SIZE_MAX;
    r->count--;
}

/* ==== >>random: random numbers and masking keys for a session ====

   Every frame of a client needs a fresh, unpredictable masking key of 4 bytes (RFC 6455, 5.3).
   The session takes keys out of a pool, so that the source of randomness is asked once for up
   to 64 keys. If the source fails, no_random is set, and the driving thread ends the session: a
   key that can be guessed is never used. The pool is under the lock. */

/* Fills `out` from a source of randomness. Returns 0, or -1 if it fails. Eight or more bytes
   that are all 0 also count as a failure: by chance that happens once in 2^64 times. */
static int stws_p_random_from(const stws_random *source, void *out, size_t len) {
    const unsigned char *p = (const unsigned char *)out;
    size_t i = 0;
    if (source->fill(source->ctx, out, len) != 0) return -1;
    while (i < len && !p[i]) i++;
    return i == len && len >= 8 ? -1 : 0;
}

/* Makes a masking key: four fresh bytes from the CSPRNG (RFC 6455, 5.3 and 10.3). A key of
   zeros is not used, because it would mask nothing. Returns 1, or 0 without randomness; the
   session can then send nothing more. The lock is held. */
static int stws_p_masking_key(stws_p_session *s, unsigned char key[4]) {
    static const unsigned char zero[4] = {0, 0, 0, 0};
    do {
        if (s->pool_left < 4) {
            if (stws_p_random_from(&s->random, s->pool, s->pool_size) != 0)
                return STWS_P_STORE(&s->no_random, 1), 0;
            s->pool_left = s->pool_size;
        }
        s->pool_left -= 4;
        memcpy(key, s->pool + s->pool_left, 4);
    } while (memcmp(key, zero, 4) == 0);
    return 1;
}

/* ==== >>draft: a frame that is put together under the lock ====

   A draft is the frame of one call, from the first header to its encoding:

       compose --> add headers --> encoded into the output, or copied into the outbox

   It does not copy: its headers lie in the session's one table for them, and point to texts of
   the caller. So there is one draft at a time, and the lock is held from the beginning to the
   end. A header that does not fit only sets too_many_headers; the function that sends the draft
   then returns STWS_ERR_LIMIT. */

/* A frame that is being composed. */
typedef struct stws_p_draft {
    stws_frame frame;
    stws_header *headers;    /* the same as frame.headers, to write to */
    size_t max_headers;      /* entries of that table */
    const char *transaction; /* the transaction that the frame is a part of, or NULL */
    int too_many_headers;    /* more than max_headers, or a header without a value */
    int body_is_utf8;        /* 1: the body is UTF-8; 0: not, or not checked */
    char number[24];         /* the text of a header's value */
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

/* Adds a header. If the table is full, the draft is marked (too_many_headers), and must not be
   sent. `name` and `value` must live until the draft is encoded or copied. */
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

/* Adds a header, or nothing if `value` is NULL. The compiler computes the length of a literal
   name, because this function is inline. */
static inline void stws_p_add(stws_p_draft *draft, const char *name, const char *value) {
    if (value) stws_p_add_header(draft, name, strlen(name), value);
}

/* Adds a list of headers: name, value, name, value, ..., NULL. A name without a value
   counts as too many. */
static void stws_p_add_list(stws_p_draft *draft, const char *const *list) {
    for (; list && list[0] && list[1]; list += 2) stws_p_add(draft, list[0], list[1]);
    draft->too_many_headers |= list && list[0];
}

/* Names the transaction that the frame is part of, in its header and in the draft. */
static void stws_p_add_transaction(stws_p_draft *draft, const char *transaction) {
    stws_p_add(draft, "transaction", transaction);
    draft->transaction = transaction;
}

/* Writes `prefix` and a number into text, which has room for the prefix, 20 digits and a NUL.
   Returns text. */
static const char *stws_p_number_text(char *text, const char *prefix, unsigned long long n) {
    size_t len = strlen(prefix);
    memcpy(text, prefix, len);
    text[len + stws_p_digits(n, text + len)] = 0;
    return text;
}

/* ==== >>subscriptions: the table that outlives every session ====

   A subscription is an entry of this table from stws_subscribe to stws_unsubscribe, with or
   without a connection. It keeps its handle and its id, and each new session sends its
   SUBSCRIBE again. stws_p_sub_state has the diagram of its life; stws_p_sub_enter makes every
   change of state, and keeps the counts `live` and `unsent` right. Next to its life an entry
   has a suspicion, see STWS_P_INNOCENT: whether its SUBSCRIBE made servers end their sessions.

   The entry of a handle is slots[handle % count], so a handle leads to its entry without a
   search. Ids that the user chose are found by hash chains. The lock is held for all of this,
   with one exception: stws_p_find_callback, once per message, reads atomic fields instead.

   The table at the beginning lists how brokers differ, for subscriptions and for frames. */

/* A row of stws_p_profiles: what is special about a kind of broker. */
typedef struct stws_p_profile {
    /* It joins STOMP frames out of several WebSocket messages, so large frames may be cut. */
    int joins;
    int bare_send_is_text; /* a SEND without content-length becomes a TextMessage (JMS) */
    /* It deletes a durable subscription only if no consumer uses it. So stws_unsubscribe first
       ends the consumer with an UNSUBSCRIBE of its own. */
    int needs_two_unsubscribes;
    const char *prefetch;             /* the header that sets the prefetch; NULL: it has none */
    unsigned long long prefetch_unit; /* what one message counts in that header */
    /* headers of a durable subscription; a value of NULL stands for its name */
    const char *durable[4];
} stws_p_profile;

/* How brokers differ. The index is a stws_broker_kind. */
static const stws_p_profile stws_p_profiles[] = {
    {0, 0, 0, NULL, 0, {NULL, NULL, NULL, NULL}},
    {1, 0, 0, NULL, 0, {NULL, NULL, NULL, NULL}},
    {1, 0, 0, "prefetch-count", 1, {"durable", "true", "auto-delete", "false"}},
    {0, 1, 1, "activemq.prefetchSize", 1, {"activemq.subscriptionName", NULL, NULL, NULL}},
    {1, 1, 0, "consumer-window-size", 1024, {"durable-subscription-name", NULL, NULL, NULL}}};

/* Returns the text behind s in a sequence of NUL-terminated texts. */
static const char *stws_p_next_text(const char *s) { return s + strlen(s) + 1; }

/* Each entry owns text_size bytes of t->texts. Its destination is the first of its texts. */
static char *stws_p_sub_destination(const stws_p_subs *t, const stws_p_sub *sub) {
    return t->texts + (size_t)(sub - t->slots) * t->text_size;
}

/* The id that its SUBSCRIBE has on the wire: the second text. */
static const char *stws_p_sub_id(const stws_p_subs *t, const stws_p_sub *sub) {
    return stws_p_next_text(stws_p_sub_destination(t, sub));
}

/* Its durable name, or "": the fourth text, behind the ack mode. */
static const char *stws_p_sub_durable(const stws_p_subs *t, const stws_p_sub *sub) {
    return stws_p_next_text(stws_p_next_text(stws_p_sub_id(t, sub)));
}

/* Handles and receipt numbers go up to INT_MAX. The longest text of one is
   "receipt-2147483647". */
enum { STWS_P_MAX_NUMBER = 2147483647, STWS_P_ID_TEXT = 24 };

/* Returns the handle in an id that this library made ("sub-17"), or 0 for any other id. */
static inline int stws_p_own_id(const char *id, size_t len) {
    size_t number = 0;
    if (len < 5 || memcmp(id, "sub-", 4) != 0 || id[4] == '0') return 0;
    return stws_p_number(id + 4, len - 4, STWS_P_MAX_NUMBER, &number) == 1 ? (int)number : 0;
}

/* Returns the link to the entry with this id, in the hash chain of the id. If there is no such
   entry, it returns the end of the chain, where a new entry would be linked. The hash is FNV-1a
   (draft-eastlake-fnv). Only ids that the user chose are in chains, so no server can make a
   chain long. */
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

/* Returns the subscription with an id that the user chose, or NULL. The lock is held. */
static stws_p_sub *stws_p_find_custom(const stws_p_subs *t, const char *id, size_t len) {
    int place = *stws_p_custom_link_locked(t, id, len);
    return place ? &t->slots[place - 1] : NULL;
}

/* Returns the subscription with this handle, or NULL if the handle is not in use. The lock is
   held. */
static stws_p_sub *stws_p_find_handle(const stws_p_subs *t, int handle) {
    stws_p_sub *sub;
    if (handle <= 0) return NULL;
    sub = &t->slots[handle % t->count];
    return sub->handle == handle ? sub : NULL;
}

/* Finds the callback of a subscription without the lock, so that a message costs no locking.
   This works for ids of our own only. Returns 1 and sets *call, *user and *ack_on; 0 if the
   handle is not in use.

   Another thread may remove the entry and reuse it meanwhile. A handle is not used again until
   the numbers have wrapped, so the three values belong together if the handle is still the same
   after reading them. */
static int stws_p_find_callback(const stws_p_subs *t, int handle, stws_message_fn *call,
                                void **user, stws_ack_on *ack_on) {
    const stws_p_sub *sub = &t->slots[handle % t->count];
    if (STWS_P_LOAD(&sub->handle) != handle || STWS_P_LOAD(&sub->custom_id)) return 0;
    *call = STWS_P_LOAD(&sub->on_message);
    *user = STWS_P_LOAD(&sub->user);
    *ack_on = (stws_ack_on)STWS_P_LOAD(&sub->ack_on);
    return STWS_P_LOAD(&sub->handle) == handle;
}

/* Returns the number to use now, and advances *next. Numbers are positive; 1 follows
   INT_MAX. */
static int stws_p_take_number(int *next) {
    int number = *next;
    *next = number == STWS_P_MAX_NUMBER ? 1 : number + 1;
    return number;
}

/* Returns the next handle whose entry is free and whose id "sub-N" is not used as a user's own
   id. Returns 0 if the table is full. The lock is held. */
static int stws_p_new_handle(stws_p_subs *t) {
    char id[STWS_P_ID_TEXT];
    int tries;
    for (tries = 0; tries <= t->count && t->live < t->count; tries++) {
        int handle = stws_p_take_number(&t->next_handle);
        if (t->slots[handle % t->count].handle || t->slots[handle % t->count].pinned) continue;
        stws_p_number_text(id, "sub-", (unsigned)handle);
        if (!stws_p_find_custom(t, id, strlen(id))) return handle;
    }
    return 0;
}

/* The id that the user wants, or NULL: the durable name is also the default of the id. */
static const char *stws_p_wanted_id(const stws_subscribe_options *o) {
    return o->id ? o->id : o->durable;
}

/* Changes the state of a subscription, and the counts that depend on it. */
static void stws_p_sub_enter(stws_p_subs *t, stws_p_sub *sub, stws_p_sub_state state) {
    if (state == STWS_P_SUB_UNSENT && !t->unsent) t->cursor = (int)(sub - t->slots);
    t->live += (state != STWS_P_SUB_FREE) - (sub->state != STWS_P_SUB_FREE);
    t->unsent += (state == STWS_P_SUB_UNSENT) - (sub->state == STWS_P_SUB_UNSENT);
    sub->state = (unsigned char)state;
    STOMP_WS_ASSERT(t->unsent >= 0 && t->unsent <= t->live && t->live <= t->count);
}

/* Returns 1 if SUBSCRIBEs have to be sent a few at a time, to find out which of them ends
   sessions; see STWS_P_INNOCENT. That needs two such sessions in a row: one alone may have
   ended for another reason. */
static int stws_p_is_careful(const stws_p_subs *t) { return t->suspects && t->failed_trials > 1; }

/* Returns 1 while SUBSCRIBEs have to be sent before anything else may be sent. While the client
   is careful, the rest of the output also waits for the end of each trial. */
static int stws_p_subs_come_first(const stws_p_subs *t) {
    return t->unsent || stws_p_is_careful(t);
}

/* Sets the suspicion of a subscription, and keeps the number of suspects up to date. */
static void stws_p_suspect(stws_p_subs *t, stws_p_sub *sub, int suspicion) {
    t->suspects += (suspicion != STWS_P_INNOCENT) - (sub->suspicion != STWS_P_INNOCENT);
    sub->suspicion = (unsigned char)suspicion;
}

/* Puts a subscription on trial, because its SUBSCRIBE has been sent now. */
static void stws_p_put_on_trial(stws_p_subs *t, stws_p_sub *sub, long long now) {
    t->on_trial += !sub->on_trial;
    sub->on_trial = 1;
    t->trial_us = now;
}

/* A subscription is innocent: ends its trial and its suspicion. */
static void stws_p_acquit(stws_p_subs *t, stws_p_sub *sub) {
    t->on_trial -= sub->on_trial;
    sub->on_trial = 0;
    stws_p_suspect(t, sub, STWS_P_INNOCENT);
}

/* The session has outlived the SUBSCRIBEs of those on trial: they are innocent. */
static void stws_p_acquit_all(stws_p_subs *t) {
    int i;
    for (i = 0; t->on_trial && i < t->count; i++)
        if (t->slots[i].on_trial) stws_p_acquit(t, &t->slots[i]);
}

/* Returns the value of SUBSCRIBE's header `ack`. Default: "client-individual" with ack_on, else
   "auto". */
static const char *stws_p_ack_mode(const stws_subscribe_options *o) {
    static const char *const modes[] = {NULL, "auto", "client", "client-individual"};
    return o->ack ? modes[o->ack] : o->ack_on ? "client-individual" : "auto";
}

/* Adds a subscription to the table. Returns its handle, or STWS_ERR_LIMIT if the table is full
   or the texts need more than options.subscription_bytes. The handle is stored last, because
   stws_p_find_callback reads the entry without the lock. */
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

/* Removes a subscription from its hash chain and from the table. The lock is held. */
static void stws_p_remove_sub(stws_p_subs *t, stws_p_sub *sub) {
    const char *id = stws_p_sub_id(t, sub);
    if (sub->custom_id) *stws_p_custom_link_locked(t, id, strlen(id)) = sub->next;
    stws_p_acquit(t, sub);
    stws_p_sub_enter(t, sub, STWS_P_SUB_FREE);
    STWS_P_STORE(&sub->handle, 0);
}

/* A session has ended: all subscriptions have to be sent again, except those that are set
   aside. The oldest handle is usually the one behind the newest in the table, so the search
   begins there. */
static void stws_p_subs_prepare_resend(stws_p_subs *t) {
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

/* Returns the next subscription whose SUBSCRIBE has to be sent, or NULL. Entries are ordered by
   handle, so a new session subscribes in the old order, except for entries whose handles are
   older than one round through the table. The search continues at the cursor, so n
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

/* Adds a header, unless the frame has one with this name, which came from the user. */
static void stws_p_add_missing(stws_p_draft *draft, const char *name, const char *value) {
    if (!stws_frame_header(&draft->frame, name)) stws_p_add(draft, name, value);
}

/* Adds the header options.stable_id, if set: "0123456789abcdef-17". The first part is random
   and identifies the client; the number counts its messages. Returns 1, or 0 without
   randomness. */
static int stws_p_add_stable_id(stws_p_session *s, stws_p_draft *draft) {
    static const char digits[] = "0123456789abcdef";
    unsigned char random[8];
    int i;
    if (!s->options->stable_id) return 1;
    if (!s->stable_id[0]) {
        if (stws_p_random_from(&s->random, random, sizeof random) != 0) return 0;
        for (i = 0; i < 16; i++) s->stable_id[i] = digits[random[i / 2] >> (i & 1 ? 0 : 4) & 15];
    }
    stws_p_number_text(s->stable_id + 16, "-", ++s->last_id);
    stws_p_add_missing(draft, s->options->stable_id, s->stable_id);
    return 1;
}

/* Adds the broker's headers for a durable subscription; none if the name is "". */
static void stws_p_add_durable(const stws_p_session *s, stws_p_draft *draft, const char *durable) {
    const char *const *header = stws_p_profiles[s->broker].durable;
    int i;
    for (i = 0; i < 4 && header[i] && *durable; i += 2)
        stws_p_add_missing(draft, header[i], stws_p_or(header[i + 1], durable));
}

/* Composes the SUBSCRIBE of an entry. `headers`, if not NULL, replaces the user's headers of
   the entry: it comes from before_subscribe. `receipt` is the value of the receipt header, or
   NULL. The lock is held. */
static void stws_p_compose_subscribe(stws_p_session *s, stws_p_draft *draft, const stws_p_sub *sub,
                                     const char *const *headers, const char *receipt) {
    const stws_p_profile *profile = &stws_p_profiles[s->broker];
    const char *destination = stws_p_sub_destination(&s->subs, sub),
               *id = stws_p_next_text(destination);
    const char *durable = stws_p_sub_durable(&s->subs, sub), *name = stws_p_next_text(durable),
               *value;
    int i;
    stws_p_compose_locked(s, draft, STWS_COMMAND_SUBSCRIBE);
    stws_p_add(draft, "id", id);
    stws_p_add(draft, "destination", destination);
    stws_p_add(draft, "ack", stws_p_next_text(id));
    stws_p_add(draft, "receipt", receipt);
    stws_p_add_list(draft, headers);
    for (i = 0; i < sub->header_count && !headers; i++, name = stws_p_next_text(value)) {
        value = stws_p_next_text(name);
        stws_p_add(draft, name, value);
    }
    stws_p_add_durable(s, draft, durable);
    if (sub->prefetch <= 0 || !profile->prefetch) return;
    stws_p_number_text(draft->number, "", (unsigned)sub->prefetch * profile->prefetch_unit);
    stws_p_add_missing(draft, profile->prefetch, draft->number);
}

/* ==== >>receipts: every receipt that was asked for ends exactly once ====

   A receipt that the program asked for has an entry here. (Receipts that only the library
   needs, for `confirm` and DISCONNECT, have a number and no entry.) An entry ends in one of
   four ways: the server's RECEIPT, an ERROR that names it, its deadline, or the end of the
   session or of the client. Then the driving thread takes it, and reports it as
   STWS_EVENT_RECEIPT. stws_p_receipt_state has the diagram of its life.

   The place of an entry follows from its number, so a RECEIPT costs no search. DONE entries are
   a list in the order in which they ended. receipts_waiting counts KEPT and SENT entries,
   receipts_done counts DONE entries; it alone is also read without the lock. */

/* A receipt has one possible place in the table, which follows from its number. */
static stws_p_receipt *stws_p_receipt_of(const stws_p_session *s, int number) {
    return &s->receipts[number % s->options->max_receipts];
}

/* Adds a receipt to wait for. `handle` is the subscription that a SUBSCRIBE is for, or 0.
   Returns its number, or 0 if all max_receipts entries are in use. Numbers whose place is
   occupied are skipped, so a RECEIPT finds its entry without a search. The lock is held. */
static int stws_p_add_receipt(stws_p_session *s, int handle) {
    stws_p_receipt *r;
    int number;
    STOMP_WS_ASSERT(stws_p_has_lock(s->client));
    if (s->receipts_waiting + s->receipts_done == s->options->max_receipts) return 0;
    do r = stws_p_receipt_of(s, number = stws_p_take_number(&s->next_receipt));
    while (r->state != STWS_P_RECEIPT_FREE);
    r->state = STWS_P_RECEIPT_KEPT;
    r->number = number;
    r->handle = handle;
    r->sent_us = 0;
    r->deadline_us = STWS_P_NEVER;
    s->receipts_waiting++;
    return number;
}

/* Returns 1 if a receipt is waited for. */
static int stws_p_receipt_waits(const stws_p_receipt *r) {
    return r->state == STWS_P_RECEIPT_KEPT || r->state == STWS_P_RECEIPT_SENT;
}

/* Returns the entry of a receipt that is waited for, or NULL. The server sends the number, so
   it may be any number. */
static stws_p_receipt *stws_p_find_receipt(const stws_p_session *s, int number) {
    stws_p_receipt *r = stws_p_receipt_of(s, number);
    return number && stws_p_receipt_waits(r) && r->number == number ? r : NULL;
}

/* Ends the wait for a receipt with a result. The entry is appended to the list of DONE entries,
   from which the driving thread reports it. The lock is held. */
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

/* Ends all receipts in that state whose deadline is at most `now`; with STWS_P_NEVER all in
   that state. The lock is held. */
static void stws_p_finish_receipts(stws_p_session *s, stws_p_receipt_state state, long long now,
                                   int result) {
    int count = s->options->max_receipts, i;
    /* in the order of the places, about from the oldest number to the newest */
    for (i = 0; i < count && s->receipts_waiting; i++) {
        stws_p_receipt *r = &s->receipts[(s->next_receipt % count + i) % count];
        if (r->state == state && r->deadline_us <= now) stws_p_finish_receipt(s, r, result);
    }
}

/* Returns the first deadline of the receipts, or STWS_P_NEVER. */
static long long stws_p_receipt_deadline(const stws_p_session *s) {
    long long first = STWS_P_NEVER;
    int i;
    for (i = 0; i < s->options->max_receipts && s->receipts_waiting; i++) {
        const stws_p_receipt *r = &s->receipts[i];
        if (r->state == STWS_P_RECEIPT_SENT && r->deadline_us < first) first = r->deadline_us;
    }
    return first;
}

/* Removes a receipt without reporting it: the call that asked for it failed, so no frame was
   taken. */
static void stws_p_forget_receipt(stws_p_session *s, int number) {
    stws_p_receipt *r = stws_p_find_receipt(s, number);
    if (!r) return;
    r->state = STWS_P_RECEIPT_FREE;
    s->receipts_waiting--;
}

/* Ends a receipt, if it is waited for: its frame will never be sent. */
static void stws_p_fail_receipt(stws_p_session *s, int number, int result) {
    stws_p_receipt *r = stws_p_find_receipt(s, number);
    if (r) stws_p_finish_receipt(s, r, result);
}

/* Returns the value of the receipt header for a number, or NULL for 0, which means: no
   receipt. */
static const char *stws_p_receipt_id(char id[STWS_P_ID_TEXT], int number) {
    return number ? stws_p_number_text(id, "receipt-", (unsigned)number) : NULL;
}

/* The frame that asks for a receipt was sent, and is not kept. Its deadline is
   receipt_timeout_ms from now. */
static void stws_p_receipt_frame_sent(stws_p_session *s, int number, long long now) {
    stws_p_receipt *r = stws_p_find_receipt(s, number);
    if (!r) return;
    r->state = STWS_P_RECEIPT_SENT;
    r->sent_us = now;
    /* STWS_OFF: it ends with the session */
    if (s->options->receipt_timeout_ms > 0)
        r->deadline_us = now + (long long)s->options->receipt_timeout_ms * STWS_P_US;
}

/* Removes the receipt that ended first. Returns 1 and copies it to *taken; 0 if no receipt has
   ended. The lock is held. */
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

/* ==== >>outbox: frames that wait for a connection, for room, or for their receipt ====

   A ring of records, in the order of the calls. A record is a copy of a frame with what is
   known about it. stws_p_record_state has the diagram of its life, and stws_p_record_enter
   makes every change of state.

   A record that was sent is taken, and stays until it is confirmed, if it asks for that. When
   it is DONE it leaves, but only at the head: stws_p_outbox_sweep removes DONE records there.
   At the end of a session all records that are left become untaken again, so the next session
   sends them in the same order. `unconfirmed` counts the records whose confirmation is to come;
   they are found by chains over their receipt numbers. All of this is under the lock. */

static stws_p_record *stws_p_record_at(const stws_p_ring *b, size_t offset) {
    return (stws_p_record *)stws_p_ring_at(b, offset);
}

static stws_p_record *stws_p_record_next(const stws_p_ring *b, const stws_p_record *r) {
    return (stws_p_record *)stws_p_ring_next(b, r);
}

/* Returns the size of a copy of a frame: its table of headers, and all texts with their
   NULs. */
static size_t stws_p_frame_copy_size(const stws_frame *frame) {
    size_t size = frame->header_count * sizeof(stws_header) + stws_p_strlen(frame->command) +
                  frame->body_len + 2,
           i;
    for (i = 0; i < frame->header_count; i++)
        size += frame->headers[i].name_len + frame->headers[i].value_len + 2;
    return size;
}

static size_t stws_p_record_size(const stws_frame *frame) {
    return stws_p_align(sizeof(stws_p_record) + stws_p_frame_copy_size(frame));
}

/* Copies a text to *to, ends it with a NUL and moves *to behind it. Returns the copy. */
static const char *stws_p_copy_text(char **to, const char *text, size_t len) {
    char *kept = *to;
    if (len) memcpy(kept, text, len);
    kept[len] = 0;
    *to += len + 1;
    return kept;
}

/* Copies the headers and texts of *frame to `place`, and lets *frame point to the copies. */
static void stws_p_copy_frame(stws_frame *frame, void *place) {
    stws_header *headers = (stws_header *)place;
    char *text = (char *)(headers + frame->header_count);
    size_t i;
    for (i = 0; i < frame->header_count; i++) {
        headers[i] = frame->headers[i];
        headers[i].name = stws_p_copy_text(&text, headers[i].name, headers[i].name_len);
        headers[i].value = stws_p_copy_text(&text, headers[i].value, headers[i].value_len);
    }
    frame->headers = headers;
    if (frame->command)
        frame->command = stws_p_copy_text(&text, frame->command, strlen(frame->command));
    frame->body = stws_p_copy_text(&text, frame->body, frame->body_len);
}

/* Copies a frame into the outbox. Returns the record, or NULL if there is no room. */
static stws_p_record *stws_p_outbox_append(stws_p_ring *b, const stws_frame *frame) {
    size_t size = stws_p_record_size(frame);
    stws_p_record *r = (stws_p_record *)stws_p_ring_put(b, size);
    if (!r) return NULL;
    memset(r, 0, sizeof *r);
    r->size = size;
    r->frame = *frame;
    stws_p_copy_frame(&r->frame, r + 1);
    return r;
}

/* Returns the chain that contains the record with this receipt number, if there is one. Only
   records with `confirm` are in chains. Numbers are given in order, so all chains have about
   the same length, and handling a RECEIPT costs the same, however many records wait and
   whatever a server sends.

   A link is 1 plus the offset in the ring divided by 16. 0 ends a chain. */
static uint32_t *stws_p_chain_of(const stws_p_session *s, int receipt) {
    return &s->chains[(size_t)receipt & (s->chain_count - 1)];
}

/* Returns the record that a link points to, or NULL for 0. */
static stws_p_record *stws_p_record_linked(const stws_p_session *s, uint32_t link) {
    return link ? stws_p_record_at(&s->outbox, ((size_t)link - 1) * 16) : NULL;
}

/* The receipt with this number shall confirm the record: enters it into its chain. */
static void stws_p_record_confirm(stws_p_session *s, stws_p_record *r, int receipt) {
    uint32_t *chain = stws_p_chain_of(s, receipt);
    r->confirm = 1;
    r->link = *chain;
    *chain = (uint32_t)((size_t)((char *)r - s->outbox.data) / 16 + 1);
    s->unconfirmed++;
}

/* Returns 1 if the confirmation of a record is still to come. */
static int stws_p_record_is_unconfirmed(const stws_p_record *r) {
    return r->confirm && (r->state == STWS_P_RECORD_WAITING || r->state == STWS_P_RECORD_SENT);
}

/* Changes the state of a record, and the number of unconfirmed ones. The lock is held. */
static void stws_p_record_enter(stws_p_session *s, stws_p_record *r, stws_p_record_state state) {
    STOMP_WS_ASSERT(stws_p_has_lock(s->client));
    STOMP_WS_ASSERT(r->state != STWS_P_RECORD_DONE || state == STWS_P_RECORD_DONE);
    s->unconfirmed -= (size_t)stws_p_record_is_unconfirmed(r);
    r->state = (unsigned char)state;
    s->unconfirmed += (size_t)stws_p_record_is_unconfirmed(r);
    STOMP_WS_ASSERT(s->unconfirmed <= s->outbox.count);
}

/* Removes records that are done from the head of the outbox, and from their chains. */
static void stws_p_outbox_sweep(stws_p_session *s) {
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

/* Returns the oldest record that has to be sent in this session, or NULL. Marks done and broken
   records in front of it as taken. */
static stws_p_record *stws_p_outbox_next_unsent(stws_p_ring *b) {
    while (b->untaken) {
        stws_p_record *r = stws_p_record_at(b, b->next);
        if (r->state < STWS_P_RECORD_BROKEN) return r;
        stws_p_ring_take(b);
    }
    return NULL;
}

/* Returns the oldest record that waits for its confirmation, or NULL. It is not always the
   first record: confirmed parts of transactions stay until the transaction is over. */
static stws_p_record *stws_p_outbox_first_unconfirmed(const stws_p_ring *b) {
    stws_p_record *r = stws_p_record_next(b, NULL);
    while (r && !stws_p_record_is_unconfirmed(r)) r = stws_p_record_next(b, r);
    return r;
}

/* Returns the record that waits for a confirmation with this receipt number, or NULL. */
static stws_p_record *stws_p_outbox_find(const stws_p_session *s, int receipt) {
    stws_p_record *r =
        receipt && s->chains ? stws_p_record_linked(s, *stws_p_chain_of(s, receipt)) : NULL;
    while (r && r->receipt != receipt) r = stws_p_record_linked(s, r->link);
    return r && stws_p_record_is_unconfirmed(r) ? r : NULL;
}

/* Returns 1 if the outbox contains an unsent UNSUBSCRIBE with this id. */
static int stws_p_outbox_has_unsubscribe(const stws_p_ring *b, const char *id) {
    const stws_p_record *r = b->untaken ? stws_p_record_next(b, NULL) : NULL;
    for (; r; r = stws_p_record_next(b, r)) {
        if (r->state != STWS_P_RECORD_WAITING || r->frame.command_id != STWS_COMMAND_UNSUBSCRIBE)
            continue;
        if (strcmp(stws_frame_header(&r->frame, "id"), id) == 0) return 1;
    }
    return 0;
}

/* Returns 1 if STWS_FULL_DROP_OLDEST may drop the record for a newer one: a SEND that was not
   sent in this session and is not a part of a transaction, or a record that is done. */
static int stws_p_record_is_droppable(const stws_p_record *r) {
    return r->state == STWS_P_RECORD_DONE || (r->state == STWS_P_RECORD_WAITING && !r->tied &&
                                              r->frame.command_id == STWS_COMMAND_SEND);
}

/* Drops a record: its frame will never be sent. Its receipt, if it has one, ends with
   `result`. */
static void stws_p_record_drop(stws_p_session *s, stws_p_record *r, int result) {
    stws_p_fail_receipt(s, r->receipt, result);
    s->stats.dropped++;
    stws_p_record_enter(s, r, STWS_P_RECORD_DONE);
}

/* ==== >>transaction_records: kept until they end, so that a new session gets all of them ====

   A server forgets a transaction when the session ends. So its frames stay in the outbox
   (`tied`) from BEGIN to COMMIT or ABORT, also those that were sent and confirmed:

       BEGIN, parts, COMMIT or ABORT: the last one is finished --> all are DONE together
       the session ends before that ----------------------------> all are WAITING again
       a part cannot be sent or resent -------------------------> dropped; BEGIN is BROKEN

   A record is finished when it was sent, and confirmed if it asks for that. A BROKEN BEGIN
   stays until the program ends the transaction, so that further parts are refused. The lock is
   held. */

/* Returns 1 for the commands that end a transaction. */
static int stws_p_ends_transaction(stws_command command_id) {
    return command_id == STWS_COMMAND_COMMIT || command_id == STWS_COMMAND_ABORT;
}

/* Returns 1 if the record belongs to this transaction and is not done. */
static int stws_p_record_in_transaction(const stws_p_record *r, const char *transaction) {
    return r->tied && r->state != STWS_P_RECORD_DONE &&
           strcmp(stws_frame_header(&r->frame, "transaction"), transaction) == 0;
}

/* Returns the last BEGIN of a transaction that stands before a record (NULL: before the end).
   Returns NULL if there is no such BEGIN, or if transaction is NULL. Its parts are the tied
   records of the same name from there on. */
static stws_p_record *stws_p_transaction_begin(const stws_p_ring *b, const char *transaction,
                                               const stws_p_record *before) {
    stws_p_record *r = transaction ? stws_p_record_next(b, NULL) : NULL, *begin = NULL;
    for (; r && r != before; r = stws_p_record_next(b, r))
        if (r->frame.command_id == STWS_COMMAND_BEGIN &&
            stws_p_record_in_transaction(r, transaction))
            begin = r;
    return begin;
}

/* A record was sent, and confirmed if it asks for that. Then it is done. A part of a
   transaction is only marked as confirmed: it has to stay, because a new session must be able
   to send the whole transaction again. When the COMMIT or ABORT gets here, all parts from the
   BEGIN on are done together.

   From then on no session resends the parts, so their receipts, if still waited for, get a
   deadline. */
static void stws_p_record_finish(stws_p_session *s, stws_p_record *r) {
    const char *transaction = r->tied ? stws_frame_header(&r->frame, "transaction") : NULL;
    stws_p_ring *b = &s->outbox;
    stws_p_record *part;
    if (r->state == STWS_P_RECORD_SENT) stws_p_record_enter(s, r, STWS_P_RECORD_CONFIRMED);
    if (r->tied && !stws_p_ends_transaction(r->frame.command_id)) return;
    for (part = stws_p_transaction_begin(b, transaction, r); part && part != r;
         part = stws_p_record_next(b, part)) {
        if (!stws_p_record_in_transaction(part, transaction)) continue;
        stws_p_record_enter(s, part, STWS_P_RECORD_DONE);
        if (part->confirm) stws_p_receipt_frame_sent(s, part->receipt, r->sent_us);
    }
    stws_p_record_enter(s, r, STWS_P_RECORD_DONE);
}

/* The oldest untaken record has been encoded into the output; or it is DONE, and never will be.
   The lock is held. */
static void stws_p_record_taken(stws_p_session *s, stws_p_record *r) {
    stws_p_ring_take(&s->outbox);
    if (!r->confirm) stws_p_record_finish(s, r);
    stws_p_outbox_sweep(s);
}

/* A part of a transaction cannot be sent, or cannot be resent. A transaction must not be sent
   in part, so all its records are dropped with STWS_ERR_STALE.

   The BEGIN stays in the outbox, marked as broken, so that the parts that are still to come
   are refused too (stws_p_submit_locked). It is done when the COMMIT or ABORT comes, or now
   if that is among the dropped records. The server forgets the parts it has got when the
   session ends. */
static void stws_p_transaction_break(stws_p_session *s, const stws_p_record *culprit) {
    const char *transaction = stws_frame_header(&culprit->frame, "transaction");
    stws_p_record *begin = stws_p_transaction_begin(&s->outbox, transaction, culprit), *r = begin;
    if (begin) stws_p_record_enter(s, begin, STWS_P_RECORD_BROKEN);
    while (r && begin->state == STWS_P_RECORD_BROKEN &&
           (r = stws_p_record_next(&s->outbox, r)) != NULL) {
        if (!stws_p_record_in_transaction(r, transaction)) continue;
        if (stws_p_ends_transaction(r->frame.command_id))
            stws_p_record_enter(s, begin, STWS_P_RECORD_DONE);
        stws_p_record_drop(s, r, STWS_ERR_STALE);
    }
}

/* A session has ended: prepares the outbox for the next one. The lock is held.

   First, records that had a meaning in the old session only (for example ACK, NACK,
   UNSUBSCRIBE) are done. If such a record is a part of a transaction, the transaction cannot be
   resent as a whole, so it is broken. Then all records that are not done become unsent and
   untaken again, in their order, and unconfirmed records stay counted. Their receipts have
   no deadline until they are resent. This replays transactions from their BEGIN, because
   stws_p_record_finish keeps all parts until the end. */
static void stws_p_outbox_prepare_resend(stws_p_session *s) {
    stws_p_ring *b = &s->outbox;
    stws_p_receipt *receipt;
    stws_p_record *r;
    for (r = stws_p_record_next(b, NULL); r; r = stws_p_record_next(b, r)) {
        if (r->epoch && r->tied && r->state != STWS_P_RECORD_DONE) stws_p_transaction_break(s, r);
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
    stws_p_outbox_sweep(s);
}

/* ==== >>encode: frames into the output buffer, masked ====

   Turns a frame into a masked WebSocket message at the end of the output buffer, or into
   several if it is larger than options.max_ws_message. A frame is encoded completely or not at
   all: an error leaves no part of it in the buffer. Encoding appends, and never writes to the
   transport; >>output does that. While a write without the lock is running (`busy`), the
   buffered bytes are not moved.

   The encoded head of the last SEND may be kept for the next one to the same destination, see
   stws_p_keep_send_head. The calls of on_trace are here, too. The lock is held. */

/* Calls on_trace with a copy of the frame in which the values of secret headers are "***". The
   lock is held meanwhile: all copies use one table of headers, and on_trace never runs in two
   threads at once. Sent frames are traced when they are encoded, with the lock held. For
   received frames the lock is taken here. */
STWS_P_NOINLINE static void stws_p_trace_now(const stws_p_session *s, stws_direction direction,
                                             const stws_frame *frame) {
    static const char secrets[] =
        "passcode,authorization,proxy-authorization,cookie,set-cookie,x-csrf-token";
    stws_header *shown = s->trace_headers, *h;
    stws_frame copy = *frame;
    if (direction == STWS_RECEIVED) stws_p_lock(s->client);
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
    if (direction == STWS_RECEIVED) stws_p_unlock(s->client);
}

/* Traces a frame if on_trace is set. The check stands apart because it runs for each frame. */
static void stws_p_trace(const stws_p_session *s, stws_direction direction,
                         const stws_frame *frame) {
    if (s->options->on_trace) stws_p_trace_now(s, direction, frame);
}

/* Traces anything else than a STOMP frame: PING, PONG, CLOSE, or "" for a heart-beat. */
static void stws_p_trace_word(const stws_p_session *s, stws_direction direction, const char *word) {
    stws_frame frame;
    memset(&frame, 0, sizeof frame);
    frame.command = word;
    stws_p_trace(s, direction, &frame);
}

/* Returns the number of bytes in a buffer. */
static size_t stws_p_pending(const stws_p_buffer *b) { return b->end - b->begin; }

/* Makes room for n bytes behind the data, if needed by moving the data to the front. Returns 1,
   or 0 if the buffer is too small, or a write is running and the data must not move. The lock
   is held. */
static int stws_p_make_room(stws_p_buffer *b, size_t n) {
    STOMP_WS_ASSERT(b->begin <= b->end && b->end <= b->cap);
    if (b->cap - b->end >= n) return 1;
    if (b->busy || b->cap - stws_p_pending(b) < n) return 0;
    memmove(b->data, b->data + b->begin, stws_p_pending(b));
    b->end -= b->begin;
    b->begin = 0;
    return 1;
}

/* Encodes a WebSocket frame with a short payload: a heart-beat, PING, PONG or close frame.
   Returns STWS_OK; STWS_ERR_SPACE if the output is full; STWS_ERR_IO without a masking key. The
   lock is held. */
static int stws_p_encode_short(stws_p_session *s, stws_ws_opcode opcode, const char *payload,
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

/* Returns the largest WebSocket message that may be sent, in bytes; 0: any size. See "Large
   frames" in the manual. */
static size_t stws_p_cut_size(const stws_p_session *s) {
    size_t asked = s->options->max_ws_message;
    /* the longest character has 4 bytes, so each piece contains a character */
    if (asked) return asked == STWS_WHOLE ? 0 : asked < 4 ? 4 : asked;
    return stws_p_profiles[s->broker].joins ? STWS_P_PIECE : 0;
}

/* Cuts an encoded frame into masked WebSocket messages. The frame lies at the end of the room
   that was made for it; the messages are written from the beginning of this room. The room in
   front of the frame has 14 bytes per message, the longest head, so writing never overtakes
   reading. A text is cut between characters only. Returns STWS_OK, or STWS_ERR_IO without a
   masking key; nothing is sent then. */
static int stws_p_encode_pieces(stws_p_session *s, size_t plain, size_t len, size_t cut,
                                int opcode) {
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
    s->out.end = (size_t)(to - data); /* only now, so an error leaves no part of a frame */
    return STWS_OK;
}

/* Encodes a frame that is larger than `cut` bytes. A text piece may be up to 3 bytes shorter
   than `cut`, because no character is cut. Pieces of up to 8 bytes need no such reserve: their
   heads have 6 bytes, not the 14 allowed for. Returns like stws_p_encode_frame_locked. */
static int stws_p_encode_cut(stws_p_session *s, const stws_frame *frame, int text, size_t total,
                             size_t cut, size_t *need) {
    size_t pieces = total / (cut > 8 ? cut - 3 : cut) + 1, plain, built = 0;
    *need = total + pieces * STWS_P_WS_HEAD;
    if (!stws_p_make_room(&s->out, *need)) return STWS_ERR_SPACE;
    plain = s->out.end + *need - total;
    stws_frame_build(s->out.data + plain, total, (stws_stomp_version)s->version, frame, &built);
    return stws_p_encode_pieces(s, plain, total, cut, text ? STWS_WS_TEXT : STWS_WS_BINARY);
}

/* Encodes a frame as one WebSocket message. There is room for it. The head lies a few bytes
   behind its final place and is masked into it; the body is masked while it is copied out of
   the user's memory. So each byte is touched once. Returns STWS_OK, or STWS_ERR_IO without a
   masking key. */
static int stws_p_encode_whole(stws_p_session *s, int text, const char *head, size_t head_len,
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

/* Sets the content-length of the kept head to body_len (no such line for 0), and ends the
   head. */
static void stws_p_set_send_head_length(stws_p_session *s, size_t body_len) {
    s->send_head_body_len = body_len;
    s->send_head_len =
        s->send_head_own_len +
        (body_len ? stws_p_encode_length(s->send_head + s->send_head_own_len, body_len) : 0) + 1;
    s->send_head[s->send_head_len - 1] = '\n';
}

/* Keeps the head of a SEND that has just been encoded, if the next SEND is likely to need the
   same one.

   Publishers often send to one destination again and again. If two SENDs in a row have their
   destination at the same address, the encoded head of the second one is kept in s->send_head.
   stws_send_ex then compares destination and content type with it (stws_p_send_head_matches),
   and sends the next body with the kept head (stws_p_encode_with_send_head). This skips
   composing, escaping and encoding. Only the address is compared here: it is a hint. The texts
   decide later.

   A head is kept only if it has a destination and at most a content type, both without escapes,
   and is UTF-8. Any other header may change with each message. The head that is kept consists
   of these lines; the content-length line behind them is written anew when the length of the
   body changes.

   `head` is the encoded head of the frame. The lock is held. stws_p_session_reset forgets the
   kept head. */
static void stws_p_keep_send_head(stws_p_session *s, const stws_frame *frame, const char *head) {
    const stws_header *h = frame->headers;
    size_t len = STWS_P_SEND_HEAD_BEGIN + h->value_len + 1, i;
    int again = s->last_destination == (uintptr_t)h->value;
    s->last_destination = (uintptr_t)h->value;
    if (!again || frame->header_count > 2) return;
    if (frame->header_count == 2 && strcmp(h[1].name, "content-type") != 0) return;
    if (frame->header_count == 2) len += 14 + h[1].value_len;
    for (i = 0; i < frame->header_count; i++)
        if (!stws_p_is_plain(h[i].value, h[i].value_len)) return;
    if (len + STWS_P_LENGTH_LINE >= s->send_head_cap || !stws_utf8_valid(head, len)) return;
    memcpy(s->send_head, head, len);
    s->send_head_own_len = len;
    s->send_head_destination_len = h->value_len;
    stws_p_set_send_head_length(s, frame->body_len);
}

/* Returns 1 if the kept head has this destination and this content type (NULL: none). */
static int stws_p_send_head_matches(const stws_p_session *s, const char *destination,
                                    const char *content_type) {
    const char *kept = s->send_head + STWS_P_SEND_HEAD_BEGIN,
               *type = kept + s->send_head_destination_len + 14;
    const char *end = s->send_head + s->send_head_own_len - 1; /* its last LF */
    if (!s->send_head_own_len || strncmp(destination, kept, s->send_head_destination_len) != 0 ||
        destination[s->send_head_destination_len])
        return 0;
    if (!content_type || end < type) return !content_type && end < type;
    return strncmp(content_type, type, (size_t)(end - type)) == 0 && !content_type[end - type];
}

/* Encodes a SEND with the kept head. The body must be UTF-8. Returns 1; 0 if there is no room,
   or the frame would have to be cut, or there is no masking key: the caller then takes the
   usual way. The lock is held. */
static int stws_p_encode_with_send_head(stws_p_session *s, const char *body, size_t body_len) {
    size_t cut = stws_p_cut_size(s), total;
    if (body_len != s->send_head_body_len) stws_p_set_send_head_length(s, body_len);
    total = s->send_head_len + body_len + 1;
    if ((cut && total > cut) || !stws_p_make_room(&s->out, STWS_P_WS_HEAD + total)) return 0;
    if (stws_p_encode_whole(s, 1, s->send_head, s->send_head_len, body, body_len) != STWS_OK)
        return 0;
    s->stats.frames_out++;
    s->stats.messages_out++;
    return 1;
}

/* Encodes a composed frame into the output. Returns one of

       STWS_OK
       STWS_ERR_SPACE        it does not fit; *need is the room that it needs
       STWS_ERR_FRAME_BUILD  it cannot be expressed in the session's STOMP version
       STWS_ERR_IO           there is no masking key

   body_is_utf8: the body is known to be UTF-8, and is not checked again. The room that is asked
   for is an upper bound, so that the head is encoded once, without measuring it first. The head
   is written 14 bytes behind the end of the output: the WebSocket head fits in front of it, and
   masking then moves the STOMP head to its final place. */
static int stws_p_encode_frame_locked(stws_p_session *s, const stws_frame *asked, int body_is_utf8,
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
        settled.content_length = stws_p_profiles[s->broker].bare_send_is_text
                                     ? STWS_CONTENT_LENGTH_OMIT
                                     : STWS_CONTENT_LENGTH_SEND;
        frame = &settled;
    }
    head = s->out.data + s->out.end + STWS_P_WS_HEAD;
    head_len = stws_p_encode_head(head, s->version, frame);
    if (!head_len) return STWS_ERR_FRAME_BUILD;
    total = head_len + frame->body_len + 1;
    if (frame->command_id == STWS_COMMAND_SEND) stws_p_keep_send_head(s, frame, head);
    /* A message may be text only if head and body are UTF-8 (RFC 6455, 5.6). */
    text = !s->options->binary && stws_utf8_valid(head, head_len) &&
           (body_is_utf8 || stws_utf8_valid(frame->body, frame->body_len));
    if (cut && total > cut) result = stws_p_encode_cut(s, frame, text, total, cut, need);
    else result = stws_p_encode_whole(s, text, head, head_len, frame->body, frame->body_len);
    if (result != STWS_OK) return result;
    s->stats.frames_out++;
    if (frame->command_id == STWS_COMMAND_SEND) s->stats.messages_out++;
    stws_p_trace(s, STWS_SENT, frame);
    return STWS_OK;
}

/* ==== >>connect: the frames CONNECT and CONNECTED, ACK and NACK ====

   Negotiates with the server. CONNECT offers versions and heart-beats. CONNECTED selects from
   them, and its server header tells the kind of broker (stws_p_accept_connected). From then on
   the parser and the encoder use this version, and ACK and NACK name a message as it requires.
   The lock is held. Only the driving thread encodes CONNECT and accepts CONNECTED; any thread
   may compose an ACK or NACK. */

/* CONNECT's accept-version and the subprotocols of the upgrade, by the bits of
   options.versions. In accept-version the versions ascend, without blanks, because Spring does
   not accept blanks. In the list of subprotocols the newest version comes first: it is the
   first choice. */
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

/* Encodes CONNECT (STOMP 1.2, "CONNECT or STOMP Frame"). Returns like
   stws_p_encode_frame_locked, or STWS_ERR_LIMIT if it has more than max_headers headers. The
   lock is held. */
static int stws_p_encode_connect(stws_p_session *s, const stws_attempt *attempt, size_t *need) {
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
                                  : stws_p_encode_frame_locked(s, &draft.frame, 0, need);
}

/* Returns the version that CONNECTED names, as its bit, or 0 if it was not offered. A missing
   version means 1.0 (STOMP 1.1, "Protocol Negotiation"). */
static int stws_p_negotiated(const char *version, int offered) {
    size_t len = stws_p_strlen(version);
    if (!version) return offered & STWS_STOMP_10;
    stws_p_trim(&version, &len);
    if (len != 3 || memcmp(version, "1.", 2) != 0 || version[2] < '0' || version[2] > '2') return 0;
    return offered & STWS_STOMP_10 << (version[2] - '0');
}

/* Parses the value of a heart-beat header: "sx,sy" in milliseconds. Leaves *sx and *sy as they
   are if the text has another form, so a wrong header means: no heart-beats. */
static void stws_p_parse_heartbeat(const char *text, size_t *sx, size_t *sy) {
    const char *word;
    size_t len, numbers[2] = {0, 0}, n = 0;
    while (text && n < 2 && stws_p_next_word(&text, &word, &len))
        if (stws_p_number(word, len, 1u << 30, &numbers[n++]) != 1) return;
    *sx = n == 2 ? numbers[0] : 0;
    *sy = n == 2 ? numbers[1] : 0;
}

/* Returns the agreed interval of heart-beats in one direction: the larger of both, or 0 if one
   side has 0 (STOMP 1.2, "Heart-beating"). */
static long long stws_p_interval_us(size_t ours, size_t theirs) {
    size_t ms = ours > theirs ? ours : theirs;
    return ours && theirs ? (long long)ms * STWS_P_US : 0;
}

/* Returns 1 if s (or NULL) begins with prefix. */
static int stws_p_starts(const char *s, const char *prefix) {
    return s && strncmp(s, prefix, strlen(prefix)) == 0;
}

/* Detects the kind of broker from the server header of CONNECTED. Spring's simple broker is the
   only one that sends none. */
static int stws_p_detect_broker(const char *server) {
    if (!server) return STWS_BROKER_SPRING;
    if (stws_p_starts(server, "RabbitMQ/")) return STWS_BROKER_RABBITMQ;
    if (stws_p_starts(server, "ActiveMQ-Artemis/")) return STWS_BROKER_ARTEMIS;
    return stws_p_starts(server, "ActiveMQ/") ? STWS_BROKER_ACTIVEMQ : STWS_BROKER_UNKNOWN;
}

/* Applies the headers of CONNECTED: version, heart-beats, broker. Returns 0 if its version was
   not offered. The lock is held. */
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
    /* a direction without heart-beats: PINGs find out if the peer lives */
    if (!s->heartbeat_out_us || !s->heartbeat_in_us) s->ping_us = o->ping_ms * STWS_P_US;
    STWS_P_STORE(&s->broker, o->broker ? (int)o->broker
                                       : stws_p_detect_broker(stws_frame_header(frame, "server")));
    return 1;
}

/* Composes the ACK or NACK of a message by the rules of the session's version:

       1.2  id: the value of MESSAGE's ack header, or of message-id if there is none
       1.1  message-id and subscription
       1.0  message-id

   The subscription's id comes from the table if the MESSAGE did not name it. Returns 0 if the
   message does not have the id that is needed. The lock is held. */
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

/* ==== >>decode: from raw bytes to the next STOMP frame ====

   Takes WebSocket frames out of the raw bytes, joins their payloads to one stretch of STOMP
   bytes, and parses STOMP frames there. The input buffer has both parts, see stws_p_input.

       read --> raw bytes --stws_p_next_piece--> STOMP bytes --stws_p_next_frame--> a frame
                              |
                              +--> PING: an answer becomes due; PONG; close frame: the end

   A frame is a view into the buffer. Its bytes are removed by the next call of
   stws_p_next_frame, so it is valid until then. Only the driving thread calls this section, and
   without the lock (stws_p_session_reset excepted). */

/* Appends a piece of a WebSocket message to the STOMP bytes. If they are empty or end where the
   piece begins, only the bounds change. Otherwise a WebSocket head lies in between, and the
   piece is moved. */
static void stws_p_append_piece(stws_p_input *in, char *piece, size_t len) {
    size_t at = (size_t)(piece - in->data);
    if (in->begin == in->end) in->begin = in->end = at;
    else if (len && at != in->end) memmove(in->data + in->end, piece, len);
    in->end += len;
}

/* The payload of our PINGs, and so of the PONGs that answer them (RFC 6455, 5.5.3). Any other
   PONG was not asked for. */
static const char stws_p_ping[4] = {'s', 't', 'w', 's'};

/* A PONG arrived. If it answers a PING of ours, the server is known to answer PINGs, so from
   now on its silence has a meaning (expected_us). */
static void stws_p_on_pong(stws_p_session *s, const stws_ws_event *e) {
    if (!s->pinged || !stws_p_equal(e->data, e->len, stws_p_ping, sizeof stws_p_ping)) return;
    s->stats.pongs_in++;
    if (!s->expected_us) s->expected_us = s->ping_us;
    stws_p_trace_word(s, STWS_RECEIVED, "PONG");
}

/* Handles a control frame. Returns STWS_MORE, or STWS_ERR_WS_CLOSE for a close frame, whose
   code and reason are then in the session. */
static int stws_p_control_frame(stws_p_session *s, const stws_ws_event *e) {
    if (e->opcode == STWS_WS_PING) {
        memcpy(s->pong, e->data, e->len);
        s->pong_len = (unsigned char)e->len;
        s->pong_due = 1; /* only the last of several PINGs is answered (RFC 6455, 5.5.3) */
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

/* Gets the next piece of a message out of the raw bytes, and appends it to the STOMP bytes.
   Control frames are handled on the way. Returns STWS_DONE if there are new STOMP bytes;
   STWS_MORE if the socket must be read first; STWS_ERR_WS_CLOSE; or another error of the
   WebSocket parser.

   The fast path is the same as in stws_ws_parse, without an event: a complete and unmasked
   frame only needs its bounds. Any other frame goes through stws_ws_parse, which may deliver a
   message in many pieces. A STOMP frame may begin and end anywhere in these pieces, because
   only their bytes count. */
static int stws_p_next_piece(stws_p_session *s) {
    stws_p_input *in = &s->in;
    stws_ws_event event;
    size_t used,
        head = stws_p_ws_fast_path(in->data + in->raw, in->raw_end - in->raw, &s->ws, &used);
    int result;
    if (head) {
        char *frame = in->data + in->raw;
        s->in_opcode = *frame & 15;
        in->raw += head + used;
        stws_p_append_piece(in, frame + head, used);
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
    stws_p_append_piece(in, event.data, event.len);
    return STWS_DONE;
}

/* Gets the next STOMP frame out of the input. The frame handed out before is removed first, so
   its views end here. Called by the driving thread, without the lock. Returns STWS_DONE, with
   *frame pointing into the input; STWS_MORE if the socket must be read first; or an error,
   after which the session must end.

   Each round of the loop parses the STOMP bytes there are. If they contain no complete frame,
   the next WebSocket piece is appended (stws_p_next_piece), and the parser continues where it
   stopped. One WebSocket message may contain several frames, and one frame may span several
   messages. */
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
        /* A complete frame: it stays in the buffer until the next call. */
        if (result == STWS_DONE) {
            s->taken = used;
            s->stats.frames_in++;
            stws_p_trace(s, STWS_RECEIVED, frame);
            return STWS_DONE;
        }
        in->begin += used; /* end-of-lines between frames, which were skipped */
        if (result < 0) return result;
    }
    s->dry = result == STWS_MORE;
    return result;
}

/* Moves both parts of the input to the beginning of `to`, which is the same buffer or a larger
   one. This closes the gap between them. The caller sets in->cap if the buffer changes. */
static void stws_p_input_gather(stws_p_input *in, char *to) {
    size_t stomp = in->end - in->begin, raw = in->raw_end - in->raw;
    memmove(to, in->data + in->begin, stomp);
    memmove(to + stomp, in->data + in->raw, raw);
    in->data = to;
    in->begin = 0;
    in->end = in->raw = stomp;
    in->raw_end = stomp + raw;
}

/* Returns the free room behind the raw bytes, for the next read. If less than a quarter of the
   buffer is free, the data is moved to the front before. An empty input always begins at the
   front. */
static size_t stws_p_input_room(stws_p_input *in) {
    int empty = in->begin == in->end && in->raw == in->raw_end;
    if (in->raw == in->raw_end) in->raw = in->raw_end = in->end;
    if (empty || in->cap - in->raw_end < in->cap / 4) stws_p_input_gather(in, in->data);
    return in->cap - in->raw_end;
}

/* Returns the value of a known header (STWS_P_DESTINATION etc.) of the last frame, or NULL. */
static const char *stws_p_known_value(const stws_p_session *s, int known) {
    return s->parser.known[known]->value;
}

/* Fills s->message from the last MESSAGE frame. All its pointers are views into the input. The
   caller finds the subscription and sets handle and ack_on. */
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

/* Prepares the session for a new connection: empties both buffers, resets both parsers and
   everything that belonged to the last session. The tables stay. The lock is held. */
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
    /* Nothing is agreed before CONNECTED. */
    s->heartbeat_in_us = s->heartbeat_out_us = s->expected_us = s->ping_us = 0;
    s->last_in_us = s->last_out_us = s->last_ping_us = now;
    s->pinged = 0;
    s->pong_due = 0;
    s->peer_close_code = 0;
    s->send_head_own_len = 0;
    s->no_random = 0;
    /* after a fork(), this keeps two processes from using the same masking keys */
    s->pool_left = 0;
}

/* ==== >>system: random numbers and clocks of the system ====

   The functions that ask the system directly. stws_p_system_random and stws_p_system_clock are
   the defaults of the options random and clock, together with stws_p_system_slept.
   stws_p_system_date serves the dates of HTTP. stws_p_wipe overwrites secrets before their
   memory is released.

   Nothing here keeps state, so any thread may call any of these functions. */

/* Overwrites memory that held a secret. The compiler cannot remove this as a useless write. */
static void stws_p_wipe(void *data, size_t len) {
#if defined(__GNUC__) || defined(__clang__)
    memset(data, 0, len);
    /* The compiler must assume that this statement reads the bytes. */
    __asm__ volatile("" : : "r"(data) : "memory");
#else
    volatile unsigned char *p = (volatile unsigned char *)data;
    while (len--) *p++ = 0;
#endif
}

/* Fills `out` with random bytes: from getrandom() on Linux, else from /dev/urandom. Returns 0,
   or -1 if neither works; there is no weaker fallback. */
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

/* Returns the monotonic time in microseconds. This is the default stws_clock. */
static long long stws_p_system_clock(void *ctx) {
    struct timespec t;
    (void)ctx;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (long long)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

/* Returns for how many microseconds the machine has slept since it was started; 0 if the system
   does not count it. */
static long long stws_p_system_slept(void *ctx) {
#ifdef CLOCK_BOOTTIME
    struct timespec t;
    if (clock_gettime(CLOCK_BOOTTIME, &t) == 0)
        return (long long)t.tv_sec * 1000000 + t.tv_nsec / 1000 - stws_p_system_clock(ctx);
#endif
    return (void)ctx, 0;
}

/* Returns the seconds since 1970 by the clock of this machine. That clock may be wrong. */
static long long stws_p_system_date(void) {
    struct timespec t = {0, 0};
    clock_gettime(CLOCK_REALTIME, &t);
    return (long long)t.tv_sec;
}

/* ==== >>tcp: connections with IPv6 and IPv4 raced (RFC 8305) ====

   The socket of the built-in transport. A stws_p_tcp holds the addresses of the host, and at
   most two sockets: `fd`, and while two connects race, `rival`.

       first address ------> fd --succeeds-----------------------> fd is the connection
                             |                                     ^
       250 ms later ----> rival --succeeds, fd is closed-----------+
                             |
       2 s later          both silent: fd is closed, rival becomes fd, and the next
                          address becomes the rival

   The section >>attempt fills the list of addresses. Then the driving thread calls
   stws_p_tcp_open again and again until it is done. A connect that fails makes room for the
   next address at once. Once connected, fd is the only socket.

   Invariants: addresses before `next` have been tried. A socket that is not open is -1. The
   list lies in the input buffer, so it is invalid once the connection is open.

   Only the driving thread uses a stws_p_tcp, without the lock. No call blocks, except
   getaddrinfo(). */

enum {
    STWS_P_RACE_US = 250000, /* Connection Attempt Delay (RFC 8305, section 8) */
    /* when two connects are silent, the older is closed after this time */
    STWS_P_REPLACE_US = 2000000
};

#ifndef MSG_NOSIGNAL
#define STWS_P_SEND_FLAGS 0 /* such systems have SO_NOSIGPIPE, see stws_p_tcp_socket */
#else
#define STWS_P_SEND_FLAGS MSG_NOSIGNAL
#endif

/* Sorts the addresses so that IPv6 and IPv4 take turns (RFC 8305, section 4). Within a family
   the resolver's order stays. */
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

/* Returns 1 if an address of another family follows in the list. */
static int stws_p_has_other_family(const struct addrinfo *list) {
    const struct addrinfo *each = list->ai_next;
    while (each && each->ai_family == list->ai_family) each = each->ai_next;
    return each != NULL;
}

/* Resolves a host name into t->addresses. getaddrinfo() blocks until the resolver answers; with
   `numeric` it accepts only a numeric address and asks no resolver. Returns 0, or a code of
   getaddrinfo(). */
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
        /* keep the last place for the other family */
        if (t->count == STWS_P_ADDRESSES - 1 && stws_p_has_other_family(each)) continue;
        memcpy(&t->addresses[t->count++], each->ai_addr, each->ai_addrlen);
    }
    freeaddrinfo(list);
    return t->count ? 0 : EAI_NONAME;
}

/* Adds a numeric address without getaddrinfo(), which would allocate memory. Returns 1; 0 if
   `host` is not a numeric address or the table is full. */
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

/* Returns 1 if both are the same IP address; ports are not compared. */
static int stws_p_same_address(const stws_p_address *a, const stws_p_address *b) {
    if (a->any.sa_family != b->any.sa_family) return 0;
    if (a->any.sa_family == AF_INET)
        return memcmp(&a->v4.sin_addr, &b->v4.sin_addr, sizeof a->v4.sin_addr) == 0;
    return memcmp(&a->v6.sin6_addr, &b->v6.sin6_addr, sizeof a->v6.sin6_addr) == 0;
}

/* Rotates the list so that it begins after the address `last`, which then comes last. An
   attempt that failed after TCP connected thus tries the other addresses first. */
static void stws_p_tcp_try_last(stws_p_tcp *t, const stws_p_address *last) {
    int i = 0, turns;
    while (i < t->count && !stws_p_same_address(&t->addresses[i], last)) i++;
    if (i == t->count) return;
    for (turns = 0; turns <= i; turns++) {
        stws_p_address first = t->addresses[0];
        memmove(t->addresses, t->addresses + 1, (size_t)(t->count - 1) * sizeof first);
        t->addresses[t->count - 1] = first;
    }
}

/* Closes a descriptor, if it is open, and sets it to -1. */
static void stws_p_close_fd(int *fd) {
    if (*fd >= 0) close(*fd);
    *fd = -1;
}

/* Makes a descriptor non-blocking and close-on-exec. Returns 1, or 0 if the system refuses. */
static int stws_p_nonblocking(int fd) {
    int flags = fcntl(fd, F_GETFL, 0);
    return flags >= 0 && fcntl(fd, F_SETFL, flags | O_NONBLOCK) == 0 &&
           fcntl(fd, F_SETFD, FD_CLOEXEC) == 0;
}

/* Creates a socket with TCP_NODELAY and without SIGPIPE. Returns it, or -1 with errno set. */
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

/* Starts a non-blocking connect. Returns what connect() returns. */
static int stws_p_tcp_connect(int fd, stws_p_address *a, int port) {
    uint16_t number = htons((uint16_t)port);
    if (a->any.sa_family == AF_INET) a->v4.sin_port = number;
    else a->v6.sin6_port = number;
    return connect(fd, &a->any, a->any.sa_family == AF_INET ? sizeof a->v4 : sizeof a->v6);
}

/* Starts to connect to the next address. `fd` is &t->fd or &t->rival; it stays -1 if the
   connect fails at once. Also sets the time at which one more address may join. */
static void stws_p_tcp_start(stws_p_tcp *t, int *fd) {
    stws_p_address *a = &t->addresses[t->next];
    STOMP_WS_ASSERT(*fd < 0 && t->next < t->count);
    *(fd == &t->fd ? &t->fd_at : &t->rival_at) = t->next++;
    *fd = stws_p_tcp_socket(a);
    if (*fd < 0 ||
        (stws_p_tcp_connect(*fd, a, t->port) != 0 && errno != EINPROGRESS && errno != EINTR)) {
        t->error = errno;
        stws_p_close_fd(fd);
    }
    t->race_us = *fd < 0 ? 0
                         : t->clock->now_us(t->clock->ctx) +
                               (t->rival < 0 ? STWS_P_RACE_US : STWS_P_REPLACE_US);
}

/* Returns 1 if this connect has succeeded, 0 if not. A connect that has failed is closed, and
   its errno is kept in t->error. */
static int stws_p_tcp_finished(stws_p_tcp *t, int *fd) {
    struct pollfd p = {*fd, POLLOUT, 0};
    int error = 0;
    socklen_t len = sizeof error;
    if (*fd < 0 || poll(&p, 1, 0) <= 0) return 0;
    if (getsockopt(*fd, SOL_SOCKET, SO_ERROR, &error, &len) != 0) error = errno;
    if (error == 0) return 1;
    t->error = error;
    t->race_us = 0; /* try the next address at once */
    stws_p_close_fd(fd);
    return 0;
}

/* Closes t->fd and puts t->rival in its place. */
static void stws_p_tcp_promote(stws_p_tcp *t) {
    stws_p_close_fd(&t->fd);
    t->fd = t->rival;
    t->fd_at = t->rival_at;
    t->rival = -1;
}

/* Opens the connection: "Happy Eyeballs" (RFC 8305). The first address gets a head start of 250
   ms; then a second connect runs beside it. The first of the two that succeeds wins. While both
   stay silent, the next address replaces the older one every two seconds.

   The driving thread calls it again and again. Returns STWS_DONE once connected; STWS_MORE
   while it has to go on; STWS_ERR_CONNECT if all addresses failed. */
static int stws_p_tcp_open(void *ctx, const stws_endpoint *to) {
    stws_p_tcp *t = (stws_p_tcp *)ctx;
    int connected = stws_p_tcp_finished(t, &t->fd);
    t->port = to->port;
    /* The second connect may win; the first one is then given up. */
    if (!connected && stws_p_tcp_finished(t, &t->rival)) {
        stws_p_tcp_promote(t);
        connected = 1;
    }
    if (connected) {
        stws_p_close_fd(&t->rival);
        t->reached = t->addresses[t->fd_at];
        return STWS_DONE;
    }
    /* No connect is under way: start the next, skipping addresses that fail at once. */
    while (t->next < t->count && t->fd < 0 && t->rival < 0) stws_p_tcp_start(t, &t->fd);
    if (t->next < t->count && t->clock->now_us(t->clock->ctx) >= t->race_us) {
        /* two silent connects must not hold up the other addresses */
        if (t->fd >= 0 && t->rival >= 0) stws_p_tcp_promote(t);
        stws_p_tcp_start(t, t->fd < 0 ? &t->fd : &t->rival);
    }
    return t->fd < 0 && t->rival < 0 && t->next >= t->count ? (int)STWS_ERR_CONNECT
                                                            : (int)STWS_MORE;
}

/* Turns the result of recv() or send() into that of stws_transport: a number of bytes, 0 for
   "not now", or STWS_ERR_IO. */
static long stws_p_tcp_result(stws_p_tcp *t, ssize_t n) {
    if (n >= 0) return (long)n;
    if (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR) return 0;
    t->error = errno;
    return STWS_ERR_IO;
}

/* Reads from the connection. Returns the number of bytes, 0 if there are none now, STWS_ERR_EOF
   at the end of the stream, or STWS_ERR_IO. */
static long stws_p_tcp_read(void *ctx, char *buf, size_t len) {
    stws_p_tcp *t = (stws_p_tcp *)ctx;
    ssize_t n = recv(t->fd, buf, len, 0);
    return n == 0 ? (long)STWS_ERR_EOF : stws_p_tcp_result(t, n);
}

/* Writes to the connection. Returns the number of bytes, 0 if the socket is full, or
   STWS_ERR_IO. */
static long stws_p_tcp_write(void *ctx, const char *buf, size_t len) {
    stws_p_tcp *t = (stws_p_tcp *)ctx;
    return stws_p_tcp_result(t, send(t->fd, buf, len, STWS_P_SEND_FLAGS));
}

/* Closes the connection, or both connects while they race. */
static void stws_p_tcp_close(void *ctx) {
    stws_p_tcp *t = (stws_p_tcp *)ctx;
    stws_p_close_fd(&t->fd);
    stws_p_close_fd(&t->rival);
}

static int stws_p_tcp_fd(void *ctx) { return ((stws_p_tcp *)ctx)->fd; }

/* An error number and its explanation. A table of these ends with the number 0, whose text
   stands for all other numbers. */
typedef struct stws_p_meaning {
    int number;
    const char *text;
} stws_p_meaning;

/* Returns the text for a number; the last text of the table for an unknown number. */
static const char *stws_p_meaning_of(int number, const stws_p_meaning *table) {
    while (table->number && table->number != number) table++;
    return table->text;
}

/* Explains the usual values of errno in plain words. strerror() is not used: it is not safe
   with threads. */
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

/* ==== >>proxy: HTTP CONNECT (RFC 9110, 9.3.6) and SOCKS 5 (RFC 1928, 1929) ====

   Asks a proxy for a connection to the server, before TLS or the upgrade begins. After that,
   the TCP connection leads to the server, and the proxy only passes bytes on.

       DIAL ----------- http:// ----------> ASK_CONNECT --> open
        |                                      ^   ^
        +-- socks5:// --> ASK_METHOD ----------+   |
                              |                    |
                              +--> ASK_LOGIN ------+

   Each step except DIAL sends one request and then reads its answer. `data` holds the request
   while `saying` is 1, and the answer while it is 0. A failure leaves a sentence in `why`;
   `final` is 1 if another attempt would fail in the same way.

   The section >>attempt chooses the proxy. stws_p_proxy_open is the `open` of the built-in
   transport, and >>tls calls it, too; without a proxy it only opens TCP. With STOMP_WS_NO_PROXY
   the compiler removes the dialogue. Only the driving thread calls these functions, without the
   lock. */

static const char stws_p_proxy_url_wrong[] =
    "a proxy is http://[user:password@]host:port, or the same with socks5://; user and password "
    "have at most 255 bytes each, special characters as %XX, and with http:// no colon in the user "
    "and no control character";

/* Takes the URL of a proxy apart. A URL without a scheme, which the environment may contain,
   counts as http://. Returns 1, or 0 if it is not the URL of a proxy. */
static int stws_p_proxy_parse(stws_p_proxy_url *out, const char *url) {
    const char *scheme_end = strstr(url, "://"), *p = scheme_end ? scheme_end + 3 : url, *end, *why;
    stws_url place;
    memset(out, 0, sizeof *out);
    memset(&place, 0, sizeof place);
    out->socks = stws_p_is_scheme(url, "socks5://") || stws_p_is_scheme(url, "socks5h://");
    if (scheme_end && !out->socks && !stws_p_is_scheme(url, "http://")) return 0;
    for (end = p + strcspn(p, "/?#"); end > p && *end != '@';) end--;
    if (!stws_p_decode_user_info(p, end, out->user, out->password)) return 0;
    if (!out->socks && !stws_p_is_basic(out->user, out->password)) return 0;
    p = stws_p_url_host(*end == '@' ? end + 1 : p, &place, &why);
    if (p) p = stws_p_url_port(p, &place, &why);
    if (!p || (*p && strcmp(p, "/") != 0)) return 0;
    memcpy(out->host, place.host, place.host_len);
    out->port = out->socks && !place.has_port ? 1080 : place.port;
    return 1;
}

/* Returns 1 if a list such as no_proxy contains the host, a domain above it, or "*". */
static int stws_p_proxy_is_excepted(const char *list, const char *host) {
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

/* Returns the proxy that the environment sets for a host, or NULL. HTTP_PROXY is ignored: in a
   CGI program a request's header can set it. */
static const char *stws_p_proxy_from_environment(const char *host, int secure) {
    const char *excepted = stws_p_or(getenv("no_proxy"), getenv("NO_PROXY"));
    const char *url =
        secure ? stws_p_or(getenv("https_proxy"), getenv("HTTPS_PROXY")) : getenv("http_proxy");
    if (!url) url = stws_p_or(getenv("all_proxy"), getenv("ALL_PROXY"));
    return url && *url && !stws_p_proxy_is_excepted(stws_p_or(excepted, ""), host) ? url : NULL;
}

/* Encodes the CONNECT request (RFC 9110, section 9.3.6), with Basic credentials if the URL has
   them. */
static void stws_p_proxy_encode_http(stws_p_proxy *p, stws_p_out *out) {
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

/* Encodes the CONNECT request of SOCKS 5 (RFC 1928, section 4). A host name is sent unresolved:
   the proxy resolves it. */
static void stws_p_proxy_encode_socks(stws_p_proxy *p, stws_p_out *out) {
    char address[16];
    int v4 = inet_pton(AF_INET, p->target, address) == 1,
        v6 = inet_pton(AF_INET6, p->target, address) == 1;
    stws_p_put(out, v4 ? "\5\1\0\1" : v6 ? "\5\1\0\4" : "\5\1\0\3", 4);
    if (!v4 && !v6) stws_p_put_char(out, (char)strlen(p->target));
    stws_p_put(out, v4 || v6 ? address : p->target, v4 ? 4 : v6 ? 16 : strlen(p->target));
    stws_p_put_char(out, (char)(p->port >> 8));
    stws_p_put_char(out, (char)(p->port & 255));
}

/* Encodes the request of a step into p->data and makes it ready to be sent. */
static void stws_p_proxy_encode(stws_p_proxy *p, int step) {
    const char *user = p->at.user, *password = p->at.password;
    stws_p_out out = {p->data, 2048, 0};
    if (step == STWS_P_ASK_METHOD) stws_p_put(&out, *user ? "\5\2\0\2" : "\5\1\0", *user ? 4 : 3);
    else if (step == STWS_P_ASK_LOGIN)
        out.need = (size_t)snprintf(p->data, out.room, "\1%c%s%c%s", (int)strlen(user), user,
                                    (int)strlen(password), password);
    else if (p->at.socks) stws_p_proxy_encode_socks(p, &out);
    else stws_p_proxy_encode_http(p, &out);
    p->step = step;
    p->saying = 1;
    p->sent = 0;
    p->len = out.need;
}

/* Sets the error sentence. `final`: another attempt would fail in the same way. Returns
   STWS_ERR_PROXY. */
static int stws_p_proxy_fail(stws_p_proxy *p, int final, const char *what, const char *cause) {
    snprintf(p->why, sizeof p->why, "the proxy %.80s port %d %s%s", p->at.host, p->at.port, what,
             cause);
    p->final = final;
    return STWS_ERR_PROXY;
}

/* Returns 1 for an HTTP status that another attempt will not change. Temporary are 5xx, 408
   (Request Timeout), 425 (Too Early) and 429 (Too Many Requests). */
static int stws_p_status_is_final(int status) {
    return status < 500 && status != 408 && status != 425 && status != 429;
}

/* Reports that the proxy refused: `code` is an HTTP status or a SOCKS reply (RFC 1928, section
   6). The numbers 255 and 256 stand for refusals of the method and of the credentials. Returns
   STWS_ERR_PROXY. */
static int stws_p_proxy_fail_refused(stws_p_proxy *p, int code, const char *reason) {
    static const stws_p_meaning meanings[] = {
        {1, "it failed, and gives no reason"},
        {2, "its rules forbid that host or port"},
        {3, "it has no route to the server's network"},
        {4, "it cannot reach the host, or does not know its name"},
        {5, "connection refused: nothing listens at that host and port"},
        {6, "the server is too far away (TTL)"},
        {7, "it does not support CONNECT"},
        {8, "it does not support that kind of address"},
        {255, "it wants credentials, or other ones: put them into options.proxy, as "
              "socks5://user:password@host:port"},
        /* not a reply of SOCKS: set by stws_p_proxy_parse_socks */
        {256, "it does not accept the user and password of options.proxy"},
        {403, "it forbids that host or port (many allow port 443 only)"},
        {407, "it wants credentials: put them into options.proxy, as "
              "http://user:password@host:port (Basic only)"},
        {500, "it cannot reach the server, or has an error itself"},
        {0, "does it support CONNECT for that host and port?"}};
    int socks = p->at.socks, final = socks ? code == 2 || code > 6 : stws_p_status_is_final(code);
    char what[100];
    snprintf(what, sizeof what, "refused with %s %d%.60s: ", socks ? "SOCKS reply" : "HTTP", code,
             reason);
    return stws_p_proxy_fail(p, final, what, stws_p_meaning_of(code >= 500 ? 500 : code, meanings));
}

/* Parses the proxy's HTTP answer. Returns STWS_DONE, with the length of the answer in *used;
   STWS_MORE if it is incomplete; or an error. Interim answers (1xx; RFC 9110, section 15.2) are
   skipped. They share the buffer with the final answer, so their number is limited. */
static int stws_p_proxy_parse_http(stws_p_proxy *p, size_t *used) {
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
        return stws_p_proxy_fail(p, 1, "answers with a head of over 4096 bytes or 64 headers", "");
    if (result < 0 || (result == STWS_DONE && !http.status))
        return stws_p_proxy_fail(
            p, 1, "does not answer in HTTP: is it another kind of proxy, such as socks5://?", "");
    /* the byte before the reason is its blank */
    if (result == STWS_DONE && http.status / 100 != 2)
        return stws_p_proxy_fail_refused(p, http.status, *http.reason ? http.reason - 1 : "");
    return result;
}

/* Parses an answer of SOCKS 5 to the current step. Returns the same values as
   stws_p_proxy_parse_http. */
static int stws_p_proxy_parse_socks(stws_p_proxy *p, size_t *used) {
    const unsigned char *in = (const unsigned char *)p->data;
    static const char other[] =
        "does not answer in SOCKS 5: is it another kind of proxy, such as http://?";
    int way = p->step == STWS_P_ASK_CONNECT, login = p->step == STWS_P_ASK_LOGIN;
    /* the login of RFC 1929 has its own version number, 1 */
    if (in[0] != (login ? 1 : 5)) return stws_p_proxy_fail(p, 1, other, "");
    if (p->len < 2) return STWS_MORE;
    if (in[1] && (way || login || in[1] != 2 || !*p->at.user))
        return stws_p_proxy_fail_refused(p, way ? in[1] : login ? 256 : 255, "");
    if (way && p->len > 3 && in[3] != 1 && in[3] != 3 && in[3] != 4)
        return stws_p_proxy_fail(p, 1, other, "");
    *used = !way ? 2 : in[3] == 1 ? 10 : in[3] == 4 ? 22 : 7u + in[4];
    return p->len < *used ? STWS_MORE : STWS_DONE;
}

/* Handles the bytes received from the proxy: parses the answer and begins the next step. Bytes
   after the answer are an error, because server and proxy have to wait for us to send first.
   Returns STWS_DONE once the way to the server is open; STWS_MORE; or an error. */
static int stws_p_proxy_handle_answer(stws_p_proxy *p) {
    size_t used = 0;
    int result =
        p->at.socks ? stws_p_proxy_parse_socks(p, &used) : stws_p_proxy_parse_http(p, &used);
    if (result == STWS_DONE && p->len > used)
        return stws_p_proxy_fail(p, 1, "sends bytes of its own after its answer", "");
    if (result != STWS_DONE || p->step == STWS_P_ASK_CONNECT) return result;
    stws_p_proxy_encode(p, p->data[1] ? STWS_P_ASK_LOGIN : STWS_P_ASK_CONNECT);
    return STWS_MORE;
}

/* Opens the connection to the server: directly, or through the proxy if there is one. Returns
   STWS_DONE, STWS_MORE or an error; without a proxy it is the same as stws_p_tcp_open. It is
   the `open` of the built-in transport. */
static int stws_p_proxy_open(void *ctx, const stws_endpoint *to) {
    stws_p_tcp *t = (stws_p_tcp *)ctx;
    stws_p_proxy *p = STWS_P_HAS_PROXY ? t->proxy : NULL;
    stws_endpoint first = *to;
    int result = STWS_MORE;
    if (!p) return stws_p_tcp_open(t, to);
    first.port = p->at.port;
    /* First connect to the proxy itself, then begin the dialogue with it. */
    if (!p->step) result = stws_p_tcp_open(t, &first);
    if (result < 0) stws_p_proxy_fail(p, 0, "cannot be reached: ", stws_p_errno_text(t->error));
    if (result == STWS_DONE) {
        p->port = to->port;
        t->next = t->count; /* do not try the proxy's other addresses any more */
        stws_p_proxy_encode(p, p->at.socks ? STWS_P_ASK_METHOD : STWS_P_ASK_CONNECT);
        result = STWS_MORE;
    }
    /* Send the request or read the answer, until the proxy has connected us or the socket is
       not ready. */
    while (p->step && result == STWS_MORE) {
        size_t *at = p->saying ? &p->sent : &p->len;
        long n = p->saying ? stws_p_tcp_write(t, p->data + p->sent, p->len - p->sent)
                           : stws_p_tcp_read(t, p->data + p->len, sizeof p->data - p->len);
        if (n == 0) return STWS_MORE;
        if (n < 0)
            return stws_p_proxy_fail(p, 0, "closed the connection before it had answered", "");
        *at += (size_t)n;
        if (!p->saying) result = stws_p_proxy_handle_answer(p);
        else if (p->sent == p->len) p->saying = 0, p->sent = p->len = 0;
    }
    return result;
}

/* Returns 1 once the proxy is connected and the dialogue with it has begun. */
static int stws_p_proxy_in_dialogue(const stws_p_tcp *t) { return t->proxy && t->proxy->step; }

/* Returns for what to poll the first descriptor until the connection is open. */
static int stws_p_proxy_wants(const stws_p_tcp *t) {
    return stws_p_proxy_in_dialogue(t) && !t->proxy->saying ? STWS_WANT_READ : STWS_WANT_WRITE;
}

/* Returns the sentence for the last failure of the proxy or of TCP. */
static const char *stws_p_proxy_error(void *ctx) {
    const stws_p_tcp *t = (stws_p_tcp *)ctx;
    return t->proxy && *t->proxy->why ? t->proxy->why : stws_p_errno_text(t->error);
}

/* Sets up TCP and fills in `io`, the built-in transport. */
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

/* ==== >>tls: a TLS library, called through stws_tls, on top of TCP ====

   The transport for wss://. This section moves encrypted bytes between the socket and a table
   of functions (stws_tls). It knows no TLS library itself.

       prepare --TCP is open--> begun --handshake done, key matches tls_pin--> open --> close

   The table never touches the socket. It reports by its state what it needs: to send a record,
   to receive one, to give data or to take data. stws_p_tls_pump moves records until the wanted
   bit is set. The state of the table lives as long as the client, so a session can be resumed
   at the next attempt; it is resumed only for the same host and port.

   Invariants: no byte of the client passes before the key was compared with tls_pin. Bytes of
   the client count as written only once their record was sent.

   The section >>attempt prepares each attempt. Other sections use the transport `io`,
   stws_p_tls_begun and stws_p_tls_is_final. Only the driving thread calls these functions,
   without the lock. */

/* Prepares the TLS state in the client's block. Called once for each client. */
static stws_p_tls *stws_p_tls_init(void *memory, void *state, const stws_tls *table) {
    stws_p_tls *t = (stws_p_tls *)memset(memory, 0, sizeof *t);
    memset(state, 0, table->size);
    t->table = table;
    t->state = state;
    return t;
}

/* Returns 1 if the table has all required functions. */
static int stws_p_tls_is_complete(const stws_tls *table) {
    return table->begin && table->state && table->input && table->received && table->output &&
           table->sent && table->read && table->write && table->close && table->key_hash &&
           table->error;
}

/* Lets the table free what it has. Called once, when the client is destroyed. */
static void stws_p_tls_destroy(stws_p_tls *t) {
    if (t && t->table->destroy) t->table->destroy(t->state);
}

/* After fork(), the child closes its socket without sending anything: the parent still uses the
   connection. */
static void stws_p_tls_be_silent(stws_p_tls *t) {
    if (t) t->silent = 1;
}

/* Returns 1 if the TLS handshake has begun on this connection. */
static int stws_p_tls_begun(const stws_p_tls *t) { return t && t->begun; }

/* Returns 1 if another attempt would fail in the same way. */
static int stws_p_tls_is_final(stws_p_tls *t) {
    int final = 0;
    if (t && t->failed) t->table->error(t->state, &final);
    return final;
}

/* Moves encrypted bytes: a record or a part of it, to the socket (`out`) or from it. Returns
   the number of bytes, 0 if the socket is not ready, or an error. The end of TCP is an error
   here: TLS announces its end by close_notify (RFC 5246, section 7.2.1). */
static long stws_p_tls_move(stws_p_tls *t, int out) {
    size_t len = 0;
    const char *from = out ? t->table->output(t->state, &len) : NULL;
    char *to = out ? NULL : t->table->input(t->state, &len);
    long n = out ? stws_p_tcp_write(t->tcp, from, len) : stws_p_tcp_read(t->tcp, to, len);
    if (n > 0 && out) t->table->sent(t->state, (size_t)n);
    if (n > 0 && !out) t->table->received(t->state, (size_t)n);
    if (n != STWS_ERR_EOF) return n;
    t->why = t->open
                 ? "the connection was cut off, without the close_notify that TLS requires"
                 : "the server ended the connection in the handshake: does this port speak TLS?";
    return STWS_ERR_TLS;
}

/* Tries once to send what comes last: an alert, or close_notify. */
static void stws_p_tls_drain(stws_p_tls *t) {
    size_t len = 0;
    while (t->table->output(t->state, &len) && len && stws_p_tls_move(t, 1) > 0) len = 0;
}

/* Handles the end of the table's connection: sends its alert and sets the sentence. Returns the
   client's error: STWS_ERR_EOF for a proper end, STWS_ERR_TLS_TRUST or STWS_ERR_TLS. */
static int stws_p_tls_ended(stws_p_tls *t, int error) {
    stws_p_tls_drain(t);
    if (error == STWS_ERR_EOF && t->open) return error;
    t->failed = error != STWS_ERR_EOF;
    t->why = t->failed ? NULL : "the server ended the connection in the handshake";
    return error == STWS_ERR_TLS_TRUST ? error : (int)STWS_ERR_TLS;
}

enum { STWS_P_TLS_MOVES = 256 }; /* the most records moved in one call */

/* Moves records until the table's state has a bit of `until`. Returns STWS_DONE then; STWS_MORE
   if the socket is not ready; or an error. If sending fails, it still receives: the peer may
   wait for that, or may have sent the reason. */
static int stws_p_tls_pump(stws_p_tls *t, int until) {
    int moves;
    for (moves = 0; moves < STWS_P_TLS_MOVES; moves++) {
        int state = t->table->state(t->state);
        long n = 0, received = 0;
        if (state < 0) return stws_p_tls_ended(t, state);
        if (state & STWS_TLS_HAS_OUTPUT) n = stws_p_tls_move(t, 1);
        /* Output comes first. Only when it cannot be sent now do we look at the rest. */
        if (n <= 0 && (state & until)) return STWS_DONE;
        if (n <= 0 && (state & STWS_TLS_TAKES_INPUT)) received = stws_p_tls_move(t, 0);
        if (n <= 0 && received <= 0) return (int)(n < 0 ? n : received);
    }
    return STWS_MORE; /* a peer that sends empty records must not keep us here */
}

/* Begins the handshake on an open TCP connection. A session is resumed only with the host and
   port of the last completed handshake; within one client its options are also the same. */
static int stws_p_tls_begin(stws_p_tls *t, const stws_endpoint *to) {
    /* a dot at the end is for DNS only; certificates do not have it */
    size_t len = strlen(to->host);
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

/* Returns 1 if tls_pin contains the hash of the server's key. The hash is encoded (base64,
   lower and upper hex) and searched for, so the pin need not be decoded. */
static int stws_p_tls_is_pinned(const char *pin, const unsigned char hash[32]) {
    char base64[48], hex[2][65];
    size_t i;
    stws_p_base64(hash, 32, base64);
    for (i = 0; i < 64; i++)
        snprintf(&hex[i & 1][i & ~1u], 3, i & 1 ? "%02X" : "%02x", hash[i / 2]);
    return strstr(pin, base64) || strstr(pin, hex[0]) || strstr(pin, hex[1]);
}

/* Compares the server's key with tls_pin, before any byte of ours is sent through TLS. Returns
   STWS_DONE or STWS_ERR_TLS_TRUST. */
static int stws_p_tls_check_pin(stws_p_tls *t) {
    const char *pin = t->start.options->tls_pin;
    unsigned char hash[32];
    if (!pin || (t->table->key_hash(t->state, hash) && stws_p_tls_is_pinned(pin, hash)))
        return STWS_DONE;
    t->why = "the server's key does not match tls_pin";
    return STWS_ERR_TLS_TRUST;
}

/* Opens TCP, then TLS. Returns STWS_DONE once both are open, STWS_MORE, or an error. */
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

/* Reads as many records as there are: less than `len` means that the socket is empty. An error
   is returned only after all data. */
static long stws_p_tls_read(void *ctx, char *buf, size_t len) {
    stws_p_tls *t = (stws_p_tls *)ctx;
    size_t done = 0, n = 1;
    int result = STWS_DONE;
    while (n > 0 && done < len && (result = stws_p_tls_pump(t, STWS_TLS_HAS_DATA)) == STWS_DONE)
        done += n = t->table->read(t->state, buf + done, len - done);
    if (!n && !done) return 0; /* the table said it had data, but gave none */
    return done ? (long)done : (long)result;
}

/* Writes the client's output. Bytes count as written only once their record is sent. Until then
   the client offers them again, and counts them as waiting in its statistics and deadlines;
   `taken` remembers how many the table already has. */
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

/* Closes TLS with close_notify, unless the socket is shared with a parent process; then closes
   TCP. */
static void stws_p_tls_close(void *ctx) {
    stws_p_tls *t = (stws_p_tls *)ctx;
    if (t->begun && t->open && !t->silent) t->table->close(t->state);
    if (t->begun && !t->silent) stws_p_tls_drain(t);
    if (t->begun && t->table->end) t->table->end(t->state);
    t->begun = t->open = 0;
    stws_p_tcp_close(t->tcp);
}

static int stws_p_tls_fd(void *ctx) { return stws_p_tcp_fd(((stws_p_tls *)ctx)->tcp); }

/* Returns what to wait for. TLS may have to send although the client only reads. Data that TLS
   has already decrypted do not make the socket ready, hence STWS_WANT_NOW. */
static int stws_p_tls_wants(void *ctx, int wants) {
    stws_p_tls *t = (stws_p_tls *)ctx;
    int state = t->table->state(t->state), out = 0;
    if (state < 0) return wants & STWS_WANT_READ ? STWS_WANT_NOW : 0;
    if (state & STWS_TLS_HAS_OUTPUT || (wants & STWS_WANT_WRITE && state & STWS_TLS_TAKES_DATA))
        out = STWS_WANT_WRITE;
    if (state & STWS_TLS_TAKES_INPUT) out |= wants & STWS_WANT_READ;
    return wants & STWS_WANT_READ && state & STWS_TLS_HAS_DATA ? out | STWS_WANT_NOW : out;
}

/* Returns the sentence for the last failure: this section's, the table's, or TCP's. */
static const char *stws_p_tls_error(void *ctx) {
    stws_p_tls *t = (stws_p_tls *)ctx;
    int final;
    if (t->why) return t->why;
    return t->failed ? t->table->error(t->state, &final) : stws_p_proxy_error(t->tcp);
}

/* Prepares an attempt and fills in `io`. Of the last attempt only the TLS session stays. */
static void stws_p_tls_prepare(stws_p_tls *t, const stws_options *o, const stws_random *r,
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
        "the server does not accept our certificate: see tls_cert_file and tls_key_file";
    static const stws_p_meaning meanings[] = {
        {40, "the server shares no cipher or kind of key with us, or wants a client certificate "
             "(tls_cert_file)"},
        {42, refused},
        {43, refused},
        {44, refused},
        {45, refused},
        {46, refused},
        {48, refused},
        {49, refused},
        {51, refused},
        {70, "the server supports none of our TLS versions"},
        {112, "the server knows no host of this name (SNI)"},
        {116, "the server wants a client certificate: see tls_cert_file and tls_key_file"},
        {120, "the server does not offer HTTP/1.1 (ALPN)"},
        {0, NULL}};
    return stws_p_meaning_of(alert, meanings);
}

#ifdef STOMP_WS_BEARSSL

/* ==== >>bearssl_trust: whom to trust: certificates for BearSSL ====

   Reads certificates from PEM files, and checks the server's chain for BearSSL. Used only with
   STOMP_WS_BEARSSL. BearSSL calls the verifier (stws_p_bear_start_chain to
   stws_p_bear_end_chain) during the handshake, so the driving thread comes here, without the
   lock.

   All memory of TLS is one struct in the client's block. A CA bundle has about 150
   certificates, but a chain needs only one of them. So the bundle is not kept:

   1. The server's chain is stored in `der` as it arrives.
   2. The bundle is read. A CA that the chain names becomes an anchor, behind the chain in `der`.
      A CA that the chain does not name is dropped at once.
   3. BearSSL checks the chain against these anchors. If the chain names more than 6 CAs, the
      bundle is read again for the next ones, until one of them is right.

   So the memory has a limit, whatever the size of the bundle. A renewed bundle takes effect at
   the next handshake that does not resume a session.

   BearSSL decides what is trusted. This section adds two checks that BearSSL does not make: a
   numeric address of the server, and extendedKeyUsage. */

/* the most certificates of a chain; anchors at a time; bytes of DER */
enum { STWS_P_CHAIN = 8, STWS_P_ANCHORS = 6, STWS_P_DER_ROOM = 32768 };

/* Fields of a certificate by their index (RFC 5280, section 4.1), without the version. */
enum { STWS_P_ISSUER = 2, STWS_P_SUBJECT = 4, STWS_P_KEY, STWS_P_REST, STWS_P_PARTS };

typedef br_x500_name stws_p_der; /* a piece of DER: `data` and `len` */

/* The state of one TLS client by BearSSL. Only the driving thread uses it. */
typedef struct stws_p_bear {
    const br_x509_class *verifier; /* must be first: BearSSL passes its address to our verifier */
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
    /* number of CAs named by the chain: seen in this reading of the bundle; tried so far */
    size_t seen, tried;
    size_t used, part;   /* bytes of `der` in use; bytes of the PEM object that is being read */
    int final, overflow; /* the error would recur; the server's chain is too large */
    /* the handshake is done, and `session` is valid; `key_hash` is valid */
    int has_session, has_key_hash;
    char why[320];
    unsigned char key_hash[br_sha256_SIZE], ip[16], der[STWS_P_DER_ROOM],
        buffer[BR_SSL_BUFSIZE_BIDI];
} stws_p_bear;

/* Called with each object of a PEM text: its name and its DER. */
typedef void (*stws_p_pem_use)(stws_p_bear *t, const char *name, stws_p_der der);

/* Removes the first element from `rest`. Returns its tag; 0 if there is none or it is cut off.
   `whole`, which may be NULL, includes the element's head; `content` does not. */
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

/* Finds the first element with this tag and removes all up to its end. Returns 1, or 0 without
   such an element. `content` may be the same as `rest`. */
static int stws_p_der_find(stws_p_der *rest, int tag, stws_p_der *content) {
    stws_p_der each;
    int found;
    while ((found = stws_p_der_next(rest, NULL, &each)) != 0 && found != tag) continue;
    if (found) *content = each;
    return found != 0;
}

/* Returns 1 if a piece of DER has exactly these bytes. */
static int stws_p_der_equal(stws_p_der a, const void *b, size_t len) {
    return a.len == len && !memcmp(a.data, b, len);
}

/* Splits a certificate into its fields, without the version. Returns 1, or 0 if it is not a
   certificate. */
static int stws_p_der_certificate(stws_p_der der, stws_p_der parts[STWS_P_PARTS]) {
    stws_p_der *rest = &parts[STWS_P_REST], content;
    int i = 0, tag = stws_p_der_next(&der, NULL, &der) == 0x30 &&
                     stws_p_der_next(&der, NULL, rest) == 0x30;
    for (; i < STWS_P_REST && tag; i += tag != 0xA0)
        tag = stws_p_der_next(rest, &parts[i], &content);
    return tag != 0;
}

/* Finds the list in the extension with this id. Returns 1; 0 without the extension; -1 if the
   extension has no list. */
static int stws_p_der_extension(stws_p_der rest, const char id[3], stws_p_der *list) {
    stws_p_der extension, found;
    if (!stws_p_der_find(&rest, 0xA3, &rest) || !stws_p_der_find(&rest, 0x30, &rest)) return 0;
    while (stws_p_der_find(&rest, 0x30, &extension))
        if (stws_p_der_find(&extension, 6, &found) && stws_p_der_equal(found, id, 3))
            return stws_p_der_find(&extension, 4, list) && stws_p_der_find(list, 0x30, list) ? 1
                                                                                             : -1;
    return 0;
}

/* Returns 1 if the list has an element with this tag and this content; any content if `len` is
   0. */
static int stws_p_der_has(stws_p_der list, int tag, const void *element, size_t len) {
    stws_p_der each;
    while (stws_p_der_find(&list, tag, &each))
        if (!len || stws_p_der_equal(each, element, len)) return 1;
    return 0;
}

/* Returns 1 if the subjectAltName (RFC 5280, section 4.2.1.6) has this address, or, without an
   address, any host name. BearSSL does not compare addresses. Without a host name it would
   accept the common name, against RFC 9110, section 4.3.4. */
static int stws_p_der_names(stws_p_der rest, const unsigned char *ip, size_t ip_len) {
    stws_p_der names;
    return stws_p_der_extension(rest, "\x55\x1D\x11", &names) > 0 &&
           stws_p_der_has(names, ip_len ? 0x87 : 0x82, ip, ip_len);
}

/* Returns 1 if the certificate may be used by a TLS server (RFC 5280, section 4.2.1.12): it has
   no extendedKeyUsage, or one with serverAuth or "any". */
static int stws_p_der_is_for_servers(stws_p_der rest) {
    stws_p_der uses;
    int has = stws_p_der_extension(rest, "\x55\x1D\x25", &uses);
    return !has || (has > 0 && (stws_p_der_has(uses, 6, "\x2B\6\1\5\5\7\3\1", 8) ||
                                stws_p_der_has(uses, 6, "\x55\x1D\x25\0", 4)));
}

/* Stores a piece of a PEM object, which BearSSL has decoded. */
static void stws_p_pem_store(void *ctx, const void *data, size_t len) {
    stws_p_bear *t = (stws_p_bear *)ctx;
    /* without this piece it will not parse as a certificate */
    if (len > sizeof t->der - t->used - t->part) return;
    memcpy(t->der + t->used + t->part, data, len);
    t->part += len;
}

/* Decodes a piece of PEM text and calls `use` for each complete object. */
static void stws_p_pem_text(stws_p_bear *t, const char *text, size_t len, stws_p_pem_use use) {
    while (len > 0) {
        /* BearSSL accepts only LF as line end */
        const char *cr = (const char *)memchr(text, '\r', len);
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

/* Calls `use` for each object of a text, or of a file if there is no text. Returns the number
   of certificates; 0 if the file cannot be read to its end. */
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
    stws_p_pem_text(t, "\n", 1, use); /* BearSSL needs a line end to see the last line */
    stws_p_wipe(text, sizeof text);   /* the text may have been a private key */
    stws_p_close_fd(&fd);
    if (n < 0) t->found = 0;
    return t->found;
}

/* Splits and counts a PEM object if it is a certificate. Returns 1, or 0 for another object. */
static int stws_p_pem_certificate(stws_p_bear *t, const char *name, stws_p_der der,
                                  stws_p_der parts[STWS_P_PARTS]) {
    int named = strcmp(name, "CERTIFICATE") == 0 || strcmp(name, "X509 CERTIFICATE") == 0;
    if (!named || !stws_p_der_certificate(der, parts)) return 0;
    t->found++;
    return 1;
}

static void stws_p_bear_start_chain(const br_x509_class **ctx, const char *name) {
    (void)ctx, (void)name;
}

/* A certificate of the server's chain begins. It is stored behind the last one. */
static void stws_p_bear_start_cert(const br_x509_class **ctx, uint32_t len) {
    stws_p_bear *t = (stws_p_bear *)ctx;
    t->overflow |= len > sizeof t->der - t->used || t->chain_count == STWS_P_CHAIN;
    if (t->overflow) return;
    t->chain[t->chain_count].data = t->der + t->used;
    t->chain[t->chain_count++].len = len;
}

static void stws_p_bear_append(const br_x509_class **ctx, const unsigned char *data, size_t len) {
    stws_p_bear *t = (stws_p_bear *)ctx;
    if (t->overflow) return;
    memcpy(t->der + t->used, data, len);
    t->used += len;
}

static void stws_p_bear_end_cert(const br_x509_class **ctx) { (void)ctx; }

/* Returns 1 if a certificate of the chain has this name as its issuer or subject. */
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

/* Keeps a certificate of the bundle as an anchor if the chain names it. This only saves memory:
   BearSSL decides what is trusted. */
static void stws_p_bear_use_anchor(stws_p_bear *t, const char *name, stws_p_der der) {
    br_x509_decoder_context *decoder = &t->decoders[t->anchor_count];
    br_x509_trust_anchor *anchor = &t->anchors[t->anchor_count];
    stws_p_der parts[STWS_P_PARTS], *subject = &parts[STWS_P_SUBJECT];
    if (!stws_p_pem_certificate(t, name, der, parts) || !stws_p_bear_is_named(t, *subject)) return;
    /* an earlier reading tried it, or a later one will */
    if (t->seen++ < t->tried || t->anchor_count == STWS_P_ANCHORS) return;
    t->tried = t->seen;
    br_x509_decoder_init(decoder, NULL, NULL);
    br_x509_decoder_push(decoder, der.data, der.len);
    if (!br_x509_decoder_get_pkey(decoder)) return; /* BearSSL does not support this kind of key */
    anchor->dn = *subject;
    anchor->flags = br_x509_decoder_isCA(decoder) ? BR_X509_TA_CA : 0;
    anchor->pkey = *br_x509_decoder_get_pkey(decoder);
    t->anchor_count++;
    t->used += der.len;
}

/* Keeps the hash of the server's key, for tls_pin. */
static void stws_p_bear_note_key(stws_p_bear *t, stws_p_der key) {
    br_sha256_context sha256;
    br_sha256_init(&sha256);
    br_sha256_update(&sha256, key.data, key.len);
    br_sha256_out(&sha256, t->key_hash);
    t->has_key_hash = 1;
}

/* Returns 0 if an anchor signed the chain and the first certificate has our server's name; else
   BearSSL's error. `rest` holds that certificate's extensions. */
static unsigned stws_p_bear_check_chain(stws_p_bear *t, stws_p_der rest) {
    const br_x509_class **x = &t->minimal.vtable;
    unsigned error;
    size_t i;
    br_x509_minimal_init_full(&t->minimal, t->anchors, t->anchor_count);
    br_x509_minimal_set_hash(&t->minimal, br_sha1_ID, NULL); /* SHA-1 is broken: do not accept it */
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

/* Sets the sentence. Returns BearSSL's error for an untrusted chain. */
static unsigned stws_p_bear_fail_untrusted(stws_p_bear *t, const char *why) {
    snprintf(t->why, sizeof t->why, "%s", why);
    return BR_ERR_X509_NOT_TRUSTED;
}

/* Reads a directory of PEM files. Returns the number of certificates. Files whose names begin
   with a dot are skipped. */
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

/* Returns a variable of the environment. Returns NULL if it is not set or empty, and in a
   setuid program: the caller, who has fewer rights, controls the environment. */
static const char *stws_p_bear_environment(const char *name) {
    const char *value = getuid() == geteuid() && getgid() == getegid() ? getenv(name) : NULL;
    return value && *value ? value : NULL;
}

/* Reads the CAs and keeps those that the chain names. The options come first, then
   SSL_CERT_FILE and SSL_CERT_DIR, then the system's bundle. Returns how many certificates it
   read. */
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
    /* Neither options nor environment name a CA: use the first system bundle that has any. */
    for (i = 0; !own && !file && !found && i < sizeof bundles / sizeof *bundles; i++)
        found = stws_p_pem_read(t, NULL, bundles[i], stws_p_bear_use_anchor);
    return found;
}

/* Handles a chain that no trusted CA has signed. If the server sent a single certificate of an
   unknown issuer, its intermediate certificate may be missing. */
static unsigned stws_p_bear_fail_unknown_ca(stws_p_bear *t, const stws_p_der parts[STWS_P_PARTS]) {
    stws_p_der subject = parts[STWS_P_SUBJECT];
    if (t->seen || t->chain_count > 1 ||
        stws_p_der_equal(parts[STWS_P_ISSUER], subject.data, subject.len))
        return BR_ERR_X509_NOT_TRUSTED;
    return stws_p_bear_fail_untrusted(
        t, "the CA of the server's certificate is not known here: the server did not send its "
           "intermediate certificate, or else see tls_ca_file");
}

/* Checks the complete chain. Called by BearSSL. Returns 0, or BearSSL's error. */
static unsigned stws_p_bear_end_chain(const br_x509_class **ctx) {
    stws_p_bear *t = (stws_p_bear *)ctx;
    stws_p_der parts[STWS_P_PARTS], other[STWS_P_PARTS];
    size_t i, chain_end = t->used;
    unsigned error;
    if (t->overflow)
        return stws_p_bear_fail_untrusted(t,
                                          "the server's chain has over 8 certificates or 32 KiB");
    if (!t->chain_count || !stws_p_der_certificate(t->chain[0], parts))
        return BR_ERR_X509_EMPTY_CHAIN;
    stws_p_bear_note_key(t, parts[STWS_P_KEY]);
    /* Without verification, only the server's key is needed. */
    if (t->options->tls_insecure_no_verify) {
        br_x509_decoder_init(t->decoders, NULL, NULL);
        br_x509_decoder_push(t->decoders, t->chain[0].data, t->chain[0].len);
        return br_x509_decoder_get_pkey(t->decoders) ? 0 : BR_ERR_X509_WRONG_KEY_TYPE;
    }
    for (i = 0; i < t->chain_count; i++)
        if (!stws_p_der_certificate(t->chain[i], other) ||
            !stws_p_der_is_for_servers(other[STWS_P_REST]))
            return stws_p_bear_fail_untrusted(t,
                                              "a certificate of the server's chain is not for TLS "
                                              "servers: its extendedKeyUsage lacks serverAuth");
    do { /* repeat while the chain names more anchors than fit at a time */
        t->anchor_count = t->seen = 0;
        t->used = chain_end;
        if (!stws_p_bear_read_anchors(t))
            return stws_p_bear_fail_untrusted(
                t, "there is no CA to trust: tls_ca_file, tls_ca_pem, SSL_CERT_FILE, SSL_CERT_DIR "
                   "or the system's bundle cannot be read, or has no certificate in PEM");
        error = stws_p_bear_check_chain(t, parts[STWS_P_REST]);
    } while (error == BR_ERR_X509_NOT_TRUSTED && t->seen > t->tried);
    return error == BR_ERR_X509_NOT_TRUSTED ? stws_p_bear_fail_unknown_ca(t, parts) : error;
}

/* ==== >>bearssl: TLS 1.2 by BearSSL ====

   The functions of the table stws_tls, by BearSSL; stws_bearssl returns the table. Only >>tls
   calls them, in the driving thread. One struct, stws_p_bear, holds the whole state of a
   client.

   Each connection begins with stws_p_bear_begin. It resets everything except two values of the
   last handshake: the session, which may be resumed, and the hash of the server's key. After an
   error `why` has the sentence, and `final` is 1 if another attempt would fail in the same
   way. */

static const br_x509_pkey *stws_p_bear_get_pkey(const br_x509_class *const *ctx, unsigned *usages) {
    const stws_p_bear *t = (const stws_p_bear *)ctx;
    if (!t->options->tls_insecure_no_verify)
        return t->minimal.vtable->get_pkey(&t->minimal.vtable, usages);
    if (usages) *usages = BR_KEYTYPE_KEYX | BR_KEYTYPE_SIGN;
    return &t->decoders[0].pkey;
}

/* Reports an error in our own options or system, which another attempt will not change. */
static int stws_p_bear_fail(stws_p_bear *t, const char *why, const char *file) {
    snprintf(t->why, sizeof t->why, "%s: %.200s", why, file);
    t->final = 1;
    return STWS_ERR_TLS;
}

/* The number of a TLS alert from the server is added to this error of BearSSL. */
enum { STWS_P_ALERT = BR_ERR_RECV_FATAL_ALERT };

/* Explains an error of BearSSL. Returns NULL for an error that another attempt may not meet. */
static const char *stws_p_bear_meaning(int error, int in_session) {
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
        {STWS_P_ALERT + BR_ALERT_HANDSHAKE_FAILURE,
         "the server shares no cipher with us (offered: ECDHE with AES-GCM or ChaCha20, "
         "certificates of RSA or EC, not Ed25519), or wants a client certificate (tls_cert_file)"},
        {STWS_P_ALERT + BR_ALERT_PROTOCOL_VERSION,
         "this server speaks only TLS 1.3 (or older ones), BearSSL ends at 1.2: options.tls = "
         "stws_openssl() has 1.3"},
        {0, NULL}};
    const char *meaning = stws_p_meaning_of(error, meanings);
    if (in_session && error == STWS_P_ALERT + BR_ALERT_HANDSHAKE_FAILURE)
        return "the server wants another handshake within the session (renegotiation, perhaps for "
               "a client certificate), which is not supported: let it ask for the certificate at "
               "the first handshake";
    return meaning || error < STWS_P_ALERT ? meaning : stws_tls_alert_text(error - STWS_P_ALERT);
}

/* Handles the end of the engine. Returns the error, with its sentence in t->why. An error with
   an explanation of its own is final. */
static int stws_p_bear_ended(stws_p_bear *t) {
    int error = br_ssl_engine_last_error(&t->client.eng),
        trust = error >= BR_ERR_X509_OK && error < STWS_P_ALERT;
    const char *meaning = stws_p_bear_meaning(error, t->has_session);
    if (error == BR_ERR_OK) return STWS_ERR_EOF;
    t->final = meaning != NULL;
    if (!*t->why)
        snprintf(t->why, sizeof t->why, "%s (%s, %s %d)",
                 stws_p_or(meaning, trust ? "the server's certificate is not valid" : "TLS failed"),
                 t->host, error < STWS_P_ALERT ? "BearSSL error" : "TLS alert",
                 error % STWS_P_ALERT);
    return trust ? (int)STWS_ERR_TLS_TRUST : (int)STWS_ERR_TLS;
}

/* Adds a certificate to the client's own chain. */
static void stws_p_bear_use_own(stws_p_bear *t, const char *name, stws_p_der der) {
    stws_p_der parts[STWS_P_PARTS];
    if (t->own_count == STWS_P_CHAIN || !stws_p_pem_certificate(t, name, der, parts)) return;
    t->own[t->own_count].data = der.data;
    t->own[t->own_count++].data_len = der.len;
    t->used += der.len;
}

/* Decodes the client's private key. Encrypted keys are not supported. */
static void stws_p_bear_use_key(stws_p_bear *t, const char *name, stws_p_der der) {
    if (!strstr(name, "PRIVATE KEY") || strstr(name, "ENCRYPTED")) return;
    br_skey_decoder_init(&t->key);
    br_skey_decoder_push(&t->key, der.data, der.len);
}

/* Reads the client's certificate and key, anew for each handshake. Returns STWS_DONE or an
   error. */
static int stws_p_bear_identify(stws_p_bear *t) {
    const char *file = t->options->tls_cert_file,
               *key_file = stws_p_or(t->options->tls_key_file, file);
    if (!file) return STWS_DONE;
    if (!stws_p_pem_read(t, NULL, file, stws_p_bear_use_own))
        return stws_p_bear_fail(t, "tls_cert_file cannot be read, or has no certificate in PEM",
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
        return stws_p_bear_fail(
            t, "tls_key_file cannot be read, or has no RSA or EC key without password", key_file);
    return STWS_DONE;
}

/* Prepares the engine for a handshake. Of the last handshake, the session and the hash of the
   server's key stay. */
static int stws_p_bear_begin(void *tls, const stws_tls_start *start) {
    /* Only ECDHE: four suites with AES-GCM, two with ChaCha20. Without AES-NI, ChaCha20 comes
       first. */
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
    /* Renegotiation is refused, and only TLS 1.2 is allowed. */
    br_ssl_engine_add_flags(e, BR_OPT_NO_RENEGOTIATION);
    br_ssl_engine_set_x509(e, &t->verifier);
    br_ssl_engine_set_buffer(e, t->buffer, sizeof t->buffer, 1);
    memset(seed, 0, sizeof seed);
    if (stws_p_random_from(start->random, seed, sizeof seed) != 0)
        return stws_p_bear_fail(t, "the system provides no random numbers", t->host);
    br_ssl_engine_inject_entropy(e, seed, sizeof seed);
    result = stws_p_bear_identify(t);
    if (result != STWS_DONE) return result;
    if (resume) br_ssl_engine_set_session_parameters(e, &t->session);
    else t->has_key_hash = 0;
    /* SNI has no numeric addresses (RFC 6066, section 3) */
    if (br_ssl_client_reset(&t->client, t->ip_len ? NULL : t->host, resume)) return STWS_DONE;
    return stws_p_bear_ended(t);
}

/* Returns the engine's state as bits of STWS_TLS_*, or an error once it has closed. */
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

/* Takes decrypted data out of the engine. Returns the number of bytes. */
static size_t stws_p_bear_read(void *tls, char *buf, size_t len) {
    size_t n;
    const unsigned char *from = br_ssl_engine_recvapp_buf(stws_p_bear_engine(tls), &n);
    if (n > len) n = len;
    memcpy(buf, from, n);
    br_ssl_engine_recvapp_ack(stws_p_bear_engine(tls), n);
    return n;
}

/* Gives data to the engine, which encrypts them into one record at once. Returns the number of
   bytes taken. */
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

#endif /* STOMP_WS_BEARSSL */

/* ==== >>message.c: messages that outlive the receive buffer ====

   The message of an event points into the receive buffer, and ends with the next driving call.
   A copy lives until it is freed. It is one block: the struct, its headers, its texts and its
   body, so one free releases it. The copy's pointers point into its own headers.

   stws_message_copy allocates the block for the user. The queue and the events that wait for
   stws_next have memory of their own, and use stws_p_message_write. These functions use no
   client, so they need no lock. */

/* Returns the bytes that a copy of a message needs. */
static size_t stws_p_message_size(const stws_message *m) {
    return stws_p_align(sizeof *m + stws_p_frame_copy_size(&m->frame));
}

/* Returns the copy's string for a value that the original took from its headers; NULL for any
   other value. */
static const char *stws_p_copied_value(const stws_message *from, const stws_header *headers,
                                       const char *value) {
    size_t i;
    for (i = 0; value && i < from->frame.header_count; i++)
        if (from->frame.headers[i].value == value) return headers[i].value;
    return NULL;
}

/* Writes a copy of a message with its headers and body into a block of stws_p_message_size
   bytes. */
static stws_message *stws_p_message_write(void *block, const stws_message *m) {
    stws_message *copy = (stws_message *)block;
    const stws_header *headers;
    *copy = *m;
    stws_p_copy_frame(&copy->frame, copy + 1);
    headers = copy->frame.headers;
    copy->body = copy->frame.body;
    copy->destination = stws_p_copied_value(m, headers, m->destination);
    copy->message_id = stws_p_copied_value(m, headers, m->message_id);
    copy->subscription = stws_p_copied_value(m, headers, m->subscription);
    copy->content_type = stws_p_copied_value(m, headers, m->content_type);
    copy->ack = stws_p_copied_value(m, headers, m->ack);
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

/* ==== >>queue.c: messages of many clients wait for a thread that pops them ====

   A queue is a ring of messages. Each message lies in one block of the ring:

       put --> waiting --pop--> popped --acknowledged--> given back --> its place is free
               (untaken)           |                         ^
                                   +-- needs no ACK ---------+

   A place becomes free only after all places before it (>>pop). A client that finds no room
   enters the list of waiters. Giving a message back wakes these clients, and they try again.

   The driving threads of clients put messages; any thread pops them. The queue has its own
   lock. A thread that has a client's lock may take the queue's lock, but never the reverse: the
   ACK of a popped message is sent without the queue's lock.

   A client counts as a feeder from its creation to its end. When the last feeder has ended and
   the queue is empty, the queue has ended, too. */

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
    /* after fork() they may look as if threads waited, which do not exist in the child */
    if (q->pid == (long)getpid()) {
        pthread_cond_destroy(&q->filled);
        pthread_mutex_destroy(q->mutex);
    }
#endif
    stws_p_wipe(q->ring.data, q->ring.used); /* messages may contain secrets */
    STOMP_WS_FREE(q);
}

STOMP_WS_API void stws_queue_close(stws_queue *q) {
    if (!q) return;
    STWS_P_LOCK(q);
    q->closed = 1;
    STWS_P_WITH_THREADS(pthread_cond_broadcast(&q->filled);)
    STWS_P_UNLOCK(q);
}

/* Returns the entry at an offset of the ring. */
static stws_p_queued *stws_p_queued_at(const stws_queue *q, size_t offset) {
    return (stws_p_queued *)stws_p_ring_at(&q->ring, offset);
}

/* Returns the popped entry behind `entry`, or the first one if that is NULL; NULL at the end.
   Entries that were given back may be among them. */
static stws_p_queued *stws_p_queued_popped_locked(const stws_queue *q, const stws_p_queued *entry) {
    const stws_p_ring *r = &q->ring;
    stws_p_queued *next = (stws_p_queued *)stws_p_ring_next(r, entry);
    return r->untaken && next == stws_p_queued_at(q, r->next) ? NULL : next;
}

/* Counts the clients that feed the queue: `more` is 1 for a new client, -1 for one that has
   ended, 0 for one that could not be created. When the last client has ended, waiting readers
   are woken, because no message will come. */
static void stws_p_queue_count_feeder(stws_queue *q, int more) {
    STWS_P_LOCK(q);
    q->fed = 1;
    q->feeders += more;
    STOMP_WS_ASSERT(q->feeders >= 0);
    STWS_P_WITH_THREADS(if (!q->feeders) pthread_cond_broadcast(&q->filled);)
    STWS_P_UNLOCK(q);
}

/* Returns 1 if no more messages will come. The queue's lock is held. */
static int stws_p_queue_has_ended(const stws_queue *q) {
    return q->closed || (q->fed && !q->feeders);
}

/* Adds a copy of a message. Returns 1; 0 if the queue is full or closed, and then `waiter` is
   woken once there is room; STWS_ERR_LIMIT if the message can never fit. The client's driving
   thread calls it. */
static int stws_p_queue_put(stws_queue *q, const stws_message *m, stws_p_waiter *waiter) {
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
/* Returns 1 if a thread is just acknowledging a message of this client. */
static int stws_p_queue_is_acknowledging_locked(stws_queue *q, const stws *client) {
    const stws_p_queued *entry = stws_p_queued_popped_locked(q, NULL);
    while (entry && !(entry->settling && entry->message->client == client))
        entry = stws_p_queued_popped_locked(q, entry);
    return entry != NULL;
}
#endif

/* Removes a client that is being destroyed. Waits until no thread acknowledges one of its
   messages. Then takes the client off the waiters, and marks its messages so that no thread
   uses the client for them any more. The messages themselves stay in the queue. */
static void stws_p_queue_forget(stws_queue *q, const stws *client, stws_p_waiter *waiter) {
    stws_p_waiter **at;
    stws_p_queued *entry = NULL;
    STWS_P_LOCK(q);
    STWS_P_WITH_THREADS(while (stws_p_queue_is_acknowledging_locked(q, client))
                            stws_p_cond_wait(&q->filled, q->mutex, -1);)
    /* The client is no longer woken for room. */
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

/* Returns 1 if a user has a message of this client's session that the library has to
   acknowledge when it is given back. */
static int stws_p_queue_has_unacknowledged(stws_queue *q, const stws *client, unsigned epoch) {
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

/* Writes one byte into a wake pipe. If the pipe is full, the wake-up has happened already.
   Async-signal-safe. */
static void stws_p_write_wake_byte(int fd) {
    int saved = errno;
    while (fd >= 0 && write(fd, "", 1) < 0 && errno == EINTR) continue;
    errno = saved;
}

/* ==== >>state_machine: the states of a client and the edges between them ====

   stws_p_enter_state is the only function that changes the state, and only the thread that
   drives calls it. It asserts that the edge is in the diagram. Other threads read the state
   atomically.

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

/* Returns 1 if the diagram has this edge. */

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
static void stws_p_enter_state(stws *c, stws_connection_state state, long long deadline_us) {
    STOMP_WS_ASSERT(stws_p_is_edge(c->state, (int)state));
    STWS_P_STORE(&c->state, (int)state);
    c->deadline_us = deadline_us;
}

/* ==== >>driver: refused calls, and which thread drives ====

   A client has one holder at most: the thread that drives it, or for a moment a thread that
   flushes or writes. c->driver has the thread and its role:

                    +--> driver ----+    drives until its call returns
       free --take--+--> flusher ---+--release--> free
                    +--> writer ----+    flusher and writer make way for a thread that wants to
                                         drive

   Taking is one atomic compare-and-swap, without the lock. A second thread that wants to drive
   gets STWS_ERR_STATE if another thread drives; it waits if another thread flushes or writes.
   With options.single_thread there is no holder: c->calling alone tells that a callback runs,
   which may not drive. stws_start stores STWS_P_COMING as holder until its thread begins.

   No wake-up is lost: a thread counts itself in c->watchers, under the lock, before it looks at
   c->driver; a holder changes c->driver before it looks at c->watchers.

   Two fields outlive a driving call. c->last_driver is the thread that drove last. c->lent is
   what that thread may still use, for example the views of an event of stws_next.

   This section also keeps, for each thread, why its last call was refused. */

/* Why the last call of this thread was refused, for stws_error_text. Each thread has its own,
   because a refused call must not change the error of the client. */
static STWS_P_THREAD_LOCAL struct stws_p_refusal {
    const stws *client;
    const char *why;
} stws_p_refusal;

/* Remembers why this thread's call is refused. Returns `error`. */
STWS_P_NOINLINE static int stws_p_refuse(const stws *c, int error, const char *why) {
    stws_p_refusal.client = c;
    stws_p_refusal.why = why;
    return error;
}

/* Returns the error of a client that cannot be used: NULL, or broken since stws_create. Returns
   0 for a good client. */
static int stws_p_unusable(const stws *c) {
    return !c ? (int)STWS_ERR_MEMORY : c->broken ? c->error : 0;
}

/* Wakes all threads that wait for a change of the client. The lock is held. */
static void stws_p_signal(stws *c) {
    STOMP_WS_ASSERT(stws_p_has_lock(c));
    (void)c;
    STWS_P_WITH_THREADS(if (c->threads) pthread_cond_broadcast(c->changed);)
}

#ifndef STOMP_WS_NO_THREADS
/* Waits for stws_p_signal, or for ms milliseconds (-1: no limit). Other threads may take the
   lock meanwhile. */
static void stws_p_await_change_locked(stws *c, int ms) {
    STOMP_WS_ASSERT(stws_p_has_lock(c));
    if (STWS_P_ASSERTS) STWS_P_STORE(&c->lock_owner, 0);
    stws_p_cond_wait(c->changed, c->mutex, ms);
    if (STWS_P_ASSERTS) STWS_P_STORE(&c->lock_owner, stws_p_thread_id());
}
#endif

/* Returns 1 if this thread holds the client, which is so in a callback. With
   options.single_thread it always returns 1. */
static int stws_p_holds_client(const stws *c) {
    return !c->threads ||
           (STWS_P_LOAD(&c->driver) & ~(uintptr_t)STWS_P_HOLDS) == stws_p_thread_id();
}

/* Returns 1 if another thread drove last. */
static int stws_p_another_drove_last(const stws *c) {
    uintptr_t last = STWS_P_LOAD(&c->last_driver);
    return c->threads && last && last != stws_p_thread_id();
}

/* Returns 1 if this thread may wait for another one to drive: only if another one drives, or
   drove last. Otherwise it might wait for ever. */
static int stws_p_may_wait(const stws *c) {
    return !stws_p_holds_client(c) && stws_p_another_drove_last(c);
}

/* Takes the client if no thread holds it. `hold` is STWS_P_DRIVER, _FLUSHER or _WRITER. Returns
   1, or 0 if it is taken. */
static int stws_p_try_take(stws *c, int hold) {
    uintptr_t nobody = 0;
    return !c->threads || STWS_P_TAKE(&c->driver, &nobody, stws_p_thread_id() + (uintptr_t)hold);
}

/* Returns 1 if a flusher holds the client and another thread waits to drive it. */
static int stws_p_flusher_must_yield(const stws *c) {
    return (STWS_P_LOAD(&c->driver) & STWS_P_HOLDS) == STWS_P_FLUSHER && STWS_P_LOAD(&c->wanted);
}

/* Lets go of the client and wakes the threads that wait for it. The lock is not held. The swap
   comes before the look at `watchers`, and a waiting thread counts itself before it looks at
   `driver`: so no wake-up is lost. */
static void stws_p_release_driver(stws *c) {
    if (!c->threads) return;
    STWS_P_SWAP(&c->driver, 0);
    if (!STWS_P_LOAD(&c->watchers)) return;
    stws_p_lock(c);
    stws_p_signal(c);
    stws_p_unlock(c);
}

/* Changes the number of waiting threads. A thread counts itself before it looks at `driver`, so
   that it cannot miss the wake-up. The lock is held. */
static void stws_p_count_watcher(stws *c, int more) {
    STOMP_WS_ASSERT(stws_p_has_lock(c));
    STWS_P_SWAP(&c->watchers, c->watchers + more);
}

/* Waits until no thread holds the client, and takes it to drive. Flushers and writers are
   waited for; a driver is not. Returns 1, or 0 if another thread drives. */
static int stws_p_take_from_others(stws *c) {
#ifdef STOMP_WS_NO_THREADS
    return (void)c, 0;
#else
    int taken, driven = 0;
    stws_p_lock(c);
    STWS_P_STORE(&c->wanted, c->wanted + 1);
    stws_p_count_watcher(c, 1);
    for (;;) {
        uintptr_t holder;
        taken = stws_p_try_take(c, STWS_P_DRIVER);
        holder = STWS_P_LOAD(&c->driver);
        /* A driver keeps the client for long, so do not wait for it. */
        driven = !taken && holder && !(holder & STWS_P_HOLDS);
        if (taken || driven) break;
        /* A flusher sleeps in poll(): wake it so that it makes way. */
        if (holder && c->waiting) stws_p_write_wake_byte(c->wake[1]);
        if (holder) stws_p_await_change_locked(c, -1);
    }
    STWS_P_STORE(&c->wanted, c->wanted - 1);
    stws_p_count_watcher(c, -1);
    stws_p_unlock(c);
    return taken;
#endif
}

/* The slow part of stws_p_take: waits for the client, or returns STWS_ERR_STATE with its
   sentence. Inside of stws_p_take it would cost each stws_next 28 instructions. */
STWS_P_NOINLINE static int stws_p_take_later(stws *c) {
    if (c->threads ? stws_p_holds_client(c) : c->calling)
        return stws_p_refuse(c, STWS_ERR_STATE,
                             "a callback may not drive the client that called it");
    if (!stws_p_take_from_others(c))
        return stws_p_refuse(c, STWS_ERR_STATE, "another thread drives this client already");
    return STWS_OK;
}

/* Takes the client to drive it or to read it. stws_p_release_driver ends this. Returns
   STWS_OK, or an error with its sentence. */
static int stws_p_take(stws *c) {
    if (!c || c->broken) return stws_p_unusable(c);
    if (c->threads ? !stws_p_try_take(c, STWS_P_DRIVER) : c->calling) return stws_p_take_later(c);
    return STWS_OK;
}

/* Makes this thread, which holds the client, the driving thread. The last event of stws_next
   becomes invalid, and a wait of the user's loop has ended. */
static void stws_p_begin_driving(stws *c) {
    if (c->threads) STWS_P_STORE(&c->last_driver, stws_p_thread_id());
    STWS_P_STORE(&c->lent, STWS_P_NOTHING);
}

/* Takes the client and begins to drive it. Returns the same as stws_p_take. */
static int stws_p_take_to_drive(stws *c) {
    int result = stws_p_take(c);
    if (result == STWS_OK) stws_p_begin_driving(c);
    return result;
}

/* Returns 1 if another thread may still read an event of stws_next, whose views must stay
   valid. Only the thread that holds the client gets a reliable answer. */
static int stws_p_event_in_use_elsewhere(const stws *c) {
    return (STWS_P_LOAD(&c->lent) & STWS_P_EVENT) && stws_p_another_drove_last(c);
}

/* Fills `out` with random bytes for a caller that does not hold the lock: it takes the lock,
   because the user's function `fill` is never called twice at the same time. TLS gets this
   function as its source. Returns 0, or another number on failure. */
static int stws_p_client_random(void *client, void *out, size_t len) {
    stws *c = (stws *)client;
    int result;
    stws_p_lock(c);
    result = stws_p_random_from(&c->s.random, out, len);
    stws_p_unlock(c);
    return result;
}

/* ==== >>error_text: error sentences, without secrets and control characters ====

   c->text is the sentence of the last error, c->error its code. stws_p_fail sets both. The
   section >>lost adds to the sentence, for example when the next attempt begins. The sentences
   stand where an error is found, and in the sections >>refusals and >>errors.

   A sentence may quote the peer. So stws_p_fail makes each sentence harmless: from the upgrade
   on it hides the query, user and password of the URL in use, and it always replaces characters
   that control a terminal.

   The thread that holds the client calls stws_p_fail, without the lock. Other threads see
   c->text only once the client has ended (see stws_error_text). */

/* Makes the words of a peer safe for a terminal. Replaces by '.' each character that controls
   the terminal, changes the direction of text or is invisible, and each byte that is not valid
   UTF-8. */
static void stws_p_make_printable(char *text) {
    /* ranges of characters, each the UTF-8 bytes as one number; that keeps their order */
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
        if (!len || state) bytes = 0; /* invalid UTF-8: handled like the byte 0 */
        while (bytes < harmful[row][0] || bytes > harmful[row][1]) row++;
        if (harmful[row][1] < UINT32_MAX) *text++ = '.';
        else memmove(text, from, len), text += len;
    }
    *text = 0;
}

/* Replaces each occurrence of a secret by "***". Strings of up to three bytes are not treated
   as secrets. */
static void stws_p_hide_secret(char *text, const char *secret, size_t len) {
    for (; len > 3 && *text; text++) {
        if (strncmp(text, secret, len) != 0) continue;
        memcpy(text, "***", 3);
        memmove(text + 3, text + len, strlen(text + len) + 1);
    }
}

/* Reports an error: sets the client's code and its sentence. Secrets of our URL are hidden,
   because a peer may repeat the URL in its words; then unsafe characters are replaced. The
   driving thread calls it. */
STWS_P_PRINTF(3, 4)

static void stws_p_fail(stws *c, int error, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(c->text, c->text_size, format, arguments);
    va_end(arguments);
    /* the peer's words may repeat our URL */
    if (c->state >= STWS_UPGRADING && c->state <= STWS_CLOSING) {
        const char *query = c->url.target + strcspn(c->url.target, "?");
        stws_p_hide_secret(c->text, query, strlen(query));
        stws_p_hide_secret(c->text, c->url.user_info, c->url.user_info_len);
    }
    stws_p_make_printable(c->text);
    STWS_P_STORE(&c->error, error);
    /* this error is newer than the refused call */
    if (stws_p_refusal.client == c) stws_p_refusal.client = NULL;
}
#ifdef STOMP_WS_NO_TEXTS /* the compiler removes the code that only builds longer sentences */
#define STWS_P_HAS_TEXTS 0
#define stws_p_fail(c, error, ...)                                                                 \
    (0 ? stws_p_fail(c, error, __VA_ARGS__) : stws_p_fail(c, error, "%s", stws_result_text(error)))
#else
#define STWS_P_HAS_TEXTS 1
#endif

/* Copies the first line of what a peer sent, for an error sentence: at most cap - 1 bytes.
   Returns `out`. */
static const char *stws_p_quote(char *out, size_t cap, const char *data, size_t len) {
    size_t i, n = 0;
    for (i = 0; i < len && n + 1 < cap && data[i] != '\n' && data[i]; i++)
        if (data[i] != '\r') out[n++] = data[i];
    out[n] = 0;
    return out;
}

/* ==== >>memory: everything of a client in one block ====

   A client is one block of memory: the struct stws, copies of the options' strings, tables and
   buffers. stws_p_layout (>>create) calls the functions stws_p_carve_* twice with the same
   options. First it only measures; then it divides a block of that size. Both passes have to
   carve the same parts in the same order, so no carve may depend on whether there is a block.
   Nothing is given back until the client is destroyed.

   Only three things lie outside of the block, on the heap of options.allocator: a larger input
   buffer, a larger output buffer, and the events that wait for stws_next. The functions at the
   end of this section release them. */

/* Hands out parts of one block of `size` bytes. Without a block (base is NULL) it only adds up
   the sizes; if the sum overflows, it stays SIZE_MAX. Both passes get the same options, so both
   reach the same sum. */
typedef struct stws_p_arena {
    char *base;
    size_t size, used;
} stws_p_arena;

/* Hands out count * each bytes, aligned. Returns NULL while only counting. */
static void *stws_p_carve(stws_p_arena *a, size_t count, size_t each) {
    size_t room = SIZE_MAX - 15 - a->used, begin = a->used;
    int fits = a->used != SIZE_MAX && (!each || count <= room / each);
    a->used = fits ? begin + stws_p_align(count * each) : SIZE_MAX;
    if (!a->base) return NULL;
    STOMP_WS_ASSERT(a->used <= a->size);
    return a->base + begin;
}

/* Hands out count * each bytes, and stores their address in the client's pointer at the offset
   `field`. The client lies at the beginning of the block. */
static void stws_p_carve_field(stws_p_arena *a, size_t field, size_t count, size_t each) {
    void *part = stws_p_carve(a, count, each);
    if (a->base) memcpy(a->base + field, &part, sizeof part);
}

/* Copies a string into the block. Returns the copy; NULL for NULL and while only counting. */
static const char *stws_p_carve_string(stws_p_arena *a, const char *s) {
    char *copy = s ? (char *)stws_p_carve(a, strlen(s) + 1, 1) : NULL;
    if (copy) memcpy(copy, s, strlen(s) + 1);
    return copy;
}

/* Copies a list of strings that ends with NULL, with its strings. */
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

/* Copies all strings and lists of the options into the block, so that the user may free
   them. */
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

/* Returns n, limited to the range from low to high. */
static size_t stws_p_within(size_t n, size_t low, size_t high) {
    return n < low ? low : n > high ? high : n;
}

/* Hands out the smaller buffers. Buffers that only save time shrink with options.tx_buffer; the
   error sentence shrinks with options.rx_buffer. */
static void stws_p_carve_scratch(stws_p_arena *a, stws *c, const stws_options *o) {
    size_t send_head = stws_p_within(o->tx_buffer / 4, 64, STWS_P_MAX_SEND_HEAD);
    size_t pool = stws_p_within(o->tx_buffer / 64 & ~(size_t)3, 16, STWS_P_POOL);
    size_t text = stws_p_within(o->rx_buffer / 4, STWS_P_MIN_TEXT, STWS_P_TEXT);
    size_t head = stws_p_within(o->rx_buffer / 16, 16, STWS_P_MAX_ANSWER_HEAD);
    size_t jar = o->keep_cookies ? STWS_P_JAR + STWS_P_JAR + stws_p_strlen(o->cookie) + 3 : 0;
    size_t moved = o->follow_redirects ? STWS_P_MOVED : 0;
    size_t size = text + text / 2 + send_head + pool + (o->stable_id ? STWS_P_STABLE_ID : 0) +
                  head + jar + moved;
    char *at = (char *)stws_p_carve(a, size, 1);
    if (!c) return;
    memset(at, 0, size);
    c->text = at;
    c->where = c->s.peer_close_reason = at + text;
    c->s.send_head = at + text + text / 2;
    c->s.pool = (unsigned char *)(c->s.send_head + send_head);
    c->s.stable_id = c->s.send_head + send_head + pool;
    c->head = c->s.stable_id + (o->stable_id ? STWS_P_STABLE_ID : 0);
    c->jar = c->head + head;
    c->moved = c->jar + jar;
    c->head_size = head;
    c->text_size = text;
    c->s.send_head_cap = send_head;
    c->s.pool_size = pool;
}

/* Hands out what only a client with threads needs. */
static void stws_p_carve_shared(stws_p_arena *a, stws *c) {
    stws_p_carve_field(a, offsetof(stws, shared_stats), 1, sizeof(stws_statistics));
    STWS_P_WITH_THREADS(stws_p_carve_field(a, offsetof(stws, mutex), 1, sizeof(pthread_mutex_t));)
    STWS_P_WITH_THREADS(stws_p_carve_field(a, offsetof(stws, changed), 1, sizeof(pthread_cond_t));)
    if (c) memset(c->shared_stats, 0, sizeof *c->shared_stats);
}

/* Hands out the tables: headers, subscriptions and receipts. */
static void stws_p_carve_tables(stws_p_arena *a, stws_p_session *s, const stws_options *o) {
    size_t subs = (size_t)o->max_subscriptions, headers = o->max_headers;
    stws_p_carve_field(a, offsetof(stws, s.parser.headers), headers, sizeof(stws_header));
    stws_p_carve_field(a, offsetof(stws, s.build_headers), headers, sizeof(stws_header));
    stws_p_carve_field(a, offsetof(stws, s.trace_headers), o->on_trace ? headers : 0,
                       sizeof(stws_header));
    stws_p_carve_field(a, offsetof(stws, s.subs.slots), subs, sizeof(stws_p_sub));
    stws_p_carve_field(a, offsetof(stws, s.subs.texts), subs, o->subscription_bytes);
    stws_p_carve_field(a, offsetof(stws, s.receipts), (size_t)o->max_receipts,
                       sizeof(stws_p_receipt));
    if (!s) return;
    s->subs.text_size = o->subscription_bytes;
    s->subs.count = o->max_subscriptions;
}

/* Hands out input, output and outbox. The hash chains, a power of two in number, exist only
   with options.confirm. */
static void stws_p_carve_buffers(stws_p_arena *a, stws_p_session *s, const stws_options *o) {
    size_t count = 16;
    while (count < o->outbox_bytes / 1024) count *= 2;
    stws_p_carve_field(a, offsetof(stws, s.in.data), o->rx_buffer, 1);
    stws_p_carve_field(a, offsetof(stws, s.out.data), o->tx_buffer, 1);
    if (o->confirm) stws_p_carve_field(a, offsetof(stws, s.chains), count, sizeof(uint32_t));
    /* the outbox comes last, see stws_destroy */
    stws_p_carve_field(a, offsetof(stws, s.outbox.data), o->outbox_bytes, 1);
    if (!s) return;
    s->in.cap = o->rx_buffer;
    s->out.cap = o->tx_buffer;
    s->outbox.cap = o->outbox_bytes & ~(size_t)15;
    if (o->confirm) memset(s->chains, 0, count * sizeof *s->chains);
    s->chain_count = count;
}

/* Wipes and releases a buffer: it may have contained secrets. */
static void stws_p_release(stws *c, char *data, size_t size) {
    stws_p_wipe(data, size);
    c->allocator.release(c->allocator.ctx, data, size);
}

/* Frees the first event of a chain. */
static void stws_p_free_kept(stws *c, stws_p_kept **at) {
    stws_p_kept *kept = *at;
    if (!kept) return;
    *at = kept->next;
    c->kept_bytes -= kept->size;
    stws_p_release(c, (char *)kept, kept->size);
}

/* Frees the larger buffers, and uses those in the block again. */
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

/* Closes the transport if it is open. */
static void stws_p_close_transport(stws *c) {
    if (c->opened) c->io.close(c->io.ctx);
    c->opened = 0;
}

/* Reports to options.queue, once, that this client has ended. */
static void stws_p_stop_feeding(stws *c) {
    if (c->o.queue && c->feeds) stws_p_queue_count_feeder(c->o.queue, -1);
    c->feeds = 0;
}

/* ==== >>option_rules: defaults, limits and checks of options ====

   The table stws_p_number_options has the range and the default of each option that is a
   number. stws_p_options_wrong checks all options and returns the sentence for the first wrong
   one. stws_p_resolve_options fills in the defaults, and stores 0 in place of STWS_OFF.

   All functions are pure, so any thread may call them. Only >>create calls them. */

STOMP_WS_API stws_options stws_options_default(void) {
    stws_options o;
    memset(&o, 0, sizeof o);
    return o;
}

/* An option that is a number: its range, and its default. */
typedef struct stws_p_number_option {
    size_t at; /* its offset in stws_options */
    /* 1: size_t, 0: int; STWS_OFF is allowed and is stored as 0 */
    unsigned char is_size, may_be_off;
    int low, high, fallback; /* smallest and largest value; the default, which replaces 0 */
    const char *wrong;       /* the sentence for a number that is out of range */
} stws_p_number_option;

/* The smallest buffers have room for a short HTTP head, for CONNECT, and for the addresses of
   the host (see stws_p_resolve). */
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

/* Returns the number that an option has. A size_t that is too large for the type becomes
   negative, which is in no range. */
static long long stws_p_number_of(const stws_p_number_option *n, const stws_options *o) {
    const char *at = (const char *)o + n->at;
    size_t size;
    int number;
    if (n->is_size) return memcpy(&size, at, sizeof size), (long long)size;
    return memcpy(&number, at, sizeof number), number;
}

/* Returns 1 if the number is in its range, 0 (the default), or an allowed STWS_OFF. */
static int stws_p_number_is_valid(const stws_p_number_option *n, const stws_options *o) {
    long long number = stws_p_number_of(n, o);
    return !number || (n->may_be_off && number == STWS_OFF) ||
           (number >= n->low && number <= n->high);
}

/* Replaces 0 by the default, and STWS_OFF by 0. */
static void stws_p_resolve_number(const stws_p_number_option *n, stws_options *o) {
    long long number = stws_p_number_of(n, o);
    char *at = (char *)o + n->at;
    size_t size;
    int small;
    number = !number ? n->fallback : n->may_be_off && number == STWS_OFF ? 0 : number;
    size = (size_t)number;
    small = (int)number;
    if (n->is_size) memcpy(at, &size, sizeof size);
    else memcpy(at, &small, sizeof small);
}

/* Fills in all defaults. If only one of the reconnect delays is given, the default of the other
   is adapted to it. */
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

/* Returns 1 if a string can stand in CONNECT, which has no escapes: a line end would add a
   header. */
static int stws_p_is_raw_text(const char *s) {
    return !s || (!strchr(s, '\n') && !strchr(s, '\r'));
}

/* Returns 1 if each header has a name, a value, no line end, and no colon in its name. */
static int stws_p_connect_headers_valid(const char *const *h) {
    for (; h && h[0]; h += 2)
        if (!h[1] || !*h[0] || strchr(h[0], ':') || !stws_p_is_raw_text(h[0]) ||
            !stws_p_is_raw_text(h[1]))
            return 0;
    return 1;
}

/* Returns 1 if the string looks like a numeric address, possibly with an IPv6 zone. */
static int stws_p_is_address(const char *s) {
    size_t digits = strspn(s, "0123456789abcdefABCDEF:.");
    return digits &&
           (!s[digits] || (s[digits] == '%' && stws_p_is_visible(s + digits, strlen(s + digits))));
}

/* Checks the options. Returns NULL if they are valid; else a sentence, with its result code in
   *code. */
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
            return "options.addresses has an entry that is not a numeric address";
    if (!stws_p_is_raw_text(o->login) || !stws_p_is_raw_text(o->passcode) ||
        !stws_p_is_raw_text(o->host) || !stws_p_is_raw_text(o->client_id))
        return "login, passcode, host or client_id has a line end, which CONNECT cannot express";
    if (!stws_p_connect_headers_valid(o->connect_headers))
        return "connect_headers has a name without a value, a line end, or a colon in a name";
    if (!stws_p_http_headers_valid(o->http_headers))
        return "http_headers has a control character (CR or LF would add headers), a name that is "
               "not a token, or a header that the upgrade itself sets";
    if (!stws_p_is_field_text(o->origin) || !stws_p_is_field_text(o->cookie) ||
        !stws_p_is_field_text(o->subprotocols))
        return "origin, cookie or subprotocols has a control character such as CR or LF";
    /* Every number has its range in the table above. */
    for (i = 0; i < STWS_P_NUMBER_OPTIONS; i++)
        if (!stws_p_number_is_valid(&stws_p_number_options[i], o))
            return stws_p_number_options[i].wrong;
    /* Some options contradict each other only once the defaults are filled in. */
    resolved = *o;
    stws_p_resolve_options(&resolved);
    if (resolved.reconnect_min_ms > resolved.reconnect_max_ms && resolved.reconnect_max_ms)
        return "options.reconnect_min_ms is above options.reconnect_max_ms";
    if (o->outbox_low && o->outbox_low >= o->outbox_high)
        return "options.outbox_low has to be below options.outbox_high";
    if (o->stable_id && !*o->stable_id)
        return "options.stable_id is empty: it has to be the name of a header";
    if (o->tls && o->transport)
        return "options.tls is only for the built-in TCP: do TLS in options.transport instead";
    if (o->tls && !stws_p_tls_is_complete(o->tls)) return "options.tls lacks one of its functions";
    if (o->proxy && !STWS_P_HAS_PROXY)
        return "STOMP_WS_NO_PROXY was defined: do not set options.proxy";
    if (o->proxy && o->transport)
        return "options.proxy is only for the built-in TCP: do that in options.transport instead";
    if (o->proxy && strcmp(o->proxy, STWS_PROXY_FROM_ENVIRONMENT) != 0 &&
        !stws_p_proxy_parse(&proxy, o->proxy))
        return stws_p_proxy_url_wrong;
#ifdef STOMP_WS_NO_THREADS
    if (!o->single_thread) return "STOMP_WS_NO_THREADS was defined: set options.single_thread";
#endif
    return NULL;
}

/* Returns 1 if the built-in transport may need TLS: a URL is wss://, or a redirect may lead to
   one. */
static int stws_p_may_need_tls(const stws_options *o) {
    stws_url url;
    int secure = o->follow_redirects, i; /* a redirect may lead to wss:// */
    secure |= o->url && stws_url_parse(o->url, &url, NULL) == STWS_OK && url.secure;
    for (i = 0; o->urls && o->urls[i]; i++)
        secure |= stws_url_parse(o->urls[i], &url, NULL) == STWS_OK && url.secure;
    return o->tls && secure && !o->transport;
}

/* ==== >>create: a client begins ====

       options --check--> measure --memory--> setup --> client (IDLE)
                  |                             |
                  +-------------+---------------+--> broken client (ENDED), by stws_create only

   stws_init uses memory of the caller; stws_create allocates it. If an option is wrong or the
   system lacks something, stws_init returns the error. stws_create then returns a small client
   that is broken: every call returns its error, and stws_error_text its sentence.

   No other thread knows the client yet, so the lock is not needed. The end of a client is in
   >>life.c. */

/* Divides the client's block into its parts. If c is NULL, it only computes the size. Returns
   the size, or SIZE_MAX if a size_t cannot express it. */
static size_t stws_p_layout(stws *c, size_t size, const stws_options *options) {
    stws_p_arena arena = {(char *)c, size, 0};
    stws_options o = *options;
    stws_p_session *s = c ? &c->s : NULL;
    void *tls, *tls_state;
    stws_p_resolve_options(&o);
    stws_p_carve(&arena, 1, sizeof *c);
    stws_p_carve_strings(&arena, c, &o);
    stws_p_carve_scratch(&arena, c, &o);
    if (!o.single_thread) stws_p_carve_shared(&arena, c);
    stws_p_carve_tables(&arena, s, &o);
    tls = stws_p_carve(&arena, stws_p_may_need_tls(&o) ? 1 : 0, sizeof(stws_p_tls));
    tls_state = stws_p_carve(&arena, 1, stws_p_may_need_tls(&o) ? o.tls->size : 0);
    if (o.proxy) stws_p_carve_field(&arena, offsetof(stws, proxy), 1, sizeof(stws_p_proxy));
    stws_p_carve_buffers(&arena, s, &o);
    if (!c) return arena.used;
    STOMP_WS_ASSERT(arena.used == size);
    if (stws_p_may_need_tls(&o)) c->tls = stws_p_tls_init(tls, tls_state, o.tls);
    return size;
}

/* Returns the size of a client with these options in bytes. Returns 0 if they are invalid, with
   a sentence in *wrong and its code in *code. */
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

/* The default stws_allocator: STOMP_WS_MALLOC and STOMP_WS_FREE. */
static void *stws_p_heap_alloc(void *ctx, size_t size) { return (void)ctx, STOMP_WS_MALLOC(size); }

static void stws_p_heap_release(void *ctx, void *block, size_t size) {
    (void)ctx, (void)size, STOMP_WS_FREE(block);
}

/* Closes both ends of the wake pipe. */
static void stws_p_close_wake(stws *c) {
    stws_p_close_fd(&c->wake[0]), stws_p_close_fd(&c->wake[1]);
}

/* Creates the wake pipe. Returns 1; 0 if the system has no descriptors left. A client without
   threads gets no pipe. */
static int stws_p_wake_init(stws *c) {
    c->wake[0] = c->wake[1] = -1;
    if (c->threads && pipe(c->wake) != 0) return 0;
    if (!c->threads || (stws_p_nonblocking(c->wake[0]) && stws_p_nonblocking(c->wake[1]))) return 1;
    stws_p_close_wake(c);
    return 0;
}

/* Chooses clock, random source and transport: the user's, or those of the system. */
static void stws_p_choose_sources(stws *c) {
    static const stws_clock system_clock = {NULL, stws_p_system_clock, stws_p_system_slept};
    static const stws_random system_random = {NULL, stws_p_system_random};
    c->clock = c->o.clock ? *c->o.clock : system_clock;
    c->s.random = c->o.random ? *c->o.random : system_random;
    stws_p_tcp_init(&c->tcp, &c->clock, &c->io);
    if (c->o.transport) c->io = *c->o.transport;
}

/* Turns a block of memory into a client. Returns NULL; else a sentence, with its result code in
   *code. */
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
    stws_p_choose_sources(c);
    c->now = c->clock.now_us(c->clock.ctx);
    c->deadline_us = c->error_us = c->error_close_us = c->renew_us = STWS_P_NEVER;
    c->due_us = STWS_P_NOT_TOLD;
    c->block_in = c->s.in.data;
    c->block_out = c->s.out.data;
    /* No URL has been tried yet. */
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
    if (c->o.queue) stws_p_queue_count_feeder(c->o.queue, 1);
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
        wrong = "the memory is smaller than stws_size() returns";
    }
    if (!wrong) {
        wrong = stws_p_setup((stws *)memory, need, options, &result);
        if (wrong) stws_p_wipe(memory, need); /* the copied options may contain secrets */
        else *client = (stws *)memory;
    }
    if (why) *why = stws_p_or(wrong, "");
    return result;
}

/* Makes a client that can only report why stws_create failed. */
static void stws_p_make_broken(stws *c, int error, const char *why) {
    memset(c, 0, sizeof *c);
    c->broken = 1;
    c->final = 1;
    stws_p_enter_state(c, STWS_ENDED, STWS_P_NEVER);
    c->text = (char *)(c + 1);
    c->text_size = STWS_P_MIN_TEXT;
    stws_p_fail(c, error, "%s", why);
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
    /* this client will never feed the queue; its readers must not wait for it */
    if (wrong && options && options->queue) stws_p_queue_count_feeder(options->queue, 0);
    /* The caller still gets a client, which reports why it cannot work. */
    if (wrong) stws_p_make_broken(c, code, wrong);
    c->has_heap = 1;
    c->allocator = a;
    c->block_size = size;
    return c;
}

/* ==== >>where: URLs in error sentences ====

   Writes the URL of the attempt for an error sentence, without user, password and query, and
   suggests the URL that was probably meant. c->where holds the URL; each call overwrites it.
   The sections that report errors, and >>cookies, call these functions in the driving
   thread. */

/* Returns how many bytes of a path or Location may be shown; "***" stands for the rest. A query
   or fragment may be secret. With an '@', everything may be user and password, so at most the
   first '/' is shown. */
static size_t stws_p_public_len(const char *place) {
    size_t len = strcspn(place, "?#");
    return strchr(place, '@') ? *place == '/' : len + (place[len] != 0);
}

/* Returns host and port as they stand in the URL, without user and password. */
static const char *stws_p_authority(const stws_url *url) { return url->host - (url->is_ipv6 != 0); }

static int stws_p_authority_len(const stws_url *url) {
    return (int)(url->target - stws_p_authority(url));
}

/* Writes the URL into c->where, without its secrets, and returns it. */
static const char *stws_p_public_url(stws *c) {
    const char *target = c->url.target;
    size_t len = stws_p_public_len(target);
    snprintf(c->where, c->text_size / 2, "%s%.*s%.*s%s", c->url.secure ? "wss://" : "ws://",
             stws_p_authority_len(&c->url), stws_p_authority(&c->url), (int)len, target,
             target[len] ? "***" : "");
    return c->where;
}

/* Returns 1 if the URL's path already ends in `name`. A query may follow. */
static int stws_p_path_ends_in(const stws_url *url, const char *name) {
    size_t len = strcspn(url->target, "?"), name_len = strlen(name);
    while (len > 0 && url->target[len - 1] == '/') len--;
    return len >= name_len && memcmp(url->target + len - name_len, name, name_len) == 0;
}

/* Returns the URL that the user probably wants at a SockJS endpoint, such as
   "ws://host/notifications/websocket". It is one level below the base of the endpoint. If the
   given URL is SockJS's own base/server/session/websocket, or base/info (`info`), those levels
   are removed first. Without room it returns "/websocket". */
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

/* Reports that the URL is the base of a SockJS endpoint. */
static void stws_p_fail_sockjs(stws *c, int error, const char *what, const char *more) {
    char url[256];
    stws_p_fail(c, error,
                "%s at %s: this looks like a SockJS endpoint (Spring's withSockJS); raw WebSocket "
                "is at the end of it, so append /websocket: %s%s%s",
                what, stws_p_public_url(c), stws_p_websocket_url(c, 0, url), *more ? "; " : "",
                more);
}

/* ==== >>pages: the words of an HTTP answer other than 101 ====

   A server that refuses the upgrade usually sends a page that tells why. This section takes its
   readable text, at most one line, out of HTML, JSON or plain text.

   The page may be cut off, chunked, compressed or invalid: nothing here parses strictly, and no
   function reads behind `len`. stws_p_answer_is_whole tells >>upgrade when to stop waiting for
   the rest. All functions are pure; they see the peer's bytes as they are, and stws_p_fail
   makes them printable later. */

/* How long we wait for the page of such an answer, and how many bytes of it we read. */
enum { STWS_P_PAGE_MS = 500, STWS_P_PAGE_BYTES = 2048 };

/* many servers limit the head of a request to this size or a little more */
enum { STWS_P_LONG_HEAD = 4096 };

/* Finds words, ignoring case. Returns NULL if they are not there. */
static const char *stws_p_find_words(const char *data, size_t len, const char *words) {
    size_t n = strlen(words);
    for (; len >= n; data++, len--)
        if (stws_p_equal_nocase(data, n, words, n)) return data;
    return NULL;
}

/* Finds a header's value in a head that has not been parsed. `name` includes its colon. Returns
   NULL without it. */
static const char *stws_p_raw_header(const char *head, size_t len, const char *name) {
    const char *end = head + len, *lf;
    size_t n = strlen(name);
    while ((lf = (const char *)memchr(head, '\n', (size_t)(end - head))) != NULL) {
        if ((size_t)(lf - head) > n && stws_p_equal_nocase(head, n, name, n)) return head + n;
        head = lf + 1;
    }
    return NULL;
}

/* Removes the chunk sizes from a chunked page (RFC 9112, section 7.1), which may be cut off or
   invalid anywhere. Returns the length without them. `out` may be `page` itself; NULL: nothing
   is written. *whole is set to 1 if the last chunk is there. */
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

/* Returns 1 if the page is complete, or long enough for us. */
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

/* Returns 1 if we need not wait for more of this answer. That also holds for an answer whose
   page we do not need. If the answer is not HTTP, 64 bytes are enough. */
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

/* Copies the text of an HTML element. Blanks and line ends in a row become one blank. Returns
   "" without the element. */
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

/* Decodes one character of a JSON string to at most three bytes of UTF-8, and moves *at behind
   it. Returns the number of bytes. */
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
    /* surrogates also become '?' */
    if (i < 4 || code == 0 || (code >= 0xD800 && code < 0xE000)) code = '?';
    if (code < 0x80) return *out = (char)code, 1;
    out[0] = (char)(code < 0x800 ? 0xC0 | code >> 6 : 0xE0 | code >> 12);
    out[1] = (char)(0x80 | (code < 0x800 ? code & 63 : code >> 6 & 63));
    out[2] = (char)(0x80 | (code & 63));
    return code < 0x800 ? 2 : 3;
}

/* Copies the first non-empty string with this name, which includes its quotes. Returns ""
   without one. This is not a JSON parser: the page may be cut off anywhere. */
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

/* Returns the visible words of the page, to be put at the end of a sentence; "" if there are
   none. */
static const char *stws_p_page_words(char out[140], const stws_http *answer, const char *page,
                                     size_t len) {
    /* the names in Spring's errors, in RFC 9457, and in many others */
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

/* ==== >>cookies: what is kept of an answer to the upgrade ====

   Each answer to the upgrade passes through here once, called by >>upgrade:

   - its headers are copied to c->head, for stws_upgrade_header, until the next answer;
   - with option keep_cookies its cookies go to the jar (c->jar), and the next upgrade requests
     send the matching ones (RFC 6265). The jar lives as long as the client. A cookie leaves it
     when the server deletes or replaces it; the attribute Domain and later expiry are ignored;
   - with option follow_redirects, a redirect changes c->url for this attempt.

   Only the driving thread uses c->head, c->jar and c->moved, without the lock. Memory that an
   option does not need has length 0. */

/* Writes the target of a redirect as a ws:// or wss:// URL. Returns 1; 0 if it has another
   scheme or is too long. */
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

/* Finds the next word of an HTTP date: a run of letters, digits and colons. Moves *at to its
   first character. Returns its length, or 0 at the end of the text. */
static size_t stws_p_date_word(const char **at) {
    size_t len = 0;
    while (**at && !stws_p_is_alphanumeric(**at)) ++*at;
    while (stws_p_is_alphanumeric((*at)[len]) || (*at)[len] == ':') len++;
    return len;
}

/* Returns the days from 1970-01-01 to the first of March of a year (Gregorian calendar). */
static long long stws_p_days_to_march(long long year) {
    return year * 365 + year / 4 - year / 100 + year / 400 - 719468;
}

/* Parses a time of day such as "08:49:37". Returns the seconds since midnight, or -1 if the
   word has another form. */
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

/* Parses an HTTP date in any of its three forms (RFC 9110, section 5.6.7). Each form has a
   day, the name of a month, a year after the day, and a time; so the words are recognised in
   any order, and all other words are ignored. Stores the seconds since 1970 in *out. Returns
   1, or 0 if the text is no date. */
static int stws_p_http_date(const char *date, long long *out) {
    /* The year begins in March, so that the leap day is its last day. */
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
    year -= month >= 10; /* January and February belong to the year before */
    *out = (stws_p_days_to_march(year) + (month * 153 + 2) / 5 + day - 1) * 86400 + seconds;
    return 1;
}

/* Copies the answer's headers into c->head, where stws_upgrade_header finds them: name,
   value, name, value, each with its NUL, and one more NUL at the end. Leaves out the first
   header that does not fit, and all headers after it. */
static void stws_p_store_answer_headers(stws *c, const stws_http *answer) {
    stws_p_out out = {c->head, c->head_size - 1, 0};
    size_t i, end = 0;
    for (i = 0; i < answer->header_count; i++) {
        stws_p_put(&out, answer->headers[i].name, answer->headers[i].name_len + 1);
        stws_p_put(&out, answer->headers[i].value, answer->headers[i].value_len + 1);
        if (out.need < c->head_size) end = out.need;
    }
    c->head[end] = 0;
}

/* Returns the next cookie of the jar. The jar (c->jar, STWS_P_JAR bytes) stores each cookie
   as four strings, each with its NUL: the host, a word ("s" for a Secure cookie, which is
   sent to wss:// only, else "-"), the path, and "name=value". An empty string ends the jar. */
static const char *stws_p_next_cookie(const char *cookie) {
    return stws_p_next_text(stws_p_next_text(stws_p_next_text(stws_p_next_text(cookie))));
}

/* Returns the path of a cookie in the jar. */
static const char *stws_p_cookie_path(const char *cookie) {
    return stws_p_next_text(stws_p_next_text(cookie));
}

/* Returns the "name=value" of a cookie in the jar. */
static const char *stws_p_cookie_pair(const char *cookie) {
    return stws_p_next_text(stws_p_cookie_path(cookie));
}

/* Returns the length of the name in "name=value". */
static size_t stws_p_cookie_name_len(const char *pair) { return strcspn(pair, "="); }

/* Returns 1 if the host of this URL has set the cookie. A cookie is sent to that host only:
   the attribute Domain is ignored. */
static int stws_p_cookie_has_host(const char *cookie, const stws_url *url) {
    return stws_p_equal_nocase(cookie, strlen(cookie), url->host, url->host_len);
}

/* Removes the cookie with this path and name that the current host (c->url) has set, if the
   jar has it. */
static void stws_p_drop_cookie(stws *c, const char *path, const char *pair, size_t name_len) {
    char *at = c->jar;
    while (*at) {
        const char *next = stws_p_next_cookie(at), *has = stws_p_cookie_pair(at);
        int same = stws_p_cookie_has_host(at, &c->url) &&
                   strcmp(path, stws_p_cookie_path(at)) == 0 &&
                   stws_p_equal(pair, name_len, has, stws_p_cookie_name_len(has));
        if (same) memmove(at, next, (size_t)(c->jar + STWS_P_JAR - next));
        else at += next - at;
    }
}

/* Finds an attribute of a Set-Cookie header by its name (RFC 6265, section 5.2). Returns its
   value, which is *len bytes long and may be empty; NULL if the attribute is missing. */
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

/* Returns 1 if a Set-Cookie header names a time that is over. A server deletes a cookie this
   way. Max-Age counts more than Expires (RFC 6265, section 5.3). */
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

/* Writes the path that a cookie applies to into `out`: its attribute Path if that begins
   with a slash, else the folder of the URL (RFC 6265, section 5.1.4). Returns 1, or 0 if the
   path is longer than 255 bytes. */
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

/* Stores the cookie of one Set-Cookie header in the jar (RFC 6265, section 5.3). It replaces
   the cookie with the same host, path and name. A cookie that has ended only deletes that
   one. Ignores a cookie without a name or without "=", a cookie with control characters, and
   a cookie that does not fit into the jar. */
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

/* Stores all cookies of an answer in the jar, if option keep_cookies is set. */
static void stws_p_keep_cookies(stws *c, const stws_http *answer) {
    const stws_header *set;
    size_t from = 0;
    while (c->o.keep_cookies && (set = stws_p_http_find(answer, "Set-Cookie", &from)) != NULL)
        stws_p_keep_cookie(c, set->value);
}

/* Returns 1 if the cookie has to be sent to this URL: the host is the same, a Secure cookie
   goes to wss:// only, and the URL's path is the cookie's path or lies below it (RFC 6265,
   sections 5.1.4 and 5.4). */
static int stws_p_cookie_is_for(const char *cookie, const stws_url *url) {
    const char *path = stws_p_cookie_path(cookie);
    size_t len = strlen(path), target = strcspn(url->target, "?");
    if (!stws_p_cookie_has_host(cookie, url) || (*stws_p_next_text(cookie) == 's' && !url->secure))
        return 0;
    if (len == 1) return 1;
    return target >= len && memcmp(path, url->target, len) == 0 &&
           (path[len - 1] == '/' || target == len || url->target[len] == '/');
}

/* Returns the value of the Cookie header for c->url: option cookie, followed by the matching
   cookies of the jar. The text lies behind the jar, where the next call overwrites it. If
   there is no cookie, returns NULL or an empty text. */
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

/* Changes c->url to the target of a redirect: an answer with status 301, 302, 303, 307 or
   308 and a Location. Option follow_redirects has to allow that. Three redirects per attempt
   are followed, only to the same host, never from wss:// to ws://, never to a URL with a
   user, and to wss:// only if TLS is available. User and password of the old URL stay,
   because the host is the same; the server cannot replace them. Returns 1 if c->url has
   changed, else 0. */
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

/* ==== >>refusals: why a server did not upgrade, and the remedy ====

   Turns an HTTP answer other than 101 into an error sentence: the cause, the server's words,
   and what to try. stws_p_fail_status is for a valid answer, stws_p_fail_not_http for anything
   else. The remedy comes from known words of the page, else from the status.

   The upgrade request is encoded here, too, because its length may be the cause. Both functions
   that report are called by >>upgrade, in the driving thread, without the lock. */

/* Encodes this attempt's upgrade request (RFC 6455, section 4.1) into buf, and stores its
   length in *need. Returns STWS_OK; STWS_ERR_SPACE if it is longer than cap (a cap of 0 only
   measures it); STWS_ERR_USAGE if one of its headers is invalid. */
static int stws_p_encode_upgrade(const stws *c, char *buf, size_t cap, size_t *need) {
    stws_handshake h = {&c->url,           c->key,
                        c->o.subprotocols, c->o.origin,
                        stws_p_cookies(c), c->try_now.http_headers};
    return stws_handshake_request(buf, cap, &h, need);
}

static const char stws_p_upgrade_stripped[] =
    "the server did not see our Upgrade header: a proxy in between has to pass it on (nginx: "
    "proxy_http_version 1.1; proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection "
    "\"upgrade\"; Apache: ProxyPass to a ws:// URL, or with upgrade=websocket)";
static const char stws_p_head_too_long[] =
    "the head of our request is too long for this server: shorten http_headers or cookie";

/* Returns the remedy that fits the words of an error page (status 400 to 499); NULL if none
   fits. */
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

/* Returns 1 if the upgrade carries credentials. */
static int stws_p_sends_authorization(const stws *c) {
    return c->url.user_info || stws_p_headers_have(c->try_now.http_headers, "Authorization");
}

/* Returns what the user can try after an answer other than 101. Known words of the page come
   first, then special cases, then the table by status. -401 is a 401 although credentials were
   sent. */
static const char *stws_p_status_remedy(const stws *c, const stws_http *answer, const char *page,
                                        size_t len) {
    static const stws_p_meaning remedies[] = {
        {200, "an ordinary page answered: check the path of the URL, and that a proxy in between "
              "passes our Upgrade header on"},
        {400, "the server did not see a valid WebSocket upgrade: check the path, and proxies in "
              "between"},
        {401, "the HTTP layer wants credentials, and no Authorization header was sent: put one "
              "into http_headers (connect_headers and login only reach STOMP)"},
        {-401, "the HTTP layer did not accept the Authorization header that was sent"},
        {403, "forbidden: the server may not allow this Origin (option origin), or wants "
              "credentials in http_headers or a cookie"},
        {404, "nothing is there: check the path of the URL"},
        {407, "a proxy wants credentials"},
        {426, "the server wants another WebSocket version or another protocol on this path"},
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
    if (status == 400) stws_p_encode_upgrade(c, NULL, 0, &size);
    if (size > STWS_P_LONG_HEAD) return stws_p_head_too_long;
    if (status == 401 && stws_p_sends_authorization(c)) status = -401;
    /* ActiveMQ fails, but its answer has this header all the same */
    if (status == 500 && stws_http_header(answer, "Sec-WebSocket-Protocol"))
        return "ActiveMQ answers like this if no STOMP subprotocol was offered: leave option "
               "subprotocols at its default";
    if (status >= 500 && status != 503)
        return "the server, or a proxy in front of it, failed: the next attempt waits";
    if (status >= 300 && status < 400)
        return c->o.follow_redirects
                   ? "this redirect is not followed (to another host, from wss to ws, or the "
                     "fourth): use that URL"
                   : "redirects are not followed (see option follow_redirects): use that URL";
    return stws_p_meaning_of(status, remedies);
}

/* Returns what the headers add to the sentence: the target of a redirect in its ws form, or the
   credentials that a 401 asks for. */
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

/* Returns 1 if this is the answer of SockJS at its base, one level above the WebSocket. Spring
   answers an upgrade there with 400 and an empty page. It answers with a welcome page if the
   Upgrade header was lost on the way. */
static int stws_p_is_sockjs(const stws *c, int status, const char *page, size_t len) {
    if (!STWS_P_HAS_TEXTS || stws_p_path_ends_in(&c->url, "/websocket")) return 0;
    return status == 200 ? len > 17 && memcmp(page, "Welcome to SockJS", 17) == 0
                         : status == 400 && len == 0;
}

/* Reports an answer other than 101. */
static void stws_p_fail_status(stws *c, const stws_http *answer, const char *page, size_t len) {
    int status = answer->status;
    char words[140], header[256], what[48];
    snprintf(what, sizeof what, "HTTP %d instead of 101", status);
    if (stws_p_is_sockjs(c, status, page, len))
        stws_p_fail_sockjs(c, STWS_ERR_HTTP_STATUS, what,
                           status == 200 ? stws_p_upgrade_stripped : "");
    else if (status == 200 && stws_p_find_words(page, len, "\"entropy\":"))
        stws_p_fail(c, STWS_ERR_HTTP_STATUS,
                    "%s at %s: this is SockJS's /info, which is for browsers; raw WebSocket is "
                    "beside it: %s",
                    what, stws_p_public_url(c), stws_p_websocket_url(c, 1, header));
    else
        stws_p_fail(c, STWS_ERR_HTTP_STATUS, "HTTP %d%s%.60s instead of 101 at %s: %s%s%s", status,
                    *answer->reason ? " " : "", answer->reason, stws_p_public_url(c),
                    stws_p_status_remedy(c, answer, page, len),
                    stws_p_status_header(c, answer, header),
                    stws_p_page_words(words, answer, page, len));
}

/* Reports an answer to the upgrade that is not valid HTTP. */
static void stws_p_fail_not_http(stws *c, const char *data, size_t len) {
    char quote[64];
    if (len >= 2 && (data[0] == 0x15 || data[0] == 0x16) && data[1] == 3)
        stws_p_fail(c, STWS_ERR_HTTP,
                    "the server at %s answers with TLS: use wss:// instead of ws://",
                    stws_p_public_url(c));
    /* a SETTINGS frame of HTTP/2 (RFC 9113, section 6.5) */
    else if (len >= 9 && data[0] == 0 && memcmp(data + 3, "\4\0\0\0\0", 6) == 0)
        stws_p_fail(
            c, STWS_ERR_HTTP,
            "the server at %s speaks only HTTP/2, and WebSocket needs HTTP/1.1: enable that "
            "there, or use another port",
            stws_p_public_url(c));
    else if (len > 7 && memcmp(data, "HTTP/1.", 7) == 0)
        stws_p_fail(c, STWS_ERR_HTTP,
                    "the head of the HTTP answer at %s breaks RFC 9112: a header line has no colon "
                    "or no name, or there is a control character",
                    stws_p_public_url(c));
    else
        stws_p_fail(c, STWS_ERR_HTTP,
                    "the answer at %s is not HTTP (it begins \"%s\"): is this the port of another "
                    "protocol, such as a broker's plain STOMP or AMQP port?",
                    stws_p_public_url(c), stws_p_quote(quote, sizeof quote, data, len));
}

/* ==== >>errors: why a session or a connection ended, and the remedy ====

   One function per kind of end: an ERROR frame, a close frame, invalid input, a time-out, and a
   failed read or write. Each writes one sentence by stws_p_fail: the cause, the peer's words,
   and what to try. The callers decide what follows: >>dispatch, >>pull, >>input and >>timers.

   A hint is added only if it fits: our own loop was late, the connection was idle, or the
   broker ends silent clients. Everything runs in the driving thread, without the lock. */

/* Returns 1 if the message header or the body of an ERROR contains the words. */
static int stws_p_error_has(const stws_frame *frame, const char *words) {
    return strstr(stws_p_or(stws_frame_header(frame, "message"), ""), words) ||
           strstr(frame->body, words);
}

/* Returns the remedy for an ERROR whose words we know; else "". */
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

/* Returns for how long the machine has slept since the session began, in microseconds. */
static long long stws_p_slept(const stws *c) {
    return c->clock.slept_us ? c->clock.slept_us(c->clock.ctx) - c->slept_us : 0;
}

/* Returns a hint if we ourselves broke our promise of heart-beats, so that the server left
   rightly: the machine slept, or the loop that drives the client was late. Else "". */
static const char *stws_p_own_delay_hint(const stws *c, char out[STWS_P_LATE]) {
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

/* Returns how many lines follow the first line, such as a Java stack trace, as words. Empty
   lines do not count. */
static const char *stws_p_more_lines(const stws_frame *frame, char out[40]) {
    const char *at = frame->body + strcspn(frame->body, "\n");
    int count = 0;
    for (at += strspn(at, "\r\n"); *at; at += strspn(at, "\r\n")) count++, at += strcspn(at, "\n");
    *out = 0;
    if (count) snprintf(out, 40, " (and %d line%s more)", count, count == 1 ? "" : "s");
    return out;
}

/* Reports an ERROR frame. */
static void stws_p_fail_error_frame(stws *c, int error, const stws_frame *frame) {
    char line[200], late[STWS_P_LATE], more[40];
    const char *message = stws_p_or(stws_frame_header(frame, "message"), "");
    stws_p_quote(line, sizeof line, frame->body, frame->body_len);
    stws_p_fail(c, error, "%s: \"%.160s\"%s%s%s%s%s%s",
                error == STWS_ERR_LOGIN ? "the server refused CONNECT with an ERROR"
                                        : "the server sent an ERROR",
                message, *line ? ": \"" : "", line, *line ? "\"" : "",
                stws_p_more_lines(frame, more), stws_p_error_hint(frame, &c->o),
                stws_p_own_delay_hint(c, late));
}

/* Explains the code of a close frame (RFC 6455, section 7.4.1). */
static const char *stws_p_close_meaning(int code, int broker) {
    static const stws_p_meaning meanings[] = {
        {1000, "normal closure"},
        {1001, "the server is going away"},
        {1002, "the server reports a protocol error"},
        {1003, "the server does not accept this kind of data"},
        {1005, "no code given"},
        {1007, "our data is not UTF-8, or not what the server expects"},
        {1008, "policy violation"},
        {1009, "our message was too big for the server: set option max_ws_message to its limit, or "
               "raise the limit there (Tomcat: 8192 bytes by default)"},
        {1011, "internal error of the server"},
        {1012, "the server is restarting"},
        {1013, "the server is overloaded: try again later"},
        {4500, "Spring: its send buffer for us overflowed (setSendBufferSizeLimit), or we read too "
               "slowly"},
        {0, "a code that RFC 6455 does not define"}};
    if (code == 1009 && broker == STWS_BROKER_ACTIVEMQ)
        return "our message was too big for ActiveMQ, which accepts no message in fragments: "
               "raise websocket.maxTextMessageSize on its connector (65536 by default)";
    return stws_p_meaning_of(code, meanings);
}

/* Returns a hint if the broker ends sessions without heart-beats, as ActiveMQ Artemis and
   RabbitMQ do, and we have been silent for 30 s. Else "". */
static const char *stws_p_silence_hint(const stws *c) {
    int silent = c->state == STWS_CONNECTED && c->now - c->s.last_out_us >= 30000 * STWS_P_US;
    if (c->s.heartbeat_out_us || !silent) return "";
    if (c->s.broker == STWS_BROKER_ARTEMIS)
        return "; Artemis ends silent clients after 60 s: set heartbeat_out_ms";
    if (c->s.broker == STWS_BROKER_RABBITMQ)
        return "; RabbitMQ ends idle WebSockets after 60 s: set heartbeat_out_ms";
    return "";
}

/* Returns a hint if nothing had moved in one direction before the connection was cut: many
   proxies cut idle connections. Else "". */
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

/* Reports the server's close frame. */
STWS_P_NOINLINE static void stws_p_fail_closed(stws *c) {
    const char *reason = c->s.peer_close_reason, *quote = *reason ? "\"" : "";
    char late[STWS_P_LATE];
    stws_p_own_delay_hint(c, late);
    stws_p_fail(c, *late ? (int)STWS_ERR_LATE : (int)STWS_ERR_WS_CLOSE,
                "the server closed the connection with code %d (%s)%s%s%s%s%s%s%s",
                c->s.peer_close_code, stws_p_close_meaning(c->s.peer_close_code, c->s.broker),
                *reason ? ": " : "", quote, reason, quote,
                strcmp(reason, "STOMP died") != 0 || *late
                    ? ""
                    : "; RabbitMQ does this after an error: no permission for the destination, or "
                      "arguments that differ from the queue's; the broker's log has the reason",
                stws_p_silence_hint(c), late);
}

/* Makes a stws_frame of a frame that cannot be parsed to its end, for the error sentence. Its
   body is all that came behind the parsed part, up to a NUL. Returns 1; 0 if there is not even
   a command. May overwrite a byte behind the frame, which is not read any more. */
static int stws_p_broken_frame(stws *c, int error, stws_frame *frame) {
    stws_frame_state *s = &c->s.parser;
    const stws_p_input *in = &c->s.in;
    char *at = in->data + in->begin, *end = in->data + in->end - (in->end == in->cap),
         *body = at + s->line;
    memset(frame, 0, sizeof *frame);
    if (s->phase < STWS_P_HEADERS || in->begin + s->line > in->end) return 0;
    if (at != s->base) stws_p_frame_moved(s, at);
    *end = 0;
    /* the line of a wrong content-length has already been split */
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

/* Reports a wrong content-length: its value, its frame, and the probable mistake of the
   server. */
static void stws_p_fail_wrong_length(stws *c, int error, const stws_frame *frame) {
    const char *value = stws_p_or(stws_frame_header(frame, "content-length"), "");
    const char *destination = stws_frame_header(frame, "destination"), *why = "";
    size_t len = c->s.parser.body_len;
    if (error == STWS_ERR_FRAME_NUL)
        why = len && frame->body_len < len && !frame->body[len - 1]
                  ? "; does the server also count the closing NUL?"
                  : "; does the server count characters instead of bytes?";
    stws_p_fail(c, error, "%s: %.20s%s%.150s has content-length:%.40s%s", stws_result_text(error),
                frame->command, destination ? " of " : "", stws_p_or(destination, ""), value, why);
}

/* Reports invalid input: a frame of WebSocket or of STOMP. */
static void stws_p_fail_input(stws *c, int error) {
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
        stws_p_fail_sockjs(c, error, "SockJS frames (o, h, a[...]) instead of STOMP", "");
    else if (option) stws_p_fail(c, error, "%s (%zu); raise option %s", text, limit, option);
    else if (head && (error == STWS_ERR_FRAME_LENGTH || c->s.parser.phase == STWS_P_BODY_COUNTED))
        stws_p_fail_wrong_length(c, error, &frame);
    else if (head || error == STWS_ERR_FRAME_COMMAND)
        stws_p_fail(
            c, error, "%s: \"%s\"", text,
            head ? stws_p_quote(quote, sizeof quote, frame.body, frame.body_len)
                 : stws_p_quote(quote, sizeof quote, in->data + in->begin, in->end - in->begin));
    else if (error <= STWS_ERR_WS_PROTOCOL && error > STWS_ERR_WS_CLOSE)
        stws_p_fail(c, error, "%s: %s", text, stws_p_or(c->s.ws.reason, ""));
    else stws_p_fail(c, error, "%s", text);
}

/* Reports that the state's deadline has passed. */
static void stws_p_fail_timeout(stws *c) {
    static const stws_p_meaning silences[] = {
        {STWS_CONNECTING,
         "no TCP connection within connect_timeout_ms: a firewall may drop the packets"},
        {-1, "the proxy did not connect us within connect_timeout_ms: is it the kind of proxy that "
             "its URL names?"},
        {STWS_TLS, "the TLS handshake did not end within connect_timeout_ms"},
        {STWS_UPGRADING, "no answer to the HTTP upgrade within handshake_timeout_ms"},
        {STWS_LOGGING_IN, "the server answered CONNECT with neither CONNECTED nor ERROR within "
                          "connected_timeout_ms: it may support none of the versions offered, or "
                          "no STOMP on this path"},
        {0, "the state's deadline passed"}};
    int state = c->state == STWS_CONNECTING && c->tcp.proxy ? -1 : c->state;
    stws_p_fail(c, STWS_ERR_TIMEOUT, "time-out at %s: %s", stws_p_public_url(c),
                stws_p_meaning_of(state, silences));
}

/* Reports that reading, writing or connecting failed. */
static void stws_p_fail_io(stws *c, int error) {
    const char *why = c->io.error ? c->io.error(c->io.ctx) : NULL, *text = stws_result_text(error);
    int upgrading = c->state == STWS_UPGRADING;
    char late[STWS_P_LATE], idle[STWS_P_IDLE];
    if (STWS_P_LOAD(&c->s.no_random))
        why = "the system provides no random numbers, which masking needs";
    stws_p_own_delay_hint(c, late);
    stws_p_idle_hint(c, idle);
    if (*late) idle[0] = 0; /* one hint is enough */
    if (error == STWS_ERR_EOF)
        stws_p_fail(
            c, error, "%s%s%s%s%s%s", text,
            !upgrading ? "" : ", before it answered the upgrade: is this a WebSocket port?",
            upgrading && c->url.secure ? " (a server that speaks only HTTP/2 does this, too)" : "",
            stws_p_silence_hint(c), late, idle);
    else
        stws_p_fail(c, error, "%s at %s: %s%s%s", text, stws_p_public_url(c),
                    stws_p_or(why, "no reason known"), late, idle);
}

/* ==== >>retry: times, the next attempt, and the end of a session or client ====

   Owns the time limits of states, the delay before the next attempt, and the two functions that
   end something: stws_p_clean_up_session ends a session and enters BACKOFF, and
   stws_p_end_client ends the client and enters ENDED.

   Times are in microseconds of the client's clock. c->now is the time of the present turn.
   STWS_P_NEVER is later than every other time, so a comparison needs no special case.

   The driving thread calls these functions, without the lock. The two that end something
   take it. Other threads call only stws_p_ms_to_us, stws_p_time_in_ms and stws_p_ms_until,
   which change nothing and need no lock. */

/* Converts milliseconds to microseconds. */
static long long stws_p_ms_to_us(int ms) { return (long long)ms * STWS_P_US; }

/* Returns the time at which so many milliseconds will have passed, in microseconds of the
   client's clock. Returns STWS_P_NEVER if ms is negative. */
static long long stws_p_time_in_ms(const stws *c, int ms) {
    return ms < 0 ? STWS_P_NEVER : c->clock.now_us(c->clock.ctx) + stws_p_ms_to_us(ms);
}

/* Returns the milliseconds from now until `when`, rounded up, in the form that poll() takes:
   0 if that time is over (or is 0, "now"), -1 for STWS_P_NEVER, and one hour at most. */
static int stws_p_ms_until(const stws *c, long long when) {
    long long left;
    if (when == STWS_P_NEVER) return -1;
    left = when ? when - c->clock.now_us(c->clock.ctx) : 0;
    if (left <= 0) return 0;
    return left > 3600000 * STWS_P_US ? 3600000 : (int)((left + STWS_P_US - 1) / STWS_P_US);
}

/* Returns the end of a state that begins now: timeout_ms from now; with 0 there is none.
   stws_p_turn_timers acts on it. */
static long long stws_p_time_limit(const stws *c, int timeout_ms) {
    return timeout_ms ? c->now + stws_p_ms_to_us(timeout_ms) : STWS_P_NEVER;
}

/* Returns a random number from 0 to limit. Returns 0 if limit is not positive or if there is
   no randomness. */
static long long stws_p_random_up_to(stws *c, long long limit) {
    uint32_t r = 0;
    if (limit <= 0 || stws_p_client_random(c, &r, sizeof r) != 0) return 0;
    return (long long)(r % ((unsigned long long)limit + 1));
}

/* Returns how long the server's Retry-After makes us wait, in milliseconds; 0 if there was
   no Retry-After. Unless reconnect_jitter is off, adds a random part, so that clients that
   were sent away together do not come back together. Limits the result to ten times
   reconnect_max_ms (or 300 s without that option), so that no server stops the client for
   days. */
static long long stws_p_retry_after_wait_ms(stws *c) {
    long long most = 10LL * (c->o.reconnect_max_ms ? c->o.reconnect_max_ms : 30000),
              ms = c->retry_after_ms;
    if (!ms) return 0;
    if (ms > most) return most - stws_p_random_up_to(c, most / 10);
    if (c->o.reconnect_jitter) ms += stws_p_random_up_to(c, ms / 10 + c->o.reconnect_min_ms);
    return ms > most ? most : ms;
}

/* Returns the milliseconds to wait before the next attempt. After n failures in a row:

       reconnect_min_ms * (reconnect_factor / 100) ^ (n - 1), at most reconnect_max_ms

   Then reconnect_jitter varies the delay at random by up to so many percent: a positive
   value makes it longer, a negative value makes it shorter. Retry-After makes it longer,
   never shorter. */
static long long stws_p_backoff_ms(stws *c) {
    long long delay = c->o.reconnect_min_ms, jitter = c->o.reconnect_jitter, spread,
              asked = stws_p_retry_after_wait_ms(c);
    int i;
    for (i = 1; i < c->failures && delay < c->o.reconnect_max_ms; i++)
        delay = delay * c->o.reconnect_factor / 100;
    if (delay > c->o.reconnect_max_ms) delay = c->o.reconnect_max_ms;
    spread = stws_p_random_up_to(c, delay * (jitter < 0 ? -jitter : jitter) / 100);
    delay += jitter < 0 ? -spread : spread;
    return delay > asked ? delay : asked;
}

/* Returns the time at which a session that begins now becomes too old (option max_session_ms),
   or STWS_P_NEVER. Subtracts up to a tenth at random, so that a thousand clients do not
   reconnect together. */
static long long stws_p_session_end(stws *c) {
    long long ms = c->o.max_session_ms;
    return ms ? c->now + (ms - stws_p_random_up_to(c, ms / 10)) * STWS_P_US : STWS_P_NEVER;
}

/* Ends the client for good. `error` becomes the result of all later driving calls;
   STWS_CLOSED is the regular end. Every receipt that still waits ends with STWS_ERR_LOST,
   threads that wait for this client wake up, and the client leaves its queue. Takes the
   lock. */
static void stws_p_end_client(stws *c, int error) {
    stws_p_lock(c);
    if (error == STWS_CLOSED) c->text[0] = 0;
    stws_p_enter_state(c, STWS_ENDED, STWS_P_NEVER); /* from here on any thread may read c->text */
    c->final = error;
    if (c->shared_stats) *c->shared_stats = c->s.stats;
    /* those that were sent have ended with their session */
    stws_p_finish_receipts(&c->s, STWS_P_RECEIPT_KEPT, STWS_P_NEVER, STWS_ERR_LOST);
    STOMP_WS_ASSERT(!c->s.receipts_waiting);
    stws_p_signal(c);
    stws_p_unlock(c);
    stws_p_stop_feeding(c);
    if (error != STWS_CLOSED) return;
    STWS_P_STORE(&c->error, STWS_CLOSED);
    if (stws_p_refusal.client == c) stws_p_refusal.client = NULL;
}

/* Cleans up after a connection, whether it had reached a session or not. Closes the transport.
   Subscriptions, and frames that the outbox has kept, become unsent, so that the next session
   sends them again. Receipts of all other frames that were sent end with STWS_ERR_LOST. Enters
   BACKOFF. Takes the lock. Only stws_p_end_connection calls this. */
static void stws_p_clean_up_session(stws *c) {
    stws_p_close_transport(c);
    stws_p_lock(c);
    c->disconnect_number = 0;
    c->renewing = 0;
    /* The lost output of a session counts, not that of an attempt. */
    c->losses += c->s.version && (c->write_error || stws_p_pending(&c->s.out));
    stws_p_free_heap_buffers(c);
    stws_p_subs_prepare_resend(&c->s.subs);
    stws_p_outbox_prepare_resend(&c->s);
    stws_p_finish_receipts(&c->s, STWS_P_RECEIPT_SENT, STWS_P_NEVER, STWS_ERR_LOST);
    stws_p_session_reset(&c->s, c->now);
    stws_p_enter_state(c, STWS_BACKOFF, c->now);
    c->close_sent = 0;
    stws_p_signal(c);
    stws_p_unlock(c);
    c->held = 0;
    c->hook_us = 0;
    c->put_off = 0;
    c->error_us = c->error_close_us = c->renew_us = STWS_P_NEVER;
}

/* ==== >>lost: a connection ended: try again, or give up ====

   Every attempt and every session ends in stws_p_end_connection. It cleans up, which leads to
   BACKOFF, and decides what follows:

       attempt or session --> BACKOFF --+--> the next attempt, at c->deadline_us
                                        |
                                        +--> ENDED

   The decision depends on the kind of the failure (STWS_P_PASSING to STWS_P_FINAL), on options
   reconnect, reconnect_attempts and give_up, and on an end that the program has asked for. In
   both cases exactly one event DISCONNECTED follows.

   This section also finds a subscription that makes the server end its sessions: see
   stws_p_on_trial_locked. Only the driving thread calls these functions, without the lock;
   they take it to read or change the tables. */

/* Puts `head` in front of the last error's sentence, and sets the error's code. Cuts the end
   of the sentence if the buffer is too small. */
static void stws_p_error_prepend(stws *c, int error, const char *head) {
    size_t len = stws_p_within(strlen(head), 0, c->text_size - 1);
    size_t kept = stws_p_within(strlen(c->text), 0, c->text_size - 1 - len);
    memmove(c->text + len, c->text, kept);
    memcpy(c->text, head, len);
    c->text[len + kept] = 0;
    stws_p_make_printable(c->text); /* its last character may be cut in two */
    STWS_P_STORE(&c->error, error);
}

/* Appends `tail` to the last error's sentence. */
static void stws_p_error_append(stws *c, const char *tail) {
    size_t len = strlen(c->text);
    snprintf(c->text + len, c->text_size - len, "%s", tail);
    stws_p_make_printable(c->text);
}

/* Some brokers answer a SUBSCRIBE that they refuse by ending the session, and do not tell which
   SUBSCRIBE it was. Then the client would reconnect, subscribe and lose the session for ever.
   The functions below find such a subscription:

     - For STWS_P_TRIAL_US (1 s) after its SUBSCRIBE a subscription is on trial.
     - If the server ends the session in that time, the subscriptions on trial become the
       suspects.
     - After two such sessions in a row, a session sends only half of its suspects at a time,
       before everything else (stws_p_post_suspects_locked). So each lost session halves their
       number.
     - A subscription that was on trial alone in three such sessions in a row is set aside: no
       session sends it again, and the user gets STWS_EVENT_SUBSCRIPTION_REFUSED.
     - A session that outlives a trial acquits all that were on trial.

   Returns how many subscriptions are on trial now (or were when the session's first ERROR
   came), and stores one of them in *one, or NULL. */
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

/* Extends the error's sentence if the server may have ended the session because of a
   SUBSCRIBE. Called when the ERROR arrives, or at the end of a session that the server ended
   without an ERROR. Takes the lock. */
static void stws_p_report_trial(stws *c) {
    const stws_p_sub *one;
    char tail[240];
    int count;
    stws_p_lock(c);
    count = stws_p_on_trial_locked(c, &one);
    if (one && count == 1)
        snprintf(tail, sizeof tail, "; this happened right after SUBSCRIBE to \"%.100s\"%s",
                 stws_p_sub_destination(&c->s.subs, one),
                 one->suspicion + 1 < STWS_P_GUILTY
                     ? ""
                     : ", for the third time in a row: that subscription is set aside");
    else
        snprintf(tail, sizeof tail, "; this happened right after %d SUBSCRIBEs%s", count,
                 c->s.subs.failed_trials ? ": the next sessions try fewer of them at a time" : "");
    stws_p_unlock(c);
    if (count) stws_p_error_append(c, tail);
}

/* The server has ended a session: the subscriptions on trial are the suspects now, and all
   others are innocent. Sets a subscription aside that was on trial alone for the third time
   in a row; c->aside then makes the event. */
static void stws_p_judge_trial_locked(stws *c) {
    stws_p_subs *t = &c->s.subs;
    const stws_p_sub *one;
    int count = stws_p_on_trial_locked(c, &one), i;
    t->failed_trials = count ? t->failed_trials + 1 : 0;
    for (i = 0; (t->on_trial || t->suspects) && i < t->count; i++) {
        stws_p_sub *sub = &t->slots[i];
        int suspicion = !count || !sub->on_trial ? 0 : count > 1 ? 1 : sub->suspicion + 1;
        if (suspicion == STWS_P_ONE_OF_SEVERAL && count == 1) suspicion = STWS_P_ALONE;
        stws_p_acquit(t, sub);
        if (suspicion < STWS_P_GUILTY) stws_p_suspect(t, sub, suspicion);
        else STWS_P_STORE(&c->aside, sub->handle), stws_p_sub_enter(t, sub, STWS_P_SUB_ASIDE);
    }
}

/* Called at the end of each session. Only if the server has ended it, with an ERROR or a
   close frame, a SUBSCRIBE may be the reason. A connection that just breaks proves nothing. */
static void stws_p_end_trial(stws *c) {
    if (c->error != STWS_ERR_BROKER && c->error != STWS_ERR_WS_CLOSE) return;
    if (c->error_us == STWS_P_NEVER) stws_p_report_trial(c); /* else the ERROR's sentence has it */
    stws_p_lock(c);
    stws_p_judge_trial_locked(c);
    stws_p_unlock(c);
}

/* Ends the client because the program asked for it. The result is STWS_CLOSED after
   stws_stop, and if nothing is lost. If stws_disconnect or stws_close leaves `left` frames
   unsent or unconfirmed, or output unwritten, the result is STWS_ERR_LOST, and c->text
   explains it. */
static void stws_p_end_on_request(stws *c, size_t left, int lost_output) {
    const char *last = *c->text ? "; the last error: " : "";
    char head[160];
    if (STWS_P_LOAD(&c->stop) || (!left && !lost_output)) {
        stws_p_end_client(c, STWS_CLOSED);
        return;
    }
    if (left)
        snprintf(head, sizeof head, "ended with %zu frames that were not sent or not confirmed%s",
                 left, last);
    else snprintf(head, sizeof head, "ended before all output was written%s", last);
    stws_p_error_prepend(c, STWS_ERR_LOST, head);
    stws_p_end_client(c, STWS_ERR_LOST);
}

/* Returns the milliseconds to wait before the next attempt: 0 if at_once is set, else the
   back-off. If the program has asked for the end, waits at most a quarter of the time that
   is left (but 100 ms may always pass), so that several attempts are made before that end. */
static long long stws_p_retry_ms(stws *c, int at_once, int asked) {
    long long ms = at_once ? 0 : stws_p_backoff_ms(c),
              most = asked ? (c->end_us - c->now) / STWS_P_US / 4 : ms;
    if (asked && most < 100) most = 100;
    return ms > most ? most : ms;
}

/* What a failure means for the next attempt. */
enum {
    STWS_P_PASSING, /* the next attempt may succeed */
    /* The next attempt fails, too, unless the server's configuration changes. After a session
       that is likely: this server has accepted us before. */
    STWS_P_REFUSED,
    STWS_P_DENIED, /* the next attempt fails, too, unless it has other credentials */
    STWS_P_FINAL   /* no next attempt: it would fail, or the program asked for the end */
};

/* Returns the number of entries of a list that ends with NULL; 0 if there is no list. */
static int stws_p_list_count(const char *const *list) {
    int count = 0;
    while (list && list[count]) count++;
    return count;
}

/* Returns 1 if a failure of that kind ends the client (option give_up). STWS_P_PASSING never
   does, STWS_P_FINAL always does. With STWS_GIVE_UP_SOON the two others always do, with
   STWS_GIVE_UP_NEVER they never do. By default they end it before the first session, once every
   URL was tried. After a session only STWS_P_DENIED does, and only without before_connect,
   which could bring new credentials. */
static int stws_p_gives_up(const stws *c, int kind) {
    if (kind == STWS_P_PASSING || kind == STWS_P_FINAL) return kind == STWS_P_FINAL;
    if (c->o.give_up == STWS_GIVE_UP_NEVER) return 0;
    if (c->o.give_up == STWS_GIVE_UP_SOON) return 1;
    if (!c->had_session) return c->failures + 1 >= stws_p_list_count(c->o.urls);
    return kind == STWS_P_DENIED && !c->o.before_connect;
}

/* Remembers the address of an attempt that failed after TCP had connected. The next attempt
   begins with the address behind it. */
static void stws_p_note_address(stws *c) {
    int reached = c->state == STWS_TLS || c->state == STWS_UPGRADING || c->state == STWS_LOGGING_IN;
    if (reached && !c->o.transport) c->unlucky = c->tcp.reached;
}

/* Every attempt and every session ends here. The caller has reported the error (c->error and
   c->text); `kind` tells what the failure means for the next attempt.

     1. Counts the failure. A session that lasted stable_ms sets the count back to 0 first. A
        planned renewal (c->renewing) is no failure.
     2. Looks for subscriptions that made the server end the session (stws_p_end_trial).
     3. Cleans up (stws_p_clean_up_session).
     4. Ends the client: because the program asked for it, because the error is final, because
        option reconnect is off, or because reconnect_attempts are used up. Otherwise sets
        c->deadline_us, at which BACKOFF ends and the next attempt begins.

   In each case the event DISCONNECTED is due afterwards. Always returns 1: the state is new. */
static int stws_p_end_connection(stws *c, int kind) {
    int final = stws_p_gives_up(c, kind);
    int renewal = c->renewing, asked = STWS_P_LOAD(&c->asked) || STWS_P_LOAD(&c->stop), lost_output,
        gave_up;
    /* DISCONNECT was sent: frames that are left belong to transactions that are still open. */
    int disconnect_sent = asked && c->state == STWS_CLOSING;
    size_t left, unconfirmed;
    char head[64];
    /* A stws_reconnect_now from here on is meant for the next attempt. */
    STWS_P_STORE(&c->reconnect_asked, 0);
    c->now = c->clock.now_us(c->clock.ctx); /* a callback may have taken long */
    if (c->state == STWS_CONNECTED && c->now - c->session_us >= stws_p_ms_to_us(c->o.stable_ms))
        c->failures = 0;
    c->failures += !renewal;
    stws_p_note_address(c);
    if (c->state == STWS_CONNECTED && !renewal) stws_p_end_trial(c);
    /* What the peer has not got, before the session is cleaned up. */
    stws_p_lock(c);
    lost_output = c->s.version && (c->state != STWS_CLOSING || c->disconnect_number) &&
                  (c->write_error || (c->close_sent ? c->unwritten : stws_p_pending(&c->s.out)));
    unconfirmed = c->s.unconfirmed;
    stws_p_unlock(c);
    stws_p_clean_up_session(c);
    stws_p_lock(c);
    left = disconnect_sent ? unconfirmed : c->s.outbox.count;
    stws_p_unlock(c);
    if (renewal && lost_output)
        stws_p_error_prepend(c, STWS_ERR_LOST,
                             "output was lost: the server did not accept it in close_timeout_ms: ");
    /* Decide what follows. */
    c->retry_ms = -1;
    c->disconnected_due = 1;
    gave_up = c->o.reconnect_attempts > 0 && c->failures > c->o.reconnect_attempts && !renewal;
    final |= (c->o.reconnect == STWS_OFF && !renewal) || gave_up || disconnect_sent;
    if (asked && (final || !left || STWS_P_LOAD(&c->stop) || stws_p_ms_until(c, c->end_us) == 0)) {
        stws_p_end_on_request(c, left, lost_output);
    } else if (final) {
        snprintf(head, sizeof head, "gave up after %d attempts; the last error: ", c->failures);
        if (gave_up) stws_p_error_prepend(c, STWS_ERR_GAVE_UP, head);
        stws_p_end_client(c, c->error);
    } else {
        c->retry_ms = stws_p_retry_ms(c, renewal, asked);
        c->deadline_us = c->now + c->retry_ms * STWS_P_US;
    }
    c->retry_after_ms = 0;
    return 1;
}

/* ==== >>attempt: from a URL to the addresses to connect to ====

   The first part of an attempt, from BACKOFF to CONNECTING:

       choose a URL --> before_connect --> parse it --> RESOLVING --> CONNECTING
                             |                           ^  proxy, TLS, addresses
                             v                           |
                       ask again later                a redirect

   c->try_now holds the URL, the credentials and the headers of this attempt. before_connect may
   change them. They stay until the attempt ends, because the upgrade request and CONNECT are
   encoded from them. The list of addresses lies in the input buffer, which is unused until the
   connection is open.

   Only the driving thread calls these functions, without the lock: stws_p_turn, and
   stws_p_turn_upgrading for a redirect. getaddrinfo is the only call that may block. */

/* Returns the URL of the next attempt: option url, or the next entry of option urls. After
   the last entry the first one follows. With shuffle_urls the first choice is random. */
static const char *stws_p_pick_url(stws *c) {
    int count = stws_p_list_count(c->o.urls);
    if (!count) return c->o.url;
    if (c->url_index < 0)
        c->url_index = c->o.shuffle_urls ? (int)stws_p_random_up_to(c, count - 1) : 0;
    return c->o.urls[c->url_index++ % count];
}

/* Calls before_connect, if it is set. Returns 1 if the attempt goes on. Returns 0 if the
   callback wants to be called again later (at c->deadline_us), or if it has ended the
   client. */
static int stws_p_ask_before_connect(stws *c) {
    int answer;
    if (!c->o.before_connect) return 1;
    c->calling++;
    answer = c->o.before_connect(c, &c->try_now, c->o.user);
    c->calling--;
    c->put_off = answer > 0;
    if (answer == 0) return 1;
    if (answer > 0) {
        c->deadline_us = c->now + stws_p_ms_to_us(answer);
    } else {
        stws_p_fail(c, STWS_ERR_USAGE, "before_connect ended the client");
        stws_p_end_connection(c, STWS_P_FINAL);
    }
    return 0;
}

/* Begins to connect to c->url: resets the session, the HTTP status and the close code, and
   enters RESOLVING. Called once per attempt, and once per redirect that is followed. */
static void stws_p_begin_connecting(stws *c) {
    stws_p_lock(c);
    stws_p_session_reset(&c->s, c->now);
    c->write_error = 0;
    c->http_scanned = 0;
    c->answer_over = 0;
    stws_p_unlock(c);
    STWS_P_STORE(&c->http_status, 0);
    STWS_P_STORE(&c->close_code, 0);
    c->stalled_us = 0;
    stws_p_enter_state(c, STWS_RESOLVING, stws_p_time_limit(c, c->o.connect_timeout_ms));
}

/* Begins a new attempt: chooses the URL and the credentials (c->try_now), lets
   before_connect change them, parses the URL, and enters RESOLVING. c->put_off is set if
   before_connect has asked to be called again: then c->try_now keeps what the callback has
   set already. */
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
    stws_p_enter_state(c, STWS_BACKOFF, c->now);
    if (!stws_p_ask_before_connect(c)) return;
    if (stws_url_parse(c->try_now.url, &c->url, &why) != STWS_OK) {
        stws_p_fail(c, STWS_ERR_URL, "before_connect supplied a URL that cannot be used: %s", why);
        stws_p_end_connection(c, STWS_P_FINAL);
        return;
    }
    c->redirects = 0;
    stws_p_begin_connecting(c);
}

/* Fills the list of addresses to connect to: those of option addresses; or `host`, if it is
   numeric; or what getaddrinfo finds for it, which may block. Behind a proxy `host` is the
   proxy's name. Returns 1, or 0 after the error was reported. */
static int stws_p_resolve(stws *c, const char *host) {
    int result, i, local;
    /* Nothing is read before the connection is open: the list lies in the input buffer. */
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
    /* Small containers often do not know the name localhost. */
    local = stws_p_equal_nocase(host, strlen(host), "localhost", 9);
    stws_p_fail(c, STWS_ERR_RESOLVE, "the %shost name \"%s\" could not be resolved: %s%s",
                c->tcp.proxy ? "proxy's " : "", host, gai_strerror(result),
                local ? "; add it to /etc/hosts, or use 127.0.0.1" : "");
    return 0;
}

/* Chooses the proxy of this attempt (option proxy, or the environment), and what to ask it
   for: the host of the URL, or one of option addresses, another one for each attempt.
   Returns 1, also if there is no proxy; 0 if the environment's proxy URL cannot be used,
   after the error was reported. */
static int stws_p_choose_proxy(stws *c, const char *host) {
    const char *url = STWS_P_HAS_PROXY ? c->o.proxy : NULL;
    int count = stws_p_list_count(c->o.addresses);
    if (url && strcmp(url, STWS_PROXY_FROM_ENVIRONMENT) == 0)
        url = stws_p_proxy_from_environment(host, c->url.secure);
    if (!url) return 1;
    memset(c->proxy, 0, sizeof *c->proxy);
    c->tcp.proxy = c->proxy;
    if (!stws_p_proxy_parse(&c->proxy->at, url)) {
        stws_p_fail(c, STWS_ERR_USAGE, "the environment's proxy is unusable: %s",
                    stws_p_proxy_url_wrong);
        return 0;
    }
    if (count) host = c->o.addresses[(c->try_now.number - 1) % count];
    snprintf(c->proxy->target, sizeof c->proxy->target, "%s", host);
    return 1;
}

/* One turn in state RESOLVING: chooses the transport (TCP, through a proxy or not, with TLS
   or without), resolves the host, and enters CONNECTING. A failure ends the attempt. Always
   returns 1. */
STWS_P_NOINLINE static int stws_p_turn_resolving(stws *c) {
    char host[256];
    snprintf(host, sizeof host, "%.*s", (int)c->url.host_len, c->url.host);
    if (!c->o.transport) stws_p_tcp_init(&c->tcp, &c->clock, &c->io);
    if (!stws_p_choose_proxy(c, host)) return stws_p_end_connection(c, STWS_P_FINAL);
    if (c->tls && c->url.secure) {
        c->locked_random.ctx = c;
        c->locked_random.fill = stws_p_client_random;
        stws_p_tls_prepare(c->tls, &c->o, &c->locked_random, &c->tcp, &c->io);
    } else if (!c->o.transport && c->url.secure) {
        stws_p_fail(c, STWS_ERR_TLS,
                    "%s needs TLS: compile the implementation with STOMP_WS_BEARSSL, or set option "
                    "tls; and the options of stws_create need a wss:// URL",
                    stws_p_public_url(c));
        return stws_p_end_connection(c, STWS_P_FINAL);
    }
    if (!c->o.transport && !stws_p_resolve(c, c->tcp.proxy ? c->tcp.proxy->at.host : host))
        return stws_p_end_connection(c, STWS_P_PASSING);
    stws_p_tcp_try_last(&c->tcp, &c->unlucky);
    stws_p_enter_state(c, STWS_CONNECTING, stws_p_time_limit(c, c->o.connect_timeout_ms));
    return 1;
}

/* ==== >>upgrade: open the connection, and the WebSocket handshake ====

   The second part of an attempt, from CONNECTING to LOGGING_IN:

       CONNECTING --> TLS --> UPGRADING --> LOGGING_IN   CONNECT is in the output
                                 |
                                 +--> RESOLVING          a redirect
                                 +--> BACKOFF            a refusal, with a sentence

   Before the handshake is done, the output holds only the upgrade request. The input holds the
   server's answer, perhaps with WebSocket frames behind it. The answer's head is parsed in
   place. HTTP heads may be larger than the buffers of the client's block; both buffers may then
   grow on the heap, and stws_p_end_upgrade goes back to those of the block.

   Only the driving thread calls these functions (stws_p_turn_network), without the lock.
   They take it to change the output. */

/* Moves the output into a larger buffer, from the heap, for a frame that does not fit into
   the present one. Returns 1; 0 without a heap or memory, while the buffer is being written,
   or if it is large enough already. The lock is held. */
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

/* Puts the upgrade request, with a new Sec-WebSocket-Key, into the output, which grows for
   it if it may. Takes the lock. Returns STWS_OK, STWS_ERR_SPACE, STWS_ERR_USAGE, or
   STWS_ERR_IO if there is no randomness. */
static int stws_p_post_upgrade(stws *c) {
    unsigned char random[16];
    size_t need = 0;
    int result;
    if (stws_p_client_random(c, random, sizeof random) != 0) return STWS_ERR_IO;
    stws_handshake_key(random, c->key);
    stws_p_lock(c);
    result = stws_p_encode_upgrade(c, c->s.out.data, c->s.out.cap, &need);
    if (result == STWS_ERR_SPACE && stws_p_grow_output(c, need))
        result = stws_p_encode_upgrade(c, c->s.out.data, c->s.out.cap, &need);
    if (result == STWS_OK) c->s.out.end = need;
    stws_p_unlock(c);
    return result;
}

/* Shows on_trace an HTTP head: first_line in the place of a command, and the headers of
   `head`. The lock is held if we send it. */
static void stws_p_trace_head(stws *c, stws_direction direction, const char *first_line,
                              const stws_http *head) {
    stws_frame frame;
    memset(&frame, 0, sizeof frame);
    frame.command = first_line;
    frame.headers = head->headers;
    frame.header_count = head->header_count;
    stws_p_trace(&c->s, direction, &frame);
}

/* Shows on_trace the upgrade request. Encodes it once more, into the input, which is still
   empty, and parses it there. If it does not fit there, only the first line is shown. Hides
   the query of the URL. */
STWS_P_NOINLINE static void stws_p_trace_upgrade(stws *c) {
    const char *target = c->url.target_len ? c->url.target : "/";
    size_t len = stws_p_public_len(target), need = 0;
    stws_http head;
    char word[128];
    if (!c->o.on_trace) return;
    memset(&head, 0, sizeof head);
    head.headers = c->s.parser.headers;
    head.max_headers = c->o.max_headers;
    head.max_bytes = c->s.in.cap;
    if (stws_p_encode_upgrade(c, c->s.in.data, c->s.in.cap, &need) == STWS_OK)
        stws_handshake_parse(c->s.in.data, need, &head, &need);
    snprintf(word, sizeof word, "GET %.*s%s HTTP/1.1", (int)stws_p_within(len, 0, 90), target,
             target[len] ? "***" : "");
    stws_p_lock(c);
    stws_p_trace_head(c, STWS_SENT, word, &head);
    stws_p_unlock(c);
}

/* One turn in state CONNECTING or TLS: calls the transport's `open` again. When the
   connection is open, puts the upgrade request into the output and enters UPGRADING. TCP,
   the proxy and the TLS handshake have connect_timeout_ms each. Returns 1 when the state has
   changed, 0 if it has to be called again. */
static int stws_p_turn_connecting(stws *c) {
    const char *why = NULL;
    char host[256];
    stws_endpoint to = {host, c->url.port, c->url.secure};
    int result, refused, asked = stws_p_proxy_in_dialogue(&c->tcp);
    snprintf(host, sizeof host, "%.*s", (int)c->url.host_len, c->url.host);
    c->opened = 1;
    result = c->io.open(c->io.ctx, &to);
    if (!asked && stws_p_proxy_in_dialogue(&c->tcp))
        c->deadline_us = stws_p_time_limit(c, c->o.connect_timeout_ms); /* the proxy's own time */
    if (c->state == STWS_CONNECTING && stws_p_tls_begun(c->tls))
        stws_p_enter_state(c, STWS_TLS, stws_p_time_limit(c, c->o.connect_timeout_ms));
    if (result == STWS_MORE) return 0;
    if (result < 0) {
        if (c->io.error) why = c->io.error(c->io.ctx);
        why = stws_p_or(why, stws_result_text(result));
        stws_p_fail(c, result, "no connection to %s port %d: %s", host, to.port, why);
        refused = result == STWS_ERR_TLS_TRUST ||
                  (result == STWS_ERR_TLS && stws_p_tls_is_final(c->tls)) ||
                  (result == STWS_ERR_PROXY && c->tcp.proxy && c->tcp.proxy->final);
        return stws_p_end_connection(c, refused ? STWS_P_REFUSED : STWS_P_PASSING);
    }
    result = stws_p_post_upgrade(c);
    if (result != STWS_OK) {
        stws_p_fail(c, result, "%s",
                    result == STWS_ERR_SPACE ? "the upgrade request does not fit into tx_buffer"
                    : result == STWS_ERR_IO
                        ? "the system provides no random numbers"
                        : "a header of the upgrade request is not valid: check before_connect");
        return stws_p_end_connection(c, STWS_P_FINAL);
    }
    stws_p_trace_upgrade(c);
    stws_p_enter_state(c, STWS_UPGRADING, stws_p_time_limit(c, c->o.handshake_timeout_ms));
    return 1;
}

/* Shows on_trace the head of the answer to the upgrade. */
static void stws_p_trace_answer(stws *c, const stws_http *answer) {
    char word[64];
    snprintf(word, sizeof word, "HTTP/1.1 %d %.40s", answer->status, answer->reason);
    stws_p_trace_head(c, STWS_RECEIVED, word, answer);
}

/* Returns how long Retry-After asks us to wait (RFC 9110, section 10.2.3), in milliseconds;
   0 without such a header. It has seconds or a date. The date is compared with the answer's
   own Date, because our clock may be wrong. */
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

/* Returns what an HTTP status other than 101 means for the next attempt: one of
   STWS_P_PASSING to STWS_P_DENIED. */
static int stws_p_status_kind(int status) {
    if (status == 401 || status == 403 || status == 407) return STWS_P_DENIED;
    return stws_p_status_is_final(status) ? STWS_P_REFUSED : STWS_P_PASSING;
}

/* Reports an answer by which the server did not switch to WebSocket, and ends the attempt.
   Another status than 101 gets a sentence made of its status, its headers and its page. For
   a 101 that breaks RFC 6455, section 4.1, `why` is the sentence. Always returns 1. */
static int stws_p_refused_upgrade(stws *c, const stws_http *answer, int result, const char *why) {
    const char *culprit = NULL;
    stws_p_input *in = &c->s.in;
    size_t page = in->raw_end - in->raw;
    int whole;
    if (result == STWS_ERR_HTTP_STATUS) {
        if (STWS_P_HAS_TEXTS && stws_http_has_token(answer, "Transfer-Encoding", "chunked"))
            page = stws_p_unchunk(in->data + in->raw, in->data + in->raw, page, &whole);
        c->retry_after_ms = stws_p_retry_after_ms(answer);
        stws_p_fail_status(c, answer, in->data + in->raw, page);
        return stws_p_end_connection(c, stws_p_status_kind(answer->status));
    }
    if (result == STWS_ERR_HTTP_SUBPROTOCOL)
        culprit = stws_http_header(answer, "Sec-WebSocket-Protocol");
    if (result == STWS_ERR_HTTP_EXTENSION)
        culprit = stws_http_header(answer, "Sec-WebSocket-Extensions");
    stws_p_fail(c, result, "%s%s%.60s", why, culprit ? ": " : "", stws_p_or(culprit, ""));
    return stws_p_end_connection(c, STWS_P_REFUSED);
}

/* HTTP heads may have needed larger buffers than those in the client's block. Goes back to
   these, if what is left in the buffers fits. The lock is held. */
static void stws_p_end_upgrade(stws *c) {
    stws_p_input *in = &c->s.in;
    size_t left = in->raw_end - in->raw;
    if (stws_p_pending(&c->s.out) || left > c->o.rx_buffer) return;
    memmove(c->block_in, in->data + in->raw, left);
    stws_p_free_heap_buffers(c);
    in->begin = in->end = in->raw = c->s.out.begin = c->s.out.end = 0;
    in->raw_end = left;
}

/* Returns 1 if the answer is a refusal, and a part of its page is still to come. The page
   explains the refusal, and the error's sentence shall not depend on how the network cuts the
   answer. Waits until the page is whole, or large enough, for at most STWS_P_PAGE_MS. */
static int stws_p_waits_for_page(stws *c) {
    const stws_p_input *in = &c->s.in;
    long long end = c->now + stws_p_ms_to_us(STWS_P_PAGE_MS);
    if (!STWS_P_HAS_TEXTS || c->answer_over) return 0;
    if (stws_p_answer_is_whole(in->data + in->raw, in->raw_end - in->raw, c->http_scanned))
        return 0;
    if (c->deadline_us > end) c->deadline_us = end;
    return 1;
}

/* One turn in state UPGRADING, after reading: looks at the answer once its head is whole.
   Skips answers 100 to 199 other than 101; follows a redirect; or checks the answer (RFC
   6455, section 4.1), puts CONNECT into the output and enters LOGGING_IN. Returns 1 when
   something has changed, 0 if more has to be read. */
STWS_P_NOINLINE static int stws_p_turn_upgrading(stws *c) {
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
    /* Parse the head. */
    if (in->raw == in->raw_end || stws_p_waits_for_page(c)) return 0;
    result = stws_handshake_parse(in->data + in->raw, in->raw_end - in->raw, &answer, &used);
    c->http_scanned = answer.scanned;
    if (result == STWS_DONE && !answer.status) result = STWS_ERR_HTTP; /* a request line */
    if (result == STWS_MORE) return 0;
    if (result == STWS_ERR_HTTP) stws_p_fail_not_http(c, in->data + in->raw, in->raw_end - in->raw);
    if (result == STWS_ERR_HTTP_LIMIT)
        stws_p_fail(c, result,
                    "the HTTP head at %s has over %zu bytes or over %zu headers (max_headers)",
                    stws_p_public_url(c), answer.max_bytes, c->o.max_headers);
    if (result < 0) return stws_p_end_connection(c, STWS_P_REFUSED);
    /* The head is whole: the bytes behind it are WebSocket frames, or a page. */
    in->raw += used;
    in->begin = in->end = in->raw;
    if (answer.status >= 100 && answer.status < 200 && answer.status != 101) return 1;
    STWS_P_STORE(&c->http_status, answer.status);
    stws_p_trace_answer(c, &answer);
    stws_p_store_answer_headers(c, &answer);
    stws_p_keep_cookies(c, &answer);
    if (stws_p_follow_redirect(c, &answer)) {
        stws_p_close_transport(c);
        stws_p_begin_connecting(c);
        return 1;
    }
    /* Check the answer, then log in. */
    result = stws_handshake_check(&answer, c->key, c->o.subprotocols, NULL, &why);
    if (result != STWS_OK) return stws_p_refused_upgrade(c, &answer, result, why);
    stws_p_lock(c);
    stws_p_end_upgrade(c);
    result = stws_p_encode_connect(&c->s, &c->try_now, &need);
    if (result == STWS_ERR_SPACE && stws_p_grow_output(c, need))
        result = stws_p_encode_connect(&c->s, &c->try_now, &need);
    stws_p_unlock(c);
    if (result != STWS_OK) {
        stws_p_fail(c, result, "CONNECT cannot be sent: %s",
                    result == STWS_ERR_SPACE ? "it does not fit into tx_buffer"
                                             : stws_result_text(result));
        return stws_p_end_connection(c, STWS_P_FINAL);
    }
    stws_p_enter_state(c, STWS_LOGGING_IN, stws_p_time_limit(c, c->o.connected_timeout_ms));
    return 1;
}

/* No more of the answer will come, or the time to wait for it is over: looks at the part
   that is there. Returns 1 if that changed the state. */
static int stws_p_end_answer(stws *c) {
    if (!STWS_P_HAS_TEXTS || c->state != STWS_UPGRADING || c->answer_over) return 0;
    c->answer_over = 1;
    return stws_p_turn_upgrading(c);
}

/* Returns 1 in the states in which STOMP frames arrive: LOGGING_IN, CONNECTED and CLOSING.
   They are neighbours in stws_connection_state. */
static int stws_p_reads_frames(int state) {
    return state >= STWS_LOGGING_IN && state <= STWS_CLOSING;
}

/* ==== >>output: what a session has to send, heart-beats and PINGs too, and writing it ====

   Moves frames from the tables of the session into the output buffer, and writes the buffer:

       subscriptions --+
       outbox ---------+--post--> c->s.out --write--> transport
       heart-beats ----+

   A function stws_p_post_... encodes frames into the output under the lock. If there is no
   room, it changes nothing, and a later turn tries again. Without a masking key the session
   ends, and the next session sends the frame. stws_p_prepare_output_locked calls these
   functions in a fixed order. Two rules matter most: SUBSCRIBEs come before the frames of the
   outbox, and the outbox keeps the order of the calls.

   Any thread may append to the output under the lock. Only the thread that holds the client
   writes, and it does so without the lock. `busy` is set meanwhile, so that no other thread
   moves the buffer. After a failed write the turn drops the output (stws_p_end_output), and
   this session writes nothing more. */

/* Encodes a frame into the output, which grows if the frame is larger than it. Returns STWS_OK;
   STWS_ERR_SPACE if there is no room before some output is written; STWS_ERR_LIMIT if the frame
   never fits; STWS_ERR_FRAME_BUILD or STWS_ERR_IO like stws_p_encode_frame_locked. */
static int stws_p_post_growing_locked(stws *c, const stws_frame *frame, int body_is_utf8) {
    size_t need = 0, pending = stws_p_pending(&c->s.out);
    int result = stws_p_encode_frame_locked(&c->s, frame, body_is_utf8, &need);
    if (result != STWS_ERR_SPACE) return result;
    if (need > c->s.out.cap && !c->has_heap) return STWS_ERR_LIMIT;
    if (need <= c->s.out.cap || pending > c->o.tx_buffer) return result;
    if (!stws_p_grow_output(c, need + pending)) return pending ? result : (int)STWS_ERR_LIMIT;
    return stws_p_encode_frame_locked(&c->s, frame, body_is_utf8, &need);
}

/* Calls before_subscribe for one subscription. The lock is held, but released during the
   callback; meanwhile sub->pinned keeps the subscription's texts in place. Fills *asked,
   whose headers the callback may set. Returns the callback's answer: 0 to subscribe, a
   positive number to be asked again in so many milliseconds, a negative number to do without
   the subscription in this session. */
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

/* Sends one SUBSCRIBE. Returns 1 when that is settled: it was sent, this session does
   without it (because of before_subscribe, or because the frame is impossible), or the
   subscription was ended during the callback. Returns 0 if it has to wait: for room, or for
   before_subscribe. The lock is held, but released during the callback. */
static int stws_p_post_subscribe_locked(stws *c, stws_p_sub *sub) {
    stws_p_session *s = &c->s;
    stws_subscribing asked;
    stws_p_draft draft;
    char id[STWS_P_ID_TEXT];
    int handle = sub->handle, result = STWS_ERR_STATE,
        answer = stws_p_ask_before_subscribe(c, sub, &asked);
    if (sub->handle != handle) return 1; /* the callback has ended it */
    if (answer > 0) {
        c->hook_us = c->now + stws_p_ms_to_us(answer);
        return 0;
    }
    if (answer == 0) {
        if (sub->wants_receipt && !sub->receipt) sub->receipt = stws_p_add_receipt(s, handle);
        stws_p_compose_subscribe(s, &draft, sub, asked.headers,
                                 stws_p_receipt_id(id, sub->receipt));
        result = draft.too_many_headers ? (int)STWS_ERR_LIMIT
                                        : stws_p_post_growing_locked(c, &draft.frame, 0);
        if (result == STWS_ERR_SPACE || result == STWS_ERR_IO) return 0;
        s->stats.dropped += result != STWS_OK;
    }
    if (result == STWS_OK) {
        stws_p_receipt_frame_sent(s, sub->receipt, c->now);
        if (c->error_us == STWS_P_NEVER) stws_p_put_on_trial(&s->subs, sub, c->now);
        stws_p_sub_enter(&s->subs, sub, STWS_P_SUB_SENT);
    } else {
        stws_p_fail_receipt(s, sub->receipt, result);
        stws_p_acquit(&s->subs, sub);
        stws_p_sub_enter(&s->subs, sub, STWS_P_SUB_SKIPPED);
    }
    sub->receipt = 0;
    if (!s->subs.unsent) stws_p_signal(c);
    return 1;
}

/* Sends the SUBSCRIBEs of half of the suspects that are left. If the session outlives them,
   a later call sends half of the rest. See stws_p_on_trial_locked. */
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

/* Sends the SUBSCRIBEs that this session has not sent yet, as far as there is room. Usually
   that is all of them, in the order of their handles. After two sessions that ended right
   after SUBSCRIBEs (stws_p_is_careful) the suspects come first, some at a time, a second
   apart. Does nothing during a delay that before_subscribe asked for (c->hook_us). The lock
   is held. */
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
    /* Pinned: we were called from its before_subscribe. */
    while (sub && !sub->pinned && stws_p_post_subscribe_locked(c, sub));
}

/* Takes a frame out of the outbox that will not be sent. Its receipt ends with that result,
   and threads that wait for room wake up. If it is a part of a transaction, the whole
   transaction is broken. The lock is held. */
static void stws_p_drop_record(stws *c, stws_p_record *r, int result) {
    stws_p_record_drop(&c->s, r, result);
    if (r->tied) stws_p_transaction_break(&c->s, r);
    stws_p_signal(c);
}

/* An UNSUBSCRIBE was sent. A new subscription with the same id may have waited for it
   (STWS_P_SUB_WAITS_FOR_ID), because the server accepts an id only once; it may be sent now.
   The lock is held. */
static void stws_p_free_id(stws_p_session *s, const stws_p_record *unsubscribe) {
    const char *id = stws_frame_header(&unsubscribe->frame, "id");
    stws_p_sub *sub = stws_p_find_custom(&s->subs, id, strlen(id));
    if (sub && sub->state == STWS_P_SUB_WAITS_FOR_ID &&
        !stws_p_outbox_has_unsubscribe(&s->outbox, id))
        stws_p_sub_enter(&s->subs, sub, STWS_P_SUB_UNSENT);
}

/* Moves frames from the outbox into the output, in their order, until there is no room, or
   until SUBSCRIBEs have to go first. Frames of an earlier session, and frames that this
   session cannot represent, are dropped. A frame that waits for a confirmation stays in the
   outbox as sent, so that the next session can send it again. */
static void stws_p_post_outbox_locked(stws *c, long long now) {
    stws_p_record *r;
    while (!stws_p_subs_come_first(&c->s.subs) &&
           (r = stws_p_outbox_next_unsent(&c->s.outbox)) != NULL) {
        int stale = r->epoch && r->epoch != c->s.epoch;
        int result = stale ? (int)STWS_ERR_STALE : stws_p_post_growing_locked(c, &r->frame, 0);
        /* no room: later; no masking key: in the next session */
        if (result == STWS_ERR_SPACE || result == STWS_ERR_IO) return;
        if (result != STWS_OK) stws_p_drop_record(c, r, result);
        r->sent_us = now;
        if (!r->confirm) stws_p_receipt_frame_sent(&c->s, r->receipt, now);
        if (result == STWS_OK) stws_p_record_enter(&c->s, r, STWS_P_RECORD_SENT);
        if (r->frame.command_id == STWS_COMMAND_UNSUBSCRIBE) stws_p_free_id(&c->s, r);
        stws_p_record_taken(&c->s, r);
    }
}

/* Called before a session is left: sends the ACKs and NACKs that still wait, and the ACK of
   the message in hand. They go before all other frames, because the next session cannot use
   them. They may overtake a waiting SUBSCRIBE, because their messages came by subscriptions
   that were sent earlier. An ACK in a transaction is left out. */
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

/* Sends a heart-beat (STOMP 1.2, "Heart-beating") if nothing was sent for half of the
   interval that we promised. Output that waits to be written is as good as a heart-beat. */
static void stws_p_post_heartbeat(stws *c) {
    long long idle = c->now - c->s.last_out_us;
    if (!c->s.heartbeat_out_us || idle < c->s.heartbeat_out_us / 2 || stws_p_pending(&c->s.out))
        return;
    if (stws_p_encode_short(&c->s, STWS_WS_TEXT, "\n", 1) != STWS_OK) return;
    c->s.stats.heartbeats_out++;
    stws_p_trace_word(&c->s, STWS_SENT, "");
}

/* Returns the time of the next PING: ping_ms after the last PING, and ping_ms after the last
   byte of the direction that was idle for longer, because a proxy may watch either
   direction. As long as the server has not answered a PING, traffic does not delay the next
   one: also on a busy connection we have to learn whether this server answers, because only
   then is its silence a sign of failure. */
static long long stws_p_ping_due(const stws_p_session *s) {
    long long idle = s->last_in_us < s->last_out_us ? s->last_in_us : s->last_out_us;
    if (!s->expected_us) idle = s->last_ping_us;
    return (idle > s->last_ping_us ? idle : s->last_ping_us) + s->ping_us;
}

/* Sends a PING if it is due (option ping_ms; RFC 6455, section 5.5.2). */
static void stws_p_post_ping(stws *c) {
    stws_p_session *s = &c->s;
    if (!s->ping_us || c->now < stws_p_ping_due(s) || stws_p_pending(&s->out)) return;
    if (stws_p_encode_short(s, STWS_WS_PING, stws_p_ping, sizeof stws_p_ping) != STWS_OK) return;
    s->pinged = 1;
    s->last_ping_us = c->now;
    s->stats.pings_out++;
    stws_p_trace_word(s, STWS_SENT, "PING");
}

/* Sends DISCONNECT with a receipt (STOMP 1.2, "DISCONNECT") and enters CLOSING, if
   stws_disconnect or stws_close has asked for it and everything before it is done: the outbox
   is sent; all confirmations have arrived, or c->end_us is over; and the user has given back
   every message that the library has to acknowledge, from the queue and in hand. */
static void stws_p_post_disconnect_locked(stws *c) {
    stws_p_draft draft;
    char id[STWS_P_ID_TEXT];
    int number;
    if (c->asked != STWS_P_ASKED_END || c->disconnect_number || c->s.outbox.untaken) return;
    if (c->s.unconfirmed && stws_p_ms_until(c, c->end_us) != 0) return;
    if ((c->hand_subscription && !*c->hand->answered) ||
        (c->o.queue && stws_p_queue_has_unacknowledged(c->o.queue, c, c->s.epoch)))
        return;
    number = stws_p_take_number(&c->s.next_receipt);
    stws_p_compose_locked(&c->s, &draft, STWS_COMMAND_DISCONNECT);
    stws_p_add(&draft, "receipt", stws_p_receipt_id(id, number));
    if (stws_p_post_growing_locked(c, &draft.frame, 0) != STWS_OK) return;
    c->disconnect_number = number;
    stws_p_enter_state(c, STWS_CLOSING, c->end_us);
}

/* Puts everything that is due in a session into the output. The order matters:

     1. The answer to a PING. It is sent while logging in and closing, too.
     2. SUBSCRIBEs, so that a new session subscribes before it sends anything.
     3. The frames of the outbox, in the order of the calls that put them there.
     4. A heart-beat and a PING, if the output is empty otherwise.
     5. DISCONNECT, when nothing else is left to do.

   A frame that does not have to wait does not come this way: the thread that calls stws_send
   puts it into the output itself (stws_p_submit_locked). */
static void stws_p_prepare_output_locked(stws *c) {
    stws_p_session *s = &c->s;
    STOMP_WS_ASSERT(stws_p_has_lock(c));
    if (s->pong_due && !c->close_sent &&
        stws_p_encode_short(s, STWS_WS_PONG, s->pong, s->pong_len) == STWS_OK) {
        s->pong_due = 0;
        stws_p_trace_word(s, STWS_SENT, "PONG");
    }
    if (c->state != STWS_CONNECTED || c->renewing || s->no_random) return;
    if (stws_p_subs_come_first(&s->subs)) stws_p_post_subscriptions_locked(c);
    else c->hook_us = 0; /* the delayed subscription has ended */
    if (s->outbox.untaken) stws_p_post_outbox_locked(c, c->now);
    stws_p_post_heartbeat(c);
    stws_p_post_ping(c);
    stws_p_post_disconnect_locked(c);
}

/* Writes pending output, as much as the transport accepts in one call. Returns the number of
   bytes; 0 if nothing is pending or nothing was accepted; or a negative error. Only the
   thread that holds the client may call it. Takes the lock, but not while it writes: then
   b->busy keeps the buffer in its place, and other threads may append to it. */
static long stws_p_write_once(stws *c, long long now) {
    stws_p_buffer *b = &c->s.out;
    const char *from;
    size_t len;
    long n;
    STOMP_WS_ASSERT(stws_p_holds_client(c));
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

/* Prepares output and writes it, until nothing is left or the transport accepts no more.
   Returns 1 if bytes were written, 0 if not, or a negative error. That is STWS_ERR_IO, too,
   if there is no masking key for the next frame and all earlier output is written: frames
   that wait are sent in the next session. */
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
    return stuck ? (int)STWS_ERR_IO : moved; /* the next session sends it */
}

/* ==== >>dispatch: close frames, CONNECTED, RECEIPT and ERROR ====

   Handles CONNECTED, RECEIPT and ERROR, and sends our close frames. A function stws_p_on_...
   changes the tables, and returns 1 if *e is an event for the user now. The pointers of its
   message lead into the input buffer. They stay valid until the next frame is handled.

       LOGGING_IN --CONNECTED--> a session begins: CONNECTED
       LOGGING_IN --ERROR------> its event, then the attempt ends (c->refused)
       CONNECTED  --ERROR------> its event, then the server has close_timeout_ms to close
       CLOSING    --RECEIPT----> of DISCONNECT: our close frame is sent

   stws_p_pull_frames calls these functions, in the driving thread and without the lock. They
   take it to change the tables. */

/* Makes *e an event of that type, without contents. */
static void stws_p_make_event(stws_event *e, stws_event_type type) {
    memset(e, 0, sizeof *e);
    e->type = type;
    e->text = "";
}

/* Makes *e an event about the frame that has arrived. Always returns 1. */
static int stws_p_frame_event(stws *c, stws_event *e, stws_event_type type) {
    stws_p_make_event(e, type);
    e->message = &c->s.message;
    return 1;
}

/* Sends a close frame (RFC 6455, section 5.5.1), unless that was done before, and writes
   what the transport accepts without waiting. c->unwritten then tells how many bytes of
   frames were still pending before the close frame. */
static void stws_p_send_close_frame(stws *c, int code, const char *reason) {
    char payload[125];
    size_t len = stws_ws_close_payload(payload, code, reason);
    stws_p_lock(c);
    if (!c->close_sent) c->unwritten = stws_p_pending(&c->s.out);
    if (!c->close_sent && !c->write_error &&
        stws_p_encode_short(&c->s, STWS_WS_CLOSE, payload, len) == STWS_OK) {
        c->close_sent = 1;
        stws_p_trace_word(&c->s, STWS_SENT, "CLOSE");
    }
    stws_p_unlock(c);
    while (stws_p_write_once(c, c->now) > 0) continue;
}

/* Ends an attempt or a session for a reason of ours: sends a close frame if the connection
   is a WebSocket already, then calls stws_p_end_connection with that kind. Always returns 1. */
static int stws_p_close_connection(stws *c, int code, const char *reason, int kind) {
    if (stws_p_reads_frames(c->state)) stws_p_send_close_frame(c, code, reason);
    return stws_p_end_connection(c, kind);
}

/* Handles CONNECTED (STOMP 1.2, "CONNECTED Frame"): takes over version, heart-beats and
   broker, and begins a session. Returns 1, with the event. Returns 0 if the server chose a
   version that we did not offer: that ends the attempt. */
static int stws_p_on_connected(stws *c, stws_event *e) {
    const stws_frame *frame = &c->s.message.frame;
    int accepted;
    stws_p_lock(c);
    accepted = stws_p_accept_connected(&c->s, frame);
    if (accepted) {
        c->s.epoch++;
        c->s.stats.reconnects += c->s.stats.sessions++ > 0;
        c->had_session = 1;
        c->unlucky.any.sa_family = 0;
        c->s.subs.trial_us = c->now;
        stws_p_enter_state(c, STWS_CONNECTED, STWS_P_NEVER);
        stws_p_signal(c);
    }
    stws_p_unlock(c);
    if (!accepted) {
        stws_p_fail(c, STWS_ERR_VERSION,
                    "the server chose STOMP version %.20s, which was not offered: see option "
                    "versions",
                    stws_p_or(stws_frame_header(frame, "version"), "1.0"));
        stws_p_close_connection(c, STWS_P_CLOSE_PROTOCOL, "version", STWS_P_REFUSED);
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

/* Returns the number of a receipt of ours: 17 for "receipt-17"; 0 for any other id. */
static int stws_p_receipt_number(const char *id) {
    size_t number = 0;
    if (!stws_p_starts(id, "receipt-")) return 0;
    return stws_p_number(id + 8, strlen(id + 8), STWS_P_MAX_NUMBER, &number) == 1 ? (int)number : 0;
}

/* A receipt has ended: by RECEIPT, with STWS_OK, or by an ERROR that names it. Ends all that
   waits for this number: an entry in the table of receipts, a frame that waits in the outbox
   for its confirmation, or both. Returns 1 if something waited, else 0. Takes the lock. */
static int stws_p_end_receipt(stws *c, int number, int result) {
    stws_p_record *record;
    stws_p_receipt *receipt;
    long long sent_us = 0;
    int confirmed;
    stws_p_lock(c);
    record = stws_p_outbox_find(&c->s, number);
    receipt = stws_p_find_receipt(&c->s, number);
    confirmed = record && record->confirm;
    if (receipt) {
        sent_us = receipt->sent_us;
        stws_p_finish_receipt(&c->s, receipt, result);
    }
    if (confirmed && record->state == STWS_P_RECORD_SENT) {
        sent_us = record->sent_us;
        /* A frame that the broker has refused is not sent again, nor is its transaction. */
        if (result != STWS_OK && record->tied) stws_p_transaction_break(&c->s, record);
        if (record->state != STWS_P_RECORD_DONE) stws_p_record_finish(&c->s, record);
        stws_p_outbox_sweep(&c->s);
        if (c->flushing && !c->s.unconfirmed) c->yield = 1;
        stws_p_signal(c);
    }
    if (sent_us) c->s.stats.rtt_us = c->now - sent_us;
    stws_p_unlock(c);
    return receipt || confirmed;
}

/* Handles RECEIPT. The receipt of DISCONNECT makes us close the WebSocket. Other receipts of
   ours become events later, in stws_p_pull_without_frame. Returns 1, with an event, only for a
   receipt that the library did not ask for. */
static int stws_p_on_receipt(stws *c, stws_event *e) {
    int number = stws_p_receipt_number(stws_p_known_value(&c->s, STWS_P_RECEIPT_ID));
    if (number && number == c->disconnect_number) {
        c->disconnect_number = 0;
        stws_p_send_close_frame(c, STWS_P_CLOSE_NORMAL, "");
        return 0;
    }
    return stws_p_end_receipt(c, number, STWS_OK) ? 0
                                                  : stws_p_frame_event(c, e, STWS_EVENT_RECEIPT);
}

/* Returns 1 if an ERROR refuses the credentials of CONNECT. Brokers express that only in words.
   RabbitMQ's "access denied" to a virtual host does not count: the virtual host may just have
   reached its limit of connections. */
static int stws_p_denies_login(const stws_frame *frame) {
    static const char *const words[] = {
        "assword",      "asscode",         "redential", "ccess refused", "ccess denied", "ogin",
        "ccess Denied", "ccess is denied", "uthentic",  "uthori",        "validate user"};
    size_t i;
    if (stws_p_error_has(frame, "irtual host")) return 0;
    for (i = 0; i < sizeof words / sizeof *words; i++)
        if (stws_p_error_has(frame, words[i])) return 1;
    return 0;
}

/* An ERROR has named a receipt, and so the frame that caused it. If that is a SUBSCRIBE,
   only this subscription stays on trial. If it is another frame, no subscription does. See
   stws_p_on_trial_locked. Takes the lock. */
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
    if (culprit) stws_p_put_on_trial(t, culprit, c->now);
    stws_p_unlock(c);
}

/* Handles ERROR, after which the server has to close the connection (STOMP 1.2, "ERROR").
   Returns 1, with the event. While logging in, the attempt ends after the event
   (c->refused). In a session, frames that follow are still read; if the server does not
   close the connection within close_timeout_ms, we do. In state CLOSING the ERROR is
   ignored: returns 0. */
static int stws_p_on_error(stws *c, stws_event *e) {
    int login = c->state == STWS_LOGGING_IN;
    if (c->state == STWS_CLOSING) return 0; /* Spring answers DISCONNECT with an ERROR */
    stws_p_fail_error_frame(c, login ? STWS_ERR_LOGIN : STWS_ERR_BROKER, &c->s.message.frame);
    if (!login && c->error_us == STWS_P_NEVER) {
        stws_p_note_culprit(c, stws_p_receipt_number(stws_p_known_value(&c->s, STWS_P_RECEIPT_ID)));
        stws_p_report_trial(c);
        c->error_us = c->now;
    }
    stws_p_frame_event(c, e, STWS_EVENT_ERROR);
    e->result = (stws_result)c->error;
    e->text = c->text;
    if (login)
        c->refused = stws_p_denies_login(&c->s.message.frame) ? STWS_P_DENIED : STWS_P_REFUSED;
    if (login) return 1;
    stws_p_end_receipt(c, stws_p_receipt_number(stws_p_known_value(&c->s, STWS_P_RECEIPT_ID)),
                       STWS_ERR_BROKER);
    if (c->error_close_us == STWS_P_NEVER)
        c->error_close_us = c->now + stws_p_ms_to_us(c->o.close_timeout_ms);
    return 1;
}

/* ==== >>delivery: a MESSAGE goes to its receiver, and is acknowledged ====

   Finds the subscription of a message, and hands the message to its callback, to options.queue,
   or to the user as an event. If the library has to acknowledge it (subscribe option ack_on),
   it becomes the message in hand:

       arrived --hand over--> in hand --release--> ACK sent --> free
                                ^         |
                                +---------+ no room for the ACK: c->held is STWS_P_HELD_BY_ACK

   At most one message is in hand (c->hand). Its subscription stays in the table until its ACK
   was sent; stws_unsubscribe only sets c->hand_unsubscribed meanwhile. While c->held is not 0,
   no frame is handled and nothing is read.

   Only the driving thread calls these functions, without the lock. They take it to read or
   change the tables, and call back without it. Exceptions: any thread may call
   stws_p_acknowledge_on, and stws_p_drop_subscription_locked with the lock. With
   STWS_ACK_ON_RETURN and a queue, the thread that pops the message sends the ACK: see >>pop. */

/* Acknowledges a message if the library has to do so at the moment `when`, a set of bits
   STWS_ACK_ON_*. Returns 1, or 0 if the output has no room for the ACK now. */
static int stws_p_acknowledge_on(const stws_message *m, int when) {
    return !((int)m->ack_on & when) || STWS_P_LOAD(m->answered) ||
           stws_ack(m->client, m) != STWS_ERR_FULL;
}

/* Removes a subscription from the table. Its receipt ends without an event. */
static void stws_p_drop_subscription_locked(stws *c, stws_p_sub *sub) {
    STOMP_WS_ASSERT(stws_p_has_lock(c));
    if (!sub) return;
    stws_p_forget_receipt(&c->s, sub->receipt);
    stws_p_remove_sub(&c->s.subs, sub);
    if (!c->s.subs.unsent) stws_p_signal(c);
}

/* The user has finished with the message in hand: the callback has returned, or the next
   driving call begins.

     1. Sends the ACK that the library has to send (subscribe option ack_on), unless the user
        has sent one. If there is no room for it, the message stays in hand and nothing more is
        read until there is room (STWS_P_HELD_BY_ACK). With prefetch the broker might send
        nothing more anyway. After a write error there will be no room: gives up.
     2. If the user has ended the subscription meanwhile, ends it now (c->hand_unsubscribed): the
        ACK had to go first.
     3. Frees the copy of the message, if it was a kept one (c->given). */
STWS_P_NOINLINE static void stws_p_release_message_now(stws *c) {
    int ended, full = 0, result;
    if (!c->hand) {
        stws_p_free_kept(c, &c->given);
        return;
    }
    /* 1. The ACK. */
    full = !stws_p_acknowledge_on(c->hand, STWS_ACK_ON_HANDOVER | STWS_ACK_ON_RETURN) &&
           !c->write_error;
    stws_p_lock(c);
    ended = c->hand_unsubscribed && !full ? c->hand_subscription : 0;
    if (!full) c->hand_subscription = c->hand_unsubscribed = 0;
    stws_p_unlock(c);
    /* 2. The end of the subscription. */
    if (ended) {
        result = stws_unsubscribe(c, ended);
        full = result == STWS_ERR_FULL && !c->write_error;
        stws_p_lock(c);
        if (full) c->hand_subscription = ended, c->hand_unsubscribed = 1;
        else if (result != STWS_OK)
            stws_p_drop_subscription_locked(c, stws_p_find_handle(&c->s.subs, ended));
        stws_p_unlock(c);
    }
    /* 3. The message, unless it has to stay in hand. */
    c->held = full ? STWS_P_HELD_BY_ACK : 0;
    if (full) return;
    c->hand = NULL;
    stws_p_free_kept(c, &c->given);
}

/* Ends the message in hand and the event that stws_next returned last, if there are any. */
static void stws_p_release_message(stws *c) {
    if (c->hand || c->given) stws_p_release_message_now(c);
}

/* The user gets a message that the library has to acknowledge: it is the message in hand from
   now on, until stws_p_release_message. Returns 1. Returns 0 if another thread has just ended
   its subscription: then the ACK would have no meaning. Takes the lock. */
STWS_P_NOINLINE static int stws_p_hand_over_now(stws *c, const stws_message *m) {
    int lives;
    stws_p_lock(c);
    lives = stws_p_find_handle(&c->s.subs, m->handle) != NULL;
    if (lives) c->hand = m, c->hand_subscription = m->handle;
    stws_p_unlock(c);
    return lives;
}

/* Calls stws_p_hand_over_now for a message that the library has to acknowledge, and returns
   its result. Returns 1 for all other messages: these do not become the message in hand. */
static int stws_p_hand_over(stws *c, const stws_message *m) {
    return !m->ack_on || stws_p_hand_over_now(c, m);
}

/* Puts the message into options.queue. Returns 1 if that is done. Returns 0 if the queue is
   full: the message is held back, and nothing more is read. Returns a negative error if the
   message never fits. With STWS_ACK_ON_HANDOVER its ACK is sent now. */
static int stws_p_enqueue(stws *c) {
    int result = stws_p_queue_put(c->o.queue, &c->s.message, &c->waiter);
    c->held = result == 0 ? STWS_P_HELD_BY_QUEUE : 0;
    if (result > 0 && c->s.message.ack_on == STWS_ACK_ON_HANDOVER &&
        stws_p_hand_over(c, &c->s.message))
        stws_p_release_message(c);
    if (result == STWS_ERR_LIMIT)
        stws_p_fail(c, result, "a message of %zu bytes does not fit into the queue",
                    c->s.message.body_len);
    return result;
}

/* Finds the subscription of a message without a header `subscription`, by its destination.
   STOMP 1.0 has no such header; if several subscriptions match, the oldest one gets the
   message. Later versions require the header; then there has to be exactly one match.
   Returns NULL if there is no such subscription. */
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

/* Finds the subscription of the message, and sets the message's handle and ack_on. Ids of
   ours ("sub-17") are found without the lock; other ids, and messages without an id, need
   it. Also finds the subscription for replies that the broker makes by itself (c->implied).
   Stores the subscription's callback in *call and returns 1; returns 0 if it has none. A
   message that matches no subscription is counted in unknown_subscription. */
static int stws_p_find_receiver(stws *c, stws_message_fn *call, void **user) {
    stws_message *m = &c->s.message;
    stws_p_subs *t = &c->s.subs;
    const stws_header *id = c->s.parser.known[STWS_P_SUBSCRIPTION];
    int handle = id->value ? stws_p_own_id(id->value, id->value_len) : 0;
    *call = NULL;
    if (handle && stws_p_find_callback(t, handle, call, user, &m->ack_on)) {
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

/* Handles MESSAGE. The message goes to the first of these that exists:

     1. the callback of its subscription;
     2. options.queue;
     3. on_message, straight away, if stws_run or stws_start drives;
     4. an event, for stws_next or, through stws_p_deliver_event, for on_message.

   A message that is too large for the queue becomes an event, too. Returns 1, with the
   event, or 0: it was delivered otherwise, is held back, or has just lost its subscription. */
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
        if (owed) stws_p_release_message(c);
        return 0;
    }
    if (c->o.queue && stws_p_enqueue(c) >= 0) return 0;
    return stws_p_frame_event(c, e, STWS_EVENT_MESSAGE);
}

/* ==== >>pull: the next event ====

   stws_p_pull returns events one at a time, so that the program gets each event before the next
   frame changes anything. It does not read from the network. Events come from these sources, in
   this order:

     1. events that another call than stws_next has kept for it;
     2. receipts that ended, a subscription that was set aside, and DISCONNECTED;
     3. frames in the input buffer;
     4. the marks of the outbox (outbox_high, outbox_low).

   A call ends the message in hand and the last frame before it handles a new one. Input that
   breaks a rule ends the session here, with a close frame. Only stws_p_next calls
   stws_p_pull, in the driving thread and without the lock; it is taken for the tables. */

/* Handles the frame that has arrived, by its command and the state. Returns 1 if *e is an
   event now. A frame that the server may not send at this point becomes
   STWS_EVENT_UNHANDLED. */
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

/* Returns 1 if the server's first bytes are a SockJS frame: "o", "h", "a[" or "c[". No STOMP
   frame begins like that. */
static int stws_p_looks_like_sockjs(const stws *c) {
    const char *at = c->s.in.data + c->s.in.begin;
    size_t len = c->s.in.end - c->s.in.begin;
    if (c->state != STWS_LOGGING_IN || len == 0) return 0;
    return ((*at == 'o' || *at == 'h') && len == 1) ||
           ((*at == 'a' || *at == 'c') && (len == 1 || at[1] == '[')) ||
           (*at == 'o' && (at[1] == 'a' || at[1] == 'h'));
}

/* The session ends, perhaps in the middle of a frame. Shows on_trace the part that has
   arrived. If it is an ERROR, it explains the end although it is incomplete: reports it,
   ends the receipt that it names, and returns 1, so that the caller reports nothing else.
   Otherwise returns 0. Stores in *kind what the failure means for the next attempt. */
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
    stws_p_fail_error_frame(c, login ? STWS_ERR_LOGIN : STWS_ERR_BROKER, &frame);
    if (login) *kind = stws_p_denies_login(&frame) ? STWS_P_DENIED : STWS_P_REFUSED;
    else
        stws_p_end_receipt(c, stws_p_receipt_number(stws_frame_header(&frame, "receipt-id")),
                           STWS_ERR_BROKER);
    return 1;
}

/* The input ends here: the server has sent a close frame, which is answered; or its bytes
   are invalid, which is answered with a close frame: 1009 (too big), 1007 (not UTF-8) or
   1002 (protocol error; RFC 6455, section 7.4.1). Reports the error. Always returns 1. */
static int stws_p_on_bad_input(stws *c, int error) {
    int too_big = error <= STWS_ERR_FRAME_HEADERS && error >= STWS_ERR_FRAME_BODY;
    int code = too_big ? STWS_P_CLOSE_TOO_BIG : STWS_P_CLOSE_PROTOCOL;
    int kind, told = stws_p_on_broken_frame(c, error, &kind);
    if (error == STWS_ERR_WS_CLOSE) {
        STWS_P_STORE(&c->close_code, c->s.peer_close_code);
        if (!told && c->state != STWS_CLOSING && c->error_close_us == STWS_P_NEVER)
            stws_p_fail_closed(c);
        return stws_p_close_connection(c, c->close_code == STWS_P_CLOSE_NO_CODE ? 0 : c->close_code,
                                       "", kind);
    }
    if (error == STWS_ERR_FRAME_COMMAND && stws_p_looks_like_sockjs(c)) error = STWS_ERR_SOCKJS;
    if (c->s.ws.close_code) code = c->s.ws.close_code;
    if (!told) stws_p_fail_input(c, error);
    return stws_p_close_connection(c, code, stws_result_text(error),
                                   error == STWS_ERR_SOCKJS ? (int)STWS_P_REFUSED : kind);
}

/* One read may bring many frames, and a callback may take long for each of them. Heart-beats,
   ACKs and the calls of other threads must not wait for the last frame. So the clock is read
   after 16 frames. If 5 ms have passed by then, a turn of the state machine comes before the
   next frame, and the clock is then read after each frame, as long as the frames are slow.
   Such a turn writes but does not read, because there are frames left to handle. */
enum { STWS_P_FRAMES_AT_ONCE = 16, STWS_P_SLOW_US = 5000 };

/* Returns 1 if a turn of the state machine has to come before the next frame; c->turn_due then
   has the same value. Called when c->frames_left is used up; sets it again. */
static int stws_p_turn_comes_first(stws *c) {
    const stws_p_input *in = &c->s.in;
    int left = in->begin + c->s.taken < in->end || in->raw < in->raw_end;
    c->turn_due = left && c->clock.now_us(c->clock.ctx) - c->now >= STWS_P_SLOW_US;
    c->frames_left = c->turn_due ? 0 : STWS_P_FRAMES_AT_ONCE;
    return c->turn_due;
}

/* Handles frames that were read before, until one of them makes an event. Returns 1, with
   the event. Returns 0 if there is none: no whole frame is left, the message is held back, a
   turn has to come first, or the session has ended. Does not use the network, except to send
   a close frame. At its beginning it ends the message in hand, and offers a message that was
   held back to the queue again. */
static int stws_p_pull_frames(stws *c, stws_event *e) {
    int result = STWS_DONE;
    c->turn_due = 0;
    stws_p_release_message(c);
    if (c->held == STWS_P_HELD_BY_QUEUE) stws_p_enqueue(c);
    if (c->held) return 0;  /* the queue is still full, or the ACK has no room now */
    c->s.message.epoch = 0; /* the last message ends: stws_ack refuses it from now on */
    while (result == STWS_DONE && stws_p_reads_frames(c->state) && !c->held &&
           !STWS_P_LOAD(&c->stop)) {
        if (c->frames_left < 0 && stws_p_turn_comes_first(c)) return 0;
        result = stws_p_next_frame(&c->s, &c->s.message.frame);
        if (result == STWS_DONE) c->frames_left--;
        if (result == STWS_DONE && stws_p_on_frame(c, e)) return 1;
        if (result < 0) stws_p_on_bad_input(c, result);
    }
    return 0;
}

/* Returns 1 if the outbox has risen to outbox_high, or has fallen back to outbox_low, and
   the event for that is still to come. */
static int stws_p_crosses_mark_locked(const stws *c) {
    size_t used = stws_p_ring_used(&c->s.outbox);
    STOMP_WS_ASSERT(stws_p_has_lock(c));
    return c->o.outbox_high && (c->above_high ? used <= c->o.outbox_low : used >= c->o.outbox_high);
}

/* Checks the marks of the outbox (stws_p_crosses_mark_locked), and remembers a crossing, so
   that it makes one event. Returns 1 for a crossing, else 0. Takes the lock. */
static int stws_p_cross_mark(stws *c) {
    int crosses;
    if (!c->o.outbox_high) return 0;
    stws_p_lock(c);
    crosses = stws_p_crosses_mark_locked(c);
    stws_p_unlock(c);
    if (crosses) c->above_high = !c->above_high;
    return crosses;
}

/* Returns the milliseconds that are left before the next attempt. A callback may have taken
   long since the delay was chosen. */
static long long stws_p_retry_left(const stws *c) {
    long long left = (c->deadline_us - c->clock.now_us(c->clock.ctx)) / STWS_P_US;
    return left > 0 ? left : 0;
}

/* Returns 1 if receipts have ended whose events can be delivered. A call that keeps events
   for stws_next leaves these in their table, unless on_event takes them. */
static int stws_p_receipts_due(const stws *c) {
    return (!c->keeping || c->o.on_event) && STWS_P_LOAD(&c->s.receipts_done) != 0;
}

/* Makes the event of a subscription that was set aside. Returns 1; 0 if there is none, or if
   the user has ended that subscription meanwhile. */
static int stws_p_pull_set_aside(stws *c, stws_event *e) {
    int handle = 0;
    if (!STWS_P_LOAD(&c->aside)) return 0;
    stws_p_lock(c);
    handle = c->aside;
    STWS_P_STORE(&c->aside, 0);
    stws_p_unlock(c);
    if (!handle) return 0;
    stws_p_make_event(e, STWS_EVENT_SUBSCRIPTION_REFUSED);
    e->handle = handle;
    e->result = (stws_result)c->error;
    e->text = c->text;
    return 1;
}

/* Makes the event of the receipt that ended first. Returns 1; 0 if none has to be delivered. */
static int stws_p_pull_receipt(stws *c, stws_event *e) {
    stws_p_receipt receipt;
    int taken;
    if (!stws_p_receipts_due(c)) return 0;
    stws_p_lock(c);
    taken = stws_p_take_receipt(&c->s, &receipt);
    stws_p_signal(c); /* threads may wait for a place in the table */
    stws_p_unlock(c);
    if (!taken) return 0;
    stws_p_make_event(e, STWS_EVENT_RECEIPT);
    e->receipt = receipt.number;
    e->result = (stws_result)receipt.result;
    e->handle = receipt.handle;
    if (receipt.result == STWS_ERR_LOST) e->text = c->text; /* why the session ended */
    return 1;
}

/* Makes the next event that does not come from a frame: a receipt that has ended, a
   subscription that was set aside, DISCONNECTED, or a mark of the outbox, in this order. An
   attempt whose CONNECT was refused ends here, after its ERROR was delivered. Returns 1,
   with the event, or 0. */
static int stws_p_pull_without_frame(stws *c, stws_event *e) {
    int refused = c->refused;
    if (refused) {
        c->refused = STWS_P_PASSING;
        stws_p_close_connection(c, STWS_P_CLOSE_NORMAL, "", refused);
    }
    if (stws_p_pull_receipt(c, e) || stws_p_pull_set_aside(c, e)) return 1;
    if (c->disconnected_due) {
        c->disconnected_due = 0;
        stws_p_make_event(e, STWS_EVENT_DISCONNECTED);
        e->result = (stws_result)c->error;
        e->text = c->error == STWS_CLOSED ? "the program ended the client" : c->text;
        e->retry_ms = c->retry_ms > 0 ? stws_p_retry_left(c) : c->retry_ms;
        return 1;
    }
    if (c->state == STWS_ENDED || !stws_p_cross_mark(c)) return 0;
    stws_p_make_event(e, c->above_high ? STWS_EVENT_OUTBOX_HIGH : STWS_EVENT_OUTBOX_LOW);
    return 1;
}

/* Makes the oldest event that another call than stws_next has kept. Returns 1; 0 if the
   message in hand has no room for its ACK yet. */
static int stws_p_pull_kept(stws *c, stws_event *e) {
    stws_p_release_message(c);
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

/* Returns 1, with the next event; 0 if the network, the clock or another thread has to bring
   something first; or, when the client has ended and its last event was delivered, the
   negative final result. Kept events come first, then events that are due, then those of
   frames. */
static int stws_p_pull_event(stws *c, stws_event *e) {
    int due = c->refused | c->disconnected_due | stws_p_receipts_due(c) | STWS_P_LOAD(&c->aside);
    if ((c->kept_first || c->has_kept) && !c->keeping) return stws_p_pull_kept(c, e);
    if (due && stws_p_pull_without_frame(c, e)) return 1;
    if (stws_p_pull_frames(c, e) || stws_p_pull_without_frame(c, e)) return 1;
    if (c->state != STWS_ENDED) return 0;
    /* stws_error_text now tells why the client has ended, not why a call was refused. */
    if (stws_p_refusal.client == c) stws_p_refusal.client = NULL;
    return c->final;
}

/* Makes the next event, and returns the result of stws_p_pull_event. A message that leaves
   as an event becomes the message in hand, if the library has to acknowledge it: with
   STWS_ACK_ON_HANDOVER now, else when the next driving call begins. If another thread has
   just ended the subscription, there is nothing to acknowledge any more. */
static int stws_p_pull(stws *c, stws_event *e) {
    int result = stws_p_pull_event(c, e);
    if (result > 0 && e->type == STWS_EVENT_MESSAGE && !c->keeping) {
        if (!stws_p_hand_over(c, e->message))
            (c->given ? c->given->message : &c->s.message)->ack_on = STWS_ACK_BY_CALL;
        else if (e->message->ack_on == STWS_ACK_ON_HANDOVER && !c->given) stws_p_release_message(c);
    }
    return result;
}

/* ==== >>input: reading from the transport ====

   Reads into the free part of the input buffer. The buffer grows, on the heap, when the data of
   one frame has filled it. It never grows because of a declared length. max_body and max_line
   limit its size. Everything that arrives counts as a sign of life of the server
   (c->s.last_in_us).

   c->drained means that the last read took all that the socket had. Then the client waits
   before it reads again. Only the thread that holds the client reads, so the input needs no
   lock. */

/* One frame fills the whole input: moves it to a buffer of twice the size, from the heap.
   max_body and max_line limit the size. Returns 1; 0 without a heap or memory, or if the
   buffer has the largest size already. */
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

/* Returns how long the server may be silent: heartbeat_grace percent of the expected
   interval. If heartbeat_grace is off, that is practically for ever. */
static long long stws_p_allowed_silence(const stws *c) {
    return c->o.heartbeat_grace <= 0 ? 1LL << 60 : c->s.expected_us * c->o.heartbeat_grace / 100;
}

/* Updates heartbeat_slack_ms of the statistics: the shortest time that was left, when
   something arrived, before the server would have counted as dead. */
static void stws_p_note_slack(stws *c) {
    long long left = (c->s.last_in_us + stws_p_allowed_silence(c) - c->now) / STWS_P_US;
    if (left < 0) left = 0;
    if (c->s.stats.heartbeat_slack_ms < 0 || left < c->s.stats.heartbeat_slack_ms)
        c->s.stats.heartbeat_slack_ms = left;
}

/* Reads once into the input. Returns the number of bytes; 0 if nothing has arrived; or a
   negative error, which is STWS_ERR_LIMIT if the input is full and cannot grow. */
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

/* Reading has failed. After DISCONNECT that is the regular end. Otherwise reports the error,
   unless an ERROR frame that was cut off explains the end, and ends the attempt or the
   session. Always returns 1. */
static int stws_p_on_io_error(stws *c, long error) {
    int told, kind;
    if (c->state == STWS_CLOSING && STWS_P_LOAD(&c->asked))
        return stws_p_end_connection(c, STWS_P_FINAL);
    if (stws_p_end_answer(c)) return 1;
    told = stws_p_on_broken_frame(c, (int)error, &kind);
    if (error == STWS_ERR_LIMIT) {
        if (!told)
            stws_p_fail(c, STWS_ERR_LIMIT, "a message does not fit into rx_buffer (%zu bytes)%s",
                        c->s.in.cap,
                        c->has_heap
                            ? ", which cannot grow: there is no memory, or max_body forbids it"
                            : ", which cannot grow with stws_init: raise option rx_buffer");
        return stws_p_close_connection(c, STWS_P_CLOSE_TOO_BIG, "message too big", kind);
    }
    if (!told && c->error_close_us == STWS_P_NEVER) stws_p_fail_io(c, (int)error);
    /* With TLS 1.3 a server refuses a client certificate only after the handshake. */
    if (error == STWS_ERR_TLS && c->state == STWS_UPGRADING && stws_p_tls_is_final(c->tls))
        kind = STWS_P_REFUSED;
    return stws_p_end_connection(c, kind);
}

/* ==== >>timers: lateness, the server's silence, and deadlines ====

   Everything that happens because time passes. stws_p_turn_timers acts on it, and
   stws_p_due_locked returns the time at which the client has to be called again. The two have
   to agree: each condition in one of them has its counterpart in the other, or in >>output.

   A deadline is a time, or STWS_P_NEVER. The timers run when the network has nothing to move,
   because data that came in time must be read before a deadline counts. A program that calls
   too late is not the server's fault: stws_p_note_time adds that delay to the time that the
   server has.

   Only the thread that holds the client calls these functions. stws_p_due_locked needs the
   lock; the others take it. */

/* Notices that the program calls us too late: later than the time c->due_us that it was given,
   or, if it did not have to wait, long after its last turn (`last`). More than half a
   heart-beat interval counts as late (late_loops of the statistics). While the program does not
   call us we can neither send nor read; so the delay is added to the time that the server may
   be silent. c->late_us keeps the longest delay: if the server misses our heart-beat and ends
   the session, the error's sentence can name the program as the cause. */
static void stws_p_note_lateness(stws *c, long long last) {
    long long beat = c->s.heartbeat_out_us, late = c->now - (c->due_us > 0 ? c->due_us : last);
    if (!beat || (c->s.expected_us && c->s.expected_us < beat)) beat = c->s.expected_us;
    /* A time of 0, immediately, cannot be missed. */
    if (!c->due_us || !beat || late <= beat / 2 || c->state != STWS_CONNECTED) return;
    c->s.stats.late_loops++;
    c->s.last_in_us += late;
    /* That time lay half an interval after our last output: the server's view counts here. */
    if (c->due_us > 0) late += beat / 2;
    if (late <= c->late_us) return;
    c->late_us = late;
    c->late_in_call = c->due_us == STWS_P_NOT_TOLD;
}

/* Begins a turn: reads the clock into c->now, and notices a call that comes too late. Clears
   c->due_us: the program gets a new due time before it waits again. */
static void stws_p_note_time(stws *c) {
    long long last = c->now;
    c->now = c->clock.now_us(c->clock.ctx);
    stws_p_note_lateness(c, last);
    c->due_us = STWS_P_NOT_TOLD;
}

/* Returns what the system knows about a server that is silent. Where TIOCOUTQ exists, TCP tells
   whether the peer's machine has acknowledged our last bytes. If it has, the network works. */
static const char *stws_p_explain_silence(const stws *c) {
#ifdef TIOCOUTQ
    int unacknowledged = 0;
    if (!c->o.transport && ioctl(c->tcp.fd, TIOCOUTQ, &unacknowledged) == 0)
        return unacknowledged
                   ? "our last data is not acknowledged: the network or its machine is down"
                   : "its machine acknowledges our data: the server hangs, or does not send the "
                     "heart-beats that it promised";
#endif
    return (void)c, "the network or the server is down";
}

/* Ends the session if the server has been silent for too long (STOMP 1.2, "Heart-beating"). */
static void stws_p_check_silence(stws *c) {
    long long silent = c->now - c->s.last_in_us;
    if (!c->s.expected_us || silent < stws_p_allowed_silence(c)) return;
    stws_p_fail(c, STWS_ERR_HEARTBEAT,
                c->s.heartbeat_in_us
                    ? "%s: nothing came for %lld ms, but a heart-beat is due every %lld ms; %s"
                    : "%s: nothing came for %lld ms, although it answered earlier PINGs, which are "
                      "sent every %lld ms (option ping_ms); %s",
                c->s.heartbeat_in_us ? stws_result_text(STWS_ERR_HEARTBEAT)
                                     : "the server is silent",
                silent / STWS_P_US, c->s.expected_us / STWS_P_US, stws_p_explain_silence(c));
    stws_p_end_connection(c, STWS_P_PASSING);
}

/* Ends the session if output has been waiting for write_timeout_ms and the server has
   accepted no byte of it in that time. */
static void stws_p_check_stall(stws *c) {
    size_t waits;
    stws_p_lock(c);
    waits = c->stalled_us && c->now - c->stalled_us >= stws_p_ms_to_us(c->o.write_timeout_ms)
                ? stws_p_pending(&c->s.out)
                : 0;
    stws_p_unlock(c);
    if (!waits || !c->o.write_timeout_ms) return;
    stws_p_fail(c, STWS_ERR_IO,
                "the server accepts no more data: %zu bytes waited for %d ms (write_timeout_ms)",
                waits, c->o.write_timeout_ms);
    stws_p_end_connection(c, STWS_P_PASSING);
}

/* Begins to leave a good session for a new one, because of max_session_ms or
   stws_reconnect_now. Frames that are in the output are still written, for close_timeout_ms
   at most; new ones wait in the outbox. stws_p_turn_renewing does the rest. */
static void stws_p_renew(stws *c) {
    if (c->renewing) return;
    stws_p_turn_output(c);
    stws_p_lock(c);
    c->renewing = 1;
    stws_p_unlock(c);
    c->renew_by_us = c->now + stws_p_ms_to_us(c->o.close_timeout_ms);
}

/* Sends the ACKs that wait, and leaves the session when its output is written, or when the
   time for that is over. Returns 1 when the session was left. Gives up the renewal if the
   program has asked for the end meanwhile. */
static int stws_p_turn_renewing(stws *c) {
    int waits;
    stws_p_lock(c);
    stws_p_post_acks_locked(c);
    waits = stws_p_pending(&c->s.out) && !c->write_error && c->now < c->renew_by_us;
    stws_p_unlock(c);
    if (STWS_P_LOAD(&c->asked) || c->state != STWS_CONNECTED) c->renewing = 0;
    return c->renewing && !waits
               ? stws_p_close_connection(c, STWS_P_CLOSE_NORMAL, "", STWS_P_PASSING)
               : 0;
}

/* Returns 1 if age may end the session. It may not if the session is ending already: because
   of the program, of an ERROR, or of a renewal. */
static int stws_p_may_renew(const stws *c) {
    return !STWS_P_LOAD(&c->asked) && !c->renewing && c->error_close_us == STWS_P_NEVER;
}

/* Does everything that is due by the clock alone. Called when the network has nothing to move,
   so that no deadline counts while data that came in time is still unread; and now and then
   while it always has something to move. In this order:

     - the deadline of the state: connecting, upgrading, logging in, closing;
     - after an ERROR, close_timeout_ms for the server to close the connection;
     - max_session_ms;
     - receipts that did not arrive within receipt_timeout_ms;
     - a server that is silent, or accepts no output.

   Returns 1 if the state has changed. */
static int stws_p_turn_timers(stws *c) {
    int state = c->state, told, kind;
    if (c->now >= c->deadline_us) {
        if (state == STWS_CLOSING)
            return stws_p_close_connection(c, STWS_P_CLOSE_NORMAL, "", STWS_P_FINAL);
        if (stws_p_end_answer(c)) return 1;
        told = stws_p_on_broken_frame(c, STWS_ERR_TIMEOUT, &kind);
        if (!told) stws_p_fail_timeout(c);
        return stws_p_close_connection(c, STWS_P_CLOSE_PROTOCOL, "no CONNECTED", kind);
    }
    if (c->now >= c->error_close_us)
        return stws_p_close_connection(c, STWS_P_CLOSE_NORMAL, "", STWS_P_PASSING);
    if (stws_p_may_renew(c) && c->now >= c->renew_us) {
        stws_p_fail(c, STWS_OK, "the session is older than max_session_ms (%d): a new one follows",
                    c->o.max_session_ms);
        stws_p_renew(c);
        return 1;
    }
    /* While we do not read, the server's silence proves nothing. */
    if (c->held || c->turn_due) c->s.last_in_us = c->now;
    stws_p_lock(c);
    if (c->s.receipts_waiting)
        stws_p_finish_receipts(&c->s, STWS_P_RECEIPT_SENT, c->now, STWS_ERR_TIMEOUT);
    stws_p_unlock(c);
    if (c->state == STWS_CONNECTED) stws_p_check_silence(c);
    if (c->state == STWS_CONNECTED) stws_p_check_stall(c);
    return c->state != state;
}

/* Sets *first to the earlier of the two times. */
static void stws_p_set_earlier(long long *first, long long when) {
    if (when < *first) *first = when;
}

/* Returns 1 if bytes were read that may hold another whole frame, and no message is held
   back. */
static int stws_p_has_unparsed(const stws *c) {
    const stws_p_input *in = &c->s.in;
    return stws_p_reads_frames(c->state) && !c->held && !c->s.dry &&
           (in->begin + c->s.taken < in->end || in->raw < in->raw_end);
}

/* Returns the time at which the client has to be called again, even if no descriptor is ready
   before: a time, 0 for immediately, or STWS_P_NEVER. stws_next, stws_run_many and the loop of
   a program (stws_deadline) wait until then. The lock is held.

   It is 0 if there is work that does not depend on the network: a request of another thread, an
   event, bytes that were read and not handled, or frames that can go into the output. Otherwise
   it is the earliest of these times:

     - the deadline of the state, and of the end that the program asked for;
     - in CONNECTING, the time to try another address as well (RFC 8305);
     - in CONNECTED, the time of our next heart-beat and PING, the end of the server's allowed
       silence, the time-outs of receipts and of writing, the times that before_subscribe and a
       trial of subscriptions asked for, the end after an ERROR, and the session's age.

   Each condition here mirrors one in the function that acts on it. If this function returns
   a time too early, the client spins; if it forgets a time, the client sleeps too long. */
static long long stws_p_due_locked(stws *c) {
    const stws_p_session *s = &c->s;
    long long first = c->deadline_us;
    int can_post = !stws_p_pending(&s->out) && !c->write_error; /* the output can take a frame */
    STOMP_WS_ASSERT(stws_p_has_lock(c));
    /* Work that does not depend on the network. */
    if (STWS_P_LOAD(&c->stop) || stws_p_receipts_due(c)) return 0;
    if (stws_p_flusher_must_yield(c) || c->disconnected_due || c->refused || STWS_P_LOAD(&c->aside))
        return 0;
    if (c->state == STWS_IDLE || c->state == STWS_RESOLVING || c->called ||
        stws_p_crosses_mark_locked(c))
        return 0;
    if ((!c->keeping && (c->kept_first || c->has_kept)) || (c->hand && !c->held) ||
        stws_p_has_unparsed(c))
        return 0;
    if (s->no_random && can_post) return 0;
    if (s->pong_due && stws_p_reads_frames(c->state) && !c->close_sent && can_post) return 0;
    /* From here on: the earliest of several times. */
    if (STWS_P_LOAD(&c->asked)) stws_p_set_earlier(&first, c->end_us);
    if (c->state == STWS_CONNECTING && !c->o.transport && c->tcp.next < c->tcp.count)
        stws_p_set_earlier(&first, c->tcp.race_us);
    if (c->state != STWS_CONNECTED) return first;
    if (c->renewing) {
        if (!stws_p_pending(&s->out) || c->write_error) return 0;
        stws_p_set_earlier(&first, c->renew_by_us);
    }
    /* Frames that wait for their turn. Pending output has to be written before them, and the
       socket's descriptor tells when. */
    if (can_post && !c->renewing) {
        int careful = stws_p_is_careful(&s->subs);
        if (careful && !c->hook_us && c->error_us == STWS_P_NEVER)
            stws_p_set_earlier(&first, s->subs.trial_us + STWS_P_TRIAL_US);
        if (!careful && (s->subs.unsent ? !c->hook_us : s->outbox.untaken)) return 0;
    }
    if (c->hook_us && !c->write_error && !c->renewing) stws_p_set_earlier(&first, c->hook_us);
    /* Pending output is as good as a heart-beat. */
    if (s->heartbeat_out_us && can_post)
        stws_p_set_earlier(&first, s->last_out_us + s->heartbeat_out_us / 2);
    if (s->ping_us && can_post && !c->renewing) stws_p_set_earlier(&first, stws_p_ping_due(s));
    if (s->expected_us && !c->held)
        stws_p_set_earlier(&first, s->last_in_us + stws_p_allowed_silence(c));
    if (s->receipts_waiting) stws_p_set_earlier(&first, stws_p_receipt_deadline(s));
    if (c->stalled_us && c->o.write_timeout_ms)
        stws_p_set_earlier(&first, c->stalled_us + stws_p_ms_to_us(c->o.write_timeout_ms));
    stws_p_set_earlier(&first, c->error_close_us);
    if (stws_p_may_renew(c)) stws_p_set_earlier(&first, c->renew_us);
    /* A message is held back because the queue was full. */
    if (c->held != STWS_P_HELD_BY_QUEUE) return first;
    if (!STWS_P_LOAD(&c->waiter.listed)) return 0; /* the queue has room */
    /* no wake pipe: poll */
    if (c->waiter.fd < 0) stws_p_set_earlier(&first, c->now + 10 * STWS_P_US);
    return first;
}

/* ==== >>turn: one non-blocking turn of the state machine ====

   stws_p_turn first obeys what other threads and the program have asked for: stws_stop,
   stws_disconnect, stws_close, stws_reconnect_now. These calls only leave a flag, and wake the
   driving thread. Then it acts by the state: begins an attempt, or reads, writes and checks the
   timers.

   A write error does not end the session before everything that the server sent was read,
   because that may explain the error.

   Only the thread that holds the client calls these functions, without the lock: stws_p_next
   and, for single steps of a flush, stws_p_push_output. */

/* Obeys stws_stop: sends what the transport accepts without waiting (output, ACKs,
   DISCONNECT, a close frame), and ends the client. Always returns 1. */
static int stws_p_obey_stop(stws *c) {
    stws_p_draft draft;
    size_t need;
    STWS_P_STORE(&c->asked, STWS_P_ASKED_STOP);
    if (c->state == STWS_CONNECTED) {
        stws_p_turn_output(c);
        stws_p_lock(c);
        stws_p_post_acks_locked(c);
        stws_p_compose_locked(&c->s, &draft, STWS_COMMAND_DISCONNECT);
        stws_p_encode_frame_locked(&c->s, &draft.frame, 0, &need);
        stws_p_enter_state(c, STWS_CLOSING, STWS_P_NEVER); /* no frame may follow DISCONNECT */
        stws_p_unlock(c);
    }
    return stws_p_close_connection(c, STWS_P_CLOSE_NORMAL, "", STWS_P_FINAL);
}

/* Obeys stws_disconnect and stws_close if there is nothing to wait for: no session to end,
   and nothing in the outbox; or if their time is over. Then ends the client and returns 1.
   Otherwise returns 0: DISCONNECT follows when its turn comes
   (stws_p_post_disconnect_locked). */
static int stws_p_obey_end(stws *c) {
    size_t waits;
    stws_p_lock(c);
    waits = c->s.outbox.count;
    stws_p_unlock(c);
    if (c->now < c->end_us && (waits || stws_p_reads_frames(c->state))) return 0;
    return stws_p_close_connection(c, STWS_P_CLOSE_NORMAL, "", STWS_P_FINAL);
}

/* Obeys stws_reconnect_now: begins to leave a session for a new one, or ends the wait before
   the next attempt. */
static void stws_p_obey_reconnect(stws *c) {
    /* An end that was asked for takes its time. */
    if (c->state == STWS_CONNECTED && !STWS_P_LOAD(&c->asked)) {
        stws_p_fail(c, STWS_OK, "reconnecting because of stws_reconnect_now");
        stws_p_renew(c);
    }
    if (c->state == STWS_BACKOFF) c->deadline_us = c->now;
    /* In all other states a new connection is being made anyway, or nothing is left to do. */
    STWS_P_STORE(&c->reconnect_asked, 0);
}

/* Writing has failed with that error. Drops the output, but lets reading go on until the
   input is empty: the server may have sent the reason before. Then reading fails with the
   same error. */
static void stws_p_end_output(stws *c, int error) {
    stws_p_lock(c);
    c->write_error = error;
    c->s.out.begin = c->s.out.end = 0;
    c->stalled_us = 0;
    stws_p_signal(c); /* threads that wait for room wait in vain */
    stws_p_unlock(c);
    c->drained = 0;
}

/* One turn on an open connection: writes what is due, then reads once. Does not read while a
   message is held back, in a turn between two frames, or if the last read has emptied the
   socket. Returns 1 if something moved. */
static int stws_p_turn_stream(stws *c) {
    long n;
    int moved = stws_p_turn_output(c);
    if (moved < 0) stws_p_end_output(c, moved), moved = 0;
    if (c->held || c->turn_due || (c->drained && !c->write_error)) return moved;
    n = stws_p_read_once(c);
    if (n == 0) c->drained = 1;
    if (n == 0 && c->write_error) n = c->write_error;
    if (n < 0) stws_p_on_io_error(c, n);
    return moved || n != 0;
}

/* After so many turns in a row in which something moved, a call that may not block returns,
   and the timers are checked, however much the network brings. */
enum { STWS_P_TURNS = 64 };

/* One turn in a state that depends on the network: CONNECTING to CLOSING. Checks the timers
   when the network has nothing to move, and after STWS_P_TURNS turns in which it always had.
   Returns 1 if something moved or the state has changed. */
static int stws_p_turn_network(stws *c) {
    int state = c->state, connecting = state == STWS_CONNECTING || state == STWS_TLS;
    int moved;
    /* A network that always brings more must not keep the timers waiting. */
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

/* Obeys what was asked for from outside: stws_stop, stws_disconnect, stws_reconnect_now; and
   continues a renewal. Returns 1 if the turn ends here, because the connection or the client
   has ended and the event DISCONNECTED has to come first. */
static int stws_p_turn_asked(stws *c) {
    if (STWS_P_LOAD(&c->stop)) return stws_p_obey_stop(c);
    if (STWS_P_LOAD(&c->asked) && stws_p_obey_end(c)) return 1;
    if (STWS_P_LOAD(&c->reconnect_asked)) stws_p_obey_reconnect(c);
    if (c->renewing && stws_p_turn_renewing(c)) return 1;
    return c->state == STWS_ENDED || c->disconnected_due;
}

/* One turn of the state machine. It does not wait for the network; only the name lookup in
   RESOLVING may block. First it obeys what was asked for from outside, then it acts by the
   state:

       IDLE         begins the first attempt
       BACKOFF      waits for its deadline, then begins the next attempt
       RESOLVING    chooses the transport and finds the addresses
       CONNECTING   opens the connection, through a proxy if there is one
       TLS          continues the TLS handshake
       UPGRADING    writes the upgrade request, reads the answer
       LOGGING_IN   writes CONNECT, reads
       CONNECTED    writes what is due, reads, checks the timers
       CLOSING      writes DISCONNECT, reads until its receipt
       ENDED        nothing

   The turn only reads bytes. Frames are handled between turns, by stws_p_pull_frames, so
   that the program gets each event before the next frame changes anything. Returns 1 if
   something moved, so that another turn may move more; 0 if it is time to wait. Only the
   thread that drives the client calls this, without the lock. */
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

/* ==== >>wait: the core of driving: turn, wait, next event ====

   stws_p_next is the core of all driving calls:

       +--> pull an event --> turn --> pull an event --> wait --+
       |                                                        |
       +--------------------------------------------------------+

   A wait begins with stws_p_begin_wait and ends with stws_p_end_wait. From its beginning
   (c->waiting) another thread that leaves work also writes a byte into the wake pipe, which
   ends poll(). The lock decides who comes first: a request that was left before the wait makes
   the due time 0, and a later one wakes. So no request is missed. The program's own loop waits
   in the same way, between stws_fds or stws_deadline and its next driving call.

   Only the thread that holds the client calls these functions, without the lock. Nothing is
   locked during poll(). */

/* Adds a descriptor to a list, unless it is negative, nothing is wanted of it, or the list
   is full. Returns the new length of the list. */
static int stws_p_add_fd(stws_fd *out, int cap, int n, int fd, int wants) {
    if (fd < 0 || n >= cap || !wants) return n;
    out[n].fd = fd;
    out[n].wants = wants;
    return n + 1;
}

/* Returns the shorter of two time-outs of poll(), for which -1 means no limit. */
static int stws_p_at_most(int ms, int limit) {
    return limit >= 0 && (ms < 0 || ms > limit) ? limit : ms;
}

/* A transport without a descriptor is polled every 10 ms. */
enum { STWS_P_NO_FD_MS = 10 };

/* Lists the descriptors to wait for: those of the transport, and the wake pipe. While IPv4 and
   IPv6 are raced, TCP has two. Returns how many they are. Sets *most_ms to the number of
   milliseconds to wait at most: 0 if the transport holds data that no descriptor announces,
   such as decrypted bytes of TLS; STWS_P_NO_FD_MS if it has no descriptor; else -1. */
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
    if (c->opened && asked && !n) *most_ms = stws_p_at_most(*most_ms, STWS_P_NO_FD_MS);
    return stws_p_add_fd(out, cap, n, c->wake[0], STWS_WANT_READ);
}

/* The thread that drives is about to wait. From now on other threads have to wake it
   (c->waiting). Returns the time until which it may wait (see stws_p_due_locked). Takes the
   lock. */
static long long stws_p_begin_wait(stws *c) {
    long long due;
    stws_p_lock(c);
    due = stws_p_due_locked(c);
    c->due_us = due;
    c->waiting = c->waited = 1;
    c->frames_left = 0; /* look at the clock after the first frame */
    if (c->shared_stats) *c->shared_stats = c->s.stats;
    stws_p_unlock(c);
    return due;
}

/* The wait is over: other threads no longer need to wake this one. Empties the wake pipe. If
   it is not empty, another thread has left its request before it wrote there. */
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

/* Lists the descriptors of stws_p_collect_fds in the form that poll() takes. Returns how
   many they are. */
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

/* Without a wake pipe (single_thread), a stws_stop from a signal handler just before poll() is
   noticed only when poll() returns: after a second at most. */
enum { STWS_P_NO_WAKE_MS = 1000 };

/* Prepares a wait: fills the list for poll() and stores its length in *n. Returns for how
   many milliseconds to wait at most: -1 without limit, 0 not at all. */
static int stws_p_before_wait(stws *c, struct pollfd *out, int *n) {
    int most_ms, ms = stws_p_ms_until(c, stws_p_begin_wait(c));
    *n = stws_p_pollfds(c, out, &most_ms);
    return c->more ? 0 : stws_p_at_most(ms, most_ms);
}

/* Waits for the network, the clock or another thread, for limit_ms at most (-1: no limit). */
static void stws_p_wait(stws *c, int limit_ms) {
    struct pollfd polled[3];
    int n, ms = stws_p_at_most(stws_p_before_wait(c, polled, &n), limit_ms);
    poll(polled, (nfds_t)n, c->wake[0] < 0 ? stws_p_at_most(ms, STWS_P_NO_WAKE_MS) : ms);
    stws_p_end_wait(c);
    c->drained = 0;
}

/* The core of all driving calls. The calling thread has taken the client. Each round looks for
   an event, then makes a turn of the state machine. If the turn moved something, the next round
   follows at once; else the thread waits until the network, the clock or another thread has
   something to do. A timeout_ms of -1 waits without limit. With 0 it does not wait, and returns
   after STWS_P_TURNS turns although more could move.

   Returns 1 with the next event in *e. Returns 0 if the time is over, and in two special
   cases: c->yield is set (the reply or the confirmation that this call wants has arrived),
   or this call only flushes and another thread wants to drive. Returns the negative final
   result if the client has ended. c->more tells stws_deadline that there is more to do
   without waiting. */
static int stws_p_next(stws *c, stws_event *e, int timeout_ms) {
    long long until;
    int turns = 0, result, left, moved;
    stws_p_make_event(e, STWS_EVENT_NONE);
    until = timeout_ms > 0 ? stws_p_time_in_ms(c, timeout_ms) : STWS_P_NEVER;
    stws_p_end_wait(c);
    c->yield = c->more = 0;
    if (timeout_ms == 0) c->drained = 0;
    for (;;) {
        /* An event, or a turn and then another round. */
        result = stws_p_pull(c, e);
        if (result != 0 || c->yield) break;
        moved = c->turn_due;
        moved |= stws_p_turn(c);
        if (moved && (timeout_ms ? c->now < until : ++turns < STWS_P_TURNS)) continue;
        /* Nothing moves any more: an event of the last turn, or a wait. */
        result = stws_p_pull(c, e);
        left = timeout_ms ? stws_p_ms_until(c, until) : 0;
        c->more = (moved && timeout_ms == 0) || (c->turn_due && left == 0);
        if (result != 0 || left == 0 || c->yield || stws_p_flusher_must_yield(c)) break;
        if (!c->turn_due) stws_p_wait(c, left);
    }
    if (result > 0) c->more = 1; /* more events may follow, or output */
    return result;
}

/* Passes an event to the user's callback: a message to on_message if that is set, everything
   else to on_event. */
static void stws_p_deliver_event(stws *c, const stws_event *e) {
    c->calling++;
    if (e->type == STWS_EVENT_MESSAGE && c->o.on_message) c->o.on_message(c, e->message, c->o.user);
    else if (c->o.on_event) c->o.on_event(c, e, c->o.user);
    c->calling--;
}

/* ==== >>state.c: state, errors and numbers ====

   These functions do not change the session. They read atomic variables, fields that are set
   once, or a copy of the statistics. So any thread may call them. The exception is
   stws_upgrade_header: its strings change with the next answer, so it is for the thread
   that drives.

   stws_error_text returns the sentence of the client only where the client cannot change it
   at that moment. stws_stats makes a new copy if no other thread holds the client. Otherwise
   it returns the copy that the driving thread made before its last wait. */

STOMP_WS_API stws_connection_state stws_state(const stws *c) {
    return c ? (stws_connection_state)STWS_P_LOAD(&c->state) : STWS_ENDED;
}

/* The names are in the order of stws_connection_state. */
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

/* A refused call of this thread comes first. Other threads than the one that drives get the
   text of the error's code only, because c->text may change while they read it. */
STOMP_WS_API const char *stws_error_text(const stws *c) {
    if (!c) return stws_result_text(STWS_ERR_MEMORY);
    if (stws_p_refusal.client == c) return stws_p_refusal.why;
    if (c->broken || !stws_p_may_wait(c) || STWS_P_LOAD(&c->state) == STWS_ENDED) return c->text;
    /* The thread that drives may be changing c->text just now. */
    return stws_error(c) ? stws_result_text(stws_error(c)) : "";
}

/* Looks the name up in what stws_p_store_answer_headers has stored. */
STOMP_WS_API const char *stws_upgrade_header(const stws *c, const char *name) {
    const char *at = c && !c->broken && name ? c->head : "";
    for (; *at; at = stws_p_next_text(stws_p_next_text(at)))
        if (stws_p_equal_nocase(at, strlen(at), name, strlen(name))) return stws_p_next_text(at);
    return NULL;
}

STOMP_WS_API int stws_http_status(const stws *c) { return c ? STWS_P_LOAD(&c->http_status) : 0; }

STOMP_WS_API int stws_close_code(const stws *c) { return c ? STWS_P_LOAD(&c->close_code) : 0; }

STOMP_WS_API void *stws_user(const stws *c) { return c ? c->o.user : NULL; }

/* The thread that drives counts without the lock. Other threads get the copy that it makes
   when it waits. If no thread drives, this call takes the client for a moment and makes the
   copy itself. */
STOMP_WS_API void stws_stats(stws *c, stws_statistics *out) {
    int taken;
    if (!out) return;
    memset(out, 0, sizeof *out);
    if (!c || c->broken) return;
    stws_p_lock(c);
    taken = !stws_p_holds_client(c) && stws_p_try_take(c, STWS_P_WRITER);
    if (c->shared_stats && (taken || stws_p_holds_client(c))) *c->shared_stats = c->s.stats;
    *out = c->shared_stats ? *c->shared_stats : c->s.stats;
    if (taken) STWS_P_SWAP(&c->driver, 0);
    if (taken && c->watchers) stws_p_signal(c);
    stws_p_unlock(c);
}

/* ==== >>drive.c: the calls that run a client ====

   Each call takes the client (stws_p_take_to_drive), calls stws_p_next, and gives the client
   back. Only one thread at a time can have it; a second one gets STWS_ERR_STATE. The calls
   differ in where events go and in how long they wait:

       stws_next       returns one event         waits as long as the caller wants
       stws_step       calls back                does not wait
       stws_run        calls back                until the client ends
       stws_run_many   calls back                until all clients have ended

   stws_fds and stws_deadline serve a loop of the program's own: they begin the wait, the
   loop waits, and its next driving call ends the wait. None of these functions holds the
   lock while it drives. */

/* The event's pointers stay valid until the next driving call of this thread. c->lent tells
   this to other threads, which may take the client in between
   (stws_p_event_in_use_elsewhere). */
STOMP_WS_API int stws_next(stws *c, stws_event *e, int timeout_ms) {
    int result;
    if (!e) return stws_p_refuse(c, STWS_ERR_USAGE, "stws_next: event is NULL");
    result = stws_p_take_to_drive(c);
    if (result != STWS_OK) {
        stws_p_make_event(e, STWS_EVENT_NONE);
        return result;
    }
    result = stws_p_next(c, e, timeout_ms);
    STWS_P_STORE(&c->lent, result > 0 ? STWS_P_EVENT : STWS_P_NOTHING);
    stws_p_release_driver(c);
    return result;
}

/* Drives the client until it ends; all events go to callbacks. Returns 0 after a regular
   end, else the error that ended the client. */
static int stws_p_run(stws *c) {
    stws_event e;
    int result;
    c->calls_back = 1;
    while ((result = stws_p_next(c, &e, -1)) >= 0)
        if (result > 0) stws_p_deliver_event(c, &e);
    c->calls_back = 0;
    return result == STWS_CLOSED ? 0 : result;
}

STOMP_WS_API int stws_run(stws *c) {
    int result = stws_p_take_to_drive(c);
    if (result != STWS_OK) return result;
    result = stws_p_run(c);
    stws_p_release_driver(c);
    return result;
}

/* Drives the client without waiting; all events go to callbacks. Stops after 1024 events,
   and then sets c->more. Returns 0, or the negative final result if the client has ended. */
static int stws_p_step(stws *c) {
    stws_event e;
    int result, i;
    for (i = 0; i < 1024; i++) {
        result = stws_p_next(c, &e, 0);
        if (result <= 0) return result;
        stws_p_deliver_event(c, &e);
    }
    c->more = 1;
    return 0;
}

STOMP_WS_API int stws_step(stws *c) {
    int result = stws_p_take_to_drive(c);
    if (result != STWS_OK) return result;
    result = stws_p_step(c);
    stws_p_release_driver(c);
    return result;
}

/* The program's own loop is about to wait, with the descriptors or the time that it asked
   for. Remembers the thread, because a flush in another thread has to wake that loop. */
static void stws_p_note_loop(stws *c) {
    if (c->threads) STWS_P_STORE(&c->last_driver, stws_p_thread_id());
    STWS_P_STORE(&c->lent, c->lent | STWS_P_LOOP);
}

/* A flush in this thread may have read the bytes that the program's loop waits for, or
   changed the time until which it may wait. Wakes that loop, if there is one. */
static void stws_p_wake_loop(stws *c) {
    if (!(c->lent & STWS_P_LOOP)) return;
    c->waited = 1;
    stws_p_write_wake_byte(c->wake[1]);
}

/* The program's loop waits with this list. From here on other threads wake it by the wake
   pipe. */
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
    stws_p_release_driver(c);
    return n;
}

/* The program's loop waits until this time. From here on other threads wake it by the wake
   pipe. */
STOMP_WS_API long long stws_deadline(stws *c) {
    struct pollfd polled[3];
    int n, ms = 0;
    if (stws_p_unusable(c)) return 0;
    n = stws_p_take(c);
    if (n != STWS_OK) return n;
    if (c->state != STWS_ENDED || c->disconnected_due) ms = stws_p_before_wait(c, polled, &n);
    stws_p_note_loop(c);
    stws_p_release_driver(c);
    return ms;
}

enum { STWS_P_MANY = 64 }; /* clients that one poll() covers; others make a step every 10 ms */

/* Waits until one of the clients has something to do, for limit_ms at most. It does not
   matter which descriptor belongs to which client: afterwards all clients make a step. All
   clients have made their step before: the callback of one may have sent with another, and
   that would be missed if its wait had begun already. */
static void stws_p_wait_many(stws *const *clients, int count, int limit_ms) {
    struct pollfd polled[3 * STWS_P_MANY + 3];
    int n = 0, i, ms = limit_ms, each, found;
    for (i = 0; i < count; i++) {
        if (stws_state(clients[i]) == STWS_ENDED) continue;
        each = stws_p_before_wait(clients[i], polled + n, &found);
        if (i < STWS_P_MANY) n += found;
        if (i >= STWS_P_MANY) each = stws_p_at_most(each, STWS_P_NO_FD_MS);
        if (clients[i]->wake[0] < 0) each = stws_p_at_most(each, STWS_P_NO_WAKE_MS);
        ms = stws_p_at_most(ms, each);
    }
    poll(polled, (nfds_t)n, ms);
}

/* Sleeps until the thread that drives reports a change (stws_p_signal). Wakes that thread
   first if it waits. Returns 1 after a change, perhaps another one than the caller waits
   for; 0 if the time is over, or without threads. The lock is held, but released during the
   sleep, so no frame may be half composed. */
static int stws_p_await_driver_locked(stws *c, long long until) {
#ifdef STOMP_WS_NO_THREADS
    return (void)c, (void)until, 0;
#else
    int left = stws_p_ms_until(c, until);
    if (left == 0) return 0;
    if (c->waiting) stws_p_write_wake_byte(c->wake[1]);
    stws_p_await_change_locked(c, left);
    return 1;
#endif
}

/* Steps all clients and waits, in turn, until all have ended (STWS_OK), or until the time is
   over (STWS_ERR_TIMEOUT). The calling thread has taken them all. */
static int stws_p_run_many(stws *const *clients, int count, int timeout_ms) {
    long long until = stws_p_system_clock(NULL) + stws_p_ms_to_us(timeout_ms), left;
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

/* Takes all clients first, so that each of them is driven by this thread alone, and gives
   back those that it has taken. */
STOMP_WS_API int stws_run_many(stws *const *clients, int count, int timeout_ms) {
    int i, result = STWS_OK;
    if (!clients && count > 0)
        return stws_p_refuse(NULL, STWS_ERR_USAGE, "stws_run_many: clients is NULL");
    for (i = 0; i < count && result == STWS_OK; i++)
        if (!stws_p_unusable(clients[i])) result = stws_p_take_to_drive(clients[i]);
    if (result == STWS_OK) result = stws_p_run_many(clients, count, timeout_ms);
    else i--; /* client i was not taken */
    while (i-- > 0)
        if (!stws_p_unusable(clients[i])) stws_p_release_driver(clients[i]);
    return result;
}

/* ==== >>life.c: connect, start, stop, close and destroy ====

   stws_stop, stws_disconnect and stws_reconnect_now only leave a request for the driving
   thread, and wake it. stws_connect and stws_close (and >>flush.c and >>request.c) drive by
   themselves if no other thread does; otherwise stws_connect and stws_close wait beside the
   thread that drives. If that thread stops driving, they take over.

   A call that drives but is not stws_next may meet an event without a callback.
   stws_p_keep_event keeps it for stws_next. c->keeping is set meanwhile.

   stws_start gives the client to a new thread, which holds it until its end. stws_destroy
   needs a client that no other thread uses; in a child process after fork() it takes
   no locks, and sends nothing on the connection of the parent. */

/* Keeps an event for stws_next, because a call that is not stws_next has met it and there is
   no callback for it. Makes a copy and returns STWS_OK, as long as all copies together take
   no more than rx_buffer bytes. One more event is then kept in its place, and the result is
   STWS_ERR_FULL: nothing more can be read before stws_next has taken it. */
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
        "events of more than rx_buffer bytes are waiting: take them with stws_next");
}

/* Drives for a call that is not stws_next: stws_connect, stws_close, stws_flush, stws_request.
   Events go to their callbacks, and those without a callback are kept for stws_next. CONNECTED
   and DISCONNECTED without a callback are dropped, because the call's result has the same
   information. Returns 1 and the type of the event, which is dealt with; otherwise the results
   of stws_p_next, or STWS_ERR_FULL if an event has to be taken by stws_next first. */
static int stws_p_next_for_call(stws *c, int timeout_ms, stws_event_type *type) {
    stws_event e;
    int result;
    *type = STWS_EVENT_NONE;
    if (c->has_kept)
        return stws_p_refuse(c, STWS_ERR_FULL, "an event is waiting: take it with stws_next first");
    c->keeping++;
    result = stws_p_next(c, &e, timeout_ms);
    c->keeping--;
    if (result <= 0) return result;
    *type = e.type;
    if (c->o.on_event || (e.type == STWS_EVENT_MESSAGE && c->o.on_message)) {
        if (e.type == STWS_EVENT_MESSAGE) (void)stws_p_hand_over(c, e.message);
        stws_p_deliver_event(c, &e);
    } else if (e.type != STWS_EVENT_CONNECTED && e.type != STWS_EVENT_DISCONNECTED) {
        result = stws_p_keep_event(c, &e);
        if (result < 0) return result;
    }
    return 1;
}

/* Drives until there is a session. Returns STWS_OK; the last error, or STWS_ERR_TIMEOUT
   without one, if the time is over; or the final result if the client has ended. */
static int stws_p_connect(stws *c, long long until) {
    stws_event_type type;
    while (c->state != STWS_CONNECTED) {
        int left = stws_p_ms_until(c, until), result = stws_p_next_for_call(c, left, &type);
        if (result < 0) return result;
        if (result == 0 && left == 0) return c->error ? c->error : (int)STWS_ERR_TIMEOUT;
    }
    return STWS_OK;
}

/* Another thread drives: waits until the client has ended (returns the final result) or, with
   connected_is_enough, until it has a session (STWS_OK), or until the time is over
   (STWS_ERR_TIMEOUT). Returns STWS_P_AGAIN if that thread stops driving: then the caller has
   to. */
static int stws_p_await_elsewhere(stws *c, int connected_is_enough, long long until) {
    int result = STWS_P_AGAIN, state;
    stws_p_lock(c);
    stws_p_count_watcher(c, 1);
    while (result == STWS_P_AGAIN && STWS_P_LOAD(&c->driver)) {
        state = STWS_P_LOAD(&c->state);
        if (state == STWS_CONNECTED && connected_is_enough) result = STWS_OK;
        else if (state == STWS_ENDED) result = c->final;
        else if (!stws_p_await_driver_locked(c, until)) result = STWS_ERR_TIMEOUT;
    }
    stws_p_count_watcher(c, -1);
    stws_p_unlock(c);
    return result;
}

/* Takes the client to drive it, like stws_p_take_to_drive, in a thread that is not the one
   that usually drives. While that thread reads an event of stws_next, whose pointers have to
   stay valid, this thread waits. Returns STWS_OK; STWS_ERR_TIMEOUT after `until`; or
   STWS_ERR_STATE if another thread drives, or if this is a callback of the client. */
static int stws_p_take_after_event(stws *c, long long until) {
    for (;;) {
        int result, in_time;
        if (!stws_p_event_in_use_elsewhere(c)) {
            result = stws_p_take(c);
            if (result != STWS_OK) return result;
            if (!stws_p_event_in_use_elsewhere(c)) break; /* nor did it before we took the client */
            stws_p_release_driver(c);
        }
        stws_p_lock(c);
        in_time = stws_p_ms_until(c, until) != 0;
        if (in_time) stws_p_await_driver_locked(c, stws_p_time_in_ms(c, STWS_P_NO_FD_MS));
        stws_p_unlock(c);
        if (!in_time) return STWS_ERR_TIMEOUT;
    }
    stws_p_begin_driving(c);
    return STWS_OK;
}

/* If no other thread drives, this call drives until there is a session; else it waits for
   the thread that drives. If that thread stops, it tries again. */
STOMP_WS_API int stws_connect(stws *c, int timeout_ms) {
    long long until;
    int result = stws_p_unusable(c);
    if (result) return result;
    until = stws_p_time_in_ms(c, timeout_ms);
    do {
        if (c->threads && !stws_p_holds_client(c) && STWS_P_LOAD(&c->state) == STWS_CONNECTED)
            return STWS_OK;
        result = stws_p_take_after_event(c, until);
        if (result == STWS_OK) {
            result = stws_p_connect(c, until);
            stws_p_release_driver(c);
        } else if (result == STWS_ERR_STATE && !stws_p_holds_client(c)) {
            result = stws_p_await_elsewhere(c, 1, until);
        }
    } while (result == STWS_P_AGAIN);
    return result;
}

#ifdef STOMP_WS_NO_THREADS
STOMP_WS_API int stws_start(stws *c) { return c ? STWS_ERR_STATE : STWS_ERR_MEMORY; }

STOMP_WS_API int stws_join(stws *c) { return c ? STWS_ERR_STATE : STWS_ERR_MEMORY; }
#else
/* The thread of stws_start: takes the client over and drives it until its end. */
static void *stws_p_thread(void *client) {
    stws *c = (stws *)client;
    STWS_P_STORE(&c->last_driver, stws_p_thread_id());
    STWS_P_STORE(&c->driver, stws_p_thread_id());
    c->run_result = stws_p_run(c);
    stws_p_release_driver(c);
    return NULL;
}

STOMP_WS_API int stws_start(stws *c) {
    int result = stws_p_unusable(c), made;
    if (result) return result;
    if (!c->threads)
        return stws_p_refuse(c, STWS_ERR_STATE, "stws_start: options.single_thread is set");
    result = stws_p_take_to_drive(c);
    if (result != STWS_OK) return result;
    if (c->running) {
        stws_p_release_driver(c);
        return stws_p_refuse(c, STWS_ERR_STATE,
                             "stws_start: call stws_join for the last thread first");
    }
    /* The client belongs to the new thread already, although that has no id yet. */
    STWS_P_STORE(&c->last_driver, STWS_P_COMING);
    STWS_P_STORE(&c->driver, STWS_P_COMING);
    made = pthread_create(&c->runner, NULL, stws_p_thread, c) == 0;
    c->running = made;
    if (!made) stws_p_release_driver(c);
    return made ? STWS_OK
                : stws_p_refuse(c, STWS_ERR_MEMORY, "stws_start: the system cannot make a thread");
}

STOMP_WS_API int stws_join(stws *c) {
    if (stws_p_unusable(c)) return stws_p_unusable(c);
    if (!c->running)
        return stws_p_refuse(c, STWS_ERR_STATE, "stws_join: no thread of stws_start is running");
    if (stws_p_holds_client(c))
        return stws_p_refuse(c, STWS_ERR_STATE, "a callback cannot wait for its own thread");
    pthread_join(c->runner, NULL);
    c->running = 0;
    if (stws_p_refusal.client == c) stws_p_refusal.client = NULL;
    return c->run_result;
}
#endif

/* Leaves the lock, and wakes the thread that drives if it is waiting: it has new work. */
static void stws_p_unlock_and_wake(stws *c) {
    int poke = c->waiting;
    c->waiting = 0;
    c->called = 1;
    stws_p_unlock(c);
    if (poke) stws_p_write_wake_byte(c->wake[1]);
}

/* Async-signal-safe: sets a flag and writes one byte into the wake pipe. */
STOMP_WS_API void stws_stop(stws *c) {
    if (!c || c->broken) return;
    STWS_P_STORE(&c->stop, 1);
    stws_p_write_wake_byte(c->wake[1]);
}

/* Only leaves a request for the thread that drives, and its deadline. A second request
   changes neither. */
STOMP_WS_API int stws_disconnect(stws *c, int timeout_ms) {
    if (stws_p_unusable(c)) return stws_p_unusable(c);
    stws_p_lock(c);
    if (!c->asked) {
        c->end_us = stws_p_time_in_ms(c, timeout_ms < 0 ? c->o.close_timeout_ms : timeout_ms);
        STWS_P_STORE(&c->asked, STWS_P_ASKED_END);
    }
    stws_p_unlock_and_wake(c);
    return STWS_OK;
}

/* Asks for the end, then drives until it, or waits for the thread that drives. */
STOMP_WS_API int stws_close(stws *c, int timeout_ms) {
    int result = stws_p_unusable(c);
    stws_event_type type;
    if (result) return result;
    if (c->threads ? stws_p_holds_client(c) : c->calling)
        return stws_p_refuse(c, STWS_ERR_STATE,
                             "a callback cannot wait for the end: call stws_disconnect instead");
    stws_disconnect(c, timeout_ms);
    do {
        result = stws_p_take_after_event(c, c->end_us);
        /* The other thread has had its time to look at its event. */
        if (result == STWS_ERR_TIMEOUT) result = stws_p_take_to_drive(c);
        if (result == STWS_OK) {
            do {
                result = stws_p_next_for_call(c, -1, &type);
                /* No room to keep the event: drops it. A message stays without an ACK. */
                if (c->has_kept) c->has_kept = 0, result = 0;
            } while (result >= 0);
            stws_p_release_driver(c);
        } else {
            result = stws_p_await_elsewhere(c, 0, STWS_P_NEVER);
        }
    } while (result == STWS_P_AGAIN);
    return result == STWS_CLOSED ? (int)STWS_OK : result;
}

/* Only leaves a request for the thread that drives. */
STOMP_WS_API int stws_reconnect_now(stws *c) {
    if (stws_p_unusable(c)) return stws_p_unusable(c);
    stws_p_lock(c);
    STWS_P_STORE(&c->reconnect_asked, 1);
    stws_p_unlock_and_wake(c);
    return STWS_OK;
}

/* Returns 1 if the client may be destroyed now. Stops the thread of stws_start and waits for
   it. Returns 0, with a sentence, while a callback runs or another thread drives: both still
   use the client. After fork() the child has no such threads, and it always gets 1. */
static int stws_p_prepare_destroy(stws *c) {
    if (c->pid != (long)getpid()) return 1;
    if (stws_p_holds_client(c) && c->calling)
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
    /* after fork() the child must not wait for locks of its parent's threads */
    int has_heap, mine = c && c->pid == (long)getpid();
    if (!c || (!c->broken && !stws_p_prepare_destroy(c))) return;
    if (!c->broken) {
        /* Other threads may be acknowledging messages of this client: end that first. */
        if (c->o.queue && mine) {
            stws_p_lock(c);
            c->going = 1;
            stws_p_signal(c);
            stws_p_unlock(c);
            stws_p_queue_forget(c->o.queue, c, &c->waiter);
        }
        if (mine) stws_p_stop_feeding(c);
        /* In a child after fork(), nothing may be sent on the parent's connection. */
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
    /* The outbox is the last part of the block. The pages of it that were never used are not
       wiped, so they are never touched. */
    stws_p_wipe(c, c->broken ? size : size - (c->o.outbox_bytes - c->s.outbox.used));
    if (has_heap) a.release(a.ctx, c, size);
}

/* ==== >>submit: frames of API calls go into the output or the outbox ====

   Every SEND, ACK, NACK, UNSUBSCRIBE, BEGIN, COMMIT and ABORT comes through
   stws_p_submit_locked, except a SEND that takes the short way (stws_p_send_with_last_head).
   All these calls have the same shape, in any thread, also in a callback:

       lock --> compose a draft --> stws_p_submit_locked --> stws_p_finish_call
                                      |           |            unlocks, and wakes the driver
                                      v           v
                                    output     outbox

   A frame goes straight into the output only if nothing waits before it, so the order of the
   calls is kept. A frame that may have to be sent again stays in the outbox. No call waits for
   the network; only a full batch of output (STWS_P_BATCH) is written by the calling thread, if
   no other thread holds the client.

   A draft uses the header table of the session. It is valid only as long as the lock is
   held. */

/* Returns 1 if the frame can be represented in the STOMP version of the session; without a
   session, in STOMP 1.2. */
static int stws_p_can_represent(const stws *c, const stws_frame *frame) {
    return stws_p_encode_head(NULL, c->s.version ? c->s.version : (int)STWS_STOMP_12, frame) != 0;
}

/* Returns 1 if a frame may go straight into the output: there is a session, all SUBSCRIBEs
   that have to come first were sent, and the output neither has failed nor is about to end. */
static inline int stws_p_may_send_now(const stws *c) {
    return STWS_P_LOAD(&c->state) == STWS_CONNECTED && !stws_p_subs_come_first(&c->s.subs) &&
           !c->write_error && !c->close_sent && !c->renewing && !c->s.no_random;
}

/* Returns 1 if a record of that size fits into the outbox, or into a copy of its bounds. */
static int stws_p_outbox_fits(const stws *c, const stws_p_ring *outbox, size_t size) {
    size_t at;
    return (!c->o.outbox_count || outbox->count < c->o.outbox_count) &&
           stws_p_ring_place(outbox, size, &at);
}

/* Returns 1 if a record of that size fits into the outbox, perhaps after the oldest frames are
   dropped (STWS_FULL_DROP_OLDEST). Drops nothing yet: only a copy of the ring's bounds is
   changed. The lock is held. */
static int stws_p_outbox_can_fit(const stws *c, size_t size) {
    stws_p_ring ring = c->s.outbox;
    while (!stws_p_outbox_fits(c, &ring, size)) {
        if (c->o.outbox_policy != STWS_FULL_DROP_OLDEST || !ring.count) return 0;
        if (!stws_p_record_is_droppable(stws_p_record_at(&ring, ring.head))) return 0;
        stws_p_ring_drop(&ring);
    }
    return 1;
}

/* Puts a copy of a frame into the outbox, and drops older ones for it if the outbox is full
   and the policy allows that. Returns its record, or NULL with the reason in *result:
   STWS_ERR_LIMIT if it never fits, STWS_ERR_FRAME_BUILD if it cannot be represented,
   STWS_ERR_FULL if there is no room now. The lock is held. */
static stws_p_record *stws_p_outbox_put(stws *c, const stws_frame *frame, int *result) {
    stws_p_ring *outbox = &c->s.outbox;
    size_t size = stws_p_record_size(frame);
    *result = STWS_ERR_LIMIT;
    if (!c->has_heap && stws_p_head_bound(frame) + frame->body_len > c->s.out.cap - 15) return NULL;
    if (size > outbox->cap) return NULL;
    *result = STWS_ERR_FRAME_BUILD;
    if (!stws_p_can_represent(c, frame)) return NULL;
    *result = STWS_ERR_FULL;
    stws_p_outbox_sweep(&c->s);
    if (!stws_p_outbox_can_fit(c, size)) return NULL;
    while (!stws_p_outbox_fits(c, outbox, size)) {
        stws_p_drop_record(c, stws_p_record_at(outbox, outbox->head), STWS_ERR_FULL);
        stws_p_outbox_sweep(&c->s);
    }
    return stws_p_outbox_append(outbox, frame);
}

/* How long a frame has a meaning: a SEND in any session; ACK, NACK and UNSUBSCRIBE in the
   present session only. A confirmed frame stays in the outbox until its receipt arrives. */
enum { STWS_P_FOR_ANY_SESSION = 0, STWS_P_FOR_THIS_SESSION = 1, STWS_P_CONFIRMED = 2 };

/* A part of this transaction was lost, so none of it may take effect. Refuses the part that
   the caller adds: returns STWS_ERR_STALE. COMMIT is refused, too, and ends the transaction
   here. ABORT succeeds, because nothing of the transaction remains. The lock is held. */
static int stws_p_refuse_broken_part(stws *c, stws_p_record *begin, stws_command command_id) {
    if (stws_p_ends_transaction(command_id)) stws_p_record_enter(&c->s, begin, STWS_P_RECORD_DONE);
    stws_p_outbox_sweep(&c->s);
    return command_id == STWS_COMMAND_ABORT ? (int)STWS_OK : (int)STWS_ERR_STALE;
}

/* The outbox has no room for an ABORT. But the frames of the transaction are what fills it,
   and they are no longer wanted: drops them, so that no session sends them again. If this
   session has sent the BEGIN, the server needs the ABORT: sends it, or puts it into the room
   that there is now. If neither works, the transaction ends on the server with the session.
   Always returns STWS_OK. The lock is held. */
static int stws_p_abort_without_room(stws *c, const stws_p_draft *draft, stws_p_record *begin) {
    stws_p_ring *outbox = &c->s.outbox;
    stws_p_record *r;
    int begun = begin->state != STWS_P_RECORD_WAITING, result;
    for (r = begin; r; r = stws_p_record_next(outbox, r))
        if (stws_p_record_in_transaction(r, draft->transaction))
            stws_p_record_drop(&c->s, r, STWS_ERR_STALE);
    stws_p_outbox_sweep(&c->s);
    stws_p_signal(c);
    if (!begun || (stws_p_may_send_now(c) && !outbox->untaken &&
                   stws_p_post_growing_locked(c, &draft->frame, draft->body_is_utf8) == STWS_OK))
        return STWS_OK;
    r = stws_p_outbox_put(c, &draft->frame, &result);
    if (r) r->epoch = c->s.epoch;
    return STWS_OK;
}

/* Returns why no new frames are accepted: STWS_CLOSED if the client has ended or stws_stop
   was called, STWS_ERR_STATE after stws_disconnect or stws_close. Returns STWS_OK if they
   are. */
static int stws_p_refuses_new_frames(const stws *c) {
    if (STWS_P_LOAD(&c->state) == STWS_ENDED || STWS_P_LOAD(&c->stop)) return STWS_CLOSED;
    return STWS_P_LOAD(&c->asked) ? (int)STWS_ERR_STATE : (int)STWS_OK;
}

/* Sends a composed frame now, or puts it into the outbox. Every SEND, ACK, NACK, UNSUBSCRIBE,
   BEGIN, COMMIT and ABORT comes through here. The lock is held. `receipt` is the number of the
   frame's receipt, or 0; `kind` is STWS_P_FOR_ANY_SESSION, STWS_P_FOR_THIS_SESSION or
   STWS_P_CONFIRMED.

   The frame goes straight into the output if the session accepts it (stws_p_may_send_now), and
   if nothing waits in the outbox, so that the order of the calls is kept. Otherwise a copy of
   it goes into the outbox. These frames always do, and stay there after they were sent, because
   a new session has to send them again:

     - with option confirm, a SEND until its receipt has arrived;
     - the parts of a transaction until its COMMIT or ABORT was sent (and confirmed), so that a
       new session gets the whole transaction, or nothing of it.

   Returns STWS_OK if the frame was accepted. Otherwise: STWS_ERR_FULL (no room now),
   STWS_ERR_LIMIT (it never fits), STWS_ERR_FRAME_BUILD (it cannot be represented),
   STWS_ERR_STALE (its transaction is broken), STWS_ERR_STATE or STWS_CLOSED (the client is to
   end, or has ended), STWS_ERR_IO (no masking key). */
static int stws_p_submit_locked(stws *c, const stws_p_draft *draft, int receipt, int kind) {
    const stws_frame *frame = &draft->frame;
    stws_p_record *record,
        *begin = stws_p_transaction_begin(&c->s.outbox, draft->transaction, NULL);
    int result, tied = begin || frame->command_id == STWS_COMMAND_BEGIN;
    STOMP_WS_ASSERT(stws_p_has_lock(c));
    if (draft->too_many_headers) return STWS_ERR_LIMIT;
    result = stws_p_refuses_new_frames(c);
    if (result != STWS_OK &&
        !(kind == STWS_P_FOR_THIS_SESSION && STWS_P_LOAD(&c->state) == STWS_CONNECTED))
        return result; /* but ACKs are still accepted before DISCONNECT */
    if (begin && begin->state == STWS_P_RECORD_BROKEN)
        return stws_p_refuse_broken_part(c, begin, frame->command_id);
    /* The short way: straight into the output. Nothing of the frame is kept. */
    if (kind != STWS_P_CONFIRMED && !tied && stws_p_may_send_now(c) && !c->s.outbox.untaken) {
        result = stws_p_post_growing_locked(c, frame, draft->body_is_utf8);
        if (result == STWS_OK && receipt)
            stws_p_receipt_frame_sent(&c->s, receipt, c->clock.now_us(c->clock.ctx));
        if (result != STWS_ERR_SPACE) return result;
    }
    /* The outbox, and from there as much as there is room for. */
    record = stws_p_outbox_put(c, frame, &result);
    if (!record && begin && frame->command_id == STWS_COMMAND_ABORT)
        return stws_p_abort_without_room(c, draft, begin);
    if (!record) return result;
    record->receipt = receipt;
    record->epoch = kind == STWS_P_FOR_THIS_SESSION ? c->s.epoch : 0;
    if (kind == STWS_P_CONFIRMED) stws_p_record_confirm(&c->s, record, receipt);
    record->tied = (unsigned char)tied;
    if (stws_p_may_send_now(c)) stws_p_post_outbox_locked(c, c->clock.now_us(c->clock.ctx));
    return STWS_OK;
}

/* Returns the sentence for stws_error_text after a call of this section was refused. */
STWS_P_NOINLINE static const char *stws_p_refusal_text(int error) {
    static const stws_p_meaning meanings[] = {
        {STWS_CLOSED, "the client has ended, or stws_stop was called: it accepts nothing new"},
        {STWS_ERR_STATE, "stws_disconnect or stws_close was called: nothing new is accepted"},
        {STWS_ERR_FULL,
         "the outbox is full: raise option outbox_bytes or outbox_count, or send less"},
        {STWS_ERR_LIMIT,
         "a limit is reached: option max_headers, max_subscriptions, subscription_bytes or "
         "max_receipts; or the frame is larger than outbox_bytes or tx_buffer"},
        {STWS_ERR_STALE,
         "the message or transaction belongs to an earlier session, or the message has ended"},
        {STWS_ERR_IO, "the system provides no random numbers"},
        {0, NULL}};
    const char *why = stws_p_meaning_of(error, meanings);
    return stws_p_or(why, stws_result_text(error));
}

/* The output has a full batch (STWS_P_BATCH): writes it from this thread, unless another
   thread holds the client. If the socket was full the last time, tries that only if the call
   had no room (result < 0), and in every 32nd call. The lock is held, but released while it
   writes. */
STWS_P_NOINLINE static void stws_p_write_batch_locked(stws *c, int result) {
    int mine = stws_p_holds_client(c), taken = !mine && stws_p_try_take(c, STWS_P_WRITER);
    if ((mine || taken) && (!c->stalled_us || result < 0 || (++c->refusals & 31) == 0)) {
        stws_p_unlock(c);
        stws_p_write_once(c, c->clock.now_us(c->clock.ctx));
        stws_p_lock(c);
    }
    if (taken) STWS_P_SWAP(&c->driver, 0);
    if (taken && c->watchers) stws_p_signal(c);
}

/* The end of every call of this section. Writes a full batch, leaves the lock, and wakes the
   thread that drives. Returns `result`; if that is an error, stores the sentence for it. */
static int stws_p_finish_call(stws *c, int result) {
    if (stws_p_pending(&c->s.out) >= STWS_P_BATCH && !c->write_error && c->state == STWS_CONNECTED)
        stws_p_write_batch_locked(c, result);
    if (stws_p_holds_client(c)) stws_p_unlock(c);
    else stws_p_unlock_and_wake(c);
    return result < 0 ? stws_p_refuse(c, result, stws_p_refusal_text(result)) : result;
}

/* ==== >>subscribe.c: subscribe and unsubscribe ====

   stws_subscribe only enters the subscription into its table, also without a connection. Each
   session sends the SUBSCRIBE anew (stws_p_post_subscriptions_locked). So the call checks here
   that the SUBSCRIBE can be represented.

   stws_unsubscribe sends UNSUBSCRIBE only if this session has sent the SUBSCRIBE. The entry is
   removed once the UNSUBSCRIBE was accepted; until then the handle stays valid, and the call
   can be repeated. While a message of the subscription is in hand and not acknowledged, the
   removal waits for its ACK.

   Any thread may call these functions, also in a callback. They take the lock. */

/* Returns 1 if every name of a list of headers has a value, and no name is empty. */
static int stws_p_header_list_valid(const char *const *list) {
    for (; list && list[0]; list += 2)
        if (!list[1] || !*list[0]) return 0;
    return 1;
}

/* Returns 1 if a subscription in the table has this id. */
static int stws_p_id_in_use(const stws_p_subs *t, const char *id) {
    size_t len = strlen(id);
    return *stws_p_custom_link_locked(t, id, len) || stws_p_find_handle(t, stws_p_own_id(id, len));
}

/* Enters a subscription, and its receipt, into the tables. stws_p_post_subscriptions_locked
   sends the SUBSCRIBE. If an UNSUBSCRIBE of the same id still waits in the outbox, the
   subscription waits for that (STWS_P_SUB_WAITS_FOR_ID). Returns its handle, or an error. The
   lock is held. */
static int stws_p_subscribe_locked(stws *c, const char *destination,
                                   const stws_subscribe_options *o) {
    int handle = stws_p_add_sub_locked(&c->s.subs, destination, o);
    stws_p_sub *sub = stws_p_find_handle(&c->s.subs, handle);
    if (sub && sub->custom_id && stws_p_outbox_has_unsubscribe(&c->s.outbox, stws_p_wanted_id(o)))
        stws_p_sub_enter(&c->s.subs, sub, STWS_P_SUB_WAITS_FOR_ID);
    if (!sub || !o->receipt) return handle;
    sub->receipt = stws_p_add_receipt(&c->s, handle);
    if (sub->receipt) return handle;
    stws_p_remove_sub(&c->s.subs, sub);
    return STWS_ERR_LIMIT;
}

/* Returns NULL if the arguments of stws_subscribe are valid, else a sentence. */
static const char *stws_p_subscription_wrong(const char *destination,
                                             const stws_subscribe_options *o) {
    if (!destination || !*destination) return "stws_subscribe: the destination is missing";
    if (!stws_p_header_list_valid(o->headers))
        return "stws_subscribe: headers has a name without a value, or an empty name";
    if ((unsigned)o->ack > STWS_ACK_CLIENT_INDIVIDUAL)
        return "stws_subscribe: ack has to be one of enum stws_ack_mode";
    if ((unsigned)o->ack_on > STWS_ACK_ON_RETURN)
        return "stws_subscribe: ack_on has to be one of enum stws_ack_on";
    if (o->ack == STWS_ACK_AUTO && o->ack_on)
        return "stws_subscribe: with STWS_ACK_AUTO nothing is acknowledged: leave ack_on at 0";
    return o->prefetch < 0 ? "stws_subscribe: prefetch is negative" : NULL;
}

/* Composes a SUBSCRIBE only to check that it can be represented. The table keeps the
   subscription, because every session sends its SUBSCRIBE anew. */
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
    result = stws_p_refuses_new_frames(c);
    if (result != STWS_OK) return stws_p_finish_call(c, result);
    if (id && stws_p_id_in_use(&c->s.subs, id)) {
        stws_p_finish_call(c, STWS_ERR_USAGE);
        return stws_p_refuse(
            c, STWS_ERR_USAGE,
            "stws_subscribe: another subscription has that id. A subscription that was ended in "
            "its own callback keeps its id until its message is acknowledged");
    }
    if (draft.too_many_headers) result = STWS_ERR_LIMIT;
    else if (!stws_p_can_represent(c, &draft.frame)) result = STWS_ERR_FRAME_BUILD;
    else result = stws_p_subscribe_locked(c, destination, o);
    return stws_p_finish_call(c, result);
}

/* Sends UNSUBSCRIBE. `durable` is the name of a durable subscription that the broker has to
   forget, or "". */
static int stws_p_submit_unsubscribe_locked(stws *c, const stws_p_sub *sub, const char *durable) {
    stws_p_draft draft;
    stws_p_compose_locked(&c->s, &draft, STWS_COMMAND_UNSUBSCRIBE);
    stws_p_add(&draft, "id", stws_p_sub_id(&c->s.subs, sub));
    if (c->s.version == STWS_STOMP_10)
        stws_p_add(&draft, "destination", stws_p_sub_destination(&c->s.subs, sub));
    stws_p_add_durable(&c->s, &draft, durable);
    return stws_p_submit_locked(c, &draft, 0, STWS_P_FOR_THIS_SESSION);
}

/* Returns 1 if the server has the subscription: its SUBSCRIBE was sent in this session. */
static int stws_p_server_knows(const stws_p_sub *sub) {
    return sub->state == STWS_P_SUB_SENT || sub->state == STWS_P_SUB_ENDED;
}

/* A broker that keeps a durable subscription until it has no consumer gets two UNSUBSCRIBEs:
   one that ends the consumer, and one that makes it forget the subscription. If the second
   one finds no room, STWS_P_SUB_ENDED remembers that the first one was sent. */
STOMP_WS_API int stws_unsubscribe(stws *c, int handle) {
    const char *durable;
    stws_p_sub *sub;
    int result = STWS_OK;
    if (stws_p_unusable(c)) return stws_p_unusable(c);
    stws_p_lock(c);
    sub = stws_p_find_handle(&c->s.subs, handle);
    if (handle == c->aside) STWS_P_STORE(&c->aside, 0); /* no event for it any more */
    if (!sub) {
        stws_p_unlock(c);
        return stws_p_refuse(c, STWS_ERR_USAGE,
                             "stws_unsubscribe: no subscription has that handle (any more)");
    }
    if (handle == c->hand_subscription && !STWS_P_LOAD(c->hand->answered)) {
        c->hand_unsubscribed = 1; /* its message has to be acknowledged first */
        return stws_p_finish_call(c, STWS_OK);
    }
    /* UNSUBSCRIBE, if this session has sent the SUBSCRIBE. */
    if (stws_p_server_knows(sub) && STWS_P_LOAD(&c->state) == STWS_CONNECTED) {
        durable = stws_p_sub_durable(&c->s.subs, sub);
        if (*durable && stws_p_profiles[c->s.broker].needs_two_unsubscribes &&
            sub->state != STWS_P_SUB_ENDED)
            result = stws_p_submit_unsubscribe_locked(c, sub, "");
        if (result == STWS_OK) {
            stws_p_sub_enter(&c->s.subs, sub, STWS_P_SUB_ENDED);
            result = stws_p_submit_unsubscribe_locked(c, sub, durable);
        }
    }
    if (result == STWS_OK) stws_p_drop_subscription_locked(c, sub);
    return stws_p_finish_call(c, result);
}

/* ==== >>send.c: publish a message ====

   stws_send and stws_send_text fill a stws_outgoing, and call stws_send_ex. That has a short
   way for a message like the one before, and a long way that composes the frame and submits it.
   A message that asks for a receipt, or option confirm, gets a number of ours in its header
   receipt.

   Any thread may call these functions, also in a callback. They take the lock. With
   STWS_FULL_BLOCK a call may wait for room. It releases the lock meanwhile, so the draft is
   composed again after the wait. */

/* Returns 1 if a message has a destination, a body if it has a length, and valid headers. */
static int stws_p_outgoing_valid(const stws_outgoing *m) {
    return m->destination && *m->destination && (m->body || !m->body_len) &&
           stws_p_header_list_valid(m->headers);
}

/* Returns the content type of a message, or NULL for none: what the user has set; else, for a
   body that is not UTF-8, application/octet-stream, because Spring would decode it as text and
   damage it. */
static const char *stws_p_content_type(const stws_outgoing *m, int body_is_utf8) {
    const char *const *h = m->headers;
    if (m->content_type || body_is_utf8) return m->content_type;
    for (; h && h[0]; h += 2)
        if (strcmp(h[0], "content-type") == 0) return NULL;
    return "application/octet-stream";
}

/* Composes the draft of a SEND, without its receipt. Returns STWS_OK, or STWS_ERR_IO if
   stable_id needs randomness and there is none. The lock is held. */
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

/* Sends a frame with a receipt of ours. `told` means that the user wants the event: then the
   receipt gets an entry in the table, and its number is returned. Otherwise returns 0 if the
   frame was accepted. Returns the negative errors of stws_p_submit_locked. */
static int stws_p_submit_with_receipt_locked(stws *c, stws_p_draft *draft, int told) {
    int number = told ? stws_p_add_receipt(&c->s, 0) : stws_p_take_number(&c->s.next_receipt),
        result;
    char id[STWS_P_ID_TEXT];
    if (!number) return STWS_ERR_LIMIT;
    stws_p_add(draft, "receipt", stws_p_receipt_id(id, number));
    result = stws_p_submit_locked(c, draft, number,
                                  c->o.confirm ? STWS_P_CONFIRMED : STWS_P_FOR_ANY_SESSION);
    if (result != STWS_OK && told) stws_p_forget_receipt(&c->s, number);
    return result == STWS_OK && told ? number : result;
}

/* Returns 1 if the message needs an entry for its receipt, and all max_receipts entries are
   in use. */
static int stws_p_lacks_receipts(const stws *c, const stws_outgoing *m) {
    return m->receipt && c->s.receipts_waiting + c->s.receipts_done == c->o.max_receipts;
}

/* A message had no room. With STWS_FULL_BLOCK waits for at most outbox_block_ms until
   another thread makes some; the thread that drives must not wait for itself. Returns
   STWS_P_AGAIN if there may be room now, STWS_ERR_TIMEOUT, or the given error. The lock is
   held, but released while it waits. */
static int stws_p_await_room(stws *c, long long *until, int error) {
    if (error >= 0 || c->o.outbox_policy != STWS_FULL_BLOCK || !stws_p_may_wait(c)) return error;
    if (!*until) *until = stws_p_time_in_ms(c, c->o.outbox_block_ms);
    return stws_p_await_driver_locked(c, *until) ? (int)STWS_P_AGAIN : (int)STWS_ERR_TIMEOUT;
}

/* The short way of stws_send, for a message like the one before it. If it has the same
   destination and content type, and nothing that needs more (a receipt, a transaction,
   headers, an option that changes the frame), and if nothing has to wait, the encoded head
   of the last SEND is used again. Returns 1 if the message is in the output; 0 if the long
   way is needed. The lock is held. */
static int stws_p_send_with_last_head(stws *c, const stws_outgoing *m) {
    int bare = m->content_length == STWS_CONTENT_LENGTH_JMS_TEXT
                   ? stws_p_profiles[c->s.broker].bare_send_is_text
                   : m->content_length == STWS_CONTENT_LENGTH_OMIT;
    if (bare || m->receipt || m->transaction || m->headers) return 0;
    if (c->o.confirm || c->o.stable_id || c->o.binary || c->o.on_trace) return 0;
    if (STWS_P_LOAD(&c->stop) || STWS_P_LOAD(&c->asked) || !stws_p_may_send_now(c) ||
        c->s.outbox.untaken)
        return 0;
    return stws_p_send_head_matches(&c->s, m->destination, m->content_type) &&
           stws_utf8_valid(m->body, m->body_len) &&
           stws_p_encode_with_send_head(&c->s, m->body, m->body_len);
}

/* With STWS_FULL_BLOCK the loop may wait for room, and leave the lock for that. Other
   threads use the table of headers meanwhile, so the frame is composed again after each
   wait. */
STOMP_WS_API int stws_send_ex(stws *c, const stws_outgoing *m) {
    long long until = 0;
    stws_p_draft draft;
    int result;
    if (stws_p_unusable(c)) return stws_p_unusable(c);
    if (!m || !stws_p_outgoing_valid(m))
        return stws_p_refuse(c, STWS_ERR_USAGE,
                             "stws_send: the message or its destination is missing, body is NULL "
                             "but has a length, or headers has a name without a value");
    stws_p_lock(c);
    if (stws_p_send_with_last_head(c, m)) return stws_p_finish_call(c, STWS_OK);
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

/* ==== >>ack.c: acknowledge messages ====

   An ACK or NACK belongs to one session: c->s.epoch counts sessions, and a message has the
   epoch of its session. After a reconnect the ACK is stale, and is refused. m->answered
   remembers that a message was acknowledged, so that the library does not acknowledge it a
   second time.

   Any thread may call these functions, also in a callback. They take the client's lock, so
   the lock of a queue must not be held. */

/* Sends the ACK of a message that is given back to its queue. If there is no room for it,
   waits for at most timeout_ms until another thread makes some. Returns 1 when the ACK was
   accepted, or when its session can send nothing more; 0 if there was no room in that time. */
static int stws_p_acknowledge_waiting(const stws_message *m, int timeout_ms) {
    stws *c = STWS_P_LOAD(&m->client);
    long long until = 0;
    int goes_on, ends = 0;
    while (!ends && !stws_p_acknowledge_on(m, STWS_ACK_ON_RETURN)) {
        if (!until) until = timeout_ms < 0 ? STWS_P_NEVER : stws_p_time_in_ms(c, timeout_ms);
        stws_p_lock(c);
        ends = c->write_error != 0 || c->going; /* this session sends nothing more */
        goes_on =
            ends || (timeout_ms != 0 && stws_p_may_wait(c) && stws_p_await_driver_locked(c, until));
        stws_p_unlock(c);
        if (!goes_on) return 0;
    }
    return 1;
}

/* Sends ACK or NACK (STOMP 1.2, "ACK", "NACK"). A message of an earlier session gets
   STWS_ERR_STALE, because the broker might take the id for that of another message;
   stale_acks counts these. The frame is for this session only: it is not sent again in the
   next one. */
static int stws_p_acknowledge(stws *c, const stws_message *m, stws_command command_id,
                              const char *transaction) {
    stws_p_draft draft;
    int result;
    if (m && !m->client) return STWS_ERR_STALE; /* popped from a queue, its client is destroyed */
    if (stws_p_unusable(c)) return stws_p_unusable(c);
    if (!m || m->client != c)
        return stws_p_refuse(c, STWS_ERR_USAGE,
                             "stws_ack: the message is NULL, or of another client");
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
    /* There is no room only until some output is written. */
    if (result == STWS_ERR_LIMIT && stws_p_pending(&c->s.out)) result = STWS_ERR_FULL;
    if (result == STWS_OK && m->answered) STWS_P_STORE(m->answered, 1);
    return stws_p_finish_call(c, result);
}

STOMP_WS_API int stws_ack_in(stws *c, const stws_message *message, const char *transaction) {
    return stws_p_acknowledge(c, message, STWS_COMMAND_ACK, transaction);
}

STOMP_WS_API int stws_ack(stws *c, const stws_message *m) { return stws_ack_in(c, m, NULL); }

STOMP_WS_API int stws_nack_in(stws *c, const stws_message *message, const char *transaction) {
    return stws_p_acknowledge(c, message, STWS_COMMAND_NACK, transaction);
}

STOMP_WS_API int stws_nack(stws *c, const stws_message *m) { return stws_nack_in(c, m, NULL); }

/* ==== >>transactions.c: begin, commit and abort ====

   BEGIN, COMMIT and ABORT are frames like others; stws_p_submit_locked keeps the parts of a
   transaction together. The parts carry its name. See >>transaction_records for how they are
   kept and sent again. Any thread may call these functions, also in a callback. They take
   the lock. */

/* Sends BEGIN, COMMIT or ABORT. With option confirm a COMMIT has a receipt. */
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

/* ==== >>flush.c: wait until everything is written and confirmed ====

   A flush is over when the output, the outbox and the SUBSCRIBEs are written and, with option
   confirm, all receipts have arrived (stws_p_is_flushed_locked). How it gets there depends on
   who drives:

       this thread holds the client (a callback, single_thread)   stws_p_flush_driving
       no thread holds it         take it, stws_p_flush_driving, give it back
       another thread holds it    wait for its results

   stws_p_flush_driving only writes (stws_p_push_output) while that is enough. Frames that
   arrive then stay in the input for stws_next. It drives like stws_next if a session or
   receipts are needed, which a callback must not do.

   A flusher takes the client as STWS_P_FLUSHER: it makes way as soon as another thread wants
   to drive. An event of stws_next that another thread may still read stays in its place. */

/* Returns 1 if everything was written and, with option confirm, confirmed. */
static int stws_p_is_flushed_locked(const stws *c) {
    STOMP_WS_ASSERT(stws_p_has_lock(c));
    return !stws_p_pending(&c->s.out) && !c->s.outbox.untaken && !c->s.unconfirmed &&
           !stws_p_subs_come_first(&c->s.subs) && !c->write_error;
}

/* Returns the time at which a flush has to give up: the user's limit; or, with option confirm
   and Spring's simple broker, the time at which the oldest receipt is overdue. That broker
   sends a receipt for DISCONNECT only. */
static long long stws_p_flush_limit_locked(const stws *c, long long until) {
    const stws_p_record *oldest = stws_p_outbox_first_unconfirmed(&c->s.outbox);
    long long limit = until;
    if (c->s.broker == STWS_BROKER_SPRING && c->o.receipt_timeout_ms && oldest &&
        oldest->state == STWS_P_RECORD_SENT)
        stws_p_set_earlier(&limit, oldest->sent_us + stws_p_ms_to_us(c->o.receipt_timeout_ms));
    return limit;
}

/* One round of a flush that only has to write. It also reads, because a server whose own output
   is stuck may stop reading; but it handles no frames, and reads only as long as there is room:
   the frames wait for stws_next. It reads nothing while somebody uses the message in the input:
   a callback, the queue that has no room, or an event that waits for stws_next. Returns STWS_OK
   if the flush may go on, or an error. In a callback the session is not ended, whatever
   happens. */
static int stws_p_push_output(stws *c, int left) {
    struct pollfd polled[3];
    int most_ms, n, can_read = 0, moved;
    long got = 0;
    if (!c->calling && c->held != STWS_P_HELD_BY_QUEUE && !c->has_kept) {
        stws_p_release_message(c);
        if (!c->held) {
            c->s.message.epoch = 0;
            c->s.in.begin += c->s.taken;
            c->s.taken = 0;
            can_read = stws_p_input_room(&c->s.in) >= c->s.in.cap / 4;
        }
    }
    /* Move bytes. */
    stws_p_note_time(c);
    moved = stws_p_turn_output(c);
    if (moved >= 0 && can_read) got = stws_p_read_once(c);
    if (c->calling && moved < 0) return moved;
    if (c->calling && moved == 0 && !stws_p_pending(&c->s.out)) return STWS_ERR_STATE;
    if (moved < 0 || got < 0) stws_p_end_output(c, moved < 0 ? moved : (int)got);
    if (moved || got) return STWS_OK;
    /* Nothing moved: the timers, and then a wait. */
    if (!can_read) c->s.last_in_us = c->now; /* we do not read: silence proves nothing */
    if (!c->calling && c->state == STWS_CONNECTED) stws_p_turn_timers(c);
    if (!c->calling && c->renewing) stws_p_turn_renewing(c);
    if (c->state != STWS_CONNECTED) return c->error;
    /* The wake pipe is left out: a byte in it stays for the next wait. */
    n = stws_p_pollfds(c, polled, &most_ms) - (c->wake[0] >= 0);
    if (n && !can_read) polled[0].events = stws_p_pending(&c->s.out) ? POLLOUT : 0;
    poll(polled, n ? 1 : 0, stws_p_at_most(left, STWS_P_NO_FD_MS));
    return STWS_OK;
}

/* Flushes from the thread that has taken the client. If everything is only to be written,
   stws_p_push_output does that; if a session or confirmations are needed, the client is
   driven as by stws_next, which a callback must not do (STWS_ERR_STATE). `losses` is the
   count of lost sessions at the beginning: if one more is lost, written frames may be lost,
   and without option confirm the flush has failed. Returns STWS_OK, an error,
   STWS_ERR_TIMEOUT after `until`, or STWS_P_AGAIN if another thread wants to drive, or has
   to take an event first. */
static int stws_p_flush_driving(stws *c, long long until, unsigned losses) {
    long long limit;
    int result, left, flushed, unconfirmed, rounds = 0;
    stws_event_type type;
    for (;;) {
        stws_p_lock(c);
        flushed = stws_p_is_flushed_locked(c);
        unconfirmed = c->s.unconfirmed != 0;
        limit = stws_p_flush_limit_locked(c, until);
        stws_p_unlock(c);
        left = stws_p_ms_until(c, limit);
        /* Done, failed, or to be given up? */
        if (losses != c->losses && !c->o.confirm) return c->error ? c->error : (int)STWS_ERR_LOST;
        if (flushed) return STWS_OK;
        if (left == 0 && limit != until)
            stws_p_fail(c, STWS_ERR_TIMEOUT,
                        "Spring's simple broker sends no receipts: do without option confirm");
        if (left == 0 && rounds++) return STWS_ERR_TIMEOUT; /* but try one round at least */
        if (!c->calling &&
            (stws_p_flusher_must_yield(c) || (c->has_kept && stws_p_another_drove_last(c))))
            return STWS_P_AGAIN;
        /* Only write, if that is all that is missing; else drive. */
        c->flushing = 1;
        if (c->state == STWS_CONNECTED && !unconfirmed && !c->write_error)
            result = stws_p_push_output(c, left);
        else if (c->calling) result = c->write_error ? c->write_error : (int)STWS_ERR_STATE;
        else result = stws_p_next_for_call(c, left, &type);
        c->flushing = 0;
        if (result < 0) return result;
    }
}

/* Flushes from a thread that does not drive. While another thread drives, waits for its
   results. While no thread does, takes the client and flushes; it gives the client back when
   another thread wants to drive (stws_p_flusher_must_yield), and goes on waiting. If stws_next
   has given an event to another thread, or has to give it one, the event must stay in its
   place: then waits for that thread's next call. Returns STWS_OK, an error, or
   STWS_ERR_TIMEOUT. */
static int stws_p_flush_not_driving(stws *c, long long until) {
    int result = STWS_P_AGAIN, kept = 0;
    unsigned losses;
    stws_p_lock(c);
    losses = c->losses;
    stws_p_count_watcher(c, 1);
    while (result == STWS_P_AGAIN) {
        /* Nobody drives: flush here. */
        kept |= stws_p_event_in_use_elsewhere(c);
        if (!kept && !c->wanted && stws_p_try_take(c, STWS_P_FLUSHER)) {
            stws_p_unlock(c);
            kept = stws_p_event_in_use_elsewhere(c); /* it may have changed meanwhile */
            if (!kept) {
                result = stws_p_flush_driving(c, until, losses);
                kept = c->has_kept && result == STWS_P_AGAIN;
                stws_p_wake_loop(c);
            }
            stws_p_release_driver(c);
            stws_p_lock(c);
            continue;
        }
        /* Another thread drives, or has to take an event: look at its results, and wait. */
        if (losses != c->losses && !c->o.confirm) result = STWS_ERR_LOST;
        else if (stws_p_is_flushed_locked(c)) result = STWS_OK;
        else if (STWS_P_LOAD(&c->state) == STWS_ENDED) result = STWS_CLOSED;
        else if (stws_p_ms_until(c, stws_p_flush_limit_locked(c, until)) == 0)
            result = STWS_ERR_TIMEOUT;
        else
            stws_p_await_driver_locked(c, kept ? stws_p_time_in_ms(c, STWS_P_NO_FD_MS)
                                               : stws_p_flush_limit_locked(c, until));
        kept = 0;
    }
    stws_p_count_watcher(c, -1);
    stws_p_unlock(c);
    return result;
}

/* A thread that holds the client flushes itself, also in a callback. Another thread waits for
   the driving thread, or takes the client. */
STOMP_WS_API int stws_flush(stws *c, int timeout_ms) {
    long long until;
    if (stws_p_unusable(c)) return stws_p_unusable(c);
    until = stws_p_time_in_ms(c, timeout_ms);
    return stws_p_holds_client(c) ? stws_p_flush_driving(c, until, c->losses)
                                  : stws_p_flush_not_driving(c, until);
}

/* ==== >>request.c: send a message and wait for its reply ====

   stws_request subscribes to a temporary queue, sends the message with reply-to and
   correlation-id, and drives until the reply has arrived. The subscription and the reply's
   variable live only as long as the call.

   The call has to drive, because the reply is delivered by a callback in this thread. So it
   takes the client: it is refused in a callback, and while another thread drives. */

/* The reply that a request waits for. */
typedef struct stws_p_reply {
    const char *to;          /* the destination in the header reply-to */
    const char *correlation; /* the correlation-id that the reply has to repeat */
    stws_message *copy;      /* the reply; NULL if there was no memory for it */
    int arrived;             /* the reply has arrived */
} stws_p_reply;

/* The callback of the reply's subscription: keeps a copy of the message if it has the wanted
   correlation-id, or none, and makes the driving call return (c->yield). */
static void stws_p_take_reply(stws *c, const stws_message *m, void *user) {
    stws_p_reply *reply = (stws_p_reply *)user;
    const char *correlation = stws_header_get(m, "correlation-id");
    if (reply->arrived || (correlation && strcmp(correlation, reply->correlation) != 0)) return;
    reply->copy = stws_message_copy(m);
    reply->arrived = c->yield = 1;
}

/* Sends the request, with the headers reply-to and correlation-id. Returns STWS_OK or an
   error. */
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

/* Drives until the reply has arrived. Returns STWS_OK; STWS_ERR_TIMEOUT; STWS_ERR_BROKER
   after an ERROR; STWS_ERR_MEMORY if the reply could not be copied; or the result of
   driving. `implied` is the subscription that the broker makes by itself, or NULL. */
static int stws_p_await_reply(stws *c, stws_p_reply *reply, const stws_subscribe_options *implied,
                              long long until) {
    stws_event_type type;
    c->implied = implied;
    while (!reply->arrived) {
        int left = stws_p_ms_until(c, until), result = stws_p_next_for_call(c, left, &type);
        if (reply->arrived) break;
        if (result < 0) return result;
        if (result == 0 && left == 0) return STWS_ERR_TIMEOUT;
        if (type == STWS_EVENT_ERROR) return STWS_ERR_BROKER;
    }
    return reply->copy ? (int)STWS_OK : (int)STWS_ERR_MEMORY;
}

/* Sends a request and waits for its reply. The calling thread has taken the client.

     1. Connects, if there is no session.
     2. Subscribes to a temporary queue whose name has a fresh number. RabbitMQ makes both the
        queue and its subscription by itself when it sees the reply-to, so c->implied stands for
        the subscription there.
     3. Sends the request and drives until the reply arrives.
     4. Unsubscribes. The callback uses a variable of this function, so the subscription is
        removed even if its UNSUBSCRIBE finds no room. */
static int stws_p_request(stws *c, const stws_outgoing *message, stws_message **reply,
                          long long until) {
    char to[48], correlation[STWS_P_ID_TEXT];
    stws_p_reply wanted = {to, correlation, NULL, 0};
    stws_subscribe_options own = {
        NULL, NULL, NULL, STWS_ACK_DEFAULT, STWS_ACK_BY_CALL, 0, 0, stws_p_take_reply, &wanted};
    int result = stws_p_connect(c, until), handle = 0, number;
    if (result != STWS_OK) return result;
    stws_p_lock(c);
    number = stws_p_take_number(&c->s.next_receipt);
    stws_p_unlock(c);
    stws_p_number_text(correlation, "", (unsigned)number);
    stws_p_number_text(to, "/temp-queue/stws-", (unsigned)number);
    own.id = c->s.broker == STWS_BROKER_RABBITMQ ? to : NULL;
    if (!own.id) handle = stws_subscribe(c, to, &own);
    if (handle < 0) return handle;
    result = stws_p_post_request(c, message, &wanted);
    if (result == STWS_OK) result = stws_p_await_reply(c, &wanted, own.id ? &own : NULL, until);
    /* `wanted` ends with this function, so the callback has to end, too. */
    if (handle && stws_unsubscribe(c, handle) != STWS_OK) {
        stws_p_lock(c);
        stws_p_drop_subscription_locked(c, stws_p_find_handle(&c->s.subs, handle));
        stws_p_unlock(c);
    }
    c->implied = NULL;
    *reply = wanted.copy;
    return result;
}

/* Replies arrive while this call drives. So it takes the client, and a callback cannot call
   it. */
STOMP_WS_API int stws_request(stws *c, const stws_outgoing *message, stws_message **reply,
                              int timeout_ms) {
    int result = stws_p_unusable(c);
    long long until;
    if (reply) *reply = NULL;
    if (result) return result;
    if (!reply || !message || !stws_p_outgoing_valid(message))
        return stws_p_refuse(c, STWS_ERR_USAGE,
                             "stws_request: reply or message is NULL, or the message is not valid");
    until = stws_p_time_in_ms(c, timeout_ms);
    result = stws_p_take_after_event(c, until);
    if (result != STWS_OK) return result;
    result = stws_p_request(c, message, reply, until);
    stws_p_release_driver(c);
    return result;
}

/* ==== >>pop: take messages from a queue ====

   A message in a queue lives like this:

       stws_p_queue_put --> waiting --pop--> with the reader --next pop--> given back
                                                ^               |
                                                +---------------+ no room for its ACK

   A reader keeps the popped message in its variable. Its next call of stws_queue_pop with this
   variable gives the message back, and first sends the ACK if ack_on is STWS_ACK_ON_RETURN.
   Entries lie in a ring, so the place of a message becomes free once all messages before it are
   given back.

   Any thread may pop. The queue's lock is held, except during the ACK, which needs the
   client's lock. A driving thread takes the queue's lock while it has its client's lock
   (stws_p_post_disconnect_locked). So no thread may take a client's lock while it has a
   queue's lock. */

/* Gives a message back; `entry` may be NULL. A place becomes free once all places before it are
   free. Then wakes the clients that wait for room. The lock is held. */
static void stws_p_queue_give_back(stws_queue *q, stws_p_queued *entry) {
    stws_p_ring *r = &q->ring;
    if (entry) entry->given_back = 1;
    while (r->count > r->untaken && stws_p_queued_at(q, r->head)->given_back) stws_p_ring_drop(r);
    while (q->waiters) {
        stws_p_waiter *waiter = q->waiters;
        q->waiters = waiter->next;
        STWS_P_STORE(&waiter->listed, 0);
        stws_p_write_wake_byte(waiter->fd);
    }
}

/* Sleeps until there is a message, the queue has ended, or the time is over. */
static void stws_p_queue_await_locked(stws_queue *q, int timeout_ms) {
#ifdef STOMP_WS_NO_THREADS
    (void)q, (void)timeout_ms;
#else
    long long until = stws_p_system_clock(NULL) + (long long)timeout_ms * STWS_P_US, left = 1;
    while (!q->ring.untaken && !stws_p_queue_has_ended(q) && left > 0 && timeout_ms != 0) {
        if (timeout_ms > 0) left = (until - stws_p_system_clock(NULL) + STWS_P_US - 1) / STWS_P_US;
        if (left > 0) stws_p_cond_wait(&q->filled, q->mutex, timeout_ms < 0 ? -1 : left);
    }
#endif
}

/* Returns the entry of a popped message; NULL if it does not belong to this queue. */
static stws_p_queued *stws_p_queued_of_locked(stws_queue *q, const stws_message *m) {
    stws_p_queued *entry = stws_p_queued_popped_locked(q, NULL);
    while (entry && entry->message != m) entry = stws_p_queued_popped_locked(q, entry);
    return entry;
}

/* Gives a message back, and acknowledges it first if the library has to. Returns 1, or 0 if
   there is no room for the ACK. The lock is held, but released during the ACK: that may wait
   for the client, whose driving thread needs the queue's lock. */
static int stws_p_queue_finish(stws_queue *q, const stws_message *m, int timeout_ms) {
    stws_p_queued *entry = stws_p_queued_of_locked(q, m);
    int settled = 1;
    if (entry && STWS_P_LOAD(&m->client) && (m->ack_on & STWS_ACK_ON_RETURN) &&
        !STWS_P_LOAD(&entry->answered)) {
        entry->settling = 1;
        STWS_P_UNLOCK(q);
        settled = stws_p_acknowledge_waiting(m, timeout_ms);
        STWS_P_LOCK(q);
        entry->settling = 0;
        /* a client that is being destroyed may wait for this */
        STWS_P_WITH_THREADS(pthread_cond_broadcast(&q->filled);)
    }
    if (settled) stws_p_queue_give_back(q, entry);
    return settled;
}

STOMP_WS_API int stws_queue_pop(stws_queue *q, const stws_message **message, int timeout_ms) {
    int result = 0;
    if (!q) return STWS_ERR_MEMORY;
    if (!message) return STWS_ERR_USAGE;
    STWS_P_LOCK(q);
    /* The message of the last call comes back first. Without room for its ACK, the caller keeps
       it. */
    if (*message && !stws_p_queue_finish(q, *message, timeout_ms)) {
        STWS_P_UNLOCK(q);
        return 0;
    }
    *message = NULL;
    stws_p_queue_await_locked(q, timeout_ms);
    if (q->ring.untaken) {
        *message = stws_p_queued_at(q, q->ring.next)->message;
        stws_p_ring_take(&q->ring);
        /* wake one more reader */
        STWS_P_WITH_THREADS(if (q->ring.untaken) pthread_cond_signal(&q->filled);)
        result = 1;
    } else if (stws_p_queue_has_ended(q)) {
        result = STWS_CLOSED;
    }
    STWS_P_UNLOCK(q);
    return result;
}

#endif /* STOMP_WS_NO_IO */

/* ==== >>end: macros are undefined again; the licence ====

   The implementation's macros must not reach the file that includes this header. */

#undef STWS_P_AT
#undef STWS_P_ASSERTS
#undef STWS_P_AVX2
#undef STWS_P_NOINLINE
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
#undef STWS_P_PRINTF
#undef STWS_P_PERCENT
#undef STWS_P_SIZE
#undef STWS_P_TIME
#undef STWS_P_RESULT
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
#undef stws_p_fail

#endif /* STOMP_WS_IMPLEMENTED */
#endif /* STOMP_WS_IMPLEMENTATION */

/* This software comes under two licences; take the one that suits you.

   1. MIT. Copyright (c) 2026 the authors of stomp_ws.h
   Permission is hereby granted, free of charge, to any person obtaining a copy of this software
   and associated documentation files (the "Software"), to deal in the Software without
   restriction, including without limitation the rights to use, copy, modify, merge, publish,
   distribute, sublicense, and/or sell copies of the Software, and to permit persons to whom the
   Software is furnished to do so, subject to the following conditions: The above copyright
   notice and this permission notice shall be included in all copies or substantial portions of
   the Software. THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR
   IMPLIED, INCLUDING BUT NOT LIMITED TO THE WARRANTIES OF MERCHANTABILITY, FITNESS FOR A
   PARTICULAR PURPOSE AND NONINFRINGEMENT. IN NO EVENT SHALL THE AUTHORS OR COPYRIGHT HOLDERS BE
   LIABLE FOR ANY CLAIM, DAMAGES OR OTHER LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR
   OTHERWISE, ARISING FROM, OUT OF OR IN CONNECTION WITH THE SOFTWARE OR THE USE OR OTHER
   DEALINGS IN THE SOFTWARE.

   2. Public domain. Whoever has the rights to this software gives them up, everywhere, for
   ever and for everybody, as far as the law allows: anyone may use, change and share it in
   any form, for any purpose, without asking and without naming anybody. It comes without any
   warranty. */
