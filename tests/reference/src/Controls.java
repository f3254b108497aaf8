package reference;

import jakarta.servlet.http.HttpServlet;
import jakarta.servlet.http.HttpServletRequest;
import jakarta.servlet.http.HttpServletResponse;
import java.io.IOException;
import java.net.URLDecoder;
import java.nio.charset.StandardCharsets;
import java.util.HashMap;
import java.util.Map;
import java.util.function.Consumer;
import org.cometd.bayeux.Promise;
import org.cometd.bayeux.server.Authorizer;
import org.cometd.bayeux.server.LocalSession;
import org.cometd.bayeux.server.ServerChannel;
import org.cometd.bayeux.server.ServerMessage;
import org.cometd.bayeux.server.ServerSession;
import org.cometd.server.BayeuxServerImpl;
import org.eclipse.jetty.util.ajax.JSON;

/** What an application does from inside its server, as requests: publish, deliver, disconnect, change a channel. */
final class Controls extends HttpServlet {
    private static final long serialVersionUID = 1L;

    private final transient BayeuxServerImpl bayeux;
    private transient LocalSession speaker;

    Controls(BayeuxServerImpl bayeux) {
        this.bayeux = bayeux;
    }

    void begin() {
        speaker = bayeux.newLocalSession("controls");
        speaker.handshake();
    }

    @Override
    protected void doGet(HttpServletRequest request, HttpServletResponse response) throws IOException {
        if (!request.getServletPath().equals("/stats")) {
            answer(response, 404, "{}");
            return;
        }
        int sessions = bayeux.getSessions().size();
        int channels = bayeux.getChannels().size();
        answer(response, 200, "{\"sessions\":" + sessions + ",\"channels\":" + channels + "}");
    }

    @Override
    protected void doPost(HttpServletRequest request, HttpServletResponse response) throws IOException {
        Map<String, String> query = query(request);
        Object body = json(request);
        boolean done = switch (request.getServletPath()) {
            case "/publish" -> channel(query, it -> it.publish(speaker.getServerSession(), body, Promise.noop()));
            case "/lazy" -> channel(query, it -> {
                it.setLazy(true);
                if (query.containsKey("timeout")) {
                    it.setLazyTimeout(Long.parseLong(query.get("timeout")));
                }
            });
            case "/persistent" -> channel(query, it -> it.setPersistent(!"false".equals(query.get("value"))));
            case "/broadcastToPublisher" -> channel(query, it -> it.setBroadcastToPublisher("true".equals(query.get("value"))));
            case "/authorizer" -> channel(query, it -> it.addAuthorizer(authorizer(query.get("result"), query.get("reason"))));
            case "/veto" -> channel(query, it -> it.addListener(new Veto()));
            case "/deliver" -> session(query, it ->
                it.deliver(speaker.getServerSession(), query.get("channel"), body, Promise.noop()));
            case "/disconnect" -> session(query, ServerSession::disconnect);
            case "/session" -> session(query, it -> {
                if (query.containsKey("timeout")) {
                    it.setTimeout(Long.parseLong(query.get("timeout")));
                }
                if (query.containsKey("interval")) {
                    it.setInterval(Long.parseLong(query.get("interval")));
                }
            });
            default -> false;
        };
        answer(response, done ? 200 : 404, "{\"done\":" + done + "}");
    }

    private boolean channel(Map<String, String> query, Consumer<ServerChannel> act) {
        String name = query.get("channel");
        if (name != null) {
            act.accept(bayeux.createChannelIfAbsent(name).getReference());
        }
        return name != null;
    }

    private boolean session(Map<String, String> query, Consumer<ServerSession> act) {
        ServerSession session = query.containsKey("clientId") ? bayeux.getSession(query.get("clientId")) : null;
        if (session != null) {
            act.accept(session);
        }
        return session != null;
    }

    /** Lets no message pass. */
    private static final class Veto implements ServerChannel.MessageListener {
        @Override
        public boolean onMessage(ServerSession client, ServerChannel channel, ServerMessage.Mutable message) {
            return false;
        }
    }

    private static Authorizer authorizer(String result, String reason) {
        return (operation, channel, session, message) -> {
            if ("grant".equals(result)) {
                return Authorizer.Result.grant();
            }
            return "deny".equals(result) ? Authorizer.Result.deny(reason) : Authorizer.Result.ignore();
        };
    }

    private static Map<String, String> query(HttpServletRequest request) {
        Map<String, String> values = new HashMap<>();
        String text = request.getQueryString() == null ? "" : request.getQueryString();
        for (String pair : text.split("&")) {
            String[] parts = pair.split("=", 2);
            values.putIfAbsent(parts[0], parts.length < 2 ? "" : URLDecoder.decode(parts[1], StandardCharsets.UTF_8));
        }
        return values;
    }

    private static Object json(HttpServletRequest request) throws IOException {
        String text = new String(request.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
        return text.isBlank() ? null : new JSON().fromJSON(text);
    }

    private static void answer(HttpServletResponse response, int status, String body) throws IOException {
        response.setStatus(status);
        response.setContentType("application/json");
        response.getOutputStream().write(body.getBytes(StandardCharsets.UTF_8));
    }
}
