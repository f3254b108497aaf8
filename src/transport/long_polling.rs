//! `long-polling`: one POST, one array of messages, one array of answers; a connect may be held.

use crate::bayeux::{Transport, decode};
use crate::web::body::BodyError;
use crate::web::{Request, Response, StatusCode, charset, form, header, response};

use super::Mount;
use super::polling::{self, Form, Handled, Sender};

/// Reads one POST and handles its messages.
pub(super) async fn handle(mount: &Mount, mut request: Request) -> Handled {
    let sender = Sender::of(mount, &request, Transport::LongPolling, Form::Json);
    let body = match request.body(&mount.options.body).await {
        Ok(body) => body,
        Err(error) => return Handled::Answered(refuse_body(&error)),
    };
    let text = match charset::decode(request.headers().get(header::CONTENT_TYPE), &body) {
        Ok(text) => text,
        Err(error) => return Handled::Answered(error.response()),
    };
    drop(request);
    let Ok(parts) = form::sniff(&text, "message") else {
        return Handled::Answered(response::text(StatusCode::BAD_REQUEST, "The form is not UTF-8."));
    };
    let messages = match &parts {
        None => decode(&text, &mount.node.engine().config().limits),
        Some(parts) => polling::decode_parts(mount, parts),
    };
    match messages {
        Ok(messages) => polling::handle(mount, sender, messages).await,
        Err(error) => polling::refuse_messages(error),
    }
}

/// CometD answers 500 to a body over its limit, where HTTP has 413 ([LP-6]).
fn refuse_body(error: &BodyError) -> Response {
    match error {
        BodyError::TooLarge { .. } => response::text(
            StatusCode::INTERNAL_SERVER_ERROR,
            "The request is larger than bayeux.long_polling.max_message_size allows.",
        ),
        _ => error.response(),
    }
}
