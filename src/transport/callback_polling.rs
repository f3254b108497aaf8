//! `callback-polling`: one GET that a script element sends, one script that calls a function with the array of answers.

use crate::bayeux::Transport;
use crate::web::{Method, Request, StatusCode, form, response};

use super::Mount;
use super::polling::{self, Callback, Form, Handled, Sender};

/// Options of `callback-polling` that are not the engine's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallbackOptions {
    /// Query parameter that names the function.
    pub parameter: String,
    /// Most characters of its name.
    pub max_length: usize,
    /// Whether a response is kept from being taken for anything but a script.
    pub hardened: bool,
    /// Most bytes of the messages in one query.
    pub max_message_size: usize,
}

/// Returns the function that a request wants to be called; `None` if the request is none of this transport ([CP-1]).
pub(super) fn callback(options: &CallbackOptions, request: &Request) -> Option<Callback> {
    if request.method() != Method::GET {
        return None;
    }
    let names = form::values(request.query(), &options.parameter).ok()?;
    let [name] = names.as_slice() else { return None };
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    let is_name = (1..=options.max_length).contains(&name.len()) && name.bytes().all(allowed);
    is_name.then(|| Callback { name: name.clone().into_owned(), hardened: options.hardened })
}

/// Reads the query of a GET and handles its messages.
pub(super) async fn handle(mount: &Mount, request: Request, callback: Callback) -> Handled {
    let options = &mount.options.callback;
    let refuse = |status, sentence: &'static str| Handled::Answered(response::text(status, sentence));
    let form = Form::Callback(Box::new(callback));
    let sender = Sender::of(mount, &request, Transport::CallbackPolling, form);
    let Ok(parts) = form::values(request.query(), "message") else {
        return refuse(StatusCode::BAD_REQUEST, "The query is not UTF-8.");
    };
    if parts.iter().all(|part| part.is_empty()) {
        return refuse(StatusCode::INTERNAL_SERVER_ERROR, "The query has no parameter \"message\".");
    }
    if parts.iter().map(|part| part.len()).sum::<usize>() > options.max_message_size {
        return refuse(
            StatusCode::INTERNAL_SERVER_ERROR,
            "The query is larger than bayeux.callback_polling.max_message_size allows.",
        );
    }
    match polling::decode_parts(mount, &parts) {
        Ok(messages) => polling::handle(mount, sender, messages).await,
        Err(error) => polling::refuse_messages(error),
    }
}
