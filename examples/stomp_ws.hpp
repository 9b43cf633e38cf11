/* stomp_ws.hpp - stomp_ws.h for C++17: objects that clean up after themselves, views and lambdas.

   Copy this file next to stomp_ws.h. Define STOMP_WS_IMPLEMENTATION in one file, as for stomp_ws.h.

       stomp_ws::client client("ws://localhost:8080/notifications/websocket");
       client.subscribe("/topic/notifications", [](const stomp_ws::message &m) {
           std::cout << m.body() << '\n';
       });
       client.run().or_throw();

   A call returns a result. Test it, or call or_throw(): it throws an exception if the call failed
   (and if exceptions are compiled in). For everything else use stomp_ws.h: get() returns the stws.
   A client ends by stop() or disconnect(). Its destructor closes the connection.

   Threads. The rule of stomp_ws.h applies: one thread at a time drives a client, and any thread may
   use it meanwhile.
   - Any thread, also handlers: subscribe(), unsubscribe(), send(), flush(), disconnect(), stop(),
     get(). A signal handler may call stop().
   - The thread that drives, outside handlers: run(), connect(), request(), drive(). In a handler of
     the client they return STWS_ERR_STATE.
   - One thread at a time, outside handlers: start() and join(). In between, the client's own thread
     drives. In a handler of the client they return STWS_ERR_STATE.
   - Move or destroy an object only when no other thread and no handler uses it, as with any object.
     run(), and handlers that do not name the object, use only what the object points to. So it may
     be moved while run() is running. A handler that must work after a move uses
     message.get()->client.

   Handlers run in the thread that drives, one at a time. An exception from a handler stops the
   client, and comes out of the call that ran the handler: run(), connect(), request(), drive(), or
   a flush() that drove. After start() it comes out of join(). It never comes out of a call in
   another thread or in another handler. If several handlers throw, the first exception comes out.
   A C driving call on get() cannot throw, so the exception waits for join(): use drive() instead.

   The destructor stops the thread of start() and waits for its end. An exception that no join() has
   thrown is lost. A thread of your own must have left run() before. If a handler destroys its own
   client, or assigns to it, std::terminate ends the program, because the handler would return into
   a client that is gone. */
#ifndef STOMP_WS_HPP
#define STOMP_WS_HPP

#if __has_include("stomp_ws.h")
#include "stomp_ws.h"
#else
#include "../stomp_ws.h"
#endif

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <deque>
#include <exception>
#include <functional>
#include <limits>
#include <memory>
#include <mutex>
#include <new>
#include <string>
#include <string_view>
#include <utility>

#if defined(__cpp_exceptions)
#include <stdexcept>
#endif

namespace stomp_ws {

using milliseconds = std::chrono::milliseconds;

#if defined(__cpp_exceptions)
/* The exception of or_throw(): a result code and its sentence. */
class error : public std::runtime_error {
  public:
    error(int code, const std::string &text) : std::runtime_error(text), code_(code) {}
    int code() const noexcept {
        return code_;
    }

  private:
    int code_;
};
#endif

/* The result of a call. A negative code() means that the call failed; text() then tells why. */
class [[nodiscard]] result {
  public:
    result(int code, std::string text) : code_(code), text_(std::move(text)) {}
    explicit operator bool() const noexcept {
        return code_ >= 0;
    }
    int code() const noexcept {
        return code_;
    }
    const std::string &text() const noexcept {
        return text_;
    }

    /* Call this if the result does not matter. */
    void ignore() const noexcept {}
#if defined(__cpp_exceptions)
    /* Throws an error if the call failed; else returns the code. */
    int or_throw() const {
        if (code_ < 0) throw error(code_, text_);
        return code_;
    }
#endif

  private:
    int code_;
    std::string text_;
};

/* A view of a message. It is valid until the handler returns; until then any thread may use it. A
   missing header is an empty string. */
class message {
  public:
    explicit message(const stws_message *m) noexcept : m_(m) {}
    std::string_view body() const noexcept {
        return {m_->body, m_->body_len};
    }
    std::string_view destination() const noexcept {
        return view(m_->destination);
    }
    std::string_view content_type() const noexcept {
        return view(m_->content_type);
    }
    std::string_view header(const char *name) const {
        return view(stws_header_get(m_, name));
    }

    /* Acknowledges the message, see stws_ack. */
    int ack() const {
        return stws_ack(m_->client, m_);
    }

    /* Rejects the message, see stws_nack. */
    int nack() const {
        return stws_nack(m_->client, m_);
    }
    const stws_message *get() const noexcept {
        return m_;
    }

  private:
    static std::string_view view(const char *s) noexcept {
        return s ? s : std::string_view();
    }
    const stws_message *m_;
};

using message_handler = std::function<void(const message &)>;
using event_handler = std::function<void(const stws_event &)>;

struct free_message {
    void operator()(stws_message *m) const noexcept {
        stws_message_free(m);
    }
};

/* A message that the program owns: from stws_message_copy or request(). */
using owned_message = std::unique_ptr<stws_message, free_message>;

/* A client. It can be moved, but not copied. After a move, calls on the old object return
   STWS_ERR_STATE. Any thread may make a call, unless its comment or "Threads" above limits it.
   "Drives" means: only the driving thread may make this call; it runs handlers, and throws their
   exceptions. */
class client {
  public:
    explicit client(const std::string &url) : client(with_url(url.c_str())) {}

