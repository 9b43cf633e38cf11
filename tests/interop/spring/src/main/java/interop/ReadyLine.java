package interop;

import org.springframework.boot.context.event.ApplicationReadyEvent;
import org.springframework.boot.web.server.context.WebServerApplicationContext;
import org.springframework.context.event.EventListener;
import org.springframework.messaging.simp.broker.BrokerAvailabilityEvent;
import org.springframework.stereotype.Component;

/**
 * Prints {@code READY <port>} when the server accepts clients. A relay connects to its broker in
 * the background, sometimes only after the web server has started, so this waits for both.
 */
@Component
class ReadyLine {

    private final WebServerApplicationContext context;
    private boolean applicationReady;
    private boolean brokerAvailable;
    private boolean printed;

    ReadyLine(WebServerApplicationContext context) {
        this.context = context;
    }

    @EventListener
    synchronized void applicationReady(ApplicationReadyEvent event) {
        applicationReady = true;
        printWhenReady();
    }

    @EventListener
    synchronized void brokerChanged(BrokerAvailabilityEvent event) {
        brokerAvailable = event.isBrokerAvailable();
        printWhenReady();
    }

    private void printWhenReady() {
        if (applicationReady && brokerAvailable && !printed) {
            printed = true;
            System.out.println("READY " + context.getWebServer().getPort());
        }
    }
}
