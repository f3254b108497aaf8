//! [`Window`]: which part of a long list a request asks for.

use crate::web::{Request, Response, StatusCode};

use super::refuse;

/// Rows of a page unless the request says otherwise.
const LIMIT_DEFAULT: usize = 100;

/// Most rows of a page; an answer stays below a megabyte or so.
const LIMIT_MAX: usize = 1_000;

/// `?limit=&after=`.
pub(super) struct Window {
    /// Most rows, at least one.
    pub(super) limit: usize,
    /// The `next` of the page before; empty for the first one.
    pub(super) after: String,
}

impl Window {
    /// Reads the window, or answers what is wrong with it.
    pub(super) fn read(request: &Request) -> Result<Self, Box<Response>> {
        let limit = match request.parameter("limit") {
            None => LIMIT_DEFAULT,
            Some(text) => text.parse().ok().filter(|limit| (1..=LIMIT_MAX).contains(limit)).ok_or_else(|| {
                Box::new(refuse(StatusCode::BAD_REQUEST, format!("limit must be a number from 1 to {LIMIT_MAX}")))
            })?,
        };
        Ok(Self { limit, after: request.parameter("after").unwrap_or_default().into_owned() })
    }
}