    /* The wrapper sets the options user, on_message and on_event itself. */
    explicit client(stws_options options, message_handler on_message = {},
                    event_handler on_event = {})
        : parts_(new parts) {
        parts_->on_message = std::move(on_message);
        parts_->on_event = std::move(on_event);
        options.user = parts_.get();
        options.on_message = handle_message;
        options.on_event = handle_event;
        parts_->handle = stws_create(&options);
        if (!parts_->handle) no_memory();
    }

    client(client &&) noexcept = default;
    /* First ends the client of this object, as the destructor does. */
    client &operator=(client &&other) noexcept {
        if (this != &other) end(), parts_ = std::move(other.parts_);
        return *this;
    }
    ~client() {
        end();
    }

    /* Subscribes. The handler is kept as long as the client, because messages may arrive even
       after unsubscribe(). */
    result subscribe(const std::string &destination, message_handler handler,
                     stws_subscribe_options options = {}) {
        if (!parts_) return moved_from();
        options.on_message = handle_subscription;
        options.user = parts_->keep(std::move(handler));
        return make_result(stws_subscribe(get(), destination.c_str(), &options));
    }
    result unsubscribe(int handle) {
        return make_result(stws_unsubscribe(get(), handle));
    }
    result send(const std::string &destination, std::string_view body) {
        return make_result(stws_send(get(), destination.c_str(), body.data(), body.size()));
    }

    /* Sends a question, and waits for its reply. Drives. */
    result request(const std::string &destination, std::string_view body, owned_message &reply,
                   milliseconds timeout) {
        return drive([&](stws *c) {
            stws_outgoing question = {};
            stws_message *answer = nullptr;
            question.destination = destination.c_str();
            question.body = body.data();
            question.body_len = body.size();
            int code = stws_request(c, &question, &answer, count(timeout));
            reply.reset(answer);
            return code;
        });
    }

    /* Waits until the client is connected. Drives. */
    result connect(milliseconds timeout) {
        return drive([=](stws *c) { return stws_connect(c, count(timeout)); });
    }

    /* Runs the client until its end. Drives. */
    result run() {
        return drive(stws_run);
    }

    /* Drives with another driving call of stomp_ws.h. Example: client.drive(stws_step). */
    template <typename Function> result drive(Function function) {
        if (!parts_) return moved_from();
        if (in_handler()) return make_result(STWS_ERR_STATE);
        return enter(*parts_, function);
    }

    /* Writes what is waiting. Drives if no other thread does; otherwise waits for that thread. In
       a handler it only writes. */
    result flush(milliseconds timeout) {
        if (!parts_) return moved_from();
        return enter(*parts_, [=](stws *c) { return stws_flush(c, count(timeout)); });
    }

    /* Asks for a graceful end. Drive on: run() ends when everything is sent, or after timeout. */
    void disconnect(milliseconds timeout) {
        stws_disconnect(get(), count(timeout));
    }

    /* Ends the client soon. A signal handler may call it. */
    void stop() {
        stws_stop(get());
    }

    /* Starts a thread that drives until stop(), disconnect() or a final error. Only one thread at
       a time may call start() and join(); a handler must not. */
    result start() {
        if (!parts_) return moved_from();
        if (in_handler()) return make_result(STWS_ERR_STATE);
        parts_->add_driver(1);
        int code = stws_start(get());
        if (code < 0) parts_->add_driver(-1);
        return make_result(code);
    }

    /* Waits for the end of that thread. Returns the result of its run(). Throws the exception of a
       handler in that thread. */
    result join() {
        if (!parts_) return moved_from();
        if (in_handler()) return make_result(STWS_ERR_STATE);
        int code = stws_join(get());
#if defined(__cpp_exceptions)
        rethrow(parts_->take());
#endif
        return make_result(code);
    }

    /* Returns the stws, or nullptr after a move. */
    stws *get() const noexcept {
        return parts_ ? parts_->handle : nullptr;
    }

  private:
    struct parts;
    struct subscriber {
        parts *owner;
        message_handler handler;
    };

    /* Everything that handlers and threads use. Its address stays when the object moves. */
    struct parts {
        parts() = default;
        parts(const parts &) = delete;
        parts &operator=(const parts &) = delete;
        ~parts() {
            stws_destroy(handle);
        }
        void add_driver(int number) {
            std::lock_guard<std::mutex> lock(mutex);
            drivers += number;
        }
        subscriber *keep(message_handler handler) {
            std::lock_guard<std::mutex> lock(mutex);
            handlers.push_back({this, std::move(handler)});
            return &handlers.back();
        }
        stws *handle = nullptr;
        message_handler on_message;
        event_handler on_event;
        std::mutex mutex;                /* protects all members below */
        int drivers = 0;                 /* calls that may drive, and the thread of start() */
        std::deque<subscriber> handlers; /* a deque never moves its elements */
#if defined(__cpp_exceptions)
        void keep(std::exception_ptr exception) {
            std::lock_guard<std::mutex> lock(mutex);
            if (!thrown) thrown = std::move(exception);
        }
        std::exception_ptr take() {
            std::lock_guard<std::mutex> lock(mutex);
            return std::exchange(thrown, nullptr);
        }
        std::exception_ptr thrown; /* join() throws it */
#endif
    };

