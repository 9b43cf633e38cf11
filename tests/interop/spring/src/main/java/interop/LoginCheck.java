package interop;

import org.springframework.messaging.Message;
import org.springframework.messaging.MessageChannel;
import org.springframework.messaging.simp.stomp.StompCommand;
import org.springframework.messaging.simp.stomp.StompHeaderAccessor;
import org.springframework.messaging.support.ChannelInterceptor;
import org.springframework.messaging.support.MessageBuilder;
import org.springframework.messaging.support.MessageHeaderAccessor;

/**
 * Refuses a CONNECT without the right login and passcode, and sets the user of a CONNECT that it
 * accepts.
 *
 * <p>The usual way to refuse is an exception. But Spring only logs it if it must also keep the
 * order of received messages. So the ERROR is sent from here, and Spring closes the connection after it.
 */
class LoginCheck implements ChannelInterceptor {

    private final String login;
    private final String passcode;
    private final MessageChannel toClients;

    LoginCheck(String login, String passcode, MessageChannel toClients) {
        this.login = login;
        this.passcode = passcode;
        this.toClients = toClients;
    }

    @Override
    public Message<?> preSend(Message<?> message, MessageChannel channel) {
        StompHeaderAccessor headers =
                MessageHeaderAccessor.getAccessor(message, StompHeaderAccessor.class);
        if (headers == null || headers.getCommand() != StompCommand.CONNECT) {
            return message;
        }
        if (login.equals(headers.getLogin()) && passcode.equals(headers.getPasscode())) {
            headers.setUser(() -> login);
            return message;
        }
        toClients.send(refusal(headers.getSessionId()));
        return null;
    }

    private static Message<byte[]> refusal(String sessionId) {
        StompHeaderAccessor headers = StompHeaderAccessor.create(StompCommand.ERROR);
        headers.setSessionId(sessionId);
        headers.setMessage("Wrong login or passcode");
        return MessageBuilder.createMessage(new byte[0], headers.getMessageHeaders());
    }
}
