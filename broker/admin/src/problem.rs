//! Errors as HTTP clients get them: RFC 9457 problem details.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

/// A request that is not answered as it hoped.
///
/// Every text is a constant: nothing that a request says is repeated in an answer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Problem {
    pub(crate) status: StatusCode,
    /// One sentence on what is wrong here and what to do. No quotes, no backslashes.
    pub(crate) detail: &'static str,
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        debug_assert!(!self.detail.contains(['"', '\\']));
        // The type is `about:blank`, so the title is the status code's own phrase (section 4.2.1).
        let body = format!(
            "{{\"type\":\"about:blank\",\"title\":\"{}\",\"status\":{},\"detail\":\"{}\"}}\n",
            self.status.canonical_reason().unwrap_or(""),
            self.status.as_u16(),
            self.detail
        );
        let mut response = (self.status, body).into_response();
        let content_type = HeaderValue::from_static("application/problem+json");
        response
            .headers_mut()
            .insert(header::CONTENT_TYPE, content_type);
        response
    }
}
