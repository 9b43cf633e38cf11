// cpp_threads.cpp - tests what several threads may do with one client of stomp_ws.hpp, and which
// call throws the exception of a handler. Uses real sockets on the loopback interface. Built with
// ThreadSanitizer it also finds data races. With AddressSanitizer it finds objects that are
// destroyed too early.
//
// A case never waits for a fixed time. It waits for a gate, which another thread opens.
#define STOMP_WS_IMPLEMENTATION
#include "examples/stomp_ws.hpp"

#include "tests/fault/loopback.h"

#include <array>
#include <atomic>
#include <condition_variable>
#include <thread>
#include <vector>

#include <sys/wait.h>

namespace {

using stomp_ws::client;
using stomp_ws::message;
using stomp_ws::milliseconds;

const milliseconds forever(60000);

// Closed until a thread opens it.
class gate {
  public:
    void open() {
        std::lock_guard<std::mutex> lock(mutex_);
        open_ = true;
        changed_.notify_all();
    }
    void wait() {
        std::unique_lock<std::mutex> lock(mutex_);
        changed_.wait(lock, [this] { return open_; });
    }

  private:
    std::mutex mutex_;
    std::condition_variable changed_;
    bool open_ = false;
};

// A server for one case. At its end it checks that no client violated the protocols.
class broker {
  public:
    explicit broker(int mute = 0) {
        loopback_start(&server_, 0, mute);
    }
    broker(const broker &) = delete;
    broker &operator=(const broker &) = delete;
    ~broker() {
        loopback_stop(&server_);
        CHECK_INT(0, server_.odd);
    }
    stws_options options() const {
        stws_options o = stws_options_default();
        o.url = server_.url;
        o.reconnect_min_ms = 20;
        return o;
    }

