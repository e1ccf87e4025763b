//! The baseline: a handler that reads a request and answers the bytes it was given, in the same stack of axum and hyper, in a
//! process of its own.

use crate::support::child::{self, Server};
use axum::Router;
use axum::body::Bytes;
use axum::http::{HeaderValue, Response, StatusCode, header};
use tidegate::bench::http::{Answer, Base};
use tidegate::client::trust::Trust;

pub const ROLE: &str = "bare";
/// A file: the status on the first line, then the body
const ANSWER: &str = "TIDEGATE_BENCH_ANSWER";

/// In the bench.
pub struct Bare {
    pub server: Server,
    pub base: Base,
    _folder: tempfile::TempDir,
}

impl Bare {
    /// Answers like this one, whatever is asked.
    pub fn like(answer: &Answer) -> Bare {
        let folder = tempfile::tempdir().expect("a folder");
        let mut text = format!("{}\n", answer.status).into_bytes();
        text.extend_from_slice(&answer.body);
        let file = folder.path().join("answer");
        std::fs::write(&file, text).expect("a file");
        let server = Server::of_role(ROLE, &[(ANSWER, &file.display().to_string())]);
        let base = Base::parse(&server.said, Trust::default()).expect("an URL");
        Bare { server, base, _folder: folder }
    }
}

/// In the child.
pub fn serve() {
    let file = std::fs::read(std::env::var(ANSWER).expect("a file")).expect("the answer");
    let end = file.iter().position(|byte| *byte == b'\n').expect("a status");
    let status = std::str::from_utf8(&file[..end]).expect("a status").parse::<u16>().expect("a status");
    let (status, body) = (StatusCode::from_u16(status).expect("a status"), Bytes::copy_from_slice(&file[end + 1..]));
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async move {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let router = Router::new().fallback(async move |_asked: Bytes| {
            let mut response = Response::new(axum::body::Body::from(body.clone()));
            *response.status_mut() = status;
            response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json;charset=utf-8"));
            response
        });
        tokio::spawn(async move { axum::serve(listener, router).await });
        child::ready(&format!("http://{address}/v1"));
        tokio::task::spawn_blocking(child::until_the_end).await.expect("the bench ends");
    });
}
