// How to connect one's own program, with the addresses of this very server filled in.

const HINTS = {
  curl: "Paste into a terminal: the greeting appears in this page if it is subscribed to the channel.",
  javascript: "npm install cometd, and for Node cometd-nodejs-client too.",
  java: "From Maven: org.cometd.java:cometd-java-client-http-jetty 8.0 or later, and org.eclipse.jetty:jetty-util-ajax.",
};

const CODE = {
  curl: (url, channel) => `URL=${shell(url)}
send() {
  curl -sS "$URL" -d "$1" \\
    -H 'Content-Type: application/json'
}

ID=$(send '{"channel":"/meta/handshake",
  "version":"1.0",
  "supportedConnectionTypes":[]}' |
  sed 's/.*clientId":"\\([^"]*\\).*/\\1/')

send '{"channel":${shellInner(JSON.stringify(channel))},
  "clientId":"'$ID'",
  "data":{"text":"Hello from curl"}}'
`,
  javascript: (url, channel) => `import { CometD } from "cometd";

// In Node only:
// import { adapt } from "cometd-nodejs-client";
// adapt();

const cometd = new CometD();
cometd.configure({ url: ${JSON.stringify(url)} });
cometd.handshake((reply) => {
  if (!reply.successful) return console.error(reply);
  cometd.subscribe(${JSON.stringify(channel)}, (message) => {
    console.log(message.data);
  });
  cometd.publish(${JSON.stringify(channel)}, {
    text: "Hello from JavaScript",
  });
});
`,
  java: (url, channel) => `HttpClient http = new HttpClient();
http.start();
BayeuxClient client = new BayeuxClient(
    ${JSON.stringify(url)},
    new JettyHttpClientTransport(null, http));
client.handshake(reply -> {
  ClientSessionChannel channel =
      client.getChannel(${JSON.stringify(channel)});
  channel.subscribe((c, message) ->
      System.out.println(message.getData()));
  channel.publish(Map.of("text", "Hello from Java"));
});
`,
};

function shellInner(text) {
  return text.replaceAll("'", "'\\''");
}

function shell(text) {
  return /^[\w:/.-]+$/.test(text) ? text : `'${shellInner(text)}'`;
}

/** The languages, in the order of the tabs. */
export const LANGUAGES = Object.keys(CODE);

/** {code, hint} for one language. */
export function snippet(language, url, channel) {
  return { code: CODE[language](url, channel), hint: HINTS[language] };
}