  private:
    loopback server_;
};

// Opens the gate when the client is connected.
stomp_ws::event_handler when_connected(gate &connected) {
    return [&connected](const stws_event &event) {
        if (event.type == STWS_EVENT_CONNECTED) connected.open();
    };
}

struct oops : std::runtime_error {
    using std::runtime_error::runtime_error;
};

// Returns the text of the exception `oops` that the call throws, or "nothing".
template <typename Call> std::string thrown_by(Call call) {
    try {
        call();
    } catch (const oops &e) {
        return e.what();
    }
    return "nothing";
}

// Sends a message whose receipt does not arrive before the end. So the client still runs a handler
// after it was stopped: for the event that the receipt is lost.
void send_with_receipt(stws *c) {
    stws_outgoing m = {};
    m.destination = "/topic/receipt";
    m.receipt = 1;
    if (stws_send_ex(c, &m) < 0) abort();
}

// ---- members that any thread may call ----

void many_threads_subscribe_at_once() {
    enum { THREADS = 4, EACH = 15 };
    broker b;
    gate connected, done;
    std::array<std::array<int, EACH>, THREADS> heard = {};
    int total = 0;
    client c(b.options(), {}, when_connected(connected));
    c.start().or_throw();
    connected.wait();
    std::vector<std::thread> threads;
    for (int t = 0; t < THREADS; t++)
        threads.emplace_back([&, t] {
            for (int i = 0; i < EACH; i++) {
                const std::string to = "/topic/" + std::to_string(t * EACH + i);
                int &mine = heard.at(static_cast<size_t>(t)).at(static_cast<size_t>(i));
                c.subscribe(to, [&](const message &) {
                     mine++;
                     if (++total == THREADS * EACH) done.open();
                 }).or_throw();
                c.send(to, "x").or_throw();
            }
        });
    for (std::thread &thread : threads) thread.join();
    done.wait();
    c.stop();
    CHECK_INT(STWS_OK, c.join().code());
    for (const auto &row : heard)
        for (int count : row) CHECK_INT(1, count);
}

void a_handler_sends_while_start_returns() {
    broker b;
    gate sent;
    int code = -1;
    client *self = nullptr;
    client c(b.options(), {}, [&](const stws_event &event) {
        if (event.type != STWS_EVENT_CONNECTED) return;
        code = self->send("/topic/x", "x").code();
        sent.open();
    });
    self = &c;
    c.start().or_throw();
    sent.wait();
    c.stop();
    CHECK_INT(STWS_OK, c.join().code());
    CHECK_INT(STWS_OK, code);
}

void all_members_at_once() {
    enum { THREADS = 3, EACH = 50 };
    broker b;
    gate connected;
    int heard = 0;
    std::atomic<int> failed(0);
    client c(b.options(), {}, when_connected(connected));
    c.subscribe("/topic/count", [&](const message &m) {
         if (++heard == THREADS * EACH) stws_stop(m.get()->client);
     }).or_throw();
    std::thread driver([&] { c.run().or_throw(); });
    connected.wait();
    std::vector<std::thread> threads;
    for (int t = 0; t < THREADS; t++)
        threads.emplace_back([&] {
            for (int i = 0; i < EACH; i++) {
                const int handle = c.subscribe("/topic/else", [](const message &) {}).code();
                const bool unsubscribed = handle > 0 && c.unsubscribe(handle);
                const bool flushed = static_cast<bool>(c.flush(forever));
                const bool sent = static_cast<bool>(c.send("/topic/count", "x"));
                if (!unsubscribed || !flushed || !sent || !c.get()) failed++;
            }
        });
    for (std::thread &thread : threads) thread.join();
    driver.join();
    CHECK_INT(THREADS * EACH, heard);
    CHECK_INT(0, failed);
}

// Drives a client until its first attempt has failed. The server does not answer.
void fail_once(client &c) {
    c.send("/topic/x", "x").or_throw();
    c.drive([](stws *handle) {
         stws_event event;
         return stws_next(handle, &event, -1);
     }).or_throw();
}

// The error text belongs to the driving thread. `looked` is relaxed, so it does not order the two
// threads. After the flush, the text changes while nothing orders the two threads.
void a_flush_elsewhere_leaves_the_sentence_alone() {
    for (bool by_start : {false, true}) {
        broker b(1);
        gate failed;
        std::atomic<bool> looked(false);
        int after = 0;
        stws_options o = b.options();
        o.handshake_timeout_ms = o.reconnect_min_ms = o.reconnect_max_ms = 1;
        client *self = nullptr;
        client c(o, {}, [&](const stws_event &) {
            if (!looked.load(std::memory_order_relaxed))
                failed.open();
            else if (++after == 2)
                self->stop();
        });
        self = &c;
        fail_once(c);
        std::thread driver;
        if (by_start)
            c.start().or_throw();
        else
            driver = std::thread([&] { c.run().or_throw(); });
        failed.wait();
        const stomp_ws::result flushed = c.flush(milliseconds(1));
        looked.store(true, std::memory_order_relaxed);
        if (by_start)
            c.join().or_throw();
        else
            driver.join();
        CHECK_INT(STWS_ERR_TIMEOUT, flushed.code());
        CHECK_STR(stws_result_text(STWS_ERR_TIMEOUT), flushed.text().c_str());
    }
}

void a_flush_that_drives_has_the_sentence() {
    broker b(1);
    stws_options o = b.options();
    o.handshake_timeout_ms = 1;
    o.reconnect_min_ms = o.reconnect_max_ms = 60000;
    client c(o);
    fail_once(c);
    const stomp_ws::result flushed = c.flush(milliseconds(1));
    CHECK_INT(STWS_ERR_TIMEOUT, flushed.code());
    CHECK_HAS("time-out at ws://", flushed.text().c_str());
}

// The first call reports the wrong URL, whichever call it is.
void any_call_tells_of_a_wrong_url() {
    client c("http://localhost/");
    const stomp_ws::result subscribed = c.subscribe("/topic/x", [](const message &) {});
    const stomp_ws::result run = c.run();
    CHECK_INT(STWS_ERR_URL, subscribed.code());
    CHECK_HAS("begins with ws://", subscribed.text().c_str());
    CHECK_STR(run.text().c_str(), subscribed.text().c_str());
}

// ---- which call throws the exception of a handler ----

// Makes a client with a handler that throws "first". Before the driving call returns, another
// handler runs. It calls `later`, and lets another thread act meanwhile.
struct thrower {
    gate thrown, go_on;
    std::function<void()> later = [this] {
        thrown.open();
        go_on.wait();
    };
    client make(const broker &b) {
        client c(
            b.options(),
            [](const message &m) {
                send_with_receipt(m.get()->client);
                throw oops("first");
            },
            [this](const stws_event &event) {
                if (event.type == STWS_EVENT_RECEIPT && event.result < 0) later();
            });
        if (stws_subscribe(c.get(), "/topic/x", nullptr) < 0) abort();
        c.send("/topic/x", "x").or_throw();
        return c;
    }
};

// Every member that any thread may call, or those of the thread that owns the client.
void call_all(client &c) {
    c.send("/topic/x", "x").ignore();
    c.unsubscribe(c.subscribe("/topic/y", [](const message &) {}).code()).ignore();
    c.flush(milliseconds(0)).ignore();
    c.disconnect(milliseconds(0));
    c.stop();
    if (!c.get()) abort();
}

void it_comes_out_of_run_and_not_of_another_threads_call() {
    broker b;
    thrower t;
    client c = t.make(b);
    std::string here, there;
    std::thread driver([&] { there = thrown_by([&] { c.run().ignore(); }); });
    t.thrown.wait();
    here = thrown_by([&] { call_all(c); });
    t.go_on.open();
    driver.join();
    CHECK_STR("nothing", here.c_str());
    CHECK_STR("first", there.c_str());
    CHECK_STR("nothing", thrown_by([&] { c.run().ignore(); }).c_str());
}

void it_comes_out_of_join_and_not_of_another_threads_call() {
    broker b;
    thrower t;
    client c = t.make(b);
    c.start().or_throw();
    t.thrown.wait();
    CHECK_STR("nothing", thrown_by([&] { call_all(c); }).c_str());
    t.go_on.open();
    CHECK_STR("first", thrown_by([&] { c.join().ignore(); }).c_str());
    CHECK_INT(STWS_ERR_STATE, c.join().code());
}

void it_does_not_come_out_of_a_call_in_a_later_handler() {
    broker b;
    thrower t;
    std::string in_handler;
    client c = t.make(b);
    t.later = [&] { in_handler = thrown_by([&] { call_all(c); }); };
    CHECK_STR("first", thrown_by([&] { c.run().ignore(); }).c_str());
    CHECK_STR("nothing", in_handler.c_str());
}

void the_first_of_two_comes_out() {
    broker b;
    thrower t;
    client c = t.make(b);
    t.later = [] { throw oops("second"); };
    CHECK_STR("first", thrown_by([&] { c.run().ignore(); }).c_str());
}

// With confirm, the flush waits for the receipt, and the message arrives before the receipt.
void it_comes_out_of_a_flush_that_drives() {
    broker b;
    stws_options o = b.options();
    o.confirm = 1;
    client c(o);
    c.subscribe("/topic/x", [](const message &) { throw oops("first"); }).or_throw();
    c.send("/topic/x", "x").or_throw();
    CHECK_STR("first", thrown_by([&] { c.flush(forever).ignore(); }).c_str());
}

void it_comes_out_of_connect_and_request() {
    broker b;
    int requests = 0;
    client c(b.options(), {}, [](const stws_event &event) {
        if (event.type == STWS_EVENT_CONNECTED) throw oops("connected");
    });
    CHECK_STR("connected", thrown_by([&] { c.connect(forever).ignore(); }).c_str());

    client asking(b.options());
    stomp_ws::owned_message reply;
    asking
        .subscribe("/topic/x",
                   [&](const message &) {
                       requests++;
                       throw oops("asked");
                   })
        .or_throw();
    asking.connect(forever).or_throw();
    asking.send("/topic/x", "x").or_throw();
    CHECK_STR("asked",
              thrown_by([&] { asking.request("/queue/x", "x", reply, forever).ignore(); }).c_str());
    CHECK_INT(1, requests);
}

void two_runs_have_their_own() {
    broker b;
    std::array<std::string, 2> said;
    std::vector<std::thread> threads;
    for (std::string &mine : said)
        threads.emplace_back([&b, &mine, &said] {
            const char *text = &mine == said.data() ? "one" : "two";
            client c(b.options());
            c.subscribe(text, [text](const message &) { throw oops(text); }).or_throw();
            c.send(text, "x").or_throw();
            mine = thrown_by([&] { c.run().ignore(); });
        });
    for (std::thread &thread : threads) thread.join();
    CHECK_STR("one", said[0].c_str());
    CHECK_STR("two", said[1].c_str());
}

// A handler of one client drives another client. Each exception must be thrown by the call that ran
// its handler.
void a_handler_drives_another_client() {
    broker b;
    std::string inside;
    client inner(b.options()), outer(b.options());
    inner.subscribe("/topic/inner", [](const message &) { throw oops("inner"); }).or_throw();
    inner.send("/topic/inner", "x").or_throw();
    outer
        .subscribe("/topic/outer",
                   [&](const message &) {
                       inside = thrown_by([&] { inner.run().ignore(); });
                       throw oops("outer");
                   })
        .or_throw();
    outer.send("/topic/outer", "x").or_throw();
    CHECK_STR("outer", thrown_by([&] { outer.run().ignore(); }).c_str());
    CHECK_STR("inner", inside.c_str());
}

void it_comes_out_of_drive() {
    broker b;
    thrower t;
    t.later = [] {};
    client c = t.make(b);
    stws *clients[] = {c.get()};
    CHECK_STR("first", thrown_by([&] {
                           c.drive([&](stws *) { return stws_run_many(clients, 1, -1); }).ignore();
                       }).c_str());
}

// A C call cannot throw: the exception waits for join().
void it_waits_for_join_when_a_c_call_drives() {
    broker b;
    thrower t;
    t.later = [] {};
    client c = t.make(b);
    CHECK_INT(STWS_OK, stws_run(c.get()));
    CHECK_STR("nothing", thrown_by([&] { call_all(c); }).c_str());
    CHECK_STR("first", thrown_by([&] { c.join().ignore(); }).c_str());
}

// ---- starting, moving and ending ----

void a_handler_may_not_drive_start_or_join_its_own_client() {
    broker b;
    for (bool by_start : {false, true}) {
        std::array<int, 5> codes = {};
        gate tried;
        client *self = nullptr;
        client c(b.options(), {}, [&](const stws_event &event) {
            if (event.type != STWS_EVENT_CONNECTED) return;
            codes = {self->start().code(), self->join().code(), self->run().code(),
                     self->connect(forever).code(), self->drive(stws_step).code()};
            self->stop();
            tried.open();
        });
        self = &c;
        if (by_start) {
            c.start().or_throw();
            tried.wait();
            CHECK_INT(STWS_OK, c.join().code());
        } else {
            CHECK_INT(STWS_OK, c.run().code());
        }
        for (int code : codes) CHECK_INT(STWS_ERR_STATE, code);
    }
}

// The values that a handler has captured must live until the handler returns, whatever it does to
// the client.
void a_handler_ends_its_own_subscription() {
    enum { MORE = 50 };
    broker b;
    int handle = 0, unsubscribed = -1, subscribed = 0;
    std::string kept;
    client c(b.options());
    const std::string text(100, 'x');
    handle = c.subscribe("/topic/x", [&, text](const message &m) {
                  unsubscribed = c.unsubscribe(handle).code();
                  for (int i = 0; i < MORE; i++) {
                      const std::string to = "/topic/" + std::to_string(i);
                      subscribed += c.subscribe(to, [text](const message &) {}).code() > 0;
                  }
                  kept = text + std::string(m.body());
                  c.stop();
              }).or_throw();
    c.send("/topic/x", "body").or_throw();
    CHECK_INT(STWS_OK, c.run().code());
    CHECK_INT(STWS_OK, unsubscribed);
    CHECK_INT(MORE, subscribed);
    CHECK_STR((text + "body").c_str(), kept.c_str());
}

void a_client_moves_while_its_thread_runs() {
    broker b;
    gate connected, done;
    int heard = 0;
    client first(b.options(), {}, when_connected(connected));
    first
        .subscribe("/topic/x",
                   [&](const message &m) {
                       if (++heard == 100)
                           done.open();
                       else if (stws_send_text(m.get()->client, "/topic/x", "again") < 0)
                           abort();
                   })
        .or_throw();
    first.start().or_throw();
    first.send("/topic/x", "x").or_throw();
    connected.wait();
    client second = std::move(first);
    client third("ws://127.0.0.1:1/");
    third = std::move(second);
    done.wait();
    third.stop();
    CHECK_INT(STWS_OK, third.join().code());
    CHECK_INT(100, heard);
}

void a_client_moves_while_another_thread_drives_it() {
    broker b;
    thrower t;
    client first = t.make(b);
    std::string there;
    std::thread driver([&] { there = thrown_by([&] { first.run().ignore(); }); });
    t.thrown.wait();
    client second = std::move(first);
    t.go_on.open();
    driver.join();
    CHECK_STR("first", there.c_str());
    CHECK(second.get() != nullptr);
}

void an_object_that_was_moved_from_says_so() {
    client c("ws://127.0.0.1:1/");
    const client holder = std::move(c);
    stomp_ws::owned_message reply;
    const milliseconds now(0);
    const std::array<stomp_ws::result, 10> results = {
        c.subscribe("/topic/x", [](const message &) {}),
        c.unsubscribe(1),
        c.send("/topic/x", "x"),
        c.request("/topic/x", "x", reply, now),
        c.connect(now),
        c.run(),
        c.flush(now),
        c.start(),
        c.join(),
        c.drive([](stws *) { return 0; }),
    };
    for (const stomp_ws::result &r : results) {
        CHECK_INT(STWS_ERR_STATE, r.code());
        CHECK_HAS("moved", r.text().c_str());
    }
    c.disconnect(now);
    c.stop();
    CHECK(c.get() == nullptr);
    CHECK(holder.get() != nullptr);
    client again = std::move(c);
    c = std::move(again);
    CHECK(c.get() == nullptr);
}

void a_client_may_be_assigned_to_itself() {
    client c("ws://127.0.0.1:1/");
    client &same = c;
    c = std::move(same);
    CHECK_INT(STWS_OK, c.send("/topic/x", "x").code());
}

// A handler uses the object until its client is stopped, while the object is destroyed or gets a
// new client. The handler must see its own client until it returns.
struct busy {
    gate in_handler;
    client *self = nullptr;
    std::atomic<bool> saw_another{false};
    int last = 0;
    client make(const broker &b) {
        client c(b.options());
        c.subscribe("/topic/x", [this](const message &m) {
             const stws *mine = m.get()->client;
             in_handler.open();
             do {
                 last = self->send("/topic/y", "y").code();
                 if (self->get() != mine) saw_another = true;
             } while (last != STWS_CLOSED && !saw_another);
         }).or_throw();
        c.send("/topic/x", "x").or_throw();
        return c;
    }
};

void an_assignment_ends_the_old_client_first() {
    broker b;
    busy old;
    client c = old.make(b);
    old.self = &c;
    c.start().or_throw();
    old.in_handler.wait();
    c = client("ws://127.0.0.1:1/");
    CHECK(!old.saw_another);
    CHECK_INT(STWS_CLOSED, old.last);
    CHECK(c.get() != nullptr);
}

void the_destructor_waits_for_the_thread() {
    broker b;
    busy old;
    {
        client c = old.make(b);
        old.self = &c;
        c.start().or_throw();
        old.in_handler.wait();
    }
    CHECK(!old.saw_another);
    CHECK_INT(STWS_CLOSED, old.last);
}

void the_destructor_drops_an_exception() {
    broker b;
    thrower t;
    CHECK_STR("nothing", thrown_by([&] {
                             client c = t.make(b);
                             c.start().or_throw();
                             t.thrown.wait();
                             t.go_on.open();
                         }).c_str());
}

// Runs the function in a child process. Returns whether it ended by std::terminate.
bool terminates(void (*function)()) {
    fflush(stdout);
    const pid_t child = fork();
    if (child == 0) {
        alarm(60); // if the child does not end at all
        std::set_terminate([] { _exit(42); });
        function();
        _exit(0);
    }
    int status = 0;
    return waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 42;
}

// Both handlers would otherwise continue in a client that is destroyed.
void a_handler_that_destroys_its_client_ends_the_program() {
    CHECK(terminates([] {
        broker b;
        auto c = std::make_unique<client>(b.options());
        c->subscribe("/topic/x", [&c](const message &) { c.reset(); }).or_throw();
        c->send("/topic/x", "x").or_throw();
        c->run().ignore();
    }));
    CHECK(terminates([] {
        broker b;
        gate never;
        client c(b.options(), {}, [&c](const stws_event &) { c = client("ws://127.0.0.1:1/"); });
        c.start().or_throw();
        never.wait();
    }));
}

} // namespace

