package interop;

import org.springframework.beans.factory.annotation.Qualifier;
import org.springframework.boot.autoconfigure.condition.ConditionalOnProperty;
import org.springframework.context.annotation.Bean;
import org.springframework.context.annotation.Configuration;
import org.springframework.context.annotation.Lazy;
import org.springframework.messaging.MessageChannel;
import org.springframework.messaging.simp.config.ChannelRegistration;
import org.springframework.messaging.simp.config.MessageBrokerRegistry;
import org.springframework.scheduling.concurrent.ThreadPoolTaskScheduler;
import org.springframework.web.socket.config.annotation.EnableWebSocketMessageBroker;
import org.springframework.web.socket.config.annotation.StompEndpointRegistry;
import org.springframework.web.socket.config.annotation.WebSocketMessageBrokerConfigurer;
import org.springframework.web.socket.config.annotation.WebSocketTransportRegistration;
import org.springframework.web.socket.server.standard.ServletServerContainerFactoryBean;

/** Endpoints, broker and limits. */
@Configuration
@EnableWebSocketMessageBroker
class MessagingConfiguration implements WebSocketMessageBrokerConfigurer {

    private final Settings settings;
    private final MessageChannel toClients;

    /** The channel is created from this configuration, so it must be injected lazily. */
    MessagingConfiguration(Settings settings,
            @Lazy @Qualifier("clientOutboundChannel") MessageChannel toClients) {
        this.settings = settings;
        this.toClients = toClients;
    }

    /**
     * {@code /notifications} is a SockJS endpoint, so a client that forgets the final
     * {@code /websocket} gets the same answer as in real applications. {@code /plain} is not.
     */
    @Override
    public void registerStompEndpoints(StompEndpointRegistry registry) {
        registry.addEndpoint("/notifications").withSockJS();
        registry.addEndpoint("/plain");
        registry.setPreserveReceiveOrder(true);
    }

    @Override
    public void configureMessageBroker(MessageBrokerRegistry registry) {
        registry.setApplicationDestinationPrefixes("/app");
        registry.setPreservePublishOrder(true);
        if (settings.relay() == null) {
            registry.enableSimpleBroker("/topic", "/queue")
                    .setTaskScheduler(heartbeatScheduler())
                    .setHeartbeatValue(settings.heartbeat());
        } else {
            String[] address = settings.relay().split(":");
            registry.enableStompBrokerRelay("/topic", "/queue")
                    .setRelayHost(address[0])
                    .setRelayPort(Integer.parseInt(address[1]))
                    .setVirtualHost("/");
        }
    }

    @Override
    public void configureWebSocketTransport(WebSocketTransportRegistration registration) {
        if (settings.messageSizeLimit() != null) {
            registration.setMessageSizeLimit((int) settings.messageSizeLimit().toBytes());
        }
        if (settings.sendBufferLimit() != null) {
            registration.setSendBufferSizeLimit((int) settings.sendBufferLimit().toBytes());
        }
    }

    @Override
    public void configureClientInboundChannel(ChannelRegistration registration) {
        if (settings.login() != null) {
            registration.interceptors(
                    new LoginCheck(settings.login(), settings.passcode(), toClients));
        }
    }

    /** Tomcat allocates both buffers completely for each connection: 3 times this size. */
    @Bean
    @ConditionalOnProperty("interop.websocket-buffer")
    ServletServerContainerFactoryBean webSocketBuffers() {
        int size = (int) settings.websocketBuffer().toBytes();
        ServletServerContainerFactoryBean container = new ServletServerContainerFactoryBean();
        container.setMaxTextMessageBufferSize(size);
        container.setMaxBinaryMessageBufferSize(size);
        return container;
    }

    private static ThreadPoolTaskScheduler heartbeatScheduler() {
        ThreadPoolTaskScheduler scheduler = new ThreadPoolTaskScheduler();
        scheduler.setThreadNamePrefix("heart-beat-");
        scheduler.setDaemon(true);
        scheduler.initialize();
        return scheduler;
    }
}
