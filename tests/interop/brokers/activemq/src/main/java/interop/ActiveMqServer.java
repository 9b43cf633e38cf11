package interop;

import java.util.List;

import org.apache.activemq.broker.BrokerPlugin;
import org.apache.activemq.broker.BrokerService;
import org.apache.activemq.security.AuthenticationUser;
import org.apache.activemq.security.SimpleAuthenticationPlugin;

/**
 * ActiveMQ Classic with one WebSocket connector on the loopback interface. System properties set it up:
 * <ul>
 *   <li>{@code port} and {@code data}: the port, and the folder of its journal
 *   <li>{@code login} and {@code passcode}: the only user who is accepted; without them all are
 *   <li>{@code connector}: options added to the connector, for instance
 *       {@code websocket.maxTextMessageSize=1000000}
 *   <li>{@code javax.net.ssl.keyStore}, {@code ...keyStorePassword}, {@code ...keyStoreType}: TLS
 * </ul>
 */
public final class ActiveMqServer {

    private static final long MIB = 1024 * 1024;

    private ActiveMqServer() {
    }

    public static void main(String[] arguments) throws Exception {
        BrokerService broker = new BrokerService();
        broker.setUseJmx(false);
        broker.setDataDirectory(System.getProperty("data"));
        broker.getSystemUsage().getMemoryUsage().setPercentOfJvmHeap(70);
        broker.getSystemUsage().getStoreUsage().setLimit(512 * MIB);
        broker.getSystemUsage().getTempUsage().setLimit(512 * MIB);
        broker.addConnector(connectorUri());
        if (System.getProperty("login") != null) {
            broker.setPlugins(new BrokerPlugin[] {onlyTheUser()});
        }
        broker.start();
        broker.waitUntilStarted();
        System.out.println("READY " + System.getProperty("port"));
    }

    private static String connectorUri() {
        String scheme = System.getProperty("javax.net.ssl.keyStore") == null ? "ws" : "wss";
        return scheme + "://127.0.0.1:" + System.getProperty("port")
                + "?" + System.getProperty("connector", "");
    }

    private static SimpleAuthenticationPlugin onlyTheUser() {
        return new SimpleAuthenticationPlugin(List.of(new AuthenticationUser(
                System.getProperty("login"), System.getProperty("passcode"), "users")));
    }
}
