package interop;

import org.springframework.boot.context.properties.ConfigurationProperties;
import org.springframework.util.unit.DataSize;

/**
 * The settings of this server, {@code interop.*}. A limit that is null stays what it is in Spring
 * and Tomcat.
 *
 * @param heartbeat        what the simple broker sends and wants to receive, in ms
 * @param relay            host:port of a STOMP broker over TCP that takes the simple broker's place
 * @param login            the one login let in
 * @param passcode         its passcode
 * @param websocketBuffer  the longest WebSocket message taken, text (in characters) or binary
 * @param messageSizeLimit the longest STOMP frame taken
 * @param sendBufferLimit  what may wait for a slow reader before it is cut off
 */
@ConfigurationProperties("interop")
record Settings(
        long[] heartbeat,
        String relay,
        String login,
        String passcode,
        DataSize websocketBuffer,
        DataSize messageSizeLimit,
        DataSize sendBufferLimit) {
}
