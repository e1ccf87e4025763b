//! Long answers of queries are compressed for who asks for it.
//!
//! Only routes that answer with data alone have this: answers that carry a token, a code or credentials stay as they are, since from
//! the length of a compressed text one can guess at secrets that stand in it. An answer with an ETag stays too: its tag names the bytes of
//! the object's version, and clients send it back in `If-Match` as it came.

use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use axum::middleware::Next;
use flate2::Compression;
use flate2::write::GzEncoder;
use http_body::Body as _;
use http_body_util::BodyExt;
use std::io::Write;
use std::sync::Arc;
use tokio::sync::Semaphore;

/// Beyond this neither a thread nor a second copy in memory is spent on it, bytes.
const LONGEST: u64 = 64 << 20;

/// What is compressed, and how much at a time.
#[derive(Debug, Clone)]
pub(super) struct Compressing {
    /// Shorter answers stay as they are, bytes; 0: all do
    shortest: usize,
    /// Half of the machine at most: where it has more to do than that, answers go out as they are
    places: Arc<Semaphore>,
}

impl Compressing {
    pub(super) fn new(shortest: usize) -> Compressing {
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        Compressing { shortest, places: Arc::new(Semaphore::new(cores.div_ceil(2))) }
    }

    fn is_fit(&self, response: &Response<Body>) -> bool {
        let length = response.body().size_hint().exact().unwrap_or(0);
        let headers = response.headers();
        response.status() == StatusCode::OK
            && self.shortest > 0
            && (self.shortest as u64..=LONGEST).contains(&length)
            && !headers.contains_key(header::ETAG)
            && !headers.contains_key(header::CONTENT_ENCODING)
    }
}

/// Compresses the answer if it is worth it. The work is done by a thread that may block.
pub(super) async fn compress(State(compressing): State<Compressing>, request: Request, next: Next) -> Response<Body> {
    let wanted = wants_gzip(request.headers());
    let mut response = next.run(request).await;
    if !compressing.is_fit(&response) {
        return response;
    }
    // Whoever did not ask gets something else: caches must know.
    response.headers_mut().append(header::VARY, HeaderValue::from_static("accept-encoding"));
    let Some(place) = wanted.then(|| compressing.places.clone().try_acquire_owned().ok()).flatten() else { return response };
    let (mut head, body) = response.into_parts();
    let Ok(whole) = body.collect().await.map(http_body_util::Collected::to_bytes) else {
        // A body in memory does not fail.
        return Response::from_parts(head, Body::empty());
    };
    let text = whole.clone();
    let packed = tokio::task::spawn_blocking(move || {
        let _place = place;
        pack(&text)
    });
    match packed.await {
        Ok(Ok(packed)) if packed.len() < whole.len() => {
            head.headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
            head.headers.remove(header::CONTENT_LENGTH);
            Response::from_parts(head, Body::from(packed))
        }
        _ => Response::from_parts(head, Body::from(whole)),
    }
}

fn pack(text: &Bytes) -> std::io::Result<Vec<u8>> {
    // The fastest level: JSON becomes a fifth or less with it already.
    let mut encoder = GzEncoder::new(Vec::with_capacity(text.len() / 4), Compression::fast());
    encoder.write_all(text)?;
    encoder.finish()
}

/// Whether a client takes gzip (RFC 9110, section 12.5.3): named, or by `*`, and not with a weight of zero. Who says nothing might take
/// anything, but does not expect it.
fn wants_gzip(headers: &HeaderMap) -> bool {
    let mut any = false;
    for coding in headers.get_all(header::ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok()).flat_map(|list| list.split(',')) {
        let (name, parameters) = coding.split_once(';').unwrap_or((coding, ""));
        let weight = parameters.trim().strip_prefix("q=").or_else(|| parameters.trim().strip_prefix("Q="));
        let refused = weight.is_some_and(|weight| weight.trim().parse::<f32>().is_ok_and(|weight| weight <= 0.0));
        match name.trim() {
            name if name.eq_ignore_ascii_case("gzip") || name.eq_ignore_ascii_case("x-gzip") => return !refused,
            "*" => any = !refused,
            _ => {}
        }
    }
    any
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn who_asks_for_gzip() {
        let wants = |lists: &[&str]| {
            let headers = lists.iter().map(|list| (header::ACCEPT_ENCODING, HeaderValue::from_str(list).unwrap())).collect();
            wants_gzip(&headers)
        };
        for list in ["gzip", "deflate, GZIP;q=0.5, br", "x-gzip", "*", "br, *;q=0.1", "gzip;q=1, *;q=0"] {
            assert!(wants(&[list]), "{list}");
        }
        for list in ["", "br, deflate", "gzip;q=0", "gzip; q=0.000, *", "*;q=0", "identity"] {
            assert!(!wants(&[list]), "{list}");
        }
        assert!(wants(&["br", "gzip"]) && !wants(&[]));
    }
}
