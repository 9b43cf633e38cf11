package deploy;

import org.springframework.context.annotation.Bean;
import org.springframework.context.annotation.Configuration;
import org.springframework.messaging.Message;
import org.springframework.messaging.MessageChannel;
import org.springframework.messaging.simp.SimpMessageHeaderAccessor;
import org.springframework.messaging.support.ChannelInterceptor;
import org.springframework.security.authorization.AuthorizationManager;
import org.springframework.security.config.Customizer;
import org.springframework.security.config.annotation.web.builders.HttpSecurity;
import org.springframework.security.config.annotation.web.socket.EnableWebSocketSecurity;
import org.springframework.security.messaging.access.intercept.MessageMatcherDelegatingAuthorizationManager;
import org.springframework.security.messaging.web.csrf.XorCsrfChannelInterceptor;
import org.springframework.security.web.SecurityFilterChain;

/** HTTP Basic at /browser, tokens in CONNECT at /bearer, and a topic that nobody may use. */
@Configuration
@EnableWebSocketSecurity
class SecurityConfiguration {

    @Bean
    SecurityFilterChain http(HttpSecurity http) throws Exception {
        return http
                .authorizeHttpRequests(requests -> requests
                        .requestMatchers("/bearer", "/publish", "/publish-to-user").permitAll()
                        .anyRequest().authenticated())
                .csrf(csrf -> csrf.ignoringRequestMatchers("/publish", "/publish-to-user"))
                .httpBasic(Customizer.withDefaults())
                .build();
    }

    @Bean
    AuthorizationManager<Message<?>> messageAuthorizationManager(
            MessageMatcherDelegatingAuthorizationManager.Builder messages) {
        return messages
                .nullDestMatcher().permitAll()
                .simpSubscribeDestMatchers("/topic/secret/**").hasRole("ADMIN")
                .simpDestMatchers("/app/secret").hasRole("ADMIN")
                .anyMessage().authenticated()
                .build();
    }

    /** Replaces Spring's own interceptor, which would require a CSRF token at /bearer, too. */
    @Bean
    ChannelInterceptor csrfChannelInterceptor() {
        XorCsrfChannelInterceptor csrf = new XorCsrfChannelInterceptor();
        return new ChannelInterceptor() {
            @Override
            public Message<?> preSend(Message<?> message, MessageChannel channel) {
                return SimpMessageHeaderAccessor.getSessionAttributes(message.getHeaders())
                        .containsKey(MessagingConfiguration.BEARER)
                                ? message : csrf.preSend(message, channel);
            }
        };
    }
}
