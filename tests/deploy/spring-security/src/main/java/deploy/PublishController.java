package deploy;

import java.util.Map;

import org.springframework.messaging.handler.annotation.MessageMapping;
import org.springframework.messaging.handler.annotation.Payload;
import org.springframework.messaging.simp.SimpMessagingTemplate;
import org.springframework.messaging.simp.annotation.SendToUser;
import org.springframework.security.web.csrf.CsrfToken;
import org.springframework.web.bind.annotation.GetMapping;
import org.springframework.web.bind.annotation.PostMapping;
import org.springframework.web.bind.annotation.RequestBody;
import org.springframework.web.bind.annotation.RequestParam;
import org.springframework.web.bind.annotation.RestController;

/** Publishes bodies that are posted to it, and returns the CSRF token. */
@RestController
class PublishController {

    private final SimpMessagingTemplate template;

    PublishController(SimpMessagingTemplate template) {
        this.template = template;
    }

    @GetMapping("/csrf")
    Map<String, String> csrf(CsrfToken token) {
        return Map.of("header", token.getHeaderName(), "token", token.getToken());
    }

    @PostMapping("/publish")
    void publish(@RequestParam String destination, @RequestBody String body) {
        template.convertAndSend(destination, body);
    }

    @PostMapping("/publish-to-user")
    void publishToUser(@RequestParam String user, @RequestParam String destination,
            @RequestBody String body) {
        template.convertAndSendToUser(user, destination, body);
    }

    @MessageMapping("/reply")
    @SendToUser("/queue/reply")
    String reply(@Payload String body) {
        return body;
    }
}