int main() {
    RUN(a_handler_that_destroys_its_client_ends_the_program); // first: it forks
    RUN(many_threads_subscribe_at_once);
    RUN(a_handler_sends_while_start_returns);
    RUN(all_members_at_once);
    RUN(a_flush_elsewhere_leaves_the_sentence_alone);
    RUN(a_flush_that_drives_has_the_sentence);
    RUN(any_call_tells_of_a_wrong_url);
    RUN(it_comes_out_of_run_and_not_of_another_threads_call);
    RUN(it_comes_out_of_join_and_not_of_another_threads_call);
    RUN(it_does_not_come_out_of_a_call_in_a_later_handler);
    RUN(the_first_of_two_comes_out);
    RUN(it_comes_out_of_a_flush_that_drives);
    RUN(it_comes_out_of_connect_and_request);
    RUN(two_runs_have_their_own);
    RUN(a_handler_drives_another_client);
    RUN(it_comes_out_of_drive);
    RUN(it_waits_for_join_when_a_c_call_drives);
    RUN(a_handler_may_not_drive_start_or_join_its_own_client);
    RUN(a_handler_ends_its_own_subscription);
    RUN(a_client_moves_while_its_thread_runs);
    RUN(a_client_moves_while_another_thread_drives_it);
    RUN(an_object_that_was_moved_from_says_so);
    RUN(a_client_may_be_assigned_to_itself);
    RUN(an_assignment_ends_the_old_client_first);
    RUN(the_destructor_waits_for_the_thread);
    RUN(the_destructor_drops_an_exception);
    return test_report();
}