    /* A scope exists while this thread is in a call that may drive, or in a handler. Scopes nest,
       also those of different clients. The exception of a handler is stored in the scope of the
       driving call around it. No other thread can see that scope. */
    struct scope {
        scope(parts *its_owner, bool may_drive)
            : owner(its_owner), driver(may_drive), outer(innermost) {
            if (driver) owner->add_driver(1);
            innermost = this;
        }
        scope(const scope &) = delete;
        scope &operator=(const scope &) = delete;
        ~scope() {
            innermost = outer;
            if (driver) owner->add_driver(-1);
        }
        static scope *find(const parts *owner) {
            scope *found = innermost;
            while (found && found->owner != owner) found = found->outer;
            return found;
        }
        static inline thread_local scope *innermost = nullptr;
        parts *const owner;
        const bool driver;
        scope *const outer;
#if defined(__cpp_exceptions)
        std::exception_ptr thrown;
#endif
    };

    static stws_options with_url(const char *url) {
        stws_options options = stws_options_default();
        options.url = url;
        return options;
    }
    [[noreturn]] static void no_memory() {
#if defined(__cpp_exceptions)
        throw std::bad_alloc();
#else
        std::abort(); /* operator new does the same without exceptions */
#endif
    }
    static int count(milliseconds time) noexcept {
        using limits = std::numeric_limits<int>;
        return static_cast<int>(
            std::clamp<milliseconds::rep>(time.count(), limits::min(), limits::max()));
    }

    bool in_handler() const noexcept {
        return scope::find(parts_.get()) != nullptr;
    }

    /* Makes a call that may drive. It uses only the parts, because the object may be moved
       meanwhile. */
    template <typename Function> static result enter(parts &p, Function function) {
        scope here(&p, true);
        result r = make_result(p, function(p.handle));
#if defined(__cpp_exceptions)
        rethrow(here.thrown);
#endif
        return r;
    }

    /* Calls a handler. It catches each exception, because none may pass through the C code between
       the handler and the driving call. */
    template <typename Handler, typename Argument>
    static void call(stws *c, parts *owner, const Handler &handler, const Argument &argument) {
        if (!handler) return;
        scope *driving = scope::find(owner);
        scope here(owner, false);
#if defined(__cpp_exceptions)
        try {
            handler(argument);
        } catch (...) {
            if (!driving)
                owner->keep(std::current_exception());
            else if (!driving->thrown)
                driving->thrown = std::current_exception();
            stws_stop(c);
        }
#else
        (void)c, (void)driving;
        handler(argument);
#endif
    }
    static void handle_message(stws *c, const stws_message *m, void *user) {
        parts *owner = static_cast<parts *>(user);
        call(c, owner, owner->on_message, message(m));
    }
    static void handle_event(stws *c, const stws_event *event, void *user) {
        parts *owner = static_cast<parts *>(user);
        call(c, owner, owner->on_event, *event);
    }
    static void handle_subscription(stws *c, const stws_message *m, void *user) {
        subscriber *s = static_cast<subscriber *>(user);
        call(c, s->owner, s->handler, message(m));
    }
#if defined(__cpp_exceptions)
    static void rethrow(std::exception_ptr thrown) {
        if (thrown) std::rethrow_exception(std::move(thrown));
    }
#endif

    /* Makes a result of a code. Only the driving thread may read the sentence of an error; after
       the client's end every thread may. So the sentence is read only if no other call drives, or
       can begin to drive, meanwhile. */
    static result make_result(parts &p, int code) {
        if (code >= 0) return {code, {}};
        std::lock_guard<std::mutex> lock(p.mutex);
        const bool alone = p.drivers == 1 && scope::find(&p);
        const bool readable = alone || stws_state(p.handle) == STWS_ENDED;
        const char *text =
            readable && stws_error(p.handle) == code ? stws_error_text(p.handle) : "";
        return {code, *text ? text : stws_result_text(code)};
    }
    result make_result(int code) const {
        return parts_ ? make_result(*parts_, code) : moved_from();
    }
    static result moved_from() {
        return {STWS_ERR_STATE, "this object has no client: it was moved from"};
    }

    /* Ends the thread of start(). The handlers of that thread may use this object, so the object
       must not change before. */
    void end() noexcept {
        if (!parts_) return;
        if (in_handler()) std::terminate();
        stws_stop(get());
        stws_join(get());
    }

    std::unique_ptr<parts> parts_;
};

} // namespace stomp_ws

#endif
