package reference;

import java.util.function.BiConsumer;
import org.cometd.bayeux.Promise;
import org.cometd.bayeux.server.BayeuxServer;
import org.cometd.bayeux.server.LocalSession;
import org.cometd.bayeux.server.ServerChannel;
import org.cometd.bayeux.server.ServerMessage;
import org.cometd.bayeux.server.ServerSession;

/** What answers on /service/…, while the message is handled. */
final class Services {
    private Services() {
    }

    static void install(BayeuxServer bayeux, boolean scripted) {
        LocalSession local = bayeux.newLocalSession("service");
        local.handshake();
        ServerSession speaker = local.getServerSession();

        on(bayeux, "echo", (client, message) ->
            client.deliver(speaker, message.getChannel(), message.getData(), Promise.noop()));
        on(bayeux, "call", (client, message) -> answer(bayeux, speaker, client, message, true));
        if (scripted) {
            on(bayeux, "refuse", (client, message) -> answer(bayeux, speaker, client, message, false));
        }
        on(bayeux, "burst", (client, message) -> {
            long count = ((Number)message.getDataAsMap().get("count")).longValue();
            for (long n = 0; n < count; n++) {
                client.deliver(speaker, message.getChannel(), n, Promise.noop());
            }
        });
        on(bayeux, "kick", (client, message) -> client.disconnect());
        on(bayeux, "fail", (client, message) -> {
            throw new UnsupportedOperationException(message.getChannel());
        });
    }

    /** Answers a remote call, with its own data. */
    private static void answer(
        BayeuxServer bayeux, ServerSession speaker, ServerSession client, ServerMessage message, boolean successful) {
        ServerMessage.Mutable reply = bayeux.newMessage();
        reply.setId(message.getId());
        reply.setChannel(message.getChannel());
        reply.setData(message.getData());
        reply.setSuccessful(successful);
        client.deliver(speaker, reply, Promise.noop());
    }

    private static void on(BayeuxServer bayeux, String name, BiConsumer<ServerSession, ServerMessage> act) {
        ServerChannel.MessageListener listener = new ServerChannel.MessageListener() {
            @Override
            public boolean onMessage(ServerSession client, ServerChannel channel, ServerMessage.Mutable message) {
                act.accept(client, message);
                return true;
            }
        };
        bayeux.createChannelIfAbsent("/service/" + name, channel -> {
            channel.setPersistent(true);
            channel.addListener(listener);
        });
    }
}
