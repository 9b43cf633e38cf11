package interop;

import java.io.File;
import java.util.Set;

import org.apache.activemq.artemis.core.config.Configuration;
import org.apache.activemq.artemis.core.config.impl.ConfigurationImpl;
import org.apache.activemq.artemis.core.config.impl.SecurityConfiguration;
import org.apache.activemq.artemis.core.security.Role;
import org.apache.activemq.artemis.core.server.JournalType;
import org.apache.activemq.artemis.core.server.embedded.EmbeddedActiveMQ;
import org.apache.activemq.artemis.core.settings.impl.AddressSettings;
import org.apache.activemq.artemis.spi.core.security.ActiveMQJAASSecurityManager;
import org.apache.activemq.artemis.spi.core.security.jaas.InVMLoginModule;

/**
 * Artemis with one acceptor on the loopback interface, which accepts STOMP over WebSocket and over
 * plain TCP on the same port. System properties set it up:
 * <ul>
 *   <li>{@code port} and {@code data}: the port, and the folder of its journal
 *   <li>{@code login} and {@code passcode}: the only user who is accepted; without them all are
 *   <li>{@code acceptor}: options added to the acceptor, separated by semicolons, for instance
 *       {@code webSocketMaxFramePayloadLength=1000000}
 *   <li>{@code javax.net.ssl.keyStore} and {@code ...keyStorePassword}: TLS, from a PKCS 12 file
 * </ul>
 */
public final class ArtemisServer {

    private static final String ACCEPTOR = "stomp";
    private static final String ROLE = "users";

    private ArtemisServer() {
    }

    public static void main(String[] arguments) throws Exception {
        EmbeddedActiveMQ broker = new EmbeddedActiveMQ();
        broker.setConfiguration(configuration());
        if (System.getProperty("login") != null) {
            broker.setSecurityManager(onlyTheUser());
        }
        broker.start();
        Runtime.getRuntime().addShutdownHook(new Thread(() -> stop(broker)));
        // If the port is in use, the broker starts without it.
        int port = broker.getActiveMQServer().getRemotingService().getAcceptor(ACCEPTOR)
                .getActualPort();
        if (port <= 0) {
            System.exit(1);
        }
        System.out.println("READY " + port);
    }

    /**
     * The journal is on, because without it Artemis loses large texts sent without content-length.
     * The guard against a full disk is off, because it silently blocks senders.
     */
    private static Configuration configuration() throws Exception {
        File data = new File(System.getProperty("data"));
        Configuration configuration = new ConfigurationImpl()
                .setJournalType(JournalType.NIO)
                .setJournalDirectory(new File(data, "journal").getPath())
                .setBindingsDirectory(new File(data, "bindings").getPath())
                .setPagingDirectory(new File(data, "paging").getPath())
                .setLargeMessagesDirectory(new File(data, "large-messages").getPath())
                .setMaxDiskUsage(-1)
                .setJMXManagementEnabled(false)
                .setSecurityEnabled(System.getProperty("login") != null)
                .addAcceptorConfiguration(ACCEPTOR, acceptorUri());
        configuration.putSecurityRoles("#", Set.of(mayDoAnything()));
        configuration.addAddressSetting("#", losingNothing());
        return configuration;
    }

    /**
     * By default, Artemis discards a message that was delivered ten times without an ACK. It also
     * deletes an empty queue when its last consumer leaves, even if a message that it has just
     * confirmed is on its way into the queue. If connections break often, both lose messages.
     */
    private static AddressSettings losingNothing() {
        return new AddressSettings().setMaxDeliveryAttempts(-1).setAutoDeleteQueues(false)
                .setAutoDeleteAddresses(false);
    }

    /**
     * A destination below {@code /queue/} is a queue. Any other is a topic, which is Artemis's
     * default. With a prefix for {@code /topic/}, {@code /topic/x} and {@code /queue/x} would be
     * the same address, because Artemis removes prefixes. Their subscribers would receive each
     * other's messages.
     */
    private static String acceptorUri() {
        String uri = "tcp://127.0.0.1:" + System.getProperty("port")
                + "?protocols=STOMP;anycastPrefix=/queue/";
        String keyStore = System.getProperty("javax.net.ssl.keyStore");
        if (keyStore != null) {
            uri += ";sslEnabled=true;keyStoreType=PKCS12;keyStorePath=" + keyStore
                    + ";keyStorePassword=" + System.getProperty("javax.net.ssl.keyStorePassword");
        }
        return uri + ";" + System.getProperty("acceptor", "");
    }

    private static ActiveMQJAASSecurityManager onlyTheUser() {
        SecurityConfiguration users = new SecurityConfiguration();
        users.addUser(System.getProperty("login"), System.getProperty("passcode"));
        users.addRole(System.getProperty("login"), ROLE);
        return new ActiveMQJAASSecurityManager(InVMLoginModule.class.getName(), users);
    }

    private static Role mayDoAnything() {
        return new Role(ROLE, true, true, true, true, true, true, true, true, true, true);
    }

    private static void stop(EmbeddedActiveMQ broker) {
        try {
            broker.stop();
        } catch (Exception failure) {
            failure.printStackTrace();
        }
    }
}
