// The wrapper in a program without exceptions: results are tested, and all else is the same.
#define STOMP_WS_IMPLEMENTATION
#include "../../examples/stomp_ws.hpp"

int main() {
    stomp_ws::client client("ws://127.0.0.1:1/");
    stomp_ws::owned_message reply;
    stomp_ws::milliseconds timeout(1);
    client.subscribe("/topic/x", [](const stomp_ws::message &m) { m.ack(); }).ignore();
    client.request("/queue/x", "body", reply, timeout).ignore();
    stomp_ws::result result = client.run();
    return result ? 0 : -result.code();
}
