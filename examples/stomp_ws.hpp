/* stomp_ws.hpp - stomp_ws.h for C++17: objects that end by themselves, views and lambdas.

   Copy it beside stomp_ws.h. Define STOMP_WS_IMPLEMENTATION in one file, as with the header itself.

       stomp_ws::client client("ws://localhost:8080/notifications/websocket");
       client.subscribe("/topic/notifications", [](const stomp_ws::message &m) {
           std::cout << m.body() << '\n';
       });
       client.run().or_throw();

   A call returns a result: test it, or let or_throw() make an exception of it (where exceptions are
   compiled in). One that a handler throws stops the client and comes out of run(), never through C.
   Everything else is as stomp_ws.h says, and get() gives the stws for it. */
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
#include <functional>
#include <limits>
#include <memory>
#include <new>
#include <string>
#include <string_view>
#include <utility>

#if defined(__cpp_exceptions)
#include <exception>
#include <stdexcept>
#endif

namespace stomp_ws {

using milliseconds = std::chrono::milliseconds;

#if defined(__cpp_exceptions)
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

/* What a call returned: below 0 it failed, and text() says how. */
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
    void ignore() const noexcept {}
#if defined(__cpp_exceptions)
    int or_throw() const {
        if (code_ < 0) throw error(code_, text_);
        return code_;
    }
#endif

  private:
    int code_;
    std::string text_;
};

/* A view of a message, for as long as the handler runs. A header that is not there is empty. */
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
    int ack() const {
        return stws_ack(m_->client, m_);
    }
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

/* A message of one's own, by stws_message_copy or from request(). */
struct free_message {
    void operator()(stws_message *m) const noexcept {
        stws_message_free(m);
    }
};
using owned_message = std::unique_ptr<stws_message, free_message>;

/* Move-only. It may be moved while it runs: what handlers and threads see stays where it is. */
class client {
  public:
    explicit client(const std::string &url) : client(with_url(url.c_str())) {}

    /* The options' user, on_message and on_event are the wrapper's. */
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

    /* The handler lives as long as the client, even after unsubscribe(): messages may follow. */
    result subscribe(const std::string &destination, message_handler handler,
                     stws_subscription options = {}) {
        parts_->handlers.push_back({parts_.get(), std::move(handler)});
        options.on_message = handle_subscription;
        options.user = &parts_->handlers.back();
        return say(stws_subscribe(get(), destination.c_str(), &options));
    }
    result unsubscribe(int handle) {
        return say(stws_unsubscribe(get(), handle));
    }
    result send(const std::string &destination, std::string_view body) {
        return say(stws_send(get(), destination.c_str(), body.data(), body.size()));
    }
    result request(const std::string &destination, std::string_view body, owned_message &reply,
                   milliseconds timeout) {
        stws_outgoing question = {};
        stws_message *answer = nullptr;
        question.destination = destination.c_str();
        question.body = body.data();
        question.body_len = body.size();
        int code = stws_request(get(), &question, &answer, count(timeout));
        reply.reset(answer);
        return say(code);
    }

    result connect(milliseconds timeout) {
        return say(stws_connect(get(), count(timeout)));
    }
    result run() {
        return say(stws_run(get()));
    }
    result flush(milliseconds timeout) {
        return say(stws_flush(get(), count(timeout)));
    }
    void disconnect(milliseconds timeout) {
        stws_disconnect(get(), count(timeout));
    }
    void stop() {
        stws_stop(get());
    }

    /* In a thread of its own, until join(), stop() or the client's end. */
    result start() {
        int code = stws_start(get());
        if (code >= 0) parts_->running = true;
        return say(code);
    }
    result join() {
        int code = stws_join(get());
        parts_->running = false;
        return say(code);
    }

    stws *get() const noexcept {
        return parts_->handle;
    }

  private:
    struct parts;
    struct subscriber {
        parts *owner;
        message_handler handler;
    };
    struct parts {
        parts() = default;
        parts(const parts &) = delete;
        parts &operator=(const parts &) = delete;
        ~parts() {
            if (running) stws_stop(handle), stws_join(handle);
            stws_destroy(handle);
        }
        stws *handle = nullptr;
        bool running = false; /* in a thread of its own */
        message_handler on_message;
        event_handler on_event;
        std::deque<subscriber> handlers; /* which never moves its elements */
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
        std::abort(); /* as new does without exceptions */
#endif
    }
    static int count(milliseconds time) noexcept {
        using limits = std::numeric_limits<int>;
        return static_cast<int>(
            std::clamp<milliseconds::rep>(time.count(), limits::min(), limits::max()));
    }

    /* No exception may cross the C code between: it waits until the driving call has returned. */
    template <typename Handler, typename Argument>
    static void call(stws *c, parts *owner, const Handler &handler, const Argument &argument) {
        if (!handler) return;
#if defined(__cpp_exceptions)
        try {
            handler(argument);
        } catch (...) {
            owner->thrown = std::current_exception();
            stws_stop(c);
        }
#else
        (void)c, (void)owner;
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

    result say(int code) {
        if (code >= 0) return rethrow(result(code, {}));
        std::string text = stws_result_text(code);
        const bool has_sentence = !parts_->running && stws_error(get()) == code;
        if (has_sentence && *stws_error_text(get())) text = stws_error_text(get());
        return rethrow(result(code, std::move(text)));
    }
    result rethrow(result r) {
#if defined(__cpp_exceptions)
        if (!parts_->running && parts_->thrown)
            std::rethrow_exception(std::exchange(parts_->thrown, nullptr));
#endif
        return r;
    }

    std::unique_ptr<parts> parts_;
};

} // namespace stomp_ws

#endif
