package reference;

import java.util.Map;
import org.cometd.bayeux.Promise;
import org.cometd.bayeux.server.BayeuxServer;
import org.cometd.bayeux.server.SecurityPolicy;
import org.cometd.bayeux.server.ServerChannel;
import org.cometd.bayeux.server.ServerMessage;
import org.cometd.bayeux.server.ServerSession;
import org.cometd.server.BayeuxServerImpl;

/** What an application plugs into its server, where a message asks for it in its ext: drop, deny, greet. */
final class Program {
    private Program() {
    }

    static void install(BayeuxServerImpl bayeux) {
        bayeux.addExtension(new Dropping());
        bayeux.addListener(new Greeting());
        bayeux.setSecurityPolicy(new Denying(bayeux.getSecurityPolicy()));
    }

    private static Object asked(ServerMessage message, String name) {
        // Clients may send anything as ext.
        return message != null && message.get("ext") instanceof Map<?, ?> ext ? ext.get(name) : null;
    }

    /** "drop": true */
    private static final class Dropping implements BayeuxServer.Extension {
        @Override
        public boolean rcv(ServerSession from, ServerMessage.Mutable message) {
            return !Boolean.TRUE.equals(asked(message, "drop"));
        }

        @Override
        public boolean rcvMeta(ServerSession from, ServerMessage.Mutable message) {
            return !Boolean.TRUE.equals(asked(message, "drop"));
        }
    }

    /** "greet": 2 */
    private static final class Greeting implements BayeuxServer.SessionListener {
        @Override
        public void sessionAdded(ServerSession session, ServerMessage message) {
            if (asked(message, "greet") instanceof Number count) {
                for (long number = 1; number <= count.longValue(); number++) {
                    session.deliver(null, "/greeting", number, Promise.noop());
                }
            }
        }
    }

    /** "deny": true, or "deny": {"advice": {...}, "ext": {...}} */
    private record Denying(SecurityPolicy policy) implements SecurityPolicy {
        private static boolean denies(ServerMessage message) {
            Object denied = asked(message, "deny");
            if (denied instanceof Map<?, ?> said) {
                ServerMessage.Mutable reply = message.getAssociated();
                if (said.containsKey("advice")) {
                    put(said.get("advice"), reply.getAdvice(true));
                }
                if (said.containsKey("ext")) {
                    put(said.get("ext"), reply.getExt(true));
                }
                return true;
            }
            return Boolean.TRUE.equals(denied);
        }

        private static void put(Object said, Map<String, Object> into) {
            if (said instanceof Map<?, ?> members) {
                members.forEach((name, value) -> into.put(String.valueOf(name), value));
            }
        }

        @Override
        public boolean canHandshake(BayeuxServer server, ServerSession session, ServerMessage message) {
            return !denies(message) && policy.canHandshake(server, session, message);
        }

        @Override
        public boolean canCreate(BayeuxServer server, ServerSession session, String name, ServerMessage message) {
            return !denies(message) && policy.canCreate(server, session, name, message);
        }

        @Override
        public boolean canSubscribe(BayeuxServer server, ServerSession session, ServerChannel to, ServerMessage message) {
            return !denies(message) && policy.canSubscribe(server, session, to, message);
        }

        @Override
        public boolean canPublish(BayeuxServer server, ServerSession session, ServerChannel to, ServerMessage message) {
            return !denies(message) && policy.canPublish(server, session, to, message);
        }
    }
}
