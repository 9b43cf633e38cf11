// The C++ wrapper in a program without exceptions. Results are tested instead; everything else is
// the same.
#define STOMP_WS_IMPLEMENTATION
#include "../../examples/stomp_ws.hpp"

int main() {
    stomp_ws::client client("ws://127.0.0.1:1/");
    stomp_ws::owned_message reply;
    stomp_ws::milliseconds timeout(1);
    client.subscribe("/topic/x", [](const stomp_ws::message &m) { m.ack(); }).ignore();
    client.request("/queue/x", "body", reply, timeout).ignore();
    client.flush(timeout).ignore();
    client.drive(stws_step).ignore();
    client.start().ignore();
    client.stop();
    client.join().ignore();
    stomp_ws::client moved = std::move(client);
    stomp_ws::result result = moved.run();
    return result ? 0 : -result.code();
}
