// Boost.Beast, with hand-written STOMP. Uses Beast's synchronous functions with the default
// options, except TCP_NODELAY and the limit for a message.
#include "by_hand.h"
#include <boost/asio/connect.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/beast/core.hpp>
#include <boost/beast/websocket.hpp>
#include <exception>
#include <stdexcept>
#include <string>
#include <vector>

namespace beast = boost::beast;
namespace net = boost::asio;
using net::ip::tcp;

class Peer {
public:
    explicit Peer(bench &b)
        : bench_(b), stream_(context_), out_(static_cast<size_t>(b.size) + BY_HAND_HEAD) {
        int port = 0;
        char path[64];
        if (std::sscanf(b.url, "ws://127.0.0.1:%d%63s", &port, path) != 2)
            throw std::runtime_error("not a URL");
        tcp::endpoint to(net::ip::address_v4::loopback(), static_cast<unsigned short>(port));
        stream_.next_layer().connect(to);
        stream_.next_layer().set_option(tcp::no_delay(true));
        stream_.read_message_max(0);
        stream_.handshake("127.0.0.1:" + std::to_string(port), path);
        stream_.text(true);
        log_in();
    }

    void burst() {
        by_hand m;
        for (receive(m); !by_hand_is_end(&m); receive(m)) {
            if (bench_.messages == 0) bench_.began = bench_now();
            by_hand_read(&bench_, &m);
        }
    }

    void sink() {
        by_hand m;
        bench_.began = bench_now();
        for (; bench_.messages < bench_.count; bench_.messages++) send("/topic/sink");
        receive(m);
    }

    void pingpong() {
        by_hand m;
        bench_.began = bench_now();
        while (bench_.messages < bench_.count) {
            double sent = bench_now();
            send("/topic/echo");
            receive(m);
            bench_note_trip(&bench_, bench_now() - sent);
            by_hand_read(&bench_, &m);
        }
    }

private:
    void log_in() {
        char head[BY_HAND_HEAD];
        const std::string connect(by_hand_connect());
        stream_.write(net::buffer(connect.c_str(), connect.size() + 1));
        stream_.read(buffer_);
        buffer_.clear();
        size_t len = by_hand_subscribe(head, by_hand_destination(&bench_));
        stream_.write(net::buffer(head, len));
    }

    void send(const char *destination) {
        size_t len = by_hand_send(out_.data(), destination, bench_.body,
                                  static_cast<size_t>(bench_.size));
        stream_.write(net::buffer(out_.data(), len));
    }

    // The message is a view into the buffer. It is valid until the next message is received.
    void receive(by_hand &m) {
        buffer_.clear();
        stream_.read(buffer_);
        auto data = buffer_.data();
        if (!by_hand_parse(&m, static_cast<const char *>(data.data()), data.size()))
            throw std::runtime_error("not a MESSAGE");
    }

    bench &bench_;
    net::io_context context_;
    beast::websocket::stream<tcp::socket> stream_;
    beast::flat_buffer buffer_;
    std::vector<char> out_;
};

int main(int argc, char **argv) {
    static bench b;
    bench_begin(&b, argc, argv);
    try {
        Peer peer(b);
        if (bench_is(&b, "burst"))
            peer.burst();
        else if (bench_is(&b, "sink"))
            peer.sink();
        else
            peer.pingpong();
        b.ended = bench_now();
    } catch (const std::exception &error) {
        std::fprintf(stderr, "beast: %s\n", error.what());
        return EXIT_FAILURE;
    }
    bench_report(&b);
    bench_end(&b);
    return EXIT_SUCCESS;
}
