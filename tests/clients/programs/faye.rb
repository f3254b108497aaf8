# Faye for Ruby: ruby faye.rb URL CONTROL TRANSPORT SCENARIO...
# It subscribes again by itself, and has no batch of its own.

require "eventmachine"
require "faye"
require "fiber"
require "json"
require "net/http"

LIMIT = 15
COUNT = 1_000
TEXT = "é € 😀 \u2028 \" \\ \u0000 \u{10ffff} Ω"
URL, CONTROL, TRANSPORT, *NAMES = ARGV
OTHER = { "websocket" => "long-polling", "long-polling" => "websocket" }.freeze

# Waits in the running fiber for what `start` calls back with.
def await(what)
  fiber = Fiber.current
  done = false
  resume = lambda do |result|
    next if done
    done = true
    EM.next_tick { fiber.resume(result) }
  end
  timer = EM.add_timer(LIMIT) { resume.call(RuntimeError.new("#{what}: nothing within #{LIMIT} s")) }
  yield resume
  result = Fiber.yield
  EM.cancel_timer(timer)
  raise result if result.is_a?(Exception)
  result
end

# Waits for one of Faye's promises.
def settled(what, promise)
  await(what) do |resume|
    promise.callback { resume.call(true) }
    promise.errback { |error| resume.call(RuntimeError.new("#{what}: #{error&.message}")) }
  end
end

def tell(path, data = nil)
  await(path) do |resume|
    post = lambda do
      uri = URI("#{CONTROL}/#{path}")
      answer = Net::HTTP.start(uri.host, uri.port, read_timeout: LIMIT) { |http| http.post(uri.request_uri, JSON.generate(data)) }
      answer.code == "200" ? answer.body.strip : RuntimeError.new(answer.body)
    rescue StandardError => error
      error
    end
    EM.defer(post, resume)
  end
end

def publish(channel, data) = tell("publish?channel=#{channel}", data)

def same(seen, expected)
  raise "not #{expected.inspect} but #{seen.inspect}" unless seen == expected
end

# What a subscription received, with a way to wait for a number of messages.
class Inbox
  attr_reader :list

  def initialize
    @list = []
    @wake = -> {}
  end

  def take(data)
    @list << data
    @wake.call
  end

  def are(*expected)
    await("#{expected.length} messages") do |resume|
      @wake = -> { resume.call(true) if @list.length >= expected.length }
      @wake.call
    end
    @wake = -> {}
    same(@list, expected)
  end
end

# Tells when the client polls by the transport under test; the handshake goes by long-polling in any case.
class Move
  def initialize
    @wake = -> {}
    @done = false
  end

  def outgoing(message, pass)
    if message["connectionType"] == TRANSPORT
      @done = true
      @wake.call
    end
    pass.call(message)
  end

  def wait
    await("a connect by #{TRANSPORT}") do |resume|
      @wake = -> { resume.call(true) if @done }
      @wake.call
    end
  end
end

SCENARIOS = {
  "own" => lambda do |client, channel, inbox, _|
    data = { "text" => "hello", "list" => [1, -2.5, 1e21, true, nil, {}] }
    settled("publish", client.publish(channel, data))
    inbox.are(data)
  end,
  "others" => lambda do |_, channel, inbox, _|
    publish(channel, { from: "elsewhere" })
    publish(channel, [2])
    inbox.are({ "from" => "elsewhere" }, [2])
  end,
  "order" => lambda do |_, channel, inbox, _|
    tell("publish?channel=#{channel}&count=#{COUNT}")
    inbox.are(*0...COUNT)
  end,
  "unicode" => lambda do |client, channel, inbox, _|
    publish(channel, TEXT)
    publish(channel, TEXT * 2_000)
    # What travels in two answers at once may overtake.
    inbox.are(TEXT, TEXT * 2_000)
    settled("publish", client.publish(channel, { TEXT => TEXT }))
    inbox.are(TEXT, TEXT * 2_000, { TEXT => TEXT })
  end,
  "unsubscribe" => lambda do |client, channel, inbox, subscription|
    marker = Inbox.new
    settled("subscribe", client.subscribe("#{channel}/marker") { |data| marker.take(data) })
    publish(channel, 1)
    inbox.are(1)
    subscription.cancel
    # It says nothing about the answer, but its messages go one after the other.
    settled("publish", client.publish("#{channel}/else", 0))
    publish(channel, 2)
    publish("#{channel}/marker", 3)
    marker.are(3)
    inbox.are(1)
  end,
  "idle" => lambda do |_, channel, inbox, _|
    tell("idle")
    same(tell("sessions"), "1")
    publish(channel, "still there")
    inbox.are("still there")
  end,
  "rehandshake" => lambda do |_, channel, inbox, _|
    tell("forget")
    # Nothing tells when it is back, so what is published before it is subscribed again is lost.
    limit = Time.now + LIMIT
    while inbox.list.empty?
      raise "nothing received within #{LIMIT} s" if Time.now > limit
      publish(channel, "back")
      await("a pause") { |resume| EM.add_timer(0.2) { resume.call(true) } }
    end
    same(inbox.list.first, "back")
    same(tell("sessions"), "1")
  end,
  "disconnect" => lambda do |client, *|
    settled("disconnect", client.disconnect)
    same(tell("sessions"), "0")
  end
}.freeze

def perform(name)
  client = Faye::Client.new(URL, retry: 1)
  client.disable(OTHER[TRANSPORT]) if TRANSPORT == "long-polling"
  %w[eventsource cross-origin-long-polling callback-polling in-process].each { |type| client.disable(type) }
  move = Move.new
  client.add_extension(move)
  inbox = Inbox.new
  channel = "/matrix/#{name}"
  subscription = client.subscribe(channel) { |data| inbox.take(data) }
  settled("subscribe", subscription)
  # When it moves to another transport it drops what is on its way by the one before.
  move.wait
  SCENARIOS[name].call(client, channel, inbox, subscription)
  settled("disconnect", client.disconnect) unless name == "disconnect"
  "ok #{name}"
rescue StandardError => error
  client&.disconnect
  "FAIL #{name} #{error.message.tr("\n", " ")[0, 300]}"
end

$stdout.sync = true
EM.run do
  Fiber.new do
    NAMES.each { |name| puts perform(name) }
    EM.stop
  end.resume
end
