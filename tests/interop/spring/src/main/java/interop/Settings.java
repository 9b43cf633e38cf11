package interop;

import org.springframework.boot.context.properties.ConfigurationProperties;
import org.springframework.util.unit.DataSize;

/**
 * The settings of this server, {@code interop.*}. A limit that is null keeps the default of
 * Spring or Tomcat.
 *
 * @param heartbeat        how often the simple broker sends and wants to receive heart-beats, in ms
 * @param relay            host:port of a STOMP broker over TCP, used instead of the simple broker
 * @param login            the only login that is accepted
 * @param passcode         its passcode
 * @param websocketBuffer  the longest WebSocket message, text (in characters) or binary
 * @param messageSizeLimit the longest STOMP frame
 * @param sendBufferLimit  how many bytes may wait for a slow reader before it is disconnected
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
