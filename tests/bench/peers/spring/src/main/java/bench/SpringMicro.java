package bench;

import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.List;
import java.util.Locale;
import java.util.Map;

import org.springframework.messaging.Message;
import org.springframework.messaging.simp.stomp.StompCommand;
import org.springframework.messaging.simp.stomp.StompDecoder;
import org.springframework.messaging.simp.stomp.StompEncoder;
import org.springframework.messaging.simp.stomp.StompHeaderAccessor;
import org.springframework.messaging.support.MessageBuilder;

/** The measurements of bench_micro.c for parsing and building, with Spring's codec. */
final class SpringMicro {

    private static final int ROUNDS = 4000; // before these rounds the JIT has not compiled the code
    private static final int TIMES = 64;
    private static final List<Map.Entry<String, String>> USUAL = List.of(
            Map.entry("destination", "/topic/bench"),
            Map.entry("message-id", "session-1234-0000001"),
            Map.entry("subscription", "sub-1"),
            Map.entry("content-type", "text/plain;charset=utf-8"),
            Map.entry("timestamp", "1700000000000"),
            Map.entry("priority", "4"));

    private SpringMicro() {
    }

    static void main() {
        for (int headers : new int[] {2, 6, 20}) {
            measure(headers);
        }
    }

    private static void measure(int headers) {
        StompDecoder decoder = new StompDecoder();
        StompEncoder encoder = new StompEncoder();
        byte[] frame = frame(headers);
        Message<byte[]> message = message(headers);
        report("parse", headers, () -> {
            if (decoder.decode(ByteBuffer.wrap(frame)).size() != 1) {
                throw new IllegalStateException("a frame was not parsed");
            }
        });
        report("build", headers, () -> {
            if (encoder.encode(message).length < 64) {
                throw new IllegalStateException("a frame was not built");
            }
        });
    }

    private static String name(int i) {
        return i < USUAL.size() ? USUAL.get(i).getKey() : "x-application-%03d".formatted(i);
    }

    private static String value(int i) {
        return i < USUAL.size() ? USUAL.get(i).getValue() : "some value of 24 bytes..";
    }

    private static byte[] frame(int headers) {
        StringBuilder text = new StringBuilder("MESSAGE\n");
        for (int i = 0; i < headers; i++) {
            text.append(name(i)).append(':').append(value(i)).append('\n');
        }
        text.append("content-length:64\n\n").append("x".repeat(64)).append('\0');
        return text.toString().getBytes(StandardCharsets.UTF_8);
    }

    private static Message<byte[]> message(int headers) {
        StompHeaderAccessor accessor = StompHeaderAccessor.create(StompCommand.MESSAGE);
        for (int i = 0; i < headers; i++) {
            accessor.setNativeHeader(name(i), value(i));
        }
        byte[] body = "x".repeat(64).getBytes(StandardCharsets.UTF_8);
        return MessageBuilder.createMessage(body, accessor.getMessageHeaders());
    }

    private static void report(String name, int headers, Runnable call) {
        long least = Long.MAX_VALUE;
        for (int round = 0; round < ROUNDS; round++) {
            long began = System.nanoTime();
            for (int i = 0; i < TIMES; i++) {
                call.run();
            }
            least = Math.min(least, System.nanoTime() - began);
        }
        System.out.printf(Locale.ROOT, "{\"name\":\"%s %d\",\"ns\":%.2f}%n", name, headers,
                (double) least / TIMES);
    }
}
