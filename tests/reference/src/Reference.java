package reference;

import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.cometd.bayeux.server.BayeuxServer;
import org.cometd.bayeux.server.SecurityPolicy;
import org.cometd.bayeux.server.ServerChannel;
import org.cometd.bayeux.server.ServerMessage;
import org.cometd.bayeux.server.ServerSession;
import org.cometd.server.BayeuxServerImpl;
import org.cometd.server.DefaultSecurityPolicy;
import org.cometd.server.ext.AcknowledgedMessagesExtension;
import org.cometd.server.ext.ActivityExtension;
import org.cometd.server.ext.BinaryExtension;
import org.cometd.server.ext.TimestampExtension;
import org.cometd.server.ext.TimesyncExtension;

/** The released CometD server as a program: reads its command line, starts, says that it is ready. */
public final class Reference {
    private Reference() {
    }

    public static void main(String[] arguments) throws Exception {
        Map<String, String> options = new HashMap<>();
        List<String> settings = new ArrayList<>();
        for (int i = 0; i + 1 < arguments.length; i += 2) {
            if (arguments[i].equals("--set")) {
                settings.add(arguments[i + 1]);
            } else {
                options.put(arguments[i], arguments[i + 1]);
            }
        }
        System.setProperty("org.slf4j.simpleLogger.defaultLogLevel", options.getOrDefault("--log", "off"));

        BayeuxServerImpl bayeux = new BayeuxServerImpl();
        bayeux.setOption("transports", String.join(",", List.of(
            "org.cometd.server.websocket.jetty.JettyWebSocketTransport",
            "org.cometd.server.http.JSONHttpTransport",
            "org.cometd.server.http.JSONPHttpTransport")));
        bayeux.setOption("ws.cometdURLMapping", "/cometd/*");
        for (String setting : settings) {
            String[] pair = setting.split("=", 2);
            bayeux.setOption(pair[0], pair[1]);
        }
        boolean open = !options.getOrDefault("--policy", "open").equals("default");
        bayeux.setSecurityPolicy(open ? new EverythingAllowed() : new DefaultSecurityPolicy());
        boolean scripted = options.getOrDefault("--scripted", "off").equals("on");
        if (scripted) {
            Program.install(bayeux);
        }
        extend(bayeux, options);

        Controls controls = new Controls(bayeux);
        String host = options.getOrDefault("--host", "127.0.0.1");
        int port = Web.start(host, Integer.parseInt(options.getOrDefault("--port", "8081")), bayeux, controls);
        Services.install(bayeux, scripted);
        controls.begin();
        System.out.println("ready " + host + ":" + port + " cometd=" + System.getProperty("cometd"));
    }

    private static void extend(BayeuxServer bayeux, Map<String, String> options) {
        List<String> names = new ArrayList<>(List.of(options.getOrDefault("--ext", "ack,timesync,timestamp,binary").split(",")));
        names.removeAll(List.of(options.getOrDefault("--without", "").split(",")));
        for (String name : names) {
            bayeux.addExtension(switch (name) {
                case "ack" -> new AcknowledgedMessagesExtension();
                case "timesync" -> new TimesyncExtension();
                case "timestamp" -> new TimestampExtension();
                case "binary" -> new BinaryExtension();
                default -> throw new IllegalArgumentException("unknown extension " + name);
            });
        }
        String activity = options.get("--activity");
        if (activity != null) {
            bayeux.addExtension(new ActivityExtension(ActivityExtension.Activity.CLIENT, Long.parseLong(activity)));
        }
    }

    /** Says yes to everyone, on meta channels as well. */
    private static final class EverythingAllowed implements SecurityPolicy {
        @Override
        public boolean canHandshake(BayeuxServer server, ServerSession session, ServerMessage message) {
            return true;
        }

        @Override
        public boolean canCreate(BayeuxServer server, ServerSession session, String name, ServerMessage message) {
            return true;
        }

        @Override
        public boolean canSubscribe(BayeuxServer server, ServerSession session, ServerChannel to, ServerMessage message) {
            return true;
        }

        @Override
        public boolean canPublish(BayeuxServer server, ServerSession session, ServerChannel to, ServerMessage message) {
            return true;
        }
    }
}
