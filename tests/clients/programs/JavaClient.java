// CometD's Java client: java JavaClient URL CONTROL TRANSPORT SCENARIO...

import java.net.URI;
import java.net.URLEncoder;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import java.util.function.Consumer;

import jakarta.websocket.ContainerProvider;
import org.cometd.bayeux.Channel;
import org.cometd.bayeux.Message;
import org.cometd.bayeux.client.ClientSession;
import org.cometd.bayeux.client.ClientSessionChannel;
import org.cometd.client.BayeuxClient;
import org.cometd.client.http.jetty.JettyHttpClientTransport;
import org.cometd.client.transport.ClientTransport;
import org.cometd.client.websocket.jakarta.WebSocketTransport;
import org.eclipse.jetty.client.HttpClient;

public final class JavaClient {
    private static final int LIMIT_SECONDS = 15;
    private static final int COUNT = 1_000;
    private static final String TEXT = "é € 😀 \u2028 \" \\ \u0000 " + Character.toString(0x10ffff) + " Ω";
    private static final java.net.http.HttpClient ELSEWHERE = java.net.http.HttpClient.newHttpClient();

    private static String control;

    private final BayeuxClient client;
    private final String channel;
    private final BlockingQueue<Object> inbox = new LinkedBlockingQueue<>();
    private final ClientSessionChannel.MessageListener listener = (where, message) -> inbox.add(message.getData());

    private JavaClient(BayeuxClient client, String channel) {
        this.client = client;
        this.channel = channel;
    }

    private interface Scenario {
        void play(JavaClient it) throws Exception;
    }

    private static final Map<String, Scenario> SCENARIOS = Map.of(
        "own", JavaClient::own, "others", JavaClient::others, "order", JavaClient::order, "batch", JavaClient::batch,
        "unicode", JavaClient::unicode, "unsubscribe", JavaClient::unsubscribe, "idle", JavaClient::idle,
        "rehandshake", JavaClient::rehandshake, "disconnect", JavaClient::disconnect);

    private void own() throws Exception {
        Map<String, Object> data = Map.of("text", "hello", "list", List.of(1L, -2.5, 1e21, true, Map.of()));
        asked("publish", done -> client.getChannel(channel).publish(data, done));
        same(((Map<?, ?>)next()).get("text"), "hello");
    }

    private void others() throws Exception {
        publish(channel, "{\"from\":\"elsewhere\"}");
        publish(channel, "2");
        same(next(), Map.of("from", "elsewhere"));
        same(next(), 2L);
    }

    private void order() throws Exception {
        tell("publish?channel=" + channel + "&count=" + COUNT, "null");
        for (long number = 0; number < COUNT; number += 1) {
            same(next(), number);
        }
    }

    private void batch() throws Exception {
        BlockingQueue<Object> second = new LinkedBlockingQueue<>();
        List<CompletableFuture<Message>> replies = new ArrayList<>();
        ClientSessionChannel here = client.getChannel(channel);
        ClientSessionChannel there = client.getChannel(channel + "/second");
        client.batch(() -> {
            replies.add(ask(done -> there.subscribe((where, message) -> second.add(message.getData()), done)));
            replies.add(ask(done -> here.publish(1L, done)));
            replies.add(ask(done -> there.publish(2L, done)));
            replies.add(ask(done -> here.publish(3L, done)));
        });
        for (CompletableFuture<Message> reply : replies) {
            successful("batch", reply);
        }
        same(next(), 1L);
        same(next(), 3L);
        same(second.poll(LIMIT_SECONDS, TimeUnit.SECONDS), 2L);
    }

    private void unicode() throws Exception {
        String escaped = "é € 😀 \u2028 \\\" \\\\ \\u0000 " + Character.toString(0x10ffff) + " Ω";
        publish(channel, '"' + escaped + '"');
        publish(channel, '"' + escaped.repeat(400) + '"');
        // What travels in two answers at once may overtake.
        same(next(), TEXT);
        same(next(), TEXT.repeat(400));
        asked("publish", done -> client.getChannel(channel).publish(Map.of(TEXT, TEXT), done));
        same(next(), Map.of(TEXT, TEXT));
    }

