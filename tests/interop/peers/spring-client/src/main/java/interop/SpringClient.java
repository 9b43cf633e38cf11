package interop;

import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.lang.reflect.Type;
import java.net.URLDecoder;
import java.net.URLEncoder;
import java.nio.charset.Charset;
import java.nio.charset.StandardCharsets;
import java.util.List;
import java.util.concurrent.TimeUnit;

import org.springframework.messaging.simp.stomp.StompCommand;
import org.springframework.messaging.simp.stomp.StompHeaders;
import org.springframework.messaging.simp.stomp.StompSession;
import org.springframework.messaging.simp.stomp.StompSessionHandlerAdapter;
import org.springframework.web.socket.WebSocketHttpHeaders;
import org.springframework.web.socket.client.standard.StandardWebSocketClient;
import org.springframework.web.socket.messaging.WebSocketStompClient;

/**
 * Spring's WebSocketStompClient. Reads and writes the lines that other_clients.py describes. The
 * arguments are the URL, login and passcode. Offers the subprotocols, because Spring's client does
 * not offer any.
 */
public final class SpringClient extends StompSessionHandlerAdapter {

    private static final int CONNECT_SECONDS = 60;
    /** Tomcat's default in both directions, which a server with default settings accepts. */
    private static final int WEBSOCKET_BUFFER = 8192;

    private SpringClient() {
    }

    public static void main(String[] arguments) throws Exception {
        WebSocketStompClient client = new WebSocketStompClient(new StandardWebSocketClient());
        client.setOutboundMessageSizeLimit(WEBSOCKET_BUFFER);
        client.setInboundMessageSizeLimit(4 * 1024 * 1024);
        WebSocketHttpHeaders http = new WebSocketHttpHeaders();
        http.setSecWebSocketProtocol(List.of("v12.stomp", "v11.stomp"));
        StompHeaders connect = new StompHeaders();
        connect.setLogin(arguments[1]);
        connect.setPasscode(arguments[2]);
        SpringClient handler = new SpringClient();
        StompSession session = client.connectAsync(arguments[0], http, connect, handler)
                .get(CONNECT_SECONDS, TimeUnit.SECONDS);
        print("connected");
        BufferedReader input = new BufferedReader(new InputStreamReader(System.in));
        for (String line = input.readLine(); line != null; line = input.readLine()) {
            handler.run(session, line.split(" "));
        }
        session.disconnect();
        System.exit(0);
    }

    private void run(StompSession session, String[] words) throws IOException {
        if (words[0].equals("subscribe")) {
            session.subscribe(decode(words[1], StandardCharsets.UTF_8), this);
            return;
        }
        StompHeaders headers = new StompHeaders();
        headers.setDestination(decode(words[1], StandardCharsets.UTF_8));
        byte[] body = decode(words[2], StandardCharsets.ISO_8859_1)
                .getBytes(StandardCharsets.ISO_8859_1);
        for (int i = 3; i + 1 < words.length; i += 2) {
            headers.add(decode(words[i], StandardCharsets.UTF_8),
                    decode(words[i + 1], StandardCharsets.UTF_8));
        }
        session.send(headers, body);
    }

    @Override
    public Type getPayloadType(StompHeaders headers) {
        return byte[].class;
    }

    @Override
    public void handleFrame(StompHeaders headers, Object payload) {
        if (payload == null) {
            print("error " + encode(headers.toString(), StandardCharsets.UTF_8));
            return;
        }
        StringBuilder line = new StringBuilder("message ");
        String body = new String((byte[]) payload, StandardCharsets.ISO_8859_1);
        line.append(encode(body, StandardCharsets.ISO_8859_1));
        headers.forEach((name, values) -> values.forEach(value -> line
                .append(' ').append(encode(name, StandardCharsets.UTF_8))
                .append(' ').append(encode(value, StandardCharsets.UTF_8))));
        print(line.toString());
    }

    @Override
    public void handleException(StompSession session, StompCommand command, StompHeaders headers,
            byte[] payload, Throwable failure) {
        print("error " + encode(failure.toString(), StandardCharsets.UTF_8));
    }

    @Override
    public void handleTransportError(StompSession session, Throwable failure) {
        print("error " + encode(failure.toString(), StandardCharsets.UTF_8));
    }

    private static String decode(String word, Charset charset) {
        return URLDecoder.decode(word, charset);
    }

    private static String encode(String text, Charset charset) {
        return URLEncoder.encode(text, charset).replace("+", "%20");
    }

    private static synchronized void print(String line) {
        System.out.println(line);
        System.out.flush();
    }
}
