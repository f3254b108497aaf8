//! Services: what a program does with the messages that clients publish to one channel.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use crate::bayeux::{ChannelListener, ChannelName, Context, Flow, Message};

use super::{Node, OutletRef};

/// Why a service could not do what a message asks for; the log says it, the client does not read it.
pub type ServiceError = Box<dyn std::error::Error + Send + Sync>;

impl Node {
    /// Calls `service` with every accepted message to `channel`, CometD's `AbstractService`.
    ///
    /// The context knows the sender, answers it with [`Context::deliver`], answers remote calls with
    /// [`Context::answer`], and ends its session with [`Context::disconnect`]. The service runs while the message is
    /// handled, on the thread of its sender, so it must not wait: what takes time is done by a task, which answers with
    /// [`Node::deliver`] or [`Call::answer`](crate::bayeux::Call::answer).
    ///
    /// A service that fails or panics is logged, and its message counts as processed all the same ([SV-5]).
    pub fn add_service(
        &self,
        channel: &ChannelName,
        service: impl Fn(&mut Context<'_, OutletRef>, &Message<'_>) -> Result<(), ServiceError> + Send + Sync + 'static,
    ) {
        let listener = move |context: &mut Context<'_, OutletRef>, channel: &ChannelName, message: &Message<'_>| {
            // The thread is that of a connection, which must not end with a mistake of the service.
            match catch_unwind(AssertUnwindSafe(|| service(context, message))) {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::warn!(channel = %channel, %error, "a service failed"),
                Err(_) => tracing::error!(channel = %channel, "a service panicked"),
            }
            Flow::Continue
        };
        let listener: Arc<dyn ChannelListener<OutletRef>> = Arc::new(listener);
        self.engine().add_channel_listener(channel, &listener);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::value::RawValue;

    use crate::bayeux::config::EngineConfig;
    use crate::node::Policy;

    use super::*;

    struct Anyone;

    impl Policy for Anyone {}

    /// [SV-5]
    #[tokio::test]
    async fn a_service_that_fails_harms_nobody() {
        let node = Node::start(EngineConfig::default(), Arc::new(Anyone));
        let heard = Arc::new(parking_lot::Mutex::new(Vec::new()));
        let hears = Arc::clone(&heard);
        let session = node.local_session(move |answer| hears.lock().push(answer.json().to_vec())).await.unwrap();
        let channel = ChannelName::parse("/service/x").unwrap();
        node.add_service(&channel, |_, _| panic!("on purpose"));
        node.add_service(&channel, |_, message| Err(format!("no {:?}", message.data).into()));
        node.add_service(&channel, |context, _| {
            let sender = context.sender().ok_or("nobody")?.id;
            context.deliver(sender, Message::to("/service/x"));
            Ok(())
        });
        for _ in 0..2 {
            assert_eq!(session.publish("/service/x", RawValue::TRUE).await, Ok(()));
        }
        assert_eq!(*heard.lock(), [br#"{"channel":"/service/x"}"#, br#"{"channel":"/service/x"}"#]);
    }
}
