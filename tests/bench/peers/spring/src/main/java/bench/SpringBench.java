package bench;

import java.lang.reflect.Type;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.Semaphore;
import java.util.concurrent.TimeUnit;

import jakarta.websocket.ContainerProvider;
import jakarta.websocket.WebSocketContainer;

import org.springframework.messaging.simp.stomp.StompFrameHandler;
import org.springframework.messaging.simp.stomp.StompHeaders;
import org.springframework.messaging.simp.stomp.StompSession;
import org.springframework.messaging.simp.stomp.StompSessionHandlerAdapter;
import org.springframework.web.socket.WebSocketHttpHeaders;
import org.springframework.web.socket.client.standard.StandardWebSocketClient;
import org.springframework.web.socket.messaging.WebSocketStompClient;

/** Spring's WebSocketStompClient on Tomcat's WebSocket, with the arguments of bench.h. */
public final class SpringBench extends StompSessionHandlerAdapter {

    private static final int SECONDS = 60;
    private static final int LARGEST = 16 * 1024 * 1024;

    private final List<String> arguments;
    private final int count;
    private final byte[] body;
    private final CountDownLatch end = new CountDownLatch(1);
    private final Semaphore echoes = new Semaphore(0);
    private StompSession session;
    private int messages;
    private long began;
    private long checksum;
    private double[] times = {};

    private SpringBench(String[] arguments) {
        this.arguments = List.of(arguments);
        this.count = Integer.parseInt(argument("--count"));
        this.body = new byte[Integer.parseInt(argument("--size"))];
        Arrays.fill(this.body, (byte) 'x');
    }

    public static void main(String[] arguments) throws Exception {
        if (List.of(arguments).equals(List.of("--mode", "micro"))) {
            SpringMicro.main();
            return;
        }
        SpringBench bench = new SpringBench(arguments);
        bench.connect();
        switch (bench.argument("--mode")) {
            case "burst" -> bench.burst();
            case "sink" -> bench.sink();
            default -> bench.pingpong();
        }
        bench.report();
        System.exit(0);
    }

    private void connect() throws Exception {
        WebSocketContainer container = ContainerProvider.getWebSocketContainer();
        container.setDefaultMaxTextMessageBufferSize(LARGEST);
        WebSocketStompClient client =
                new WebSocketStompClient(new StandardWebSocketClient(container));
        client.setInboundMessageSizeLimit(LARGEST);
        client.setOutboundMessageSizeLimit(LARGEST); // the server expects each frame in one message
        client.setDefaultHeartbeat(new long[] {0, 0});
        WebSocketHttpHeaders http = new WebSocketHttpHeaders();
        http.setSecWebSocketProtocol(List.of("v12.stomp", "v11.stomp"));
        session = client.connectAsync(argument("--url"), http, this)
                .get(SECONDS, TimeUnit.SECONDS);
    }

    private void burst() throws InterruptedException {
        session.subscribe("/topic/bench", handler(this::receive));
        await();
    }

    private void receive(StompHeaders headers) {
        if (began == 0) {
            began = System.nanoTime();
        }
        if ("/topic/end".equals(headers.getDestination())) {
            end.countDown();
        } else {
            messages++;
        }
    }

    private void sink() throws InterruptedException {
        session.subscribe("/topic/end", handler(headers -> end.countDown()));
        began = System.nanoTime();
        for (; messages < count; messages++) {
            session.send("/topic/sink", body);
        }
        await();
    }

    private void pingpong() throws InterruptedException {
        session.subscribe("/topic/echo", handler(headers -> echoes.release()));
        times = new double[count];
        began = System.nanoTime();
        for (; messages < count; messages++) {
            long sent = System.nanoTime();
            session.send("/topic/echo", body);
            if (!echoes.tryAcquire(SECONDS, TimeUnit.SECONDS)) {
                throw new IllegalStateException("an echo did not come");
            }
            times[messages] = (System.nanoTime() - sent) / 1e3;
        }
    }

    private void await() throws InterruptedException {
        if (!end.await(SECONDS, TimeUnit.SECONDS)) {
            throw new IllegalStateException("the end did not come");
        }
    }

    private interface Reader {
        void read(StompHeaders headers);
    }

    private StompFrameHandler handler(Reader reader) {
        return new StompFrameHandler() {
            @Override
            public Type getPayloadType(StompHeaders headers) {
                return byte[].class;
            }

            @Override
            public void handleFrame(StompHeaders headers, Object payload) {
                checksum += ((byte[]) payload).length + headers.getMessageId().charAt(0);
                reader.read(headers);
            }
        };
    }

    private void report() {
        double seconds = (System.nanoTime() - began) / 1e9;
        Arrays.sort(times);
        List<String> percentiles = new ArrayList<>();
        for (int share : new int[] {500, 990, 999}) {
            double time = times.length == 0 ? 0 : times[(int) ((long) count * share / 1000)];
            percentiles.add(String.format(Locale.ROOT, "%.2f", time));
        }
        System.out.printf(Locale.ROOT,
                "{\"msgs\":%d,\"secs\":%f,\"p50_us\":%s,\"p99_us\":%s,\"p999_us\":%s}%n", messages,
                seconds, percentiles.get(0), percentiles.get(1), percentiles.get(2));
    }

    private String argument(String name) {
        return arguments.get(arguments.indexOf(name) + 1);
    }

    @Override
    public void handleException(StompSession session,
            org.springframework.messaging.simp.stomp.StompCommand command, StompHeaders headers,
            byte[] payload, Throwable failure) {
        fail(failure);
    }

    @Override
    public void handleTransportError(StompSession session, Throwable failure) {
        fail(failure);
    }

    private static void fail(Throwable failure) {
        System.err.println(failure);
        System.exit(1);
    }
}
