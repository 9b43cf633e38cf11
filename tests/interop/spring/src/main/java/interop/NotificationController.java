package interop;

import java.nio.charset.StandardCharsets;

import org.springframework.messaging.Message;
import org.springframework.messaging.handler.annotation.MessageMapping;
import org.springframework.messaging.handler.annotation.Payload;
import org.springframework.messaging.simp.SimpMessageHeaderAccessor;
import org.springframework.messaging.simp.SimpMessagingTemplate;
import org.springframework.messaging.simp.annotation.SendToUser;
import org.springframework.messaging.support.MessageBuilder;
import org.springframework.util.MimeType;
import org.springframework.web.bind.annotation.GetMapping;
import org.springframework.web.bind.annotation.PostMapping;
import org.springframework.web.bind.annotation.RequestBody;
import org.springframework.web.bind.annotation.RequestHeader;
import org.springframework.web.bind.annotation.RequestParam;
import org.springframework.web.bind.annotation.RestController;

/** Echoes messages, replies to them, and publishes bodies that are posted to the server. */
@RestController
class NotificationController {

    private final SimpMessagingTemplate template;

    NotificationController(SimpMessagingTemplate template) {
        this.template = template;
    }

    @GetMapping(path = "/health", produces = "text/plain")
    String health() {
        return "ok\n";
    }

    /** A form is refused, because Spring would decode its body and encode it in a different way. */
    @PostMapping(path = "/publish", consumes = "!application/x-www-form-urlencoded")
    void publish(@RequestParam String destination,
            @RequestHeader("Content-Type") MimeType contentType,
            @RequestBody byte[] body) {
        send(destination, contentType, body);
    }

    /** Echoes a body to all subscribers, with the same bytes and the same content type. */
    @MessageMapping("/echo")
    void echo(Message<byte[]> message) {
        MimeType contentType = SimpMessageHeaderAccessor.wrap(message).getContentType();
        send("/topic/echo", contentType, message.getPayload());
    }

    /** Sends a body back as text, only to the connection that it came from. */
    @MessageMapping("/reply")
    @SendToUser(destinations = "/queue/reply", broadcast = false)
    String reply(@Payload byte[] body) {
        return new String(body, StandardCharsets.UTF_8);
    }

    private void send(String destination, MimeType contentType, byte[] body) {
        SimpMessageHeaderAccessor headers = SimpMessageHeaderAccessor.create();
        headers.setContentType(contentType);
        template.send(destination, MessageBuilder.createMessage(body, headers.getMessageHeaders()));
    }
}
