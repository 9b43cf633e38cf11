/* How does it look in C++17, with objects that clean up after themselves, string views and lambdas?

       cpp URL

   The program sends three messages to itself and prints them with their sum. The last message is
   not a number, so the handler throws an exception. It stops the client and comes out of run();
   the destructor then closes the connection. The wrapper is stomp_ws.hpp, in this directory. */
#define STOMP_WS_IMPLEMENTATION
#include "stomp_ws.hpp"

#include <iostream>
#include <vector>

namespace {

class not_a_number : public std::runtime_error {
  public:
    using std::runtime_error::runtime_error;
};

/* Prints numbers and their sum until a message arrives that is not a number. */
void add_up(stomp_ws::client &client) {
    int sum = 0;
    client
        .subscribe("/topic/numbers",
                   [&sum](const stomp_ws::message &message) {
                       std::string_view text = message.body();
                       if (text.find_first_not_of("0123456789") != std::string_view::npos)
                           throw not_a_number(std::string(text) + " is not a number");
                       sum += std::stoi(std::string(text));
                       std::cout << message.destination() << ": " << text << ", sum " << sum
                                 << '\n';
                   })
        .or_throw();
    for (std::string_view number : {"19", "23", "none"})
        client.send("/topic/numbers", number).or_throw();
    client.run().or_throw();
}

} // namespace

int main(int argc, char **argv) {
    const std::vector<std::string> arguments(argv, argv + argc);
    if (arguments.size() != 2) {
        std::cerr << "usage: cpp URL\n";
        return 2;
    }
    try {
        stws_options options = stws_options_default();
        options.url = arguments[1].c_str();
        stomp_ws::client client(options, {}, [](const stws_event &event) {
            if (event.type == STWS_EVENT_DISCONNECTED && event.retry_ms >= 0)
                std::cerr << event.text << "; trying again\n";
        });
        stomp_ws::client moved =
            std::move(client); /* a client can move; its handlers keep working */
        add_up(moved);
    } catch (const not_a_number &end) {
        std::cout << end.what() << '\n';
    } catch (const stomp_ws::error &error) {
        std::cerr << error.what() << '\n';
        return 1;
    }
    return 0;
}
