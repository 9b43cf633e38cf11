package deploy;

import java.util.List;

import org.springframework.messaging.Message;
import org.springframework.messaging.MessageChannel;
import org.springframework.messaging.simp.stomp.StompCommand;
import org.springframework.messaging.simp.stomp.StompHeaderAccessor;
import org.springframework.messaging.support.ChannelInterceptor;
import org.springframework.messaging.support.MessageHeaderAccessor;
import org.springframework.security.authentication.BadCredentialsException;
import org.springframework.security.authentication.UsernamePasswordAuthenticationToken;
import org.springframework.security.core.authority.SimpleGrantedAuthority;

/** Requires "Authorization: Bearer TOKEN" in the CONNECT of each session of /bearer. */
class BearerToken implements ChannelInterceptor {

    private static final String GOOD = "Bearer good-token";

    @Override
    public Message<?> preSend(Message<?> message, MessageChannel channel) {
        StompHeaderAccessor headers =
                MessageHeaderAccessor.getAccessor(message, StompHeaderAccessor.class);
        if (headers == null || headers.getCommand() != StompCommand.CONNECT
                || !headers.getSessionAttributes().containsKey(
                        MessagingConfiguration.BEARER)) {
            return message;
        }
        if (!GOOD.equals(headers.getFirstNativeHeader("Authorization"))) {
            throw new BadCredentialsException("The token is not valid");
        }
        headers.setUser(new UsernamePasswordAuthenticationToken(
                "grace", null, List.of(new SimpleGrantedAuthority("ROLE_USER"))));
        return message;
    }
}
