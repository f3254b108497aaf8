package reference;

import jakarta.servlet.http.HttpServlet;
import org.cometd.bayeux.server.BayeuxServer;
import org.cometd.server.BayeuxServerImpl;
import org.cometd.server.http.jakarta.CometDServlet;
import org.eclipse.jetty.ee10.servlet.ServletContextHandler;
import org.eclipse.jetty.ee10.servlet.ServletHolder;
import org.eclipse.jetty.server.Context;
import org.eclipse.jetty.server.Server;
import org.eclipse.jetty.server.ServerConnector;
import org.eclipse.jetty.websocket.server.WebSocketUpgradeHandler;

/** Jetty with CometD at /cometd and the controls everywhere else. */
final class Web {
    private Web() {
    }

    /** Starts; returns the port. */
    static int start(String host, int port, BayeuxServerImpl bayeux, HttpServlet controls) throws Exception {
        Server server = new Server();
        server.setStopAtShutdown(true);
        ServerConnector connector = new ServerConnector(server);
        connector.setHost(host);
        connector.setPort(port);
        server.addConnector(connector);

        ServletContextHandler root = new ServletContextHandler();
        root.setContextPath("/");
        root.insertHandler(WebSocketUpgradeHandler.from(server, root));
        bayeux.setOption(Context.class.getName(), root.getContext());
        root.setAttribute(BayeuxServer.ATTRIBUTE, bayeux);
        mount(root, new CometDServlet(), "/cometd/*");
        mount(root, controls, "/");
        server.setHandler(root);
        server.start();
        return connector.getLocalPort();
    }

    private static void mount(ServletContextHandler root, HttpServlet servlet, String path) {
        ServletHolder holder = new ServletHolder(servlet);
        holder.setAsyncSupported(true);
        holder.setInitOrder(0);
        root.addServlet(holder, path);
    }
}
