/* How does it look in C++17, with objects that end by themselves, string views and lambdas?

       cpp URL

   It sends itself three messages, prints them, and shows how an error of a handler's own comes out
   of run(). The wrapper is stomp_ws.hpp, beside this file. */
#define STOMP_WS_IMPLEMENTATION
#include "stomp_ws.hpp"

#include <iostream>
#include <vector>

namespace {

class not_a_number : public std::runtime_error {
  public:
    using std::runtime_error::runtime_error;
};

/* Print numbers and their sum, until something comes that is none. */
void add_up(stomp_ws::client &client) {
    int sum = 0;
    client
        .subscribe("/topic/numbers",
                   [&sum](const stomp_ws::message &m) {
                       std::string_view text = m.body();
                       if (text.find_first_not_of("0123456789") != std::string_view::npos)
                           throw not_a_number(std::string(text) + " is not a number");
                       std::cout << m.destination() << ": " << text << ", sum "
                                 << (sum += std::stoi(std::string(text))) << '\n';
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
        stomp_ws::client moved = std::move(client); /* what the lambdas point at stays in place */
        add_up(moved);
    } catch (const not_a_number &e) {
        std::cout << e.what() << '\n';
    } catch (const stomp_ws::error &e) {
        std::cerr << e.what() << '\n';
        return 1;
    }
    return 0;
}
