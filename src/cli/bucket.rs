//! A bucket of an app of a running server, as its `root`: what export, import and truncate have in common.

use super::{Failure, TrustArgs};
use crate::client::api::{Answer, Api, Body, Media};
use crate::client::endpoint::Endpoint;
use crate::config::ServerOptions;
use crate::object::id::encode_component;
use clap::Args;
use futures_util::StreamExt;
use hyper::Method;
use serde_json::Value;

/// Which bucket, where, and who asks.
#[derive(Debug, Args)]
pub(super) struct BucketArgs {
    /// The bucket, without /db/
    pub(super) bucket: String,
    /// Password of the app's administrator `root`
    #[arg(long, value_name = "PW", env = "TIDEGATE_ADMIN_PASSWORD", hide_env_values = true)]
    admin_password: Option<String>,
    /// URL of the app's API, such as http://127.0.0.1:8080/v1 [default: from the configuration]
    #[arg(long, value_name = "URL", env = "TIDEGATE_SERVER_URL")]
    api: Option<String>,
    #[command(flatten)]
    trust: TrustArgs,
}

/// A bucket, as root.
pub(super) struct Bucket {
    api: Api,
}

impl Bucket {
    /// Logs in.
    pub(super) async fn open(args: &BucketArgs, server: &ServerOptions) -> Result<Bucket, Failure> {
        let password = args.admin_password.as_deref().ok_or("give the password of root in TIDEGATE_ADMIN_PASSWORD")?;
        let scheme = if server.tls_cert.as_os_str().is_empty() { "http" } else { "https" };
        let own = || format!("{scheme}://{}/{}", server.listen, server.base);
        let app = Endpoint::parse(&args.api.clone().unwrap_or_else(own))?;
        let bucket = app.clone().below("db").below(&encode_component(&args.bucket));
        Ok(Bucket { api: Api::sign_in(&app, bucket, &args.trust.read()?, password).await? })
    }

    /// Asks for something; `query` with its question mark. What is no success is an error that says so.
    pub(super) async fn ask(&self, method: Method, query: &str, body: Option<Body>) -> Result<Answer, Failure> {
        Ok(self.api.ask(method, query, Media::Lines, body).await?)
    }
}

/// Shows each step of a long request; the last one, if it says that all is done.
pub(super) async fn follow(answer: Answer, mut show: impl FnMut(&Value)) -> Result<Value, Failure> {
    let (mut stream, mut rest) = (answer.pieces(), Vec::new());
    let mut last = Value::Null;
    let broken = loop {
        match stream.next().await {
            Some(Ok(piece)) => rest.extend_from_slice(&piece),
            Some(Err(error)) => break error.to_string(),
            None => break "the answer ended early".to_owned(),
        }
        while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = rest.drain(..=end).collect();
            last = serde_json::from_slice(&line)?;
            show(&last);
            if last["done"] == true {
                return Ok(last);
            }
        }
    };
    match last["error"]["message"].as_str() {
        Some(error) => Err(error.into()),
        None => Err(broken.into()),
    }
}