    private void unsubscribe() throws Exception {
        BlockingQueue<Object> marker = new LinkedBlockingQueue<>();
        asked("subscribe", done ->
            client.getChannel(channel + "/marker").subscribe((where, message) -> marker.add(message.getData()), done));
        publish(channel, "1");
        same(next(), 1L);
        asked("unsubscribe", done -> client.getChannel(channel).unsubscribe(listener, done));
        publish(channel, "2");
        publish(channel + "/marker", "3");
        same(marker.poll(LIMIT_SECONDS, TimeUnit.SECONDS), 3L);
        same(inbox.size(), 0);
    }

    private void idle() throws Exception {
        tell("idle", "null");
        same(tell("sessions", "null"), "1");
        publish(channel, "\"still there\"");
        same(next(), "still there");
    }

    private void rehandshake() throws Exception {
        CompletableFuture<Message> again = new CompletableFuture<>();
        // What was subscribed before is the application's to subscribe again.
        client.getChannel(Channel.META_HANDSHAKE).addListener((ClientSessionChannel.MessageListener)(where, message) -> {
            if (message.isSuccessful()) {
                client.getChannel(channel).subscribe(listener, again::complete);
            }
        });
        tell("forget", "null");
        successful("a new session", again);
        publish(channel, "\"back\"");
        same(next(), "back");
        same(tell("sessions", "null"), "1");
    }

    private void disconnect() throws Exception {
        asked("disconnect", client::disconnect);
        same(tell("sessions", "null"), "0");
    }

    private Object next() throws Exception {
        Object data = inbox.poll(LIMIT_SECONDS, TimeUnit.SECONDS);
        if (data == null) {
            throw new AssertionError("no message within " + LIMIT_SECONDS + " s");
        }
        return data;
    }

    private static void same(Object seen, Object expected) {
        if (!expected.equals(seen)) {
            throw new AssertionError("not " + expected + " but " + seen);
        }
    }

    private static CompletableFuture<Message> ask(Consumer<ClientSession.MessageListener> start) {
        CompletableFuture<Message> reply = new CompletableFuture<>();
        start.accept(reply::complete);
        return reply;
    }

    private static void successful(String what, CompletableFuture<Message> reply) throws Exception {
        Message message = reply.get(LIMIT_SECONDS, TimeUnit.SECONDS);
        if (!message.isSuccessful()) {
            throw new AssertionError(what + " was refused: " + message);
        }
    }

    private static void asked(String what, Consumer<ClientSession.MessageListener> start) throws Exception {
        successful(what, ask(start));
    }

    private static String tell(String path, String json) throws Exception {
        HttpRequest request = HttpRequest.newBuilder(URI.create(control + "/" + path))
            .POST(HttpRequest.BodyPublishers.ofString(json)).build();
        HttpResponse<String> response = ELSEWHERE.send(request, HttpResponse.BodyHandlers.ofString());
        same(response.statusCode(), 200);
        return response.body().trim();
    }

    private static void publish(String channel, String json) throws Exception {
        tell("publish?channel=" + URLEncoder.encode(channel, StandardCharsets.UTF_8), json);
    }

    private static ClientTransport transport(String name, HttpClient http) {
        return name.equals("websocket")
            ? new WebSocketTransport(null, null, ContainerProvider.getWebSocketContainer())
            : new JettyHttpClientTransport(new HashMap<>(), http);
    }

    private static String perform(String name, String url, String transport, HttpClient http) {
        BayeuxClient client = new BayeuxClient(url, transport(transport, http));
        JavaClient it = new JavaClient(client, "/matrix/" + name);
        try {
            asked("handshake", done -> client.handshake(done));
            asked("subscribe", done -> client.getChannel(it.channel).subscribe(it.listener, done));
            SCENARIOS.get(name).play(it);
            return "ok " + name;
        } catch (Throwable error) {
            String why = error.toString().replace('\n', ' ');
            return "FAIL " + name + " " + why.substring(0, Math.min(why.length(), 300));
        } finally {
            client.disconnect(TimeUnit.SECONDS.toMillis(LIMIT_SECONDS));
        }
    }

    public static void main(String[] args) throws Exception {
        control = args[1];
        HttpClient http = new HttpClient();
        http.start();
        for (int at = 3; at < args.length; at += 1) {
            System.out.println(perform(args[at], args[0], args[2], http));
        }
        System.exit(0);
    }
}
