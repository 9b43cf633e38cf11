package interop;

import org.springframework.boot.SpringApplication;
import org.springframework.boot.autoconfigure.SpringBootApplication;
import org.springframework.boot.context.properties.ConfigurationPropertiesScan;

/** A Spring Boot server that publishes notifications over STOMP, for the interop tests. */
@SpringBootApplication
@ConfigurationPropertiesScan
public class NotificationServer {

    public static void main(String[] arguments) {
        SpringApplication.run(NotificationServer.class, arguments);
    }
}
