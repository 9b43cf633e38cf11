package deploy;

import org.springframework.boot.SpringApplication;
import org.springframework.boot.autoconfigure.SpringBootApplication;
import org.springframework.boot.context.event.ApplicationReadyEvent;
import org.springframework.context.event.EventListener;
import org.springframework.core.env.Environment;

/**
 * A Spring Boot server with Spring Security, for the deploy tests. Its simple broker has no scheduler,
 * so it grants no heart-beats. That is the default of an application that does not configure them.
 */
@SpringBootApplication
public class SecureServer {

    private final Environment environment;

    SecureServer(Environment environment) {
        this.environment = environment;
    }

    public static void main(String[] arguments) {
        SpringApplication.run(SecureServer.class, arguments);
    }

    @EventListener
    void ready(ApplicationReadyEvent event) {
        System.out.println("READY " + environment.getProperty("local.server.port"));
    }
}
