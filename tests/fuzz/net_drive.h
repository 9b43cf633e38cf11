/* net_drive.h - an event loop for one client on the network of net.h. It steps the client only if a
   descriptor that the client named is ready, or its deadline has come. So a client that does not
   name what it waits for stops, and a client in an endless loop is found.

   Include it after tests/fault/scripted.h and fuzz.h. */
#ifndef FUZZ_NET_DRIVE_H
#define FUZZ_NET_DRIVE_H

enum { NET_MOST_STEPS = 200000 };

static inline int net_is_ready(int wants) {
    if (wants & STWS_WANT_READ && (net_len(&net.in) || net.end)) return 1;
    return wants & STWS_WANT_WRITE && (net.out.end < NET_ROOM || net_len(&net.out) == 0);
}

static inline int net_wakes(stws *client) {
    stws_fd fds[3];
    int count = stws_fds(client, fds, 3), i;
    if (stws_deadline(client) == 0) return 1;
    for (i = 0; i < count; i++)
        if (fds[i].fd == NET_FD && net_is_ready(fds[i].wants)) return 1;
    return 0;
}

/* Drives until the client waits for something that is not there. */
static inline void net_drive(struct peer *p) {
    unsigned long idle = 0;
    while (!p->ended && idle < NET_MOST_STEPS) {
        unsigned long before = net.calls;
        int result = stws_step(p->client);
        if (result < 0) peer_note_end(p, result);
        if (p->ended || !net_wakes(p->client)) return;
        idle = net.calls == before ? idle + 1 : 0;
        FUZZ_CHECK(idle < 1000);
    }
}

/* Moves what the client has sent to the server, and the other way round. */
static inline void net_serve(struct peer *p) {
    do {
        net_drive(p);
        bytes_add(&p->in, net_at(&net.out), net_len(&net.out));
        net.out.begin = net.out.end;
        peer_listen(p);
        bytes_drop(&p->out, net_put(&net.in, p->out.data, p->out.len));
    } while (!p->ended && net_len(&net.in));
}

static inline void net_pass_ms(struct peer *p, long long ms) {
    p->now_us += ms * 1000;
    net_drive(p);
}

#endif
